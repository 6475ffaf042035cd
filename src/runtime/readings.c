/* What the meters left in the run directory: L2 hit rates, bytes, energy per arm. */
#include "runtime/judgement.h"

#include "base/file.h"
#include "runtime/exec_arms.h"

#include <math.h>
#include <string.h>

icd_status icd_i_readings_read(icd_job *job)
{
    const char *path = icd_i_round_path(job, "meters.json");
    if (!path) return ICD_ENOMEM;
    if (job->readings || !icd_i_file_exists(path)) return ICD_OK;
    return icd_i_json_read(job->ctx, path, &job->readings);
}

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static icd_provenance provenance_of(const json_t *row)
{
    const char *name = json_string_value(json_object_get(row, "provenance"));
    for (int p = ICD_ABSENT; name && p <= ICD_MODELLED; p++)
        if (!strcmp(name, icd_provenance_name((icd_provenance)p)))
            return (icd_provenance)p;
    return ICD_ABSENT;
}

static const char *why_no_row(const icd_job *job)
{
    if (icd_i_exec_wanted(job->config))
        return "the arms are commands of the user: what they load and what they compute "
               "cannot be told apart from outside (docs/exec.md)";
    if (job->readings) return "no meter of measure.meters read this arm";
    return "no meter was used (measure.meters); `icd doctor` tells what works here";
}

icd_metric icd_i_reading(icd_job *job, const char *arm, const char *key)
{
    static const char *const UNIT[][2] = {
        {"l2_hit_pct", "%"}, {"dram_bytes", "B"}, {"ept_j_per_tok", "J/token"}};
    icd_metric m = {.name = key, .value = NAN, .low = NAN, .high = NAN};
    const json_t *arms = json_object_get(job->readings, "arms"),
                 *row = json_object_get(json_object_get(arms, arm), key);
    for (size_t i = 0; i < sizeof UNIT / sizeof UNIT[0]; i++)
        if (!strcmp(key, UNIT[i][0])) m.unit = UNIT[i][1];
    if (!row) {
        m.reason = why_no_row(job);
        return m;
    }
    m.provenance = provenance_of(row);
    m.reason = json_string_value(json_object_get(row, "reason"));
    m.value = number(row, "value");
    m.low = number(row, "low");
    m.high = number(row, "high");
    m.count = json_integer_value(json_object_get(row, "count"));
    bool rate = !strcmp(key, "l2_hit_pct");
    if (m.provenance == ICD_ABSENT) return m;
    if (!isfinite(m.value) || m.value < 0 || (rate && m.value > 100)) {
        m.provenance = ICD_ABSENT;
        m.reason = "the meter's value is not possible";
    }
    return m;
}
