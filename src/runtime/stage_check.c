/* check: a permuted model must equal its own unpermuted self before anything is timed. */
#include "runtime/variant.h"

#include <stdio.h>
#include <string.h>

/* SPEC section 6. bf16 on a GPU: another order of sums turns roundings between products
 * (docs/gpu.md, "Tolerances"). */
static const double BOUND_F32 = 1e-5, BOUND_BF16_GPU = 1e-2, BOUND_INT8 = 2e-2,
                    COSINE_INT8 = .9995;

icd_status icd_i_arm_runner(icd_job *job, const icd_model *model,
                            const icd_layout *layout, int32_t dtype, int32_t kv,
                            icd_kv_effect *effect, icd_transform_meta *meta,
                            icd_runner **out)
{
    icd_status status = ICD_OK;
    icd_runner_opts opts = job->config->runner;
    icd_batch batch = icd_i_input_batch(&job->input, 0);
    opts.dtype = dtype;
    opts.vector = job->config->kernel.vector;
    opts.l2_pin = job->config->layout.l2_pin;
    ICD_TRY(icd_runner_new(job->ctx, model, layout, &batch, &opts, out));
    if (job->kv)
        status = icd_i_evict(job->ctx, *out, icd_model_get_config(model)->layers, &batch,
                             &job->config->kv, kv, effect, meta);
done:
    return status;
}

/* One inference of the first batch; the output is copied because the runner goes away. */
static icd_status infer(icd_job *job, const icd_model *model, const icd_layout *layout,
                        int32_t dtype, int32_t kv, icd_job_arm *arm, float **hidden,
                        int64_t *tokens, int64_t *width)
{
    icd_status status = ICD_OK;
    icd_runner *runner = NULL;
    icd_output out;
    icd_batch batch = icd_i_input_batch(&job->input, 0);
    *hidden = NULL;
    ICD_TRY(icd_i_arm_runner(job, model, layout, dtype, kv, arm ? &arm->kv_effect : NULL,
                             arm == &job->arm[0] ? &job->kv_meta : NULL, &runner));
    ICD_TRY(icd_runner_step(job->ctx, runner, &batch, &out));
    ICD_TRY(ICD_ALLOC(job->ctx, out.tokens * out.width, hidden));
    memcpy(*hidden, out.hidden, (size_t)(out.tokens * out.width) * sizeof **hidden);
    *tokens = out.tokens;
    *width = out.width;
done:
    icd_runner_free(job->ctx, runner);
    return status;
}

static void record(icd_job *job, icd_job_check check)
{
    check.ok = check.max_rel <= check.bound && check.cosine >= check.min_cosine;
    job->check[job->checks++] = check;
    if (!check.ok)
        icd_i_job_roll_back(
            job, "E_EXACT_601: %s: max |a-b| / max |a| is %.3g, at most %.0e allowed",
            check.what, check.max_rel, check.bound);
}

/* pi0: the permuted f32 model against the checkpoint. */
static icd_status check_pi0(icd_job *job, float **dense, int64_t *tokens, int64_t *width)
{
    icd_status status = ICD_OK;
    float *permuted = NULL;
    icd_job_check check = {.what = "pi0 against the checkpoint, f32",
                           .bound = BOUND_F32,
                           .min_cosine = COSINE_INT8};
    ICD_TRY(infer(job, job->checkpoint, NULL, ICD_RUN_F32, ICD_ARM_KV_FULL, NULL, dense,
                  tokens, width));
    ICD_TRY(infer(job, job->permuted, NULL, ICD_RUN_F32, ICD_ARM_KV_FULL, NULL, &permuted,
                  tokens, width));
    icd_i_difference(*dense, permuted, *tokens, *width, &check.max_rel, &check.cosine);
    record(job, check);
done:
    icd_i_free(job->ctx, permuted);
    return status;
}

/* The layout without orders, dense. Small weights are the same numbers without their
   promise of N:M; scales of a reordered group alone keep what belongs together. */
static icd_status make_plain(icd_job *job, const icd_layout *layout, icd_quantized *q,
                             icd_layout **out)
{
    icd_status status = icd_i_layout_copy(job->ctx, layout, out);
    for (int64_t i = 0; status == ICD_OK && i < layout->count; i++) {
        icd_layout_entry *e = &(*out)->entry[i];
        e->kernel = ICD_KERNEL_DENSE;
        if (e->quant) {
            q[i] = *e->quant;
            q[i].n = q[i].m = 0;
            e->quant = &q[i];
        }
        if (e->quant && e->quant->order && e->quant->group > 0) continue;
        icd_perm_free(job->ctx, e->order);
        e->order = NULL;
    }
    return status;
}

/* A model dense and without local orders: what every order of it must equal. */
static icd_status infer_plain(icd_job *job, const icd_model *model,
                              const icd_job_arm *arm, float **own)
{
    icd_status status = ICD_OK;
    icd_layout *plain = NULL;
    icd_quantized *q = NULL;
    int64_t tokens, width;
    ICD_TRY(ICD_ALLOC(job->ctx, arm->layout->count, &q));
    ICD_TRY(make_plain(job, arm->layout, q, &plain));
    status = infer(job, model, plain, arm->dtype, arm->kv, NULL, own, &tokens, &width);
done:
    icd_i_layout_free(job->ctx, plain);
    icd_i_free(job->ctx, q);
    return status;
}

/* A model whose pi0 is another one: its f32 weights against the checkpoint. */
static icd_status check_source(icd_job *job, const icd_job_arm *arm, const float *dense)
{
    float *permuted = NULL;
    int64_t tokens = 0, width = 0;
    icd_job_check check = {.bound = BOUND_F32, .min_cosine = COSINE_INT8};
    icd_status status = infer(job, arm->variant->source, NULL, ICD_RUN_F32,
                              ICD_ARM_KV_FULL, NULL, &permuted, &tokens, &width);
    snprintf(check.what, sizeof check.what, "pi0 of %s against the checkpoint, f32",
             arm->name);
    if (status == ICD_OK) {
        icd_i_difference(dense, permuted, tokens, width, &check.max_rel, &check.cosine);
        record(job, check);
    }
    icd_i_free(job->ctx, permuted);
    return status;
}

/* What an arm must equal: linear; a model of its own its dense, unpermuted self. */
static icd_status reference(icd_job *job, const icd_job_arm *arm, const float *linear,
                            float **own, const float **expected)
{
    icd_status status = ICD_OK;
    *own = NULL;
    *expected = linear;
    if (!arm->variant) return ICD_OK;
    status = infer_plain(job, arm->variant->model, arm, own);
    *expected = *own;
    return status;
}

/* By what rounds activations: their type, or a GPU between products. */
static double bound_of(const icd_job *job, int32_t dtype)
{
    if (dtype == ICD_RUN_INT8 || dtype == ICD_RUN_INT4) return BOUND_INT8;
    bool gpu = job->config->runner.device == ICD_RUN_CUDA && dtype != ICD_RUN_F32;
    return gpu ? BOUND_BF16_GPU : BOUND_F32;
}

static icd_status check_arm(icd_job *job, icd_job_arm *arm, const float *linear)
{
    icd_status status = ICD_OK;
    int32_t dtype = arm->dtype;
    float *hidden = NULL, *own = NULL;
    const float *expected = NULL;
    int64_t tokens = 0, width = 0;
    const icd_model *model = arm->variant ? arm->variant->model : job->transformed;
    icd_job_check check = {.bound = bound_of(job, dtype), .min_cosine = COSINE_INT8};
    snprintf(check.what, sizeof check.what, "%s against %s, %s", arm->name,
             arm->variant ? "its own unpermuted self" : "linear",
             icd_i_run_dtype_name(dtype));
    ICD_TRY(reference(job, arm, linear, &own, &expected));
    ICD_TRY(
        infer(job, model, arm->layout, dtype, arm->kv, arm, &hidden, &tokens, &width));
    if (arm->kv == job->arm[0].kv || arm->kv == ICD_ARM_KV_COMPACT || arm->variant) {
        icd_i_difference(expected, hidden, tokens, width, &check.max_rel, &check.cosine);
        record(job, check);
    } /* else it attends to other tokens than linear: not the same model */
done:
    icd_i_free(job->ctx, hidden);
    icd_i_free(job->ctx, own);
    return status;
}

/* Same weights, same masks, so the same numbers. */
static icd_status check_arms(icd_job *job, const float *dense, const float *linear)
{
    for (int64_t i = 1; i < job->arms; i++) {
        if (!strcmp(job->arm[i].name, "linear A/A")) {
            job->arm[i].kv_effect = job->arm[0].kv_effect;
            continue;
        }
        icd_i_progress(job->ctx, "check", i, job->arms);
        icd_status status = check_arm(job, &job->arm[i], linear);
        if (status == ICD_OK && job->arm[i].variant && job->arm[i].variant->source)
            status = check_source(job, &job->arm[i], dense);
        if (status != ICD_OK) return status;
    }
    return ICD_OK;
}

static bool has_orders(const icd_layout *layout)
{
    for (int64_t i = 0; i < layout->count; i++)
        if (layout->entry[i].order) return true;
    return false;
}

/* Where the transform brought orders of its own (N:M, tiles, scales), linear is permuted,
   too. */
static icd_status check_linear(icd_job *job, const float *linear, int64_t tokens,
                               int64_t width)
{
    float *own = NULL;
    const icd_job_arm *arm = &job->arm[0];
    icd_job_check check = {.bound = bound_of(job, arm->dtype), .min_cosine = COSINE_INT8};
    if (!has_orders(arm->layout)) return ICD_OK;
    icd_status status = infer_plain(job, job->transformed, arm, &own);
    snprintf(check.what, sizeof check.what, "linear against its own unpermuted self, %s",
             icd_i_run_dtype_name(arm->dtype));
    if (status == ICD_OK) {
        icd_i_difference(own, linear, tokens, width, &check.max_rel, &check.cosine);
        record(job, check);
    }
    icd_i_free(job->ctx, own);
    return status;
}

icd_status icd_i_stage_check(icd_job *job)
{
    icd_status status = ICD_OK;
    float *dense = NULL, *linear = NULL;
    int64_t tokens = 0, width = 0;
    double max_rel = 0;
    ICD_TRY(icd_i_arms_make(job));
    ICD_TRY(check_pi0(job, &dense, &tokens, &width));
    ICD_TRY(infer(job, job->transformed, job->arm[0].layout, job->arm[0].dtype,
                  job->arm[0].kv, &job->arm[0], &linear, &tokens, &width));
    icd_i_difference(dense, linear, tokens, width, &max_rel, &job->cosine_vs_dense);
    ICD_TRY(check_linear(job, linear, tokens, width));
    ICD_TRY(check_arms(job, dense, linear));
    ICD_TRY(icd_i_contextual(job, dense, linear));
done:
    icd_i_free(job->ctx, dense);
    icd_i_free(job->ctx, linear);
    return status;
}
