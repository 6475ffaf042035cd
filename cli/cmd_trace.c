/* icd trace: what a model touches, from activations or from masks. */
#include "cli.h"

#include <stdio.h>
#include <string.h>

static struct {
    const char *out, *input, *source;
} arg;

static const cli_flag *flags(void)
{
    static const cli_flag ROW[] = {
        {"--input", 'i', "FILE", "text, or ids as .npy", NULL, &arg.input, NULL},
        {"--source", 0, "NAME",
         "activations (default), or masks: what pruning left in blocks of rows", NULL,
         &arg.source, NULL},
        {"--axes", 0, "LIST", "auto, all, or patterns like layer.*.heads,layer.*.kv",
         "trace.axes", NULL, NULL},
        {"--tokens", 0, "N", "tokens traced at most", "model.calibration_tokens", NULL,
         NULL},
        {"--seq", 0, "N", "tokens a sequence", "runner.seq", NULL, NULL},
        {"--activity-mass", 0, "SHARE", "share of activation mass an access set holds",
         "graph.activity_mass", NULL, NULL},
        {"--vector", 0, "ROWS", "masks: rows of a block", "kernel.vector", NULL, NULL},
        {"--output", 'o', "DIR", "folder for AXIS/trace.icdt", NULL, &arg.out, NULL},
        {NULL, 0, NULL, NULL, NULL, NULL, NULL},
    };
    return ROW;
}

static icd_status show(const cli_app *app, const icd_trace_result *r, bool masks)
{
    if (app->json)
        return cli_print_json(json_pack("{s:s,s:s,s:I,s:I,s:I,s:f}", "out", arg.out,
                                        "source", masks ? "masks" : "activations", "axes",
                                        (json_int_t)r->axes, "tokens",
                                        (json_int_t)r->tokens, "events",
                                        (json_int_t)r->events, "overhead", r->overhead));
    if (masks)
        printf("%lld linears, %lld row blocks; written: %s/axes/LINEAR/trace.icdt\n",
               (long long)r->axes, (long long)r->events, arg.out);
    else
        printf(
            "%lld axes traced over %lld tokens, %lld events; recording took %.0f %% of "
            "the time; written: %s/axes/AXIS/trace.icdt\n",
            (long long)r->axes, (long long)r->tokens, (long long)r->events,
            100 * r->overhead, arg.out);
    return ICD_OK;
}

static icd_status trace(cli_app *app)
{
    icd_trace_result result = {0};
    bool masks = arg.source && !strcmp(arg.source, "masks");
    icd_status status;
    if (!arg.out) return cli_usage(app, "-o DIR is missing");
    if (arg.source && !masks && strcmp(arg.source, "activations"))
        return cli_usage(app, "--source: found '%s', expected activations or masks",
                         arg.source);
    status = masks ? icd_trace_masks(app->ctx, app->config, app->positional[0], arg.out,
                                     &result)
                   : icd_trace_model(app->ctx, app->config, app->positional[0], arg.input,
                                     arg.out, &result);
    cli_progress_end();
    return status == ICD_OK ? show(app, &result, masks) : status;
}

const cli_command cli_trace = {
    .name = "trace",
    .summary = "record which channels are touched: by real input, or by a mask",
    .usage = "MODEL_DIR --input text.txt|ids.npy -o DIR [options]",
    .examples = "  icd trace MODEL_DIR --input data/text/austen.txt -o traces\n"
                "  icd trace MODEL_DIR --input text.txt --axes all -o traces\n"
                "  icd trace PRUNED_DIR --source masks --vector 64 -o traces\n"
                "  icd graph -t traces/axes/layer.0.ffn.inner/trace.icdt -o W.csr.npz\n",
    .min_positionals = 1,
    .max_positionals = 1,
    .flags = flags,
    .run = trace,
};
