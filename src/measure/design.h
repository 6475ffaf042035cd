/**
 * @file design.h
 * Williams designs: orders of arms in which every arm follows every other equally often,
 * so that what one burst leaves in the caches falls on all alike. Two arms: AB, BA.
 * @source Williams (1949), 10.1071/CH9490149
 */
#ifndef ICD_MEASURE_DESIGN_H
#define ICD_MEASURE_DESIGN_H

#include "base/mem.h"

/** Rows of a whole design: arms when even (or 1), 2 x arms when odd. */
int64_t icd_i_design_rows(int64_t arms);

/** Row `row` of the design: `order[position]` = arm. Rows repeat after icd_i_design_rows.
 */
void icd_i_design_row(int64_t arms, int64_t row, int32_t *order);

#endif
