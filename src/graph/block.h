/**
 * @file block.h
 * A block of events together with its transpose: for every index, where it occurs.
 */
#ifndef ICD_GRAPH_BLOCK_H
#define ICD_GRAPH_BLOCK_H

#include "base/mem.h"
#include <icd/graph.h>

/** Events as they come from memory or from a file; a view. */
typedef struct icd_events {
    int64_t count;
    const int64_t *ptr; /**< count + 1; ptr[0] need not be 0 */
    const int32_t *index;
    const float *weight; /**< NULL: all 1 */
} icd_events;

/** One place where an index occurs and has larger ones behind it. */
typedef struct icd_occurrence {
    int32_t event;
    int32_t at; /**< position inside the event */
} icd_occurrence;

/** Zeroed = empty; filled again and again, its memory is kept. */
typedef struct icd_block {
    int64_t n;
    icd_events events;
    double *value; /**< what one pair of an event adds; 0: fewer than two indices, or
                      weight 0 */
    double unit;   /**< the one value > 0 that all events share; 0: there are several, or
                      none */
    int64_t pairs; /**< sum over events with a value of |e| (|e| - 1) / 2 */
    int64_t *row;  /**< n + 1: occurrences of an index */
    icd_occurrence *at; /**< in the order of events */
    int64_t value_capacity, row_capacity, at_capacity;
} icd_block;

/**
 * Fills a block from events with ascending, distinct indices below n.
 * @return ICD_OK | ICD_EINVAL more than INT32_MAX events | ICD_ENOMEM
 * @cost time and memory O(n + sum |e|)
 */
icd_status icd_i_block_fill(icd_ctx *ctx, int64_t n, const icd_events *events,
                            icd_weighting weighting, icd_block *block);
void icd_i_block_release(icd_ctx *ctx, icd_block *block);

static inline int64_t icd_i_event_size(const icd_events *e, int64_t i)
{
    return e->ptr[i + 1] - e->ptr[i];
}

#endif
