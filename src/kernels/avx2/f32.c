#include "kernels/level.h"

#define LEVEL avx2
#include "kernels/f32_body.inc"
