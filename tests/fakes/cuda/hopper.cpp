#include "kernels/cuda/hopper.cu"
