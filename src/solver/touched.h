/**
 * @file touched.h
 * Granules touched: what the access sets themselves ask for, in the solve's own units.
 */
#ifndef ICD_SOLVER_TOUCHED_H
#define ICD_SOLVER_TOUCHED_H

#include "solver/solve.h"

/** An order from the access sets alone; keeps units, ties and fixed indices. */
icd_status icd_i_touched_order(icd_solve *s, int32_t *old_of_new);

/** Swaps units between granules so that events touch fewer of them; never worse. */
icd_status icd_i_touched_refine(icd_solve *s, int32_t *old_of_new);

#endif
