/* Writes the ICD binary trace (core/icdt.h). */
#include "core/trace_writer.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "core/icdt.h"
#include "core/spot.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <zstd.h>

enum { CHUNK_BYTES = 256 * 1024, CHUNK_EVENTS = 65536, LEVEL = 3 };

typedef struct bytes {
    unsigned char *data;
    int64_t size, capacity;
} bytes;

struct icd_trace_writer {
    icd_out *out;
    char *path;
    int64_t n;
    uint64_t offset; /* bytes written */
    uint64_t events, chunks;
    bool failed; /* a chunk was written in part: the file must not appear */
    /* the open chunk */
    uint32_t chunk_events, chunk_indices;
    bool weighted;
    bytes counts, deltas, weights, stored;
    bytes index; /* of all chunks */
};

static icd_status reserve(icd_ctx *ctx, bytes *b, int64_t more)
{
    return icd_i_grow(ctx, (void **)&b->data, &b->capacity, b->size + more, 1);
}

/* The caller has reserved the room. */
static void push(bytes *b, const void *data, size_t size)
{
    if (size) memcpy(b->data + b->size, data, size);
    b->size += (int64_t)size;
}

static void push_varint(bytes *b, uint32_t value)
{
    for (; value >= 128; value >>= 7) b->data[b->size++] = (unsigned char)(value | 128);
    b->data[b->size++] = (unsigned char)value;
}

static void push_u64(bytes *b, uint64_t value)
{
    icd_i_put_u64(b->data + b->size, value);
    b->size += 8;
}

static icd_status emit(icd_ctx *ctx, icd_trace_writer *w, const void *data, size_t size)
{
    icd_status status = icd_i_out_write(ctx, w->out, data, size);
    w->offset += size;
    if (status != ICD_OK) w->failed = true;
    return status;
}

static icd_status write_header(icd_ctx *ctx, icd_trace_writer *w, const char *axis,
                               uint64_t frame)
{
    unsigned char head[ICDT_HEADER + ICDT_AXIS_MAX + ICDT_SUM];
    size_t length = axis ? strlen(axis) : 0;
    if (length > ICDT_AXIS_MAX)
        return icd_i_fail(ctx, ICD_EINVAL, w->path, NULL,
                          "found an axis name of %zu bytes, expected at most %d", length,
                          ICDT_AXIS_MAX);
    memcpy(head, ICDT_MAGIC_HEAD, ICDT_MAGIC);
    icd_i_put_u32(head + 8, ICDT_VERSION);
    icd_i_put_u32(head + 12, (uint32_t)length);
    icd_i_put_u64(head + 16, (uint64_t)w->n);
    icd_i_put_u64(head + 24, frame);
    if (length) memcpy(head + ICDT_HEADER, axis, length);
    icd_i_put_u64(head + ICDT_HEADER + length, icd_i_hash(0, head, ICDT_HEADER + length));
    return emit(ctx, w, head, ICDT_HEADER + length + ICDT_SUM);
}

icd_status icd_i_trace_writer_open(icd_ctx *ctx, const char *path, const char *axis,
                                   int64_t n, uint64_t frame, icd_trace_writer **out)
{
    icd_status status;
    icd_trace_writer *w = NULL;
    *out = NULL;
    if (n < 0 || n > INT32_MAX)
        return icd_i_fail(ctx, ICD_EINVAL, path, NULL,
                          "found n = %" PRId64 ", expected 0 to %" PRId32, n, INT32_MAX);
    ICD_TRY(ICD_ALLOC(ctx, 1, &w));
    w->n = n;
    ICD_TRY(icd_i_strdup(ctx, path, &w->path));
    ICD_TRY(icd_i_out_open(ctx, path, &w->out));
    ICD_TRY(write_header(ctx, w, axis, frame));
    *out = w;
    w = NULL;
done:
    if (w) icd_trace_writer_close(ctx, w, false);
    return status;
}

icd_status icd_trace_writer_open(icd_ctx *ctx, const char *path, const char *axis,
                                 int64_t n, icd_trace_writer **out)
{
    return icd_i_trace_writer_open(ctx, path, axis, n, ICD_FRAME_CHECKPOINT, out);
}

/* Counts, distances and weights behind each other, in `counts`. */
static icd_status join(icd_ctx *ctx, icd_trace_writer *w)
{
    int64_t weights = w->weighted ? w->weights.size : 0;
    icd_status status = reserve(ctx, &w->counts, w->deltas.size + weights);
    if (status != ICD_OK) return status;
    push(&w->counts, w->deltas.data, (size_t)w->deltas.size);
    push(&w->counts, w->weights.data, (size_t)weights);
    return ICD_OK;
}

static icd_status compress(icd_ctx *ctx, icd_trace_writer *w)
{
    size_t raw = (size_t)w->counts.size, bound = ZSTD_compressBound(raw);
    w->stored.size = 0;
    icd_status status = reserve(ctx, &w->stored, (int64_t)bound);
    if (status != ICD_OK) return status;
    size_t size = ZSTD_compress(w->stored.data, bound, w->counts.data, raw, LEVEL);
    if (ZSTD_isError(size))
        return icd_i_fail(ctx, ICD_ENOMEM, w->path, NULL, "zstd: %s",
                          ZSTD_getErrorName(size));
    w->stored.size = (int64_t)size;
    return ICD_OK;
}

static void fill_chunk_head(const icd_trace_writer *w, unsigned char head[ICDT_CHUNK])
{
    icd_i_put_u32(head, ICDT_TAG_CHUNK);
    icd_i_put_u32(head + 4, w->weighted ? ICDT_WEIGHTS : 0);
    icd_i_put_u32(head + 8, w->chunk_events);
    icd_i_put_u32(head + 12, w->chunk_indices);
    icd_i_put_u32(head + 16, (uint32_t)w->counts.size);
    icd_i_put_u32(head + 20, (uint32_t)w->stored.size);
    uint64_t sum = icd_i_hash(0, head, ICDT_CHECKED);
    icd_i_put_u64(head + ICDT_CHECKED,
                  icd_i_hash(sum, w->stored.data, (size_t)w->stored.size));
}

static void start_chunk(icd_trace_writer *w)
{
    w->events += w->chunk_events;
    w->chunk_events = w->chunk_indices = 0;
    w->weighted = false;
    w->counts.size = w->deltas.size = w->weights.size = 0;
}

static icd_status flush(icd_ctx *ctx, icd_trace_writer *w)
{
    icd_status status = ICD_OK;
    unsigned char head[ICDT_CHUNK];
    if (!w->chunk_events) return ICD_OK;
    w->failed = true;
    ICD_TRY(join(ctx, w));
    ICD_TRY(compress(ctx, w));
    ICD_TRY(reserve(ctx, &w->index, ICDT_ENTRY));
    push_u64(&w->index, w->offset);
    push_u64(&w->index, w->events);
    fill_chunk_head(w, head);
    ICD_TRY(emit(ctx, w, head, sizeof head));
    ICD_TRY(emit(ctx, w, w->stored.data, (size_t)w->stored.size));
    ++w->chunks;
    start_chunk(w);
    w->failed = false;
done:
    return status;
}

static icd_status check_set(icd_ctx *ctx, const icd_trace_writer *w, const int32_t *index,
                            int64_t count, float weight)
{
    icd_spot spot = icd_i_spot(w->path, "event %" PRIu64, w->events + w->chunk_events);
    if (count < 0 || count > w->n || !(weight >= 0 && isfinite(weight)))
        return icd_i_fail(ctx, ICD_EINVAL, spot.text, NULL,
                          "found %" PRId64 " indices of weight %g, expected 0 to %" PRId64
                          " of a finite weight >= 0",
                          count, (double)weight, w->n);
    for (int64_t k = 0; k < count; ++k)
        if (index[k] >= w->n || index[k] <= (k ? index[k - 1] : -1))
            return icd_i_fail(ctx, ICD_EINVAL, spot.text, NULL,
                              "found index %" PRId32
                              ", expected ascending ones below %" PRId64,
                              index[k], w->n);
    return ICD_OK;
}

icd_status icd_trace_writer_add(icd_ctx *ctx, icd_trace_writer *w, const int32_t *index,
                                int64_t count, float weight)
{
    icd_status status;
    uint32_t bits;
    ICD_TRY(check_set(ctx, w, index, count, weight));
    ICD_TRY(reserve(ctx, &w->counts, ICDT_VARINT_MAX));
    ICD_TRY(reserve(ctx, &w->deltas, count * ICDT_VARINT_MAX));
    ICD_TRY(reserve(ctx, &w->weights, (int64_t)sizeof bits));
    push_varint(&w->counts, (uint32_t)count);
    for (int64_t k = 0; k < count; ++k)
        push_varint(&w->deltas, (uint32_t)(index[k] - (k ? index[k - 1] : -1) - 1));
    memcpy(&bits, &weight, sizeof bits);
    icd_i_put_u32(w->weights.data + w->weights.size, bits);
    w->weights.size += (int64_t)sizeof bits;
    w->weighted |= weight != 1;
    w->chunk_indices += (uint32_t)count;
    ++w->chunk_events;
    if (w->chunk_events == CHUNK_EVENTS || w->deltas.size >= CHUNK_BYTES)
        ICD_TRY(flush(ctx, w));
done:
    return status;
}

static icd_status write_index(icd_ctx *ctx, icd_trace_writer *w)
{
    icd_status status;
    unsigned char head[ICDT_INDEX], sum[ICDT_SUM], end[ICDT_END];
    uint64_t at = w->offset;
    icd_i_put_u32(head, ICDT_TAG_INDEX);
    icd_i_put_u32(head + 4, 0);
    icd_i_put_u64(head + 8, w->chunks);
    icd_i_put_u64(head + 16, w->events);
    uint64_t hash = icd_i_hash(0, head, sizeof head);
    icd_i_put_u64(sum, icd_i_hash(hash, w->index.data, (size_t)w->index.size));
    icd_i_put_u64(end, at);
    memcpy(end + 8, ICDT_MAGIC_END, ICDT_MAGIC);
    ICD_TRY(emit(ctx, w, head, sizeof head));
    ICD_TRY(emit(ctx, w, w->index.data, (size_t)w->index.size));
    ICD_TRY(emit(ctx, w, sum, sizeof sum));
    ICD_TRY(emit(ctx, w, end, sizeof end));
done:
    return status;
}

static icd_status finish(icd_ctx *ctx, icd_trace_writer *w)
{
    icd_status status;
    if (w->failed)
        return icd_i_fail(
            ctx, ICD_EIO, w->path, NULL,
            "an earlier error left the trace incomplete, so it is not written");
    ICD_TRY(flush(ctx, w));
    ICD_TRY(write_index(ctx, w));
done:
    return status;
}

icd_status icd_trace_writer_close(icd_ctx *ctx, icd_trace_writer *w, bool publish)
{
    icd_status status = ICD_OK;
    if (!w) return ICD_OK;
    if (publish) status = finish(ctx, w);
    if (w->out) {
        icd_status closed = icd_i_out_close(ctx, w->out, publish && status == ICD_OK);
        if (status == ICD_OK) status = closed;
    }
    bytes *buffer[] = {&w->counts, &w->deltas, &w->weights, &w->stored, &w->index};
    for (size_t b = 0; b < sizeof buffer / sizeof *buffer; ++b)
        icd_i_free(ctx, buffer[b]->data);
    icd_i_free(ctx, w->path);
    icd_i_free(ctx, w);
    return status;
}
