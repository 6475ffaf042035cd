/**
 * @file skeleton.h
 * A spectral cut of a small graph: the sides of its Fiedler vector.
 * @source Pothen, Simon, Liou (1990), 10.1137/0611030
 */
#ifndef ICD_SOLVER_SKELETON_H
#define ICD_SOLVER_SKELETON_H

#include "base/rng.h"
#include "solver/fm.h"

/**
 * Sets and counts the sides: nodes of the lowest Fiedler values fill side 0 up to its
 * target. The vector is that of a fixed number of power steps; it need not have
 * converged.
 * @return false when the workspace is full or no edge is there (sides untouched)
 * @cost time O(steps nnz + n log n)
 */
bool icd_i_skeleton(icd_sides *s, icd_rng *rng, icd_work *work);

#endif
