"""summary.html: one file, no script, nothing loaded from elsewhere; curves as SVG."""
import html as escape_html
import math

import tables

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:76rem;padding:0 1rem;color:#1c2330;background:#fff}
h1{font-size:1.6rem;margin:0 0 .3rem}h2{font-size:1.15rem;margin:2.2rem 0 .4rem}
.banner{background:#fff3cd;border-left:5px solid #d39e00;padding:.6rem 1rem;margin:1rem 0;font-weight:600}
.muted{color:#5a6475}.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:13px;margin:.6rem 0;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.28rem .7rem .28rem 0;border-bottom:1px solid #e3e6ec;vertical-align:top}
th{font-weight:600;color:#3a4354}td.n,td:first-child{white-space:nowrap}
.met{color:#0b6b3a;font-weight:600}.not-met{color:#a3201d;font-weight:600}.not-evaluated{color:#6b7280}
svg{max-width:100%;height:auto}code{font-size:12px;background:#f4f5f8;padding:.1rem .3rem;word-break:break-all}
details{margin:.4rem 0}
"""
WIDTH, HEIGHT, PAD_LEFT, PAD_BOTTOM, PAD_TOP = 330, 240, 56, 44, 30
SERIES = (("linear", "#0b5fa5", "circle"), ("iterative", "#c4570c", "square"))
# title, member, member that was predicted, factor, logarithmic
PANELS = (("time of a step, ms", "lat_ms", None, 1, True), ("L2 hits, %", "l2_measured", "l2_predicted", 1, False),
          ("from memory, MB a step", "dram_measured", "dram_predicted", 1e-6, True), ("energy, mJ a token", "ept_j_per_tok", None, 1e3, True))


def text(value):
    return escape_html.escape(str(value))


def cell(value):
    known = {"met": "met", "not met": "not-met", "not evaluated": "not-evaluated"}.get(value)
    if known:
        return f'<td class="{known}">{value}</td>'
    numeric = value[:1] in "+-0123456789" and len(value) < 34
    return f'<td class="n">{text(value)}</td>' if numeric else f"<td>{text(value)}</td>"


def table(header, rows):
    head = "".join(f"<th>{text(h)}</th>" for h in header)
    body = "".join("<tr>" + "".join(cell(str(c)) for c in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


class Axis:
    """Values to pixels, and the ticks between."""

    def __init__(self, values, low, high, log):
        self.log = log
        values = [v for v in values if v is not None and (v > 0 or not log)]
        first, last = (min(values), max(values)) if values else (1, 2)
        if log:
            self.first, self.last = math.log2(first) - 0.3, math.log2(last) + 0.3
        else:
            self.first, self.last = 0, 100
        self.low, self.high = low, high

    def at(self, value):
        place = math.log2(value) if self.log else value
        return self.low + (place - self.first) / (self.last - self.first) * (self.high - self.low)

    def ticks(self):
        if not self.log:
            return [0, 25, 50, 75, 100]
        step = max(1, round((self.last - self.first) / 5))
        return [2.0 ** e for e in range(math.ceil(self.first), math.floor(self.last) + 1, step)] or [2.0 ** ((self.first + self.last) / 2)]


def label(value):
    return f"{value:.3g}" if value == 0 or value >= 0.001 else f"{value:.0e}"


def mark(kind, x, y, color, hollow):
    fill = "#fff" if hollow else color
    if kind == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{fill}" stroke="{color}" stroke-width="1.6"/>'
    return f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8" fill="{fill}" stroke="{color}" stroke-width="1.6"/>'


def dots(points, arm, member, factor, log):
    """(x, y) of one series, by x; values that cannot be drawn are left out."""
    found = []
    for point in points:
        for a in point["arms"]:
            value = a[member]["value"] if member else None
            if a["name"] == arm and value is not None and a["l2_share"] and (value > 0 or not log):
                found.append((a["l2_share"], value * factor))
    return sorted(found)


def series(points, member, predicted, factor, log):
    """What a panel draws: (dots, colour, mark, hollow) of every arm, measured and predicted, that has any."""
    found = [(dots(points, name, m, factor, log), color, kind, hollow)
             for name, color, kind in SERIES for m, hollow in ((member, False), (predicted, True))]
    return [f for f in found if f[0]]


def grid(x, y):
    out = []
    for tick in y.ticks():
        out.append(f'<line x1="{PAD_LEFT}" x2="{WIDTH - 8}" y1="{y.at(tick):.1f}" y2="{y.at(tick):.1f}" stroke="#e3e6ec"/>'
                   f'<text x="{PAD_LEFT - 6}" y="{y.at(tick) + 4:.1f}" text-anchor="end">{label(tick)}</text>')
    for tick in x.ticks():
        out.append(f'<text x="{x.at(tick):.1f}" y="{HEIGHT - PAD_BOTTOM + 15}" text-anchor="middle">{label(tick)}</text>')
    out.append(f'<line x1="{x.at(1):.1f}" x2="{x.at(1):.1f}" y1="{PAD_TOP - 6}" y2="{HEIGHT - PAD_BOTTOM}" stroke="#5a6475" stroke-dasharray="4 3"/>'
               f'<text x="{(PAD_LEFT + WIDTH) / 2}" y="{HEIGHT - 10}" text-anchor="middle">working set / L2</text>')
    return "".join(out)


def panel(points, title, log, drawn, place):
    x = Axis([a["l2_share"] for p in points for a in p["arms"]] + [1], PAD_LEFT, WIDTH - 8, True)
    y = Axis([v for d, *_ in drawn for _, v in d], HEIGHT - PAD_BOTTOM, PAD_TOP, log)
    out = [f'<g transform="translate({(WIDTH + 16) * (place % 2)},{(HEIGHT + 10) * (place // 2)})" font-size="11" fill="#3a4354">',
           f'<text x="{PAD_LEFT}" y="16" font-size="12.5" font-weight="600">{title}</text>', grid(x, y)]
    for found, color, kind, hollow in drawn:
        path = " ".join(f"{x.at(a):.1f},{y.at(b):.1f}" for a, b in found)
        dash = ' stroke-dasharray="2 3"' if hollow else ""
        out.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.4"{dash}/>')
        out += [mark(kind, x.at(a), y.at(b), color, hollow) for a, b in found]
    return "".join(out) + "</g>"


def legend(at):
    marks = "".join(f'{mark(kind, 64 + 90 * i, at - 4, color, False)}<text x="{74 + 90 * i}" y="{at}">{name}</text>'
                    for i, (name, color, kind) in enumerate(SERIES))
    return (f'<g fill="#3a4354">{marks}<text x="250" y="{at}">hollow: predicted by the cache model (SIMULATED)</text>'
            f'<text x="60" y="{at + 18}">dashed vertical line: the working set is as large as the L2</text></g>')


def curve(points):
    """The panels that have something to show, and in words those that have not."""
    panels, missing = [], []
    for title, member, predicted, factor, log in PANELS:
        drawn = series(points, member, predicted, factor, log) if any(a["l2_share"] for p in points for a in p["arms"]) else []
        if drawn:
            panels.append(panel(points, title, log, drawn, len(panels)))
        else:
            missing.append(title.split(",")[0])
    note = f"<p class='muted'>No picture, because nothing was read or it was always 0: {', '.join(missing)}.</p>" if missing else ""
    if not panels:
        return note
    at = (len(panels) + 1) // 2 * (HEIGHT + 10) + 12
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH + 16} {at + 26}" width="{2 * WIDTH + 16}" role="img" '
            f'aria-label="time, L2 hits, bytes and energy against the working set" font-family="system-ui,sans-serif" font-size="11">'
            f'{"".join(panels)}{legend(at)}</svg>{note}')


def part_html(document, part):
    out = [f"<h2>{text(part['name'])}</h2>", f"<p>{text(part['about'])}.{'' if document['supports_claims'] else ' <b>Smoke: supports no claim.</b>'}</p>"]
    if part["state"] != "finished":
        return out + [f"<p class='muted'>{text(part['state'])}: {text(part['reason'] or 'nothing was started')}</p>"]
    if part["kind"] == "sweep":
        rows, header = tables.curve_table(part)
        return out + [curve(part["points"]), table(header, rows), commands(part)]
    if part["synthetic"]:
        out.append("<p class='muted'>Synthetic weights: quality is not evaluated.</p>")
    out += [f"<p>{text(v)}</p>" for v in part["verdict"]]
    if part["kind"] == "run":
        rows, header = tables.arm_table(part)
        out.append(table(header, rows))
    return out + [commands(part)]


def commands(part):
    lines = "<br>".join(f"<code>{text(c)}</code>" for c in part["commands"])
    return f"<details><summary class='muted'>{part['seconds']} s; commands</summary>{lines}</details>"


def html(document):
    banner = "" if document["supports_claims"] else "<div class='banner'>smoke: supports no claim. Small shapes on a CPU show that the harness works, nothing else.</div>"
    l2 = tables.number(document["l2_bytes"], 4, 1 / tables.MIB)
    title = f"Acceptance: {text(document['set'])} on {text(document['device'])}"
    rows, header = tables.target_table(document)
    body = [f"<h1>{title}</h1>", banner, f"<p><b>{text(document['headline'])}.</b></p>",
            f"<p class='muted'>Written {document['written']} by icd {text(document['icd'])}. L2: {l2} MiB ({text(document['l2_source'])}).</p>",
            "<h2>Targets</h2>", table(header, rows)]
    for part in document["parts"]:
        body += part_html(document, part)
    return (f"<!doctype html><html lang='en'><head><meta charset='utf-8'><meta name='viewport' content='width=device-width'><title>{title}</title>"
            f"<style>{STYLE}</style></head><body>{''.join(body)}</body></html>\n")
