#include "solver/fiedler.h"

#include "base/mem.h"
#include "solver/coarsen.h"
#include "solver/lobpcg.h"
#include <icd/solver.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

enum {
    LEVELS = 32,
    CAP_GROWTH = 2,    /* clusters grow slowly: a rough coarse graph has another vector */
    SMOOTH_STEPS = 20, /* on the levels between */
    LEAST_STEPS = 60,  /* on the given graph, at least */
    STREAM = 11,
};
static const double STEP_WORK = 2e6; /* rows times steps on the given graph */
static const double COARSE_TOLERANCE = 1e-6, TOLERANCE = 1e-10;

typedef struct level {
    icd_wgraph g;
    icd_laplacian l;
    int32_t *map; /* node -> node of the next coarser level */
} level;

typedef struct hierarchy {
    icd_ctx *ctx;
    icd_work work;
    level level[LEVELS];
    int32_t depth;
    double *mass;
} hierarchy;

static icd_status coarsen_once(hierarchy *h, icd_rng *rng, int32_t cap, bool *done)
{
    icd_status status = ICD_OK;
    level *fine = &h->level[h->depth], *coarse = fine + 1;
    fine->map = icd_i_work_take(&h->work, fine->g.n, sizeof *fine->map);
    int32_t n =
        fine->map ? icd_i_coarsen(&fine->g, NULL, cap, rng, &h->work, fine->map) : 0;
    *done = true;
    if (n < 2 || n > fine->g.n - fine->g.n / 20 ||
        !icd_i_wgraph_contract(&fine->g, fine->map, n, &h->work, &coarse->g))
        return ICD_OK;
    memset(h->mass, 0, (size_t)n * sizeof *h->mass);
    for (int32_t v = 0; v < fine->g.n; ++v) h->mass[fine->map[v]] += fine->l.mass[v];
    h->depth++;
    ICD_TRY(icd_i_laplacian_init(h->ctx, NULL, &coarse->g, false, h->mass, &coarse->l));
    *done = false;
done:
    return status;
}

static icd_status coarsen_all(hierarchy *h)
{
    icd_status status = ICD_OK;
    icd_rng rng;
    bool done = false;
    icd_i_rng_init(&rng, 0, STREAM);
    for (int64_t cap = CAP_GROWTH; !done && h->depth + 1 < LEVELS; cap *= CAP_GROWTH) {
        if (h->level[h->depth].g.n <= ICD_DENSE_MAX || cap > INT32_MAX) break;
        ICD_TRY(coarsen_once(h, &rng, (int32_t)cap, &done));
        ICD_TRY(icd_i_check_cancel(h->ctx));
    }
done:
    return status;
}

/* Where coarsening got stuck above the dense limit: any vector that is not constant. */
static void start_vector(double *x, int32_t n)
{
    icd_rng rng;
    icd_i_rng_init(&rng, 1, STREAM);
    for (int32_t v = 0; v < n; ++v) x[v] = icd_i_rng_unit(&rng) - 0.5;
}

/* Edge weights of coarse graphs are in units of their own; only the vector is carried
 * over. */
static icd_status solve_levels(hierarchy *h, double *x, double *scratch)
{
    icd_status status;
    double value = 0;
    const level *top = &h->level[h->depth];
    if (top->g.n <= ICD_DENSE_MAX) {
        ICD_TRY(icd_i_dense_fiedler(h->ctx, &top->l, x, &value));
    } else {
        start_vector(x, top->g.n);
        ICD_TRY(icd_i_lobpcg(h->ctx, &top->l, 10 * SMOOTH_STEPS, COARSE_TOLERANCE, x,
                             &value));
    }
    for (int32_t d = h->depth - 1; d >= 0; --d) {
        const level *fine = &h->level[d];
        for (int32_t v = 0; v < fine->g.n; ++v) scratch[v] = x[fine->map[v]];
        memcpy(x, scratch, (size_t)fine->g.n * sizeof *x);
        if (d > 0)
            ICD_TRY(icd_i_lobpcg(h->ctx, &fine->l, SMOOTH_STEPS, COARSE_TOLERANCE, x,
                                 &value));
    }
done:
    return status;
}

static void hierarchy_release(hierarchy *h)
{
    for (int32_t d = 0; d <= h->depth; ++d)
        icd_i_laplacian_release(h->ctx, &h->level[d].l);
    icd_i_free(h->ctx, h->work.base);
    icd_i_free(h->ctx, h->mass);
}

static icd_status guess(icd_ctx *ctx, const icd_laplacian *l, const icd_wgraph *g,
                        double *x)
{
    icd_status status;
    double *scratch = NULL;
    hierarchy h = {.ctx = ctx};
    h.level[0].g = *g;
    h.work.size = 8 * icd_i_wgraph_bytes(g->n, g->ptr[g->n]) + 65536;
    ICD_TRY(ICD_ALLOC(ctx, (int64_t)h.work.size, &h.work.base));
    ICD_TRY(ICD_ALLOC(ctx, g->n, &h.mass));
    ICD_TRY(ICD_ALLOC(ctx, g->n, &scratch));
    ICD_TRY(icd_i_laplacian_init(ctx, NULL, g, false, l->mass, &h.level[0].l));
    ICD_TRY(coarsen_all(&h));
    ICD_TRY(solve_levels(&h, x, scratch));
done:
    icd_i_free(ctx, scratch);
    hierarchy_release(&h);
    return status;
}

icd_status icd_i_fiedler(icd_ctx *ctx, const icd_laplacian *l, const icd_wgraph *g,
                         double *vector, double *value)
{
    icd_status status;
    if (l->n <= ICD_DENSE_MAX) return icd_i_dense_fiedler(ctx, l, vector, value);
    double steps = STEP_WORK / l->n;
    ICD_TRY(guess(ctx, l, g, vector));
    ICD_TRY(icd_i_lobpcg(ctx, l, steps > LEAST_STEPS ? (int32_t)steps : LEAST_STEPS,
                         TOLERANCE, vector, value));
done:
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
