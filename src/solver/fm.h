/**
 * @file fm.h
 * Two-way refinement: moves of the best node, one at a time, with rollback to the best
 * prefix.
 * @source Fiduccia, Mattheyses (1982), 10.1109/DAC.1982.1585498
 */
#ifndef ICD_SOLVER_FM_H
#define ICD_SOLVER_FM_H

#include "solver/wgraph.h"

/** A graph in two sides, with what every node would gain by changing. */
typedef struct icd_sides {
    const icd_wgraph *g;
    uint8_t *side; /**< 0 or 1 */
    int32_t *gain; /**< by how much the cut falls when the node changes its side */
    int32_t *out;  /**< weight of its edges to the other side */
    int64_t cut;
    int32_t left;   /**< slots taken on side 0 */
    int32_t target; /**< slots that side 0 shall take */
    int32_t slack;  /**< |left - target| that is still legal */
} icd_sides;

/** Counts gain, out, cut and left from `side`. */
void icd_i_sides_count(icd_sides *s);

/** Changes the side of one node; O(degree). */
void icd_i_sides_move(icd_sides *s, int32_t v);

/**
 * Passes of moves until none helps.
 * @param patience [in] moves without a better state before a pass is given up
 * @param work     [in] scratch 3 n int32, given back; too little of it: nothing is done
 * @return passes done. The state is never less legal than before, nor, if as legal,
 * worse.
 */
int32_t icd_i_fm(icd_sides *s, int32_t passes, int32_t patience, icd_work *work);

/**
 * Grows side 0 from a node until it holds `target`: best gain first. Everything starts on
 * side 1.
 */
void icd_i_sides_grow(icd_sides *s, int32_t seed, icd_work *work);

#endif
