#include "measure/design.h"

int64_t icd_i_design_rows(int64_t arms)
{
    return arms > 1 && arms % 2 ? 2 * arms : arms;
}

/* The first row zigzags 0, 1, k-1, 2, k-2, ...; the others shift it; odd k adds the
 * mirror image. */
void icd_i_design_row(int64_t arms, int64_t row, int32_t *order)
{
    int64_t r = row % icd_i_design_rows(arms);
    bool mirrored = r >= arms;
    for (int64_t p = 0; p < arms; p++) {
        int64_t zigzag = p == 0 ? 0 : p % 2 ? (p + 1) / 2 : arms - p / 2;
        int64_t at = mirrored ? arms - 1 - p : p;
        order[at] = (int32_t)((zigzag + r) % arms);
    }
}
