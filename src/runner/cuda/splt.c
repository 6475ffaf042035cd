#include "runner/cuda/splt.h"

#include "runner/cuda/lt_abi.h"
#include "runner/cuda/splt_abi.h"

#include <dlfcn.h>
#include <string.h>

/* One compressed matrix and how it is multiplied for a number of tokens. */
typedef struct matrix {
    icd_splt_opaque w, x, y, product, choice, plan;
    bool has_w, has_x, has_y, has_choice, has_plan;
    icd_dptr compressed, workspace;
} matrix;

struct icd_splt {
    icd_gpu *gpu;
    void *library;
#define SPLT_MEMBER(name, symbol, args) int(*name) args;
    ICD_SPLT_FUNCTIONS(SPLT_MEMBER)
#undef SPLT_MEMBER
    icd_splt_opaque handle;
    bool started;
    matrix **list;
    int64_t count, capacity;
};

static const struct {
    int in, out, compute;
} TYPE[ICD_GPU_TYPES] = {
    [ICD_GPU_BF16] = {ICD_LT_R_16BF, ICD_LT_R_16BF, ICD_SPLT_COMPUTE_32F},
    [ICD_GPU_INT8] = {ICD_LT_R_8I, ICD_LT_R_32I, ICD_SPLT_COMPUTE_32I},
    [ICD_GPU_FP8] = {ICD_LT_R_8F_E4M3, ICD_LT_R_16BF, ICD_SPLT_COMPUTE_32F},
};

static icd_status checked(icd_ctx *ctx, int result, const char *doing)
{
    if (result == ICD_SPLT_OK) return ICD_OK;
    return icd_i_fail(ctx, result == ICD_SPLT_NO_MEMORY ? ICD_ENOMEM : ICD_EUNSUPPORTED,
                      "cuSPARSELt", NULL, "%s failed with status %d", doing, result);
}

static icd_status load(icd_ctx *ctx, icd_splt *s, const char *library)
{
    const char *name = library ? library : "libcusparseLt.so.0";
    s->library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!s->library)
        return icd_i_fail(ctx, ICD_EUNSUPPORTED, "cuSPARSELt", "set runner.cusparselt",
                          "%s could not be loaded, so 2:4 runs as dense", name);
#define SPLT_LOAD(member, symbol, args)                                                  \
    {                                                                                    \
        void *found = dlsym(s->library, #symbol);                                        \
        if (!found)                                                                      \
            return icd_i_fail(ctx, ICD_EUNSUPPORTED, "cuSPARSELt",                       \
                              "install release 0.5.2 or later",                          \
                              "found no function " #symbol);                             \
        memcpy(&s->member, &found, sizeof found);                                        \
    }
    ICD_SPLT_FUNCTIONS(SPLT_LOAD)
#undef SPLT_LOAD
    return ICD_OK;
}

static icd_status start(icd_ctx *ctx, icd_splt *s)
{
    icd_status status = ICD_OK;
    int version = 0;
    ICD_TRY(icd_i_device_enter(ctx, s->gpu->device));
    ICD_TRY(checked(ctx, s->init(&s->handle), "its start"));
    s->started = true;
    ICD_TRY(checked(ctx, s->version(&s->handle, &version), "reading its version"));
    if (version < ICD_SPLT_OLDEST)
        status = icd_i_fail(
            ctx, ICD_EUNSUPPORTED, "cuSPARSELt", "install release 0.5.2 or later",
            "found version %d, expected %d or later", version, ICD_SPLT_OLDEST);
done:
    return status;
}

icd_status icd_i_splt_open(icd_ctx *ctx, icd_gpu *gpu, const char *library,
                           icd_splt **out)
{
    icd_status status = ICD_OK;
    icd_splt *s = NULL;
    *out = NULL;
    ICD_TRY(ICD_ALLOC(ctx, 1, &s));
    s->gpu = gpu;
    ICD_TRY(load(ctx, s, library));
    ICD_TRY(start(ctx, s));
    *out = s;
    s = NULL;
done:
    icd_i_splt_close(ctx, s);
    return status;
}

static void forget(icd_ctx *ctx, icd_splt *s, matrix *m)
{
    if (m->has_plan) (void)s->plan_free(&m->plan);
    if (m->has_choice) (void)s->choice_free(&m->choice);
    if (m->has_w) (void)s->matrix_free(&m->w);
    if (m->has_x) (void)s->matrix_free(&m->x);
    if (m->has_y) (void)s->matrix_free(&m->y);
    icd_device_release(ctx, s->gpu->device, m->compressed);
    icd_device_release(ctx, s->gpu->device, m->workspace);
    *m = (matrix){.has_w = false};
}

void icd_i_splt_close(icd_ctx *ctx, icd_splt *s)
{
    if (!s) return;
    for (int64_t i = 0; i < s->count; i++) {
        forget(ctx, s, s->list[i]);
        icd_i_free(ctx, s->list[i]);
    }
    if (s->started) (void)s->destroy(&s->handle);
    if (s->library) dlclose(s->library);
    icd_i_free(ctx, s->list);
    icd_i_free(ctx, s);
}

/* The library counts column by column, as cuBLASLt does (lt.c). */
static icd_status describe_operands(icd_ctx *ctx, icd_splt *s, matrix *m,
                                    const icd_lt_product *p)
{
    icd_status status = ICD_OK;
    int in = TYPE[p->type].in, out = TYPE[p->type].out;
    ICD_TRY(
        checked(ctx,
                s->sparse_init(&s->handle, &m->w, p->cols, p->rows, p->cols,
                               ICD_SPLT_ALIGNMENT, in, ICD_SPLT_BY_COLUMN, ICD_SPLT_HALF),
                "describing the weights"));
    m->has_w = true;
    ICD_TRY(checked(ctx,
                    s->dense_init(&s->handle, &m->x, p->cols, p->tokens, p->ldx,
                                  ICD_SPLT_ALIGNMENT, in, ICD_SPLT_BY_COLUMN),
                    "describing the input"));
    m->has_x = true;
    ICD_TRY(checked(ctx,
                    s->dense_init(&s->handle, &m->y, p->rows, p->tokens, p->rows,
                                  ICD_SPLT_ALIGNMENT, out, ICD_SPLT_BY_COLUMN),
                    "describing the result"));
    m->has_y = true;
done:
    return status;
}

static icd_status describe(icd_ctx *ctx, icd_splt *s, matrix *m, const icd_lt_product *p)
{
    icd_status status = ICD_OK;
    ICD_TRY(describe_operands(ctx, s, m, p));
    ICD_TRY(checked(ctx,
                    s->product_init(&s->handle, &m->product, ICD_SPLT_TURNED,
                                    ICD_SPLT_AS_IT_IS, &m->w, &m->x, &m->y, &m->y,
                                    TYPE[p->type].compute),
                    "describing a product"));
    ICD_TRY(checked(ctx,
                    s->choice_init(&s->handle, &m->choice, &m->product, ICD_SPLT_DEFAULT),
                    "choosing an algorithm"));
    m->has_choice = true;
    ICD_TRY(checked(ctx, s->plan_init(&s->handle, &m->plan, &m->product, &m->choice),
                    "planning a product"));
    m->has_plan = true;
done:
    return status;
}

static void *place(icd_dptr p)
{
    return (void *)(uintptr_t)p.at;
}

/* The library's own look at the weights: a flag on the device, 0 where they are 2:4. */
static icd_status check_pruned(icd_ctx *ctx, icd_splt *s, matrix *m,
                               const icd_lt_product *p, bool *pruned)
{
    icd_status status = ICD_OK;
    icd_device *device = s->gpu->device;
    icd_dptr flag = {0};
    int wrong = 1;
    ICD_TRY(icd_device_alloc(ctx, device, (int64_t)sizeof wrong, "a flag", &flag));
    ICD_TRY(checked(ctx,
                    s->prune_check(&s->handle, &m->product, place(p->w), place(flag),
                                   icd_i_device_stream(device)),
                    "checking for 2:4"));
    ICD_TRY(icd_device_download(ctx, device, &wrong, flag, (int64_t)sizeof wrong));
    *pruned = wrong == 0;
done:
    icd_device_release(ctx, device, flag);
    return status;
}

static icd_status compress(icd_ctx *ctx, icd_splt *s, matrix *m, const icd_lt_product *p)
{
    icd_status status = ICD_OK;
    icd_device *device = s->gpu->device;
    icd_dptr scratch = {0};
    size_t bytes = 0, room = 0;
    ICD_TRY(checked(ctx, s->compressed_size(&s->handle, &m->plan, &bytes, &room),
                    "sizing compressed weights"));
    ICD_TRY(icd_device_alloc(ctx, device, (int64_t)bytes, "compressed weights",
                             &m->compressed));
    ICD_TRY(
        icd_device_alloc(ctx, device, (int64_t)room, "compressing weights", &scratch));
    ICD_TRY(checked(ctx,
                    s->compress(&s->handle, &m->plan, place(p->w), place(m->compressed),
                                place(scratch), icd_i_device_stream(device)),
                    "compressing weights"));
    ICD_TRY(icd_device_sync(ctx, device));
done:
    icd_device_release(ctx, device, scratch);
    return status;
}

static const float ONE = 1, NOTHING = 0;

/* The search may ask for more room than the plan before it. */
static icd_status make_room(icd_ctx *ctx, icd_splt *s, matrix *m, size_t *held)
{
    size_t need = 0;
    icd_status status =
        checked(ctx, s->workspace(&s->handle, &m->plan, &need), "sizing its workspace");
    if (status != ICD_OK || need <= *held) return status;
    icd_device_release(ctx, s->gpu->device, m->workspace);
    m->workspace = (icd_dptr){0};
    *held = need;
    return icd_device_alloc(ctx, s->gpu->device, (int64_t)need,
                            "the workspace of cuSPARSELt", &m->workspace);
}

static icd_status search(icd_ctx *ctx, icd_splt *s, matrix *m, const icd_lt_product *p)
{
    icd_status status = ICD_OK;
    void *stream = icd_i_device_stream(s->gpu->device);
    size_t held = 0;
    ICD_TRY(make_room(ctx, s, m, &held));
    ICD_TRY(checked(ctx,
                    s->search(&s->handle, &m->plan, &ONE, place(m->compressed),
                              place(p->x), &NOTHING, place(p->y), place(p->y),
                              place(m->workspace), &stream, 1),
                    "searching an algorithm"));
    ICD_TRY(icd_device_sync(ctx, s->gpu->device));
    ICD_TRY(make_room(ctx, s, m, &held));
done:
    return status;
}

static icd_status slot_of(icd_ctx *ctx, icd_splt *s, int32_t *number)
{
    if (*number > 0) return ICD_OK;
    icd_status status =
        icd_i_grow(ctx, (void **)&s->list, &s->capacity, s->count + 1, sizeof *s->list);
    if (status == ICD_OK) status = ICD_ALLOC(ctx, 1, &s->list[s->count]);
    if (status == ICD_OK) *number = (int32_t)++s->count;
    return status;
}

icd_status icd_i_splt_make(icd_ctx *ctx, icd_splt *s, const icd_lt_product *p,
                           int32_t *number)
{
    icd_status status = ICD_OK;
    bool pruned = true;
    ICD_TRY(icd_i_device_enter(ctx, s->gpu->device));
    ICD_TRY(slot_of(ctx, s, number));
    matrix *m = s->list[*number - 1];
    forget(ctx, s, m);
    ICD_TRY(describe(ctx, s, m, p));
    ICD_TRY(check_pruned(ctx, s, m, p, &pruned));
    if (!pruned) {
        *number = ICD_SPLT_NONE;
        forget(ctx, s, m);
        return icd_i_fail(ctx, ICD_EUNSUPPORTED, "cuSPARSELt", NULL,
                          "found weights with more than two of four values");
    }
    ICD_TRY(compress(ctx, s, m, p));
    ICD_TRY(search(ctx, s, m, p));
done:
    return status;
}

icd_status icd_i_splt_run(icd_ctx *ctx, icd_splt *s, int32_t number,
                          const icd_lt_product *p)
{
    const matrix *m = s->list[number - 1];
    void *stream = icd_i_device_stream(s->gpu->device);
    icd_status status = icd_i_device_enter(ctx, s->gpu->device);
    if (status != ICD_OK) return status;
    return checked(ctx,
                   s->matmul(&s->handle, &m->plan, &ONE, place(m->compressed),
                             place(p->x), &NOTHING, place(p->y), place(p->y),
                             place(m->workspace), &stream, 1),
                   "a product of 2:4");
}
