#include "runtime/round_rule.h"

#include "support.h"

#include <math.h>
#include <string.h>

/* A measurement made up by the test: what the clock would have said. */
static icd_round_facts measured(int32_t number, double low, double high)
{
    return (icd_round_facts){.number = number,
                             .most = 5,
                             .redoable = true,
                             .redone = true,
                             .moved = true,
                             .measured = true,
                             .trusted = true,
                             .gain = (low + high) / 2,
                             .low = low,
                             .high = high,
                             .better = high < 0 ? "latency" : NULL,
                             .worse = low > 0 ? "latency" : NULL,
                             .beats_linear = true};
}

static icd_round_end end_of(icd_round_facts facts)
{
    icd_round_end end;
    icd_i_round_rule(&facts, &end);
    assert_int_equal(end.go_on, end.stop[0] == 0);
    assert_true(end.keep || !end.go_on);
    return end;
}

static void one_iteration_is_what_it_was(void **state)
{
    (void)state;
    icd_round_facts f = measured(1, -.3, -.2);
    f.most = 1;
    icd_round_end e = end_of(f);
    assert_true(e.keep);
    assert_string_equal(e.stop, "pipeline.iterations is 1");
}

static void a_gain_goes_on(void **state)
{
    (void)state;
    assert_true(end_of(measured(1, -.3, -.2)).go_on);
    icd_round_end e = end_of(measured(2, -.05, -.02));
    assert_true(e.keep && e.go_on);
    assert_non_null(strstr(e.why, "latency is better"));
}

static void a_gain_that_includes_zero_ends(void **state)
{
    (void)state;
    icd_round_facts f = measured(1, -.02, .01);
    f.beats_linear = false;
    icd_round_end e = end_of(f);
    assert_false(e.keep || e.go_on);
    assert_non_null(strstr(e.stop, "includes zero"));
    e = end_of(measured(2, -.004, .003)); /* as fast as before, and less is lost */
    assert_true(e.keep);
    assert_false(e.go_on);
    assert_non_null(strstr(e.stop, "-0.40 to +0.30 %"));
    assert_non_null(strstr(e.why, "no metric is worse"));
    assert_false(end_of(measured(2, 0, .003)).go_on);
    assert_false(end_of(measured(2, NAN, NAN)).go_on);
}

static void worse_returns_to_the_round_before(void **state)
{
    (void)state;
    icd_round_end e = end_of(measured(3, .02, .04));
    assert_false(e.keep || e.go_on);
    assert_non_null(strstr(e.why, "latency is worse than in round 2"));
    icd_round_facts f = measured(2, -.05, -.03);
    f.worse = "quality";
    assert_false(end_of(f).keep);
    f = measured(2, -.05, -.03);
    f.beats_linear = false;
    assert_false(end_of(f).keep);
}

static void nothing_redone_ends(void **state)
{
    (void)state;
    icd_round_facts f = {.number = 2, .most = 5, .redoable = true};
    icd_round_end e = end_of(f);
    assert_false(e.keep || e.go_on);
    assert_non_null(strstr(e.stop, "redoing lowered no loss"));
    f = measured(1, -.3, -.2);
    f.redoable = false;
    e = end_of(f);
    assert_true(e.keep);
    assert_non_null(strstr(e.stop, "nothing to redo"));
}

static void a_layout_that_stays_ends(void **state)
{
    (void)state;
    icd_round_facts f = measured(2, -.05, -.03);
    f.moved = false;
    icd_round_end e = end_of(f);
    assert_true(e.keep);
    assert_string_equal(e.stop, "the layout did not change");
}

static void the_last_one_ends(void **state)
{
    (void)state;
    icd_round_facts f = measured(5, -.05, -.03);
    icd_round_end e = end_of(f);
    assert_true(e.keep);
    assert_string_equal(e.stop, "pipeline.iterations, 5, is reached");
}

static void a_bad_control_decides_nothing(void **state)
{
    (void)state;
    icd_round_facts f = measured(2, -.3, -.2);
    f.trusted = false;
    icd_round_end e = end_of(f);
    assert_false(e.keep || e.go_on);
    f = measured(1, -.3, -.2);
    f.trusted = false;
    assert_false(end_of(f).go_on);
}

static void failures_end(void **state)
{
    (void)state;
    icd_round_facts f = measured(2, -.3, -.2);
    f.failed = "E_EXACT_601: iterative against linear";
    icd_round_end e = end_of(f);
    assert_false(e.keep || e.go_on);
    assert_non_null(strstr(e.stop, "E_EXACT_601"));
    f.number = 1;
    assert_false(end_of(f).keep);
}

/* --no-measure: rounds follow the loss alone, up to the last. */
static void without_a_clock_the_loss_leads(void **state)
{
    (void)state;
    icd_round_facts f = {
        .number = 1, .most = 3, .redoable = true, .moved = true, .beats_linear = true};
    assert_true(end_of(f).go_on);
    f.number = 2;
    f.redone = true;
    assert_true(end_of(f).keep && end_of(f).go_on);
    f.number = 3;
    assert_true(end_of(f).keep);
    assert_false(end_of(f).go_on);
}

/* N:M alone has no pi1 in round 1: nothing to measure it against, and still a round 2. */
static void a_first_round_without_a_candidate_goes_on(void **state)
{
    (void)state;
    icd_round_facts f = {
        .number = 1, .most = 2, .redoable = true, .measured = true, .trusted = true};
    icd_round_end e = end_of(f);
    assert_true(e.keep && e.go_on);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_iteration_is_what_it_was),
        cmocka_unit_test(a_gain_goes_on),
        cmocka_unit_test(a_gain_that_includes_zero_ends),
        cmocka_unit_test(worse_returns_to_the_round_before),
        cmocka_unit_test(nothing_redone_ends),
        cmocka_unit_test(a_layout_that_stays_ends),
        cmocka_unit_test(the_last_one_ends),
        cmocka_unit_test(a_bad_control_decides_nothing),
        cmocka_unit_test(failures_end),
        cmocka_unit_test(without_a_clock_the_loss_leads),
        cmocka_unit_test(a_first_round_without_a_candidate_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
