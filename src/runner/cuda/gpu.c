#include "runner/cuda/gpu.h"

#include "base/hash.h"
#include "kernels/cuda/image.h"
#include "runner/cuda/lt.h"
#include "runner/cuda/splt.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int image;
    int64_t shared;
} KERNEL[ICD_RUN_KERNELS] = {
#define ICD_GPU_ROW(member, name, image, shared) {name, ICD_IMAGE_##image, shared},
    ICD_GPU_KERNELS(ICD_GPU_ROW)
#undef ICD_GPU_ROW
};

static icd_status load_images(icd_ctx *ctx, icd_gpu *gpu, icd_cu_module *module)
{
    icd_status status = ICD_OK;
    for (int i = 0; status == ICD_OK && i < ICD_IMAGES; i++)
        status = icd_i_device_module(ctx, gpu->device, icd_i_gpu_image(i), &module[i]);
    return status;
}

static int64_t shared_of(int which, int64_t widest)
{
    if (which == ICD_RUN_ROWS) return (32 + widest) * (int64_t)sizeof(float);
    return KERNEL[which].shared;
}

/* A baseline that is not there is no error: our kernels run instead, and why is told. */
static void tell(icd_ctx *ctx, const char *library, icd_status status, double start)
{
    char meta[512], why[320];
    const char *text = status == ICD_OK ? "" : icd_ctx_message(ctx);
    size_t n = 0;
    for (; *text && n + 2 < sizeof why; text++) {
        if (*text == '"' || *text == '\\') why[n++] = '\\';
        if ((unsigned char)*text >= ' ') why[n++] = *text;
    }
    why[n] = 0;
    snprintf(meta, sizeof meta, "{\"library\":\"%s\",\"used\":%s,\"why\":\"%s\"}",
             library, status == ICD_OK ? "true" : "false", why);
    icd_event event = {"gpu", start, icd_ctx_now(ctx), true, meta};
    icd_ctx_emit(ctx, &event);
}

static const char *library_of(const char *option)
{
    return option && *option ? option : NULL;
}

static bool is_wanted(const char *option)
{
    return !option || strcmp(option, "none") != 0;
}

static icd_status open_baselines(icd_ctx *ctx, const icd_runner_opts *opts, icd_gpu *gpu)
{
    icd_status status = ICD_OK;
    double start = icd_ctx_now(ctx);
    if (opts->l2_pin) return ICD_OK; /* what is pinned is what our kernels read */
    if (is_wanted(opts->cublaslt)) {
        status = icd_i_lt_open(ctx, gpu, library_of(opts->cublaslt), &gpu->lt);
        tell(ctx, "cublaslt", status, start);
        if (status != ICD_OK)
            icd_i_warn(ctx, "dense linears run our own kernel: %s", icd_ctx_message(ctx));
    }
    if (is_wanted(opts->cusparselt)) {
        status = icd_i_splt_open(ctx, gpu, library_of(opts->cusparselt), &gpu->splt);
        tell(ctx, "cusparselt", status, start);
    }
    return ICD_OK;
}

icd_status icd_i_gpu_open(icd_ctx *ctx, const icd_runner_opts *opts, int64_t widest,
                          icd_gpu *out)
{
    icd_status status = ICD_OK;
    icd_cu_module module[ICD_IMAGES] = {NULL};
    icd_device_opts device = {.size = sizeof device,
                              .driver =
                                  opts->driver && *opts->driver ? opts->driver : NULL};
    *out = (icd_gpu){0};
    ICD_TRY(icd_device_open(ctx, &device, &out->device));
    icd_device_get_info(out->device, &out->info);
    ICD_TRY(load_images(ctx, out, module));
    out->hopper = opts->wgmma && out->info.major == 9 && out->info.minor == 0;
    for (int i = 0; i < ICD_RUN_KERNELS; i++)
        if (out->hopper || KERNEL[i].image != ICD_IMAGE_HOPPER)
            ICD_TRY(icd_i_device_kernel(ctx, out->device, module[KERNEL[i].image],
                                        KERNEL[i].name, shared_of(i, widest),
                                        &out->kernel[i]));
    ICD_TRY(open_baselines(ctx, opts, out));
done:
    if (status != ICD_OK) icd_i_gpu_close(ctx, out);
    return status;
}

void icd_i_gpu_close(icd_ctx *ctx, icd_gpu *gpu)
{
    icd_i_lt_close(ctx, gpu->lt);
    icd_i_splt_close(ctx, gpu->splt);
    icd_device_close(ctx, gpu->device);
    icd_i_free(ctx, gpu->race);
    *gpu = (icd_gpu){.device = NULL};
}

uint64_t icd_i_gpu_room(const icd_gpu *gpu)
{
    const uint64_t at[] = {gpu->partial.at, gpu->tally.at, gpu->raw.at};
    return icd_i_hash(0, at, sizeof at);
}

icd_status icd_i_gpu_grow(icd_ctx *ctx, icd_gpu *gpu, icd_dptr *at, int64_t *held,
                          int64_t need)
{
    if (need <= *held) return ICD_OK;
    icd_device_release(ctx, gpu->device, *at);
    *at = (icd_dptr){0};
    *held = 0;
    icd_status status =
        icd_device_alloc(ctx, gpu->device, need, "the workspace of products", at);
    if (status == ICD_OK) status = icd_device_fill(ctx, gpu->device, *at, 0, need);
    if (status == ICD_OK) *held = need;
    return status;
}

icd_status icd_i_gpu_run(icd_ctx *ctx, icd_gpu *gpu, icd_gpu_which which, int64_t blocks,
                         int32_t threads, const void *params)
{
    return icd_i_device_launch(ctx, gpu->device, &gpu->kernel[which], blocks, threads,
                               params);
}

icd_status icd_i_gpu_put(icd_ctx *ctx, icd_gpu *gpu, const void *from, int64_t bytes,
                         const char *what, icd_dptr *out)
{
    icd_status status = icd_device_alloc(ctx, gpu->device, bytes, what, out);
    if (status != ICD_OK) return status;
    return icd_device_upload(ctx, gpu->device, *out, from, bytes);
}
