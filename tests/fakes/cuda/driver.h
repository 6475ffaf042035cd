/**
 * @file driver.h
 * What a test tells the fake CUDA driver, and asks it.
 */
#ifndef ICD_FAKE_CUDA_DRIVER_H
#define ICD_FAKE_CUDA_DRIVER_H

#include <stddef.h>

typedef struct fake_cuda_state {
    size_t memory;    /* bytes of the device */
    int devices;      /* how many there are */
    int major;        /* compute capability */
    int wrong;        /* products of warp groups give another value */
    int processors;   /* multiprocessors */
    int pinnable;     /* bytes of L2 that may be set aside */
    const char *fail; /* symbol that fails, or NULL */
    int fail_with;    /* its CUresult */
    int fail_after;   /* calls of it that still work */
    int allocations, contexts, streams, events, graphs, modules; /* alive now */
    int launches, replays, copies;                               /* done so far */
    size_t pinned;     /* bytes of the access-policy window */
    double clock;      /* ms: every launch takes one */
    double product_ms; /* but those of products, which take this */
} fake_cuda_state;

/* The symbol `fake_cuda` of the library: its state, to be read and written. */
typedef fake_cuda_state *fake_cuda_fn(void);

#endif
