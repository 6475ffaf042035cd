#include "runner/cuda/lt.h"

#include "runner/cuda/lt_abi.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

enum { SUGGESTIONS = 8, RUNS = 10, WORKSPACE = 32 << 20 };

/* A shape and how it is run. */
typedef struct tuned {
    icd_lt_product shape; /* its pointers are not looked at, but for bias: there or not */
    void *desc, *w, *x, *y;
    icd_lt_algo algo;
    int32_t tried; /* 0: nothing runs it */
} tuned;

struct icd_lt {
    icd_gpu *gpu;
    void *library;
#define LT_MEMBER(name, symbol, args) int(*name) args;
    ICD_LT_FUNCTIONS(LT_MEMBER)
#undef LT_MEMBER
    void *handle;
    tuned *list;
    int64_t count, capacity;
    icd_dptr workspace;
};

static const struct {
    int in, out, scale, compute;
} TYPE[ICD_GPU_TYPES] = {
    [ICD_GPU_BF16] = {ICD_LT_R_16BF, ICD_LT_R_16BF, ICD_LT_R_32F, ICD_LT_COMPUTE_32F},
    [ICD_GPU_INT8] = {ICD_LT_R_8I, ICD_LT_R_32I, ICD_LT_R_32I, ICD_LT_COMPUTE_32I},
    [ICD_GPU_FP8] = {ICD_LT_R_8F_E4M3, ICD_LT_R_16BF, ICD_LT_R_32F, ICD_LT_COMPUTE_32F},
};

static icd_status checked(icd_ctx *ctx, int result, const char *doing)
{
    if (result == ICD_LT_OK) return ICD_OK;
    return icd_i_fail(ctx, result == ICD_LT_NO_MEMORY ? ICD_ENOMEM : ICD_EUNSUPPORTED,
                      "cuBLASLt", NULL, "%s failed with status %d", doing, result);
}

static void *open_library(const char *library)
{
    static const char *const NAME[] = {"libcublasLt.so.13", "libcublasLt.so.12"};
    void *found = library ? dlopen(library, RTLD_NOW | RTLD_LOCAL) : NULL;
    for (size_t i = 0; !library && !found && i < sizeof NAME / sizeof *NAME; i++)
        found = dlopen(NAME[i], RTLD_NOW | RTLD_LOCAL);
    return found;
}

static icd_status load(icd_ctx *ctx, icd_lt *lt, const char *library)
{
    lt->library = open_library(library);
    if (!lt->library)
        return icd_i_fail(ctx, ICD_EUNSUPPORTED, "cuBLASLt", "set runner.cublaslt",
                          "%s could not be loaded",
                          library ? library : "neither libcublasLt.so.13 nor .12");
#define LT_LOAD(member, symbol, args)                                                    \
    {                                                                                    \
        void *found = dlsym(lt->library, #symbol);                                       \
        if (!found)                                                                      \
            return icd_i_fail(ctx, ICD_EUNSUPPORTED, "cuBLASLt", "set runner.cublaslt",  \
                              "found no function " #symbol);                             \
        memcpy(&lt->member, &found, sizeof found);                                       \
    }
    ICD_LT_FUNCTIONS(LT_LOAD)
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
    ICD_TRY(icd_i_device_enter(ctx, gpu->device));
    ICD_TRY(checked(ctx, lt->create(&lt->handle), "its start"));
    ICD_TRY(icd_device_alloc(ctx, gpu->device, WORKSPACE, "the workspace of cuBLASLt",
                             &lt->workspace));
    *out = lt;
    lt = NULL;
done:
    icd_i_lt_close(ctx, lt);
    return status;
}

static void forget(icd_lt *lt, tuned *t)
{
    if (t->desc) (void)lt->desc_free(t->desc);
    if (t->w) (void)lt->layout_free(t->w);
    if (t->x) (void)lt->layout_free(t->x);
    if (t->y) (void)lt->layout_free(t->y);
    t->desc = t->w = t->x = t->y = NULL;
}

void icd_i_lt_close(icd_ctx *ctx, icd_lt *lt)
{
    if (!lt) return;
    for (int64_t i = 0; i < lt->count; i++) forget(lt, &lt->list[i]);
    if (lt->handle) (void)lt->destroy(lt->handle);
    icd_device_release(ctx, lt->gpu->device, lt->workspace);
    if (lt->library) dlclose(lt->library);
    icd_i_free(ctx, lt->list);
    icd_i_free(ctx, lt);
}

static bool same_shape(const icd_lt_product *a, const icd_lt_product *b)
{
    return a->type == b->type && a->relu == b->relu && a->tokens == b->tokens &&
           a->rows == b->rows && a->cols == b->cols && a->ldx == b->ldx &&
           !a->bias.at == !b->bias.at;
}

static tuned *find(const icd_lt *lt, const icd_lt_product *p)
{
    for (int64_t i = 0; i < lt->count; i++)
        if (same_shape(&lt->list[i].shape, p)) return &lt->list[i];
    return NULL;
}

static icd_status set_desc(icd_ctx *ctx, icd_lt *lt, tuned *t, int what,
                           const void *value, size_t bytes)
{
    return checked(ctx, lt->desc_set(t->desc, what, value, bytes),
                   "describing a product");
}

/* The library counts column by column: y^T [rows x tokens] = w x^T, with w [cols x rows]
 * to be transposed. */
static icd_status describe(icd_ctx *ctx, icd_lt *lt, tuned *t)
{
    icd_status status = ICD_OK;
    const icd_lt_product *p = &t->shape;
    int32_t turned = ICD_LT_TURNED;
    int32_t epilogue =
        (p->relu ? ICD_LT_EPILOGUE_RELU : 0) | (p->bias.at ? ICD_LT_EPILOGUE_BIAS : 0);
    uint64_t k = (uint64_t)p->cols, n = (uint64_t)p->tokens, m = (uint64_t)p->rows;
    if (!epilogue) epilogue = ICD_LT_EPILOGUE_NONE;
    ICD_TRY(checked(ctx,
                    lt->desc_new(&t->desc, TYPE[p->type].compute, TYPE[p->type].scale),
                    "describing a product"));
    ICD_TRY(set_desc(ctx, lt, t, ICD_LT_DESC_TRANSA, &turned, sizeof turned));
    ICD_TRY(set_desc(ctx, lt, t, ICD_LT_DESC_EPILOGUE, &epilogue, sizeof epilogue));
    ICD_TRY(checked(ctx, lt->layout_new(&t->w, TYPE[p->type].in, k, m, p->cols),
                    "describing a matrix"));
    ICD_TRY(checked(ctx, lt->layout_new(&t->x, TYPE[p->type].in, k, n, p->ldx),
                    "describing a matrix"));
    ICD_TRY(checked(ctx, lt->layout_new(&t->y, TYPE[p->type].out, m, n, p->rows),
                    "describing a matrix"));
done:
    return status;
}

static void *place(icd_dptr p)
{
    return (void *)(uintptr_t)p.at;
}

static icd_status run(icd_ctx *ctx, icd_lt *lt, tuned *t, const icd_lt_product *p)
{
    const float one = 1, none = 0;
    const int32_t one_int = 1, none_int = 0;
    bool whole = p->type == ICD_GPU_INT8;
    const void *alpha = whole ? (const void *)&one_int : (const void *)&one,
               *beta = whole ? (const void *)&none_int : (const void *)&none;
    void *bias = place(p->bias);
    icd_status status = icd_i_device_enter(ctx, lt->gpu->device);
    if (status == ICD_OK && bias)
        status = set_desc(ctx, lt, t, ICD_LT_DESC_BIAS, &bias, sizeof bias);
    if (status != ICD_OK) return status;
    return checked(ctx,
                   lt->matmul(lt->handle, t->desc, alpha, place(p->w), t->w, place(p->x),
                              t->x, beta, place(p->y), t->y, place(p->y), t->y, &t->algo,
                              place(lt->workspace), WORKSPACE,
                              icd_i_device_stream(lt->gpu->device)),
                   "a product");
}

icd_status icd_i_lt_run(icd_ctx *ctx, icd_lt *lt, const icd_lt_product *p)
{
    tuned *t = find(lt, p);
    if (t && t->tried) return run(ctx, lt, t, p);
    return icd_i_fail(ctx, ICD_EUNSUPPORTED, "cuBLASLt", NULL,
                      "found no algorithm for %lld x %lld x %lld in this type",
                      (long long)p->tokens, (long long)p->rows, (long long)p->cols);
}

static int by_time(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static icd_status time_of(icd_ctx *ctx, icd_lt *lt, icd_timer *timer, tuned *t,
                          const icd_lt_product *p, double *out)
{
    icd_status status = ICD_OK;
    double ms[RUNS];
    ICD_TRY(run(ctx, lt, t, p)); /* warm */
    for (int i = 0; i < RUNS; i++) {
        ICD_TRY(icd_timer_start(ctx, timer));
        ICD_TRY(run(ctx, lt, t, p));
        ICD_TRY(icd_timer_stop(ctx, timer));
        ICD_TRY(icd_timer_ms(ctx, timer, &ms[i]));
    }
    qsort(ms, RUNS, sizeof *ms, by_time);
    *out = ms[RUNS / 2];
done:
    return status;
}

static icd_status suggest(icd_ctx *ctx, icd_lt *lt, tuned *t, icd_lt_suggestion *found,
                          int *count)
{
    icd_status status = ICD_OK;
    void *preference = NULL;
    uint64_t room = WORKSPACE;
    ICD_TRY(checked(ctx, lt->preference_new(&preference), "a preference"));
    ICD_TRY(checked(
        ctx,
        lt->preference_set(preference, ICD_LT_PREFERENCE_WORKSPACE, &room, sizeof room),
        "a preference"));
    ICD_TRY(checked(ctx,
                    lt->heuristic(lt->handle, t->desc, t->w, t->x, t->y, t->y, preference,
                                  SUGGESTIONS, found, count),
                    "choosing an algorithm"));
done:
    if (preference) (void)lt->preference_free(preference);
    return status;
}

/* A suggestion that fails to run is passed over. */
static icd_status try_all(icd_ctx *ctx, icd_lt *lt, tuned *t, const icd_lt_product *p)
{
    icd_status status = ICD_OK;
    icd_lt_suggestion found[SUGGESTIONS];
    icd_timer *timer = NULL;
    int count = 0;
    double best = 0, ms = 0;
    icd_lt_algo kept = {{0}};
    ICD_TRY(describe(ctx, lt, t));
    ICD_TRY(suggest(ctx, lt, t, found, &count));
    ICD_TRY(icd_timer_new(ctx, lt->gpu->device, &timer));
    for (int i = 0; i < count; i++) {
        t->algo = found[i].algo;
        if (time_of(ctx, lt, timer, t, p, &ms) != ICD_OK) continue;
        if (t->tried++ && ms >= best) continue;
        best = ms;
        kept = found[i].algo;
    }
    t->algo = kept;
done:
    icd_timer_free(ctx, timer);
    return status;
}

icd_status icd_i_lt_tune(icd_ctx *ctx, icd_lt *lt, const icd_lt_product *p,
                         int32_t *tried)
{
    icd_status status = ICD_OK;
    tuned *t = find(lt, p);
    if (!t) {
        ICD_TRY(icd_i_grow(ctx, (void **)&lt->list, &lt->capacity, lt->count + 1,
                           sizeof *lt->list));
        t = &lt->list[lt->count++];
        *t = (tuned){.shape = *p};
        status = try_all(ctx, lt, t, p);
        if (status == ICD_ENOMEM) goto done;
    }
    if (tried) *tried = t->tried;
    if (t->tried == 0)
        status = icd_i_fail(ctx, ICD_EUNSUPPORTED, "cuBLASLt", NULL,
                            "found no algorithm for %lld x %lld x %lld in this type",
                            (long long)p->tokens, (long long)p->rows, (long long)p->cols);
done:
    return status;
}
