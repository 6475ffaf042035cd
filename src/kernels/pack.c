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
    for (int64_t j = 0; j < groups; j++)
        for (int64_t r = 0; r < rows; r++)
            for (int64_t k = 0; k < 4; k++) {
                int32_t c = column[4 * j + k];
                int8_t value = c < 0 ? 0 : w[r * ld + c];
                out[(j * vector + r) * 4 + k] = value;
                comp[r] += 128 * value;
            }
}
