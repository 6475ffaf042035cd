/**
 * @file lt_abi.h
 * cuBLASLt by its binary interface, as far as it is used: no header of CUDA is needed to
 * build. Where the header is found, lt_check.c compares the two when it is compiled.
 */
#ifndef ICD_RUNNER_CUDA_LT_ABI_H
#define ICD_RUNNER_CUDA_LT_ABI_H

#include <stddef.h>
#include <stdint.h>

/** cublasStatus_t, cublasOperation_t, cudaDataType_t, cublasComputeType_t */
enum {
    ICD_LT_OK = 0,
    ICD_LT_NO_MEMORY = 3,
    ICD_LT_TURNED = 1,
    ICD_LT_R_32F = 0,
    ICD_LT_R_8I = 3,
    ICD_LT_R_32I = 10,
    ICD_LT_R_16BF = 14,
    ICD_LT_R_8F_E4M3 = 28,
    ICD_LT_COMPUTE_32F = 68,
    ICD_LT_COMPUTE_32I = 72
};

/** cublasLtMatmulDescAttributes_t, cublasLtEpilogue_t,
 * cublasLtMatmulPreferenceAttributes_t */
enum {
    ICD_LT_DESC_TRANSA = 3,
    ICD_LT_DESC_EPILOGUE = 7,
    ICD_LT_DESC_BIAS = 8,
    ICD_LT_EPILOGUE_NONE = 1,
    ICD_LT_EPILOGUE_RELU = 2,
    ICD_LT_EPILOGUE_BIAS = 4,
    ICD_LT_PREFERENCE_WORKSPACE = 1
};

/** cublasLtMatmulAlgo_t, cublasLtMatmulHeuristicResult_t */
typedef struct icd_lt_algo {
    uint64_t data[8];
} icd_lt_algo;
typedef struct icd_lt_suggestion {
    icd_lt_algo algo;
    size_t workspace;
    int state;
    float waves;
    int reserved[4];
} icd_lt_suggestion;

/** Every function that is used: X(member, symbol, parameters). Handles, descriptions,
 * layouts and preferences are pointers. */
#define ICD_LT_FUNCTIONS(X)                                                              \
    X(create, cublasLtCreate, (void **))                                                 \
    X(destroy, cublasLtDestroy, (void *))                                                \
    X(matmul, cublasLtMatmul,                                                            \
      (void *, void *, const void *, const void *, void *, const void *, void *,         \
       const void *, const void *, void *, void *, void *, const icd_lt_algo *, void *,  \
       size_t, void *))                                                                  \
    X(heuristic, cublasLtMatmulAlgoGetHeuristic,                                         \
      (void *, void *, void *, void *, void *, void *, void *, int, icd_lt_suggestion *, \
       int *))                                                                           \
    X(desc_new, cublasLtMatmulDescCreate, (void **, int, int))                           \
    X(desc_set, cublasLtMatmulDescSetAttribute, (void *, int, const void *, size_t))     \
    X(desc_free, cublasLtMatmulDescDestroy, (void *))                                    \
    X(layout_new, cublasLtMatrixLayoutCreate,                                            \
      (void **, int, uint64_t, uint64_t, int64_t))                                       \
    X(layout_free, cublasLtMatrixLayoutDestroy, (void *))                                \
    X(preference_new, cublasLtMatmulPreferenceCreate, (void **))                         \
    X(preference_set, cublasLtMatmulPreferenceSetAttribute,                              \
      (void *, int, const void *, size_t))                                               \
    X(preference_free, cublasLtMatmulPreferenceDestroy, (void *))

#endif
