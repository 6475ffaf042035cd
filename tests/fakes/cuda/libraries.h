/**
 * @file libraries.h
 * What a test tells the fake cuBLASLt and cuSPARSELt, and asks them.
 */
#ifndef ICD_FAKE_CUDA_LIBRARIES_H
#define ICD_FAKE_CUDA_LIBRARIES_H

typedef struct fake_library_state {
    const char *fail; /* symbol that fails, or NULL */
    double ms;        /* device time of a product by the best algorithm */
    int version;      /* cuSPARSELt's */
    int products;     /* asked for */
    int searches;     /* heuristics or searches */
    int alive;        /* handles, descriptions, plans not given back */
    int misuse;       /* calls on what was not made, sizes that do not fit */
} fake_library_state;

/* Symbols `fake_cublaslt` and `fake_cusparselt`: their state, to be read and written. */
typedef fake_library_state *fake_library_fn(void);

/* Of the fake driver: work in the order of a stream (or recorded), on a copy of `data`,
 * that takes `ms` of device time. */
void fake_cuda_enqueue(void *stream, void (*work)(const void *data), const void *data,
                       unsigned long bytes, double ms);

/* True where the bytes lie in one allocation of the fake device. */
int fake_cuda_holds(const void *at, unsigned long bytes);

#endif
