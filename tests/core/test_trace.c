/* The text formats and matrices; test_trace_icdt.c has the binary one. */
#include "base/error.h"
#include "core/trace.h"
#include "support.h"

#include <stdio.h>
#include <string.h>

static icd_ctx *ctx;
static char warning[512];

static void keep_warning(void *user, const char *message)
{
    (void)user;
    snprintf(warning, sizeof warning, "%s", message);
}

static int setup(void **state)
{
    (void)state;
    ctx = icd_ctx_new(NULL);
    icd_ctx_on_warning(ctx, keep_warning, NULL);
    return ctx == NULL;
}

static int teardown(void **state)
{
    (void)state;
    icd_ctx_free(ctx);
    return 0;
}

static void add(char *out, size_t size, const icd_trace_item *item)
{
    size_t used = strlen(out);
    if (item->kind == ICD_TRACE_PAIR)
        used += (size_t)snprintf(out + used, size - used, "p");
    for (int64_t k = 0; k < item->count; ++k)
        used += (size_t)snprintf(out + used, size - used, "%s%d", k ? "," : "",
                                 item->index[k]);
    if (item->weight != 1)
        used += (size_t)snprintf(out + used, size - used, "*%g", (double)item->weight);
    snprintf(out + used, size - used, " ");
}

/* Reads a whole trace into words like "1,2*0.5" for a set and "p1,2" for a pair. */
static icd_status read_all(icd_ctx *c, const char *text, const icd_trace_opts *opts,
                           char *out, size_t size)
{
    icd_status status;
    icd_trace_reader *reader = NULL;
    icd_trace_item item;
    *out = 0;
    ICD_TRY(icd_i_trace_open_memory(c, text, strlen(text), "T", opts, &reader));
    for (;;) {
        ICD_TRY(icd_trace_next(c, reader, &item));
        if (item.count < 0) break;
        add(out, size, &item);
    }
done:
    if (status != ICD_OK && !reader) out[0] = 0;
    icd_trace_close(c, reader);
    return status;
}

static void assert_reads(const char *text, int64_t n, const char *expected)
{
    char found[512];
    const icd_trace_opts opts = {.n = n};
    assert_ok(ctx, read_all(ctx, text, &opts, found, sizeof found));
    assert_string_equal(found, expected);
}

static void assert_refused(const char *text, int64_t n, icd_status status,
                           const char *message)
{
    char found[512];
    const icd_trace_opts opts = {.n = n};
    assert_fails(ctx, status, message, read_all(ctx, text, &opts, found, sizeof found));
}

static void test_jsonl(void **state)
{
    (void)state;
    assert_reads("{\"set\":[1,3]}\n{\"set\":[]}\n", 4, "1,3  ");
    assert_reads(
        "\xef\xbb\xbf\n {\"t\": 1.5e3, \"axis\":\"a\", \"set\" : [ 3 , 0 ], \"w\":.5}", 4,
        "0,3*0.5 ");
    assert_reads("{\"axis\":\"a\",\"n\":9}\r\n{\"set\":[8]}\r\n\r\n", 0, "8 ");
    assert_reads("{\"src\":3,\"dst\":1,\"w\":2}\n{\"dst\":0,\"src\":1}\n", 4,
                 "p3,1*2 p1,0 ");
    assert_reads("{\"set\":[1],\"extra\":{\"a\":[1,{\"b\":\"}\\\"\"}]},\"x\":null}\n", 4,
                 "1 ");
    assert_reads("{\"n\":5}\n{\"axis\":\"\\u00e9\",\"set\":[4]}\n{\"axis\":\"\xc3\xa9\","
                 "\"set\":[3]}\n",
                 0, "4 3 ");
}

static void test_damaged_jsonl(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } CASE[] = {
        {"{\"set\":[1,2]}\n{\"set\":[1,",
         "T: line 2: found the end of the file, expected an integer"},
        {"{\"set\":[1,2]}\n{\"set\":[1",
         "T: line 2: found the end of the file, expected ',' or ']'"},
        {"{\"set\":[1,2]}\n{\"set\":[1]",
         "line 2: found the end of the file, expected ',' or '}'"},
        {"{\"set\":[1]}\n{\"se", "T: line 2: found '\"se', expected a member name"},
        {"{\"set\":[1]}\n{",
         "T: line 2: found the end of the file, expected a member name"},
        {"{\"set\":[1]}\n{\"set\"", "line 2: found the end of the file, expected ':'"},
        {"{\"set\":[1]}\n{\"w\":",
         "line 2: found the end of the file, expected a number"},
        {"{\"set\":[1]}\n{\"x\":[1", "expected a JSON value"},
        {"{\"set\":[1]}\n1,2\n", "T: line 2: found '1', expected an object"},
        {"{\"set\":[1]} x\n", "line 1: found 'x', expected the end of the line"},
        {"{\"set\":[1],}\n", "expected a member name"},
        {"{\"set\":[1,]}\n", "found ']', expected an integer"},
        {"{\"set\":[1 2]}\n", "found '2', expected ',' or ']'"},
        {"{\"set\":[1.5]}\n", "found '1.5', expected an integer"},
        {"{\"set\":7}\n", "found '7', expected a list"},
        {"{\"set\":[1,2,1]}\n", "T: line 1: index 1 stands twice in one set"},
        {"{\"set\":[1,4]}\n", "T: line 1: found index 4, expected 0 to 3"},
        {"{\"set\":[1,-1]}\n", "T: line 1: found index -1, expected 0 to"},
        {"{\"set\":[9999999999]}\n", "found index 9999999999"},
        {"{\"set\":[1],\"w\":-2}\n", "T: line 1: found weight -2"},
        {"{\"set\":[1],\"w\":NaN}\n", "T: line 1: found 'NaN', expected a number"},
        {"{\"set\":[1],\"w\":1e39}\n", "found weight 1e+39, expected a finite one"},
        {"{\"set\":[1],\"set\":[2]}\n", "member 'set' stands twice"},
        {"{\"t\":1}\n", "found 'neither', expected one of 'set'"},
        {"{\"src\":1}\n", "found 'src', expected one of"},
        {"{\"set\":[1],\"src\":1,\"dst\":2}\n", "expected one of 'set'"},
        {"{\"src\":1,\"dst\":4}\n", "found index 4, expected 0 to 3"},
        {"{\"axis\":7,\"set\":[1]}\n", "found '7', expected a string"},
        {"{\"axis\":\"\\ud800\",\"set\":[1]}\n", "not a valid JSON string"},
        {"{\"axis\":\"\xff\",\"set\":[1]}\n", "not a valid JSON string"},
        {"{\"n\":4}\n{\"set\":[1]}\n{\"n\":5}\n", "T: line 3: states n = 5, expected 4"},
        {"{\"n\":4}\n", "T: holds no event"},
        {"{\n\"set\":[1]}\n", "line 1: found the end of the line"},
    };
    for (size_t i = 0; i < sizeof CASE / sizeof *CASE; ++i)
        assert_refused(CASE[i].text, 4, ICD_EDATA, CASE[i].message);
}

/* Every cut of the last line must be seen, except the one that takes only the line feed.
 */
static void test_cut_jsonl(void **state)
{
    (void)state;
    static const char TEXT[] =
        "{\"set\":[1,2]}\n{\"t\":1,\"axis\":\"a\",\"set\":[1,3],\"w\":2}";
    const size_t first_line = 14;
    for (size_t size = first_line + 1; size < sizeof TEXT - 1; ++size) {
        char text[sizeof TEXT], message[64];
        memcpy(text, TEXT, size);
        text[size] = 0;
        snprintf(message, sizeof message, "T: line 2: ");
        assert_refused(text, 4, ICD_EDATA, message);
    }
}

static void test_axes(void **state)
{
    (void)state;
    static const char TWO[] =
        "{\"axis\":\"a\",\"n\":3}\n{\"axis\":\"b\",\"n\":9}\n"
        "{\"axis\":\"b\",\"set\":[8]}\n{\"axis\":\"a\",\"set\":[2]}\n"
        "{\"axis\":\"b\",\"set\":[7]}\n";
    char found[128];
    icd_trace_opts opts = {.axis = "b"};
    assert_ok(ctx, read_all(ctx, TWO, &opts, found, sizeof found));
    assert_string_equal(found, "8 7 ");
    opts.axis = "a";
    assert_ok(ctx, read_all(ctx, TWO, &opts, found, sizeof found));
    assert_string_equal(found, "2 ");
    assert_fails(ctx, ICD_EINVAL,
                 "found axis 'b' beside axis 'a'; choose one with --axis",
                 read_all(ctx, TWO, NULL, found, sizeof found));
    opts = (icd_trace_opts){.axis = "c", .n = 9};
    assert_fails(ctx, ICD_EDATA, "holds no event of axis c",
                 read_all(ctx, TWO, &opts, found, sizeof found));
    assert_refused("{\"axis\":\"a\",\"set\":[1]}\n{\"axis\":\"b\",\"set\":[1]}\n", 4,
                   ICD_EINVAL, "T: line 2: found axis 'b' beside axis 'a'");
}

static void test_n(void **state)
{
    (void)state;
    assert_refused(
        "{\"set\":[1]}\n", 0, ICD_EINVAL,
        "does not state the size of its index space; give the size of the index "
        "space with --d");
    assert_refused("1,2\n", 0, ICD_EINVAL, "--d");
    assert_refused("{\"n\":5}\n{\"set\":[1]}\n", 4, ICD_EINVAL,
                   "states 5 indices, but 4 were given");
    assert_reads("{\"n\":5}\n{\"set\":[1]}\n", 5, "1 ");
    assert_refused("{\"set\":[1]}\n", -1, ICD_EINVAL, "found n = -1");
}

static void test_empty(void **state)
{
    (void)state;
    static const char *const EMPTY[] = {
        "", "\n\n", "# only a comment\n", "src,dst,w\n",
        "%%MatrixMarket matrix coordinate real general\n0 4 0\n"};
    for (size_t i = 0; i < sizeof EMPTY / sizeof *EMPTY; ++i)
        assert_refused(EMPTY[i], 4, ICD_EDATA,
                       "T: holds no event, expected one at least");
}

static void test_unknown_format(void **state)
{
    (void)state;
    assert_refused("\x1f\x8b\x08", 4, ICD_EDATA, "begins with byte 0x1f, expected");
    assert_refused("\x93NUMPY\x01", 4, ICD_EDATA, "begins with byte 0x93");
}

static void test_range(void **state)
{
    (void)state;
    static const char *const SAME[] = {
        "{\"set\":[0]}\n{\"set\":[1]}\n{\"set\":[2]}\n{\"set\":[3]}\n",
        "%%MatrixMarket matrix coordinate pattern general\n4 5 4\n1 1\n2 2\n3 3\n4 4\n",
    };
    static const struct {
        int64_t first, limit;
        const char *expected;
    } CASE[] = {{0, 0, "0 1 2 3 "}, {1, 0, "1 2 3 "}, {0, 2, "0 1 "},
                {1, 2, "1 2 "},     {3, 9, "3 "},     {0, 4, "0 1 2 3 "}};
    for (size_t s = 0; s < 2; ++s)
        for (size_t i = 0; i < sizeof CASE / sizeof *CASE; ++i) {
            char found[128];
            icd_trace_opts opts = {
                .n = 5, .first = CASE[i].first, .limit = CASE[i].limit};
            assert_ok(ctx, read_all(ctx, SAME[s], &opts, found, sizeof found));
            assert_string_equal(found, CASE[i].expected);
            opts.first = 4;
            assert_fails(ctx, ICD_EINVAL, "holds 4 events, expected more than the 4",
                         read_all(ctx, SAME[s], &opts, found, sizeof found));
        }
}

static void test_csv(void **state)
{
    (void)state;
    assert_reads("1,2\n3,0\n", 4, "p1,2 p3,0 ");
    assert_reads("src,dst,w\n1,2,.5\n", 4, "p1,2*0.5 ");
    assert_reads("1\t2\t3\r\n2\t3\t4\r\n", 4, "p1,2*3 p2,3*4 ");
    assert_reads("# a graph\n\n 1 2\n2  3 \n", 4, "p1,2 p2,3 ");
}

static void test_csv_columns(void **state)
{
    (void)state;
    assert_reads("t,\"Weight\",dst,note,src\n17,2,1,x,3\n", 4, "p3,1*2 ");
    assert_reads("target;source\n1;2\n", 4, "p2,1 ");
}

static void test_damaged_csv(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } CASE[] = {
        {"1,2\n1,2,3\n", "T: line 2: found '3', expected the end of the line"},
        {"1,2,3\n1,2\n", "T: line 2: found the end of the line, expected a number"},
        {"1,2\n1\n", "T: line 2: found the end of the line, expected an integer"},
        {"1\n", "found 1 columns, expected src,dst[,w]"},
        {"1,2,3,4\n", "found 4 columns"},
        {"1,2\n1,4\n", "T: line 2: found index 4, expected 0 to 3"},
        {"1,2\n-1,3\n", "T: line 2: found index -1"},
        {"1,2\n1.5,3\n", "T: line 2: found '1.5', expected an integer"},
        {"1,2,-1\n", "T: line 1: found weight -1"},
        {"1,2,nan\n", "T: line 1: found 'nan', expected a number"},
        {"1,2,1x\n", "expected a separator"},
        {"1,2,,\n", "expected"},
        {"hello world\n1 2\n", "T: line 1: found a first line that names no pair"},
        {"src,src,w\n1,2,3\n", "names no pair"},
    };
    for (size_t i = 0; i < sizeof CASE / sizeof *CASE; ++i)
        assert_refused(CASE[i].text, 4, ICD_EDATA, CASE[i].message);
}

static void test_pairs_with_itself(void **state)
{
    (void)state;
    warning[0] = 0;
    assert_reads("1,1\n1,2\n2,2\n", 4, "p1,2 ");
    assert_string_equal(warning, "T: line 1: pairs of an index with itself are dropped");
    assert_reads("{\"src\":1,\"dst\":1}\n{\"src\":1,\"dst\":2}\n", 4, "p1,2 ");
}

static void test_matrices(void **state)
{
    (void)state;
    assert_reads("%%MatrixMarket matrix coordinate real general\n2 3 4\n1 3 1\n1 1 7\n2 "
                 "2 0\n2 1 1\n",
                 0, "0,2 0 ");
    assert_reads(
        "%%MatrixMarket matrix coordinate real symmetric\n3 3 3\n2 1 .5\n3 2 2\n3 3 1\n",
        0, "p0,1*0.5 p1,2*2 ");
    assert_reads("%%MatrixMarket matrix coordinate real general\n2 2 2\n1 2 1\n2 1 1\n",
                 0, "p0,1 ");
    assert_reads("%%MatrixMarket matrix coordinate real general\n2 2 2\n1 2 1\n2 1 2\n",
                 0, "1 0 ");
    assert_refused("%%MatrixMarket matrix coordinate real general\n2 3 1\n1 4 1\n", 0,
                   ICD_EDATA, "T: line 3: found '4', expected a column from 1 to 3");
}

static void test_missing_file(void **state)
{
    (void)state;
    icd_trace_reader *reader = NULL;
    assert_fails(ctx, ICD_EIO, "absent.jsonl",
                 icd_trace_open(ctx, icd_test_path("absent.jsonl"), NULL, &reader));
    assert_null(reader);
    icd_trace_close(ctx, NULL);
}

static icd_status allocate(icd_ctx *c, void *arg)
{
    char found[128];
    const icd_trace_opts opts = {.n = 4, .axis = "a"};
    return read_all(c, arg, &opts, found, sizeof found);
}

static void test_failing_allocations(void **state)
{
    (void)state;
    icd_test_failing_allocations(
        allocate, (void *)"{\"axis\":\"a\",\"n\":4}\n{\"axis\":\"a\",\"set\":[1,3,2]}\n");
    icd_test_failing_allocations(allocate, (void *)"1,2\n");
    icd_test_failing_allocations(
        allocate,
        (void *)"%%MatrixMarket matrix coordinate real general\n2 4 2\n1 2 1\n1 1 1\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_jsonl),
        cmocka_unit_test(test_damaged_jsonl),
        cmocka_unit_test(test_cut_jsonl),
        cmocka_unit_test(test_axes),
        cmocka_unit_test(test_n),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_unknown_format),
        cmocka_unit_test(test_range),
        cmocka_unit_test(test_csv),
        cmocka_unit_test(test_csv_columns),
        cmocka_unit_test(test_damaged_csv),
        cmocka_unit_test(test_pairs_with_itself),
        cmocka_unit_test(test_matrices),
        cmocka_unit_test(test_missing_file),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
