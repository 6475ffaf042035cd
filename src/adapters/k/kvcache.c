/* K: eviction of tokens from a paged KV cache, with or without compaction. */
#include "adapters/adapter.h"
#include "core/kv.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int64_t DELTA_BLOCK = 64; /* pages from here on hold tokens worth sorting */

/* A live token and what it is worth. */
typedef struct candidate {
    double value;
    int32_t position;
    icd_kv_slot slot;
} candidate;

/* The least valuable first, the older of equals first. */
static int by_value(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->value != y->value) return x->value < y->value ? -1 : 1;
    return (x->position > y->position) - (x->position < y->position);
}

static int by_position(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    return (x->position > y->position) - (x->position < y->position);
}

static double mass_of(const icd_kv *kv, icd_kv_slot at)
{
    return (double)kv->mass[icd_i_kv_at(kv, at)];
}

/* Live tokens of a sequence by position, sinks and the window left out. */
static int64_t candidates(const icd_kv *kv, int64_t sequence, const icd_kv_opts *opts,
                          icd_kv_slot *slot, candidate *out)
{
    int64_t live = kv->sequence[sequence].live;
    icd_i_kv_list(kv, sequence, slot);
    for (int64_t i = 0; i < live; i++)
        out[i] = (candidate){.position = kv->position[icd_i_kv_at(kv, slot[i])],
                             .slot = slot[i]};
    if (live) qsort(out, (size_t)live, sizeof *out, by_position);
    int64_t first = opts->sinks < live ? opts->sinks : live,
            last = live - opts->window > first ? live - opts->window : first;
    memmove(out, out + first, (size_t)(last - first) * sizeof *out);
    for (int64_t i = 0; i < last - first; i++)
        out[i].value = opts->policy == ICD_KV_MASS ? mass_of(kv, out[i].slot)
                                                   : (double)out[i].position;
    return last - first;
}

/* Drops the least valuable tokens of one sequence and sums what mass went and was. */
static void evict(icd_kv *kv, int64_t sequence, const icd_kv_opts *opts,
                  icd_kv_slot *slot, candidate *work, double *gone, double *all)
{
    int64_t live = kv->sequence[sequence].live;
    int64_t count = candidates(kv, sequence, opts, slot, work);
    int64_t drop = llround(opts->drop * (double)live);
    if (drop > count) drop = count;
    for (int64_t i = 0; i < live; i++) *all += mass_of(kv, slot[i]);
    if (count) qsort(work, (size_t)count, sizeof *work, by_value);
    for (int64_t i = 0; i < drop; i++) {
        slot[i] = work[i].slot;
        *gone += mass_of(kv, slot[i]);
    }
    icd_i_kv_drop(kv, sequence, slot, drop);
}

static icd_status evict_all(icd_ctx *ctx, icd_kv *kv, const icd_kv_opts *opts,
                            double *retained)
{
    icd_status status = ICD_OK;
    icd_kv_slot *slot = NULL;
    candidate *work = NULL;
    double gone = 0, all = 0;
    ICD_TRY(ICD_ALLOC(ctx, kv->shape.tokens, &slot));
    ICD_TRY(ICD_ALLOC(ctx, kv->shape.tokens, &work));
    for (int64_t s = 0; s < kv->shape.sequences; s++) {
        evict(kv, s, opts, slot, work, &gone, &all);
        if (opts->compact) ICD_TRY(icd_i_kv_permute(ctx, kv, s, NULL));
    }
    *retained = all > 0 ? 1 - gone / all : NAN;
done:
    icd_i_free(ctx, slot);
    icd_i_free(ctx, work);
    return status;
}

static bool has_mass(const icd_kv *kv)
{
    double sum = 0;
    for (int64_t i = 0; i < kv->pages * kv->shape.page; i++)
        if (kv->alive[i]) sum += (double)kv->mass[i];
    return sum > 0;
}

/* The reason the cache cannot be thinned so; NULL: it can. */
static const char *obstacle(const icd_kv *kv, const icd_kv_opts *opts)
{
    if (opts->block && opts->block != kv->shape.page)
        return "block is not the page of this cache (runner.page)";
    if (opts->drop > 0 && opts->policy == ICD_KV_MASS && !has_mass(kv))
        return "the cache recorded no attention, which policy mass goes by";
    return NULL;
}

static void begin_meta(icd_transform_meta *meta, const icd_kv *kv,
                       const icd_kv_opts *opts)
{
    *meta = (icd_transform_meta){.kind = "K",
                                 .type = opts->policy == ICD_KV_MASS ? "mass" : "recency",
                                 .granule = (int32_t)kv->shape.page,
                                 .retained = NAN,
                                 .retained_in_place = NAN,
                                 .sqnr_db = NAN,
                                 .max_error = NAN,
                                 .cosine = NAN};
    meta->delta_layout = opts->drop > 0 || kv->shape.page >= DELTA_BLOCK;
    snprintf(meta->rule, sizeof meta->rule, "K: block >= %lld or drop > 0",
             (long long)DELTA_BLOCK);
}

static void take_effect(const icd_kv *before, const icd_kv *after, icd_kv_effect *effect,
                        icd_transform_meta *meta)
{
    icd_kv_use a = icd_i_kv_use(before), b = icd_i_kv_use(after);
    *effect = (icd_kv_effect){a.tokens, b.tokens, a.pages, b.pages, a.bytes, b.bytes};
    meta->applied = true;
    meta->rate = a.tokens ? 1 - (double)b.tokens / (double)a.tokens : 0;
}

icd_status icd_apply_kvcache(icd_ctx *ctx, const icd_kv *kv, const icd_kv_opts *in,
                             icd_kv **out, icd_kv_effect *effect,
                             icd_transform_meta *meta)
{
    icd_kv_opts opts;
    icd_kv_effect unused;
    icd_kv *copy = NULL;
    if (!effect) effect = &unused;
    *out = NULL;
    *effect = (icd_kv_effect){0};
    *meta = (icd_transform_meta){.kind = "K", .type = "none"};
    icd_status status = icd_options_resolve(ctx, &icd_kv_table, in, &opts);
    if (status != ICD_OK) return status;
    begin_meta(meta, kv, &opts);
    const char *why = obstacle(kv, &opts);
    if (why) {
        icd_i_no_op(ctx, meta, "KV cache", "%s", why);
        return ICD_OK;
    }
    status = icd_i_kv_copy(ctx, kv, opts.int8, &copy);
    if (status == ICD_OK) status = evict_all(ctx, copy, &opts, &meta->retained);
    if (status == ICD_OK) {
        take_effect(kv, copy, effect, meta);
        *out = copy;
        copy = NULL;
    }
    icd_i_kv_free(ctx, copy);
    return status;
}

void icd_kv_free(icd_ctx *ctx, icd_kv *kv)
{
    icd_i_kv_free(ctx, kv);
}
