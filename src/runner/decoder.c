/* Decoder: pre-norm layers of attention and an MLP, gated (Llama) or not (GPT-2). Shapes:
 * x [tokens x hidden], one row a token. */
#include "runner/decoder.h"
#include "runner/generate.h"

#include <stdio.h>
#include <string.h>

enum { PARTS = ICD_DECODER_LINEARS, Q = 0, K, V, OUT, GATE, UP, DOWN };

/* What a linear of a layer is called, here and in the checkpoint, and the axes of its
 * rows and columns: r residual, i inner, q and k the query and KV heads. */
static const struct {
    const char *name, *group, *tensor;
    char rows, cols;
} LINEAR[PARTS] = {
    {"attn.q", "attn.qkv", "self_attn.q_proj", 'q', 'r'},
    {"attn.k", "attn.qkv", "self_attn.k_proj", 'k', 'r'},
    {"attn.v", "attn.qkv", "self_attn.v_proj", 'k', 'r'},
    {"attn.out", "attn.out", "self_attn.o_proj", 'r', 'q'},
    {"mlp.gate", "mlp.up", "mlp.gate_proj", 'i', 'r'},
    {"mlp.up", "mlp.up", "mlp.up_proj", 'i', 'r'},
    {"mlp.down", "mlp.down", "mlp.down_proj", 'r', 'i'},
};

static int64_t per_layer(const icd_model_config *c)
{
    return c->gated ? PARTS : PARTS - 1;
}

/* Where a part stands among the linears of a layer: without a gate the later ones move
 * up, so that GATE is the first that reads the MLP's input in any case. */
static int place_of(const icd_model_config *c, int part)
{
    return part > GATE && !c->gated ? part - 1 : part;
}

static int part_at(const icd_model_config *c, int place)
{
    return place >= GATE && !c->gated ? place + 1 : place;
}

static int64_t size_of(const icd_model_config *c, char side)
{
    switch (side) {
    case 'r':
        return c->hidden;
    case 'i':
        return c->inner;
    case 'q':
        return c->heads * c->head_dim;
    default:
        return c->kv_heads * c->head_dim;
    }
}

static const char *axis_of(char **text, int64_t n, char side)
{
    if (side == 'r') return "residual";
    return side == 'i' ? icd_i_linear_text(text, "layer.%d.%s", n, "ffn.inner") : "";
}

static void fill_linear(const icd_model_config *c, int64_t n, int place, char **text,
                        icd_linear *l)
{
    int which = part_at(c, place);
    l->name = icd_i_linear_text(text, "layer.%d.%s", n, LINEAR[which].name);
    l->group = icd_i_linear_text(text, "layer.%d.%s", n, LINEAR[which].group);
    l->tensor =
        icd_i_linear_text(text, "model.layers.%d.%s.weight", n, LINEAR[which].tensor);
    l->in_axis = axis_of(text, n, LINEAR[which].cols);
    l->out_axis = axis_of(text, n, LINEAR[which].rows);
    l->rows = size_of(c, LINEAR[which].rows);
    l->cols = size_of(c, LINEAR[which].cols);
}

static icd_status decoder_linears(icd_ctx *ctx, const icd_model *model, icd_linear **list,
                                  int64_t *count)
{
    int64_t linears = per_layer(icd_model_get_config(model));
    return icd_i_linear_list(ctx, model, linears, fill_linear, list, count);
}

static icd_status load_norm(icd_ctx *ctx, icd_runner *r, const char *norm,
                            icd_decoder_norm *out)
{
    char name[128];
    snprintf(name, sizeof name, "%s.weight", norm);
    icd_status status = icd_i_runner_tensor(ctx, r, name, &out->gain);
    if (status != ICD_OK || !icd_model_get_config(r->model)->layer_norm) return status;
    snprintf(name, sizeof name, "%s.bias", norm);
    return icd_i_runner_tensor(ctx, r, name, &out->bias);
}

static icd_status load_layer(icd_ctx *ctx, icd_runner *r, int64_t n,
                             icd_decoder_layer *out)
{
    char name[96];
    snprintf(name, sizeof name, "model.layers.%d.input_layernorm", (int)n);
    icd_status status = load_norm(ctx, r, name, &out->attention);
    snprintf(name, sizeof name, "model.layers.%d.post_attention_layernorm", (int)n);
    return status == ICD_OK ? load_norm(ctx, r, name, &out->mlp) : status;
}

static icd_status load_tensors(icd_ctx *ctx, icd_runner *r, icd_decoder *d)
{
    icd_status status = ICD_OK;
    d->order = icd_i_residual_order(r);
    ICD_TRY(icd_i_runner_tensor(ctx, r, "model.embed_tokens.weight", &d->embedding));
    if (!d->config->rotary)
        ICD_TRY(
            icd_i_runner_tensor(ctx, r, "model.embed_positions.weight", &d->positions));
    ICD_TRY(load_norm(ctx, r, "model.norm", &d->norm));
    d->head = d->embedding;
    if (!d->config->tied)
        ICD_TRY(icd_i_runner_tensor(ctx, r, "lm_head.weight", &d->head));
    ICD_TRY(ICD_ALLOC(ctx, d->config->layers, &d->layer));
    for (int64_t n = 0; n < d->config->layers; n++)
        ICD_TRY(load_layer(ctx, r, n, &d->layer[n]));
done:
    return status;
}

static icd_status make_cache(icd_ctx *ctx, icd_runner *r, icd_decoder *d)
{
    icd_status status = ICD_OK;
    icd_kv_shape shape = {.heads = d->config->kv_heads,
                          .dim = d->config->head_dim,
                          .page = r->opts.page,
                          .sequences = r->capacity.batch,
                          .tokens = r->capacity.seq};
    ICD_TRY(ICD_ALLOC(ctx, d->config->layers, &d->kv));
    for (int64_t n = 0; n < d->config->layers; n++)
        ICD_TRY(icd_i_kv_new(ctx, &shape, &d->kv[n]));
done:
    return status;
}

static icd_status allocate(icd_ctx *ctx, icd_runner *r, icd_decoder *d)
{
    icd_status status = ICD_OK;
    const icd_model_config *c = d->config;
    int64_t seq = r->capacity.seq, batch = r->capacity.batch, tokens = batch * seq;
    ICD_TRY(ICD_ALLOC(ctx, tokens * c->hidden, &d->x));
    ICD_TRY(ICD_ALLOC(ctx, tokens * c->hidden, &d->n));
    ICD_TRY(ICD_ALLOC(ctx, tokens * c->hidden, &d->y));
    ICD_TRY(ICD_ALLOC(ctx, tokens * size_of(c, 'q'), &d->q));
    ICD_TRY(ICD_ALLOC(ctx, tokens * size_of(c, 'k'), &d->k));
    ICD_TRY(ICD_ALLOC(ctx, tokens * size_of(c, 'k'), &d->v));
    ICD_TRY(ICD_ALLOC(ctx, tokens * size_of(c, 'q'), &d->context));
    if (c->gated) ICD_TRY(ICD_ALLOC(ctx, tokens * c->inner, &d->gate));
    ICD_TRY(ICD_ALLOC(ctx, tokens * c->inner, &d->up));
    ICD_TRY(ICD_ALLOC(ctx, tokens * c->hidden, &d->hidden));
    ICD_TRY(ICD_ALLOC(ctx, icd_i_decoder_scores(r), &d->scores));
    ICD_TRY(ICD_ALLOC(ctx, seq, &d->slot));
    ICD_TRY(ICD_ALLOC(ctx, seq, &d->position));
    ICD_TRY(ICD_ALLOC(ctx, batch, &d->last));
    ICD_TRY(ICD_ALLOC(ctx, batch, &d->lengths));
done:
    return status;
}

static icd_status decoder_start(icd_ctx *ctx, icd_runner *r)
{
    icd_decoder *d = NULL;
    icd_status status = icd_i_check_positions(ctx, r);
    if (status == ICD_OK) status = ICD_ALLOC(ctx, 1, &d);
    if (status != ICD_OK) return status;
    r->state = d;
    d->config = icd_model_get_config(r->model);
    ICD_TRY(load_tensors(ctx, r, d));
    if (d->config->rotary)
        ICD_TRY(
            icd_i_decoder_angles(ctx, d->config, r->capacity.seq, &d->cosine, &d->sine));
    ICD_TRY(make_cache(ctx, r, d));
    ICD_TRY(allocate(ctx, r, d));
done:
    return status;
}

static void decoder_stop(icd_ctx *ctx, icd_runner *r)
{
    icd_decoder *d = r->state;
    void *const buffer[] = {d->layer,    d->cosine, d->sine,   d->x,      d->n,
                            d->y,        d->q,      d->k,      d->v,      d->context,
                            d->gate,     d->up,     d->hidden, d->scores, d->slot,
                            d->position, d->last,   d->lengths};
    for (int64_t n = 0; d->kv && n < d->config->layers; n++) icd_i_kv_free(ctx, d->kv[n]);
    for (size_t i = 0; i < sizeof buffer / sizeof buffer[0]; i++)
        icd_i_free(ctx, buffer[i]);
    icd_i_free(ctx, d->kv);
    icd_i_free(ctx, d);
}

static void embed(const icd_kernels *k, const icd_decoder *d,
                  const icd_decoder_pass *pass)
{
    int64_t h = d->config->hidden;
    for (int64_t t = 0; t < pass->batch * pass->seq; t++) {
        float *x = d->x + t * h;
        memcpy(x, d->embedding + pass->ids[t] * h, (size_t)h * sizeof *x);
        if (d->positions)
            k->add_bias(x, d->positions + icd_i_decoder_position(d->kv[0], pass, t) * h,
                        h);
    }
}

/* x += y (where there is one), and the norm of it beside the stream. */
typedef struct stream {
    float *x;
    const float *y;
} stream;

static void norm_row(const icd_kernels *k, const icd_row_pass *p, int64_t t)
{
    const stream *s = p->user;
    float *x = s->x + t * p->n;
    if (s->y) k->add_bias(x, s->y + t * p->n, p->n);
    if (p->bias)
        k->layer_norm(x, NULL, p->gain, p->bias, p->n, p->eps, p->x + t * p->n);
    else
        k->rms_norm(x, NULL, p->gain, p->n, p->eps, p->x + t * p->n);
}

static icd_status norm(icd_ctx *ctx, icd_runner *r, int64_t tokens, const float *y,
                       const icd_decoder_norm *with, const icd_loaded *next)
{
    const icd_decoder *d = r->state;
    stream s = {d->x, y};
    icd_row_pass pass = {.fn = norm_row,
                         .x = d->n,
                         .tokens = tokens,
                         .n = d->config->hidden,
                         .gain = with->gain,
                         .bias = with->bias,
                         .eps = (float)d->config->norm_eps,
                         .user = &s};
    return icd_i_rows(ctx, r, &pass, next);
}

/* up *= act(gate) */
static void silu_row(const icd_kernels *k, const icd_row_pass *p, int64_t t)
{
    const icd_decoder *d = p->user;
    k->mul_silu(p->x + t * p->n, d->gate + t * p->n, p->n);
}

static void multiply(float *x, const float *y, int64_t n)
{
    for (int64_t i = 0; i < n; i++) x[i] *= y[i];
}

static void gelu_row(const icd_kernels *k, const icd_row_pass *p, int64_t t)
{
    const icd_decoder *d = p->user;
    k->gelu(d->gate + t * p->n, p->n);
    multiply(p->x + t * p->n, d->gate + t * p->n, p->n);
}

static void relu_row(const icd_kernels *k, const icd_row_pass *p, int64_t t)
{
    const icd_decoder *d = p->user;
    k->relu(d->gate + t * p->n, p->n);
    multiply(p->x + t * p->n, d->gate + t * p->n, p->n);
}

static void gelu_tanh_row(const icd_kernels *k, const icd_row_pass *p, int64_t t)
{
    const icd_decoder *d = p->user;
    k->gelu_tanh(d->gate + t * p->n, p->n);
    multiply(p->x + t * p->n, d->gate + t * p->n, p->n);
}

/* The same of an MLP without a gate: up = act(up). */
static void plain_silu_row(const icd_kernels *k, const icd_row_pass *p, int64_t t)
{
    k->silu(p->x + t * p->n, p->n);
}

static void plain_gelu_tanh_row(const icd_kernels *k, const icd_row_pass *p, int64_t t)
{
    k->gelu_tanh(p->x + t * p->n, p->n);
}

/* Activations, of a gate and of the rows themselves. */
static const struct {
    const char *name;
    icd_row_fn *gated, *plain;
} ACT[] = {
    {"silu", silu_row, plain_silu_row},
    {"gelu", gelu_row, icd_i_row_gelu},
    {"gelu_tanh", gelu_tanh_row, plain_gelu_tanh_row},
    {"relu", relu_row, icd_i_row_relu},
};

static icd_row_pass act_pass(const icd_decoder *d, int64_t tokens)
{
    icd_row_pass pass = {.x = d->up, .tokens = tokens, .n = d->config->inner, .user = d};
    for (size_t i = 0; i < sizeof ACT / sizeof *ACT; i++)
        if (strcmp(ACT[i].name, d->config->act) == 0)
            pass.fn = d->config->gated ? ACT[i].gated : ACT[i].plain;
    return pass;
}

static icd_status attention(icd_ctx *ctx, icd_runner *r, const icd_decoder_pass *pass,
                            int64_t layer)
{
    icd_status status = ICD_OK;
    icd_decoder *d = r->state;
    const icd_loaded *l = r->linear + layer * per_layer(d->config);
    int64_t tokens = pass->batch * pass->seq;
    icd_row_pass context = {
        .x = d->context, .tokens = tokens, .n = size_of(d->config, 'q')};
    ICD_TRY(icd_i_observe(ctx, r, l + Q, 3, d->n, tokens));
    icd_i_linear_apply(ctx, r, l + Q, d->n, tokens, d->q);
    icd_i_linear_apply(ctx, r, l + K, d->n, tokens, d->k);
    icd_i_linear_apply(ctx, r, l + V, d->n, tokens, d->v);
    ICD_TRY(icd_i_decoder_attend(ctx, r, pass, layer));
    ICD_TRY(icd_i_observe(ctx, r, l + OUT, 1, d->context, tokens));
    ICD_TRY(icd_i_rows(ctx, r, &context, l + OUT));
    icd_i_linear_apply(ctx, r, l + OUT, d->context, tokens, d->y);
done:
    return status;
}

/* n holds the norm of the stream, staged; y is what the block adds to it. */
static icd_status mlp(icd_ctx *ctx, icd_runner *r, int64_t tokens, int64_t layer)
{
    icd_status status = ICD_OK;
    icd_decoder *d = r->state;
    const icd_model_config *c = d->config;
    const icd_loaded *l = r->linear + layer * per_layer(c), *up = l + place_of(c, UP),
                     *down = l + place_of(c, DOWN);
    icd_row_pass act = act_pass(d, tokens);
    ICD_TRY(icd_i_observe(ctx, r, l + GATE, down - (l + GATE), d->n, tokens));
    if (c->gated) icd_i_linear_apply(ctx, r, l + GATE, d->n, tokens, d->gate);
    icd_i_linear_apply(ctx, r, up, d->n, tokens, d->up);
    ICD_TRY(icd_i_rows(ctx, r, &act, down));
    ICD_TRY(icd_i_observe(ctx, r, down, 1, d->up, tokens));
    icd_i_linear_apply(ctx, r, down, d->up, tokens, d->y);
done:
    return status;
}

static icd_status run_layers(icd_ctx *ctx, icd_runner *r, const icd_decoder_pass *pass)
{
    icd_status status = ICD_OK;
    icd_decoder *d = r->state;
    int64_t layers = d->config->layers, tokens = pass->batch * pass->seq,
            step = per_layer(d->config);
    const icd_loaded *l = r->linear;
    embed(r->k, d, pass);
    ICD_TRY(norm(ctx, r, tokens, NULL, &d->layer[0].attention, l));
    for (int64_t n = 0; n < layers; n++, l += step) {
        bool end = n + 1 == layers;
        ICD_TRY(attention(ctx, r, pass, n));
        ICD_TRY(norm(ctx, r, tokens, d->y, &d->layer[n].mlp, l + GATE));
        ICD_TRY(mlp(ctx, r, tokens, n));
        ICD_TRY(norm(ctx, r, tokens, d->y, end ? &d->norm : &d->layer[n + 1].attention,
                     end ? NULL : l + step));
    }
done:
    return status;
}

/* Undoes the order of the residual axis, so that outputs compare across layouts. */
static void write_output(const icd_decoder *d, const icd_decoder_pass *pass,
                         icd_output *out)
{
    int64_t h = d->config->hidden, tokens = pass->batch * pass->seq;
    icd_i_undo_order(d->order, d->n, tokens, h, d->hidden);
    *out = (icd_output){d->hidden, tokens, h, NULL, pass->batch};
}

static icd_status prefill(icd_ctx *ctx, icd_runner *r, const icd_batch *batch,
                          const int32_t *lengths, icd_output *out)
{
    icd_decoder *d = r->state;
    icd_decoder_pass pass = {.ids = batch->ids,
                             .lengths = lengths,
                             .batch = batch->batch,
                             .seq = batch->seq,
                             .prefill = true};
    d->prepared = 0;
    d->batch = batch->batch;
    for (int64_t n = 0; n < d->config->layers; n++)
        for (int64_t s = 0; s < r->capacity.batch; s++) icd_i_kv_clear(d->kv[n], s);
    icd_status status = run_layers(ctx, r, &pass);
    if (status == ICD_OK) write_output(d, &pass, out);
    return status;
}

/* Takes back the token of a decode that is not kept, or that ended half way. */
static void take_back(icd_decoder *d, int64_t batch, const int32_t *next)
{
    for (int64_t n = 0; n < d->config->layers; n++)
        for (int64_t s = 0; s < batch; s++)
            if (d->kv[n]->sequence[s].next > next[s]) icd_i_kv_pop(d->kv[n], s);
}

static icd_status decode(icd_ctx *ctx, icd_runner *r, const int32_t *ids, int64_t batch,
                         bool keep, icd_output *out)
{
    icd_decoder *d = r->state;
    icd_decoder_pass pass = {.ids = ids, .batch = batch, .seq = 1, .keep = keep};
    for (int64_t s = 0; s < batch; s++)
        d->lengths[s] = (int32_t)d->kv[0]->sequence[s].next;
    if (keep) d->prepared = 0;
    icd_status status = run_layers(ctx, r, &pass);
    if (status != ICD_OK || !keep) take_back(d, batch, d->lengths);
    if (status == ICD_OK) write_output(d, &pass, out);
    return status;
}

/* The state of all tokens but the last, and the last ones' ids. */
static icd_status prepare(icd_ctx *ctx, icd_runner *r, const icd_batch *batch)
{
    icd_decoder *d = r->state;
    icd_output out;
    uint64_t hash = icd_i_prompt_hash(batch);
    if (hash == d->prepared) return ICD_OK;
    icd_i_prompt_cut(batch, d->lengths, d->last);
    icd_status status = prefill(ctx, r, batch, d->lengths, &out);
    if (status == ICD_OK) d->prepared = hash;
    return status;
}

static icd_status decoder_step(icd_ctx *ctx, icd_runner *r, const icd_batch *batch,
                               icd_output *out)
{
    icd_decoder *d = r->state;
    if (r->opts.phase == ICD_PHASE_PREFILL)
        return prefill(ctx, r, batch, batch->lengths, out);
    icd_status status = prepare(ctx, r, batch);
    if (status != ICD_OK) return status;
    return decode(ctx, r, d->last, batch->batch, false, out);
}

static icd_status decoder_decode(icd_ctx *ctx, icd_runner *r, const int32_t *ids,
                                 bool keep, icd_output *out)
{
    icd_decoder *d = r->state;
    int64_t batch = d->batch;
    icd_batch next = {.ids = ids, .batch = batch, .seq = 1};
    icd_status status = icd_i_check_tokens(ctx, r, &next);
    for (int64_t s = 0; status == ICD_OK && s < batch; s++)
        if (d->kv[0]->sequence[s].next >= r->capacity.seq)
            status = icd_i_fail(ctx, ICD_EINVAL, "input",
                                "make the runner for longer sequences",
                                "sequence %lld has %lld tokens, the runner holds no more",
                                (long long)s, (long long)r->capacity.seq);
    return status == ICD_OK ? decode(ctx, r, ids, batch, keep, out) : status;
}

static icd_status decoder_logits(icd_ctx *ctx, icd_runner *r, int64_t first,
                                 int64_t count, float *out)
{
    const icd_decoder *d = r->state;
    return icd_i_vocabulary_logits(ctx, r, d->n + first * d->config->hidden, d->head,
                                   count, out);
}

static icd_kv **decoder_kv(icd_runner *r, int64_t layer)
{
    icd_decoder *d = r->state;
    return &d->kv[layer];
}

const icd_engine icd_i_engine_decoder = {.arch = "decoder",
                                         .linears = decoder_linears,
                                         .start = decoder_start,
                                         .check = icd_i_check_tokens,
                                         .step = decoder_step,
                                         .stop = decoder_stop,
                                         .outputs = icd_i_vocabulary,
                                         .logits = decoder_logits,
                                         .decode = decoder_decode,
                                         .kv = decoder_kv};
