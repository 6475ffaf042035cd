/* The meter `cachesim`: the arm's addresses through simulated caches. */
#include "measure/cachesim.h"
#include "measure/meter.h"

#include "base/clock.h"

#include <string.h>

static const icd_meter_metric METRIC[] = {
    {"l2_hit_pct", "%"},
    {"llc_hit_pct", "%"},
    {"dram_bytes", "B"},
    {"dram_read_bytes", "B"},
    {"dram_write_bytes", "B"},
    {"l2_read_bytes", "B"},
    {"l2_references", "accesses"},
    {"l2_misses", "accesses"},
    {"llc_references", "accesses"},
    {"llc_misses", "accesses"},
};

static icd_status open_meter(icd_ctx *ctx, icd_meter *meter)
{
    icd_cache_model *model = icd_i_arena_alloc(ctx, meter->arena, sizeof *model);
    if (!model) return ICD_ENOMEM;
    meter->self = model;
    const char *name = strcmp(meter->opts.cache, "auto") ? meter->opts.cache : "cpu";
    if (!icd_i_cache_model(name, meter->opts.caches, model))
        return icd_i_fail(ctx, ICD_EINVAL, "meter.cache", NULL,
                          "found '%.40s', expected auto, cpu, h100 or a100", name);
    return icd_i_meter_found(ctx, meter, "%s: %s", model->name, model->note);
}

static double accesses(const icd_cache_counts *c)
{
    return (double)(c->reads + c->writes);
}

static double misses(const icd_cache_counts *c)
{
    return (double)(c->read_misses + c->write_misses);
}

/* A simulation has no spread: it says the same every time. */
static icd_status add(icd_ctx *ctx, icd_readings *r, int metric, double value)
{
    icd_metric m = {.name = METRIC[metric].name,
                    .unit = METRIC[metric].unit,
                    .value = value,
                    .low = value,
                    .high = value,
                    .count = 1,
                    .provenance = ICD_SIMULATED};
    return icd_i_readings_add(ctx, r, &m);
}

static icd_status add_level(icd_ctx *ctx, icd_readings *r, const icd_cache_counts *c,
                            int rate, int references)
{
    icd_status status = ICD_OK;
    double all = accesses(c), missed = misses(c);
    if (all > 0) status = add(ctx, r, rate, 100 * (1 - missed / all));
    if (status == ICD_OK) status = add(ctx, r, references, all);
    if (status == ICD_OK) status = add(ctx, r, references + 1, missed);
    return status;
}

static icd_status add_all(icd_ctx *ctx, icd_readings *r, const icd_cache_model *model,
                          const icd_cache_totals *t)
{
    enum { L2, LLC, DRAM, DRAM_READ, DRAM_WRITE, L2_READ, L2_REFS, LLC_REFS = 8 };
    icd_status status = ICD_OK;
    for (int32_t i = 0; i < model->levels; i++) {
        if (model->level[i].number == 2) {
            ICD_TRY(add_level(ctx, r, &t->level[i], L2, L2_REFS));
            ICD_TRY(add(ctx, r, L2_READ, (double)(t->level[i].reads * model->sector)));
        }
        if (i == model->levels - 1 && model->level[i].number > 2)
            ICD_TRY(add_level(ctx, r, &t->level[i], LLC, LLC_REFS));
    }
    ICD_TRY(add(ctx, r, DRAM, (double)(t->read_bytes + t->written_bytes)));
    ICD_TRY(add(ctx, r, DRAM_READ, (double)t->read_bytes));
    ICD_TRY(add(ctx, r, DRAM_WRITE, (double)t->written_bytes));
    ICD_TRY(icd_i_readings_absent(ctx, r, "the simulated caches have no such level"));
done:
    return status;
}

static json_t *level_json(const icd_cache_model *model, int32_t i,
                          const icd_cache_counts *c)
{
    static const char *const POLICY[] = {"lru", "plru"}, *const INCLUSION[] = {
                                                             "free", "inclusive",
                                                             "victim"};
    const icd_cache_level *l = &model->level[i];
    return json_pack("{s:i,s:I,s:i,s:i,s:s,s:s,s:b,s:I,s:I,s:I,s:I,s:I}", "level",
                     (int)l->number, "bytes", (json_int_t)l->bytes, "ways", (int)l->ways,
                     "parts", (int)(l->partitions > 1 ? l->partitions : 1), "policy",
                     POLICY[l->policy], "inclusion", INCLUSION[l->inclusion], "hashed",
                     (int)l->hashed, "reads", (json_int_t)c->reads, "writes",
                     (json_int_t)c->writes, "read_misses", (json_int_t)c->read_misses,
                     "write_misses", (json_int_t)c->write_misses, "far_hits",
                     (json_int_t)c->far_hits);
}

static json_t *detail_json(const icd_cache_model *model, const icd_cache_totals *t,
                           int32_t agents, double seconds)
{
    json_t *levels = json_array();
    for (int32_t i = 0; i < model->levels; i++)
        json_array_append_new(levels, level_json(model, i, &t->level[i]));
    return json_pack("{s:s,s:s,s:i,s:i,s:i,s:o,s:f}", "model", model->name, "note",
                     model->note, "line", (int)model->line, "sector", (int)model->sector,
                     "agents", (int)agents, "levels", levels, "seconds", seconds);
}

/* One inference fills the caches, the next one counts. */
static icd_status simulate(icd_ctx *ctx, const icd_cache_model *model,
                           const icd_meter_subject *subject, icd_readings *into)
{
    icd_status status = ICD_OK;
    icd_cachesim *sim = NULL;
    icd_cache_totals totals;
    double from = icd_i_now();
    int32_t agents = subject->addrs->agents ? subject->addrs->agents : 1;
    ICD_TRY(icd_i_cachesim_new(ctx, model, agents, &sim));
    ICD_TRY(icd_i_cachesim_run(ctx, sim, subject->addrs));
    icd_i_cachesim_reset(sim);
    ICD_TRY(icd_i_cachesim_run(ctx, sim, subject->addrs));
    icd_i_cachesim_totals(sim, &totals);
    ICD_TRY(add_all(ctx, into, model, &totals));
    ICD_TRY(icd_i_readings_method(
        ctx, into,
        "addresses of the linears' packed weights, indices, activations and "
        "sums in a second inference, through simulated caches: %s",
        model->note));
    ICD_TRY(icd_i_readings_detail(
        ctx, into, detail_json(model, &totals, agents, icd_i_now() - from)));
done:
    icd_i_cachesim_free(ctx, sim);
    return status;
}

static icd_status measure(icd_ctx *ctx, icd_meter *meter,
                          const icd_meter_subject *const *subject,
                          icd_readings *const *into, int64_t subjects, int64_t windows)
{
    icd_status status = ICD_OK;
    (void)windows;
    for (int64_t i = 0; status == ICD_OK && i < subjects; i++)
        status = simulate(ctx, meter->self, subject[i], into[i]);
    return status;
}

const icd_meter_kind icd_i_meter_cachesim = {
    .name = "cachesim",
    .area = "counters",
    .help = "caches simulated on the addresses of an inference",
    .needs = ICD_METER_ADDRS,
    .metric = METRIC,
    .metrics = sizeof METRIC / sizeof METRIC[0],
    .open = open_meter,
    .measure = measure,
};
