#include "report/html.h"

#include <math.h>
#include <string.h>

static const char *const METRIC[] = {"lat_ms", "toks_per_s", "l2_hit_pct",
                                     "ept_j_per_tok"};
enum { METRICS = sizeof METRIC / sizeof METRIC[0] };

/* RFC 4180: a field with a comma, a quote or a line end is quoted, its quotes doubled. */
static void put_text(icd_page *page, const char *text)
{
    if (!strpbrk(text, ",\"\r\n")) {
        icd_i_page_raw(page, text);
        return;
    }
    icd_i_page_raw(page, "\"");
    for (const char *at = text; *at;) {
        size_t plain = strcspn(at, "\"");
        if (page->status == ICD_OK)
            page->status = icd_i_text_add(page->ctx, &page->text, at, (int64_t)plain);
        at += plain;
        if (*at == '"') icd_i_page_raw(page, "\"\"");
        at += *at == '"';
    }
    icd_i_page_raw(page, "\"");
}

static void put_real(icd_page *page, double value)
{
    icd_i_page_raw(page, ",");
    if (isfinite(value)) icd_i_page_put(page, "%.9g", value);
}

static void put_metric(icd_page *page, const json_t *metric)
{
    const char *provenance = icd_i_get_string(metric, "provenance");
    double value = icd_i_metric_value(metric);
    put_real(page, value);
    double low, high;
    bool wide = isfinite(value) && icd_i_metric_interval(metric, &low, &high);
    put_real(page, wide ? low : NAN);
    put_real(page, wide ? high : NAN);
    icd_i_page_raw(page, ",");
    put_text(page, isfinite(value) ? provenance : "ABSENT");
}

static void put_arm(icd_page *page, const json_t *arm)
{
    put_text(page, icd_i_get_string(arm, "name"));
    icd_i_page_raw(page, ",");
    put_text(page, icd_i_get_string(arm, "role"));
    icd_i_page_raw(page, ",");
    put_text(page, icd_i_get_string(arm, "kernel"));
    for (int i = 0; i < METRICS; i++) put_metric(page, json_object_get(arm, METRIC[i]));
    put_real(page, icd_i_get_real(arm, "repeats"));
    put_real(page, icd_i_get_real(arm, "live"));
    put_real(page, icd_i_get_real(arm, "all"));
    put_real(page, icd_i_get_real(arm, "bytes"));
    icd_i_page_raw(page, "\n");
}

void icd_i_csv(icd_page *page)
{
    const json_t *arm = NULL;
    size_t i = 0;
    icd_i_page_raw(page, "arm,role,kernel");
    for (int k = 0; k < METRICS; k++)
        icd_i_page_put(page, ",%s,%s_low,%s_high,%s_provenance", METRIC[k], METRIC[k],
                       METRIC[k], METRIC[k]);
    icd_i_page_raw(page, ",repeats,live,all,bytes\n");
    json_array_foreach(icd_i_page_get(page, "arms"), i, arm) put_arm(page, arm);
}

/* One cost of a round: what it was, what it is. */
static void put_costs(icd_page *page, const json_t *r, const char *key)
{
    put_real(page, icd_i_get_real(json_object_get(r, "before"), key));
    put_real(page, icd_i_get_real(json_object_get(r, "after"), key));
}

static void put_word(icd_page *page, const char *text)
{
    icd_i_page_raw(page, ",");
    put_text(page, text);
}

static void put_round(icd_page *page, const json_t *r)
{
    static const char *const KEY[] = {"redone", "loss_before", "loss_after", "moved",
                                      "inputs"};
    const json_t *p = json_object_get(r, "predicted"), *g = json_object_get(r, "gain");
    if (isfinite(icd_i_get_real(r, "round")))
        icd_i_page_put(page, "%.0f", icd_i_get_real(r, "round"));
    put_word(page, icd_i_get_string(r, "against"));
    for (size_t k = 0; k < sizeof KEY / sizeof *KEY; k++)
        put_real(page, icd_i_get_real(r, KEY[k]));
    put_costs(page, r, "live");
    put_costs(page, r, "bytes");
    put_real(page, icd_i_get_real(p, "time_low"));
    put_real(page, icd_i_get_real(p, "time_high"));
    put_real(page, icd_i_get_real(g, "change"));
    put_real(page, icd_i_get_real(g, "low"));
    put_real(page, icd_i_get_real(g, "high"));
    put_word(page, icd_i_get_string(g, "verdict"));
    put_word(page, icd_i_get_bool(r, "kept") ? "yes" : "no");
    put_word(page, icd_i_get_string(r, "why"));
    put_word(page, icd_i_get_string(r, "stop"));
    icd_i_page_raw(page, "\n");
}

void icd_i_rounds_csv(icd_page *page)
{
    const json_t *r = NULL;
    size_t i = 0;
    icd_i_page_raw(page,
                   "round,against,redone,loss_before,loss_after,moved,inputs,live_before,"
                   "live_after,bytes_before,bytes_after,predicted_low,predicted_high,"
                   "gain,gain_low,gain_high,verdict,kept,why,stop\n");
    json_array_foreach(json_object_get(icd_i_page_get(page, "rounds"), "round"), i, r)
        put_round(page, r);
}
