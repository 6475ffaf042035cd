/**
 * @file cachegrind_out.h
 * What cachegrind leaves in its file: counts by line of source, summed up by function.
 */
#ifndef ICD_MEASURE_CACHEGRIND_OUT_H
#define ICD_MEASURE_CACHEGRIND_OUT_H

#include "base/mem.h"

/** Instructions, reads, writes; each with its misses in the first and the last level. */
typedef enum icd_cg_event {
    ICD_CG_IR,
    ICD_CG_I1MR,
    ICD_CG_ILMR,
    ICD_CG_DR,
    ICD_CG_D1MR,
    ICD_CG_DLMR,
    ICD_CG_DW,
    ICD_CG_D1MW,
    ICD_CG_DLMW,
    ICD_CG_EVENTS
} icd_cg_event;

typedef struct icd_cg_function {
    const char *name;
    int64_t count[ICD_CG_EVENTS];
} icd_cg_function;

typedef struct icd_cg_out {
    char cache[3][80];            /**< I1, D1, LL: "32768 B, 64 B, 8-way associative" */
    bool counted[ICD_CG_EVENTS];  /**< the file has a column of it */
    int64_t total[ICD_CG_EVENTS]; /**< 0 where it has none */
    icd_cg_function *function;    /**< [functions], of one name: one */
    int64_t functions;
    icd_arena *memory;
} icd_cg_out;

/**
 * @param place [in] how errors name the text
 * @param out   [out] icd_i_cg_out_free; NULL on error
 * @return ICD_OK | ICD_EDATA a line that is none, counts whose sum is not the summary:
 * naming the line | ICD_ENOMEM
 */
icd_status icd_i_cg_parse(icd_ctx *ctx, const char *text, size_t size, const char *place,
                          icd_cg_out **out);
void icd_i_cg_out_free(icd_ctx *ctx, icd_cg_out *out);

/** NULL where there is none of that name. */
const icd_cg_function *icd_i_cg_find(const icd_cg_out *out, const char *name);

#endif
