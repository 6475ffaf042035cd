#include "solver/hyper_votes.h"

#include <string.h>

icd_status icd_i_hyper_votes_init(icd_ctx *ctx, const icd_hyper *h, icd_hyper_votes *out)
{
    icd_status status;
    memset(out, 0, sizeof *out);
    ICD_TRY(ICD_ALLOC(ctx, (int64_t)h->n * h->granules, &out->vote));
    ICD_TRY(ICD_ALLOC(ctx, h->n, &out->want));
    ICD_TRY(ICD_ALLOC(ctx, h->granules, &out->next));
    ICD_TRY(ICD_ALLOC(ctx, h->n, &out->slot));
    ICD_TRY(ICD_ALLOC(ctx, h->n, &out->taken));
done:
    return status;
}

void icd_i_hyper_votes_release(icd_ctx *ctx, icd_hyper_votes *v)
{
    icd_i_free(ctx, v->vote);
    icd_i_free(ctx, v->want);
    icd_i_free(ctx, v->next);
    icd_i_free(ctx, v->slot);
    icd_i_free(ctx, v->taken);
    memset(v, 0, sizeof *v);
}

void icd_i_hyper_votes_clear(icd_hyper_votes *v, const icd_hyper *h)
{
    memset(v->vote, 0, (size_t)h->n * (size_t)h->granules * sizeof *v->vote);
    v->counted = 0;
}

void icd_i_hyper_votes_count(icd_hyper_votes *v, const icd_hyper *h)
{
    if (v->counted == ICD_HYPER_VOTES) return;
    for (int64_t i = 0; i < h->n; ++i) v->vote[i * h->granules + h->granule_of[i]]++;
    v->counted++;
}

/* Moves a granule's cursor to its next slot that is not taken. @return whether there is
 * one */
static bool has_room(icd_hyper_votes *v, const icd_hyper *h, int32_t granule)
{
    int64_t end = ((int64_t)granule + 1) * h->granule;
    if (end > h->n) end = h->n;
    while (v->next[granule] < end && v->taken[v->next[granule]]) v->next[granule]++;
    return v->next[granule] < end;
}

static int32_t favourite(icd_hyper_votes *v, const icd_hyper *h, int64_t i)
{
    const uint16_t *vote = v->vote + i * h->granules;
    int32_t best = -1;
    for (int32_t g = 0; g < h->granules; ++g)
        if ((best < 0 || vote[g] > vote[best]) && has_room(v, h, g)) best = g;
    return best;
}

/* Only the slots of free indices are to be had. */
static void open_slots(icd_hyper_votes *v, const icd_hyper *h, const int32_t *free_index,
                       int64_t free_count)
{
    memset(v->taken, 1, (size_t)h->n);
    memcpy(v->slot, h->slot_of, (size_t)h->n * sizeof *v->slot);
    for (int32_t g = 0; g < h->granules; ++g) v->next[g] = g * h->granule;
    for (int64_t k = 0; k < free_count; ++k) v->taken[h->slot_of[free_index[k]]] = 0;
    for (int64_t k = 0; k < free_count; ++k) v->slot[free_index[k]] = -1;
    for (int64_t k = 0; k < free_count; ++k)
        v->want[free_index[k]] = favourite(v, h, free_index[k]);
}

/* Gives an index its favourite slot, if it is as sure of it as asked for. */
static void seat(icd_hyper_votes *v, const icd_hyper *h, int32_t i, int32_t votes)
{
    if (!has_room(v, h, v->want[i])) v->want[i] = favourite(v, h, i);
    if (v->vote[(int64_t)i * h->granules + v->want[i]] < votes) return;
    v->slot[i] = v->next[v->want[i]];
    v->taken[v->slot[i]] = 1;
}

void icd_i_hyper_votes_settle(icd_hyper_votes *v, icd_hyper *h, const int32_t *free_index,
                              int64_t free_count)
{
    if (!v->counted) return;
    open_slots(v, h, free_index, free_count);
    for (int32_t votes = v->counted; votes >= 0; --votes)
        for (int64_t k = 0; k < free_count; ++k)
            if (v->slot[free_index[k]] < 0) seat(v, h, free_index[k], votes);
    icd_i_hyper_place(h, v->slot);
}
