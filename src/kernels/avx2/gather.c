#include "kernels/level.h"

#define LEVEL avx2
#include "kernels/gather_body.inc"
