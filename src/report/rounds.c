/* The iteration: what every round changed, what it lost and gained, and why it ended. */
#include "report/html.h"

#include <math.h>
#include <string.h>

static const json_t *rows(const icd_page *page)
{
    return json_object_get(icd_i_page_get(page, "rounds"), "round");
}

/* "3 of 16 groups redone: scale groups" */
static void changed_cell(icd_page *page, const json_t *r)
{
    const json_t *groups = json_object_get(r, "groups"), *first = NULL;
    double redone = icd_i_get_real(r, "redone");
    icd_i_page_raw(page, "<td>");
    if (json_array_size(groups) == 0) {
        icd_i_page_raw(page, "first transform, pi1");
    } else {
        first = json_array_get(groups, 0);
        icd_i_page_text(page, icd_i_get_string(first, "what"));
        icd_i_page_raw(page, ": ");
        icd_i_page_real(page, redone, 0);
        icd_i_page_put(page, " of %d redone", (int)json_array_size(groups));
    }
    icd_i_page_raw(page, "</td>");
}

/* "before &rarr; after", or what there is of it. */
static void pair_cell(icd_page *page, double before, double after, int decimals,
                      const char *unit)
{
    icd_i_page_raw(page, "<td class=n>");
    if (isfinite(before)) {
        icd_i_page_real(page, before, decimals);
        icd_i_page_raw(page, " &rarr; ");
    }
    icd_i_page_real(page, after, decimals);
    if (isfinite(after)) icd_i_page_raw(page, unit);
    icd_i_page_raw(page, "</td>");
}

static double live_share(const json_t *cost)
{
    double all = icd_i_get_real(cost, "all");
    return all > 0 ? 100 * icd_i_get_real(cost, "live") / all : NAN;
}

static void range(icd_page *page, double low, double high)
{
    icd_i_page_put(page, "%+.1f to %+.1f&nbsp;%%", 100 * low, 100 * high);
}

static bool sane(double a, double b)
{
    return fabs(a) < 1e6 && fabs(b) < 1e6;
}

static void predicted_cell(icd_page *page, const json_t *p)
{
    double low = icd_i_get_real(p, "time_low") - 1,
           high = icd_i_get_real(p, "time_high") - 1;
    icd_i_page_raw(page, "<td class=n>");
    if (sane(low, high) && fabs(high - low) < 5e-4)
        icd_i_page_put(page, "%+.1f&nbsp;%%", 100 * low);
    else if (sane(low, high))
        range(page, low, high);
    else
        icd_i_page_raw(page, "&ndash;");
    icd_i_page_raw(page, "</td>");
}

static void gain_cell(icd_page *page, const json_t *g)
{
    double change = icd_i_get_real(g, "change"), low = icd_i_get_real(g, "low"),
           high = icd_i_get_real(g, "high");
    const char *verdict = icd_i_get_string(g, "verdict");
    icd_i_page_put(page, "<td class=\"n %s\">", icd_i_verdict_class(verdict));
    if (sane(change, change)) {
        icd_i_page_put(page, "%+.1f&nbsp;%%", 100 * change);
        if (sane(low, high)) {
            icd_i_page_raw(page, "<br><small>");
            range(page, low, high);
            icd_i_page_raw(page, "</small>");
        }
        icd_i_page_raw(page, "<br><small>");
        icd_i_page_text(page, verdict);
        icd_i_page_raw(page, "</small>");
    } else {
        icd_i_page_raw(page, "not timed");
    }
    icd_i_page_raw(page, "</td>");
}

static void round_row(icd_page *page, const json_t *r)
{
    const json_t *before = json_object_get(r, "before"),
                 *after = json_object_get(r, "after");
    bool kept = icd_i_get_bool(r, "kept");
    icd_i_page_raw(page, "<tr><th scope=row>");
    icd_i_page_real(page, icd_i_get_real(r, "round"), 0);
    icd_i_page_raw(page, " <small>against ");
    icd_i_page_text(page, icd_i_get_string(r, "against"));
    icd_i_page_raw(page, "</small></th>");
    changed_cell(page, r);
    pair_cell(page, 100 * icd_i_get_real(r, "loss_before"),
              100 * icd_i_get_real(r, "loss_after"), 3, "&nbsp;%");
    pair_cell(page, NAN, 100 * icd_i_get_real(r, "moved") / icd_i_get_real(r, "inputs"),
              0, "&nbsp;%");
    pair_cell(page, live_share(before), live_share(after), 1, "&nbsp;%");
    predicted_cell(page, json_object_get(r, "predicted"));
    gain_cell(page, json_object_get(r, "gain"));
    icd_i_page_put(page, "<td class=%s>%s</td>", kept ? "good" : "bad",
                   kept ? "yes" : "no");
    icd_i_page_row_end(page);
}

static void group_row(icd_page *page, const json_t *g)
{
    double before = icd_i_get_real(g, "loss_before"),
           after = icd_i_get_real(g, "loss_after");
    icd_i_page_row(page, icd_i_get_string(g, "group"));
    icd_i_page_cell(page, icd_i_get_string(g, "what"));
    icd_i_page_number(page, 100 * before, 4);
    icd_i_page_number(page, 100 * after, 4);
    icd_i_page_percent(page, after / before - 1, 2);
    icd_i_page_raw(page, icd_i_get_bool(g, "redone") ? "<td class=good>redone</td>"
                                                     : "<td>the old one stayed</td>");
    icd_i_page_row_end(page);
}

static void groups_table(icd_page *page, const json_t *r)
{
    const json_t *groups = json_object_get(r, "groups"), *g = NULL;
    size_t i = 0;
    if (json_array_size(groups) == 0) return;
    icd_i_page_raw(page, "<details><summary>Transforms tried again in round ");
    icd_i_page_real(page, icd_i_get_real(r, "round"), 0);
    icd_i_page_put(page, " (%d)</summary>\n", (int)json_array_size(groups));
    icd_i_page_table(page,
                     "Loss of the linears that read one input: share of the weights' "
                     "energy that masks and rounding take",
                     "input of|what|#loss before, %|#loss redone, %|#change|result");
    json_array_foreach(groups, i, g) group_row(page, g);
    icd_i_page_table_end(page);
    icd_i_page_raw(page, "</details>\n");
}

static void reasons(icd_page *page, const json_t *list)
{
    const json_t *r = NULL;
    size_t i = 0;
    json_array_foreach(list, i, r)
    {
        const char *why = icd_i_get_string(r, "why");
        if (!*why) continue;
        icd_i_page_raw(page, "<p class=note>Round ");
        icd_i_page_real(page, icd_i_get_real(r, "round"), 0);
        icd_i_page_raw(page,
                       icd_i_get_bool(r, "kept") ? " was kept: " : " was not kept: ");
        icd_i_page_text(page, why);
        icd_i_page_raw(page, ".</p>\n");
    }
}

void icd_i_section_rounds(icd_page *page)
{
    const json_t *all = icd_i_page_get(page, "rounds"), *list = rows(page), *r = NULL;
    size_t i = 0;
    if (json_array_size(list) == 0) return;
    icd_i_page_section(page, "rounds", "Rounds");
    icd_i_page_raw(page, "<p>Transform, order and measurement were repeated, each time "
                         "under the layout of the round before and timed against it. "
                         "What this page shows elsewhere is round <b>");
    icd_i_page_real(page, icd_i_get_real(all, "shown"), 0);
    icd_i_page_raw(page, "</b>. <b>Why it ended:</b> ");
    icd_i_page_text(page, icd_i_get_string(all, "stopped"));
    icd_i_page_raw(page, ".</p>\n");
    icd_i_page_table(page,
                     "Loss is what S and Q take of the weights' energy; predicted and "
                     "measured are changes of the time of a step, with 95 % intervals",
                     "round|what changed|#loss|#inputs moved|#live granules|#predicted|"
                     "#measured|kept");
    json_array_foreach(list, i, r) round_row(page, r);
    icd_i_page_table_end(page);
    reasons(page, list);
    json_array_foreach(list, i, r) groups_table(page, r);
}

static void md_number(icd_page *page, double value, int decimals)
{
    if (isfinite(value) && fabs(value) < 1e15)
        icd_i_page_put(page, "%.*f", decimals, value);
    else
        icd_i_page_raw(page, "-");
}

static void md_row(icd_page *page, const json_t *r)
{
    const json_t *g = json_object_get(r, "gain");
    icd_i_page_raw(page, "| ");
    md_number(page, icd_i_get_real(r, "round"), 0);
    icd_i_page_raw(page, " | ");
    icd_i_page_markdown(page, icd_i_get_string(r, "against"));
    icd_i_page_raw(page, " | ");
    md_number(page, icd_i_get_real(r, "redone"), 0);
    icd_i_page_raw(page, " | ");
    md_number(page, 100 * icd_i_get_real(r, "loss_before"), 3);
    icd_i_page_raw(page, " | ");
    md_number(page, 100 * icd_i_get_real(r, "loss_after"), 3);
    icd_i_page_raw(page, " | ");
    md_number(page, live_share(json_object_get(r, "after")), 1);
    icd_i_page_raw(page, " | ");
    md_number(page, 100 * icd_i_get_real(g, "change"), 1);
    icd_i_page_raw(page, " \\[");
    md_number(page, 100 * icd_i_get_real(g, "low"), 1);
    icd_i_page_raw(page, ", ");
    md_number(page, 100 * icd_i_get_real(g, "high"), 1);
    icd_i_page_put(page, "\\] | %s |\n", icd_i_get_bool(r, "kept") ? "yes" : "no");
}

void icd_i_markdown_rounds(icd_page *page)
{
    const json_t *list = rows(page), *r = NULL;
    size_t i = 0;
    if (json_array_size(list) == 0) return;
    icd_i_page_raw(page, "### Rounds\n\n| round | against | groups redone | loss before, "
                         "% | loss after, % | live, % | time, % | kept |\n"
                         "| ---: | --- | ---: | ---: | ---: | ---: | ---: | --- |\n");
    json_array_foreach(list, i, r) md_row(page, r);
    icd_i_page_raw(page, "\nIt ended because ");
    icd_i_page_markdown(page,
                        icd_i_get_string(icd_i_page_get(page, "rounds"), "stopped"));
    icd_i_page_raw(page, ".\n\n");
}
