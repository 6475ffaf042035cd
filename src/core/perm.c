#include <icd/perm.h>

#include "base/hash.h"
#include "base/mem.h"
#include "core/perm_io.h"
#include "core/spot.h"

#include <inttypes.h>
#include <string.h>

/* All constructors end here; the caller fills old_of_new. */
static icd_status perm_new(icd_ctx *ctx, int64_t n, uint64_t from, icd_perm **out)
{
    icd_status status;
    icd_perm *p = NULL;
    *out = NULL;
    if (n < 0 || n > INT32_MAX)
        return icd_i_fail(ctx, ICD_EINVAL, "permutation", NULL,
                          "found %" PRId64 " indices, expected 0 to %" PRId32, n,
                          INT32_MAX);
    ICD_TRY(ICD_ALLOC(ctx, 1, &p));
    p->n = n;
    p->from = p->to = from;
    ICD_TRY(ICD_ALLOC(ctx, n, &p->old_of_new));
    *out = p;
    p = NULL;
done:
    icd_perm_free(ctx, p);
    return status;
}

static bool is_identity(const icd_perm *p)
{
    for (int64_t k = 0; k < p->n; ++k)
        if (p->old_of_new[k] != k) return false;
    return true;
}

/* Frame 0 is taken by the checkpoint, so no other order may be given it. */
uint64_t icd_i_perm_frame_made(const icd_perm *p)
{
    if (is_identity(p)) return p->from;
    uint64_t frame =
        icd_i_hash(p->from, p->old_of_new, (size_t)p->n * sizeof *p->old_of_new);
    return frame == ICD_FRAME_CHECKPOINT ? 1 : frame;
}

icd_status icd_perm_identity(icd_ctx *ctx, int64_t n, uint64_t from, icd_perm **out)
{
    icd_status status = perm_new(ctx, n, from, out);
    if (status != ICD_OK) return status;
    for (int64_t k = 0; k < n; ++k) (*out)->old_of_new[k] = (int32_t)k;
    return ICD_OK;
}

/* slot_of[i] = 1 + the slot that holds index i, so that 0 means none yet. */
static icd_status check_bijection(icd_ctx *ctx, const int32_t *old_of_new, int64_t n,
                                  int32_t *slot_of, const char *place)
{
    for (int64_t k = 0; k < n; ++k) {
        int32_t i = old_of_new[k];
        if (i < 0 || i >= n)
            return icd_i_fail(ctx, ICD_EDATA, icd_i_spot(place, "slot %" PRId64, k).text,
                              NULL, "found index %" PRId32 ", expected 0 to %" PRId64, i,
                              n - 1);
        if (slot_of[i])
            return icd_i_fail(ctx, ICD_EDATA, icd_i_spot(place, "slot %" PRId64, k).text,
                              "a permutation holds every index exactly once",
                              "index %" PRId32 " stands in slot %" PRId32 " already", i,
                              slot_of[i] - 1);
        slot_of[i] = (int32_t)k + 1;
    }
    return ICD_OK;
}

icd_status icd_perm_from_array(icd_ctx *ctx, const int32_t *old_of_new, int64_t n,
                               uint64_t from, const char *place, icd_perm **out)
{
    icd_status status;
    icd_perm *p = NULL;
    int32_t *slot_of = NULL;
    *out = NULL;
    ICD_TRY(perm_new(ctx, n, from, &p));
    ICD_TRY(ICD_ALLOC(ctx, n, &slot_of));
    ICD_TRY(check_bijection(ctx, old_of_new, n, slot_of, place));
    if (n) memcpy(p->old_of_new, old_of_new, (size_t)n * sizeof *old_of_new);
    p->to = icd_i_perm_frame_made(p);
    *out = p;
    p = NULL;
done:
    icd_i_free(ctx, slot_of);
    icd_perm_free(ctx, p);
    return status;
}

icd_status icd_perm_copy(icd_ctx *ctx, const icd_perm *p, icd_perm **out)
{
    icd_status status = perm_new(ctx, p->n, p->from, out);
    if (status != ICD_OK) return status;
    memcpy((*out)->old_of_new, p->old_of_new, (size_t)p->n * sizeof *p->old_of_new);
    (*out)->to = p->to;
    return ICD_OK;
}

void icd_perm_free(icd_ctx *ctx, icd_perm *p)
{
    if (!p) return;
    icd_i_free(ctx, p->old_of_new);
    icd_i_free(ctx, p);
}

void icd_perm_invert_into(const icd_perm *p, int32_t *pos)
{
    for (int64_t k = 0; k < p->n; ++k) pos[p->old_of_new[k]] = (int32_t)k;
}

icd_status icd_perm_inverse(icd_ctx *ctx, const icd_perm *p, icd_perm **out)
{
    icd_status status = perm_new(ctx, p->n, p->to, out);
    if (status != ICD_OK) return status;
    icd_perm_invert_into(p, (*out)->old_of_new);
    (*out)->to = p->from;
    return ICD_OK;
}

icd_status icd_perm_compose(icd_ctx *ctx, const icd_perm *p, const icd_perm *d,
                            icd_perm **out)
{
    *out = NULL;
    if (p->n != d->n)
        return icd_i_fail(ctx, ICD_EINVAL, "composition of permutations", NULL,
                          "found %" PRId64 " and %" PRId64
                          " indices, expected equal sizes",
                          p->n, d->n);
    if (p->to != d->from)
        return icd_i_fail(
            ctx, ICD_EINVAL, "composition of permutations",
            "solve the second one on a W in the order that the first one makes",
            "the first makes frame %016" PRIx64 ", the second starts from %016" PRIx64,
            p->to, d->from);
    icd_status status = perm_new(ctx, p->n, p->from, out);
    if (status != ICD_OK) return status;
    for (int64_t k = 0; k < p->n; ++k)
        (*out)->old_of_new[k] = p->old_of_new[d->old_of_new[k]];
    (*out)->to = d->to;
    return ICD_OK;
}

uint64_t icd_perm_hash(const icd_perm *p)
{
    uint64_t hash = icd_i_hash(0, &p->n, sizeof p->n);
    hash = icd_i_hash(hash, &p->from, sizeof p->from);
    return icd_i_hash(hash, p->old_of_new, (size_t)p->n * sizeof *p->old_of_new);
}

int64_t icd_perm_moved(const icd_perm *p, const icd_perm *q)
{
    if (p->n != q->n) return p->n;
    int64_t moved = 0;
    for (int64_t k = 0; k < p->n; ++k) moved += p->old_of_new[k] != q->old_of_new[k];
    return moved;
}
