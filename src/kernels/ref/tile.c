/* The definition of the tile kernels. */
#include "kernels/level.h"

#include <math.h>

void icd_i_tile_block_ref(const int8_t *a, int64_t lda, int64_t tokens,
                          const int32_t *live, int64_t count, const int8_t *w,
                          const int32_t *comp, int32_t vector, int32_t *acc)
{
    (void)comp; /* an offset that only VNNI needs */
    for (int64_t t = 0; t < tokens; t++)
        for (int32_t r = 0; r < vector; r++) {
            int32_t sum = 0;
            for (int64_t j = 0; j < count; j++) {
                const int8_t *x = a + t * lda + 4 * (live ? live[j] : j);
                const int8_t *y = w + (j * vector + r) * 4;
                for (int k = 0; k < 4; k++) sum += x[k] * y[k];
            }
            acc[t * vector + r] = sum;
        }
}

void icd_i_tile_block_f32_ref(const float *a, int64_t lda, int64_t tokens,
                              const int32_t *live, int64_t count, const float *w,
                              int32_t vector, float *y)
{
    for (int64_t t = 0; t < tokens; t++)
        for (int32_t r = 0; r < vector; r++) {
            float sum = 0;
            for (int64_t j = 0; j < count; j++)
                sum = fmaf(a[t * lda + (live ? live[j] : j)], w[j * vector + r], sum);
            y[t * vector + r] = sum;
        }
}

void icd_i_gather_rows_ref(const int8_t *a, int64_t lda, int64_t tokens,
                           const int32_t *index, int64_t count, int8_t *out)
{
    for (int64_t t = 0; t < tokens; t++)
        for (int64_t k = 0; k < count; k++) out[t * count + k] = a[t * lda + index[k]];
}
