#!/usr/bin/env python3
"""Sums a list in order or scattered over memory, and prints what every round took in ms."""
import random
import sys
import time

index = list(range(100_000))
if sys.argv[1:] == ["scattered"]:
    random.Random(1).shuffle(index)
values = [float(i) for i in index]
for _ in range(6):
    start = time.perf_counter()
    total = 0.0
    for i in index:
        total += values[i]
    print(1e3 * (time.perf_counter() - start))
