/* icd apply, infer, verify: changing models and running them. */
#include "cli.h"

#include <icd/trial.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    const char *out, *input, *models[2], *dtype, *map, *trial;
    bool no_trial;
} arg;

/* --axis may be given several times; the parser hands over the last one, so each is kept
 * here. */
static const cli_flag *apply_flags(void)
{
    static const cli_flag ROW[] = {
        {"--axis", 'a', "NAME=FILE", "apply perm.json to an axis; may be repeated", NULL,
         NULL, NULL},
        {"--map", 0, "FILE", "axes that you declare, for other architectures", NULL,
         &arg.map, NULL},
        {"--trial", 0, "COMMAND",
         "with --map: prints what {model} computes; the axes are tried first", NULL,
         &arg.trial, NULL},
        {"--no-trial", 0, NULL, "with --map: believe the axes untried", NULL, NULL,
         &arg.no_trial},
        {"--output", 'o', "DIR", "folder of the new model", NULL, &arg.out, NULL},
        {NULL, 0, NULL, NULL, NULL, NULL, NULL},
    };
    return ROW;
}

static icd_status read_axis(cli_app *app, const icd_model *model, const char *text,
                            icd_perm_set *set)
{
    char name[128];
    const char *equals = strchr(text, '=');
    icd_perm *perm = NULL;
    if (!equals || equals == text || (size_t)(equals - text) >= sizeof name)
        return cli_usage(app, "--axis: found '%s', expected NAME=perm.json", text);
    snprintf(name, sizeof name, "%.*s", (int)(equals - text), text);
    if (!icd_model_axis(model, name))
        return cli_usage(app, "--axis: the model has no axis '%s'; `icd axes` lists them",
                         name);
    icd_status status = icd_perm_read(app->ctx, equals + 1, &perm);
    if (status == ICD_OK) status = icd_perm_set_put(app->ctx, set, name, perm, false);
    icd_perm_free(app->ctx, perm);
    return status;
}

/* Declared axes are used only after they passed a trial, or where the user says so. */
static icd_status try_map(cli_app *app, const icd_model *model)
{
    icd_trial_row *rows = NULL;
    bool ok = false;
    if (!arg.map || arg.no_trial) return ICD_OK;
    icd_status status = cli_trial(app, model, arg.trial, &rows, &ok);
    for (int64_t i = 0; status == ICD_OK && !ok && i < icd_model_axes(model); i++)
        if (!rows[i].ok)
            fprintf(stderr, "icd: axis %s is wrong: the outputs change by %.1e\n",
                    rows[i].axis, rows[i].max_rel);
    icd_mem_free(app->ctx, rows);
    return status == ICD_OK && !ok ? ICD_EEXACT : status;
}

static icd_status apply(cli_app *app)
{
    icd_status status;
    icd_model *model = NULL, *changed = NULL;
    icd_perm_set *set = NULL;
    if (!arg.out) return cli_usage(app, "-o OUT_DIR is missing");
    if (app->repeats == 0) return cli_usage(app, "--axis NAME=perm.json is missing");
    status = icd_model_open_mapped(app->ctx, app->positional[0], arg.map, &model);
    if (status == ICD_OK) status = try_map(app, model);
    if (status == ICD_OK) status = icd_perm_set_new(app->ctx, &set);
    for (int i = 0; status == ICD_OK && i < app->repeats; i++)
        status = read_axis(app, model, app->repeated[i], set);
    if (status == ICD_OK) status = icd_model_apply(app->ctx, model, set, &changed);
    if (status == ICD_OK)
        status = icd_model_write(app->ctx, changed, app->positional[0], arg.out);
    if (status == ICD_OK)
        cli_print(app, "%d %s permuted; written: %s\n", app->repeats,
                  app->repeats == 1 ? "axis" : "axes", arg.out);
    if (status == ICD_OK && app->json)
        status =
            cli_print_json(json_pack("{s:s,s:i}", "out", arg.out, "axes", app->repeats));
    icd_perm_set_free(app->ctx, set);
    icd_model_free(app->ctx, changed);
    icd_model_free(app->ctx, model);
    return status;
}

const cli_command cli_apply = {
    .name = "apply",
    .summary = "apply permutations to a model without changing what it computes",
    .usage = "MODEL_DIR --axis NAME=perm.json... -o OUT_DIR",
    .examples =
        "  icd apply MODEL_DIR --axis layer.0.ffn.inner=perm.json -o OUT_DIR\n"
        "  icd apply OTHER_DIR --map axes.yaml --trial 'python3 forward.py {model}' "
        "--axis h.0.inner=perm.json -o OUT_DIR\n",
    .min_positionals = 1,
    .max_positionals = 1,
    .flags = apply_flags,
    .run = apply,
};

static const cli_flag *infer_flags(void)
{
    static const cli_flag ROW[] = {
        {"--input", 'i', "FILE", "text, or ids as .npy", NULL, &arg.input, NULL},
        {"--dtype", 0, "NAME", "f32 or int8 linears", "runner.dtype", NULL, NULL},
        {"--seq", 0, "N", "tokens a sequence", "runner.seq", NULL, NULL},
        {"--output", 'o', "FILE", "out.safetensors: ids, hidden states, pooled outputs",
         NULL, &arg.out, NULL},
        {NULL, 0, NULL, NULL, NULL, NULL, NULL},
    };
    return ROW;
}

static icd_status infer(cli_app *app)
{
    icd_infer_result result = {0};
    icd_status status;
    if (!arg.out) return cli_usage(app, "-o out.safetensors is missing");
    status =
        icd_infer(app->ctx, app->config, app->positional[0], arg.input, arg.out, &result);
    cli_progress_end();
    if (status != ICD_OK) return status;
    if (app->json)
        return cli_print_json(json_pack("{s:s,s:I,s:I,s:I}", "out", arg.out, "sequences",
                                        (json_int_t)result.sequences, "seq",
                                        (json_int_t)result.seq, "width",
                                        (json_int_t)result.width));
    printf("%lld sequences of %lld tokens; written: %s\n", (long long)result.sequences,
           (long long)result.seq, arg.out);
    return ICD_OK;
}

const cli_command cli_infer = {
    .name = "infer",
    .summary = "run a model on real input and write what it computed",
    .usage = "MODEL_DIR --input text.txt|ids.npy -o out.safetensors [options]",
    .examples =
        "  icd infer MODEL_DIR --input data/text/austen.txt -o out.safetensors\n"
        "  icd infer MODEL_DIR --input ids.npy --dtype int8 -o out.safetensors --json\n",
    .min_positionals = 1,
    .max_positionals = 1,
    .flags = infer_flags,
    .run = infer,
};

static const cli_flag *verify_flags(void)
{
    static const cli_flag ROW[] = {
        {"--models", 0, "A B", "two model folders", NULL, &arg.models[0], NULL},
        {"--input", 'i', "FILE", "text, or ids as .npy", NULL, &arg.input, NULL},
        {"--dtype", 0, "NAME", "f32 (default here) or int8 linears", NULL, &arg.dtype,
         NULL},
        {"--seq", 0, "N", "tokens a sequence", "runner.seq", NULL, NULL},
        {NULL, 0, NULL, NULL, NULL, NULL, NULL},
    };
    return ROW;
}

/* --models A B: the second folder arrives as the positional argument. */
static icd_status verify(cli_app *app)
{
    icd_verify_result r = {0};
    icd_status status;
    char assignment[64];
    if (!arg.models[0] || app->positionals != 1)
        return cli_usage(app, "expected --models A B");
    snprintf(assignment, sizeof assignment, "runner.dtype=%s",
             arg.dtype ? arg.dtype : "f32");
    status = icd_config_override(app->ctx, app->config, assignment);
    if (status == ICD_OK)
        status = icd_verify(app->ctx, app->config, arg.models[0], app->positional[0],
                            arg.input, &r);
    cli_progress_end();
    if (status != ICD_OK) return status;
    if (app->json)
        status = cli_print_json(json_pack("{s:f,s:f,s:f,s:b,s:I}", "max_rel", r.max_rel,
                                          "cosine", r.cosine, "bound", r.bound, "equal",
                                          (int)r.equal, "tokens", (json_int_t)r.tokens));
    else
        printf(
            "%s: max |a-b| / max |a| = %.3g (bound %.0e), cosine %.8f over %lld tokens\n",
            r.equal ? "equal" : "DIFFERENT", r.max_rel, r.bound, r.cosine,
            (long long)r.tokens);
    return status == ICD_OK && !r.equal ? ICD_EEXACT : status;
}

const cli_command cli_verify = {
    .name = "verify",
    .summary = "compare what two models compute (orders of outputs undone)",
    .usage = "--models A B --input FILE [options]",
    .examples =
        "  icd verify --models MODEL_DIR OUT_DIR --input data/text/austen.txt --json\n",
    .max_positionals = 1,
    .flags = verify_flags,
    .run = verify,
};
