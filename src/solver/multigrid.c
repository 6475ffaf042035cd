#include "solver/multigrid.h"

#include "base/mem.h"
#include "solver/coarsen.h"
#include <string.h>

enum {
    CAP_GROWTH = 2, /* clusters grow slowly: a rough coarse graph has another vector */
    FEWEST = 4,     /* nodes below which nothing is left to coarsen */
    COPIES = 8,     /* of the graph that the grids together may fill */
    STREAM = 11,
};
static const double MOST_EDGES = 0.8; /* of those of the finer grid, still worth a grid */

static icd_status grid_init(icd_ctx *ctx, icd_grid *grid, const double *mass)
{
    icd_status status;
    ICD_TRY(icd_i_laplacian_init(ctx, NULL, &grid->g, false, mass, &grid->l));
    ICD_TRY(ICD_ALLOC(ctx, grid->g.n, &grid->residual));
    ICD_TRY(ICD_ALLOC(ctx, grid->g.n, &grid->up));
done:
    return status;
}

/* The coarser graph; @return false where there is none worth having. */
static bool coarsen(icd_multigrid *m, icd_rng *rng, int32_t cap)
{
    icd_grid *fine = &m->grid[m->depth], *coarse = fine + 1;
    fine->map = icd_i_work_take(&m->work, fine->g.n, sizeof *fine->map);
    int32_t n =
        fine->map ? icd_i_coarsen(&fine->g, NULL, cap, rng, &m->work, fine->map) : 0;
    if (n < 2 || n > fine->g.n - fine->g.n / 20 ||
        !icd_i_wgraph_contract(&fine->g, fine->map, n, &m->work, &coarse->g))
        return false;
    return (double)coarse->g.ptr[n] <= MOST_EDGES * (double)fine->g.ptr[fine->g.n];
}

static icd_status add_grid(icd_multigrid *m, double *mass)
{
    const icd_grid *fine = &m->grid[m->depth++];
    memset(mass, 0, (size_t)fine[1].g.n * sizeof *mass);
    for (int32_t v = 0; v < fine->g.n; ++v) mass[fine->map[v]] += fine->l.mass[v];
    return grid_init(m->ctx, &m->grid[m->depth], mass);
}

static icd_status coarsen_all(icd_multigrid *m)
{
    icd_status status;
    icd_rng rng;
    double *mass = NULL;
    int64_t cap = CAP_GROWTH;
    ICD_TRY(ICD_ALLOC(m->ctx, m->grid[0].g.n, &mass));
    icd_i_rng_init(&rng, 0, STREAM);
    while (m->depth + 1 < ICD_MULTIGRID_LEVELS && cap < INT32_MAX &&
           m->grid[m->depth].g.n > FEWEST && coarsen(m, &rng, (int32_t)cap)) {
        ICD_TRY(add_grid(m, mass));
        ICD_TRY(icd_i_check_cancel(m->ctx));
        cap *= CAP_GROWTH;
    }
done:
    icd_i_free(m->ctx, mass);
    return status;
}

icd_status icd_i_multigrid_init(icd_ctx *ctx, const icd_wgraph *g, const double *mass,
                                icd_multigrid *m)
{
    icd_status status;
    *m = (icd_multigrid){.ctx = ctx, .grid[0].g = *g};
    m->work.size = COPIES * icd_i_wgraph_bytes(g->n, g->ptr[g->n]) + 65536;
    ICD_TRY(ICD_ALLOC(ctx, (int64_t)m->work.size, &m->work.base));
    ICD_TRY(grid_init(ctx, &m->grid[0], mass));
    ICD_TRY(coarsen_all(m));
done:
    return status;
}

void icd_i_multigrid_release(icd_multigrid *m)
{
    for (int32_t d = 0; d <= m->depth; ++d) {
        icd_i_laplacian_release(m->ctx, &m->grid[d].l);
        icd_i_free(m->ctx, m->grid[d].residual);
        icd_i_free(m->ctx, m->grid[d].up);
    }
    icd_i_free(m->ctx, m->work.base);
}

void icd_i_multigrid_interpolate(const icd_multigrid *m, int32_t level,
                                 const double *coarse, double *fine)
{
    const icd_grid *grid = &m->grid[level];
    for (int32_t v = 0; v < grid->g.n; ++v) fine[v] = coarse[grid->map[v]];
}

static void divide_by_degree(const icd_laplacian *l, const double *r, double *z)
{
    for (int32_t v = 0; v < l->n; ++v) z[v] = l->degree[v] > 0 ? r[v] / l->degree[v] : 0;
}

static void restrict_residual(const icd_grid *fine, const double *r, double *coarse)
{
    memset(coarse, 0, (size_t)fine[1].g.n * sizeof *coarse);
    for (int32_t v = 0; v < fine->g.n; ++v) coarse[fine->map[v]] += r[v];
}

void icd_i_multigrid_precondition(icd_multigrid *m, int32_t level, const double *r,
                                  double *z)
{
    icd_grid *grid = m->grid;
    const double *finer = r;
    for (int32_t d = level; d < m->depth; ++d) {
        restrict_residual(&grid[d], finer, grid[d + 1].residual);
        finer = grid[d + 1].residual;
    }
    for (int32_t d = m->depth; d >= level; --d) {
        double *to = d == level ? z : grid[d].up;
        divide_by_degree(&grid[d].l, d == level ? r : grid[d].residual, to);
        if (d == m->depth) continue;
        const double *from = grid[d + 1].up;
        for (int32_t v = 0; v < grid[d].g.n; ++v) to[v] += from[grid[d].map[v]];
    }
}
