/**
 * @file constraint.h
 * What an order must respect: units that move together, ties that keep their distance,
 * fixed slots.
 */
#ifndef ICD_CONSTRAINT_H
#define ICD_CONSTRAINT_H

#include <icd/perm.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Two indices that keep their distance: pos[b] - pos[a] == b - a (RoPE: b = a + d/2). */
typedef struct icd_tie {
    int32_t a, b;
} icd_tie;

/** Zeroed = no constraint. Arrays are borrowed. */
typedef struct icd_constraint {
    int32_t unit; /**< aligned runs of `unit` indices stay together, in order, aligned; 0
                     and 1: none */
    const icd_tie *tie; /**< disjoint pairs, all of one distance */
    int64_t ties;
    const int32_t *fixed; /**< indices i with pos[i] == i */
    int64_t fixed_count;
} icd_constraint;

/** Whether a constraint is well formed for n indices (unit divides n, ties disjoint,
 * ...). */
icd_status icd_constraint_check(icd_ctx *ctx, const icd_constraint *c, int64_t n);

/** Whether an order keeps a constraint. @return ICD_OK | ICD_EINVAL naming the first
 * broken index */
icd_status icd_constraint_check_perm(icd_ctx *ctx, const icd_constraint *c,
                                     const icd_perm *p);

#ifdef __cplusplus
}
#endif
#endif
