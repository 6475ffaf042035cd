/* The table of meters: opening, measuring, readings. */
#include "measure/meter.h"

#include "measure/stats.h"

#include <stdio.h>
#include <string.h>

enum { WINDOWS = 5 };
static const double POWER_SAMPLE_HZ = 10;

/* The best provenance comes first. */
static const icd_meter_kind *const KIND[] = {
    &icd_i_meter_ncu,  &icd_i_meter_nvml,       &icd_i_meter_rapl,
    &icd_i_meter_perf, &icd_i_meter_cachegrind, &icd_i_meter_cachesim,
};
enum { KINDS = sizeof KIND / sizeof KIND[0] };

/* What lies behind icd_readings.memory. */
typedef struct store {
    icd_arena *arena;
    const icd_meter_kind *kind;
    int64_t capacity;
} store;

const char *icd_meter_name(int64_t i)
{
    return i >= 0 && i < KINDS ? KIND[i]->name : NULL;
}

static icd_status find_kind(icd_ctx *ctx, const char *name, const icd_meter_kind **out)
{
    char known[160] = "";
    for (int i = 0; i < KINDS; i++) {
        size_t used = strlen(known);
        *out = KIND[i];
        if (!strcmp(KIND[i]->name, name)) return ICD_OK;
        snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", KIND[i]->name);
    }
    return icd_i_fail(ctx, ICD_EINVAL, "meter", NULL,
                      "found no meter \"%.40s\", expected one of %s", name, known);
}

icd_status icd_meter_open(icd_ctx *ctx, const char *name, const icd_meter_opts *opts,
                          icd_meter **out)
{
    icd_status status = ICD_OK;
    icd_meter *meter = NULL;
    const icd_meter_kind *kind = NULL;
    *out = NULL;
    ICD_TRY(find_kind(ctx, name, &kind));
    ICD_TRY(ICD_ALLOC(ctx, 1, &meter));
    meter->kind = kind;
    meter->state = (icd_meter_state){
        .name = kind->name, .area = kind->area, .help = kind->help, .found = ""};
    ICD_TRY(icd_i_arena_new(ctx, &meter->arena));
    ICD_TRY(icd_options_resolve(ctx, &icd_meter_table, opts, &meter->opts));
    if (!(meter->opts.power_sample_hz > 0)) meter->opts.power_sample_hz = POWER_SAMPLE_HZ;
    ICD_TRY(kind->open(ctx, meter));
    *out = meter;
    meter = NULL;
done:
    icd_meter_free(ctx, meter);
    return status;
}

void icd_meter_free(icd_ctx *ctx, icd_meter *meter)
{
    if (!meter) return;
    if (meter->self && meter->kind->close) meter->kind->close(ctx, meter);
    icd_i_arena_free(ctx, meter->arena);
    icd_i_free(ctx, meter);
}

const icd_meter_state *icd_meter_probe(const icd_meter *meter)
{
    return &meter->state;
}

/* Text that lives as long as the arena; NULL: memory is short. */
static char *format(icd_ctx *ctx, icd_arena *arena, const char *fmt, va_list args)
{
    char text[800];
    vsnprintf(text, sizeof text, fmt, args);
    return icd_i_arena_strdup(ctx, arena, text);
}

icd_status icd_i_meter_found(icd_ctx *ctx, icd_meter *meter, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const char *text = format(ctx, meter->arena, fmt, args);
    va_end(args);
    if (!text) return ICD_ENOMEM;
    meter->state.available = true;
    meter->state.found = text;
    meter->state.enable = NULL;
    return ICD_OK;
}

icd_status icd_i_meter_missing(icd_ctx *ctx, icd_meter *meter, const char *enable,
                               const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const char *text = format(ctx, meter->arena, fmt, args);
    va_end(args);
    const char *how = icd_i_arena_strdup(ctx, meter->arena, enable);
    if (!text || !how) return ICD_ENOMEM;
    meter->state.available = false;
    meter->state.found = text;
    meter->state.enable = how;
    return ICD_OK;
}

static store *store_of(const icd_readings *readings)
{
    return readings->memory;
}

void icd_readings_free(icd_ctx *ctx, icd_readings *readings)
{
    if (!readings) return;
    if (readings->memory) icd_i_arena_free(ctx, store_of(readings)->arena);
    icd_i_free(ctx, readings->memory);
    icd_i_free(ctx, readings->metric);
    icd_i_free(ctx, readings);
}

static icd_status readings_new(icd_ctx *ctx, const icd_meter *meter, const char *arm,
                               icd_readings **out)
{
    icd_status status = ICD_OK;
    icd_readings *r = NULL;
    store *s = NULL;
    *out = NULL;
    ICD_TRY(ICD_ALLOC(ctx, 1, &r));
    ICD_TRY(ICD_ALLOC(ctx, 1, &s));
    r->memory = s;
    s->kind = meter->kind;
    ICD_TRY(icd_i_arena_new(ctx, &s->arena));
    r->meter = meter->kind->name;
    r->method = meter->kind->help;
    r->detail = "{}";
    r->arm = icd_i_arena_strdup(ctx, s->arena, arm);
    if (!r->arm) status = ICD_ENOMEM;
done:
    if (status == ICD_OK)
        *out = r;
    else
        icd_readings_free(ctx, r);
    return status;
}

icd_status icd_i_readings_method(icd_ctx *ctx, icd_readings *readings, const char *fmt,
                                 ...)
{
    va_list args;
    va_start(args, fmt);
    const char *text = format(ctx, store_of(readings)->arena, fmt, args);
    va_end(args);
    if (!text) return ICD_ENOMEM;
    readings->method = text;
    return ICD_OK;
}

static bool is_possible(const icd_metric *m)
{
    bool share = m->unit && !strcmp(m->unit, "%");
    return isfinite(m->value) && m->value >= 0 && !(share && m->value > 100);
}

static const char *copy(icd_ctx *ctx, const store *s, const char *text,
                        icd_status *status)
{
    if (!text) return NULL;
    const char *own = icd_i_arena_strdup(ctx, s->arena, text);
    if (!own) *status = ICD_ENOMEM;
    return own;
}

icd_status icd_i_readings_add(icd_ctx *ctx, icd_readings *readings,
                              const icd_metric *metric)
{
    store *s = store_of(readings);
    icd_metric m = *metric;
    char why[120];
    if (m.provenance != ICD_ABSENT && !is_possible(&m)) {
        snprintf(why, sizeof why, "the counter says %g %s, which cannot be", m.value,
                 m.unit ? m.unit : "");
        m = (icd_metric){.name = m.name, .unit = m.unit, .reason = why};
    }
    icd_status status = icd_i_grow(ctx, (void **)&readings->metric, &s->capacity,
                                   readings->count + 1, sizeof m);
    m.name = copy(ctx, s, m.name, &status);
    m.unit = copy(ctx, s, m.unit, &status);
    m.reason = copy(ctx, s, m.reason, &status);
    if (status == ICD_OK) readings->metric[readings->count++] = m;
    return status;
}

icd_status icd_i_readings_absent(icd_ctx *ctx, icd_readings *readings, const char *fmt,
                                 ...)
{
    const store *s = store_of(readings);
    va_list args;
    va_start(args, fmt);
    const char *reason = format(ctx, s->arena, fmt, args);
    va_end(args);
    icd_status status = reason ? ICD_OK : ICD_ENOMEM;
    for (int32_t i = 0; status == ICD_OK && i < s->kind->metrics; i++) {
        icd_metric m = {.name = s->kind->metric[i].name,
                        .unit = s->kind->metric[i].unit,
                        .reason = reason};
        if (!icd_readings_find(readings, m.name))
            status = icd_i_readings_add(ctx, readings, &m);
    }
    return status;
}

icd_status icd_i_readings_detail(icd_ctx *ctx, icd_readings *readings, json_t *detail)
{
    char *text = NULL;
    icd_status status = detail ? ICD_OK
                               : icd_i_fail(ctx, ICD_ENOMEM, readings->meter, NULL,
                                            "no memory for the details of a reading");
    ICD_TRY(status);
    ICD_TRY(icd_i_json_print(ctx, detail, true, &text));
    readings->detail = icd_i_arena_strdup(ctx, store_of(readings)->arena, text);
    if (!readings->detail) status = ICD_ENOMEM;
done:
    icd_i_free(ctx, text);
    json_decref(detail);
    return status;
}

const icd_metric *icd_readings_find(const icd_readings *readings, const char *name)
{
    for (int64_t i = 0; i < readings->count; i++)
        if (!strcmp(readings->metric[i].name, name)) return &readings->metric[i];
    return NULL;
}

icd_metric icd_i_meter_mean(const char *name, const char *unit, const double *x,
                            int64_t n, icd_provenance provenance)
{
    icd_metric m = {.name = name,
                    .unit = unit,
                    .value = icd_i_mean(x, n),
                    .low = NAN,
                    .high = NAN,
                    .count = n,
                    .provenance = provenance};
    if (n < 2) return m;
    double half =
        icd_i_student_quantile(.975, (double)(n - 1)) * icd_i_sd(x, n) / sqrt((double)n);
    m.low = m.value - half;
    m.high = m.value + half;
    return m;
}

json_t *icd_i_meter_real(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

/* The processor's energy says nothing of a GPU's work, nor the other way round. */
static const char *elsewhere(const icd_meter_kind *kind, const icd_meter_subject *s)
{
    if (!kind->device || !s->device || kind->device == s->device) return NULL;
    return kind->device == ICD_METER_GPU ? "it reads a GPU, and this arm runs on the CPU"
                                         : "it reads the CPU, and this arm runs on a GPU";
}

/* Why the meter cannot take the subject; NULL: it can. */
static const char *form_missing(const icd_meter_kind *kind, const icd_meter_subject *s)
{
    if (kind->needs == ICD_METER_ARM && !s->arm)
        return "this arm cannot be stepped in the process of the meter";
    if (kind->needs == ICD_METER_COMMAND && !s->command)
        return "no command runs this arm by itself";
    if (kind->needs == ICD_METER_ADDRS && !s->addrs)
        return "the addresses that this arm touches are not known";
    return NULL;
}

static icd_status make_readings(icd_ctx *ctx, const icd_meter *meter,
                                const icd_meter_subject *subject, int64_t subjects,
                                icd_readings **out)
{
    icd_status status = ICD_OK;
    if (subjects < 1)
        return icd_i_fail(ctx, ICD_EINVAL, meter->kind->name, NULL,
                          "found no arm, expected at least one");
    for (int64_t i = 0; i < subjects; i++) {
        if (!subject[i].name)
            return icd_i_fail(ctx, ICD_EINVAL, meter->kind->name, NULL,
                              "arm %lld has no name", (long long)i);
        ICD_TRY(readings_new(ctx, meter, subject[i].name, &out[i]));
    }
done:
    return status;
}

/* The subjects that the meter can take, and where their readings go. */
typedef struct able {
    const icd_meter_subject **subject;
    icd_readings **into;
    int64_t count;
} able;

static icd_status sort_out(icd_ctx *ctx, const icd_meter *meter,
                           const icd_meter_subject *subject, int64_t subjects,
                           icd_readings **out, able *a)
{
    const icd_meter_state *here = &meter->state;
    icd_status status = ICD_OK;
    for (int64_t i = 0; status == ICD_OK && i < subjects; i++) {
        const char *why = form_missing(meter->kind, &subject[i]),
                   *other = elsewhere(meter->kind, &subject[i]);
        out[i]->elsewhere = other != NULL;
        if (other)
            status = icd_i_readings_absent(ctx, out[i], "%s", other);
        else if (!here->available)
            status = icd_i_readings_absent(ctx, out[i], "%s; to enable: %s", here->found,
                                           here->enable ? here->enable : "");
        else if (why)
            status = icd_i_readings_absent(ctx, out[i], "%s", why);
        else {
            a->subject[a->count] = &subject[i];
            a->into[a->count++] = out[i];
        }
    }
    return status;
}

icd_status icd_meter_measure(icd_ctx *ctx, icd_meter *meter,
                             const icd_meter_subject *subject, int64_t subjects,
                             int64_t windows, icd_readings **out)
{
    icd_status status = ICD_OK;
    able a = {0};
    for (int64_t i = 0; i < subjects; i++) out[i] = NULL;
    ICD_TRY(make_readings(ctx, meter, subject, subjects, out));
    ICD_TRY(ICD_ALLOC(ctx, subjects, &a.subject));
    ICD_TRY(ICD_ALLOC(ctx, subjects, &a.into));
    ICD_TRY(sort_out(ctx, meter, subject, subjects, out, &a));
    if (a.count)
        ICD_TRY(meter->kind->measure(ctx, meter, a.subject, a.into, a.count,
                                     windows > 0 ? windows : WINDOWS));
    for (int64_t i = 0; i < subjects; i++)
        ICD_TRY(icd_i_readings_absent(ctx, out[i], "%s told nothing of it",
                                      meter->kind->name));
done:
    icd_i_free(ctx, a.subject);
    icd_i_free(ctx, a.into);
    for (int64_t i = 0; status != ICD_OK && i < subjects; i++) {
        icd_readings_free(ctx, out[i]);
        out[i] = NULL;
    }
    return status;
}

icd_status icd_meter_absent(icd_ctx *ctx, const icd_meter *meter,
                            const icd_meter_subject *subject, int64_t subjects,
                            const char *reason, icd_readings **out)
{
    icd_status status = ICD_OK;
    for (int64_t i = 0; i < subjects; i++) out[i] = NULL;
    ICD_TRY(make_readings(ctx, meter, subject, subjects, out));
    for (int64_t i = 0; i < subjects; i++)
        ICD_TRY(icd_i_readings_absent(ctx, out[i], "%s", reason));
done:
    for (int64_t i = 0; status != ICD_OK && i < subjects; i++) {
        icd_readings_free(ctx, out[i]);
        out[i] = NULL;
    }
    return status;
}
