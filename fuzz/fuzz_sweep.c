/* layer: report */
/* sweep.csv: every row that is kept has finite numbers and a name that ends. */
#include "fuzz.h"
#include "fuzz_ctx.h"

#include "report/sweep.h"

#include <math.h>
#include <string.h>

static void check(const icd_sweep *s)
{
    bool front = s->count == 0;
    for (int64_t i = 0; i < s->count; i++) {
        const icd_sweep_row *r = &s->row[i];
        if (!isfinite(r->lat_ms) || !isfinite(r->quality)) abort();
        if (!memchr(r->config, 0, sizeof r->config)) abort();
        front = front || r->front;
    }
    if (!front) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    icd_ctx *ctx = fuzz_ctx_new();
    icd_sweep s;
    if (icd_i_sweep_parse(ctx, (const char *)data, (int64_t)size, &s) == ICD_OK)
        check(&s);
    else if (s.row)
        abort();
    icd_i_sweep_release(ctx, &s);
    icd_ctx_free(ctx);
    return 0;
}
