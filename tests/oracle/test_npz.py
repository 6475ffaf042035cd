"""What icd reads and writes as .npz, against NumPy and SciPy."""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
import zipfile

import numpy as np
import scipy.sparse as sparse

ICD = os.environ.get("ICD")


def icd(*args):
    return subprocess.run([ICD, *map(str, args)], capture_output=True, text=True, check=False)


class Npz(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.dir = pathlib.Path(folder.name)
        rng = np.random.default_rng(7)
        self.events = sparse.csr_matrix((rng.random((200, 48)) < 0.2).astype("u1"))

    def graph(self, source, out):
        return icd("graph", "--trace", source, "--weighting", "count", "--normalize", "none",
                   "--nnz-cap", 48 * 48, "-o", out)

    def build(self, source, name):
        out = self.dir / name
        run = self.graph(source, out)
        self.assertEqual(run.returncode, 0, run.stderr)
        return out

    def save(self, name, data="u1", index="<i4", compressed=True):
        """SciPy's layout, with dtypes that SciPy itself would normalise away."""
        path = self.dir / name
        (np.savez_compressed if compressed else np.savez)(
            path, data=self.events.data.astype(data), indices=self.events.indices.astype(index),
            indptr=self.events.indptr.astype(index), shape=np.array(self.events.shape),
            format=np.array(b"csr"))
        return path

    def test_w_is_what_numpy_computes(self):
        source = self.dir / "a.npz"
        sparse.save_npz(source, self.events)
        w = sparse.load_npz(self.build(source, "W.csr.npz")).toarray()
        dense = self.events.toarray().astype(float)
        expected = dense.T @ dense
        np.fill_diagonal(expected, 0)
        np.testing.assert_array_equal(w, expected)

    def test_every_dtype_order_and_compression_reads_the_same(self):
        first = self.build(self.save("first.npz"), "first.W.npz").read_bytes()
        for i, (data, index) in enumerate([("<f4", "<i4"), (">f4", ">i4"), ("<f8", "<i8"),
                                           (">i2", ">i8"), ("<u8", "<u4"), ("<f2", "<i2")]):
            for compressed in (False, True):
                with self.subTest(data=data, index=index, compressed=compressed):
                    source = self.save(f"{i}{compressed}.npz", data, index, compressed)
                    self.assertEqual(self.build(source, "W.npz").read_bytes(), first)

    def test_written_members_are_stored_with_a_fixed_date(self):
        out = self.build(self.save("a.npz"), "W.csr.npz")
        with zipfile.ZipFile(out) as z:
            self.assertIsNone(z.testzip())
            for info in z.infolist():
                self.assertEqual(info.compress_type, zipfile.ZIP_STORED)
                self.assertEqual(info.date_time, (1980, 1, 1, 0, 0, 0))
        with np.load(out, allow_pickle=False) as members:
            self.assertEqual(members["data"].dtype, np.dtype("<f4"))

    def assert_refused(self, name, data, text):
        path, out = self.dir / name, self.dir / "none.npz"
        path.write_bytes(data)
        run = self.graph(path, out)
        self.assertEqual(run.returncode, 6, run.stderr)
        self.assertIn(name, run.stderr)
        self.assertIn(text, run.stderr)
        self.assertFalse(out.exists())

    def test_damage_is_named(self):
        sound = self.save("sound.npz", compressed=False).read_bytes()
        at = sound.index(self.events.indices.astype("<i4").tobytes())
        flipped = bytearray(sound)
        flipped[at] ^= 1
        self.assert_refused("crc.npz", bytes(flipped), "indices.npy")
        self.assert_refused("cut.npz", sound[:len(sound) // 2], "archive")
        self.assert_refused("empty-archive.npz", b"PK\5\6" + bytes(18), "no member")
        path = self.dir / "object.npz"
        np.savez(path, data=np.array([None]), indices=self.events.indices,
                 indptr=self.events.indptr, shape=np.array(self.events.shape),
                 format=np.array(b"csr"))
        self.assert_refused("object.npz", path.read_bytes(), "pickle")


if __name__ == "__main__":
    if not ICD or not os.access(ICD, os.X_OK):
        print("skipped: ICD does not name the icd program")
        sys.exit(77)
    unittest.main()
