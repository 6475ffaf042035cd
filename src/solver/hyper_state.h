/**
 * @file hyper_state.h
 * Exact gains of swaps between granules on one window of slots.
 *
 * A cell (G, e) knows how many of event e's indices lie in granule G. It costs w_e
 * phi(count),
 *
 *     phi(c) = 1 - (1-p)^c
 *
 * which for p = 1 is "touched", and for p < 1 rewards emptying a cell before it is empty:
 * the way across the plateaus of the plain objective (each index as if it were there with
 * chance p). From the steps of phi, step(c) = phi(c) - phi(c-1), follow
 *
 *     leave[i]    sum over i's events of w_e step(count in i's granule)
 *     join[G][i]  sum over i's events of w_e step(count in G + 1)
 *
 * and a swap of i in A with j in B changes the objective by
 *
 *     join[B][i] + join[A][j] - leave[i] - leave[j] + shared(i, j)
 *
 * where shared(i, j) takes back what was counted for the events of both, which the swap
 * leaves as they are. phi is concave, so shared >= 0, and without it the sum is a lower
 * bound in O(1).
 *
 * @source Kabiljo et al. (2017), Social hash partitioner, 10.14778/3137628.3137650
 * (p-fanout)
 */
#ifndef ICD_SOLVER_HYPER_STATE_H
#define ICD_SOLVER_HYPER_STATE_H

#include "base/mem.h"
#include "solver/hyper.h"

/** One event in one granule. */
typedef struct icd_hyper_cell {
    int32_t count;
    int32_t members; /**< exclusive or of the local indices: of one, the index itself */
} icd_hyper_cell;

/** phi(all) = ICD_HYPER_WHOLE integer units for p < 1, and 1 for p = 1. */
#define ICD_HYPER_WHOLE 64

/** Indices are local: 0..n-1 are those that held the window's slots at the start. */
typedef struct icd_hyper {
    int32_t n, granule, granules;
    int64_t events;
    double unit;        /**< what an integer weight of 1 is worth */
    int32_t *step;      /**< granule + 2: steps of phi, integers that fall; step[0] = 0 */
    int32_t *weight;    /**< events */
    int64_t *event_ptr; /**< events + 1: the indices of an event */
    int32_t *event_index;
    int64_t *index_ptr; /**< n + 1: the events of an index, ascending */
    int32_t *index_event;
    int32_t *granule_of;  /**< n */
    int32_t *slot_of;     /**< n, within the window */
    int32_t *global;      /**< n: the caller's index */
    icd_hyper_cell *cell; /**< granules x events */
    int32_t *join;        /**< granules x n */
    int32_t *leave;       /**< n */
    int32_t *only[3];     /**< scratch of a pair: events of i alone, j alone, both */
    int64_t only_count[3];
    int64_t cost; /**< sum of weight x phi(count), integer */
} icd_hyper;

/** Which part of an order a state covers. */
typedef struct icd_hyper_window {
    const int32_t *old_of_new; /**< of the whole order */
    int64_t begin, end;        /**< slots; begin is a multiple of the granule */
} icd_hyper_window;

/**
 * Builds the state of a window.
 * @param stride [in] learn from every stride-th event
 * @param out    [out] released with icd_i_hyper_release, also after an error
 */
icd_status icd_i_hyper_init(icd_ctx *ctx, const icd_access *sets, int32_t granule,
                            int64_t stride, const icd_hyper_window *window,
                            icd_hyper *out);
void icd_i_hyper_release(icd_ctx *ctx, icd_hyper *h);

/** Sets p of phi, 0 < p <= 1, and with it every gain and the cost. A fresh state has p
 * = 1. */
void icd_i_hyper_soften(icd_hyper *h, double p);

/** Puts every index into a slot of the window; keeps p. */
void icd_i_hyper_place(icd_hyper *h, const int32_t *slot_of);

/** A lower bound of icd_i_hyper_swap_delta in O(1). i and j lie in different granules. */
static inline int64_t icd_i_hyper_swap_bound(const icd_hyper *h, int32_t i, int32_t j)
{
    int64_t a = h->granule_of[i], b = h->granule_of[j];
    return (int64_t)h->join[b * h->n + i] + h->join[a * h->n + j] - h->leave[i] -
           h->leave[j];
}

/** Exact change of the cost by swapping i and j; remembers how their events divide. */
int64_t icd_i_hyper_swap_delta(icd_hyper *h, int32_t i, int32_t j);

/** Swaps the pair last given to icd_i_hyper_swap_delta, which returned `delta`. */
void icd_i_hyper_swap(icd_hyper *h, int32_t i, int32_t j, int64_t delta);

/** The cost from scratch, and whether every cell and gain is what its definition says. */
int64_t icd_i_hyper_cost(const icd_hyper *h);
bool icd_i_hyper_consistent(const icd_hyper *h);

#endif
