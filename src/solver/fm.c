#include "solver/fm.h"

#include "solver/heap.h"
#include <assert.h>
#include <stdlib.h>

enum {
    LOCKED = -2,
    GONE = INT32_MIN, /* a gain that no node has */
    BLOCK = 64,       /* gains among which the largest is looked for at a time */
    SCAN = 32,        /* entries of a board that are read in the time of one heap step */
};

/* One pass: the candidates of each side, and the moves made so far. Candidates are kept
 * in heaps, or, where a move changes many gains among few nodes, as gains on a board that
 * is read as a whole. */
typedef struct fm_pass {
    icd_sides *s;
    bool scans;
    icd_heap heap[2];
    int32_t *board[2]; /* node -> its gain if it may leave that side, else GONE */
    int32_t *at;       /* shared by both heaps; LOCKED: has moved in this pass */
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

/* @param side [in] of the node that moved, now; no branch, for the other end's is as good
 * as random */
static inline void edge_flipped(icd_sides *s, int32_t side, icd_edge e)
{
    int32_t same = (s->side[e.to] ^ side) - 1; /* a mask */
    int32_t delta = (e.w ^ same) - same;
    s->gain[e.to] += 2 * delta;
    s->out[e.to] += delta;
}

void icd_i_sides_move(icd_sides *s, int32_t v)
{
    flip(s, v);
    for (int64_t k = s->g->ptr[v]; k < s->g->ptr[v + 1]; ++k)
        edge_flipped(s, s->side[v], s->g->edge[k]);
}

static int32_t block_max(const int32_t *a)
{
    int32_t most[8];
    for (int k = 0; k < 8; ++k) most[k] = a[k];
    for (int i = 8; i < BLOCK; i += 8)
        for (int k = 0; k < 8; ++k) most[k] = a[i + k] > most[k] ? a[i + k] : most[k];
    for (int k = 1; k < 8; ++k) most[0] = most[k] > most[0] ? most[k] : most[0];
    return most[0];
}

/* The first of the largest; -1: all are gone. A board is filled up to whole blocks. */
static int32_t best_on_board(const int32_t *a, int32_t n)
{
    int32_t best = GONE, at = -1;
    for (int32_t i = 0; i < n; i += BLOCK) {
        int32_t most = block_max(a + i);
        if (most <= best) continue;
        best = most;
        at = i;
    }
    while (at >= 0 && a[at] != best) at++;
    return at;
}

/* The best candidate of a side; -1: none. */
static int32_t best_of(const fm_pass *p, int side)
{
    if (p->scans) return best_on_board(p->board[side], p->s->g->n);
    return p->heap[side].count ? p->heap[side].node[0] : -1;
}

static void lock(fm_pass *p, int32_t v)
{
    int side = p->s->side[v];
    if (p->scans)
        p->board[side][v] = GONE;
    else if (p->at[v] >= 0)
        icd_i_heap_remove(&p->heap[side], v);
    p->at[v] = LOCKED;
}

/* A heap learns of a changed gain at once; a node that reached the boundary enters it. */
static void heap_edge(fm_pass *p, int32_t u)
{
    icd_sides *s = p->s;
    if (p->at[u] >= 0)
        icd_i_heap_moved(&p->heap[s->side[u]], u);
    else if (p->at[u] == ICD_HEAP_OUT && s->out[u] > 0)
        icd_i_heap_push(&p->heap[s->side[u]], u);
}

/* A board has the gain of every node that may move, GONE for the others. */
static inline void board_edge(const fm_pass *p, int32_t u)
{
    int32_t locked = -(p->at[u] == LOCKED); /* a mask */
    p->board[p->s->side[u]][u] = (p->s->gain[u] & ~locked) | (GONE & locked);
}

static void move_in_pass(fm_pass *p, int32_t v)
{
    icd_sides *s = p->s;
    const icd_edge *edge = s->g->edge + s->g->ptr[v],
                   *end = s->g->edge + s->g->ptr[v + 1];
    lock(p, v);
    flip(s, v);
    int32_t side = s->side[v];
    p->moved[p->moves++] = v;
    if (p->scans) {
        for (; edge < end; ++edge) {
            edge_flipped(s, side, *edge);
            board_edge(p, edge->to);
        }
        return;
    }
    for (; edge < end; ++edge) {
        edge_flipped(s, side, *edge);
        heap_edge(p, edge->to);
    }
}

/* The side that holds too much gives; at the exact target, the one with the better offer.
 */
static int32_t next_to_move(const fm_pass *p)
{
    int32_t over = p->s->left - p->s->target;
    if (over != 0) return best_of(p, over > 0 ? 0 : 1);
    int32_t a = best_of(p, 0), b = best_of(p, 1);
    if (a < 0 || b < 0) return a < 0 ? b : a;
    return p->s->gain[a] >= p->s->gain[b] ? a : b;
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
    p->heap[0].count = p->heap[1].count = 0;
    bool all = off_target(s) > s->slack; /* nodes inside may have to go as well */
    for (int32_t v = 0; v < s->g->n; ++v) {
        p->at[v] = ICD_HEAP_OUT;
        if (s->out[v] > 0 || all) icd_i_heap_append(&p->heap[s->side[v]], v);
    }
    icd_i_heap_build(&p->heap[0]);
    icd_i_heap_build(&p->heap[1]);
}

static int32_t whole_blocks(int32_t n)
{
    return (n + BLOCK - 1) / BLOCK * BLOCK;
}

static void fill_boards(fm_pass *p)
{
    const icd_sides *s = p->s;
    int32_t n = s->g->n, padded = whole_blocks(n);
    for (int32_t v = 0; v < n; ++v) {
        p->at[v] = ICD_HEAP_OUT;
        p->board[s->side[v]][v] = s->gain[v];
        p->board[!s->side[v]][v] = GONE;
    }
    for (int32_t v = n; v < padded; ++v) p->board[0][v] = p->board[1][v] = GONE;
}

static bool run_pass(fm_pass *p, int32_t patience)
{
    p->moves = 0;
    if (p->scans)
        fill_boards(p);
    else
        fill_heaps(p);
    remember(p);
    while (p->moves - p->best_moves <= patience) {
        int32_t v = next_to_move(p);
        if (v < 0) break;
        if (too_heavy(p->s, v)) {
            lock(p, v);
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
    int32_t n = s->g->n, padded = whole_blocks(n);
    *p = (fm_pass){.s = s};
    p->scans = (int64_t)n * n <= SCAN * s->g->ptr[n];
    p->at = icd_i_work_take(work, n, sizeof *p->at);
    p->moved = icd_i_work_take(work, n, sizeof *p->moved);
    for (int i = 0; i < 2; ++i) {
        p->board[i] = icd_i_work_take(work, padded, sizeof(int32_t));
        p->heap[i] = (icd_heap){p->board[i], p->at, s->gain, 0};
    }
    return p->at && p->moved && p->board[0] && p->board[1];
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

/* The frontier's best node; where a component is used up, the next node anywhere. A board
 * holds the frontier alone: nodes that no edge joins to side 0 have out = 0. */
static int32_t next_to_grow(fm_pass *p, int32_t *spare)
{
    const icd_sides *s = p->s;
    int32_t best = best_of(p, 1);
    if (best >= 0) return best;
    while (*spare < s->g->n && !s->side[*spare]) ++*spare;
    return *spare < s->g->n ? *spare : -1;
}

static void empty(fm_pass *p)
{
    int32_t n = p->s->g->n, padded = whole_blocks(n);
    for (int32_t v = 0; v < n; ++v) p->at[v] = ICD_HEAP_OUT;
    for (int32_t v = 0; p->scans && v < padded; ++v)
        p->board[0][v] = p->board[1][v] = GONE;
}

void icd_i_sides_grow(icd_sides *s, int32_t seed, icd_work *work)
{
    size_t before = work->used;
    fm_pass p;
    for (int32_t v = 0; v < s->g->n; ++v) s->side[v] = 1;
    icd_i_sides_count(s);
    if (pass_init(&p, s, work)) {
        empty(&p);
        for (int32_t v = seed, spare = 0; v >= 0 && s->left < s->target;
             v = next_to_grow(&p, &spare))
            move_in_pass(&p, v);
    }
    check_counts(s);
    work->used = before;
}
