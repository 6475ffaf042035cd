#!/usr/bin/env python3
"""Takes the novels out of the R package janeaustenr, without the passages that are held out.

usage: text.py Rdata.rdb HELDOUT.txt OUT.txt
"""
import struct
import sys
import zlib

STRING, TEXT = 16, 9  # types in R's serialisation: a vector of strings, and one string


def chunks(data):
    """The compressed objects of an .rdb file, each behind its length."""
    at = 0
    while at + 4 < len(data):
        stream = zlib.decompressobj()
        yield stream.decompress(data[at + 4:])
        at = len(data) - len(stream.unused_data)


def lines(chunk):
    """The strings of a serialised character vector (R's XDR format, version 3)."""
    (native,) = struct.unpack_from(">i", chunk, 14)
    at = 18 + native
    kind, count = struct.unpack_from(">ii", chunk, at)
    if kind & 255 != STRING:
        return
    at += 8
    for _ in range(count):
        kind, length = struct.unpack_from(">ii", chunk, at)
        if kind & 255 != TEXT:
            raise ValueError(f"found type {kind & 255} at byte {at}, expected a string")
        at += 8
        yield chunk[at:at + max(length, 0)].decode("utf-8")
        at += max(length, 0)


def main(rdb, heldout, out):
    with open(heldout, encoding="utf-8") as file:
        held = {line.strip() for line in file if len(line.strip()) > 20}
    with open(rdb, "rb") as file:
        data = file.read()
    kept = []
    for chunk in chunks(data):
        novel = list(lines(chunk))
        near = {j for i, line in enumerate(novel) if line.strip() in held for j in range(i - 3, i + 4)}
        kept += [line for i, line in enumerate(novel) if i not in near]
        print(f"{novel[0] if novel else '?'}: {len(novel)} lines, {len(near)} held out", file=sys.stderr)
    with open(out, "w", encoding="utf-8", newline="\n") as file:
        file.write("\n".join(kept) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
