#include "solver/objective.h"

#include "base/mem.h"
#include "base/threads.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Sums over i < j. */
typedef struct pair_sums {
    double total, cost, inside; /* inside: the blocks of Q */
    double cut, quarter, cut16, cut64, cut128;
} pair_sums;

/* Where an index stands: all that a pair asks for lies in one cache line. */
typedef struct place {
    int32_t slot, line, quarter, block;
} place;

enum { ALONE = 4096, CHUNKS = 64 }; /* indices that one chunk sums; chunks of more */
enum { AHEAD = 24 };                /* pairs whose places are fetched in advance */

typedef struct judge {
    const icd_problem *problem;
    const icd_solver_opts *o;
    icd_ctx *ctx;
    int32_t n;
    place *at;     /* by index */
    int32_t *slot; /* the same, close together */
    double *degree, *block_degree;
    int32_t blocks;
    pair_sums sum[CHUNKS];
} judge;

static bool parted(int32_t a, int32_t b, int shift)
{
    return a >> shift != b >> shift;
}

static void add_pair(const judge *j, place p, place q, double w, pair_sums *s)
{
    int32_t far = abs(p.line - q.line);
    s->total += w;
    if (p.block == q.block) s->inside += w;
    if (parted(p.slot, q.slot, 4)) s->cut16 += w;
    if (parted(p.slot, q.slot, 6)) s->cut64 += w;
    if (parted(p.slot, q.slot, 7)) s->cut128 += w;
    if (p.quarter != q.quarter) s->quarter += w;
    if (far == 0) return;
    s->cut += w;
    s->cost += w * icd_i_phi(j->o, far);
}

/* Where granules are a power of two of slots, and are what Q counts by, the highest bit
 * in which two slots differ tells which of all these a pair is parted by. */
typedef struct bit_sums {
    double weight[2][32]; /* of pairs by highest bit; in two sums, since they wait for
                           * each other otherwise */
} bit_sums;

static int bit_of(int32_t granule)
{
    return 31 - __builtin_clz((uint32_t)granule);
}

static double above(const bit_sums *s, int bit)
{
    double sum = 0;
    for (int b = 31; b >= bit; --b) sum += s->weight[0][b] + s->weight[1][b];
    return sum;
}

static void add_bits(const judge *j, const bit_sums *bits, double cost, pair_sums *s)
{
    int32_t g = j->o->granule;
    *s = (pair_sums){.total = above(bits, 0),
                     .cost = cost,
                     .cut = above(bits, bit_of(g)),
                     .quarter = above(bits, bit_of(g > 4 ? g / 4 : 1)),
                     .cut16 = above(bits, 4),
                     .cut64 = above(bits, 6),
                     .cut128 = above(bits, 7)};
    s->inside = s->total - s->cut;
}

/* Of each row the pairs with higher indices. */
static int64_t first_pair(const icd_csr *w, int64_t i)
{
    int64_t low = w->row_ptr[i], high = w->row_ptr[i + 1];
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (w->col[middle] > i)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static void sum_bits(const judge *j, int64_t begin, int64_t end, pair_sums *s)
{
    const icd_csr *w = j->problem->w;
    const int32_t *slot = j->slot;
    int shift = bit_of(j->o->granule);
    double lambda = j->o->lambda, less = 1 - j->o->tau, cost = 0;
    bit_sums bits = {{{0}}};
    for (int64_t i = begin; i < end; ++i) {
        int32_t p = slot[i];
        for (int64_t k = first_pair(w, i); k < w->row_ptr[i + 1]; ++k) {
            int32_t q = slot[w->col[k]];
            double value = (double)w->val[k], far = abs((p >> shift) - (q >> shift));
            double twice = far - lambda + fabs(far - lambda); /* what is beyond lambda */
            bits.weight[k & 1][bit_of(p ^ q)] += value;
            cost += value * (far - less / 2 * twice);
        }
    }
    add_bits(j, &bits, cost, s);
}

static void sum_places(const judge *j, int64_t begin, int64_t end, pair_sums *s)
{
    const icd_csr *w = j->problem->w;
    for (int64_t i = begin; i < end; ++i)
        for (int64_t k = first_pair(w, i); k < w->row_ptr[i + 1]; ++k) {
            if (k + AHEAD < w->nnz) __builtin_prefetch(&j->at[w->col[k + AHEAD]]);
            add_pair(j, j->at[i], j->at[w->col[k]], (double)w->val[k], s);
        }
}

/* In four sums, so that an addition need not wait for the one before. */
static double row_sum(const float *val, int64_t count)
{
    double sum[4] = {0};
    int64_t k = 0;
    for (; k + 4 <= count; k += 4)
        for (int i = 0; i < 4; ++i) sum[i] += (double)val[k + i];
    for (; k < count; ++k) sum[0] += (double)val[k];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

static void sum_chunk(void *arg, int64_t chunk, int64_t chunks, int32_t worker)
{
    judge *j = arg;
    const icd_csr *w = j->problem->w;
    int32_t g = j->o->granule;
    int64_t begin, end;
    (void)worker;
    icd_i_chunk_range(j->n, chunk, chunks, &begin, &end);
    if (icd_i_cancelled(j->ctx)) return;
    for (int64_t i = begin; i < end; ++i)
        j->degree[i] = row_sum(w->val + w->row_ptr[i], w->row_ptr[i + 1] - w->row_ptr[i]);
    if ((g & (g - 1)) == 0 && j->o->k_blocks == 0)
        sum_bits(j, begin, end, &j->sum[chunk]);
    else
        sum_places(j, begin, end, &j->sum[chunk]);
}

static pair_sums sum_pairs(judge *j)
{
    pair_sums s = {0};
    int64_t chunks = j->n <= ALONE ? 1 : CHUNKS;
    if (chunks == 1)
        sum_chunk(j, 0, 1, 0);
    else
        icd_i_parallel(j->ctx, chunks, sum_chunk, j);
    for (int64_t k = 0; k < chunks; ++k) {
        s.total += j->sum[k].total;
        s.cost += j->sum[k].cost;
        s.inside += j->sum[k].inside;
        s.cut += j->sum[k].cut;
        s.quarter += j->sum[k].quarter;
        s.cut16 += j->sum[k].cut16;
        s.cut64 += j->sum[k].cut64;
        s.cut128 += j->sum[k].cut128;
    }
    for (int32_t i = 0; i < j->n; ++i) j->block_degree[j->at[i].block] += j->degree[i];
    return s;
}

static double modularity(const judge *j, const pair_sums *s)
{
    double null = 0;
    for (int32_t b = 0; b < j->blocks; ++b) {
        double share = j->block_degree[b] / (2 * s->total);
        null += share * share;
    }
    return s->inside / s->total - j->o->gamma * null;
}

static void judge_pairs(judge *j, icd_assessment *verdict)
{
    icd_score *out = &verdict->score;
    if (!j->problem->w) return;
    pair_sums s = sum_pairs(j);
    if (!(s.total > 0)) return;
    double longest = icd_i_phi(j->o, (double)((j->n - 1) / j->o->granule));
    out->C = s.cost;
    out->Cn = longest > 0 ? s.cost / (longest * s.total) : 0;
    out->cut = s.cut / s.total;
    out->cut16 = s.cut16 / s.total;
    out->cut64 = s.cut64 / s.total;
    out->cut128 = s.cut128 / s.total;
    out->Q = modularity(j, &s);
    verdict->quarter = s.quarter / s.total;
    verdict->slices = 1 - s.inside / s.total;
}

static icd_status judge_sets(icd_ctx *ctx, const judge *j, icd_score *out)
{
    icd_status status;
    const icd_access *a = j->problem->sets;
    int64_t *seen = NULL; /* 1 + the last event that touched the granule */
    double touched = 0, fewest = 0, weight = 0;
    out->T = 1;
    if (!a) return ICD_OK;
    ICD_TRY(ICD_ALLOC(ctx, j->n / j->o->granule + (int64_t)1, &seen));
    for (int64_t e = 0; e < a->events; ++e) {
        int64_t lines = 0, size = a->event_ptr[e + 1] - a->event_ptr[e];
        double w = a->weight ? (double)a->weight[e] : 1;
        for (int64_t k = a->event_ptr[e]; k < a->event_ptr[e + 1]; ++k) {
            int64_t *last = &seen[j->at[a->index[k]].line];
            lines += *last != e + 1;
            *last = e + 1;
        }
        touched += w * (double)lines;
        fewest += w * (double)((size + j->o->granule - 1) / j->o->granule);
        weight += w;
    }
    if (fewest > 0) out->T = touched / fewest;
    if (weight > 0) out->touched = touched / weight;
done:
    icd_i_free(ctx, seen);
    return status;
}

/* Share of indices whose granule differs from the one `prev` gave them. */
static double instability(const judge *j)
{
    const icd_perm *prev = j->problem->prev;
    int64_t moved = 0;
    for (int32_t slot = 0; slot < j->n; ++slot) {
        int32_t i = prev ? prev->old_of_new[slot] : slot;
        moved += j->at[i].line != slot / j->o->granule;
    }
    return j->n ? (double)moved / j->n : 0;
}

int32_t icd_i_quality_blocks(const icd_solver_opts *o, int32_t n, int32_t *block_of)
{
    int32_t blocks = 0;
    if (!o->k_blocks) {
        for (int32_t slot = 0; slot < n; ++slot) block_of[slot] = slot / o->granule;
        return n ? (n - 1) / o->granule + 1 : 0;
    }
    int64_t slot = 0;
    for (int64_t b = 1; b <= o->k_blocks && slot < n; ++b) {
        int64_t end = b * n / o->k_blocks;
        if (end == slot) continue;
        for (; slot < end; ++slot) block_of[slot] = blocks;
        blocks++;
    }
    return blocks;
}

static icd_status judge_init(icd_ctx *ctx, judge *j, const int32_t *old_of_new)
{
    icd_status status;
    int32_t *block_of_slot = NULL, g = j->o->granule, quarter = g > 4 ? g / 4 : 1;
    ICD_TRY(ICD_ALLOC(ctx, j->n, &j->at));
    ICD_TRY(ICD_ALLOC(ctx, j->n, &j->slot));
    ICD_TRY(ICD_ALLOC(ctx, j->n, &j->degree));
    ICD_TRY(ICD_ALLOC(ctx, j->n, &block_of_slot));
    j->blocks = icd_i_quality_blocks(j->o, j->n, block_of_slot);
    ICD_TRY(ICD_ALLOC(ctx, j->blocks, &j->block_degree));
    for (int32_t slot = 0; slot < j->n; ++slot) {
        j->slot[old_of_new[slot]] = slot;
        j->at[old_of_new[slot]] =
            (place){slot, slot / g, slot / quarter, block_of_slot[slot]};
    }
done:
    icd_i_free(ctx, block_of_slot);
    return status;
}

static void judge_release(icd_ctx *ctx, judge *j)
{
    icd_i_free(ctx, j->at);
    icd_i_free(ctx, j->slot);
    icd_i_free(ctx, j->degree);
    icd_i_free(ctx, j->block_degree);
}

icd_status icd_i_score(icd_ctx *ctx, const icd_problem *problem,
                       const int32_t *old_of_new, const icd_solver_opts *o,
                       icd_assessment *out)
{
    icd_status status;
    int64_t n = problem->w ? problem->w->n : problem->sets->n;
    judge j = {.problem = problem, .o = o, .ctx = ctx, .n = (int32_t)n};
    icd_score *score = &out->score;
    memset(out, 0, sizeof *out);
    ICD_TRY(judge_init(ctx, &j, old_of_new));
    judge_pairs(&j, out);
    ICD_TRY(icd_i_check_cancel(ctx));
    ICD_TRY(judge_sets(ctx, &j, score));
    score->R_stab = instability(&j);
    score->J = o->alpha * score->Cn - o->mu * score->Q + o->gamma_stab * score->R_stab;
done:
    judge_release(ctx, &j);
    return status;
}
