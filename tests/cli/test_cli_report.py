"""The report as a reader has it: well-formed, self-contained, complete, and not blank in a browser."""
import csv
import html.parser
import json
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import unittest
import xml.etree.ElementTree
import zlib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from icd_cli import DATA, CliTest  # noqa: E402

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
BLOCK = DATA / "use-lite-ffn.safetensors"
QUICK = ["--override", "measure.burst_ms=1", "--override", "measure.ci_half_width=1",
         "--override", "measure.timeout_s=20", "--override", "pipeline.warmup_iter=1",
         "--override", "solver.effort=low", "--override", "runner.seq=64", "-q",
         "--override", "transform.sparsity.type=hds", "--override", "transform.quant.dtype=int8"]
VOID = {"meta", "br", "hr", "img", "link", "input", "path"}
COLUMNS = ["arm", "role", "kernel"] + [
    f"{metric}{suffix}" for metric in ("lat_ms", "toks_per_s", "l2_hit_pct", "ept_j_per_tok")
    for suffix in ("", "_low", "_high", "_provenance")] + ["repeats", "live", "all", "bytes"]


class Page(html.parser.HTMLParser):
    """Checks nesting and notes what matters."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.faults, self.tags, self.ids, self.links = [], [], [], [], []
        self.text = ""
        self.feed(text)
        self.close()
        if self.open:
            self.faults.append(f"never closed: {self.open}")

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append((tag, attrs))
        if "id" in attrs:
            self.ids.append(attrs["id"])
        self.links += [attrs[name] for name in ("href", "src") if name in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open[-1] != tag:
            self.faults.append(f"{self.getpos()}: </{tag}> closes {self.open[-1:]}")
        else:
            self.open.pop()

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.text += data

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def pixels(path):
    """The rows of a PNG of 8 bits a channel, unfiltered."""
    data = path.read_bytes()
    at, packed = 8, b""
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + length]
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", body[:10])
        elif kind == b"IDAT":
            packed += body
        at += 12 + length
    assert depth == 8 and colour in (2, 6)
    step = 3 if colour == 2 else 4
    raw, rows, last = zlib.decompress(packed), [], bytearray(width * step)
    for y in range(height):
        begin = y * (width * step + 1)
        kind, row = raw[begin], bytearray(raw[begin + 1:begin + 1 + width * step])
        for x in range(len(row)):
            left, up = row[x - step] if x >= step else 0, last[x]
            corner = last[x - step] if x >= step else 0
            if kind == 1:
                row[x] = (row[x] + left) & 255
            elif kind == 2:
                row[x] = (row[x] + up) & 255
            elif kind == 3:
                row[x] = (row[x] + (left + up) // 2) & 255
            elif kind == 4:
                near = min((abs(up - corner), 0, left), (abs(left - corner), 1, up),
                           (abs(left + up - 2 * corner), 2, corner))
                row[x] = (row[x] + near[2]) & 255
        rows.append([tuple(row[x:x + 3]) for x in range(0, len(row), step)])
        last = row
    return rows


class Report(CliTest):
    """One measured run of the shipped block, looked at from all sides."""

    def run_once(self, *more):
        self.icd("run", "--model", BLOCK, "--out", "run", *QUICK, "--override", f"cache.dir={self.dir}/cache", *more)
        return self.dir / "run"

    def read(self, out):
        text = (out / "report.html").read_text(encoding="utf-8")
        return text, Page(text)

    def check_page(self, text, page):
        self.assertEqual(page.faults, [])
        self.assertLess(len(text), 3_000_000)
        self.assertNotIn("script", {tag for tag, _ in page.tags})
        self.assertFalse(any(name.startswith("on") for _, attrs in page.tags for name in attrs))
        self.assertEqual(re.findall(r"https?://|//[a-z]|@import|url\(", text), [])
        for link in page.links:
            self.assertTrue(link[1:] in page.ids if link[0] == "#" else re.fullmatch(r"[\w.]+", link), link)
        for attrs in page.all("svg"):
            self.assertTrue(attrs.get("aria-label") or attrs.get("aria-hidden"), attrs)
        for _, attrs in page.tags:
            if attrs.get("role") == "img":
                self.assertTrue(attrs.get("aria-label"), attrs)
        for attrs in page.all("img"):
            self.assertTrue(attrs.get("alt"), attrs)
        for attrs in page.all("th"):
            self.assertIn(attrs.get("scope"), ("col", "row"))
        self.assertEqual(len(page.all("table")), len(page.all("caption")))
        self.assertEqual(len(page.ids), len(set(page.ids)))
        self.assertIn(("html", {"lang": "en"}), page.tags)
        self.assertEqual(re.findall(r"\b-?(?:nan|inf)\b", page.text), [])

    def check_csv(self, out, arms):
        with open(out / "report.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual(list(rows[0]), COLUMNS)
        self.assertEqual([row["arm"] for row in rows], [arm["name"] for arm in arms])
        for row, arm in zip(rows, arms):
            self.assertAlmostEqual(float(row["lat_ms"]), arm["lat_ms"]["value"], delta=1e-6)
            self.assertEqual(row["lat_ms_provenance"], "MEASURED")
            for key in ("l2_hit_pct", "ept_j_per_tok"):
                self.assertEqual(row[key + "_provenance"], arm[key]["provenance"])
                self.assertEqual(row[key] == "", arm[key]["provenance"] == "ABSENT")
            self.assertEqual(int(row["repeats"]), arm["repeats"])

    def check_picture(self, out, width, dark=False):
        png = self.dir / f"{width}.png"
        page = out / "report.html"
        if dark:
            page = out / "dark.html"
            page.write_text((out / "report.html").read_text().replace("prefers-color-scheme:dark", "min-width:1px"))
        subprocess.run([BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                        f"--user-data-dir={self.dir}/browser", f"--screenshot={png}",
                        f"--window-size={width},900", page.resolve().as_uri()],
                       check=True, capture_output=True, timeout=120)
        rows = pixels(png)
        seen = {}
        for row in rows[::3]:
            for colour in row[::3]:
                seen[colour] = seen.get(colour, 0) + 1
        paper = max(seen, key=seen.get)
        ink = sum(count for colour, count in seen.items()
                  if sum(abs(a - b) for a, b in zip(colour, paper)) > 200) / sum(seen.values())
        self.assertGreater(ink, .01)
        self.assertGreater(len(seen), 50)
        self.assertEqual(sum(paper) < 200, dark)

    def check_phone(self, out):
        """No window of a browser is as narrow as a phone, a frame may be: nothing scrolls sideways there."""
        frame = out / "frame.html"
        frame.write_text("".join(f'<iframe id=w{w} style="width:{w}px;height:700px;border:0" src=report.html></iframe>'
                                 for w in (360, 390)) + """<script>onload = () => {
            document.title = ["w360", "w390"].map(id => {
                const e = document.getElementById(id).contentDocument.documentElement;
                return e.clientWidth > 300 && e.scrollWidth <= e.clientWidth ? "fits" : "scrolls";
            }).join(" ");
        }</script>""")
        done = subprocess.run([BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files",
                               f"--user-data-dir={self.dir}/browser", "--virtual-time-budget=4000", "--dump-dom",
                               frame.resolve().as_uri()], check=True, capture_output=True, text=True, timeout=120)
        self.assertIn("<title>fits fits</title>", done.stdout)

    def test_measured_run(self):
        out = self.run_once()
        metrics = json.loads((out / "metrics.json").read_text())
        text, page = self.read(out)
        self.check_page(text, page)
        self.check_csv(out, metrics["arms"])
        for line in metrics["verdict"]:
            self.assertIn(line, page.text)
        for arm in metrics["arms"]:
            self.assertIn(arm["name"], page.text)
            self.assertIn(f"{arm['lat_ms']['value']:.3f}", page.text)
        for row in metrics["linears"]:
            self.assertIn(row["linear"], page.text)
        l2 = {arm["name"]: arm["l2_hit_pct"] for arm in metrics["arms"]}
        self.assertIn(l2["linear"]["provenance"], ("MEASURED", "SIMULATED"))
        self.assertIn(l2["random"]["reason"], page.text)
        self.assertIn("absent", page.text)
        drawn = [attrs.get("class") for attrs in page.all("svg")]
        self.assertEqual(drawn.count(None), 4)
        self.assertEqual(drawn.count("tilemap"), 2 * len(metrics["linears"]))
        self.assertEqual(drawn.count("dist"), len(metrics["arms"]))
        self.assertEqual(drawn.count("course"), 1)
        for section in ("arms", "samples", "metrics", "cost", "layers", "orders", "checks", "environment"):
            self.assertIn(section, page.ids)
        for link in page.links:
            self.assertTrue(link[0] == "#" or (out / link).exists(), link)
        for row in metrics["gates"]:
            self.assertIn(row["reason"], page.text)
        self.check_other_formats(out, metrics)
        self.assertNotIn("No picture", page.text)
        if not BROWSER:
            print("skipped: no chromium to look at the report with")
            return
        self.check_picture(out, 1000)
        self.check_picture(out, 500)
        self.check_picture(out, 1000, dark=True)
        self.check_phone(out)

    def check_other_formats(self, out, metrics):
        self.icd("report", "run", "--format", "md,junit")
        markdown = (out / "report.md").read_text()
        self.assertIn(f"| linear | baseline | {metrics['arms'][0]['lat_ms']['value']:.3f} |", markdown)
        suite = xml.etree.ElementTree.parse(out / "junit.xml").getroot()
        cases = {case.get("name"): case for case in suite}
        self.assertEqual(len(cases), int(suite.get("tests")))
        self.assertEqual(sum(1 for case in suite if case.find("failure") is not None), int(suite.get("failures")))
        for gate in metrics["gates"]:
            found = [child.tag for child in cases[gate["name"]]]
            self.assertEqual(found, {"met": [], "not met": ["failure"], "not evaluated": ["skipped"]}[gate["result"]])
        self.fails(2, "report", "run", "--format", "html,pdf", say=["pdf"])

    def test_sweep_and_calibration_are_shown(self):
        out = self.run_once("--no-measure")
        (out / "calibration.json").write_text(json.dumps({
            "base_ms": 1, "ms_per_mb": 2, "r2": .98, "r2_cv": .97, "spearman": .9,
            "points": [{"layout": f"l{i}", "bytes": 1e6 * i, "ms": 1 + 2 * i} for i in range(1, 9)]}))
        (out / "sweep.csv").write_text('config,run,lat_ms,quality\n"a, <b>",x,2,.9\nslow,y,3,.8\nbest,z,1,.7\nbad,z,,\n')
        self.icd("report", "run")
        text, page = self.read(out)
        self.check_page(text, page)
        self.assertIn("sweep", page.ids)
        for say in ("a, <b>", "slow", "best", "0.970", "cross-validated"):
            self.assertIn(say, page.text)
        self.assertNotIn("bad", page.text.split("Configurations")[1][:200])
        self.assertEqual(len([a for a in page.all("div") if a.get("class") == "plot"]), 2)
        (out / "sweep.csv").write_text('config,lat_ms\na,1\n')
        self.icd("report", "run")
        self.assertNotIn("sweep", self.read(out)[1].ids)

    def test_endings_without_measurement(self):
        for more, say in ((["--no-measure"], "not measured"), (["--dry-run"], "dry run"),
                          (["--no-measure", "--override", "pipeline.mode=linear"], "not measured")):
            with self.subTest(more):
                shutil.rmtree(self.dir / "run", ignore_errors=True)
                text, page = self.read(self.run_once(*more))
                self.check_page(text, page)
                self.assertIn(say, page.text)

    def test_missing_w_is_said(self):
        out = self.run_once("--no-measure")
        for path in out.glob("axes/*/W*.npz"):
            path.unlink()
        self.icd("report", "run")
        text, page = self.read(out)
        self.check_page(text, page)
        self.assertIn("No picture: axes/", page.text)
        self.assertEqual(page.all("svg"), [])

    def test_foreign_metrics(self):
        (self.dir / "run").mkdir()
        evil = "<img src=x onerror=alert(1)>\"'&"
        (self.dir / "run/metrics.json").write_text(json.dumps({
            "outcome": evil, "verdict": [evil], "cause": evil, "model": {"name": evil, "arch": evil},
            "arms": [{"name": evil, "role": evil, "kernel": evil + ",\n", "lat_ms": {"value": 1, "provenance": evil}}],
            "comparisons": [{"a": evil, "b": evil, "delta": .1, "verdict": evil}],
            "linears": [{"linear": evil, "all": 0, "live": {"linear": 1}}], "axes": [{"axis": evil}],
            "environment": {evil: evil}, "reproduce": [evil], "gates": [{"name": evil, "result": "met"}],
            "evidence": [{"name": evil, "provenance": evil, "verdict": evil, "unit": evil, "reason": evil}],
            "prediction": {"live_ratio": evil}, "clock": {"mode": evil, "core_mhz": evil},
            "samples": {"low": 0, "high": 1, "arms": [{"name": evil, "count": [1, -1e300, evil]}],
                        "course": {"linear": [1, evil, 1e300], "iterative": evil}}}))
        self.icd("report", "run", "--format", "html,csv,md,junit")
        xml.etree.ElementTree.parse(self.dir / "run/junit.xml")
        self.assertNotIn("<img", (self.dir / "run/report.md").read_text().replace("\\<", ""))
        text, page = self.read(self.dir / "run")
        self.check_page(text, page)
        self.assertEqual(page.all("img"), [])
        with open(self.dir / "run/report.csv", newline="", encoding="utf-8") as file:
            row = next(csv.DictReader(file))
        self.assertEqual((row["arm"], row["kernel"]), (evil, evil + ",\n"))


if __name__ == "__main__":
    unittest.main(verbosity=1)
