#include "levels.h"

enum { MAX = 133 };
static const int64_t SIZE[] = {1, 2, 7, 8, 15, 16, 17, 31, 33, 64, 100, MAX};
enum { SIZES = sizeof SIZE / sizeof *SIZE };

/* Any bits at all: denormals, infinities and NaN among them. */
static float any_float(icd_rng *rng)
{
    uint32_t bits = icd_i_rng_u32(rng);
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void fill(icd_rng *rng, float *x, int64_t n, bool wild)
{
    fill_f32(rng, x, n);
    for (int64_t i = 0; i < n && wild; i++)
        if (icd_i_rng_below(rng, 8) == 0) x[i] = any_float(rng);
}

/* The inputs of every kernel, unaligned; outputs of one level. */
typedef struct rows {
    int64_t n;
    float x[MAX + 1], y[MAX + 1], gain[MAX + 1], bias[MAX + 1];
    int32_t order[MAX + 3], acc[MAX];
    float out[12][MAX + 1], scale;
    int8_t q[MAX + 3];
} rows;

static void run_all(const icd_kernels *k, rows *r)
{
    int64_t n = r->n, slots = (n + 3) / 4 * 4;
    for (int i = 0; i < 12; i++) memcpy(r->out[i], r->x, sizeof r->x);
    k->quantize_row(r->x + 1, r->order, n, slots, r->q, &r->scale);
    k->dequantize_row(r->acc, n, .37f, r->gain + 1, r->bias + 1, r->out[0] + 1);
    k->reorder_row(r->x + 1, r->order, n, r->out[1] + 1);
    k->add_bias(r->out[2] + 1, r->bias + 1, n);
    k->layer_norm(r->x + 1, r->y + 1, r->gain + 1, r->bias + 1, n, 1e-12f, r->out[3] + 1);
    k->gelu(r->out[4] + 1, n);
    k->relu(r->out[5] + 1, n);
    k->tanh_row(r->out[6] + 1, n);
    k->softmax(r->out[7] + 1, n, (n + 1) / 2, .125f);
    k->rms_norm(r->x + 1, r->y + 1, r->gain + 1, n, 1e-6f, r->out[8] + 1);
    k->silu(r->out[9] + 1, n);
    k->mul_silu(r->out[10] + 1, r->y + 1, n);
    k->gelu_tanh(r->out[11] + 1, n);
}

static void compare_levels(const icd_kernels *k, const rows *input)
{
    static rows expected, found;
    int64_t slots = (input->n + 3) / 4 * 4;
    expected = found = *input;
    run_all(icd_i_kernels(ICD_ISA_REF), &expected);
    run_all(k, &found);
    assert_memory_equal(found.q, expected.q, (size_t)slots);
    assert_same_f32(&found.scale, &expected.scale, 1, "scale");
    for (int i = 0; i < 12; i++)
        assert_same_f32(found.out[i], expected.out[i], input->n + 1,
                        icd_i_isa_name(k->isa));
}

static void every_level_gives_the_same_bits(void **state)
{
    static rows r;
    icd_rng rng;
    (void)state;
    icd_i_rng_init(&rng, 50, 0);
    for (int level = 1; level_at(level); level++)
        for (int round = 0; round < 40 * SIZES; round++) {
            r.n = SIZE[round % SIZES];
            fill(&rng, r.x, MAX + 1, round % 2);
            fill(&rng, r.y, MAX + 1, round % 2);
            fill(&rng, r.gain, MAX + 1, round % 2);
            fill(&rng, r.bias, MAX + 1, round % 2);
            for (int i = 0; i < MAX; i++) r.acc[i] = (int32_t)icd_i_rng_u32(&rng);
            for (int64_t s = 0; s < MAX + 3; s++)
                r.order[s] = s < r.n ? (int32_t)icd_i_rng_below(&rng, r.n) : -1;
            compare_levels(level_at(level), &r);
        }
}

/* The distance in units of the last place of the exact value. */
static double ulps(float found, double exact)
{
    float near = fabsf((float)exact);
    double unit = (double)(nextafterf(near, INFINITY) - near);
    return fabs((double)found - exact) / unit;
}

typedef double exact_fn(double x);

static double exact_gelu(double x)
{
    return .5 * x * erfc(-x * 0.70710678118654752440);
}

static void check_accuracy(void (*const *kernel)(float *, int64_t), exact_fn *exact,
                           float from, float to, double bound)
{
    double worst = 0;
    float at = 0;
    for (int i = 0; i <= 200000; i++) {
        float x = from + (to - from) * (float)i / 200000, y = x;
        (*kernel)(&y, 1);
        double e = ulps(y, exact((double)x));
        if (e > worst) at = x;
        worst = e > worst ? e : worst;
    }
    if (worst > bound)
        fail_msg("%.2f ulp at %a, expected at most %g", worst, (double)at, bound);
}

static double exact_silu(double x)
{
    return x / (1 + exp(-x));
}

static double exact_gelu_tanh(double x)
{
    return .5 * x * (1 + tanh(sqrt(2 / acos(-1)) * (x + .044715 * x * x * x)));
}

/* Below 0 the values vanish, so the error is measured against 1. */
static void gelu_tanh_is_accurate(void **state)
{
    const icd_kernels *k = icd_i_kernels(ICD_ISA_REF);
    float far[] = {NAN, INFINITY, 3e38f, -3e38f, -40, 0};
    (void)state;
    check_accuracy(&k->gelu_tanh, exact_gelu_tanh, 0, 20, 6);
    check_accuracy(&k->gelu_tanh, exact_gelu_tanh, -1e-3f, 0, 6);
    for (int i = 0; i <= 200000; i++) {
        float x = -12 * (float)i / 200000, y = x;
        k->gelu_tanh(&y, 1);
        assert_near((double)y, exact_gelu_tanh((double)x), 1.5e-7);
    }
    k->gelu_tanh(far, 6);
    assert_true(isnan(far[0]) && far[1] == INFINITY && far[2] == 3e38f);
    assert_true(far[3] == 0 && far[4] == 0 && far[5] == 0);
}

static void gelu_and_tanh_are_accurate(void **state)
{
    const icd_kernels *k = icd_i_kernels(ICD_ISA_REF);
    (void)state;
    check_accuracy(&k->gelu, exact_gelu, 0, 20, 5);
    check_accuracy(&k->gelu, exact_gelu, -12, 0, 9);
    check_accuracy(&k->gelu, exact_gelu, -1e-3f, 1e-3f, 6);
    check_accuracy(&k->silu, exact_silu, -80, 80, 4);
    check_accuracy(&k->silu, exact_silu, -1e-3f, 1e-3f, 4);
    check_accuracy(&k->tanh_row, tanh, -12, 12, 2);
    check_accuracy(&k->tanh_row, tanh, -1e-3f, 1e-3f, 2);
}

static void softmax_is_accurate(void **state)
{
    float x[MAX];
    double e[MAX];
    icd_rng rng;
    (void)state;
    icd_i_rng_init(&rng, 51, 0);
    for (int64_t live = 1; live <= MAX; live++) {
        double sum = 0;
        fill_f32(&rng, x, MAX);
        for (int64_t i = 0; i < live; i++) sum += e[i] = exp(2 * (double)x[i]);
        icd_i_kernels(ICD_ISA_REF)->softmax(x, MAX, live, 2);
        for (int64_t i = 0; i < MAX; i++)
            assert_near((double)x[i], i < live ? e[i] / sum : 0,
                        i < live ? 4e-6 * e[i] / sum : 0);
    }
}

/* In double, two passes. */
static void exact_norm(const float *v, const float *gain, const float *bias, int64_t n,
                       double *out)
{
    double mean = 0, variance = 0;
    for (int64_t i = 0; i < n; i++) mean += (double)v[i] / (double)n;
    for (int64_t i = 0; i < n; i++)
        variance += ((double)v[i] - mean) * ((double)v[i] - mean) / (double)n;
    for (int64_t i = 0; i < n; i++)
        out[i] = ((double)v[i] - mean) / sqrt(variance + 1e-12) * (double)gain[i] +
                 (double)bias[i];
}

static void layer_norm_is_accurate_in_place_too(void **state)
{
    float x[MAX], r[MAX], v[MAX], gain[MAX], bias[MAX], y[MAX];
    double exact[MAX];
    icd_rng rng;
    (void)state;
    icd_i_rng_init(&rng, 52, 0);
    for (int s = 1; s < SIZES; s++) {
        int64_t n = SIZE[s];
        const icd_kernels *k = icd_i_kernels(ICD_ISA_REF);
        fill_f32(&rng, x, n);
        fill_f32(&rng, r, n);
        fill_f32(&rng, gain, n);
        fill_f32(&rng, bias, n);
        for (int64_t i = 0; i < n; i++) v[i] = x[i] + r[i];
        exact_norm(v, gain, bias, n, exact);
        k->layer_norm(x, r, gain, bias, n, 1e-12f, y);
        for (int64_t i = 0; i < n; i++) assert_near((double)y[i], exact[i], 2e-5);
        k->layer_norm(v, NULL, gain, bias, n, 1e-12f, v);
        assert_same_f32(v, y, n, "in place");
        k->layer_norm(x, r, gain, bias, n, 1e-12f, x);
        assert_same_f32(x, y, n, "in place with a residual");
    }
}

static void quantize_rounds_to_even(void **state)
{
    const float x[] = {127, .5f, 1.5f, 2.5f, -.5f, -1.5f, -2.5f, -127, 126.5f};
    const int8_t expected[] = {127, 0, 2, 2, 0, -2, -2, -127, 126, 0, 0, 0};
    int8_t q[12];
    float scale;
    (void)state;
    for (int i = 0; level_at(i); i++) {
        level_at(i)->quantize_row(x, NULL, 9, 12, q, &scale);
        assert_memory_equal(q, expected, sizeof q);
        assert_true(scale == 1);
    }
}

/* Against the definition, through an order with padding. */
static void quantize_follows_the_order(void **state)
{
    float x[MAX], scale;
    int32_t order[MAX + 3];
    int8_t q[MAX + 3];
    icd_rng rng;
    (void)state;
    icd_i_rng_init(&rng, 53, 0);
    for (int i = 0; level_at(i); i++)
        for (int s = 0; s < SIZES; s++) {
            int64_t n = SIZE[s], slots = (n + 3) / 4 * 4;
            float top = 0;
            fill_f32(&rng, x, n);
            for (int64_t j = 0; j < slots; j++) order[j] = j < n ? (int32_t)j : -1;
            if (s % 2) icd_i_rng_shuffle(&rng, order, slots);
            for (int64_t j = 0; j < n; j++) top = fmaxf(top, fabsf(x[j]));
            level_at(i)->quantize_row(x, order, n, slots, q, &scale);
            assert_true(scale == top / 127);
            for (int64_t j = 0; j < slots; j++)
                assert_int_equal(q[j],
                                 order[j] < 0 ? 0 : lrintf(x[order[j]] * (127 / top)));
        }
}

/* Padding in front of neighbours is no run of neighbours. */
static void padding_may_stand_anywhere(void **state)
{
    static const int32_t ORDER[][4] = {{-1, 0, 1, 2}, {0, 1, 2, -1}, {-1, -1, -1, -1}};
    const float x[] = {127, 64, -32};
    float y[4], scale;
    int8_t q[4];
    (void)state;
    for (int i = 0; level_at(i); i++)
        for (int o = 0; o < 3; o++) {
            level_at(i)->quantize_row(x, ORDER[o], 3, 4, q, &scale);
            level_at(i)->reorder_row(x, ORDER[o], 4, y);
            for (int s = 0; s < 4; s++) {
                float expected = ORDER[o][s] < 0 ? 0 : x[ORDER[o][s]];
                assert_true(q[s] == expected && y[s] == expected);
            }
        }
}

static void quantize_marks_what_it_cannot_hold(void **state)
{
    static const float BAD[] = {NAN, INFINITY, -INFINITY};
    float x[20] = {1, 2, 3}, scale;
    int8_t q[20], zero[20] = {0};
    (void)state;
    for (int i = 0; level_at(i); i++) {
        for (int b = 0; b < 3; b++)
            for (int at = 0; at < 20; at += 19) {
                x[at] = BAD[b];
                level_at(i)->quantize_row(x, NULL, 20, 20, q, &scale);
                x[at] = 1;
                assert_true(isnan(scale));
                assert_memory_equal(q, zero, sizeof q);
            }
        level_at(i)->quantize_row((float[]){0, 0, 1e-38f, 0}, NULL, 4, 4, q, &scale);
        assert_true(scale == 0 && q[2] == 0);
    }
}

/* A given step, cut at 127; only what the order names is looked at. */
static void fixed_steps_saturate(void **state)
{
    static const int32_t ORDER[] = {1, 0, -1, 3, 4, 5, 6, 7};
    float x[] = {1, 300, NAN, -1e30f, .5f, 1.5f, -126.6f, 0}, scale;
    static const int8_t EXPECTED[] = {127, 0, 0, -127, 0, 1, -63, 0};
    int8_t q[8], zero[8] = {0};
    (void)state;
    for (int i = 0; level_at(i); i++) {
        level_at(i)->quantize_fixed(x, ORDER, 8, 2, q, &scale);
        assert_memory_equal(q, EXPECTED, sizeof q);
        assert_true(scale == 2);
        x[3] = INFINITY;
        level_at(i)->quantize_fixed(x, ORDER, 8, 2, q, &scale);
        assert_true(isnan(scale));
        assert_memory_equal(q, zero, sizeof q);
        x[3] = -1e30f;
    }
}

static void nan_and_infinity_are_not_hidden(void **state)
{
    (void)state;
    for (int i = 0; level_at(i); i++) {
        const icd_kernels *k = level_at(i);
        float gelu[] = {NAN, INFINITY, -INFINITY, 0, -0.f};
        float relu[] = {NAN, INFINITY, -INFINITY, -3, 4};
        float tanh_[] = {NAN, INFINITY, -INFINITY};
        float masked[] = {1, -INFINITY, 1, 7}, broken[] = {1, NAN, 1};
        k->gelu(gelu, 5);
        assert_true(isnan(gelu[0]) && gelu[1] == INFINITY && gelu[2] == 0);
        assert_true(gelu[3] == 0 && gelu[4] == 0);
        k->relu(relu, 5);
        assert_true(isnan(relu[0]) && relu[1] == INFINITY && relu[2] == 0);
        assert_true(relu[3] == 0 && relu[4] == 4);
        k->tanh_row(tanh_, 3);
        assert_true(isnan(tanh_[0]) && tanh_[1] == 1 && tanh_[2] == -1);
        k->softmax(masked, 4, 3, 1);
        assert_true(masked[0] == .5f && masked[1] == 0 && masked[3] == 0);
        k->softmax(broken, 3, 3, 1);
        for (int j = 0; j < 3; j++) assert_true(isnan(broken[j]));
    }
}

static void dequantize_without_bias_only_scales(void **state)
{
    int32_t acc[MAX];
    float scale[MAX], y[MAX];
    icd_rng rng;
    (void)state;
    icd_i_rng_init(&rng, 54, 0);
    fill_f32(&rng, scale, MAX);
    for (int i = 0; i < MAX; i++) acc[i] = (int32_t)icd_i_rng_u32(&rng);
    for (int i = 0; level_at(i); i++) {
        level_at(i)->dequantize_row(acc, MAX, .25f, scale, NULL, y);
        for (int j = 0; j < MAX; j++)
            assert_true(y[j] == (float)acc[j] * (.25f * scale[j]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_level_gives_the_same_bits),
        cmocka_unit_test(gelu_and_tanh_are_accurate),
        cmocka_unit_test(gelu_tanh_is_accurate),
        cmocka_unit_test(softmax_is_accurate),
        cmocka_unit_test(layer_norm_is_accurate_in_place_too),
        cmocka_unit_test(quantize_rounds_to_even),
        cmocka_unit_test(quantize_follows_the_order),
        cmocka_unit_test(padding_may_stand_anywhere),
        cmocka_unit_test(quantize_marks_what_it_cannot_hold),
        cmocka_unit_test(fixed_steps_saturate),
        cmocka_unit_test(nan_and_infinity_are_not_hidden),
        cmocka_unit_test(dequantize_without_bias_only_scales),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
