/* Mamba: pre-norm layers, each a gated selective state-space block. Shapes: x [tokens x
 * hidden], one row a token. */
#include "runner/mamba.h"
#include "runner/generate.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PER_LAYER = ICD_MAMBA_LINEARS, IN = 0, X, DT, OUT };

/* What a linear of a layer is called, here and in the checkpoint, and what its rows and
 * columns are: r residual, i inner, 2 inner twice, d rank of dt, x dt, B and C. */
static const struct {
    const char *name, *tensor;
    char rows, cols;
} LINEAR[PER_LAYER] = {
    {"mixer.in", "in_proj", '2', 'r'},
    {"mixer.x", "x_proj", 'x', 'i'},
    {"mixer.dt", "dt_proj", 'i', 'd'},
    {"mixer.out", "out_proj", 'r', 'i'},
};

static int64_t size_of(const icd_model_config *c, char side)
{
    switch (side) {
    case 'r':
        return c->hidden;
    case 'i':
        return c->inner;
    case '2':
        return 2 * c->inner;
    case 'd':
        return c->dt_rank;
    default:
        return c->dt_rank + 2 * c->state;
    }
}

static const char *axis_of(char **text, int64_t n, char side)
{
    if (side == 'r') return "residual";
    if (side == 'i') return icd_i_linear_text(text, "layer.%d.%s", n, "d_inner");
    return side == 'd' ? icd_i_linear_text(text, "layer.%d.%s", n, "dt_rank") : "";
}

static void fill_linear(const icd_model_config *c, int64_t n, int which, char **text,
                        icd_linear *l)
{
    l->name = icd_i_linear_text(text, "layer.%d.%s", n, LINEAR[which].name);
    l->group = l->name;
    l->tensor = icd_i_linear_text(text, "backbone.layers.%d.mixer.%s.weight", n,
                                  LINEAR[which].tensor);
    l->in_axis = axis_of(text, n, LINEAR[which].cols);
    l->out_axis = axis_of(text, n, LINEAR[which].rows);
    l->rows = size_of(c, LINEAR[which].rows);
    l->cols = size_of(c, LINEAR[which].cols);
}

static icd_status mamba_linears(icd_ctx *ctx, const icd_model *model, icd_linear **list,
                                int64_t *count)
{
    return icd_i_linear_list(ctx, model, PER_LAYER, fill_linear, list, count);
}

/* A tensor of a layer; NULL where the model has none. */
static icd_status part_of(icd_ctx *ctx, icd_runner *r, int64_t layer, const char *part,
                          const float **out)
{
    char name[96];
    *out = NULL;
    snprintf(name, sizeof name, "backbone.layers.%d.%s", (int)layer, part);
    if (!icd_model_tensor(r->model, name)) return ICD_OK;
    return icd_i_runner_tensor(ctx, r, name, out);
}

/* Channels beside each other, as the kernel reads them. */
static icd_status turn_conv(icd_ctx *ctx, const icd_model_config *c, const float *w,
                            icd_mamba_layer *l)
{
    icd_status status = ICD_ALLOC(ctx, c->conv * c->inner, &l->conv);
    for (int64_t i = 0; status == ICD_OK && i < c->inner; i++)
        for (int64_t j = 0; j < c->conv; j++)
            l->conv[j * c->inner + i] = w[i * c->conv + j];
    return status;
}

static icd_status turn_a(icd_ctx *ctx, const icd_mamba *m, const float *log,
                         icd_mamba_layer *l)
{
    int64_t states = m->config->state;
    icd_status status = ICD_ALLOC(ctx, m->blocks * states * ICD_SCAN, &l->a);
    for (int64_t i = 0; status == ICD_OK && i < m->config->inner; i++)
        for (int64_t j = 0; j < states; j++)
            l->a[(i / ICD_SCAN * states + j) * ICD_SCAN + i % ICD_SCAN] =
                (float)-exp((double)log[i * states + j]);
    return status;
}

static icd_status load_layer(icd_ctx *ctx, icd_runner *r, icd_mamba *m, int64_t n)
{
    icd_status status = ICD_OK;
    icd_mamba_layer *l = &m->layer[n];
    const float *conv = NULL, *log = NULL;
    ICD_TRY(part_of(ctx, r, n, "norm.weight", &l->norm));
    ICD_TRY(part_of(ctx, r, n, "mixer.conv1d.weight", &conv));
    ICD_TRY(part_of(ctx, r, n, "mixer.conv1d.bias", &l->conv_bias));
    ICD_TRY(part_of(ctx, r, n, "mixer.A_log", &log));
    ICD_TRY(part_of(ctx, r, n, "mixer.D", &l->d));
    ICD_TRY(turn_conv(ctx, m->config, conv, l));
    ICD_TRY(turn_a(ctx, m, log, l));
done:
    return status;
}

static icd_status load_tensors(icd_ctx *ctx, icd_runner *r, icd_mamba *m)
{
    icd_status status = ICD_OK;
    m->order = icd_i_residual_order(r);
    ICD_TRY(icd_i_runner_tensor(ctx, r, "backbone.embeddings.weight", &m->embedding));
    ICD_TRY(icd_i_runner_tensor(ctx, r, "backbone.norm_f.weight", &m->norm));
    m->head = m->embedding;
    if (!m->config->tied)
        ICD_TRY(icd_i_runner_tensor(ctx, r, "lm_head.weight", &m->head));
    ICD_TRY(ICD_ALLOC(ctx, m->config->layers, &m->layer));
    for (int64_t n = 0; n < m->config->layers; n++) ICD_TRY(load_layer(ctx, r, m, n));
done:
    return status;
}

static icd_status allocate(icd_ctx *ctx, icd_runner *r, icd_mamba *m)
{
    icd_status status = ICD_OK;
    const icd_model_config *c = m->config;
    int64_t batch = r->capacity.batch, tokens = batch * r->capacity.seq;
    for (int i = 0; i < 2; i++) {
        ICD_TRY(ICD_ALLOC(ctx, icd_i_mamba_conv_floats(r, m), &m->state[i].conv));
        ICD_TRY(ICD_ALLOC(ctx, icd_i_mamba_scan_floats(r, m), &m->state[i].scan));
    }
    ICD_TRY(ICD_ALLOC(ctx, tokens * c->hidden, &m->x));
    ICD_TRY(ICD_ALLOC(ctx, tokens * c->hidden, &m->n));
    ICD_TRY(ICD_ALLOC(ctx, tokens * c->hidden, &m->y));
    ICD_TRY(ICD_ALLOC(ctx, tokens * 2 * c->inner, &m->xz));
    ICD_TRY(ICD_ALLOC(ctx, tokens * c->inner, &m->u));
    ICD_TRY(ICD_ALLOC(ctx, tokens * size_of(c, 'x'), &m->p));
    ICD_TRY(ICD_ALLOC(ctx, tokens * c->dt_rank, &m->low));
    ICD_TRY(ICD_ALLOC(ctx, tokens * c->inner, &m->dt));
    ICD_TRY(ICD_ALLOC(ctx, tokens * c->hidden, &m->hidden));
    ICD_TRY(ICD_ALLOC(ctx, c->inner, &m->zero));
    ICD_TRY(ICD_ALLOC(ctx, batch, &m->last));
    ICD_TRY(ICD_ALLOC(ctx, batch, &m->lengths));
done:
    return status;
}

static icd_status mamba_start(icd_ctx *ctx, icd_runner *r)
{
    icd_mamba *m = NULL;
    icd_status status = ICD_ALLOC(ctx, 1, &m);
    if (status != ICD_OK) return status;
    r->state = m;
    m->config = icd_model_get_config(r->model);
    m->blocks = (m->config->inner + ICD_SCAN - 1) / ICD_SCAN;
    ICD_TRY(load_tensors(ctx, r, m));
    ICD_TRY(allocate(ctx, r, m));
done:
    return status;
}

static void mamba_stop(icd_ctx *ctx, icd_runner *r)
{
    icd_mamba *m = r->state;
    void *const buffer[] = {m->state[0].conv,
                            m->state[0].scan,
                            m->state[1].conv,
                            m->state[1].scan,
                            m->x,
                            m->n,
                            m->y,
                            m->xz,
                            m->u,
                            m->p,
                            m->low,
                            m->dt,
                            m->hidden,
                            m->zero,
                            m->last,
                            m->lengths};
    for (int64_t n = 0; m->layer && n < m->config->layers; n++) {
        icd_i_free(ctx, m->layer[n].conv);
        icd_i_free(ctx, m->layer[n].a);
    }
    for (size_t i = 0; i < sizeof buffer / sizeof buffer[0]; i++)
        icd_i_free(ctx, buffer[i]);
    icd_i_free(ctx, m->layer);
    icd_i_free(ctx, m);
}

static void embed(const icd_mamba *m, const icd_mamba_pass *pass)
{
    int64_t h = m->config->hidden;
    for (int64_t t = 0; t < pass->batch * pass->seq; t++)
        memcpy(m->x + t * h, m->embedding + pass->ids[t] * h, (size_t)h * sizeof *m->x);
}

/* x += y (but before the first layer), and the norm of it beside the stream. */
static void norm_row(const icd_kernels *k, const icd_row_pass *p, int64_t t)
{
    const icd_mamba *m = p->user;
    float *x = m->x + t * p->n;
    if (p->residual) k->add_bias(x, p->residual + t * p->n, p->n);
    k->rms_norm(x, NULL, p->gain, p->n, p->eps, p->x + t * p->n);
}

static icd_status norm(icd_ctx *ctx, icd_runner *r, int64_t tokens, const float *y,
                       const float *gain, const icd_loaded *next)
{
    const icd_mamba *m = r->state;
    icd_row_pass pass = {.fn = norm_row,
                         .x = m->n,
                         .tokens = tokens,
                         .n = m->config->hidden,
                         .residual = y,
                         .gain = gain,
                         .eps = (float)m->config->norm_eps,
                         .user = m};
    return icd_i_rows(ctx, r, &pass, next);
}

/* The first columns of what x_proj gave. */
static void low_row(const icd_kernels *k, const icd_row_pass *p, int64_t t)
{
    const icd_mamba *m = p->user;
    (void)k;
    memcpy(p->x + t * p->n, m->p + t * size_of(m->config, 'x'),
           (size_t)p->n * sizeof *p->x);
}

/* u *= silu(z) */
static void gate_row(const icd_kernels *k, const icd_row_pass *p, int64_t t)
{
    const icd_mamba *m = p->user;
    k->mul_silu(p->x + t * p->n, m->xz + (2 * t + 1) * p->n, p->n);
}

/* n holds the norm of the stream, staged; y is what the layer adds to it. */
static icd_status mix(icd_ctx *ctx, icd_runner *r, const icd_mamba_pass *pass,
                      int64_t layer)
{
    icd_status status = ICD_OK;
    icd_mamba *m = r->state;
    const icd_loaded *l = r->linear + layer * PER_LAYER;
    int64_t tokens = pass->batch * pass->seq;
    icd_row_pass low = {low_row, m->low, tokens, m->config->dt_rank, .user = m},
                 gate = {gate_row, m->u, tokens, m->config->inner, .user = m};
    ICD_TRY(icd_i_observe(ctx, r, l + IN, 1, m->n, tokens));
    icd_i_linear_apply(ctx, r, l + IN, m->n, tokens, m->xz);
    ICD_TRY(icd_i_mamba_convolve(ctx, r, pass, layer, l + X));
    ICD_TRY(icd_i_observe(ctx, r, l + X, 1, m->u, tokens));
    icd_i_linear_apply(ctx, r, l + X, m->u, tokens, m->p);
    ICD_TRY(icd_i_rows(ctx, r, &low, l + DT));
    ICD_TRY(icd_i_observe(ctx, r, l + DT, 1, m->low, tokens));
    icd_i_linear_apply(ctx, r, l + DT, m->low, tokens, m->dt);
    ICD_TRY(icd_i_mamba_scan(ctx, r, pass, layer));
    ICD_TRY(icd_i_rows(ctx, r, &gate, l + OUT));
    ICD_TRY(icd_i_observe(ctx, r, l + OUT, 1, m->u, tokens));
    icd_i_linear_apply(ctx, r, l + OUT, m->u, tokens, m->y);
done:
    return status;
}

static icd_status run_layers(icd_ctx *ctx, icd_runner *r, const icd_mamba_pass *pass)
{
    icd_status status = ICD_OK;
    icd_mamba *m = r->state;
    int64_t layers = m->config->layers, tokens = pass->batch * pass->seq;
    const icd_loaded *l = r->linear;
    embed(m, pass);
    ICD_TRY(norm(ctx, r, tokens, NULL, m->layer[0].norm, l));
    for (int64_t n = 0; n < layers; n++, l += PER_LAYER) {
        bool end = n + 1 == layers;
        ICD_TRY(mix(ctx, r, pass, n));
        ICD_TRY(norm(ctx, r, tokens, m->y, end ? m->norm : m->layer[n + 1].norm,
                     end ? NULL : l + PER_LAYER));
    }
done:
    return status;
}

/* Undoes the order of the residual axis, so that outputs compare across layouts. */
static void write_output(const icd_mamba *m, const icd_mamba_pass *pass, icd_output *out)
{
    int64_t h = m->config->hidden, tokens = pass->batch * pass->seq;
    icd_i_undo_order(m->order, m->n, tokens, h, m->hidden);
    *out = (icd_output){m->hidden, tokens, h, NULL, pass->batch};
}

/* Runs a pass from the held state into the other; which is held from then on if `keep`,
 * so that a pass that fails half way changes nothing. */
static icd_status run(icd_ctx *ctx, icd_runner *r, icd_mamba_pass *pass, bool keep,
                      icd_output *out)
{
    icd_mamba *m = r->state;
    pass->from = &m->state[m->held];
    pass->to = &m->state[!m->held];
    icd_status status = run_layers(ctx, r, pass);
    if (status != ICD_OK) return status;
    if (keep) m->held = !m->held;
    write_output(m, pass, out);
    return ICD_OK;
}

static icd_status prefill(icd_ctx *ctx, icd_runner *r, const icd_batch *batch,
                          const int32_t *lengths, icd_output *out)
{
    icd_mamba *m = r->state;
    icd_mamba_pass pass = {.ids = batch->ids,
                           .lengths = lengths,
                           .batch = batch->batch,
                           .seq = batch->seq,
                           .empty = true};
    m->prepared = 0;
    m->batch = batch->batch;
    return run(ctx, r, &pass, true, out);
}

static icd_status decode(icd_ctx *ctx, icd_runner *r, const int32_t *ids, bool keep,
                         icd_output *out)
{
    icd_mamba *m = r->state;
    icd_mamba_pass pass = {.ids = ids, .batch = m->batch, .seq = 1};
    if (keep) m->prepared = 0;
    return run(ctx, r, &pass, keep, out);
}

/* The state of all tokens but the last, and the last ones' ids. */
static icd_status prepare(icd_ctx *ctx, icd_runner *r, const icd_batch *batch)
{
    icd_mamba *m = r->state;
    icd_output out;
    uint64_t hash = icd_i_prompt_hash(batch);
    if (hash == m->prepared) return ICD_OK;
    icd_i_prompt_cut(batch, m->lengths, m->last);
    icd_status status = prefill(ctx, r, batch, m->lengths, &out);
    if (status == ICD_OK) m->prepared = hash;
    return status;
}

static icd_status mamba_step(icd_ctx *ctx, icd_runner *r, const icd_batch *batch,
                             icd_output *out)
{
    const icd_mamba *m = r->state;
    if (r->opts.phase == ICD_PHASE_PREFILL)
        return prefill(ctx, r, batch, batch->lengths, out);
    icd_status status = prepare(ctx, r, batch);
    return status == ICD_OK ? decode(ctx, r, m->last, false, out) : status;
}

static icd_status mamba_decode(icd_ctx *ctx, icd_runner *r, const int32_t *ids, bool keep,
                               icd_output *out)
{
    const icd_mamba *m = r->state;
    icd_batch next = {.ids = ids, .batch = m->batch, .seq = 1};
    icd_status status = icd_i_check_tokens(ctx, r, &next);
    return status == ICD_OK ? decode(ctx, r, ids, keep, out) : status;
}

static icd_status mamba_logits(icd_ctx *ctx, icd_runner *r, int64_t first, int64_t count,
                               float *out)
{
    const icd_mamba *m = r->state;
    return icd_i_vocabulary_logits(ctx, r, m->n + first * m->config->hidden, m->head,
                                   count, out);
}

const icd_engine icd_i_engine_mamba = {.arch = "mamba",
                                       .linears = mamba_linears,
                                       .start = mamba_start,
                                       .check = icd_i_check_tokens,
                                       .step = mamba_step,
                                       .stop = mamba_stop,
                                       .outputs = icd_i_vocabulary,
                                       .logits = mamba_logits,
                                       .decode = mamba_decode};
