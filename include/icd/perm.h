/**
 * @file perm.h
 * pi, a permutation of an index space, with the frame it starts from and the frame it
 * makes.
 *
 * The convention, once and for all (gather):
 *
 *     new[k] = old[ old_of_new[k] ]            pi[k] = old index at new slot k
 *     new_of_old[ old_of_new[k] ] = k          pos = the inverse
 *
 * A frame is a 64-bit id of an order of indices: 0 is the order of the checkpoint;
 * applying pi to frame F makes the frame hash(F, pi), and an identity makes F itself.
 * Composition
 *
 *     compose(p, d)[k] = p[ d[k] ]             p: F -> G, then d: G -> H, gives F -> H
 *
 * is legal only when p->to == d->from; a solve in another frame can therefore never be
 * applied by mistake.
 */
#ifndef ICD_PERM_H
#define ICD_PERM_H

#include <icd/csr.h>
#include <icd/ctx.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct icd_perm {
    int64_t n;
    int32_t *old_of_new; /**< n; a bijection of 0..n-1 */
    uint64_t from;       /**< frame of the old indices */
    uint64_t
        to; /**< frame of the new slots: hash(from, old_of_new), or from if identity */
} icd_perm;

/** The identity in frame `from`. @return ICD_OK | ICD_EINVAL | ICD_ENOMEM */
icd_status icd_perm_identity(icd_ctx *ctx, int64_t n, uint64_t from, icd_perm **out);

/**
 * Copies an array after checking that it is a bijection.
 * @param place [in] how errors name the source ("perm.json", "argument pi")
 * @return ICD_OK | ICD_EDATA naming the slot and the repeated or out-of-range index |
 * ICD_ENOMEM
 */
icd_status icd_perm_from_array(icd_ctx *ctx, const int32_t *old_of_new, int64_t n,
                               uint64_t from, const char *place, icd_perm **out);

icd_status icd_perm_copy(icd_ctx *ctx, const icd_perm *p, icd_perm **out);

/** Releases a permutation; NULL is legal. */
void icd_perm_free(icd_ctx *ctx, icd_perm *p);

/** new_of_old, as an array of the caller: pos[old] = new. `pos` holds p->n entries. */
void icd_perm_invert_into(const icd_perm *p, int32_t *pos);

/** The inverse permutation, from p->to back to p->from. */
icd_status icd_perm_inverse(icd_ctx *ctx, const icd_perm *p, icd_perm **out);

/**
 * First p, then d: out[k] = p[d[k]].
 * @return ICD_OK | ICD_EINVAL sizes differ, or d was solved in another frame than p makes
 * | ICD_ENOMEM
 */
icd_status icd_perm_compose(icd_ctx *ctx, const icd_perm *p, const icd_perm *d,
                            icd_perm **out);

/** Hash of n, from and the indices (XXH64), printed as 16 hex digits in files. */
uint64_t icd_perm_hash(const icd_perm *p);

/** Number of slots whose index differs from q's at the same slot (n if sizes differ). */
int64_t icd_perm_moved(const icd_perm *p, const icd_perm *q);

/**
 * Reads a single-axis file {"D","pi","hash"[,"frame"]}; "pi" alone is enough. A hash that
 * is present and wrong, or a "D" that is not the length of "pi", is an error.
 * @return ICD_OK | ICD_EIO | ICD_EDATA | ICD_ENOMEM
 */
icd_status icd_perm_read(icd_ctx *ctx, const char *path, icd_perm **out);

/** Writes {"D","pi","hash","frame"}; atomic; same permutation, same bytes. */
icd_status icd_perm_write(icd_ctx *ctx, const icd_perm *p, const char *path);

/** One axis of a stored set. */
typedef struct icd_perm_entry {
    char *axis; /**< "layer.3.ffn.inner", or a consumer's name for a local order */
    icd_perm
        *perm;  /**< frame of the old indices: the checkpoint's, as SPEC section 2 asks */
    bool local; /**< one consumer's own order, not an order of the axis */
} icd_perm_entry;

/** perm_before.json, perm_after.json, perm_active.json. */
typedef struct icd_perm_set {
    icd_perm_entry *entry;
    int64_t count, capacity;
    char *tag; /**< hash(model + task + S/Q/K + seed); NULL: none */
} icd_perm_set;

icd_status icd_perm_set_new(icd_ctx *ctx, icd_perm_set **out);
void icd_perm_set_free(icd_ctx *ctx, icd_perm_set *set);

/** Adds or replaces an axis; copies `p`. */
icd_status icd_perm_set_put(icd_ctx *ctx, icd_perm_set *set, const char *axis,
                            const icd_perm *p, bool local);

/** The permutation of an axis, borrowed; NULL where the set has none. */
const icd_perm *icd_perm_set_get(const icd_perm_set *set, const char *axis);

/** {"version","axes":{NAME:{"D","pi","frame","hash","local"}},"tag"}; atomic; axes sorted
 * by name. */
icd_status icd_perm_set_write(icd_ctx *ctx, const icd_perm_set *set, const char *path);
icd_status icd_perm_set_read(icd_ctx *ctx, const char *path, icd_perm_set **out);

#ifdef __cplusplus
}
#endif
#endif
