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

static int8_t weight_at(const int8_t *row, int32_t column)
{
    return column < 0 ? 0 : row[column];
}

void icd_i_pack_block_int4(const int8_t *w, int64_t ld, int64_t rows,
                           const int32_t *column, int64_t steps, int32_t vector,
                           uint8_t *out)
{
    enum { ZERO = 0x88 };
    memset(out, ZERO, (size_t)(steps * icd_i_step_bytes_int4(vector)));
    for (int64_t s = 0; s < steps; s++)
        for (int64_t r = 0; r < rows; r++)
            for (int64_t k = 0; k < 4; k++) {
                int low = 8 + weight_at(w + r * ld, column[s * ICD_STEP + k]);
                int high = 8 + weight_at(w + r * ld, column[s * ICD_STEP + 4 + k]);
                out[(s * vector + r) * 4 + k] = (uint8_t)(low | high << 4);
            }
}

/* The two weights of four channels and where they stand; false where there are more. */
static bool pack_four(const int8_t *row, const int32_t *column, int8_t *two,
                      uint32_t *code)
{
    int n = 0;
    *code = 0;
    two[0] = two[1] = 0;
    for (uint32_t k = 0; k < 4; k++) {
        int8_t value = weight_at(row, column[k]);
        if (!value) continue;
        if (n == 2) return false;
        *code |= k << 2 * n;
        two[n++] = value;
    }
    return true;
}

bool icd_i_pack_block_24(const int8_t *w, int64_t ld, int64_t rows, const int32_t *column,
                         int64_t steps, int32_t vector, int8_t *out, int32_t *comp)
{
    memset(out, 0, (size_t)(steps * icd_i_step_bytes_24(vector)));
    memset(comp, 0, (size_t)vector * sizeof *comp);
    for (int64_t s = 0; s < steps; s++, out += icd_i_step_bytes_24(vector))
        for (int64_t r = 0; r < rows; r++) {
            uint32_t low, high;
            int8_t *four = out + 4 * r;
            const int32_t *at = column + s * ICD_STEP;
            if (!pack_four(w + r * ld, at, four, &low) ||
                !pack_four(w + r * ld, at + 4, four + 2, &high))
                return false;
            out[4 * vector + r] = (int8_t)(uint8_t)(low | high << 4);
            for (int k = 0; k < 4; k++) comp[r] += 128 * four[k];
        }
    return true;
}
