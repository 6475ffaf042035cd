#!/usr/bin/python3
"""solver.py BENCH_SOLVER INSTANCES OUT [-n REPEATS] [-b SECONDS] [-t THREADS] [--only NAME,...] [--report]

Runs bench_solver on every instance (bench/solver_instances.py makes those that are missing) by every
method, methods in turn, another seed each time. Leaves OUT/solver.tsv (every solve), OUT/solver.md
(medians, relative to METIS nested) and OUT/solver.svg (cut against processor time). With --report the
solves of an earlier run are only read. Graphs of a million nodes are
solved once, by fewer methods, and get six times the seconds."""
import argparse
import collections
import math
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
NAMES = ["mock-2560", "mock-2560-b40", "neurons-0", "neurons-1", "coactivation", "words", "includes",
         "packages", "sbm-100k", "sbm-1M", "grid-1M"]
PEERS = ["metis", "metis-kway", "scotch"]
METHODS = PEERS + ["rcm", "spectral", "auto@low", "auto", "auto@high"]
LARGE = ["metis", "auto@low", "auto", "auto@high"]
SHOWN = {"metis": "METIS recursive", "metis-kway": "METIS k-way", "scotch": "SCOTCH", "rcm": "RCM",
         "spectral": "Fiedler order", "auto@low": "ours, low",
         "auto": "ours, default", "auto@high": "ours, high"}
FIGURES = ["cut16", "cut64", "cut128", "Q", "C", "LA", "MLogA", "T"]
COLOUR = {"metis": "#1f5fa8", "metis-kway": "#5b9bd5", "scotch": "#7a5195", "rcm": "#aaaaaa",
          "spectral": "#777777", "auto@low": "#f2a900", "auto": "#d1462f",
          "auto@high": "#7d0a0a"}


def run(options, name, out):
    w = os.path.join(options.instances, name + ".csr.npz")
    sets = os.path.join(options.instances, name + ".access.npz")
    if not os.path.exists(w):
        print(f"{name}: left out, no {w}", file=sys.stderr)
        return
    large = name.endswith("1M")
    command = [options.bench, w, "-l", name, "-n", "1" if large else str(options.n), "-b",
               str(6 * options.b if large else options.b), "-t", str(options.t)]
    if os.path.exists(sets):
        command += ["-a", sets]
    for line in subprocess.run(command + (LARGE if large else METHODS), stdout=subprocess.PIPE,
                               text=True, check=True).stdout.splitlines():
        if not line.startswith("instance\t") or out.tell() == 0:
            out.write(line + "\n")
    out.flush()
    print(f"{name}: done", flush=True)


def read(path):
    """{instance: {method: [row]}}, in order of the file."""
    found = collections.OrderedDict()
    with open(path, encoding="utf-8") as f:
        head = f.readline().rstrip("\n").split("\t")
        for line in f:
            row = dict(zip(head, line.rstrip("\n").split("\t")))
            found.setdefault(row["instance"], collections.OrderedDict()).setdefault(
                row["method"], []).append(row)
    return found


def median(rows, what):
    return statistics.median(float(r[what]) for r in rows)


def spread(rows, what):
    values = [float(r[what]) for r in rows]
    return (max(values) - min(values)) / 2


def table(instance, methods):
    first = next(iter(methods.values()))[0]
    bound = max(float(r["bound"]) for rows in methods.values() for r in rows)
    lines = [f"## {instance}", "",
             f"{int(first['n']):,} nodes, {int(first['nnz']):,} entries; no order has cut64 below {bound:.4f}.",
             "", "| method | runs | CPU s | cut16 | cut64 | +- | cut128 | Q | C | LA | MLogA | T | cut64 / METIS |",
             "|---|---|---|---|---|---|---|---|---|---|---|---|---|"]
    base = median(methods["metis"], "cut64") if "metis" in methods else 0
    for method, rows in methods.items():
        m = {f: median(rows, f) for f in FIGURES + ["cpu_s"]}
        lines.append(
            f"| {SHOWN.get(method, method)} | {len(rows)} | {m['cpu_s']:.3g} | {m['cut16']:.4f} | "
            f"{m['cut64']:.4f} | {spread(rows, 'cut64'):.4f} | {m['cut128']:.4f} | {m['Q']:.4f} | "
            f"{m['C']:.4g} | {m['LA']:.4f} | {m['MLogA']:.3f} | "
            f"{format(m['T'], '.4f') if m['T'] > 0 else ''} | "
            f"{format(m['cut64'] / base, '.4f') if base else ''} |")
    return lines + [""]


def best_peer(methods, what):
    peers = [median(methods[p], what) for p in PEERS if p in methods]
    return min(peers) if peers else 0


def summary(found):
    """Ours against the best of the peers, instance by instance, and the geometric means."""
    lines = ["## Ours against the best peer of each figure", "",
             "| instance | low: cut64 | default: cut64 | default: cut16 | high: cut64 | CPU, default / METIS recursive |",
             "|---|---|---|---|---|---|"]
    logs = collections.defaultdict(list)
    for instance, methods in found.items():
        cells = []
        for method, what in [("auto@low", "cut64"), ("auto", "cut64"), ("auto", "cut16"),
                             ("auto@high", "cut64"), ("auto", "cpu_s")]:
            base = median(methods["metis"], what) if what == "cpu_s" and "metis" in methods \
                else best_peer(methods, what)
            if method not in methods or not base:
                cells.append("")
                continue
            ratio = median(methods[method], what) / base
            logs[len(cells)].append(math.log(ratio))
            cells.append(f"{ratio:.4f}" if what != "cpu_s" else f"{ratio:.2f}")
        lines.append(f"| {instance} | " + " | ".join(cells) + " |")
    means = [f"{math.exp(statistics.mean(logs[k])):.4f}" if logs[k] else "" for k in range(5)]
    return lines + ["| geometric mean | " + " | ".join(means) + " |", ""]


def panel(x0, y0, instance, methods):
    """One scatter: processor time, logarithmic, against cut64."""
    wide, high = 270, 170
    points = [(max(median(r, "cpu_s"), 1e-4), median(r, "cut64"), m) for m, r in methods.items()]
    low_x, high_x = math.log10(min(p[0] for p in points)) - .2, math.log10(max(p[0] for p in points)) + .2
    worst = max(p[1] for p in points if p[2] not in ("rcm", "spectral")) if len(points) > 2 else 1
    points = [(t, min(c, worst * 1.08), m) for t, c, m in points]
    low_y, high_y = min(p[1] for p in points), max(p[1] for p in points)
    margin = .1 * (high_y - low_y) or .01
    low_y, high_y = low_y - margin, high_y + margin
    at_x = lambda t: x0 + (math.log10(t) - low_x) / (high_x - low_x) * wide
    at_y = lambda c: y0 + high - (c - low_y) / (high_y - low_y) * high
    s = [f'<rect x="{x0}" y="{y0}" width="{wide}" height="{high}" fill="none" stroke="#999"/>',
         f'<text x="{x0}" y="{y0 - 6}" font-weight="bold">{instance}</text>']
    for decade in range(math.ceil(low_x), math.floor(high_x) + 1):
        x = at_x(10.0 ** decade)
        s.append(f'<line x1="{x:.1f}" y1="{y0}" x2="{x:.1f}" y2="{y0 + high}" stroke="#ddd"/>'
                 f'<text x="{x:.1f}" y="{y0 + high + 13}" text-anchor="middle">{10.0 ** decade:g} s</text>')
    for share in (0.1, 0.5, 0.9):
        c = low_y + share * (high_y - low_y)
        s.append(f'<text x="{x0 - 4}" y="{at_y(c) + 4:.1f}" text-anchor="end">{c:.3f}</text>')
    for t, c, m in points:
        s.append(f'<circle cx="{at_x(t):.1f}" cy="{at_y(c):.1f}" r="5" fill="{COLOUR.get(m, "#000")}">'
                 f'<title>{SHOWN.get(m, m)}: {t:.3g} s, {c:.4f}</title></circle>')
    return s


def plot(found, path):
    columns, rows = 3, -(-len(found) // 3)
    wide, high = 60 + columns * 340, 70 + rows * 230
    s = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" '
         'font-family="sans-serif" font-size="11">',
         f'<rect width="{wide}" height="{high}" fill="white"/>',
         '<text x="20" y="20" font-size="14">cut64 (lower is better) against processor time, medians; '
         'Fiedler and RCM orders above the frame are drawn at its top</text>']
    for k, method in enumerate(METHODS):
        x = 20 + k * 115
        s.append(f'<circle cx="{x}" cy="38" r="5" fill="{COLOUR[method]}"/>'
                 f'<text x="{x + 8}" y="42">{SHOWN[method]}</text>')
    for k, (instance, methods) in enumerate(found.items()):
        methods = {m: r for m, r in methods.items() if m in METHODS}
        s += panel(60 + k % columns * 340, 75 + k // columns * 230, instance, methods)
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(s + ["</svg>", ""]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("bench")
    parser.add_argument("instances")
    parser.add_argument("out")
    parser.add_argument("-n", type=int, default=5)
    parser.add_argument("-b", type=float, default=10)
    parser.add_argument("-t", type=int, default=1)
    parser.add_argument("--only")
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    raw = os.path.join(options.out, "solver.tsv")
    names = options.only.split(",") if options.only else NAMES
    if not options.report:
        os.makedirs(options.out, exist_ok=True)
        subprocess.run([sys.executable, os.path.join(HERE, "solver_instances.py"), options.instances]
                       + [n for n in names], check=True)
        with open(raw, "a" if options.only else "w", encoding="utf-8") as out:
            out.seek(0, os.SEEK_END)
            for name in names:
                run(options, name, out)
    found = read(raw)
    lines = ["# The solver beside its peers", "",
             "Medians over seeds; CPU seconds of one process, in memory, scores and bounds included. Peers are "
             "repaired to exact granules of 64 and nested to 16 (SCOTCH by itself, METIS k-way by METIS recursive). "
             "T, where there is a trace, is of its last third, which no order saw: granules touched over the fewest "
             "possible. +- is half the range over the seeds.", ""] + summary(found)
    for instance, methods in found.items():
        lines += table(instance, methods)
    with open(os.path.join(options.out, "solver.md"), "w", encoding="utf-8") as f:
        f.write("\n".join(lines))
    plot(found, os.path.join(options.out, "solver.svg"))


if __name__ == "__main__":
    main()
