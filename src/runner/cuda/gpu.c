#include "runner/cuda/gpu.h"

#include "kernels/cuda/image.h"

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
    for (int i = 0; i < ICD_RUN_KERNELS; i++)
        ICD_TRY(icd_i_device_kernel(ctx, out->device, module[KERNEL[i].image],
                                    KERNEL[i].name, shared_of(i, widest),
                                    &out->kernel[i]));
done:
    if (status != ICD_OK) icd_i_gpu_close(ctx, out);
    return status;
}

void icd_i_gpu_close(icd_ctx *ctx, icd_gpu *gpu)
{
    icd_device_close(ctx, gpu->device);
    gpu->device = NULL;
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
