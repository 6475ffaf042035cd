/* icd synth: a model of true shape whose weights are made up. */
#include "cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    const char *out, *seed, *layers, *vocab, *dtype, *shard;
    bool list;
} arg;

static const cli_flag *flags(void)
{
    static const cli_flag ROW[] = {
        {"--output", 'o', "DIR", "folder of the new model; made where missing", NULL,
         &arg.out, NULL},
        {"--seed", 0, "N", "of all values (default 0)", NULL, &arg.seed, NULL},
        {"--layers", 0, "N", "another number of layers than the shape has", NULL,
         &arg.layers, NULL},
        {"--vocab", 0, "N", "another vocabulary; 256: bytes, which need no tokenizer",
         NULL, &arg.vocab, NULL},
        {"--dtype", 0, "NAME", "f32 (default) or bf16", NULL, &arg.dtype, NULL},
        {"--shard-mib", 0, "N", "size of a file, and so of memory (default 1024)", NULL,
         &arg.shard, NULL},
        {"--list", 0, NULL, "show the shapes", NULL, NULL, &arg.list},
        {NULL, 0, NULL, NULL, NULL, NULL, NULL},
    };
    return ROW;
}

static icd_status list_shapes(const cli_app *app)
{
    int64_t count = 0;
    const icd_synthetic_shape *shape = icd_synthetic_shapes(&count);
    json_t *names = json_array();
    for (int64_t i = 0; i < count; i++) {
        const icd_model_config *c = &shape[i].config;
        json_array_append_new(names, json_string(shape[i].name));
        cli_print(app, "%-14s %-6s %3lld x %4lld, inner %5lld, vocabulary %6lld\n",
                  shape[i].name, shape[i].type, (long long)c->layers,
                  (long long)c->hidden, (long long)c->inner, (long long)c->vocab);
    }
    if (app->json) return cli_print_json(json_pack("{s:o}", "shapes", names));
    json_decref(names);
    return ICD_OK;
}

/* A whole number >= low of a flag that may be missing. */
static icd_status number(cli_app *app, const char *flag, const char *text, int64_t low,
                         int64_t most, int64_t *out)
{
    char *end = NULL;
    if (!text) return ICD_OK;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end || errno || value < low || value > most)
        return cli_usage(app, "%s: found '%s', expected a whole number from %lld to %lld",
                         flag, text, (long long)low, (long long)most);
    *out = value;
    return ICD_OK;
}

static icd_status read_opts(cli_app *app, icd_synthetic_opts *o)
{
    int64_t seed = 0, mib = 0;
    *o = (icd_synthetic_opts){.size = sizeof *o};
    icd_status status = number(app, "--seed", arg.seed, 0, INT64_MAX, &seed);
    if (status == ICD_OK)
        status = number(app, "--layers", arg.layers, 1, 10000, &o->layers);
    if (status == ICD_OK)
        status = number(app, "--vocab", arg.vocab, 1, INT32_MAX, &o->vocab);
    if (status == ICD_OK)
        status = number(app, "--shard-mib", arg.shard, 1, 1 << 20, &mib);
    o->seed = (uint64_t)seed;
    o->shard = mib << 20;
    o->bf16 = arg.dtype && !strcmp(arg.dtype, "bf16");
    if (status == ICD_OK && arg.dtype && !o->bf16 && strcmp(arg.dtype, "f32") != 0)
        return cli_usage(app, "--dtype: found '%s', expected f32 or bf16", arg.dtype);
    return status;
}

static icd_status show(const cli_app *app, const icd_synthetic_result *r)
{
    char parameters[32];
    if (app->json)
        return cli_print_json(
            json_pack("{s:s,s:s,s:b,s:I,s:I,s:I,s:I}", "shape", app->positional[0], "out",
                      arg.out, "synthetic", 1, "tensors", (json_int_t)r->tensors,
                      "parameters", (json_int_t)r->parameters, "bytes",
                      (json_int_t)r->bytes, "files", (json_int_t)r->files));
    cli_print(app,
              "%s, synthetic: %s parameters in %lld tensors, %.1f MB in %lld file%s; "
              "written: %s\n",
              app->positional[0], cli_count(r->parameters, parameters),
              (long long)r->tensors, (double)r->bytes / 1e6, (long long)r->files,
              r->files == 1 ? "" : "s", arg.out);
    return ICD_OK;
}

static icd_status synth(cli_app *app)
{
    icd_synthetic_opts opts;
    icd_synthetic_result result;
    if (arg.list) return list_shapes(app);
    if (app->positionals == 0)
        return cli_usage(app, "SHAPE is missing; --list shows them");
    if (!arg.out) return cli_usage(app, "-o DIR is missing");
    icd_status status = read_opts(app, &opts);
    if (status == ICD_OK)
        status =
            icd_synthetic_write(app->ctx, app->positional[0], &opts, arg.out, &result);
    cli_progress_end();
    return status == ICD_OK ? show(app, &result) : status;
}

const cli_command cli_synth = {
    .name = "synth",
    .summary = "write a model of true shape with made-up weights, labelled so",
    .usage = "SHAPE -o DIR [options]",
    .examples = "  icd synth --list\n"
                "  icd synth bert-base -o bert-base-synthetic\n"
                "  icd synth mamba-2.8b --layers 8 --dtype bf16 -o mamba-synthetic\n",
    .min_positionals = 0,
    .max_positionals = 1,
    .flags = flags,
    .run = synth,
};
