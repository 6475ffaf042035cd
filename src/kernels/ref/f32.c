#include "kernels/level.h"

#define LEVEL ref
#include "kernels/f32_body.inc"
