/**
 * @file small_float.h
 * Floating-point types of 16 and 8 bits: their f32 value, and the nearest of them to an
 * f32 (ties to even).
 */
#ifndef ICD_CORE_SMALL_FLOAT_H
#define ICD_CORE_SMALL_FLOAT_H

#include <stdint.h>
#include <string.h>

static inline float icd_i_bf16_value(uint16_t bits)
{
    uint32_t wide = (uint32_t)bits << 16;
    float x;
    memcpy(&x, &wide, sizeof x);
    return x;
}

/** @param x [in] finite; beyond the largest bf16 it becomes infinity */
static inline uint16_t icd_i_bf16_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

/** Value of an 8-bit float with `mantissa` bits: 3 (E4M3) or 2 (E5M2). NaN for the bits
 * that stand for NaN or infinity. */
float icd_i_fp8_value(uint8_t bits, int mantissa);

/** The nearest 8-bit float; magnitudes beyond the largest one become the largest. */
uint8_t icd_i_fp8_of(float x, int mantissa);

#endif
