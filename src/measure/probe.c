/* A linear probe: ridge regression on one-hot labels, cross-validated. */
#include <icd/quality.h>

#include "base/blas.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"

#include <cblas.h>
#include <lapacke.h>
#include <math.h>
#include <string.h>

static const double RIDGE = .01;

typedef struct probe {
    const float *x;
    const int32_t *label;
    int64_t n, width;
    int32_t classes;
    int32_t *fold;   /* [n] */
    double *row;     /* [n x width] embeddings of the training part, centred */
    double *target;  /* [n x classes] one-hot */
    double *gram;    /* [width x width] */
    double *weights; /* [width x classes] */
    double *mean;    /* [width] */
    double *share;   /* [classes] of the labels: the intercept */
} probe;

static icd_status check(icd_ctx *ctx, const probe *p, int32_t folds)
{
    if (folds < 2 || p->n < folds || p->classes < 1 || p->width < 1)
        return icd_i_fail(ctx, ICD_EINVAL, "quality", "give more examples",
                          "found %lld examples for %d folds, expected at least as many",
                          (long long)p->n, folds);
    for (int64_t i = 0; i < p->n; i++)
        if (p->label[i] < 0 || p->label[i] >= p->classes)
            return icd_i_fail(ctx, ICD_EINVAL, "quality", NULL,
                              "example %lld has label %d, expected 0 to %d", (long long)i,
                              p->label[i], p->classes - 1);
    for (int64_t i = 0; i < p->n * p->width; i++)
        if (!isfinite(p->x[i]))
            return icd_i_fail(ctx, ICD_EDATA, "quality", NULL,
                              "the embedding of example %lld is not finite",
                              (long long)(i / p->width));
    return ICD_OK;
}

/* Examples dealt out to the folds in a shuffled order. */
static icd_status deal(icd_ctx *ctx, probe *p, int32_t folds, int64_t seed)
{
    int32_t *order = NULL;
    icd_rng rng;
    icd_status status = ICD_ALLOC(ctx, p->n, &order);
    if (status != ICD_OK) return status;
    icd_i_rng_init(&rng, (uint64_t)seed, 11);
    for (int64_t i = 0; i < p->n; i++) order[i] = (int32_t)i;
    icd_i_rng_shuffle(&rng, order, p->n);
    for (int64_t i = 0; i < p->n; i++) p->fold[order[i]] = (int32_t)(i % folds);
    icd_i_free(ctx, order);
    return ICD_OK;
}

static icd_status allocate(icd_ctx *ctx, probe *p)
{
    icd_status status = ICD_OK;
    ICD_TRY(ICD_ALLOC(ctx, p->n, &p->fold));
    ICD_TRY(ICD_ALLOC(ctx, p->n * p->width, &p->row));
    ICD_TRY(ICD_ALLOC(ctx, p->n * p->classes, &p->target));
    ICD_TRY(ICD_ALLOC(ctx, p->width * p->width, &p->gram));
    ICD_TRY(ICD_ALLOC(ctx, p->width * p->classes, &p->weights));
    ICD_TRY(ICD_ALLOC(ctx, p->width, &p->mean));
    ICD_TRY(ICD_ALLOC(ctx, p->classes, &p->share));
done:
    return status;
}

static void release(icd_ctx *ctx, probe *p)
{
    icd_i_free(ctx, p->fold);
    icd_i_free(ctx, p->row);
    icd_i_free(ctx, p->target);
    icd_i_free(ctx, p->gram);
    icd_i_free(ctx, p->weights);
    icd_i_free(ctx, p->mean);
    icd_i_free(ctx, p->share);
}

/* The rows of all folds but one, centred by their own mean; returns their number. */
static int64_t gather(probe *p, int32_t without)
{
    int64_t count = 0;
    memset(p->mean, 0, (size_t)p->width * sizeof *p->mean);
    memset(p->share, 0, (size_t)p->classes * sizeof *p->share);
    memset(p->target, 0, (size_t)(p->n * p->classes) * sizeof *p->target);
    for (int64_t i = 0; i < p->n; i++) {
        if (p->fold[i] == without) continue;
        for (int64_t c = 0; c < p->width; c++) {
            p->row[count * p->width + c] = (double)p->x[i * p->width + c];
            p->mean[c] += (double)p->x[i * p->width + c];
        }
        p->share[p->label[i]]++;
        p->target[count++ * p->classes + p->label[i]] = 1;
    }
    for (int32_t k = 0; k < p->classes; k++) p->share[k] /= (double)count;
    for (int64_t c = 0; c < p->width; c++) p->mean[c] /= (double)count;
    for (int64_t i = 0; i < count; i++)
        for (int64_t c = 0; c < p->width; c++) p->row[i * p->width + c] -= p->mean[c];
    return count;
}

/* (X^T X + ridge I) W = X^T Y */
static icd_status fit(icd_ctx *ctx, probe *p, int64_t count)
{
    int w = (int)p->width, k = p->classes, n = (int)count;
    double trace = 0;
    cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, w, n, 1, p->row, w, 0, p->gram, w);
    cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, w, k, n, 1, p->row, w, p->target,
                k, 0, p->weights, k);
    for (int c = 0; c < w; c++) trace += p->gram[c * w + c];
    for (int c = 0; c < w; c++) p->gram[c * w + c] += RIDGE * trace / w + 1e-30;
    if (LAPACKE_dposv(LAPACK_ROW_MAJOR, 'U', w, k, p->gram, w, p->weights, k) == 0)
        return ICD_OK;
    return icd_i_fail(ctx, ICD_ENUMERIC, "quality", NULL,
                      "the embeddings do not span a space that a probe can be fitted in");
}

static int32_t predict(const probe *p, int64_t i)
{
    int32_t best = 0;
    double top = -INFINITY;
    for (int32_t k = 0; k < p->classes; k++) {
        double sum = p->share[k];
        for (int64_t c = 0; c < p->width; c++)
            sum += ((double)p->x[i * p->width + c] - p->mean[c]) *
                   p->weights[c * p->classes + k];
        if (sum > top) {
            top = sum;
            best = k;
        }
    }
    return best;
}

static icd_status score_fold(icd_ctx *ctx, probe *p, int32_t fold, double *score)
{
    icd_i_blas_alone();
    icd_status status = fit(ctx, p, gather(p, fold));
    icd_i_blas_shared();
    for (int64_t i = 0; status == ICD_OK && i < p->n; i++)
        if (p->fold[i] == fold) score[i] = predict(p, i) == p->label[i];
    return status;
}

icd_status icd_probe_scores(icd_ctx *ctx, const float *x, int64_t n, int64_t width,
                            const int32_t *label, int32_t classes, int32_t folds,
                            int64_t seed, double *score)
{
    probe p = {.x = x, .label = label, .n = n, .width = width, .classes = classes};
    icd_status status = check(ctx, &p, folds);
    if (status == ICD_OK) status = allocate(ctx, &p);
    if (status == ICD_OK) status = deal(ctx, &p, folds, seed);
    for (int32_t f = 0; status == ICD_OK && f < folds; f++) {
        status = score_fold(ctx, &p, f, score);
        if (status == ICD_OK) status = icd_i_check_cancel(ctx);
    }
    release(ctx, &p);
    return status;
}
