/* layer: core */
/* A trace of any format; every item that is read must keep the promises of icd/access.h.
 */
#include "fuzz.h"
#include "fuzz_ctx.h"

#include "base/hash.h"
#include "core/icdt.h"
#include "core/trace.h"

#include <string.h>

static void use(const icd_trace_item *item, int64_t n)
{
    if (!(item->weight >= 0)) abort();
    for (int64_t k = 0; k < item->count; ++k) {
        if (item->index[k] < 0 || item->index[k] >= n) abort();
        if (item->kind == ICD_TRACE_SET && k > 0 && item->index[k - 1] >= item->index[k])
            abort();
    }
    if (item->kind == ICD_TRACE_PAIR &&
        (item->count != 2 || item->index[0] == item->index[1]))
        abort();
}

static void read_trace(const uint8_t *data, size_t size, const icd_trace_opts *opts)
{
    icd_ctx *ctx = fuzz_ctx_new();
    icd_trace_reader *reader = NULL;
    icd_trace_item item = {.count = 0};
    icd_status status = icd_i_trace_open_memory(ctx, data, size, "trace", opts, &reader);
    if (status != ICD_OK) fuzz_check_error(ctx, status, reader);
    while (status == ICD_OK && item.count >= 0) {
        status = icd_trace_next(ctx, reader, &item);
        if (status == ICD_OK)
            use(&item, icd_trace_n(reader));
        else
            fuzz_check_error(ctx, status, NULL);
    }
    icd_trace_close(ctx, reader);
    icd_ctx_free(ctx);
}

static void put_sum(uint8_t *data, size_t size, uint64_t at, uint64_t head, uint64_t rest)
{
    uint64_t sum = icd_i_hash(0, data + at, head);
    if (head + rest <= size - at - ICDT_SUM)
        icd_i_put_u64(data + at + head + rest, icd_i_hash(sum, data + at + head, rest));
}

static void repair_chunk(uint8_t *data, size_t size, uint64_t at)
{
    if (at > size || size - at < ICDT_CHUNK) return;
    uint64_t stored = icd_i_get_u32(data + at + 20);
    if (stored > size - at - ICDT_CHUNK) return;
    uint64_t sum = icd_i_hash(0, data + at, ICDT_CHECKED);
    icd_i_put_u64(data + at + ICDT_CHECKED,
                  icd_i_hash(sum, data + at + ICDT_CHUNK, stored));
}

/* Makes the checksums of a binary trace right, or the fuzzer would never come past one.
 */
static void repair(uint8_t *data, size_t size)
{
    const size_t least = ICDT_HEADER + ICDT_SUM + ICDT_INDEX + ICDT_SUM + ICDT_END;
    if (size < least) return;
    uint64_t axis = icd_i_get_u32(data + 12),
             index = icd_i_get_u64(data + size - ICDT_END);
    if (axis <= size - least)
        icd_i_put_u64(data + ICDT_HEADER + axis, icd_i_hash(0, data, ICDT_HEADER + axis));
    if (index > size - ICDT_INDEX - ICDT_SUM - ICDT_END) return;
    uint64_t entries = size - ICDT_END - ICDT_SUM - ICDT_INDEX - index;
    for (uint64_t e = 0; e + ICDT_ENTRY <= entries; e += ICDT_ENTRY)
        repair_chunk(data, size, icd_i_get_u64(data + index + ICDT_INDEX + e));
    put_sum(data, size, index, ICDT_INDEX, entries);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const icd_trace_opts given = {.n = 16, .first = 1, .limit = 100};
    read_trace(data, size, NULL);
    read_trace(data, size, &given);
    if (size < ICDT_MAGIC || memcmp(data, ICDT_MAGIC_HEAD, ICDT_MAGIC) != 0) return 0;
    uint8_t *copy = malloc(size);
    if (!copy) return 0;
    memcpy(copy, data, size);
    repair(copy, size);
    read_trace(copy, size, NULL);
    free(copy);
    return 0;
}
