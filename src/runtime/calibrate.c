/* calibrate: layouts between solved and random, timed, and what predicts their times. */
#include <icd/calibrate.h>

#include "base/cpu.h"
#include "base/rng.h"
#include "measure/costmodel.h"
#include "runtime/judgement.h"
#include "runtime/worker.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LAYOUTS = 20, LAYOUTS_LEAST = 8, LAMBDAS = 6, TAUS = 4 };

static const double LAMBDA[LAMBDAS] = {1, 2, 3, 4, 8, 16}, TAU[TAUS] = {0, .25, .5, 1};

/* W of a group, and how much its matrices weigh among all. */
typedef struct group {
    const char *name;
    icd_csr *w;
    int32_t granule;
    double weight;
} group;

typedef struct calibrator {
    icd_ctx *ctx;
    icd_worker worker;
    icd_calibrate_opts opts;
    json_t *stored; /* arms.json */
    json_t *arms;   /* what is timed */
    group *group;
    int64_t groups;
    double *cn; /* [layouts x LAMBDAS x TAUS] */
    icd_samples *samples;
    icd_calibrate_result *out;
} calibrator;

static const json_t *stored_arm(const calibrator *c, const char *name)
{
    const json_t *row = NULL;
    size_t i = 0;
    json_array_foreach(json_object_get(c->stored, "arms"), i, row)
    {
        const char *found = json_string_value(json_object_get(row, "name"));
        if (found && !strcmp(found, name)) return row;
    }
    return NULL;
}

/* A share of the slots, drawn at random, whose contents are shuffled among themselves. */
static icd_status shuffle_share(icd_ctx *ctx, int32_t *order, int64_t n, double share,
                                icd_rng *rng)
{
    icd_status status = ICD_OK;
    int32_t *slot = NULL, *moved = NULL;
    int64_t count = (int64_t)(share * (double)n + .5);
    ICD_TRY(ICD_ALLOC(ctx, n, &slot));
    ICD_TRY(ICD_ALLOC(ctx, count, &moved));
    for (int64_t i = 0; i < n; i++) slot[i] = (int32_t)i;
    icd_i_rng_shuffle(rng, slot, n);
    for (int64_t i = 0; i < count; i++) moved[i] = order[slot[i]];
    icd_i_rng_shuffle(rng, moved, count);
    for (int64_t i = 0; i < count; i++) order[slot[i]] = moved[i];
done:
    icd_i_free(ctx, slot);
    icd_i_free(ctx, moved);
    return status;
}

static icd_status shuffled(calibrator *c, const json_t *from, double share, icd_rng *rng,
                           json_t **out)
{
    icd_status status = ICD_OK;
    int64_t n = (int64_t)json_array_size(from);
    int32_t *order = NULL;
    ICD_TRY(ICD_ALLOC(c->ctx, n, &order));
    for (int64_t i = 0; i < n; i++)
        order[i] = (int32_t)json_integer_value(json_array_get(from, (size_t)i));
    ICD_TRY(shuffle_share(c->ctx, order, n, share, rng));
    *out = json_array();
    for (int64_t i = 0; i < n; i++) json_array_append_new(*out, json_integer(order[i]));
done:
    icd_i_free(c->ctx, order);
    return status;
}

/* The solved arm with a share of every group's slots shuffled: 0 solved, 1 random. */
static icd_status add_layout(calibrator *c, const char *name, double share, icd_rng *rng)
{
    const json_t *solved = stored_arm(c, "iterative");
    json_t *orders = json_object(), *from = NULL;
    const char *group_name = NULL;
    icd_status status = ICD_OK;
    json_t *row =
        json_copy((json_t *)(uintptr_t)solved); /* its type, model and cache too */
    json_object_set_new(row, "name", json_string(name));
    json_object_set_new(row, "orders", orders);
    json_array_append_new(c->arms, row);
    json_object_foreach(json_object_get(solved, "orders"), group_name, from)
    {
        json_t *order = NULL;
        status = shuffled(c, from, share, rng, &order);
        if (status != ICD_OK) return status;
        json_object_set_new(orders, group_name, order);
    }
    return ICD_OK;
}

/* linear, solved, then shares from 5 % upwards, the last quarter of them whole. */
static icd_status make_layouts(calibrator *c)
{
    icd_status status = ICD_OK;
    icd_rng rng;
    int64_t rest = c->opts.layouts - 2, random = rest / 4, partial = rest - random;
    if (!stored_arm(c, "linear") || !stored_arm(c, "iterative") ||
        !json_object_size(json_object_get(stored_arm(c, "iterative"), "orders")))
        return icd_i_fail(c->ctx, ICD_EINVAL, c->worker.dir,
                          "calibrate a measured run with pipeline.mode iterative",
                          "found no re-permuted arm");
    icd_i_rng_init(&rng, (uint64_t)c->opts.seed, 31);
    c->arms = json_array();
    json_array_append(c->arms, (json_t *)stored_arm(c, "linear"));
    ICD_TRY(add_layout(c, "solved", 0, &rng));
    for (int64_t i = 0; i < rest; i++) {
        char name[40];
        double share = i < partial ? .05 + .9 * (double)i / (double)partial : 1;
        if (i < partial)
            snprintf(name, sizeof name, "partial %.0f %%", 100 * share);
        else
            snprintf(name, sizeof name, "random %lld", (long long)(i - partial + 1));
        ICD_TRY(add_layout(c, name, share, &rng));
    }
done:
    return status;
}

/* Matrices and W of every group that has an order. */
static icd_status open_groups(calibrator *c)
{
    icd_status status = ICD_OK;
    char path[1200];
    json_t *orders = json_object_get(stored_arm(c, "iterative"), "orders"), *order = NULL;
    const char *name = NULL;
    ICD_TRY(ICD_ALLOC(c->ctx, (int64_t)json_object_size(orders), &c->group));
    json_object_foreach(orders, name, order)
    {
        group *g = &c->group[c->groups++];
        *g = (group){.name = name, .granule = 4};
        for (int64_t i = 0; i < c->worker.model[0].layout->count; i++) {
            const icd_layout_entry *e = &c->worker.model[0].layout->entry[i];
            if (strcmp(e->group, name) != 0) continue;
            g->weight += (double)(e->rows * e->cols);
            const json_t *kernel = json_object_get(
                json_object_get(stored_arm(c, "linear"), "kernels"), e->linear);
            json_int_t found = json_integer_value(json_object_get(kernel, "granule"));
            if (found > 0 && found <= 4096) g->granule = (int32_t)found;
        }
        snprintf(path, sizeof path, "%s/axes/%s/W_after.csr.npz", c->worker.dir, name);
        ICD_TRY(icd_csr_read(c->ctx, path, &g->w));
    }
done:
    return status;
}

static icd_status score_q(calibrator *c, const group *g, const icd_perm *perm, double *q)
{
    icd_score score;
    icd_problem problem = {.w = g->w};
    icd_solver_opts opts = c->worker.config->solver;
    opts.granule = g->granule;
    icd_status status = icd_score_perm(c->ctx, &problem, perm, &opts, &score);
    *q = score.Q;
    return status;
}

/* Adds a group's share to Cn (for every lambda and tau) and Q of a layout. */
static icd_status score_group(calibrator *c, const group *g, const icd_layout *layout,
                              double share, double *cn, double *q_sum)
{
    icd_status status = ICD_OK;
    double *sum = NULL, q = 0;
    int32_t *slot = NULL;
    icd_perm *perm = NULL;
    const icd_perm *order = NULL;
    int64_t n = g->w->n, lines = (n + g->granule - 1) / g->granule;
    for (int64_t i = 0; i < layout->count; i++)
        if (!strcmp(layout->entry[i].group, g->name)) order = layout->entry[i].order;
    ICD_TRY(ICD_ALLOC(c->ctx, lines, &sum));
    ICD_TRY(ICD_ALLOC(c->ctx, n, &slot));
    for (int64_t i = 0; i < n; i++) slot[order ? order->old_of_new[i] : i] = (int32_t)i;
    icd_i_line_histogram(g->w, slot, g->granule, sum);
    for (int l = 0; l < LAMBDAS; l++)
        for (int t = 0; t < TAUS; t++)
            cn[l * TAUS + t] += share * icd_i_cn(sum, lines, LAMBDA[l], TAU[t]);
    if (order)
        ICD_TRY(icd_perm_from_array(c->ctx, order->old_of_new, n, g->w->frame, g->name,
                                    &perm));
    else
        ICD_TRY(icd_perm_identity(c->ctx, n, g->w->frame, &perm));
    ICD_TRY(score_q(c, g, perm, &q));
    *q_sum += share * q;
done:
    icd_perm_free(c->ctx, perm);
    icd_i_free(c->ctx, sum);
    icd_i_free(c->ctx, slot);
    return status;
}

static icd_status cost_of(calibrator *c, const icd_layout *layout, icd_calibrate_row *row)
{
    double live = 0, all = 0;
    for (int64_t i = 0; i < layout->count; i++) {
        icd_linear_cost cost;
        icd_status status = icd_runner_linear_cost(
            c->ctx, &layout->entry[i], c->worker.config->kernel.vector, &cost);
        if (status != ICD_OK) return status;
        live += (double)cost.live;
        all += (double)cost.all;
        row->bytes += (double)cost.bytes;
    }
    row->live = all > 0 ? live / all : 0;
    return ICD_OK;
}

/* What is known of every layout before it runs. */
static icd_status describe(calibrator *c)
{
    icd_status status = ICD_OK;
    icd_layout *layout = NULL;
    double weight = 0;
    for (int64_t g = 0; g < c->groups; g++) weight += c->group[g].weight;
    for (int64_t i = 0; i < c->out->rows; i++) {
        icd_calibrate_row *row = &c->out->row[i];
        const json_t *arm = json_array_get(c->arms, (size_t)i);
        snprintf(row->name, sizeof row->name, "%s",
                 json_string_value(json_object_get(arm, "name")));
        icd_i_progress(c->ctx, "layouts", i, c->out->rows);
        ICD_TRY(icd_i_worker_layout(&c->worker, arm, &layout));
        ICD_TRY(cost_of(c, layout, row));
        for (int64_t g = 0; g < c->groups; g++)
            ICD_TRY(score_group(c, &c->group[g], layout, c->group[g].weight / weight,
                                &c->cn[i * LAMBDAS * TAUS], &row->q));
        icd_i_layout_free(c->ctx, layout);
        layout = NULL;
    }
done:
    icd_i_layout_free(c->ctx, layout);
    return status;
}

/* Times from what each block says of a layout against the mean of that block: drift
 * that all share is out. */
static void paired_times(calibrator *c)
{
    const icd_samples *s = c->samples;
    double all = 0;
    for (int64_t b = 0; b < s->blocks; b++) {
        double mean = 0;
        for (int64_t a = 0; a < s->arms; a++) mean += log(s->lat_ms[b * s->arms + a]);
        mean /= (double)s->arms;
        all += mean;
        for (int64_t a = 0; a < s->arms; a++)
            c->out->row[a].ms += log(s->lat_ms[b * s->arms + a]) - mean;
    }
    for (int64_t a = 0; a < s->arms; a++)
        c->out->row[a].ms = exp((c->out->row[a].ms + all) / (double)s->blocks);
    c->out->blocks = s->blocks;
}

static icd_status time_layouts(calibrator *c)
{
    icd_measure_opts opts = c->worker.config->measure;
    opts.repeats = c->worker.config->pipeline.repeats;
    opts.warmup_iter = c->worker.config->pipeline.warmup_iter;
    if (c->opts.timeout_s > 0) opts.timeout_s = c->opts.timeout_s;
    icd_status status = icd_i_worker_build(&c->worker, c->arms);
    if (status == ICD_OK)
        status =
            icd_measure_arms(c->ctx, c->worker.arm, c->worker.arms, &opts, &c->samples);
    if (status == ICD_OK) paired_times(c);
    return status;
}

static icd_status fit_line(calibrator *c, icd_cost_model *m)
{
    icd_status status = ICD_OK;
    double *x = NULL, *y = NULL;
    int64_t n = c->out->rows;
    icd_fit fit;
    ICD_TRY(ICD_ALLOC(c->ctx, 2 * n, &x));
    ICD_TRY(ICD_ALLOC(c->ctx, n, &y));
    for (int64_t i = 0; i < n; i++) {
        x[2 * i] = 1;
        x[2 * i + 1] = c->out->row[i].bytes / 1e6;
        y[i] = c->out->row[i].ms;
    }
    ICD_TRY(icd_i_fit(c->ctx, x, y, n, 2, &fit));
    m->base_ms = fit.coef[0];
    m->ms_per_mb = fit.coef[1];
    m->cov[0] = fit.cov[0][0];
    m->cov[1] = fit.cov[0][1];
    m->cov[2] = fit.cov[1][1];
    m->sd_ms = fit.sd;
    m->r2 = fit.r2;
    m->r2_cv = fit.r2_cv;
    m->spearman = fit.spearman;
    m->layouts = n;
    for (int64_t i = 0; i < n; i++)
        c->out->row[i].line_ms = fit.coef[0] + fit.coef[1] * x[2 * i + 1];
done:
    icd_i_free(c->ctx, x);
    icd_i_free(c->ctx, y);
    return status;
}

/* time = c + a Cn - m Q with a, m >= 0: a term whose sign comes out wrong is left out. */
static bool fit_j(calibrator *c, int at, const double *y, double *x, icd_fit *best,
                  double *a, double *m)
{
    int64_t n = c->out->rows;
    bool found = false;
    for (int terms = 3; terms >= 1; terms--) { /* bit 0: Cn, bit 1: Q */
        icd_fit fit;
        int32_t k = terms == 3 ? 3 : 2;
        for (int64_t i = 0; i < n; i++) {
            double cn = c->cn[i * LAMBDAS * TAUS + at], q = -c->out->row[i].q;
            x[i * k] = 1;
            x[i * k + 1] = terms & 1 ? cn : q;
            if (k == 3) x[i * k + 2] = q;
        }
        if (icd_i_fit(c->ctx, x, y, n, k, &fit) != ICD_OK) {
            icd_ctx_clear(c->ctx);
            continue;
        }
        if (fit.coef[1] < 0 || (k == 3 && fit.coef[2] < 0)) continue;
        if (found && !(fit.r2_cv > best->r2_cv)) continue;
        found = true;
        *best = fit;
        *a = terms & 1 ? fit.coef[1] : 0;
        *m = terms == 3 ? fit.coef[2] : terms == 2 ? fit.coef[1] : 0;
    }
    return found;
}

/* The weights of J, for the lambda and tau whose left-out predictions are best. */
static icd_status fit_objective(calibrator *c, icd_cost_model *model)
{
    icd_status status = ICD_OK;
    double *x = NULL, *y = NULL;
    int64_t n = c->out->rows, best_at = -1;
    ICD_TRY(ICD_ALLOC(c->ctx, 3 * n, &x));
    ICD_TRY(ICD_ALLOC(c->ctx, n, &y));
    for (int64_t i = 0; i < n; i++) y[i] = c->out->row[i].ms;
    model->j_r2_cv = model->j_spearman = NAN;
    for (int at = 0; at < LAMBDAS * TAUS; at++) {
        icd_fit fit;
        double a = 0, m = 0;
        if (!fit_j(c, at, y, x, &fit, &a, &m) || !(a + m > 0)) continue;
        if (best_at >= 0 && !(fit.r2_cv > model->j_r2_cv)) continue;
        best_at = at;
        model->alpha = a / (a + m);
        model->mu = m / (a + m);
        model->lambda = LAMBDA[at / TAUS];
        model->tau = TAU[at % TAUS];
        model->j_r2_cv = fit.r2_cv;
        model->j_spearman = fit.spearman;
    }
    for (int64_t i = 0; best_at >= 0 && i < n; i++)
        c->out->row[i].cn = c->cn[i * LAMBDAS * TAUS + best_at];
done:
    icd_i_free(c->ctx, x);
    icd_i_free(c->ctx, y);
    return status;
}

static json_t *points(const icd_calibrate_result *c)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < c->rows; i++) {
        const icd_calibrate_row *r = &c->row[i];
        json_array_append_new(list, json_pack("{s:s,s:f,s:f,s:f,s:f,s:f,s:f}", "layout",
                                              r->name, "bytes", r->bytes, "live", r->live,
                                              "cn", r->cn, "q", r->q, "ms", r->ms,
                                              "line_ms", r->line_ms));
    }
    return list;
}

static icd_status fit_all(calibrator *c)
{
    icd_status status = ICD_OK;
    icd_cost_model m = {0};
    icd_calibrate_result *out = c->out;
    json_t *list = NULL, *metrics = NULL;
    char path[1200];
    const char *model = NULL;
    snprintf(path, sizeof path, "%s/metrics.json", c->worker.dir);
    ICD_TRY(icd_i_json_read(c->ctx, path, &metrics));
    model = json_string_value(json_object_get(json_object_get(metrics, "model"), "name"));
    icd_i_cpu_model(m.cpu, sizeof m.cpu);
    icd_i_cost_setting(c->worker.config, model ? model : "", m.setting);
    ICD_TRY(fit_line(c, &m));
    ICD_TRY(fit_objective(c, &m));
    out->base_ms = m.base_ms;
    out->ms_per_mb = m.ms_per_mb;
    out->r2 = m.r2;
    out->r2_cv = m.r2_cv;
    out->spearman = m.spearman;
    out->alpha = m.alpha;
    out->mu = m.mu;
    out->lambda = m.lambda;
    out->tau = m.tau;
    out->j_r2_cv = m.j_r2_cv;
    out->j_spearman = m.j_spearman;
    out->flaw = icd_i_cost_model_flaw(&m);
    list = points(out);
    ICD_TRY(icd_i_cost_model_write(c->ctx, &m, list, out->path));
done:
    json_decref(list);
    json_decref(metrics);
    return status;
}

static icd_status set_up(calibrator *c)
{
    icd_status status = ICD_OK;
    char path[1200];
    ICD_TRY(icd_i_worker_open(&c->worker));
    snprintf(path, sizeof path, "%s/arms.json", c->worker.dir);
    ICD_TRY(icd_i_json_read(c->ctx, path, &c->stored));
    ICD_TRY(make_layouts(c));
    ICD_TRY(open_groups(c));
    ICD_TRY(ICD_ALLOC(c->ctx, 1, &c->out));
    c->out->rows = (int64_t)json_array_size(c->arms);
    ICD_TRY(ICD_ALLOC(c->ctx, c->out->rows, &c->out->row));
    ICD_TRY(ICD_ALLOC(c->ctx, c->out->rows * LAMBDAS * TAUS, &c->cn));
    if (c->opts.out)
        snprintf(c->out->path, sizeof c->out->path, "%s", c->opts.out);
    else
        snprintf(c->out->path, sizeof c->out->path, "%s/calibration.json", c->worker.dir);
done:
    return status;
}

static void release(calibrator *c)
{
    icd_i_worker_release(&c->worker);
    for (int64_t g = 0; g < c->groups; g++) icd_csr_free(c->ctx, c->group[g].w);
    icd_i_free(c->ctx, c->group);
    icd_i_free(c->ctx, c->cn);
    icd_samples_free(c->ctx, c->samples);
    icd_calibrate_result_free(c->ctx, c->out);
    json_decref(c->arms);
    json_decref(c->stored);
}

void icd_calibrate_result_free(icd_ctx *ctx, icd_calibrate_result *c)
{
    if (!c) return;
    icd_i_free(ctx, c->row);
    icd_i_free(ctx, c);
}

icd_status icd_calibrate(icd_ctx *ctx, const char *dir, const icd_calibrate_opts *opts,
                         icd_calibrate_result **out)
{
    icd_status status = ICD_OK;
    calibrator c = {.ctx = ctx, .worker = {.ctx = ctx, .dir = dir}};
    *out = NULL;
    if (opts) c.opts = *opts;
    if (c.opts.layouts == 0) c.opts.layouts = LAYOUTS;
    if (c.opts.layouts < LAYOUTS_LEAST || c.opts.layouts > 200)
        return icd_i_fail(ctx, ICD_EINVAL, "calibrate: layouts", NULL,
                          "found %lld, expected %d to 200", (long long)c.opts.layouts,
                          LAYOUTS_LEAST);
    ICD_TRY(set_up(&c));
    ICD_TRY(describe(&c));
    ICD_TRY(time_layouts(&c));
    ICD_TRY(fit_all(&c));
    *out = c.out;
    c.out = NULL;
done:
    release(&c);
    return status;
}
