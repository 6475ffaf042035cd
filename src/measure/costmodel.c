#include "measure/costmodel.h"

#include "base/json.h"
#include "measure/stats.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { K = 3 };

static const double R2_LEAST = .5;

/* Inverse of a symmetric positive matrix by Gauss-Jordan; false: singular. */
static bool invert(double a[K][K], int32_t k, double out[K][K])
{
    for (int i = 0; i < k; i++)
        for (int j = 0; j < k; j++) out[i][j] = i == j;
    for (int p = 0; p < k; p++) {
        double pivot = a[p][p];
        if (!(pivot > 1e-12)) return false;
        for (int j = 0; j < k; j++) {
            a[p][j] /= pivot;
            out[p][j] /= pivot;
        }
        for (int i = 0; i < k; i++) {
            double f = a[i][p];
            for (int j = 0; i != p && j < k; j++) {
                a[i][j] -= f * a[p][j];
                out[i][j] -= f * out[p][j];
            }
        }
    }
    return true;
}

/* Columns scaled to length 1, so that the pivots mean the same for every unit. */
static bool solve(const double *x, const double *y, int64_t n, int32_t k, double coef[K],
                  double inverse[K][K])
{
    double norm[K] = {0}, a[K][K] = {{0}}, b[K] = {0};
    for (int64_t i = 0; i < n * k; i++) norm[i % k] += x[i] * x[i];
    for (int j = 0; j < k; j++) norm[j] = sqrt(norm[j]);
    for (int j = 0; j < k; j++)
        if (!(norm[j] > 0)) return false;
    for (int64_t i = 0; i < n; i++)
        for (int p = 0; p < k; p++) {
            double xp = x[i * k + p] / norm[p];
            b[p] += xp * y[i];
            for (int q = 0; q < k; q++) a[p][q] += xp * x[i * k + q] / norm[q];
        }
    if (!invert(a, k, inverse)) return false;
    for (int p = 0; p < k; p++) {
        coef[p] = 0;
        for (int q = 0; q < k; q++) coef[p] += inverse[p][q] * b[q] / norm[p];
    }
    for (int p = 0; p < k; p++)
        for (int q = 0; q < k; q++) inverse[p][q] /= norm[p] * norm[q];
    return true;
}

/* Leverage of a row: its share in its own prediction. */
static double leverage(const double *row, int32_t k, double inverse[K][K])
{
    double h = 0;
    for (int p = 0; p < k; p++)
        for (int q = 0; q < k; q++) h += row[p] * inverse[p][q] * row[q];
    return h;
}

/* Sums of squares; left_out[i]: what the fit without i predicts of y[i]. */
static void residuals(const double *x, const double *y, int64_t n, int32_t k,
                      double inverse[K][K], icd_fit *fit, double *left_out)
{
    double mean = icd_i_mean(y, n), ss = 0, press = 0, all = 0;
    for (int64_t i = 0; i < n; i++) {
        double found = 0, h = leverage(&x[i * k], k, inverse);
        for (int p = 0; p < k; p++) found += fit->coef[p] * x[i * k + p];
        double e = y[i] - found, out = e / fmax(1 - h, 1e-9);
        left_out[i] = y[i] - out;
        ss += e * e;
        press += out * out;
        all += (y[i] - mean) * (y[i] - mean);
    }
    fit->sd = sqrt(ss / (double)(n - k));
    fit->r2 = all > 0 ? 1 - ss / all : NAN;
    fit->r2_cv = all > 0 ? 1 - press / all : NAN;
}

icd_status icd_i_fit(icd_ctx *ctx, const double *x, const double *y, int64_t n, int32_t k,
                     icd_fit *out)
{
    icd_status status = ICD_OK;
    double inverse[K][K], *left_out = NULL;
    *out = (icd_fit){.n = n, .k = k};
    if (k < 1 || k > K || n <= k + 1)
        return icd_i_fail(ctx, ICD_EINVAL, "fit", "measure more layouts",
                          "found %lld points for %d coefficients", (long long)n, k);
    if (!solve(x, y, n, k, out->coef, inverse))
        return icd_i_fail(ctx, ICD_ENUMERIC, "fit", "the layouts are too much alike",
                          "the columns depend on each other");
    ICD_TRY(ICD_ALLOC(ctx, n, &left_out));
    residuals(x, y, n, k, inverse, out, left_out);
    for (int p = 0; p < k; p++)
        for (int q = 0; q < k; q++) out->cov[p][q] = inverse[p][q] * out->sd * out->sd;
    ICD_TRY(icd_i_spearman(ctx, left_out, y, n, &out->spearman));
done:
    icd_i_free(ctx, left_out);
    return status;
}

typedef struct ranked {
    double value;
    int64_t index;
} ranked;

static int by_value(const void *a, const void *b)
{
    double x = ((const ranked *)a)->value, y = ((const ranked *)b)->value;
    return (x > y) - (x < y);
}

static void rank(const double *x, int64_t n, ranked *scratch, double *out)
{
    for (int64_t i = 0; i < n; i++) scratch[i] = (ranked){x[i], i};
    qsort(scratch, (size_t)n, sizeof *scratch, by_value);
    for (int64_t i = 0, j; i < n; i = j) {
        for (j = i + 1; j < n && scratch[j].value == scratch[i].value;) j++;
        for (int64_t m = i; m < j; m++) out[scratch[m].index] = (double)(i + 1 + j) / 2;
    }
}

icd_status icd_i_spearman(icd_ctx *ctx, const double *x, const double *y, int64_t n,
                          double *out)
{
    icd_status status = ICD_OK;
    ranked *scratch = NULL;
    double *r = NULL, xy = 0, xx = 0, yy = 0, mean = (double)(n + 1) / 2;
    ICD_TRY(ICD_ALLOC(ctx, n, &scratch));
    ICD_TRY(ICD_ALLOC(ctx, 2 * n, &r));
    rank(x, n, scratch, r);
    rank(y, n, scratch, r + n);
    for (int64_t i = 0; i < n; i++) {
        xy += (r[i] - mean) * (r[n + i] - mean);
        xx += (r[i] - mean) * (r[i] - mean);
        yy += (r[n + i] - mean) * (r[n + i] - mean);
    }
    *out = xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : NAN;
done:
    icd_i_free(ctx, scratch);
    icd_i_free(ctx, r);
    return status;
}

static int64_t slot(const int32_t *new_of_old, int64_t old)
{
    return new_of_old ? new_of_old[old] : old;
}

void icd_i_line_histogram(const icd_csr *w, const int32_t *new_of_old, int32_t granule,
                          double *sum)
{
    int64_t lines = (w->n + granule - 1) / granule;
    for (int64_t d = 0; d < lines; d++) sum[d] = 0;
    for (int64_t i = 0; i < w->n; i++) {
        int64_t line = slot(new_of_old, i) / granule;
        for (int64_t k = w->row_ptr[i]; k < w->row_ptr[i + 1]; k++)
            if (w->col[k] > i)
                sum[llabs(slot(new_of_old, w->col[k]) / granule - line)] += w->val[k];
    }
}

static double phi(double d, double lambda, double tau)
{
    return d <= lambda ? d : lambda + tau * (d - lambda);
}

double icd_i_cn(const double *sum, int64_t lines, double lambda, double tau)
{
    double cost = 0, all = 0;
    for (int64_t d = 0; d < lines; d++) {
        cost += sum[d] * phi((double)d, lambda, tau);
        all += sum[d];
    }
    double most = phi((double)(lines - 1), lambda, tau) * all;
    return most > 0 ? cost / most : 0;
}

const char *icd_i_cost_model_flaw(const icd_cost_model *m)
{
    if (!isfinite(m->base_ms) || !isfinite(m->ms_per_mb) || !isfinite(m->sd_ms))
        return "its line is not finite";
    if (m->ms_per_mb <= 0) return "its times do not grow with bytes";
    if (!(m->r2_cv >= R2_LEAST))
        return "its line does not predict the times of layouts it has not seen "
               "(cross-validated R2 below 0.5)";
    return NULL;
}

void icd_i_cost_model_ratio(const icd_cost_model *m, double from, double bytes,
                            double *ratio, double *low, double *high)
{
    double x0 = from / 1e6, x1 = bytes / 1e6;
    double t0 = m->base_ms + m->ms_per_mb * x0, t1 = m->base_ms + m->ms_per_mb * x1;
    *ratio = *low = *high = NAN;
    if (!(t0 > 0) || !(t1 > 0)) return;
    /* d ln(t1/t0) by base and slope, then the scatter of both layouts around the line */
    double gb = 1 / t1 - 1 / t0, gs = x1 / t1 - x0 / t0;
    double variance = gb * gb * m->cov[0] + 2 * gb * gs * m->cov[1] + gs * gs * m->cov[2];
    if (from != bytes) variance += m->sd_ms * m->sd_ms * (1 / (t0 * t0) + 1 / (t1 * t1));
    double df = m->layouts > 3 ? (double)(m->layouts - 2) : 1;
    double half = icd_i_student_quantile(.975, df) * sqrt(fmax(variance, 0));
    *ratio = t1 / t0;
    *low = *ratio * exp(-half);
    *high = *ratio * exp(half);
}

/* Members that are plain numbers, in the order of the file. */
static const struct {
    const char *key;
    size_t offset;
} MEMBER[] = {
#define MEMBER_ROW(name)                                                                 \
    {                                                                                    \
#name, offsetof(icd_cost_model, name)                                            \
    }
    MEMBER_ROW(base_ms), MEMBER_ROW(ms_per_mb), MEMBER_ROW(sd_ms),
    MEMBER_ROW(r2),      MEMBER_ROW(r2_cv),     MEMBER_ROW(spearman),
    MEMBER_ROW(alpha),   MEMBER_ROW(mu),        MEMBER_ROW(lambda),
    MEMBER_ROW(tau),     MEMBER_ROW(j_r2_cv),   MEMBER_ROW(j_spearman),
#undef MEMBER_ROW
};
enum { MEMBERS = sizeof MEMBER / sizeof MEMBER[0] };

icd_status icd_i_cost_model_write(icd_ctx *ctx, const icd_cost_model *m,
                                  const json_t *points, const char *path)
{
    json_t *root =
        json_pack("{s:s,s:s,s:s,s:I,s:[f,f,f]}", "version", "icd/1", "cpu", m->cpu,
                  "setting", m->setting, "layouts", (json_int_t)m->layouts, "cov",
                  m->cov[0], m->cov[1], m->cov[2]);
    for (int i = 0; i < MEMBERS; i++) {
        double value = *(const double *)((const char *)m + MEMBER[i].offset);
        json_object_set_new(root, MEMBER[i].key,
                            isfinite(value) ? json_real(value) : json_null());
    }
    if (points) json_object_set(root, "points", (json_t *)points);
    icd_status status = icd_i_json_write(ctx, root, path);
    json_decref(root);
    return status;
}

/* null is how the file says that a quality of the fit could not be computed. */
static icd_status read_member(icd_ctx *ctx, const json_t *root, const char *path, int i,
                              icd_cost_model *out)
{
    double *at = (double *)((char *)out + MEMBER[i].offset);
    if (json_is_null(json_object_get(root, MEMBER[i].key))) {
        *at = NAN;
        return ICD_OK;
    }
    return icd_i_json_real(ctx, root, MEMBER[i].key, path, at);
}

icd_status icd_i_cost_model_read(icd_ctx *ctx, const char *path, icd_cost_model *out)
{
    icd_status status = ICD_OK;
    json_t *root = NULL, *cov = NULL;
    const char *cpu = NULL, *setting = NULL;
    *out = (icd_cost_model){0};
    ICD_TRY(icd_i_json_read(ctx, path, &root));
    for (int i = 0; i < MEMBERS; i++) ICD_TRY(read_member(ctx, root, path, i, out));
    ICD_TRY(icd_i_json_int(ctx, root, "layouts", path, 1, INT32_MAX, &out->layouts));
    ICD_TRY(icd_i_json_member(ctx, root, "cov", JSON_ARRAY, path, &cov));
    for (size_t i = 0; i < 3; i++)
        out->cov[i] = json_number_value(json_array_get(cov, i));
    ICD_TRY(icd_i_json_string(ctx, root, "cpu", path, &cpu));
    ICD_TRY(icd_i_json_string(ctx, root, "setting", path, &setting));
    snprintf(out->cpu, sizeof out->cpu, "%s", cpu);
    snprintf(out->setting, sizeof out->setting, "%s", setting);
done:
    json_decref(root);
    return status;
}
