#include "kernels/level.h"

#define LEVEL avx512
#include "kernels/gather_body.inc"
