/* layer: base */
/* The same bytes as an .npy file and as an .npz archive; every element of what is read is
 * used. */
#include "fuzz.h"

#include <math.h>
#include <stdlib.h>

#include "base/npz.h"

static void use(icd_ctx *ctx, icd_array *a, size_t file)
{
    volatile double sum = 0;
    /* deflate expands at most 1032 times */
    if (a->count < 0 || (double)a->count * a->item > 1032.0 * (double)file + 64) abort();
    for (int64_t i = 0; i < a->count; i++)
        sum = icd_i_array_real(a, i) + (double)icd_i_array_int(a, i);
    (void)sum;
    icd_i_array_release(ctx, a);
}

static void fuzz_archive(icd_ctx *ctx, const uint8_t *data, size_t size)
{
    static const char *const NAME[] = {"data", "indices", "indptr", "shape", "format"};
    icd_npz *npz = NULL;
    if (icd_i_npz_open_memory(ctx, data, size, "fuzz.npz", &npz) != ICD_OK) return;
    for (size_t i = 0; i < sizeof NAME / sizeof NAME[0]; i++) {
        icd_array a;
        if (icd_i_npz_get(ctx, npz, NAME[i], &a) == ICD_OK)
            use(ctx, &a, size);
        else if (a.data)
            abort();
    }
    icd_i_npz_close(ctx, npz);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    icd_ctx_opts opts = {.size = sizeof opts, .threads = 1};
    icd_ctx *ctx = icd_ctx_new(&opts);
    icd_array a;
    if (icd_i_npy_decode(ctx, data, size, "fuzz.npy", &a) == ICD_OK)
        use(ctx, &a, size);
    else if (a.data || !*icd_ctx_message(ctx))
        abort();
    fuzz_archive(ctx, data, size);
    icd_ctx_free(ctx);
    return 0;
}
