#include "solver/contest.h"

#include "base/mem.h"
#include <stdio.h>
#include <string.h>

static const double EPSILON = 2e-6; /* bounds are rounded down; relative */

icd_status icd_i_contest_init(icd_solve *s, icd_contest *c)
{
    icd_status status;
    *c = (icd_contest){.s = s};
    ICD_TRY(ICD_ALLOC(s->ctx, s->space.n, &c->best.old_of_new));
    ICD_TRY(ICD_ALLOC(s->ctx, s->space.n, &c->trial.old_of_new));
done:
    return status;
}

void icd_i_contest_release(icd_contest *c)
{
    icd_i_free(c->s->ctx, c->best.old_of_new);
    icd_i_free(c->s->ctx, c->trial.old_of_new);
}

/* What is minimised. Where moving has its price, the cut pays it too. */
static double value_of(const icd_solve *s, const icd_score *score)
{
    if (s->stats->objective == ICD_OBJ_T) return score->T;
    if (s->stats->objective == ICD_OBJ_J) return score->J;
    return score->cut + (s->problem->prev ? s->o.gamma_stab * score->R_stab : 0);
}

/* Smaller is better, the first difference decides. */
static void ranks(const icd_solve *s, const icd_assessment *v, double rank[4])
{
    bool cut = s->stats->objective == ICD_OBJ_CUT;
    rank[0] = cut ? 0 : value_of(s, &v->score);
    rank[1] = s->o.k_blocks > 0 ? v->slices : 0;
    rank[2] = cut ? value_of(s, &v->score) : v->score.cut;
    rank[3] = v->quarter;
}

bool icd_i_contest_better(const icd_solve *s, const icd_assessment *a,
                          const icd_assessment *b)
{
    double x[4], y[4];
    ranks(s, a, x);
    ranks(s, b, y);
    for (int i = 0; i < 4; ++i)
        if (x[i] != y[i]) return x[i] < y[i];
    return a->score.C < b->score.C;
}

/* One entry for each origin, with its best figure. */
static void note(icd_contest *c, const char *from, double value)
{
    int32_t at = 0;
    while (at < c->entries && strcmp(c->entry[at].from, from)) at++;
    if (at == ICD_ENTRIES) return;
    if (at == c->entries) {
        c->entries++;
        c->entry[at].from = from;
        c->entry[at].value = value;
    }
    if (value < c->entry[at].value) c->entry[at].value = value;
}

icd_status icd_i_contest_judge(icd_contest *c, const char *from, bool keep)
{
    icd_solve *s = c->s;
    icd_status status =
        icd_i_score(s->ctx, s->problem, c->trial.old_of_new, &s->o, &c->trial.verdict);
    if (status != ICD_OK) return status;
    c->trial.from = from;
    note(c, from, value_of(s, &c->trial.verdict.score));
    if (keep || icd_i_contest_better(s, &c->trial.verdict, &c->best.verdict)) {
        icd_candidate swap = c->best;
        c->best = c->trial;
        c->trial = swap;
    }
    return ICD_OK;
}

void icd_i_contest_retry(icd_contest *c)
{
    memcpy(c->trial.old_of_new, c->best.old_of_new,
           (size_t)c->s->space.n * sizeof *c->trial.old_of_new);
}

bool icd_i_contest_optimal(const icd_contest *c)
{
    const icd_solver_stats *stats = c->s->stats;
    const icd_score *score = &c->best.verdict.score;
    if (c->searched) return true;
    if (stats->objective == ICD_OBJ_T)
        return score->T <= stats->start.T_bound * (1 + EPSILON);
    return stats->objective == ICD_OBJ_CUT && c->s->o.k_blocks == 0 &&
           value_of(c->s, score) <= stats->start.cut_bound * (1 + EPSILON);
}

/* Appends to the reason; what does not fit is cut off. */
#define SAY(s, ...)                                                                      \
    do {                                                                                 \
        size_t at_ = strlen((s)->reason);                                                \
        snprintf((s)->reason + at_, sizeof(s)->reason - at_, __VA_ARGS__);               \
    } while (0)

void icd_i_contest_explain(const icd_contest *c)
{
    static const char *const WHAT[] = {"", "T", "cut between granules", "J"};
    icd_solver_stats *stats = c->s->stats;
    const char *begin = " (";
    stats->reason[0] = 0;
    SAY(stats, "%s has the lowest %s", c->best.from, WHAT[stats->objective & 3]);
    if (stats->objective == ICD_OBJ_CUT && c->s->o.gamma_stab > 0 && c->s->problem->prev)
        SAY(stats, " and price of moving");
    SAY(stats, ", %.4f", value_of(c->s, &c->best.verdict.score));
    for (int32_t i = 0; i < c->entries; ++i) {
        if (!strcmp(c->entry[i].from, c->best.from)) continue;
        SAY(stats, "%s%s: %.4f", begin, c->entry[i].from, c->entry[i].value);
        begin = ", ";
    }
    if (begin[0] == ',') SAY(stats, ")");
    if (icd_i_contest_optimal(c))
        SAY(stats, "; %s",
            c->searched ? "a search of all orders found none better"
                        : "no order has less");
}
