/* layer: core */
/* W as MatrixMarket or SciPy npz; what is read must be a valid W. */
#include "fuzz.h"
#include "fuzz_ctx.h"

#include "core/csr_io.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    icd_ctx *ctx = fuzz_ctx_new();
    icd_csr *w = NULL;
    icd_status status = icd_i_csr_decode(ctx, data, size, "W.mtx", &w);
    if (status != ICD_OK)
        fuzz_check_error(ctx, status, w);
    else if (icd_csr_check(ctx, w, "W") == ICD_EDATA)
        abort();
    icd_csr_free(ctx, w);
    icd_ctx_free(ctx);
    return 0;
}
