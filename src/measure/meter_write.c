/* meters.json: what every meter read, and the best of it by arm. */
#include "measure/meter.h"

#include <string.h>

static json_t *metric_json(const icd_readings *r, const icd_metric *m)
{
    bool there = m->provenance != ICD_ABSENT, spread = there && m->high >= m->low;
    return json_pack("{s:s,s:o,s:o,s:o,s:I,s:s,s:s?,s:s}", "unit", m->unit ? m->unit : "",
                     "value", icd_i_meter_real(there ? m->value : NAN), "low",
                     icd_i_meter_real(spread ? m->low : NAN), "high",
                     icd_i_meter_real(spread ? m->high : NAN), "count",
                     (json_int_t)(there ? m->count : 0), "provenance",
                     icd_provenance_name(m->provenance), "reason", m->reason, "meter",
                     r->meter);
}

static json_t *reading_json(const icd_readings *r)
{
    json_t *metrics = json_object();
    for (int64_t i = 0; i < r->count; i++)
        json_object_set_new(metrics, r->metric[i].name, metric_json(r, &r->metric[i]));
    json_t *detail = json_loads(r->detail, 0, NULL);
    return json_pack("{s:s,s:s,s:s,s:o,s:o}", "meter", r->meter, "arm", r->arm, "method",
                     r->method, "metrics", metrics, "detail",
                     detail ? detail : json_object());
}

/* MEASURED 1, SIMULATED 2, MODELLED 3, ABSENT last. */
static int rank(icd_provenance p)
{
    return p == ICD_ABSENT ? ICD_MODELLED + 1 : (int)p;
}

/* Whether no reading before it says the same, as well or better. */
static bool is_best(const icd_readings *const *readings, int64_t count, int64_t at,
                    const icd_metric *m)
{
    for (int64_t i = 0; i < count; i++) {
        if (i == at || strcmp(readings[i]->arm, readings[at]->arm) != 0) continue;
        const icd_metric *other = icd_readings_find(readings[i], m->name);
        if (!other) continue;
        int gap = rank(other->provenance) - rank(m->provenance);
        if (gap == 0) gap = (int)readings[i]->elsewhere - (int)readings[at]->elsewhere;
        if (gap < 0 || (gap == 0 && i < at)) return false;
    }
    return true;
}

static void add_best(const icd_readings *const *readings, int64_t count, int64_t at,
                     json_t *arms)
{
    const icd_readings *r = readings[at];
    json_t *arm = json_object_get(arms, r->arm);
    if (!arm) {
        arm = json_object();
        json_object_set_new(arms, r->arm, arm);
    }
    for (int64_t i = 0; i < r->count; i++)
        if (is_best(readings, count, at, &r->metric[i]))
            json_object_set_new(arm, r->metric[i].name, metric_json(r, &r->metric[i]));
}

icd_status icd_readings_write(icd_ctx *ctx, const icd_readings *const *readings,
                              int64_t count, const char *path)
{
    json_t *arms = json_object(), *meters = json_array();
    for (int64_t i = 0; i < count; i++) {
        add_best(readings, count, i, arms);
        json_array_append_new(meters, reading_json(readings[i]));
    }
    json_t *root =
        json_pack("{s:s,s:o,s:o}", "version", "icd/1", "arms", arms, "meters", meters);
    icd_status status = root ? icd_i_json_write(ctx, root, path)
                             : icd_i_fail(ctx, ICD_ENOMEM, path, NULL,
                                          "no memory for what the meters read");
    json_decref(root);
    return status;
}
