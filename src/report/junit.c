/* junit.xml: gates, controls and exactness as the tests that CI servers show. */
#include "report/html.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef enum result { PASSED, FAILED, SKIPPED } result;

/* Counted before they are written: the first line of a suite says how many. */
typedef struct suite {
    icd_page *page;
    bool count_only;
    int tests, failures, skipped;
} suite;

static void test(suite *s, const char *group, const char *name, result r,
                 const char *message)
{
    s->tests++;
    s->failures += r == FAILED;
    s->skipped += r == SKIPPED;
    if (s->count_only) return;
    icd_i_page_put(s->page, "  <testcase classname=\"icd.%s\" name=\"", group);
    icd_i_page_text(s->page, name);
    icd_i_page_raw(s->page, r == PASSED ? "\"/>\n" : "\">");
    if (r == PASSED) return;
    icd_i_page_raw(s->page, r == FAILED ? "<failure message=\"" : "<skipped message=\"");
    icd_i_page_text(s->page, message);
    icd_i_page_raw(s->page, "\"/></testcase>\n");
}

/* What was not evaluated is skipped: CI servers show it as such, never as a pass. */
static void gates(suite *s)
{
    const json_t *row = NULL;
    size_t i = 0;
    json_array_foreach(icd_i_page_get(s->page, "gates"), i, row)
    {
        char message[600];
        const char *outcome = icd_i_get_string(row, "result");
        bool met = !strcmp(outcome, "met"), not_met = !strcmp(outcome, "not met");
        snprintf(message, sizeof message, "%.60s: found %.100s, expected %.80s; %.240s",
                 outcome, icd_i_get_string(row, "found"), icd_i_get_string(row, "target"),
                 icd_i_get_string(row, "reason"));
        test(s, "gates", icd_i_get_string(row, "name"),
             met       ? PASSED
             : not_met ? FAILED
                       : SKIPPED,
             message);
    }
}

static void exactness(suite *s)
{
    const json_t *row = NULL;
    size_t i = 0;
    json_array_foreach(icd_i_page_get(s->page, "exactness"), i, row)
    {
        char message[96];
        snprintf(message, sizeof message, "largest difference %.2e, at most %.2e",
                 icd_i_get_real(row, "max_rel"), icd_i_get_real(row, "bound"));
        test(s, "exactness", icd_i_get_string(row, "what"),
             icd_i_get_bool(row, "ok") ? PASSED : FAILED, message);
    }
}

static void control(suite *s)
{
    const json_t *row = icd_i_page_comparison(s->page, "linear", "linear A/A");
    double low = 100 * icd_i_get_real(row, "low"),
           high = 100 * icd_i_get_real(row, "high");
    char message[96];
    bool measured = isfinite(low) && isfinite(high);
    snprintf(message, sizeof message, "[%+.2f, %+.2f] %%, expected inside +-1 %%", low,
             high);
    test(s, "controls", "A/A",
         !measured                ? SKIPPED
         : low >= -1 && high <= 1 ? PASSED
                                  : FAILED,
         measured ? message : "nothing was measured");
}

static void outcome(suite *s)
{
    const char *name = icd_i_get_string(s->page->metrics, "outcome"),
               *cause = icd_i_get_string(s->page->metrics, "cause");
    result r = !strcmp(name, "kept")          ? PASSED
               : !strcmp(name, "rolled_back") ? FAILED
                                              : SKIPPED;
    test(s, "outcome", "pi1 is kept", r, *cause ? cause : name);
}

static void tests(suite *s)
{
    outcome(s);
    gates(s);
    control(s);
    exactness(s);
}

void icd_i_junit(icd_page *page)
{
    suite counted = {.page = page, .count_only = true}, written = {.page = page};
    const json_t *stage = NULL;
    size_t i = 0;
    double seconds = 0;
    json_array_foreach(icd_i_page_get(page, "stages"), i, stage)
    {
        double one = icd_i_get_real(stage, "seconds");
        if (isfinite(one)) seconds += one;
    }
    tests(&counted);
    icd_i_page_put(page,
                   "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"icd\" "
                   "tests=\"%d\" failures=\"%d\" skipped=\"%d\" errors=\"0\" "
                   "time=\"%.3f\">\n",
                   counted.tests, counted.failures, counted.skipped, seconds);
    tests(&written);
    icd_i_page_raw(page, "</testsuite>\n");
}
