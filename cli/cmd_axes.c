/* icd axes: which axes a model has, and whether they may really be permuted. */
#include "cli.h"

#include <icd/trial.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    const char *map, *command;
    bool trial;
} arg;

static json_t *axis_json(const icd_axis *a, const icd_trial_row *row)
{
    json_t *bindings = json_array();
    for (int64_t b = 0; b < a->bindings; b++)
        json_array_append_new(bindings,
                              json_pack("{s:s,s:i,s:I,s:I}", "tensor",
                                        a->binding[b].tensor, "dim", a->binding[b].dim,
                                        "offset", (json_int_t)a->binding[b].offset,
                                        "block", (json_int_t)a->binding[b].block));
    json_t *json =
        json_pack("{s:s,s:I,s:b,s:o}", "axis", a->name, "n", (json_int_t)a->n,
                  "reaches_output", (int)a->reaches_output, "bindings", bindings);
    if (row)
        json_object_set_new(
            json, "trial",
            json_pack("{s:b,s:f}", "ok", (int)row->ok, "max_rel", row->max_rel));
    return json;
}

static void print_row(const cli_app *app, const icd_axis *a, const icd_trial_row *row)
{
    char trial[64] = "";
    if (row)
        snprintf(trial, sizeof trial, "  %s %.1e", row->ok ? "ok   " : "WRONG",
                 row->max_rel);
    cli_print(app, "%-24s %8lld %9lld%s%s\n", a->name, (long long)a->n,
              (long long)a->bindings, trial,
              a->reaches_output ? "  reaches the output" : "");
}

static icd_status show(cli_app *app, const icd_model *model, const icd_trial_row *rows)
{
    json_t *list = json_array();
    cli_print(app, "%s: %s, %.1f M parameters\n%-24s %8s %9s%s\n", icd_model_name(model),
              icd_model_arch(model), (double)icd_model_parameters(model) / 1e6, "axis",
              "indices", "tensors", rows ? "  trial: max |a-b| / max |a|" : "");
    for (int64_t i = 0; i < icd_model_axes(model); i++) {
        const icd_axis *a = icd_model_axis_at(model, i);
        print_row(app, a, rows ? &rows[i] : NULL);
        json_array_append_new(list, axis_json(a, rows ? &rows[i] : NULL));
    }
    if (app->json) return cli_print_json(json_pack("{s:o}", "axes", list));
    json_decref(list);
    return ICD_OK;
}

icd_status cli_trial(cli_app *app, const icd_model *model, const char *command,
                     icd_trial_row **rows, bool *ok)
{
    icd_trial_opts opts = {.command = command, .seed = 1, .bound = command ? 1e-4 : 0};
    icd_status status = icd_axis_trial(app->ctx, model, &opts, rows, ok);
    cli_progress_end();
    return status;
}

static const cli_flag *flags(void)
{
    static const cli_flag ROW[] = {
        {"--map", 0, "FILE", "axes that you declare, for other architectures", NULL,
         &arg.map, NULL},
        {"--check", 0, NULL,
         "permute every axis at random and compare what the model computes", NULL, NULL,
         &arg.trial},
        {"--trial", 0, "COMMAND",
         "the same with a command that prints what {model} computes", NULL, &arg.command,
         NULL},
        {NULL, 0, NULL, NULL, NULL, NULL, NULL},
    };
    return ROW;
}

static icd_status axes(cli_app *app)
{
    icd_model *model = NULL;
    icd_trial_row *rows = NULL;
    bool ok = true;
    icd_status status =
        icd_model_open_mapped(app->ctx, app->positional[0], arg.map, &model);
    if (status == ICD_OK && (arg.trial || arg.command))
        status = cli_trial(app, model, arg.command, &rows, &ok);
    if (status == ICD_OK) status = show(app, model, rows);
    icd_mem_free(app->ctx, rows);
    icd_model_free(app->ctx, model);
    return status == ICD_OK && !ok ? ICD_EEXACT : status;
}

const cli_command cli_axes = {
    .name = "axes",
    .summary = "list the axes of a model that may be permuted, and try them",
    .usage = "MODEL_DIR [--check] [--map axes.yaml [--trial COMMAND]]",
    .examples =
        "  icd axes .cache/models/all-MiniLM-L6-v2\n"
        "  icd axes MODEL_DIR --check --json\n"
        "  icd axes OTHER_DIR --map axes.yaml --trial 'python3 forward.py {model}'\n",
    .min_positionals = 1,
    .max_positionals = 1,
    .flags = flags,
    .run = axes,
};
