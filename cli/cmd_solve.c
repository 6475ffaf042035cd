/* icd solve: W (and access sets) -> pi. */
#include "cli.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    const char *out, *trace, *axis, *events, *unit, *prev;
} arg;

static const cli_flag *flags(void)
{
    static const cli_flag ROW[] = {
        {"--output", 'o', "FILE", "perm.json", NULL, &arg.out, NULL},
        {"--trace", 't', "FILE", "access sets: refine granules touched (T) itself", NULL,
         &arg.trace, NULL},
        {"--axis", 'a', "NAME", "the axis to take from a trace of several", NULL,
         &arg.axis, NULL},
        {"--events", 0, "A:B", "learn from events A to B-1 only", NULL, &arg.events,
         NULL},
        {"--granule", 'g', "N", "neighbours taken together (default 64)",
         "solver.granule", NULL, NULL},
        {"--unit", 0, "N", "aligned runs of N indices move together (default 1)", NULL,
         &arg.unit, NULL},
        {"--k-blocks", 'k', "K", "blocks of the modularity Q (default: granules)",
         "solver.k_blocks", NULL, NULL},
        {"--method", 'm', "NAME", "auto or one of the methods below", "solver.method",
         NULL, NULL},
        {"--objective", 0, "NAME", "auto, T, cut or J", "solver.objective", NULL, NULL},
        {"--effort", 'e', "NAME", "low, default or high (uses the whole time budget)",
         "solver.effort", NULL, NULL},
        {"--time-budget", 0, "S", "seconds; the best order so far is kept",
         "solver.time_budget_s", NULL, NULL},
        {"--refine-steps", 0, "N", "refinement passes at most", "solver.refine_steps",
         NULL, NULL},
        {"--bound", 0, "NAME", "lower bound on the cut: auto, none, degree or spectral",
         "solver.bound", NULL, NULL},
        {"--seed", 0, "N", "seed", "solver.seed", NULL, NULL},
        {"--prev", 0, "FILE", "previous order: start and reference of the stability term",
         NULL, &arg.prev, NULL},
        {NULL, 0, NULL, NULL, NULL, NULL, NULL},
    };
    return ROW;
}

static icd_status read_sets(cli_app *app, int64_t n, icd_access **sets)
{
    icd_trace_opts opts = {.size = sizeof opts, .axis = arg.axis, .n = n};
    if (arg.events) {
        icd_status status = cli_parse_range(app, arg.events, &opts.first, &opts.limit);
        if (status != ICD_OK) return status;
    }
    return icd_access_read(app->ctx, arg.trace, &opts, sets);
}

static icd_status read_unit(cli_app *app, icd_constraint *constraint)
{
    char *end = NULL;
    if (!arg.unit) return ICD_OK;
    long unit = strtol(arg.unit, &end, 10);
    if (*end || end == arg.unit || unit < 1 || unit > INT32_MAX)
        return cli_usage(app, "--unit: found '%s', expected a whole number >= 1",
                         arg.unit);
    constraint->unit = (int32_t)unit;
    return ICD_OK;
}

static json_t *score_json(const icd_score *s)
{
    return json_pack("{s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f}", "C", s->C, "Cn",
                     s->Cn, "cut", s->cut, "Q", s->Q, "T", s->T, "J", s->J, "cut16",
                     s->cut16, "cut64", s->cut64, "cut128", s->cut128, "touched",
                     s->touched, "cut_bound", s->cut_bound, "T_bound", s->T_bound);
}

static icd_status show_json(const icd_perm *perm, const icd_solver_stats *s)
{
    static const char *const OBJECTIVE[] = {"auto", "T", "cut", "J"};
    json_t *root = score_json(&s->score);
    json_object_set_new(root, "start", score_json(&s->start));
    json_object_update_new(
        root, json_pack("{s:s,s:I,s:s,s:s,s:s,s:I,s:I,s:f,s:b,s:b,s:b}", "out", arg.out,
                        "D", (json_int_t)perm->n, "method", s->method, "reason",
                        s->reason, "objective", OBJECTIVE[s->objective & 3], "iters",
                        (json_int_t)s->iters, "moved", (json_int_t)s->moved, "elapsed_s",
                        s->elapsed_s, "improved", (int)s->improved, "timed_out",
                        (int)s->timed_out, "budget_used", (int)s->budget_used));
    return cli_print_json(root);
}

static void show_line(const char *name, double before, double after, const char *note)
{
    printf("  %-28s %8.4f -> %s%8.4f%s  %s\n", name, before, cli_style("bold"), after,
           cli_style("reset"), note);
}

/* How far from the optimum an order can be. */
static void show_bound(const char *name, double now, double bound)
{
    if (now <= bound * (1 + 1e-6))
        printf("  %-28s %s\n", name, "optimal: no order has less");
    else if (bound > 0)
        printf("  %-28s no order has less than %.4f: at most %.1f %% above the optimum\n",
               name, bound, 100 * (now / bound - 1));
}

static icd_status show(cli_app *app, const icd_perm *perm, const icd_solver_stats *s,
                       bool sets)
{
    int32_t g = app->config->solver.granule;
    char n[32], moved[32];
    if (app->json) return show_json(perm, s);
    printf("%s indices ordered in %.2f s by %s: %s\n", cli_count(perm->n, n),
           s->elapsed_s, s->method, s->reason);
    printf("  %-28s %8s    %8s\n", "", arg.prev ? "previous" : "identity", "now");
    if (sets) {
        show_line("T, granules touched", s->start.T, s->score.T, "1 is perfect");
        show_bound("", s->score.T, s->score.T_bound);
    }
    if (app->positionals) {
        show_line("cut between granules", s->start.cut, s->score.cut, "lower is better");
        show_bound("", s->score.cut, s->score.cut_bound);
        show_line("C, normalised", s->start.Cn, s->score.Cn, "lower is better");
        show_line("Q, modularity", s->start.Q, s->score.Q, "higher is better");
    }
    printf("granule %d, %s slots changed%s\nwritten: %s\n", g, cli_count(s->moved, moved),
           s->timed_out ? "; the time budget ended the search early" : "", arg.out);
    return ICD_OK;
}

static icd_status load(cli_app *app, icd_csr **w, icd_access **sets, icd_perm **prev)
{
    icd_status status = ICD_OK;
    if (app->positionals) status = icd_csr_read(app->ctx, app->positional[0], w);
    if (status == ICD_OK && arg.trace) status = read_sets(app, *w ? (*w)->n : 0, sets);
    if (status == ICD_OK && arg.prev) status = icd_perm_read(app->ctx, arg.prev, prev);
    return status;
}

static icd_status run(cli_app *app)
{
    icd_csr *w = NULL;
    icd_access *sets = NULL;
    icd_perm *prev = NULL, *perm = NULL;
    icd_constraint constraint = {0};
    icd_solver_stats stats = {0};
    icd_status status;
    if (!arg.out) return cli_usage(app, "-o perm.json is missing");
    if (!app->positionals && !arg.trace)
        return cli_usage(app, "expected W.csr.npz, W.mtx or --trace FILE, found none");
    status = read_unit(app, &constraint);
    if (status == ICD_OK) status = load(app, &w, &sets, &prev);
    if (status == ICD_OK) {
        icd_problem problem = {w, sets, &constraint, prev};
        status =
            icd_fit_permutation(app->ctx, &problem, &app->config->solver, &perm, &stats);
    }
    if (status == ICD_OK) status = icd_perm_write(app->ctx, perm, arg.out);
    if (status == ICD_OK) app->meta = score_json(&stats.score);
    cli_progress_end();
    if (status == ICD_OK) status = show(app, perm, &stats, sets != NULL);
    icd_perm_free(app->ctx, perm);
    icd_perm_free(app->ctx, prev);
    icd_access_free(app->ctx, sets);
    icd_csr_free(app->ctx, w);
    return status;
}

const cli_command cli_solve = {
    .name = "solve",
    .summary = "find a permutation for W (and for access sets, when given)",
    .usage = "[W.csr.npz | W.mtx] -o perm.json [options]",
    .examples =
        "  icd solve W.csr.npz -o perm.json --granule 16\n"
        "  icd solve W.csr.npz --trace data/use-lite-ffn1.access.npz -g 16 -o perm.json\n"
        "  icd solve W.mtx --method spectral -o perm.json --json\n"
        "  icd solve W.csr.npz --effort high --time-budget 60 -o perm.json\n",
    .max_positionals = 1,
    .flags = flags,
    .run = run,
};
