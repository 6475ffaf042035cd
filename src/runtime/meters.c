#include "runtime/meters.h"

#include "core/addrs.h"
#include "core/plan.h"
#include "measure/cachesim.h"

#include <icd/meter.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

/* The arms that are read: a verdict is about the first two, the third, a second copy of
   the first, controls it; the others are what a user would take instead. */
static const char *const ARM[] = {"linear", "iterative", "linear A/A", "gather",
                                  "dense",  "frequency", "block tiles"};
enum { ARMS = sizeof ARM / sizeof *ARM, METERS = 8, WORKER = 4, ARGS = WORKER + 6 };

/* One arm in every form that a meter may ask for. */
typedef struct measured_arm {
    icd_meter_subject subject;
    const char *argv[ARGS];
    icd_layout *layout;
    icd_plan **plan;
    int64_t plans;
} measured_arm;

typedef struct meters {
    icd_worker *w;
    measured_arm arm[ARMS];
    icd_meter_subject subject[ARMS];
    int64_t arms;
    icd_readings *reading[METERS * ARMS];
    int64_t readings;
} meters;

/* Layers share their buffers: "layer.3.ffn.up" and "layer.4.ffn.up" are one. */
static const char *without_layer(const char *name)
{
    size_t digits = strncmp(name, "layer.", 6) ? 0 : strspn(name + 6, "0123456789");
    return digits && name[6 + digits] == '.' ? name + 7 + digits : name;
}

static int32_t buffer_of(const icd_layout *layout, int64_t i, bool output)
{
    const icd_layout_entry *e = layout->entry;
    const char *mine = without_layer(output ? e[i].linear : e[i].group);
    for (int64_t k = 0; k < i; k++)
        if (!strcmp(without_layer(output ? e[k].linear : e[k].group), mine))
            return (int32_t)(2 * k + output);
    return (int32_t)(2 * i + output);
}

/* What a packed weight and an activation of a linear take, as its kernels read them.
   Small forms without a kernel of their own run in f32. */
static void widths_of(const icd_layout_entry *e, int32_t dtype, bool gpu,
                      int32_t *weight_bits, int32_t *input_bytes)
{
    enum { STAGED = 3 }; /* bytes of a staged int8 channel (kernels.h, stage_rows) */
    enum { BYTE = 8, PLACE_BITS = 2, SCALE_BITS = 32, OWN_GROUP = 32 };
    const icd_quantized *q = e->quant;
    int32_t group = q && q->group ? q->group : OWN_GROUP;
    if (e->whole) dtype = ICD_RUN_F32;
    *input_bytes = dtype == ICD_RUN_INT8                           ? (gpu ? 1 : STAGED)
                   : dtype == ICD_RUN_INT4 || dtype == ICD_RUN_FP8 ? 1
                   : gpu                                           ? 2
                                                                   : 4;
    *weight_bits = dtype == ICD_RUN_FP8 ? BYTE : 4 * BYTE;
    if (dtype == ICD_RUN_BF16) *weight_bits = 2 * BYTE;
    if (dtype == ICD_RUN_INT4) *weight_bits = BYTE / 2 + SCALE_BITS / group;
    if (dtype == ICD_RUN_INT8)
        *weight_bits = icd_i_two_of_four(e) ? (BYTE + PLACE_BITS) * q->n / q->m : BYTE;
}

/* A GPU's caches where the arms run on one: "auto" is the H100's, as ICD cannot ask. */
static const char *cache_of(const icd_worker *w)
{
    const char *name = w->config->meter.cache;
    bool gpu = w->config->runner.device == ICD_RUN_CUDA;
    return name && strcmp(name, "auto") != 0 ? name : gpu ? "h100" : "cpu";
}

/* Row blocks go round among what computes: threads, or the multiprocessors of a GPU whose
   cache is simulated; there, a tile of tokens shares one reading of a weight. */
static void spread(const icd_worker *w, icd_addrs_opts *opts)
{
    enum { GPU_TILE = 128 };
    opts->agents = icd_i_cache_multiprocessors(cache_of(w));
    if (opts->agents) {
        opts->chunk = opts->tile = GPU_TILE;
        opts->pass = INT64_MAX;
    } else {
        opts->agents = icd_ctx_threads(w->ctx);
    }
}

/* A command of the user's may compute anywhere. */
static int32_t device_of(const icd_worker *w)
{
    if (icd_i_exec_alone(w->config)) return ICD_METER_ANYWHERE;
    return w->config->runner.device == ICD_RUN_CUDA ? ICD_METER_GPU : ICD_METER_CPU;
}

/* The addresses of the linears. */
static icd_status make_addrs(meters *m, measured_arm *arm, int32_t dtype)
{
    icd_status status = ICD_OK;
    icd_ctx *ctx = m->w->ctx;
    const icd_layout *layout = arm->layout;
    icd_addrs_linear *linear = NULL;
    int32_t *width = NULL;
    icd_addrs_opts opts = {.tokens = m->w->batch.batch * m->w->batch.seq};
    if (m->w->config->runner.phase == ICD_PHASE_DECODE) opts.tokens = m->w->batch.batch;
    spread(m->w, &opts);
    ICD_TRY(ICD_ALLOC(ctx, layout->count, &linear));
    ICD_TRY(ICD_ALLOC(ctx, 2 * layout->count, &width));
    ICD_TRY(ICD_ALLOC(ctx, layout->count, &arm->plan));
    arm->plans = layout->count;
    for (int64_t i = 0; i < layout->count; i++) {
        ICD_TRY(icd_i_plan_new(ctx, &layout->entry[i], m->w->config->kernel.vector,
                               &arm->plan[i]));
        linear[i] = (icd_addrs_linear){arm->plan[i], buffer_of(layout, i, false),
                                       buffer_of(layout, i, true)};
        widths_of(&layout->entry[i], dtype, device_of(m->w) == ICD_METER_GPU, &width[i],
                  &width[layout->count + i]);
    }
    opts.weight_bits = width;
    opts.input_bytes = width + layout->count;
    status = icd_i_addrs_plans(ctx, linear, layout->count, &opts, &arm->subject.addrs);
done:
    icd_i_free(ctx, linear);
    icd_i_free(ctx, width);
    return status;
}

static void make_command(const meters *m, measured_arm *arm, const char *const *worker)
{
    const char *const more[] = {"--arm",   arm->subject.name, "--steps",
                                "{steps}", m->w->dir,         NULL};
    int n = 0;
    for (; worker[n] && n < WORKER; n++) arm->argv[n] = worker[n];
    memcpy(arm->argv + n, more, sizeof more);
    arm->subject.command = arm->argv;
}

static icd_status add_arm(meters *m, const json_t *row, int64_t index,
                          const char *const *worker)
{
    icd_status status = ICD_OK;
    measured_arm *arm = &m->arm[m->arms++];
    const icd_batch *b = &m->w->batch;
    bool decode = m->w->config->runner.phase == ICD_PHASE_DECODE;
    arm->subject =
        (icd_meter_subject){.name = m->w->arm[index].name,
                            .device = device_of(m->w),
                            .tokens = (double)(decode ? b->batch : b->batch * b->seq),
                            .arm = &m->w->arm[index]};
    if (worker) make_command(m, arm, worker);
    ICD_TRY(icd_i_worker_layout(m->w, row, &arm->layout));
    const char *dtype = json_string_value(json_object_get(row, "dtype"));
    status = make_addrs(m, arm, icd_i_run_dtype_of(dtype));
done:
    m->subject[m->arms - 1] = arm->subject;
    return status;
}

/* Arms by name, those of meter.arms or the usual ones; what a run does not have is left
   out. */
static icd_status find_arms(meters *m, const json_t *arms, const char *const *worker)
{
    const icd_strings *list = &m->w->config->meter.arms;
    int64_t count = list->count ? list->count : ARMS;
    for (int64_t k = 0; k < count; k++) {
        const char *name = list->count ? list->item[k] : ARM[k];
        for (int64_t i = 0; i < m->w->arms && m->arms < ARMS; i++) {
            if (strcmp(m->w->arm[i].name, name) != 0) continue;
            icd_status status = add_arm(m, json_array_get(arms, (size_t)i), i, worker);
            if (status != ICD_OK) return status;
        }
    }
    return ICD_OK;
}

static icd_meter_opts options_of(const icd_worker *w)
{
    icd_meter_opts opts = w->config->meter;
    opts.dir = w->dir;
    opts.cache = cache_of(w);
    opts.ncu_range = w->config->runner.device == ICD_RUN_CUDA;
    opts.ncu_metrics = w->config->measure.ncu_metrics;
    opts.power_sample_hz = w->config->measure.power_sample_hz;
    return opts;
}

/* A reading that failed may succeed a second time: another profiler was there, a window
   was too short. */
static icd_status read_twice(meters *m, icd_meter *meter, icd_readings **out)
{
    static const struct timespec PAUSE = {1, 0};
    icd_ctx *ctx = m->w->ctx;
    icd_status status = icd_meter_measure(ctx, meter, m->subject, m->arms, 0, out);
    if (status != ICD_EMEASURE) return status;
    icd_i_warn(ctx, "meter %s: %s; reading once more", icd_meter_probe(meter)->name,
               icd_ctx_message(ctx));
    icd_ctx_clear(ctx);
    nanosleep(&PAUSE, NULL);
    return icd_meter_measure(ctx, meter, m->subject, m->arms, 0, out);
}

/* What goes wrong in one meter costs its readings, which then are ABSENT and say why, not
   the run. */
static icd_status use(meters *m, const char *name)
{
    icd_ctx *ctx = m->w->ctx;
    icd_meter_opts opts = options_of(m->w);
    icd_meter *meter = NULL;
    icd_readings **out = &m->reading[m->readings];
    char why[512];
    icd_status status = icd_meter_open(ctx, name, &opts, &meter);
    if (status == ICD_OK) status = read_twice(m, meter, out);
    if (status != ICD_OK && status != ICD_ENOMEM && status != ICD_ECANCELLED) {
        snprintf(why, sizeof why, "%s", icd_ctx_message(ctx));
        icd_i_warn(ctx, "meter %s: %s", name, why);
        icd_ctx_clear(ctx);
        status = ICD_OK;
        if (meter) status = icd_meter_absent(ctx, meter, m->subject, m->arms, why, out);
    }
    if (status == ICD_OK && meter) m->readings += m->arms;
    icd_meter_free(ctx, meter);
    return status;
}

static void release(meters *m)
{
    icd_ctx *ctx = m->w->ctx;
    for (int64_t i = 0; i < m->readings; i++) icd_readings_free(ctx, m->reading[i]);
    for (int64_t a = 0; a < m->arms; a++) {
        icd_i_addrs_free(ctx, m->arm[a].subject.addrs);
        for (int64_t i = 0; i < m->arm[a].plans; i++)
            icd_i_plan_free(ctx, m->arm[a].plan[i]);
        icd_i_free(ctx, m->arm[a].plan);
        icd_i_layout_free(ctx, m->arm[a].layout);
    }
}

/* "auto": those that take no longer than the times did. */
static bool listed(const icd_strings *list, const char *name)
{
    for (int64_t i = 0; i < list->count; i++) {
        if (!strcmp(list->item[i], name)) return true;
        if (!strcmp(list->item[i], "auto") && strcmp(name, "ncu") != 0 &&
            strcmp(name, "cachegrind") != 0)
            return true;
    }
    return false;
}

icd_status icd_i_meters_run(icd_worker *w, const json_t *arms, const char *const *worker)
{
    icd_status status = ICD_OK;
    meters m = {.w = w};
    char path[1024];
    const icd_strings *list = &w->config->measure.meters;
    const char *name = NULL;
    if (list->count == 0) return ICD_OK;
    ICD_TRY(find_arms(&m, arms, worker));
    for (int64_t i = 0; m.arms && (name = icd_meter_name(i)) && i < METERS; i++) {
        if (!listed(list, name)) continue;
        icd_i_progress(w->ctx, "meters", i, METERS);
        ICD_TRY(use(&m, name));
    }
    snprintf(path, sizeof path, "%s/meters.json", w->dir);
    status = icd_readings_write(w->ctx, (const icd_readings *const *)m.reading,
                                m.readings, path);
done:
    release(&m);
    return status;
}
