/* icd transform: the adapters alone. */
#include "cli.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    const char *out, *input, *s, *q, *format;
} arg;

static const cli_flag *flags(void)
{
    static const cli_flag ROW[] = {
        {"--s", 0, "SPEC", "sparsity: hds:V=64,rate=.75 | 2:4 | nm:n=1,m=4 | ...", NULL,
         &arg.s, NULL},
        {"--q", 0, "SPEC",
         "weights: int8 | int8:outliers=.01,smooth=auto | int4:group=32 | fp8 | ...",
         NULL, &arg.q, NULL},
        {"--input", 'i', "FILE",
         "text, or ids as .npy, for calibration; none: magnitudes alone", NULL,
         &arg.input, NULL},
        {"--tokens", 0, "N", "calibration tokens at most", "model.calibration_tokens",
         NULL, NULL},
        {"--seq", 0, "N", "tokens a sequence", "runner.seq", NULL, NULL},
        {"--format", 0, "NAME",
         "packed (default): small types and survivors; dense: f32 that transformers "
         "loads",
         NULL, &arg.format, NULL},
        {"--output", 'o', "DIR", "folder of the new model", NULL, &arg.out, NULL},
        {NULL, 0, NULL, NULL, NULL, NULL, NULL},
    };
    return ROW;
}

/* Short names of a SPEC; any other is a key of the section. */
static const char *key_of(const char *name)
{
    if (!strcmp(name, "V")) return "vector";
    if (!strcmp(name, "g")) return "granule";
    return name;
}

static icd_status set(cli_app *app, const char *section, const char *key,
                      const char *value)
{
    char text[256];
    int size = snprintf(text, sizeof text, "%s.%s=%s", section, key, value);
    if (size >= (int)sizeof text)
        return cli_usage(app, "'%.60s...' is too long for an option", value);
    return icd_config_override(app->ctx, app->config, text);
}

/* Names of a SPEC that were given already. */
typedef struct given {
    const char *key[32];
    int count;
} given;

static icd_status take_once(cli_app *app, const char *key, const char *spec, given *seen)
{
    for (int i = 0; i < seen->count; i++)
        if (!strcmp(seen->key[i], key))
            return cli_usage(app, "'%s': %s is given twice", spec, key);
    if (seen->count < (int)(sizeof seen->key / sizeof *seen->key))
        seen->key[seen->count++] = key;
    return ICD_OK;
}

/* N:M says itself what share goes. */
static icd_status check_rate(cli_app *app, const char *spec, const given *seen)
{
    const icd_sparsity_opts *s = &app->config->sparsity;
    int32_t n = 0, m = 0;
    if (!icd_sparsity_nm(s, &n, &m) || n >= m) return ICD_OK;
    double rate = 1 - (double)n / m;
    for (int i = 0; i < seen->count; i++)
        if (!strcmp(seen->key[i], "rate") && fabs(s->rate - rate) > 1e-3)
            return cli_usage(app, "'%s': found rate %g, expected %g, which is 1 - %d/%d",
                             spec, s->rate, rate, (int)n, (int)m);
    return ICD_OK;
}

/* "hds:V=64,rate=.75": the type, then options of its section. */
static icd_status read_spec(cli_app *app, const char *spec, const char *section,
                            const char *type)
{
    icd_status status;
    char copy[256], *rest = NULL;
    given seen = {0};
    if (strlen(spec) >= sizeof copy)
        return cli_usage(app, "'%.60s...' is too long for a transform", spec);
    strcpy(copy, spec);
    /* "2:4" is a type of its own: options begin behind a colon that a letter follows */
    for (char *colon = strchr(copy, ':'); colon && !rest; colon = strchr(colon + 1, ':'))
        if (strchr(colon, '=') && (colon[1] < '0' || colon[1] > '9')) {
            *colon = 0;
            rest = colon + 1;
        }
    status = set(app, section, type, copy);
    for (char *next; status == ICD_OK && rest; rest = next) {
        next = strchr(rest, ',');
        if (next) *next++ = 0;
        char *equals = strchr(rest, '=');
        if (!equals)
            return cli_usage(app, "'%s' in '%s': expected NAME=VALUE", rest, spec);
        *equals = 0;
        status = take_once(app, key_of(rest), spec, &seen);
        if (status == ICD_OK) status = set(app, section, key_of(rest), equals + 1);
    }
    return status == ICD_OK ? check_rate(app, spec, &seen) : status;
}

static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static icd_status show(const cli_app *app, const icd_transform_result *r)
{
    char before[32], after[32];
    if (app->json)
        return cli_print_json(json_pack(
            "{s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:o,s:o,s:o}", "out", arg.out,
            "linears", (json_int_t)r->linears, "sparse", (json_int_t)r->sparse,
            "quantized", (json_int_t)r->quantized, "skipped", (json_int_t)r->skipped,
            "weights", (json_int_t)r->weights, "zeros", (json_int_t)r->zeros,
            "bytes_before", (json_int_t)r->bytes_before, "bytes_after",
            (json_int_t)r->bytes_after, "retained", number(r->retained), "sqnr_db",
            number(r->sqnr_db), "cosine", number(r->cosine)));
    printf("%lld linears: %lld sparse, %lld quantised", (long long)r->linears,
           (long long)r->sparse, (long long)r->quantized);
    if (r->skipped)
        printf(", %lld left alone (transform_meta.json says why)", (long long)r->skipped);
    printf("\n%.1f %% of their weights are zero; %s -> %s bytes\n",
           100 * (double)r->zeros / (double)r->weights,
           cli_count(r->bytes_before, before), cli_count(r->bytes_after, after));
    if (isfinite(r->retained)) printf("retained saliency %.4f\n", r->retained);
    if (isfinite(r->sqnr_db)) printf("least SQNR %.1f dB\n", r->sqnr_db);
    if (isfinite(r->cosine))
        printf("least cosine of a linear's outputs on the calibration rows %.4f\n",
               r->cosine);
    printf("written: %s\n", arg.out);
    return ICD_OK;
}

static icd_status transform(cli_app *app)
{
    icd_status status = ICD_OK;
    icd_transform_result result;
    bool dense = arg.format && !strcmp(arg.format, "dense");
    if (!arg.out) return cli_usage(app, "-o OUT_DIR is missing");
    if (arg.format && !dense && strcmp(arg.format, "packed"))
        return cli_usage(app, "--format: found '%s', expected packed or dense",
                         arg.format);
    if (arg.s) status = read_spec(app, arg.s, "transform.sparsity", "type");
    if (status == ICD_OK && arg.q)
        status = read_spec(app, arg.q, "transform.quant", "dtype");
    if (status == ICD_OK)
        status = icd_transform_model(app->ctx, app->config, app->positional[0], arg.input,
                                     dense ? ICD_TRANSFORM_DENSE : ICD_TRANSFORM_PACKED,
                                     arg.out, &result);
    cli_progress_end();
    return status == ICD_OK ? show(app, &result) : status;
}

const cli_command cli_transform = {
    .name = "transform",
    .summary = "apply sparsity and quantisation alone, and store the result",
    .usage = "MODEL_DIR --s SPEC --q SPEC [--input text.txt] -o OUT_DIR",
    .examples =
        "  icd transform MODEL_DIR --s hds:V=64,rate=.75 --q int8 -o OUT_DIR\n"
        "  icd transform MODEL_DIR --s 2:4 --q fp8 --input data/text/austen.txt -o OUT\n"
        "  icd transform MODEL_DIR --q int4:group=32 --format dense -o OUT_DIR\n"
        "  icd transform MODEL_DIR --q int8:outliers=.01,activation=static --input TEXT "
        "-o OUT\n"
        "  icd transform MODEL_DIR --q int8:smooth=auto,exclude=layer.0.* --input TEXT "
        "-o OUT\n",
    .min_positionals = 1,
    .max_positionals = 1,
    .flags = flags,
    .run = transform,
};
