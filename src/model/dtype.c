#include "base/error.h"
#include <icd/model.h>

#include <string.h>

static const struct {
    const char *name;
    int64_t size;
} DTYPE[ICD_DTYPES] = {
    [ICD_F64] = {"F64", 8},   [ICD_F32] = {"F32", 4}, [ICD_F16] = {"F16", 2},
    [ICD_BF16] = {"BF16", 2}, [ICD_I64] = {"I64", 8}, [ICD_I32] = {"I32", 4},
    [ICD_I16] = {"I16", 2},   [ICD_I8] = {"I8", 1},   [ICD_U8] = {"U8", 1},
    [ICD_BOOL] = {"BOOL", 1},
};

const char *icd_dtype_name(icd_dtype dtype)
{
    return DTYPE[dtype].name;
}

int64_t icd_dtype_size(icd_dtype dtype)
{
    return DTYPE[dtype].size;
}

static float float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Every half is a float. Subnormal halves are m * 2^-24; the others need their exponent
 * moved from bias 15 to bias 127, and infinity and NaN keep an exponent of ones. */
static float float_of_half(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t exponent = (half >> 10) & 0x1fu, mantissa = half & 0x3ffu;
    if (exponent == 0) {
        float tiny = (float)mantissa * 0x1p-24f;
        return sign ? -tiny : tiny;
    }
    uint32_t moved = exponent == 0x1f ? 0xff : exponent + (127 - 15);
    return float_of_bits(sign | moved << 23 | mantissa << 13);
}

static void from_halves(const uint16_t *from, int64_t count, float *out)
{
    for (int64_t i = 0; i < count; ++i) out[i] = float_of_half(from[i]);
}

static void from_bfloats(const uint16_t *from, int64_t count, float *out)
{
    for (int64_t i = 0; i < count; ++i) out[i] = float_of_bits((uint32_t)from[i] << 16);
}

static void from_doubles(const double *from, int64_t count, float *out)
{
    for (int64_t i = 0; i < count; ++i) out[i] = (float)from[i];
}

icd_status icd_tensor_to_f32(icd_ctx *ctx, const icd_tensor *tensor, float *out)
{
    switch (tensor->dtype) {
    case ICD_F64:
        from_doubles(tensor->data, tensor->count, out);
        return ICD_OK;
    case ICD_F16:
        from_halves(tensor->data, tensor->count, out);
        return ICD_OK;
    case ICD_BF16:
        from_bfloats(tensor->data, tensor->count, out);
        return ICD_OK;
    case ICD_F32:
        if (tensor->count) memcpy(out, tensor->data, (size_t)tensor->count * sizeof *out);
        return ICD_OK;
    default:
        return icd_i_fail(ctx, ICD_EINVAL, tensor->name, NULL,
                          "found dtype %s, expected floating point",
                          icd_dtype_name(tensor->dtype));
    }
}
