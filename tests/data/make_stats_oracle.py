#!/usr/bin/env python3
"""Writes stats_oracle.json: what SciPy says about fixed series (made with SciPy 1.10.1, NumPy 1.24).

Per series: Wilcoxon's signed-rank test, the BCa interval of the mean (200000 resamples; its Monte Carlo
error is why the test allows .5 % of the width), the sign-flip permutation test where it is exact, the
least-squares slope over the index with its interval, and values beyond 3.5 x 1.4826 MAD."""
import json
import pathlib

import numpy as np
from scipy import stats

rng = np.random.default_rng(20261123)
SERIES = {
    "normal-30": rng.normal(-.05, .1, 30),
    "normal-12": rng.normal(.1, .2, 12),
    "skewed-40": rng.lognormal(0, .8, 40) - 1.2,
    "heavy-60": stats.t.rvs(2, size=60, random_state=7) * .05 + .01,
    "ties-33": np.round(rng.normal(.3, 1, 33) * 2) / 2,
    "large-200": rng.normal(.002, .02, 200) + np.linspace(0, .03, 200),
}


def describe(x):
    x = np.round(x, 6)
    exact = len(x) <= 50 and 0 not in x and len(set(abs(x))) == len(x)
    ranks = stats.wilcoxon(x, zero_method="wilcox", correction=False, mode="exact" if exact else "approx")
    ci = stats.bootstrap((x,), np.mean, method="BCa", n_resamples=200000, batch=10000, random_state=1).confidence_interval
    line = stats.linregress(np.arange(len(x)), x)
    half = stats.t.ppf(.975, len(x) - 2) * line.stderr
    mad = np.median(abs(x - np.median(x)))
    out = {"x": x.tolist(), "wilcoxon": float(ranks.statistic), "wilcoxon_p": float(ranks.pvalue), "exact": bool(exact),
           "bca": [float(ci.low), float(ci.high)], "slope": float(line.slope),
           "slope_low": float(line.slope - half), "slope_high": float(line.slope + half),
           "median": float(np.median(x)), "outliers": int((abs(x - np.median(x)) > 3.5 * 1.4826 * mad).sum())}
    if len(x) <= 14:
        flips = stats.permutation_test((x, np.zeros_like(x)), lambda a, b: np.mean(a - b), permutation_type="samples",
                                       n_resamples=np.inf)
        out["flip_p"] = float(flips.pvalue)
    return out


oracle = {"series": {name: describe(x) for name, x in SERIES.items()},
          "student_975": {str(df): float(stats.t.ppf(.975, df)) for df in (1, 2, 3, 5, 10, 28, 58, 1000)},
          "scipy": __import__("scipy").__version__}
path = pathlib.Path(__file__).with_name("stats_oracle.json")
path.write_text("{\n" + ",\n".join(f'"{key}": {json.dumps(value)}' for key, value in oracle.items()) + "\n}\n")
