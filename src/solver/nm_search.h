/**
 * @file nm_search.h
 * Annealing and descent over exchanges of columns. A round exchanges many pairs at once,
 * each between two groups of its own, so that their gains add up and the tables are
 * renewed once.
 */
#ifndef ICD_SOLVER_NM_SEARCH_H
#define ICD_SOLVER_NM_SEARCH_H

#include "base/rng.h"
#include "solver/nm_state.h"

typedef struct icd_nm_search {
    icd_nm_state state;
    icd_rng rng;
    int32_t *best; /**< cols: the best groups met, as member of the state */
    int64_t best_kept;
    int64_t swaps;
    bool stopped;   /**< by the deadline or a cancellation */
    bool clocked;   /**< the clock made it cool faster */
    double *draw;   /**< -ln u at even values of u, shuffled */
    int32_t *noise; /**< the same times the temperature, continued for `cols` entries */
    struct icd_nm_offer *offer; /**< cols */
} icd_nm_search;

/** @param out [out] to be released, also after an error */
icd_status icd_i_nm_search_init(icd_ctx *ctx, const icd_nm_source *source, icd_rng rng,
                                icd_nm_search *out);
void icd_i_nm_search_release(icd_ctx *ctx, icd_nm_search *s);

/** When an annealing is over: whichever comes first. */
typedef struct icd_nm_cooling {
    int64_t rounds, swaps;
    bool by_clock; /**< also most of the time to the deadline */
    bool warm;     /**< the order is good already */
} icd_nm_cooling;

/** Exchanges at falling temperature, ending with the best groups met. */
void icd_i_nm_anneal(icd_ctx *ctx, icd_nm_search *s, const icd_nm_cooling *cooling);

/** Exchanges that pay, best first, until none does. */
void icd_i_nm_descend(icd_ctx *ctx, icd_nm_search *s);

#endif
