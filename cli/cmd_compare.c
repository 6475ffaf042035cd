/* icd compare: several runs side by side, or one against a stored baseline. */
#include "cli.h"

#include <icd/compare.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    const char *html, *baseline, *save_baseline, *max_regression;
    bool markdown, anyway, relative;
} arg;

static const cli_flag *flags(void)
{
    static const cli_flag ROW[] = {
        {"--markdown", 0, NULL, "tables for a pull request", NULL, NULL, &arg.markdown},
        {"--html", 0, "FILE", "write a page as well", NULL, &arg.html, NULL},
        {"--anyway", 0, NULL, "show runs of different environments, without deltas", NULL,
         NULL, &arg.anyway},
        {"--baseline", 0, "FILE", "check the first run against a stored baseline", NULL,
         &arg.baseline, NULL},
        {"--max-regression", 0, "SHARE",
         "how much slower is allowed, such as 2% (default: 1%)", NULL,
         &arg.max_regression, NULL},
        {"--relative", 0, NULL, "the baseline judges multiples of linear, not times",
         NULL, NULL, &arg.relative},
        {"--save-baseline", 0, "FILE", "store the times of the first run", NULL,
         &arg.save_baseline, NULL},
        {NULL, 0, NULL, NULL, NULL, NULL, NULL},
    };
    return ROW;
}

/* "2%", "2 %" or ".02". */
static bool parse_share(const char *text, double *out)
{
    char *end = NULL;
    *out = strtod(text, &end);
    bool percent = strspn(end, " ") + 1 == strlen(end) && end[strlen(end) - 1] == '%';
    if (percent) *out /= 100;
    return end != text && (percent || !*end) && *out >= 0 && *out < 100;
}

static icd_status write_html(cli_app *app, const char *json)
{
    char *page = NULL;
    icd_status status = icd_compare_render(app->ctx, json, ICD_COMPARE_HTML, &page);
    FILE *file = status == ICD_OK ? fopen(arg.html, "w") : NULL;
    if (status == ICD_OK && (!file || fputs(page, file) == EOF)) {
        fprintf(stderr, "icd compare: error %s: %s: the page cannot be written\n",
                icd_status_code(ICD_EIO), arg.html);
        status = ICD_EIO;
    }
    if (file) fclose(file);
    icd_mem_free(app->ctx, page);
    return status;
}

static icd_status show(cli_app *app, const icd_compare_result *result)
{
    char *text = NULL;
    icd_status status = ICD_OK;
    if (arg.html) status = write_html(app, result->json);
    if (status != ICD_OK) return status;
    if (app->json) {
        fputs(result->json, stdout);
        return ICD_OK;
    }
    status =
        icd_compare_render(app->ctx, result->json,
                           arg.markdown ? ICD_COMPARE_MARKDOWN : ICD_COMPARE_TEXT, &text);
    if (status == ICD_OK) fputs(text, stdout);
    icd_mem_free(app->ctx, text);
    return status;
}

/* The sentence of a regression goes to stderr like any error; the exit code is 7. */
static icd_status judge(cli_app *app, const icd_compare_result *result)
{
    if (!result->regression) return ICD_OK;
    fprintf(stderr, "icd %s: error %s: %s: %s\n", app->command,
            icd_status_code(ICD_EGATE), app->positional[0], result->regression_text);
    return ICD_EGATE;
}

static icd_status run(cli_app *app)
{
    icd_compare_result *result = NULL;
    icd_compare_opts opts = {
        .anyway = arg.anyway, .relative = arg.relative, .baseline = arg.baseline};
    if (arg.max_regression && !parse_share(arg.max_regression, &opts.max_regression))
        return cli_usage(app,
                         "--max-regression: found '%s', expected a share such as 2%%",
                         arg.max_regression);
    icd_status status = ICD_OK;
    bool alone = app->positionals == 1 && !arg.baseline;
    if (arg.save_baseline)
        status = icd_baseline_write(app->ctx, app->positional[0], arg.save_baseline);
    if (status != ICD_OK || (alone && arg.save_baseline)) return status;
    status =
        icd_compare_runs(app->ctx, app->positional, app->positionals, &opts, &result);
    if (status == ICD_OK) status = show(app, result);
    if (status == ICD_OK) status = judge(app, result);
    icd_compare_result_free(app->ctx, result);
    return status;
}

const cli_command cli_compare = {
    .name = "compare",
    .summary = "several runs side by side, or one against a stored baseline",
    .usage = "RUN_DIR [RUN_DIR...] [options]",
    .examples = "  icd compare runs/a runs/b\n"
                "  icd compare runs/a runs/b runs/c --markdown\n"
                "  icd compare runs/a --save-baseline baseline.json\n"
                "  icd compare runs/b --baseline baseline.json --max-regression 2%\n",
    .min_positionals = 1,
    .max_positionals = 16,
    .flags = flags,
    .run = run,
};
