/* trace: runs the f32 model on real input; records access sets of true axes, and what the
   transforms need to know of every linear's input. */
#include "runtime/job.h"

#include "base/npz.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLE_ROWS = 96 }; /* rows of activations kept per linear for the measured loss */

/* What the observer of one run sees. */
typedef struct tracer {
    icd_job *job;
    icd_trace_writer *
        *writer;      /* [linears]; NULL where the input has no axis of its own */
    float **col_norm; /* [linears] ||w_i|| of the input channels, where traced */
    float *mass;      /* scratch: |a_i| ||w_i|| of one token */
    int32_t *index;   /* scratch: active channels */
    int64_t stride;   /* every stride-th token is kept as a sample */
    bool exact;       /* ReLU: the non-zeros are the access set */
} tracer;

static icd_job_linear *find_linear(icd_job *job, const char *name, int64_t *at)
{
    for (int64_t i = 0; i < job->linears; i++)
        if (!strcmp(job->linear[i].linear->name, name)) {
            *at = i;
            return &job->linear[i];
        }
    return NULL;
}

/* Sum of the values that are at least `least`, in four fixed lanes. */
static double sum_from(const float *mass, int64_t n, float least)
{
    double lane[4] = {0};
    for (int64_t i = 0; i < n; i++) lane[i & 3] += mass[i] >= least ? (double)mass[i] : 0;
    return lane[0] + lane[1] + lane[2] + lane[3];
}

/* The largest threshold at which the values from it on still hold `wanted`: bisection
   over the bits of a non-negative float, which are ordered like the float. */
static float find_threshold(const float *mass, int64_t n, double wanted)
{
    uint32_t low = 0, high = 0x7F800000u;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        float least;
        memcpy(&least, &middle, sizeof least);
        if (sum_from(mass, n, least) >= wanted)
            low = middle;
        else
            high = middle;
    }
    float threshold;
    memcpy(&threshold, &low, sizeof threshold);
    return threshold;
}

/* All above the threshold, then ties by index until the mass is there. */
static int64_t smallest_set(const float *mass, int64_t n, double wanted, int32_t *index)
{
    float threshold = find_threshold(mass, n, wanted);
    double above = 0;
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) above += mass[i] > threshold ? (double)mass[i] : 0;
    for (int64_t i = 0; i < n; i++) {
        bool tie = mass[i] == threshold && threshold > 0 && above < wanted;
        if (tie) above += (double)mass[i];
        if (tie || mass[i] > threshold) index[count++] = (int32_t)i;
    }
    return count;
}

/* SPEC section 2: exact non-zeros; else the smallest set that holds activity_mass of the
 * sum. */
static int64_t active_channels(tracer *t, const float *x, const float *norm, int64_t n)
{
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) {
        float mass = fabsf(x[i]) * norm[i];
        t->mass[i] = isfinite(mass) ? mass : 0;
        if (t->exact && t->mass[i] > 0) t->index[count++] = (int32_t)i;
    }
    if (t->exact) return count;
    double wanted = t->job->config->graph.activity_mass * sum_from(t->mass, n, 0);
    return smallest_set(t->mass, n, wanted, t->index);
}

static icd_status record_access(tracer *t, int64_t at, const float *x, int64_t tokens,
                                int64_t n)
{
    for (int64_t i = 0; i < tokens; i++) {
        int64_t count = active_channels(t, x + i * n, t->col_norm[at], n);
        icd_status status =
            icd_trace_writer_add(t->job->ctx, t->writer[at], t->index, count, 1);
        if (status != ICD_OK) return status;
    }
    return ICD_OK;
}

static void record_calibration(const tracer *t, icd_job_linear *l, const float *x,
                               int64_t tokens, int64_t n)
{
    for (int64_t i = 0; i < tokens; i++) {
        const float *row = x + i * n;
        for (int64_t c = 0; c < n; c++) l->x_sq[c] += (double)row[c] * (double)row[c];
        if (l->seen++ % t->stride == 0 && l->x_rows < SAMPLE_ROWS)
            memcpy(l->x + l->x_rows++ * n, row, (size_t)n * sizeof *row);
    }
}

static icd_status observe(icd_ctx *ctx, void *user, const icd_linear *linear,
                          const float *x, int64_t tokens, int64_t cols)
{
    tracer *t = user;
    int64_t at = 0;
    icd_job_linear *l = find_linear(t->job, linear->name, &at);
    if (!l)
        return icd_i_fail(ctx, ICD_EINTERNAL, linear->name, NULL,
                          "the runner lists no such linear");
    record_calibration(t, l, x, tokens, cols);
    return t->writer[at] ? record_access(t, at, x, tokens, cols) : ICD_OK;
}

/* An input is traced where its axis belongs to one layer: the residual's order is shared
 * by all. */
static bool is_traced(const icd_job *job, const icd_linear *linear)
{
    const icd_axis *axis = icd_model_axis(job->checkpoint, linear->in_axis);
    return axis && axis->n == linear->cols && !axis->reaches_output;
}

static icd_status column_norms(icd_job *job, const icd_linear *linear, float **out)
{
    icd_status status = ICD_OK;
    float *w = NULL;
    ICD_TRY(icd_model_tensor_f32(job->ctx, job->checkpoint, linear->tensor, &w));
    ICD_TRY(ICD_ALLOC(job->ctx, linear->cols, out));
    for (int64_t c = 0; c < linear->cols; c++) {
        double sum = 0;
        for (int64_t r = 0; r < linear->rows; r++) {
            double value = (double)w[r * linear->cols + c];
            sum += value * value;
        }
        (*out)[c] = (float)sqrt(sum);
    }
done:
    icd_mem_free(job->ctx, w);
    return status;
}

static icd_status open_writers(tracer *t)
{
    icd_status status = ICD_OK;
    icd_job *job = t->job;
    for (int64_t i = 0; i < job->linears; i++) {
        const icd_linear *linear = job->linear[i].linear;
        const char *path = NULL;
        if (!is_traced(job, linear)) continue;
        ICD_TRY(icd_i_rundir_axis_path(job->ctx, job->dir, linear->in_axis, "trace.icdt",
                                       &path));
        ICD_TRY(column_norms(job, linear, &t->col_norm[i]));
        ICD_TRY(icd_trace_writer_open(job->ctx, path, linear->in_axis, linear->cols,
                                      &t->writer[i]));
    }
done:
    return status;
}

static icd_status allocate(tracer *t)
{
    icd_status status = ICD_OK;
    icd_job *job = t->job;
    int64_t widest = 0;
    ICD_TRY(ICD_ALLOC(job->ctx, job->linears, &t->writer));
    ICD_TRY(ICD_ALLOC(job->ctx, job->linears, &t->col_norm));
    for (int64_t i = 0; i < job->linears; i++) {
        icd_job_linear *l = &job->linear[i];
        if (l->linear->cols > widest) widest = l->linear->cols;
        ICD_TRY(ICD_ALLOC(job->ctx, l->linear->cols, &l->x_sq));
        ICD_TRY(ICD_ALLOC(job->ctx, SAMPLE_ROWS * l->linear->cols, &l->x));
    }
    ICD_TRY(ICD_ALLOC(job->ctx, widest, &t->mass));
    ICD_TRY(ICD_ALLOC(job->ctx, widest, &t->index));
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
    opts.dtype = ICD_RUN_F32;
    ICD_TRY(icd_runner_new(job->ctx, job->checkpoint, NULL, &batch, &opts, &runner));
    icd_runner_observe(runner, observe, t);
    for (int64_t b = 0; b < batches; b++) {
        icd_output out;
        icd_i_progress(job->ctx, "trace", b, batches);
        batch = icd_i_input_batch(&job->input, b);
        ICD_TRY(icd_runner_step(job->ctx, runner, &batch, &out));
        ICD_TRY(icd_i_check_cancel(job->ctx));
    }
    icd_i_progress(job->ctx, "trace", batches, batches);
done:
    icd_runner_free(job->ctx, runner);
    return status;
}

/* Closes every writer; a trace is published only when the whole run succeeded. */
static icd_status close_writers(tracer *t, icd_status status)
{
    for (int64_t i = 0; t->writer && i < t->job->linears; i++) {
        if (!t->writer[i]) continue;
        icd_status closed =
            icd_trace_writer_close(t->job->ctx, t->writer[i], status == ICD_OK);
        if (status == ICD_OK) status = closed;
    }
    return status;
}

/* calibration.npz: NAME.x_sq and NAME.x of every linear, so that a resumed run need not
 * trace. */
static icd_status write_calibration(icd_job *job)
{
    icd_status status = ICD_OK;
    icd_npz_member *member = NULL;
    char(*name)[96] = NULL;
    const char *path = icd_i_job_path(job, "calibration.npz");
    if (!path) return ICD_ENOMEM;
    ICD_TRY(ICD_ALLOC(job->ctx, 2 * job->linears, &member));
    ICD_TRY(ICD_ALLOC(job->ctx, 2 * job->linears, &name));
    for (int64_t i = 0; i < job->linears; i++) {
        const icd_job_linear *l = &job->linear[i];
        snprintf(name[2 * i], sizeof *name, "%s.x_sq", l->linear->name);
        snprintf(name[2 * i + 1], sizeof *name, "%s.x", l->linear->name);
        member[2 * i] =
            (icd_npz_member){name[2 * i], 'f', 8, 1, {l->linear->cols}, l->x_sq};
        member[2 * i + 1] = (icd_npz_member){
            name[2 * i + 1], 'f', 4, 2, {l->x_rows, l->linear->cols}, l->x};
    }
    ICD_TRY(icd_i_npz_write(job->ctx, path, member, (int32_t)(2 * job->linears)));
done:
    icd_i_free(job->ctx, name);
    icd_i_free(job->ctx, member);
    return status;
}

/* The access sets of every traced axis become the axes of pi0. */
static icd_status read_axes(icd_job *job)
{
    icd_status status = ICD_OK;
    for (int64_t i = 0; i < job->linears; i++) {
        const icd_linear *linear = job->linear[i].linear;
        const char *path = NULL;
        icd_job_axis *axis = NULL;
        if (!is_traced(job, linear)) continue;
        ICD_TRY(icd_i_axis_add(job, linear->in_axis, false, &axis));
        ICD_TRY(icd_i_rundir_axis_path(job->ctx, job->dir, linear->in_axis, "trace.icdt",
                                       &path));
        ICD_TRY(icd_access_read(job->ctx, path, NULL, &axis->sets));
        axis->sets->frame = icd_model_frame(job->checkpoint, linear->in_axis);
    }
done:
    return status;
}

icd_status icd_i_stage_trace(icd_job *job)
{
    icd_status status = ICD_OK;
    tracer t = {.job = job};
    t.exact = !strcmp(icd_model_get_config(job->checkpoint)->act, "relu");
    t.stride = job->input.tokens / SAMPLE_ROWS > 1 ? job->input.tokens / SAMPLE_ROWS : 1;
    ICD_TRY(allocate(&t));
    ICD_TRY(open_writers(&t));
    ICD_TRY(run_input(&t));
done:
    status = close_writers(&t, status);
    for (int64_t i = 0; t.col_norm && i < job->linears; i++)
        icd_i_free(job->ctx, t.col_norm[i]);
    icd_i_free(job->ctx, t.col_norm);
    icd_i_free(job->ctx, t.writer);
    icd_i_free(job->ctx, t.mass);
    icd_i_free(job->ctx, t.index);
    if (status == ICD_OK) status = write_calibration(job);
    return status == ICD_OK ? read_axes(job) : status;
}

static icd_status read_member(icd_job *job, icd_npz *npz, icd_job_linear *l)
{
    icd_status status = ICD_OK;
    char name[96];
    icd_array sq = {0}, x = {0};
    int64_t cols = l->linear->cols;
    snprintf(name, sizeof name, "%s.x_sq", l->linear->name);
    ICD_TRY(icd_i_npz_get(job->ctx, npz, name, &sq));
    snprintf(name, sizeof name, "%s.x", l->linear->name);
    ICD_TRY(icd_i_npz_get(job->ctx, npz, name, &x));
    if (sq.count != cols || x.dims != 2 || x.shape[1] != cols || x.kind != 'f' ||
        x.item != 4 || sq.kind != 'f' || sq.item != 8) {
        status =
            icd_i_fail(job->ctx, ICD_EDATA, "calibration.npz", "remove it and run again",
                       "member %s does not fit the model", name);
        goto done;
    }
    l->x_sq = sq.data;
    l->x = x.data;
    l->x_rows = x.shape[0];
    sq.data = x.data = NULL;
done:
    icd_i_array_release(job->ctx, &sq);
    icd_i_array_release(job->ctx, &x);
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
