/**
 * @file space.h
 * What the solver really orders: bodies, i.e. units of indices and units tied to each
 * other.
 *
 * A body keeps its inner distances, so it has a shape; bodies of one shape may exchange
 * places, and every such exchange keeps the constraint. A body with a fixed index keeps
 * its place.
 */
#ifndef ICD_SOLVER_SPACE_H
#define ICD_SOLVER_SPACE_H

#include "base/error.h"
#include <icd/constraint.h>

typedef struct icd_space {
    int32_t n;     /**< indices */
    int32_t unit;  /**< >= 1 */
    int32_t units; /**< n / unit */
    int32_t bodies;
    bool plain; /**< every unit is a body and none is pinned */
    int32_t
        *body_of;    /**< index -> body, by lowest index; NULL when plain and unit is 1 */
    int32_t *first;  /**< bodies + 1: the units of a body in `member` */
    int32_t *member; /**< units, ascending in a body */
    int32_t
        *shape; /**< body -> number of its shape; pinned bodies: a shape of their own */
    uint8_t *frozen; /**< unit: not a free single unit; NULL when plain */
} icd_space;

/** @param c [in] NULL: none; already checked */
icd_status icd_i_space_init(icd_ctx *ctx, const icd_constraint *c, int64_t n,
                            icd_space *s);
void icd_i_space_release(icd_ctx *ctx, icd_space *s);

/**
 * The legal order of units nearest to an order of bodies: every shape's places,
 * ascending, are given to its bodies in that order.
 * @param order   [in]  body at rank
 * @param unit_at [out] unit at place, s->units entries
 */
icd_status icd_i_space_place(icd_ctx *ctx, const icd_space *s, const int32_t *order,
                             int32_t *unit_at);

/** old_of_new[slot] from the units' order. */
void icd_i_space_expand(const icd_space *s, const int32_t *unit_at, int32_t *old_of_new);

#endif
