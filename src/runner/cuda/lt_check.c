/* lt_abi.h against the header of the CUDA release at hand, while this file is compiled.
 * Nothing of it runs. */
#include "runner/cuda/lt_abi.h"

#if ICD_HAVE_CUBLASLT

#include <cublasLt.h>

#define SAME(ours, theirs)                                                               \
    _Static_assert((int)(ours) == (int)(theirs), #ours " is not " #theirs)

SAME(ICD_LT_OK, CUBLAS_STATUS_SUCCESS);
SAME(ICD_LT_NO_MEMORY, CUBLAS_STATUS_ALLOC_FAILED);
SAME(ICD_LT_TURNED, CUBLAS_OP_T);
SAME(ICD_LT_R_32F, CUDA_R_32F);
SAME(ICD_LT_R_8I, CUDA_R_8I);
SAME(ICD_LT_R_32I, CUDA_R_32I);
SAME(ICD_LT_R_16BF, CUDA_R_16BF);
SAME(ICD_LT_R_8F_E4M3, CUDA_R_8F_E4M3);
SAME(ICD_LT_COMPUTE_32F, CUBLAS_COMPUTE_32F);
SAME(ICD_LT_COMPUTE_32I, CUBLAS_COMPUTE_32I);
SAME(ICD_LT_DESC_TRANSA, CUBLASLT_MATMUL_DESC_TRANSA);
SAME(ICD_LT_DESC_EPILOGUE, CUBLASLT_MATMUL_DESC_EPILOGUE);
SAME(ICD_LT_DESC_BIAS, CUBLASLT_MATMUL_DESC_BIAS_POINTER);
SAME(ICD_LT_EPILOGUE_NONE, CUBLASLT_EPILOGUE_DEFAULT);
SAME(ICD_LT_EPILOGUE_RELU, CUBLASLT_EPILOGUE_RELU);
SAME(ICD_LT_EPILOGUE_BIAS, CUBLASLT_EPILOGUE_BIAS);
SAME(ICD_LT_EPILOGUE_RELU | ICD_LT_EPILOGUE_BIAS, CUBLASLT_EPILOGUE_RELU_BIAS);
SAME(ICD_LT_PREFERENCE_WORKSPACE, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
SAME(sizeof(icd_lt_algo), sizeof(cublasLtMatmulAlgo_t));
SAME(sizeof(icd_lt_suggestion), sizeof(cublasLtMatmulHeuristicResult_t));
SAME(offsetof(icd_lt_suggestion, state),
     offsetof(cublasLtMatmulHeuristicResult_t, state));
SAME(sizeof(cublasLtEpilogue_t), sizeof(int32_t));
SAME(sizeof(cublasOperation_t), sizeof(int32_t));

#endif

extern const int icd_i_lt_abi_checked;
const int icd_i_lt_abi_checked =
#if ICD_HAVE_CUBLASLT
    1;
#else
    0;
#endif
