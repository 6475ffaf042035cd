#include "adapters/adapter.h"

#include "base/threads.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void icd_i_no_op(icd_ctx *ctx, icd_transform_meta *meta, const char *name,
                 const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(meta->reason, sizeof meta->reason, fmt, args);
    va_end(args);
    meta->applied = false;
    icd_i_warn(ctx, "%s: %s was not applied: %s", name, meta->type, meta->reason);
}

/* Per token: dot products of both outputs. Tokens are independent, so any thread may take
 * any. */
typedef struct token_loss {
    double dot, norm_a, norm_b, max_diff, max_abs;
} token_loss;

typedef struct loss_job {
    const icd_matrix *w;
    const float *changed;
    const icd_calibration *cal;
    const float *x; /* what the changed matrix reads */
    token_loss *token;
} loss_job;

/* Nothing came of nothing; that nothing comes of something is no likeness. */
static bool both_zero(const token_loss *t)
{
    return !(t->norm_a > 0) && !(t->norm_b > 0);
}

static double dot(const float *a, const float *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}

static void compare_token(void *arg, int64_t t, int64_t chunks, int32_t worker)
{
    const loss_job *job = arg;
    const float *x = job->cal->x + t * job->w->cols, *seen = job->x + t * job->w->cols;
    token_loss loss = {0};
    (void)chunks;
    (void)worker;
    for (int64_t r = 0; r < job->w->rows; r++) {
        double a = dot(x, job->w->w + r * job->w->cols, job->w->cols);
        double b = dot(seen, job->changed + r * job->w->cols, job->w->cols);
        loss.dot += a * b;
        loss.norm_a += a * a;
        loss.norm_b += b * b;
        loss.max_diff = fmax(loss.max_diff, fabs(a - b));
        loss.max_abs = fmax(loss.max_abs, fabs(a));
    }
    job->token[t] = loss;
}

icd_status icd_i_measure_loss(icd_ctx *ctx, const icd_matrix *w, const float *changed,
                              const icd_calibration *cal, icd_transform_meta *meta)
{
    return icd_i_measure_loss_with(ctx, w, changed, cal, NULL, meta);
}

icd_status icd_i_measure_loss_with(icd_ctx *ctx, const icd_matrix *w,
                                   const float *changed, const icd_calibration *cal,
                                   const float *x, icd_transform_meta *meta)
{
    double max_diff = 0, max_abs = 0, cosines = 0;
    token_loss *token = NULL;
    meta->max_error = meta->cosine = NAN;
    if (!cal || !cal->x || cal->tokens == 0) return ICD_OK;
    icd_status status = ICD_ALLOC(ctx, cal->tokens, &token);
    if (status != ICD_OK) return status;
    loss_job job = {w, changed, cal, x ? x : cal->x, token};
    icd_i_parallel(ctx, cal->tokens, compare_token, &job);
    for (int64_t t = 0; t < cal->tokens; t++) {
        double norm = sqrt(token[t].norm_a * token[t].norm_b);
        max_diff = fmax(max_diff, token[t].max_diff);
        max_abs = fmax(max_abs, token[t].max_abs);
        cosines += norm > 0 ? token[t].dot / norm : both_zero(&token[t]);
    }
    meta->max_error = max_abs > 0 ? max_diff / max_abs : 0;
    meta->cosine = cosines / (double)cal->tokens;
    icd_i_free(ctx, token);
    return ICD_OK;
}
