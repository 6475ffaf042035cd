/* Input checks that several engines share. */
#include "runner/runner_private.h"

icd_status icd_i_check_tokens(icd_ctx *ctx, const icd_runner *r, const icd_batch *batch)
{
    const icd_model_config *c = icd_model_get_config(r->model);
    if (!batch->ids)
        return icd_i_fail(ctx, ICD_EINVAL, "input", NULL,
                          "found no token ids, expected some");
    for (int64_t i = 0; i < batch->batch * batch->seq; i++)
        if (batch->ids[i] < 0 || batch->ids[i] >= c->vocab)
            return icd_i_fail(ctx, ICD_EINVAL, "input", NULL,
                              "token %lld has id %d, expected 0 to %lld", (long long)i,
                              batch->ids[i], (long long)c->vocab - 1);
    for (int64_t s = 0; batch->lengths && s < batch->batch; s++)
        if (batch->lengths[s] < 1 || batch->lengths[s] > batch->seq)
            return icd_i_fail(ctx, ICD_EINVAL, "input", NULL,
                              "sequence %lld has length %d, expected 1 to %lld",
                              (long long)s, batch->lengths[s], (long long)batch->seq);
    return ICD_OK;
}
