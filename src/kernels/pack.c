#include "kernels/kernels.h"

#include <string.h>

int64_t icd_i_pack_bytes(int64_t groups, int32_t vector)
{
    return groups * vector * 4;
}

void icd_i_pack_block(const int8_t *w, int64_t ld, int64_t rows, const int32_t *column,
                      int64_t groups, int32_t vector, int8_t *out, int32_t *comp)
{
    memset(out, 0, (size_t)icd_i_pack_bytes(groups, vector));
    memset(comp, 0, (size_t)vector * sizeof *comp);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < 4 * groups; k++) {
            int8_t value = column[k] < 0 ? 0 : w[r * ld + column[k]];
            out[(k / 4 * vector + r) * 4 + k % 4] = value;
            comp[r] += 128 * value;
        }
}

/* Where channel k of row r lies in panels of 16 rows. */
static int64_t in_panels(int64_t r, int64_t k, int64_t count)
{
    return (r / 16 * count + k) * 16 + r % 16;
}

void icd_i_pack_block_f32(const float *w, int64_t ld, int64_t rows, const int32_t *column,
                          int64_t count, int32_t vector, float *out)
{
    memset(out, 0, (size_t)(count * vector) * sizeof *out);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < count; k++)
            if (column[k] >= 0) out[in_panels(r, k, count)] = w[r * ld + column[k]];
}

void icd_i_pack_block_bf16(const uint16_t *w, int64_t ld, int64_t rows,
                           const int32_t *column, int64_t count, int32_t vector,
                           uint16_t *out)
{
    memset(out, 0, (size_t)(count * vector) * sizeof *out);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < count; k++)
            if (column[k] >= 0) out[in_panels(r, k, count)] = w[r * ld + column[k]];
}
