/**
 * @file quality.h
 * What a transform costs in quality: one score for every example, of every model, so that
 * models are compared in pairs.
 */
#ifndef ICD_QUALITY_H
#define ICD_QUALITY_H

#include <icd/ctx.h>
#include <icd/options.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum icd_quality_task {
    ICD_QUALITY_AUTO,           /**< by what the model and the data allow */
    ICD_QUALITY_NONE,           /**< not evaluated */
    ICD_QUALITY_CLASSIFICATION, /**< labelled sentences, a linear probe on embeddings */
    ICD_QUALITY_NEXT_TOKEN,     /**< language models: next tokens of a text */
    ICD_QUALITY_MASKED_WORD     /**< encoders with a masked-word head: hidden tokens */
} icd_quality_task;

/** Section `quality`. */
typedef struct icd_quality_opts {
    size_t size;
    int32_t task; /**< icd_quality_task */
    icd_strings
        data; /**< labelled sentences (.tsv, .json) or text; none: not evaluated */
    int64_t examples; /**< at most, evenly from the data */
    int64_t seq;      /**< tokens of an example; longer ones are cut */
} icd_quality_opts;

extern const icd_option_table icd_quality_table;

/**
 * How well a linear classifier reads labels off embeddings: every example is judged by a
 * ridge classifier that was fitted without it (`folds` parts, assigned by a fixed
 * shuffle). The embeddings are centred; the ridge is 1 % of their mean square.
 * @param x      [in]  [n x width]
 * @param label  [in]  [n] 0 .. classes - 1
 * @param score  [out] [n] 1 where the label was right, else 0
 * @return ICD_OK | ICD_EINVAL fewer examples than folds, folds < 2, labels out of range |
 * ICD_EDATA embeddings that are not finite | ICD_ENUMERIC | ICD_ENOMEM
 * @cost  O(folds width^2 (n + width))
 * @det   same input and seed: same bits on one CPU type
 */
icd_status icd_probe_scores(icd_ctx *ctx, const float *x, int64_t n, int64_t width,
                            const int32_t *label, int32_t classes, int32_t folds,
                            int64_t seed, double *score);

#ifdef __cplusplus
}
#endif
#endif
