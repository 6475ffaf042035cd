/* layer: measure */
/* samples.csv: what is read must be whole blocks of finite samples, every arm at every
 * block in a place of its own. */
#include "fuzz.h"
#include "fuzz_ctx.h"

#include "measure/samples_csv.h"

#include <math.h>

/* The places inside a block are a permutation of 0..arms-1. */
static void check_block(const icd_samples *s, int64_t block)
{
    int64_t sum = 0;
    for (int64_t a = 0; a < s->arms; a++) {
        int64_t at = block * s->arms + a;
        if (s->position[at] < 0 || s->position[at] >= s->arms) abort();
        if (!isfinite(s->lat_ms[at]) || !(s->lat_ms[at] > 0)) abort();
        if (!isfinite(s->t_start[at])) abort();
        sum += s->position[at];
    }
    if (sum != s->arms * (s->arms - 1) / 2) abort();
}

static void check(const icd_samples *s)
{
    if (s->arms < 1 || s->blocks < 1 || !isfinite(s->elapsed_s)) abort();
    for (int64_t a = 0; a < s->arms; a++)
        if (s->burst[a] < 1 || icd_samples_find(s, s->name[a]) != a) abort();
    for (int64_t b = 0; b < s->blocks; b++) check_block(s, b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    icd_ctx *ctx = fuzz_ctx_new();
    icd_samples *s = NULL;
    icd_status status =
        icd_i_samples_parse(ctx, (const char *)data, size, "samples.csv", &s);
    if (status == ICD_OK)
        check(s);
    else
        fuzz_check_error(ctx, status, s);
    icd_samples_free(ctx, s);
    icd_ctx_free(ctx);
    return 0;
}
