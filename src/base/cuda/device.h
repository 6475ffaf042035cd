/**
 * @file device.h
 * What the library itself does with a device: kernels. The rest is <icd/device.h>.
 */
#ifndef ICD_BASE_CUDA_DEVICE_H
#define ICD_BASE_CUDA_DEVICE_H

#include "base/cuda/driver.h"

#include <icd/device.h>

/** A kernel of a loaded module; valid until the device is closed. */
typedef struct icd_gpu_kernel {
    const char *name;
    icd_cu_function function;
    int64_t shared; /**< dynamic shared memory it was allowed, bytes */
} icd_gpu_kernel;

/**
 * Loads compiled code; the device unloads it when it is closed.
 * @param image [in] a fatbin, a cubin or the text of a PTX file
 * @return ICD_OK | ICD_EUNSUPPORTED nothing in it runs on this device | ICD_ENOMEM
 */
icd_status icd_i_device_module(icd_ctx *ctx, icd_device *device, const void *image,
                               icd_cu_module *out);

/**
 * Finds a kernel. @param name [in] outlives the kernel
 * @param shared [in] most dynamic shared memory of its launches
 * @return ICD_OK | ICD_EUNSUPPORTED no such kernel, or the device has less shared memory
 */
icd_status icd_i_device_kernel(icd_ctx *ctx, icd_device *device, icd_cu_module module,
                               const char *name, int64_t shared, icd_gpu_kernel *out);

/** Blocks of a launch that one multiprocessor holds at a time, at least 1. */
icd_status icd_i_device_resident(icd_ctx *ctx, icd_device *device,
                                 const icd_gpu_kernel *kernel, int32_t threads,
                                 int32_t *out);

/**
 * Asks for a launch. Kernels take one structure by value.
 * @param blocks [in] 0: nothing to do
 */
icd_status icd_i_device_launch(icd_ctx *ctx, icd_device *device,
                               const icd_gpu_kernel *kernel, int64_t blocks,
                               int32_t threads, const void *params);

/** The driver of a device, for libraries that need handles. */
const icd_cu *icd_i_device_cu(const icd_device *device);
icd_cu_stream icd_i_device_stream(const icd_device *device);

/** Makes the device's context that of this thread, for libraries that look for one. */
icd_status icd_i_device_enter(icd_ctx *ctx, icd_device *device);

#endif
