/* Sums over kernels, and what is not believed about them. */
#include "measure/ncu_sum.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIASES = 5, ROWS_MOST = 64 };
static const double REJECTED_MOST = .01; /* of the sectors */
static const double NO_VALUE = (double)NAN;

static const icd_ncu_alias ALIAS[ICD_NCU_QUANTITIES][ALIASES] = {
    [ICD_NCU_HIT_RATE] = {{"lts__t_sector_hit_rate.pct", "%", 1, NULL},
                          {"lts__average_t_sector_hit_rate_realtime.pct", "%", 1,
                           "the hit rate under its name of GPUs since 2025"},
                          {"lts__average_t_sector_hit_rate.pct", "%", 1, NULL},
                          {"l2_tex__t_sector_hit_rate.pct", "%", 1,
                           "lookups of the texture units alone"},
                          {"lts__t_sector_op_read_hit_rate.pct", "%", 1, "reads alone"}},
    [ICD_NCU_SECTORS] = {{"lts__t_sectors.sum", "sector", 1, NULL},
                         {"lts__t_requests.sum", "request", 1, "requests, not sectors"}},
    [ICD_NCU_L2_READ] = {{"lts__t_sectors_op_read.sum", "sector", 32, NULL},
                         {"lts__t_bytes_op_read.sum", "byte", 1, NULL},
                         {"lts__t_sectors_srcunit_tex_op_read.sum", "sector", 32,
                          "reads of the texture units alone"}},
    [ICD_NCU_DRAM_READ] = {{"dram__bytes_read.sum", "byte", 1, NULL},
                           {"dram__bytes_op_read.sum", "byte", 1, NULL},
                           {"dram__sectors_read.sum", "sector", 32, NULL},
                           {"fbpa__dram_read_bytes.sum", "byte", 1, NULL}},
    [ICD_NCU_DRAM_WRITE] = {{"dram__bytes_write.sum", "byte", 1, NULL},
                            {"dram__bytes_op_write.sum", "byte", 1, NULL},
                            {"dram__sectors_write.sum", "sector", 32, NULL},
                            {"fbpa__dram_write_bytes.sum", "byte", 1, NULL}},
};

const icd_ncu_alias *icd_i_ncu_alias(icd_ncu_quantity quantity, int64_t i)
{
    return i >= 0 && i < ALIASES && ALIAS[quantity][i].name ? &ALIAS[quantity][i] : NULL;
}

/* The column of a quantity; -1: not asked for, or not printed. */
static int64_t column_of(const icd_ncu_table *t, const icd_ncu_names *names,
                         icd_ncu_quantity q)
{
    return names->alias[q] ? icd_i_ncu_column(t, names->alias[q]->name) : -1;
}

static double cell(const icd_ncu_table *t, int64_t kernel, int64_t column)
{
    return column >= 0 ? t->value[kernel * t->columns + column] : NO_VALUE;
}

static bool is_rate(double x)
{
    return x >= 0 && x <= 100;
}

/* Sectors of a kernel; 1 where no weight is told: every kernel counts alike. */
static double weight(const icd_ncu_table *t, int64_t kernel, int64_t column)
{
    double w = cell(t, kernel, column);
    return column < 0 ? 1 : w >= 0 ? w : 0;
}

static bool has_column(const icd_ncu_table *t, const icd_ncu_names *names,
                       icd_ncu_quantity q, icd_ncu_sum *out)
{
    const icd_ncu_alias *a = names->alias[q];
    int64_t c = column_of(t, names, q);
    char *why = out->why[q];
    if (!a) {
        snprintf(why, sizeof out->why[q], "this ncu lists no metric for it");
    } else if (c < 0) {
        snprintf(why, sizeof out->why[q], "ncu did not print %s", a->name);
    } else if (t->kernels == 0) {
        snprintf(why, sizeof out->why[q], "ncu's table holds no kernel");
    } else if (*t->column[c].unit && strcmp(t->column[c].unit, a->unit) != 0) {
        snprintf(why, sizeof out->why[q], "%s came in '%.40s', expected %s", a->name,
                 t->column[c].unit, a->unit);
    } else {
        return true;
    }
    return false;
}

static double rate_of(const icd_ncu_table *t, const icd_ncu_names *names,
                      icd_ncu_sum *out)
{
    double sum = 0, all = 0, bad = 0, worst = NO_VALUE;
    int64_t c = column_of(t, names, ICD_NCU_HIT_RATE);
    int64_t w = column_of(t, names, ICD_NCU_SECTORS);
    char *why = out->why[ICD_NCU_HIT_RATE];
    for (int64_t k = 0; k < t->kernels; k++) {
        double rate = cell(t, k, c), share = weight(t, k, w);
        all += share;
        if (is_rate(rate)) {
            sum += rate * share;
            continue;
        }
        if (!(share > 0)) continue; /* nothing was looked up: there is no rate */
        if (!isnan(rate)) worst = rate;
        bad += share;
        out->rejected++;
    }
    if (bad > REJECTED_MOST * all && isnan(worst))
        snprintf(why, sizeof out->why[0], "%lld of %lld kernels do not tell it%s%.40s",
                 (long long)out->rejected, (long long)t->kernels,
                 t->column[c].odd ? ": found " : "",
                 t->column[c].odd ? t->column[c].odd : "");
    else if (bad > REJECTED_MOST * all)
        snprintf(why, sizeof out->why[0],
                 "%lld of %lld kernels have rates outside 0 to 100 (%g), as very short "
                 "ones do",
                 (long long)out->rejected, (long long)t->kernels, worst);
    else if (!(all > bad))
        snprintf(why, sizeof out->why[0], "no sector was looked up");
    else
        return sum / (all - bad);
    return NO_VALUE;
}

static double sum_of(const icd_ncu_table *t, const icd_ncu_names *names,
                     icd_ncu_quantity q, icd_ncu_sum *out)
{
    double sum = 0;
    int64_t c = column_of(t, names, q);
    for (int64_t k = 0; k < t->kernels; k++) {
        double x = cell(t, k, c);
        if (x >= 0) {
            sum += x * names->alias[q]->factor;
            continue;
        }
        snprintf(out->why[q], sizeof out->why[q], "kernel %lld, '%.60s', %s%.40s",
                 (long long)k, t->kernel[k].name,
                 x < 0              ? "has a negative count"
                 : t->column[c].odd ? "has no number: "
                                    : "does not tell it",
                 isnan(x) && t->column[c].odd ? t->column[c].odd : "");
        return NO_VALUE;
    }
    return sum;
}

void icd_i_ncu_sum(const icd_ncu_table *t, const icd_ncu_names *names, icd_ncu_sum *out)
{
    *out = (icd_ncu_sum){.kernels = t->kernels};
    for (int q = 0; q < ICD_NCU_QUANTITIES; q++) {
        out->value[q] = NO_VALUE;
        if (!has_column(t, names, (icd_ncu_quantity)q, out)) continue;
        out->value[q] = q == ICD_NCU_HIT_RATE
                            ? rate_of(t, names, out)
                            : sum_of(t, names, (icd_ncu_quantity)q, out);
    }
}

/* Kernels of one name. */
typedef struct group {
    const char *name;
    int64_t launches;
    double hits, sectors; /* hits: rate times sectors */
    double bytes[ICD_NCU_QUANTITIES];
} group;

/* Bytes that are not told count as none: the order is for the eye. */
static double known_bytes(const group *g)
{
    double read = g->bytes[ICD_NCU_DRAM_READ], written = g->bytes[ICD_NCU_DRAM_WRITE];
    return (read > 0 ? read : 0) + (written > 0 ? written : 0);
}

static int by_bytes(const void *a, const void *b)
{
    const group *x = a, *y = b;
    double p = known_bytes(x), q = known_bytes(y);
    return p > q ? -1 : q > p ? 1 : strcmp(x->name, y->name);
}

static group *group_of(group *g, int64_t *groups, const char *name)
{
    for (int64_t i = 0; i < *groups; i++)
        if (strcmp(g[i].name, name) == 0) return &g[i];
    g[*groups] = (group){.name = name};
    return &g[(*groups)++];
}

static void add_kernel(const icd_ncu_table *t, const icd_ncu_names *names, int64_t k,
                       group *g)
{
    double rate = cell(t, k, column_of(t, names, ICD_NCU_HIT_RATE));
    double share = weight(t, k, column_of(t, names, ICD_NCU_SECTORS));
    g->launches++;
    if (is_rate(rate)) {
        g->hits += rate * share;
        g->sectors += share;
    }
    for (int q = ICD_NCU_L2_READ; q < ICD_NCU_QUANTITIES; q++) {
        double x = cell(t, k, column_of(t, names, (icd_ncu_quantity)q));
        g->bytes[q] += x >= 0 ? x * names->alias[q]->factor : NO_VALUE;
    }
}

static json_t *number(double x)
{
    return isnan(x) ? json_null() : json_real(x);
}

static json_t *group_json(const group *g)
{
    double rate = g->sectors > 0 ? g->hits / g->sectors : NO_VALUE;
    json_t *name = json_string(g->name);
    if (!name) name = json_string("(a name that is not UTF-8)");
    return json_pack("{s:o,s:I,s:o,s:o,s:o,s:o}", "name", name, "launches",
                     (json_int_t)g->launches, "l2_hit_pct", number(rate), "l2_read_bytes",
                     number(g->bytes[ICD_NCU_L2_READ]), "dram_read_bytes",
                     number(g->bytes[ICD_NCU_DRAM_READ]), "dram_write_bytes",
                     number(g->bytes[ICD_NCU_DRAM_WRITE]));
}

icd_status icd_i_ncu_kernels(icd_ctx *ctx, const icd_ncu_table *t,
                             const icd_ncu_names *names, json_t **out)
{
    group *g = NULL;
    int64_t groups = 0;
    *out = NULL;
    icd_status status = ICD_ALLOC(ctx, t->kernels, &g);
    if (status != ICD_OK) return status;
    for (int64_t k = 0; k < t->kernels; k++)
        add_kernel(t, names, k, group_of(g, &groups, t->kernel[k].name));
    if (groups) qsort(g, (size_t)groups, sizeof *g, by_bytes);
    json_t *list = json_array();
    for (int64_t i = 0; list && i < groups && i < ROWS_MOST; i++)
        if (json_array_append_new(list, group_json(&g[i])) != 0) {
            json_decref(list);
            list = NULL;
        }
    icd_i_free(ctx, g);
    if (!list)
        return icd_i_fail(ctx, ICD_ENOMEM, "ncu", NULL, "no memory for the kernels");
    *out = list;
    return ICD_OK;
}
