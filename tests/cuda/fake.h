/**
 * @file fake.h
 * Opens the fake CUDA driver in a test.
 */
#ifndef ICD_TEST_CUDA_FAKE_H
#define ICD_TEST_CUDA_FAKE_H

#include "fakes/cuda/driver.h"
#include "support.h"

#include <dlfcn.h>
#include <icd/device.h>
#include <icd/runner.h>
#include <string.h>

#ifndef ICD_FAKE_CUDA
#define ICD_FAKE_CUDA NULL
#endif

/** Tests are built twice: for the fake driver, and (ICD_TEST_GPU) for the GPU of the
 * machine they run on. */
static inline const char *fake_library(void)
{
#ifdef ICD_TEST_GPU
    return NULL;
#else
    return ICD_FAKE_CUDA;
#endif
}

/** Where a runner of a test runs; no baselines but where a test asks for them. */
static inline void on_device(icd_runner_opts *opts)
{
    opts->device = ICD_RUN_CUDA;
    opts->driver = fake_library();
    opts->cublaslt = opts->cusparselt = "none";
}

/** True where there is no device to test on; says why. */
static inline bool lacks_device(void)
{
#ifdef ICD_TEST_GPU
    icd_ctx *ctx = icd_ctx_new(NULL);
    icd_device *device = NULL;
    icd_status status = icd_device_open(ctx, NULL, &device);
    if (status != ICD_OK) print_message("skipped: %s\n", icd_ctx_message(ctx));
    icd_device_close(ctx, device);
    icd_ctx_free(ctx);
    return status != ICD_OK;
#else
    if (!fake_library())
        print_message("skipped: the fake CUDA driver needs C++ and x86-64\n");
    return !fake_library();
#endif
}

/** Skips the test where there is no device. */
#define need_device()                                                                    \
    do {                                                                                 \
        if (lacks_device()) skip();                                                      \
    } while (0)

/** Runs a group of tests; without a device, that of the GPU says so and is skipped (77).
 */
#ifdef ICD_TEST_GPU
#define run_on_device(tests, up, down)                                                   \
    (lacks_device() ? 77 : cmocka_run_group_tests(tests, up, down))
#else
#define run_on_device(tests, up, down) cmocka_run_group_tests(tests, up, down)
#endif

#ifndef ICD_TEST_GPU

/** The fake's state; the library stays loaded, so that the state outlives a device. */
static inline fake_cuda_state *fake_state(void)
{
    fake_cuda_fn *get = NULL;
    void *library = dlopen(fake_library(), RTLD_NOW | RTLD_LOCAL);
    assert_non_null(library);
    void *found = dlsym(library, "fake_cuda");
    assert_non_null(found);
    memcpy(&get, &found, sizeof get);
    return get();
}

static inline icd_device *fake_device(icd_ctx *ctx)
{
    icd_device *device = NULL;
    icd_device_opts opts = {.size = sizeof opts, .driver = fake_library()};
    (void)fake_state();
    assert_ok(ctx, icd_device_open(ctx, &opts, &device));
    return device;
}

#endif /* ICD_TEST_GPU */

#endif
