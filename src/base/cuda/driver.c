#include "base/cuda/driver.h"

#include <dlfcn.h>
#include <string.h>

#define DRIVER "libcuda.so.1"

static icd_status load_symbol(icd_ctx *ctx, void *library, const char *symbol, void *slot)
{
    void *found = dlsym(library, symbol);
    if (!found)
        return icd_i_fail(ctx, ICD_EUNSUPPORTED, "CUDA driver",
                          "install a driver of CUDA 12 or later",
                          "found no function %s, this driver is too old", symbol);
    memcpy(slot, &found, sizeof found);
    return ICD_OK;
}

static icd_status start(icd_ctx *ctx, icd_cu *cu)
{
    icd_cu_result result = cu->init(0);
    if (result == ICD_CU_OK) return ICD_OK;
    icd_status status = icd_i_cu_fail(ctx, cu, result, "start of the CUDA driver");
    return status == ICD_ENOMEM ? status : ICD_EUNSUPPORTED;
}

icd_status icd_i_cu_load(icd_ctx *ctx, const char *library, icd_cu *out)
{
    icd_status status = ICD_OK;
    *out = (icd_cu){0};
    out->library = dlopen(library ? library : DRIVER, RTLD_NOW | RTLD_LOCAL);
    if (!out->library)
        return icd_i_fail(ctx, ICD_EUNSUPPORTED, "CUDA driver",
                          "run on a machine with an NVIDIA GPU, or with runner.device "
                          "cpu",
                          "%s could not be loaded, so there is no GPU to run on",
                          library ? library : DRIVER);
#define ICD_CU_LOAD(name, symbol, args)                                                  \
    ICD_TRY(load_symbol(ctx, out->library, symbol, (void *)&out->name));
    ICD_CU_FUNCTIONS(ICD_CU_LOAD)
#undef ICD_CU_LOAD
    ICD_TRY(start(ctx, out));
done:
    if (status != ICD_OK) icd_i_cu_unload(out);
    return status;
}

void icd_i_cu_unload(icd_cu *cu)
{
    if (cu->library) dlclose(cu->library);
    *cu = (icd_cu){0};
}

static icd_status status_of(icd_cu_result result)
{
    switch (result) {
    case ICD_CU_ENOMEM:
        return ICD_ENOMEM;
    case ICD_CU_NO_DEVICE:
    case ICD_CU_INVALID_DEVICE:
    case ICD_CU_INVALID_IMAGE:
    case ICD_CU_NO_BINARY:
    case ICD_CU_NOT_FOUND:
        return ICD_EUNSUPPORTED;
    default:
        return ICD_EINTERNAL;
    }
}

static const char *hint_of(icd_cu_result result)
{
    if (result == ICD_CU_INVALID_IMAGE || result == ICD_CU_NO_BINARY)
        return "build with ICD_CUDA=ON and an nvcc that knows this GPU";
    return result == ICD_CU_NO_DEVICE ? "see what `nvidia-smi` lists" : NULL;
}

icd_status icd_i_cu_fail(icd_ctx *ctx, const icd_cu *cu, icd_cu_result result,
                         const char *doing)
{
    const char *text = NULL;
    if (cu->error_string(result, &text) != ICD_CU_OK || !text) text = "unknown error";
    return icd_i_fail(ctx, status_of(result), "CUDA", hint_of(result),
                      "%s failed with %d (%s)", doing, result, text);
}
