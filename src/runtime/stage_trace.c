/* trace: runs the f32 model on real input; records access sets of true axes, and what the
   transforms need to know of every linear's input. */
#include "runtime/taps.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/npz.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SAMPLE_ROWS = 96 }; /* rows of activations kept per linear for the measured loss */

/* What the observers of one run see. */
typedef struct tracer {
    icd_job *job;
    icd_taps *taps;
    int64_t first;    /* sequence of the step's first row */
    int64_t stride;   /* every stride-th token is kept as a sample */
    double recording; /* seconds spent in the observers */
} tracer;

static icd_status find_linear(icd_job *job, const char *name, int64_t *at)
{
    for (*at = 0; *at < job->linears; ++*at)
        if (!strcmp(job->linear[*at].linear->name, name)) return ICD_OK;
    return icd_i_fail(job->ctx, ICD_EINTERNAL, name, NULL,
                      "the runner lists no such linear");
}

static void record_calibration(const tracer *t, icd_job_linear *l, const float *x,
                               int64_t tokens, int64_t n)
{
    for (int64_t i = 0; i < tokens; i++) {
        const float *row = x + i * n;
        for (int64_t c = 0; c < n; c++) {
            l->x_sq[c] += (double)row[c] * (double)row[c];
            l->x_max[c] = fmaxf(l->x_max[c], fabsf(row[c]));
        }
        if (l->seen++ % t->stride == 0 && l->x_rows < SAMPLE_ROWS)
            memcpy(l->x + l->x_rows++ * n, row, (size_t)n * sizeof *row);
    }
}

static icd_status observe(icd_ctx *ctx, void *user, const icd_linear *linear,
                          const float *x, int64_t tokens, int64_t cols)
{
    tracer *t = user;
    int64_t at = 0;
    double began = icd_i_now();
    icd_status status = find_linear(t->job, linear->name, &at);
    (void)ctx;
    if (status != ICD_OK) return status;
    record_calibration(t, &t->job->linear[at], x, tokens, cols);
    if (t->taps) status = icd_i_taps_record(t->taps, at, false, x, tokens, cols);
    t->recording += icd_i_now() - began;
    return status;
}

static icd_status observe_output(icd_ctx *ctx, void *user, const icd_linear *linear,
                                 const float *y, int64_t tokens, int64_t rows)
{
    tracer *t = user;
    int64_t at = 0;
    double began = icd_i_now();
    icd_status status = find_linear(t->job, linear->name, &at);
    (void)ctx;
    if (status == ICD_OK) status = icd_i_taps_record(t->taps, at, true, y, tokens, rows);
    t->recording += icd_i_now() - began;
    return status;
}

static icd_status attend(icd_ctx *ctx, void *user, const icd_attention *seen)
{
    tracer *t = user;
    double began = icd_i_now();
    icd_status status = icd_i_taps_attention(t->taps, seen, t->first);
    (void)ctx;
    t->recording += icd_i_now() - began;
    return status;
}

/* Adding up attention is the engine's work, which no observer sees: what the traced steps
   took beside the observers, beyond a step without any of it. */
static icd_status add_attention_time(tracer *t, icd_runner *runner, int64_t batches,
                                     double traced)
{
    icd_output out;
    icd_batch batch = icd_i_input_batch(&t->job->input, 0);
    icd_runner_observe(runner, NULL, NULL);
    icd_runner_observe_outputs(runner, NULL, NULL);
    icd_runner_attention_stop(t->job->ctx, runner);
    double began = icd_i_now();
    icd_status status = icd_runner_step(t->job->ctx, runner, &batch, &out);
    double plain = (icd_i_now() - began) * (double)batches;
    if (traced - t->recording > plain) t->recording = traced - plain;
    return status;
}

static icd_status allocate(icd_job *job)
{
    icd_status status = ICD_OK;
    for (int64_t i = 0; i < job->linears; i++) {
        icd_job_linear *l = &job->linear[i];
        ICD_TRY(ICD_ALLOC(job->ctx, l->linear->cols, &l->x_sq));
        ICD_TRY(ICD_ALLOC(job->ctx, l->linear->cols, &l->x_max));
        ICD_TRY(ICD_ALLOC(job->ctx, SAMPLE_ROWS * l->linear->cols, &l->x));
    }
done:
    return status;
}

static icd_status run_input(tracer *t)
{
    icd_status status = ICD_OK;
    icd_job *job = t->job;
    icd_runner *runner = NULL;
    icd_runner_opts opts = job->config->runner;
    icd_batch batch = icd_i_input_batch(&job->input, 0);
    int64_t batches = job->input.sequences / job->input.batch;
    bool kv = t->taps && icd_i_taps_kv(t->taps);
    double began = icd_i_now(), steps = 0;
    opts.dtype = ICD_RUN_F32;
    opts.phase = ICD_PHASE_PREFILL; /* all tokens are seen once */
    ICD_TRY(icd_runner_new(job->ctx, job->checkpoint, NULL, &batch, &opts, &runner));
    icd_runner_observe(runner, observe, t);
    if (t->taps) icd_runner_observe_outputs(runner, observe_output, t);
    if (kv) ICD_TRY(icd_runner_attention(job->ctx, runner, attend, t));
    steps = icd_i_now();
    for (int64_t b = 0; b < batches; b++) {
        icd_output out;
        icd_i_progress(job->ctx, "trace", b, batches);
        t->first = b * batch.batch;
        batch = icd_i_input_batch(&job->input, b);
        ICD_TRY(icd_runner_step(job->ctx, runner, &batch, &out));
        ICD_TRY(icd_i_check_cancel(job->ctx));
    }
    icd_i_progress(job->ctx, "trace", batches, batches);
    steps = icd_i_now() - steps;
    if (kv) ICD_TRY(add_attention_time(t, runner, batches, steps));
    job->trace_overhead = t->recording / (icd_i_now() - began);
done:
    icd_runner_free(job->ctx, runner);
    return status;
}

/* Sums of squares in the checkpoint's order, whatever order the model stands in. */
typedef struct recalibration {
    icd_job *job;
    const icd_model *model;
} recalibration;

static icd_status add_squares(icd_ctx *ctx, void *user, const icd_linear *linear,
                              const float *x, int64_t tokens, int64_t cols)
{
    const recalibration *r = user;
    const icd_perm *order = icd_model_order(r->model, linear->in_axis);
    int64_t at = 0;
    icd_status status = find_linear(r->job, linear->name, &at);
    bool moved = order && order->n == cols;
    (void)ctx;
    for (int64_t i = 0; status == ICD_OK && i < tokens * cols; i++) {
        int64_t c = i % cols;
        r->job->linear[at].x_sq[moved ? order->old_of_new[c] : c] +=
            (double)x[i] * (double)x[i];
    }
    return status;
}

icd_status icd_i_recalibrate(icd_job *job, const icd_model *model, int64_t part,
                             int64_t parts)
{
    icd_status status = ICD_OK;
    recalibration r = {job, model};
    icd_runner *runner = NULL;
    icd_runner_opts opts = job->config->runner;
    icd_batch batch = icd_i_input_batch(&job->input, 0);
    int64_t batches = job->input.sequences / job->input.batch;
    int64_t first = part * batches / parts, last = (part + 1) * batches / parts;
    opts.dtype = ICD_RUN_F32;
    opts.phase = ICD_PHASE_PREFILL;
    if (last == first) last = first + 1; /* fewer batches than parts */
    for (int64_t i = 0; i < job->linears; i++)
        memset(job->linear[i].x_sq, 0,
               (size_t)job->linear[i].linear->cols * sizeof *job->linear[i].x_sq);
    ICD_TRY(icd_runner_new(job->ctx, model, NULL, &batch, &opts, &runner));
    icd_runner_observe(runner, add_squares, &r);
    for (int64_t b = first; b < last; b++) {
        icd_output out;
        batch = icd_i_input_batch(&job->input, b);
        ICD_TRY(icd_runner_step(job->ctx, runner, &batch, &out));
        ICD_TRY(icd_i_check_cancel(job->ctx));
    }
done:
    icd_runner_free(job->ctx, runner);
    return status;
}

/* calibration.npz: NAME.x_sq, NAME.x and NAME.x_max of every linear, so that a resumed
 * run need not trace. */
enum { PARTS = 3 };
static const char *const PART[PARTS] = {".x_sq", ".x", ".x_max"};

static icd_status write_calibration(icd_job *job)
{
    icd_status status = ICD_OK;
    icd_npz_member *member = NULL;
    char(*name)[96] = NULL;
    const char *path = icd_i_job_path(job, "calibration.npz");
    if (!path) return ICD_ENOMEM;
    ICD_TRY(ICD_ALLOC(job->ctx, PARTS * job->linears, &member));
    ICD_TRY(ICD_ALLOC(job->ctx, PARTS * job->linears, &name));
    for (int64_t i = 0; i < job->linears; i++) {
        const icd_job_linear *l = &job->linear[i];
        int64_t n = l->linear->cols;
        char(*at)[96] = name + PARTS * i;
        for (int k = 0; k < PARTS; k++)
            snprintf(at[k], sizeof *at, "%s%s", l->linear->name, PART[k]);
        icd_npz_member *m = member + PARTS * i;
        m[0] = (icd_npz_member){at[0], 'f', 8, 1, {n}, l->x_sq};
        m[1] = (icd_npz_member){at[1], 'f', 4, 2, {l->x_rows, n}, l->x};
        m[2] = (icd_npz_member){at[2], 'f', 4, 1, {n}, l->x_max};
    }
    ICD_TRY(icd_i_npz_write(job->ctx, path, member, (int32_t)(PARTS * job->linears)));
done:
    icd_i_free(job->ctx, name);
    icd_i_free(job->ctx, member);
    return status;
}

/* The access sets of every selected axis become the axes of pi0. */
static icd_status read_axes(icd_job *job)
{
    icd_status status = ICD_OK;
    for (int64_t i = 0; i < icd_model_axes(job->checkpoint); i++) {
        const icd_axis *a = icd_model_axis_at(job->checkpoint, i);
        const char *path = NULL;
        icd_job_axis *axis = NULL;
        if (!icd_i_axis_selected(job, job->config->trace.axes, a)) continue;
        ICD_TRY(icd_i_rundir_axis_path(job->ctx, job->dir, a->name, "trace.icdt", &path));
        if (!icd_i_file_exists(path)) continue; /* no linear shows it */
        ICD_TRY(icd_i_axis_add(job, a->name, false, &axis));
        ICD_TRY(icd_access_read(job->ctx, path, NULL, &axis->sets));
        axis->sets->frame = icd_model_frame(job->checkpoint, a->name);
    }
done:
    return status;
}

static void count(const icd_job *job, const icd_taps *taps, icd_trace_result *result)
{
    int64_t events = 0;
    *result =
        (icd_trace_result){.tokens = job->input.tokens, .overhead = job->trace_overhead};
    while (icd_i_taps_axis(taps, result->axes, &events)) {
        result->events += events;
        result->axes++;
    }
}

static int64_t stride_of(const icd_job *job)
{
    return job->input.tokens / SAMPLE_ROWS > 1 ? job->input.tokens / SAMPLE_ROWS : 1;
}

icd_status icd_i_calibrate(icd_job *job)
{
    tracer t = {.job = job, .stride = stride_of(job)};
    icd_status status = allocate(job);
    return status == ICD_OK ? run_input(&t) : status;
}

icd_status icd_i_trace_record(icd_job *job, bool kv, icd_trace_result *result)
{
    icd_status status = ICD_OK;
    tracer t = {.job = job, .stride = stride_of(job)};
    ICD_TRY(allocate(job));
    ICD_TRY(icd_i_taps_new(job, job->config->trace.axes, &t.taps));
    if (kv) status = icd_i_taps_add_kv(t.taps, job->config->trace.axes);
    if (status == ICD_OK) status = icd_i_taps_check(t.taps, job->config->trace.axes);
    if (status == ICD_OK) status = run_input(&t);
    count(job, t.taps, result);
    return icd_i_taps_close(t.taps, status);
done:
    return status;
}

icd_status icd_i_stage_trace(icd_job *job)
{
    icd_trace_result result;
    icd_status status = icd_i_trace_record(job, false, &result);
    if (status == ICD_OK) status = write_calibration(job);
    return status == ICD_OK ? read_axes(job) : status;
}

static icd_status read_member(icd_job *job, icd_npz *npz, icd_job_linear *l)
{
    icd_status status = ICD_OK;
    char name[96];
    icd_array part[PARTS] = {0};
    const icd_array *sq = &part[0], *x = &part[1], *max = &part[2];
    int64_t cols = l->linear->cols;
    for (int k = 0; k < PARTS; k++) {
        snprintf(name, sizeof name, "%s%s", l->linear->name, PART[k]);
        ICD_TRY(icd_i_npz_get(job->ctx, npz, name, &part[k]));
    }
    if (sq->count != cols || x->dims != 2 || x->shape[1] != cols || x->kind != 'f' ||
        x->item != 4 || sq->kind != 'f' || sq->item != 8 || max->count != cols ||
        max->kind != 'f' || max->item != 4) {
        status =
            icd_i_fail(job->ctx, ICD_EDATA, "calibration.npz", "remove it and run again",
                       "what it holds of %s does not fit the model", l->linear->name);
        goto done;
    }
    l->x_sq = part[0].data;
    l->x = part[1].data;
    l->x_max = part[2].data;
    l->x_rows = x->shape[0];
    part[0].data = part[1].data = part[2].data = NULL;
done:
    for (int k = 0; k < PARTS; k++) icd_i_array_release(job->ctx, &part[k]);
    return status;
}

icd_status icd_i_stage_trace_load(icd_job *job)
{
    icd_status status = ICD_OK;
    icd_npz *npz = NULL;
    const char *path = icd_i_job_path(job, "calibration.npz");
    if (!path) return ICD_ENOMEM;
    ICD_TRY(icd_i_npz_open(job->ctx, path, &npz));
    for (int64_t i = 0; i < job->linears; i++)
        ICD_TRY(read_member(job, npz, &job->linear[i]));
    ICD_TRY(read_axes(job));
done:
    icd_i_npz_close(job->ctx, npz);
    return status;
}
