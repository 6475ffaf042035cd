/**
 * @file kernels.h
 * Arithmetic: no allocation, no errors. One table of functions per instruction-set level.
 *
 * Every kernel gives the same bits on every level: integer sums are exact, and the
 * floating-point ones reduce over 16 fixed lanes with the same operations in the same
 * order. NaN and infinity in f32 input reach the output as NaN (or as the infinity that
 * the formula gives); they never turn into an ordinary number.
 *
 * Packed int8 weights, one format for all kernels: row blocks of `vector` output rows (a
 * multiple of 16); inside a block its live groups of 4 input channels, one behind the
 * other; inside a group [vector rows][4 channels]. A 64-byte line holds 16 rows x 4
 * channels: what one VNNI instruction takes.
 *
 * - quantize_row: q[s] = round(x[order[s]] * (127 / max|x|)), ties to even, and
 *   *scale = max|x| / 127. order NULL is the identity; order[s] < 0, and without an
 *   order s >= n, give 0. `slots` is a multiple of 4. Rows whose maximum is below 2^-118
 *   give q = 0 and scale 0; rows with NaN or infinity q = 0 and scale NaN.
 *
 * - stage_rows: rows of quantised activations, in -127..127, in the form that tile_block
 *   of the same level reads, icd_i_staged_bytes(slots) for each; slots is a multiple
 * of 4. A row serves all row blocks, so what can be worked out once for all is done here.
 *
 * - quantize_fixed: q[s] = round(x[order[s]] / step), at most 127 in magnitude, and
 *   *scale = step, without a look for the largest; order[s] < 0 gives 0. step >= 2^-118.
 *   Rows that hold NaN or infinity at any order[s]: q = 0 and scale NaN.
 *
 * - tile_block: acc[t * vector + r] = sum over the `count` live groups of a . w. a is
 *   `tokens` staged rows of `slots`; the weights lie in -127..127. Group j of the list is
 *   group `live[j]` of the activation row (NULL: j, as in dense and gathered activations)
 *   and group `at[j]` of the weights (NULL: j). comp[r] = 128 * sum of row r's packed
 *   weights (icd_i_pack_block), which only VNNI reads, and only without `at`.
 *
 * - tile_block_f32: y[t * vector + r] = sum over the `count` live channels of a * w, each
 *   step one fused multiply-add, in the order of the list, so that all levels give the
 *   same bits. The list is entered at its channel `first`; behind 0 y holds the sum of
 *   those before it. a holds `tokens` rows in panels of ICD_PANEL (pack_panel), one
 * behind the other; the last is as narrow as the tokens left. w holds panels of 16 rows,
 *   [vector / 16][room channels][16], room >= count. Channel j of the list is channel
 *   `live[j]` of the activations (NULL: j) and `at[j]` of the weights (NULL: j).
 *
 * - tile_block_bf16: the same with weights in bf16, which become f32 without rounding.
 *
 * - tile_block_int4: weights of 4 bits whose scales belong to groups of `per` steps; a
 *   step is 8 channels. y[t * vector + r] = sum over the groups of fma(dot, scale[group *
 *   vector + r], y), dot the exact sum over the group's steps. Step j of the `count` in
 *   the list is step `live[j]` of the activation row (NULL: j); the last group may be
 *   short. w holds [count steps][vector rows][4 bytes]: the low half of byte k is 8 + the
 *   weight of channel k, the high half 8 + that of channel 4 + k.
 *
 * - tile_block_24: tile_block for rows with at most two weights in any four channels. A
 *   step is 8 channels: [vector rows][4 weights], two of the first four channels and two
 *   of the last four, then [vector] bytes that tell in 2 bits each which of the four they
 *   are. comp as in tile_block.
 *
 * - pack_panel: out[s * tokens + t] = x[t * ldx + order[s]] for at most ICD_PANEL rows;
 *   order NULL is the identity; order[s] < 0, and without an order s >= n, give 0.
 *
 * - gather_rows: out[t * count + k] = a[t * lda + index[k]]; count is a multiple of 4.
 *
 * - dequantize_row: y[r] = acc[r] * (scale * w_scale[r]) + bias[r]; bias NULL: none.
 *
 * - scale_row: y = x * scale + bias, rounded twice; bias NULL: none.
 *
 * - reorder_row: y[s] = x[order[s]], 0 where order[s] < 0; y is not x.
 *
 * - add_bias: y += bias.
 *
 * - layer_norm: y = (v - mean) / sqrt(var + eps) * gain + bias, v = x + residual (NULL:
 *   x); y may be x.
 *
 * - rms_norm: y = v / sqrt(mean(v^2) + eps) * gain, v = x + residual (NULL: x); y may be
 *   x.
 *
 * - silu: x / (1 + e^-x), within 4 ulp down to -87, where it is 0. mul_silu: x *=
 *   silu(gate); x may not be gate.
 *
 * - gelu: x Phi(x), the exact (erf) form: within 5 ulp for x > 0, 9 ulp down to -12,
 *   where it is 2e-32; 0 below -13.2.
 *
 * - gelu_tanh: x (1 + tanh(sqrt(2 / pi) (x + .044715 x^3))) / 2, as GPT-2 has it: within
 *   6 ulp for x > 0; below, where the exponential magnifies the rounding of its argument,
 *   within 1.5e-7 of the largest value.
 *
 * - relu: max(x, 0); NaN stays NaN.
 *
 * - tanh_row: tanh(x) within 2 ulp.
 *
 * - softmax: of scale * x[0..live), scale > 0; x[live..n) = 0. live >= 1. Entries of
 *   -infinity give 0; terms below e^-87 are 0.
 *
 * - rope: turns each pair (x[i], x[half + i]) by the angle with this cosine and sine.
 *
 * - page_scores: score[t] = sum over i of q[i] * k[i * page + t], four chains over i
 *   mod 4, which are added last. page_scores8: keys in int8; scale[t] times that sum.
 *
 * - page_values: y[j] += sum over t of p[t] * v[t * dim + j], in the order of t.
 *   page_values8: values in int8, p[t] * scale[t] in the place of p[t].
 *
 * - softplus: ln(1 + e^x) within 4 ulp; terms below e^-87 are 0.
 *
 * - conv_silu: y = silu(bias + sum over j < taps of w[j * n + i] * x[j][i]), in the order
 *   of j; bias NULL: none. x[j] are rows of n.
 *
 * - scan: the recurrence of a selective state-space layer over `tokens` rows, for a block
 *   of channels (icd_scan); h [states][ICD_SCAN] goes on from what it holds; y may be u.
 */
#ifndef ICD_KERNELS_KERNELS_H
#define ICD_KERNELS_KERNELS_H

#include "base/cpu.h"
#include "kernels/kernels.inc"

#include <stdbool.h>
#include <stdint.h>

enum { ICD_PANEL = 6 }; /**< tokens whose activations lie side by side in f32 kernels */

/** Channels that f32 kernels take at a time: 16 rows x 256 x 4 bytes of weights fill half
 * of an L1 of 32 KB and stay there for all tokens. */
enum { ICD_PASS = 256 };

enum { ICD_SCAN = 64 }; /**< channels of a block of `scan` */

/** A block of n <= ICD_SCAN channels: for each token, with step = softplus(dt),
 *  h[j] = e^(step a[j]) h[j] + step u b[j],  y = d u + sum over j of h[j] c[j]. */
typedef struct icd_scan {
    const float *u, *dt; /**< [tokens], rows `ld` apart; y lies the same way */
    const float *b, *c;  /**< [tokens][states], rows `ld_bc` apart */
    int64_t ld, ld_bc;
    const float *a; /**< [states][ICD_SCAN], <= 0 */
    const float *d; /**< [n] */
    int64_t n, states;
} icd_scan;

typedef struct icd_kernels {
    icd_isa isa;
#define ICD_KERNEL_MEMBER(name, args) void(*name) args;
    ICD_KERNELS(ICD_KERNEL_MEMBER)
#undef ICD_KERNEL_MEMBER
} icd_kernels;

/** The kernels of a level, or of the best level below it that was compiled in. The caller
 * makes sure that the CPU has it (icd_i_cpu_has). */
const icd_kernels *icd_i_kernels(icd_isa isa);

/** Bytes of a staged row of `slots` activations, in whole lines of 64. */
static inline int64_t icd_i_staged_bytes(int64_t slots)
{
    return (3 * slots + slots / 64 + 4 + 63) / 64 * 64;
}

/** Bytes of `groups` packed groups. */
int64_t icd_i_pack_bytes(int64_t groups, int32_t vector);

/**
 * Packs one row block.
 * @param w      [in] int8 [rows x ld], row-major; rows beyond `rows` are zero
 * @param column [in] 4 * groups source columns, -1: zero
 * @param out    [out] icd_i_pack_bytes(groups, vector) bytes
 * @param comp   [out] vector entries: 128 * sum of the row's packed weights
 */
void icd_i_pack_block(const int8_t *w, int64_t ld, int64_t rows, const int32_t *column,
                      int64_t groups, int32_t vector, int8_t *out, int32_t *comp);

/** The same for tile_block_f32: [vector / 16][count channels][16 rows]. */
void icd_i_pack_block_f32(const float *w, int64_t ld, int64_t rows, const int32_t *column,
                          int64_t count, int32_t vector, float *out);

/** The same for tile_block_bf16. @param w [in] bits of bf16 */
void icd_i_pack_block_bf16(const uint16_t *w, int64_t ld, int64_t rows,
                           const int32_t *column, int64_t count, int32_t vector,
                           uint16_t *out);

enum { ICD_STEP = 8 }; /**< channels of a step of tile_block_int4 and tile_block_24 */

/** Bytes of a step. */
static inline int64_t icd_i_step_bytes_int4(int32_t vector)
{
    return 4 * (int64_t)vector;
}
static inline int64_t icd_i_step_bytes_24(int32_t vector)
{
    return 5 * (int64_t)vector;
}

/** The same for tile_block_int4. @param w [in] -8..7 @param column [in] 8 a step */
void icd_i_pack_block_int4(const int8_t *w, int64_t ld, int64_t rows,
                           const int32_t *column, int64_t steps, int32_t vector,
                           uint8_t *out);

/**
 * The same for tile_block_24.
 * @return false, and nothing of use in `out`, where four channels have more than two
 *         weights that are not zero
 */
bool icd_i_pack_block_24(const int8_t *w, int64_t ld, int64_t rows, const int32_t *column,
                         int64_t steps, int32_t vector, int8_t *out, int32_t *comp);

#endif
