#include "core/small_float.h"

#include <math.h>

/* E4M3: bias 7, largest exponent field 15 with fraction 6. E5M2: bias 15, field 30. */
static int bias_of(int mantissa)
{
    return mantissa == 3 ? 7 : 15;
}

static uint8_t largest_of(int mantissa)
{
    return mantissa == 3 ? 0x7E : 0x7B;
}

float icd_i_fp8_value(uint8_t bits, int mantissa)
{
    int fraction = bits & ((1 << mantissa) - 1), field = (bits & 0x7F) >> mantissa;
    int exponent = (field ? field : 1) - bias_of(mantissa) - mantissa;
    int whole = field ? fraction + (1 << mantissa) : fraction;
    float value = ldexpf((float)whole, exponent);
    if ((bits & 0x7F) > largest_of(mantissa)) value = NAN;
    return bits & 0x80 ? -value : value;
}

/* Rounds |x| in units of the last place of its binade: the sum of the exponent field and
   the fraction carries into the next binade by itself. */
uint8_t icd_i_fp8_of(float x, int mantissa)
{
    uint8_t sign = signbit(x) ? 0x80 : 0, largest = largest_of(mantissa);
    float a = fabsf(x);
    if (!(a < icd_i_fp8_value(largest, mantissa))) return sign | largest;
    int exponent = a > 0 ? ilogbf(a) : -100, lowest = 1 - bias_of(mantissa);
    if (exponent < lowest) exponent = lowest;
    int units = (int)lrintf(ldexpf(a, mantissa - exponent));
    int bits = units + ((exponent - lowest) << mantissa);
    return (uint8_t)(sign | (bits > largest ? largest : bits));
}
