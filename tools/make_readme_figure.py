#!/usr/bin/env python3
"""Draws docs/images/granules.svg from the metrics.json of a run: make_readme_figure.py METRICS OUT.

Mean share of granules with a surviving weight, by kind of linear: before (linear) and after (iterative)
re-permutation, beside frequency sort.
"""
import json
import sys

KINDS = [("attn.q", "Q"), ("attn.k", "K"), ("attn.v", "V"), ("attn.out", "attention out"),
         ("ffn.up", "FFN up"), ("ffn.down", "FFN down")]
ARMS = [("linear", "before (linear)", "#8795b0"),
        ("frequency", "frequency sort", "#d8a24a"),
        ("iterative", "after re-permutation", "#0b6bcb")]


def share(rows, arm):
    return sum(r["live"][arm] for r in rows) / sum(r["all"] for r in rows)


def main(metrics_path, out_path):
    with open(metrics_path, encoding="utf-8") as file:
        metrics = json.load(file)
    parts, y = [], 70
    for suffix, label in KINDS:
        rows = [r for r in metrics["linears"] if r["linear"].endswith("." + suffix)]
        if not rows:
            continue
        parts.append(f'<text x="130" y="{y + 22}" text-anchor="end">{label}</text>')
        for i, (arm, _, colour) in enumerate(ARMS):
            s = share(rows, arm)
            parts.append(f'<rect x="140" y="{y + 12 * i}" width="{460 * s:.1f}" height="10" fill="{colour}"/>')
            parts.append(f'<text x="{146 + 460 * s:.1f}" y="{y + 12 * i + 9}" class="s">{100 * s:.0f} %</text>')
        y += 46
    legend = "".join(f'<rect x="{140 + 200 * i}" y="38" width="10" height="10" fill="{c}"/>'
                     f'<text x="{155 + 200 * i}" y="47" class="s">{name}</text>'
                     for i, (_, name, c) in enumerate(ARMS))
    t = metrics["transform"]["sparsity"]
    title = (f'{metrics["model"]["name"]}, {100 * t["rate"]:.0f} % pruned, int8: share of 64 x 4 granules '
             'that a kernel must still execute')
    with open(out_path, "w", encoding="utf-8") as file:
        file.write(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 {y + 10}" role="img" '
                   f'aria-label="{title}"><style>text{{font:13px system-ui,sans-serif;fill:#1d2430}}'
                   f'.s{{font-size:11px}}</style><rect width="100%" height="100%" fill="#fff"/>'
                   f'<text x="20" y="24">{title}</text>{legend}{"".join(parts)}</svg>\n')


if __name__ == "__main__":
    main(*sys.argv[1:3])
