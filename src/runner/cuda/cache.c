#include "runner/cuda/cache.h"

#include "core/small_float.h"

#include <string.h>

enum { HIDDEN, PLACES, VALUES };

static int64_t pool_values(const icd_kv *kv)
{
    return kv->pages * kv->shape.page * kv->shape.heads * kv->shape.dim;
}

static int64_t slots_of(const icd_kv *kv)
{
    return kv->pages * kv->shape.page;
}

static icd_status make_layer(icd_ctx *ctx, icd_gpu *gpu, const icd_kv_shape *shape,
                             icd_gpu_cache *l)
{
    icd_status status = ICD_OK;
    ICD_TRY(icd_i_kv_new(ctx, shape, &l->kv));
    ICD_TRY(icd_device_alloc(ctx, gpu->device, pool_values(l->kv) * 2, "the KV cache",
                             &l->page_k));
    ICD_TRY(icd_device_alloc(ctx, gpu->device, pool_values(l->kv) * 2, "the KV cache",
                             &l->page_v));
    ICD_TRY(
        icd_device_alloc(ctx, gpu->device, slots_of(l->kv), "the KV cache", &l->live));
    ICD_TRY(icd_device_alloc(ctx, gpu->device, slots_of(l->kv) * 4, "the KV cache",
                             &l->mass));
done:
    return status;
}

icd_status icd_i_gpu_caches_new(icd_ctx *ctx, icd_gpu *gpu, const icd_kv_shape *shape,
                                int64_t layers, icd_gpu_caches *out)
{
    icd_status status = ICD_OK;
    int64_t tokens = shape->sequences * shape->tokens;
    *out = (icd_gpu_caches){.gpu = gpu};
    ICD_TRY(ICD_ALLOC(ctx, layers, &out->layer));
    out->layers = layers;
    for (int64_t n = 0; n < layers; n++)
        ICD_TRY(make_layer(ctx, gpu, shape, &out->layer[n]));
    ICD_TRY(ICD_ALLOC(ctx, layers * tokens, &out->held));
    ICD_TRY(ICD_ALLOC(ctx, 2 * tokens, &out->move));
    ICD_TRY(ICD_ALLOC(ctx, shape->tokens, &out->list));
    ICD_TRY(ICD_ALLOC(ctx, shape->heads * shape->dim, &out->zeros));
done:
    return status;
}

void icd_i_gpu_caches_release(icd_ctx *ctx, icd_gpu_caches *c)
{
    for (int64_t n = 0; c->layer && n < c->layers; n++)
        icd_i_kv_free(ctx, c->layer[n].kv);
    icd_i_free(ctx, c->layer);
    icd_i_free(ctx, c->held);
    icd_i_free(ctx, c->move);
    icd_i_free(ctx, c->list);
    icd_i_free(ctx, c->zeros);
}

void icd_i_gpu_caches_append(icd_gpu_caches *c, int64_t layer, int64_t sequence)
{
    icd_i_kv_append(c->layer[layer].kv, sequence, c->zeros, c->zeros);
}

void icd_i_gpu_caches_start(icd_gpu_caches *c, int64_t batch, int64_t seq,
                            const int32_t *lengths)
{
    for (int64_t n = 0; n < c->layers; n++)
        for (int64_t s = 0; s < c->layer[n].kv->shape.sequences; s++) {
            int64_t length = s >= batch ? 0 : lengths ? lengths[s] : seq;
            icd_i_kv_clear(c->layer[n].kv, s);
            for (int64_t t = 0; t < length; t++) icd_i_gpu_caches_append(c, n, s);
        }
    c->shown = HIDDEN;
}

/* ---- with values ---- */

/* Copies a page between its host form, keys [head][dim][page] and values
 * [head][page][dim] in f32, and the device's. */
static void convert_page(icd_kv *kv, int32_t page, uint16_t *k, uint16_t *v, bool to_host)
{
    int64_t size = kv->shape.page, dim = kv->shape.dim;
    for (int64_t h = 0; h < kv->shape.heads; h++) {
        int64_t at = icd_i_kv_head(kv, page, h);
        float *hk = kv->k + at, *hv = kv->v + at;
        for (int64_t t = 0; t < size; t++)
            for (int64_t i = 0; i < dim; i++) {
                bool live = kv->alive[page * size + t];
                if (to_host) {
                    hk[i * size + t] = live ? icd_i_bf16_value(k[at + t * dim + i]) : 0;
                    hv[t * dim + i] = live ? icd_i_bf16_value(v[at + t * dim + i]) : 0;
                } else {
                    k[at + t * dim + i] = icd_i_bf16_of(hk[i * size + t]);
                    v[at + t * dim + i] = icd_i_bf16_of(hv[t * dim + i]);
                }
            }
    }
}

static void convert_pages(icd_kv *kv, uint16_t *k, uint16_t *v, bool to_host)
{
    for (int64_t s = 0; s < kv->shape.sequences; s++)
        for (int64_t i = 0; i < kv->sequence[s].pages; i++)
            convert_page(kv, kv->sequence[s].page[i], k, v, to_host);
}

static icd_status check_type(icd_ctx *ctx, const icd_kv *kv)
{
    if (!kv->shape.int8) return ICD_OK;
    return icd_i_fail(ctx, ICD_EUNSUPPORTED, "KV cache", "set runner.device to cpu",
                      "found a cache in int8, a GPU keeps bf16");
}

static icd_status upload_marks(icd_ctx *ctx, const icd_gpu_caches *c,
                               const icd_gpu_cache *l)
{
    icd_status status =
        icd_device_upload(ctx, c->gpu->device, l->live, l->kv->alive, slots_of(l->kv));
    if (status != ICD_OK) return status;
    return icd_device_upload(ctx, c->gpu->device, l->mass, l->kv->mass,
                             slots_of(l->kv) * 4);
}

/* Of slots without a token the device's mass is anything. */
static icd_status download_mass(icd_ctx *ctx, const icd_gpu_caches *c, icd_gpu_cache *l)
{
    icd_status status = icd_device_download(ctx, c->gpu->device, l->kv->mass, l->mass,
                                            slots_of(l->kv) * 4);
    for (int64_t i = 0; status == ICD_OK && i < slots_of(l->kv); i++)
        if (!l->kv->alive[i]) l->kv->mass[i] = 0;
    return status;
}

static icd_status exchange(icd_ctx *ctx, icd_gpu_caches *c, icd_gpu_cache *l,
                           bool to_host)
{
    icd_status status = check_type(ctx, l->kv);
    icd_device *device = c->gpu->device;
    uint16_t *k = NULL, *v = NULL;
    int64_t count = pool_values(l->kv), bytes = count * 2;
    if (status != ICD_OK) return status;
    ICD_TRY(ICD_ALLOC(ctx, count, &k));
    ICD_TRY(ICD_ALLOC(ctx, count, &v));
    if (to_host) {
        ICD_TRY(icd_device_download(ctx, device, k, l->page_k, bytes));
        ICD_TRY(icd_device_download(ctx, device, v, l->page_v, bytes));
        ICD_TRY(download_mass(ctx, c, l));
    }
    convert_pages(l->kv, k, v, to_host);
    if (!to_host) {
        ICD_TRY(icd_device_upload(ctx, device, l->page_k, k, bytes));
        ICD_TRY(icd_device_upload(ctx, device, l->page_v, v, bytes));
        ICD_TRY(upload_marks(ctx, c, l));
    }
done:
    icd_i_free(ctx, k);
    icd_i_free(ctx, v);
    return status;
}

/* ---- places only ---- */

static int32_t *held_of(const icd_gpu_caches *c, int64_t layer, int64_t sequence)
{
    const icd_kv_shape *shape = &c->layer[0].kv->shape;
    return c->held + (layer * shape->sequences + sequence) * shape->tokens;
}

static icd_status show_places(icd_ctx *ctx, icd_gpu_caches *c, int64_t layer)
{
    icd_gpu_cache *l = &c->layer[layer];
    icd_kv *kv = l->kv;
    for (int64_t s = 0; s < kv->shape.sequences; s++) {
        int32_t *held = held_of(c, layer, s);
        for (int64_t t = 0; t < kv->shape.tokens; t++) held[t] = -1;
        icd_i_kv_list(kv, s, c->list);
        for (int64_t i = 0; i < kv->sequence[s].live; i++) {
            int64_t at = icd_i_kv_at(kv, c->list[i]);
            held[kv->position[at]] = (int32_t)at;
        }
    }
    return download_mass(ctx, c, l);
}

/* The tokens of a layer that lie elsewhere than on the device: from in the first half of
 * `move`, to in the second. */
static icd_status list_moves(icd_ctx *ctx, icd_gpu_caches *c, int64_t layer,
                             int64_t *count)
{
    const icd_kv *kv = c->layer[layer].kv;
    int32_t *to = c->move + kv->shape.sequences * kv->shape.tokens;
    *count = 0;
    for (int64_t s = 0; s < kv->shape.sequences; s++) {
        icd_i_kv_list(kv, s, c->list);
        for (int64_t i = 0; i < kv->sequence[s].live; i++) {
            int32_t at = (int32_t)icd_i_kv_at(kv, c->list[i]);
            int32_t held = held_of(c, layer, s)[kv->position[at]];
            if (held < 0)
                return icd_i_fail(ctx, ICD_EINVAL, "KV cache", NULL,
                                  "found position %d of sequence %lld, which the GPU "
                                  "does not hold",
                                  kv->position[at], (long long)s);
            if (held == at) continue;
            c->move[*count] = held;
            to[(*count)++] = at;
        }
    }
    return ICD_OK;
}

static icd_status upload_moves(icd_ctx *ctx, icd_gpu_caches *c, const icd_kv *kv,
                               int64_t count)
{
    icd_status status = ICD_OK;
    icd_device *device = c->gpu->device;
    int64_t most = kv->shape.sequences * kv->shape.tokens;
    if (!c->moves.at)
        ICD_TRY(icd_device_alloc(ctx, device, 2 * most * 4, "moves of the KV cache",
                                 &c->moves));
    ICD_TRY(icd_device_upload(ctx, device, c->moves, c->move, count * 4));
    ICD_TRY(icd_device_upload(ctx, device, icd_dptr_add(c->moves, most * 4),
                              c->move + most, count * 4));
    if (!c->scratch.at)
        ICD_TRY(icd_device_alloc(ctx, device, pool_values(kv) * 2,
                                 "moves of the KV cache", &c->scratch));
done:
    return status;
}

/* Every token first leaves for its new place in a copy, then the copy's come back: a
 * place may be left and taken in one go. */
static icd_status move_on_device(icd_ctx *ctx, icd_gpu_caches *c, const icd_kv *kv,
                                 icd_dptr pages, int64_t count)
{
    icd_status status = ICD_OK;
    icd_dptr to = icd_dptr_add(c->moves, kv->shape.sequences * kv->shape.tokens * 4);
    icd_gpu_move move = {.in = pages,
                         .out = c->scratch,
                         .from = c->moves,
                         .to = to,
                         .count = (int32_t)count,
                         .kv_heads = (int32_t)kv->shape.heads,
                         .dim = (int32_t)kv->shape.dim,
                         .size = (int32_t)kv->shape.page};
    ICD_TRY(icd_i_gpu_run(ctx, c->gpu, ICD_RUN_MOVE, count, ICD_GPU_ROWS, &move));
    move.in = c->scratch;
    move.out = pages;
    move.from = to;
    ICD_TRY(icd_i_gpu_run(ctx, c->gpu, ICD_RUN_MOVE, count, ICD_GPU_ROWS, &move));
done:
    return status;
}

/* The same where the device has no room for the copy. */
static icd_status move_on_host(icd_ctx *ctx, icd_gpu_caches *c, const icd_kv *kv,
                               icd_dptr pages, int64_t count)
{
    icd_status status = ICD_OK;
    uint16_t *old = NULL, *new = NULL;
    const int32_t *to = c->move + kv->shape.sequences * kv->shape.tokens;
    int64_t values = pool_values(kv), page = kv->shape.page, dim = kv->shape.dim;
    ICD_TRY(ICD_ALLOC(ctx, values, &old));
    ICD_TRY(ICD_ALLOC(ctx, values, &new));
    ICD_TRY(icd_device_download(ctx, c->gpu->device, old, pages, values * 2));
    memcpy(new, old, (size_t)values * sizeof *new);
    for (int64_t i = 0; i < count; i++)
        for (int64_t h = 0; h < kv->shape.heads; h++)
            memcpy(new + icd_i_kv_head(kv, (int32_t)(to[i] / page), h) +
                       to[i] % page *dim,
                   old + icd_i_kv_head(kv, (int32_t)(c->move[i] / page), h) +
                       c->move[i] % page * dim,
                   (size_t)dim * sizeof *new);
    ICD_TRY(icd_device_upload(ctx, c->gpu->device, pages, new, values * 2));
done:
    icd_i_free(ctx, old);
    icd_i_free(ctx, new);
    return status;
}

static icd_status take_places(icd_ctx *ctx, icd_gpu_caches *c, int64_t layer)
{
    icd_status status = ICD_OK;
    icd_gpu_cache *l = &c->layer[layer];
    int64_t count = 0;
    ICD_TRY(check_type(ctx, l->kv));
    ICD_TRY(list_moves(ctx, c, layer, &count));
    if (count) {
        status = upload_moves(ctx, c, l->kv, count);
        bool here = status == ICD_ENOMEM;
        if (status != ICD_OK && !here) goto done;
        ICD_TRY((here ? move_on_host : move_on_device)(ctx, c, l->kv, l->page_k, count));
        ICD_TRY((here ? move_on_host : move_on_device)(ctx, c, l->kv, l->page_v, count));
    }
    ICD_TRY(upload_marks(ctx, c, l));
done:
    return status;
}

/* ---- both ---- */

icd_status icd_i_gpu_caches_take(icd_ctx *ctx, icd_gpu_caches *c)
{
    icd_status status = c->broken;
    if (status != ICD_OK)
        return icd_i_fail(ctx, status, "KV cache", NULL, "it could not be read back");
    for (int64_t n = 0; status == ICD_OK && n < c->layers; n++) {
        if (c->shown == VALUES) status = exchange(ctx, c, &c->layer[n], false);
        if (c->shown == PLACES) status = take_places(ctx, c, n);
    }
    if (status == ICD_OK) c->shown = HIDDEN;
    return status;
}

/* Values of a cache whose places changed are there only once its tokens were moved. */
icd_kv **icd_i_gpu_caches_show(icd_ctx *ctx, icd_gpu_caches *c, int64_t layer,
                               bool values)
{
    int32_t wanted = values ? VALUES : PLACES;
    if (c->shown == PLACES && values) c->broken = icd_i_gpu_caches_take(ctx, c);
    if (c->shown == HIDDEN) {
        c->broken = ICD_OK;
        for (int64_t n = 0; c->broken == ICD_OK && n < c->layers; n++)
            c->broken =
                values ? exchange(ctx, c, &c->layer[n], true) : show_places(ctx, c, n);
        c->shown = wanted;
    }
    return &c->layer[layer].kv;
}
