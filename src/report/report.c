#include <icd/report.h>

#include "base/file.h"
#include "base/json.h"
#include "report/html.h"

#include <math.h>
#include <stdio.h>

static const char STYLE[] =
    ":root{--ink:#1d2430;--soft:#5b6678;--line:#d9dee7;--paper:#fff;--box:#f4f6fa;--a:#"
    "7c8aa5;"
    "--b:#0b6bcb;--c:#b9c1cf;--d:#c77d14;--good:#0a7d3c;--bad:#b3261e}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e6e9ef;--soft:#9aa5b8;--line:#343b48;"
    "--paper:#14171d;--box:#1d222b;--a:#8795b0;--b:#5aa9ff;--c:#4b5464;--d:#e0a04a;--"
    "good:#4fc07f;"
    "--bad:#ff8a80}}"
    "body{font:16px/1.5 "
    "system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:"
    "60rem;margin:0 auto;padding:1rem}"
    "h1{font-size:1.6rem;margin:.5rem 0}h2{margin:2.2rem 0 .6rem;border-bottom:1px solid "
    "var(--line)}.sub,.note,figcaption,caption{color:var(--soft)}caption{text-align:left;"
    "padding:"
    ".3rem 0}.verdict{background:var(--box);border-left:5px solid var(--b);padding:.6rem "
    "1rem}"
    ".verdict p{margin:.2rem "
    "0}.first{font-size:1.15rem;font-weight:600}.cause{border-left:5px "
    "solid var(--bad);padding-left:1rem}.badge{font-size:.9rem;padding:.15rem "
    ".6rem;border-radius:"
    "1rem;color:#fff;background:#5b6678;vertical-align:middle}.kept{background:#0a7d3c}"
    ".rolled_back{background:#b3261e}"
    ".scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.86rem;margin:."
    "4rem 0}"
    "td,th{padding:.25rem .6rem;border-bottom:1px solid "
    "var(--line);text-align:left;vertical-align:"
    "top}.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}"
    "small{color:var(--soft)}svg{width:100%;max-width:720px;height:auto;font-size:12px;"
    "fill:"
    "var(--ink)}.bar{fill:var(--c)}.baseline,.linear{fill:var(--a);background:var(--a)}."
    "candidate,"
    ".iterative{fill:var(--b);background:var(--b)}.alternative,.frequency{fill:var(--d);"
    "background:"
    "var(--d)}.random{fill:var(--c);background:var(--c)}.whisker{stroke:var(--ink);fill:"
    "none}"
    ".legend i{display:inline-block;width:.8rem;height:.8rem;margin:0 .3rem 0 1rem}"
    ".pair{display:flex;flex-wrap:wrap;gap:1rem}figure{margin:0;flex:1 1 "
    "18rem}.heat{border:1px "
    "solid var(--line);fill:var(--b)}dl{display:grid;grid-template-columns:max-content "
    "1fr;gap:"
    ".1rem "
    "1rem;font-size:.9rem}dt{color:var(--soft)}dd{margin:0}pre{background:var(--box);"
    "padding:"
    ".6rem;overflow-x:auto}@media print{h2{break-after:avoid}body{max-width:none}}";

static void page_all(icd_page *page)
{
    icd_i_page_put(
        page, "<!doctype html>\n<html lang=en><head><meta charset=utf-8><meta "
              "name=viewport content=\"width=device-width,initial-scale=1\"><title>ICD "
              "report</title>\n<style>");
    if (page->status == ICD_OK)
        page->status = icd_i_text_puts(page->ctx, &page->text, STYLE);
    icd_i_page_put(page, "</style></head><body>\n");
    icd_i_section_verdict(page);
    icd_i_page_put(page, "<main>\n");
    icd_i_section_arms(page);
    icd_i_section_linears(page);
    icd_i_section_orders(page);
    icd_i_section_checks(page);
    icd_i_section_environment(page);
    icd_i_page_put(page, "</main></body></html>\n");
}

static icd_status write_html(icd_ctx *ctx, const char *dir, const json_t *metrics)
{
    char path[1024];
    icd_page page = {.ctx = ctx, .metrics = metrics, .dir = dir};
    snprintf(path, sizeof path, "%s/report.html", dir);
    page_all(&page);
    if (page.status == ICD_OK)
        page.status = icd_i_file_write(ctx, path, page.text.data, (size_t)page.text.size);
    icd_i_text_release(ctx, &page.text);
    return page.status;
}

static void csv_real(icd_page *page, double value)
{
    icd_i_page_put(page, isfinite(value) ? ",%.9g" : ",", value);
}

static void csv_arm(icd_page *page, const json_t *arm)
{
    static const char *const METRIC[] = {"lat_ms", "toks_per_s", "l2_hit_pct",
                                         "ept_j_per_tok"};
    icd_i_page_put(page, "%s,%s,%s", icd_i_get_string(arm, "name"),
                   icd_i_get_string(arm, "role"), icd_i_get_string(arm, "kernel"));
    for (size_t i = 0; i < sizeof METRIC / sizeof METRIC[0]; i++) {
        const json_t *m = json_object_get(arm, METRIC[i]);
        csv_real(page, icd_i_get_real(m, "value"));
        csv_real(page, icd_i_get_real(m, "low"));
        csv_real(page, icd_i_get_real(m, "high"));
        icd_i_page_put(page, ",%s", icd_i_get_string(m, "provenance"));
    }
    csv_real(page, icd_i_get_real(arm, "repeats"));
    csv_real(page, icd_i_get_real(arm, "live"));
    csv_real(page, icd_i_get_real(arm, "all"));
    csv_real(page, icd_i_get_real(arm, "bytes"));
    icd_i_page_put(page, "\n");
}

static icd_status write_csv(icd_ctx *ctx, const char *dir, const json_t *metrics)
{
    char path[1024];
    const json_t *arm = NULL;
    size_t i = 0;
    icd_page page = {.ctx = ctx, .metrics = metrics, .dir = dir};
    snprintf(path, sizeof path, "%s/report.csv", dir);
    icd_i_page_put(&page, "arm,role,kernel");
    static const char *const NAME[] = {"lat_ms", "toks_per_s", "l2_hit_pct",
                                       "ept_j_per_tok"};
    for (size_t k = 0; k < sizeof NAME / sizeof NAME[0]; k++)
        icd_i_page_put(&page, ",%s,%s_low,%s_high,%s_provenance", NAME[k], NAME[k],
                       NAME[k], NAME[k]);
    icd_i_page_put(&page, ",repeats,live,all,bytes\n");
    json_array_foreach(json_object_get(metrics, "arms"), i, arm) csv_arm(&page, arm);
    if (page.status == ICD_OK)
        page.status = icd_i_file_write(ctx, path, page.text.data, (size_t)page.text.size);
    icd_i_text_release(ctx, &page.text);
    return page.status;
}

icd_status icd_report_write(icd_ctx *ctx, const char *dir)
{
    char path[1024];
    json_t *metrics = NULL;
    snprintf(path, sizeof path, "%s/metrics.json", dir);
    icd_status status = icd_i_json_read(ctx, path, &metrics);
    if (status == ICD_OK && !json_is_object(metrics))
        status = icd_i_fail(ctx, ICD_EDATA, path, "run `icd run` again",
                            "found no JSON object, expected the metrics of a run");
    if (status == ICD_OK) status = write_html(ctx, dir, metrics);
    if (status == ICD_OK) status = write_csv(ctx, dir, metrics);
    json_decref(metrics);
    return status;
}
