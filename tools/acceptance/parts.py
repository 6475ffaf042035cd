"""The plan's parts, and running them: each in a working folder, its small files then copied to the results."""
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

KINDS = ("run", "sweep", "quality")
# What is kept of a run directory. Weights, masks and traces can be made again and would be gigabytes.
KEPT = ("config.lock.json", "metrics.json", "meters.json", "quality.json", "samples.csv", "report.html", "report.csv",
        "run.log", "ncu.csv", "ncu.json", "power.csv", "power_cpu.csv", "sweep.json", "sweep.csv", "sweep.md",
        "sweep.html", "base.lock.json")


class PlanError(Exception):
    """parts.json or --part names something that does not exist."""


class DeviceMissing(Exception):
    """The full set needs a GPU."""


class PartFailed(Exception):
    """A part ended without a result: why, in one sentence."""


class PartSkipped(PartFailed):
    """A part needs something that this machine lacks."""


def read_json(path):
    try:
        return json.loads(pathlib.Path(path).read_text())
    except (OSError, ValueError):
        return None


def write_json(path, value):
    """Whole or not at all."""
    path = pathlib.Path(path)
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(json.dumps(value, indent=1) + "\n")
    os.replace(fresh, path)


class Plan:
    """One set of configs/acceptance/parts.json."""

    def __init__(self, path, name):
        document = read_json(path)
        if not document or name not in document.get("sets", {}):
            raise PlanError(f"{path}: found no set '{name}', expected it under 'sets'")
        chosen = document["sets"][name]
        self.name, self.device, self.claims = name, chosen["device"], chosen["claims"]
        self.budget, self.l2_mib, self.all = chosen["budget_minutes"], chosen.get("l2_mib", {}), chosen["parts"]
        self.parts = self.all
        for part in self.all:
            if part.get("kind") not in KINDS:
                raise PlanError(f"{path}: part '{part.get('name')}' has kind '{part.get('kind')}', expected one of {', '.join(KINDS)}")

    def select(self, names):
        """Only parts whose name is listed; a name may also be the beginning of several."""
        wanted = [n for n in re.split(r"[,\s]+", names) if n]
        known = [p["name"] for p in self.all]
        for name in wanted:
            if name not in known:
                raise PlanError(f"--part: found '{name}', expected one of {', '.join(known)}")
        if wanted:
            self.parts = [p for p in self.all if p["name"] in wanted]

    def minutes(self):
        return sum(p["minutes"] for p in self.parts)


class Machine:
    """What `icd doctor` says of this machine."""

    def __init__(self, icd):
        self.icd = icd
        try:
            done = subprocess.run([icd, "doctor", "--json"], capture_output=True, text=True, timeout=120, check=True)
            self.doctor = json.loads(done.stdout)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise PlanError(f"--icd: '{icd} doctor --json' gave no answer ({type(error).__name__}); build the program first: make build") from error
        self.fingerprint = self.doctor.get("fingerprint", {})
        self.version = self.doctor.get("version", "")
        self.build = self._build()
        self.gpu = self._gpu_name()
        self.slug = self._slug()

    def _build(self):
        """Results of one program stay together: another build runs everything again."""
        path = shutil.which(self.icd)
        return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()[:16] if path else ""

    def _gpu_name(self):
        gpu = self.fingerprint.get("gpu")
        if isinstance(gpu, list):
            gpu = gpu[0] if gpu else None
        return gpu.get("name") if isinstance(gpu, dict) else gpu

    def _slug(self):
        if not self.gpu:
            return f"cpu-{self.fingerprint.get('isa', 'unknown')}"
        known = re.search(r"\b([ABHVL]\d{2,3}[a-z]?)\b", self.gpu)
        return (known.group(1) if known else re.sub(r"\W+", "-", self.gpu)).lower()

    def capability(self, name):
        rows = [c for c in self.doctor.get("capabilities", []) if c.get("name") == name]
        return rows[0] if rows else {"available": False, "found": f"icd doctor does not list '{name}'", "enable": None}

    def need_gpu(self):
        driver = self.capability("CUDA driver")
        if not driver["available"]:
            raise DeviceMissing(f"this machine has no NVIDIA GPU that can be used ({driver['found']}), which these runs need; "
                                "`make acceptance-smoke` does the same on the CPU with small shapes and supports no claim")

    def name(self):
        return self.gpu or self.fingerprint.get("cpu") or "unknown"


class Progress:
    """One line that is rewritten on a terminal, a line now and then elsewhere."""

    def __init__(self, head, expected, rest):
        self.head, self.expected, self.rest = head, expected, rest
        self.terminal, self.began, self.shown = sys.stdout.isatty(), time.monotonic(), 0
        if not self.terminal:
            print(f"{head} (expected {expected / 60:.1f} min, {(expected + rest) / 60:.1f} min left in all)", flush=True)

    def tick(self):
        spent = time.monotonic() - self.began
        if self.terminal:
            left = max(0, self.expected - spent) + self.rest
            print(f"\r{self.head} {spent:4.0f} s of about {self.expected:.0f}; {left / 60:.1f} min left in all \x1b[K", end="", flush=True)
        elif spent - self.shown >= 60:
            self.shown = spent
            print(f"  ... {spent:.0f} s", flush=True)

    def end(self, said):
        spent = time.monotonic() - self.began
        print(f"\r{self.head}: {said}, {spent:.0f} s\x1b[K" if self.terminal else f"  {said}, {spent:.0f} s", flush=True)


class Runner:
    """Runs what is not finished. A finished part has part.json with state "finished" and the key of its settings."""

    def __init__(self, plan, machine, out, work, limit):
        self.plan, self.machine, self.out, self.limit = plan, machine, out, limit
        self.work, self.models = work / plan.name, work / "models"
        self.child = None

    def key(self, part):
        settings = pathlib.Path(part["config"]).read_text()
        text = json.dumps({k: v for k, v in part.items() if k not in ("minutes", "about")}, sort_keys=True)
        return hashlib.sha256("\n".join((text, settings, self.machine.version, self.machine.build)).encode()).hexdigest()[:16]

    def state(self, part):
        record = read_json(self.out / part["name"] / "part.json") or {}
        return record if record.get("key") == self.key(part) else {}

    def run(self, selected, budget):
        """True where every part of the selection is finished, or cannot be run here for a reason that is told."""
        write_json(self.out / "acceptance.json", {"set": self.plan.name, "device": self.machine.name(), "version": self.machine.version})
        began, good = time.monotonic(), True
        todo = [p for p in self.plan.parts if self.state(p).get("state") != "finished"]
        for number, part in enumerate(self.plan.parts, 1):
            head = f"[{number}/{len(self.plan.parts)}] {part['name']}"
            if part not in todo:
                print(f"{head}: finished before")
                continue
            if time.monotonic() - began + 60 * part["minutes"] > budget and number > 1 and not selected:
                print(f"{head}: not started, it would go beyond {budget / 60:g} minutes; the same line again goes on")
                good = False
                continue
            rest = sum(60 * p["minutes"] for p in todo[todo.index(part) + 1:])
            good = self.one(part, Progress(head, 60 * part["minutes"], rest)) and good
        return good

    def one(self, part, progress):
        record = {"part": part["name"], "about": part["about"], "kind": part["kind"], "key": self.key(part),
                  "date": time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime()), "commands": [], "reason": None}
        began = time.monotonic()
        folder = self.work / part["name"]
        try:
            self.prepare(part, folder, record)
            self.execute(part, folder, record, progress)
            record["state"] = "finished"
        except PartFailed as error:
            record.update(state="skipped" if isinstance(error, PartSkipped) else "failed", reason=str(error))
        except BaseException:
            record.update(state="interrupted", reason="stopped from outside")
            self.stop_child()
            raise
        finally:
            record["seconds"] = round(time.monotonic() - began, 1)
            self.store(part, folder, record)
            progress.end(record["state"] + (f" ({record['reason']})" if record["reason"] else ""))
        return record["state"] in ("finished", "skipped")

    def prepare(self, part, folder, record):
        """The model that the part needs, and a working folder that belongs to these settings."""
        model = part.get("model", {})
        if "path" in model and not pathlib.Path(model["path"]).exists():
            raise PartSkipped(f"{model['path']} is not there: {model['missing']}")
        if read_json(folder / "key.json") != record["key"]:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "key.json", record["key"])
        if "synth" in model:
            self.synthesize(part, model, folder, record)

    def synthesize(self, part, model, folder, record):
        """Written beside and renamed: a half-written model is never taken for one."""
        target = self.models / model["folder"]
        if read_json(target / "recipe.json") == model["synth"]:
            return
        fresh = self.models / (model["folder"] + ".new")
        for old in (target, fresh):
            shutil.rmtree(old, ignore_errors=True)
        self.models.mkdir(parents=True, exist_ok=True)
        self.icd(["synth", *model["synth"], "-o", str(fresh), "-q"], folder, record, None)
        write_json(fresh / "recipe.json", model["synth"])
        fresh.rename(target)

    def settings(self, part):
        model = part.get("model", {})
        path = str(self.models / model["folder"]) if "folder" in model else model.get("path")
        pairs = ([f"model.path={path}"] if path else []) + part.get("set", [])
        return [word for pair in pairs for word in ("--override", pair)]

    def execute(self, part, folder, record, progress):
        run = folder / "run"
        if part["kind"] == "sweep":
            grid = [word for g in part["grid"] for word in ("--grid", g)]
            self.icd(["sweep", "-c", part["config"], *self.settings(part), *grid, "-o", str(run), "-q"], folder, record, progress)
            return
        if (run / "state.json").exists():
            try:
                self.icd(["resume", str(run), "-q"], folder, record, progress)
                return self.check(run)
            except PartFailed:  # what was left behind is of no use: begin again
                pass
        shutil.rmtree(run, ignore_errors=True)
        more = ["--no-measure"] if part["kind"] == "quality" else []
        self.icd(["run", "-c", part["config"], *self.settings(part), *more, "-o", str(run), "-q"], folder, record, progress)
        return self.check(run)

    @staticmethod
    def check(run):
        """`icd run` ends with 0 after a rollback, too: one before anything was computed is a failure."""
        metrics = read_json(run / "metrics.json")
        if metrics is None:
            raise PartFailed("icd left no metrics.json that can be read")
        if not metrics.get("arms"):
            raise PartFailed(f"icd ended before it had arms: {metrics.get('cause')}")

    def icd(self, words, folder, record, progress):
        record["commands"].append(" ".join(["icd", *words]))
        with open(folder / "icd.log", "ab") as log:
            self.child = subprocess.Popen([self.machine.icd, *words], stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
            code = self.wait(progress)
        if code == 0:
            return
        if code is None:
            raise PartFailed(f"cut off after {self.limit / 60:g} minutes; the same line again goes on")
        last = [line for line in (folder / "icd.log").read_text(errors="replace").splitlines() if line.strip()][-1:]
        raise PartFailed(f"icd {words[0]} ended with {code}: {last[0] if last else 'without a word'}")

    def wait(self, progress):
        """The exit code; None where the time was up."""
        end = time.monotonic() + self.limit
        while time.monotonic() < end:
            try:
                return self.child.wait(timeout=0.2 if time.monotonic() > end - self.limit + 2 else 0.02)
            except subprocess.TimeoutExpired:
                if progress:
                    progress.tick()
        self.stop_child()
        return None

    def stop_child(self):
        """The child and all of its own, who may be many (ncu, the measuring process)."""
        if not self.child or self.child.poll() is not None:
            return
        for sign in (signal.SIGTERM, signal.SIGKILL):
            os.killpg(self.child.pid, sign)
            try:
                self.child.wait(timeout=10)
                return
            except subprocess.TimeoutExpired:
                continue

    def store(self, part, folder, record):
        """Copies what is kept beside the old results, then takes its place."""
        target = self.out / part["name"]
        fresh = self.out / (part["name"] + ".new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        if record["state"] == "finished":
            run = folder / "run"
            for path in sorted(run.rglob("*")):
                inside = path.relative_to(run)
                if path.name in KEPT and (len(inside.parts) == 1 or (inside.parts[0] == "runs" and len(inside.parts) == 3)):
                    (fresh / inside).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(path, fresh / inside)
        if (folder / "icd.log").exists():
            shutil.copy(folder / "icd.log", fresh / "icd.log")
        (fresh / "commands.txt").write_text("".join(c + "\n" for c in record["commands"]))
        write_json(fresh / "part.json", record)
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)
        if record["state"] == "finished":
            shutil.rmtree(folder, ignore_errors=True)
