#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/npz.h"

static const int32_t INDEX[6] = {5, -4, 3, INT32_MIN, INT32_MAX, 0};
static const double REAL[4] = {0.1, -INFINITY, 1e-310, 3};

static icd_npz_member int_member(void)
{
    return (icd_npz_member){.name = "index",
                            .kind = 'i',
                            .item = 4,
                            .dims = 2,
                            .shape = {2, 3},
                            .data = INDEX};
}

static icd_npz_member real_member(void)
{
    return (icd_npz_member){
        .name = "real", .kind = 'f', .item = 8, .dims = 1, .shape = {4}, .data = REAL};
}

static const char *write_pair(icd_ctx *ctx, const char *name)
{
    const char *path = icd_test_path(name);
    icd_npz_member member[2] = {int_member(), real_member()};
    assert_ok(ctx, icd_i_npz_write(ctx, path, member, 2));
    return path;
}

static void round_trip(void **state)
{
    icd_ctx *ctx = *state;
    icd_npz *npz = NULL;
    icd_array a;
    assert_ok(ctx, icd_i_npz_open(ctx, write_pair(ctx, "pair.npz"), &npz));
    assert_true(icd_i_npz_has(npz, "index"));
    assert_false(icd_i_npz_has(npz, "inde"));
    assert_ok(ctx, icd_i_npz_get(ctx, npz, "index", &a));
    assert_int_equal(a.kind, 'i');
    assert_int_equal(a.item, 4);
    assert_int_equal(a.dims, 2);
    assert_int_equal(a.shape[1], 3);
    assert_int_equal(a.count, 6);
    assert_memory_equal(a.data, INDEX, sizeof INDEX);
    assert_int_equal(icd_i_array_int(&a, 3), INT32_MIN);
    icd_i_array_release(ctx, &a);
    assert_ok(ctx, icd_i_npz_get(ctx, npz, "real", &a));
    assert_memory_equal(a.data, REAL, sizeof REAL);
    assert_true(icd_i_array_real(&a, 0) == 0.1);
    icd_i_array_release(ctx, &a);
    icd_i_npz_close(ctx, npz);
}

static void same_arrays_same_bytes(void **state)
{
    icd_ctx *ctx = *state;
    char *a = NULL, *b = NULL;
    size_t n = 0, m = 0;
    assert_ok(ctx, icd_i_file_read(ctx, write_pair(ctx, "one.npz"), &a, &n));
    assert_ok(ctx, icd_i_file_read(ctx, write_pair(ctx, "two.npz"), &b, &m));
    assert_int_equal(n, m);
    assert_memory_equal(a, b, n);
    icd_i_free(ctx, a);
    icd_i_free(ctx, b);
}

static void empty_and_scalar_arrays(void **state)
{
    icd_ctx *ctx = *state;
    const char *path = icd_test_path("edge.npz");
    icd_npz *npz = NULL;
    icd_array a;
    icd_npz_member member[2] = {
        {.name = "none",
         .kind = 'f',
         .item = 4,
         .dims = 2,
         .shape = {0, 7},
         .data = NULL},
        {.name = "format", .kind = 'S', .item = 3, .dims = 0, .data = "csr"}};
    assert_ok(ctx, icd_i_npz_write(ctx, path, member, 2));
    assert_ok(ctx, icd_i_npz_open(ctx, path, &npz));
    assert_ok(ctx, icd_i_npz_get(ctx, npz, "none", &a));
    assert_int_equal(a.count, 0);
    assert_int_equal(a.shape[1], 7);
    icd_i_array_release(ctx, &a);
    assert_ok(ctx, icd_i_npz_get(ctx, npz, "format", &a));
    assert_int_equal(a.count, 1);
    assert_memory_equal(a.data, "csr", 3);
    assert_int_equal(icd_i_array_int(&a, 0), 0);
    icd_i_array_release(ctx, &a);
    icd_i_npz_close(ctx, npz);
}

/* An .npy image from a dictionary and data; version 1 or 2. */
static size_t image(unsigned char *out, int version, const char *dict, const void *data,
                    size_t bytes)
{
    size_t size = strlen(dict), at = version == 1 ? 10 : 12;
    memset(out, 0, at);
    memcpy(out, "\x93NUMPY", 6);
    out[6] = (unsigned char)version;
    out[8] = (unsigned char)(size & 255);
    out[9] = (unsigned char)(size >> 8);
    memcpy(out + at, dict, size);
    if (bytes) memcpy(out + at + size, data, bytes);
    return at + size + bytes;
}

static icd_status decode(icd_ctx *ctx, int version, const char *dict, const void *data,
                         size_t bytes, icd_array *a)
{
    unsigned char npy[1024];
    size_t size = image(npy, version, dict, data, bytes);
    return icd_i_npy_decode(ctx, npy, size, "x.npy", a);
}

static void decodes_every_number_type(void **state)
{
    static const struct {
        const char *descr;
        unsigned char bytes[8];
        size_t size;
        int64_t value;
        double real;
    } CASE[] = {
        {"<i2", {0xfe, 0xff}, 2, -2, -2},
        {">i2", {0xff, 0xfe}, 2, -2, -2},
        {">u2", {0xff, 0xfe}, 2, 65534, 65534},
        {"|i1", {0x80}, 1, -128, -128},
        {"<i8", {0, 0, 0, 0, 0, 0, 0, 0x80}, 8, INT64_MIN, -0x1p63},
        {">u8", {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 8, INT64_MAX, 0x1p64},
        {"|b1", {7}, 1, 1, 1},
        {"<f4", {0, 0, 0x20, 0xc0}, 4, -2, -2.5},
        {">f4", {0xc0, 0x20, 0, 0}, 4, -2, -2.5},
        {">f8", {0x7f, 0xf0}, 8, INT64_MAX, INFINITY},
        {"<f2", {0x00, 0xc5}, 2, -5, -5},
        {"<f2", {0x01, 0x00}, 2, 0, 0x1p-24},
        {"<f2", {0x00, 0x7c}, 2, INT64_MAX, INFINITY},
    };
    icd_ctx *ctx = *state;
    for (size_t i = 0; i < sizeof CASE / sizeof CASE[0]; i++) {
        char dict[128];
        icd_array a;
        snprintf(dict, sizeof dict,
                 "{'descr': '%s', 'fortran_order': False, 'shape': (), }\n",
                 CASE[i].descr);
        assert_ok(ctx, decode(ctx, 1, dict, CASE[i].bytes, CASE[i].size, &a));
        assert_int_equal(icd_i_array_int(&a, 0), CASE[i].value);
        assert_true(icd_i_array_real(&a, 0) == CASE[i].real);
        icd_i_array_release(ctx, &a);
    }
}

static void header_forms(void **state)
{
    icd_ctx *ctx = *state;
    icd_array a;
    assert_ok(ctx, decode(ctx, 2, "{\"shape\":(2L,),'fortran_order':True,'descr':'=i1'}",
                          "ab", 2, &a));
    assert_int_equal(a.count, 2);
    assert_true(a.fortran);
    icd_i_array_release(ctx, &a);
    assert_ok(ctx, decode(ctx, 3, "{'descr':'>U2','fortran_order':False,'shape':(1,)}",
                          "\0\0\0A\0\0\0B", 8, &a));
    assert_int_equal(a.item, 8);
    assert_int_equal(((const uint32_t *)a.data)[1], 'B');
    icd_i_array_release(ctx, &a);
}

static void refuses_bad_headers(void **state)
{
#define NPY(descr, shape)                                                                \
    "{'descr': " descr ", 'fortran_order': False, 'shape': " shape "}"
    static const struct {
        const char *dict, *text;
    } CASE[] = {
        {NPY("'|O'", "(1,)"), "pickle"},
        {NPY("[('a','<i4')]", "(1,)"), "structured dtype"},
        {NPY("'<c8'", "(1,)"), "unknown dtype"},
        {NPY("'<f16'", "(1,)"), "unknown dtype"},
        {NPY("'<i3'", "(1,)"), "unknown dtype"},
        {NPY("'|S0'", "(1,)"), "unknown dtype"},
        {NPY("'<U999999999999'", "(1,)"), "unknown dtype"},
        {NPY("''", "(1,)"), "unknown dtype"},
        {NPY("'<f4'", "(1,1,1,1,1)"), "four dimensions"},
        {NPY("'<f4'", "(-1,)"), "expected a size"},
        {NPY("'<f4'", "(99999999999999999999,)"), "below 2^63"},
        {NPY("'<f4'", "(4611686018427387904,4611686018427387904)"), "more than a file"},
        {NPY("'<f4'", "(2,)"), "found 4 bytes of data, expected 8 (2 of f4)"},
        {NPY("'<f4'", "()") " x", "nothing after"},
        {NPY("'<f4'", "(1"), "in the shape"},
        {"{'descr': '<f4', 'shape': (1,)}", "expected the keys"},
        {"{'descr': '<f4', 'descr': '<f4', 'shape': (1,)}", "twice"},
        {"{'order': 3}", "expected the keys"},
        {"{'fortran_order': Maybe}", "True or False"},
        {"", "expected '{'"},
    };
    icd_ctx *ctx = *state;
    for (size_t i = 0; i < sizeof CASE / sizeof CASE[0]; i++) {
        icd_array a;
        assert_fails(ctx, ICD_EDATA, CASE[i].text,
                     decode(ctx, 1, CASE[i].dict, "abcd", 4, &a));
        assert_null(a.data);
    }
}

static void errors_name_the_byte(void **state)
{
    icd_ctx *ctx = *state;
    icd_array a;
    decode(ctx, 1, NPY("'<f4'", "(x)"), NULL, 0, &a);
    assert_string_equal(icd_ctx_place(ctx), "x.npy: byte 61");
}

static void every_truncation_is_refused(void **state)
{
    icd_ctx *ctx = *state;
    unsigned char npy[256];
    size_t size = image(npy, 1, NPY("'<i4'", "(2,)"), INDEX, 8);
    for (size_t n = 0; n < size; n++) {
        icd_array a;
        void *exact = malloc(n ? n : 1); /* so that a sanitizer sees reads past the end */
        memcpy(exact, npy, n);
        assert_int_equal(icd_i_npy_decode(ctx, exact, n, "x.npy", &a), ICD_EDATA);
        free(exact);
    }
}

/* A whole file, changed by `change`, opened from memory; the status of reading "index".
 */
static icd_status get_index(icd_ctx *ctx, const void *bytes, size_t size)
{
    icd_npz *npz = NULL;
    icd_array a = {0};
    icd_status status = icd_i_npz_open_memory(ctx, bytes, size, "m.npz", &npz);
    if (status == ICD_OK) status = icd_i_npz_get(ctx, npz, "index", &a);
    icd_i_array_release(ctx, &a);
    icd_i_npz_close(ctx, npz);
    return status;
}

static void corrupt_data_names_the_member(void **state)
{
    icd_ctx *ctx = *state;
    char *bytes = NULL;
    size_t size = 0;
    assert_ok(ctx, icd_i_file_read(ctx, write_pair(ctx, "crc.npz"), &bytes, &size));
    assert_ok(ctx, get_index(ctx, bytes, size));
    char *data = memmem(bytes, size, INDEX, sizeof INDEX);
    assert_non_null(data);
    data[1] ^= 1;
    assert_fails(ctx, ICD_EDATA, "m.npz: member index.npy: damaged data",
                 get_index(ctx, bytes, size));
    icd_i_free(ctx, bytes);
}

static void truncated_archives(void **state)
{
    icd_ctx *ctx = *state;
    char *bytes = NULL;
    size_t size = 0;
    assert_ok(ctx, icd_i_file_read(ctx, write_pair(ctx, "cut.npz"), &bytes, &size));
    for (size_t n = 0; n < size; n += 7)
        assert_int_equal(get_index(ctx, bytes, n), ICD_EDATA);
    icd_i_free(ctx, bytes);
}

static void add_file(zip_t *zip, const char *name, const void *data, size_t size,
                     int method)
{
    zip_source_t *source = zip_source_buffer(zip, data, size, 0);
    int64_t index = zip_file_add(zip, name, source, ZIP_FL_ENC_UTF_8);
    assert_true(index >= 0);
    assert_int_equal(zip_set_file_compression(zip, (zip_uint64_t)index, method, 9), 0);
}

/* 4 MB of zeros deflated, with index's true array beside it. */
static const char *write_deflated(void)
{
    static unsigned char npy[1 << 22];
    const char *path = icd_test_path("deflated.npz");
    size_t head = image(npy, 1, NPY("'|i1'", "(4000000,)"), NULL, 0);
    zip_t *zip = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, NULL);
    assert_non_null(zip);
    add_file(zip, "index.npy", npy, head + 4000000, ZIP_CM_DEFLATE);
    assert_int_equal(zip_close(zip), 0);
    return path;
}

static void lying_sizes_allocate_nothing(void **state)
{
    icd_ctx *ctx = *state;
    char *bytes = NULL;
    size_t size = 0;
    assert_ok(ctx, icd_i_file_read(ctx, write_deflated(), &bytes, &size));
    assert_ok(ctx, get_index(ctx, bytes, size));
    char *central = memmem(bytes, size, "PK\1\2", 4);
    assert_non_null(central);
    const unsigned char HUGE[4] = {0, 0, 0,
                                   0x7f}; /* 2 GB in the directory and the local header */
    memcpy(central + 24, HUGE, 4);
    memcpy(bytes + 22, HUGE, 4);
    assert_fails(ctx, ICD_EDATA, "can expand to", get_index(ctx, bytes, size));
    const unsigned char SMALL[4] = {0, 1, 0, 0}; /* 256 bytes */
    memcpy(central + 24, SMALL, 4);
    memcpy(bytes + 22, SMALL, 4);
    assert_fails(ctx, ICD_EDATA, "of data, expected 4000000",
                 get_index(ctx, bytes, size));
    icd_i_free(ctx, bytes);
}

static void unfit_archives(void **state)
{
    icd_ctx *ctx = *state;
    icd_npz *npz = NULL;
    icd_array a;
    assert_fails(ctx, ICD_EIO, "none.npz",
                 icd_i_npz_open(ctx, icd_test_path("none.npz"), &npz));
    assert_null(npz);
    assert_fails(ctx, ICD_EDATA, "m.npz: not an .npz archive",
                 icd_i_npz_open_memory(ctx, "PK", 2, "m.npz", &npz));
    assert_fails(ctx, ICD_EDATA, "m.npz: not an .npz archive",
                 icd_i_npz_open_memory(ctx, "", 0, "m.npz", &npz));
    assert_ok(ctx, icd_i_npz_open(ctx, write_pair(ctx, "p.npz"), &npz));
    assert_fails(ctx, ICD_EDATA, "no member 'indptr.npy'",
                 icd_i_npz_get(ctx, npz, "indptr", &a));
    assert_null(a.data);
    icd_i_npz_close(ctx, npz);
    icd_i_npz_close(ctx, NULL);
}

static void npy_files(void **state)
{
    icd_ctx *ctx = *state;
    const char *path = icd_test_path("x.npy");
    icd_npz_member member = int_member();
    char *bytes = NULL;
    size_t size = 0;
    icd_array a;
    assert_ok(ctx, icd_i_npy_write(ctx, path, &member));
    assert_ok(ctx, icd_i_file_read(ctx, path, &bytes, &size));
    assert_int_equal(size, 128 + sizeof INDEX);
    assert_ok(ctx, icd_i_npy_decode(ctx, bytes, size, path, &a));
    assert_memory_equal(a.data, INDEX, sizeof INDEX);
    icd_i_array_release(ctx, &a);
    icd_i_free(ctx, bytes);
}

/* The seeds of fuzz/ were written by NumPy (fuzz/make_seeds.py). */
static char *numpy_file(icd_ctx *ctx, const char *name, size_t *size)
{
    char path[1024], *bytes = NULL;
    snprintf(path, sizeof path, ICD_SOURCE_DIR "/fuzz/corpus/npz/%s", name);
    assert_ok(ctx, icd_i_file_read(ctx, path, &bytes, size));
    return bytes;
}

static void reads_numpy_arrays(void **state)
{
    static const struct {
        const char *name;
        char kind;
        int32_t item, dims;
        bool fortran;
        double last;
    } CASE[] = {
        {"i2-big-endian.npy", 'i', 2, 2, false, 4},
        {"f8-fortran.npy", 'f', 8, 2, true, 1},
        {"f2-v2.npy", 'f', 2, 1, false, NAN},
        {"bool-scalar.npy", 'b', 1, 0, false, 1},
        {"text-v3.npy", 'U', 16, 1, false, 0},
    };
    icd_ctx *ctx = *state;
    for (size_t i = 0; i < sizeof CASE / sizeof CASE[0]; i++) {
        size_t size = 0;
        icd_array a;
        char *bytes = numpy_file(ctx, CASE[i].name, &size);
        assert_ok(ctx, icd_i_npy_decode(ctx, bytes, size, CASE[i].name, &a));
        double last = icd_i_array_real(&a, a.count - 1);
        assert_int_equal(a.kind, CASE[i].kind);
        assert_int_equal(a.item, CASE[i].item);
        assert_int_equal(a.dims, CASE[i].dims);
        assert_int_equal(a.fortran, CASE[i].fortran);
        assert_true(last == CASE[i].last || (isnan(last) && isnan(CASE[i].last)));
        icd_i_array_release(ctx, &a);
        icd_i_free(ctx, bytes);
    }
}

static void reads_numpy_archives(void **state)
{
    static const char *const NAME[] = {"csr-stored.npz", "csr-deflated.npz"};
    icd_ctx *ctx = *state;
    for (int i = 0; i < 2; i++) {
        size_t size = 0;
        icd_npz *npz = NULL;
        icd_array a;
        char *bytes = numpy_file(ctx, NAME[i], &size);
        assert_ok(ctx, icd_i_npz_open_memory(ctx, bytes, size, NAME[i], &npz));
        assert_ok(ctx, icd_i_npz_get(ctx, npz, "data", &a));
        assert_int_equal(a.count, 3);
        assert_true(icd_i_array_real(&a, 2) == 0.25);
        icd_i_array_release(ctx, &a);
        assert_ok(ctx, icd_i_npz_get(ctx, npz, "format", &a));
        assert_memory_equal(a.data, "csr", 3);
        icd_i_array_release(ctx, &a);
        icd_i_npz_close(ctx, npz);
        icd_i_free(ctx, bytes);
    }
}

static icd_status write_and_read(icd_ctx *ctx, void *arg)
{
    icd_npz *npz = NULL;
    icd_array a = {0};
    icd_npz_member member[2] = {int_member(), real_member()};
    icd_status status;
    ICD_TRY(icd_i_npz_write(ctx, arg, member, 2));
    ICD_TRY(icd_i_npz_open(ctx, arg, &npz));
    ICD_TRY(icd_i_npz_get(ctx, npz, "real", &a));
done:
    icd_i_array_release(ctx, &a);
    icd_i_npz_close(ctx, npz);
    return status;
}

static void failing_allocations(void **state)
{
    (void)state;
    char path[1024];
    snprintf(path, sizeof path, "%s", icd_test_path("fail.npz"));
    icd_test_failing_allocations(write_and_read, path);
}

static int setup(void **state)
{
    *state = icd_ctx_new(NULL);
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    icd_ctx_free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(same_arrays_same_bytes),
        cmocka_unit_test(empty_and_scalar_arrays),
        cmocka_unit_test(decodes_every_number_type),
        cmocka_unit_test(header_forms),
        cmocka_unit_test(refuses_bad_headers),
        cmocka_unit_test(errors_name_the_byte),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(corrupt_data_names_the_member),
        cmocka_unit_test(truncated_archives),
        cmocka_unit_test(lying_sizes_allocate_nothing),
        cmocka_unit_test(unfit_archives),
        cmocka_unit_test(npy_files),
        cmocka_unit_test(reads_numpy_arrays),
        cmocka_unit_test(reads_numpy_archives),
        cmocka_unit_test(failing_allocations),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
