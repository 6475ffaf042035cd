/**
 * @file kv.h
 * The paged KV cache of one layer: keys and values of the tokens that were read.
 *
 * A pool of pages of `page` tokens; every sequence has a table of pages. A token keeps
 * its position for life: keys are stored after their rotation (RoPE), so attention over
 * the cached tokens does not depend on the order in which they lie, and they may be
 * dropped and permuted. A page whose tokens are all dropped goes back to the pool; a page
 * with one live token is read whole, so that dropping frees pages only where it happens
 * to empty them, and compaction (icd_i_kv_permute) frees the rest.
 *
 * Inside a page: keys [heads][dim][page] (a query meets neighbouring tokens in
 * neighbouring lanes), values [heads][page][dim]. Slots without a live token hold zeros.
 */
#ifndef ICD_CORE_KV_H
#define ICD_CORE_KV_H

#include "base/mem.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct icd_kv_shape {
    int64_t heads, dim; /**< KV heads, values of each */
    int64_t page;       /**< tokens of a page */
    int64_t sequences;
    int64_t tokens; /**< most tokens of one sequence, counted from its beginning */
    bool int8;      /**< keys and values in int8, one scale a token and head */
} icd_kv_shape;

typedef struct icd_kv_sequence {
    int32_t *page; /**< its pages, in the order of their tokens */
    int64_t pages;
    int64_t next; /**< tokens read so far = position of the next one */
    int64_t live; /**< tokens that are cached and not dropped */
} icd_kv_sequence;

typedef struct icd_kv {
    icd_kv_shape shape;
    int64_t pages; /**< of the pool */
    int32_t *free_page;
    int64_t free_pages;
    icd_kv_sequence *sequence; /**< [sequences] */
    int32_t *table;            /**< what the sequences' `page` point into */
    int32_t *used, *live; /**< [pages] slots written; those whose token is not dropped */
    int32_t *position;    /**< [pages x page] */
    float *mass;          /**< [pages x page] attention that the token drew so far, mean
                               over the query heads; 0 until somebody asks for it
                               (icd_runner_attention) */
    bool *alive;          /**< [pages x page] */
    float *k, *v;         /**< f32; NULL: int8 */
    int8_t *k8, *v8;      /**< int8; NULL: f32 */
    float *k_scale, *v_scale; /**< int8: [pages x heads x page] */
} icd_kv;

/**
 * @param out [out] empty; icd_i_kv_free; NULL on error
 * @return ICD_OK | ICD_EINVAL a size below 1, or a cache beyond 2^31 tokens | ICD_ENOMEM
 */
icd_status icd_i_kv_new(icd_ctx *ctx, const icd_kv_shape *shape, icd_kv **out);
void icd_i_kv_free(icd_ctx *ctx, icd_kv *kv);

/** A copy, with tokens, positions, masses and pages as they are; into int8, out of it, or
 * in the same type. */
icd_status icd_i_kv_copy(icd_ctx *ctx, const icd_kv *kv, bool int8, icd_kv **out);

/** Forgets a sequence. */
void icd_i_kv_clear(icd_kv *kv, int64_t sequence);

/** Appends a token at position sequence->next, which is below shape.tokens.
 * @param k, v [in] [heads x dim] */
void icd_i_kv_append(icd_kv *kv, int64_t sequence, const float *k, const float *v);

/** Takes back the token that was appended last, which nobody dropped or moved since. */
void icd_i_kv_pop(icd_kv *kv, int64_t sequence);

/** Where a token lies. */
typedef struct icd_kv_slot {
    int32_t page, slot;
} icd_kv_slot;

/** The live tokens of a sequence in the order in which they lie; sequence->live of them.
 */
void icd_i_kv_list(const icd_kv *kv, int64_t sequence, icd_kv_slot *out);

static inline int64_t icd_i_kv_at(const icd_kv *kv, icd_kv_slot at)
{
    return at.page * kv->shape.page + at.slot;
}

/** Keys and values of a token as f32. @param k, v [out] [heads x dim] */
void icd_i_kv_get(const icd_kv *kv, icd_kv_slot at, float *k, float *v);

/** Drops the listed tokens; pages that this empties go back to the pool. */
void icd_i_kv_drop(icd_kv *kv, int64_t sequence, const icd_kv_slot *token, int64_t count);

/**
 * Moves the live tokens so that they fill whole pages; emptied pages go back to the pool.
 * @param old_of_new [in] token k then was number old_of_new[k] of icd_i_kv_list before; a
 *                   permutation of 0..live-1; NULL: the order is kept
 * @return ICD_OK | ICD_EDATA no permutation | ICD_ENOMEM; on error nothing moved
 */
icd_status icd_i_kv_permute(icd_ctx *ctx, icd_kv *kv, int64_t sequence,
                            const int32_t *old_of_new);

/** What is held now, all sequences together. */
typedef struct icd_kv_use {
    int64_t pages, tokens; /**< pages taken from the pool; live tokens */
    int64_t page_bytes;    /**< keys, values and scales of one page */
    int64_t bytes;         /**< pages * page_bytes: what one decoded token reads */
} icd_kv_use;
icd_kv_use icd_i_kv_use(const icd_kv *kv);

/** First value of a head in a page's keys or values; in its scales. */
static inline int64_t icd_i_kv_head(const icd_kv *kv, int32_t page, int64_t head)
{
    return (page * kv->shape.heads + head) * kv->shape.dim * kv->shape.page;
}
static inline int64_t icd_i_kv_scale(const icd_kv *kv, int32_t page, int64_t head)
{
    return (page * kv->shape.heads + head) * kv->shape.page;
}

#endif
