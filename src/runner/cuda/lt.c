#include "runner/cuda/lt.h"

#if ICD_CUDA_LT

#include <cublasLt.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

enum { SUGGESTIONS = 8, RUNS = 10, WORKSPACE = 32 << 20 };

/* Every function that is used, with the type that the header gives it. */
#define LT_FUNCTIONS(X)                                                                  \
    X(create, cublasLtCreate)                                                            \
    X(destroy, cublasLtDestroy)                                                          \
    X(matmul, cublasLtMatmul)                                                            \
    X(heuristic, cublasLtMatmulAlgoGetHeuristic)                                         \
    X(desc_new, cublasLtMatmulDescCreate)                                                \
    X(desc_set, cublasLtMatmulDescSetAttribute)                                          \
    X(desc_free, cublasLtMatmulDescDestroy)                                              \
    X(layout_new, cublasLtMatrixLayoutCreate)                                            \
    X(layout_free, cublasLtMatrixLayoutDestroy)                                          \
    X(preference_new, cublasLtMatmulPreferenceCreate)                                    \
    X(preference_set, cublasLtMatmulPreferenceSetAttribute)                              \
    X(preference_free, cublasLtMatmulPreferenceDestroy)

struct icd_lt {
    icd_gpu *gpu;
    void *library;
#define LT_MEMBER(name, symbol) __typeof__(&(symbol)) name;
    LT_FUNCTIONS(LT_MEMBER)
#undef LT_MEMBER
    cublasLtHandle_t handle;
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t w, x, y;
    cublasLtMatmulAlgo_t algo;
    icd_dptr workspace;
};

static const struct {
    cudaDataType_t in, out, scale;
    cublasComputeType_t compute;
} TYPE[ICD_LT_TYPES] = {
    [ICD_LT_BF16] = {CUDA_R_16BF, CUDA_R_16BF, CUDA_R_32F, CUBLAS_COMPUTE_32F},
    [ICD_LT_FP8] = {CUDA_R_8F_E4M3, CUDA_R_16BF, CUDA_R_32F, CUBLAS_COMPUTE_32F},
    [ICD_LT_INT8] = {CUDA_R_8I, CUDA_R_32I, CUDA_R_32I, CUBLAS_COMPUTE_32I},
};

static icd_status checked(icd_ctx *ctx, cublasStatus_t result, const char *doing)
{
    if (result == CUBLAS_STATUS_SUCCESS) return ICD_OK;
    return icd_i_fail(
        ctx, result == CUBLAS_STATUS_ALLOC_FAILED ? ICD_ENOMEM : ICD_EUNSUPPORTED,
        "cuBLASLt", NULL, "%s failed with status %d", doing, (int)result);
}

static icd_status load(icd_ctx *ctx, icd_lt *lt, const char *library)
{
    const char *name = library ? library : ICD_CUDA_LT_NAME;
    lt->library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!lt->library)
        return icd_i_fail(ctx, ICD_EUNSUPPORTED, "cuBLASLt", NULL,
                          "%s could not be loaded", name);
#define LT_LOAD(member, symbol)                                                          \
    {                                                                                    \
        void *found = dlsym(lt->library, #symbol);                                       \
        if (!found)                                                                      \
            return icd_i_fail(ctx, ICD_EUNSUPPORTED, name, NULL,                         \
                              "found no function " #symbol);                             \
        memcpy(&lt->member, &found, sizeof found);                                       \
    }
    LT_FUNCTIONS(LT_LOAD)
#undef LT_LOAD
    return ICD_OK;
}

icd_status icd_i_lt_open(icd_ctx *ctx, icd_gpu *gpu, const char *library, icd_lt **out)
{
    icd_status status = ICD_OK;
    icd_lt *lt = NULL;
    *out = NULL;
    ICD_TRY(ICD_ALLOC(ctx, 1, &lt));
    lt->gpu = gpu;
    ICD_TRY(load(ctx, lt, library));
    ICD_TRY(checked(ctx, lt->create(&lt->handle), "its start"));
    ICD_TRY(icd_device_alloc(ctx, gpu->device, WORKSPACE, "the workspace of cuBLASLt",
                             &lt->workspace));
    *out = lt;
    lt = NULL;
done:
    icd_i_lt_close(ctx, lt);
    return status;
}

static void forget(icd_lt *lt)
{
    if (lt->desc) (void)lt->desc_free(lt->desc);
    if (lt->w) (void)lt->layout_free(lt->w);
    if (lt->x) (void)lt->layout_free(lt->x);
    if (lt->y) (void)lt->layout_free(lt->y);
    lt->desc = NULL;
    lt->w = lt->x = lt->y = NULL;
}

void icd_i_lt_close(icd_ctx *ctx, icd_lt *lt)
{
    if (!lt) return;
    forget(lt);
    if (lt->handle) (void)lt->destroy(lt->handle);
    icd_device_release(ctx, lt->gpu->device, lt->workspace);
    if (lt->library) dlclose(lt->library);
    icd_i_free(ctx, lt);
}

/* The library counts column by column: y^T [rows x tokens] = w x^T, with w [cols x rows]
 * to be transposed. */
static icd_status describe(icd_ctx *ctx, icd_lt *lt, const icd_lt_product *p)
{
    icd_status status = ICD_OK;
    cublasOperation_t turned = CUBLAS_OP_T;
    uint64_t k = (uint64_t)p->cols, n = (uint64_t)p->tokens, m = (uint64_t)p->rows;
    forget(lt);
    ICD_TRY(checked(ctx,
                    lt->desc_new(&lt->desc, TYPE[p->type].compute, TYPE[p->type].scale),
                    "describing a product"));
    ICD_TRY(checked(
        ctx, lt->desc_set(lt->desc, CUBLASLT_MATMUL_DESC_TRANSA, &turned, sizeof turned),
        "describing a product"));
    ICD_TRY(checked(ctx, lt->layout_new(&lt->w, TYPE[p->type].in, k, m, p->cols),
                    "describing a matrix"));
    ICD_TRY(checked(ctx, lt->layout_new(&lt->x, TYPE[p->type].in, k, n, p->cols),
                    "describing a matrix"));
    ICD_TRY(checked(ctx, lt->layout_new(&lt->y, TYPE[p->type].out, m, n, p->rows),
                    "describing a matrix"));
done:
    return status;
}

static void *place(icd_dptr p)
{
    return (void *)(uintptr_t)p.at;
}

icd_status icd_i_lt_run(icd_ctx *ctx, icd_lt *lt, const icd_lt_product *p)
{
    const float one = 1, none = 0;
    const int32_t one_int = 1, none_int = 0;
    bool whole = p->type == ICD_LT_INT8;
    const void *alpha = whole ? (const void *)&one_int : (const void *)&one,
               *beta = whole ? (const void *)&none_int : (const void *)&none;
    cudaStream_t stream = (cudaStream_t)icd_i_device_stream(lt->gpu->device);
    return checked(ctx,
                   lt->matmul(lt->handle, lt->desc, alpha, place(p->w), lt->w,
                              place(p->x), lt->x, beta, place(p->y), lt->y, place(p->y),
                              lt->y, &lt->algo, place(lt->workspace), WORKSPACE, stream),
                   "a product");
}

static int by_time(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static icd_status time_of(icd_ctx *ctx, icd_lt *lt, icd_timer *timer,
                          const icd_lt_product *p, double *out)
{
    icd_status status = ICD_OK;
    double ms[RUNS];
    ICD_TRY(icd_i_lt_run(ctx, lt, p)); /* warm */
    for (int i = 0; i < RUNS; i++) {
        ICD_TRY(icd_timer_start(ctx, timer));
        ICD_TRY(icd_i_lt_run(ctx, lt, p));
        ICD_TRY(icd_timer_stop(ctx, timer));
        ICD_TRY(icd_timer_ms(ctx, timer, &ms[i]));
    }
    qsort(ms, RUNS, sizeof *ms, by_time);
    *out = ms[RUNS / 2];
done:
    return status;
}

static icd_status suggest(icd_ctx *ctx, icd_lt *lt,
                          cublasLtMatmulHeuristicResult_t *found, int *count)
{
    icd_status status = ICD_OK;
    cublasLtMatmulPreference_t preference = NULL;
    uint64_t room = WORKSPACE;
    ICD_TRY(checked(ctx, lt->preference_new(&preference), "a preference"));
    ICD_TRY(
        checked(ctx,
                lt->preference_set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                   &room, sizeof room),
                "a preference"));
    ICD_TRY(checked(ctx,
                    lt->heuristic(lt->handle, lt->desc, lt->w, lt->x, lt->y, lt->y,
                                  preference, SUGGESTIONS, found, count),
                    "choosing an algorithm"));
done:
    if (preference) (void)lt->preference_free(preference);
    return status;
}

/* A suggestion that fails to run is passed over. */
icd_status icd_i_lt_tune(icd_ctx *ctx, icd_lt *lt, const icd_lt_product *p,
                         int32_t *tried)
{
    icd_status status = ICD_OK;
    cublasLtMatmulHeuristicResult_t found[SUGGESTIONS];
    icd_timer *timer = NULL;
    int count = 0;
    double best = -1, ms = 0;
    cublasLtMatmulAlgo_t kept = {{0}};
    *tried = 0;
    ICD_TRY(describe(ctx, lt, p));
    ICD_TRY(suggest(ctx, lt, found, &count));
    ICD_TRY(icd_timer_new(ctx, lt->gpu->device, &timer));
    for (int i = 0; i < count; i++) {
        lt->algo = found[i].algo;
        if (time_of(ctx, lt, timer, p, &ms) != ICD_OK) continue;
        ++*tried;
        if (best >= 0 && ms >= best) continue;
        best = ms;
        kept = found[i].algo;
    }
    lt->algo = kept;
    if (*tried == 0)
        status = icd_i_fail(ctx, ICD_EUNSUPPORTED, "cuBLASLt", NULL,
                            "no algorithm for %lld x %lld x %lld in this type",
                            (long long)p->tokens, (long long)p->rows, (long long)p->cols);
done:
    icd_timer_free(ctx, timer);
    return status;
}

#else

icd_status icd_i_lt_open(icd_ctx *ctx, icd_gpu *gpu, const char *library, icd_lt **out)
{
    (void)gpu;
    (void)library;
    *out = NULL;
    return icd_i_fail(ctx, ICD_EUNSUPPORTED, "cuBLASLt", "build where its header is",
                      "this build does not know it");
}

void icd_i_lt_close(icd_ctx *ctx, icd_lt *lt)
{
    (void)ctx;
    (void)lt;
}

icd_status icd_i_lt_tune(icd_ctx *ctx, icd_lt *lt, const icd_lt_product *p,
                         int32_t *tried)
{
    (void)lt;
    (void)p;
    *tried = 0;
    return icd_i_fail(ctx, ICD_EUNSUPPORTED, "cuBLASLt", NULL, "it is not loaded");
}

icd_status icd_i_lt_run(icd_ctx *ctx, icd_lt *lt, const icd_lt_product *p)
{
    (void)lt;
    (void)p;
    return icd_i_fail(ctx, ICD_EUNSUPPORTED, "cuBLASLt", NULL, "it is not loaded");
}

#endif
