/* The definition of the tile kernels. */
#include "core/small_float.h"
#include "kernels/level.h"

#include <math.h>
#include <string.h>

void icd_i_stage_rows_ref(const int8_t *a, int64_t lda, int64_t tokens, int64_t slots,
                          uint8_t *out)
{
    for (int64_t t = 0; t < tokens; t++)
        memcpy(out + t * icd_i_staged_bytes(slots), a + t * lda, (size_t)slots);
}

void icd_i_tile_block_ref(const uint8_t *a, int64_t slots, int64_t tokens,
                          const int32_t *live, const int32_t *at, int64_t count,
                          const int8_t *w, const int32_t *comp, int32_t vector,
                          int32_t *acc)
{
    (void)comp; /* an offset that only VNNI needs */
    for (int64_t t = 0; t < tokens; t++)
        for (int32_t r = 0; r < vector; r++) {
            int32_t sum = 0;
            for (int64_t j = 0; j < count; j++) {
                const int8_t *x = (const int8_t *)a + t * icd_i_staged_bytes(slots) +
                                  4 * (live ? live[j] : j);
                const int8_t *y = w + ((at ? at[j] : j) * vector + r) * 4;
                for (int k = 0; k < 4; k++) sum += x[k] * y[k];
            }
            acc[t * vector + r] = sum;
        }
}

/* Channel c of token t in panels of ICD_PANEL tokens. */
static float panel_value(const float *a, int64_t slots, int64_t tokens, int64_t t,
                         int64_t c)
{
    int64_t first = t / ICD_PANEL * ICD_PANEL, width = tokens - first;
    if (width > ICD_PANEL) width = ICD_PANEL;
    return a[first * slots + c * width + t - first];
}

void icd_i_tile_block_f32_ref(const float *a, int64_t slots, int64_t tokens,
                              const int32_t *live, const int32_t *at, int64_t count,
                              int64_t first, const float *w, int64_t room, int32_t vector,
                              float *y)
{
    for (int64_t t = 0; t < tokens; t++)
        for (int32_t r = 0; r < vector; r++) {
            const float *row = w + r / 16 * room * 16 + r % 16;
            float sum = first ? y[t * vector + r] : 0;
            for (int64_t j = first; j < first + count; j++)
                sum = fmaf(panel_value(a, slots, tokens, t, live ? live[j] : j),
                           row[(at ? at[j] : j) * 16], sum);
            y[t * vector + r] = sum;
        }
}

void icd_i_tile_block_bf16_ref(const float *a, int64_t slots, int64_t tokens,
                               const int32_t *live, const int32_t *at, int64_t count,
                               int64_t first, const uint16_t *w, int64_t room,
                               int32_t vector, float *y)
{
    for (int64_t t = 0; t < tokens; t++)
        for (int32_t r = 0; r < vector; r++) {
            const uint16_t *row = w + r / 16 * room * 16 + r % 16;
            float sum = first ? y[t * vector + r] : 0;
            for (int64_t j = first; j < first + count; j++)
                sum = fmaf(panel_value(a, slots, tokens, t, live ? live[j] : j),
                           icd_i_bf16_value(row[(at ? at[j] : j) * 16]), sum);
            y[t * vector + r] = sum;
        }
}

static int32_t dot_int4(const int8_t *x, const uint8_t *w)
{
    int32_t sum = 0;
    for (int k = 0; k < 4; k++)
        sum += x[k] * ((w[k] & 15) - 8) + x[4 + k] * ((w[k] >> 4) - 8);
    return sum;
}

void icd_i_tile_block_int4_ref(const int8_t *a, int64_t lda, int64_t tokens,
                               const int32_t *live, int64_t count, int64_t per,
                               const uint8_t *w, const float *scale, int32_t vector,
                               float *y)
{
    for (int64_t t = 0; t < tokens; t++)
        for (int32_t r = 0; r < vector; r++) {
            float sum = 0;
            for (int64_t g = 0; g * per < count; g++) {
                int32_t dot = 0;
                for (int64_t j = g * per; j < (g + 1) * per && j < count; j++)
                    dot += dot_int4(a + t * lda + ICD_STEP * (live ? live[j] : j),
                                    w + (j * vector + r) * 4);
                sum = fmaf((float)dot, scale[g * vector + r], sum);
            }
            y[t * vector + r] = sum;
        }
}

void icd_i_tile_block_24_ref(const int8_t *a, int64_t lda, int64_t tokens,
                             const int32_t *live, int64_t count, const int8_t *w,
                             const int32_t *comp, int32_t vector, int32_t *acc)
{
    (void)comp;
    for (int64_t t = 0; t < tokens; t++)
        for (int32_t r = 0; r < vector; r++) {
            int32_t sum = 0;
            for (int64_t j = 0; j < count; j++) {
                const int8_t *x = a + t * lda + ICD_STEP * (live ? live[j] : j);
                const int8_t *step = w + j * icd_i_step_bytes_24(vector);
                uint8_t code = (uint8_t)step[4 * vector + r];
                for (int k = 0; k < 4; k++)
                    sum += x[k / 2 * 4 + (code >> 2 * k & 3)] * step[4 * r + k];
            }
            acc[t * vector + r] = sum;
        }
}

void icd_i_gather_rows_ref(const int8_t *a, int64_t lda, int64_t tokens,
                           const int32_t *index, int64_t count, int8_t *out)
{
    for (int64_t t = 0; t < tokens; t++)
        for (int64_t k = 0; k < count; k++) out[t * count + k] = a[t * lda + index[k]];
}
