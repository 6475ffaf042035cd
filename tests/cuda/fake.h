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
#include <string.h>

#ifndef ICD_FAKE_CUDA
#define ICD_FAKE_CUDA NULL
#endif

/** Skips the test where the fake could not be built. */
#define need_fake()                                                                      \
    do {                                                                                 \
        if (!fake_library()) {                                                           \
            print_message("skipped: the fake CUDA driver needs C++ and x86-64\n");       \
            skip();                                                                      \
        }                                                                                \
    } while (0)

static inline const char *fake_library(void)
{
    return ICD_FAKE_CUDA;
}

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

#endif
