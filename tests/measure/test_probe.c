#include "fixture.h"

#include <icd/quality.h>

#include "base/rng.h"

#include <math.h>
#include <stdlib.h>

enum { N = 240, WIDTH = 7, CLASSES = 3 };

static float x[N * WIDTH];
static int32_t label[N];

/* Three clouds around corners, `spread` wide; column 6 is a constant. */
static void clouds(double spread)
{
    icd_rng rng;
    icd_i_rng_init(&rng, 5, 0);
    for (int i = 0; i < N; i++) {
        label[i] = i % CLASSES;
        for (int c = 0; c < WIDTH; c++)
            x[i * WIDTH + c] = (float)((c == label[i]) + spread * icd_i_rng_normal(&rng));
        x[i * WIDTH + WIDTH - 1] = 3;
    }
}

static double accuracy(int64_t seed)
{
    static double score[N];
    double sum = 0;
    assert_ok(ctx, icd_probe_scores(ctx, x, N, WIDTH, label, CLASSES, 5, seed, score));
    for (int i = 0; i < N; i++) sum += score[i];
    return sum / N;
}

static void separate_clouds_are_read_off(void **state)
{
    (void)state;
    clouds(.05);
    assert_true(accuracy(1) > .99);
    clouds(.6);
    double some = accuracy(1);
    assert_true(some > .55 && some < .95);
}

static void noise_is_no_better_than_chance(void **state)
{
    icd_rng rng;
    (void)state;
    clouds(.05);
    icd_i_rng_init(&rng, 6, 0);
    icd_i_rng_shuffle(&rng, label, N);
    assert_true(accuracy(2) < .45);
}

static void a_rotation_and_a_shift_change_nothing_but_rounding(void **state)
{
    (void)state;
    clouds(.6);
    double before = accuracy(3);
    for (int i = 0; i < N; i++) {
        float a = x[i * WIDTH], b = x[i * WIDTH + 1];
        x[i * WIDTH] = .6f * a - .8f * b + 10;
        x[i * WIDTH + 1] = .8f * a + .6f * b - 4;
    }
    assert_near(accuracy(3), before, 1.5 / N);
}

static void bad_input(void **state)
{
    double score[N];
    (void)state;
    clouds(.1);
    assert_fails(ctx, ICD_EINVAL, "folds",
                 icd_probe_scores(ctx, x, 3, WIDTH, label, CLASSES, 5, 1, score));
    label[7] = CLASSES;
    assert_fails(ctx, ICD_EINVAL, "example 7",
                 icd_probe_scores(ctx, x, N, WIDTH, label, CLASSES, 5, 1, score));
    label[7] = 0;
    x[9 * WIDTH] = NAN;
    assert_fails(ctx, ICD_EDATA, "example 9",
                 icd_probe_scores(ctx, x, N, WIDTH, label, CLASSES, 5, 1, score));
}

static icd_status run(icd_ctx *c, void *arg)
{
    double score[N];
    (void)arg;
    return icd_probe_scores(c, x, N, WIDTH, label, CLASSES, 3, 1, score);
}

static void survives_failing_allocations(void **state)
{
    (void)state;
    clouds(.1);
    icd_test_failing_allocations(run, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(separate_clouds_are_read_off),
        cmocka_unit_test(noise_is_no_better_than_chance),
        cmocka_unit_test(a_rotation_and_a_shift_change_nothing_but_rounding),
        cmocka_unit_test(bad_input),
        cmocka_unit_test(survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
