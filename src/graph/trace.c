#include "graph/build.h"

#include "core/spot.h"
#include "graph/edges.h"

#include <inttypes.h>
#include <string.h>

/* A trace on its way into W: sets gather until they fill a block, pairs are summed. */
typedef struct intake {
    icd_builder builder;
    icd_edges edges;
    int64_t items, pairs; /* read so far */
    int64_t count;        /* sets gathered */
    int64_t *ptr;
    int32_t *index;
    float *weight;
    int64_t ptr_capacity, index_capacity, weight_capacity;
} intake;

static void intake_release(icd_ctx *ctx, intake *in)
{
    icd_i_builder_release(ctx, &in->builder);
    icd_i_edges_release(ctx, &in->edges);
    icd_i_free(ctx, in->ptr);
    icd_i_free(ctx, in->index);
    icd_i_free(ctx, in->weight);
}

static icd_status flush(icd_ctx *ctx, intake *in)
{
    icd_events events = {in->count, in->ptr, in->index, in->weight};
    if (!in->count) return ICD_OK;
    icd_status status = icd_i_builder_add(ctx, &in->builder, &events);
    in->count = 0;
    return status;
}

static icd_status gather(icd_ctx *ctx, intake *in, const icd_trace_item *item)
{
    icd_status status = ICD_OK;
    int64_t begin = in->count ? in->ptr[in->count] : 0, end = begin + item->count;
    ICD_TRY(icd_i_grow(ctx, (void **)&in->ptr, &in->ptr_capacity, in->count + 2,
                       sizeof *in->ptr));
    ICD_TRY(icd_i_grow(ctx, (void **)&in->weight, &in->weight_capacity, in->count + 1,
                       sizeof *in->weight));
    ICD_TRY(icd_i_grow(ctx, (void **)&in->index, &in->index_capacity, end,
                       sizeof *in->index));
    if (item->count)
        memcpy(in->index + begin, item->index, (size_t)item->count * sizeof *in->index);
    in->weight[in->count] = item->weight;
    in->ptr[++in->count] = end;
done:
    return status;
}

/* A set that no longer fits opens the next block, so that blocks are cut as in memory. */
static icd_status take_set(icd_ctx *ctx, intake *in, const icd_trace_item *item)
{
    icd_status status = ICD_OK;
    int64_t indices = item->count + (in->count ? in->ptr[in->count] : 0);
    if (!icd_i_builder_fits(&in->builder, in->count + 1, indices))
        ICD_TRY(flush(ctx, in));
    ICD_TRY(gather(ctx, in, item));
done:
    return status;
}

static icd_status take(icd_ctx *ctx, intake *in, const icd_trace_item *item,
                       const char *path)
{
    bool pair = item->kind == ICD_TRACE_PAIR;
    if (in->items && pair != (in->pairs > 0))
        return icd_i_fail(ctx, ICD_EDATA, path, "split it into two traces",
                          "found sets and pairs in one trace, expected one of them");
    in->items++;
    in->pairs += pair;
    if (!pair) return take_set(ctx, in, item);
    return icd_i_edges_add(ctx, &in->edges, item->index[0], item->index[1],
                           (double)item->weight);
}

static icd_status take_all(icd_ctx *ctx, intake *in, icd_trace_reader *reader,
                           const char *path)
{
    icd_status status = ICD_OK;
    icd_trace_item item;
    for (;;) {
        ICD_TRY(icd_trace_next(ctx, reader, &item));
        if (item.count < 0) break;
        ICD_TRY(take(ctx, in, &item, path));
        if (in->items % 4096) continue;
        ICD_TRY(icd_i_check_cancel(ctx));
        icd_i_progress(ctx, "trace", in->items, 0);
    }
    if (!in->items)
        return icd_i_fail(ctx, ICD_EDATA, path,
                          "graph.on_bad_trace=mock goes on with a mock",
                          "found no events, expected at least one");
    if (!in->pairs) ICD_TRY(flush(ctx, in));
done:
    return status;
}

static icd_status finish_pairs(icd_ctx *ctx, intake *in, uint64_t frame, icd_csr **w,
                               icd_csr_meta *meta)
{
    icd_status status = ICD_OK;
    const icd_graph_opts *opts = &in->builder.opts;
    int64_t dropped = 0;
    ICD_TRY(icd_i_edges_seal(ctx, &in->edges));
    icd_rows rows = icd_i_edges_rows(&in->edges);
    icd_finish how = {.normalize = (icd_normalize)opts->normalize,
                      .nnz_cap = icd_i_nnz_cap(opts, rows.n),
                      .frame = frame};
    ICD_TRY(icd_i_rows_finish(ctx, &rows, &how, w, &dropped));
    if (meta)
        *meta = (icd_csr_meta){.source = "trace",
                               .weighting = "edges",
                               .normalize = icd_i_normalize_name(opts->normalize),
                               .events = in->pairs,
                               .dropped_nnz = dropped};
done:
    return status;
}

/* @param n [out] size of the index space as far as it is known when the trace turns out
 * bad */
static icd_status build(icd_ctx *ctx, const char *path, const icd_graph_opts *opts,
                        icd_csr **w, icd_csr_meta *meta, int64_t *n)
{
    icd_status status = ICD_OK;
    icd_trace_reader *reader = NULL;
    intake in = {0};
    icd_trace_opts wanted = {.size = sizeof wanted, .axis = opts->axis, .n = opts->d};
    ICD_TRY(icd_trace_open(ctx, path, &wanted, &reader));
    *n = icd_trace_n(reader);
    ICD_TRY(icd_i_builder_init(ctx, *n, opts, NULL, &in.builder));
    in.edges.n = *n;
    ICD_TRY(take_all(ctx, &in, reader, path));
    if (in.pairs)
        ICD_TRY(finish_pairs(ctx, &in, icd_trace_frame(reader), w, meta));
    else
        ICD_TRY(icd_i_builder_finish(ctx, &in.builder, icd_trace_frame(reader), w, meta));
done:
    icd_trace_close(ctx, reader);
    intake_release(ctx, &in);
    return status;
}

static icd_status fall_back(icd_ctx *ctx, int64_t n, icd_csr **w, icd_csr_meta *meta)
{
    icd_mock_opts mock;
    icd_options_init(&icd_mock_table, &mock);
    if (n > 0) mock.d = n;
    icd_i_warn(ctx,
               "%s; W is a mock of D = %" PRId64 " instead (graph.on_bad_trace: mock)",
               icd_ctx_message(ctx), mock.d);
    icd_ctx_clear(ctx);
    icd_status status = icd_build_w_mock(ctx, &mock, w, NULL);
    if (status == ICD_OK && meta)
        *meta = (icd_csr_meta){.source = "mock",
                               .seed = mock.seed,
                               .weighting = "mock",
                               .normalize = "none"};
    return status;
}

icd_status icd_build_w_from_trace(icd_ctx *ctx, const char *path,
                                  const icd_graph_opts *opts, icd_csr **w,
                                  icd_csr_meta *meta)
{
    icd_graph_opts resolved;
    *w = NULL;
    icd_status status = icd_options_resolve(ctx, &icd_graph_table, opts, &resolved);
    if (status != ICD_OK) return status;
    int64_t n = resolved.d;
    status = build(ctx, path, &resolved, w, meta, &n);
    if (status == ICD_EDATA && resolved.on_bad_trace == ICD_BAD_MOCK)
        status = fall_back(ctx, n, w, meta);
    return status;
}
