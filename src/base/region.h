/**
 * @file region.h
 * Memory for one of several things that are timed against one another. Where pages lie
 * decides which of them fight for the same cache sets: two copies of one model on pages
 * of 4 KiB, dealt out at random, differ by several per cent for as long as the process
 * lives. A region is cut from chunks that start at a multiple of 2 MiB and ask for huge
 * pages, and is filled in the order of the requests: what is built alike lies alike.
 */
#ifndef ICD_BASE_REGION_H
#define ICD_BASE_REGION_H

#include "base/error.h"

typedef struct icd_region icd_region;

/** @return ICD_OK | ICD_ENOMEM */
icd_status icd_i_region_new(icd_ctx *ctx, icd_region **out);

/**
 * From here on, until icd_i_region_leave, what any thread allocates with this context
 * comes from the region; icd_i_free knows where a block came from at any time. Regions do
 * not nest. A context with an allocator of its caller's keeps to that allocator.
 */
void icd_i_region_enter(icd_ctx *ctx, icd_region *region);
void icd_i_region_leave(icd_ctx *ctx);

/** Returns all of its memory; nothing from it may be used, or freed, any more. */
void icd_i_region_free(icd_region *region);

/** Bytes asked of the system so far. */
size_t icd_i_region_bytes(const icd_region *region);

/** @name For base/mem.c
 * `give` returns zeroed memory at a multiple of 64 bytes, or NULL; the pointer in front
 * of it is NULL, which tells it from a block of the allocator's. `take` is its free.
 * @{ */
void *icd_i_region_give(icd_region *region, size_t bytes);
void icd_i_region_take(void *ptr);
/** @} */

#endif
