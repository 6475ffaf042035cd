#!/usr/bin/python3
"""Writes the text seeds of corpus/mtx, corpus/perm and corpus/trace; the .icdt seeds beside them were
written by `icd_access_write` and cut or bent here."""
import pathlib

OUT = pathlib.Path(__file__).parent / "corpus"
BANNER = "%%MatrixMarket matrix coordinate "

MTX = {
    "general.mtx": BANNER + "real general\n% c\n3 3 4\n1 2 .5\n2 1 .5\n2 3 .25\n3 2 .25\n",
    "symmetric.mtx": BANNER + "integer symmetric\n3 3 2\n2 1 4\n3 2 1",
    "pattern.mtx": BANNER + "pattern symmetric\n4 4 2\n4 1\n3 2\n",
    "diagonal.mtx": BANNER + "real symmetric\n2 2 2\n1 1 3\n2 1 0\n",
    "asymmetric.mtx": BANNER + "real general\n2 2 1\n1 2 1\n",
    "cut.mtx": BANNER + "real general\n3 3 4\n1 2 .5\n2 1",
    "lying-size.mtx": BANNER + "real general\n3 3 400000000000\n1 2 .5\n",
    "huge.mtx": BANNER + "real general\n2147483647 2147483647 1\n1 2 1\n",
    "nan.mtx": BANNER + "real general\n2 2 2\n1 2 nan\n2 1 nan\n",
    "digits.mtx": BANNER + "real general\n2 2 2\n1 2 1.00000000000000000000001e-3\n2 1 1E-3\n",
    "array.mtx": BANNER + "real general\n".replace("coordinate", "array"),
    "nothing.mtx": "",
}
PERM = {
    "single.json": '{"D":4,"frame":"checkpoint","pi":[2,0,3,1]}',
    "alone.json": '{"pi":[1,0]}',
    "framed.json": '{"pi":[1,0],"frame":"00000000000000ff","to":"0123456789abcdef"}',
    "set.json": '{"version":1,"axes":{"layer.0":{"D":2,"pi":[1,0],"local":true},"b":{"pi":[0]}},"tag":"x"}',
    "twice.json": '{"pi":[1,1]}',
    "range.json": '{"pi":[0,2]}',
    "lying-size.json": '{"D":2147483647,"pi":[0]}',
    "hash.json": '{"pi":[1,0],"hash":"0000000000000000"}',
    "cut.json": '{"D":4,"pi":[2,0',
    "types.json": '{"D":"4","pi":[1.5,null]}',
    "nothing.json": "",
}
TRACE = {
    "sets.jsonl": '{"axis":"a","n":9}\n{"t":0,"axis":"a","set":[1,8,3],"w":.5}\n{"set":[]}\n',
    "pairs.jsonl": '{"n":9}\n{"t":1,"src":3,"dst":4,"w":2}\n{"src":1,"dst":1}\n',
    "strange.jsonl": '\ufeff{"n":9,"x":{"y":[1,{}]},"z":"\\""}\n{"axis":"\\u00e9","set":[0]}\n',
    "cut.jsonl": '{"n":9}\n{"set":[1,2',
    "twice.jsonl": '{"n":9}\n{"set":[2,2]}\n',
    "axes.jsonl": '{"axis":"a","n":9}\n{"axis":"b","n":8}\n{"axis":"b","set":[1]}\n',
    "pairs.csv": "# c\nsrc,dst,w\n1,2,.5\n3,3,1\n",
    "pairs.tsv": "1\t2\n3\t4\r\n",
    "columns.csv": '"w",note;target source\n1,a,2,3\n',
    "cut.csv": "1,2,3\n4,5\n",
    "access.mtx": BANNER + "pattern general\n3 9 3\n1 9\n1 1\n3 4\n",
    "pairs.mtx": BANNER + "real symmetric\n4 4 2\n2 1 .5\n3 3 1\n",
    "nothing": "",
}


def write(folder, seeds):
    (OUT / folder).mkdir(parents=True, exist_ok=True)
    for name, text in seeds.items():
        (OUT / folder / name).write_bytes(text.encode())


def bend(sound):
    """Ways in which a binary trace breaks."""
    data = sound.read_bytes()
    for name, at, byte in [("version", 8, 2), ("axis", 13, 255), ("n", 23, 255), ("sum", 40, 7),
                           ("count", 55, 255), ("raw", 62, 255), ("end", len(data) - 16, 1)]:
        bent = bytearray(data)
        bent[at] = byte
        sound.with_name(f"bent-{name}.icdt").write_bytes(bytes(bent))
    sound.with_name("cut.icdt").write_bytes(data[:-20])


if __name__ == "__main__":
    write("mtx", MTX)
    write("perm", PERM)
    write("trace", TRACE)
    bend(OUT / "trace" / "sound.icdt")
