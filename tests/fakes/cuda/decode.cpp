#include "kernels/cuda/decode.cu"
