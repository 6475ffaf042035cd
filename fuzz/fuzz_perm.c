/* layer: core */
/* The same text as a single permutation and as a set; what is read must be bijections. */
#include "fuzz.h"
#include "fuzz_ctx.h"

#include "core/perm_io.h"

static void use(icd_ctx *ctx, const icd_perm *p)
{
    icd_perm *inverse = NULL, *identity = NULL;
    if (icd_perm_inverse(ctx, p, &inverse) == ICD_OK &&
        icd_perm_compose(ctx, p, inverse, &identity) == ICD_OK)
        for (int64_t k = 0; k < p->n; ++k)
            if (identity->old_of_new[k] != k) abort();
    icd_perm_free(ctx, inverse);
    icd_perm_free(ctx, identity);
}

static void fuzz_single(icd_ctx *ctx, const char *text, size_t size)
{
    icd_perm *p = NULL;
    icd_status status = icd_i_perm_parse(ctx, text, size, "perm.json", &p);
    if (status == ICD_OK)
        use(ctx, p);
    else
        fuzz_check_error(ctx, status, p);
    icd_perm_free(ctx, p);
}

static void fuzz_set(icd_ctx *ctx, const char *text, size_t size)
{
    icd_perm_set *set = NULL;
    icd_status status = icd_i_perm_set_parse(ctx, text, size, "perm_after.json", &set);
    for (int64_t i = 0; set && i < set->count; ++i) use(ctx, set->entry[i].perm);
    if (status != ICD_OK) fuzz_check_error(ctx, status, set);
    icd_perm_set_free(ctx, set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    icd_ctx *ctx = fuzz_ctx_new();
    fuzz_single(ctx, (const char *)data, size);
    fuzz_set(ctx, (const char *)data, size);
    icd_ctx_free(ctx);
    return 0;
}
