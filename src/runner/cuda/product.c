/* Products: which kernel for how many tokens, its schedule, its launch. */
#include "runner/cuda/dense.h"
#include "runner/cuda/hopper.h"

#include "kernels/cuda/pack.h"

static bool is_gather(const icd_gpu_linear *l)
{
    return l->plan->kernel == ICD_KERNEL_GATHER;
}

static icd_gpu_which decode_kernel(const icd_gpu_linear *l, int64_t tokens)
{
    int first = is_gather(l) ? ICD_RUN_DECODE_GATHER_BF16_1 : ICD_RUN_DECODE_BF16_1;
    int width = tokens == 1 ? 0 : tokens <= 4 ? 1 : 2;
    if (l->type == ICD_GPU_FP8)
        return is_gather(l) ? ICD_RUN_DECODE_GATHER_FP8 : ICD_RUN_DECODE_FP8;
    return (icd_gpu_which)(first + (l->type == ICD_GPU_INT8 ? 3 : 0) + width);
}

/* The list of kernels goes by type (in the order of their numbers), vector and tile. */
static icd_gpu_which tile_kernel(const icd_gpu_linear *l, int32_t tile)
{
    int wide = l->plan->vector == 128, type = l->type;
    if (is_gather(l)) return (icd_gpu_which)(ICD_RUN_GATHER_BF16_64 + 2 * type + wide);
    return (icd_gpu_which)(ICD_RUN_TILE_BF16_64_64 + 4 * type + 2 * wide + (tile == 128));
}

static icd_gpu_which hopper_kernel(const icd_gpu_linear *l, int32_t tile)
{
    return (icd_gpu_which)(ICD_RUN_HOPPER_BF16_64_128 + 4 * l->type +
                           2 * (l->plan->vector == 128) + (tile == 256));
}

static int32_t tile_of(const icd_gpu_linear *l, int64_t tokens)
{
    if (l->hopper) return tokens <= 128 ? 128 : 256;
    if (tokens > ICD_GPU_DECODE) return tokens <= 64 || is_gather(l) ? 64 : 128;
    if (tokens > 4 || l->type == ICD_GPU_FP8) return ICD_GPU_DECODE;
    return tokens == 1 ? 1 : 4;
}

static int32_t threads_of(const icd_gpu_linear *l)
{
    return l->tile <= ICD_GPU_DECODE ? 2 * l->plan->vector : 2 * l->tile;
}

/* How a linear runs for so many tokens: kernel, tile, blocks of the persistent grid (as
 * many as fit the device at once), least piece. */
static icd_status choose(icd_ctx *ctx, icd_gpu *gpu, icd_gpu_linear *l, int64_t tokens,
                         icd_gpu_work *out)
{
    int32_t resident = 0;
    l->tile = tile_of(l, tokens);
    l->run = l->hopper                   ? hopper_kernel(l, l->tile)
             : l->tile <= ICD_GPU_DECODE ? decode_kernel(l, tokens)
                                         : tile_kernel(l, l->tile);
    icd_status status = icd_i_device_resident(ctx, gpu->device, &gpu->kernel[l->run],
                                              threads_of(l), &resident);
    l->grid = gpu->info.multiprocessors * resident;
    *out = (icd_gpu_work){.block_ptr = l->block_ptr,
                          .blocks = l->plan->blocks,
                          .tiles = (tokens + l->tile - 1) / l->tile,
                          .grid = l->grid,
                          .least = 8};
    return status;
}

static int64_t partial_of(const icd_gpu_linear *l)
{
    bool few = l->tile <= ICD_GPU_DECODE;
    return l->cuts.slots * l->tile * l->plan->vector * (few ? 2 : 1) *
           (int64_t)sizeof(uint32_t);
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

icd_status icd_i_gpu_prepare_as(icd_ctx *ctx, icd_gpu *gpu, icd_gpu_linear *l,
                                int64_t tokens, bool hopper)
{
    icd_status status = ICD_OK;
    icd_gpu_item *item = NULL;
    int32_t *ptr = NULL;
    l->tokens = 0;
    l->hopper = hopper;
    icd_gpu_work work;
    ICD_TRY(choose(ctx, gpu, l, tokens, &work));
    ICD_TRY(ICD_ALLOC(ctx, icd_i_gpu_items(&work), &item));
    ICD_TRY(ICD_ALLOC(ctx, l->grid + 1, &ptr));
    icd_i_gpu_schedule(&work, item, ptr, &l->cuts);
    ICD_TRY(upload_schedule(ctx, gpu, l, item, ptr));
    ICD_TRY(icd_i_gpu_grow(ctx, gpu, &gpu->partial, &gpu->partial_bytes, partial_of(l)));
    ICD_TRY(icd_i_gpu_grow(ctx, gpu, &gpu->tally, &gpu->tally_bytes,
                           l->cuts.tallies * (int64_t)sizeof(uint32_t)));
    l->tokens = tokens;
done:
    icd_i_free(ctx, item);
    icd_i_free(ctx, ptr);
    return status;
}

/* Kernels for Hopper run once they have proved themselves against those for all. */
static icd_status prepare(icd_ctx *ctx, icd_gpu *gpu, icd_gpu_linear *l, int64_t tokens)
{
    if (!gpu->hopper || is_gather(l) || tokens <= 64)
        return icd_i_gpu_prepare_as(ctx, gpu, l, tokens, false);
    int32_t tile = tokens <= 128 ? 128 : 256;
    int8_t *trust = &gpu->trust[hopper_kernel(l, tile) - ICD_RUN_HOPPER_BF16_64_128];
    if (*trust == ICD_GPU_UNTRIED) *trust = icd_i_gpu_try_hopper(ctx, gpu, l, tokens);
    return icd_i_gpu_prepare_as(ctx, gpu, l, tokens, *trust == ICD_GPU_TRUSTED);
}

icd_status icd_i_gpu_prepare(icd_ctx *ctx, icd_gpu *gpu, icd_gpu_linear *linear,
                             int64_t count, int64_t tokens)
{
    icd_status status = icd_device_sync(ctx, gpu->device);
    for (int64_t i = 0; status == ICD_OK && i < count; i++) {
        if (linear[i].tokens == tokens) continue;
        linear[i].by = ICD_GPU_OURS;
        status = prepare(ctx, gpu, &linear[i], tokens);
        if (status == ICD_OK) status = icd_i_gpu_fastest(ctx, gpu, &linear[i]);
    }
    return status;
}

icd_status icd_i_gpu_product(icd_ctx *ctx, icd_gpu *gpu, const icd_gpu_linear *l,
                             icd_dptr staged, icd_dptr scale, icd_dptr y, int64_t ldy)
{
    if (l->by != ICD_GPU_OURS)
        return icd_i_gpu_foreign(ctx, gpu, l, staged, scale, y, ldy);
    icd_gpu_product p = {.a = staged,
                         .w = l->w,
                         .block_ptr = l->d_block_ptr,
                         .live = l->live,
                         .item = l->item,
                         .item_ptr = l->item_ptr,
                         .a_scale = scale,
                         .w_scale = l->w_scale,
                         .bias = l->bias,
                         .place = l->place,
                         .y = y,
                         .partial = gpu->partial,
                         .tally = gpu->tally,
                         .slots = l->slots,
                         .ldy = ldy,
                         .tokens = (int32_t)l->tokens,
                         .rows = (int32_t)l->info->rows,
                         .vector = l->plan->vector,
                         .act = l->act,
                         .wide = l->wide};
    return icd_i_gpu_run(ctx, gpu, l->run, l->grid, threads_of(l), &p);
}

int64_t icd_i_gpu_bytes(const icd_gpu_linear *l)
{
    int64_t granules = l->block_ptr[l->plan->blocks];
    return granules * l->plan->vector * ICD_GPU_GRANULE +
           icd_i_gpu_live_entries(l->plan, l->type, granules) * (int64_t)sizeof(int32_t) +
           l->cuts.items * (int64_t)sizeof(icd_gpu_item);
}
