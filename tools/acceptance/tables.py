"""The tables of a summary as rows of texts: Markdown and HTML print the same ones."""

TARGET_NAMES = {"latency": "latency", "l2": "L2 hit rate", "ept": "energy a token", "quality": "quality, iterative against linear",
                "quality_vs_dense": "quality, transformed against dense"}
MIB = 1 << 20


def number(value, digits=4, scale=1.0):
    return "-" if value is None else f"{value * scale:.{digits}g}"


def megabytes(value):
    """Three digits are enough, and never an exponent."""
    if value is None:
        return "-"
    value /= 1e6
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 or value == 0 else f"{value:.2f}"


def interval(metric, digits=4, scale=1.0):
    """A value, its interval, and how it came about where it was not measured."""
    if metric["value"] is None:
        return "-"
    text = number(metric["value"], digits, scale)
    if metric["low"] is not None and metric["low"] != metric["high"]:
        text += f" [{number(metric['low'], digits, scale)}, {number(metric['high'], digits, scale)}]"
    return text if metric["provenance"] == "MEASURED" else f"{text} {metric['provenance']}"


def change(arm):
    if arm["change"] is None:
        return "-"
    return f"{100 * arm['change']:+.1f} [{100 * arm['change_low']:+.1f}, {100 * arm['change_high']:+.1f}]" \
        if None not in (arm["change_low"], arm["change_high"]) else f"{100 * arm['change']:+.1f}"


def target_table(document):
    rows = []
    for part in document["parts"]:
        for name in TARGET_NAMES if "targets" in part else ():
            if part["kind"] == "quality" and not name.startswith("quality"):
                continue
            t = part["targets"][name]
            rows.append([part["name"], TARGET_NAMES[name], t["target"], t["found"], t["result"], t["reason"] or ""])
    return rows, ["part", "what", "target", "found [95 % CI]", "result", "why"]


def arm_table(part):
    rows = [[a["name"], interval(a["lat_ms"]), change(a), a["verdict"] or "", f"{100 * a['live'] / a['all']:.1f}" if a["all"] else "-",
             megabytes(a["bytes"]), interval(a["l2_hit_pct"], 3), interval(a["dram_bytes"], 4, 1e-6), interval(a["ept_j_per_tok"], 3, 1e3)]
            for a in part["arms"]]
    header = ["arm", "ms a step [95 % CI]", "against linear, %", "verdict", "live granules, %", "weights and pages, MB", "L2 hits, %",
              "from memory, MB a step", "mJ a token"]
    return rows, header



def curve_table(part):
    header = ["point", "tokens", "arm", "working set, MB", "of the L2", "ms a step", "L2 hits, %: measured", "predicted", "memory, MB: measured",
              "predicted", "mJ a token", "prediction"]
    rows = []
    for point in part["points"]:
        if point["error"]:
            rows.append([point["label"], "", "", *[""] * 8, f"failed: {point['error']}"])
        for a in point["arms"]:
            rows.append([point["label"], str(point["tokens"]), a["name"], megabytes(a["working_set"]), number(a["l2_share"], 3),
                         interval(a["lat_ms"]), interval(a["l2_measured"], 3), number(a["l2_predicted"]["value"], 3), interval(a["dram_measured"], 3, 1e-6),
                         megabytes(a["dram_predicted"]["value"]), interval(a["ept_j_per_tok"], 3, 1e3),
                         a["prediction"] or "nothing measured to compare"])
    return rows, header


