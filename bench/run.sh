#!/bin/sh
# bench/run.sh BUILD_DIR: every benchmark beside its peers; raw output in BUILD_DIR/bench-results/.
# bench/results/ keeps the runs that the documentation quotes.
set -eu
cd "$(dirname "$0")/.."
build=${1:-build/release}
out=$build/bench-results
mkdir -p "$out"
export OMP_NUM_THREADS=1

run() {
    name=$1
    shift
    echo "== $name: $*"
    "$@" | tee "$out/$name.txt"
}

"$build/icd" graph --mock --d 2560 --blocks 4 --noise 0.02 --seed 42 -q -o "$out/mock-2560.csr.npz" >/dev/null
run kernels "$build/bench/bench_kernels" all "$out/kernels-samples.tsv"
run ffn "$build/bench/bench_ffn" data/use-lite-ffn.safetensors 1
run solver "$build/bench/bench_solver" "$out/mock-2560.csr.npz" -n 3 metis multilevel spectral auto
run graph /usr/bin/python3 bench/bench_graph.py "$build/bench/bench_graph"
