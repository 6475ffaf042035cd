#include <icd/matrix.h>

#include "base/rng.h"
#include "core/small_float.h"
#include "fixture.h"

#include <math.h>
#include <string.h>

enum { ROWS = 5, COLS = 70 };

static void bf16_rounds_to_nearest_even(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 0x7F80; bits++) {
        float x = icd_i_bf16_value((uint16_t)bits);
        float next = icd_i_bf16_value((uint16_t)(bits + 1));
        assert_int_equal(icd_i_bf16_of(x), bits);
        if (!isfinite(next)) break;
        float middle = x + (next - x) / 2;
        assert_int_equal(icd_i_bf16_of(middle), bits % 2 ? bits + 1 : bits);
        assert_int_equal(icd_i_bf16_of(nextafterf(middle, 0)), bits);
        assert_int_equal(icd_i_bf16_of(-nextafterf(middle, INFINITY)), 0x8001 + bits);
    }
}

/* The OCP tables of both formats at their ends. */
static void fp8_has_the_documented_ends(void **state)
{
    (void)state;
    assert_true(icd_i_fp8_value(0x7E, 3) == 448);
    assert_true(icd_i_fp8_value(0x01, 3) == 0x1p-9f);
    assert_true(icd_i_fp8_value(0x08, 3) == 0x1p-6f);
    assert_true(isnan(icd_i_fp8_value(0x7F, 3)));
    assert_true(icd_i_fp8_value(0x7B, 2) == 57344);
    assert_true(icd_i_fp8_value(0x01, 2) == 0x1p-16f);
    assert_true(isnan(icd_i_fp8_value(0x7C, 2)));
}

static void fp8_rounds_to_nearest_even(void **state)
{
    (void)state;
    for (int mantissa = 2; mantissa <= 3; mantissa++) {
        int largest = mantissa == 3 ? 0x7E : 0x7B;
        for (int bits = 0; bits < largest; bits++) {
            float x = icd_i_fp8_value((uint8_t)bits, mantissa);
            float next = icd_i_fp8_value((uint8_t)(bits + 1), mantissa);
            float middle = (x + next) / 2;
            assert_int_equal(icd_i_fp8_of(x, mantissa), bits);
            assert_int_equal(icd_i_fp8_of(middle, mantissa), bits % 2 ? bits + 1 : bits);
            assert_int_equal(icd_i_fp8_of(-nextafterf(middle, INFINITY), mantissa),
                             0x81 + bits);
        }
        assert_int_equal(icd_i_fp8_of(1e9f, mantissa), largest);
        assert_int_equal(icd_i_fp8_of(-1e9f, mantissa), 0x80 | largest);
    }
}

static void fill(float *w)
{
    icd_rng rng;
    icd_i_rng_init(&rng, 1, 0);
    for (int i = 0; i < ROWS * COLS; i++)
        w[i] = (float)(icd_i_rng_normal(&rng) * (1 + i / COLS));
    memset(w + COLS, 0, COLS * sizeof *w);
}

/* Half a step of the group's scale for integers, half a unit in the last place for
 * floats.
 */
static void check_error(const icd_quantized *q, const float *w)
{
    static const float RELATIVE[] = {0, 0x1p-8f, 0, 0, 0x1p-4f, 0x1p-3f};
    float row[COLS];
    for (int r = 0; r < ROWS; r++) {
        icd_quantized_row(q, r, row);
        for (int c = 0; c < COLS; c++) {
            float x = w[r * COLS + c], step = q->group ? (float)q->group : COLS;
            float scale = q->scale[r * icd_quantized_groups(q) + (int)((float)c / step)];
            float bound = RELATIVE[q->dtype] * fabsf(x) + .5001f * scale;
            if (q->dtype == ICD_WEIGHT_BF16) bound = RELATIVE[q->dtype] * fabsf(x);
            assert_near(row[c], x, bound);
        }
    }
}

static void rounding_errors_are_bounded(void **state)
{
    float w[ROWS * COLS];
    icd_matrix m = {"w", w, ROWS, COLS};
    (void)state;
    fill(w);
    for (int32_t dtype = ICD_WEIGHT_BF16; dtype < ICD_WEIGHT_DTYPES; dtype++)
        for (int32_t group = 0; group <= 64; group += 32) {
            icd_quantized *q = NULL;
            assert_ok(ctx, icd_quantize_matrix(ctx, &m, dtype, group, &q));
            assert_int_equal(icd_quantized_groups(q), group ? 70 / group + 1 : 1);
            check_error(q, w);
            icd_quantized_free(ctx, q);
        }
    w[7] = NAN;
    icd_quantized *q = NULL;
    assert_fails(ctx, ICD_EDATA, "NaN",
                 icd_quantize_matrix(ctx, &m, ICD_WEIGHT_INT4, 32, &q));
    assert_null(q);
}

static void patterns_are_promised_only_where_kept(void **state)
{
    icd_quantized *q = NULL;
    (void)state;
    assert_ok(ctx, icd_quantized_new(ctx, 2, 8, &q));
    q->q[0] = q->q[3] = q->q[5] = 1;
    assert_true(icd_quantized_set_nm(q, 2, 4));
    q->n = 0;
    q->q[1] = 1;
    assert_false(icd_quantized_set_nm(q, 2, 4));
    assert_int_equal(q->n, 0);
    icd_quantized_free(ctx, q);
}

static void wrong_requests_are_refused(void **state)
{
    icd_quantized *q = NULL;
    (void)state;
    assert_fails(ctx, ICD_EINVAL, "type 0",
                 icd_quantized_new_as(ctx, 2, 2, ICD_WEIGHT_F32, 0, &q));
    assert_fails(ctx, ICD_EINVAL, "groups of -1",
                 icd_quantized_new_as(ctx, 2, 2, ICD_WEIGHT_INT4, -1, &q));
    assert_fails(ctx, ICD_EINVAL, "-1 x 2", icd_quantized_new(ctx, -1, 2, &q));
    assert_string_equal(icd_weight_dtype_name(ICD_WEIGHT_FP8_E5M2), "fp8_e5m2");
    assert_int_equal(icd_weight_dtype_bits(ICD_WEIGHT_INT4), 4);
}

static void widened_columns_are_bf16(void **state)
{
    static const int32_t LIST[] = {0, 5}, FALLING[] = {5, 0}, BEYOND[] = {COLS};
    float w[ROWS * COLS], row[COLS];
    icd_quantized *q = NULL, *half = NULL;
    icd_matrix m = {"w", w, ROWS, COLS};
    (void)state;
    fill(w);
    assert_ok(ctx, icd_quantize_matrix(ctx, &m, ICD_WEIGHT_INT8, 0, &q));
    assert_ok(ctx, icd_quantized_widen(ctx, q, w, LIST, 2));
    for (int r = 0; r < ROWS; r++) {
        icd_quantized_row(q, r, row);
        for (int k = 0; k < 2; k++) {
            float value = w[r * COLS + LIST[k]];
            assert_int_equal(q->q[r * COLS + LIST[k]], 0);
            assert_true(fabsf(row[LIST[k]] - value) <= fabsf(value) / 256);
        }
    }
    assert_fails(ctx, ICD_EINVAL, "ascending",
                 icd_quantized_widen(ctx, q, w, FALLING, 2));
    assert_fails(ctx, ICD_EINVAL, "ascending", icd_quantized_widen(ctx, q, w, BEYOND, 1));
    assert_int_equal(q->outliers, 2);
    assert_ok(ctx, icd_quantize_matrix(ctx, &m, ICD_WEIGHT_BF16, 0, &half));
    assert_fails(ctx, ICD_EINVAL, "bf16", icd_quantized_widen(ctx, half, w, LIST, 2));
    icd_quantized_free(ctx, q);
    icd_quantized_free(ctx, half);
}

static icd_status quantize(icd_ctx *c, void *arg)
{
    icd_quantized *q = NULL;
    static const int32_t LIST[] = {1, 2};
    icd_status status = icd_quantize_matrix(c, arg, ICD_WEIGHT_INT4, 32, &q);
    if (status == ICD_OK)
        status = icd_quantized_widen(c, q, ((const icd_matrix *)arg)->w, LIST, 2);
    icd_quantized_free(c, q);
    return status;
}

static void failing_allocations(void **state)
{
    float w[ROWS * COLS];
    icd_matrix m = {"w", w, ROWS, COLS};
    (void)state;
    fill(w);
    icd_test_failing_allocations(quantize, &m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bf16_rounds_to_nearest_even),
        cmocka_unit_test(fp8_has_the_documented_ends),
        cmocka_unit_test(fp8_rounds_to_nearest_even),
        cmocka_unit_test(rounding_errors_are_bounded),
        cmocka_unit_test(patterns_are_promised_only_where_kept),
        cmocka_unit_test(wrong_requests_are_refused),
        cmocka_unit_test(widened_columns_are_bf16),
        cmocka_unit_test(failing_allocations),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
