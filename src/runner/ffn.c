/* ffn: single blocks y = W2 act(W1 x + b1) + b2, every block of the file on the same
   rows; the output is the last block's. */
#include "runner/linear.h"

#include <stdio.h>
#include <string.h>

enum { PER_BLOCK = 2, UP = 0, DOWN };

typedef struct ffn {
    const icd_model_config *config;
    float *x, *inner, *y;
} ffn;

/* The next axis "layer.N.ffn.inner"; blocks keep the numbers that their file gives them.
 */
static const char *next_inner(const icd_model *model, int64_t *at)
{
    static const char TAIL[] = ".ffn.inner";
    for (; *at < icd_model_axes(model); ++*at) {
        const char *name = icd_model_axis_at(model, *at)->name;
        size_t n = strlen(name);
        if (n >= sizeof TAIL && !strcmp(name + n - (sizeof TAIL - 1), TAIL))
            return icd_model_axis_at(model, (*at)++)->name;
    }
    return NULL;
}

/* "layer.N.ffn" of the axis, and `part` behind it. */
static const char *put(char **text, const char *inner, const char *part)
{
    char *at = *text;
    int block = (int)(strlen(inner) - strlen(".inner"));
    *text += snprintf(at, 96, "%.*s.%s", block, inner, part) + 1;
    return at;
}

static void fill_block(const icd_model_config *c, const char *inner, char **text,
                       icd_linear *l)
{
    l[UP].name = l[UP].group = put(text, inner, "up");
    l[UP].tensor = put(text, inner, "w1");
    l[DOWN].name = l[DOWN].group = put(text, inner, "down");
    l[DOWN].tensor = put(text, inner, "w2");
    l[UP].in_axis = l[DOWN].out_axis = "";
    l[UP].out_axis = l[DOWN].in_axis = put(text, inner, "inner");
    l[UP].rows = l[DOWN].cols = c->inner;
    l[UP].cols = l[DOWN].rows = c->hidden;
}

static icd_status ffn_linears(icd_ctx *ctx, const icd_model *model, icd_linear **list,
                              int64_t *count)
{
    const icd_model_config *c = icd_model_get_config(model);
    char *text = NULL;
    const char *inner = NULL;
    int64_t axis = 0;
    *count = 0;
    icd_status status = icd_i_linear_list_new(ctx, c->layers * PER_BLOCK, list, &text);
    if (status != ICD_OK) return status;
    while (*count < c->layers * PER_BLOCK && (inner = next_inner(model, &axis))) {
        fill_block(c, inner, &text, *list + *count);
        *count += PER_BLOCK;
    }
    return ICD_OK;
}

static icd_status ffn_start(icd_ctx *ctx, icd_runner *r)
{
    icd_status status = ICD_OK;
    ffn *f = NULL;
    int64_t tokens = r->capacity.batch * r->capacity.seq;
    ICD_TRY(ICD_ALLOC(ctx, 1, &f));
    r->state = f;
    f->config = icd_model_get_config(r->model);
    ICD_TRY(ICD_ALLOC(ctx, tokens * f->config->hidden, &f->x));
    ICD_TRY(ICD_ALLOC(ctx, tokens * f->config->inner, &f->inner));
    ICD_TRY(ICD_ALLOC(ctx, tokens * f->config->hidden, &f->y));
done:
    return status;
}

static void ffn_stop(icd_ctx *ctx, icd_runner *r)
{
    ffn *f = r->state;
    icd_i_free(ctx, f->x);
    icd_i_free(ctx, f->inner);
    icd_i_free(ctx, f->y);
    icd_i_free(ctx, f);
}

static icd_status ffn_check(icd_ctx *ctx, const icd_runner *r, const icd_batch *batch)
{
    int64_t hidden = icd_model_get_config(r->model)->hidden;
    if (batch->rows && batch->width == hidden) return ICD_OK;
    return icd_i_fail(ctx, ICD_EINVAL, "input", NULL,
                      "found rows of width %lld, expected rows of width %lld",
                      (long long)(batch->rows ? batch->width : 0), (long long)hidden);
}

static icd_status run_block(icd_ctx *ctx, icd_runner *r, const icd_loaded *l,
                            int64_t tokens)
{
    icd_status status = ICD_OK;
    ffn *f = r->state;
    const icd_model_config *c = f->config;
    icd_row_pass input = {.x = f->x, .tokens = tokens, .n = c->hidden};
    icd_row_pass act = {.fn = strcmp(c->act, "relu") ? icd_i_row_gelu : icd_i_row_relu,
                        .x = f->inner,
                        .tokens = tokens,
                        .n = c->inner};
    ICD_TRY(icd_i_observe(ctx, r, l + UP, 1, f->x, tokens));
    ICD_TRY(icd_i_rows(ctx, r, &input, l + UP));
    icd_i_linear_apply(ctx, r, l + UP, f->x, tokens, f->inner);
    ICD_TRY(icd_i_rows(ctx, r, &act, l + DOWN));
    ICD_TRY(icd_i_observe(ctx, r, l + DOWN, 1, f->inner, tokens));
    icd_i_linear_apply(ctx, r, l + DOWN, f->inner, tokens, f->y);
done:
    return status;
}

static icd_status ffn_step(icd_ctx *ctx, icd_runner *r, const icd_batch *batch,
                           icd_output *out)
{
    ffn *f = r->state;
    icd_status status = ICD_OK;
    int64_t tokens = batch->batch * batch->seq;
    memcpy(f->x, batch->rows, (size_t)(tokens * batch->width) * sizeof *f->x);
    for (int64_t i = 0; status == ICD_OK && i < f->config->layers; i++)
        status = run_block(ctx, r, r->linear + i * PER_BLOCK, tokens);
    if (status == ICD_OK)
        *out = (icd_output){f->y, tokens, f->config->hidden, NULL, batch->batch};
    return status;
}

const icd_engine icd_i_engine_ffn = {.arch = "ffn",
                                     .linears = ffn_linears,
                                     .start = ffn_start,
                                     .check = ffn_check,
                                     .step = ffn_step,
                                     .stop = ffn_stop};
