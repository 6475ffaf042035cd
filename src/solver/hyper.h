/**
 * @file hyper.h
 * Orders from access sets: sum_e w_e granules_touched(pi, e) is minimised on the sets
 * themselves.
 *
 * An access set is a hyperedge, a granule a part of exactly g slots (the last one may be
 * short). Many small sets (a trace) and few large ones (the row blocks of a mask) are the
 * same problem.
 */
#ifndef ICD_SOLVER_HYPER_H
#define ICD_SOLVER_HYPER_H

#include "base/error.h"
#include "core/mask.h"
#include <icd/access.h>
#include <icd/solver.h>

/** An effort between low and default, without a search for the softness. */
enum { ICD_HYPER_TRIAL = ICD_EFFORT_HIGH + 1 };

typedef struct icd_hyper_params {
    int32_t granule;      /**< g, >= 1 */
    int32_t effort;       /**< icd_effort; high: the time until `deadline` is used up; or
                             ICD_HYPER_TRIAL */
    int64_t refine_steps; /**< passes at most; a pass looks at as many swaps as there are
                             pairs */
    double deadline;      /**< on the clock of icd_i_now(); 0: none */
    uint64_t seed;
    const uint8_t *frozen; /**< per index: it keeps its slot; NULL: all are free */
    double softness; /**< trust in a single event, 0 < p <= 1 (hyper_state.h); 1: the sets
                        are all there is, as of a mask; 0: they are a sample, and p is
                        chosen on events held back. Matters where events are many. */
} icd_hyper_params;

typedef struct icd_hyper_stats {
    double start, touched; /**< sum_e w_e granules_touched, before and after */
    int64_t passes;
    int64_t offered;  /**< swaps looked at */
    int64_t accepted; /**< swaps made */
    int64_t events;   /**< events learned from: fewer than given where memory is short */
    double softness;  /**< p that was used; 0 where events are few: all of them */
    bool timed_out;   /**< the deadline ended the plan of steps */
} icd_hyper_stats;

/**
 * The objective, by definition: sum_e w_e granules_touched(pi, e).
 * @param old_of_new [in] a bijection of 0..sets->n-1
 * @cost time O(sum |e|), memory O(n)
 */
icd_status icd_i_hyper_touched(icd_ctx *ctx, const icd_access *sets, int32_t granule,
                               const int32_t *old_of_new, double *out);

/** Whether a granule and the number of indices are within range. */
icd_status icd_i_hyper_check(icd_ctx *ctx, const icd_access *sets, int32_t granule);

/**
 * An order from access sets alone, without W: the better of frequency sort and greedy
 * union (a granule starts with the rarest index and takes the one that enlarges its union
 * least).
 * @param old_of_new [out] sets->n entries. Frozen indices keep the slot of their own
 * number.
 * @return ICD_OK | ICD_EINVAL | ICD_ENOMEM | ICD_ECANCELLED
 * @cost   time O(min(n/g, 2^31 / sum |e|) sum |e|), memory O(n + sum |e|)
 * @det    same input, same bytes
 */
icd_status icd_i_hyper_order(icd_ctx *ctx, const icd_access *sets,
                             const icd_hyper_params *params, int32_t *old_of_new);

/**
 * Betters an order by annealed swaps between granules; gains are exact, O(degree), and
 * bounded in O(1) so that most offers cost no more than that. Never worse than the start.
 * @param old_of_new [in/out] a bijection, before and after
 * @param stats      [out] may be NULL
 * @return ICD_OK (also with stats->timed_out) | ICD_EINVAL | ICD_ENOMEM | ICD_ECANCELLED
 * (old_of_new as it was)
 * @cost   time O(passes n^2) offers of O(1), windows of at most 8192 slots; memory O(n +
 * sum |e| + events x granules of a window), the latter capped (stats->events)
 * @det    same input, effort and seed: same bytes for any thread count, unless timed out;
 * effort high promises none
 */
icd_status icd_i_hyper_refine(icd_ctx *ctx, const icd_access *sets,
                              const icd_hyper_params *params, int32_t *old_of_new,
                              icd_hyper_stats *stats);

/**
 * Orders rows and columns of a mask with free rows so that few vector x granule tiles are
 * live: columns for fixed row blocks and rows for fixed granules, in turns; no turn
 * raises the count.
 * @param mask   [in] its own rows per decision (mask->vector) must be 1
 * @param vector [in] V, rows of a tile
 * @param rows   [in/out] old_of_new of the rows, a bijection
 * @param cols   [in/out] old_of_new of the columns, a bijection
 * @param stats  [out] live tiles before and after; may be NULL
 */
icd_status icd_i_hyper_cocluster(icd_ctx *ctx, const icd_mask *mask, int32_t vector,
                                 const icd_hyper_params *params, int32_t *rows,
                                 int32_t *cols, icd_hyper_stats *stats);

#endif
