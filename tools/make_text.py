#!/usr/bin/env python3
"""Takes the Jane Austen passages out of a held-out text of mixed samples and writes them as UTF-8.

usage: make_text.py HELDOUT OUT

The held-out text (Latin-1) is a row of samples of 4096 bytes with a newline between two. A sample is
Austen's where it has paragraphs but no lines of speakers (Shakespeare); glosses (WordNet) have no
paragraphs. Samples begin and end anywhere, so the first and the last line of each are dropped.
"""
import re
import sys

SAMPLE = 4096


def is_novel(sample):
    speakers = re.findall(r"^[A-Z][A-Z ]+:$", sample, re.M)
    return "\n\n" in sample and not speakers


def main(heldout, out):
    with open(heldout, encoding="latin-1", newline="") as file:
        text = file.read()
    samples = [text[i:i + SAMPLE] for i in range(0, len(text), SAMPLE + 1)]
    novel = ["\n".join(s.split("\n")[1:-1]).strip("\n") for s in samples if is_novel(s)]
    with open(out, "w", encoding="utf-8", newline="\n") as file:
        file.write("\n\n".join(novel) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
