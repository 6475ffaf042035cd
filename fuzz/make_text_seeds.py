#!/usr/bin/python3
"""Writes the seeds of corpus/exec, corpus/samples, corpus/wordpiece and corpus/bpe."""
import json
import pathlib

OUT = pathlib.Path(__file__).parent / "corpus"
HEAD = "block,arm,position,t_start_s,lat_ms,burst\n"
STOPPED = "# stopped: the time limit of 75 s was reached; elapsed_s: 75.25\n"
TWO = ("0,linear,0,0.1,1.5,2\n0,iterative,1,0.2,1.25,3\n"
       "1,iterative,0,0.3,1.5,3\n1,linear,1,0.4,1.75,2\n")

SAMPLES = {
    "two.csv": HEAD + STOPPED + TWO,
    "plain.csv": HEAD + TWO,
    "cut.csv": HEAD + TWO[:-4],
    "half-block.csv": HEAD + TWO[:TWO.rindex("1,linear")],
    "no-head.csv": TWO,
    "twice.csv": HEAD + "0,linear,0,0,1,1\n0,linear,1,0,1,1\n",
    "second-block-only.csv": HEAD + "1,linear,0,0,1,1\n",
    "huge-block.csv": HEAD + "0,linear,0,0,1,1\n9223372036854775807,linear,0,0,1,1\n",
    "other-burst.csv": HEAD + "0,linear,0,0,1,1\n1,linear,0,0,1,2\n",
    "not-finite.csv": HEAD + "0,linear,0,nan,inf,1\n",
    "negative.csv": HEAD + "0,linear,-1,0,-1,0\n",
    "empty-lines.csv": HEAD + "\n\n0,linear,0,0,1,1\n",
    "zero-byte.csv": HEAD + "0,li\0near,0,0,1,1\n",
    "stopped.csv": HEAD + "# stopped: ; elapsed_s: nan\n# stopped: x\n0,a,0,0,1,1\n",
    "nothing.csv": "",
}

# A vocabulary, a zero byte, a text. The first byte is a digit: odd keeps upper case.
VOCABULARY = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nun\n##aff\n##able\nthe\ne\n##e\n.\n!\n\u4e2d\n##\n"
WORDPIECE = {
    "words": b"0" + VOCABULARY.encode() + b"\0The unaffable, unaffable! [SEP] x",
    "cased": b"1" + VOCABULARY.encode() + b"\0The the",
    "unicode": b"0" + VOCABULARY.encode() + "\0É\u0301\u4e2d\u6587 \ufffd\u200d\u00a0\U0010ffff ß".encode(),
    "broken": b"0" + VOCABULARY.encode() + b"\0\xc3\xe2\x82 \xff\xfe\xed\xa0\x80e\xc0\xaf",
    "long-word": b"0" + VOCABULARY.encode() + b"\0" + b"e" * 130,
    "zero-in-text": b"0" + VOCABULARY.encode() + b"\0a\0b",
    "crlf": b"0" + VOCABULARY.replace("\n", "\r\n").encode() + b"\0the",
    "no-special": b"0[PAD]\nthe\n\0the",
    "no-text": b"0" + VOCABULARY.encode(),
    "twice": b"0[UNK]\n[CLS]\n[SEP]\na\na\na\n\0a aa",
    "nothing": b"",
}


LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
DIGITS = {"type": "Digits", "individual_digits": True}


def bpe(text, pre=LEVEL, **model):
    """A tokenizer.json of six letters and their merges, a zero byte, a text."""
    tokens = ["a", "b", "c", "\u0120", "1", "'", "ab", "abc", "\u0120a", "bc", "aa"]
    root = {"added_tokens": [{"id": 90, "content": "<x>", "special": True}, {"id": 91, "content": "<x>>"}],
            "normalizer": None, "pre_tokenizer": pre,
            "model": {"type": "BPE", "unk_token": None, "vocab": {t: i for i, t in enumerate(tokens)},
                      "merges": ["a b", ["ab", "c"], "\u0120 a", "b c", "a a"], **model}}
    return json.dumps(root).encode() + b"\0" + text


BPE = {
    "words": bpe(b"abc abca <x>ab'll a1b22  a \n"),
    "digits": bpe(b"a11b c1", {"type": "Sequence", "pretokenizers": [DIGITS, LEVEL]}),
    "runs": bpe(b"a11b c1", {"type": "Sequence", "pretokenizers": [{"type": "Digits"}, LEVEL]}),
    "prefix": bpe(b"abc  abc", {**LEVEL, "add_prefix_space": True}),
    "whole": bpe(b"a b a", {**LEVEL, "use_regex": False}),
    "unknown": bpe(b"\xff\xc3 zz \xe4\xb8\xad", unk_token="c"),
    "long-word": bpe(b"a" * 300 + b"bc" * 300),
    "added": bpe(b"<x><x>><<x>"),
    "bad-merge": bpe(b"a", merges=["a z"]),
    "bad-id": bpe(b"a", vocab={"a": -1}),
    "other": bpe(b"a", type="Unigram"),
    "cut": bpe(b"a")[:100],
    "no-text": bpe(b"")[:-1],
    "nothing": b"",
}

EXEC = {
    "lines": "1.5\n# ms\n\n 2.5 \r\n2e-3",
    "words": "1 2\t3",
    "objects": '{"lat_ms": 1.25, "toks": 4}\n{"lat_ms": [3, 4]}\n',
    "document": '{\n "lat_ms": [1,\n 2]\n}\n',
    "list": "[1, [2, 3]]\n[4]",
    "cut-object": '{"lat_ms": [1',
    "nested": '{"lat_ms": {"lat_ms": 1}}',
    "text": '{"lat_ms": "1"}',
    "not-a-number": "1\nfast\n",
    "zero": "0",
    "infinite": "1e999",
    "zero-byte": "1\0002",
    "deep": "[" * 3000,
    "nothing": "",
}


def main():
    for name, text in EXEC.items():
        write("exec", name, text.encode())
    for name, data in BPE.items():
        write("bpe", name, data)
    for name, text in SAMPLES.items():
        write("samples", name, text.encode())
    for name, data in WORDPIECE.items():
        write("wordpiece", name, data)


def write(folder, name, data):
    path = OUT / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


if __name__ == "__main__":
    main()
