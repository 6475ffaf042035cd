/* The meters `nvml` and `rapl`: a source, windows of arms in turn, readings, power.csv.
 */
#include "base/clock.h"
#include "base/file.h"
#include "measure/meter.h"
#include "measure/nvml.h"
#include "measure/power_readings.h"
#include "measure/rapl.h"

static const icd_meter_metric METRIC[ICD_POWER_METRICS] = {
    {"ept_j_per_tok", "J/token"},
    {"ept_net_j_per_tok", "J/token"},
    {"energy_j", "J"},
    {"power_w", "W"},
    {"idle_w", "W"}};

/* What an open meter holds. */
typedef struct energy {
    icd_nvml *nvml; /* one of the two */
    icd_rapl *rapl;
    icd_power_source source;
    const char *method; /* half a sentence */
    const char *file;   /* "power.csv" */
    double began;
    icd_text csv; /* of all arms so far */
} energy;

static icd_status open_energy(icd_ctx *ctx, icd_meter *meter, energy **out)
{
    icd_status status = ICD_ALLOC(ctx, 1, out);
    if (status != ICD_OK) return status;
    (*out)->began = icd_i_now();
    meter->self = *out;
    return ICD_OK;
}

static icd_status open_nvml(icd_ctx *ctx, icd_meter *meter)
{
    energy *e;
    icd_status status = open_energy(ctx, meter, &e);
    if (status == ICD_OK)
        status = icd_i_nvml_open(ctx, meter->opts.nvml, meter->opts.device, &e->nvml);
    if (status != ICD_OK) return status;
    const icd_nvml_state *state = icd_i_nvml_state(e->nvml);
    e->file = "power.csv";
    if (!state->available)
        return icd_i_meter_missing(ctx, meter, state->enable, "%s", state->found);
    e->source = icd_i_nvml_source(e->nvml);
    e->method = icd_i_nvml_method(e->nvml);
    return icd_i_meter_found(ctx, meter, "%s", state->found);
}

static icd_status open_rapl(icd_ctx *ctx, icd_meter *meter)
{
    energy *e;
    icd_status status = open_energy(ctx, meter, &e);
    if (status == ICD_OK) status = ICD_ALLOC(ctx, 1, &e->rapl);
    if (status != ICD_OK) return status;
    icd_i_rapl_open(meter->opts.powercap, meter->opts.pmu, e->rapl);
    e->file = "power_cpu.csv";
    if (e->rapl->domains == 0)
        return icd_i_meter_missing(ctx, meter, e->rapl->enable, "%s", e->rapl->found);
    e->source = icd_i_rapl_source(e->rapl);
    e->method = e->rapl->perf
                    ? "RAPL through perf: packages and memory, whoever used them"
                    : "RAPL through powercap: packages and memory, whoever used them";
    return icd_i_meter_found(ctx, meter, "%s", e->rapl->found);
}

static void close_energy(icd_ctx *ctx, icd_meter *meter)
{
    energy *e = meter->self;
    icd_i_nvml_close(ctx, e->nvml);
    if (e->rapl) icd_i_rapl_close(e->rapl);
    icd_i_free(ctx, e->rapl);
    icd_i_text_release(ctx, &e->csv);
    icd_i_free(ctx, e);
}

/* Rows of this run behind those of earlier ones; the file is written anew as a whole. */
static icd_status write_csv(icd_ctx *ctx, const icd_meter_opts *opts, energy *e,
                            const icd_power_record *r, const icd_arm *const *arm)
{
    char *path = NULL;
    if (!opts->dir || !*opts->dir) return ICD_OK;
    icd_status status =
        icd_i_power_csv(ctx, r, arm, opts->power_sample_hz, e->began, &e->csv);
    if (status == ICD_OK) status = icd_i_path_join(ctx, opts->dir, e->file, &path);
    if (status == ICD_OK)
        status = icd_i_file_write(ctx, path, e->csv.data, (size_t)e->csv.size);
    icd_i_free(ctx, path);
    return status;
}

static json_t *ratio_json(const icd_power_record *r, int32_t a, int32_t b)
{
    icd_power_ratio gross, net;
    if (!icd_i_power_ratio(r, a, b, false, &gross)) return json_null();
    json_t *one = json_pack("{s:f,s:f,s:f,s:I}", "delta", gross.delta, "low", gross.low,
                            "high", gross.high, "blocks", (json_int_t)gross.blocks);
    if (icd_i_power_ratio(r, a, b, true, &net))
        json_object_update_new(one, json_pack("{s:f,s:f,s:f}", "net_delta", net.delta,
                                              "net_low", net.low, "net_high", net.high));
    return one;
}

/* This arm against those before it; takes the summary's detail. */
static json_t *make_detail(const icd_meter *meter, const icd_power_record *r,
                           const icd_meter_subject *const *subject, int32_t arm,
                           icd_power_summary *summary)
{
    json_t *detail = summary->detail, *against = json_object();
    summary->detail = NULL;
    for (int32_t b = 0; b < arm; b++)
        json_object_set_new(against, subject[b]->name, ratio_json(r, b, arm));
    json_object_set_new(detail, "against", against);
    json_object_set_new(detail, "source", json_string(meter->state.found));
    return detail;
}

static icd_status hand_over(icd_ctx *ctx, const icd_meter *meter,
                            const icd_power_record *r,
                            const icd_meter_subject *const *subject, int32_t arm,
                            icd_readings *into)
{
    const energy *e = meter->self;
    icd_power_summary summary;
    icd_status status = icd_i_power_summary(ctx, r, arm, subject[arm]->tokens, &summary);
    if (status != ICD_OK) return status;
    for (int m = 0; status == ICD_OK && m < ICD_POWER_METRICS; m++)
        status = icd_i_readings_add(ctx, into, &summary.metric[m]);
    if (status == ICD_OK)
        status = icd_i_readings_method(
            ctx, into, "%s; whole steps in windows of at least %g s, arms in turn; %s",
            e->method, meter->opts.window_s,
            meter->opts.idle_s > 0
                ? "net is without the idle power on both sides of a window"
                : "idle power was not measured");
    if (status == ICD_OK)
        status = icd_i_readings_detail(ctx, into,
                                       make_detail(meter, r, subject, arm, &summary));
    icd_i_power_summary_release(&summary);
    return status;
}

static icd_status measure(icd_ctx *ctx, icd_meter *meter,
                          const icd_meter_subject *const *subject,
                          icd_readings *const *into, int64_t subjects, int64_t windows)
{
    energy *e = meter->self;
    const icd_arm **arm = NULL;
    icd_power_record r = {0};
    icd_power_plan plan = {.window_s = meter->opts.window_s,
                           .idle_s = meter->opts.idle_s,
                           .windows = windows};
    icd_status status = ICD_ALLOC(ctx, subjects, &arm);
    for (int64_t i = 0; status == ICD_OK && i < subjects; i++) arm[i] = subject[i]->arm;
    if (status == ICD_OK)
        status = icd_i_power_run(ctx, &e->source, &plan, arm, subjects, &r);
    if (status == ICD_OK) status = write_csv(ctx, &meter->opts, e, &r, arm);
    for (int32_t i = 0; status == ICD_OK && i < subjects; i++)
        status = hand_over(ctx, meter, &r, subject, i, into[i]);
    icd_i_power_record_release(ctx, &r);
    icd_i_free(ctx, arm);
    return status;
}

const icd_meter_kind icd_i_meter_nvml = {
    .name = "nvml",
    .area = "energy",
    .help = "energy, clocks and temperature of an NVIDIA board",
    .needs = ICD_METER_ARM,
    .device = ICD_METER_GPU,
    .metric = METRIC,
    .metrics = ICD_POWER_METRICS,
    .open = open_nvml,
    .measure = measure,
    .close = close_energy,
};

const icd_meter_kind icd_i_meter_rapl = {
    .name = "rapl",
    .area = "energy",
    .help = "energy of the CPU packages and their memory",
    .needs = ICD_METER_ARM,
    .device = ICD_METER_CPU,
    .metric = METRIC,
    .metrics = ICD_POWER_METRICS,
    .open = open_rapl,
    .measure = measure,
    .close = close_energy,
};
