/* The library's own device kernels, compiled for the emulator. */
#include "kernels/cuda/attention.cu"
#include "kernels/cuda/mamba.cu"
#include "kernels/cuda/rows.cu"
