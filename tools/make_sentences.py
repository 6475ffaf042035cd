#!/usr/bin/env python3
"""Writes labelled sentences as LABEL<tab>TEXT, evenly thinned: a third from each of three files.

usage: make_sentences.py IMDB.json YELP.json AMAZON.json OUT.tsv [COUNT]

The inputs are lists of {"text", "class"} made of the Sentiment Labelled Sentences (Kotzias et al. 2015,
10.1145/2783258.2783380; CC BY 4.0): 0 is negative, 1 positive; rows without a class are left out. White
space is squeezed to single spaces; nothing else is changed.
"""
import json
import sys


def rows(path):
    with open(path, encoding="utf-8") as file:
        return [(r["class"], " ".join(r["text"].split())) for r in json.load(file) if r["class"] is not None]


def main(*args):
    *paths, out = args[:4]
    count = int(args[4]) if len(args) > 4 else 1200
    with open(out, "w", encoding="utf-8", newline="\n") as file:
        file.write("# Sentiment Labelled Sentences, Kotzias et al. 2015, CC BY 4.0; 0 negative, 1 positive\n")
        for path in paths:
            all_rows, each = rows(path), count // len(paths)
            for i in range(each):
                label, text = all_rows[i * len(all_rows) // each]
                file.write(f"{label}\t{text}\n")


if __name__ == "__main__":
    if len(sys.argv) not in (5, 6):
        sys.exit(__doc__)
    main(*sys.argv[1:])
