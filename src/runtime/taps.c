#include "runtime/taps.h"

#include "core/trace_writer.h"

#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A trace on its way to its file. Of the events, every stride-th is kept. */
typedef struct sink {
    const icd_axis *axis;
    icd_trace_writer *writer;
    int64_t seen, kept, stride;
} sink;

/* One binding of an axis to the columns (or rows) of one linear. */
typedef struct tap {
    int64_t sink, linear;
    bool output, exact;
    int64_t offset, block;
    float *norm;  /* [n x block] ||w_c|| of the columns; NULL: output */
    float weight; /* of an event: rows that the index makes a kernel read, relative */
} tap;

struct icd_taps {
    icd_job *job;
    icd_axis *kv; /* [layers] the tokens of a layer's cache; n 0: not traced */
    char (*kv_name)[32];
    int64_t *kv_sink; /* [layers] */
    int64_t layers;
    sink *sink;
    int64_t sinks, sink_capacity;
    tap *tap;
    int64_t taps, tap_capacity;
    float *mass;    /* scratch */
    int32_t *index; /* scratch */
    uint64_t *key;  /* scratch */
};

static bool ends_with(const char *text, const char *tail)
{
    size_t a = strlen(text), b = strlen(tail);
    return a >= b && !strcmp(text + a - b, tail);
}

static const icd_linear *linear_at(const icd_job *job, int64_t i)
{
    return job->linear[i].linear;
}

/* Read whole by one linear, and not shared by all layers. */
static bool is_own_input(const icd_job *job, const icd_axis *axis)
{
    if (axis->reaches_output || !strcmp(axis->name, "residual")) return false;
    for (int64_t i = 0; i < job->linears; i++)
        if (!strcmp(linear_at(job, i)->in_axis, axis->name) &&
            linear_at(job, i)->cols == axis->n)
            return true;
    return false;
}

/* One of the patterns of a list, or "all". */
static bool matches(const char *select, const char *name)
{
    char pattern[128];
    if (!strcmp(select, "all")) return true;
    for (const char *at = select; *at;) {
        size_t n = strcspn(at, ",");
        if (n < sizeof pattern) {
            memcpy(pattern, at, n);
            pattern[n] = 0;
            if (fnmatch(pattern, name, 0) == 0) return true;
        }
        at += n + (at[n] == ',');
    }
    return false;
}

bool icd_i_axis_selected(const icd_job *job, const char *select, const icd_axis *axis)
{
    return !select || !strcmp(select, "auto") ? is_own_input(job, axis)
                                              : matches(select, axis->name);
}

/* ||w_c|| of the columns from `offset` on. */
static icd_status column_norms(icd_job *job, const icd_linear *linear, int64_t offset,
                               int64_t count, float **out)
{
    icd_status status = ICD_OK;
    float *w = NULL;
    double *sum = NULL;
    ICD_TRY(icd_model_tensor_f32(job->ctx, job->checkpoint, linear->tensor, &w));
    ICD_TRY(ICD_ALLOC(job->ctx, count, &sum));
    ICD_TRY(ICD_ALLOC(job->ctx, count, out));
    for (int64_t r = 0; r < linear->rows; r++)
        for (int64_t c = 0; c < count; c++) {
            double value = (double)w[r * linear->cols + offset + c];
            sum[c] += value * value;
        }
    for (int64_t c = 0; c < count; c++) (*out)[c] = (float)sqrt(sum[c]);
done:
    icd_i_free(job->ctx, sum);
    icd_mem_free(job->ctx, w);
    return status;
}

static bool binds(const icd_binding *b, const icd_linear *linear, bool output)
{
    return !strcmp(b->tensor, linear->tensor) && b->dim == (output ? 0 : 1);
}

static icd_status add_tap(icd_taps *t, const icd_axis *axis, const icd_binding *b,
                          int64_t linear, bool output)
{
    icd_status status = icd_i_grow(t->job->ctx, (void **)&t->tap, &t->tap_capacity,
                                   t->taps + 1, sizeof *t->tap);
    if (status != ICD_OK) return status;
    const icd_linear *l = linear_at(t->job, linear);
    tap *one = &t->tap[t->taps++];
    *one = (tap){.sink = t->sinks - 1,
                 .linear = linear,
                 .output = output,
                 .offset = b->offset,
                 .block = b->block,
                 .weight = (float)l->rows};
    one->exact = !output &&
                 !strcmp(icd_model_get_config(t->job->checkpoint)->act, "relu") &&
                 ends_with(axis->name, "ffn.inner");
    return output ? ICD_OK
                  : column_norms(t->job, l, b->offset, axis->n * b->block, &one->norm);
}

static icd_status add_taps(icd_taps *t, const icd_axis *axis, bool output)
{
    for (int64_t i = 0; i < t->job->linears; i++)
        for (int64_t b = 0; b < axis->bindings; b++) {
            if (!binds(&axis->binding[b], linear_at(t->job, i), output)) continue;
            icd_status status = add_tap(t, axis, &axis->binding[b], i, output);
            if (status != ICD_OK) return status;
        }
    return ICD_OK;
}

/* Events weigh what they make kernels read; a lone source weighs 1. The stride keeps the
   events of an axis that many linears show below the limit. */
static void settle(icd_taps *t, int64_t first)
{
    sink *s = &t->sink[t->sinks - 1];
    float most = 0;
    for (int64_t i = first; i < t->taps; i++) most = fmaxf(most, t->tap[i].weight);
    for (int64_t i = first; i < t->taps; i++) t->tap[i].weight /= most;
    int64_t total = t->job->input.tokens * (t->taps - first);
    s->stride = 1 + (total - 1) / t->job->config->trace.events;
}

static icd_status open_axis(icd_taps *t, const icd_axis *axis)
{
    icd_status status = ICD_OK;
    icd_ctx *ctx = t->job->ctx;
    const char *path = NULL;
    int64_t first = t->taps;
    ICD_TRY(icd_i_grow(ctx, (void **)&t->sink, &t->sink_capacity, t->sinks + 1,
                       sizeof *t->sink));
    t->sink[t->sinks++] = (sink){.axis = axis};
    ICD_TRY(add_taps(t, axis, false));
    if (t->taps == first) ICD_TRY(add_taps(t, axis, true));
    if (t->taps == first) {
        t->sinks--;
        return ICD_OK;
    }
    settle(t, first);
    ICD_TRY(icd_i_rundir_axis_path(ctx, t->job->dir, axis->name, "trace.icdt", &path));
    ICD_TRY(icd_i_trace_writer_open(ctx, path, axis->name, axis->n,
                                    icd_model_frame(t->job->checkpoint, axis->name),
                                    &t->sink[t->sinks - 1].writer));
done:
    return status;
}

static icd_status open_all(icd_taps *t, const char *select)
{
    icd_status status = ICD_OK;
    icd_job *job = t->job;
    int64_t widest = 1;
    for (int64_t i = 0; i < icd_model_axes(job->checkpoint); i++) {
        const icd_axis *axis = icd_model_axis_at(job->checkpoint, i);
        if (!icd_i_axis_selected(job, select, axis)) continue;
        if (axis->n > widest) widest = axis->n;
        ICD_TRY(open_axis(t, axis));
    }
    if (job->input.seq > widest) widest = job->input.seq;
    ICD_TRY(ICD_ALLOC(job->ctx, widest, &t->mass));
    ICD_TRY(ICD_ALLOC(job->ctx, widest, &t->index));
    ICD_TRY(ICD_ALLOC(job->ctx, widest, &t->key));
done:
    return status;
}

icd_status icd_i_taps_check(icd_taps *t, const char *select)
{
    if (t->sinks > 0) return ICD_OK;
    return icd_i_fail(t->job->ctx, ICD_EINVAL, "trace.axes", "`icd axes` lists them",
                      "found '%.100s', expected something that names an axis which a "
                      "linear reads or writes",
                      select);
}

static icd_status open_kv(icd_taps *t, int64_t layer)
{
    icd_status status = ICD_OK;
    const char *path = NULL;
    icd_axis *axis = &t->kv[layer];
    const icd_job_input *in = &t->job->input;
    icd_ctx *ctx = t->job->ctx;
    axis->n = in->sequences * in->seq;
    ICD_TRY(icd_i_grow(ctx, (void **)&t->sink, &t->sink_capacity, t->sinks + 1,
                       sizeof *t->sink));
    t->kv_sink[layer] = t->sinks;
    t->sink[t->sinks++] = (sink){
        .axis = axis, .stride = 1 + (in->tokens - 1) / t->job->config->trace.events};
    ICD_TRY(icd_i_rundir_axis_path(ctx, t->job->dir, axis->name, "trace.icdt", &path));
    ICD_TRY(icd_trace_writer_open(ctx, path, axis->name, axis->n,
                                  &t->sink[t->sinks - 1].writer));
done:
    return status;
}

icd_status icd_i_taps_add_kv(icd_taps *t, const char *select)
{
    icd_status status = ICD_OK;
    icd_ctx *ctx = t->job->ctx;
    if (strcmp(icd_model_arch(t->job->checkpoint), "decoder") != 0) return ICD_OK;
    t->layers = icd_model_get_config(t->job->checkpoint)->layers;
    ICD_TRY(ICD_ALLOC(ctx, t->layers, &t->kv));
    ICD_TRY(ICD_ALLOC(ctx, t->layers, &t->kv_name));
    ICD_TRY(ICD_ALLOC(ctx, t->layers, &t->kv_sink));
    for (int64_t l = 0; l < t->layers; l++) {
        snprintf(t->kv_name[l], sizeof t->kv_name[l], "layer.%lld.kv", (long long)l);
        t->kv[l].name = t->kv_name[l];
        if (!strcmp(select, "auto") || matches(select, t->kv_name[l]))
            ICD_TRY(open_kv(t, l));
    }
done:
    return status;
}

bool icd_i_taps_kv(const icd_taps *t)
{
    for (int64_t l = 0; l < t->layers; l++)
        if (t->kv[l].n > 0) return true;
    return false;
}

icd_status icd_i_taps_new(icd_job *job, const char *select, icd_taps **out)
{
    icd_status status = ICD_OK;
    icd_taps *t = NULL;
    *out = NULL;
    ICD_TRY(ICD_ALLOC(job->ctx, 1, &t));
    t->job = job;
    status = open_all(t, select);
    if (status == ICD_OK) {
        *out = t;
        t = NULL;
    }
done:
    if (t) status = icd_i_taps_close(t, status);
    return status;
}

static double sum_of(const float *mass, int64_t n)
{
    double lane[4] = {0};
    for (int64_t i = 0; i < n; i++) lane[i & 3] += (double)mass[i];
    return lane[0] + lane[1] + lane[2] + lane[3];
}

/* Bins of a non-negative float: exponent and the first bit behind it. */
enum { BINS = 512, BIN_SHIFT = 22 };

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* The bin in which the sum from the top reaches `wanted`; what lies above goes to
 * `above`. */
static uint32_t crossing_bin(const float *mass, int64_t n, double wanted, double *above)
{
    double sum[BINS] = {0};
    uint32_t bin = BINS - 1;
    for (int64_t i = 0; i < n; i++) sum[bits_of(mass[i]) >> BIN_SHIFT] += (double)mass[i];
    for (*above = 0; bin > 0 && *above + sum[bin] < wanted; bin--) *above += sum[bin];
    return bin;
}

static int by_falling(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x < y) - (x > y);
}

/* The smallest set that holds `wanted`: by falling mass, ties by rising index. A key is
   the mass and, complemented, the index; the last key taken is the threshold. */
static int64_t smallest_set(const float *mass, int64_t n, double wanted, uint64_t *key,
                            int32_t *index)
{
    double held = 0;
    int64_t in_bin = 0, count = 0, k = 0;
    uint32_t bin = crossing_bin(mass, n, wanted, &held);
    for (int64_t i = 0; i < n; i++)
        if (bits_of(mass[i]) >> BIN_SHIFT == bin && mass[i] > 0)
            key[in_bin++] = (uint64_t)bits_of(mass[i]) << 32 | (uint32_t)~i;
    qsort(key, (size_t)in_bin, sizeof *key, by_falling);
    for (; k < in_bin && held < wanted; k++) held += (double)mass[(int32_t)~key[k]];
    uint64_t last = k ? key[k - 1] : (uint64_t)(bin + 1) << (BIN_SHIFT + 32);
    for (int64_t i = 0; i < n; i++)
        if (((uint64_t)bits_of(mass[i]) << 32 | (uint32_t)~i) >= last && mass[i] > 0)
            index[count++] = (int32_t)i;
    return count;
}

/* What index i of the axis weighs in one row of activations; what is not finite weighs
 * nothing. */
static float mass_of(const tap *p, const float *x, int64_t i)
{
    float sum = 0;
    for (int64_t c = i * p->block; c < (i + 1) * p->block; c++)
        sum += fabsf(x[p->offset + c]) * (p->norm ? p->norm[c] : 1);
    return isfinite(sum) ? sum : 0;
}

/* SPEC section 2: exact non-zeros; else the smallest set that holds activity_mass of the
 * sum. */
static int64_t active(icd_taps *t, const tap *p, const float *x)
{
    int64_t count = 0, n = t->sink[p->sink].axis->n;
    for (int64_t i = 0; i < n; i++) t->mass[i] = mass_of(p, x, i);
    for (int64_t i = 0; p->exact && i < n; i++)
        if (t->mass[i] > 0) t->index[count++] = (int32_t)i;
    if (p->exact) return count;
    double wanted = t->job->config->graph.activity_mass * sum_of(t->mass, n);
    return smallest_set(t->mass, n, wanted, t->key, t->index);
}

static icd_status record(icd_taps *t, const tap *p, const float *x)
{
    sink *s = &t->sink[p->sink];
    if (s->seen++ % s->stride != 0) return ICD_OK;
    s->kept++;
    return icd_trace_writer_add(t->job->ctx, s->writer, t->index, active(t, p, x),
                                p->weight);
}

icd_status icd_i_taps_record(icd_taps *t, int64_t linear, bool output, const float *x,
                             int64_t tokens, int64_t width)
{
    icd_status status = ICD_OK;
    for (int64_t p = 0; p < t->taps; p++) {
        if (t->tap[p].linear != linear || t->tap[p].output != output) continue;
        for (int64_t i = 0; status == ICD_OK && i < tokens; i++)
            status = record(t, &t->tap[p], x + i * width);
    }
    return status;
}

icd_status icd_i_taps_attention(icd_taps *t, const icd_attention *seen, int64_t first)
{
    const icd_job_input *in = &t->job->input;
    if (t->kv[seen->layer].n == 0) return ICD_OK;
    sink *s = &t->sink[t->kv_sink[seen->layer]];
    if (s->seen++ % s->stride != 0) return ICD_OK;
    s->kept++;
    memset(t->mass, 0, (size_t)in->seq * sizeof *t->mass);
    for (int64_t i = 0; i < seen->count; i++) t->mass[seen->position[i]] = seen->mass[i];
    double wanted = t->job->config->graph.activity_mass * sum_of(t->mass, in->seq);
    int64_t count = smallest_set(t->mass, in->seq, wanted, t->key, t->index);
    int64_t base = (first + seen->sequence) % in->sequences * in->seq;
    for (int64_t i = 0; i < count; i++) t->index[i] += (int32_t)base;
    return icd_trace_writer_add(t->job->ctx, s->writer, t->index, count, 1);
}

icd_status icd_i_taps_close(icd_taps *t, icd_status status)
{
    icd_ctx *ctx = t->job->ctx;
    for (int64_t i = 0; i < t->sinks; i++) {
        if (!t->sink[i].writer) continue;
        icd_status closed =
            icd_trace_writer_close(ctx, t->sink[i].writer, status == ICD_OK);
        if (status == ICD_OK) status = closed;
    }
    for (int64_t i = 0; i < t->taps; i++) icd_i_free(ctx, t->tap[i].norm);
    icd_i_free(ctx, t->kv);
    icd_i_free(ctx, t->kv_name);
    icd_i_free(ctx, t->kv_sink);
    icd_i_free(ctx, t->sink);
    icd_i_free(ctx, t->tap);
    icd_i_free(ctx, t->mass);
    icd_i_free(ctx, t->index);
    icd_i_free(ctx, t->key);
    icd_i_free(ctx, t);
    return status;
}

const icd_axis *icd_i_taps_axis(const icd_taps *t, int64_t i, int64_t *events)
{
    if (i >= t->sinks) return NULL;
    *events = t->sink[i].kept;
    return t->sink[i].axis;
}
