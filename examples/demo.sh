#!/bin/sh
# The demo. Part 1: a real trace becomes W and an order, judged on tokens the solver has not seen.
# Part 2: the whole loop on a real trained transformer, measured, with a report.
set -eu
cd "$(dirname "$0")/.."
ICD=${ICD:-build/release/icd}
OUT=${OUT:-runs/demo-trace}
TRACE=data/use-lite-ffn1.access.npz
LEARN=0:3000 HELD=3000:

say() { printf '\n%s\n' "$*"; }

mkdir -p "$OUT"
say "1. Which neurons fire together? A real trace: 1536 neurons of a trained ReLU block, real tokens."
$ICD graph -t $TRACE --events $LEARN -o "$OUT/W.csr.npz"
$ICD solve "$OUT/W.csr.npz" -m random -g 16 -o "$OUT/random.json" -q >/dev/null
$ICD solve "$OUT/W.csr.npz" -t $TRACE --events $LEARN -m frequency -g 16 -o "$OUT/frequency.json" -q >/dev/null
$ICD solve "$OUT/W.csr.npz" -t $TRACE --events $LEARN -g 16 -o "$OUT/ours.json"
say "   On tokens the solver has not seen: how many blocks of 16 neurons does a token touch? (fewer is better)"
$ICD score "$OUT/W.csr.npz" identity "$OUT/random.json" "$OUT/frequency.json" "$OUT/ours.json" \
    -t $TRACE --events $HELD -g 16

say "2. The loop on a trained transformer: permute -> prune and quantise -> re-permute -> measure."
$ICD run -c configs/demo.yaml
