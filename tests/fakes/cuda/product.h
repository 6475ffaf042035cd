/**
 * @file product.h
 * The product that both fake libraries compute: y^T = w x^T, column by column.
 */
#ifndef ICD_FAKE_CUDA_PRODUCT_H
#define ICD_FAKE_CUDA_PRODUCT_H

#include "runner/cuda/lt_abi.h"

#include <math.h>
#include <string.h>

static inline float fake_bf16(uint16_t bits)
{
    uint32_t wide = (uint32_t)bits << 16;
    float v;
    memcpy(&v, &wide, sizeof v);
    return v;
}

static inline uint16_t fake_to_bf16(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static inline float fake_e4m3(uint8_t bits)
{
    int exponent = bits >> 3 & 15, mantissa = bits & 7;
    float v = exponent ? ldexpf((float)(8 + mantissa), exponent - 10)
                       : ldexpf((float)mantissa, -9);
    return bits & 0x80 ? -v : v;
}

static inline float fake_value(int type, const void *at, int64_t i)
{
    if (type == ICD_LT_R_16BF) return fake_bf16(((const uint16_t *)at)[i]);
    if (type == ICD_LT_R_8F_E4M3) return fake_e4m3(((const uint8_t *)at)[i]);
    return (float)((const int8_t *)at)[i];
}

typedef struct fake_product {
    const void *w, *x, *bias; /* bias: bf16 [rows]; NULL: none */
    void *y;
    int in, out, relu;
    int64_t rows, tokens, cols, ldw, ldx, ldy;
} fake_product;

static inline void fake_multiply(const void *data)
{
    fake_product p;
    memcpy(&p, data, sizeof p);
    for (int64_t t = 0; t < p.tokens; t++)
        for (int64_t r = 0; r < p.rows; r++) {
            double sum = p.bias ? (double)fake_bf16(((const uint16_t *)p.bias)[r]) : 0;
            for (int64_t c = 0; c < p.cols; c++)
                sum += (double)fake_value(p.in, p.w, r * p.ldw + c) *
                       (double)fake_value(p.in, p.x, t * p.ldx + c);
            if (p.relu && sum < 0) sum = 0;
            if (p.out == ICD_LT_R_32I)
                ((int32_t *)p.y)[t * p.ldy + r] = (int32_t)sum;
            else
                ((uint16_t *)p.y)[t * p.ldy + r] = fake_to_bf16((float)sum);
        }
}

#endif
