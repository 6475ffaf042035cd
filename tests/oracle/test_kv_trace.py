#!/usr/bin/env python3
"""Access sets of KV tokens: where the queries of a decoder look, as W of counts."""
import pathlib
import sys
import unittest

try:
    import numpy as np
except ImportError:
    print("skipped: NumPy is not there")
    sys.exit(77)

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "cli"))
from icd_cli import DATA, CliTest

SEQ, SEQUENCES = 32, 8


class KvTrace(CliTest):
    def counts(self, mass):
        """How many queries look at both i and j, [tokens x tokens], with sets that hold a share of attention."""
        out = self.json("trace", DATA / "tiny-decoder", "--input", DATA / "text/austen.txt", "--tokens", SEQ * SEQUENCES,
                        "--seq", SEQ, "--activity-mass", mass, "--axes", "layer.1.kv", "-o", "t", "-q")
        self.assertEqual((out["axes"], out["events"]), (1, SEQ * SEQUENCES))
        self.assertTrue(0 < out["overhead"] < 1)
        self.icd("graph", "-t", "t/axes/layer.1.kv/trace.icdt", "-o", "W.csr.npz", "-q", "--override",
                 "graph.weighting=count", "--override", "graph.normalize=none", "--override", "graph.nnz_cap=1000000")
        w = np.load(self.dir / "W.csr.npz")
        dense = np.zeros(w["shape"])
        for i in range(len(dense)):
            at = slice(w["indptr"][i], w["indptr"][i + 1])
            dense[i, w["indices"][at]] = w["data"][at]
        return dense

    def test_all_of_the_mass_is_all_of_the_past(self):
        found = self.counts(1)
        token = np.arange(SEQ * SEQUENCES)
        same = token[:, None] // SEQ == token[None, :] // SEQ
        later = np.maximum(token[:, None], token[None, :]) % SEQ
        expected = np.where(same & (token[:, None] != token[None, :]), SEQ - later, 0)
        self.assertTrue((found <= expected).all())
        # the last bits of the sum may be reached without a token that weighs less than they do
        self.assertGreater((found == expected).mean(), .99)

    def test_a_share_is_a_part_of_it(self):
        found, whole = self.counts(.5), self.counts(1)
        self.assertTrue((found <= whole).all())
        self.assertTrue(0 < found.sum() < .6 * whole.sum())


if __name__ == "__main__":
    unittest.main()
