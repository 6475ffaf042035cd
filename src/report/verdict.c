/* The head of the page: what came out, how sure that is, what was kept and why. */
#include "report/html.h"

#include <math.h>
#include <string.h>

static void badge(icd_page *page)
{
    static const char *const TABLE[][3] = {
        {"kept", "kept", "pi1 kept"},
        {"rolled_back", "rolled", "rolled back"},
        {"not_measured", "", "not measured"},
        {"dry_run", "", "dry run"},
    };
    const char *outcome = icd_i_get_string(page->metrics, "outcome");
    for (size_t i = 0; i < sizeof TABLE / sizeof TABLE[0]; i++)
        if (!strcmp(outcome, TABLE[i][0])) {
            icd_i_page_put(page, "<span class=\"badge %s\">%s</span>", TABLE[i][1],
                           TABLE[i][2]);
            return;
        }
    icd_i_page_raw(page, "<span class=badge>outcome unknown</span>");
}

static void model_line(icd_page *page)
{
    const json_t *model = icd_i_page_get(page, "model"),
                 *input = icd_i_page_get(page, "input");
    const char *name = icd_i_get_string(model, "name");
    icd_i_page_raw(page, "<p class=sub>");
    icd_i_page_text(page, *name ? name : "model unknown");
    icd_i_page_raw(page, " (");
    icd_i_page_text(page, icd_i_get_string(model, "arch"));
    icd_i_page_raw(page, ", ");
    icd_i_page_real(page, icd_i_get_real(model, "parameters") / 1e6, 1);
    icd_i_page_raw(page, icd_i_get_bool(model, "synthetic")
                             ? "&nbsp;M parameters, synthetic weights), input "
                             : "&nbsp;M parameters), input ");
    icd_i_page_text(page, icd_i_get_string(input, "name"));
    icd_i_page_raw(page, ", ");
    icd_i_page_real(page, icd_i_get_real(input, "batch"), 0);
    icd_i_page_raw(page, "&nbsp;&times;&nbsp;");
    icd_i_page_real(page, icd_i_get_real(input, "seq"), 0);
    icd_i_page_raw(page, " tokens a step</p>\n");
    if (icd_i_get_bool(model, "fallback"))
        icd_i_page_raw(page, "<p class=note>The configured model was not there; this run "
                             "used the block that ships with ICD.</p>\n");
}

static void verdict_lines(icd_page *page)
{
    const json_t *line = NULL;
    size_t i = 0;
    bool any = false;
    icd_i_page_raw(page, "<div class=verdict>");
    json_array_foreach(icd_i_page_get(page, "verdict"), i, line)
    {
        if (!json_string_length(line)) continue;
        icd_i_page_raw(page, any ? "<p>" : "<p class=first>");
        icd_i_page_text(page, json_string_value(line));
        icd_i_page_raw(page, "</p>");
        any = true;
    }
    if (!any) icd_i_page_raw(page, "<p class=first>The run recorded no verdict.</p>");
    icd_i_page_raw(page, "</div>\n");
}

static void cause(icd_page *page)
{
    const char *text = icd_i_get_string(page->metrics, "cause");
    bool rolled_back = !strcmp(icd_i_get_string(page->metrics, "outcome"), "rolled_back");
    if (!*text && !rolled_back) return;
    icd_i_page_raw(page, rolled_back
                             ? "<p class=cause><strong>Why it was rolled back:</strong> "
                             : "<p class=cause><strong>Cause:</strong> ");
    icd_i_page_text(page, *text ? text : "no cause was recorded");
    icd_i_page_raw(page, "</p>\n");
}

static void tile(icd_page *page, const char *label, const char *class)
{
    icd_i_page_put(page, "<div><dt>%s</dt><dd class=\"big %s\">", label, class);
}

static void tile_note(icd_page *page)
{
    icd_i_page_raw(page, "</dd><dd><small>");
}

static void tile_end(icd_page *page)
{
    icd_i_page_raw(page, "</small></dd></div>\n");
}

static void absent_tile(icd_page *page, const char *label, const char *reason)
{
    tile(page, label, "absent");
    icd_i_page_raw(page, "absent");
    tile_note(page);
    icd_i_page_short_reason(page, *reason ? reason : "no reason was recorded");
    tile_end(page);
}

static void signed_percent(icd_page *page, double share)
{
    if (share > 0 && isfinite(100 * share)) icd_i_page_raw(page, "+");
    icd_i_page_real(page, 100 * share, 1);
}

/* A control must lie inside +-1 %: beyond that it is bad, in either direction. */
static const char *control_class(const json_t *row)
{
    double low = icd_i_get_real(row, "low"), high = icd_i_get_real(row, "high");
    return low >= -.01 && high <= .01 ? "good" : "bad";
}

/* The alternative with the lowest mean; NULL: none was timed. */
static const char *strongest_alternative(icd_page *page)
{
    const json_t *arm = NULL, *best = NULL;
    size_t i = 0;
    json_array_foreach(icd_i_page_get(page, "arms"), i, arm)
    {
        double ms = icd_i_metric_value(json_object_get(arm, "lat_ms"));
        if (strcmp(icd_i_get_string(arm, "role"), "alternative") != 0 || !isfinite(ms))
            continue;
        if (!best || ms < icd_i_metric_value(json_object_get(best, "lat_ms"))) best = arm;
    }
    return best ? icd_i_get_string(best, "name") : NULL;
}

/* A comparison with its interval; what is missing is absent, with the reason. */
static void comparison_tile(icd_page *page, const char *label, const char *a,
                            const char *b, bool control)
{
    const json_t *row = icd_i_page_comparison(page, a, b);
    const char *verdict = icd_i_page_verdict(page, row);
    double delta = icd_i_get_real(row, "delta");
    if (!isfinite(delta)) {
        absent_tile(page, label, icd_i_get_string(page->metrics, "stopped"));
        return;
    }
    tile(page, label, control ? control_class(row) : icd_i_verdict_class(verdict));
    signed_percent(page, delta);
    icd_i_page_raw(page, "&nbsp;%");
    tile_note(page);
    if (strcmp(a, "linear") != 0 && !control) {
        icd_i_page_text(page, a);
        icd_i_page_raw(page, ": ");
    }
    icd_i_page_text(page, verdict);
    if (!control && icd_i_page_control_failed(page))
        icd_i_page_raw(page, " (the A/A control failed)");
    icd_i_page_raw(page, ", 95&nbsp;% CI ");
    signed_percent(page, icd_i_get_real(row, "low"));
    icd_i_page_raw(page, " to ");
    signed_percent(page, icd_i_get_real(row, "high"));
    icd_i_page_raw(page, "&nbsp;%, ");
    icd_i_page_real(page, icd_i_get_real(row, "blocks"), 0);
    icd_i_page_raw(page, " blocks");
    tile_end(page);
}

/* From what linear has to what iterative has; nothing where either is missing. */
static void change_tile(icd_page *page, const char *label, double from, double to,
                        int decimals, const char *unit, const char *note)
{
    if (!isfinite(from) || !isfinite(to)) return;
    tile(page, label, "");
    icd_i_page_real(page, from, decimals);
    icd_i_page_raw(page, " &rarr; ");
    icd_i_page_real(page, to, decimals);
    icd_i_page_put(page, "&nbsp;%s", unit);
    tile_note(page);
    icd_i_page_raw(page, note);
    tile_end(page);
}

static double live_percent(const json_t *arm)
{
    double all = icd_i_get_real(arm, "all");
    return all > 0 ? 100 * icd_i_get_real(arm, "live") / all : NAN;
}

static void metric_tile(icd_page *page, const char *label, const json_t *metric)
{
    if (metric && !isfinite(icd_i_metric_value(metric)))
        absent_tile(page, label, icd_i_get_string(metric, "reason"));
}

static void tiles(icd_page *page)
{
    const json_t *linear = icd_i_page_arm(page, "linear"),
                 *iterative = icd_i_page_arm(page, "iterative");
    double cosine = icd_i_get_real(icd_i_page_get(page, "transform"), "cosine_vs_dense");
    const char *strongest = strongest_alternative(page);
    icd_i_page_raw(page, "<dl class=tiles>");
    comparison_tile(page, "Latency, iterative against linear", "linear", "iterative",
                    false);
    if (strongest && icd_i_page_comparison(page, strongest, "iterative"))
        comparison_tile(page, "Iterative against the strongest alternative", strongest,
                        "iterative", false);
    change_tile(page, "A step", icd_i_metric_value(json_object_get(linear, "lat_ms")),
                icd_i_metric_value(json_object_get(iterative, "lat_ms")), 2, "ms",
                "mean, linear &rarr; iterative");
    change_tile(page, "Live granules", live_percent(linear), live_percent(iterative), 1,
                "%", "of all, linear &rarr; iterative");
    change_tile(page, "Packed weights", icd_i_get_real(linear, "bytes") / 1e6,
                icd_i_get_real(iterative, "bytes") / 1e6, 2, "MB",
                "linear &rarr; iterative");
    comparison_tile(page, "Control A/A: must be 0", "linear", "linear A/A", true);
    if (icd_i_page_comparison(page, "dense random", "dense pi1"))
        comparison_tile(page, "Control dense: must be 0", "dense random", "dense pi1",
                        true);
    if (isfinite(cosine)) {
        tile(page, "Outputs", "");
        icd_i_page_real(page, cosine, 4);
        tile_note(page);
        icd_i_page_raw(page, "mean cosine to the untransformed f32 model");
        tile_end(page);
    }
    metric_tile(page, "L2 hit rate", json_object_get(linear, "l2_hit_pct"));
    metric_tile(page, "Energy per token", json_object_get(linear, "ept_j_per_tok"));
    icd_i_page_raw(page, "</dl>\n");
}

void icd_i_section_verdict(icd_page *page)
{
    icd_i_page_raw(page, "<header><h1>ICD report ");
    badge(page);
    icd_i_page_raw(page, "</h1>\n");
    model_line(page);
    verdict_lines(page);
    cause(page);
    tiles(page);
    icd_i_page_raw(page, "</header>\n");
}
