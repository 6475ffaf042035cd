#include "solver/exact.h"

#include "solver/objective.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    MOST = ICD_EXACT_MOST,
    SETS = 1 << MOST,
    STEPS = 4000000,   /* about a second; pruning leaves far less in most cases */
    CHECK_EVERY = 1024 /* steps between two looks at the clock */
};
static const double EPSILON = 1e-9; /* what counts as better, relative to the scale */

/* Paid so far: every part only grows as indices are placed, but for `open`. */
typedef struct bill {
    double slices, cut; /* weight between slices, between granules */
    double cost;        /* C */
    double inside;      /* weight inside blocks of Q */
    double open;        /* weight of pairs with an end that has no place yet */
    double touched;     /* of all events */
    int32_t moved;
} bill;

/* Slots of one granule and one block of Q: inside a cell places do not matter. */
typedef struct cell {
    int32_t granule, block, room, first;
    uint32_t members;
} cell;

typedef struct exact {
    icd_solve *s;
    int32_t n, cells;
    cell cell[MOST];
    int32_t turn[MOST];    /* the order in which indices are placed: heavy ones first */
    int32_t cell_of[MOST]; /* of an index */
    int32_t best[MOST];    /* cell of an index in the best order */
    int32_t home[MOST];    /* granule of an index in `prev` */
    uint32_t in_granule[MOST];
    double w[MOST][MOST], degree[MOST], mass[MOST]; /* mass: of a block of Q */
    double total, longest;
    double hit[SETS]; /* set of indices -> weight of the events that meet it */
    double least[2];  /* the objective of the best order */
    double slack[2];
    int64_t steps;
    bool over, found;
} exact;

bool icd_i_exact_fits(const icd_solve *s)
{
    return s->space.plain && s->space.unit == 1 && s->space.n <= MOST && s->space.n > 0 &&
           s->o.effort > ICD_EFFORT_LOW;
}

static void read_weights(exact *x)
{
    const icd_csr *w = x->s->problem->w;
    for (int32_t i = 0; w && i < x->n; ++i)
        for (int64_t k = w->row_ptr[i]; k < w->row_ptr[i + 1]; ++k) {
            x->w[i][w->col[k]] = (double)w->val[k];
            x->degree[i] += (double)w->val[k];
            x->total += (double)w->val[k] / 2;
        }
}

/* Events that meet a set are all but those that lie in its complement; these are summed
 * over subsets one index at a time. */
static void read_events(exact *x)
{
    const icd_access *a = x->s->problem->sets;
    uint32_t all = (1u << x->n) - 1;
    double inside[SETS] = {0};
    for (int64_t e = 0; a && e < a->events; ++e) {
        uint32_t set = 0;
        for (int64_t k = a->event_ptr[e]; k < a->event_ptr[e + 1]; ++k)
            set |= 1u << a->index[k];
        inside[set] += a->weight ? (double)a->weight[e] : 1;
    }
    for (int32_t i = 0; i < x->n; ++i)
        for (uint32_t set = 0; set <= all; ++set)
            if (set >> i & 1) inside[set] += inside[set ^ 1u << i];
    for (uint32_t set = 0; set <= all; ++set)
        x->hit[set] = inside[all] - inside[all & ~set];
}

static void cut_cells(exact *x)
{
    int32_t block[MOST];
    icd_i_quality_blocks(&x->s->o, x->n, block);
    for (int32_t slot = 0; slot < x->n; ++slot) {
        cell *last = x->cells ? &x->cell[x->cells - 1] : NULL;
        int32_t granule = slot / x->s->o.granule;
        if (!last || last->granule != granule || last->block != block[slot])
            x->cell[x->cells++] = (cell){granule, block[slot], 1, slot, 0};
        else
            last->room++;
    }
}

static void choose_turns(exact *x)
{
    for (int32_t i = 0; i < x->n; ++i) {
        int32_t at = i;
        for (; at > 0 && x->degree[x->turn[at - 1]] < x->degree[i]; --at)
            x->turn[at] = x->turn[at - 1];
        x->turn[at] = i;
    }
}

static void exact_init(exact *x)
{
    const icd_perm *prev = x->s->problem->prev;
    read_weights(x);
    read_events(x);
    cut_cells(x);
    choose_turns(x);
    x->longest = icd_i_phi(&x->s->o, (double)((x->n - 1) / x->s->o.granule));
    for (int32_t slot = 0; slot < x->n; ++slot)
        x->home[prev ? prev->old_of_new[slot] : slot] = slot / x->s->o.granule;
}

/* Adds what index v costs in a cell beside those already placed. */
static void charge(const exact *x, int32_t depth, int32_t v, const cell *to, bill *b)
{
    for (int32_t k = 0; k < depth; ++k) {
        int32_t u = x->turn[k];
        const cell *at = &x->cell[x->cell_of[u]];
        double w = x->w[v][u];
        b->open -= w;
        if (at->block == to->block)
            b->inside += w;
        else
            b->slices += w;
        if (at->granule == to->granule) continue;
        b->cut += w;
        b->cost += w * icd_i_phi(&x->s->o, abs(at->granule - to->granule));
    }
    uint32_t set = x->in_granule[to->granule];
    b->touched += x->hit[set | 1u << v] - x->hit[set];
    b->moved += x->home[v] != to->granule;
}

/* The least J that the rest may reach: all that is open falls inside blocks at distance
 * 0, and no block gets heavier. */
static double joint_cost(const exact *x, const bill *b)
{
    const icd_solver_opts *o = &x->s->o;
    double J = o->gamma_stab * b->moved / x->n, null = 0;
    if (!(x->total > 0)) return J;
    for (int32_t k = 0; k < x->cells; ++k) {
        double share = x->mass[k] / (2 * x->total);
        null += share * share;
    }
    if (x->longest > 0) J += o->alpha * b->cost / (x->longest * x->total);
    return J - o->mu * ((b->inside + b->open) / x->total - o->gamma * null);
}

static void objective(const exact *x, const bill *b, double value[2])
{
    value[1] = 0;
    if (x->s->stats->objective == ICD_OBJ_T)
        value[0] = b->touched;
    else if (x->s->stats->objective == ICD_OBJ_J)
        value[0] = joint_cost(x, b);
    else {
        value[0] = x->s->o.k_blocks > 0 ? b->slices : 0;
        value[1] = b->cut;
        if (x->s->problem->prev)
            value[1] += x->s->o.gamma_stab * x->total * b->moved / x->n;
    }
}

static bool is_better(const exact *x, const double value[2])
{
    if (value[0] < x->least[0] - x->slack[0]) return true;
    return value[0] <= x->least[0] + x->slack[0] && value[1] < x->least[1] - x->slack[1];
}

static void enter(exact *x, int32_t v, int32_t at, int sign)
{
    cell *c = &x->cell[at];
    c->room -= sign;
    c->members ^= 1u << v;
    x->in_granule[c->granule] ^= 1u << v;
    x->mass[c->block] += sign * x->degree[v];
    x->cell_of[v] = at;
}

/* Empty granules of one size are alike where only the division counts. */
static bool is_twin(const exact *x, int32_t at)
{
    const icd_solver_opts *o = &x->s->o;
    if (x->s->stats->objective == ICD_OBJ_J || o->k_blocks > 0) return false;
    if (x->cell[at].members || (o->gamma_stab > 0 && x->s->problem->prev)) return false;
    for (int32_t k = 0; k < at; ++k)
        if (!x->cell[k].members && x->cell[k].room == x->cell[at].room) return true;
    return false;
}

static void search(exact *x, int32_t depth, const bill *paid)
{
    double value[2];
    objective(x, paid, value);
    if (!is_better(x, value)) return;
    if (depth == x->n) {
        memcpy(x->best, x->cell_of, sizeof x->best);
        memcpy(x->least, value, sizeof value);
        x->found = true;
        return;
    }
    if (++x->steps % CHECK_EVERY == 0 && icd_i_budget_over(&x->s->budget)) x->over = true;
    if (x->steps > STEPS) x->over = true;
    int32_t v = x->turn[depth];
    for (int32_t at = 0; at < x->cells && !x->over; ++at) {
        bill next = *paid;
        if (x->cell[at].room == 0 || is_twin(x, at)) continue;
        charge(x, depth, v, &x->cell[at], &next);
        enter(x, v, at, 1);
        search(x, depth + 1, &next);
        enter(x, v, at, -1);
    }
}

/* What the given order costs, index by index as the search would pay it. */
static void price(exact *x, const int32_t *old_of_new)
{
    bill b = {.open = x->total};
    int32_t cell_at[MOST];
    for (int32_t k = 0, slot = 0; k < x->cells; ++k)
        for (int32_t room = x->cell[k].room; room > 0; --room)
            cell_at[old_of_new[slot++]] = k;
    for (int32_t depth = 0; depth < x->n; ++depth) {
        int32_t v = x->turn[depth];
        charge(x, depth, v, &x->cell[cell_at[v]], &b);
        enter(x, v, cell_at[v], 1);
    }
    objective(x, &b, x->least);
    for (int32_t v = 0; v < x->n; ++v) enter(x, v, cell_at[v], -1);
    for (int32_t k = 0; k < 2; ++k) x->slack[k] = EPSILON * (fabs(x->least[k]) + 1e-3);
}

static void write_best(const exact *x, int32_t *old_of_new)
{
    int32_t next[MOST];
    for (int32_t k = 0; k < x->cells; ++k) next[k] = x->cell[k].first;
    for (int32_t v = 0; v < x->n; ++v) old_of_new[next[x->best[v]]++] = v;
}

icd_status icd_i_exact(icd_solve *s, int32_t *old_of_new, bool *proven)
{
    exact x = {.s = s, .n = s->space.n};
    exact_init(&x);
    price(&x, old_of_new);
    search(&x, 0, &(bill){.open = x.total});
    if (x.found) write_best(&x, old_of_new);
    *proven = !x.over;
    return icd_i_check_cancel(s->ctx);
}
