/* measure: the arms are described in the run directory, and a process of its own builds
   and times them, so that nothing the run did before lies in its caches or heap. */
#include "runtime/exec_arms.h"
#include "runtime/variant.h"

#include "base/file.h"
#include "base/npz.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum { WORKER_ARGS_MAX = 16 };

static json_t *order_json(const icd_perm *order)
{
    json_t *list = json_array();
    for (int64_t i = 0; order && i < order->n; i++)
        json_array_append_new(list, json_integer(order->old_of_new[i]));
    return list;
}

/* Where the model of an arm is stored: "model", or "model.NAME" for one of its own. */
static void model_folder(const icd_job_arm *arm, char out[64])
{
    snprintf(out, 64, arm->variant ? "model.%s" : "model", arm->name);
    for (char *c = out; *c; c++)
        if (*c == ' ') *c = '-';
}

/* Linears of a group share their order: it is written once. */
static json_t *arm_json(const icd_job_arm *arm)
{
    json_t *kernels = json_object(), *orders = json_object();
    char folder[64];
    model_folder(arm, folder);
    for (int64_t i = 0; arm->layout && i < arm->layout->count; i++) {
        const icd_layout_entry *e = &arm->layout->entry[i];
        json_object_set_new(kernels, e->linear, icd_i_kernel_json(e));
        if (e->order && !json_object_get(orders, e->group))
            json_object_set_new(orders, e->group, order_json(e->order));
    }
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:o,s:o}", "name", arm->name, "role",
                     arm->role, "model", folder, "dtype",
                     icd_i_run_dtype_name(arm->dtype), "kv", icd_i_arm_kv_name(arm->kv),
                     "kernels", kernels, "orders", orders);
}

static icd_status write_arms(icd_job *job)
{
    const char *path = icd_i_round_path(job, "arms.json");
    json_t *list = json_array();
    if (!path || !list) return ICD_ENOMEM;
    for (int64_t i = 0; i < job->arms; i++)
        json_array_append_new(list, arm_json(&job->arm[i]));
    icd_status status =
        icd_i_exec_wanted(job->config) ? icd_i_exec_write(job, list) : ICD_OK;
    json_t *root = json_pack("{s:s,s:o,s:O*}", "version", "icd/1", "arms", list,
                             "break_even", job->break_even);
    if (status == ICD_OK)
        status = root ? icd_i_json_write(job->ctx, root, path) : ICD_ENOMEM;
    json_decref(root);
    return status;
}

/* input.npz: the batch that is timed. */
static icd_status write_input(icd_job *job)
{
    const char *path = icd_i_round_path(job, "input.npz");
    icd_batch b = icd_i_input_batch(&job->input, 0);
    if (!path) return ICD_ENOMEM;
    icd_npz_member ids = {"ids", 'i', 4, 2, {b.batch, b.seq}, b.ids};
    icd_npz_member lengths = {"lengths", 'i', 4, 1, {b.batch}, b.lengths};
    icd_npz_member rows = {"rows", 'f', 4, 3, {b.batch, b.seq, b.width}, b.rows};
    const icd_npz_member text[] = {ids, lengths};
    return b.ids ? icd_i_npz_write(job->ctx, path, text, 2)
                 : icd_i_npz_write(job->ctx, path, &rows, 1);
}

/* A name that lives as long as the job. */
static const char *member_name(icd_job *job, const char *kind, const char *linear)
{
    char name[512];
    snprintf(name, sizeof name, "%s.%s", kind, linear);
    const char *path = icd_i_rundir_path(job->ctx, job->dir, name);
    return path ? path + strlen(icd_i_rundir_root(job->dir)) + 1 : NULL;
}

/* "order.LINEAR", living as long as the job: where scales belong to neighbours in another
   order than that of the columns. */
static icd_status order_member(icd_job *job, const icd_layout_entry *e,
                               icd_npz_member *out)
{
    const char *name = member_name(job, "order", e->linear);
    if (!name) return ICD_ENOMEM;
    *out = (icd_npz_member){name, 'i', 4, 1, {e->cols}, e->quant->order};
    return ICD_OK;
}

/* "outliers.LINEAR" and "input_scale.LINEAR": what calibration decided. */
static icd_status add_choices(icd_job *job, const icd_quantized *q, const char *linear,
                              icd_npz_member *out, int32_t *count)
{
    if (q && q->outliers) {
        const char *name = member_name(job, "outliers", linear);
        if (!name) return ICD_ENOMEM;
        out[(*count)++] = (icd_npz_member){name, 'i', 4, 1, {q->outliers}, q->outlier};
    }
    if (q && q->input_scale > 0) {
        const char *name = member_name(job, "input_scale", linear);
        if (!name) return ICD_ENOMEM;
        out[(*count)++] = (icd_npz_member){name, 'f', 4, 1, {1}, &q->input_scale};
    }
    return ICD_OK;
}

/* masks.npz, masks.NAME.npz: what may be skipped, and the rows of a block of every mask;
   the orders of scales. */
static icd_status write_masks(icd_job *job, const icd_layout *layout, const char *folder)
{
    icd_status status = ICD_OK;
    icd_npz_member *member = NULL;
    int64_t *vector = NULL;
    int32_t count = 1;
    char name[96];
    snprintf(name, sizeof name, "masks%s.npz", folder + strlen("model"));
    const char *path = icd_i_round_path(job, name);
    if (!path) return ICD_ENOMEM;
    ICD_TRY(ICD_ALLOC(job->ctx, 4 * layout->count + 1, &member));
    ICD_TRY(ICD_ALLOC(job->ctx, layout->count, &vector));
    for (int64_t i = 0; i < layout->count; i++) {
        const icd_layout_entry *e = &layout->entry[i];
        if (e->quant && e->quant->order) ICD_TRY(order_member(job, e, &member[count++]));
        ICD_TRY(add_choices(job, e->quant, e->linear, member, &count));
        if (!e->mask) continue;
        vector[i] = e->mask->vector;
        member[count++] = (icd_npz_member){
            e->linear, 'u', 8, 2, {e->mask->blocks, e->mask->words}, e->mask->bits};
    }
    member[0] = (icd_npz_member){"icd_masks", 'i', 8, 1, {layout->count}, vector};
    ICD_TRY(icd_i_npz_write(job->ctx, path, member, count));
done:
    icd_i_free(job->ctx, member);
    icd_i_free(job->ctx, vector);
    return status;
}

/* The loop's model was written by the transform; the others are written here. */
static icd_status write_models(icd_job *job)
{
    icd_status status = write_masks(job, job->layout, "model");
    for (int64_t i = 0; status == ICD_OK && i < job->arms; i++) {
        const icd_variant *v = job->arm[i].variant;
        char folder[64];
        if (!v) continue;
        model_folder(&job->arm[i], folder);
        status = write_masks(job, v->layout, folder);
        const char *path = icd_i_round_path(job, folder);
        if (status == ICD_OK && path)
            status = icd_model_write(job->ctx, v->model, icd_model_path(job->checkpoint),
                                     path);
    }
    return status;
}

/* What the worker's exit code says: a wrong setting or a damaged file stays one, and is
   not tried again; a measurement that failed may go better the next time. */
static icd_status status_of_exit(int code)
{
    static const icd_status SAME[] = {ICD_EINVAL, ICD_ENOMEM, ICD_EDATA};
    for (size_t i = 0; i < sizeof SAME / sizeof SAME[0]; i++)
        if (icd_status_exit_code(SAME[i]) == code) return SAME[i];
    return ICD_EMEASURE;
}

/* The parent ignores nothing the worker says: its stderr is ours. */
static icd_status wait_worker(icd_job *job, pid_t pid)
{
    int state = 0;
    struct timespec nap = {0, 50 * 1000 * 1000};
    for (;;) {
        pid_t done = waitpid(pid, &state, WNOHANG);
        if (done == pid) break;
        if (done < 0 && errno != EINTR)
            return icd_i_fail_errno(job->ctx, ICD_EMEASURE, "measuring process", errno,
                                    "waitpid");
        if (icd_i_cancelled(job->ctx)) kill(pid, SIGTERM);
        nanosleep(&nap, NULL);
    }
    if (icd_i_cancelled(job->ctx)) return icd_i_check_cancel(job->ctx);
    if (WIFEXITED(state) && WEXITSTATUS(state) == 0) return ICD_OK;
    if (WIFSIGNALED(state))
        return icd_i_fail(job->ctx, ICD_EMEASURE, "measuring process", "try again",
                          "was ended by signal %d", WTERMSIG(state));
    return icd_i_fail(job->ctx, status_of_exit(WEXITSTATUS(state)), "measuring process",
                      "its message is above", "ended with exit code %d",
                      WEXITSTATUS(state));
}

static icd_status run_worker(icd_job *job, const char *root)
{
    const char *argv[WORKER_ARGS_MAX + 4] = {0};
    char threads[16];
    int n = 0;
    pid_t pid = 0;
    for (; job->opts.worker[n] && n < WORKER_ARGS_MAX; n++) argv[n] = job->opts.worker[n];
    if (job->config->measure.threads > 0) {
        snprintf(threads, sizeof threads, "%d", job->config->measure.threads);
        argv[n++] = "--threads";
        argv[n++] = threads;
    }
    argv[n] = root;
    int err = posix_spawnp(&pid, argv[0], NULL, NULL, (char *const *)argv, environ);
    if (err)
        return icd_i_fail_errno(job->ctx, ICD_EMEASURE, argv[0], err,
                                "the measuring process cannot be started");
    return wait_worker(job, pid);
}

icd_status icd_i_stage_measure_load(icd_job *job)
{
    const char *path = icd_i_round_path(job, "samples.csv");
    if (!path) return ICD_ENOMEM;
    icd_status status = icd_samples_read(job->ctx, path, &job->samples);
    if (status == ICD_OK)
        status = icd_i_kernels_load(job, icd_i_round_path(job, "arms.json"));
    for (int64_t i = 0; status == ICD_OK && i < job->arms; i++)
        if (icd_samples_find(job->samples, job->arm[i].name) < 0)
            status = icd_i_fail(job->ctx, ICD_EDATA, path, "measure again",
                                "found no arm '%s'", job->arm[i].name);
    return status;
}

icd_status icd_i_stage_measure(icd_job *job)
{
    icd_status status = ICD_OK;
    static const char *const STALE[] = {"samples.csv", "meters.json"};
    const char *root = icd_i_job_iterates(job) ? icd_i_round_path(job, ".")
                                               : icd_i_rundir_root(job->dir);
    if (!root) return ICD_ENOMEM;
    for (size_t i = 0; i < sizeof STALE / sizeof *STALE; i++) {
        const char *name = icd_i_round_name(job, STALE[i]);
        if (!name) return ICD_ENOMEM;
        ICD_TRY(icd_i_rundir_remove(job->ctx, job->dir, name));
    }
    ICD_TRY(write_arms(job));
    if (!icd_i_exec_wanted(job->config)) {
        ICD_TRY(write_input(job));
        ICD_TRY(write_models(job));
    }
    if (job->opts.worker && !icd_i_exec_wanted(job->config)) /* commands are processes */
        ICD_TRY(run_worker(job, root));
    else
        ICD_TRY(icd_measure_run(job->ctx, root, NULL));
    icd_samples_free(job->ctx, job->samples);
    job->samples = NULL;
    ICD_TRY(icd_i_stage_measure_load(job));
done:
    return status;
}
