#include "fixture.h"

#include <icd/gates.h>

#include <math.h>
#include <string.h>

static icd_evidence seen(const char *name, double change, double half, bool more)
{
    return (icd_evidence){.name = name,
                          .unit = "%",
                          .more_is_better = more,
                          .change = change,
                          .low = change - half,
                          .high = change + half,
                          .band = 1,
                          .p = fabs(change) > half ? .01 : .4,
                          .count = 40,
                          .provenance = ICD_MEASURED};
}

static void verdicts_know_which_way_is_up(void **state)
{
    icd_evidence e[] = {seen("latency", -10, 1, false), seen("l2", -10, 1, true),
                        seen("ept", .3, .2, false), seen("other", 3, 5, false)};
    (void)state;
    icd_evidence_judge(e, 4);
    assert_int_equal(e[0].verdict, ICD_VERDICT_FASTER);
    assert_int_equal(e[1].verdict, ICD_VERDICT_SLOWER);
    assert_int_equal(e[2].verdict, ICD_VERDICT_SAME);
    assert_int_equal(e[3].verdict, ICD_VERDICT_UNDECIDED);
    assert_string_equal(icd_verdict_word(e[1].verdict), "WORSE");
    icd_decision d = icd_decide(e, 4);
    assert_false(d.keep);
    assert_string_equal(d.metric, "l2");
}

/* SPEC: L2 regression = rate down AND DRAM bytes not down. */
static void a_lower_rate_with_fewer_bytes_is_no_regression(void **state)
{
    icd_evidence e[] = {seen("latency", -10, 1, false), seen("l2", -10, 1, true),
                        seen("dram", -30, 2, false)};
    (void)state;
    icd_evidence_judge(e, 3);
    assert_int_equal(e[1].verdict, ICD_VERDICT_UNDECIDED);
    assert_non_null(strstr(e[1].reason, "DRAM"));
    assert_true(icd_decide(e, 3).keep);
    e[2] = seen("dram", -1, 2, false);
    icd_evidence_judge(e, 3);
    assert_int_equal(e[1].verdict, ICD_VERDICT_SLOWER);
    e[2] = seen("dram", -30, 2, false);
    e[2].provenance = ICD_SIMULATED; /* a simulator excuses nothing */
    icd_evidence_judge(e, 3);
    assert_int_equal(e[1].verdict, ICD_VERDICT_SLOWER);
}

static void only_what_was_measured_decides(void **state)
{
    icd_evidence e[] = {seen("latency", -10, 1, false), seen("l2", -20, 1, true)};
    (void)state;
    e[1].provenance = ICD_SIMULATED;
    icd_evidence_judge(e, 2);
    assert_true(icd_decide(e, 2).keep);
    e[0].provenance = ICD_MODELLED;
    icd_evidence_judge(e, 2);
    assert_false(icd_decide(e, 2).keep);
    assert_null(icd_decide(e, 2).metric);
    icd_gate g = icd_gate_change("latency", &e[0], -5);
    assert_int_equal(g.result, ICD_GATE_NOT_EVALUATED);
    assert_non_null(strstr(g.reason, "MODELLED"));
}

/* Better must survive the adjustment, worse need not. */
static void several_metrics_share_one_alpha(void **state)
{
    icd_evidence e[] = {seen("latency", -3, 1, false), seen("l2", .2, 4, true),
                        seen("ept", .2, 4, false)};
    (void)state;
    e[0].p = .03;
    icd_evidence_judge(e, 3);
    assert_near(e[0].p_holm, .09, 1e-12);
    assert_int_equal(e[0].verdict, ICD_VERDICT_UNDECIDED);
    e[0] = seen("latency", 3, 1, false);
    e[0].p = .03;
    icd_evidence_judge(e, 3);
    assert_int_equal(e[0].verdict, ICD_VERDICT_SLOWER);
    e[0] = seen("latency", -3, 1, false);
    e[0].p = .03;
    icd_evidence_judge(e, 1);
    assert_int_equal(e[0].verdict, ICD_VERDICT_FASTER);
}

static void gates_take_any_threshold(void **state)
{
    icd_evidence e = seen("latency", -20.4, 1, false), l2 = seen("l2", 12, 1, true);
    (void)state;
    assert_int_equal(icd_gate_change("latency", &e, -20).result, ICD_GATE_NOT_EVALUATED);
    icd_evidence_judge(&e, 1);
    icd_evidence_judge(&l2, 1);
    icd_gate g = icd_gate_change("latency", &e, -20);
    assert_int_equal(g.result, ICD_GATE_MET);
    assert_non_null(strstr(g.reason, "reaches across"));
    assert_string_equal(g.found, "-20.4 % [-21.4, -19.4]");
    assert_string_equal(g.target, "-20.0 % or less");
    assert_int_equal(icd_gate_change("latency", &e, -21).result, ICD_GATE_NOT_MET);
    g = icd_gate_change("latency", &e, 5);
    assert_int_equal(g.result, ICD_GATE_MET);
    assert_non_null(strstr(g.reason, "whole interval"));
    assert_int_equal(icd_gate_change("l2", &l2, 10).result, ICD_GATE_MET);
    assert_non_null(strstr(icd_gate_change("l2", &l2, 10).reason, "whole interval"));
    assert_int_equal(icd_gate_change("l2", &l2, 14).result, ICD_GATE_NOT_MET);
    assert_non_null(strstr(icd_gate_change("l2", &l2, 14).reason, "whole interval"));
    assert_non_null(strstr(icd_gate_change("l2", &l2, 12.5).reason, "reaches across"));
}

static void metrics_make_evidence(void **state)
{
    icd_metric a = {.value = 10,
                    .low = 9.8,
                    .high = 10.2,
                    .count = 8,
                    .provenance = ICD_MEASURED},
               b = {.value = 8,
                    .low = 7.9,
                    .high = 8.1,
                    .count = 9,
                    .provenance = ICD_MEASURED},
               none = {.reason = "no counters here"};
    (void)state;
    icd_evidence e = icd_evidence_metrics("ept", &a, &b, true, false);
    assert_near(e.change, -20, 1e-9);
    assert_true(e.low < -20 && e.high > -20 && e.low > -23 && e.high < -17);
    assert_int_equal(e.count, 8);
    e = icd_evidence_metrics("l2", &a, &b, false, true);
    assert_near(e.change, -2, 1e-12);
    assert_near(e.high - e.low, 2 * hypot(.2, .1), 1e-9);
    e = icd_evidence_metrics("l2", &a, &none, false, true);
    assert_int_equal(e.provenance, ICD_ABSENT);
    assert_string_equal(e.reason, "no counters here");
    assert_int_equal(icd_gate_change("l2", &e, 10).result, ICD_GATE_NOT_EVALUATED);
    icd_metric zero = {.count = 3, .provenance = ICD_MEASURED};
    assert_string_equal(icd_evidence_metrics("dram", &zero, &zero, true, false).reason,
                        "both are 0: no ratio");
    b.provenance = ICD_MODELLED;
    assert_int_equal(icd_evidence_metrics("ept", &a, &b, true, false).provenance,
                     ICD_MODELLED);
}

/* A wide interval around a fine estimate is no success, in either direction. */
static void what_is_undecided_meets_no_gate(void **state)
{
    icd_evidence e = seen("latency", -28, 32, false);
    (void)state;
    e.high = 32.6;
    icd_evidence_judge(&e, 1);
    assert_int_equal(e.verdict, ICD_VERDICT_UNDECIDED);
    icd_gate g = icd_gate_change("latency", &e, -20);
    assert_int_equal(g.result, ICD_GATE_NOT_EVALUATED);
    assert_non_null(strstr(g.reason, "undecided"));
    assert_int_equal(icd_gate_change("latency", &e, 5).result, ICD_GATE_NOT_EVALUATED);
    assert_int_equal(icd_gate_change("latency", &e, 40).result, ICD_GATE_MET);
    assert_int_equal(icd_gate_change("latency", &e, -70).result, ICD_GATE_NOT_MET);
    e = seen("latency", 3, 2.5, false); /* no worse than 5 %? nobody knows */
    icd_evidence_judge(&e, 1);
    assert_int_equal(icd_gate_change("latency", &e, 5).result, ICD_GATE_NOT_EVALUATED);
}

/* What a failed control says is shown, and decides nothing. */
static void what_is_distrusted_decides_nothing(void **state)
{
    icd_evidence e[] = {seen("latency", -30, 1.2, false), seen("ept", 30, 2, false)};
    (void)state;
    e[1].distrusted = true;
    e[1].reason = "two copies of linear read differently";
    icd_evidence_judge(e, 2);
    assert_int_equal(e[1].verdict, ICD_VERDICT_UNDECIDED);
    assert_true(icd_decide(e, 2).keep);
    icd_gate g = icd_gate_change("ept", &e[1], -15);
    assert_int_equal(g.result, ICD_GATE_NOT_EVALUATED);
    assert_non_null(strstr(g.reason, "two copies"));
    e[0].distrusted = true;
    icd_evidence_judge(e, 2);
    assert_false(icd_decide(e, 2).keep);
}

/* A gain of 30 % with a good control is accepted and meets the gate of the seed. */
static void a_real_gain_is_accepted(void **state)
{
    icd_evidence e[] = {seen("latency", -30, 1.2, false), seen("l2", .2, .5, true)};
    (void)state;
    icd_evidence_judge(e, 2);
    assert_true(icd_decide(e, 2).keep);
    assert_string_equal(icd_decide(e, 2).metric, "latency");
    assert_int_equal(icd_gate_change("latency", &e[0], -20).result, ICD_GATE_MET);
}

/* 0.1 pp need thousands of examples, even where every one agrees. */
static void quality_needs_examples(void **state)
{
    double a[4000], b[4000];
    icd_evidence e;
    (void)state;
    for (int i = 0; i < 4000; i++) a[i] = b[i] = i % 5 != 0;
    assert_ok(ctx, icd_evidence_quality(ctx, a, b, 4000, 1, &e));
    assert_int_equal(icd_gate_quality("quality", &e, .1).result, ICD_GATE_MET);
    assert_ok(ctx, icd_evidence_quality(ctx, a, b, 400, 1, &e));
    assert_near(e.low, -100 * 3.841459 / (400 + 3.841459), 1e-4);
    assert_int_equal(icd_gate_quality("quality", &e, .1).result, ICD_GATE_NOT_EVALUATED);
    assert_int_equal(icd_gate_quality("quality", &e, 1).result, ICD_GATE_MET);
    assert_ok(ctx, icd_evidence_quality(ctx, a, b, 3, 1, &e));
    assert_int_equal(e.provenance, ICD_ABSENT);
    b[1] = 0;
    b[5] = 1;
    assert_ok(ctx, icd_evidence_quality(ctx, a, b, 400, 1, &e));
    icd_gate g = icd_gate_quality("quality", &e, .1);
    assert_int_equal(g.result, ICD_GATE_NOT_EVALUATED);
    assert_non_null(strstr(g.reason, "too few"));
    for (int i = 0; i < 400; i += 7) b[i] = 0;
    assert_ok(ctx, icd_evidence_quality(ctx, a, b, 400, 1, &e));
    assert_int_equal(icd_gate_quality("quality", &e, .1).result, ICD_GATE_NOT_MET);
    assert_int_equal(icd_gate_quality("quality", &e, 50).result, ICD_GATE_MET);
    assert_ok(ctx, icd_evidence_quality(ctx, a, b, 1, 1, &e));
    assert_int_equal(icd_gate_quality("quality", &e, 50).result, ICD_GATE_NOT_EVALUATED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verdicts_know_which_way_is_up),
        cmocka_unit_test(a_lower_rate_with_fewer_bytes_is_no_regression),
        cmocka_unit_test(only_what_was_measured_decides),
        cmocka_unit_test(several_metrics_share_one_alpha),
        cmocka_unit_test(gates_take_any_threshold),
        cmocka_unit_test(metrics_make_evidence),
        cmocka_unit_test(what_is_undecided_meets_no_gate),
        cmocka_unit_test(what_is_distrusted_decides_nothing),
        cmocka_unit_test(a_real_gain_is_accepted),
        cmocka_unit_test(quality_needs_examples),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
