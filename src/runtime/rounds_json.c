/* What rounds came to, on disk: rounds/N/round.json, metrics.json, and the files of the
   one that was kept at the top of the run directory. */
#include "runtime/rounds.h"

#include "base/file.h"

#include <math.h>
#include <stdio.h>

static json_t *real(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *group_rows(const icd_round *r)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < r->groups; i++) {
        const icd_redo_group *g = &r->group[i];
        json_array_append_new(list, json_pack("{s:s,s:s,s:o,s:o,s:b}", "group", g->group,
                                              "what", g->what, "loss_before",
                                              real(g->before), "loss_after",
                                              real(g->after), "redone", (int)g->taken));
    }
    return list;
}

static json_t *cost_row(const icd_arm_cost *c)
{
    if (c->all == 0) return json_null();
    return json_pack("{s:I,s:I,s:I}", "live", (json_int_t)c->live, "all",
                     (json_int_t)c->all, "bytes", (json_int_t)c->bytes);
}

static json_t *predicted_row(const icd_prediction *p)
{
    if (!p->advice || !isfinite(p->live)) return json_null();
    return json_pack("{s:o,s:o,s:o,s:o,s:o}", "live_ratio", real(p->live), "bytes_ratio",
                     real(p->bytes), "time_ratio", real(p->time), "time_low",
                     real(p->low), "time_high", real(p->high));
}

static json_t *gain_row(const icd_round *r)
{
    const icd_round_facts *f = &r->facts;
    if (!f->measured) return json_null();
    return json_pack("{s:o,s:o,s:o,s:s}", "change", real(f->gain), "low", real(f->low),
                     "high", real(f->high), "verdict", icd_verdict_name(r->verdict));
}

static json_t *round_row(const icd_round *r)
{
    char against[24] = "pi0";
    if (r->number > 1) snprintf(against, sizeof against, "round %d", (int)r->number - 1);
    return json_pack("{s:i,s:s,s:o,s:I,s:o,s:o,s:I,s:I,s:o,s:o,s:o,s:o,s:b,s:s,s:s}",
                     "round", (int)r->number, "against", against, "groups", group_rows(r),
                     "redone", (json_int_t)r->redone, "loss_before", real(r->loss_before),
                     "loss_after", real(r->loss_after), "moved", (json_int_t)r->moved,
                     "inputs", (json_int_t)r->inputs, "before", cost_row(&r->cost_before),
                     "after", cost_row(&r->cost), "predicted",
                     predicted_row(&r->predicted), "gain", gain_row(r), "kept",
                     (int)r->end.keep, "why", r->end.why, "stop", r->end.stop);
}

/* The last round whose layout stands; 0: none, pi0 does. */
static int kept_round(const icd_job_rounds *rounds)
{
    return rounds->round[rounds->shown - 1].end.keep ? (int)rounds->shown : 0;
}

json_t *icd_i_rounds_json(const icd_job *job)
{
    const icd_job_rounds *rounds = job->rounds;
    if (!rounds || rounds->shown < 1 || !icd_i_job_iterates(job)) return NULL;
    json_t *list = json_array();
    const icd_round *last = &rounds->round[rounds->count - 1];
    for (int32_t i = 0; i < rounds->count; i++)
        json_array_append_new(list, round_row(&rounds->round[i]));
    return json_pack("{s:i,s:i,s:i,s:s,s:o}", "asked",
                     (int)job->config->pipeline.iterations, "kept", kept_round(rounds),
                     "shown", (int)rounds->shown, "stopped", last->end.stop, "round",
                     list);
}

/* The orders in which transforms were chosen, from the checkpoint, for those who want to
   know which channels were neighbours. */
static icd_status write_places(icd_job *job, const char *path)
{
    icd_status status = ICD_OK;
    icd_perm_set *set = NULL;
    icd_perm *whole = NULL;
    ICD_TRY(icd_perm_set_new(job->ctx, &set));
    ICD_TRY(icd_i_strdup(job->ctx, job->tag, &set->tag));
    for (int64_t i = 0; job->places && i < job->linears; i++) {
        const icd_linear *l = job->linear[i].linear;
        const icd_perm *place = job->places->order[i],
                       *pi0 = icd_model_order(job->permuted, l->in_axis);
        if (!place || icd_perm_set_get(set, l->group)) continue;
        ICD_TRY(pi0 ? icd_perm_compose(job->ctx, pi0, place, &whole)
                    : icd_perm_copy(job->ctx, place, &whole));
        ICD_TRY(icd_perm_set_put(job->ctx, set, l->group, whole, true));
        icd_perm_free(job->ctx, whole);
        whole = NULL;
    }
    if (set->count) status = icd_perm_set_write(job->ctx, set, path);
done:
    icd_perm_free(job->ctx, whole);
    icd_perm_set_free(job->ctx, set);
    return status;
}

icd_status icd_i_round_write(icd_job *job, const icd_round *r)
{
    char name[48];
    snprintf(name, sizeof name, "rounds/%d/round.json", (int)r->number);
    const char *path = icd_i_job_path(job, name),
               *places = icd_i_round_path(job, "perm_place.json");
    if (!path || !places) return ICD_ENOMEM;
    json_t *row = round_row(r);
    icd_status status = row ? icd_i_json_write(job->ctx, row, path) : ICD_ENOMEM;
    json_decref(row);
    return status == ICD_OK && r->number == job->round ? write_places(job, places)
                                                       : status;
}

icd_status icd_i_round_publish(icd_job *job)
{
    char folder[32];
    if (!icd_i_job_iterates(job) || !job->rounds || job->rounds->shown < 1) return ICD_OK;
    snprintf(folder, sizeof folder, "rounds/%d", (int)job->rounds->shown);
    return icd_i_rundir_publish(job->ctx, job->dir, folder);
}

void icd_i_rounds_words(const icd_job *job, char *out, size_t size)
{
    const icd_job_rounds *rounds = job->rounds;
    if (!rounds || rounds->shown < 1 || !icd_i_job_iterates(job)) return;
    const icd_round *r = &rounds->round[rounds->shown - 1];
    snprintf(out, size, "Round %d of %d %s%s%.120s%s; it ended because %.160s",
             (int)rounds->shown, (int)rounds->count,
             r->end.keep ? "is kept" : "was not kept", *r->end.why ? " (" : "",
             r->end.why, *r->end.why ? ")" : "",
             rounds->round[rounds->count - 1].end.stop);
}
