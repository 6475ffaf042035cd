/**
 * @file fixture.h
 * One context for all tests of a file: `ctx`, made by set_up and freed by tear_down,
 * which cmocka is given. ICD_TEST_THREADS, defined before, is its number of threads.
 */
#ifndef ICD_TEST_FIXTURE_H
#define ICD_TEST_FIXTURE_H

#include "support.h"

#ifndef ICD_TEST_THREADS
#define ICD_TEST_THREADS 0 /* one per CPU */
#endif

static icd_ctx *ctx;

static inline int set_up(void **state)
{
    icd_ctx_opts opts = {.size = sizeof opts, .threads = ICD_TEST_THREADS};
    (void)state;
    ctx = icd_ctx_new(&opts);
    return ctx ? 0 : -1;
}

static inline int tear_down(void **state)
{
    (void)state;
    icd_ctx_free(ctx);
    return 0;
}

#endif
