/**
 * @file cachegrind.h
 * Runs a program under valgrind's cachegrind: a first and a last level of cache, LRU,
 * nothing between them, threads one after the other.
 */
#ifndef ICD_MEASURE_CACHEGRIND_H
#define ICD_MEASURE_CACHEGRIND_H

#include "measure/cachegrind_out.h"
#include "measure/cachesim.h"

/** One simulated level; sets are a power of two. */
typedef struct icd_cg_cache {
    int64_t bytes;
    int32_t ways, line;
} icd_cg_cache;

typedef struct icd_cachegrind {
    const char *valgrind; /**< program */
    const char *file;     /**< that cachegrind writes; a "%" in it is not literal */
    double timeout_s;
    icd_cg_cache first, last;
} icd_cachegrind;

/** A level of a model as cachegrind can have it: where the sets are no power of two,
 * fewer sets with more ways, as valgrind does it by itself. */
icd_cg_cache icd_i_cg_cache(const icd_cache_model *model, int32_t level);

/**
 * @param command [in] ends by NULL; an argument "{steps}" becomes `steps`
 * @param out     [out] icd_i_cg_out_free; NULL on error
 * @return ICD_OK | ICD_EMEASURE valgrind or the command failed, its file cannot be read |
 * ICD_ECANCELLED | ICD_ENOMEM
 */
icd_status icd_i_cachegrind_run(icd_ctx *ctx, const icd_cachegrind *how,
                                const char *const *command, int64_t steps,
                                icd_cg_out **out);

#endif
