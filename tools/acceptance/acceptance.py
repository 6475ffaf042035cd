#!/usr/bin/env python3
"""The acceptance runs: every workload's arms against the targets, in parts that can be interrupted.

    tools/acceptance/acceptance.py --icd build/release/icd            # full: needs an NVIDIA GPU
    tools/acceptance/acceptance.py --icd build/release/icd --smoke    # small shapes on the CPU: no claim
    tools/acceptance/acceptance.py --list

Exit codes: 0 every selected part finished (a target that is not met is a result, not an error); 1 a part
failed or was cut off: the same line again goes on; 2 usage; 3 this machine has no GPU; 6 a file is damaged.
"""
import argparse
import os
import pathlib
import signal
import sys
import time

from parts import DeviceMissing, Machine, Plan, PlanError, Runner
from readings import Damaged
from summary import Summary

ROOT = pathlib.Path(__file__).resolve().parents[2]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], epilog=__doc__.split("\n\n")[-1])
    parser.add_argument("--icd", default="build/release/icd", help="the program (default: build/release/icd)")
    parser.add_argument("--smoke", action="store_true", help="small shapes on the CPU; supports no claim")
    parser.add_argument("--part", default="", help="only these parts, comma-separated")
    parser.add_argument("--list", action="store_true", help="show the parts and how long they should take; run nothing")
    parser.add_argument("--summary", action="store_true", help="write the summary of what is there; run nothing")
    parser.add_argument("--out", help="folder of the results (default: the unfinished one, else results/DATE-DEVICE)")
    parser.add_argument("--work", help="folder of run directories and models (default: build/acceptance)")
    parser.add_argument("--budget", type=float, help="minutes after which no further part is started")
    parser.add_argument("--limit", type=float, default=9.5, help="minutes after which a part is cut off (default 9.5)")
    parser.add_argument("--usable-l2-mib", type=float, help="what you measured; default: the nominal size")
    parser.add_argument("--plan", default=ROOT / "configs/acceptance/parts.json", type=pathlib.Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def show_list(plan, out=sys.stdout):
    for part in plan.parts:
        out.write(f"{part['name']:22} {part['minutes']:5.1f} min  {part['about']}\n")
    out.write(f"{'all of them':22} {plan.minutes():5.1f} min expected, {plan.budget:g} min at most\n")


def choose_out(args, plan, machine):
    """The folder given, else the newest one of this device that is not finished, else a new one of today."""
    if args.out:
        return pathlib.Path(args.out)
    if not plan.claims:
        return pathlib.Path("build/acceptance-smoke/results")
    for folder in sorted(pathlib.Path("results").glob(f"*-{machine.slug}"), reverse=True):
        if (folder / "acceptance.json").exists() and not Summary.finished(folder, plan):
            return folder
    return pathlib.Path("results") / f"{time.strftime('%Y-%m-%d', time.gmtime())}-{machine.slug}"


def run(args, plan):
    os.chdir(ROOT)
    machine = Machine(args.icd)
    if plan.device == "cuda" and not args.summary and any(p["kind"] != "quality" for p in plan.parts):
        machine.need_gpu()
    out = choose_out(args, plan, machine)
    out.mkdir(parents=True, exist_ok=True)
    runner = Runner(plan, machine, out, pathlib.Path(args.work or "build/acceptance"), args.limit * 60)
    good = True
    if not args.summary:
        good = runner.run(args.part, (args.budget or plan.budget) * 60)
    summary = Summary(plan, machine, out, args.usable_l2_mib)
    summary.write()
    print(f"{summary.headline()}\nsummary: {out}/summary.md, .html, .json")
    return 0 if good else 1


def main():
    args = arguments()
    args.icd = str(pathlib.Path(args.icd).resolve()) if pathlib.Path(args.icd).exists() else args.icd
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        plan = Plan(args.plan, "smoke" if args.smoke else "full")
        plan.select(args.part)
        if args.list:
            show_list(plan)
            return 0
        return run(args, plan)
    except PlanError as error:
        print(f"acceptance: {error}", file=sys.stderr)
        return 2
    except DeviceMissing as error:
        print(f"acceptance: {error}", file=sys.stderr)
        return 3
    except Damaged as error:
        print(f"acceptance: {error}", file=sys.stderr)
        return 6
    except KeyboardInterrupt:
        print("\nacceptance: interrupted; the same line again goes on", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
