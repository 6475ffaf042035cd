#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/npz.h"
#include "base/rng.h"
#include "core/csr_io.h"
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SEED = 99 };

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

static icd_status decode(const char *text, icd_csr **out)
{
    return icd_i_csr_decode(ctx, text, strlen(text), "W.mtx", out);
}

/* A random symmetric W: a pair is stored with probability .3. */
static icd_csr *random_w(icd_ctx *c, icd_rng *rng, int64_t n)
{
    enum { MAX = 40 };
    float dense[MAX][MAX] = {{0}};
    icd_csr *w = NULL;
    int64_t nnz = 0;
    for (int64_t i = 0; i < n; ++i)
        for (int64_t j = 0; j < i; ++j)
            if (icd_i_rng_unit(rng) < .3) {
                dense[i][j] = dense[j][i] = (float)icd_i_rng_unit(rng) + 1e-6f;
                nnz += 2;
            }
    assert_ok(c, icd_csr_new(c, n, nnz, &w));
    nnz = 0;
    for (int64_t i = 0; i < n; ++i) {
        for (int64_t j = 0; j < n; ++j)
            if (dense[i][j] > 0) {
                w->col[nnz] = (int32_t)j;
                w->val[nnz++] = dense[i][j];
            }
        w->row_ptr[i + 1] = nnz;
    }
    return w;
}

static void assert_same(const icd_csr *a, const icd_csr *b)
{
    assert_int_equal(a->n, b->n);
    assert_int_equal(a->nnz, b->nnz);
    assert_true(icd_csr_hash(a) == icd_csr_hash(b));
}

static void test_npz_round_trip(void **state)
{
    (void)state;
    icd_rng rng;
    icd_i_rng_init(&rng, SEED, 1);
    print_message("seed %d\n", SEED);
    const char *path = icd_test_path("W.csr.npz");
    for (int64_t n = 0; n < 40; n += n < 3 ? 1 : 9) {
        icd_csr *w = random_w(ctx, &rng, n), *back = NULL;
        char *first = NULL, *second = NULL;
        size_t size = 0, again = 0;
        w->frame = n % 2 ? UINT64_C(0xfedcba9876543210) : ICD_FRAME_CHECKPOINT;
        assert_ok(ctx, icd_csr_write(ctx, w, path));
        assert_ok(ctx, icd_csr_read(ctx, path, &back));
        assert_same(w, back);
        assert_ok(ctx, icd_i_file_read(ctx, path, &first, &size));
        assert_ok(ctx, icd_csr_write(ctx, back, path));
        assert_ok(ctx, icd_i_file_read(ctx, path, &second, &again));
        assert_int_equal(size, again);
        assert_memory_equal(first, second, size);
        icd_i_free(ctx, first);
        icd_i_free(ctx, second);
        icd_csr_free(ctx, w);
        icd_csr_free(ctx, back);
    }
}

static void test_mtx_round_trip(void **state)
{
    (void)state;
    icd_rng rng;
    icd_i_rng_init(&rng, SEED, 2);
    icd_csr *w = random_w(ctx, &rng, 23), *back = NULL;
    const char *path = icd_test_path("W.mtx");
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file,
            "%%%%MatrixMarket matrix coordinate real symmetric\n%% comment\n\n23 23 %d\n",
            (int)(w->nnz / 2));
    for (int64_t i = 22; i >= 0; --i)
        for (int64_t k = w->row_ptr[i]; k < w->row_ptr[i + 1] && w->col[k] < i; ++k)
            fprintf(file, "%d %d %.9g\r\n", (int)i + 1, w->col[k] + 1, (double)w->val[k]);
    fclose(file);
    assert_ok(ctx, icd_csr_read(ctx, path, &back));
    assert_same(w, back);
    icd_csr_free(ctx, w);
    icd_csr_free(ctx, back);
}

static void test_mtx_forms(void **state)
{
    (void)state;
    static const char *const FORM[] = {
        "%%MatrixMarket matrix coordinate pattern symmetric\n3 3 1\n3 1\n",
        "%%matrixmarket MATRIX Coordinate Integer General\n3 3 2\n1 3 1\n3 1 1",
        "%%MatrixMarket matrix coordinate real general\r\n%\r\n 3\t3 2 \r\n3 1 "
        "1.0\r\n\n1 3 1e0\n",
        "%%MatrixMarket matrix coordinate real general\n3 3 3\n3 1 1\n% in between\n1 3 "
        "1\n2 1 0\n",
    };
    for (size_t i = 0; i < sizeof FORM / sizeof *FORM; ++i) {
        icd_csr *w = NULL;
        assert_ok(ctx, decode(FORM[i], &w));
        assert_true(w->n == 3 && w->nnz == 2 && w->col[0] == 2 && w->col[1] == 0);
        assert_true(w->val[0] == 1 && w->val[1] == 1);
        icd_csr_free(ctx, w);
    }
}

#define REAL "%%MatrixMarket matrix coordinate real general\n"
#define SYMM "%%MatrixMarket matrix coordinate real symmetric\n"

static void test_damaged_mtx(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } CASE[] = {
        {"", "expected a SciPy .npz or a MatrixMarket file"},
        {"hello", "found 5 bytes that are neither"},
        {"%%MatrixMarket vector", "line 1: found 'vector', expected 'matrix'"},
        {"%%MatrixMarket matrix array real general\n2 2\n", "line 1: found 'array'"},
        {"%%MatrixMarket matrix coordinate complex general\n", "line 1: found 'complex'"},
        {"%%MatrixMarket matrix coordinate real hermitian\n",
         "line 1: found 'hermitian'"},
        {"%%MatrixMarket matrix coordinate real general x\n", "line 1: found 'x'"},
        {REAL, "found the end of the file, expected a number of rows"},
        {REAL "% only\n2 2\n",
         "line 3: found the end of the line, expected a number of entries"},
        {REAL "2 2 -1\n", "line 2: found '-1'"},
        {REAL "2 2 2 2\n1 2 1\n2 1 1\n",
         "line 2: found '2', expected the end of the size line"},
        {REAL "2 2 999999\n1 2 1\n", "line 2: states 999999 entries"},
        {REAL "3000000000 3 0\n", "line 2: found '3000000000'"},
        {REAL "2 2 2\n1 2 1\n% cut here\n", "after 1 entries, expected 2"},
        {REAL "2 2 1\n1 2 1\n2 1 1\n", "line 4: found '2', expected the end"},
        {REAL "2 2 2\n1 2 1\n2 1\n", "line 4: found the end of the line"},
        {REAL "2 2 2\n1 2 1\n2 1 1 1\n",
         "line 4: found '1', expected the end of the line"},
        {REAL "2 2 2\n1 2 1\n3 1 1\n", "line 4: found '3', expected a row from 1 to 2"},
        {REAL "2 2 2\n1 2 1\n2 0 1\n",
         "line 4: found '0', expected a column from 1 to 2"},
        {REAL "2 2 2\n1 2 1\n2 1.0 1\n", "line 4: found '1.0'"},
        {REAL "2 2 2\n1 2 nan\n2 1 nan\n",
         "line 3: found 'nan', expected a finite value >= 0"},
        {REAL "2 2 2\n1 2 inf\n2 1 inf\n", "line 3: found 'inf'"},
        {REAL "2 2 2\n1 2 -1\n2 1 -1\n",
         "line 3: found '-1', expected a finite value >= 0"},
        {REAL "2 2 2\n1 2 1e39\n2 1 1e39\n", "line 3: found '1e39'"},
        {REAL "2 2 2\n1 2 1\n1 2 1\n", "row 1, column 2: the entry is stored twice"},
        {REAL "2 2 2\n1 2 1\n2 1 2\n", "row 1, column 2: differs"},
        {REAL "3 3 2\n1 2 1\n3 1 1\n", "mirror image is missing"},
        {REAL "2 3 2\n1 2 1\n2 1 1\n", "found 2 x 3, expected W to be square"},
        {SYMM "2 3 1\n2 1 1\n", "expected a symmetric matrix to be square"},
        {SYMM "2 2 2\n1 2 1\n2 1 1\n", "stored twice"},
    };
    for (size_t i = 0; i < sizeof CASE / sizeof *CASE; ++i) {
        icd_csr *w = (icd_csr *)CASE;
        assert_fails(ctx, ICD_EDATA, CASE[i].message, decode(CASE[i].text, &w));
        assert_null(w);
    }
}

/* A cut inside the last digits of the last line cannot be seen; any other must be. */
static void test_cut_mtx(void **state)
{
    (void)state;
    static const char TEXT[] = SYMM "4 4 3\n2 1 1\n3 1 2\n4 3 3\n";
    for (size_t size = 0; size + 2 < sizeof TEXT - 1; ++size) {
        icd_csr *w = NULL;
        icd_status status = icd_i_csr_decode(ctx, TEXT, size, "W.mtx", &w);
        if (status != ICD_EDATA)
            fail_msg("%zu bytes give %s", size, icd_status_code(status));
        assert_null(w);
    }
}

static void test_diagonal_and_zeros_are_dropped(void **state)
{
    (void)state;
    icd_csr *w = NULL;
    warning[0] = 0;
    assert_ok(ctx, decode(SYMM "3 3 4\n1 1 5\n3 3 0\n2 1 1\n3 2 0\n", &w));
    assert_int_equal(w->nnz, 2);
    assert_non_null(strstr(warning, "dropped 2 diagonal entries and 2 stored zeros"));
    icd_csr_free(ctx, w);
    warning[0] = 0;
    assert_ok(ctx, decode(SYMM "3 3 1\n2 1 1\n", &w));
    assert_string_equal(warning, "");
    icd_csr_free(ctx, w);
}

/* What the npz cases vary. */
typedef struct parts {
    const char *format;
    int64_t shape[2], indptr[4], indices[4];
    double data[4];
    int32_t rows_1, nnz, values;
} parts;

static const parts SOUND = {
    "csr", {3, 3}, {0, 1, 3, 4}, {1, 0, 2, 1}, {.5, .5, .25, .25}, 4, 4, 4};

static icd_status read_parts(const parts *p, icd_csr **out)
{
    const char *path = icd_test_path("parts.npz");
    const icd_npz_member member[] = {
        {"indices", 'i', 8, 1, {p->nnz}, p->indices},
        {"indptr", 'i', 8, 1, {p->rows_1}, p->indptr},
        {"format", 'S', (int32_t)strlen(p->format), 0, {0}, p->format},
        {"shape", 'i', 8, 1, {2}, p->shape},
        {"data", 'f', 8, 1, {p->values}, p->data},
    };
    assert_ok(ctx, icd_i_npz_write(ctx, path, member, 5));
    return icd_csr_read(ctx, path, out);
}

static void test_wide_types_and_unsorted_rows(void **state)
{
    (void)state;
    icd_csr *w = NULL;
    parts p = SOUND;
    p.indices[1] = 2;
    p.indices[2] = 0;
    p.data[1] = .25;
    p.data[2] = .5;
    assert_ok(ctx, read_parts(&p, &w));
    assert_true(w->col[1] == 0 && w->val[1] == .5f && w->col[2] == 2 &&
                w->val[2] == .25f);
    icd_csr_free(ctx, w);
}

static void assert_parts_fail(parts p, const char *message)
{
    icd_csr *w = NULL;
    assert_fails(ctx, ICD_EDATA, message, read_parts(&p, &w));
    assert_null(w);
}

static void test_damaged_npz(void **state)
{
    (void)state;
    parts p = SOUND;
    assert_parts_fail((p.format = "csc", p), "expected 'csr'");
    p = SOUND;
    assert_parts_fail((p.shape[1] = 4, p), "found 3 x 4, expected W to be square");
    p = SOUND;
    assert_parts_fail((p.shape[0] = -3, p), "member shape.npy: found -3 x 3");
    p = SOUND;
    assert_parts_fail((p.shape[0] = p.shape[1] = 4, p),
                      "member indptr.npy: found 4 numbers");
    p = SOUND;
    assert_parts_fail((p.values = 3, p), "member data.npy: found 3 values for 4 indices");
    p = SOUND;
    assert_parts_fail((p.indptr[1] = 4, p), "member indptr.npy, element 2: found 3");
    p = SOUND;
    assert_parts_fail((p.indptr[3] = 3, p), "member indptr.npy, element 3");
    p = SOUND;
    assert_parts_fail((p.indptr[0] = -1, p), "member indptr.npy, element 0");
    p = SOUND;
    assert_parts_fail((p.indices[3] = 3, p), "found column 3, expected 0 to 2");
    p = SOUND;
    assert_parts_fail((p.indices[3] = -1, p), "found column -1");
    p = SOUND;
    assert_parts_fail((p.data[2] = NAN, p), "row 1, column 2: found value nan");
    p = SOUND;
    assert_parts_fail((p.data[2] = -INFINITY, p), "row 1, column 2: found value -inf");
    p = SOUND;
    assert_parts_fail((p.data[2] = -1, p), "row 1, column 2: found value -1");
    p = SOUND;
    assert_parts_fail((p.data[2] = 1e300, p), "row 1, column 2: found value 1e+300");
    p = SOUND;
    assert_parts_fail((p.indices[2] = 0, p),
                      "row 1, column 0: the entry is stored twice");
    p = SOUND;
    assert_parts_fail((p.data[3] = .3, p), "row 1, column 2: differs");
}

static void test_missing_member_and_cut_archive(void **state)
{
    (void)state;
    const icd_npz_member only = {"format", 'S', 3, 0, {0}, "csr"};
    const char *path = icd_test_path("part.npz");
    icd_csr *w = NULL;
    icd_rng rng;
    char *bytes = NULL;
    size_t size = 0;
    assert_ok(ctx, icd_i_npz_write(ctx, path, &only, 1));
    assert_fails(ctx, ICD_EDATA, "shape", icd_csr_read(ctx, path, &w));
    icd_i_rng_init(&rng, SEED, 3);
    icd_csr *sound = random_w(ctx, &rng, 12);
    assert_ok(ctx, icd_csr_write(ctx, sound, path));
    assert_ok(ctx, icd_i_file_read(ctx, path, &bytes, &size));
    for (size_t cut = 0; cut < size; cut += 13) {
        assert_int_equal(icd_i_csr_decode(ctx, bytes, cut, "W.npz", &w), ICD_EDATA);
        assert_null(w);
    }
    assert_fails(ctx, ICD_EIO, "absent",
                 icd_csr_read(ctx, icd_test_path("absent.npz"), &w));
    icd_i_free(ctx, bytes);
    icd_csr_free(ctx, sound);
}

static void test_meta(void **state)
{
    (void)state;
    const char *path = icd_test_path("W.meta.json"), *text = NULL;
    const icd_csr_meta meta = {"mock", 42, "mock", "none", 0, 7};
    icd_csr *w = NULL;
    json_t *object = NULL;
    int64_t value = 0;
    assert_ok(ctx, icd_csr_new(ctx, 5, 0, &w));
    assert_ok(ctx, icd_csr_write_meta(ctx, w, &meta, path));
    assert_ok(ctx, icd_i_json_read(ctx, path, &object));
    assert_ok(ctx, icd_i_json_int(ctx, object, "seed", path, 42, 42, &value));
    assert_ok(ctx, icd_i_json_int(ctx, object, "dropped_nnz", path, 7, 7, &value));
    assert_ok(ctx, icd_i_json_string(ctx, object, "format", path, &text));
    assert_string_equal(text, "csr");
    assert_int_equal(
        json_integer_value(json_array_get(json_object_get(object, "shape"), 1)), 5);
    json_decref(object);
    icd_csr_free(ctx, w);
}

static void test_access_matrix_is_no_w(void **state)
{
    (void)state;
    const char *path = icd_test_shared("use-lite-ffn0.access.npz");
    icd_csr *w = NULL;
    if (!path) skip_shared();
    assert_fails(ctx, ICD_EDATA, "found 12000 x 1536, expected W to be square",
                 icd_csr_read(ctx, path, &w));
}

static icd_status allocate(icd_ctx *c, void *arg)
{
    icd_csr *w = NULL;
    icd_status status;
    static const char TEXT[] = REAL "3 3 4\n2 3 1\n2 1 1\n1 2 1\n3 2 1\n";
    ICD_TRY(icd_i_csr_decode(c, TEXT, sizeof TEXT - 1, "W.mtx", &w));
    icd_csr_free(c, w);
    w = NULL;
    ICD_TRY(icd_csr_read(c, arg, &w));
    ICD_TRY(icd_csr_write(c, w, icd_test_path("failing-out.npz")));
done:
    icd_csr_free(c, w);
    return status;
}

static void test_failing_allocations(void **state)
{
    (void)state;
    icd_rng rng;
    char path[1024];
    icd_i_rng_init(&rng, SEED, 4);
    icd_csr *w = random_w(ctx, &rng, 6);
    snprintf(path, sizeof path, "%s", icd_test_path("failing.npz"));
    assert_ok(ctx, icd_csr_write(ctx, w, path));
    icd_csr_free(ctx, w);
    icd_test_failing_allocations(allocate, path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_npz_round_trip),
        cmocka_unit_test(test_mtx_round_trip),
        cmocka_unit_test(test_mtx_forms),
        cmocka_unit_test(test_damaged_mtx),
        cmocka_unit_test(test_cut_mtx),
        cmocka_unit_test(test_diagonal_and_zeros_are_dropped),
        cmocka_unit_test(test_wide_types_and_unsorted_rows),
        cmocka_unit_test(test_damaged_npz),
        cmocka_unit_test(test_missing_member_and_cut_archive),
        cmocka_unit_test(test_meta),
        cmocka_unit_test(test_access_matrix_is_no_w),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
