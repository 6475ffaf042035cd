#include "measure/power_readings.h"

#include "measure/stats.h"

#include <stdio.h>
#include <string.h>

enum { EPT, EPT_NET, ENERGY, POWER, IDLE };
static const char *const NAME[] = {"ept_j_per_tok", "ept_net_j_per_tok", "energy_j",
                                   "power_w", "idle_w"};
static const char *const UNIT[] = {"J/token", "J/token", "J", "W", "W"};
static const double NO_VALUE = (double)NAN;

/* Mean, and the sum of squares around it, taken up one by one. @source Welford (1962),
 * 10.1080/00401706.1962.10490022 */
typedef struct series {
    int64_t n;
    double mean, square;
} series;

static void take(series *s, double x)
{
    if (isnan(x)) return;
    double d = x - s->mean;
    s->mean += d / (double)++s->n;
    s->square += d * (x - s->mean);
}

static double half_width(const series *s)
{
    if (s->n < 2) return NO_VALUE;
    double n = (double)s->n;
    return icd_i_student_quantile(.975, n - 1) * sqrt(s->square / (n - 1) / n);
}

/* Joules of a window without what idling takes in that time. */
static double net_of(const icd_power_record *r, int64_t span)
{
    const icd_power_span *s = &r->span[span];
    return s->joules - icd_i_power_idle(r, span) * (s->to - s->from);
}

static bool is_window(const icd_power_record *r, int64_t i, int32_t arm)
{
    return r->span[i].phase == ICD_POWER_WINDOW && r->span[i].arm == arm;
}

/* Every window of the arm into one series per metric. @return how many windows there were
 */
static int64_t gather(const icd_power_record *r, int32_t arm, double tokens,
                      series s[ICD_POWER_METRICS])
{
    int64_t windows = 0;
    for (int64_t i = 0; i < r->spans; i++) {
        const icd_power_span *w = &r->span[i];
        if (!is_window(r, i, arm)) continue;
        double per_token = tokens > 0 ? 1 / tokens : NO_VALUE, steps = (double)w->steps;
        windows++;
        take(&s[EPT], w->joules / steps * per_token);
        take(&s[EPT_NET], net_of(r, i) / steps * per_token);
        take(&s[ENERGY], w->joules / steps);
        take(&s[POWER], w->watts);
        take(&s[IDLE], icd_i_power_idle(r, i));
    }
    return windows;
}

/* Why a metric without a value has none. */
static const char *reason_of(icd_power_summary *out, int metric, const series *s,
                             int64_t windows, double tokens)
{
    if (s[ENERGY].n == 0) {
        snprintf(out->reason, sizeof out->reason,
                 "the counter did not move around any of %lld windows",
                 (long long)windows);
        return out->reason;
    }
    if (metric == EPT || (metric == EPT_NET && !(tokens > 0)))
        return "the number of tokens of a step is not known";
    return "idle power was not measured: meter.idle_s is 0";
}

static void fill_metrics(icd_power_summary *out, const series *s, int64_t windows,
                         double tokens)
{
    for (int m = 0; m < ICD_POWER_METRICS; m++) {
        double half = half_width(&s[m]);
        out->metric[m] = (icd_metric){.name = NAME[m],
                                      .unit = UNIT[m],
                                      .value = s[m].mean,
                                      .low = s[m].mean - half,
                                      .high = s[m].mean + half,
                                      .count = s[m].n,
                                      .provenance = ICD_MEASURED};
        if (s[m].n == 0)
            out->metric[m] =
                (icd_metric){.name = NAME[m],
                             .unit = UNIT[m],
                             .reason = reason_of(out, m, s, windows, tokens)};
    }
}

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *window_json(const icd_power_record *r, int64_t i)
{
    const icd_power_span *w = &r->span[i];
    return json_pack("{s:I,s:f,s:f,s:I,s:o,s:o,s:o,s:o}", "block", (json_int_t)w->block,
                     "t_s", w->from - r->span[0].from, "seconds", w->to - w->from,
                     "steps", (json_int_t)w->steps, "energy_j", number(w->joules),
                     "net_j", number(net_of(r, i)), "power_w", number(w->watts), "idle_w",
                     number(icd_i_power_idle(r, i)));
}

static json_t *windows_json(const icd_power_record *r, int32_t arm)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < r->spans; i++)
        if (is_window(r, i, arm)) json_array_append_new(list, window_json(r, i));
    return list;
}

/* What stood beside energy while the arm ran. */
typedef struct beside {
    series sm_mhz, mem_mhz, celsius, busy_pct;
    double sm_low, sm_high, hottest;
    int64_t throttle;
} beside;

static bool is_in_window(const icd_power_record *r, int32_t arm, double t)
{
    for (int64_t i = 0; i < r->spans; i++)
        if (is_window(r, i, arm) && t >= r->span[i].from && t <= r->span[i].to)
            return true;
    return false;
}

static beside look_beside(const icd_power_record *r, int32_t arm)
{
    beside b = {.sm_low = NO_VALUE, .sm_high = NO_VALUE, .hottest = NO_VALUE};
    for (int64_t i = 0; i < r->rows; i++) {
        const icd_power_row *row = &r->row[i];
        if (!is_in_window(r, arm, row->t)) continue;
        take(&b.sm_mhz, row->sm_mhz);
        take(&b.mem_mhz, row->mem_mhz);
        take(&b.celsius, row->celsius);
        take(&b.busy_pct, row->busy_pct);
        b.sm_low = fmin(b.sm_low, row->sm_mhz);
        b.sm_high = fmax(b.sm_high, row->sm_mhz);
        b.hottest = fmax(b.hottest, row->celsius);
        if (row->throttle > 0) b.throttle |= row->throttle;
    }
    return b;
}

static json_t *mean_json(const series *s)
{
    return s->n ? json_real(s->mean) : json_null();
}

static json_t *reasons_json(int64_t mask)
{
    json_t *list = json_array();
    const char *name;
    for (int64_t i = 0; (name = icd_i_power_reason_name(i)); i++)
        if ((uint64_t)mask >> i & 1) json_array_append_new(list, json_string(name));
    return list;
}

/* Share of the whole run that the polling thread spent in reading. */
static double reading_share(const icd_power_record *r)
{
    double all = r->spans ? r->span[r->spans - 1].to - r->span[0].from : 0;
    return all > 0 ? r->reading_s / all : NO_VALUE;
}

static json_t *detail_json(const icd_power_record *r, int32_t arm, const beside *b)
{
    return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "windows",
                     windows_json(r, arm), "sm_mhz", mean_json(&b->sm_mhz), "sm_mhz_low",
                     number(b->sm_low), "sm_mhz_high", number(b->sm_high), "mem_mhz",
                     mean_json(&b->mem_mhz), "temp_c", mean_json(&b->celsius),
                     "temp_c_high", number(b->hottest), "busy_pct",
                     mean_json(&b->busy_pct), "throttle", reasons_json(b->throttle),
                     "reading_share", number(reading_share(r)));
}

/* A board that was never busy did not run the arm: its energy is not the arm's. */
static bool ran_elsewhere(const beside *b)
{
    return b->busy_pct.n > 0 && !(b->busy_pct.mean > 0);
}

static void withdraw(icd_power_summary *out)
{
    snprintf(out->reason, sizeof out->reason,
             "the device was idle (0 %% busy) while the arm ran: the arm does not run on "
             "it");
    for (int m = 0; m < ICD_POWER_METRICS; m++)
        out->metric[m] =
            (icd_metric){.name = NAME[m], .unit = UNIT[m], .reason = out->reason};
}

icd_status icd_i_power_summary(icd_ctx *ctx, const icd_power_record *record, int32_t arm,
                               double tokens, icd_power_summary *out)
{
    series s[ICD_POWER_METRICS] = {0};
    beside b = look_beside(record, arm);
    *out = (icd_power_summary){0};
    int64_t windows = gather(record, arm, tokens, s);
    fill_metrics(out, s, windows, tokens);
    if (ran_elsewhere(&b)) withdraw(out);
    out->detail = detail_json(record, arm, &b);
    if (out->detail) return ICD_OK;
    return icd_i_fail(ctx, ICD_ENOMEM, "energy", NULL, "no memory for the windows");
}

void icd_i_power_summary_release(icd_power_summary *summary)
{
    json_decref(summary->detail);
    summary->detail = NULL;
}

/* Energy per step of an arm's window in a block; NaN: none. */
static double step_energy(const icd_power_record *r, int32_t arm, int64_t block, bool net)
{
    for (int64_t i = 0; i < r->spans; i++)
        if (is_window(r, i, arm) && r->span[i].block == block)
            return (net ? net_of(r, i) : r->span[i].joules) / (double)r->span[i].steps;
    return NO_VALUE;
}

bool icd_i_power_ratio(const icd_power_record *r, int32_t a, int32_t b, bool net,
                       icd_power_ratio *out)
{
    series s = {0};
    int64_t blocks = 0;
    for (int64_t i = 0; i < r->spans; i++)
        if (r->span[i].block + 1 > blocks) blocks = r->span[i].block + 1;
    for (int64_t k = 0; k < blocks; k++) {
        double x = step_energy(r, a, k, net), y = step_energy(r, b, k, net);
        if (x > 0 && y > 0) take(&s, log(y / x));
    }
    if (s.n < 2) return false;
    double half = half_width(&s);
    *out = (icd_power_ratio){.delta = expm1(s.mean),
                             .low = expm1(s.mean - half),
                             .high = expm1(s.mean + half),
                             .blocks = s.n};
    return true;
}
