#include "solver/fm.h"

#include "solver/heap.h"
#include <assert.h>
#include <stdlib.h>

enum { LOCKED = -2 };

/* One pass: a heap of candidates per side, and the moves made so far. */
typedef struct fm_pass {
    icd_sides *s;
    icd_heap heap[2];
    int32_t *at; /* shared by both heaps; LOCKED: has moved in this pass */
    int32_t *moved;
    int32_t moves, best_moves;
    int64_t best_cut;
    int32_t best_off; /* |left - target| of the best prefix */
} fm_pass;

static int32_t off_target(const icd_sides *s)
{
    return abs(s->left - s->target);
}

void icd_i_sides_count(icd_sides *s)
{
    const icd_wgraph *g = s->g;
    int64_t twice = 0;
    s->left = 0;
    for (int32_t v = 0; v < g->n; ++v) {
        int32_t all = 0, out = 0;
        for (int64_t k = g->ptr[v]; k < g->ptr[v + 1]; ++k) {
            all += g->edge[k].w;
            out += g->edge[k].w & -(s->side[g->edge[k].to] ^ s->side[v]);
        }
        s->gain[v] = 2 * out - all;
        s->out[v] = out;
        twice += out;
        if (!s->side[v]) s->left += g->size[v];
    }
    s->cut = twice / 2;
}

static void flip(icd_sides *s, int32_t v)
{
    int32_t in = s->out[v] - s->gain[v];
    s->cut -= s->gain[v];
    s->left += s->side[v] ? s->g->size[v] : -s->g->size[v];
    s->side[v] ^= 1;
    s->gain[v] = -s->gain[v];
    s->out[v] = in;
}

static inline void edge_flipped(icd_sides *s, int32_t v, icd_edge e)
{
    int32_t delta = s->side[e.to] == s->side[v] ? -e.w : e.w;
    s->gain[e.to] += 2 * delta;
    s->out[e.to] += delta;
}

void icd_i_sides_move(icd_sides *s, int32_t v)
{
    flip(s, v);
    for (int64_t k = s->g->ptr[v]; k < s->g->ptr[v + 1]; ++k)
        edge_flipped(s, v, s->g->edge[k]);
}

/* A heap learns of a changed gain at once; a node that reached the boundary enters it. */
static void move_in_pass(fm_pass *p, int32_t v)
{
    icd_sides *s = p->s;
    flip(s, v);
    for (int64_t k = s->g->ptr[v]; k < s->g->ptr[v + 1]; ++k) {
        int32_t u = s->g->edge[k].to;
        edge_flipped(s, v, s->g->edge[k]);
        if (p->at[u] >= 0)
            icd_i_heap_moved(&p->heap[s->side[u]], u);
        else if (p->at[u] == ICD_HEAP_OUT && s->out[u] > 0)
            icd_i_heap_push(&p->heap[s->side[u]], u);
    }
    p->at[v] = LOCKED;
    p->moved[p->moves++] = v;
}

/* The side that holds too much gives; at the exact target, the one with the better offer.
 */
static int giving_side(const fm_pass *p)
{
    const icd_heap *h = p->heap;
    int32_t over = p->s->left - p->s->target;
    if (over != 0) return over > 0 ? 0 : 1;
    if (!h[0].count || !h[1].count) return h[0].count ? 0 : 1;
    return h[0].key[h[0].node[0]] >= h[1].key[h[1].node[0]] ? 0 : 1;
}

static bool too_heavy(const icd_sides *s, int32_t v)
{
    int32_t shift = s->side[v] ? s->g->size[v] : -s->g->size[v];
    int32_t after = abs(s->left + shift - s->target);
    int32_t limit = off_target(s) > s->slack ? off_target(s) : s->slack;
    return after > limit && after > s->g->size[v];
}

static bool is_better(const fm_pass *p)
{
    int32_t off = off_target(p->s), slack = p->s->slack;
    if (off > slack && off != p->best_off) return off < p->best_off;
    if (off <= slack && p->best_off > slack) return true;
    if (p->s->cut != p->best_cut) return p->s->cut < p->best_cut;
    return off < p->best_off;
}

static void remember(fm_pass *p)
{
    p->best_cut = p->s->cut;
    p->best_off = off_target(p->s);
    p->best_moves = p->moves;
}

static void fill_heaps(fm_pass *p)
{
    const icd_sides *s = p->s;
    p->heap[0].count = p->heap[1].count = p->moves = 0;
    bool all = off_target(s) > s->slack; /* nodes inside may have to go as well */
    for (int32_t v = 0; v < s->g->n; ++v) {
        p->at[v] = ICD_HEAP_OUT;
        if (s->out[v] > 0 || all) icd_i_heap_append(&p->heap[s->side[v]], v);
    }
    icd_i_heap_build(&p->heap[0]);
    icd_i_heap_build(&p->heap[1]);
}

static bool run_pass(fm_pass *p, int32_t patience)
{
    fill_heaps(p);
    remember(p);
    while (p->moves - p->best_moves <= patience) {
        icd_heap *from = &p->heap[giving_side(p)];
        if (!from->count) break;
        int32_t v = icd_i_heap_pop(from);
        if (too_heavy(p->s, v)) {
            p->at[v] = LOCKED;
            continue;
        }
        move_in_pass(p, v);
        if (is_better(p)) remember(p);
    }
    while (p->moves > p->best_moves) icd_i_sides_move(p->s, p->moved[--p->moves]);
    return p->best_moves > 0;
}

/* Arrays of a pass, in the workspace. */
static bool pass_init(fm_pass *p, icd_sides *s, icd_work *work)
{
    int32_t n = s->g->n;
    *p = (fm_pass){.s = s};
    p->at = icd_i_work_take(work, n, sizeof *p->at);
    p->moved = icd_i_work_take(work, n, sizeof *p->moved);
    for (int i = 0; i < 2; ++i)
        p->heap[i] =
            (icd_heap){icd_i_work_take(work, n, sizeof(int32_t)), p->at, s->gain, 0};
    return p->at && p->moved && p->heap[0].node && p->heap[1].node;
}

static void check_counts(icd_sides *s)
{
#ifdef ICD_DEBUG_CHECKS
    int64_t cut = s->cut;
    int32_t left = s->left;
    icd_i_sides_count(s);
    assert(cut == s->cut && left == s->left);
#else
    (void)s;
#endif
}

int32_t icd_i_fm(icd_sides *s, int32_t passes, int32_t patience, icd_work *work)
{
    size_t before = work->used;
    int32_t done = 0;
    fm_pass p;
    bool better = pass_init(&p, s, work);
    while (better && done < passes) {
        int64_t cut = s->cut;
        int32_t off = off_target(s);
        better = run_pass(&p, patience) && (s->cut != cut || off_target(s) != off);
        ++done;
    }
    check_counts(s);
    work->used = before;
    return done;
}

/* The frontier's best node; where a component is used up, the next node anywhere. */
static int32_t next_to_grow(fm_pass *p, int32_t *spare)
{
    const icd_sides *s = p->s;
    if (p->heap[1].count) return icd_i_heap_pop(&p->heap[1]);
    while (*spare < s->g->n && !s->side[*spare]) ++*spare;
    return *spare < s->g->n ? *spare : -1;
}

void icd_i_sides_grow(icd_sides *s, int32_t seed, icd_work *work)
{
    size_t before = work->used;
    fm_pass p;
    for (int32_t v = 0; v < s->g->n; ++v) s->side[v] = 1;
    icd_i_sides_count(s);
    if (pass_init(&p, s, work)) {
        for (int32_t v = 0; v < s->g->n; ++v) p.at[v] = ICD_HEAP_OUT;
        for (int32_t v = seed, spare = 0; v >= 0 && s->left < s->target;
             v = next_to_grow(&p, &spare))
            move_in_pass(&p, v);
    }
    check_counts(s);
    work->used = before;
}
