#include "solver/fiedler.h"

#include "base/mem.h"
#include "base/rng.h"
#include "solver/lobpcg.h"
#include "solver/multigrid.h"
#include <icd/solver.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

enum {
    SMOOTH_STEPS = 8, /* on the grids between */
    BLIND_STEPS =
        60, /* on the coarsest grid, where it is too large to be solved exactly */
    LEAST_STEPS = 40, /* on the given graph, at least */
    STREAM = 12,
};
static const double STEP_WORK = 1.6e6; /* rows times steps on the given graph */
static const double COARSE_TOLERANCE = 1e-6, TOLERANCE = 1e-10;

/* Edge weights of the grids are in units of their own. */
typedef struct cycle {
    icd_multigrid *m;
    int32_t level;
    double unit; /* weight of the pencil's edges over that of the grid's */
} cycle;

static void correct(void *of, const double *r, double *z)
{
    const cycle *c = of;
    icd_i_multigrid_precondition(c->m, c->level, r, z);
    for (int32_t v = 0; c->unit != 1 && v < c->m->grid[c->level].g.n; ++v)
        z[v] /= c->unit;
}

static icd_status descend(icd_multigrid *m, int32_t level, const icd_laplacian *l,
                          int32_t steps, double tolerance, double *x, double *value)
{
    cycle c = {m, level, 1};
    const icd_laplacian *own = &m->grid[level].l;
    double weight = 0, own_weight = 0;
    for (int32_t v = 0; l != own && v < l->n; ++v) {
        weight += l->degree[v];
        own_weight += own->degree[v];
    }
    if (own_weight > 0) c.unit = weight / own_weight;
    icd_precond precond = {correct, &c};
    icd_lobpcg_params params = {steps, tolerance, &precond};
    return icd_i_lobpcg(m->ctx, l, &params, x, value);
}

/* Any vector that is not constant. */
static void start_vector(double *x, int32_t n)
{
    icd_rng rng;
    icd_i_rng_init(&rng, 1, STREAM);
    for (int32_t v = 0; v < n; ++v) x[v] = icd_i_rng_unit(&rng) - 0.5;
}

/* On the first grid that is small enough for LAPACK, else on the coarsest. */
static icd_status solve_coarse(icd_multigrid *m, double *x, int32_t *level)
{
    double value = 0;
    int32_t d = 0;
    while (d < m->depth && m->grid[d].g.n > ICD_DENSE_MAX) d++;
    *level = d;
    if (m->grid[d].g.n <= ICD_DENSE_MAX)
        return icd_i_dense_fiedler(m->ctx, &m->grid[d].l, x, &value);
    start_vector(x, m->grid[d].g.n);
    if (d == 0) return ICD_OK;
    return descend(m, d, &m->grid[d].l, BLIND_STEPS, COARSE_TOLERANCE, x, &value);
}

/* Only the vector is carried over from grid to grid. */
static icd_status solve(icd_multigrid *m, const icd_laplacian *l, double *x,
                        double *scratch, double *value)
{
    icd_status status;
    int32_t level = 0;
    double steps = STEP_WORK / l->n;
    ICD_TRY(solve_coarse(m, x, &level));
    while (level > 0) {
        memcpy(scratch, x, (size_t)m->grid[level].g.n * sizeof *x);
        icd_i_multigrid_interpolate(m, --level, scratch, x);
        if (level > 0)
            ICD_TRY(descend(m, level, &m->grid[level].l, SMOOTH_STEPS, COARSE_TOLERANCE,
                            x, value));
    }
    ICD_TRY(descend(m, 0, l, steps > LEAST_STEPS ? (int32_t)steps : LEAST_STEPS,
                    TOLERANCE, x, value));
done:
    return status;
}

icd_status icd_i_fiedler(icd_ctx *ctx, const icd_laplacian *l, const icd_wgraph *g,
                         double *vector, double *value)
{
    icd_status status;
    icd_multigrid m = {.ctx = ctx};
    double *scratch = NULL;
    if (l->n <= ICD_DENSE_MAX) return icd_i_dense_fiedler(ctx, l, vector, value);
    ICD_TRY(ICD_ALLOC(ctx, l->n, &scratch));
    ICD_TRY(icd_i_multigrid_init(ctx, g, l->mass, &m));
    ICD_TRY(solve(&m, l, vector, scratch, value));
done:
    icd_i_free(ctx, scratch);
    icd_i_multigrid_release(&m);
    return status;
}

/* Zero is an eigenvalue once more for every further component, with vectors that are
 * constant on components: this one is positive on the first of them and negative on all
 * others. */
static void separate(const icd_laplacian *l, const int32_t *component, double *vector)
{
    double first = 0, rest = 0;
    for (int32_t v = 0; v < l->n; ++v) *(component[v] ? &rest : &first) += l->mass[v];
    for (int32_t v = 0; v < l->n; ++v) vector[v] = component[v] ? -1 / rest : 1 / first;
}

/* From L x = value M x to the eigenvector M^1/2 x of M^-1/2 L M^-1/2; sign and length
 * fixed. */
static void finish(const icd_laplacian *l, double *vector)
{
    double norm = 0, sign = 0;
    for (int32_t v = 0; v < l->n; ++v) {
        vector[v] *= sqrt(l->mass[v]);
        norm += vector[v] * vector[v];
    }
    norm = sqrt(norm);
    for (int32_t v = 0; v < l->n && sign == 0; ++v)
        if (fabs(vector[v]) > 1e-9 * norm) sign = vector[v] > 0 ? 1 : -1;
    for (int32_t v = 0; v < l->n; ++v) vector[v] *= sign / norm;
}

icd_status icd_fiedler(icd_ctx *ctx, const icd_csr *w, bool normalized, double *vector,
                       double *value)
{
    icd_status status;
    icd_wgraph g = {0};
    icd_laplacian l = {0};
    int32_t *component = NULL, *queue = NULL;
    *value = 0;
    if (w->n < 2)
        return icd_i_fail(ctx, ICD_EINVAL, "Fiedler vector", NULL,
                          "found %" PRId64 " nodes, expected 2 or more", w->n);
    ICD_TRY(icd_i_wgraph_build(ctx, w, NULL, (int32_t)w->n, &g));
    ICD_TRY(icd_i_laplacian_init(ctx, w, NULL, normalized, NULL, &l));
    ICD_TRY(ICD_ALLOC(ctx, g.n, &component));
    ICD_TRY(ICD_ALLOC(ctx, g.n, &queue));
    if (icd_i_components(&g, component, queue) > 1)
        separate(&l, component, vector);
    else
        ICD_TRY(icd_i_fiedler(ctx, &l, &g, vector, value));
    finish(&l, vector);
done:
    icd_i_free(ctx, component);
    icd_i_free(ctx, queue);
    icd_i_laplacian_release(ctx, &l);
    icd_i_wgraph_release(ctx, &g);
    return status;
}
