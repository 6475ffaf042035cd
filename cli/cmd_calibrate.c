/* icd calibrate: what the cost model is worth on this machine. */
#include "cli.h"

#include <icd/calibrate.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static struct {
    const char *out, *layouts, *timeout;
} arg;

static const cli_flag *flags(void)
{
    static const cli_flag ROW[] = {
        {"--output", 'o', "FILE", "file (default: RUN_DIR/calibration.json)", NULL,
         &arg.out, NULL},
        {"--layouts", 0, "N", "layouts between solved and random (default: 20)", NULL,
         &arg.layouts, NULL},
        {"--timeout", 0, "S", "seconds of the measurement at most (default: the run's)",
         NULL, &arg.timeout, NULL},
        {NULL, 0, NULL, NULL, NULL, NULL, NULL},
    };
    return ROW;
}

static json_t *real(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static icd_status show_json(const icd_calibrate_result *c)
{
    json_t *rows = json_array();
    for (int64_t i = 0; i < c->rows; i++) {
        const icd_calibrate_row *r = &c->row[i];
        json_array_append_new(rows, json_pack("{s:s,s:f,s:f,s:f,s:f}", "layout", r->name,
                                              "bytes", r->bytes, "live", r->live, "ms",
                                              r->ms, "line_ms", r->line_ms));
    }
    return cli_print_json(json_pack(
        "{s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:I,s:s?,s:o}", "file", c->path,
        "base_ms", real(c->base_ms), "ms_per_mb", real(c->ms_per_mb), "r2", real(c->r2),
        "r2_cv", real(c->r2_cv), "spearman", real(c->spearman), "alpha", real(c->alpha),
        "mu", real(c->mu), "lambda", real(c->lambda), "tau", real(c->tau), "j_r2_cv",
        real(c->j_r2_cv), "j_spearman", real(c->j_spearman), "blocks",
        (json_int_t)c->blocks, "flaw", c->flaw, "layouts", rows));
}

static icd_status show(cli_app *app, const icd_calibrate_result *c)
{
    cli_progress_end();
    if (app->json) return show_json(c);
    printf("%-14s %8s %10s %10s %10s\n", "layout", "live %", "MB", "ms a step", "line");
    for (int64_t i = 0; i < c->rows; i++)
        printf("%-14s %8.1f %10.3f %10.4f %10.4f\n", c->row[i].name, 100 * c->row[i].live,
               c->row[i].bytes / 1e6, c->row[i].ms, c->row[i].line_ms);
    printf(
        "time of a step = %.4f ms + %.4f ms per MB; R2 %.3f, cross-validated %.3f, rank "
        "correlation %.3f\n",
        c->base_ms, c->ms_per_mb, c->r2, c->r2_cv, c->spearman);
    if (isfinite(c->j_r2_cv))
        printf("J: alpha %.3f, mu %.3f, lambda %.0f, tau %.2f; cross-validated R2 %.3f, "
               "rank correlation %.3f (the best of 72 settings: a little optimistic)\n",
               c->alpha, c->mu, c->lambda, c->tau, c->j_r2_cv, c->j_spearman);
    else
        puts("J: no weights fit these times");
    if (c->flaw)
        printf("of no use for predictions: %s; runs will ignore it. Calibrate for longer "
               "(--timeout), with more layouts, on a quieter machine\n",
               c->flaw);
    printf("written: %s\n", c->path);
    return ICD_OK;
}

static icd_status run(cli_app *app)
{
    icd_calibrate_result *result = NULL;
    icd_calibrate_opts opts = {.out = arg.out, .seed = 42};
    if (arg.layouts) opts.layouts = atoll(arg.layouts);
    if (arg.layouts && opts.layouts < 8)
        return cli_usage(app, "--layouts: found '%s', expected 8 or more", arg.layouts);
    if (arg.timeout) opts.timeout_s = atof(arg.timeout);
    if (arg.timeout && !(opts.timeout_s > 0))
        return cli_usage(app, "--timeout: found '%s', expected seconds", arg.timeout);
    icd_status status = icd_calibrate(app->ctx, app->positional[0], &opts, &result);
    if (status == ICD_OK) status = show(app, result);
    icd_calibrate_result_free(app->ctx, result);
    return status;
}

const cli_command cli_calibrate = {
    .name = "calibrate",
    .summary = "time about twenty layouts of a run and fit what predicts their times",
    .usage = "RUN_DIR [options]",
    .examples = "  icd calibrate runs/x\n"
                "  icd calibrate runs/x --layouts 30 -o calibration.json\n"
                "  icd run -c config.yaml --dry-run --override "
                "measure.cost_model=runs/x/calibration.json\n",
    .min_positionals = 1,
    .max_positionals = 1,
    .flags = flags,
    .run = run,
};
