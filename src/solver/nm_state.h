/**
 * @file nm_state.h
 * What every exchange of two columns between groups of M would change, kept exact.
 *
 * Without its member c, a group keeps in a row the N-1 largest of the other M-1 in any
 * case, and then the larger of their N-th and of whatever x takes the place of c:
 *
 *     kept(c -> x) = base(c) + sum over rows of max(rest(c)[row], x[row])
 *
 * change[c][x] is that less what the group keeps now. Exchanging c and x of two groups
 * changes what is retained by change[c][x] + change[x][c]; exchanges between disjoint
 * pairs of groups do not influence each other.
 *
 * The saliency is scaled to int16, so that every sum is exact in any order.
 */
#ifndef ICD_SOLVER_NM_STATE_H
#define ICD_SOLVER_NM_STATE_H

#include "base/mem.h"
#include "solver/nm_maxima.h"

/** change[c][x] of a pair within one group: never worth an exchange. */
#define ICD_NM_NEVER (INT32_MIN / 4)

typedef struct icd_nm_state {
    icd_nm_maxima maxima;
    int64_t rows; /**< padded to whole lanes */
    int32_t cols, groups, n, m;
    int16_t *value;   /**< cols x rows, column-major */
    int32_t *member;  /**< groups x m: columns */
    int32_t *slot_of; /**< cols: where a column is in member */
    int32_t *change;  /**< cols x cols */
    int32_t *reverse; /**< its transpose */
    int32_t *kept;    /**< groups */
    uint8_t *stale;   /**< groups: its lines of change are out of date */
    int16_t *scratch; /**< per worker: n + 2 levels of a tile of rows */
    int32_t workers;
    double deadline; /**< on the clock of icd_i_now(); 0: none */
} icd_nm_state;

/** Columns to be grouped. */
typedef struct icd_nm_source {
    const float *saliency; /**< rows x stride, row-major */
    int64_t rows, stride;
    const int32_t *column; /**< the `cols` of them that take part, group by group */
    int32_t cols, n, m;
    double deadline;
} icd_nm_source;

/**
 * Groups as the source has them; here columns have local numbers, 0..cols-1.
 * @param out [out] to be released, also after an error; every group is stale
 */
icd_status icd_i_nm_state_init(icd_ctx *ctx, const icd_nm_source *source,
                               icd_nm_state *out);
void icd_i_nm_state_release(icd_ctx *ctx, icd_nm_state *s);

/** Exchanges two columns of two groups that are not stale, which makes both so. */
void icd_i_nm_exchange(icd_nm_state *s, int32_t c, int32_t x);

/** Groups anew: order[slot] = column. */
void icd_i_nm_regroup(icd_nm_state *s, const int32_t *order);

/**
 * Brings all stale groups up to date.
 * @return false: the deadline or a cancellation ended it, the tables are of no use
 */
bool icd_i_nm_refresh(icd_ctx *ctx, icd_nm_state *s);

/** What all groups keep, in scaled units; none may be stale. */
int64_t icd_i_nm_kept(const icd_nm_state *s);

static inline int32_t icd_i_nm_group_of(const icd_nm_state *s, int32_t c)
{
    return s->slot_of[c] / s->m;
}

#endif
