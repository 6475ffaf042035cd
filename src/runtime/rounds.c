#include "runtime/rounds.h"

#include "base/file.h"
#include "runtime/exec_arms.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

bool icd_i_job_iterates(const icd_job *job)
{
    return job->config->pipeline.iterations > 1 &&
           job->config->pipeline.mode == ICD_MODE_ITERATIVE && !job->opts.dry_run &&
           !icd_i_exec_wanted(job->config);
}

const char *icd_i_round_name(icd_job *job, const char *name)
{
    char text[512];
    if (!icd_i_job_iterates(job) || job->round == 0) return name;
    snprintf(text, sizeof text, "rounds/%d/%s", (int)job->round, name);
    const char *path = icd_i_rundir_path(job->ctx, job->dir, text);
    return path ? path + strlen(icd_i_rundir_root(job->dir)) + 1 : NULL;
}

const char *icd_i_round_path(icd_job *job, const char *name)
{
    const char *relative = icd_i_round_name(job, name);
    return relative ? icd_i_rundir_path(job->ctx, job->dir, relative) : NULL;
}

icd_job_arm *icd_i_candidate(icd_job *job)
{
    icd_job_arm *arm = icd_i_arm_find(job, "iterative");
    return arm ? arm : job->arms ? &job->arm[0] : NULL;
}

static icd_round *now(const icd_job *job)
{
    return &job->rounds->round[job->rounds->count - 1];
}

/* Local axes stand behind pi0's. */
static int64_t first_local(const icd_job *job)
{
    int64_t i = 0;
    while (i < job->axes && !job->axis[i].local) i++;
    return i;
}

static void release_axes(icd_ctx *ctx, icd_job_axis *axis, int64_t count)
{
    for (int64_t i = 0; i < count; i++) icd_i_job_axis_release(ctx, &axis[i]);
}

static void release_arms(icd_ctx *ctx, icd_job_arm *arm, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        icd_i_layout_free(ctx, arm[i].layout);
        if (!arm[i].borrowed) icd_i_variant_free(arm[i].variant);
    }
}

void icd_i_round_release(icd_job *job)
{
    icd_ctx *ctx = job->ctx;
    release_arms(ctx, job->arm, job->arms);
    icd_samples_free(ctx, job->samples);
    json_decref(job->readings);
    json_decref(job->root_cause);
    icd_perm_set_free(ctx, job->after);
    icd_i_layout_free(ctx, job->layout);
    int64_t first = first_local(job);
    if (job->axis) release_axes(ctx, job->axis + first, job->axes - first);
    for (int64_t i = 0; job->linear && i < job->linears; i++) {
        icd_quantized_free(ctx, job->linear[i].quant);
        job->linear[i].quant = NULL;
    }
    icd_model_free(ctx, job->transformed);
    icd_i_places_free(ctx, job->places);
    job->arms = job->checks = job->evidences = job->gates = 0;
    job->axes = first;
    job->samples = NULL;
    job->readings = job->root_cause = NULL;
    job->after = NULL;
    job->layout = NULL;
    job->transformed = NULL;
    job->places = NULL;
}

void icd_i_put_away_free(icd_ctx *ctx, icd_put_away *p)
{
    if (!p) return;
    icd_i_put_away_free(ctx, p->older);
    release_arms(ctx, p->arm, p->arms);
    icd_samples_free(ctx, p->samples);
    json_decref(p->readings);
    icd_perm_set_free(ctx, p->after);
    release_axes(ctx, p->axis, p->axes);
    icd_i_free(ctx, p->axis);
    icd_i_places_free(ctx, p->places);
    icd_i_variant_free(p->variant);
    icd_i_free(ctx, p);
}

void icd_i_rounds_free(icd_ctx *ctx, icd_job_rounds *rounds)
{
    for (int32_t i = 0; rounds && i < rounds->count; i++)
        icd_i_free(ctx, rounds->round[i].group);
    icd_i_free(ctx, rounds);
}

/* What the transform made, as a variant of its own; the metadata stays readable in the
   job until the next transform replaces it. */
static icd_status give_variant(icd_job *job, icd_variant **out)
{
    icd_status status = icd_i_variant_new(job, out);
    if (status != ICD_OK) return status;
    (*out)->layout = job->layout;
    (*out)->model = job->transformed;
    for (int64_t i = 0; i < job->linears; i++) {
        (*out)->s[i] = job->linear[i].s;
        (*out)->q[i] = job->linear[i].q;
        (*out)->quant[i] = job->linear[i].quant;
        job->linear[i].quant = NULL;
    }
    job->layout = NULL;
    job->transformed = NULL;
    return ICD_OK;
}

/* Models that no later round runs. */
static void drop_models(icd_put_away *p)
{
    for (int64_t i = 0; i < p->arms; i++) {
        icd_variant *v = p->arm[i].variant;
        if (!v) continue;
        icd_model_free(v->ctx, v->model);
        icd_model_free(v->ctx, v->source);
        v->model = v->source = NULL;
    }
}

static icd_status put_away(icd_job *job)
{
    icd_status status = ICD_OK;
    icd_put_away *p = NULL;
    int64_t first = first_local(job), axes = job->axes - first;
    ICD_TRY(ICD_ALLOC(job->ctx, 1, &p));
    ICD_TRY(ICD_ALLOC(job->ctx, axes, &p->axis));
    ICD_TRY(give_variant(job, &p->variant));
    snprintf(p->name, sizeof p->name, "round %d", (int)job->round);
    if (axes) memcpy(p->axis, job->axis + first, (size_t)axes * sizeof *p->axis);
    p->axes = axes;
    job->axes = first;
    p->places = job->places;
    p->after = job->after;
    memcpy(p->arm, job->arm, sizeof p->arm);
    p->arms = job->arms;
    p->samples = job->samples;
    p->readings = job->readings;
    memcpy(p->check, job->check, sizeof p->check);
    p->checks = job->checks;
    p->cosine_vs_dense = job->cosine_vs_dense;
    p->kv = job->kv;
    p->kv_meta = job->kv_meta;
    p->outcome = job->outcome;
    p->older = job->previous;
    drop_models(p);
    job->places = NULL;
    job->after = NULL;
    job->samples = NULL;
    job->readings = NULL;
    job->arms = job->checks = 0;
    icd_i_round_release(job);
    job->previous = p;
    p = NULL;
done:
    if (p) icd_i_free(job->ctx, p->axis);
    icd_i_free(job->ctx, p);
    return status;
}

/* The whole model returns to what the round before was. */
static void restore(icd_job *job)
{
    icd_put_away *p = job->previous;
    icd_i_round_release(job);
    icd_i_variant_take(job, p->variant);
    if (p->axes) /* there was room for them before */
        memcpy(job->axis + job->axes, p->axis, (size_t)p->axes * sizeof *p->axis);
    job->axes += p->axes;
    job->places = p->places;
    job->after = p->after;
    memcpy(job->arm, p->arm, sizeof p->arm);
    job->arms = p->arms;
    job->samples = p->samples;
    job->readings = p->readings;
    memcpy(job->check, p->check, sizeof p->check);
    job->checks = p->checks;
    job->cosine_vs_dense = p->cosine_vs_dense;
    job->kv = p->kv;
    job->kv_meta = p->kv_meta;
    job->outcome = p->outcome;
    job->cause[0] = 0;
    job->previous = p->older;
    job->round--;
    icd_i_variant_free(p->variant);
    icd_i_free(job->ctx, p->axis);
    icd_i_free(job->ctx, p);
}

/* The folder is a run directory to the measuring process: it has the settings, too. */
static icd_status make_folder(icd_job *job)
{
    icd_status status = ICD_OK;
    const char *lock = NULL, *folder = icd_i_round_name(job, "");
    if (!icd_i_job_iterates(job)) return ICD_OK;
    if (!folder) return ICD_ENOMEM;
    ICD_TRY(
        icd_i_rundir_folder_path(job->ctx, job->dir, folder, "config.lock.json", &lock));
    status = icd_config_write(job->ctx, job->config, lock);
done:
    return status;
}

icd_status icd_i_round_begin(icd_job *job)
{
    icd_status status = ICD_OK;
    if (!job->rounds) ICD_TRY(ICD_ALLOC(job->ctx, 1, &job->rounds));
    if (job->round > 0) ICD_TRY(put_away(job));
    job->round++;
    job->rounds->count++;
    *now(job) = (icd_round){.number = job->round, .loss_before = NAN, .loss_after = NAN};
    status = make_folder(job);
done:
    return status;
}

bool icd_i_round_alive(const icd_job *job)
{
    return job->round == 1 || now(job)->redone > 0;
}

icd_status icd_i_round_redo(icd_job *job, icd_variant **made)
{
    icd_status status = ICD_OK;
    icd_round *r = now(job);
    icd_places *places = NULL;
    const icd_put_away *p = job->previous;
    *made = NULL;
    r->loss_before = r->loss_after = icd_i_job_loss(job, 0, job->linears);
    ICD_TRY(icd_i_redo(job, icd_i_put_away_layout(p), p->places, &r->group, &r->groups,
                       &places));
    if (!places) goto done;
    ICD_TRY(icd_i_variant_make_at(job, &job->config->sparsity, &job->config->quant,
                                  places, made));
    double loss = icd_i_loss(job, (*made)->s, (*made)->q, 0, job->linears);
    for (int64_t i = 0; i < r->groups; i++) r->redone += r->group[i].taken;
    r->loss_after = loss;
    job->places = places;
    places = NULL;
done:
    icd_i_places_free(job->ctx, places);
    return status;
}

const icd_layout *icd_i_put_away_layout(const icd_put_away *p)
{
    const icd_layout *out = p->arms ? p->arm[0].layout : p->variant->layout;
    for (int64_t i = 0; i < p->arms; i++)
        if (!strcmp(p->arm[i].name, "iterative")) out = p->arm[i].layout;
    return out;
}

static const icd_redo_group *find_group(const icd_round *r, const char *name)
{
    for (int64_t i = 0; i < r->groups; i++)
        if (!strcmp(r->group[i].group, name)) return &r->group[i];
    return NULL;
}

static int64_t index_of(const icd_job *job, const icd_linear *linear)
{
    int64_t i = 0;
    while (job->linear[i].linear != linear) i++;
    return i;
}

icd_status icd_i_round_standing(icd_job *job, const icd_linear *linear, icd_perm **out)
{
    const icd_put_away *p = job->previous;
    *out = NULL;
    if (!p) return ICD_OK;
    const icd_redo_group *g = find_group(now(job), linear->group);
    bool taken = g && g->taken;
    if (taken && !strcmp(g->what, "tiles")) return ICD_OK;
    if (taken)
        return icd_perm_copy(job->ctx, job->places->order[index_of(job, linear)], out);
    for (int64_t i = 0; i < p->axes; i++)
        if (!strcmp(p->axis[i].name, linear->group))
            return icd_perm_copy(job->ctx, p->axis[i].perm, out);
    return ICD_OK;
}

/* Inputs that stand in another slot of their linears' buffers than before. */
static void count_moved(const icd_layout *a, const icd_layout *b, icd_round *r)
{
    const char *group = "";
    for (int64_t i = 0; i < b->count; i++) {
        const icd_perm *p = a->entry[i].order, *q = b->entry[i].order;
        if (!strcmp(group, b->entry[i].group)) continue;
        group = b->entry[i].group;
        r->inputs += b->entry[i].cols;
        for (int64_t k = 0; k < b->entry[i].cols; k++)
            r->moved += (p ? p->old_of_new[k] : k) != (q ? q->old_of_new[k] : k);
    }
}

/* The arm that the candidate is compared with. */
static icd_job_arm *reference(icd_job *job)
{
    return icd_i_arm_find(job, job->previous ? job->previous->name : "linear");
}

/* Better and worse, by every metric that was measured; the transform's quality, too. */
static icd_status judge_gain(icd_job *job, const char *a, const char *b,
                             icd_round_facts *f)
{
    icd_comparison c;
    icd_evidence e[ICD_EVIDENCE_MAX];
    int64_t count = 0;
    icd_status status =
        icd_samples_compare(job->ctx, job->samples, a, b, job->config->measure.seed, &c);
    if (status == ICD_OK)
        status = icd_i_evidence_between(job, a, b, &c, f->trusted, e, &count);
    if (status != ICD_OK) return status;
    f->measured = true;
    f->gain = c.delta;
    f->low = c.low;
    f->high = c.high;
    now(job)->verdict = c.verdict;
    for (int64_t i = 0; i < count && job->config->rollback.enabled; i++) {
        if (e[i].provenance != ICD_MEASURED) continue;
        if (e[i].verdict == ICD_VERDICT_SLOWER) f->worse = e[i].name;
        if (e[i].verdict == ICD_VERDICT_FASTER && !f->better) f->better = e[i].name;
    }
    return ICD_OK;
}

static bool redoable(const icd_job *job)
{
    for (int64_t i = 0; i < job->linears; i++)
        if (icd_i_redo_what(job, i)) return true;
    return false;
}

static icd_status find_facts(icd_job *job, icd_round *r)
{
    icd_status status = ICD_OK;
    icd_round_facts *f = &r->facts;
    icd_job_arm *a = reference(job), *b = icd_i_candidate(job);
    if (!a || !b) return ICD_OK;
    count_moved(a->layout, b->layout, r);
    f->moved = r->moved > 0;
    ICD_TRY(icd_i_arm_cost(job, a->layout, &r->cost_before));
    ICD_TRY(icd_i_arm_cost(job, b->layout, &r->cost));
    ICD_TRY(icd_i_predict_between(job, a, b, &r->predicted));
    if (!job->samples) return ICD_OK;
    ICD_TRY(icd_i_pi1_holds(job, &f->trusted, &f->beats_linear));
    if (a != b) status = judge_gain(job, a->name, b->name, f);
done:
    return status;
}

static icd_status judge(icd_job *job, icd_round *r, icd_status status)
{
    icd_round_facts *f = &r->facts;
    snprintf(r->failure, sizeof r->failure, "%.250s",
             status != ICD_OK ? icd_ctx_message(job->ctx) : job->cause);
    *f = (icd_round_facts){
        .number = r->number,
        .most = icd_i_job_iterates(job) ? job->config->pipeline.iterations : 1,
        .redoable = redoable(job),
        .redone = r->redone > 0,
        .failed = *r->failure ? r->failure : NULL,
        .gain = NAN,
        .low = NAN,
        .high = NAN};
    if (r->number == 1 && job->layout)
        r->loss_after = icd_i_job_loss(job, 0, job->linears);
    if (status != ICD_OK) icd_ctx_clear(job->ctx);
    status = f->failed || !icd_i_round_alive(job) ? ICD_OK : find_facts(job, r);
    icd_i_round_rule(f, &r->end);
    return status;
}

icd_status icd_i_round_end(icd_job *job, icd_status status, bool *more)
{
    icd_round *r = now(job);
    *more = false;
    if (r->number == 1 && (status != ICD_OK || !icd_i_job_iterates(job))) {
        job->rounds->shown = 1;
        return status;
    }
    status = judge(job, r, status);
    if (status != ICD_OK) return status;
    *more = r->end.go_on;
    if (r->number > 1 && !r->end.keep) {
        icd_i_warn(job->ctx, "round %d was not kept: %s", (int)r->number, r->end.why);
        restore(job);
    }
    job->rounds->shown = job->round;
    return icd_i_round_write(job, r);
}
