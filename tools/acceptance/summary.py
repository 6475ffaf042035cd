"""summary.json, .md and .html of a folder of results, against the targets."""
import time

import page
import tables
from parts import read_json, write_json
from readings import Run, prediction, sweep

SEED = ("latency", "l2", "ept", "quality")


class Summary:
    """Reads what the parts left; nothing in it is computed twice or made up."""

    def __init__(self, plan, machine, out, usable_l2_mib=None):
        self.plan, self.machine, self.out = plan, machine, out
        self.l2, self.l2_source = self._l2(usable_l2_mib)
        self.parts = [self._part(p) for p in plan.all]

    @staticmethod
    def finished(folder, plan):
        states = [(read_json(folder / p["name"] / "part.json") or {}).get("state") for p in plan.all]
        return all(s in ("finished", "skipped") for s in states)

    def _l2(self, given):
        if given:
            return given * tables.MIB, "given by --usable-l2-mib"
        if self.machine.gpu:
            mib = self.plan.l2_mib.get(self.machine.slug)
            return (mib * tables.MIB, "nominal; the usable part was not measured") if mib else (None, "unknown: give --usable-l2-mib")
        text = str(self.machine.fingerprint.get("l2") or "")
        if text.endswith("K") and text[:-1].isdigit():
            return int(text[:-1]) << 10, "second level of one CPU, as the kernel tells"
        return None, "the kernel does not tell: give --usable-l2-mib"

    def _part(self, part):
        folder = self.out / part["name"]
        record = read_json(folder / "part.json") or {}
        row = {"name": part["name"], "kind": part["kind"], "about": part["about"], "state": record.get("state", "not run"),
               "reason": record.get("reason"), "seconds": record.get("seconds"), "commands": record.get("commands", [])}
        if row["state"] != "finished":
            return row
        if part["kind"] == "sweep":
            row["points"] = [self._point(*p) for p in sweep(folder)]
            return row
        run = Run(folder)
        row.update(synthetic=run.synthetic, outcome=run.metrics.get("outcome"), cause=run.metrics.get("cause"),
                   verdict=run.metrics.get("verdict") or [], targets=run.targets(), arms=run.arms)
        return row

    def _point(self, label, run, error):
        arms = [a for a in run.arms if a["name"] in ("linear", "iterative")] if run else []
        return {"label": label, "error": error, "outcome": run.metrics.get("outcome") if run else None,
                "tokens": (run.metrics.get("input") or {}).get("tokens_per_step") if run else None,
                "arms": [{**a, "l2_share": a["working_set"] / self.l2 if self.l2 else None, "prediction": prediction(a)} for a in arms]}

    def counts(self):
        found = [p["targets"][t]["result"] for p in self.parts if "targets" in p
                 for t in SEED if p["kind"] != "quality" or t.startswith("quality")]
        return {r: found.count(r) for r in ("met", "not met", "not evaluated")}

    def headline(self):
        states = [p["state"] for p in self.parts]
        c = self.counts()
        text = (f"{states.count('finished')} of {len(states)} parts finished; the seed's targets in them: {c['met']} met, "
                f"{c['not met']} not met, {c['not evaluated']} not evaluated")
        return text if self.plan.claims else f"smoke: supports no claim. {text}"

    def document(self):
        return {"version": "icd-acceptance/1", "set": self.plan.name, "supports_claims": self.plan.claims, "headline": self.headline(),
                "device": self.machine.name(), "icd": self.machine.version, "written": time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime()),
                "l2_bytes": self.l2, "l2_source": self.l2_source, "counts": self.counts(), "parts": self.parts}

    def write(self):
        document = self.document()
        (self.out / "summary.md").write_text("\n".join(markdown(document)) + "\n")
        (self.out / "summary.html").write_text(page.html(document))
        write_json(self.out / "summary.json", document)


def table_lines(header, rows):
    clean = [[str(c).replace("|", "\\|") for c in row] for row in rows]
    return ["| " + " | ".join(header) + " |", "|" + "---|" * len(header), *("| " + " | ".join(r) + " |" for r in clean), ""]


def markdown(document):
    lines = [f"# Acceptance: {document['set']} on {document['device']}", "", f"**{document['headline']}.**", "",
             f"Written {document['written']} by icd {document['icd']}. L2: "
             f"{tables.number(document['l2_bytes'], 4, 1 / tables.MIB)} MiB ({document['l2_source']}).", ""]
    rows, header = tables.target_table(document)
    lines += ["## Targets", ""] + table_lines(header, rows)
    for part in document["parts"]:
        lines += part_lines(document, part)
    return lines


def part_lines(document, part):
    lines = [f"## {part['name']}", "", part["about"] + ("." if document["supports_claims"] else ". Smoke: supports no claim."), ""]
    if part["state"] != "finished":
        return lines + [f"{part['state']}: {part['reason'] or 'nothing was started'}", ""]
    if part["kind"] == "sweep":
        rows, header = tables.curve_table(part)
        return lines + table_lines(header, rows)
    if part["synthetic"]:
        lines += ["Synthetic weights: quality is not evaluated.", ""]
    lines += [f"> {v}" for v in part["verdict"]] + [""]
    if part["kind"] == "run":
        rows, header = tables.arm_table(part)
        lines += table_lines(header, rows)
    return lines
