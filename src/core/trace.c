#include "core/trace.h"

#include "base/mem.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* CSV matches every text, so it comes last. */
static const icd_trace_format *const FORMAT[] = {&icd_i_trace_icdt, &icd_i_trace_npz,
                                                 &icd_i_trace_mtx, &icd_i_trace_jsonl,
                                                 &icd_i_trace_csv};

static icd_status fail_empty(icd_trace_reader *reader)
{
    return icd_i_fail(reader->ctx, ICD_EDATA, reader->place, NULL,
                      "holds no event%s%s, expected one at least",
                      reader->wanted ? " of axis " : "",
                      reader->wanted ? reader->wanted : "");
}

static icd_status find_format(icd_trace_reader *reader)
{
    if (reader->size == 0) return fail_empty(reader);
    for (size_t f = 0; f < sizeof FORMAT / sizeof *FORMAT; ++f)
        if (FORMAT[f]->matches(reader->bytes, reader->size)) {
            reader->format = FORMAT[f];
            return ICD_OK;
        }
    return icd_i_fail(
        reader->ctx, ICD_EDATA, reader->place, NULL,
        "begins with byte 0x%02x, expected an .icdt trace, JSON Lines, CSV, "
        "MatrixMarket or a SciPy .npz",
        reader->bytes[0]);
}

/* The stated size and the caller's must agree where both are there. */
static icd_status settle_n(icd_trace_reader *reader, int64_t given)
{
    if (reader->n < 0 && given == 0)
        return icd_i_fail(reader->ctx, ICD_EINVAL, reader->place,
                          "give the size of the index space with --d",
                          "this trace does not state the size of its index space");
    if (reader->n >= 0 && given > 0 && reader->n != given)
        return icd_i_fail(reader->ctx, ICD_EINVAL, reader->place, NULL,
                          "states %" PRId64 " indices, but %" PRId64 " were given",
                          reader->n, given);
    if (reader->n < 0) reader->n = given;
    return ICD_OK;
}

static icd_status check_opts(icd_ctx *ctx, const char *place, const icd_trace_opts *opts)
{
    if (opts->n >= 0 && opts->n <= INT32_MAX && opts->first >= 0 && opts->limit >= 0)
        return ICD_OK;
    return icd_i_fail(ctx, ICD_EINVAL, place, NULL,
                      "found n = %" PRId64 ", first = %" PRId64 ", limit = %" PRId64
                      ", expected none negative and n up to %" PRId32,
                      opts->n, opts->first, opts->limit, INT32_MAX);
}

static icd_status open_reader(icd_trace_reader *reader, const char *place,
                              const icd_trace_opts *opts)
{
    icd_status status;
    ICD_TRY(check_opts(reader->ctx, place, opts));
    ICD_TRY(icd_i_strdup(reader->ctx, place, &reader->place));
    if (opts->axis && *opts->axis)
        ICD_TRY(icd_i_strdup(reader->ctx, opts->axis, &reader->wanted));
    reader->n = -1;
    reader->first = opts->first;
    reader->limit = opts->limit;
    ICD_TRY(find_format(reader));
    ICD_TRY(reader->format->open(reader));
    ICD_TRY(settle_n(reader, opts->n));
    if (!reader->axis && reader->wanted)
        ICD_TRY(icd_i_strdup(reader->ctx, reader->wanted, &reader->axis));
done:
    return status;
}

/* Takes over `map` on success and on failure. */
static icd_status open_bytes(icd_ctx *ctx, icd_map map, const void *bytes, size_t size,
                             const char *place, const icd_trace_opts *opts,
                             icd_trace_reader **out)
{
    icd_trace_opts defaults = {.size = sizeof defaults};
    icd_trace_reader *reader = NULL;
    *out = NULL;
    icd_status status = ICD_ALLOC(ctx, 1, &reader);
    if (status != ICD_OK) {
        icd_i_map_close(&map);
        return status;
    }
    reader->ctx = ctx;
    reader->map = map;
    reader->bytes = bytes;
    reader->size = size;
    status = open_reader(reader, place, opts ? opts : &defaults);
    if (status == ICD_OK)
        *out = reader;
    else
        icd_trace_close(ctx, reader);
    return status;
}

icd_status icd_i_trace_open_memory(icd_ctx *ctx, const void *bytes, size_t size,
                                   const char *place, const icd_trace_opts *opts,
                                   icd_trace_reader **out)
{
    return open_bytes(ctx, (icd_map){.fd = -1}, bytes, size, place, opts, out);
}

icd_status icd_trace_open(icd_ctx *ctx, const char *path, const icd_trace_opts *opts,
                          icd_trace_reader **out)
{
    icd_map map = {.fd = -1};
    *out = NULL;
    icd_status status = icd_i_map_open(ctx, path, &map);
    if (status != ICD_OK) return status;
    return open_bytes(ctx, map, map.data, map.size, path, opts, out);
}

int64_t icd_trace_n(const icd_trace_reader *reader)
{
    return reader->n;
}

const char *icd_trace_axis(const icd_trace_reader *reader)
{
    return reader->axis ? reader->axis : "";
}

uint64_t icd_trace_frame(const icd_trace_reader *reader)
{
    return reader->frame;
}

static icd_status skip_first(icd_trace_reader *reader)
{
    icd_status status = ICD_OK;
    icd_trace_item item = {0};
    if (reader->format->skip)
        ICD_TRY(reader->format->skip(reader, reader->first - reader->seen));
    while (reader->seen < reader->first) {
        ICD_TRY(reader->format->next(reader, &item));
        if (item.count < 0) break;
        ++reader->seen;
    }
done:
    return status;
}

static icd_status check_end(icd_trace_reader *reader)
{
    if (reader->taken) return ICD_OK;
    if (!reader->seen) return fail_empty(reader);
    return icd_i_fail(reader->ctx, ICD_EINVAL, reader->place, NULL,
                      "holds %" PRId64 " events, expected more than the %" PRId64
                      " that are to be passed over",
                      reader->seen, reader->first);
}

icd_status icd_trace_next(icd_ctx *ctx, icd_trace_reader *reader, icd_trace_item *item)
{
    icd_status status = ICD_OK;
    *item = (icd_trace_item){.t = -1, .count = -1, .weight = 1};
    reader->ctx = ctx;
    if (reader->limit && reader->taken == reader->limit) return ICD_OK;
    if (reader->seen < reader->first) ICD_TRY(skip_first(reader));
    ICD_TRY(reader->format->next(reader, item));
    if (item->count < 0) return check_end(reader);
    ++reader->seen;
    ++reader->taken;
done:
    if (status != ICD_OK) *item = (icd_trace_item){.t = -1, .count = -1};
    return status;
}

void icd_trace_close(icd_ctx *ctx, icd_trace_reader *reader)
{
    if (!reader) return;
    reader->ctx = ctx;
    if (reader->format && reader->state) reader->format->close(reader);
    icd_i_free(ctx, reader->place);
    icd_i_free(ctx, reader->wanted);
    icd_i_free(ctx, reader->axis);
    icd_i_map_close(&reader->map);
    icd_i_free(ctx, reader);
}

icd_spot icd_i_trace_spot(const icd_trace_reader *reader)
{
    return icd_i_spot(reader->place, "%s %" PRId64, reader->unit, reader->at);
}

icd_status icd_i_trace_check_index(icd_trace_reader *reader, int64_t index)
{
    if (index >= 0 && index < reader->n) return ICD_OK;
    return icd_i_fail(reader->ctx, ICD_EDATA, icd_i_trace_spot(reader).text, NULL,
                      "found index %" PRId64 ", expected 0 to %" PRId64, index,
                      reader->n - 1);
}

icd_status icd_i_trace_check_weight(icd_trace_reader *reader, double weight)
{
    if (weight >= 0 && isfinite((float)weight)) return ICD_OK;
    return icd_i_fail(reader->ctx, ICD_EDATA, icd_i_trace_spot(reader).text, NULL,
                      "found weight %g, expected a finite one >= 0", weight);
}

static int ascending(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static bool ascends(const int32_t *index, int64_t count)
{
    for (int64_t k = 1; k < count; ++k)
        if (index[k - 1] >= index[k]) return false;
    return true;
}

icd_status icd_i_trace_check_set(icd_trace_reader *reader, int32_t *index, int64_t count)
{
    icd_status status = ICD_OK;
    if (count == 0) return ICD_OK;
    if (!ascends(index, count)) qsort(index, (size_t)count, sizeof *index, ascending);
    ICD_TRY(icd_i_trace_check_index(reader, index[0]));
    ICD_TRY(icd_i_trace_check_index(reader, index[count - 1]));
    for (int64_t k = 1; k < count; ++k)
        if (index[k - 1] == index[k])
            return icd_i_fail(reader->ctx, ICD_EDATA, icd_i_trace_spot(reader).text, NULL,
                              "index %" PRId32 " stands twice in one set, expected once",
                              index[k]);
done:
    return status;
}

void icd_i_trace_warn_self(icd_trace_reader *reader)
{
    if (reader->warned_self) return;
    reader->warned_self = true;
    icd_i_warn(reader->ctx, "%s: pairs of an index with itself are dropped",
               icd_i_trace_spot(reader).text);
}
