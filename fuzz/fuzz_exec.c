/* layer: runner */
/* What a command prints: latencies that are read must be above zero and finite. */
#include "fuzz.h"
#include "fuzz_ctx.h"

#include <icd/exec.h>

#include <math.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    icd_ctx *ctx = fuzz_ctx_new();
    icd_exec_result r = {0};
    icd_status status =
        icd_exec_parse(ctx, (const char *)data, (int64_t)size, "command", &r);
    if (status == ICD_OK && r.count < 1) abort();
    for (int64_t i = 0; status == ICD_OK && i < r.count; i++)
        if (!isfinite(r.value[i]) || !(r.value[i] > 0)) abort();
    bool expected = status == ICD_OK || status == ICD_EMEASURE || status == ICD_ENOMEM;
    if (!expected || (status != ICD_OK && (r.value || !*icd_ctx_message(ctx)))) abort();
    icd_exec_result_release(ctx, &r);
    icd_ctx_free(ctx);
    return 0;
}
