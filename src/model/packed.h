/**
 * @file packed.h
 * Reading and writing packed matrices (icd/packed.h); for the files of this folder.
 */
#ifndef ICD_MODEL_PACKED_H
#define ICD_MODEL_PACKED_H

#include "core/layout.h"
#include "model/model_private.h"

#include <icd/packed.h>

#define ICD_PACKED_KEY    "icd.packed"
#define ICD_PACKED_VALUES ".icd.values"
#define ICD_PACKED_MASK   ".icd.mask"
#define ICD_PACKED_SCALES ".icd.scales"
#define ICD_PACKED_ORDER  ".icd.order"
#define ICD_PACKED_WIDE   ".icd.outliers"
#define ICD_PACKED_WHICH  ".icd.outlier_columns"

/** What the model owns of one packed matrix. */
typedef struct icd_packed_slot {
    icd_packed packed;
    int64_t rows, cols;
    icd_mask *mask;
    icd_quantized *quant;
    icd_perm *order;
    float *dense; /**< [rows x cols] */
} icd_packed_slot;

/** Whether a tensor of the file is a part of a packed matrix. */
bool icd_i_packed_part(const char *name);

/** Weights that survive in [rows x cols]. */
int64_t icd_i_packed_survivors(const icd_mask *mask, int64_t rows, int64_t cols);

/** The rest of them where outliers are stored apart. @param wide [in] ascending columns
 */
int64_t icd_i_packed_regular(const icd_mask *mask, int64_t rows, int64_t cols,
                             const int32_t *wide, int64_t count);

/**
 * Reads all packed matrices of model->file into model->packed.
 * @return ICD_OK | ICD_EDATA naming the tensor: sizes that contradict one another, an
 * order that is none, scales that are not finite | ICD_ENOMEM
 */
icd_status icd_i_packed_read(icd_ctx *ctx, icd_model *model);
void icd_i_packed_release(icd_ctx *ctx, icd_model *model);

#endif
