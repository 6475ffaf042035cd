#include "runtime/exec_arms.h"

#include "runtime/variant.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char CONTROL[] = "linear A/A";

bool icd_i_exec_wanted(const icd_config *config)
{
    return config->runner.kind == ICD_RUNNER_EXEC;
}

bool icd_i_exec_alone(const icd_config *config)
{
    return icd_i_exec_wanted(config) && !config->model.path;
}

/* The command in "NAME=COMMAND" where the name is that of the arm; NULL: another. */
static const char *command_of(const char *item, const char *arm)
{
    size_t n = strlen(arm);
    return !strncmp(item, arm, n) && item[n] == '=' ? item + n + 1 : NULL;
}

const char *icd_i_exec_command(const icd_config *config, const char *arm)
{
    const icd_exec_opts *e = &config->exec;
    const char *own = NULL;
    if (!strcmp(arm, CONTROL)) arm = "linear";
    if (!strcmp(arm, "linear")) own = e->linear;
    if (!strcmp(arm, "iterative")) own = e->iterative;
    for (int64_t i = 0; !own && i < e->arms.count; i++)
        own = command_of(e->arms.item[i], arm);
    return own ? own : e->command;
}

static icd_status check_command(icd_job *job, const char *arm, const char *key)
{
    if (icd_i_exec_command(job->config, arm)) return ICD_OK;
    return icd_i_fail(job->ctx, ICD_EINVAL, key,
                      "give it, or runner.exec.command for all arms",
                      "found no command for %s", arm);
}

/* Arms of a loop stand in layouts; further ones in that of linear. */
static icd_status add(icd_job *job, const char *name, const char *role)
{
    icd_job_arm *arm = &job->arm[job->arms];
    if (job->arms == ICD_ARMS_MAX)
        return icd_i_fail(job->ctx, ICD_EINVAL, "runner.exec.arms", NULL,
                          "found more than %d arms", ICD_ARMS_MAX);
    for (int64_t i = 0; i < job->arms; i++)
        if (!strcmp(job->arm[i].name, name))
            return icd_i_fail(job->ctx, ICD_EINVAL, "runner.exec.arms", NULL,
                              "found the arm '%s' twice", name);
    *arm = (icd_job_arm){.name = name, .role = role};
    job->arms++;
    return job->layout ? icd_i_layout_copy(job->ctx, job->layout, &arm->layout) : ICD_OK;
}

/* A name that lives as long as the job. */
static icd_status keep_name(icd_job *job, const char *item, const char **out)
{
    char name[64];
    size_t n = strcspn(item, "=");
    if (n == 0 || n >= sizeof name || item[n] != '=' || memchr(item, '/', n) ||
        memchr(item, '.', n))
        return icd_i_fail(
            job->ctx, ICD_EINVAL, "runner.exec.arms", NULL,
            "found '%.80s', expected NAME=COMMAND, the name without . and /", item);
    snprintf(name, sizeof name, "%.*s", (int)n, item);
    const char *path = icd_i_rundir_path(job->ctx, job->dir, name);
    if (!path) return ICD_ENOMEM;
    *out = path + strlen(icd_i_rundir_root(job->dir)) + 1;
    return ICD_OK;
}

static bool is_usual(const char *item)
{
    return command_of(item, "linear") || command_of(item, "iterative");
}

icd_status icd_i_exec_arms(icd_job *job)
{
    icd_status status = ICD_OK;
    const icd_strings *more = &job->config->exec.arms;
    bool alone = icd_i_exec_alone(job->config);
    ICD_TRY(check_command(job, "linear", "runner.exec.linear"));
    ICD_TRY(check_command(job, "iterative", "runner.exec.iterative"));
    if (alone) ICD_TRY(add(job, "linear", "baseline"));
    if (alone) ICD_TRY(add(job, "iterative", "candidate"));
    for (int64_t i = 0; i < more->count; i++) {
        const char *name = NULL;
        if (is_usual(more->item[i])) continue;
        ICD_TRY(keep_name(job, more->item[i], &name));
        ICD_TRY(add(job, name, "alternative"));
    }
    if (alone) ICD_TRY(add(job, CONTROL, "control"));
done:
    return status;
}

/* The orders of an arm in the frame of the checkpoint: pi0, then its own. */
static icd_status orders_of(icd_job *job, const icd_job_arm *arm, icd_perm_set **out)
{
    icd_status status = ICD_OK;
    icd_perm *whole = NULL;
    ICD_TRY(icd_perm_set_new(job->ctx, out));
    for (int64_t i = 0; job->before && i < job->before->count; i++)
        ICD_TRY(icd_perm_set_put(job->ctx, *out, job->before->entry[i].axis,
                                 job->before->entry[i].perm, false));
    for (int64_t i = 0; i < arm->layout->count; i++) {
        const icd_layout_entry *e = &arm->layout->entry[i];
        const icd_perm *pi0 =
            icd_model_order(job->transformed, job->linear[i].linear->in_axis);
        if (!e->order || icd_perm_set_get(*out, e->group)) continue;
        ICD_TRY(pi0 ? icd_perm_compose(job->ctx, pi0, e->order, &whole)
                    : icd_perm_copy(job->ctx, e->order, &whole));
        ICD_TRY(icd_perm_set_put(job->ctx, *out, e->group, whole, true));
        icd_perm_free(job->ctx, whole);
        whole = NULL;
    }
done:
    icd_perm_free(job->ctx, whole);
    return status;
}

/* Weights of small types as the values that they hold. */
static icd_status plain_weights(icd_job *job, icd_model **out)
{
    icd_status status = ICD_OK;
    icd_replacement *with = NULL;
    float **weights = NULL;
    int64_t count = 0;
    ICD_TRY(ICD_ALLOC(job->ctx, job->linears, &with));
    ICD_TRY(ICD_ALLOC(job->ctx, job->linears, &weights));
    for (int64_t i = 0; i < job->linears; i++) {
        const icd_quantized *q = job->linear[i].quant;
        if (!q) continue;
        ICD_TRY(ICD_ALLOC(job->ctx, q->rows * q->cols, &weights[i]));
        for (int64_t r = 0; r < q->rows; r++)
            icd_quantized_row(q, r, weights[i] + r * q->cols);
        with[count++] = (icd_replacement){job->linear[i].linear->tensor, weights[i]};
    }
    ICD_TRY(icd_model_replace(job->ctx, job->transformed, with, count, out));
done:
    for (int64_t i = 0; weights && i < job->linears; i++)
        icd_i_free(job->ctx, weights[i]);
    icd_i_free(job->ctx, weights);
    icd_i_free(job->ctx, with);
    return status;
}

/* A file carries true axes only: the arm's orders of inputs that are one. */
static icd_status file_orders(icd_job *job, const icd_job_arm *arm, icd_perm_set **out)
{
    icd_status status = ICD_OK;
    ICD_TRY(icd_perm_set_new(job->ctx, out));
    for (int64_t i = 0; i < arm->layout->count; i++) {
        const icd_layout_entry *e = &arm->layout->entry[i];
        if (e->order && icd_i_on_true_axis(job, e->group))
            ICD_TRY(icd_perm_set_put(job->ctx, *out, job->linear[i].linear->in_axis,
                                     e->order, false));
    }
done:
    return status;
}

static icd_status write_model(icd_job *job, const icd_model *plain,
                              const icd_job_arm *arm, const char *path)
{
    icd_status status = ICD_OK;
    icd_perm_set *orders = NULL;
    icd_model *ordered = NULL;
    ICD_TRY(file_orders(job, arm, &orders));
    ICD_TRY(icd_model_apply(job->ctx, plain, orders, &ordered));
    status = icd_model_write(job->ctx, ordered, icd_model_path(job->checkpoint), path);
done:
    icd_model_free(job->ctx, ordered);
    icd_perm_set_free(job->ctx, orders);
    return status;
}

/* "exec/linear/model", "exec/linear-A-A/perm.json". */
static const char *file_of(icd_job *job, const char *arm, const char *file)
{
    char name[160];
    snprintf(name, sizeof name, "exec/%s", arm);
    for (char *c = name + strlen("exec/"); *c; c++)
        if (*c == ' ' || *c == '/') *c = '-';
    size_t n = strlen(name);
    snprintf(name + n, sizeof name - n, "/%s", file);
    return icd_i_round_path(job, name);
}

/* Whether a command of this arm asks for the place. */
static bool asks(const icd_job *job, const char *arm, const char *place)
{
    const char *command = icd_i_exec_command(job->config, arm);
    return command && strstr(command, place);
}

static icd_status write_places(icd_job *job, const icd_model *plain,
                               const icd_job_arm *arm, const char **model,
                               const char **perm)
{
    icd_status status = ICD_OK;
    icd_perm_set *orders = NULL;
    *model = file_of(job, arm->name, "model");
    *perm = file_of(job, arm->name, "perm.json");
    if (!*model || !*perm) return ICD_ENOMEM;
    if (asks(job, arm->name, "{model}")) ICD_TRY(write_model(job, plain, arm, *model));
    if (asks(job, arm->name, "{perm}")) {
        ICD_TRY(orders_of(job, arm, &orders));
        ICD_TRY(icd_perm_set_write(job->ctx, orders, *perm));
    }
done:
    icd_perm_set_free(job->ctx, orders);
    return status;
}

static icd_status write_row(icd_job *job, const icd_model *plain, const icd_job_arm *arm,
                            json_t *row)
{
    const char *model = NULL, *perm = NULL;
    char *command = NULL, threads[16];
    icd_status status = ICD_OK;
    snprintf(threads, sizeof threads, "%d",
             job->config->measure.threads ? job->config->measure.threads
                                          : icd_ctx_threads(job->ctx));
    if (plain) ICD_TRY(write_places(job, plain, arm, &model, &perm));
    const icd_exec_place place[] = {{"arm", arm->name},
                                    {"model", model},
                                    {"perm", perm},
                                    {"run", icd_i_rundir_root(job->dir)},
                                    {"threads", threads}};
    ICD_TRY(icd_exec_fill(job->ctx, icd_i_exec_command(job->config, arm->name), place,
                          sizeof place / sizeof *place, &command));
    if (json_object_set_new(row, "command", json_string(command))) status = ICD_ENOMEM;
done:
    icd_i_free(job->ctx, command);
    return status;
}

icd_status icd_i_exec_write(icd_job *job, json_t *list)
{
    icd_status status = ICD_OK;
    icd_model *plain = NULL;
    if (job->transformed) ICD_TRY(plain_weights(job, &plain));
    for (int64_t i = 0; i < job->arms; i++)
        ICD_TRY(write_row(job, plain, &job->arm[i], json_array_get(list, (size_t)i)));
done:
    icd_model_free(job->ctx, plain);
    return status;
}

icd_status icd_i_exec_burst(icd_ctx *ctx, void *self, double *lat_ms, int64_t *steps)
{
    const icd_exec_arm *arm = self;
    return icd_exec_sample(ctx, arm->command, arm->opts, lat_ms, steps);
}

icd_status icd_i_exec_step(icd_ctx *ctx, void *self)
{
    double lat_ms = 0;
    int64_t steps = 0;
    return icd_i_exec_burst(ctx, self, &lat_ms, &steps);
}
