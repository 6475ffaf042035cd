/**
 * @file budget.h
 * How long a solve may go on: the clock and the caller's cancellation, asked often.
 */
#ifndef ICD_SOLVER_BUDGET_H
#define ICD_SOLVER_BUDGET_H

#include "base/clock.h"
#include "base/error.h"
#include <stdatomic.h>

typedef struct icd_budget {
    icd_ctx *ctx;
    double deadline;  /**< on the clock of icd_i_now(); 0: none */
    atomic_bool over; /**< work was left undone because of the clock */
} icd_budget;

/** True once the work must end; costs one read of the clock. Safe in worker threads. */
static inline bool icd_i_budget_over(icd_budget *b)
{
    if (icd_i_cancelled(b->ctx)) return true;
    if (b->deadline <= 0 || icd_i_now() < b->deadline) return false;
    atomic_store_explicit(&b->over, true, memory_order_relaxed);
    return true;
}

#endif
