#!/bin/sh
# Keeps what ncu and the driver print on a machine with a GPU: record.sh DIR COMMAND... (the command should
# run a few kernels). Reads only: no clock, no setting is changed.
set -eu
dir=$1
shift
mkdir -p "$dir"
export LC_ALL=C
ncu --version >"$dir/ncu_version.txt"
ncu --query-metrics >"$dir/ncu_query.txt" 2>&1 || true
ncu --csv --page raw --print-units base --target-processes all --replay-mode application \
    --cache-control none --clock-control none --launch-count 40 \
    --metrics lts__t_sector_hit_rate.pct,lts__t_sectors.sum,lts__t_sectors_op_read.sum,dram__bytes_read.sum,dram__bytes_write.sum \
    "$@" >"$dir/ncu_raw.csv" 2>"$dir/ncu_stderr.txt" || echo "exit code $?" >>"$dir/ncu_stderr.txt"
nvidia-smi -q -d POWER,CLOCK,PERFORMANCE,TEMPERATURE >"$dir/nvidia_smi.txt" || true
cat /proc/driver/nvidia/params >"$dir/driver_params.txt" 2>/dev/null || true
