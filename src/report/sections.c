/* The sections of the page, top to bottom: verdict, arms, layers, orders, checks,
 * environment. */
#include "report/html.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const json_t *list(const icd_page *page, const char *key)
{
    return json_object_get(page->metrics, key);
}

static void badge(icd_page *page, const char *outcome)
{
    static const char *const TABLE[][2] = {
        {"kept", "kept"},
        {"rolled_back", "rolled back"},
        {"not_measured", "not measured"},
        {"dry_run", "dry run"},
    };
    for (size_t i = 0; i < sizeof TABLE / sizeof TABLE[0]; i++)
        if (!strcmp(outcome, TABLE[i][0]))
            icd_i_page_put(page, "<span class=\"badge %s\">%s</span>", TABLE[i][0],
                           TABLE[i][1]);
}

static void model_line(icd_page *page)
{
    const json_t *model = list(page, "model"), *input = list(page, "input");
    icd_i_page_put(page, "<p class=sub>");
    icd_i_page_text(page, icd_i_get_string(model, "name"));
    icd_i_page_put(
        page, " (%s, %.1f M parameters%s), input ", icd_i_get_string(model, "arch"),
        icd_i_get_real(model, "parameters") / 1e6,
        json_is_true(json_object_get(model, "synthetic")) ? ", synthetic weights" : "");
    icd_i_page_text(page, icd_i_get_string(input, "name"));
    icd_i_page_put(page, ", %.0f x %.0f tokens a step</p>\n",
                   icd_i_get_real(input, "batch"), icd_i_get_real(input, "seq"));
    if (json_is_true(json_object_get(model, "fallback")))
        icd_i_page_put(
            page, "<p class=note>The configured model was not there; this run used the "
                  "block that ships with ICD.</p>\n");
}

void icd_i_section_verdict(icd_page *page)
{
    const json_t *line = NULL;
    size_t i = 0;
    icd_i_page_put(page, "<header><h1>ICD report ");
    badge(page, icd_i_get_string(page->metrics, "outcome"));
    icd_i_page_put(page, "</h1>\n");
    model_line(page);
    icd_i_page_put(page, "<div class=verdict>");
    json_array_foreach(list(page, "verdict"), i, line)
    {
        icd_i_page_put(page, i == 0 ? "<p class=first>" : "<p>");
        icd_i_page_text(page, json_string_value(line));
        icd_i_page_put(page, "</p>");
    }
    icd_i_page_put(page, "</div>\n");
    const char *cause = icd_i_get_string(page->metrics, "cause");
    if (*cause) {
        icd_i_page_put(page, "<p class=cause><strong>Why:</strong> ");
        icd_i_page_text(page, cause);
        icd_i_page_put(page, "</p>\n");
    }
    icd_i_page_put(page, "</header>\n");
}

static double top_latency(const json_t *arms)
{
    const json_t *arm = NULL;
    size_t i = 0;
    double top = 0;
    json_array_foreach(arms, i, arm)
    {
        double high = icd_i_get_real(json_object_get(arm, "lat_ms"), "high");
        if (high > top) top = high;
    }
    return top;
}

/* One bar with its whisker. x: 150..650 is 0..top. */
static void arm_bar(icd_page *page, const json_t *arm, size_t i, double top)
{
    const json_t *lat = json_object_get(arm, "lat_ms");
    double value = icd_i_get_real(lat, "value"), scale = top > 0 ? 480 / top : 0;
    double low = icd_i_get_real(lat, "low"), high = icd_i_get_real(lat, "high");
    double y = 8 + 26 * (double)i;
    if (!isfinite(value)) return;
    icd_i_page_put(page, "<text x=142 y=%.0f text-anchor=end>", y + 13);
    icd_i_page_text(page, icd_i_get_string(arm, "name"));
    icd_i_page_put(
        page, "</text><rect class=\"bar %s\" x=150 y=%.0f width=%.1f height=18 rx=2 />",
        icd_i_get_string(arm, "role"), y, value * scale);
    icd_i_page_put(
        page, "<path class=whisker d=\"M%.1f %.0fV%.0fM%.1f %.0fV%.0fM%.1f %.0fH%.1f\"/>",
        150 + low * scale, y + 4, y + 14, 150 + high * scale, y + 4, y + 14,
        150 + low * scale, y + 9, 150 + high * scale);
    icd_i_page_put(page, "<text x=%.0f y=%.0f>%.3f ms</text>\n", 158 + high * scale,
                   y + 13, value);
}

static void arms_chart(icd_page *page, const json_t *arms)
{
    const json_t *arm = NULL;
    size_t i = 0;
    double top = top_latency(arms);
    icd_i_page_put(
        page,
        "<svg role=img viewBox=\"0 0 720 %.0f\" aria-label=\"Mean latency of every arm "
        "with its 95 percent interval; the table below has the same numbers\">\n",
        14 + 26 * (double)json_array_size(arms));
    json_array_foreach(arms, i, arm) arm_bar(page, arm, i, top);
    icd_i_page_put(page, "</svg>\n");
}

static void interval_cell(icd_page *page, const json_t *metric, int decimals)
{
    double value = icd_i_get_real(metric, "value");
    if (!isfinite(value)) {
        icd_i_page_put(page, "<td class=n title=\"");
        icd_i_page_text(page, icd_i_get_string(metric, "reason"));
        icd_i_page_put(page, "\">absent</td>");
        return;
    }
    icd_i_page_put(page, "<td class=n>%.*f <small>[%.*f, %.*f]</small></td>", decimals,
                   value, decimals, icd_i_get_real(metric, "low"), decimals,
                   icd_i_get_real(metric, "high"));
}

static void arms_table(icd_page *page, const json_t *arms)
{
    const json_t *arm = NULL;
    size_t i = 0;
    icd_i_page_table(
        page, "Latency per step, mean with 95 % interval of the mean (MEASURED)",
        "arm|role|kernel|#mean ms|#p50|#p95|#tokens/s|#samples|#steps a sample|#live "
        "granules|#packed weights");
    json_array_foreach(arms, i, arm)
    {
        double live = icd_i_get_real(arm, "live"), all = icd_i_get_real(arm, "all");
        icd_i_page_put(page, "<tr>");
        icd_i_page_cell(page, icd_i_get_string(arm, "name"));
        icd_i_page_cell(page, icd_i_get_string(arm, "role"));
        icd_i_page_cell(page, icd_i_get_string(arm, "kernel"));
        interval_cell(page, json_object_get(arm, "lat_ms"), 3);
        icd_i_page_number(page, icd_i_get_real(arm, "p50_ms"), 3);
        icd_i_page_number(page, icd_i_get_real(arm, "p95_ms"), 3);
        icd_i_page_count(page,
                         icd_i_get_real(json_object_get(arm, "toks_per_s"), "value"));
        icd_i_page_count(page, icd_i_get_real(arm, "repeats"));
        icd_i_page_count(page, icd_i_get_real(arm, "burst"));
        icd_i_page_percent(page, all > 0 ? live / all : NAN, 1);
        icd_i_page_put(page, "<td class=n>%.2f&nbsp;MB</td></tr>\n",
                       icd_i_get_real(arm, "bytes") / 1e6);
    }
    icd_i_page_table_end(page);
}

static void comparisons_table(icd_page *page)
{
    const json_t *row = NULL;
    size_t i = 0;
    icd_i_page_table(
        page,
        "Paired comparisons over interleaving blocks; delta is the change of b against "
        "a, 95 % BCa bootstrap interval",
        "b against a|#delta|#low|#high|verdict|#p|#Hedges g|#blocks");
    json_array_foreach(list(page, "comparisons"), i, row)
    {
        icd_i_page_put(page, "<tr><td>");
        icd_i_page_text(page, icd_i_get_string(row, "b"));
        icd_i_page_put(page, " against ");
        icd_i_page_text(page, icd_i_get_string(row, "a"));
        icd_i_page_put(page, "</td>");
        icd_i_page_percent(page, icd_i_get_real(row, "delta"), 2);
        icd_i_page_percent(page, icd_i_get_real(row, "low"), 2);
        icd_i_page_percent(page, icd_i_get_real(row, "high"), 2);
        icd_i_page_cell(page, icd_i_get_string(row, "verdict"));
        icd_i_page_number(page, icd_i_get_real(row, "p_value"), 4);
        icd_i_page_number(page, icd_i_get_real(row, "hedges_g"), 2);
        icd_i_page_count(page, icd_i_get_real(row, "blocks"));
        icd_i_page_put(page, "</tr>\n");
    }
    icd_i_page_table_end(page);
}

void icd_i_section_arms(icd_page *page)
{
    const json_t *arms = list(page, "arms");
    if (json_array_size(arms) == 0) return;
    icd_i_page_section(page, "arms", "Arms");
    icd_i_page_put(
        page,
        "<p>Every arm computes the same numbers from the same masks; only the order "
        "of memory and the kernel differ. <em>dense pi1</em> and <em>dense "
        "random</em> are the negative control: both pay for writing through an order, "
        "and "
        "a dense kernel cannot tell which. <em>linear A/A</em> is a second copy of "
        "<em>linear</em>.</p>\n");
    arms_chart(page, arms);
    arms_table(page, arms);
    comparisons_table(page);
    icd_i_page_put(page, "<p class=note>Measurement ended because ");
    icd_i_page_text(page, icd_i_get_string(page->metrics, "stopped"));
    icd_i_page_put(page, ".</p>\n");
}

/* Shares of live granules of one linear as four thin bars. */
static void live_bars(icd_page *page, const json_t *row, double y)
{
    static const char *const ARM[] = {"linear", "iterative", "random", "frequency"};
    const json_t *live = json_object_get(row, "live");
    double all = icd_i_get_real(row, "all");
    icd_i_page_put(page, "<text x=182 y=%.0f text-anchor=end>", y + 15);
    icd_i_page_text(page, icd_i_get_string(row, "linear"));
    icd_i_page_put(page, "</text>");
    for (int i = 0; i < 4; i++) {
        double share = icd_i_get_real(live, ARM[i]) / all;
        if (isfinite(share))
            icd_i_page_put(
                page,
                "<rect class=\"bar %s\" x=190 y=%.1f width=%.1f height=5><title>%s "
                "%.1f %%</title></rect>",
                ARM[i], y + 6 * i, 480 * share, ARM[i], 100 * share);
    }
    icd_i_page_put(page, "\n");
}

static void live_chart(icd_page *page, const json_t *rows)
{
    const json_t *row = NULL;
    size_t i = 0;
    icd_i_page_put(
        page,
        "<p class=legend><i class=linear></i>linear <i class=iterative></i>iterative "
        "<i class=random></i>random <i class=frequency></i>frequency sort</p>\n<svg "
        "role=img viewBox=\"0 0 720 %.0f\" aria-label=\"Share of granules that are live "
        "in every linear; the table below has the same numbers\">\n",
        10 + 32 * (double)json_array_size(rows));
    json_array_foreach(rows, i, row) live_bars(page, row, 4 + 32 * (double)i);
    icd_i_page_put(page, "</svg>\n");
}

static void live_table(icd_page *page, const json_t *rows)
{
    const json_t *row = NULL;
    size_t i = 0;
    icd_i_page_table(
        page, "Granules of V rows x g columns that hold a surviving weight",
        "linear|#shape|#g|#density|#saliency kept|#linear|#iterative|#random|#frequency "
        "sort|#linear kB|#iterative kB");
    json_array_foreach(rows, i, row)
    {
        const json_t *live = json_object_get(row, "live"),
                     *bytes = json_object_get(row, "bytes");
        double all = icd_i_get_real(row, "all");
        icd_i_page_put(page, "<tr>");
        icd_i_page_cell(page, icd_i_get_string(row, "linear"));
        icd_i_page_put(page, "<td class=n>%.0f&times;%.0f</td>",
                       icd_i_get_real(row, "rows"), icd_i_get_real(row, "cols"));
        icd_i_page_count(page, icd_i_get_real(row, "granule"));
        icd_i_page_percent(page, icd_i_get_real(row, "density"), 1);
        icd_i_page_percent(page, icd_i_get_real(row, "retained"), 1);
        icd_i_page_percent(page, icd_i_get_real(live, "linear") / all, 1);
        icd_i_page_percent(page, icd_i_get_real(live, "iterative") / all, 1);
        icd_i_page_percent(page, icd_i_get_real(live, "random") / all, 1);
        icd_i_page_percent(page, icd_i_get_real(live, "frequency") / all, 1);
        icd_i_page_number(page, icd_i_get_real(bytes, "linear") / 1e3, 1);
        icd_i_page_number(page, icd_i_get_real(bytes, "iterative") / 1e3, 1);
        icd_i_page_put(page, "</tr>\n");
    }
    icd_i_page_table_end(page);
}

void icd_i_section_linears(icd_page *page)
{
    const json_t *rows = list(page, "linears");
    if (json_array_size(rows) == 0) return;
    icd_i_page_section(page, "layers", "Live granules per layer");
    live_chart(page, rows);
    live_table(page, rows);
}

static void orders_table(icd_page *page, const json_t *axes)
{
    const json_t *row = NULL;
    size_t i = 0;
    icd_i_page_table(
        page,
        "Orders found: T is granules touched relative to the fewest possible (1 is "
        "perfect), cut the share of W between granules",
        "axis|kind|#D|#g|#T before|#T after|#cut before|#cut after|#moved|method|#s");
    json_array_foreach(axes, i, row)
    {
        icd_i_page_put(page, "<tr>");
        icd_i_page_cell(page, icd_i_get_string(row, "axis"));
        icd_i_page_cell(page, json_is_true(json_object_get(row, "local"))
                                  ? "local order (pi1)"
                                  : "true axis (pi0)");
        icd_i_page_count(page, icd_i_get_real(row, "D"));
        icd_i_page_count(page, icd_i_get_real(row, "granule"));
        icd_i_page_number(page, icd_i_get_real(row, "T_before"), 3);
        icd_i_page_number(page, icd_i_get_real(row, "T_after"), 3);
        icd_i_page_number(page, icd_i_get_real(row, "cut_before"), 3);
        icd_i_page_number(page, icd_i_get_real(row, "cut_after"), 3);
        icd_i_page_count(page, icd_i_get_real(row, "moved"));
        icd_i_page_cell(page, icd_i_get_string(row, "method"));
        icd_i_page_number(page, icd_i_get_real(row, "elapsed_s"), 2);
        icd_i_page_put(page, "</tr>\n");
    }
    icd_i_page_table_end(page);
}

static const char *first_axis(const json_t *axes, bool local)
{
    const json_t *row = NULL;
    size_t i = 0;
    json_array_foreach(axes, i, row)
    {
        if (json_is_true(json_object_get(row, "local")) == local)
            return icd_i_get_string(row, "axis");
    }
    return NULL;
}

static void heat_pair(icd_page *page, const char *axis, bool local)
{
    char w[512];
    const char *before = local ? "perm_before.json" : NULL;
    const char *after = local ? "perm_after.json" : "perm_before.json";
    snprintf(w, sizeof w, "%s/axes/%s/%s", page->dir, axis,
             local ? "W_after.csr.npz" : "W.csr.npz");
    icd_i_page_put(page, "<h3>%s of ", local ? "W after the transform" : "W");
    icd_i_page_text(page, axis);
    icd_i_page_put(page, "</h3><div class=pair>");
    icd_i_svg_heat(page, w, before, axis,
                   local ? "before re-permutation" : "checkpoint order");
    icd_i_svg_heat(page, w, after, axis,
                   local ? "after re-permutation (pi1)" : "after pi0");
    icd_i_page_put(page, "</div>\n");
}

void icd_i_section_orders(icd_page *page)
{
    const json_t *axes = list(page, "axes");
    if (json_array_size(axes) == 0) return;
    icd_i_page_section(page, "orders", "Orders");
    const char *global = first_axis(axes, false), *local = first_axis(axes, true);
    if (global) heat_pair(page, global, false);
    if (local) heat_pair(page, local, true);
    orders_table(page, axes);
}

static void exactness_table(icd_page *page)
{
    const json_t *row = NULL;
    size_t i = 0;
    icd_i_page_table(page, "A permuted model must equal its own unpermuted self",
                     "check|#max |a-b| / max |a||#bound|#cosine|result");
    json_array_foreach(list(page, "exactness"), i, row)
    {
        icd_i_page_put(page, "<tr>");
        icd_i_page_cell(page, icd_i_get_string(row, "what"));
        icd_i_page_put(page, "<td class=n>%.2e</td><td class=n>%.0e</td>",
                       icd_i_get_real(row, "max_rel"), icd_i_get_real(row, "bound"));
        icd_i_page_number(page, icd_i_get_real(row, "cosine"), 7);
        icd_i_page_cell(page,
                        json_is_true(json_object_get(row, "ok")) ? "equal" : "DIFFERENT");
        icd_i_page_put(page, "</tr>\n");
    }
    icd_i_page_table_end(page);
}

static void gates_table(icd_page *page)
{
    const json_t *row = NULL;
    size_t i = 0;
    icd_i_page_table(page, "Gates, iterative against linear",
                     "gate|target|found|result|why");
    json_array_foreach(list(page, "gates"), i, row)
    {
        icd_i_page_put(page, "<tr>");
        icd_i_page_cell(page, icd_i_get_string(row, "name"));
        icd_i_page_cell(page, icd_i_get_string(row, "target"));
        icd_i_page_cell(page, icd_i_get_string(row, "found"));
        icd_i_page_cell(page, icd_i_get_string(row, "result"));
        icd_i_page_cell(page, icd_i_get_string(row, "reason"));
        icd_i_page_put(page, "</tr>\n");
    }
    icd_i_page_table_end(page);
}

static void transform_line(icd_page *page)
{
    const json_t *t = list(page, "transform");
    const json_t *s = json_object_get(t, "sparsity"), *q = json_object_get(t, "quant");
    icd_i_page_put(page, "<p>Transform: sparsity <b>");
    icd_i_page_text(page, icd_i_get_string(s, "type"));
    icd_i_page_put(page, "</b> (rate %.2f, V %.0f, saliency %s), quantisation <b>",
                   icd_i_get_real(s, "rate"), icd_i_get_real(s, "vector"),
                   icd_i_get_string(s, "saliency"));
    icd_i_page_text(page, icd_i_get_string(q, "dtype"));
    icd_i_page_put(
        page, "</b>. %.1f %% of the weights survive with %.1f %% of their saliency; ",
        100 * icd_i_get_real(t, "density"), 100 * icd_i_get_real(t, "retained"));
    icd_i_page_put(
        page, "mean cosine of the outputs to the untransformed f32 model: %.4f.</p>\n",
        icd_i_get_real(t, "cosine_vs_dense"));
}

void icd_i_section_checks(icd_page *page)
{
    icd_i_page_section(page, "checks", "Transform, exactness, gates");
    if (json_is_object(list(page, "transform"))) transform_line(page);
    exactness_table(page);
    gates_table(page);
}

static void stages_table(icd_page *page)
{
    const json_t *row = NULL;
    size_t i = 0;
    icd_i_page_table(page, "Stages", "stage|#seconds|result|cache");
    json_array_foreach(list(page, "stages"), i, row)
    {
        icd_i_page_put(page, "<tr>");
        icd_i_page_cell(page, icd_i_get_string(row, "stage"));
        icd_i_page_number(page, icd_i_get_real(row, "seconds"), 2);
        icd_i_page_cell(page, json_is_true(json_object_get(row, "ok")) ? "ok" : "failed");
        icd_i_page_cell(page,
                        json_is_true(json_object_get(row, "cached")) ? "reused" : "");
        icd_i_page_put(page, "</tr>\n");
    }
    icd_i_page_table_end(page);
}

static void environment_list(icd_page *page)
{
    const char *key = NULL;
    json_t *value = NULL;
    icd_i_page_put(page, "<dl>");
    json_object_foreach((json_t *)list(page, "environment"), key, value)
    {
        icd_i_page_put(page, "<dt>");
        icd_i_page_text(page, key);
        icd_i_page_put(page, "</dt><dd>");
        if (json_is_string(value))
            icd_i_page_text(page, json_string_value(value));
        else
            icd_i_page_put(page, "%.10g", json_number_value(value));
        icd_i_page_put(page, "</dd>");
    }
    icd_i_page_put(page, "</dl>\n");
}

static void reproduce(icd_page *page)
{
    const json_t *line = NULL;
    size_t i = 0;
    icd_i_page_put(page, "<h3>Reproduce</h3><pre>");
    json_array_foreach(list(page, "reproduce"), i, line)
    {
        icd_i_page_text(page, json_string_value(line));
        icd_i_page_put(page, "\n");
    }
    icd_i_page_put(
        page,
        "</pre><p>Raw data beside this file: <a href=metrics.json>metrics.json</a>, "
        "<a href=samples.csv>samples.csv</a>, <a href=report.csv>report.csv</a>, "
        "<a href=perm_active.json>perm_active.json</a>, <a "
        "href=transform_meta.json>transform_meta.json</a>, <a "
        "href=run.log>run.log</a>.</p>\n");
}

void icd_i_section_environment(icd_page *page)
{
    icd_i_page_section(page, "environment", "Stages and environment");
    stages_table(page);
    environment_list(page);
    reproduce(page);
}
