#include "solver/objective.h"

#include "base/mem.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Sums over i < j. */
typedef struct pair_sums {
    double total, cost, inside; /* inside: the blocks of Q */
    double cut, quarter, cut16, cut64, cut128;
} pair_sums;

typedef struct judge {
    const icd_problem *problem;
    const icd_solver_opts *o;
    int32_t n;
    int32_t quarter;             /* g/4, at least 1 */
    int32_t *pos, *line, *block; /* by index */
    double *block_degree;
    int32_t blocks;
} judge;

static bool parted(int32_t a, int32_t b, int shift)
{
    return a >> shift != b >> shift;
}

static void add_pair(const judge *j, int32_t a, int32_t b, double w, pair_sums *s)
{
    int32_t p = j->pos[a], q = j->pos[b], far = abs(j->line[a] - j->line[b]);
    s->total += w;
    if (j->block[a] == j->block[b]) s->inside += w;
    if (parted(p, q, 4)) s->cut16 += w;
    if (parted(p, q, 6)) s->cut64 += w;
    if (parted(p, q, 7)) s->cut128 += w;
    if (p / j->quarter != q / j->quarter) s->quarter += w;
    if (far == 0) return;
    s->cut += w;
    s->cost += w * icd_i_phi(j->o, far);
}

static pair_sums sum_pairs(const judge *j)
{
    const icd_csr *w = j->problem->w;
    pair_sums s = {0};
    for (int32_t i = 0; i < j->n; ++i) {
        double degree = 0;
        for (int64_t k = w->row_ptr[i]; k < w->row_ptr[i + 1]; ++k) {
            degree += (double)w->val[k];
            if (w->col[k] > i) add_pair(j, i, w->col[k], (double)w->val[k], &s);
        }
        j->block_degree[j->block[i]] += degree;
    }
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

static void judge_pairs(const judge *j, icd_verdict *verdict)
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
            int64_t *last = &seen[j->line[a->index[k]]];
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
        moved += j->line[i] != slot / j->o->granule;
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
    int32_t *block_of_slot = NULL;
    ICD_TRY(ICD_ALLOC(ctx, j->n, &j->pos));
    ICD_TRY(ICD_ALLOC(ctx, j->n, &j->line));
    ICD_TRY(ICD_ALLOC(ctx, j->n, &j->block));
    ICD_TRY(ICD_ALLOC(ctx, j->n, &block_of_slot));
    j->blocks = icd_i_quality_blocks(j->o, j->n, block_of_slot);
    ICD_TRY(ICD_ALLOC(ctx, j->blocks, &j->block_degree));
    for (int32_t slot = 0; slot < j->n; ++slot) {
        int32_t i = old_of_new[slot];
        j->pos[i] = slot;
        j->line[i] = slot / j->o->granule;
        j->block[i] = block_of_slot[slot];
    }
done:
    icd_i_free(ctx, block_of_slot);
    return status;
}

static void judge_release(icd_ctx *ctx, judge *j)
{
    icd_i_free(ctx, j->pos);
    icd_i_free(ctx, j->line);
    icd_i_free(ctx, j->block);
    icd_i_free(ctx, j->block_degree);
}

icd_status icd_i_score(icd_ctx *ctx, const icd_problem *problem,
                       const int32_t *old_of_new, const icd_solver_opts *o,
                       icd_verdict *out)
{
    icd_status status;
    int64_t n = problem->w ? problem->w->n : problem->sets->n;
    judge j = {.problem = problem, .o = o, .n = (int32_t)n};
    icd_score *score = &out->score;
    memset(out, 0, sizeof *out);
    j.quarter = o->granule > 4 ? o->granule / 4 : 1;
    ICD_TRY(judge_init(ctx, &j, old_of_new));
    judge_pairs(&j, out);
    ICD_TRY(judge_sets(ctx, &j, score));
    score->R_stab = instability(&j);
    score->J = o->alpha * score->Cn - o->mu * score->Q + o->gamma_stab * score->R_stab;
done:
    judge_release(ctx, &j);
    return status;
}
