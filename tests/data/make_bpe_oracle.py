#!/usr/bin/env python3
"""Makes bpe_oracle.json: small byte-level BPE tokenizers, trained on data/text, and the ids that Hugging
Face's `tokenizers` gives for texts that try every rule. Needs tokenizers:

    python3 tests/data/make_bpe_oracle.py data/text/austen.txt tests/data/bpe_oracle.json
"""

import json
import random
import sys
import unicodedata

from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, trainers

LEVEL = pre_tokenizers.ByteLevel
KINDS = [
    dict(pre=lambda: pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                              LEVEL(add_prefix_space=False)]), alphabet=True, size=600),
    dict(pre=lambda: LEVEL(add_prefix_space=True), alphabet=False, size=300),
    dict(pre=lambda: pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=False),
                                              LEVEL(add_prefix_space=True)]), alphabet=True, size=400),
    dict(pre=lambda: LEVEL(add_prefix_space=False, use_regex=False), alphabet=False, size=300, unk="<unk>"),
]
SPECIAL = ["<|end|>", "<|end|>x", "<|im_start|>"]

TEXTS = [
    "", " ", "  ", "   a", "a   ", "a  b", "\n", "a\n\nb", " \n a", "\t\ta\tb", "a\r\nb", "a \n", " \n\n  b",
    "It's we're they've I'm he'll she'd don't", "'S 'RE 'sa ''s '", " 's", "x's'll", "'", "'d'", "I 'm",
    "1", "12", "1a2b", "in 2024, 3.14 and 10^6", " 7", "7 ", "a1 b22 c333", "\u00bd\u2167\u0663 \u00b2",
    "hello, world! (yes) -- no...", "a_b-c/d\\e", "@#$%^&*", " .", ". .", "!!a", "a!!", "?!1",
    "na\u00efve caf\u00e9 \u00c9t\u00e9", "e\u0301", "\u4e2d\u6587 \u65e5\u672c\u8a9e", "\u0928\u092e\u0938\u094d\u0924\u0947",
    "\u00a0a\u2003b\u3000c\u200bd\u2028e\u1680f\u0085g", "\ufeffx", "\U0001f600\U0001f468\u200d\U0001f469", "\u00ad\u00b5\u00ff",
    "<|end|>", "a<|end|>b", "<|end|>x", "<|end|>xy", "<|en", "<|im_start|>user\nhi<|end|>", "<<|end|>>",
    "<|end|><|end|>", " <|end|> ", "1<|end|>2", "a" * 300, " " * 70, "ab" * 100, "the the the theory",
    "was were when what which while", "\u0000a\u0001\u001f\u007f", "<unk>", "\u0394\u03b8 \u0436\u0416",
]


def random_texts(rng, count):
    """Letters, digits, spaces and marks from all over Unicode 8, the least age that tables differ in."""
    pool = [chr(c) for c in range(1, 0x30000) if not 0xd800 <= c < 0xe000 and unicodedata.ucd_3_2_0.category(chr(c)) not in ("Cn", "Co")]
    plain = "abcdefghij THE 0123456789'.,\n\t "
    for _ in range(count):
        yield "".join(rng.choice(plain) if rng.random() < .7 else rng.choice(pool) for _ in range(rng.randint(1, 40)))


def train(kind, corpus):
    tokenizer = Tokenizer(models.BPE(unk_token=kind.get("unk")))
    tokenizer.pre_tokenizer = kind["pre"]()
    special = [AddedToken(t, normalized=False) for t in SPECIAL]
    tokenizer.train_from_iterator(corpus.split("\n\n"), trainers.BpeTrainer(
        vocab_size=kind["size"], special_tokens=([kind["unk"]] if "unk" in kind else []) + special,
        initial_alphabet=LEVEL.alphabet() if kind["alphabet"] else [], show_progress=False))
    return tokenizer


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        corpus = file.read()
    tokenizers = [train(kind, corpus) for kind in KINDS]
    texts = TEXTS + [corpus[:400]] + list(random_texts(random.Random(1), 120))
    cases = [{"text": text, "ids": [t.encode(text, add_special_tokens=False).ids for t in tokenizers]}
             for text in texts if "\0" not in text]
    with open(sys.argv[2], "w", encoding="utf-8") as out:
        json.dump({"tokenizers": [json.loads(t.to_str()) for t in tokenizers], "cases": cases}, out,
                  ensure_ascii=True, separators=(",", ":"))
        out.write("\n")


if __name__ == "__main__":
    main()
