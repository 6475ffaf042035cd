#!/usr/bin/python3
"""Writes the seeds of corpus/npz: sound archives and arrays, and the ways in which they break."""
import io
import pathlib
import struct
import zipfile

import numpy as np

OUT = pathlib.Path(__file__).parent / "corpus" / "npz"
CSR = {
    "data": np.array([1.5, 2, 0.25], "<f4"),
    "indices": np.array([1, 0, 2], "<i4"),
    "indptr": np.array([0, 1, 2, 3], "<i4"),
    "shape": np.array([3, 3], "<i8"),
    "format": np.array(b"csr"),
}


def npy(array, version=None):
    out = io.BytesIO()
    np.lib.format.write_array(out, np.asanyarray(array), version=version)
    return out.getvalue()


def archive(members, method=zipfile.ZIP_STORED):
    """Like numpy.savez, with a fixed time stamp."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as z:
        for name, data in members.items():
            info = zipfile.ZipInfo(name + ".npy")
            info.compress_type = method
            with z.open(info, "w", force_zip64=True) as f:
                f.write(data)
    return out.getvalue()


def header(dictionary):
    text = dictionary.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def replaced(data, old, new):
    assert old in data and len(old) == len(new)
    return data.replace(old, new)


def seeds():
    members = {name: npy(a) for name, a in CSR.items()}
    stored, deflated = archive(members), archive(members, zipfile.ZIP_DEFLATED)
    yield "csr-stored.npz", stored
    yield "csr-deflated.npz", deflated
    yield "csr-crc.npz", replaced(stored, CSR["data"].tobytes(), b"\0" * 12)
    yield "csr-cut.npz", stored[:len(stored) // 2]
    yield "csr-no-directory.npz", stored[:stored.index(b"PK\1\2")]
    yield "csr-lying-shape.npz", archive(
        dict(members, data=replaced(members["data"], b"(3,)", b"(9,)")))
    bomb = archive({"data": npy(np.zeros(100000, "u1"))}, zipfile.ZIP_DEFLATED)
    size = struct.pack("<I", 100128)
    yield "bomb-honest.npz", bomb
    yield "bomb-lying.npz", replaced(bomb, size, struct.pack("<I", 0x7fffffff))
    yield "lzma.npz", archive(members, zipfile.ZIP_LZMA)
    yield "i2-big-endian.npy", npy(np.array([[1, -2], [3, 4]], ">i2"))
    yield "f8-fortran.npy", npy(np.asfortranarray(np.eye(3)))
    yield "f2-v2.npy", npy(np.array([1, np.inf, np.nan], "f2"), (2, 0))
    yield "text-v3.npy", npy(np.array(["axis", "\u03c0"]), (3, 0))
    yield "bool-scalar.npy", npy(np.array(True))
    yield "empty.npy", npy(np.zeros((0, 4), "u8"))
    yield "cut.npy", members["data"][:-3]
    yield "magic.npy", b"\x93NUMPZ" + members["data"][6:]
    yield "lying-shape.npy", replaced(members["data"], b"(3,)", b"(7,)")
    yield "object.npy", header("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}")
    yield "overflow.npy", header(
        "{'descr': '<f8', 'fortran_order': False, 'shape': (4611686018427387904, 4)}")
    yield "nothing.npy", b""


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    for name, data in seeds():
        (OUT / name).write_bytes(data)
