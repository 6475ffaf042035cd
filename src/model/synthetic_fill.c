/* Values of synthetic weights: w[i][j] = scale * e^(row t_i + col u_j) * normal, t and u
 * Student's t of 5 degrees of freedom, so that a few channels are far larger than the
 * rest. docs/engines.md says what the spreads were fitted to (tools/fit_spectrum.py). */
#include "model/synth.h"

#include "base/hash.h"
#include "base/rng.h"
#include "base/threads.h"

#include <math.h>
#include <string.h>

enum { FREEDOM = 5, CHUNK = 64, STREAM_ROW = 0, STREAM_COL, STREAM_CHUNK };

/* Of matrices: RMS of the values times sqrt(cols); spreads of rows and columns. `depth`:
 * divided by the root of the layers, as what is added to a stream that no norm bounds. */
static const struct {
    double scale, row, col;
    bool depth;
} SPECTRUM[ICD_SYNTH_KINDS] = {
    [ICD_SYNTH_EMBEDDING] = {0, .100, .200, false},
    [ICD_SYNTH_QKV] = {2.1, .139, .015, false},
    [ICD_SYNTH_ATTENTION_OUT] = {2.2, .058, .033, true},
    [ICD_SYNTH_UP] = {2.5, .103, .056, false},
    [ICD_SYNTH_DOWN] = {3.8, .043, .143, true},
    [ICD_SYNTH_SQUARE] = {1, .058, .033, false},
    [ICD_SYNTH_MAMBA_IN] = {1.2, .002, .000, false},
    [ICD_SYNTH_MAMBA_X] = {1.7, .137, .085, false},
    [ICD_SYNTH_MAMBA_DT] = {.43, .105, .009, false},
    [ICD_SYNTH_MAMBA_OUT] = {1.6, .021, .000, true},
    [ICD_SYNTH_GAIN] = {0, .109, .000, false},
};

/* Large values end at 8 spreads: a whole layer is never one channel. */
static double student(icd_rng *rng)
{
    double x = icd_i_rng_normal(rng), square = 0;
    for (int i = 0; i < FREEDOM; i++) {
        double n = icd_i_rng_normal(rng);
        square += n * n;
    }
    return fmax(-8, fmin(8, x / sqrt(square / FREEDOM)));
}

static void fill_scales(uint64_t key, uint64_t stream, double spread, int64_t n,
                        float *out)
{
    icd_rng rng;
    icd_i_rng_init(&rng, key, stream);
    for (int64_t i = 0; i < n; i++) out[i] = (float)exp(spread * student(&rng));
}

/* The bias whose softplus is a step between 0.001 and 0.1, even on a logarithmic scale.
 */
static double step_bias(icd_rng *rng)
{
    double step = exp(icd_i_rng_unit(rng) * log(100) + log(.001));
    return step + log(-expm1(-step));
}

static double value_of(const icd_synth_tensor *t, double scale, icd_rng *rng, int64_t col)
{
    switch (t->kind) {
    case ICD_SYNTH_GAIN:
        return 1;
    case ICD_SYNTH_BIAS:
        return .05 * icd_i_rng_normal(rng);
    case ICD_SYNTH_CONV:
        return (2 * icd_i_rng_unit(rng) - 1) / sqrt((double)t->cols);
    case ICD_SYNTH_STEP:
        return step_bias(rng);
    case ICD_SYNTH_DECAY:
        return log((double)(col + 1));
    default:
        return scale * icd_i_rng_normal(rng);
    }
}

typedef struct fill_job {
    const icd_synth_tensor *tensor;
    uint64_t key;
    double scale;
    const float *row, *col;
    float *out;
} fill_job;

static void fill_rows(void *arg, int64_t chunk, int64_t chunks, int32_t worker)
{
    const fill_job *job = arg;
    const icd_synth_tensor *t = job->tensor;
    int64_t end = (chunk + 1) * CHUNK < t->rows ? (chunk + 1) * CHUNK : t->rows;
    icd_rng rng;
    (void)chunks;
    (void)worker;
    icd_i_rng_init(&rng, job->key, STREAM_CHUNK + (uint64_t)chunk);
    for (int64_t r = chunk * CHUNK; r < end; r++)
        for (int64_t c = 0; c < t->cols; c++)
            job->out[t->turned ? c * t->rows + r : r * t->cols + c] =
                (float)value_of(t, job->scale, &rng, c) * job->row[r] * job->col[c];
}

icd_status icd_i_synth_fill(icd_ctx *ctx, const icd_synth_tensor *t, uint64_t seed,
                            int64_t layers, float *out)
{
    icd_status status = ICD_OK;
    float *row = NULL, *col = NULL;
    uint64_t key = icd_i_hash(seed, t->name, strlen(t->name));
    double scale = SPECTRUM[t->kind].scale / sqrt((double)t->cols);
    if (SPECTRUM[t->kind].depth) scale /= sqrt((double)layers);
    if (t->kind == ICD_SYNTH_EMBEDDING) scale = .05;
    ICD_TRY(ICD_ALLOC(ctx, t->rows, &row));
    ICD_TRY(ICD_ALLOC(ctx, t->cols, &col));
    fill_scales(key, STREAM_ROW, SPECTRUM[t->kind].row, t->rows, row);
    fill_scales(key, STREAM_COL, SPECTRUM[t->kind].col, t->cols, col);
    fill_job job = {t, key, scale, row, col, out};
    icd_i_parallel(ctx, (t->rows + CHUNK - 1) / CHUNK, fill_rows, &job);
    status = icd_i_check_cancel(ctx);
done:
    icd_i_free(ctx, row);
    icd_i_free(ctx, col);
    return status;
}
