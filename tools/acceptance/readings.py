"""metrics.json and meters.json of a run, checked, as rows of numbers. What is absent stays absent: None."""
import json
import math
import pathlib

# Measured values must agree with the prediction at least so well, or the table says that it failed.
HIT_RATE_PP, BYTES_FACTOR = 10, 2
GATES = ("latency", "l2", "ept", "quality", "quality_vs_dense")


class Damaged(Exception):
    """A file that was written by icd cannot be what icd wrote."""


def load(path):
    """A JSON object, or None where there is no such file."""
    path = pathlib.Path(path)
    if not path.exists():
        return None
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise Damaged(f"{path}: expected JSON, found something else ({error}); delete its folder and run the part again") from error
    if not isinstance(value, dict):
        raise Damaged(f"{path}: expected an object, found {type(value).__name__}; delete its folder and run the part again")
    return value


def number(value):
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return value if good else None


def metric(row):
    """{"value", "low", "high", "provenance", "reason"} of a metric of icd; a missing one is ABSENT."""
    row = row if isinstance(row, dict) else {}
    value = number(row.get("value"))
    provenance = row.get("provenance", "ABSENT") if value is not None else "ABSENT"
    return {"value": value, "low": number(row.get("low")), "high": number(row.get("high")), "provenance": provenance,
            "reason": row.get("reason") or (None if value is not None else "not in the file")}


def rows_of(document, key, path):
    rows = document.get(key, [])
    if not isinstance(rows, list) or not all(isinstance(r, dict) for r in rows):
        raise Damaged(f"{path}: '{key}' is no list of objects; delete its folder and run the part again")
    return rows


def activation_bytes(metrics, path):
    """Input and output of the widest linear for all tokens of a step: what one kernel hands to the next."""
    rows = rows_of(metrics, "linears", path)
    widest = max((int(r.get("rows") or 0) + int(r.get("cols") or 0) for r in rows), default=0)
    gpu = bool((metrics.get("environment") or {}).get("gpu"))
    return widest * int((metrics.get("input") or {}).get("tokens_per_step") or 0) * (2 if gpu else 4)


def by_meter(meters, path):
    """{(arm, meter): {metric: row}}"""
    found = {}
    for row in rows_of(meters or {}, "meters", path):
        found.setdefault((row.get("arm"), row.get("meter")), {}).update(row.get("metrics") or {})
    return found


def best_measured(found, arm, key):
    """What a counter read, whichever meter it was."""
    for (name, _), metrics in found.items():
        row = metric(metrics.get(key))
        if name == arm and row["provenance"] == "MEASURED":
            return row
    return metric(None)


class Run:
    """One run directory's numbers."""

    def __init__(self, folder):
        path = pathlib.Path(folder) / "metrics.json"
        self.metrics = load(path)
        if self.metrics is None:
            raise Damaged(f"{path}: is not there, although the part is marked finished; delete its folder and run the part again")
        self.meters = load(pathlib.Path(folder) / "meters.json")
        self.path = path
        self.synthetic = bool((self.metrics.get("model") or {}).get("synthetic"))
        self.arms = self._arms()
        self.gates = {g.get("name"): g for g in rows_of(self.metrics, "gates", path)}
        self.evidence = {e.get("name"): e for e in rows_of(self.metrics, "evidence", path)}

    def _arms(self):
        changes = {c.get("b"): c for c in rows_of(self.metrics, "comparisons", self.path) if c.get("a") == "linear"}
        found = by_meter(self.meters, self.path)
        extra = activation_bytes(self.metrics, self.path)
        arms = []
        for row in rows_of(self.metrics, "arms", self.path):
            name = row.get("name")
            kv = row.get("kv") if isinstance(row.get("kv"), dict) else {}
            weights = (number(row.get("bytes")) or 0) + (number(kv.get("bytes")) or 0)
            change = changes.get(name, {})
            simulated = found.get((name, "cachesim"), {})
            arms.append({
                "name": name, "role": row.get("role"), "live": number(row.get("live")), "all": number(row.get("all")),
                "bytes": weights, "working_set": weights + extra, "lat_ms": metric(row.get("lat_ms")),
                "l2_hit_pct": metric(row.get("l2_hit_pct")), "dram_bytes": metric(row.get("dram_bytes")),
                "ept_j_per_tok": metric(row.get("ept_j_per_tok")), "change": number(change.get("delta")),
                "change_low": number(change.get("low")), "change_high": number(change.get("high")), "verdict": change.get("verdict"),
                "l2_measured": best_measured(found, name, "l2_hit_pct"), "dram_measured": best_measured(found, name, "dram_bytes"),
                "l2_predicted": metric(simulated.get("l2_hit_pct")), "dram_predicted": metric(simulated.get("dram_bytes"))})
        return arms

    def target(self, name):
        """What a target came to: never "met" without a measured value, and never by a gap in the file."""
        gate = self.gates.get(name, {})
        evidence = self.evidence.get("quality" if name.startswith("quality") else name, {})
        result = gate.get("result") if gate.get("result") in ("met", "not met") else "not evaluated"
        reason = gate.get("reason") or "metrics.json has no such gate"
        if name.startswith("quality") and self.synthetic:
            result, reason = "not evaluated", "the weights are synthetic; see the parts on trained weights"
        return {"target": gate.get("target", "-"), "found": gate.get("found", "-"), "result": result, "reason": reason,
                "provenance": evidence.get("provenance", "ABSENT") if name != "quality_vs_dense" else None}

    def targets(self):
        return {name: self.target(name) for name in GATES}


def prediction(arm):
    """How the cache model did on one arm, in words; None where nothing was measured."""
    faults = []
    measured, predicted = arm["l2_measured"]["value"], arm["l2_predicted"]["value"]
    compared = measured is not None and predicted is not None
    if compared and abs(measured - predicted) > HIT_RATE_PP:
        faults.append(f"hit rate off by {predicted - measured:+.0f} pp")
    measured, predicted = arm["dram_measured"]["value"], arm["dram_predicted"]["value"]
    if measured and predicted is not None:
        compared = True
        ratio = predicted / measured
        if not 1 / BYTES_FACTOR <= ratio <= BYTES_FACTOR:
            faults.append(f"bytes {ratio:.2g} times the measured ones")
    if not compared:
        return None
    return "fails: " + ", ".join(faults) if faults else f"within {HIT_RATE_PP} pp and a factor of {BYTES_FACTOR}"


def sweep(folder):
    """[(label, Run or None, error or None)] of a sweep, in its order."""
    path = pathlib.Path(folder) / "sweep.json"
    table = load(path)
    if table is None:
        raise Damaged(f"{path}: is not there, although the part is marked finished; delete its folder and run the part again")
    points = []
    for row in rows_of(table, "points", path):
        error = row.get("error")
        run = None if error else Run(pathlib.Path(folder) / str(row.get("run")))
        points.append((row.get("config"), run, error))
    return points
