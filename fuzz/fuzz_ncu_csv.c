/* layer: measure */
/* What ncu prints: a table that is read has a name and a value, finite or not told, for
 * every kernel and column. */
#include "fuzz.h"
#include "fuzz_ctx.h"

#include "measure/ncu_csv.h"

#include <math.h>
#include <string.h>

static void check(const icd_ncu_table *t)
{
    for (int64_t c = 0; c < t->columns; c++) {
        double x;
        if (!strstr(t->column[c].name, "__") || !t->column[c].unit) abort();
        if (icd_i_ncu_column(t, t->column[c].name) > c) abort();
        if (t->column[c].odd && icd_i_ncu_number(t->column[c].odd, &x)) abort();
    }
    for (int64_t k = 0; k < t->kernels; k++) {
        if (!t->kernel[k].name || !t->kernel[k].cc || !t->kernel[k].grid) abort();
        for (int64_t c = 0; c < t->columns; c++)
            if (isinf(t->value[k * t->columns + c])) abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    icd_ctx *ctx = fuzz_ctx_new();
    icd_ncu_table *t = NULL;
    icd_status status = icd_i_ncu_parse(ctx, (const char *)data, size, "ncu.csv", &t);
    if (status == ICD_OK)
        check(t);
    else
        fuzz_check_error(ctx, status, t);
    icd_i_ncu_table_free(ctx, t);
    icd_ctx_free(ctx);
    return 0;
}
