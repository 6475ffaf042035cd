#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "core/icdt.h"
#include "core/trace.h"
#include "support.h"

#include <math.h>
#include <string.h>

enum { SEED = 31337 };

static icd_ctx *ctx;

static int setup(void **state)
{
    (void)state;
    ctx = icd_ctx_new(NULL);
    return ctx == NULL;
}

static int teardown(void **state)
{
    (void)state;
    icd_ctx_free(ctx);
    return 0;
}

/* Random sets of the given density; weights where asked. */
static icd_access *random_sets(int64_t n, int64_t events, double density, bool weighted)
{
    icd_rng rng;
    icd_access *a = NULL;
    icd_i_rng_init(&rng, SEED, (uint64_t)(n * 1000 + events));
    assert_ok(ctx, ICD_ALLOC(ctx, 1, &a));
    assert_ok(ctx, ICD_ALLOC(ctx, events + 1, &a->event_ptr));
    assert_ok(ctx, ICD_ALLOC(ctx, events * n, &a->index));
    if (weighted) assert_ok(ctx, ICD_ALLOC(ctx, events, &a->weight));
    a->n = n;
    a->events = events;
    a->frame = UINT64_C(0xfedcba9876543210);
    for (int64_t e = 0, k = 0; e < events; ++e) {
        for (int64_t i = 0; i < n; ++i)
            if (icd_i_rng_unit(&rng) < density) a->index[k++] = (int32_t)i;
        a->event_ptr[e + 1] = k;
        if (weighted) a->weight[e] = (float)icd_i_rng_unit(&rng);
    }
    return a;
}

static void assert_same(const icd_access *a, const icd_access *b)
{
    assert_true(a->n == b->n && a->events == b->events && a->frame == b->frame);
    for (int64_t e = 0; e < a->events; ++e) {
        assert_int_equal(a->event_ptr[e + 1], b->event_ptr[e + 1]);
        assert_true((a->weight ? a->weight[e] : 1) == (b->weight ? b->weight[e] : 1));
    }
    for (int64_t k = 0; k < a->event_ptr[a->events]; ++k)
        assert_int_equal(a->index[k], b->index[k]);
}

static void test_round_trip(void **state)
{
    (void)state;
    static const struct {
        int64_t n, events;
        double density;
        bool weighted;
    } CASE[] = {{1, 1, 1, false},       {1, 3, 0, false},    {2, 5, .5, true},
                {300, 70, .1, false},   {5000, 3, .5, true}, {3, 70000, .4, true},
                {1000, 3000, .2, false}};
    print_message("seed %d\n", SEED);
    for (size_t i = 0; i < sizeof CASE / sizeof *CASE; ++i) {
        icd_access *a =
            random_sets(CASE[i].n, CASE[i].events, CASE[i].density, CASE[i].weighted);
        icd_access *b = NULL;
        const char *path = icd_test_path("t.icdt");
        assert_ok(ctx, icd_access_write(ctx, a, path));
        assert_ok(ctx, icd_access_read(ctx, path, NULL, &b));
        assert_same(a, b);
        assert_null(b->axis);
        icd_access_free(ctx, a);
        icd_access_free(ctx, b);
    }
}

/* Several chunks: every range gives the same events as the whole. */
static void test_ranges_over_chunks(void **state)
{
    (void)state;
    static const int64_t FIRST[] = {0, 1, 999, 1500, 2999};
    icd_access *a = random_sets(1000, 3000, .2, false);
    const char *path = icd_test_path("ranges.icdt");
    assert_ok(ctx, icd_access_write(ctx, a, path));
    for (size_t i = 0; i < sizeof FIRST / sizeof *FIRST; ++i) {
        icd_trace_opts opts = {.first = FIRST[i], .limit = 700};
        int64_t count = 3000 - FIRST[i] < 700 ? 3000 - FIRST[i] : 700;
        icd_access *b = NULL, *slice = NULL;
        assert_ok(ctx, icd_access_read(ctx, path, &opts, &b));
        assert_ok(ctx, icd_access_slice(ctx, a, FIRST[i], count, &slice));
        assert_same(slice, b);
        icd_access_free(ctx, b);
        icd_access_free(ctx, slice);
    }
    icd_trace_opts beyond = {.first = 3000};
    icd_access *b = NULL;
    assert_fails(ctx, ICD_EINVAL, "holds 3000 events, expected more than the 3000",
                 icd_access_read(ctx, path, &beyond, &b));
    icd_access_free(ctx, a);
}

static void test_axis_and_empty(void **state)
{
    (void)state;
    const char *path = icd_test_path("axis.icdt");
    const int32_t index[] = {0, 5};
    icd_trace_opts wrong = {.axis = "other"}, small = {.n = 5},
                   right = {.axis = "ffn", .n = 6};
    icd_trace_writer *writer = NULL;
    icd_access *a = NULL;
    assert_ok(ctx, icd_trace_writer_open(ctx, path, "ffn", 6, &writer));
    assert_ok(ctx, icd_trace_writer_close(ctx, writer, true));
    assert_fails(ctx, ICD_EDATA, "holds no event", icd_access_read(ctx, path, NULL, &a));
    assert_ok(ctx, icd_trace_writer_open(ctx, path, "ffn", 6, &writer));
    assert_ok(ctx, icd_trace_writer_add(ctx, writer, index, 2, 1));
    assert_ok(ctx, icd_trace_writer_close(ctx, writer, true));
    assert_fails(ctx, ICD_EINVAL, "holds axis 'ffn', but 'other' was asked for",
                 icd_access_read(ctx, path, &wrong, &a));
    assert_fails(ctx, ICD_EINVAL, "states 6 indices, but 5 were given",
                 icd_access_read(ctx, path, &small, &a));
    assert_ok(ctx, icd_access_read(ctx, path, &right, &a));
    assert_string_equal(a->axis, "ffn");
    icd_access_free(ctx, a);
}

static void test_writer_refuses(void **state)
{
    (void)state;
    const char *path = icd_test_path("refused.icdt");
    const int32_t twice[] = {1, 1}, high[] = {4}, low[] = {-1}, sound[] = {0, 3};
    char axis[ICDT_AXIS_MAX + 2];
    icd_trace_writer *writer = NULL;
    memset(axis, 'a', sizeof axis);
    axis[sizeof axis - 1] = 0;
    assert_fails(ctx, ICD_EINVAL, "expected at most 4096",
                 icd_trace_writer_open(ctx, path, axis, 4, &writer));
    assert_null(writer);
    assert_fails(ctx, ICD_EINVAL, "found n = -1",
                 icd_trace_writer_open(ctx, path, NULL, -1, &writer));
    assert_ok(ctx, icd_trace_writer_open(ctx, path, NULL, 4, &writer));
    assert_ok(ctx, icd_trace_writer_add(ctx, writer, sound, 2, 1));
    assert_fails(ctx, ICD_EINVAL, "event 1: found index 1, expected ascending",
                 icd_trace_writer_add(ctx, writer, twice, 2, 1));
    assert_fails(ctx, ICD_EINVAL, "found index 4",
                 icd_trace_writer_add(ctx, writer, high, 1, 1));
    assert_fails(ctx, ICD_EINVAL, "found index -1",
                 icd_trace_writer_add(ctx, writer, low, 1, 1));
    assert_fails(ctx, ICD_EINVAL, "of weight -1",
                 icd_trace_writer_add(ctx, writer, sound, 2, -1));
    assert_fails(ctx, ICD_EINVAL, "of weight nan",
                 icd_trace_writer_add(ctx, writer, sound, 2, NAN));
    assert_false(icd_i_file_exists(path));
    assert_ok(ctx, icd_trace_writer_close(ctx, writer, false));
    assert_false(icd_i_file_exists(path));
    assert_ok(ctx, icd_trace_writer_close(ctx, NULL, true));
}

static icd_status read_memory(icd_ctx *c, const void *bytes, size_t size)
{
    icd_status status;
    icd_trace_reader *reader = NULL;
    icd_trace_item item = {0};
    ICD_TRY(icd_i_trace_open_memory(c, bytes, size, "T", NULL, &reader));
    do ICD_TRY(icd_trace_next(c, reader, &item));
    while (item.count >= 0);
done:
    icd_trace_close(c, reader);
    return status;
}

static void make_small(char **bytes, size_t *size)
{
    const char *path = icd_test_path("small.icdt");
    icd_access *a = random_sets(40, 20, .3, true);
    assert_ok(ctx, icd_i_strdup(ctx, "ffn", &a->axis));
    assert_ok(ctx, icd_access_write(ctx, a, path));
    assert_ok(ctx, icd_i_file_read(ctx, path, bytes, size));
    assert_ok(ctx, read_memory(ctx, *bytes, *size));
    icd_access_free(ctx, a);
}

static void test_every_cut_is_seen(void **state)
{
    (void)state;
    char *bytes = NULL;
    size_t size = 0;
    make_small(&bytes, &size);
    for (size_t cut = 0; cut < size; ++cut) {
        icd_status status = read_memory(ctx, bytes, cut);
        if (status != ICD_EDATA)
            fail_msg("%zu bytes give %s", cut, icd_status_code(status));
    }
    icd_i_free(ctx, bytes);
}

static void test_every_flipped_bit_is_seen(void **state)
{
    (void)state;
    char *bytes = NULL;
    size_t size = 0;
    make_small(&bytes, &size);
    for (size_t bit = 0; bit < 8 * size; ++bit) {
        bytes[bit / 8] = (char)(bytes[bit / 8] ^ 1 << bit % 8);
        icd_status status = read_memory(ctx, bytes, size);
        if (status != ICD_EDATA)
            fail_msg("bit %zu gives %s", bit, icd_status_code(status));
        bytes[bit / 8] = (char)(bytes[bit / 8] ^ 1 << bit % 8);
    }
    icd_i_free(ctx, bytes);
}

/* Damage under a right checksum, as a broken writer would leave it. */
static void test_contradictions(void **state)
{
    (void)state;
    static const struct {
        int at;
        uint32_t more;
        const char *message;
    } CASE[] = {
        {0, 7, "no chunk begins here"},
        {4, 1, "flags that this version does not know"},
        {8, 1, "the events of the chunk differ from the index"},
        {12, UINT32_MAX, "the numbers of indices do not add up"},
        {12, 100000, "contradict each other"},
        {16, 1000000000, "contradict each other"},
        {20, 1, "the size of the chunk differs from the index"},
    };
    char *text = NULL;
    size_t size = 0;
    make_small(&text, &size);
    unsigned char *bytes = (unsigned char *)text, saved[ICDT_CHUNK];
    unsigned char *chunk = bytes + ICDT_HEADER + 3 + ICDT_SUM;
    uint32_t stored = icd_i_get_u32(chunk + 20);
    memcpy(saved, chunk, sizeof saved);
    for (size_t i = 0; i < sizeof CASE / sizeof *CASE; ++i) {
        unsigned char *field = chunk + CASE[i].at;
        icd_i_put_u32(field, icd_i_get_u32(field) + CASE[i].more);
        uint64_t sum = icd_i_hash(0, chunk, ICDT_CHECKED);
        icd_i_put_u64(chunk + ICDT_CHECKED, icd_i_hash(sum, chunk + ICDT_CHUNK, stored));
        assert_fails(ctx, ICD_EDATA, CASE[i].message, read_memory(ctx, bytes, size));
        memcpy(chunk, saved, sizeof saved);
    }
    icd_i_put_u32(bytes + 8, 2);
    assert_fails(ctx, ICD_EDATA, "T: byte 8: found version 2, expected 1",
                 read_memory(ctx, bytes, size));
    icd_i_free(ctx, text);
}

static void test_same_bytes(void **state)
{
    (void)state;
    char *first = NULL, *second = NULL;
    size_t size = 0, again = 0;
    make_small(&first, &size);
    make_small(&second, &again);
    assert_int_equal(size, again);
    assert_memory_equal(first, second, size);
    icd_i_free(ctx, first);
    icd_i_free(ctx, second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_ranges_over_chunks),
        cmocka_unit_test(test_axis_and_empty),
        cmocka_unit_test(test_writer_refuses),
        cmocka_unit_test(test_every_cut_is_seen),
        cmocka_unit_test(test_every_flipped_bit_is_seen),
        cmocka_unit_test(test_contradictions),
        cmocka_unit_test(test_same_bytes),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
