/* The orchestrator: stages in order, events, retries, state for resume, rollback, and
   always a report. */
#include "runtime/exec_arms.h"
#include "runtime/rounds.h"

#include "base/file.h"
#include "base/hash.h"
#include "measure/costmodel.h"

#include <icd/report.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct stage {
    const char *name;
    const char *state; /* reached when it is done; NULL: none of SPEC section 1 */
    icd_status (*run)(icd_job *job);
    icd_status (*load)(
        icd_job *job); /* reads what an earlier process left; NULL: computed anew */
} stage;

static const stage STAGE[] = {
    {"trace", NULL, icd_i_stage_trace, icd_i_stage_trace_load},
    {"graph", "W_BUILT", icd_i_stage_graph, NULL},
    {"permute", "PERMUTED", icd_i_stage_permute, icd_i_stage_permute_load},
    {"transform", "TRANSFORMED", icd_i_stage_transform, NULL},
    {"repermute", "REPERMUTED", icd_i_stage_repermute, icd_i_stage_repermute_load},
    {"check", NULL, icd_i_stage_check, NULL},
    {"quality", NULL, icd_i_stage_quality, NULL},
    {"measure", "MEASURED", icd_i_stage_measure, icd_i_stage_measure_load},
};
enum { STAGES = sizeof STAGE / sizeof STAGE[0], MEASURE = STAGES - 1 };
enum { ROUND = 3, REPERMUTED = 5, OF_ROUND = STAGES - ROUND };

/* The stages of all rounds in one count, which is what state.json holds. */
static int steps_before(const icd_job *job, int i)
{
    return i < ROUND ? i : i + (job->round - 1) * OF_ROUND;
}

static void reach(icd_job *job, const char *state)
{
    if (state && job->reached_count < ICD_STAGES_MAX)
        job->reached[job->reached_count++] = state;
}

/* The seed's counters, as far as a stage has set them. */
static json_t *counters(const icd_job *job, const char *name, bool cached)
{
    json_t *meta = json_pack("{s:b}", "reused", (int)cached);
    int64_t nnz = 0;
    for (int64_t i = 0; i < job->axes; i++)
        nnz += job->axis[i].w ? job->axis[i].w->nnz : 0;
    if (nnz) json_object_set_new(meta, "nnz(W)", json_integer(nnz));
    for (int64_t i = 0; i < job->axes && strstr(name, "permute"); i++) {
        const icd_job_axis *a = &job->axis[i];
        if (!a->perm || a->local != !strcmp(name, "repermute")) continue;
        json_object_set_new(meta, a->name,
                            json_pack("{s:f,s:f,s:f}", "C", a->stats.score.C, "Q",
                                      a->stats.score.Q, "T", a->stats.score.T));
    }
    if (icd_i_job_iterates(job) && job->round > 0)
        json_object_set_new(meta, "round", json_integer(job->round));
    if (job->samples && !strcmp(name, "measure"))
        json_object_set_new(meta, "blocks", json_integer(job->samples->blocks));
    return meta;
}

static void emit(icd_job *job, const char *name, double from, icd_status status,
                 bool cached)
{
    char *text = NULL;
    json_t *meta = counters(job, name, cached);
    if (status != ICD_OK)
        json_object_set_new(meta, "error", json_string(icd_ctx_message(job->ctx)));
    text = json_dumps(meta, JSON_COMPACT | JSON_SORT_KEYS);
    icd_event event = {.stage = name,
                       .t_start = from,
                       .t_end = icd_i_ctx_now(job->ctx),
                       .ok = status == ICD_OK,
                       .meta_json = text ? text : "{}"};
    icd_i_emit(job->ctx, &event);
    if (job->records < ICD_STAGES_MAX)
        job->record[job->records++] = (icd_job_stage_record){
            name, event.t_end - event.t_start, status == ICD_OK, cached, job->round};
    free(text);
    json_decref(meta);
}

/* What may go better a second time: another process in the way, a reading that failed. */
static bool is_transient(icd_status status)
{
    return status == ICD_EBUSY || status == ICD_EMEASURE;
}

static icd_status run_once(icd_job *job, int i, bool load)
{
    double from = icd_i_ctx_now(job->ctx);
    icd_status status = load ? STAGE[i].load(job) : STAGE[i].run(job);
    emit(job, STAGE[i].name, from, status, load);
    return status;
}

static icd_status run_with_retries(icd_job *job, int i)
{
    bool load = steps_before(job, i) < job->state.stage && STAGE[i].load &&
                !(i == MEASURE && job->opts.no_measure);
    icd_status status = run_once(job, i, load);
    for (int32_t k = 0; k < job->config->pipeline.retries && is_transient(status); k++) {
        struct timespec wait = {k < 4 ? 1 << k : 8, 0};
        icd_i_warn(job->ctx, "%s failed (%s); trying again", STAGE[i].name,
                   icd_ctx_message(job->ctx));
        nanosleep(&wait, NULL);
        icd_ctx_clear(job->ctx);
        status = run_once(job, i, false);
    }
    return status;
}

/* The last stage of a run of this kind; a dry run needs layouts only. */
static int last_stage(const icd_job *job)
{
    if (job->opts.dry_run) return REPERMUTED - 1;
    return job->opts.no_measure ? MEASURE - 1 : MEASURE;
}

static icd_status save_state(icd_job *job, int done)
{
    if (done <= job->state.stage || job->opts.dry_run) return ICD_OK;
    job->state.stage = done;
    return icd_i_rundir_write_state(job->ctx, job->dir, &job->state);
}

static icd_status run_stage(icd_job *job, int i)
{
    icd_status status = icd_i_check_cancel(job->ctx);
    if (status == ICD_OK) status = run_with_retries(job, i);
    if (status == ICD_OK) status = save_state(job, steps_before(job, i) + 1);
    return status;
}

/* Stages of one round; it is over early where nothing changed, or where a permuted model
   does not equal itself: there is nothing to time. */
static icd_status run_round(icd_job *job)
{
    for (int i = ROUND; i <= last_stage(job); i++) {
        icd_status status = run_stage(job, i);
        if (status != ICD_OK || !icd_i_round_alive(job)) return status;
        reach(job, STAGE[i].state);
        if (job->outcome == ICD_OUTCOME_ROLLED_BACK) return ICD_OK;
    }
    return ICD_OK;
}

/* Nothing to permute: the commands are timed, and that is all. */
static icd_status run_commands(icd_job *job)
{
    job->cosine_vs_dense = NAN;
    if (last_stage(job) != MEASURE) return ICD_OK;
    icd_status status = icd_i_exec_arms(job);
    if (status == ICD_OK) status = run_stage(job, MEASURE);
    if (status == ICD_OK) reach(job, STAGE[MEASURE].state);
    return status;
}

static icd_status run_stages(icd_job *job)
{
    icd_status status = ICD_OK;
    if (icd_i_exec_alone(job->config)) return run_commands(job);
    for (int i = 0; i < ROUND && i <= last_stage(job); i++) {
        ICD_TRY(run_stage(job, i));
        reach(job, STAGE[i].state);
    }
    for (bool more = true; more;) {
        ICD_TRY(icd_i_round_begin(job));
        int32_t number = job->round;
        status = run_round(job);
        if (status != ICD_ECANCELLED && status != ICD_ENOMEM)
            status = icd_i_round_end(job, status, &more);
        if (status != ICD_OK) return status;
        if (job->round < number) reach(job, "ROLLBACK");
    }
done:
    return status;
}

/* pi0 where it exists, else nothing was ever changed: an empty set. */
static icd_status write_active(icd_job *job)
{
    icd_status status = ICD_OK;
    icd_perm_set *empty = NULL;
    const char *path = icd_i_job_path(job, "perm_active.json");
    bool kept = job->outcome == ICD_OUTCOME_KEPT && job->after;
    const icd_perm_set *active = kept ? job->after : job->before;
    if (!path) return ICD_ENOMEM;
    if (!active) {
        ICD_TRY(icd_perm_set_new(job->ctx, &empty));
        active = empty;
    }
    ICD_TRY(icd_perm_set_write(job->ctx, active, path));
done:
    icd_perm_set_free(job->ctx, empty);
    return status;
}

/* What rolls back as part of the method: the layout, or its transform, is at fault. All
 * else is the machine's or the user's to mend, and whoever called must hear of it. */
static bool is_finding(icd_status status)
{
    return status == ICD_OK || status == ICD_EEXACT || status == ICD_EADAPTER ||
           status == ICD_ENUMERIC;
}

/* From here on the run ends in REPORTED whatever happened before. */
static icd_status report(icd_job *job, icd_status status)
{
    bool finding = is_finding(status);
    if (status != ICD_OK) {
        icd_i_job_roll_back(job, "%s: %s", icd_status_code(status),
                            icd_ctx_message(job->ctx));
        icd_ctx_clear(job->ctx);
    }
    icd_samples *samples = job->samples;
    status = samples ? icd_i_verdict(job) : icd_i_verdict_untimed(job);
    if (job->outcome == ICD_OUTCOME_ROLLED_BACK) reach(job, "ROLLBACK");
    reach(job, "REPORTED");
    double from = icd_i_ctx_now(job->ctx);
    if (status == ICD_OK) status = icd_i_round_publish(job);
    if (status == ICD_OK) status = write_active(job);
    if (status == ICD_OK) status = icd_i_metrics_write(job);
    if (status == ICD_OK)
        status = icd_report_write(job->ctx, icd_i_rundir_root(job->dir));
    if (job->outcome == ICD_OUTCOME_ROLLED_BACK && finding)
        icd_i_warn(job->ctx, "rolled back to pi_prev: %s", job->cause);
    emit(job, job->outcome == ICD_OUTCOME_ROLLED_BACK ? "rollback" : "report", from,
         status, false);
    return status;
}

void icd_run_summary_free(icd_ctx *ctx, icd_run_summary *s)
{
    if (!s) return;
    icd_i_free(ctx, s->dir);
    icd_i_free(ctx, s->report);
    icd_i_free(ctx, s->cause);
    for (int i = 0; i < 3; i++) icd_i_free(ctx, s->verdict[i]);
    icd_i_free(ctx, s);
}

static icd_status summarize(icd_job *job, icd_run_summary **out)
{
    icd_status status = ICD_OK;
    icd_run_summary *s = NULL;
    const char *report = icd_i_job_path(job, "report.html");
    if (!report) return ICD_ENOMEM;
    ICD_TRY(ICD_ALLOC(job->ctx, 1, &s));
    s->outcome = job->outcome;
    ICD_TRY(icd_i_strdup(job->ctx, icd_i_rundir_root(job->dir), &s->dir));
    ICD_TRY(icd_i_strdup(job->ctx, report, &s->report));
    if (job->cause[0]) ICD_TRY(icd_i_strdup(job->ctx, job->cause, &s->cause));
    for (int i = 0; i < 3; i++)
        ICD_TRY(icd_i_strdup(job->ctx, job->verdict[i], &s->verdict[i]));
    *out = s;
    s = NULL;
done:
    icd_run_summary_free(job->ctx, s);
    return status;
}

/* The report, then what stood in the way of the run: the report tells of it as well. */
static icd_status finish(icd_job *job, icd_status status, icd_run_summary **out)
{
    char found[512] = "";
    icd_status failure = is_finding(status) ? ICD_OK : status;
    if (status == ICD_ECANCELLED) return status;
    if (failure != ICD_OK) snprintf(found, sizeof found, "%s", icd_ctx_message(job->ctx));
    status = report(job, status);
    if (status == ICD_OK) status = summarize(job, out);
    return failure == ICD_OK ? status
                             : icd_i_fail(job->ctx, failure, NULL, NULL, "%s", found);
}

/* config.lock.json, the log, and whether an earlier state of this directory may be built
 * upon. */
static icd_status prepare(icd_job *job, bool resume)
{
    icd_status status = ICD_OK;
    char *text = NULL;
    icd_run_state earlier = {0};
    const char *lock = icd_i_job_path(job, "config.lock.json");
    const char *log = icd_i_job_path(job, "run.log");
    if (!lock || !log) return ICD_ENOMEM;
    icd_i_out_sweep(icd_i_rundir_root(job->dir));
    ICD_TRY(icd_config_print(job->ctx, job->config, &text));
    job->state.config_hash = icd_i_hash(0, text, strlen(text));
    job->state.model_hash = icd_i_job_hash(job);
    ICD_TRY(icd_i_rundir_read_state(job->ctx, job->dir, &earlier));
    bool same = earlier.config_hash == job->state.config_hash &&
                earlier.model_hash == job->state.model_hash;
    if (resume && earlier.stage > 0 && !same)
        icd_i_warn(
            job->ctx,
            "model, input or settings changed since; starting from the first stage");
    if (resume && same) job->state.stage = earlier.stage;
    if (!resume) ICD_TRY(icd_i_rundir_remove(job->ctx, job->dir, "run.log"));
    ICD_TRY(icd_config_write(job->ctx, job->config, lock));
    ICD_TRY(icd_i_rundir_write_state(job->ctx, job->dir, &job->state));
    ICD_TRY(icd_ctx_log_open(job->ctx, log));
done:
    icd_mem_free(job->ctx, text);
    return status;
}

/* A cost model that cannot be read is better known before anything is measured. */
static icd_status check_cost_model(icd_job *job)
{
    icd_cost_model model;
    const char *path = job->config->measure.cost_model;
    icd_status status = path ? icd_i_cost_model_read(job->ctx, path, &model) : ICD_OK;
    if (status == ICD_OK) icd_i_cost_model_check(job);
    return status;
}

static icd_outcome wanted_outcome(const icd_run_opts *opts, const icd_config *config)
{
    if (opts->dry_run) return ICD_OUTCOME_DRY_RUN;
    if (opts->no_measure) return ICD_OUTCOME_NOT_MEASURED;
    return config->pipeline.mode == ICD_MODE_ITERATIVE ? ICD_OUTCOME_KEPT
                                                       : ICD_OUTCOME_NOT_MEASURED;
}

static icd_status run(icd_ctx *ctx, const icd_config *config, const char *out_dir,
                      const icd_run_opts *opts, bool resume, icd_run_summary **out)
{
    icd_status status = ICD_OK;
    icd_job job = {.ctx = ctx, .config = config};
    icd_config quick;
    *out = NULL;
    if (opts) job.opts = *opts;
    job.outcome = wanted_outcome(&job.opts, config);
    reach(&job, "READY");
    ICD_TRY(icd_sparsity_check(ctx, &config->sparsity));
    ICD_TRY(icd_i_rundir_open(ctx, out_dir, &job.dir));
    if (!icd_i_exec_alone(config)) ICD_TRY(icd_i_stage_open(&job));
    ICD_TRY(check_cost_model(&job));
    if (config->pipeline.fixed_clock)
        icd_i_warn(ctx,
                   "pipeline.fixed_clock: ICD changes no setting of a machine; lock "
                   "the clocks yourself before the run (docs/sop.md). This run is "
                   "tagged \"unlocked\", and confirmed in cycles where those are known");
    ICD_TRY(prepare(&job, resume));
    if (job.opts.dry_run) { /* quick orders are enough to say whether it is worth it */
        quick = *config;
        quick.solver.effort = ICD_EFFORT_LOW;
        job.config = &quick;
    }
    ICD_TRY(finish(&job, run_stages(&job), out));
    if (job.opts.gate) status = icd_i_gates_check(&job);
done:
    (void)icd_ctx_log_open(ctx, NULL);
    icd_i_job_free(&job);
    return status;
}

icd_status icd_run(icd_ctx *ctx, const icd_config *config, const icd_run_opts *opts,
                   icd_run_summary **out)
{
    const char *dir = opts && opts->out ? opts->out : config->report.out_dir;
    return run(ctx, config, dir, opts, false, out);
}

icd_status icd_resume(icd_ctx *ctx, const char *dir, const icd_run_opts *opts,
                      icd_run_summary **out)
{
    icd_status status = ICD_OK;
    icd_config *config = NULL;
    char path[1024];
    *out = NULL;
    snprintf(path, sizeof path, "%s/config.lock.json", dir);
    ICD_TRY(icd_config_new(ctx, &config));
    ICD_TRY(icd_config_read(ctx, config, path));
    ICD_TRY(run(ctx, config, dir, opts, true, out));
done:
    icd_config_free(ctx, config);
    return status;
}

icd_status icd_report_run(icd_ctx *ctx, const char *dir)
{
    return icd_report_write(ctx, dir);
}
