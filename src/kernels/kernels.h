/**
 * @file kernels.h
 * Arithmetic: no allocation, no errors. One table of functions per instruction-set level.
 *
 * Packed int8 weights, one format for all kernels: row blocks of `vector` output rows (a
 * multiple of 16); inside a block its live groups of 4 input channels, one behind the
 * other; inside a group [vector rows][4 channels]. A 64-byte line holds 16 rows x 4
 * channels: what one VNNI instruction takes. `live[j]` says at which group of the
 * activation row group j of the weights applies; NULL means group j (dense, and gathered
 * activations).
 *
 * Integer kernels give the same bits on every level. Floating-point kernels reduce over
 * 16 fixed lanes and use the same operations in the same order, so they do too.
 *
 *   quantize_row    q[s] = round(x[order[s]] * 127 / max|x|), ties to even; order NULL:
 * identity, order[s] < 0 and s >= n: 0. *scale = max|x| / 127. NaN counts as 0, infinity
 *                   as the largest float. `slots` is a multiple of 4.
 *   tile_block      acc[t * vector + r] = sum over live groups of a . w, exact in int32.
 * a is [tokens][lda], values in -127..127. comp[r] = 128 * sum of row r's packed weights
 * (icd_i_pack_block). Overflow cannot occur below 131,072 live channels. gather_row
 * out[k] = index[k] < 0 ? 0 : a[index[k]]; count is a multiple of 4. dequantize_row  y[r]
 * = acc[r] * (scale * w_scale[r]) + bias[r]; bias NULL: none. add_bias        y += bias
 *   layer_norm      y = (v - mean) / sqrt(var + eps) * gain + bias, v = x + residual
 * (NULL: x); y may be x. gelu            x/2 (1 + erf(x / sqrt 2)), |error| <= 4e-7
 * max(|x|, 1) relu            max(x, 0), NaN becomes 0 tanh_row        tanh(x), |error|
 * <= 4e-7 softmax         of scale * x[0..live); x[live..n) = 0. live >= 1.
 */
#ifndef ICD_KERNELS_KERNELS_H
#define ICD_KERNELS_KERNELS_H

#include "base/cpu.h"
#include "kernels/kernels.inc"

#include <stdint.h>

typedef struct icd_kernels {
    icd_isa isa;
#define ICD_KERNEL_MEMBER(name, args) void(*name) args;
    ICD_KERNELS(ICD_KERNEL_MEMBER)
#undef ICD_KERNEL_MEMBER
} icd_kernels;

/** The kernels of a level, or of the best level below it that was compiled in. The caller
 * makes sure that the CPU has it (icd_i_cpu_has). */
const icd_kernels *icd_i_kernels(icd_isa isa);

/** Bytes of `groups` packed groups. */
int64_t icd_i_pack_bytes(int64_t groups, int32_t vector);

/**
 * Packs one row block.
 * @param w      [in] int8 [rows x ld], row-major; rows beyond `rows` are zero
 * @param column [in] 4 * groups source columns, -1: zero
 * @param out    [out] icd_i_pack_bytes(groups, vector) bytes, 64-byte aligned
 * @param comp   [out] vector entries: 128 * sum of the row's packed weights
 */
void icd_i_pack_block(const int8_t *w, int64_t ld, int64_t rows, const int32_t *column,
                      int64_t groups, int32_t vector, int8_t *out, int32_t *comp);

#endif
