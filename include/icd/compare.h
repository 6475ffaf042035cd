/**
 * @file compare.h
 * Several measured runs side by side, and one run against a stored baseline.
 *
 * Runs are not interleaved with each other, so a difference of times holds whatever
 * changed between them; it is given only where environment and input are the same. The
 * gain inside a run (iterative against linear) is paired and survives that.
 */
#ifndef ICD_COMPARE_H
#define ICD_COMPARE_H

#include <icd/ctx.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Zeroed = defaults. */
typedef struct icd_compare_opts {
    bool anyway;   /**< runs of different environments: no deltas instead of a refusal */
    bool relative; /**< the baseline compares arms as multiples of linear, which another
                      machine may judge, too */
    const char *baseline; /**< baseline file to check the first run against; NULL: none */
    double max_regression; /**< share: .02 = 2 % slower is still allowed; 0: .01, the band
                                that counts as the same */
} icd_compare_opts;

/** What a comparison came to. */
typedef struct icd_compare_result {
    char *json;            /**< everything, as docs/artifacts.md describes it */
    bool regression;       /**< an arm is slower than the baseline allows, or nobody can
                                tell: the interval is too wide */
    char *regression_text; /**< one sentence about the worst one; NULL: none */
} icd_compare_result;

/**
 * Reads metrics.json and samples.csv of run directories and compares them with the first.
 * @param dir [in] `count` paths, at least one (two without a baseline)
 * @return ICD_OK | ICD_EINVAL environments or inputs differ: the sentence says where |
 * ICD_EIO | ICD_EDATA | ICD_ENOMEM
 */
icd_status icd_compare_runs(icd_ctx *ctx, const char *const *dir, int64_t count,
                            const icd_compare_opts *opts, icd_compare_result **out);
void icd_compare_result_free(icd_ctx *ctx, icd_compare_result *result);

/** Writes the times of a run as a baseline for later ones. */
icd_status icd_baseline_write(icd_ctx *ctx, const char *dir, const char *path);

typedef enum icd_compare_format {
    ICD_COMPARE_TEXT,
    ICD_COMPARE_MARKDOWN,
    ICD_COMPARE_HTML
} icd_compare_format;

/** A comparison for people. @param text [out] icd_mem_free */
icd_status icd_compare_render(icd_ctx *ctx, const char *json, icd_compare_format format,
                              char **text);

#ifdef __cplusplus
}
#endif
#endif
