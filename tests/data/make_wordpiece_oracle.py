#!/usr/bin/env python3
"""Writes wordpiece_oracle.json: texts and what Hugging Face's `tokenizers` makes of them.

usage: make_wordpiece_oracle.py VOCAB.txt OUT.json     (a vocab.txt of BERT uncased; pip: tokenizers)

The file brings its own vocabulary: the pieces that the texts need with BERT's vocabulary, and single
characters. Texts are stored as hexadecimal bytes where they are not UTF-8. Characters are drawn from
Unicode 8 or older, because that is what the library's tables know.
"""
import json
import pathlib
import random
import sys
import unicodedata

from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
NOVEL = pathlib.Path(__file__).resolve().parents[2] / "data" / "text" / "austen.txt"

NASTY = [
    "", " ", "\t\r\n", "a", "A", "unaffable", "##ing", "un##able", "It's $5.00^2 ~ `x` |y| <z>=+",
    "na\u00efve caf\u00e9 \u00c5ngstr\u00f6m \u0130stanbul \u01c5 \ufb01sh stra\u00dfe \u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2",
    "e\u0301 a\u0300\u0323b \u1e9b\u0323 \u0344x \u212b \u2126", "\u4eca\u5929abc\u5929\u6c14 \u3042\u3044\u304c \u30ab\u30ab\u3099 \ud55c\uad6d\uc5b4 \uf900\U00020000 a\U0002b820b a\U0002b920b",
    "zero\u200bwidth\u200djoin\ufeff soft\u00adhyphen nul\u0000byte bell\u0007 del\u007f nel\u0085x",
    "nb\u00a0sp em\u2003sp line\u2028sep par\u2029sep ogham\u1680sp ideo\u3000sp vt\u000bff\u000c",
    "\u201cquotes\u201d \u2018a\u2019 em\u2014dash \u2026 \u00bfqu\u00e9? \u00a1s\u00ed! \u00a3\u20ac\u00a5 \u00a9\u00ae \u00ab\u00bb \u037e \u1fef \u0387",
    "\U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f \U0001d49c \ufffd x\ufffdy",
    "private\ue000use \U000f0000 unassigned\U000e0fff tag\U000e0041",
    "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35 \u0939\u093f\u0928\u094d\u0926\u0940 \u05e9\u05b8\u05c1\u05dc\u05d5\u05b9\u05dd \u0627\u0644\u0639\u064e\u0631\u0628\u064a\u0629",
    "[CLS] a [SEP] [MASK] b[PAD]c [UNK] [cls] [ CLS] [CLS", "[[SEP]]", "a" * 100, "a" * 101, "b" * 99 + "\u00e9",
    "b" * 100 + "\u0301", "\U0001f600" * 26, "x" * 40 + "." + "y" * 40, "1234567890 3.14 1,000 0x1F",
]
BROKEN = [b"\xff", b"a\x80b", b"\xc3", b"\xe2\x82A", b"\xed\xa0\x80z", b"\xf4\x90\x80\x80 q", b"\xc0\xafx",
          b"ok \xf0\x9f\x98 ok"]


def random_texts(count):
    """Half ASCII, half anything that old tables know."""
    rng = random.Random(1)
    old = unicodedata.ucd_3_2_0
    odd = [chr(c) for c in range(0xa0, 0x2fa20)
           if old.category(chr(c)) == unicodedata.category(chr(c)) not in ("Cn", "Cs")]
    pick = lambda: chr(rng.randrange(32, 127)) if rng.random() < 0.5 else rng.choice(odd)
    return ["".join(pick() for _ in range(rng.randrange(1, 16))) for _ in range(count)]


def tokenizer(vocab):
    t = Tokenizer(WordPiece({token: i for i, token in enumerate(vocab)}, unk_token="[UNK]"))
    t.normalizer = BertNormalizer(lowercase=True)
    t.pre_tokenizer = BertPreTokenizer()
    t.add_special_tokens(SPECIAL)
    return t


def main(vocab_path, out):
    full = open(vocab_path, encoding="utf-8").read().split("\n")[:-1]
    novel = NOVEL.read_text(encoding="utf-8").split("\n\n")[2:14]
    texts = [t.encode() for t in NASTY + novel + random_texts(120)] + BROKEN
    decoded = [t.decode("utf-8", "replace") for t in texts]
    whole = tokenizer(full)
    used = {token for t in decoded for token in whole.encode(t, add_special_tokens=False).tokens}
    short = {token for token in full if len(token.replace("##", "", 1)) == 1 and token.isascii()}
    vocab = SPECIAL + sorted((used | short) - set(SPECIAL))
    small = tokenizer(vocab)
    cases = []
    for raw, text in zip(texts, decoded):
        ids = small.encode(text, add_special_tokens=False).ids
        try:
            cases.append({"text": raw.decode("utf-8"), "ids": ids} if b"\0" not in raw else
                         {"hex": raw.hex(), "ids": ids})
        except UnicodeDecodeError:
            cases.append({"hex": raw.hex(), "ids": ids})
    with open(out, "w", encoding="ascii", newline="\n") as file:
        file.write('{"vocab": ' + json.dumps(vocab) + ',\n"cases": [\n')
        file.write(",\n".join(json.dumps(c) for c in cases) + "\n]}\n")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
