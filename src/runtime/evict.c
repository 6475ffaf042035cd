#include "runtime/evict.h"

#include "base/error.h"

#include <math.h>
#include <string.h>

static const char *const NAME[] = {"full", "in place", "compact"};

const char *icd_i_arm_kv_name(int32_t kv)
{
    return NAME[kv];
}

int32_t icd_i_arm_kv_of(const char *name)
{
    for (int32_t i = ICD_ARM_KV_COMPACT; name && i > 0; i--)
        if (!strcmp(NAME[i], name)) return i;
    return ICD_ARM_KV_FULL;
}

bool icd_i_kv_wanted(const icd_config *config)
{
    return config->kv.drop > 0 || config->kv.int8;
}

const char *icd_i_kv_obstacle(const icd_config *config, const icd_model *model)
{
    if (icd_model_get_config(model)->kv_heads < 1)
        return "the architecture has no KV cache";
    if (config->runner.phase != ICD_PHASE_DECODE)
        return "runner.phase is prefill, which builds the cache and does not read it "
               "back";
    return NULL;
}

static icd_status evict_layer(icd_ctx *ctx, icd_runner *runner, int64_t layer,
                              const icd_kv_opts *opts, icd_kv_effect *effect,
                              icd_transform_meta *meta)
{
    struct icd_kv *thinned = NULL;
    const struct icd_kv *held =
        opts->int8 ? icd_runner_kv(runner, layer) : icd_runner_kv_places(runner, layer);
    icd_status status = icd_apply_kvcache(ctx, held, opts, &thinned, effect, meta);
    if (status == ICD_OK && thinned)
        status = opts->int8 ? icd_runner_put_kv(ctx, runner, layer, thinned)
                            : icd_runner_move_kv(ctx, runner, layer, thinned);
    icd_kv_free(ctx, thinned);
    return status;
}

static void add_effect(icd_kv_effect *sum, const icd_kv_effect *one)
{
    sum->tokens_before += one->tokens_before;
    sum->tokens_after += one->tokens_after;
    sum->pages_before += one->pages_before;
    sum->pages_after += one->pages_after;
    sum->bytes_before += one->bytes_before;
    sum->bytes_after += one->bytes_after;
}

icd_status icd_i_evict(icd_ctx *ctx, icd_runner *runner, int64_t layers,
                       const icd_batch *batch, const icd_kv_opts *opts, int32_t kv,
                       icd_kv_effect *effect, icd_transform_meta *meta)
{
    icd_status status = ICD_OK;
    icd_kv_opts own = *opts;
    icd_kv_effect sum = {0};
    icd_transform_meta last = {.kind = "K", .retained = NAN};
    icd_output out;
    double retained = 0;
    own.compact = kv == ICD_ARM_KV_COMPACT && opts->compact;
    if (kv == ICD_ARM_KV_FULL) {
        own.drop = 0;
        own.int8 = false;
    }
    bool mass = own.policy == ICD_KV_MASS && own.drop > 0;
    if (mass) ICD_TRY(icd_runner_attention(ctx, runner, NULL, NULL));
    ICD_TRY(icd_runner_step(ctx, runner, batch, &out));
    for (int64_t n = 0; n < layers; n++) {
        icd_kv_effect one = {0};
        ICD_TRY(evict_layer(ctx, runner, n, &own, &one, &last));
        add_effect(&sum, &one);
        retained += last.retained;
    }
    last.retained = layers ? retained / (double)layers : NAN;
    if (effect) *effect = sum;
    if (meta) *meta = last;
done:
    icd_runner_attention_stop(ctx, runner);
    return status;
}
