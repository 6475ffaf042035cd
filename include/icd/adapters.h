/**
 * @file adapters.h
 * S and Q: transforms of one matrix. They never change their input; what they cannot do
 * is a no-op with the reason in the metadata, and the caller goes on.
 */
#ifndef ICD_ADAPTERS_H
#define ICD_ADAPTERS_H

#include <icd/matrix.h>
#include <icd/options.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Which weights may be zeroed together. */
typedef enum icd_sparsity_type {
    ICD_S_NONE,
    ICD_S_HDS,          /**< V x 1 vectors: V output rows, one input channel */
    ICD_S_UNSTRUCTURED, /**< single weights */
    ICD_S_BLOCK,        /**< V x g tiles of channels sorted by saliency */
    ICD_S_CHANNEL,      /**< whole input channels */
    ICD_S_2_4,          /**< 2 of 4 neighbours of a row survive */
    ICD_S_1_4,
    ICD_S_4_8,
    ICD_S_NM /**< n of m, from the options */
} icd_sparsity_type;
typedef enum icd_saliency {
    ICD_SALIENCY_MAGNITUDE,
    ICD_SALIENCY_ACTIVATION
} icd_saliency;
/** What competes for the budget. */
typedef enum icd_scope { ICD_SCOPE_MATRIX, ICD_SCOPE_GLOBAL } icd_scope;
typedef enum icd_quant_dtype {
    ICD_Q_NONE,
    ICD_Q_INT8,
    ICD_Q_INT4,
    ICD_Q_FP8, /**< e4m3 */
    ICD_Q_FP8_E5M2,
    ICD_Q_BF16
} icd_quant_dtype;
typedef enum icd_quant_method {
    ICD_Q_PTQ_MINMAX,    /**< the largest magnitude sets the scale */
    ICD_Q_PTQ_KLD,       /**< the cut at which the distributions differ least */
    ICD_Q_PTQ_PERCENTILE /**< a percentile of the magnitudes */
} icd_quant_method;

/** Section `transform.sparsity`. */
typedef struct icd_sparsity_opts {
    size_t size;
    int32_t type;     /**< icd_sparsity_type */
    double rate;      /**< share of weights zeroed, 0 <= rate < 1; N:M has 1 - N/M,
                         and no other than that or the default */
    int32_t vector;   /**< hds, block: V output rows share one decision */
    int32_t granule;  /**< block: g input channels of a tile; 0: 16 */
    int32_t n, m;     /**< type nm: n of m survive */
    int32_t saliency; /**< icd_saliency: |w| or |w| * ||x|| */
    int32_t scope;    /**< icd_scope */
    int32_t anneal; /**< steps of a rising rate, on activations of the model as pruned so
                       far; 0: at once */
    bool refill;    /**< keep masked weights that live tiles hold anyway: a new model */
    icd_strings exclude; /**< shell patterns of linears that are left alone */
} icd_sparsity_opts;

/** How activations of linears in int8 and int4 are rounded. */
typedef enum icd_quant_activation {
    ICD_Q_DYNAMIC, /**< by the largest magnitude of each token */
    ICD_Q_STATIC   /**< by one scale from calibration, chosen by `activation_range` */
} icd_quant_activation;

/** Factors that move from the activations of a linear into its weights. */
typedef enum icd_quant_smooth {
    ICD_SMOOTH_OFF,
    ICD_SMOOTH_ON,  /**< with smooth_alpha */
    ICD_SMOOTH_AUTO /**< with the exponent that loses least, where any loses less */
} icd_quant_smooth;

/** Section `transform.quant`. */
typedef struct icd_quant_opts {
    size_t size;
    int32_t dtype;     /**< icd_quant_dtype */
    int32_t method;    /**< icd_quant_method */
    int32_t group;     /**< neighbouring columns that share a scale; 0: the whole row */
    double percentile; /**< percentile: what is kept, 0..100 */
    double outliers;   /**< share of the input channels, those of the largest activations,
                          that stay in bf16 */
    double outlier_threshold; /**< only channels whose activations reach it; with
                                 `outliers` 0: all of them */
    int32_t activation;       /**< icd_quant_activation */
    int32_t activation_range; /**< icd_quant_method of a static scale */
    int32_t smooth;           /**< icd_quant_smooth */
    double smooth_alpha; /**< factors are max|x|^alpha / max|w|^(1 - alpha), by channel */
    icd_strings exclude; /**< shell patterns of linears that are left alone */
} icd_quant_opts;

typedef enum icd_kv_policy {
    ICD_KV_MASS,   /**< tokens that drew the most attention survive */
    ICD_KV_RECENCY /**< the latest tokens survive */
} icd_kv_policy;

/** Section `transform.kv`. */
typedef struct icd_kv_opts {
    size_t size;
    int64_t block;  /**< (seed) tokens of a page; must be the cache's; 0: as it is */
    double drop;    /**< (seed) share of the tokens of a sequence that is dropped */
    int32_t policy; /**< icd_kv_policy */
    int64_t window; /**< latest tokens that always survive */
    int64_t sinks;  /**< first tokens that always survive */
    bool compact;   /**< survivors fill whole pages; false: they stay where they are, and
                         only pages that happen to be empty are freed */
    bool int8;      /**< keys and values in int8, one scale a token and head */
} icd_kv_opts;

extern const icd_option_table icd_sparsity_table;
extern const icd_option_table icd_quant_table;
extern const icd_option_table icd_kv_table;

/** Activations that feed the matrix, from real input; borrowed; NULL pointers: not known.
 */
typedef struct icd_calibration {
    const double *x_sq; /**< [cols] sum over tokens of x^2 */
    const float *x;     /**< [tokens x cols] a sample of rows, for the measured loss */
    int64_t tokens;     /**< rows of x */
    const float *x_max; /**< [cols] largest |x| over all tokens; NULL: that of the sample
                         */
} icd_calibration;

/** Three of the numbers below. */
typedef struct icd_loss {
    double sqnr_db, max_error, cosine;
} icd_loss;

/** What a transform did; plain numbers, NaN where not measured. */
typedef struct icd_transform_meta {
    const char *kind; /**< "S" or "Q" */
    const char *type; /**< "hds", "unstructured", "int8" */
    bool applied;     /**< false: no-op; `reason` says why */
    char reason[160];
    double rate;       /**< S: share of weights really zeroed */
    int32_t vector;    /**< S: rows that must keep moving together */
    int32_t unit;      /**< S: columns that must keep moving together (N:M: M); 0: 1 */
    bool delta_layout; /**< whether W changed enough to ask for a new order */
    char rule[96];     /**< the rule behind delta_layout, in words */
    int32_t
        granule; /**< neighbours taken together by the kernel afterwards; 0: unchanged */
    double retained;          /**< S: share of the saliency that survives */
    double retained_in_place; /**< N:M, block: what the order as it stood would have
                                 retained */
    double sqnr_db;           /**< Q: signal to quantisation noise of the weights */
    double max_error;         /**< max |y' - y| / max |y| on the calibration rows; Q: with
                                 activations rounded as the kernels round them */
    double cosine;            /**< mean cosine of y' and y on the calibration rows */
    int64_t outliers;         /**< Q: input channels that stay in bf16 */
    double input_scale;       /**< Q: static scale of activations; 0: dynamic or none */
    bool refined; /**< Q: outliers or a static scale; `plain` is what it would be without
                   */
    icd_loss plain;
} icd_transform_meta;

struct icd_mask;

/** What a choice depends on beside its own matrix. Zeroed: nothing. */
typedef struct icd_sparsity_place {
    const struct icd_perm
        *order;   /**< N:M, block: which columns are neighbours; NULL: as they stand */
    double floor; /**< scope global: what survives is worth at least this
                       (icd_sparsity_floor); 0: the rate decides inside the matrix */
} icd_sparsity_place;

/** N and M of a type; false where the type is none of N:M. */
bool icd_sparsity_nm(const icd_sparsity_opts *opts, int32_t *n, int32_t *m);

/**
 * Options that contradict each other.
 * @return ICD_OK | ICD_EINVAL N:M with a rate that is neither 1 - N/M nor the default
 */
icd_status icd_sparsity_check(icd_ctx *ctx, const icd_sparsity_opts *opts);

/** Whether `exclude` names a linear. */
bool icd_sparsity_excludes(const icd_sparsity_opts *opts, const char *linear);

/**
 * Saliency of every weight, (|w| s)^2, as the choice sees it.
 * @param out [out] [rows x cols] of the caller
 * @return ICD_OK | ICD_EINVAL activation saliency without calibration | ICD_EDATA NaN or
 * infinity
 */
icd_status icd_sparsity_saliency(icd_ctx *ctx, const icd_matrix *w,
                                 const icd_calibration *cal,
                                 const icd_sparsity_opts *opts, float *out);

/**
 * block: channels by falling saliency, summed over matrices that share their input, each
 * by its own share; ties by index.
 * @param from [in] frame of the channels
 */
icd_status icd_sparsity_block_order(icd_ctx *ctx, const icd_matrix *w,
                                    const icd_calibration *cal, int64_t count,
                                    const icd_sparsity_opts *opts, uint64_t from,
                                    struct icd_perm **out);

/**
 * scope global: the worth below which units go, so that the asked share of all weights is
 * zeroed. Worth: a unit's share of its matrix's saliency over its share of its weights,
 * so that layers compare. Matrices with NaN take no part; what has no saliency goes
 * first, and all of it, whatever the rate above 0.
 * @param place [in] [count] orders of the matrices; NULL: none
 * @param floor [out] for icd_sparsity_place
 */
icd_status icd_sparsity_floor(icd_ctx *ctx, const icd_matrix *w,
                              const icd_calibration *cal, const icd_sparsity_place *place,
                              int64_t count, const icd_sparsity_opts *opts,
                              double *floor);

/**
 * Zeroes weights of least saliency.
 * @param w    [in]
 * @param cal  [in]  NULL: magnitude only (activation saliency then is a no-op with its
 * reason)
 * @param opts [in]
 * @param mask [out] what survives; NULL after a no-op; owned by the caller
 * (icd_mask_free)
 * @param meta [out]
 * @return ICD_OK (no-ops included) | ICD_EINVAL options out of range | ICD_ENOMEM
 * @det    ties by lower column, then lower row
 */
icd_status icd_apply_sparsity(icd_ctx *ctx, const icd_matrix *w,
                              const icd_calibration *cal, const icd_sparsity_opts *opts,
                              struct icd_mask **mask, icd_transform_meta *meta);

/** The same among neighbours or against a floor that `place` gives. */
icd_status icd_apply_sparsity_at(icd_ctx *ctx, const icd_matrix *w,
                                 const icd_calibration *cal,
                                 const icd_sparsity_opts *opts,
                                 const icd_sparsity_place *place, struct icd_mask **mask,
                                 icd_transform_meta *meta);
void icd_mask_free(icd_ctx *ctx, struct icd_mask *mask);

/** Copies w with masked weights zeroed into `out` [rows x cols] of the caller. */
void icd_mask_apply(const struct icd_mask *mask, const float *w, float *out);

/** What a quantisation depends on beside its own matrix. Zeroed: nothing. */
typedef struct icd_quant_place {
    const struct icd_perm *order; /**< groups are neighbours in it; NULL: as they stand */
    bool given;                   /**< take these instead of choosing from calibration: */
    const int32_t *outlier;       /**< ascending */
    int64_t outliers;
    float input_scale;
} icd_quant_place;

/** Whether `exclude` names a linear. */
bool icd_quant_excludes(const icd_quant_opts *opts, const char *linear);

/**
 * Quantises a matrix in a place. Outliers and static scales need calibration; without it
 * the rest is done, with a warning.
 * @return ICD_OK (no-ops included: NaN or infinity, an excluded linear) | ICD_EINVAL
 * options out of range, outliers that are no columns | ICD_ENOMEM
 */
icd_status icd_apply_quant_in(icd_ctx *ctx, const icd_matrix *w,
                              const icd_calibration *cal, const icd_quant_opts *opts,
                              const icd_quant_place *place, icd_quantized **out,
                              icd_transform_meta *meta);

/** Quantises a matrix; one with NaN or Inf is a no-op with its reason. */
icd_status icd_apply_quant(icd_ctx *ctx, const icd_matrix *w, const icd_calibration *cal,
                           const icd_quant_opts *opts, icd_quantized **out,
                           icd_transform_meta *meta);

/** The same with groups of neighbours in `order` (NULL: as the columns stand). */
icd_status icd_apply_quant_at(icd_ctx *ctx, const icd_matrix *w,
                              const icd_calibration *cal, const icd_quant_opts *opts,
                              const struct icd_perm *order, icd_quantized **out,
                              icd_transform_meta *meta);

struct icd_kv;

/** What an eviction freed. */
typedef struct icd_kv_effect {
    int64_t tokens_before, tokens_after; /**< live tokens, all sequences */
    int64_t pages_before, pages_after;   /**< pages taken from the pool */
    int64_t bytes_before, bytes_after;   /**< what one decoded token reads */
} icd_kv_effect;

/**
 * Drops tokens of a KV cache and compacts what is left, in a copy.
 *
 * Every sequence loses round(drop * live) tokens, the least valuable by the policy; the
 * first `sinks` and the last `window` tokens stay (fewer are dropped then). Ties: the
 * older token goes. Keys carry their rotation, so what the survivors contribute does not
 * depend on where they lie.
 * @param effect [out] may be NULL
 * @param meta   [out] `retained`: share of the attention mass that survives (NaN without
 * masses)
 * @return ICD_OK (no-ops included: policy mass on a cache that recorded none, another
 * block) | ICD_EINVAL options out of range | ICD_ENOMEM
 * @cost time O(tokens log tokens + bytes), memory of one copy
 */
icd_status icd_apply_kvcache(icd_ctx *ctx, const struct icd_kv *kv,
                             const icd_kv_opts *opts, struct icd_kv **out,
                             icd_kv_effect *effect, icd_transform_meta *meta);
void icd_kv_free(icd_ctx *ctx, struct icd_kv *kv);

#ifdef __cplusplus
}
#endif
#endif
