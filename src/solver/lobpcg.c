#include "solver/lobpcg.h"

#include "base/mem.h"
#include <lapacke.h>
#include <math.h>
#include <string.h>

enum { BASIS = 3 };

/* v[0] the vector, v[1] the preconditioned residual, v[2] the last direction; lv = L v.
 */
typedef struct subspace {
    icd_ctx *ctx;
    const icd_laplacian *l;
    int32_t n;
    double *v[BASIS], *lv[BASIS];
    int count;          /* basis vectors in use */
    double value, mass; /* mass: of all nodes */
} subspace;

static double mdot(const subspace *s, const double *a, const double *b)
{
    return icd_i_dot(s->n, a, s->l->mass, b);
}

/* a += f b */
static void add(int32_t n, double *a, double f, const double *b)
{
    for (int32_t i = 0; i < n; ++i) a[i] += f * b[i];
}

static void scale(int32_t n, double *a, double f)
{
    for (int32_t i = 0; i < n; ++i) a[i] *= f;
}

/* L maps constants to zero, so taking them out of v leaves lv as it is. */
static void remove_constant(const subspace *s, double *v)
{
    double mean = icd_i_dot(s->n, v, NULL, s->l->mass) / s->mass;
    for (int32_t i = 0; i < s->n; ++i) v[i] -= mean;
}

static void project_out(subspace *s, int at)
{
    for (int i = 0; i < at; ++i) {
        double f = mdot(s, s->v[i], s->v[at]);
        add(s->n, s->v[at], -f, s->v[i]);
        add(s->n, s->lv[at], -f, s->lv[i]);
    }
}

/* M-orthonormalises v[at] against those before it, lv along with it; a second time only
 * where the first cancelled digits. @return false: dependent */
static bool orthonormalise(subspace *s, int at)
{
    double before = sqrt(mdot(s, s->v[at], s->v[at]));
    if (!(before > 0)) return false;
    project_out(s, at);
    double norm = sqrt(mdot(s, s->v[at], s->v[at]));
    if (at && norm < 0.5 * before) {
        project_out(s, at);
        norm = sqrt(mdot(s, s->v[at], s->v[at]));
    }
    if (!(norm > 1e-10 * before)) return false;
    scale(s->n, s->v[at], 1 / norm);
    scale(s->n, s->lv[at], 1 / norm);
    return true;
}

static void swap_vectors(subspace *s, int a, int b)
{
    double *v = s->v[a], *lv = s->lv[a];
    s->v[a] = s->v[b];
    s->lv[a] = s->lv[b];
    s->v[b] = v;
    s->lv[b] = lv;
}

/* Best vector of the span: c holds its coordinates in the orthonormal basis. */
static bool rayleigh_ritz(subspace *s, double c[BASIS])
{
    double a[BASIS * BASIS], values[BASIS];
    int m = s->count;
    for (int i = 0; i < m; ++i)
        for (int j = 0; j < m; ++j)
            a[i * m + j] = icd_i_dot(s->n, s->v[i], NULL, s->lv[j]);
    if (LAPACKE_dsyev(LAPACK_ROW_MAJOR, 'V', 'U', m, a, m, values) != 0) return false;
    for (int i = 0; i < m; ++i) c[i] = a[i * m];
    s->value = values[0];
    return true;
}

/* v[0] = sum c_i v_i; v[2] = the part of it that is not the old v[0]: the next direction.
 */
static void advance(subspace *s, const double c[BASIS])
{
    int m = s->count;
    if (m == 2) swap_vectors(s, 1, 2);
    if (m == 2) {
        scale(s->n, s->v[2], c[1]);
        scale(s->n, s->lv[2], c[1]);
    } else {
        scale(s->n, s->v[2], c[2]);
        scale(s->n, s->lv[2], c[2]);
        add(s->n, s->v[2], c[1], s->v[1]);
        add(s->n, s->lv[2], c[1], s->lv[1]);
    }
    for (int i = 0; i < s->n; ++i) {
        s->v[0][i] = c[0] * s->v[0][i] + s->v[2][i];
        s->lv[0][i] = c[0] * s->lv[0][i] + s->lv[2][i];
    }
}

/* v[1] = D^-1 (L x - value M x); @return its residual in the norm of M^-1 */
static double residual(subspace *s)
{
    double sum = 0;
    for (int32_t i = 0; i < s->n; ++i) {
        double r = s->lv[0][i] - s->value * s->l->mass[i] * s->v[0][i];
        double d = s->l->degree[i] > 0 ? s->l->degree[i] : 1;
        sum += r * r / s->l->mass[i];
        s->v[1][i] = r / d;
    }
    return sqrt(sum);
}

static double largest_ratio(const icd_laplacian *l)
{
    double most = 0;
    for (int32_t i = 0; i < l->n; ++i)
        if (l->degree[i] / l->mass[i] > most) most = l->degree[i] / l->mass[i];
    return most;
}

static icd_status run(subspace *s, int32_t steps, double tolerance)
{
    icd_status status = ICD_OK;
    double limit = tolerance * largest_ratio(s->l), c[BASIS];
    bool has_direction = false;
    for (int32_t i = 0; i < s->n; ++i) s->mass += s->l->mass[i];
    remove_constant(s, s->v[0]);
    icd_i_laplacian_apply(s->ctx, s->l, s->v[0], s->lv[0]);
    if (!orthonormalise(s, 0))
        return icd_i_fail(s->ctx, ICD_ENUMERIC, "Fiedler vector", NULL,
                          "the start vector is constant");
    s->value = icd_i_dot(s->n, s->v[0], NULL, s->lv[0]);
    for (int32_t step = 0; step < steps && residual(s) > limit; ++step) {
        ICD_TRY(icd_i_check_cancel(s->ctx));
        remove_constant(s, s->v[1]);
        icd_i_laplacian_apply(s->ctx, s->l, s->v[1], s->lv[1]);
        if (!orthonormalise(s, 1)) break;
        s->count = has_direction && orthonormalise(s, 2) ? 3 : 2;
        if (!rayleigh_ritz(s, c)) break;
        advance(s, c);
        has_direction = true;
    }
    remove_constant(s, s->v[0]);
    scale(s->n, s->v[0], 1 / sqrt(mdot(s, s->v[0], s->v[0])));
done:
    return status;
}

icd_status icd_i_lobpcg(icd_ctx *ctx, const icd_laplacian *l, int32_t steps,
                        double tolerance, double *x, double *value)
{
    icd_status status;
    subspace s = {.ctx = ctx, .l = l, .n = l->n};
    double *memory = NULL;
    ICD_TRY(ICD_ALLOC(ctx, (int64_t)2 * BASIS * l->n, &memory));
    for (int i = 0; i < BASIS; ++i) {
        s.v[i] = memory + (int64_t)i * l->n;
        s.lv[i] = memory + (int64_t)(BASIS + i) * l->n;
    }
    memcpy(s.v[0], x, (size_t)l->n * sizeof *x);
    ICD_TRY(run(&s, steps, tolerance));
    memcpy(x, s.v[0], (size_t)l->n * sizeof *x);
    *value = s.value > 0 ? s.value : 0;
done:
    icd_i_free(ctx, memory);
    return status;
}

/* A = M^-1/2 L M^-1/2, upper triangle by columns. */
static void fill_dense(const icd_laplacian *l, double *unit, double *image, double *a)
{
    for (int32_t j = 0; j < l->n; ++j) {
        memset(unit, 0, (size_t)l->n * sizeof *unit);
        unit[j] = 1 / sqrt(l->mass[j]);
        icd_i_laplacian_apply(NULL, l, unit, image);
        for (int32_t i = 0; i <= j; ++i)
            a[(int64_t)j * l->n + i] = image[i] / sqrt(l->mass[i]);
    }
}

icd_status icd_i_dense_fiedler(icd_ctx *ctx, const icd_laplacian *l, double *x,
                               double *value)
{
    icd_status status;
    double *a = NULL, *values = NULL, *scratch = NULL;
    ICD_TRY(ICD_ALLOC(ctx, (int64_t)l->n * l->n, &a));
    ICD_TRY(ICD_ALLOC(ctx, l->n, &values));
    ICD_TRY(ICD_ALLOC(ctx, l->n, &scratch));
    fill_dense(l, values, scratch, a);
    if (LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'V', 'U', l->n, a, l->n, values) != 0) {
        status = icd_i_fail(ctx, ICD_ENUMERIC, "Fiedler vector", NULL,
                            "LAPACK found no eigenvalues of a matrix of %d rows", l->n);
        goto done;
    }
    for (int32_t i = 0; i < l->n; ++i) x[i] = a[l->n + i] / sqrt(l->mass[i]);
    *value = values[1] > 0 ? values[1] : 0;
done:
    icd_i_free(ctx, a);
    icd_i_free(ctx, values);
    icd_i_free(ctx, scratch);
    return status;
}
