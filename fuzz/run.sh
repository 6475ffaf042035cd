#!/bin/sh
# Runs every libFuzzer target for some seconds each: fuzz/run.sh [SECONDS] [BUILD]
# Finds land in BUILD/fuzz/found/; inputs that reach new code grow BUILD/fuzz/corpus/.
set -eu
seconds=${1:-60}
root=$(cd "$(dirname "$0")/.." && pwd)
build=${2:-$root/build/fuzz}

cmake -S "$root" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo \
    -DCMAKE_C_COMPILER="${CC:-clang}" -DICD_SANITIZE=address,undefined -DICD_FUZZER=ON \
    -DICD_TESTS=OFF >/dev/null
names=$(cd "$root/fuzz" && for file in fuzz_*.c; do echo "${file%.c}"; done)
# shellcheck disable=SC2086 # one word a target
cmake --build "$build" --target $names
mkdir -p "$build/fuzz/found"
failed=
for target in $names; do
    name=${target#fuzz_}
    grown=$build/fuzz/corpus/$name
    mkdir -p "$grown"
    echo "== $target, $seconds s"
    "$build/fuzz/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
        -print_final_stats=1 -artifact_prefix="$build/fuzz/found/$name-" \
        "$grown" "$root/fuzz/corpus/$name" || failed="$failed $target"
done
[ -z "$failed" ] || { echo "failed:$failed; inputs in $build/fuzz/found" >&2; exit 1; }
