/* Packed matrices: what is written is read back bit for bit, and damage is refused. */
#include "synthetic.h"

#include "core/mask.h"

#include <icd/packed.h>

#include <math.h>

#include "fixture.h"

enum { ROWS = 6, COLS = 12, VECTOR = 4, GROUP = 4 };

static const char TENSOR[] = "layer.0.ffn.w1", BIAS[] = "layer.0.ffn.b1";

/* A block file whose first matrix is [ROWS x COLS] with values of both signs. */
static void write_block(const char *path)
{
    static float w1[ROWS * COLS], b1[ROWS], w2[COLS * ROWS], b2[COLS];
    const icd_tensor tensor[] = {
        {TENSOR, ICD_F32, 2, {ROWS, COLS}, ROWS * COLS, w1},
        {BIAS, ICD_F32, 1, {ROWS}, ROWS, b1},
        {"layer.0.ffn.w2", ICD_F32, 2, {COLS, ROWS}, ROWS * COLS, w2},
        {"layer.0.ffn.b2", ICD_F32, 1, {COLS}, COLS, b2},
    };
    for (int i = 0; i < ROWS * COLS; i++) w1[i] = sinf((float)(3 * i + 1));
    assert_ok(ctx, icd_safetensors_write(ctx, path, tensor, 4, NULL));
}

typedef struct trip {
    icd_model *source, *back;
    icd_mask *mask;
    icd_quantized *quant;
    icd_perm *order;
    float *masked;
} trip;

static void make_mask(icd_ctx *c, int32_t vector, icd_mask **mask)
{
    assert_ok(c, icd_i_mask_new(c, ROWS, COLS, vector, mask));
    for (int64_t b = 0; b < (*mask)->blocks; b++)
        for (int64_t i = 0; i < COLS; i++)
            if ((b + i) % 3) icd_i_mask_set(*mask, b, i);
}

static void quantize(trip *t, int32_t dtype, int32_t group)
{
    icd_matrix w = {TENSOR, t->masked, ROWS, COLS};
    assert_ok(ctx, icd_model_tensor_f32(ctx, t->source, TENSOR, &t->masked));
    for (int64_t r = 0; t->mask && r < ROWS; r++)
        for (int64_t i = 0; i < COLS; i++)
            if (!icd_i_mask_get(t->mask, r / t->mask->vector, i))
                t->masked[r * COLS + i] = 0;
    w.w = t->masked;
    if (dtype != ICD_WEIGHT_F32)
        assert_ok(ctx, icd_quantize_matrix(ctx, &w, dtype, group, &t->quant));
}

static icd_status write_and_open(icd_ctx *c, trip *t)
{
    icd_packed p = {TENSOR, t->mask, t->quant, t->order};
    icd_replacement with = {TENSOR, t->masked};
    icd_model *model = NULL;
    icd_status status = icd_model_replace(c, t->source, &with, 1, &model);
    if (status == ICD_OK)
        status = icd_model_write_packed(c, model, &p, 1, "", icd_test_path("out"));
    icd_model_free(c, model);
    if (status == ICD_OK) status = icd_model_open(c, icd_test_path("out"), &t->back);
    return status;
}

static void free_trip(trip *t)
{
    icd_model_free(ctx, t->back);
    icd_model_free(ctx, t->source);
    icd_i_mask_free(ctx, t->mask);
    icd_quantized_free(ctx, t->quant);
    icd_perm_free(ctx, t->order);
    icd_mem_free(ctx, t->masked);
}

static void compare(const trip *t)
{
    float row[COLS];
    const icd_packed *p = icd_model_packed(t->back, TENSOR);
    const float *dense = icd_model_tensor(t->back, TENSOR)->data;
    assert_non_null(p);
    assert_null(icd_model_packed(t->back, "layer.0.ffn.w2"));
    assert_int_equal(!p->mask, !t->mask);
    assert_int_equal(!p->quant, !t->quant);
    if (t->mask)
        assert_memory_equal(p->mask->bits, t->mask->bits,
                            (size_t)(t->mask->blocks * t->mask->words) * 8);
    for (int64_t r = 0; r < ROWS; r++) {
        memcpy(row, t->masked + r * COLS, sizeof row);
        if (t->quant) icd_quantized_row(t->quant, r, row);
        assert_memory_equal(row, dense + r * COLS, sizeof row);
    }
    if (t->quant && t->quant->q)
        assert_memory_equal(p->quant->q, t->quant->q, ROWS * COLS);
    if (t->order)
        assert_memory_equal(p->order->old_of_new, t->order->old_of_new,
                            COLS * sizeof(int32_t));
}

static void every_type_comes_back_bit_for_bit(void **state)
{
    static const int32_t VECTORS[] = {0, 1, VECTOR};
    (void)state;
    write_block(icd_test_path("block.safetensors"));
    for (int32_t dtype = 0; dtype < ICD_WEIGHT_DTYPES; dtype++)
        for (int v = 0; v < 3; v++)
            for (int32_t group = 0; group <= GROUP; group += GROUP) {
                trip t = {0};
                assert_ok(ctx, icd_model_open(ctx, icd_test_path("block.safetensors"),
                                              &t.source));
                if (VECTORS[v]) make_mask(ctx, VECTORS[v], &t.mask);
                quantize(&t, dtype, dtype == ICD_WEIGHT_BF16 ? 0 : group);
                assert_ok(ctx, write_and_open(ctx, &t));
                compare(&t);
                free_trip(&t);
            }
}

/* Outliers lie apart from the values; what is masked of them counts as stored. */
static void outliers_and_scales_come_back(void **state)
{
    static const int32_t LIST[] = {1, 4, 11};
    static const int32_t TYPE[] = {ICD_WEIGHT_INT8, ICD_WEIGHT_INT4, ICD_WEIGHT_FP8_E4M3};
    (void)state;
    write_block(icd_test_path("block.safetensors"));
    for (int d = 0; d < 3; d++)
        for (int32_t vector = 0; vector <= VECTOR; vector += VECTOR) {
            trip t = {0};
            assert_ok(ctx,
                      icd_model_open(ctx, icd_test_path("block.safetensors"), &t.source));
            if (vector) make_mask(ctx, vector, &t.mask);
            quantize(&t, TYPE[d], 0);
            assert_ok(ctx, icd_quantized_widen(ctx, t.quant, t.masked, LIST, 3));
            t.quant->input_scale = .1f;
            assert_ok(ctx, write_and_open(ctx, &t));
            compare(&t);
            const icd_quantized *q = icd_model_packed(t.back, TENSOR)->quant;
            assert_int_equal(q->outliers, 3);
            assert_memory_equal(q->outlier, LIST, sizeof LIST);
            assert_memory_equal(q->wide, t.quant->wide, ROWS * 3 * sizeof *q->wide);
            assert_true(q->input_scale == .1f);
            free_trip(&t);
        }
}

static void orders_come_back(void **state)
{
    int32_t reversed[COLS];
    trip t = {0};
    (void)state;
    for (int32_t i = 0; i < COLS; i++) reversed[i] = COLS - 1 - i;
    write_block(icd_test_path("block.safetensors"));
    assert_ok(ctx, icd_model_open(ctx, icd_test_path("block.safetensors"), &t.source));
    assert_ok(ctx, icd_perm_from_array(ctx, reversed, COLS, ICD_FRAME_CHECKPOINT, "test",
                                       &t.order));
    quantize(&t, ICD_WEIGHT_INT8, GROUP);
    assert_ok(ctx, write_and_open(ctx, &t));
    assert_memory_equal(icd_model_packed(t.back, TENSOR)->quant->order, reversed,
                        sizeof reversed);
    free_trip(&t);
}

/* Writes the parts of one packed matrix as they are given. */
static void write_parts(const char *about, const icd_tensor *tensor, int64_t count)
{
    const char *metadata[] = {"icd.packed", about, NULL};
    static float b1[ROWS], w2[COLS * ROWS], b2[COLS];
    icd_tensor all[8] = {
        {BIAS, ICD_F32, 1, {ROWS}, ROWS, b1},
        {"layer.0.ffn.w2", ICD_F32, 2, {COLS, ROWS}, ROWS * COLS, w2},
        {"layer.0.ffn.b2", ICD_F32, 1, {COLS}, COLS, b2},
    };
    for (int64_t i = 0; i < count; i++) all[3 + i] = tensor[i];
    assert_ok(ctx, icd_safetensors_write(ctx, icd_test_path("bad.safetensors"), all,
                                         3 + count, metadata));
}

static void refused(const char *about, const icd_tensor *tensor, int64_t count,
                    const char *say)
{
    icd_model *model = NULL;
    write_parts(about, tensor, count);
    assert_fails(ctx, ICD_EDATA, say,
                 icd_model_open(ctx, icd_test_path("bad.safetensors"), &model));
    assert_null(model);
}

#define ABOUT(more) "{\"layer.0.ffn.w1\":{\"rows\":6,\"cols\":12,\"group\":0," more "}}"
#define INT8(vector)                                                                     \
    ABOUT("\"dtype\":\"int8\",\"vector\":" vector                                        \
          ",\"n\":0,\"m\":0,\"frame\":\"0000000000000000\"")

static void damage_is_refused(void **state)
{
    static int8_t values[ROWS * COLS], worst[ROWS * COLS] = {INT8_MIN};
    static float scales[ROWS], infinite[ROWS] = {INFINITY};
    static uint8_t mask[2 * 2];
    static int32_t twice[COLS];
    const icd_tensor v = {"layer.0.ffn.w1.icd.values", ICD_I8, 1, {72}, 72, values};
    const icd_tensor w = {"layer.0.ffn.w1.icd.values", ICD_I8, 1, {72}, 72, worst};
    const icd_tensor few = {"layer.0.ffn.w1.icd.values", ICD_I8, 1, {70}, 70, values};
    const icd_tensor s = {"layer.0.ffn.w1.icd.scales", ICD_F32, 2, {6, 1}, 6, scales};
    const icd_tensor f = {"layer.0.ffn.w1.icd.scales", ICD_F32, 2, {6, 1}, 6, infinite};
    const icd_tensor m = {"layer.0.ffn.w1.icd.mask", ICD_U8, 2, {2, 2}, 4, mask};
    const icd_tensor o = {"layer.0.ffn.w1.icd.order", ICD_I32, 1, {12}, 12, twice};
    (void)state;
    refused("[", NULL, 0, "not JSON");
    refused("{\"layer.0.ffn.w1\":3}", NULL, 0, "layer.0.ffn.w1");
    refused(INT8("0"), NULL, 0, "missing or too few");
    refused(INT8("0"), &few, 1, "not the survivors");
    refused(INT8("0"), &v, 1, "scales");
    refused(INT8("0"), (icd_tensor[]){v, f}, 2, "not finite");
    refused(INT8("0"), (icd_tensor[]){w, s}, 2, "-128");
    refused(INT8("4"), (icd_tensor[]){v, s}, 2, "mask is missing");
    refused(INT8("0"), (icd_tensor[]){v, s, m}, 3, "vector");
    refused(INT8("3"), (icd_tensor[]){v, s, m}, 3, "not the survivors");
    refused(INT8("1"), (icd_tensor[]){v, s, m}, 3, "row blocks");
    refused(INT8("0"), (icd_tensor[]){v, s, o}, 3, "icd.order");
    refused(ABOUT("\"dtype\":\"int9\",\"vector\":0,\"n\":0,\"m\":0,\"frame\":\"0\""),
            (icd_tensor[]){v, s}, 2, "int9");
    refused(ABOUT("\"dtype\":\"int8\",\"vector\":0,\"n\":0,\"m\":0,\"frame\":\"x\""),
            (icd_tensor[]){v, s}, 2, "frame");
}

static void damaged_outliers_are_refused(void **state)
{
    static int8_t values[ROWS * COLS];
    static float scales[ROWS];
    static uint16_t wide[ROWS * 2];
    static int32_t good[2] = {3, 7}, falling[2] = {7, 3}, beyond[2] = {3, COLS};
    const icd_tensor v = {"layer.0.ffn.w1.icd.values", ICD_I8, 1, {60}, 60, values};
    const icd_tensor all = {"layer.0.ffn.w1.icd.values", ICD_I8, 1, {72}, 72, values};
    const icd_tensor s = {"layer.0.ffn.w1.icd.scales", ICD_F32, 2, {6, 1}, 6, scales};
    const icd_tensor w = {"layer.0.ffn.w1.icd.outliers", ICD_BF16, 2, {6, 2}, 12, wide};
    icd_tensor c = {"layer.0.ffn.w1.icd.outlier_columns", ICD_I32, 1, {2}, 2, good};
    icd_model *model = NULL;
    (void)state;
#define EXTRA(dtype, more)                                                               \
    ABOUT("\"dtype\":\"" dtype "\",\"vector\":0,\"n\":0,\"m\":0,"                        \
          "\"frame\":\"0000000000000000\"," more)
    write_parts(EXTRA("int8", "\"outliers\":2"), (icd_tensor[]){v, s, w, c}, 4);
    assert_ok(ctx, icd_model_open(ctx, icd_test_path("bad.safetensors"), &model));
    icd_model_free(ctx, model);
    refused(EXTRA("int8", "\"outliers\":2"), (icd_tensor[]){v, s, w}, 3, "columns");
    refused(EXTRA("int8", "\"outliers\":2"), (icd_tensor[]){v, s, c}, 3, "BF16");
    refused(EXTRA("int8", "\"outliers\":2"), (icd_tensor[]){all, s, w, c}, 4,
            "not the survivors");
    refused(EXTRA("int8", "\"outliers\":13"), (icd_tensor[]){v, s, w, c}, 4, "more");
    refused(EXTRA("bf16", "\"outliers\":2"), (icd_tensor[]){v, s, w, c}, 4, "smaller");
    refused(EXTRA("int8", "\"input_scale\":-1"), (icd_tensor[]){all, s}, 2,
            "input_scale");
    refused(EXTRA("int8", "\"input_scale\":1e300"), (icd_tensor[]){all, s}, 2,
            "input_scale");
    c.data = falling;
    refused(EXTRA("int8", "\"outliers\":2"), (icd_tensor[]){v, s, w, c}, 4, "ascending");
    c.data = beyond;
    refused(EXTRA("int8", "\"outliers\":2"), (icd_tensor[]){v, s, w, c}, 4, "ascending");
}

static void shapes_must_fit(void **state)
{
    trip t = {0};
    icd_packed p = {"layer.0.ffn.w2", NULL, NULL, NULL}, none = {"no.such", 0, 0, 0};
    (void)state;
    write_block(icd_test_path("block.safetensors"));
    assert_ok(ctx, icd_model_open(ctx, icd_test_path("block.safetensors"), &t.source));
    make_mask(ctx, 1, &t.mask);
    p.mask = t.mask;
    assert_fails(ctx, ICD_EINVAL, "another shape",
                 icd_model_write_packed(ctx, t.source, &p, 1, "", icd_test_path("no")));
    assert_fails(
        ctx, ICD_EINVAL, "no such tensor",
        icd_model_write_packed(ctx, t.source, &none, 1, "", icd_test_path("no")));
    free_trip(&t);
}

static icd_status round_trip(icd_ctx *c, void *arg)
{
    icd_model *back = NULL;
    icd_packed p = *(icd_packed *)arg;
    icd_model *source = NULL;
    icd_status status = icd_model_open(c, icd_test_path("block.safetensors"), &source);
    if (status == ICD_OK)
        status = icd_model_write_packed(c, source, &p, 1, "", icd_test_path("fail"));
    if (status == ICD_OK) status = icd_model_open(c, icd_test_path("fail"), &back);
    icd_model_free(c, back);
    icd_model_free(c, source);
    return status;
}

static void survives_failing_allocations(void **state)
{
    trip t = {0};
    (void)state;
    write_block(icd_test_path("block.safetensors"));
    assert_ok(ctx, icd_model_open(ctx, icd_test_path("block.safetensors"), &t.source));
    make_mask(ctx, VECTOR, &t.mask);
    quantize(&t, ICD_WEIGHT_INT4, GROUP);
    assert_ok(ctx, icd_quantized_widen(ctx, t.quant, t.masked, (const int32_t[]){2}, 1));
    icd_packed p = {TENSOR, t.mask, t.quant, NULL};
    icd_test_failing_allocations(round_trip, &p);
    free_trip(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_comes_back_bit_for_bit),
        cmocka_unit_test(outliers_and_scales_come_back),
        cmocka_unit_test(orders_come_back),
        cmocka_unit_test(damaged_outliers_are_refused),
        cmocka_unit_test(damage_is_refused),
        cmocka_unit_test(shapes_must_fit),
        cmocka_unit_test(survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
