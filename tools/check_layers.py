#!/usr/bin/env python3
"""Checks that includes point one way: base <- core <- {model, kernels} <- stages <- runtime <- cli.

A stage never includes another stage; the CLI includes public headers only; every public header has an
include guard. Prints each offence as file:line and exits 1 if there is one.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
STAGES = ["graph", "solver", "adapters", "runner", "measure", "report", "storage", "bridge"]
ALLOWED = {
    "base": {"base"},
    "core": {"base", "core"},
    "kernels": {"base", "core", "kernels"},
    "model": {"base", "core", "model"},
    "runtime": {"base", "core", "model", "kernels", "runtime", *STAGES},
    **{s: {"base", "core", "model", "kernels", s} for s in STAGES},
}
# Public headers that belong to a stage; a stage may include its own and those of lower layers.
OWNER = {
    "ctx.h": "base", "status.h": "base", "options.h": "base", "device.h": "base",
    "graph.h": "graph", "solver.h": "solver", "nm.h": "solver", "adapters.h": "adapters",
    "runner.h": "runner", "measure.h": "measure", "report.h": "report", "model.h": "model",
    "tokenizer.h": "model", "config.h": "runtime", "doctor.h": "runtime", "run.h": "runtime",
    "icd.h": "runtime", "storage.h": "storage",
}
INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<icd/([^>]+)>)')


def offences(path, layer):
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        private, public = match.groups()
        if layer == "cli":
            if private and (ROOT / "src" / private).exists():
                yield number, f"the CLI includes the private header {private}"
            continue
        target = OWNER.get(public, "core") if public else private.split("/")[0]
        if private and "/" not in private:
            continue  # a neighbour in the same folder
        if target not in ALLOWED[layer] and target in ALLOWED:
            yield number, f"{layer} includes {private or public}, which belongs to {target}"


def main():
    found = []
    for path in sorted((ROOT / "src").rglob("*.[chi]*")):
        layer = path.relative_to(ROOT / "src").parts[0]
        if layer in ALLOWED and path.suffix in (".c", ".h", ".inc"):
            found += [(path, *o) for o in offences(path, layer)]
    for path in sorted((ROOT / "cli").glob("*.[ch]")):
        found += [(path, *o) for o in offences(path, "cli")]
    for path, number, text in found:
        print(f"{path.relative_to(ROOT)}:{number}: {text}")
    print(f"layers: {'ok' if not found else str(len(found)) + ' offences'}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
