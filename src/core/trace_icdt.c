/* The ICD binary trace (core/icdt.h). */
#include "base/hash.h"
#include "base/mem.h"
#include "core/icdt.h"
#include "core/trace.h"

#include <inttypes.h>
#include <string.h>
#include <zstd.h>

typedef struct chunk {
    uint32_t flags, events, indices, raw, stored;
    const unsigned char *payload;
} chunk;

typedef struct state {
    const unsigned char *entry; /* of the index: offset, first event */
    uint64_t entries, next, events;
    uint64_t data_begin, data_end; /* bytes that hold chunks */
    unsigned char *raw;
    int64_t raw_capacity;
    int32_t *set;
    int64_t set_capacity;
    /* the chunk that is being read */
    uint32_t left, indices_left, flags;
    const unsigned char *count_at, *delta_at, *weight_at, *raw_end;
} state;

static icd_status fail_at(icd_trace_reader *reader, uint64_t byte, const char *what)
{
    return icd_i_fail(reader->ctx, ICD_EDATA,
                      icd_i_spot(reader->place, "byte %" PRIu64, byte).text,
                      "the file is cut or damaged; write it again", "%s", what);
}

static bool sum_is(uint64_t found, const unsigned char *stored)
{
    return found == icd_i_get_u64(stored);
}

static icd_status read_axis(icd_trace_reader *reader, const unsigned char *name,
                            uint32_t length)
{
    char axis[ICDT_AXIS_MAX + 1];
    memcpy(axis, name, length);
    axis[length] = 0;
    if (memchr(axis, 0, length))
        return fail_at(reader, ICDT_HEADER, "the axis holds a zero byte");
    if (reader->wanted && length && strcmp(reader->wanted, axis) != 0)
        return icd_i_fail(reader->ctx, ICD_EINVAL, reader->place, NULL,
                          "holds axis '%.60s', but '%.60s' was asked for", axis,
                          reader->wanted);
    return length ? icd_i_strdup(reader->ctx, axis, &reader->axis) : ICD_OK;
}

static icd_status read_header(icd_trace_reader *reader)
{
    state *s = reader->state;
    const unsigned char *p = reader->bytes;
    if (reader->size < ICDT_HEADER + ICDT_SUM)
        return fail_at(reader, reader->size, "the file ends inside its header");
    uint32_t version = icd_i_get_u32(p + 8), length = icd_i_get_u32(p + 12);
    uint64_t n = icd_i_get_u64(p + 16);
    if (version != ICDT_VERSION)
        return icd_i_fail(
            reader->ctx, ICD_EDATA, icd_i_spot(reader->place, "byte 8").text,
            "write the trace again with this version",
            "found version %" PRIu32 ", expected %d", version, ICDT_VERSION);
    if (length > ICDT_AXIS_MAX || reader->size < ICDT_HEADER + ICDT_SUM + (size_t)length)
        return fail_at(reader, 12,
                       "the axis name does not fit, expected at most 4096 bytes");
    if (!sum_is(icd_i_hash(0, p, ICDT_HEADER + length), p + ICDT_HEADER + length))
        return fail_at(reader, ICDT_HEADER + length,
                       "the checksum of the header is wrong");
    if (n > INT32_MAX)
        return fail_at(reader, 16, "n is out of range, expected 0 to 2147483647");
    reader->n = (int64_t)n;
    reader->frame = icd_i_get_u64(p + 24);
    s->data_begin = ICDT_HEADER + length + ICDT_SUM;
    return read_axis(reader, p + ICDT_HEADER, length);
}

/* Finds the index from the end of the file, where a cut shows first. */
static icd_status find_index(icd_trace_reader *reader)
{
    state *s = reader->state;
    uint64_t size = reader->size, least = ICDT_INDEX + ICDT_SUM + ICDT_END;
    if (size < s->data_begin + least ||
        memcmp(reader->bytes + size - ICDT_MAGIC, ICDT_MAGIC_END, ICDT_MAGIC) != 0)
        return fail_at(reader, size, "the end mark is missing");
    uint64_t at = icd_i_get_u64(reader->bytes + size - ICDT_END);
    if (at < s->data_begin || at > size - least ||
        icd_i_get_u32(reader->bytes + at) != ICDT_TAG_INDEX)
        return fail_at(reader, size - ICDT_END, "the end mark points to no index");
    const unsigned char *p = reader->bytes + at;
    uint64_t room = size - ICDT_END - ICDT_SUM - ICDT_INDEX - at;
    s->entries = icd_i_get_u64(p + 8);
    s->events = icd_i_get_u64(p + 16);
    if (room % ICDT_ENTRY != 0 || s->entries != room / ICDT_ENTRY ||
        s->events > INT64_MAX)
        return fail_at(reader, at, "the size of the index is wrong");
    if (!sum_is(icd_i_hash(icd_i_hash(0, p, ICDT_INDEX), p + ICDT_INDEX, room),
                p + ICDT_INDEX + room))
        return fail_at(reader, at, "the checksum of the index is wrong");
    s->entry = p + ICDT_INDEX;
    s->data_end = at;
    return ICD_OK;
}

static uint64_t entry_offset(const state *s, uint64_t c)
{
    return c < s->entries ? icd_i_get_u64(s->entry + c * ICDT_ENTRY) : s->data_end;
}

static uint64_t entry_event(const state *s, uint64_t c)
{
    return c < s->entries ? icd_i_get_u64(s->entry + c * ICDT_ENTRY + 8) : s->events;
}

static icd_status check_index(icd_trace_reader *reader)
{
    const state *s = reader->state;
    if (entry_offset(s, 0) != s->data_begin || entry_event(s, 0) != 0)
        return fail_at(reader, s->data_end,
                       "the index does not begin with the first chunk");
    for (uint64_t c = 0; c < s->entries; ++c)
        if (entry_offset(s, c + 1) < entry_offset(s, c) ||
            entry_offset(s, c + 1) - entry_offset(s, c) < ICDT_CHUNK ||
            entry_event(s, c + 1) <= entry_event(s, c))
            return fail_at(reader, s->data_end, "the index does not ascend");
    return ICD_OK;
}

static icd_status open_icdt(icd_trace_reader *reader)
{
    icd_status status;
    state *s = NULL;
    ICD_TRY(ICD_ALLOC(reader->ctx, 1, &s));
    reader->state = s;
    reader->unit = "chunk at byte";
    ICD_TRY(read_header(reader));
    ICD_TRY(find_index(reader));
    ICD_TRY(check_index(reader));
done:
    return status;
}

static icd_status fail_chunk(icd_trace_reader *reader, const char *what)
{
    return fail_at(reader, (uint64_t)reader->at, what);
}

static icd_status read_chunk_head(icd_trace_reader *reader, uint64_t c, chunk *out)
{
    const state *s = reader->state;
    uint64_t at = entry_offset(s, c), size = entry_offset(s, c + 1) - at;
    const unsigned char *p = reader->bytes + at;
    *out = (chunk){icd_i_get_u32(p + 4),  icd_i_get_u32(p + 8),  icd_i_get_u32(p + 12),
                   icd_i_get_u32(p + 16), icd_i_get_u32(p + 20), p + ICDT_CHUNK};
    reader->at = (int64_t)at;
    if (icd_i_get_u32(p) != ICDT_TAG_CHUNK)
        return fail_chunk(reader, "no chunk begins here");
    if (out->stored != size - ICDT_CHUNK)
        return fail_chunk(reader, "the size of the chunk differs from the index");
    if (!sum_is(icd_i_hash(icd_i_hash(0, p, ICDT_CHECKED), out->payload, out->stored),
                p + ICDT_CHECKED))
        return fail_chunk(reader, "the checksum of the chunk is wrong");
    if (out->flags & ~(uint32_t)ICDT_WEIGHTS)
        return fail_chunk(reader, "the chunk has flags that this version does not know");
    if (out->events != entry_event(s, c + 1) - entry_event(s, c))
        return fail_chunk(reader, "the events of the chunk differ from the index");
    return ICD_OK;
}

/* What a chunk states must be possible before memory is spent on it. */
static bool plausible(const chunk *c)
{
    uint64_t numbers = (uint64_t)c->events + c->indices;
    uint64_t weights = c->flags & ICDT_WEIGHTS ? 4 * (uint64_t)c->events : 0;
    return c->raw >= numbers + weights && c->raw <= numbers * ICDT_VARINT_MAX + weights &&
           c->raw <= c->stored * ICDT_EXPANSION_MAX;
}

static icd_status expand(icd_trace_reader *reader, const chunk *c)
{
    icd_status status;
    state *s = reader->state;
    if (!plausible(c))
        return fail_chunk(reader, "the sizes of the chunk contradict each other");
    ICD_TRY(icd_i_grow(reader->ctx, (void **)&s->raw, &s->raw_capacity, c->raw, 1));
    size_t size = ZSTD_decompress(s->raw, c->raw, c->payload, c->stored);
    if (ZSTD_isError(size)) return fail_chunk(reader, ZSTD_getErrorName(size));
    if (size != c->raw)
        return fail_chunk(reader, "the chunk expands to another size than stated");
done:
    return status;
}

/* NULL if the number does not end before `end` or does not fit 32 bits. */
static const unsigned char *take_varint(const unsigned char *p, const unsigned char *end,
                                        uint32_t *out)
{
    uint64_t value = 0;
    for (int shift = 0; p < end && shift < 7 * ICDT_VARINT_MAX; shift += 7) {
        value |= (uint64_t)(*p & 127) << shift;
        if (!(*p++ & 128)) {
            *out = (uint32_t)value;
            return value <= UINT32_MAX ? p : NULL;
        }
    }
    return NULL;
}

/* The counts must add up to the indices that the chunk states; the distances follow them.
 */
static icd_status lay_out(icd_trace_reader *reader, const chunk *c)
{
    state *s = reader->state;
    uint32_t count = 0;
    uint64_t sum = 0, weights = c->flags & ICDT_WEIGHTS ? 4 * (uint64_t)c->events : 0;
    s->raw_end = s->raw + (c->raw - weights);
    s->count_at = s->delta_at = s->raw;
    s->weight_at = s->raw_end;
    for (uint32_t e = 0; e < c->events; ++e) {
        s->delta_at = take_varint(s->delta_at, s->raw_end, &count);
        if (!s->delta_at) return fail_chunk(reader, "the numbers of indices are damaged");
        sum += count;
    }
    if (sum != c->indices)
        return fail_chunk(reader, "the numbers of indices do not add up");
    s->left = c->events;
    s->indices_left = c->indices;
    s->flags = c->flags;
    return ICD_OK;
}

static icd_status load_chunk(icd_trace_reader *reader)
{
    icd_status status;
    state *s = reader->state;
    chunk c;
    s->left = 0;
    ICD_TRY(read_chunk_head(reader, s->next, &c));
    ICD_TRY(expand(reader, &c));
    ICD_TRY(lay_out(reader, &c));
    ++s->next;
done:
    return status;
}

static icd_status take_set(icd_trace_reader *reader, uint32_t count)
{
    icd_status status;
    state *s = reader->state;
    int64_t index = -1;
    ICD_TRY(icd_i_grow(reader->ctx, (void **)&s->set, &s->set_capacity, count,
                       sizeof *s->set));
    for (uint32_t k = 0; k < count; ++k) {
        uint32_t delta = 0;
        s->delta_at = take_varint(s->delta_at, s->raw_end, &delta);
        if (!s->delta_at) return fail_chunk(reader, "the indices are damaged");
        index += (int64_t)delta + 1;
        if (index >= reader->n) return icd_i_trace_check_index(reader, index);
        s->set[k] = (int32_t)index;
    }
    s->indices_left -= count;
done:
    return status;
}

static icd_status take_weight(icd_trace_reader *reader, float *out)
{
    state *s = reader->state;
    if (!(s->flags & ICDT_WEIGHTS)) return ICD_OK;
    uint32_t bits = icd_i_get_u32(s->weight_at);
    memcpy(out, &bits, sizeof bits);
    s->weight_at += sizeof bits;
    return icd_i_trace_check_weight(reader, (double)*out);
}

static icd_status check_chunk_end(icd_trace_reader *reader)
{
    const state *s = reader->state;
    if (s->left || s->delta_at == s->raw_end) return ICD_OK;
    return fail_chunk(reader, "the chunk holds bytes behind its last event");
}

static icd_status next_event(icd_trace_reader *reader, icd_trace_item *item)
{
    icd_status status = ICD_OK;
    state *s = reader->state;
    uint32_t count = 0;
    *item = (icd_trace_item){.t = -1, .count = -1, .weight = 1};
    if (!s->left && s->next == s->entries) return ICD_OK;
    if (!s->left) ICD_TRY(load_chunk(reader));
    s->count_at = take_varint(s->count_at, s->raw_end, &count);
    ICD_TRY(take_set(reader, count));
    ICD_TRY(take_weight(reader, &item->weight));
    --s->left;
    ICD_TRY(check_chunk_end(reader));
    item->index = s->set;
    item->count = count;
done:
    return status;
}

/* Goes to the chunk that holds the event; whole chunks in front of it are never expanded.
 */
static icd_status skip_chunks(icd_trace_reader *reader, int64_t count)
{
    state *s = reader->state;
    uint64_t target = (uint64_t)(reader->seen + count);
    while (s->next < s->entries && entry_event(s, s->next + 1) <= target) ++s->next;
    reader->seen = (int64_t)entry_event(s, s->next);
    s->left = 0;
    return ICD_OK;
}

static void close_icdt(icd_trace_reader *reader)
{
    state *s = reader->state;
    icd_i_free(reader->ctx, s->raw);
    icd_i_free(reader->ctx, s->set);
    icd_i_free(reader->ctx, s);
}

static bool is_icdt(const void *bytes, size_t size)
{
    return size >= ICDT_MAGIC && memcmp(bytes, ICDT_MAGIC_HEAD, ICDT_MAGIC) == 0;
}

const icd_trace_format icd_i_trace_icdt = {
    .name = "ICD binary trace",
    .matches = is_icdt,
    .open = open_icdt,
    .next = next_event,
    .skip = skip_chunks,
    .close = close_icdt,
};
