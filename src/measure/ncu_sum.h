/**
 * @file ncu_sum.h
 * What an arm did to the second level and to memory, from ncu's table of its kernels.
 */
#ifndef ICD_MEASURE_NCU_SUM_H
#define ICD_MEASURE_NCU_SUM_H

#include "measure/ncu_csv.h"

#include <jansson.h>

typedef enum icd_ncu_quantity {
    ICD_NCU_HIT_RATE, /**< of sectors in the second level, % */
    ICD_NCU_SECTORS,  /**< that were looked up: the weight of a kernel's rate */
    ICD_NCU_L2_READ,  /**< bytes */
    ICD_NCU_DRAM_READ,
    ICD_NCU_DRAM_WRITE,
    ICD_NCU_QUANTITIES
} icd_ncu_quantity;

/** One name of a quantity. */
typedef struct icd_ncu_alias {
    const char *name;
    const char *unit; /**< that ncu prints: "byte", "sector", "%" */
    double factor;    /**< a sector is 32 bytes */
    const char *note; /**< what is different about it; NULL: nothing */
} icd_ncu_alias;

/** The i-th name of a quantity, the best first; NULL past the end. */
const icd_ncu_alias *icd_i_ncu_alias(icd_ncu_quantity quantity, int64_t i);

/** Which name each quantity goes by here; NULL: it has none. */
typedef struct icd_ncu_names {
    const icd_ncu_alias *alias[ICD_NCU_QUANTITIES];
} icd_ncu_names;

/** Over all kernels of a table; a value that is NaN has a reason in `why`. */
typedef struct icd_ncu_sum {
    double value[ICD_NCU_QUANTITIES]; /**< %, sectors, bytes */
    char why[ICD_NCU_QUANTITIES][200];
    int64_t kernels;
    int64_t rejected; /**< kernels whose rate cannot be, or is not told */
} icd_ncu_sum;

/**
 * Rates are weighted by sectors. A rate outside 0..100 is rejected; where rejected
 * kernels hold more than 1 % of the sectors, so is the whole. Sums are whole or not
 * told: a kernel without its bytes, or with negative ones, makes them NaN.
 */
void icd_i_ncu_sum(const icd_ncu_table *table, const icd_ncu_names *names,
                   icd_ncu_sum *out);

/**
 * The table by kernel name, the most bytes of memory first, at most 64 rows:
 * [{"name", "launches", "l2_hit_pct", "l2_read_bytes", "dram_read_bytes",
 * "dram_write_bytes"}], null where not told.
 */
icd_status icd_i_ncu_kernels(icd_ctx *ctx, const icd_ncu_table *table,
                             const icd_ncu_names *names, json_t **out);

#endif
