/* icd run, resume, measure, report: the loop and its parts in a run directory. */
#include "cli.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct {
    const char *out, *reuse_perm, *format;
    const char *arm, *steps;
    bool dry_run, no_measure, gate, in_process, worker;
} arg;

static const cli_flag *run_flags(void)
{
    static const cli_flag ROW[] = {
        {"--out", 'o', "DIR", "run directory (default: report.out_dir)", NULL, &arg.out,
         NULL},
        {"--model", 0, "PATH", "model folder or block file", "model.path", NULL, NULL},
        {"--input", 0, "FILE", "real input: text, or ids as .npy", "model.input", NULL,
         NULL},
        {"--reuse-perm", 0, "FILE", "take orders from a perm set instead of solving",
         NULL, &arg.reuse_perm, NULL},
        {"--dry-run", 0, NULL, "solve and predict; time nothing, export no model", NULL,
         NULL, &arg.dry_run},
        {"--no-measure", 0, NULL, "stop before measuring; pi_prev stays active", NULL,
         NULL, &arg.no_measure},
        {"--gate", 0, NULL, "exit with 7 when a gate is not met", NULL, NULL, &arg.gate},
        {"--in-process", 0, NULL, "measure in this process instead of one of its own",
         NULL, NULL, &arg.in_process},
        {NULL, 0, NULL, NULL, NULL, NULL, NULL},
    };
    return ROW;
}

static const char *outcome_name(icd_outcome outcome)
{
    static const char *const NAME[] = {"kept", "rolled_back", "not_measured", "dry_run"};
    return NAME[outcome];
}

static icd_status show(cli_app *app, const icd_run_summary *s)
{
    cli_progress_end();
    if (app->json)
        return cli_print_json(json_pack("{s:s,s:s,s:s,s:[s,s,s],s:s?}", "outcome",
                                        outcome_name(s->outcome), "dir", s->dir, "report",
                                        s->report, "verdict", s->verdict[0],
                                        s->verdict[1], s->verdict[2], "cause", s->cause));
    const char *colour = s->outcome == ICD_OUTCOME_KEPT          ? "green"
                         : s->outcome == ICD_OUTCOME_ROLLED_BACK ? "red"
                                                                 : "bold";
    for (int i = 0; i < 3; i++)
        if (s->verdict[i][0])
            printf("%s%s%s\n", i == 0 ? cli_style(colour) : "", s->verdict[i],
                   i == 0 ? cli_style("reset") : "");
    printf("report: %s\n", s->report);
    return ICD_OK;
}

bool cli_worker(char *self, size_t size, const char *worker[4])
{
    ssize_t length = readlink("/proc/self/exe", self, size - 1);
    if (length <= 0) return false;
    self[length] = 0;
    worker[0] = self;
    worker[1] = "measure";
    worker[2] = "--worker";
    worker[3] = NULL;
    return true;
}

static icd_run_opts run_options(char *self, size_t size, const char *worker[4])
{
    icd_run_opts opts = {.size = sizeof opts,
                         .out = arg.out,
                         .reuse_perm = arg.reuse_perm,
                         .dry_run = arg.dry_run,
                         .no_measure = arg.no_measure,
                         .gate = arg.gate};
    if (!arg.in_process && cli_worker(self, size, worker)) opts.worker = worker;
    return opts;
}

static icd_status finish(cli_app *app, icd_status status, icd_run_summary *summary)
{
    if (summary) {
        icd_status shown = show(app, summary);
        if (status == ICD_OK) status = shown;
    }
    icd_run_summary_free(app->ctx, summary);
    return status;
}

static icd_status run(cli_app *app)
{
    char self[PATH_MAX];
    const char *worker[4];
    icd_run_summary *summary = NULL;
    icd_run_opts opts = run_options(self, sizeof self, worker);
    icd_status status = icd_run(app->ctx, app->config, &opts, &summary);
    return finish(app, status, summary);
}

const cli_command cli_run = {
    .name = "run",
    .summary =
        "the whole loop: permute, transform, re-permute, measure, keep or roll back",
    .usage = "-c config.yaml [options]",
    .examples =
        "  icd run -c configs/demo.yaml\n"
        "  icd run -c configs/demo.yaml --out runs/x --override "
        "transform.sparsity.rate=0.5\n"
        "  icd run -c configs/demo.yaml --dry-run\n"
        "  icd run -c configs/demo.yaml --reuse-perm runs/x/perm_after.json --gate\n",
    .flags = run_flags,
    .run = run,
};

static const cli_flag *resume_flags(void)
{
    static const cli_flag ROW[] = {
        {"--no-measure", 0, NULL, "stop before measuring", NULL, NULL, &arg.no_measure},
        {"--gate", 0, NULL, "exit with 7 when a gate is not met", NULL, NULL, &arg.gate},
        {"--in-process", 0, NULL, "measure in this process", NULL, NULL, &arg.in_process},
        {NULL, 0, NULL, NULL, NULL, NULL, NULL},
    };
    return ROW;
}

static icd_status resume(cli_app *app)
{
    char self[PATH_MAX];
    const char *worker[4];
    icd_run_summary *summary = NULL;
    icd_run_opts opts = run_options(self, sizeof self, worker);
    icd_status status = icd_resume(app->ctx, app->positional[0], &opts, &summary);
    return finish(app, status, summary);
}

const cli_command cli_resume = {
    .name = "resume",
    .summary = "continue a run after its last completed stage",
    .usage = "RUN_DIR",
    .examples = "  icd resume runs/x\n",
    .min_positionals = 1,
    .max_positionals = 1,
    .flags = resume_flags,
    .run = resume,
};

static const cli_flag *measure_flags(void)
{
    static const cli_flag ROW[] = {
        {"--worker", 0, NULL, "be the measuring process of a run: only write samples.csv",
         NULL, NULL, &arg.worker},
        {"--arm", 0, "NAME", "time nothing; only step this arm, for a profiler", NULL,
         &arg.arm, NULL},
        {"--steps", 0, "N", "with --arm: how often (default: 1)", NULL, &arg.steps, NULL},
        {NULL, 0, NULL, NULL, NULL, NULL, NULL},
    };
    return ROW;
}

static icd_status show_samples(cli_app *app, const icd_samples *samples)
{
    json_t *list = json_array();
    icd_status status = ICD_OK;
    cli_print(app, "%-14s %10s %22s %10s\n", "arm", "ms a step", "95 % of the mean",
              "p95");
    for (int64_t i = 0; status == ICD_OK && i < samples->arms; i++) {
        icd_summary s;
        status = icd_samples_summary(app->ctx, samples, samples->name[i],
                                     app->config->measure.seed, &s);
        if (status != ICD_OK) break;
        cli_print(app, "%-14s %10.3f    [%8.3f, %8.3f] %10.3f\n", samples->name[i],
                  s.mean, s.low, s.high, s.p95);
        json_array_append_new(list, json_pack("{s:s,s:f,s:f,s:f,s:f,s:I}", "arm",
                                              samples->name[i], "lat_ms", s.mean, "low",
                                              s.low, "high", s.high, "p95_ms", s.p95,
                                              "samples", (json_int_t)s.count));
    }
    if (status == ICD_OK && app->json)
        return cli_print_json(
            json_pack("{s:o,s:s}", "arms", list, "stopped", samples->stopped));
    json_decref(list);
    cli_print(app, "ended because %s\n", samples->stopped);
    return status;
}

/* metrics.json and the report follow the new samples: all other stages are done, so that
 * resuming only judges. A round's folder, or one without a state, has nothing to judge.
 */
static icd_status judge_again(cli_app *app)
{
    char path[PATH_MAX], self[PATH_MAX];
    const char *worker[4], *dir = app->positional[0];
    icd_run_summary *summary = NULL;
    snprintf(path, sizeof path, "%s/state.json", dir);
    if (access(path, F_OK) != 0) return ICD_OK;
    icd_run_opts opts = run_options(self, sizeof self, worker);
    opts.out = NULL;
    icd_status status = icd_resume(app->ctx, dir, &opts, &summary);
    if (app->json) {
        icd_run_summary_free(app->ctx, summary);
        return status;
    }
    return finish(app, status, summary);
}

static icd_status measure(cli_app *app)
{
    char path[PATH_MAX];
    icd_samples *samples = NULL;
    const char *worker[4], *prefix = NULL;
    char self[PATH_MAX], *end = NULL;
    if (cli_worker(self, sizeof self, worker)) prefix = worker[0];
    if (arg.arm) {
        long long steps = arg.steps ? strtoll(arg.steps, &end, 10) : 1;
        if (steps < 1 || (end && *end))
            return cli_usage(app, "--steps: found '%s', expected a number of steps",
                             arg.steps);
        return icd_step_run(app->ctx, app->positional[0], arg.arm, steps);
    }
    icd_status status =
        icd_measure_run(app->ctx, app->positional[0], prefix ? worker : NULL);
    cli_progress_end();
    if (status != ICD_OK || arg.worker) return status;
    snprintf(path, sizeof path, "%s/samples.csv", app->positional[0]);
    status = icd_samples_read(app->ctx, path, &samples);
    if (status == ICD_OK) status = show_samples(app, samples);
    icd_samples_free(app->ctx, samples);
    return status == ICD_OK ? judge_again(app) : status;
}

const cli_command cli_measure = {
    .name = "measure",
    .summary = "time the arms of a run directory again and judge it by the new samples",
    .usage = "RUN_DIR [--arm NAME]",
    .examples = "  icd measure runs/x\n  icd measure runs/x --json\n"
                "  ncu icd measure runs/x --arm iterative --steps 3\n",
    .min_positionals = 1,
    .max_positionals = 1,
    .flags = measure_flags,
    .run = measure,
};

static const cli_flag *report_flags(void)
{
    static const cli_flag ROW[] = {
        {"--format", 0, "LIST", "html, csv, md, junit (default: html,csv)", NULL,
         &arg.format, NULL},
        {NULL, 0, NULL, NULL, NULL, NULL, NULL},
    };
    return ROW;
}

static icd_status report(cli_app *app)
{
    uint32_t formats = 0;
    const char *dir = app->positional[0], *list = arg.format ? arg.format : "html,csv";
    icd_status status = icd_report_formats(app->ctx, list, &formats);
    if (status == ICD_OK) status = icd_report_write_as(app->ctx, dir, formats);
    if (status != ICD_OK) return status;
    if (app->json)
        return cli_print_json(
            json_pack("{s:s+,s:s}", "report", dir, "/report.html", "formats", list));
    printf("written to %s: %s\n", dir, list);
    return ICD_OK;
}

const cli_command cli_report = {
    .name = "report",
    .summary = "write the report of a run directory anew from its artifacts",
    .usage = "RUN_DIR [--format LIST]",
    .examples = "  icd report runs/x\n  icd report runs/x --format md,junit\n",
    .min_positionals = 1,
    .max_positionals = 1,
    .flags = report_flags,
    .run = report,
};
