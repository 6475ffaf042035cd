/* The meter `ncu`: runs of a command become rates, bytes and a table of kernels. */
#include "measure/meter.h"
#include "measure/ncu.h"

#include <string.h>

/* Values per step, and what each is made of. */
static const icd_meter_metric METRIC[] = {{"l2_hit_pct", "%"},
                                          {"dram_bytes", "B"},
                                          {"dram_read_bytes", "B"},
                                          {"dram_write_bytes", "B"},
                                          {"l2_read_bytes", "B"}};
enum { METRICS = sizeof METRIC / sizeof METRIC[0], RATE = 0, DRAM = 1 };
static const icd_ncu_quantity QUANTITY[METRICS] = {ICD_NCU_HIT_RATE, ICD_NCU_DRAM_READ,
                                                   ICD_NCU_DRAM_READ, ICD_NCU_DRAM_WRITE,
                                                   ICD_NCU_L2_READ};

static icd_status open_ncu(icd_ctx *ctx, icd_meter *meter)
{
    icd_ncu *ncu = NULL;
    icd_status status = ICD_ALLOC(ctx, 1, &ncu);
    if (status != ICD_OK) return status;
    meter->self = ncu;
    status = icd_i_ncu_open(ctx, &meter->opts, ncu);
    if (status != ICD_OK) return status;
    return ncu->available
               ? icd_i_meter_found(ctx, meter, "%s", ncu->found)
               : icd_i_meter_missing(ctx, meter, ncu->enable, "%s", ncu->found);
}

static void close_ncu(icd_ctx *ctx, icd_meter *meter)
{
    icd_i_ncu_close(ctx, meter->self);
    icd_i_free(ctx, meter->self);
}

/* Why bytes per step cannot be told; NULL: they can. */
static const char *no_steps(const icd_ncu *ncu, const icd_ncu_result *r)
{
    if (!r->whole)
        return "only the first kernels were read, not whole steps: meter.ncu_mode is "
               "sample";
    if (!ncu->opts.ncu_range && (!ncu->opts.nvtx || !*ncu->opts.nvtx))
        return "the kernels of the warm-up cannot be told from those of the steps: set "
               "meter.nvtx";
    return NULL;
}

/* One metric of one run, per step; NaN with a reason. */
static double value_of(const icd_ncu_sum *s, int metric, double steps, const char **why)
{
    icd_ncu_quantity q = QUANTITY[metric];
    double x = s->value[q];
    if (metric == DRAM && !isnan(x)) {
        q = ICD_NCU_DRAM_WRITE;
        x += s->value[q];
    }
    if (isnan(x)) *why = s->why[q];
    return metric == RATE ? x : x / steps;
}

static icd_status add_metric(icd_ctx *ctx, const icd_ncu *ncu, const icd_ncu_result *r,
                             int metric, double steps, double *x, icd_readings *into)
{
    const char *why = metric == RATE ? NULL : no_steps(ncu, r);
    for (int64_t i = 0; !why && i < r->runs; i++)
        x[i] = value_of(&r->sum[i], metric, steps, &why);
    icd_metric m = {
        .name = METRIC[metric].name, .unit = METRIC[metric].unit, .reason = why};
    if (!why) m = icd_i_meter_mean(m.name, m.unit, x, r->runs, ICD_MEASURED);
    return icd_i_readings_add(ctx, into, &m);
}

static json_t *detail_of(const icd_ncu *ncu, icd_ncu_result *r)
{
    int64_t rejected = 0;
    for (int64_t i = 0; i < r->runs; i++) rejected += r->sum[i].rejected;
    json_t *detail = json_pack(
        "{s:o,s:I,s:I,s:I,s:O*,s:O*}", "settings", icd_i_ncu_settings(ncu, r), "runs",
        (json_int_t)r->runs, "launches", (json_int_t)(r->runs ? r->sum[0].kernels : 0),
        "rejected", (json_int_t)rejected, "kernels", r->kernels, "extra", r->extra);
    return detail;
}

/* What is different about the names that were found. */
static const char *note_of(const icd_ncu *ncu)
{
    const icd_ncu_alias *a = ncu->names.alias[ICD_NCU_HIT_RATE];
    if (!a) return "no metric of the hit rate";
    return a->note ? a->note : a->name;
}

static icd_status hand_over(icd_ctx *ctx, const icd_ncu *ncu, icd_ncu_result *r,
                            double steps, icd_readings *into)
{
    double *x = NULL;
    icd_status status = ICD_ALLOC(ctx, r->runs, &x);
    for (int m = 0; status == ICD_OK && m < METRICS; m++)
        status = add_metric(ctx, ncu, r, m, steps, x, into);
    if (status == ICD_OK)
        status = icd_i_readings_method(
            ctx, into,
            "ncu %s on the arm's command, %s, weighted by sectors (%s); the program is "
            "run again for each pass, caches and clocks as they are found",
            ncu->version, r->whole ? "every kernel" : "the first kernels only",
            note_of(ncu));
    if (status == ICD_OK) status = icd_i_readings_detail(ctx, into, detail_of(ncu, r));
    icd_i_free(ctx, x);
    return status;
}

static icd_status measure_one(icd_ctx *ctx, icd_ncu *ncu, const icd_meter_subject *s,
                              int64_t runs, icd_readings *into)
{
    icd_ncu_result r;
    int64_t steps = s->steps > 0 ? s->steps : 1;
    icd_status status = icd_i_ncu_measure(ctx, ncu, s->name, s->command, steps, runs, &r);
    if (status != ICD_OK) return status;
    status = *r.refused ? icd_i_readings_absent(ctx, into, "%s", r.refused)
                        : hand_over(ctx, ncu, &r, (double)steps, into);
    icd_i_ncu_result_release(ctx, &r);
    return status;
}

static icd_status measure(icd_ctx *ctx, icd_meter *meter,
                          const icd_meter_subject *const *subject,
                          icd_readings *const *into, int64_t subjects, int64_t windows)
{
    icd_status status = ICD_OK;
    int64_t most = meter->opts.ncu_runs, runs = most && most < windows ? most : windows;
    for (int64_t i = 0; status == ICD_OK && i < subjects; i++) {
        icd_i_progress(ctx, "ncu", i, subjects);
        status = measure_one(ctx, meter->self, subject[i], runs, into[i]);
    }
    return status;
}

const icd_meter_kind icd_i_meter_ncu = {
    .name = "ncu",
    .area = "counters",
    .help = "hit rate of the GPU's second level, bytes from its memory, by kernel",
    .needs = ICD_METER_COMMAND,
    .device = ICD_METER_GPU,
    .metric = METRIC,
    .metrics = METRICS,
    .open = open_ncu,
    .measure = measure,
    .close = close_ncu,
};
