#include "solver/joint.h"

#include "base/mem.h"
#include "base/rng.h"
#include "solver/objective.h"
#include <assert.h>
#include <math.h>
#include <stdlib.h>

enum { OFFERS = 16, CHECK_EVERY = 1024, STREAM = 21 };
static const double LEAST_GAIN = 1e-5; /* of J in a pass, relative */

typedef struct joint {
    const icd_csr *w;
    const icd_solver_opts *o;
    icd_budget *budget;
    icd_rng rng;
    int32_t n;
    int32_t *old_of_new, *pos;
    int32_t *block_of; /* slot -> block of Q */
    int32_t *home;     /* index -> granule in the previous order */
    double *degree;    /* of an index */
    double *mass;      /* block -> sum of its degrees */
    double total;      /* weight of all pairs */
    double cost_unit;  /* J per unit of C */
    double J;          /* relative to the start */
} joint;

static int32_t line_of(const joint *j, int32_t slot)
{
    return slot / j->o->granule;
}

/* Changes of C and of the weight inside blocks if v left `from` for `to`, its edge to
 * `except` left out. */
static void add_move(const joint *j, int32_t v, int32_t to, int32_t except, double *cost,
                     double *inside)
{
    int32_t from = j->pos[v];
    for (int64_t k = j->w->row_ptr[v]; k < j->w->row_ptr[v + 1]; ++k) {
        int32_t x = j->w->col[k];
        if (x == except) continue;
        int32_t at = j->pos[x], line = line_of(j, at);
        double w = (double)j->w->val[k];
        *cost += w * (icd_i_phi(j->o, abs(line_of(j, to) - line)) -
                      icd_i_phi(j->o, abs(line_of(j, from) - line)));
        if (j->block_of[at] == j->block_of[to]) *inside += w;
        if (j->block_of[at] == j->block_of[from]) *inside -= w;
    }
}

/* Change of the sum of squared degrees per block, over (2m)^2. */
static double null_change(const joint *j, int32_t v, int32_t u)
{
    int32_t a = j->block_of[j->pos[v]], b = j->block_of[j->pos[u]];
    double shift = j->degree[u] - j->degree[v];
    if (a == b) return 0;
    return 2 * shift * (j->mass[a] - j->mass[b] + shift) / (4 * j->total * j->total);
}

static double leaves_home(const joint *j, int32_t v, int32_t to)
{
    return (line_of(j, to) != j->home[v]) - (line_of(j, j->pos[v]) != j->home[v]);
}

static double swap_change(const joint *j, int32_t v, int32_t u)
{
    double cost = 0, inside = 0;
    int32_t p = j->pos[v], q = j->pos[u];
    add_move(j, v, q, u, &cost, &inside);
    add_move(j, u, p, v, &cost, &inside);
    double quality = inside / j->total - j->o->gamma * null_change(j, v, u);
    double moved = leaves_home(j, v, q) + leaves_home(j, u, p);
    return cost * j->cost_unit - j->o->mu * quality + j->o->gamma_stab * moved / j->n;
}

static void swap(joint *j, int32_t v, int32_t u)
{
    int32_t p = j->pos[v], q = j->pos[u];
    j->mass[j->block_of[p]] += j->degree[u] - j->degree[v];
    j->mass[j->block_of[q]] += j->degree[v] - j->degree[u];
    j->pos[v] = q;
    j->pos[u] = p;
    j->old_of_new[q] = v;
    j->old_of_new[p] = u;
}

/* An index and a member of the granule of one of its neighbours. */
static bool propose(joint *j, int32_t *v, int32_t *u)
{
    *v = (int32_t)icd_i_rng_below(&j->rng, j->n);
    int64_t degree = j->w->row_ptr[*v + 1] - j->w->row_ptr[*v];
    if (degree == 0) return false;
    int64_t k = j->w->row_ptr[*v] + icd_i_rng_below(&j->rng, degree);
    int64_t first = (int64_t)line_of(j, j->pos[j->w->col[k]]) * j->o->granule;
    int64_t size = j->n - first < j->o->granule ? j->n - first : j->o->granule;
    *u = j->old_of_new[first + icd_i_rng_below(&j->rng, size)];
    return line_of(j, j->pos[*u]) != line_of(j, j->pos[*v]);
}

/* @return by how much J fell; negative: the budget is over */
static double run_pass(joint *j)
{
    double before = j->J;
    for (int64_t i = 0; i < (int64_t)OFFERS * j->n; ++i) {
        int32_t v, u;
        if (i % CHECK_EVERY == 0 && icd_i_budget_over(j->budget)) return -1;
        if (!propose(j, &v, &u)) continue;
        double change = swap_change(j, v, u);
        if (!(change < -1e-15)) continue;
        swap(j, v, u);
        assert(fabs(swap_change(j, v, u) + change) < 1e-9);
        j->J += change;
    }
    return before - j->J;
}

static icd_status joint_init(icd_solve *s, int32_t *old_of_new, joint *j)
{
    icd_status status;
    const icd_perm *prev = s->problem->prev;
    double longest;
    *j = (joint){.w = s->problem->w, .o = &s->o, .budget = &s->budget, .n = s->n};
    j->old_of_new = old_of_new;
    icd_i_rng_init(&j->rng, (uint64_t)s->o.seed, STREAM);
    ICD_TRY(ICD_ALLOC(s->ctx, j->n, &j->pos));
    ICD_TRY(ICD_ALLOC(s->ctx, j->n, &j->block_of));
    ICD_TRY(ICD_ALLOC(s->ctx, j->n, &j->home));
    ICD_TRY(ICD_ALLOC(s->ctx, j->n, &j->degree));
    ICD_TRY(ICD_ALLOC(s->ctx, j->n, &j->mass));
    icd_i_quality_blocks(&s->o, j->n, j->block_of);
    for (int32_t slot = 0; slot < j->n; ++slot) {
        j->pos[old_of_new[slot]] = slot;
        j->home[prev ? prev->old_of_new[slot] : slot] = line_of(j, slot);
    }
    for (int32_t v = 0; v < j->n; ++v) {
        for (int64_t k = j->w->row_ptr[v]; k < j->w->row_ptr[v + 1]; ++k)
            j->degree[v] += (double)j->w->val[k];
        j->mass[j->block_of[j->pos[v]]] += j->degree[v];
        j->total += j->degree[v] / 2;
    }
    longest = icd_i_phi(&s->o, line_of(j, j->n - 1));
    if (longest > 0 && j->total > 0) j->cost_unit = s->o.alpha / (longest * j->total);
done:
    return status;
}

static void joint_release(icd_ctx *ctx, joint *j)
{
    icd_i_free(ctx, j->pos);
    icd_i_free(ctx, j->block_of);
    icd_i_free(ctx, j->home);
    icd_i_free(ctx, j->degree);
    icd_i_free(ctx, j->mass);
}

icd_status icd_i_joint_refine(icd_solve *s, int32_t *old_of_new)
{
    icd_status status = ICD_OK;
    joint j = {0};
    if (!s->space.plain || s->space.unit > 1 || s->n < 2) return ICD_OK;
    ICD_TRY(joint_init(s, old_of_new, &j));
    if (!(j.total > 0)) goto done;
    for (int64_t pass = 0; pass < s->o.refine_steps; ++pass) {
        s->stats->iters++;
        if (run_pass(&j) <= LEAST_GAIN) break;
    }
done:
    joint_release(s->ctx, &j);
    return status;
}
