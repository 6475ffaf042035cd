/**
 * @file layout.h
 * How each linear of a model is to be executed: its mask, the order of its input and its
 * kernel.
 *
 * Adapters fill in masks, the solver orders, the runner reads. Names are those of the
 * runner's linears ("layer.3.ffn.down"); linears that read one buffer share a `group`
 * ("layer.3.attn.qkv") and therefore one local order.
 */
#ifndef ICD_CORE_LAYOUT_H
#define ICD_CORE_LAYOUT_H

#include "core/mask.h"
#include <icd/matrix.h>
#include <icd/perm.h>

typedef enum icd_kernel_kind {
    ICD_KERNEL_AUTO = 0, /**< measured on this machine, the fastest taken */
    ICD_KERNEL_DENSE,
    ICD_KERNEL_GATHER, /**< single surviving channels */
    ICD_KERNEL_TILE    /**< live granules of V x g */
} icd_kernel_kind;

/** What was measured where the kernel was AUTO: seconds of one product. */
typedef struct icd_kernel_choice {
    int32_t kernel;                   /**< the fastest; AUTO (0): nothing was measured */
    int64_t tokens;                   /**< of the product */
    double live;                      /**< share of the granules that tiles multiply */
    double dense_s, tile_s, gather_s; /**< NaN: no such kernel here */
} icd_kernel_choice;

typedef struct icd_layout_entry {
    char *linear; /**< owned */
    char *group;  /**< owned; linears that share an input */
    int64_t rows, cols;
    icd_mask *mask; /**< owned; columns in the frame of the model; NULL: nothing masked */
    const icd_quantized *quant; /**< borrowed; weights of a small type, columns in the
                                   model's frame; NULL: f32 from the model */
    icd_perm *order; /**< owned; local order of the input, from the model's frame; NULL:
                        identity */
    int32_t kernel;  /**< icd_kernel_kind */
    int32_t granule; /**< g */
    bool whole;      /**< runs in f32 whatever the type of the run */
    icd_kernel_choice choice; /**< where `kernel` was AUTO */
} icd_layout_entry;

typedef struct icd_layout {
    icd_layout_entry *entry;
    int64_t count, capacity;
} icd_layout;

/** Whether a column is held in higher precision. @cost O(log outliers) */
bool icd_i_is_outlier(const icd_quantized *q, int64_t column);

icd_status icd_i_layout_new(icd_ctx *ctx, icd_layout **out);
void icd_i_layout_free(icd_ctx *ctx, icd_layout *layout);

/** Appends a linear; the strings are copied. */
icd_status icd_i_layout_add(icd_ctx *ctx, icd_layout *layout, const char *linear,
                            const char *group, int64_t rows, int64_t cols);

/** The entry of a linear; NULL where there is none. */
icd_layout_entry *icd_i_layout_get(const icd_layout *layout, const char *linear);

/** A deep copy whose orders and kernels may then be replaced (an arm of its own). */
icd_status icd_i_layout_copy(icd_ctx *ctx, const icd_layout *layout, icd_layout **out);

/** Groups in which a linear has no small weights run in f32, all of them: one buffer is
 * staged for a group. */
void icd_i_layout_keep_whole(icd_layout *layout);

/** Whether an entry is stored as two int8 weights of any four: they promise it, the
 * kernel is dense, and its order keeps the fours. @cost O(rows cols) */
bool icd_i_two_of_four(const icd_layout_entry *entry);

/** Sets the local order of every linear of a group (copies). */
icd_status icd_i_layout_set_order(icd_ctx *ctx, icd_layout *layout, const char *group,
                                  const icd_perm *order);

/**
 * An order with the outliers of `q` behind all other channels, so that they fill granules
 * of their own: the granules that hold most of them go to the end, and the few left over
 * change places with what is there. Other granules stay whole and in turn.
 * @param order [in] NULL: identity, of `frame`
 * @param out   [out] icd_perm_free; NULL on error
 */
icd_status icd_i_order_outliers_last(icd_ctx *ctx, const icd_perm *order, uint64_t frame,
                                     const icd_quantized *q, int32_t granule,
                                     icd_perm **out);

/** Live and all V x g granules of one entry under its order (V = 64 rows of the kernel).
 */
typedef struct icd_live {
    int64_t live, all;
} icd_live;
icd_status icd_i_layout_live(icd_ctx *ctx, const icd_layout_entry *entry, int32_t vector,
                             int32_t granule, icd_live *out);

#endif
