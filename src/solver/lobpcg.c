#include "solver/lobpcg.h"

#include "base/blas.h"
#include "base/mem.h"
#include <lapacke.h>
#include <math.h>
#include <string.h>

enum { X, W, P, BASIS, BLOCK = 1024 };

/* The span of x, the preconditioned residual w and the last direction p, and L times
 * each; w alone has a constant part, `mean`, which L does not see. Inner products are
 * kept, so that no vector need be made orthogonal to another. */
typedef struct subspace {
    icd_ctx *ctx;
    const icd_laplacian *l;
    int32_t n;
    double *v[BASIS], *lv[BASIS];
    double a[BASIS][BASIS],
        b[BASIS][BASIS]; /* v_i L v_j and v_i M v_j, upper triangles */
    double mass;         /* of all nodes */
    double mean, value, residual;
    bool has_direction;
} subspace;

static double mdot(const subspace *s, const double *x, const double *y)
{
    return icd_i_dot(s->n, x, s->l->mass, y);
}

static void scale(int32_t n, double *x, double f)
{
    for (int32_t i = 0; i < n; ++i) x[i] *= f;
}

/* L maps constants to zero, so taking them out of x leaves L x as it is. */
static void remove_constant(const subspace *s, double *x)
{
    double mean = icd_i_dot(s->n, x, NULL, s->l->mass) / s->mass;
    for (int32_t i = 0; i < s->n; ++i) x[i] -= mean;
}

/* Sums of one block, so that their bits are those of any division into threads. */
typedef struct sums {
    double a[BASIS], b[BASIS], mean, residual;
} sums;

/* Products of w with all three. */
static void gram_block(const subspace *s, int32_t begin, int32_t end, sums *sum)
{
    const double *x = s->v[X], *w = s->v[W], *p = s->v[P], *lw = s->lv[W];
    for (int32_t i = begin; i < end; ++i) {
        double mw = s->l->mass[i] * w[i];
        sum->mean += mw;
        sum->b[X] += x[i] * mw;
        sum->b[W] += w[i] * mw;
        sum->b[P] += p[i] * mw;
        sum->a[X] += x[i] * lw[i];
        sum->a[W] += w[i] * lw[i];
        sum->a[P] += p[i] * lw[i];
    }
}

static void gram(subspace *s)
{
    sums total = {.mean = 0};
    for (int32_t at = 0; at < s->n; at += BLOCK) {
        sums sum = {.mean = 0};
        gram_block(s, at, at + BLOCK < s->n ? at + BLOCK : s->n, &sum);
        total.mean += sum.mean;
        for (int i = 0; i < BASIS; ++i) {
            total.a[i] += sum.a[i];
            total.b[i] += sum.b[i];
        }
    }
    s->mean = total.mean / s->mass;
    s->a[X][W] = total.a[X];
    s->a[W][W] = total.a[W];
    s->a[W][P] = total.a[P];
    s->b[X][W] = total.b[X];
    s->b[W][W] = total.b[W] - s->mean * total.mean;
    s->b[W][P] = total.b[P];
}

/* p = c_w w + c_p p, x = c_x x + p, L times them alike, and the residual L x - value M x
 * in place of L w. */
static void advance_block(subspace *s, const double c[BASIS], int32_t begin, int32_t end,
                          sums *sum)
{
    const double *mass = s->l->mass, *w = s->v[W];
    double *x = s->v[X], *p = s->v[P], *lx = s->lv[X], *lw = s->lv[W], *lp = s->lv[P];
    for (int32_t i = begin; i < end; ++i) {
        double pi = c[W] * (w[i] - s->mean) + c[P] * p[i];
        double lpi = c[W] * lw[i] + c[P] * lp[i];
        double xi = c[X] * x[i] + pi, lxi = c[X] * lx[i] + lpi;
        double mx = mass[i] * xi, r = lxi - s->value * mx;
        p[i] = pi;
        lp[i] = lpi;
        x[i] = xi;
        lx[i] = lxi;
        lw[i] = r;
        sum->a[X] += xi * lxi;
        sum->a[W] += xi * lpi;
        sum->a[P] += pi * lpi;
        sum->b[X] += xi * mx;
        sum->b[W] += mx * pi;
        sum->b[P] += pi * mass[i] * pi;
        sum->residual += r * r / mass[i];
    }
}

static void advance(subspace *s, const double c[BASIS])
{
    sums total = {.mean = 0};
    for (int32_t at = 0; at < s->n; at += BLOCK) {
        sums sum = {.mean = 0};
        advance_block(s, c, at, at + BLOCK < s->n ? at + BLOCK : s->n, &sum);
        total.residual += sum.residual;
        for (int i = 0; i < BASIS; ++i) {
            total.a[i] += sum.a[i];
            total.b[i] += sum.b[i];
        }
    }
    s->a[X][X] = total.a[X];
    s->a[X][P] = total.a[W];
    s->a[P][P] = total.a[P];
    s->b[X][X] = total.b[X];
    s->b[X][P] = total.b[W];
    s->b[P][P] = total.b[P];
    s->residual = sqrt(total.residual);
}

/* Cholesky factor of the products of the first m vectors, each scaled to unit length.
 * @return how many of them are independent */
static int factor(const subspace *s, int m, const double unit[BASIS],
                  double f[BASIS][BASIS])
{
    static const double DEPENDENT = 1e-12;
    for (int j = 0; j < m; ++j)
        for (int i = 0; i <= j; ++i) {
            double sum = s->b[i][j] * unit[i] * unit[j];
            for (int k = 0; k < i; ++k) sum -= f[k][i] * f[k][j];
            if (i < j)
                f[i][j] = sum / f[i][i];
            else if (!(sum > DEPENDENT))
                return j;
            else
                f[i][i] = sqrt(sum);
        }
    return m;
}

/* c = F^-T A F^-1, F upper triangular, A symmetric. */
static void reduce(const subspace *s, int m, const double unit[BASIS],
                   double f[BASIS][BASIS], double c[BASIS * BASIS])
{
    double half[BASIS][BASIS];
    for (int i = 0; i < m; ++i)
        for (int j = 0; j < m; ++j) {
            double sum = s->a[i < j ? i : j][i < j ? j : i] * unit[i] * unit[j];
            for (int k = 0; k < j; ++k) sum -= half[i][k] * f[k][j];
            half[i][j] = sum / f[j][j];
        }
    for (int j = 0; j < m; ++j)
        for (int i = 0; i < m; ++i) {
            double sum = half[i][j];
            for (int k = 0; k < i; ++k) sum -= f[k][i] * c[k * m + j];
            c[i * m + j] = sum / f[i][i];
        }
}

static void rotate(double *x, double *y, double c, double s)
{
    double old = *x;
    *x = c * old - s * *y;
    *y = s * old + c * *y;
}

/* a to a diagonal by rotations of two axes each, v = their product. @source Golub, Van
 * Loan, Matrix Computations, 8.5 */
static void diagonalise(int m, double a[BASIS * BASIS], double v[BASIS * BASIS])
{
    enum { SWEEPS = 4 };
    for (int i = 0; i < m * m; ++i) v[i] = i % (m + 1) == 0;
    for (int turn = 0; turn < SWEEPS * m; ++turn)
        for (int p = 0, q = 1; q < m; p == q - 1 ? (q++, p = 0) : p++) {
            double off = a[p * m + q];
            if (fabs(off) < 1e-300) continue;
            double tau = (a[q * m + q] - a[p * m + p]) / (2 * off);
            double t = (tau < 0 ? -1 : 1) / (fabs(tau) + sqrt(1 + tau * tau));
            double c = 1 / sqrt(1 + t * t), sn = t * c;
            for (int k = 0; k < m; ++k) {
                rotate(&a[k * m + p], &a[k * m + q], c, sn);
                rotate(&v[k * m + p], &v[k * m + q], c, sn);
            }
            for (int k = 0; k < m; ++k) rotate(&a[p * m + k], &a[q * m + k], c, sn);
        }
}

/* Best vector of the span: c holds its coordinates. @return false: nothing but x itself
 */
static bool rayleigh_ritz(subspace *s, double c[BASIS])
{
    double unit[BASIS], f[BASIS][BASIS], a[BASIS * BASIS], y[BASIS * BASIS];
    int wanted = s->has_direction ? BASIS : BASIS - 1;
    for (int i = 0; i < wanted; ++i) {
        if (!(s->b[i][i] > 0)) return false;
        unit[i] = 1 / sqrt(s->b[i][i]);
    }
    int m = factor(s, wanted, unit, f);
    if (m < 2) return false;
    reduce(s, m, unit, f, a);
    diagonalise(m, a, y);
    int least = 0;
    for (int i = 1; i < m; ++i)
        if (a[i * m + i] < a[least * m + least]) least = i;
    c[P] = 0;
    for (int i = m - 1; i >= 0; --i) {
        c[i] = y[i * m + least];
        for (int k = i + 1; k < m; ++k) c[i] -= f[i][k] * c[k];
        c[i] /= f[i][i];
    }
    for (int i = 0; i < m; ++i) c[i] *= unit[i];
    s->value = a[least * m + least];
    return true;
}

static double largest_ratio(const icd_laplacian *l)
{
    double most = 0;
    for (int32_t i = 0; i < l->n; ++i)
        if (l->degree[i] / l->mass[i] > most) most = l->degree[i] / l->mass[i];
    return most;
}

static icd_status start(subspace *s)
{
    static const double STAY[BASIS] = {1, 0, 0};
    for (int32_t i = 0; i < s->n; ++i) s->mass += s->l->mass[i];
    remove_constant(s, s->v[X]);
    double norm = sqrt(mdot(s, s->v[X], s->v[X]));
    if (!(norm > 0))
        return icd_i_fail(s->ctx, ICD_ENUMERIC, "Fiedler vector", NULL,
                          "the start vector is constant");
    scale(s->n, s->v[X], 1 / norm);
    icd_i_laplacian_apply(s->ctx, s->l, s->v[X], s->lv[X]);
    s->value = icd_i_dot(s->n, s->v[X], NULL, s->lv[X]);
    advance(s, STAY);
    return ICD_OK;
}

static void precondition(const subspace *s, const icd_precond *t)
{
    const double *r = s->lv[W], *degree = s->l->degree;
    double *w = s->v[W];
    if (t)
        t->apply(t->of, r, w);
    else
        for (int32_t i = 0; i < s->n; ++i) w[i] = degree[i] > 0 ? r[i] / degree[i] : r[i];
}

static icd_status run(subspace *s, const icd_lobpcg_params *params)
{
    icd_status status;
    double limit = params->tolerance * largest_ratio(s->l), c[BASIS];
    ICD_TRY(start(s));
    for (int32_t step = 0; step < params->steps && s->residual > limit; ++step) {
        ICD_TRY(icd_i_check_cancel(s->ctx));
        precondition(s, params->precond);
        icd_i_laplacian_apply(s->ctx, s->l, s->v[W], s->lv[W]);
        gram(s);
        if (!rayleigh_ritz(s, c)) break;
        advance(s, c);
        s->has_direction = true;
    }
    remove_constant(s, s->v[X]);
    scale(s->n, s->v[X], 1 / sqrt(mdot(s, s->v[X], s->v[X])));
done:
    return status;
}

icd_status icd_i_lobpcg(icd_ctx *ctx, const icd_laplacian *l,
                        const icd_lobpcg_params *params, double *x, double *value)
{
    icd_status status;
    subspace s = {.ctx = ctx, .l = l, .n = l->n};
    double *memory = NULL;
    ICD_TRY(ICD_ALLOC(ctx, (int64_t)2 * BASIS * l->n, &memory));
    for (int i = 0; i < BASIS; ++i) {
        s.v[i] = memory + (int64_t)i * l->n;
        s.lv[i] = memory + (int64_t)(BASIS + i) * l->n;
    }
    memcpy(s.v[X], x, (size_t)l->n * sizeof *x);
    ICD_TRY(run(&s, params));
    memcpy(x, s.v[X], (size_t)l->n * sizeof *x);
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
    icd_i_blas_alone();
    int failed = LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'V', 'U', l->n, a, l->n, values);
    icd_i_blas_shared();
    if (failed) {
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
