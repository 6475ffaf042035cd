/**
 * @file work.h
 * A bump allocator over memory taken once, so that worker threads never allocate.
 */
#ifndef ICD_SOLVER_WORK_H
#define ICD_SOLVER_WORK_H

#include <stddef.h>
#include <stdint.h>

typedef struct icd_work {
    char *base;
    size_t size, used;
} icd_work;

/** Uninitialised memory, 16-byte aligned; NULL when the workspace is full. */
static inline void *icd_i_work_take(icd_work *work, int64_t count, size_t elem)
{
    size_t bytes = ((size_t)count * elem + 15) & ~(size_t)15;
    if (bytes > work->size - work->used) return NULL;
    void *ptr = work->base + work->used;
    work->used += bytes;
    return ptr;
}

#endif
