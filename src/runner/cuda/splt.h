/**
 * @file splt.h
 * Products of weights of which two of any four neighbours are not zero: cuSPARSELt,
 * loaded at run time. The matrix is checked and compressed on the device, its algorithms
 * are tried by the library itself.
 */
#ifndef ICD_RUNNER_CUDA_SPLT_H
#define ICD_RUNNER_CUDA_SPLT_H

#include "runner/cuda/lt.h"

/** What icd_gpu_linear.two_of_four holds, besides numbers of matrices from 1 on. */
enum {
    ICD_SPLT_NONE = 0, /**< not 2:4, or no library */
    ICD_SPLT_NEW = -1  /**< 2:4, not compressed yet */
};

/**
 * Loads the library.
 * @param library [in] NULL: libcusparseLt.so.0
 * @return ICD_OK | ICD_EUNSUPPORTED not there, older than 0.5.2, or it refuses to start |
 * ICD_ENOMEM
 */
icd_status icd_i_splt_open(icd_ctx *ctx, icd_gpu *gpu, const char *library,
                           icd_splt **out);
void icd_i_splt_close(icd_ctx *ctx, icd_splt *splt);

/**
 * Checks that p->w is 2:4, compresses it for this number of tokens and searches the
 * fastest algorithm on these operands. Bias and ReLU of `p` are not looked at.
 * @param number [in, out] of a matrix, which is made anew, or ICD_SPLT_NEW; on error
 * ICD_SPLT_NONE where the weights are not 2:4, else as it was
 * @return ICD_OK | ICD_EUNSUPPORTED not 2:4, or no such shape and type | ICD_ENOMEM
 */
icd_status icd_i_splt_make(icd_ctx *ctx, icd_splt *splt, const icd_lt_product *p,
                           int32_t *number);

/** Asks for a product; p->y [tokens][rows] is bf16, for int8 the sums in int32. May be
 * recorded. */
icd_status icd_i_splt_run(icd_ctx *ctx, icd_splt *splt, int32_t number,
                          const icd_lt_product *p);

#endif
