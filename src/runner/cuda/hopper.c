#include "runner/cuda/hopper.h"

#include "core/small_float.h"
#include "runner/cuda/dense.h"

#include <math.h>
#include <stdio.h>

enum { PLAIN, OURS, KINDS };          /* for every device; for Hopper */
enum { ROUNDS = 3, LAUNCHES = 2 };    /* times are medians of ROUNDS, each of LAUNCHES */
static const double BOUND = 1.0 / 64; /* of the largest value: a few roundings to bf16 */

typedef struct trial {
    icd_ctx *ctx;
    icd_gpu *gpu;
    icd_gpu_linear l[KINDS];
    icd_dptr x, scale, y;
    icd_timer *timer;
    double ms[KINDS][ROUNDS], gap;
} trial;

static int64_t value_bytes(const icd_gpu_linear *l)
{
    return l->wide ? 4 : 2;
}

/* Every token another row, so that a mixed-up index shows. */
static icd_status put_operands(trial *t, int64_t tokens)
{
    icd_status status = ICD_OK;
    const icd_gpu_linear *l = &t->l[PLAIN];
    int64_t bytes = tokens * l->slots * icd_i_gpu_size(l->type);
    unsigned char *x = NULL;
    float *scale = NULL;
    ICD_TRY(ICD_ALLOC(t->ctx, bytes, &x));
    ICD_TRY(ICD_ALLOC(t->ctx, tokens, &scale));
    icd_i_gpu_random(l->type, x, bytes);
    for (int64_t i = 0; i < tokens; i++) scale[i] = 1;
    ICD_TRY(icd_i_gpu_put(t->ctx, t->gpu, x, bytes, "operands", &t->x));
    ICD_TRY(ICD_GPU_PUT(t->ctx, t->gpu, scale, tokens, "operands", &t->scale));
    ICD_TRY(icd_device_alloc(t->ctx, t->gpu->device, tokens * l->width * value_bytes(l),
                             "operands", &t->y));
done:
    icd_i_free(t->ctx, x);
    icd_i_free(t->ctx, scale);
    return status;
}

static icd_status product(trial *t, int kind)
{
    return icd_i_gpu_product(t->ctx, t->gpu, &t->l[kind], t->x, t->scale, t->y,
                             t->l[kind].width);
}

/* @param out [in, out] room for every byte of y */
static icd_status result(trial *t, int kind, int64_t bytes, void *out)
{
    icd_status status = icd_device_fill(t->ctx, t->gpu->device, t->y, 0, bytes);
    if (status == ICD_OK) status = product(t, kind);
    return status == ICD_OK
               ? icd_device_download(t->ctx, t->gpu->device, out, t->y, bytes)
               : status;
}

static double value_at(const icd_gpu_linear *l, const void *y, int64_t i)
{
    return l->wide ? (double)((const float *)y)[i]
                   : (double)icd_i_bf16_value(((const uint16_t *)y)[i]);
}

/* Largest difference over the largest value; what is no number differs. */
static double gap_of(const icd_gpu_linear *l, const void *a, const void *b, int64_t n)
{
    double gap = 0, top = 0;
    for (int64_t i = 0; i < n; i++) {
        double x = value_at(l, a, i), d = fabs(x - value_at(l, b, i));
        if (!isfinite(d)) return INFINITY;
        gap = fmax(gap, d);
        top = fmax(top, fabs(x));
    }
    return top > 0 ? gap / top : gap;
}

static icd_status compare(trial *t, int64_t tokens)
{
    icd_status status = ICD_OK;
    const icd_gpu_linear *l = &t->l[PLAIN];
    int64_t n = tokens * l->width, bytes = n * value_bytes(l);
    unsigned char *a = NULL, *b = NULL;
    ICD_TRY(ICD_ALLOC(t->ctx, bytes, &a));
    ICD_TRY(ICD_ALLOC(t->ctx, bytes, &b));
    ICD_TRY(result(t, PLAIN, bytes, a));
    ICD_TRY(result(t, OURS, bytes, b));
    t->gap = gap_of(l, a, b, n);
done:
    icd_i_free(t->ctx, a);
    icd_i_free(t->ctx, b);
    return status;
}

static icd_status time_once(trial *t, int kind, double *ms)
{
    icd_status status = ICD_OK;
    ICD_TRY(icd_timer_start(t->ctx, t->timer));
    for (int i = 0; i < LAUNCHES; i++) ICD_TRY(product(t, kind));
    ICD_TRY(icd_timer_stop(t->ctx, t->timer));
    ICD_TRY(icd_timer_ms(t->ctx, t->timer, ms));
    *ms /= LAUNCHES;
done:
    return status;
}

/* In turns, so that what else happens on the device meets both. */
static icd_status time_both(trial *t)
{
    icd_status status = ICD_OK;
    ICD_TRY(icd_timer_new(t->ctx, t->gpu->device, &t->timer));
    for (int i = 0; i < ROUNDS; i++)
        for (int kind = 0; kind < KINDS; kind++)
            ICD_TRY(time_once(t, kind, &t->ms[kind][i]));
done:
    return status;
}

static double median_of(const double ms[ROUNDS])
{
    double low = fmin(ms[0], ms[1]), high = fmax(ms[0], ms[1]);
    return fmax(low, fmin(high, ms[2]));
}

static void tell(const trial *t, int64_t tokens, int8_t trust, double start)
{
    char meta[320];
    snprintf(meta, sizeof meta,
             "{\"linear\":\"%.96s\",\"kernel\":\"wgmma\",\"used\":%s,\"tokens\":%lld,"
             "\"mma_us\":%.2f,\"wgmma_us\":%.2f,\"gap\":%.3g}",
             t->l[PLAIN].info->name, trust == ICD_GPU_TRUSTED ? "true" : "false",
             (long long)tokens, median_of(t->ms[PLAIN]) * 1e3,
             median_of(t->ms[OURS]) * 1e3, isfinite(t->gap) ? t->gap : 9e99);
    icd_event event = {"kernel", start, icd_ctx_now(t->ctx), true, meta};
    icd_ctx_emit(t->ctx, &event);
}

static int8_t judge(trial *t, int64_t tokens, double start)
{
    bool same = t->gap <= BOUND;
    bool faster = median_of(t->ms[OURS]) < median_of(t->ms[PLAIN]);
    int8_t trust = same && faster ? ICD_GPU_TRUSTED : ICD_GPU_REFUSED;
    if (!same)
        icd_i_warn(t->ctx,
                   "%s: the kernel for Hopper differs by %.2g of the largest value from "
                   "the one for every device and is not used; please report this",
                   t->l[PLAIN].info->name, t->gap);
    tell(t, tokens, trust, start);
    return trust;
}

/* A schedule of its own over the same weights. */
static icd_status prepare(trial *t, const icd_gpu_linear *l, int64_t tokens, int kind)
{
    icd_gpu_linear *own = &t->l[kind];
    *own = *l;
    own->item = own->item_ptr = (icd_dptr){0};
    own->item_bytes = 0;
    own->by = ICD_GPU_OURS;
    return icd_i_gpu_prepare_as(t->ctx, t->gpu, own, tokens, kind == OURS);
}

static void release(trial *t)
{
    icd_device *d = t->gpu->device;
    icd_timer_free(t->ctx, t->timer);
    icd_device_release(t->ctx, d, t->x);
    icd_device_release(t->ctx, d, t->scale);
    icd_device_release(t->ctx, d, t->y);
    for (int kind = 0; kind < KINDS; kind++) {
        icd_device_release(t->ctx, d, t->l[kind].item);
        icd_device_release(t->ctx, d, t->l[kind].item_ptr);
    }
}

int8_t icd_i_gpu_try_hopper(icd_ctx *ctx, icd_gpu *gpu, const icd_gpu_linear *l,
                            int64_t tokens)
{
    trial t = {.ctx = ctx, .gpu = gpu};
    int8_t trust = ICD_GPU_REFUSED;
    double start = icd_ctx_now(ctx);
    icd_status status = prepare(&t, l, tokens, PLAIN);
    if (status == ICD_OK) status = prepare(&t, l, tokens, OURS);
    if (status == ICD_OK) status = put_operands(&t, tokens);
    if (status == ICD_OK) status = compare(&t, tokens);
    if (status == ICD_OK) status = time_both(&t);
    if (status == ICD_OK) trust = judge(&t, tokens, start);
    release(&t);
    return trust;
}
