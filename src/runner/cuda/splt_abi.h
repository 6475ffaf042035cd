/**
 * @file splt_abi.h
 * cuSPARSELt 0.5.2 and later by its binary interface, as far as it is used. Written after
 * the header of 0.10; tests/fakes/cusparselt.c is built on the same declarations.
 */
#ifndef ICD_RUNNER_CUDA_SPLT_ABI_H
#define ICD_RUNNER_CUDA_SPLT_ABI_H

#include <stddef.h>
#include <stdint.h>

/** cusparseStatus_t, cusparseOperation_t, cusparseOrder_t, cusparseComputeType,
 * cusparseLtSparsity_t, cusparseLtMatmulAlg_t; types of values are cuBLASLt's. */
enum {
    ICD_SPLT_OK = 0,
    ICD_SPLT_NO_MEMORY = 2,
    ICD_SPLT_AS_IT_IS = 0,
    ICD_SPLT_TURNED = 1,
    ICD_SPLT_BY_COLUMN = 1,
    ICD_SPLT_COMPUTE_32I = 0,
    ICD_SPLT_COMPUTE_32F = 2,
    ICD_SPLT_HALF = 0,
    ICD_SPLT_DEFAULT = 0,
    ICD_SPLT_OLDEST = 502, /**< 100 * minor + patch of release 0 */
    ICD_SPLT_ALIGNMENT = 16
};

/** Handles, descriptions and plans are structures of the caller's: 512 bytes today, 11024
 * in older releases. */
typedef struct icd_splt_opaque {
    _Alignas(16) unsigned char data[11024];
} icd_splt_opaque;

/** Every function that is used: X(member, symbol, parameters). */
#define ICD_SPLT_FUNCTIONS(X)                                                            \
    X(init, cusparseLtInit, (icd_splt_opaque *))                                         \
    X(destroy, cusparseLtDestroy, (const icd_splt_opaque *))                             \
    X(version, cusparseLtGetVersion, (const icd_splt_opaque *, int *))                   \
    X(sparse_init, cusparseLtStructuredDescriptorInit,                                   \
      (const icd_splt_opaque *, icd_splt_opaque *, int64_t, int64_t, int64_t, uint32_t,  \
       int, int, int))                                                                   \
    X(dense_init, cusparseLtDenseDescriptorInit,                                         \
      (const icd_splt_opaque *, icd_splt_opaque *, int64_t, int64_t, int64_t, uint32_t,  \
       int, int))                                                                        \
    X(matrix_free, cusparseLtMatDescriptorDestroy, (const icd_splt_opaque *))            \
    X(product_init, cusparseLtMatmulDescriptorInit,                                      \
      (const icd_splt_opaque *, icd_splt_opaque *, int, int, const icd_splt_opaque *,    \
       const icd_splt_opaque *, const icd_splt_opaque *, const icd_splt_opaque *, int))  \
    X(choice_init, cusparseLtMatmulAlgSelectionInit,                                     \
      (const icd_splt_opaque *, icd_splt_opaque *, const icd_splt_opaque *, int))        \
    X(choice_free, cusparseLtMatmulAlgSelectionDestroy, (const icd_splt_opaque *))       \
    X(plan_init, cusparseLtMatmulPlanInit,                                               \
      (const icd_splt_opaque *, icd_splt_opaque *, const icd_splt_opaque *,              \
       const icd_splt_opaque *))                                                         \
    X(plan_free, cusparseLtMatmulPlanDestroy, (const icd_splt_opaque *))                 \
    X(workspace, cusparseLtMatmulGetWorkspace,                                           \
      (const icd_splt_opaque *, const icd_splt_opaque *, size_t *))                      \
    X(prune_check, cusparseLtSpMMAPruneCheck,                                            \
      (const icd_splt_opaque *, const icd_splt_opaque *, const void *, int *, void *))   \
    X(compressed_size, cusparseLtSpMMACompressedSize,                                    \
      (const icd_splt_opaque *, const icd_splt_opaque *, size_t *, size_t *))            \
    X(compress, cusparseLtSpMMACompress,                                                 \
      (const icd_splt_opaque *, const icd_splt_opaque *, const void *, void *, void *,   \
       void *))                                                                          \
    X(search, cusparseLtMatmulSearch,                                                    \
      (const icd_splt_opaque *, icd_splt_opaque *, const void *, const void *,           \
       const void *, const void *, const void *, void *, void *, void **, int32_t))      \
    X(matmul, cusparseLtMatmul,                                                          \
      (const icd_splt_opaque *, const icd_splt_opaque *, const void *, const void *,     \
       const void *, const void *, const void *, void *, void *, void **, int32_t))

#endif
