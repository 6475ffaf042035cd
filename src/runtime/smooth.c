/* Factors of channels that move from activations into weights. */
#include "runtime/smooth.h"

#include "model/fold.h"
#include "model/model_private.h"
#include "runtime/subject.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST_EXPONENT = 20, TRIAL_ROWS = 32 };

static const double ALPHA[] = {.5, .65, .8};
static const double WORTH = .9; /* of the loss without: less gain is left alone */

/* Tensors that are changed, each once. */
typedef struct changes {
    icd_replacement *with;
    int64_t count;
} changes;

/* A group of linears that read one input, and what is tried on it. */
typedef struct group {
    icd_job *job;
    int64_t first, count, cols;
    icd_fold fold;
    float *x_max, *w_max; /* [cols] over rows that share a producer */
    int32_t *exponent;    /* [cols] factors are 2^exponent */
    int32_t *best;        /* of the least loss so far */
    icd_loss *loss;       /* [count] of the last trial */
} group;

static void changes_release(icd_ctx *ctx, changes *c)
{
    for (int64_t i = 0; i < c->count; i++)
        icd_mem_free(ctx, (void *)(uintptr_t)c->with[i].data);
    icd_i_free(ctx, c->with);
}

/* The copy of a tensor that may be changed. */
static icd_status writable(icd_job *job, changes *c, const char *name, float **out)
{
    for (int64_t i = 0; i < c->count; i++)
        if (!strcmp(c->with[i].name, name)) {
            *out = (float *)(uintptr_t)c->with[i].data;
            return ICD_OK;
        }
    icd_status status = icd_model_tensor_f32(job->ctx, job->checkpoint, name, out);
    const icd_tensor *t = icd_model_tensor(job->checkpoint, name);
    if (status == ICD_OK) c->with[c->count++] = (icd_replacement){t->name, *out};
    return status;
}

static void group_release(icd_ctx *ctx, group *g)
{
    icd_i_free(ctx, g->x_max);
    icd_i_free(ctx, g->w_max);
    icd_i_free(ctx, g->exponent);
    icd_i_free(ctx, g->best);
    icd_i_free(ctx, g->loss);
}

static void largest_of(const float *rows, int64_t count, int64_t cols, float *max)
{
    for (int64_t r = 0; r < count; r++)
        for (int64_t c = 0; c < cols; c++)
            max[c] = fmaxf(max[c], fabsf(rows[r * cols + c]));
}

/* Channels that one row produces have one factor, and so one largest magnitude. */
static void tie(const group *g, float *max)
{
    for (int turn = 0; turn < 2; turn++)
        for (int64_t c = 0; c < g->cols; c++) {
            int64_t share = g->fold.width ? g->fold.share : 1;
            int64_t head = g->fold.width ? c / g->fold.width : c;
            int64_t other =
                head % share ? c - head % share * g->fold.width : c; /* the first */
            if (turn)
                max[c] = max[other];
            else
                max[other] = fmaxf(max[other], max[c]);
        }
}

static icd_status group_open(group *g)
{
    icd_status status = ICD_OK;
    const icd_job_linear *l = &g->job->linear[g->first];
    icd_ctx *ctx = g->job->ctx;
    ICD_TRY(ICD_ALLOC(ctx, g->cols, &g->x_max));
    ICD_TRY(ICD_ALLOC(ctx, g->cols, &g->w_max));
    ICD_TRY(ICD_ALLOC(ctx, g->cols, &g->exponent));
    ICD_TRY(ICD_ALLOC(ctx, g->cols, &g->best));
    ICD_TRY(ICD_ALLOC(ctx, g->count, &g->loss));
    memcpy(g->x_max, l->x_max, (size_t)g->cols * sizeof *g->x_max);
    for (int64_t i = 0; i < g->count; i++) {
        float *w = NULL;
        ICD_TRY(icd_model_tensor_f32(ctx, g->job->checkpoint, l[i].linear->tensor, &w));
        largest_of(w, l[i].linear->rows, g->cols, g->w_max);
        icd_mem_free(ctx, w);
    }
    tie(g, g->x_max);
    tie(g, g->w_max);
done:
    return status;
}

static void choose_factors(group *g, double alpha)
{
    for (int64_t c = 0; c < g->cols; c++) {
        double x = (double)g->x_max[c], w = (double)g->w_max[c];
        double e = x > 0 && w > 0 && isfinite(x) && isfinite(w)
                       ? rint(alpha * log2(x) - (1 - alpha) * log2(w))
                       : 0;
        g->exponent[c] = (int32_t)fmax(-MOST_EXPONENT, fmin(MOST_EXPONENT, e));
    }
}

static void scale_columns(const int32_t *exponent, int sign, int64_t rows, int64_t cols,
                          float *w)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++)
            w[r * cols + c] = ldexpf(w[r * cols + c], sign * exponent[c]);
}

/* Q of one linear of the group under the factors of this trial; NULL: none. */
static icd_status try_linear(const group *g, int64_t at, const int32_t *exponent,
                             icd_loss *out)
{
    icd_status status = ICD_OK;
    const icd_job_linear *l = &g->job->linear[g->first + at];
    int64_t rows = l->x_rows < TRIAL_ROWS ? l->x_rows : TRIAL_ROWS;
    icd_ctx *ctx = g->job->ctx;
    float *w = NULL, *x = NULL;
    icd_quantized *q = NULL;
    icd_transform_meta meta;
    ICD_TRY(icd_model_tensor_f32(ctx, g->job->checkpoint, l->linear->tensor, &w));
    ICD_TRY(ICD_ALLOC(ctx, rows * g->cols, &x));
    memcpy(x, l->x, (size_t)(rows * g->cols) * sizeof *x);
    if (exponent) scale_columns(exponent, 1, l->linear->rows, g->cols, w);
    if (exponent) scale_columns(exponent, -1, rows, g->cols, x);
    icd_matrix m = {l->linear->name, w, l->linear->rows, g->cols};
    icd_calibration cal = {.x = x, .tokens = rows};
    ICD_TRY(icd_apply_quant(ctx, &m, &cal, &g->job->config->quant, &q, &meta));
    *out = (icd_loss){meta.sqnr_db, meta.max_error, meta.cosine};
done:
    icd_quantized_free(ctx, q);
    icd_mem_free(ctx, w);
    icd_i_free(ctx, x);
    return status;
}

/* Mean distance of outputs from what they should be; NaN where something was a no-op. */
static icd_status try_group(group *g, const int32_t *exponent, double *loss)
{
    *loss = 0;
    for (int64_t i = 0; i < g->count; i++) {
        icd_status status = try_linear(g, i, exponent, &g->loss[i]);
        if (status != ICD_OK) return status;
        *loss += (1 - g->loss[i].cosine) / (double)g->count;
    }
    return ICD_OK;
}

static void note_trial(group *g, bool before)
{
    for (int64_t i = 0; i < g->count; i++) {
        icd_job_smooth *s = &g->job->linear[g->first + i].smooth;
        if (before)
            s->before = g->loss[i];
        else
            s->after = g->loss[i];
    }
}

static icd_status find_factors(group *g, double *alpha)
{
    icd_status status = ICD_OK;
    const icd_quant_opts *q = &g->job->config->quant;
    bool all = q->smooth == ICD_SMOOTH_AUTO;
    int64_t trials = all ? (int64_t)(sizeof ALPHA / sizeof *ALPHA) : 1;
    double plain = NAN, least = INFINITY;
    *alpha = NAN;
    ICD_TRY(try_group(g, NULL, &plain));
    note_trial(g, true);
    for (int64_t t = 0; t < trials; t++) {
        double loss, a = all ? ALPHA[t] : q->smooth_alpha;
        choose_factors(g, a);
        ICD_TRY(try_group(g, g->exponent, &loss));
        if (!(loss < least)) continue;
        least = loss;
        note_trial(g, false);
        memcpy(g->best, g->exponent, (size_t)g->cols * sizeof *g->best);
        if (!all || loss < WORTH * plain) *alpha = a;
    }
done:
    return status;
}

/* Divides what produces the input, and multiplies the columns that read it. */
static icd_status apply_factors(group *g, changes *c)
{
    icd_status status = ICD_OK;
    float *weight = NULL, *bias = NULL, *w = NULL;
    const icd_tensor *t = icd_model_tensor(g->job->checkpoint, g->fold.weight);
    int64_t width = t->dims == 2 ? t->shape[1] : 1;
    ICD_TRY(writable(g->job, c, g->fold.weight, &weight));
    if (*g->fold.bias) ICD_TRY(writable(g->job, c, g->fold.bias, &bias));
    for (int64_t k = 0; k < g->cols; k++) {
        int64_t row = icd_i_fold_row(&g->fold, k);
        if (g->fold.width && k / g->fold.width % g->fold.share) continue; /* done */
        for (int64_t i = 0; i < width; i++)
            weight[row * width + i] = ldexpf(weight[row * width + i], -g->best[k]);
        if (bias) bias[row] = ldexpf(bias[row], -g->best[k]);
    }
    for (int64_t i = 0; i < g->count; i++) {
        const icd_linear *l = g->job->linear[g->first + i].linear;
        ICD_TRY(writable(g->job, c, l->tensor, &w));
        scale_columns(g->best, 1, l->rows, g->cols, w);
    }
done:
    return status;
}

static void scale_calibration(group *g)
{
    for (int64_t i = 0; i < g->count; i++) {
        icd_job_linear *l = &g->job->linear[g->first + i];
        scale_columns(g->best, -1, l->x_rows, g->cols, l->x);
        scale_columns(g->best, -1, 1, g->cols, l->x_max);
        for (int64_t c = 0; c < g->cols; c++)
            l->x_sq[c] = ldexp(l->x_sq[c], -2 * g->best[c]);
    }
}

static void tell(group *g, const char *reason, double alpha)
{
    for (int64_t i = 0; i < g->count; i++) {
        icd_job_smooth *s = &g->job->linear[g->first + i].smooth;
        s->tried = true;
        s->applied = !reason;
        s->reason = reason;
        s->alpha = alpha;
        if (*g->fold.weight) snprintf(s->into, sizeof s->into, "%s", g->fold.weight);
    }
}

/* Why a group is left alone; NULL: it is not. */
static const char *obstacle(group *g)
{
    const icd_job *job = g->job;
    for (int64_t i = g->first; i < g->first + g->count; i++)
        if (icd_quant_excludes(&job->config->quant, job->linear[i].linear->name))
            return "transform.quant.exclude names it";
    const icd_tensor *t = NULL;
    if (icd_i_model_fold(job->checkpoint, job->linear[g->first].linear->tensor, &g->fold))
        t = icd_model_tensor(job->checkpoint, g->fold.weight);
    if (!t) return "nothing that produces its input could take the inverse alone";
    int64_t last = icd_i_fold_row(&g->fold, g->cols - 1);
    if (t->shape[0] == last + 1) return NULL;
    *g->fold.weight = 0;
    return "what produces its input is of another size";
}

static icd_status smooth_group(group *g, changes *c)
{
    icd_status status = ICD_OK;
    double alpha = NAN;
    const char *why = obstacle(g);
    if (!why) {
        ICD_TRY(group_open(g));
        ICD_TRY(find_factors(g, &alpha));
        if (isnan(alpha)) why = "it does not lower the loss";
    }
    if (!why) ICD_TRY(apply_factors(g, c));
    if (!why) scale_calibration(g);
    tell(g, why, alpha);
done:
    return status;
}

/* The first batch in f32; *out [tokens x width]. */
static icd_status infer(icd_job *job, const icd_model *model, float **out, int64_t *count)
{
    icd_status status = ICD_OK;
    icd_runner *runner = NULL;
    icd_runner_opts opts = job->config->runner;
    icd_batch batch = icd_i_input_batch(&job->input, 0);
    icd_output y;
    opts.dtype = ICD_RUN_F32;
    opts.vector = job->config->kernel.vector;
    ICD_TRY(icd_runner_new(job->ctx, model, NULL, &batch, &opts, &runner));
    ICD_TRY(icd_runner_step(job->ctx, runner, &batch, &y));
    *count = y.tokens * y.width;
    ICD_TRY(ICD_ALLOC(job->ctx, *count, out));
    memcpy(*out, y.hidden, (size_t)*count * sizeof **out);
done:
    icd_runner_free(job->ctx, runner);
    return status;
}

static icd_status same_outputs(icd_job *job, const icd_model *smooth, bool *same)
{
    icd_status status = ICD_OK;
    float *a = NULL, *b = NULL;
    int64_t n = 0;
    ICD_TRY(infer(job, job->checkpoint, &a, &n));
    ICD_TRY(infer(job, smooth, &b, &n));
    *same = !memcmp(a, b, (size_t)n * sizeof *a);
done:
    icd_i_free(job->ctx, a);
    icd_i_free(job->ctx, b);
    return status;
}

/* Puts the calibration of all groups back. */
static void undo(icd_job *job, int32_t *const *exponent)
{
    for (int64_t i = 0, end; i < job->linears; i = end) {
        group g = {.job = job, .first = i};
        end = icd_i_group_end(job, i);
        if (!exponent[i]) continue;
        g.count = end - i;
        g.cols = job->linear[i].linear->cols;
        g.best = exponent[i];
        for (int64_t c = 0; c < g.cols; c++) g.best[c] = -g.best[c];
        scale_calibration(&g);
        tell(&g, "outputs of the model would change", NAN);
    }
}

/* The model with all changes, if it computes the same. */
static icd_status take(icd_job *job, const changes *c, int32_t *const *exponent)
{
    icd_status status = ICD_OK;
    icd_model *smooth = NULL;
    bool same = false;
    if (!c->count) return ICD_OK;
    ICD_TRY(icd_model_replace(job->ctx, job->checkpoint, c->with, c->count, &smooth));
    ICD_TRY(same_outputs(job, smooth, &same));
    if (same) { /* it goes on under the name of the folder that it came from */
        smooth->path =
            icd_i_arena_strdup(job->ctx, smooth->arena, icd_model_path(job->checkpoint));
        if (!smooth->path) {
            smooth->path = "";
            status = ICD_ENOMEM;
            goto done;
        }
        job->unsmoothed = job->checkpoint;
        job->checkpoint = smooth;
        smooth = NULL;
    } else {
        icd_i_warn(job->ctx, "transform.quant.smooth was not applied: outputs of the "
                             "model in f32 would change");
        undo(job, exponent);
    }
done:
    icd_model_free(job->ctx, smooth);
    return status;
}

static bool wanted(const icd_job *job)
{
    const icd_quant_opts *q = &job->config->quant;
    int32_t run = icd_i_config_dtype(job->config);
    return q->smooth != ICD_SMOOTH_OFF && !job->unsmoothed && job->linears &&
           q->dtype != ICD_Q_NONE && (run == ICD_RUN_INT8 || run == ICD_RUN_INT4);
}

static icd_status smooth_all(icd_job *job, changes *c, int32_t **exponent)
{
    for (int64_t i = 0, end; i < job->linears; i = end) {
        group g = {.job = job, .first = i, .cols = job->linear[i].linear->cols};
        end = icd_i_group_end(job, i);
        g.count = end - i;
        icd_i_progress(job->ctx, "smooth", i, job->linears);
        icd_status status = icd_i_check_cancel(job->ctx);
        if (status == ICD_OK) status = smooth_group(&g, c);
        if (job->linear[i].smooth.applied) {
            exponent[i] = g.best;
            g.best = NULL;
        }
        group_release(job->ctx, &g);
        if (status != ICD_OK) return status;
    }
    return ICD_OK;
}

icd_status icd_i_smooth(icd_job *job)
{
    icd_status status = ICD_OK;
    changes c = {0};
    int32_t **exponent = NULL;
    if (!wanted(job)) return ICD_OK;
    if (!job->linear[0].x || !job->linear[0].x_rows) {
        icd_i_warn(job->ctx, "no calibration input: transform.quant.smooth is off");
        return ICD_OK;
    }
    ICD_TRY(ICD_ALLOC(job->ctx, job->linears, &exponent));
    ICD_TRY(ICD_ALLOC(job->ctx, 3 * job->linears, &c.with));
    ICD_TRY(smooth_all(job, &c, exponent));
    status = take(job, &c, exponent);
done:
    for (int64_t i = 0; exponent && i < job->linears; i++)
        icd_i_free(job->ctx, exponent[i]);
    icd_i_free(job->ctx, exponent);
    changes_release(job->ctx, &c);
    return status;
}
