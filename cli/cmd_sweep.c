/* icd sweep: the loop over a grid of settings. */
#include "cli.h"

#include <limits.h>
#include <stdio.h>

static struct {
    const char *out, *grid;
    bool no_measure, in_process;
} arg;

/* --grid may be given several times; the parser keeps each in app->repeated. */
static const cli_flag *flags(void)
{
    static const cli_flag ROW[] = {
        {"--grid", 'a', "KEY=V,V", "values of one setting; may be repeated", NULL, NULL,
         NULL},
        {"--output", 'o', "DIR", "folder of the sweep", NULL, &arg.out, NULL},
        {"--no-measure", 0, NULL, "live granules and quality only", NULL, NULL,
         &arg.no_measure},
        {"--in-process", 0, NULL, "measure in this process", NULL, NULL, &arg.in_process},
        {NULL, 0, NULL, NULL, NULL, NULL, NULL},
    };
    return ROW;
}

static icd_status show(const cli_app *app, const icd_sweep_result *r)
{
    if (app->json)
        return cli_print_json(json_pack(
            "{s:s,s:I,s:I,s:I}", "out", arg.out, "points", (json_int_t)r->points,
            "reused", (json_int_t)r->reused, "failed", (json_int_t)r->failed));
    printf("%lld combinations, %lld of them finished before, %lld failed\n",
           (long long)r->points, (long long)r->reused, (long long)r->failed);
    printf("table: %s/sweep.md, .csv, .json; page: %s/sweep.html\n", arg.out, arg.out);
    return ICD_OK;
}

static icd_status sweep(cli_app *app)
{
    char self[PATH_MAX];
    const char *worker[4];
    icd_sweep_result result;
    icd_sweep_opts opts = {.dir = arg.out,
                           .grid = app->repeated,
                           .grids = app->repeats,
                           .no_measure = arg.no_measure};
    if (!arg.out) return cli_usage(app, "-o DIR is missing");
    if (!arg.in_process && cli_worker(self, sizeof self, worker)) opts.worker = worker;
    icd_status status = icd_sweep_run(app->ctx, app->config, &opts, &result);
    cli_progress_end();
    return status == ICD_OK ? show(app, &result) : status;
}

const cli_command cli_sweep = {
    .name = "sweep",
    .summary = "run the loop for every combination of some settings, into one table",
    .usage = "-c config.yaml --grid KEY=V,V... -o DIR [options]",
    .examples = "  icd sweep -c configs/demo.yaml --grid sparsity.rate=.5,.75 --grid "
                "quant.dtype=none,int8 -o runs/sweep\n"
                "  the same line again goes on where it was interrupted\n",
    .flags = flags,
    .run = sweep,
};
