/* icd trace: access sets from activations, or from what pruning left of the weights. */
#include "runtime/job.h"

#include "core/trace_writer.h"

#include <string.h>

static const double LEAST_ZEROS = .01; /* below that a matrix does not count as pruned */

icd_status icd_trace_model(icd_ctx *ctx, const icd_config *config, const char *model,
                           const char *input, const char *dir, icd_trace_result *result)
{
    icd_status status = ICD_OK;
    icd_config own = *config;
    icd_job job = {.ctx = ctx};
    ICD_TRY(icd_i_rundir_open(ctx, dir, &job.dir));
    ICD_TRY(icd_i_job_open_model(&job, &own, model, input));
    ICD_TRY(icd_i_trace_record(&job, true, result));
done:
    icd_i_job_free(&job);
    return status;
}

/* Columns with a weight that is not zero in any of the rows. */
static int64_t survivors(const float *w, int64_t rows, int64_t cols, bool *live,
                         int32_t *index)
{
    int64_t count = 0;
    memset(live, 0, (size_t)cols * sizeof *live);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t c = 0; c < cols; c++) live[c] |= w[i * cols + c] != 0;
    for (int64_t c = 0; c < cols; c++)
        if (live[c]) index[count++] = (int32_t)c;
    return count;
}

static double zero_share(const float *w, int64_t count)
{
    int64_t zeros = 0;
    for (int64_t i = 0; i < count; i++) zeros += w[i] == 0;
    return count ? (double)zeros / (double)count : 0;
}

typedef struct mask_trace {
    icd_ctx *ctx;
    const icd_model *model;
    icd_rundir *dir;
    int64_t vector;
    icd_trace_result *result;
} mask_trace;

static icd_status write_blocks(const mask_trace *t, const icd_linear *l, const float *w)
{
    icd_status status = ICD_OK;
    icd_trace_writer *writer = NULL;
    const char *path = NULL;
    bool *live = NULL;
    int32_t *index = NULL;
    const icd_axis *axis = icd_model_axis(t->model, l->in_axis);
    uint64_t frame = axis ? icd_model_frame(t->model, l->in_axis) : ICD_FRAME_CHECKPOINT;
    ICD_TRY(icd_i_rundir_axis_path(t->ctx, t->dir, l->name, "trace.icdt", &path));
    ICD_TRY(ICD_ALLOC(t->ctx, l->cols, &live));
    ICD_TRY(ICD_ALLOC(t->ctx, l->cols, &index));
    ICD_TRY(icd_i_trace_writer_open(t->ctx, path, l->name, l->cols, frame, &writer));
    for (int64_t r = 0; r < l->rows; r += t->vector) {
        int64_t rows = l->rows - r < t->vector ? l->rows - r : t->vector;
        int64_t count = survivors(w + r * l->cols, rows, l->cols, live, index);
        ICD_TRY(icd_trace_writer_add(t->ctx, writer, index, count, 1));
        t->result->events++;
    }
    t->result->axes++;
done:
    if (writer) {
        icd_status closed = icd_trace_writer_close(t->ctx, writer, status == ICD_OK);
        if (status == ICD_OK) status = closed;
    }
    icd_i_free(t->ctx, live);
    icd_i_free(t->ctx, index);
    return status;
}

static icd_status trace_linear(const mask_trace *t, const icd_linear *l)
{
    float *w = NULL;
    icd_status status = icd_model_tensor_f32(t->ctx, t->model, l->tensor, &w);
    if (status == ICD_OK && zero_share(w, l->rows * l->cols) >= LEAST_ZEROS)
        status = write_blocks(t, l, w);
    icd_mem_free(t->ctx, w);
    return status;
}

icd_status icd_trace_masks(icd_ctx *ctx, const icd_config *config, const char *path,
                           const char *dir, icd_trace_result *result)
{
    icd_status status = ICD_OK;
    icd_model *model = NULL;
    icd_rundir *rundir = NULL;
    const icd_linear *list = NULL;
    int64_t count = 0;
    *result = (icd_trace_result){0};
    ICD_TRY(icd_model_open(ctx, path, &model));
    ICD_TRY(icd_i_rundir_open(ctx, dir, &rundir));
    ICD_TRY(icd_runner_linears(ctx, model, &list, &count));
    mask_trace t = {ctx, model, rundir, config->kernel.vector, result};
    for (int64_t i = 0; i < count; i++) {
        icd_i_progress(ctx, "trace", i, count);
        ICD_TRY(icd_i_check_cancel(ctx));
        ICD_TRY(trace_linear(&t, &list[i]));
    }
    if (result->axes == 0)
        status = icd_i_fail(ctx, ICD_EINVAL, icd_model_name(model),
                            "trace activations, or prune first",
                            "no linear has 1 %% of zeros, so there are no masks");
done:
    icd_mem_free(ctx, (void *)(uintptr_t)list);
    icd_i_rundir_close(ctx, rundir);
    icd_model_free(ctx, model);
    return status;
}
