/**
 * @file ncu_csv.h
 * What `ncu --csv --page raw` prints: a line of names, a line of units, a line for each
 * kernel; around them ncu's own lines ("==PROF== ...") and those of the program.
 */
#ifndef ICD_MEASURE_NCU_CSV_H
#define ICD_MEASURE_NCU_CSV_H

#include "base/mem.h"

/** A column that holds a number per kernel. */
typedef struct icd_ncu_column {
    const char *name; /**< "dram__bytes_read.sum" */
    const char *unit; /**< "byte", "%", "ns": the prefix of thousands is taken off */
    const char *odd;  /**< the first value that is no number, nor "n/a"; NULL: none */
} icd_ncu_column;

typedef struct icd_ncu_kernel {
    const char *name;         /**< "void gemm<float>(float *, int)" */
    const char *device, *cc;  /**< "0", "9.0"; "" where not told */
    const char *grid, *block; /**< "(132, 1, 1)" */
} icd_ncu_kernel;

typedef struct icd_ncu_table {
    icd_ncu_kernel *kernel; /**< [kernels] in the order they were launched */
    int64_t kernels;
    icd_ncu_column *column; /**< [columns] */
    int64_t columns;
    double *value; /**< [kernels x columns] in base units; NaN: not told */
    icd_arena *memory;
} icd_ncu_table;

/**
 * @param text  [in] `size` bytes of ncu's standard output
 * @param place [in] how errors name it
 * @param out   [out] icd_i_ncu_table_free; NULL on error
 * @return ICD_OK | ICD_EDATA no table, a row that does not fit it: naming the line |
 * ICD_ENOMEM
 */
icd_status icd_i_ncu_parse(icd_ctx *ctx, const char *text, size_t size, const char *place,
                           icd_ncu_table **out);
void icd_i_ncu_table_free(icd_ctx *ctx, icd_ncu_table *table);

/** Index of a column; -1 where there is none of that name. */
int64_t icd_i_ncu_column(const icd_ncu_table *table, const char *name);

/**
 * A number as ncu prints it: "1,234,567", "98.25", "1.5e+06".
 * @return false: no number. A decimal comma is none: what it means cannot be told.
 */
bool icd_i_ncu_number(const char *text, double *out);

#endif
