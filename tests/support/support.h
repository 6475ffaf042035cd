/**
 * @file support.h
 * What the C tests share: cmocka, contexts whose n-th allocation fails, temporary
 * folders, seeds.
 */
#ifndef ICD_TEST_SUPPORT_H
#define ICD_TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <icd/ctx.h>

/** Asserts ICD_OK and prints the context's message otherwise. */
#define assert_ok(ctx, expr) icd_test_assert_ok((ctx), (expr), #expr, __FILE__, __LINE__)
void icd_test_assert_ok(icd_ctx *ctx, icd_status status, const char *expr,
                        const char *file, int line);

/** Asserts a status and that the message contains `text`. */
#define assert_fails(ctx, expected, text, expr)                                          \
    icd_test_assert_fails((ctx), (expected), (text), (expr), #expr, __FILE__, __LINE__)
void icd_test_assert_fails(icd_ctx *ctx, icd_status expected, const char *text,
                           icd_status status, const char *expr, const char *file,
                           int line);

/** Asserts |a - b| <= eps; NaN fails. */
#define assert_near(a, b, eps) icd_test_assert_near((a), (b), (eps), __FILE__, __LINE__)
static inline void icd_test_assert_near(double a, double b, double eps, const char *file,
                                        int line)
{
    double gap = a > b ? a - b : b - a;
    if (gap <= eps) return;
    print_error("found %.17g, expected %.17g +- %g\n", a, b, eps);
    _fail(file, line);
}

/**
 * Calls `fn(ctx, arg)` with the 1st, 2nd, 3rd... allocation failing until it succeeds.
 * Every failure must be ICD_ENOMEM, and no allocation may stay behind.
 */
typedef icd_status icd_test_fn(icd_ctx *ctx, void *arg);
void icd_test_failing_allocations(icd_test_fn *fn, void *arg);

/** A fresh folder that is removed at exit; the same for the whole process. */
const char *icd_test_dir(void);

/** icd_test_dir()/name in a static ring of buffers. */
const char *icd_test_path(const char *name);

/** ../shared/real/NAME if this checkout has it, else NULL (then call skip_shared()). */
const char *icd_test_shared(const char *name);
#define skip_shared()                                                                    \
    do {                                                                                 \
        print_message("skipped: ../shared is not here\n");                               \
        skip();                                                                          \
    } while (0)

#endif
