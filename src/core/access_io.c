#include <icd/access.h>

#include "base/mem.h"
#include "core/spot.h"
#include "core/trace_writer.h"

#include <string.h>

/* A cancel is looked for once per this many events. */
enum { CANCEL_STEP = 4096 };

/* Room in the growing arrays of an icd_access. */
typedef struct room {
    int64_t events, indices, weights;
} room;

/* Weights appear with the first event whose weight is not 1. */
static icd_status add_weight(icd_ctx *ctx, icd_access *a, room *r, float weight)
{
    if (!a->weight && weight == 1) return ICD_OK;
    bool first = !a->weight;
    icd_status status = icd_i_grow(ctx, (void **)&a->weight, &r->weights, a->events + 1,
                                   sizeof *a->weight);
    if (status != ICD_OK) return status;
    for (int64_t e = 0; first && e < a->events; ++e) a->weight[e] = 1;
    a->weight[a->events] = weight;
    return ICD_OK;
}

static icd_status add_event(icd_ctx *ctx, icd_access *a, room *r,
                            const icd_trace_item *item)
{
    icd_status status;
    int64_t begin = a->event_ptr[a->events], end = begin + item->count;
    ICD_TRY(icd_i_grow(ctx, (void **)&a->event_ptr, &r->events, a->events + 2,
                       sizeof *a->event_ptr));
    ICD_TRY(icd_i_grow(ctx, (void **)&a->index, &r->indices, end, sizeof *a->index));
    ICD_TRY(add_weight(ctx, a, r, item->weight));
    if (item->count)
        memcpy(a->index + begin, item->index, (size_t)item->count * sizeof *a->index);
    a->event_ptr[++a->events] = end;
done:
    return status;
}

static icd_status read_events(icd_ctx *ctx, icd_trace_reader *reader, const char *path,
                              icd_access *a)
{
    icd_status status;
    icd_trace_item item;
    room r = {0};
    ICD_TRY(icd_i_grow(ctx, (void **)&a->event_ptr, &r.events, 1, sizeof *a->event_ptr));
    ICD_TRY(icd_i_grow(ctx, (void **)&a->index, &r.indices, 1, sizeof *a->index));
    for (;;) {
        ICD_TRY(icd_trace_next(ctx, reader, &item));
        if (item.count < 0) break;
        if (item.kind == ICD_TRACE_PAIR)
            return icd_i_fail(ctx, ICD_EINVAL, path,
                              "icd graph --trace sums pairs to a W",
                              "holds pairs, expected access sets");
        ICD_TRY(add_event(ctx, a, &r, &item));
        if (a->events % CANCEL_STEP == 0) ICD_TRY(icd_i_check_cancel(ctx));
    }
done:
    return status;
}

icd_status icd_access_read(icd_ctx *ctx, const char *path, const icd_trace_opts *opts,
                           icd_access **out)
{
    icd_status status;
    icd_trace_reader *reader = NULL;
    icd_access *a = NULL;
    *out = NULL;
    ICD_TRY(icd_trace_open(ctx, path, opts, &reader));
    ICD_TRY(ICD_ALLOC(ctx, 1, &a));
    ICD_TRY(read_events(ctx, reader, path, a));
    a->n = icd_trace_n(reader);
    a->frame = icd_trace_frame(reader);
    if (*icd_trace_axis(reader))
        ICD_TRY(icd_i_strdup(ctx, icd_trace_axis(reader), &a->axis));
    *out = a;
    a = NULL;
done:
    icd_trace_close(ctx, reader);
    icd_access_free(ctx, a);
    return status;
}

icd_status icd_access_write(icd_ctx *ctx, const icd_access *a, const char *path)
{
    icd_trace_writer *writer = NULL;
    icd_status status =
        icd_i_trace_writer_open(ctx, path, a->axis, a->n, a->frame, &writer);
    if (status != ICD_OK) return status;
    for (int64_t e = 0; e < a->events && status == ICD_OK; ++e)
        status = icd_trace_writer_add(ctx, writer, a->index + a->event_ptr[e],
                                      a->event_ptr[e + 1] - a->event_ptr[e],
                                      a->weight ? a->weight[e] : 1);
    icd_status closed = icd_trace_writer_close(ctx, writer, status == ICD_OK);
    return status != ICD_OK ? status : closed;
}
