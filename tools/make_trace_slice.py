#!/usr/bin/env python3
"""Writes the first rows of an access trace (SciPy CSR .npz) as a smaller one.

usage: make_trace_slice.py TRACE.npz OUT.npz [ROWS]        ROWS: 4500
"""
import sys

import numpy as np
import scipy.sparse


def main(trace, out, rows="4500"):
    whole = scipy.sparse.load_npz(trace)
    first = scipy.sparse.csr_matrix((whole[:int(rows)] != 0).astype(np.uint8))
    first.sort_indices()
    scipy.sparse.save_npz(out, first, compressed=True)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(*sys.argv[1:])
