/* Linears on a device: packing, scheduling, launching. */
#include "runner/cuda/gpu.h"

#include "kernels/cuda/pack.h"

#include <string.h>

static icd_status check_vector(icd_ctx *ctx, const icd_linear *info, int32_t vector)
{
    if (vector == 64 || vector == 128) return ICD_OK;
    return icd_i_fail(ctx, ICD_EINVAL, info->name, "set kernel.vector",
                      "found row blocks of %d rows, a GPU takes 64 or 128", vector);
}

/* What a layout says, made whole: no entry is dense, AUTO is dense until it is measured.
 */
static icd_layout_entry entry_of(const icd_linear *info, const icd_layout_entry *given)
{
    icd_layout_entry e = {.linear = (char *)(uintptr_t)info->name,
                          .rows = info->rows,
                          .cols = info->cols,
                          .granule = ICD_GROUP};
    if (given) e = *given;
    if (e.kernel == ICD_KERNEL_AUTO) e.kernel = ICD_KERNEL_DENSE;
    return e;
}

static icd_status find_weights(icd_ctx *ctx, icd_runner *r, icd_gpu_linear *l,
                               const icd_layout_entry *e, icd_gpu_weights *out,
                               icd_quantized **own)
{
    const float *w = NULL;
    icd_status status = ICD_OK;
    const icd_quantized *q = e->quant;
    if (l->type == ICD_GPU_BF16) {
        status = icd_i_runner_tensor(ctx, r, l->info->tensor, &w);
        out->w = w;
        return status;
    }
    if (!q) {
        status = icd_i_linear_quantize(ctx, r, l->info, own);
        q = *own;
    }
    if (status != ICD_OK) return status;
    out->w = q->q;
    out->scale = q->scale;
    return ICD_OK;
}

/* Operands: int8 as the layout or the run says, else bf16. Weights that a layout brings
 * in another type, or with a scale for part of a row, have no kernel here. */
static icd_status choose_type(icd_ctx *ctx, const icd_runner *r,
                              const icd_layout_entry *e, int32_t *out)
{
    const icd_quantized *q = e->quant;
    bool int8 = r->opts.dtype == ICD_RUN_INT8;
    *out = int8 ? ICD_GPU_INT8 : ICD_GPU_BF16;
    if (!q || !int8 || (q->dtype == ICD_WEIGHT_INT8 && q->group == 0)) return ICD_OK;
    return icd_i_fail(ctx, ICD_EUNSUPPORTED, e->linear, "set runner.device to cpu",
                      "found weights in a type other than int8 with one scale a row, a "
                      "GPU runs int8 and bf16");
}

static icd_status upload_lists(icd_ctx *ctx, icd_gpu *gpu, icd_gpu_linear *l,
                               const int32_t *live)
{
    icd_status status = ICD_OK;
    int64_t granules = l->block_ptr[l->plan->blocks];
    ICD_TRY(ICD_GPU_PUT(ctx, gpu, live,
                        icd_i_gpu_live_entries(l->plan, l->type, granules), l->info->name,
                        &l->live));
    ICD_TRY(ICD_GPU_PUT(ctx, gpu, l->block_ptr, l->plan->blocks + 1, l->info->name,
                        &l->d_block_ptr));
done:
    return status;
}

static icd_status upload_weights(icd_ctx *ctx, icd_gpu *gpu, icd_gpu_linear *l,
                                 const int32_t *live, const void *w)
{
    icd_status status = ICD_OK;
    unsigned char *block = NULL;
    int64_t bytes = (int64_t)l->plan->vector * ICD_GPU_GRANULE, widest = 0;
    for (int64_t b = 0; b < l->plan->blocks; b++)
        if (l->block_ptr[b + 1] - l->block_ptr[b] > widest)
            widest = l->block_ptr[b + 1] - l->block_ptr[b];
    ICD_TRY(ICD_ALLOC(ctx, widest * bytes, &block));
    ICD_TRY(icd_device_alloc(ctx, gpu->device, l->block_ptr[l->plan->blocks] * bytes,
                             l->info->name, &l->w));
    for (int64_t b = 0; b < l->plan->blocks; b++) {
        icd_i_gpu_pack(l->plan, l->type, l->block_ptr, live, w, b, block);
        ICD_TRY(icd_device_upload(ctx, gpu->device,
                                  icd_dptr_add(l->w, l->block_ptr[b] * bytes), block,
                                  (l->block_ptr[b + 1] - l->block_ptr[b]) * bytes));
    }
done:
    icd_i_free(ctx, block);
    return status;
}

static icd_status pack(icd_ctx *ctx, icd_gpu *gpu, icd_gpu_linear *l,
                       const icd_gpu_weights *from)
{
    icd_status status = ICD_OK;
    int32_t *live = NULL;
    ICD_TRY(ICD_ALLOC(ctx, l->plan->blocks + 1, &l->block_ptr));
    int64_t granules = icd_i_gpu_count(l->plan, l->type, l->block_ptr);
    ICD_TRY(ICD_ALLOC(ctx, icd_i_gpu_live_entries(l->plan, l->type, granules), &live));
    icd_i_gpu_list(l->plan, l->type, l->block_ptr, live);
    ICD_TRY(upload_lists(ctx, gpu, l, live));
    ICD_TRY(upload_weights(ctx, gpu, l, live, from->w));
    if (from->scale)
        ICD_TRY(ICD_GPU_PUT(ctx, gpu, from->scale, l->info->rows, l->info->name,
                            &l->w_scale));
done:
    icd_i_free(ctx, live);
    return status;
}

icd_status icd_i_gpu_linear_put(icd_ctx *ctx, icd_gpu *gpu, const icd_layout_entry *e,
                                int32_t vector, const icd_gpu_weights *from,
                                icd_gpu_linear *l)
{
    icd_status status = ICD_OK;
    ICD_TRY(check_vector(ctx, l->info, vector));
    ICD_TRY(icd_i_plan_new(ctx, e, vector, &l->plan));
    l->slots = icd_i_gpu_slots(l->plan, l->type);
    ICD_TRY(pack(ctx, gpu, l, from));
    if (from->bias)
        ICD_TRY(
            ICD_GPU_PUT(ctx, gpu, from->bias, l->info->rows, l->info->name, &l->bias));
done:
    return status;
}

static icd_status load(icd_ctx *ctx, icd_gpu *gpu, icd_runner *r,
                       const icd_layout_entry *given, icd_gpu_linear *l)
{
    icd_status status = ICD_OK;
    icd_quantized *own = NULL;
    icd_gpu_weights from = {NULL, NULL, NULL};
    icd_layout_entry e = entry_of(l->info, given);
    ICD_TRY(choose_type(ctx, r, &e, &l->type));
    ICD_TRY(icd_i_linear_check(ctx, r, l->info, given));
    ICD_TRY(find_weights(ctx, r, l, &e, &from, &own));
    ICD_TRY(icd_i_linear_bias(ctx, r, l->info, &from.bias));
    ICD_TRY(icd_i_gpu_linear_put(ctx, gpu, &e, r->opts.vector, &from, l));
done:
    icd_quantized_free(ctx, own);
    return status;
}

static int32_t column_at(const icd_gpu_linear *l, int64_t slot)
{
    return slot < l->plan->slots ? l->plan->old_of_new[slot] : -1;
}

static icd_status check_same_order(icd_ctx *ctx, const icd_gpu_linear *a,
                                   const icd_gpu_linear *b)
{
    for (int64_t s = 0; s < a->info->cols; s++)
        if (a->info->cols != b->info->cols || column_at(a, s) != column_at(b, s))
            return icd_i_fail(ctx, ICD_EINVAL, b->info->name, NULL,
                              "found another local order than that of %s, expected the "
                              "same, as both read one buffer",
                              a->info->name);
    return ICD_OK;
}

/* One order, as long as the widest row, for all linears of a group. */
static icd_status join(icd_ctx *ctx, icd_gpu *gpu, icd_gpu_linear *group, int64_t count)
{
    icd_status status = ICD_OK;
    int32_t *order = NULL;
    int64_t slots = 0;
    bool plain = true;
    icd_dptr place = {0};
    for (int64_t i = 0; i < count; i++) {
        ICD_TRY(check_same_order(ctx, group, group + i));
        if (group[i].slots > slots) slots = group[i].slots;
    }
    ICD_TRY(ICD_ALLOC(ctx, slots, &order));
    for (int64_t s = 0; s < slots; s++) {
        order[s] = column_at(group, s);
        plain &= order[s] == s;
    }
    ICD_TRY(ICD_GPU_PUT(ctx, gpu, order, slots, group->info->name, &place));
    for (int64_t i = 0; i < count; i++) {
        group[i].slots = slots;
        group[i].order = place;
        group[i].plain = plain && group[i].type == ICD_GPU_BF16;
    }
done:
    icd_i_free(ctx, order);
    return status;
}

static icd_status join_groups(icd_ctx *ctx, icd_gpu *gpu, const icd_runner *r,
                              icd_gpu_linear *l)
{
    icd_status status = ICD_OK;
    for (int64_t i = 0, end; status == ICD_OK && i < r->linears; i = end) {
        for (end = i + 1; end < r->linears; end++)
            if (strcmp(r->list[i].group, r->list[end].group) != 0) break;
        status = join(ctx, gpu, l + i, end - i);
    }
    return status;
}

static int64_t weight_bytes(const icd_gpu_linear *l)
{
    return l->block_ptr[l->plan->blocks] * l->plan->vector * ICD_GPU_GRANULE;
}

/* All weights in one run of memory, in the order of execution: what can be set aside of
 * the L2 then holds a prefix of them. */
static icd_status gather_weights(icd_ctx *ctx, icd_gpu *gpu, icd_gpu_linear *l,
                                 int64_t count, icd_dptr *out, int64_t *bytes)
{
    icd_status status = ICD_OK;
    int64_t at = 0;
    *bytes = 0;
    for (int64_t i = 0; i < count; i++) *bytes += weight_bytes(&l[i]);
    ICD_TRY(icd_device_alloc(ctx, gpu->device, *bytes, "pinned weights", out));
    for (int64_t i = 0; i < count; i++) {
        icd_dptr to = icd_dptr_add(*out, at);
        ICD_TRY(icd_device_copy(ctx, gpu->device, to, l[i].w, weight_bytes(&l[i])));
        ICD_TRY(icd_device_sync(ctx, gpu->device));
        icd_device_release(ctx, gpu->device, l[i].w);
        l[i].w = to;
        at += weight_bytes(&l[i]);
    }
done:
    return status;
}

static icd_status pin_weights(icd_ctx *ctx, icd_gpu *gpu, icd_gpu_linear *l,
                              int64_t count)
{
    icd_dptr all = {0};
    int64_t bytes = 0, room = gpu->info.l2_pinnable;
    icd_status status = gather_weights(ctx, gpu, l, count, &all, &bytes);
    if (status != ICD_OK || bytes == 0) return status;
    return icd_device_pin(ctx, gpu->device, all,
                          bytes < room || room == 0 ? bytes : room);
}

icd_status icd_i_gpu_linears_new(icd_ctx *ctx, icd_gpu *gpu, icd_runner *r,
                                 const icd_layout *layout, icd_gpu_linear **out)
{
    icd_status status = ICD_ALLOC(ctx, r->linears, out);
    for (int64_t i = 0; status == ICD_OK && i < r->linears; i++) {
        (*out)[i].info = &r->list[i];
        status =
            load(ctx, gpu, r, layout ? icd_i_layout_get(layout, r->list[i].name) : NULL,
                 &(*out)[i]);
    }
    if (status == ICD_OK) status = join_groups(ctx, gpu, r, *out);
    if (status == ICD_OK && r->opts.l2_pin)
        status = pin_weights(ctx, gpu, *out, r->linears);
    return status;
}

void icd_i_gpu_linears_free(icd_ctx *ctx, const icd_runner *r, icd_gpu_linear *linear)
{
    for (int64_t i = 0; linear && i < r->linears; i++) {
        icd_i_plan_free(ctx, linear[i].plan);
        icd_i_free(ctx, linear[i].block_ptr);
    }
    icd_i_free(ctx, linear); /* device memory goes with the device */
}

static bool is_gather(const icd_gpu_linear *l)
{
    return l->plan->kernel == ICD_KERNEL_GATHER;
}

static icd_gpu_which decode_kernel(const icd_gpu_linear *l, int64_t tokens)
{
    int first = is_gather(l) ? ICD_RUN_DECODE_GATHER_BF16_1 : ICD_RUN_DECODE_BF16_1;
    int width = tokens == 1 ? 0 : tokens <= 4 ? 1 : 2;
    return (icd_gpu_which)(first + (l->type == ICD_GPU_INT8 ? 3 : 0) + width);
}

static icd_gpu_which tile_kernel(const icd_gpu_linear *l, int32_t tile)
{
    int wide = l->plan->vector == 128, int8 = l->type == ICD_GPU_INT8;
    if (is_gather(l)) return (icd_gpu_which)(ICD_RUN_GATHER_BF16_64 + 2 * int8 + wide);
    return (icd_gpu_which)(ICD_RUN_TILE_BF16_64_64 + 4 * int8 + 2 * wide + (tile == 128));
}

/* How a linear runs for so many tokens: kernel, tile, blocks of the persistent grid (as
 * many as fit the device at once), least piece. */
static icd_gpu_work choose(const icd_gpu *gpu, icd_gpu_linear *l, int64_t tokens)
{
    bool few = tokens <= ICD_GPU_DECODE;
    l->tile = few ? ICD_GPU_DECODE : tokens <= 64 || is_gather(l) ? 64 : 128;
    if (few && tokens <= 4) l->tile = tokens == 1 ? 1 : 4;
    l->run = few ? decode_kernel(l, tokens) : tile_kernel(l, l->tile);
    int resident = few                                ? 1024 / (2 * l->plan->vector)
                   : l->tile + l->plan->vector == 128 ? 4
                                                      : 2;
    l->grid = gpu->info.multiprocessors * resident;
    return (icd_gpu_work){.block_ptr = l->block_ptr,
                          .blocks = l->plan->blocks,
                          .tiles = (tokens + l->tile - 1) / l->tile,
                          .grid = l->grid,
                          .least = 8};
}

static int64_t partial_of(const icd_gpu_linear *l)
{
    bool few = l->tile <= ICD_GPU_DECODE;
    return l->cuts.slots * l->tile * l->plan->vector * (few ? 2 : 1) *
           (int64_t)sizeof(uint32_t);
}

static icd_status grow(icd_ctx *ctx, icd_gpu *gpu, icd_dptr *at, int64_t *held,
                       int64_t need)
{
    if (need <= *held) return ICD_OK;
    icd_device_release(ctx, gpu->device, *at);
    *held = 0;
    icd_status status =
        icd_device_alloc(ctx, gpu->device, need, "the workspace of products", at);
    if (status == ICD_OK) status = icd_device_fill(ctx, gpu->device, *at, 0, need);
    if (status == ICD_OK) *held = need;
    return status;
}

static icd_status upload_schedule(icd_ctx *ctx, icd_gpu *gpu, icd_gpu_linear *l,
                                  const icd_gpu_item *item, const int32_t *ptr)
{
    icd_status status = ICD_OK;
    int64_t bytes = l->cuts.items * (int64_t)sizeof *item;
    if (bytes > l->item_bytes) {
        icd_device_release(ctx, gpu->device, l->item);
        l->item_bytes = 0;
        ICD_TRY(icd_device_alloc(ctx, gpu->device, bytes, l->info->name, &l->item));
        l->item_bytes = bytes;
    }
    icd_device_release(ctx, gpu->device, l->item_ptr);
    ICD_TRY(icd_device_upload(ctx, gpu->device, l->item, item, bytes));
    ICD_TRY(ICD_GPU_PUT(ctx, gpu, ptr, l->grid + 1, l->info->name, &l->item_ptr));
done:
    return status;
}

static icd_status prepare(icd_ctx *ctx, icd_gpu *gpu, icd_gpu_linear *l, int64_t tokens)
{
    icd_status status = ICD_OK;
    icd_gpu_item *item = NULL;
    int32_t *ptr = NULL;
    if (l->tokens == tokens) return ICD_OK;
    l->tokens = 0;
    icd_gpu_work work = choose(gpu, l, tokens);
    ICD_TRY(ICD_ALLOC(ctx, icd_i_gpu_items(&work), &item));
    ICD_TRY(ICD_ALLOC(ctx, l->grid + 1, &ptr));
    icd_i_gpu_schedule(&work, item, ptr, &l->cuts);
    ICD_TRY(upload_schedule(ctx, gpu, l, item, ptr));
    ICD_TRY(grow(ctx, gpu, &gpu->partial, &gpu->partial_bytes, partial_of(l)));
    ICD_TRY(grow(ctx, gpu, &gpu->tally, &gpu->tally_bytes,
                 l->cuts.tallies * (int64_t)sizeof(uint32_t)));
    l->tokens = tokens;
done:
    icd_i_free(ctx, item);
    icd_i_free(ctx, ptr);
    return status;
}

icd_status icd_i_gpu_prepare(icd_ctx *ctx, icd_gpu *gpu, icd_gpu_linear *linear,
                             int64_t count, int64_t tokens)
{
    icd_status status = icd_device_sync(ctx, gpu->device);
    for (int64_t i = 0; status == ICD_OK && i < count; i++)
        status = prepare(ctx, gpu, &linear[i], tokens);
    return status;
}

icd_status icd_i_gpu_product(icd_ctx *ctx, icd_gpu *gpu, const icd_gpu_linear *l,
                             icd_dptr staged, icd_dptr scale, int32_t act, icd_dptr y,
                             int64_t ldy)
{
    int32_t threads = l->tile <= ICD_GPU_DECODE ? 2 * l->plan->vector : 2 * l->tile;
    icd_gpu_product p = {.a = staged,
                         .w = l->w,
                         .block_ptr = l->d_block_ptr,
                         .live = l->live,
                         .item = l->item,
                         .item_ptr = l->item_ptr,
                         .a_scale = scale,
                         .w_scale = l->w_scale,
                         .bias = l->bias,
                         .y = y,
                         .partial = gpu->partial,
                         .tally = gpu->tally,
                         .slots = l->slots,
                         .ldy = ldy,
                         .tokens = (int32_t)l->tokens,
                         .rows = (int32_t)l->info->rows,
                         .vector = l->plan->vector,
                         .act = act};
    return icd_i_gpu_run(ctx, gpu, l->run, l->grid, threads, &p);
}

int64_t icd_i_gpu_bytes(const icd_gpu_linear *l)
{
    int64_t granules = l->block_ptr[l->plan->blocks];
    return granules * l->plan->vector * ICD_GPU_GRANULE +
           icd_i_gpu_live_entries(l->plan, l->type, granules) * (int64_t)sizeof(int32_t) +
           l->cuts.items * (int64_t)sizeof(icd_gpu_item);
}
