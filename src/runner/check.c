/* Input checks that several engines share, and the order of their outputs. */
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

icd_status icd_i_check_positions(icd_ctx *ctx, const icd_runner *r)
{
    int64_t positions = icd_model_get_config(r->model)->positions;
    if (r->capacity.seq <= positions) return ICD_OK;
    return icd_i_fail(ctx, ICD_EINVAL, "input", "use shorter sequences",
                      "found %lld tokens a sequence, the model has %lld positions",
                      (long long)r->capacity.seq, (long long)positions);
}

const int32_t *icd_i_residual_order(const icd_runner *r)
{
    const icd_perm *order = icd_model_order(r->model, "residual");
    return order ? order->old_of_new : NULL;
}

void icd_i_undo_order(const int32_t *order, const float *x, int64_t rows, int64_t n,
                      float *out)
{
    for (int64_t t = 0; t < rows; t++, x += n, out += n)
        for (int64_t i = 0; i < n; i++) out[order ? order[i] : i] = x[i];
}
