#include "kernels/level.h"

#define LEVEL avx512
#include "kernels/f32_body.inc"
