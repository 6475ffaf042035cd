# Thin wrapper: every target is one line of `make help`. CMake presets do the work.
PRESET ?= release
JOBS   ?= $(shell nproc)
BUILD  := build/$(PRESET)
ICD    := $(BUILD)/icd

.DEFAULT_GOAL := help
.PHONY: help setup model build demo test check bench bench-solver bench-kernels bench-models gpu-test acceptance acceptance-smoke acceptance-list fmt lint fuzz clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install what the build needs (apt as root; otherwise print the one line to run)
	@tools/setup.sh

model: setup ## fetch the demo's real model (MiniLM, 84 MB, pinned by hash) into .cache/
	@tools/fetch_model.sh

build: setup ## build the library and `icd` (PRESET=dev|release|asan|ubsan|tsan|clang)
	@cmake --preset $(PRESET) >/dev/null
	@test -t 1 || { quiet=--quiet; echo "building $(BUILD) ..."; }; \
	    cmake --build --preset $(PRESET) -j $(JOBS) -- $$quiet

demo: build model ## the main job on a real model, with progress, verdict and report
	@ICD=$(ICD) examples/demo.sh

test: build model ## build and run all tests
	@ctest --preset $(PRESET) -j $(JOBS)

check: lint test ## lint, then all tests

bench: build ## benchmarks beside their peers; raw output in bench/results/
	@bench/run.sh $(BUILD)

bench-solver: build ## the solver beside METIS and SCOTCH: table, raw figures, plots in bench/results/
	@/usr/bin/python3 bench/solver.py $(BUILD)/bench/bench_solver $(BUILD)/bench-instances bench/results

bench-kernels: build ## kernels beside OpenBLAS and oneDNN, decoding beside plain reading; bench/results/kernels*
	@OMP_NUM_THREADS=1 $(BUILD)/bench/bench_kernels all bench/results/kernels-samples.tsv | tee bench/results/kernels.txt

bench-models: build model ## whole models beside PyTorch and onnxruntime (PYTHON has them); bench/results/models*
	@$(or $(PYTHON),python3) bench/bench_models.py $(BUILD)/bench/bench_models .cache/models/all-MiniLM-L6-v2 \
	    bench/results/models-samples.tsv --threads $(or $(THREADS),1) | tee bench/results/models.txt

gpu-test: build ## kernels and runners on an NVIDIA GPU against the CPU, then compute-sanitizer (skipped without one)
	@tools/gpu_test.sh $(BUILD) || [ $$? = 77 ]

acceptance: build ## the acceptance runs on an NVIDIA GPU, in parts (PART=NAME, BUDGET=MINUTES); goes on where it stopped
	@python3 tools/acceptance/acceptance.py --icd $(ICD) $(if $(PART),--part $(PART)) $(if $(BUDGET),--budget $(BUDGET))

acceptance-smoke: build ## the same on the CPU with small shapes: supports no claim
	@python3 tools/acceptance/acceptance.py --smoke --icd $(ICD) $(if $(PART),--part $(PART))

acceptance-list: ## the parts of `make acceptance` and how long each should take
	@python3 tools/acceptance/acceptance.py --list

fmt: setup ## format the C code
	@tools/format.sh fix

lint: setup ## formatting, layers, leftovers
	@tools/format.sh check
	@python3 tools/check_layers.py
	@tools/check_tree.sh

fuzz: setup ## every fuzz target for FUZZ_SECONDS (default 10)
	@fuzz/run.sh $(or $(FUZZ_SECONDS),10)

clean: ## remove build folders and runs (not the model cache)
	@rm -rf build runs
