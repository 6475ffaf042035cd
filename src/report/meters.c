/* What the meters say: every metric of iterative against linear, with where it is from.
 */
#include "report/html.h"

#include <math.h>
#include <string.h>

/* Badges that style.c knows. */
static void badge(icd_page *page, const char *provenance)
{
    static const char *const KNOWN[] = {"MEASURED", "SIMULATED", "MODELLED"};
    static const char *const CLASS[] = {"kept", "sim", "sim"};
    for (size_t i = 0; i < sizeof KNOWN / sizeof KNOWN[0]; i++)
        if (!strcmp(provenance, KNOWN[i])) {
            icd_i_page_put(page, "<span class=\"badge %s\">%s</span>", CLASS[i],
                           KNOWN[i]);
            return;
        }
    icd_i_page_raw(page, "<span class=badge>ABSENT</span>");
}

static const char *verdict_class(const char *verdict)
{
    if (!strcmp(verdict, "BETTER")) return "good";
    return !strcmp(verdict, "WORSE") ? "bad" : "";
}

static void change_cell(icd_page *page, const json_t *e)
{
    double change = icd_i_get_real(e, "change"), low, high;
    icd_i_page_raw(page, "<td class=n>");
    if (isfinite(change)) {
        icd_i_page_put(page, "%+.2f&nbsp;", change);
        icd_i_page_text(page, icd_i_get_string(e, "unit"));
        if (icd_i_metric_interval(e, &low, &high))
            icd_i_page_put(page, " <small>[%+.2f, %+.2f]</small>", low, high);
    } else {
        icd_i_page_raw(page, "&ndash;");
    }
    icd_i_page_raw(page, "</td>");
}

static void evidence_row(icd_page *page, const json_t *e)
{
    const char *verdict = icd_i_get_string(e, "verdict");
    icd_i_page_row(page, icd_i_get_string(e, "name"));
    icd_i_page_raw(page, "<td>");
    badge(page, icd_i_get_string(e, "provenance"));
    icd_i_page_raw(page, "</td>");
    change_cell(page, e);
    bool decides = !strcmp(icd_i_get_string(e, "provenance"), "MEASURED");
    icd_i_page_put(page, "<td class=\"%s\">", decides ? verdict_class(verdict) : "");
    icd_i_page_text(page, verdict);
    icd_i_page_raw(page, "</td>");
    icd_i_page_number(page, icd_i_get_real(e, "p_holm"), 4);
    icd_i_page_count(page, icd_i_get_real(e, "count"));
    icd_i_page_cell(page, icd_i_get_string(e, "reason"));
    icd_i_page_row_end(page);
}

static void evidence_table(icd_page *page, const json_t *rows)
{
    const json_t *e = NULL;
    size_t i = 0;
    if (json_array_size(rows) == 0) return;
    icd_i_page_table(
        page,
        "Iterative against linear by every metric; only MEASURED ones decide, "
        "p after Holm over those",
        "metric|source|#change|verdict|#p|#samples|why");
    json_array_foreach(rows, i, e) evidence_row(page, e);
    icd_i_page_table_end(page);
}

static bool any_reading(const json_t *arms)
{
    static const char *const KEY[] = {"l2_hit_pct", "dram_bytes", "ept_j_per_tok"};
    const json_t *arm = NULL;
    size_t i = 0;
    json_array_foreach(arms, i, arm) for (size_t k = 0; k < 3; k++) if (
        isfinite(icd_i_metric_value(json_object_get(arm, KEY[k])))) return true;
    return false;
}

static void readings_table(icd_page *page, const json_t *arms)
{
    const json_t *arm = NULL;
    size_t i = 0;
    if (!any_reading(arms)) {
        icd_i_page_raw(page, "<p class=note>No meter read L2, DRAM or energy here; "
                             "<code>icd doctor</code> says what would make it "
                             "possible.</p>\n");
        return;
    }
    icd_i_page_table(page, "Memory and energy of every arm",
                     "arm|#L2 hit %|#DRAM MB a step|#J/token|#packed MB");
    json_array_foreach(arms, i, arm)
    {
        const json_t *dram = json_object_get(arm, "dram_bytes");
        icd_i_page_row(page, icd_i_get_string(arm, "name"));
        icd_i_page_metric(page, json_object_get(arm, "l2_hit_pct"), 2);
        icd_i_page_raw(page, "<td class=n>");
        icd_i_page_real(page, icd_i_metric_value(dram) / 1e6, 2);
        if (isfinite(icd_i_metric_value(dram))) {
            icd_i_page_raw(page, " ");
            badge(page, icd_i_get_string(dram, "provenance"));
        }
        icd_i_page_raw(page, "</td>");
        icd_i_page_metric(page, json_object_get(arm, "ept_j_per_tok"), 4);
        icd_i_page_number(page, icd_i_get_real(arm, "bytes") / 1e6, 2);
        icd_i_page_row_end(page);
    }
    icd_i_page_table_end(page);
}

void icd_i_section_meters(icd_page *page)
{
    const json_t *arms = icd_i_page_get(page, "arms"),
                 *evidence = icd_i_page_get(page, "evidence");
    if (json_array_size(arms) == 0) return;
    if (json_array_size(evidence) == 0 && !any_reading(arms)) return;
    icd_i_page_section(page, "metrics", "Metrics and where they are from");
    evidence_table(page, evidence);
    readings_table(page, arms);
}
