#!/bin/sh
# gpu_test.sh [BUILD_FOLDER]: what can only be tested where an NVIDIA GPU is: the kernels and the runners on
# it against the CPU, then compute-sanitizer (memcheck, racecheck, initcheck) over the kernels where that
# tool is found. Without a GPU it says so and ends with 77.
set -eu
cd "$(dirname "$0")/.."
build=${1:-build/release}
cmake --build "$build" --target gpu_test_product gpu_test_bert gpu_test_decoder gpu_test_mamba gpu_test_libraries
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
"$build/tests/cuda/gpu_test_product" >"$log" 2>&1 || status=$?
if [ "$status" = 77 ]; then
    cat "$log"
    exit 77
fi
ctest --test-dir "$build" -L '^gpu$' --output-on-failure

sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null || true)
if [ -z "$sanitizer" ]; then
    echo "compute-sanitizer was not found: memory and races were not checked" >&2
    exit 0
fi
for tool in memcheck racecheck initcheck; do
    for test in product decoder mamba bert; do
        echo "compute-sanitizer --tool $tool, $test"
        "$sanitizer" --tool "$tool" --error-exitcode 9 "$build/tests/cuda/gpu_test_$test" >"$log" 2>&1 || {
            cat "$log"
            exit 1
        }
    done
done
