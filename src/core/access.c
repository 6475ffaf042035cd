#include <icd/access.h>

#include "base/mem.h"
#include "core/spot.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

void icd_access_free(icd_ctx *ctx, icd_access *a)
{
    if (!a) return;
    icd_i_free(ctx, a->event_ptr);
    icd_i_free(ctx, a->index);
    icd_i_free(ctx, a->weight);
    icd_i_free(ctx, a->axis);
    icd_i_free(ctx, a);
}

static icd_status copy_events(icd_ctx *ctx, const icd_access *a, int64_t first,
                              icd_access *b)
{
    icd_status status;
    int64_t begin = a->event_ptr[first], count = a->event_ptr[first + b->events] - begin;
    ICD_TRY(ICD_ALLOC(ctx, b->events + 1, &b->event_ptr));
    ICD_TRY(ICD_ALLOC(ctx, count, &b->index));
    for (int64_t e = 0; e <= b->events; ++e)
        b->event_ptr[e] = a->event_ptr[first + e] - begin;
    if (count) memcpy(b->index, a->index + begin, (size_t)count * sizeof *b->index);
    if (!a->weight) goto done;
    ICD_TRY(ICD_ALLOC(ctx, b->events, &b->weight));
    if (b->events)
        memcpy(b->weight, a->weight + first, (size_t)b->events * sizeof *b->weight);
done:
    return status;
}

icd_status icd_access_slice(icd_ctx *ctx, const icd_access *a, int64_t first,
                            int64_t count, icd_access **out)
{
    icd_status status;
    icd_access *b = NULL;
    *out = NULL;
    if (first < 0 || count < 0 || first > a->events || count > a->events - first)
        return icd_i_fail(ctx, ICD_EINVAL, "slice of access sets", NULL,
                          "asked for %" PRId64 " events from %" PRId64 ", found %" PRId64,
                          count, first, a->events);
    ICD_TRY(ICD_ALLOC(ctx, 1, &b));
    b->n = a->n;
    b->events = count;
    b->frame = a->frame;
    if (a->axis) ICD_TRY(icd_i_strdup(ctx, a->axis, &b->axis));
    ICD_TRY(copy_events(ctx, a, first, b));
    *out = b;
    b = NULL;
done:
    icd_access_free(ctx, b);
    return status;
}

static icd_status check_event_ptr(icd_ctx *ctx, const icd_access *a, const char *place)
{
    if (a->event_ptr[0] != 0)
        return icd_i_fail(ctx, ICD_EDATA, place, NULL,
                          "event_ptr begins with %" PRId64 ", expected 0",
                          a->event_ptr[0]);
    for (int64_t e = 0; e < a->events; ++e)
        if (a->event_ptr[e + 1] < a->event_ptr[e])
            return icd_i_fail(ctx, ICD_EDATA, icd_i_spot(place, "event %" PRId64, e).text,
                              NULL,
                              "event_ptr falls from %" PRId64 " to %" PRId64
                              ", expected it never to fall",
                              a->event_ptr[e], a->event_ptr[e + 1]);
    return ICD_OK;
}

static icd_status check_event(icd_ctx *ctx, const icd_access *a, int64_t e,
                              const char *place)
{
    icd_spot spot = icd_i_spot(place, "event %" PRId64, e);
    int64_t begin = a->event_ptr[e], end = a->event_ptr[e + 1];
    for (int64_t k = begin; k < end; ++k) {
        if (a->index[k] < 0 || a->index[k] >= a->n)
            return icd_i_fail(ctx, ICD_EDATA, spot.text, NULL,
                              "found index %" PRId32 ", expected 0 to %" PRId64,
                              a->index[k], a->n - 1);
        if (k > begin && a->index[k] <= a->index[k - 1])
            return icd_i_fail(ctx, ICD_EDATA, spot.text, NULL,
                              "index %" PRId32 " stands behind %" PRId32
                              ", expected ascending and distinct indices",
                              a->index[k], a->index[k - 1]);
    }
    if (a->weight && !(a->weight[e] >= 0 && isfinite(a->weight[e])))
        return icd_i_fail(ctx, ICD_EDATA, spot.text, NULL,
                          "found weight %g, expected a finite one >= 0",
                          (double)a->weight[e]);
    return ICD_OK;
}

icd_status icd_access_check(icd_ctx *ctx, const icd_access *a, const char *place)
{
    icd_status status = ICD_OK;
    if (a->n < 0 || a->n > INT32_MAX || a->events < 0)
        return icd_i_fail(ctx, ICD_EDATA, place, NULL,
                          "found n = %" PRId64 " and %" PRId64
                          " events, expected n from 0 to %" PRId32
                          " and no negative count",
                          a->n, a->events, INT32_MAX);
    ICD_TRY(check_event_ptr(ctx, a, place));
    for (int64_t e = 0; e < a->events; ++e) ICD_TRY(check_event(ctx, a, e, place));
done:
    return status;
}

void icd_access_frequency(const icd_access *a, double *freq)
{
    memset(freq, 0, (size_t)a->n * sizeof *freq);
    for (int64_t e = 0; e < a->events; ++e) {
        double weight = a->weight ? (double)a->weight[e] : 1.0;
        for (int64_t k = a->event_ptr[e]; k < a->event_ptr[e + 1]; ++k)
            freq[a->index[k]] += weight;
    }
}
