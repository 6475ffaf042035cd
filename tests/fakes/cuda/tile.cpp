#include "kernels/cuda/tile.cu"
