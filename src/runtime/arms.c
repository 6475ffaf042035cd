/* The arms of a measurement. Most are the same model and masks under other orders and
   kernels; block and refill are models of their own. */
#include "runtime/exec_arms.h"
#include "runtime/rounds.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Where the local orders of an arm come from. */
typedef enum order_source {
    ORDER_NONE,
    ORDER_PI1,
    ORDER_TRUE_AXES, /* pi1 where a true axis could carry it */
    ORDER_IDENTITY,  /* columns as in the checkpoint */
    ORDER_RANDOM,
    ORDER_FREQUENCY,
    ORDER_METIS
} order_source;

/* What an arm executes. */
typedef enum arm_model {
    MODEL_LOOP,
    MODEL_BLOCK_TILES,
    MODEL_BLOCK_QUALITY,
    MODEL_AWARE, /* pi0 knows the transform */
    MODEL_REFILL,
    MODEL_ORIGINAL /* neither S nor Q, in f32 */
} arm_model;

typedef struct arm_spec {
    const char *name, *role;
    int32_t kernel; /* AUTO: what the layout says */
    order_source order;
    arm_model model;
    const char *ablation; /* only where pipeline.ablation lists it; NULL: always */
} arm_spec;

static const char FULL_CACHE[] = "full cache";

/* Arm 0 is what every other is compared with. */
static const arm_spec SPEC[] = {
    {"linear", "baseline", ICD_KERNEL_AUTO, ORDER_NONE, MODEL_LOOP, NULL},
    {"iterative", "candidate", ICD_KERNEL_AUTO, ORDER_PI1, MODEL_LOOP, NULL},
    {"gather", "alternative", ICD_KERNEL_GATHER, ORDER_NONE, MODEL_LOOP, NULL},
    {"frequency", "alternative", ICD_KERNEL_AUTO, ORDER_FREQUENCY, MODEL_LOOP, NULL},
    {"dense", "alternative", ICD_KERNEL_DENSE, ORDER_NONE, MODEL_LOOP, NULL},
    {"identity", "alternative", ICD_KERNEL_AUTO, ORDER_IDENTITY, MODEL_LOOP, "identity"},
    {"metis", "alternative", ICD_KERNEL_AUTO, ORDER_METIS, MODEL_LOOP, "metis"},
    {"true axes", "alternative", ICD_KERNEL_AUTO, ORDER_TRUE_AXES, MODEL_LOOP,
     "true-axes"},
    {"transform-aware", "other model", ICD_KERNEL_AUTO, ORDER_NONE, MODEL_AWARE,
     "transform-aware"},
    {"block tiles", "other model", ICD_KERNEL_AUTO, ORDER_NONE, MODEL_BLOCK_TILES,
     "block-tiles"},
    {"block quality", "other model", ICD_KERNEL_AUTO, ORDER_NONE, MODEL_BLOCK_QUALITY,
     "block-quality"},
    {"original", "other model", ICD_KERNEL_DENSE, ORDER_NONE, MODEL_ORIGINAL, "original"},
    {"refill", "other model", ICD_KERNEL_AUTO, ORDER_PI1, MODEL_REFILL, NULL},
    {FULL_CACHE, "other model", ICD_KERNEL_AUTO, ORDER_NONE, MODEL_LOOP, NULL},
    {"random", "control", ICD_KERNEL_AUTO, ORDER_RANDOM, MODEL_LOOP, NULL},
    {"linear A/A", "control", ICD_KERNEL_AUTO, ORDER_NONE, MODEL_LOOP, NULL},
    {"dense pi1", "control", ICD_KERNEL_DENSE, ORDER_PI1, MODEL_LOOP, NULL},
    {"dense random", "control", ICD_KERNEL_DENSE, ORDER_RANDOM, MODEL_LOOP, NULL},
};

/* A control order of one group, solved like pi1 but by a named method. */
static icd_status control_order(icd_job *job, const icd_job_axis *axis,
                                const char *method, icd_perm **out)
{
    icd_problem problem = {.w = axis->w, .sets = axis->sets};
    icd_solver_opts opts = job->config->solver;
    opts.method = method;
    opts.granule = axis->granule;
    return icd_fit_permutation(job->ctx, &problem, &opts, out, NULL);
}

static const icd_linear *reader_of(const icd_job *job, const char *group)
{
    for (int64_t i = 0; i < job->linears; i++)
        if (!strcmp(job->linear[i].linear->group, group)) return job->linear[i].linear;
    return NULL;
}

bool icd_i_on_true_axis(const icd_job *job, const char *group)
{
    const icd_linear *l = reader_of(job, group);
    const icd_axis *axis = icd_model_axis(job->transformed, l->in_axis);
    if (!axis || axis->reaches_output || axis->n != l->cols) return false;
    for (int64_t i = 0; i < job->linears; i++)
        if (!strcmp(job->linear[i].linear->in_axis, l->in_axis) &&
            strcmp(job->linear[i].linear->group, group))
            return false;
    return true;
}

/* Undoes pi0 for one input; NULL where there is nothing to undo. */
static icd_status checkpoint_order(icd_job *job, const char *group, icd_perm **out)
{
    const icd_perm *pi0 =
        icd_model_order(job->transformed, reader_of(job, group)->in_axis);
    *out = NULL;
    return pi0 ? icd_perm_inverse(job->ctx, pi0, out) : ICD_OK;
}

/* The order of one group; *out NULL: none. Owned by the caller. */
static icd_status make_order(icd_job *job, const icd_job_axis *axis, order_source source,
                             icd_perm **out)
{
    *out = NULL;
    switch (source) {
    case ORDER_NONE:
        return ICD_OK;
    case ORDER_PI1:
        return icd_perm_copy(job->ctx, axis->perm, out);
    case ORDER_TRUE_AXES:
        return icd_i_on_true_axis(job, axis->name)
                   ? icd_perm_copy(job->ctx, axis->perm, out)
                   : ICD_OK;
    case ORDER_IDENTITY:
        return checkpoint_order(job, axis->name, out);
    case ORDER_RANDOM:
        return control_order(job, axis, "random", out);
    case ORDER_FREQUENCY:
        return control_order(job, axis, "frequency", out);
    case ORDER_METIS:
        return control_order(job, axis, "metis", out);
    }
    return ICD_OK;
}

/* Only masked matrices have a choice of kernel. */
static void set_kernel(icd_layout *layout, int32_t kernel)
{
    for (int64_t i = 0; i < layout->count; i++) {
        icd_layout_entry *e = &layout->entry[i];
        if (kernel != ICD_KERNEL_AUTO && e->mask) e->kernel = kernel;
    }
}

static icd_status make_layout(icd_job *job, const arm_spec *spec, icd_layout **out)
{
    icd_status status = icd_i_layout_copy(job->ctx, job->layout, out);
    if (status != ICD_OK) return status;
    set_kernel(*out, spec->kernel);
    for (int64_t i = 0; status == ICD_OK && i < job->axes; i++) {
        icd_perm *order = NULL;
        if (!job->axis[i].local) continue;
        status = make_order(job, &job->axis[i], spec->order, &order);
        if (status == ICD_OK && order)
            status = icd_i_layout_set_order(job->ctx, *out, job->axis[i].name, order);
        icd_perm_free(job->ctx, order);
    }
    return status;
}

/* Live share of all tiles of a layout, as its kernels see them. */
static icd_status live_share(icd_job *job, const icd_layout *layout, double *share)
{
    int64_t live = 0, all = 0;
    for (int64_t i = 0; i < layout->count; i++) {
        icd_live one = {0, 0};
        const icd_layout_entry *e = &layout->entry[i];
        icd_status status =
            icd_i_layout_live(job->ctx, e, job->config->kernel.vector, e->granule, &one);
        if (status != ICD_OK) return status;
        live += one.live * e->granule;
        all += one.all * e->granule;
    }
    *share = all ? (double)live / (double)all : 1;
    return ICD_OK;
}

/* Mean over the weights of the saliency that a variant's masks keep. */
static double mean_retained(const icd_job *job, const icd_variant *v)
{
    double sum = 0, weights = 0;
    for (int64_t i = 0; i < job->linears; i++) {
        const icd_transform_meta *m = v ? &v->s[i] : &job->linear[i].s;
        double size = (double)(job->linear[i].linear->rows * job->linear[i].linear->cols);
        if (!m->applied || !isfinite(m->retained)) continue;
        sum += m->retained * size;
        weights += size;
    }
    return weights > 0 ? sum / weights : 1;
}

static icd_status make_block(icd_job *job, double rate, icd_variant **out)
{
    icd_sparsity_opts s = job->config->sparsity;
    s.type = ICD_S_BLOCK;
    s.vector = job->config->kernel.vector;
    s.rate = rate < .999 ? rate : .999;
    return icd_i_variant_make(job, &s, &job->config->quant, out);
}

/* The highest rate that keeps at least as much saliency as the loop's own masks. */
static icd_status make_block_quality(icd_job *job, icd_variant **out)
{
    enum { STEPS = 7 };
    double low = 0, high = .999, wanted = mean_retained(job, NULL);
    icd_status status = ICD_OK;
    *out = NULL;
    for (int i = 0; i < STEPS && status == ICD_OK; i++) {
        icd_variant *v = NULL;
        double rate = (low + high) / 2;
        status = make_block(job, rate, &v);
        if (status != ICD_OK) break;
        if (mean_retained(job, v) >= wanted) {
            low = rate;
            icd_i_variant_free(*out);
            *out = v;
        } else {
            high = rate;
            icd_i_variant_free(v);
        }
    }
    if (status == ICD_OK && !*out) status = make_block(job, low, out);
    return status;
}

static icd_status make_original(icd_job *job, icd_variant **out)
{
    icd_sparsity_opts s = job->config->sparsity;
    icd_quant_opts q = job->config->quant;
    s.type = ICD_S_NONE;
    q.dtype = ICD_Q_NONE;
    return icd_i_variant_make(job, &s, &q, out);
}

static icd_status make_variant(icd_job *job, const arm_spec *spec, icd_job_arm *arm)
{
    double share = 1;
    icd_status status = ICD_OK;
    if (spec->model == MODEL_REFILL) {
        status = make_layout(job, spec, &arm->layout);
        if (status == ICD_OK)
            status = icd_i_variant_refill(job, arm->layout, &arm->variant);
        icd_i_layout_free(job->ctx, arm->layout);
        arm->layout = NULL;
    } else if (spec->model == MODEL_ORIGINAL) {
        if (arm->dtype != ICD_RUN_F32)
            arm->dtype =
                job->config->runner.device == ICD_RUN_CUDA ? ICD_RUN_BF16 : ICD_RUN_F32;
        status = make_original(job, &arm->variant);
    } else if (spec->model == MODEL_AWARE) {
        status = icd_i_variant_aware(job, &arm->variant);
        if (status == ICD_OK && !arm->variant) {
            icd_i_warn(job->ctx, "transform-aware is linear here and left out: no masked "
                                 "linear reads an axis whole that pi0 orders");
            job->arms--;
            return ICD_OK;
        }
    } else if (spec->model == MODEL_BLOCK_QUALITY) {
        status = make_block_quality(job, &arm->variant);
    } else {
        icd_layout *iterative = NULL;
        arm_spec pi1 = {.order = ORDER_PI1, .kernel = ICD_KERNEL_AUTO};
        status = make_layout(job, &pi1, &iterative);
        if (status == ICD_OK) status = live_share(job, iterative, &share);
        icd_i_layout_free(job->ctx, iterative);
        if (status == ICD_OK) status = make_block(job, 1 - share, &arm->variant);
    }
    return status == ICD_OK
               ? icd_i_layout_copy(job->ctx, arm->variant->layout, &arm->layout)
               : status;
}

static bool has_local_orders(const icd_job *job)
{
    for (int64_t i = 0; i < job->axes; i++)
        if (job->axis[i].local) return true;
    return false;
}

static bool lists(const icd_strings *list, const char *name)
{
    for (int64_t i = 0; i < list->count; i++)
        if (!strcmp(list->item[i], name)) return true;
    return false;
}

/* The candidate's new order compacts the survivors; controls and alternatives leave them
   where they were, so that they differ from linear in one thing only. */
static int32_t arm_kv(const icd_job *job, const arm_spec *spec)
{
    if (!job->kv || spec->name == FULL_CACHE || spec->model == MODEL_ORIGINAL)
        return ICD_ARM_KV_FULL;
    return !strcmp(spec->role, "candidate") || spec->model == MODEL_REFILL
               ? ICD_ARM_KV_COMPACT
               : ICD_ARM_KV_IN_PLACE;
}

/* A command executes the loop's model under some orders; kernels are its own affair. */
static bool for_commands(const arm_spec *spec)
{
    return spec->kernel == ICD_KERNEL_AUTO && spec->model == MODEL_LOOP &&
           spec->name != FULL_CACHE;
}

static bool wanted(const icd_job *job, const arm_spec *spec, bool iterative)
{
    if (icd_i_exec_wanted(job->config) &&
        (!for_commands(spec) || !icd_i_exec_command(job->config, spec->name)))
        return false;
    if (spec->name == FULL_CACHE && !job->kv) return false;
    if (spec->ablation && !lists(&job->config->pipeline.ablation, spec->ablation))
        return false;
    if (spec->model == MODEL_REFILL && !job->config->sparsity.refill) return false;
    return iterative || (spec->order == ORDER_NONE &&
                         (spec->model == MODEL_LOOP || spec->model == MODEL_ORIGINAL));
}

/* What K cannot be applied to is a no-op and a warning. */
static void find_kv(icd_job *job)
{
    if (!icd_i_kv_wanted(job->config)) return;
    const char *why = icd_i_kv_obstacle(job->config, job->checkpoint);
    job->kv = !why;
    job->kv_meta = (icd_transform_meta){
        .kind = "K", .type = "evict", .retained = NAN, .max_error = NAN, .cosine = NAN};
    if (!why) return;
    snprintf(job->kv_meta.reason, sizeof job->kv_meta.reason, "%s", why);
    icd_i_warn(job->ctx, "transform.kv was not applied: %s", why);
}

/* The round before, as it is executed: its own model, its own layout. */
static icd_status add_previous(icd_job *job)
{
    const icd_put_away *p = job->previous;
    icd_job_arm *arm = &job->arm[job->arms];
    if (!p) return ICD_OK;
    *arm = (icd_job_arm){
        .name = p->name, .role = "other model", .variant = p->variant, .borrowed = true};
    for (int64_t i = 0; i < p->arms; i++)
        if (p->arm[i].layout == icd_i_put_away_layout(p)) {
            arm->dtype = p->arm[i].dtype;
            arm->kv = p->arm[i].kv;
        }
    icd_status status =
        icd_i_layout_copy(job->ctx, icd_i_put_away_layout(p), &arm->layout);
    job->arms += status == ICD_OK;
    return status;
}

/* An arm without a layout is none: nobody after this may meet it. */
static icd_status drop_arm(icd_job *job, icd_status status)
{
    icd_job_arm *arm = &job->arm[--job->arms];
    icd_i_layout_free(job->ctx, arm->layout);
    icd_i_variant_free(arm->variant);
    return status;
}

icd_status icd_i_arms_make(icd_job *job)
{
    bool iterative = has_local_orders(job), sparse = iterative;
    find_kv(job);
    if (job->kv && job->config->pipeline.mode == ICD_MODE_ITERATIVE) iterative = true;
    for (size_t i = 0; i < sizeof SPEC / sizeof *SPEC; i++) {
        icd_job_arm *arm = &job->arm[job->arms];
        if (!wanted(job, &SPEC[i], iterative)) continue;
        if (!sparse && SPEC[i].order != ORDER_NONE && strcmp(SPEC[i].role, "candidate"))
            continue; /* nothing but K: other orders are linear again */
        *arm = (icd_job_arm){0};
        arm->name = SPEC[i].name;
        arm->role = SPEC[i].role;
        arm->dtype = icd_i_config_dtype(job->config);
        arm->kv = arm_kv(job, &SPEC[i]);
        job->arms++;
        icd_status status = SPEC[i].model == MODEL_LOOP
                                ? make_layout(job, &SPEC[i], &arm->layout)
                                : make_variant(job, &SPEC[i], arm);
        if (status != ICD_OK) return drop_arm(job, status);
    }
    if (icd_i_exec_wanted(job->config)) return icd_i_exec_arms(job);
    icd_status status = icd_i_kernels_choose(job);
    return status == ICD_OK ? add_previous(job) : status;
}
