/* Activations of a linear: outlier channels and static scales. */
#include "adapters/q/activation.h"

#include "adapters/q/clip.h"

#include <math.h>
#include <string.h>

bool icd_i_quant_runs_int8(const icd_quant_opts *opts)
{
    if (opts->dtype == ICD_Q_INT8) return opts->group == 0;
    return opts->dtype == ICD_Q_INT4 && opts->group % 32 == 0;
}

/* The largest magnitude of every channel over all tokens, or over those that are kept; of
   its root mean square where none is. */
static void magnitudes(const icd_calibration *cal, int64_t cols, float *out)
{
    if (cal->x_max) {
        memcpy(out, cal->x_max, (size_t)cols * sizeof *out);
        return;
    }
    for (int64_t c = 0; c < cols; c++) out[c] = cal->x ? 0 : (float)sqrt(cal->x_sq[c]);
    for (int64_t t = 0; cal->x && t < cal->tokens; t++)
        for (int64_t c = 0; c < cols; c++)
            out[c] = fmaxf(out[c], fabsf(cal->x[t * cols + c]));
}

static int64_t most_outliers(const icd_quant_opts *opts, int64_t cols)
{
    if (opts->outliers > 0) return llround(opts->outliers * (double)cols);
    return opts->outlier_threshold > 0 ? cols : 0;
}

static icd_status choose_outliers(icd_ctx *ctx, const icd_calibration *cal, int64_t cols,
                                  const icd_quant_opts *opts, icd_quant_choice *out)
{
    icd_status status = ICD_OK;
    float *size = NULL, *work = NULL;
    bool *kept = NULL;
    ICD_TRY(ICD_ALLOC(ctx, cols, &size));
    ICD_TRY(ICD_ALLOC(ctx, cols, &work));
    ICD_TRY(ICD_ALLOC(ctx, cols, &kept));
    ICD_TRY(ICD_ALLOC(ctx, cols, &out->outlier));
    magnitudes(cal, cols, size);
    icd_i_keep_largest(size, cols, most_outliers(opts, cols), work, kept);
    for (int64_t c = 0; c < cols; c++)
        if (kept[c] && (double)size[c] >= opts->outlier_threshold && size[c] > 0)
            out->outlier[out->outliers++] = (int32_t)c;
done:
    icd_i_free(ctx, size);
    icd_i_free(ctx, work);
    icd_i_free(ctx, kept);
    return status;
}

/* Activations of the channels that are no outliers, one behind the other. */
static int64_t gather_regular(const icd_calibration *cal, int64_t cols,
                              const icd_quant_choice *choice, float *out)
{
    int64_t n = 0;
    for (int64_t t = 0; t < cal->tokens; t++)
        for (int64_t c = 0, k = 0; c < cols; c++)
            if (k < choice->outliers && choice->outlier[k] == c)
                k++;
            else
                out[n++] = cal->x[t * cols + c];
    return n;
}

static float largest(const float *x, int64_t n)
{
    float top = 0;
    for (int64_t i = 0; i < n; i++) top = fmaxf(top, fabsf(x[i]));
    return top;
}

/* Of the channels that are no outliers. */
static float largest_regular(const icd_calibration *cal, int64_t cols,
                             const icd_quant_choice *choice)
{
    float top = 0;
    for (int64_t c = 0, k = 0; c < cols; c++)
        if (k < choice->outliers && choice->outlier[k] == c)
            k++;
        else
            top = fmaxf(top, cal->x_max[c]);
    return top;
}

static icd_status choose_scale(icd_ctx *ctx, const icd_calibration *cal, int64_t cols,
                               const icd_quant_opts *opts, icd_quant_choice *out)
{
    enum { LEVELS = 127 };
    icd_status status = ICD_OK;
    float *x = NULL, *work = NULL, top = 0;
    ICD_TRY(ICD_ALLOC(ctx, cal->tokens * cols, &x));
    ICD_TRY(ICD_ALLOC(ctx, cal->tokens * cols, &work));
    int64_t n = gather_regular(cal, cols, out, x);
    if (opts->activation_range == ICD_Q_PTQ_KLD) top = icd_i_clip_kld(x, n, LEVELS);
    if (opts->activation_range == ICD_Q_PTQ_PERCENTILE)
        top = icd_i_clip_percentile(x, n, opts->percentile, work);
    if (opts->activation_range == ICD_Q_PTQ_MINMAX)
        top = cal->x_max ? largest_regular(cal, cols, out) : largest(x, n);
    if (isfinite(top) && top > 1e-30f) out->input_scale = top / LEVELS;
done:
    icd_i_free(ctx, x);
    icd_i_free(ctx, work);
    return status;
}

icd_status icd_i_quant_choose(icd_ctx *ctx, const icd_calibration *cal, int64_t cols,
                              const icd_quant_opts *opts, icd_quant_choice *out,
                              const char **lacks)
{
    icd_status status = ICD_OK;
    bool rows = cal && cal->x && cal->tokens > 0, sums = rows || (cal && cal->x_sq);
    bool fixed = opts->activation == ICD_Q_STATIC && icd_i_quant_runs_int8(opts);
    bool outliers = most_outliers(opts, cols) > 0 && opts->dtype != ICD_Q_BF16;
    *out = (icd_quant_choice){0};
    *lacks = NULL;
    if (outliers && !sums) *lacks = "outliers";
    if (fixed && !rows) *lacks = "static scales of activations";
    if (outliers && sums) ICD_TRY(choose_outliers(ctx, cal, cols, opts, out));
    if (fixed && rows) ICD_TRY(choose_scale(ctx, cal, cols, opts, out));
done:
    if (status != ICD_OK) icd_i_quant_choice_release(ctx, out);
    return status;
}

void icd_i_quant_choice_release(icd_ctx *ctx, icd_quant_choice *choice)
{
    icd_i_free(ctx, choice->outlier);
    *choice = (icd_quant_choice){0};
}

static void round_row(const float *x, int64_t n, float scale, float *out)
{
    float inverse = scale > 0 ? 1 / scale : 0;
    for (int64_t i = 0; i < n; i++)
        out[i] = scale * fmaxf(-127, fminf(127, rintf(x[i] * inverse)));
}

void icd_i_quant_inputs(const icd_quantized *q, const float *x, int64_t tokens,
                        float *out)
{
    for (int64_t t = 0; t < tokens; t++, x += q->cols, out += q->cols) {
        float scale = q->input_scale;
        memcpy(out, x, (size_t)q->cols * sizeof *out);
        for (int64_t i = 0; i < q->outliers; i++) out[q->outlier[i]] = 0;
        if (scale <= 0) scale = largest(out, q->cols) / 127;
        round_row(out, q->cols, scale, out);
        for (int64_t i = 0; i < q->outliers; i++) out[q->outlier[i]] = x[q->outlier[i]];
    }
}
