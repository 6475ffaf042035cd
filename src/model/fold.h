/**
 * @file fold.h
 * Where the input of a matrix comes from, if a factor can be moved from there into its
 * columns without any other reader noticing.
 */
#ifndef ICD_MODEL_FOLD_H
#define ICD_MODEL_FOLD_H

#include <icd/model.h>

enum { ICD_FOLD_NAME = 256 };

/** The tensors whose rows (or entries) produce the channels of an input. */
typedef struct icd_fold {
    char weight[ICD_FOLD_NAME]; /**< a norm's gain, or a matrix whose rows are meant */
    char bias[ICD_FOLD_NAME];   /**< ""; or the norm's or the matrix' bias */
    int64_t share; /**< neighbouring heads that read one row: 1, or query heads of a
                      key-value head */
    int64_t width; /**< channels of a head; 0: channel c is row c */
} icd_fold;

/**
 * What produces the input of a matrix and is read by nothing else, or by other matrices
 * of the same group alone: the norm before it (decoder, mamba), values before the output
 * of attention, the linear half of a gated FFN, a matrix before ReLU.
 * @return false: there is none, as in BERT, whose norms feed the residual stream, too
 */
bool icd_i_model_fold(const icd_model *model, const char *matrix, icd_fold *out);

/** The row that produces channel c. */
int64_t icd_i_fold_row(const icd_fold *fold, int64_t channel);

#endif
