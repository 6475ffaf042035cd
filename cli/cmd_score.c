/* icd score: the figures of one or several orders on the same W and access sets. */
#include "cli.h"

#include <stdio.h>
#include <string.h>

static struct {
    const char *trace, *axis, *events;
} arg;

static const cli_flag *flags(void)
{
    static const cli_flag ROW[] = {
        {"--granule", 'g', "N", "neighbours taken together (default 64)",
         "solver.granule", NULL, NULL},
        {"--trace", 't', "FILE", "access sets: report granules touched (T)", NULL,
         &arg.trace, NULL},
        {"--axis", 'a', "NAME", "the axis to take from a trace of several", NULL,
         &arg.axis, NULL},
        {"--events", 0, "A:B", "judge on events A to B-1 only", NULL, &arg.events, NULL},
        {"--k-blocks", 'k', "K", "blocks of the modularity Q (default: granules)",
         "solver.k_blocks", NULL, NULL},
        {"--bound", 0, "NAME", "lower bound on the cut: auto, none, degree or spectral",
         "solver.bound", NULL, NULL},
        {NULL, 0, NULL, NULL, NULL, NULL, NULL},
    };
    return ROW;
}

/* "identity" stands for the order of the checkpoint, so that it needs no file. */
static icd_status read_order(cli_app *app, const char *name, const icd_csr *w,
                             icd_perm **perm)
{
    if (!strcmp(name, "identity"))
        return icd_perm_identity(app->ctx, w->n, w->frame, perm);
    return icd_perm_read(app->ctx, name, perm);
}

static json_t *to_json(const char *name, const icd_score *s)
{
    return json_pack("{s:s,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f}", "order",
                     name, "C", s->C, "Cn", s->Cn, "cut", s->cut, "cut16", s->cut16,
                     "cut64", s->cut64, "cut128", s->cut128, "Q", s->Q, "T", s->T, "J",
                     s->J, "touched", s->touched, "cut_bound", s->cut_bound, "T_bound",
                     s->T_bound);
}

static void print_bar(double share)
{
    int filled = (int)(share * 30 + .5);
    for (int i = 0; i < 30; i++) fputs(i < filled ? "█" : "·", stdout);
}

static void print_touched(const cli_app *app, const icd_score *s, int64_t n)
{
    int32_t g = app->config->solver.granule;
    double all = (double)((n + g - 1) / g);
    printf("  %6.1f of %.0f  ", s->touched, all);
    print_bar(s->touched / all);
}

static void print_row(const cli_app *app, const char *name, const icd_score *s, int64_t n)
{
    const char *slash = strrchr(name, '/');
    printf("%-20.20s %7.4f %7.4f %7.4f %8.4f", slash ? slash + 1 : name, s->cut, s->Cn,
           s->Q, s->J);
    if (arg.trace) print_touched(app, s, n);
    putchar('\n');
}

static void print_head(const cli_app *app)
{
    printf("granule %d\n%-20s %7s %7s %7s %8s%s\n", app->config->solver.granule, "order",
           "cut", "Cn", "Q", "J", arg.trace ? "  granules touched per event" : "");
}

/* The bounds are those of W and the sets, the same for every order. */
static void print_bounds(const icd_score *s)
{
    if (s->cut_bound > 0) printf("no order has a cut below %.4f\n", s->cut_bound);
    if (arg.trace) printf("no order has a T below %.4f (here %.4f)\n", s->T_bound, s->T);
}

static icd_status score_all(cli_app *app, const icd_problem *problem, json_t *list)
{
    int64_t n = problem->w->n;
    if (!app->json) print_head(app);
    for (int i = 1; i < app->positionals; i++) {
        icd_perm *perm = NULL;
        icd_score score = {0};
        const char *name = app->positional[i];
        icd_status status = read_order(app, name, problem->w, &perm);
        if (status == ICD_OK)
            status =
                icd_score_perm(app->ctx, problem, perm, &app->config->solver, &score);
        icd_perm_free(app->ctx, perm);
        if (status != ICD_OK) return status;
        if (app->json)
            json_array_append_new(list, to_json(name, &score));
        else
            print_row(app, name, &score, n);
        if (!app->json && i + 1 == app->positionals) print_bounds(&score);
    }
    return ICD_OK;
}

static icd_status load(cli_app *app, icd_csr **w, icd_access **sets)
{
    icd_trace_opts opts = {.size = sizeof opts, .axis = arg.axis};
    icd_status status = icd_csr_read(app->ctx, app->positional[0], w);
    if (status != ICD_OK || !arg.trace) return status;
    opts.n = (*w)->n;
    if (arg.events) status = cli_parse_range(app, arg.events, &opts.first, &opts.limit);
    if (status != ICD_OK) return status;
    return icd_access_read(app->ctx, arg.trace, &opts, sets);
}

/* One order: its object alone, as scripts expect; several: {"orders": [...]}. */
static icd_status finish_json(json_t *list)
{
    if (json_array_size(list) != 1)
        return cli_print_json(json_pack("{s:O}", "orders", list));
    json_t *only = json_array_get(list, 0);
    return cli_print_json(json_incref(only));
}

static icd_status run(cli_app *app)
{
    icd_csr *w = NULL;
    icd_access *sets = NULL;
    json_t *list = json_array();
    icd_status status = load(app, &w, &sets);
    if (status == ICD_OK) {
        icd_problem problem = {w, sets, NULL, NULL};
        status = score_all(app, &problem, list);
    }
    if (status == ICD_OK && app->json) status = finish_json(list);
    json_decref(list);
    icd_access_free(app->ctx, sets);
    icd_csr_free(app->ctx, w);
    return status;
}

const cli_command cli_score = {
    .name = "score",
    .summary = "judge orders: C, Cn, cut, Q, T, J",
    .usage = "W.csr.npz perm.json|identity... [options]",
    .examples =
        "  icd score W.csr.npz perm.json --granule 64 --json\n"
        "  icd score W.csr.npz identity perm.json -g 16 -t trace.npz --events 8000:\n",
    .min_positionals = 2,
    .max_positionals = 16,
    .flags = flags,
    .run = run,
};
