/* layer: measure */
/* What cachegrind writes: totals are the sums over functions, and names are unique. */
#include "fuzz.h"
#include "fuzz_ctx.h"

#include "measure/cachegrind_out.h"

static void check(const icd_cg_out *out)
{
    for (int e = 0; e < ICD_CG_EVENTS; e++) {
        int64_t sum = 0;
        for (int64_t f = 0; f < out->functions; f++) sum += out->function[f].count[e];
        if (sum != out->total[e] || sum < 0) abort();
        if (sum && !out->counted[e]) abort();
    }
    for (int64_t f = 0; f < out->functions; f++)
        if (icd_i_cg_find(out, out->function[f].name) > &out->function[f]) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    icd_ctx *ctx = fuzz_ctx_new();
    icd_cg_out *out = NULL;
    icd_status status =
        icd_i_cg_parse(ctx, (const char *)data, size, "cachegrind.out", &out);
    if (status == ICD_OK)
        check(out);
    else
        fuzz_check_error(ctx, status, out);
    icd_i_cg_out_free(ctx, out);
    icd_ctx_free(ctx);
    return 0;
}
