#include "graph/build.h"

enum {
    DENSE_BELOW = 20000,
    BLOCK_INDICES = 1 << 23, /* 32 MB, and twice as much for its transpose */
    BLOCK_EVENTS = 1 << 20,
    CAP_PER_INDEX = 256
};

int64_t icd_i_nnz_cap(const icd_graph_opts *opts, int64_t n)
{
    if (opts->nnz_cap > 0) return opts->nnz_cap;
    return n < DENSE_BELOW ? n * n / 20 : CAP_PER_INDEX * n;
}

const char *icd_i_normalize_name(int32_t normalize)
{
    static const char *const NAME[] = {"none", "row", "sym"};
    return NAME[normalize];
}

static const char *weighting_name(int32_t weighting)
{
    static const char *const NAME[] = {"count", "clique", "jaccard"};
    return NAME[weighting];
}

icd_status icd_i_builder_init(icd_ctx *ctx, int64_t n, const icd_graph_opts *opts,
                              const icd_tuning *tuning, icd_builder *b)
{
    icd_status status = ICD_OK;
    *b = (icd_builder){.opts = *opts, .n = n};
    if (tuning) b->tuning = *tuning;
    if (!b->tuning.dense_below) b->tuning.dense_below = DENSE_BELOW;
    if (!b->tuning.block_indices) b->tuning.block_indices = BLOCK_INDICES;
    b->dense = n < b->tuning.dense_below;
    ICD_TRY(ICD_ALLOC(ctx, n, &b->freq));
done:
    return status;
}

void icd_i_builder_release(icd_ctx *ctx, icd_builder *b)
{
    icd_i_free(ctx, b->freq);
    icd_i_triangle_release(ctx, &b->triangle);
    icd_i_block_release(ctx, &b->block);
    *b = (icd_builder){0};
}

bool icd_i_builder_fits(const icd_builder *b, int64_t events, int64_t indices)
{
    if (!b->dense || events < 2) return true;
    return events <= BLOCK_EVENTS && indices <= b->tuning.block_indices;
}

/* Pairs of a trace need no triangle, so the first set brings it. */
static icd_status need_triangle(icd_ctx *ctx, icd_builder *b)
{
    if (!b->dense || b->triangle.count || b->triangle.sum) return ICD_OK;
    return icd_i_triangle_init(ctx, b->n, &b->triangle);
}

static void add_frequency(icd_builder *b, const icd_events *events)
{
    for (int64_t e = 0; e < events->count; e++) {
        double weight = events->weight ? (double)events->weight[e] : 1;
        for (int64_t k = events->ptr[e]; k < events->ptr[e + 1]; k++)
            b->freq[events->index[k]] += weight;
    }
    b->events += events->count;
}

icd_status icd_i_builder_add(icd_ctx *ctx, icd_builder *b, const icd_events *events)
{
    icd_status status = icd_i_check_cancel(ctx);
    if (status != ICD_OK) return status;
    ICD_TRY(need_triangle(ctx, b));
    add_frequency(b, events);
    ICD_TRY(
        icd_i_block_fill(ctx, b->n, events, (icd_weighting)b->opts.weighting, &b->block));
    if (b->dense)
        ICD_TRY(icd_i_triangle_add(ctx, &b->triangle, &b->block, b->tuning.path));
done:
    return status;
}

static icd_status finish_rows(icd_ctx *ctx, const icd_builder *b, const icd_rows *rows,
                              uint64_t frame, icd_csr **w, int64_t *dropped)
{
    icd_finish how = {.freq = b->opts.weighting == ICD_WEIGHT_JACCARD ? b->freq : NULL,
                      .normalize = (icd_normalize)b->opts.normalize,
                      .nnz_cap = icd_i_nnz_cap(&b->opts, b->n),
                      .frame = frame};
    return icd_i_rows_finish(ctx, rows, &how, w, dropped);
}

static icd_status finish_sets(icd_ctx *ctx, icd_builder *b, uint64_t frame, icd_csr **w,
                              int64_t *dropped)
{
    icd_status status = ICD_OK;
    icd_sets sets = {0};
    icd_events none = {.ptr = (const int64_t[]){0}};
    if (!b->block.row)
        ICD_TRY(icd_i_block_fill(ctx, b->n, &none, ICD_WEIGHT_COUNT, &b->block));
    ICD_TRY(icd_i_sets_init(ctx, &b->block, &sets));
    icd_rows rows = icd_i_sets_rows(&sets);
    ICD_TRY(finish_rows(ctx, b, &rows, frame, w, dropped));
done:
    icd_i_sets_release(ctx, &sets);
    return status;
}

icd_status icd_i_builder_finish(icd_ctx *ctx, icd_builder *b, uint64_t frame, icd_csr **w,
                                icd_csr_meta *meta)
{
    icd_status status = ICD_OK;
    int64_t dropped = 0;
    ICD_TRY(need_triangle(ctx, b));
    icd_rows rows = icd_i_triangle_rows(&b->triangle);
    if (b->dense)
        ICD_TRY(finish_rows(ctx, b, &rows, frame, w, &dropped));
    else
        ICD_TRY(finish_sets(ctx, b, frame, w, &dropped));
    if (meta)
        *meta = (icd_csr_meta){.source = "trace",
                               .weighting = weighting_name(b->opts.weighting),
                               .normalize = icd_i_normalize_name(b->opts.normalize),
                               .events = b->events,
                               .dropped_nnz = dropped};
done:
    return status;
}

/* The events from `first` on that make the next block. */
static icd_events next_block(const icd_builder *b, const icd_access *sets, int64_t first)
{
    const int64_t *ptr = sets->event_ptr + first;
    int64_t count = 1;
    while (first + count < sets->events &&
           icd_i_builder_fits(b, count + 1, ptr[count + 1] - ptr[0]))
        count++;
    return (icd_events){.count = count,
                        .ptr = ptr,
                        .index = sets->index,
                        .weight = sets->weight ? sets->weight + first : NULL};
}

icd_status icd_i_build_w(icd_ctx *ctx, const icd_access *sets, const icd_graph_opts *opts,
                         const icd_tuning *tuning, icd_csr **w, icd_csr_meta *meta)
{
    icd_status status = ICD_OK;
    icd_builder b = {0};
    icd_graph_opts resolved;
    *w = NULL;
    ICD_TRY(icd_options_resolve(ctx, &icd_graph_table, opts, &resolved));
    ICD_TRY(icd_access_check(ctx, sets, "access sets"));
    ICD_TRY(icd_i_builder_init(ctx, sets->n, &resolved, tuning, &b));
    for (int64_t first = 0; first < sets->events;) {
        icd_events part = next_block(&b, sets, first);
        ICD_TRY(icd_i_builder_add(ctx, &b, &part));
        first += part.count;
        icd_i_progress(ctx, "count", first, sets->events);
    }
    ICD_TRY(icd_i_builder_finish(ctx, &b, sets->frame, w, meta));
done:
    icd_i_builder_release(ctx, &b);
    return status;
}

icd_status icd_build_w(icd_ctx *ctx, const icd_access *sets, const icd_graph_opts *opts,
                       icd_csr **w, icd_csr_meta *meta)
{
    return icd_i_build_w(ctx, sets, opts, NULL, w, meta);
}
