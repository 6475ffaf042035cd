/* Files that read back as they were written, and one damaged file per message. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include <icd/model.h>

/* A file of a header and `data` bytes; the length can be made to lie. */
static const char *image(icd_ctx *ctx, const char *header, size_t data, int64_t lie)
{
    static unsigned char bytes[8192];
    const char *path = icd_test_path("image.safetensors");
    size_t n = strlen(header);
    uint64_t claimed = (uint64_t)((int64_t)n + lie);
    for (int i = 0; i < 8; ++i) bytes[i] = (unsigned char)(claimed >> 8 * i);
    memcpy(bytes + 8, header, n);
    for (size_t i = 0; i < data; ++i) bytes[8 + n + i] = (unsigned char)(i * 37 + 1);
    assert_ok(ctx, icd_i_file_write(ctx, path, bytes, 8 + n + data));
    return path;
}

static void refuse(icd_ctx *ctx, const char *text, const char *header, size_t data)
{
    icd_safetensors *file = NULL;
    assert_fails(ctx, ICD_EDATA, text,
                 icd_safetensors_open(ctx, image(ctx, header, data, 0), &file));
    assert_null(file);
    assert_non_null(strstr(icd_ctx_message(ctx), "image.safetensors"));
}

#define ENTRY(dtype, shape, begin, end)                                                  \
    "{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" #begin "," #end  \
    "]}"
#define ONE(dtype, shape, begin, end) "{\"a\":" ENTRY(dtype, shape, begin, end) "}"

static void lying_lengths(void **state)
{
    icd_ctx *ctx = *state;
    icd_safetensors *file = NULL;
    const char *good = ONE("F32", "2", 0, 8);
    assert_fails(ctx, ICD_EDATA, "the file has",
                 icd_safetensors_open(ctx, image(ctx, good, 8, 9), &file));
    assert_fails(ctx, ICD_EDATA, "expected at most 100000000",
                 icd_safetensors_open(ctx, image(ctx, good, 8, 200000000), &file));
    assert_fails(ctx, ICD_EDATA, "expected at most",
                 icd_safetensors_open(ctx, image(ctx, good, 8, -1000), &file));
    assert_fails(ctx, ICD_EDATA, "not JSON",
                 icd_safetensors_open(ctx, image(ctx, good, 8, -1), &file));
    assert_fails(ctx, ICD_EDATA, "not JSON",
                 icd_safetensors_open(ctx, image(ctx, good, 8, 1), &file));
    const char *path = icd_test_path("short.safetensors");
    assert_ok(ctx, icd_i_file_write(ctx, path, "1234567", 7));
    assert_fails(ctx, ICD_EDATA, "found 7 bytes", icd_safetensors_open(ctx, path, &file));
    assert_ok(ctx, icd_i_file_write(ctx, path, "", 0));
    assert_fails(ctx, ICD_EDATA, "found 0 bytes", icd_safetensors_open(ctx, path, &file));
    assert_fails(ctx, ICD_EIO, "absent",
                 icd_safetensors_open(ctx, icd_test_path("absent"), &file));
    assert_null(file);
}

static void broken_entries(void **state)
{
    icd_ctx *ctx = *state;
    refuse(ctx, "no JSON object", "[]", 0);
    refuse(ctx, "tensor 'a': its entry is no object", "{\"a\":3}", 0);
    refuse(ctx, "tensor 'a': no text 'dtype'", "{\"a\":{}}", 0);
    refuse(ctx, "unknown dtype 'F31'", ONE("F31", "2", 0, 8), 8);
    refuse(ctx, "no list 'shape'", "{\"a\":{\"dtype\":\"U8\",\"shape\":4}}", 0);
    refuse(ctx, "no 'data_offsets'", "{\"a\":{\"dtype\":\"U8\",\"shape\":[4]}}", 4);
    refuse(ctx, "no 'data_offsets'",
           "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4.0]}}", 4);
    refuse(ctx, "no 'data_offsets'",
           "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,2,4]}}", 4);
    refuse(ctx, "duplicate",
           "{\"a\":" ENTRY("U8", "2", 0, 2) ",\"a\":" ENTRY("U8", "2", 2, 4) "}", 4);
    refuse(ctx, "'__metadata__' is no object", "{\"__metadata__\":3}", 0);
    refuse(ctx, "'format' is no text", "{\"__metadata__\":{\"format\":3}}", 0);
}

static void impossible_shapes(void **state)
{
    icd_ctx *ctx = *state;
    refuse(ctx, "tensor 'a': 'shape' holds no size", ONE("F32", "-2", 0, 8), 8);
    refuse(ctx, "holds no size", ONE("F32", "2.5", 0, 8), 8);
    refuse(ctx, "holds no size", ONE("F32", "true", 0, 8), 8);
    refuse(ctx, "more than 8 dimensions", ONE("F32", "1,1,1,1,1,1,1,1,2", 0, 8), 8);
    refuse(ctx, "overflows", ONE("F32", "4611686018427387904,4", 0, 8), 8);
    refuse(ctx, "its shape needs", ONE("F64", "4611686018427387904", 0, 8), 8);
    refuse(ctx, "it has 8 bytes of data, its shape needs 3 x 4", ONE("F32", "3", 0, 8),
           8);
    refuse(ctx, "not JSON", ONE("F32", "99999999999999999999", 0, 8), 8);
}

static void misplaced_data(void **state)
{
    icd_ctx *ctx = *state;
    refuse(ctx, "its data is bytes 0 to 12, the file has 8", ONE("F32", "3", 0, 12), 8);
    refuse(ctx, "its data is bytes 8 to 0", ONE("F32", "2", 8, 0), 8);
    refuse(ctx, "its data is bytes -4", ONE("F32", "3", -4, 8), 8);
    refuse(ctx, "its tensors end at byte 8 of 9", ONE("F32", "2", 0, 8), 9);
    refuse(ctx, "tensor 'a': there are bytes before", ONE("F32", "1", 4, 8), 8);
    refuse(ctx, "tensor 'b': its data overlaps",
           "{\"a\":" ENTRY("U8", "4", 0, 4) ",\"b\":" ENTRY("U8", "4", 2, 6) "}", 6);
    refuse(ctx, "overlaps",
           "{\"b\":" ENTRY("U8", "4", 0, 4) ",\"a\":" ENTRY("U8", "4", 0, 4) "}", 4);
}

static void empty_and_scalar(void **state)
{
    icd_ctx *ctx = *state;
    icd_safetensors *file = NULL;
    assert_ok(ctx, icd_safetensors_open(ctx, image(ctx, "{}", 0, 0), &file));
    assert_int_equal(icd_safetensors_count(file), 0);
    assert_null(icd_safetensors_get(file, "a"));
    icd_safetensors_close(ctx, file);
    const char *header =
        "{\"s\":" ENTRY("I8", "", 0, 1) ",\"none\":" ENTRY("F32", "0,7", 1, 1) "}";
    assert_ok(ctx, icd_safetensors_open(ctx, image(ctx, header, 1, 0), &file));
    assert_int_equal(icd_safetensors_count(file), 2);
    assert_string_equal(icd_safetensors_at(file, 0)->name, "none");
    assert_int_equal(icd_safetensors_get(file, "none")->count, 0);
    assert_int_equal(icd_safetensors_get(file, "s")->count, 1);
    assert_int_equal(icd_safetensors_get(file, "s")->dims, 0);
    icd_safetensors_close(ctx, file);
}

/* A float at an odd byte of the file must still be readable as a float. */
static void misaligned_data_is_copied(void **state)
{
    icd_ctx *ctx = *state;
    icd_safetensors *file = NULL;
    const char *header =
        "{\"a\":" ENTRY("U8", "1", 0, 1) ",\"b\":" ENTRY("F64", "1", 1, 9) "}";
    assert_ok(ctx, icd_safetensors_open(ctx, image(ctx, header, 9, 0), &file));
    const icd_tensor *b = icd_safetensors_get(file, "b");
    assert_int_equal((uintptr_t)b->data % 8, 0);
    for (int i = 0; i < 8; ++i)
        assert_int_equal(((const unsigned char *)b->data)[i],
                         (unsigned char)((i + 1) * 37 + 1));
    icd_safetensors_close(ctx, file);
}

static const float REAL[6] = {0, -1.5f, 3e38f, 1e-40f, INFINITY, 7};
static const int64_t WHOLE[2] = {INT64_MIN, 5};
static const uint16_t HALF[5] = {0x3c00, 0x8001, 0x7bff, 0xfc00, 0x8000};

static void three(icd_tensor t[3])
{
    t[0] = (icd_tensor){"w", ICD_F32, 2, {2, 3}, 6, REAL};
    t[1] = (icd_tensor){"a.half", ICD_F16, 1, {5}, 5, HALF};
    t[2] = (icd_tensor){"ids \"\xc3\xa9\"", ICD_I64, 1, {2}, 2, WHOLE};
}

static void round_trip(void **state)
{
    icd_ctx *ctx = *state;
    icd_tensor t[3];
    icd_safetensors *file = NULL;
    const char *path = icd_test_path("round.safetensors");
    static const char *const META[] = {"format", "pt", NULL};
    three(t);
    assert_ok(ctx, icd_safetensors_write(ctx, path, t, 3, META));
    assert_ok(ctx, icd_safetensors_open(ctx, path, &file));
    assert_int_equal(icd_safetensors_count(file), 3);
    for (int i = 0; i < 3; ++i) {
        const icd_tensor *found = icd_safetensors_get(file, t[i].name);
        assert_non_null(found);
        assert_int_equal(found->dtype, t[i].dtype);
        assert_int_equal(found->dims, t[i].dims);
        assert_memory_equal(found->shape, t[i].shape, sizeof t[i].shape);
        assert_memory_equal(found->data, t[i].data,
                            (size_t)(t[i].count * icd_dtype_size(t[i].dtype)));
    }
    icd_safetensors_close(ctx, file);
}

static void same_tensors_same_bytes(void **state)
{
    icd_ctx *ctx = *state;
    icd_tensor t[3], swapped;
    char *one = NULL, *two = NULL;
    size_t n = 0, m = 0;
    const char *a = icd_test_path("a.safetensors"), *b = icd_test_path("b.safetensors");
    three(t);
    assert_ok(ctx, icd_safetensors_write(ctx, a, t, 3, NULL));
    swapped = t[0], t[0] = t[2], t[2] = swapped;
    assert_ok(ctx, icd_safetensors_write(ctx, b, t, 3, NULL));
    assert_ok(ctx, icd_i_file_read(ctx, a, &one, &n));
    assert_ok(ctx, icd_i_file_read(ctx, b, &two, &m));
    assert_int_equal(n, m);
    assert_memory_equal(one, two, n);
    assert_int_equal((unsigned char)one[0] % 8, 0);
    icd_i_free(ctx, one);
    icd_i_free(ctx, two);
}

/* Names would put the halves first, and every wider tensor behind them off its place. */
static void wide_tensors_are_written_first(void **state)
{
    icd_ctx *ctx = *state;
    icd_tensor t[3];
    char *text = NULL;
    size_t size = 0;
    const char *path = icd_test_path("order.safetensors");
    three(t);
    assert_ok(ctx, icd_safetensors_write(ctx, path, t, 3, NULL));
    assert_ok(ctx, icd_i_file_read(ctx, path, &text, &size));
    const char *header = text + 8;
    assert_non_null(strstr(header, "\"data_offsets\":[0,16],\"dtype\":\"I64\""));
    assert_non_null(strstr(header, "\"data_offsets\":[16,40],\"dtype\":\"F32\""));
    assert_non_null(strstr(header, "\"data_offsets\":[40,50],\"dtype\":\"F16\""));
    icd_i_free(ctx, text);
}

static void unwritable(void **state)
{
    icd_ctx *ctx = *state;
    icd_tensor t[3];
    const char *path = icd_test_path("twice.safetensors");
    three(t);
    t[1].name = t[0].name;
    assert_fails(ctx, ICD_EINVAL, "tensor 'w' twice",
                 icd_safetensors_write(ctx, path, t, 3, NULL));
    t[1].name = "\xff";
    assert_fails(ctx, ICD_EINVAL, "no UTF-8",
                 icd_safetensors_write(ctx, path, t, 3, NULL));
    assert_false(icd_i_file_exists(path));
    assert_ok(ctx, icd_safetensors_write(ctx, path, NULL, 0, NULL));
}

static void to_f32(void **state)
{
    icd_ctx *ctx = *state;
    float out[6];
    icd_tensor t[3];
    const uint16_t brain[2] = {0x3f80, 0xc2f7};
    const double wide[2] = {0.1, -1e300};
    three(t);
    assert_ok(ctx, icd_tensor_to_f32(ctx, &t[1], out));
    assert_true(out[0] == 1 && out[1] == -0x1p-24f && out[2] == 65504);
    assert_true(isinf(out[3]) && out[3] < 0 && out[4] == 0 && signbit(out[4]));
    assert_ok(ctx, icd_tensor_to_f32(ctx, &t[0], out));
    assert_memory_equal(out, REAL, sizeof REAL);
    icd_tensor b = {"b", ICD_BF16, 1, {2}, 2, brain}, d = {"d", ICD_F64, 1, {2}, 2, wide};
    assert_ok(ctx, icd_tensor_to_f32(ctx, &b, out));
    assert_true(out[0] == 1 && out[1] == -123.5f);
    assert_ok(ctx, icd_tensor_to_f32(ctx, &d, out));
    assert_true(out[0] == 0.1f && isinf(out[1]));
    assert_fails(ctx, ICD_EINVAL, "found dtype I64", icd_tensor_to_f32(ctx, &t[2], out));
}

/* All 65536 halves against their definition. */
static void every_half(void **state)
{
    icd_ctx *ctx = *state;
    for (uint32_t h = 0; h < 65536; ++h) {
        uint16_t half = (uint16_t)h;
        float out;
        icd_tensor t = {"h", ICD_F16, 0, {0}, 1, &half};
        int exponent = half >> 10 & 31;
        double value = exponent ? ldexp(1024 + (half & 1023), exponent - 25)
                                : ldexp(half & 1023, -24);
        assert_ok(ctx, icd_tensor_to_f32(ctx, &t, &out));
        if (exponent == 31)
            assert_true(half & 1023 ? isnan(out) : isinf(out));
        else
            assert_true((double)out == (half >> 15 ? -value : value));
        assert_int_equal(signbit(out) != 0, half >> 15);
    }
}

static void write_text(icd_ctx *ctx, const char *path, const char *text)
{
    assert_ok(ctx, icd_i_file_write(ctx, path, text, strlen(text)));
}

static void shards(void **state)
{
    icd_ctx *ctx = *state;
    icd_tensor t[3];
    icd_safetensors *file = NULL;
    const char *index = icd_test_path("model.safetensors.index.json");
    three(t);
    assert_ok(ctx,
              icd_safetensors_write(ctx, icd_test_path("s1.safetensors"), t, 1, NULL));
    assert_ok(
        ctx, icd_safetensors_write(ctx, icd_test_path("s2.safetensors"), t + 1, 1, NULL));
    write_text(
        ctx, index,
        "{\"weight_map\":{\"w\":\"s1.safetensors\",\"a.half\":\"s2.safetensors\"}}");
    assert_ok(ctx, icd_safetensors_open(ctx, index, &file));
    assert_int_equal(icd_safetensors_count(file), 2);
    assert_memory_equal(icd_safetensors_get(file, "w")->data, REAL, sizeof REAL);
    icd_safetensors_close(ctx, file);
}

static void refuse_index(icd_ctx *ctx, icd_status status, const char *text,
                         const char *content)
{
    icd_safetensors *file = NULL;
    const char *index = icd_test_path("bad.index.json");
    write_text(ctx, index, content);
    assert_fails(ctx, status, text, icd_safetensors_open(ctx, index, &file));
    assert_null(file);
}

static void broken_shards(void **state)
{
    icd_ctx *ctx = *state;
    icd_tensor t[3];
    three(t);
    assert_ok(ctx,
              icd_safetensors_write(ctx, icd_test_path("t1.safetensors"), t, 1, NULL));
    assert_ok(ctx,
              icd_safetensors_write(ctx, icd_test_path("t2.safetensors"), t, 2, NULL));
    refuse_index(ctx, ICD_EDATA, "weight_map", "{}");
    refuse_index(ctx, ICD_EDATA, "something else", "{\"weight_map\":{\"w\":3}}");
    refuse_index(ctx, ICD_EDATA, "expected a name in the same folder",
                 "{\"weight_map\":{\"w\":\"../t1.safetensors\"}}");
    refuse_index(ctx, ICD_EDATA, "expected a name in the same folder",
                 "{\"weight_map\":{\"w\":\"..\"}}");
    refuse_index(ctx, ICD_EDATA, "expected a name in the same folder",
                 "{\"weight_map\":{\"w\":\"/etc/passwd\"}}");
    refuse_index(ctx, ICD_EIO, "t3.safetensors",
                 "{\"weight_map\":{\"w\":\"t3.safetensors\"}}");
    refuse_index(ctx, ICD_EDATA, "tensor 'x' is not in 't1.safetensors'",
                 "{\"weight_map\":{\"x\":\"t1.safetensors\"}}");
    refuse_index(
        ctx, ICD_EDATA, "tensor 'w' twice",
        "{\"weight_map\":{\"w\":\"t1.safetensors\",\"a.half\":\"t2.safetensors\"}}");
}

static icd_status write_and_open(icd_ctx *ctx, void *arg)
{
    icd_tensor t[3];
    icd_safetensors *file = NULL;
    three(t);
    icd_status status = icd_safetensors_write(ctx, arg, t, 3, NULL);
    if (status == ICD_OK) status = icd_safetensors_open(ctx, arg, &file);
    if (status != ICD_OK) assert_null(file);
    icd_safetensors_close(ctx, file);
    return status;
}

static icd_status open_only(icd_ctx *ctx, void *arg)
{
    icd_safetensors *file = NULL;
    icd_status status = icd_safetensors_open(ctx, arg, &file);
    icd_safetensors_close(ctx, file);
    return status;
}

static void memory_short(void **state)
{
    char path[512];
    snprintf(path, sizeof path, "%s", icd_test_path("memory.safetensors"));
    icd_test_failing_allocations(write_and_open, path);
    const char *odd =
        "{\"a\":" ENTRY("U8", "1", 0, 1) ",\"b\":" ENTRY("F64", "1", 1, 9) "}";
    snprintf(path, sizeof path, "%s", image(*state, odd, 9, 0));
    icd_test_failing_allocations(open_only, path);
    shards(state);
    snprintf(path, sizeof path, "%s", icd_test_path("model.safetensors.index.json"));
    icd_test_failing_allocations(open_only, path);
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
        cmocka_unit_test(lying_lengths),
        cmocka_unit_test(broken_entries),
        cmocka_unit_test(impossible_shapes),
        cmocka_unit_test(misplaced_data),
        cmocka_unit_test(empty_and_scalar),
        cmocka_unit_test(misaligned_data_is_copied),
        cmocka_unit_test(round_trip),
        cmocka_unit_test(same_tensors_same_bytes),
        cmocka_unit_test(wide_tensors_are_written_first),
        cmocka_unit_test(unwritable),
        cmocka_unit_test(to_f32),
        cmocka_unit_test(every_half),
        cmocka_unit_test(shards),
        cmocka_unit_test(broken_shards),
        cmocka_unit_test(memory_short),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
