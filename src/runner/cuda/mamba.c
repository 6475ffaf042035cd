/* Mamba on a GPU: prefill, and decoding one token as one graph. The state stays on the
 * GPU; a token that is not kept leaves its state in a second place. */
#include "runner/cuda/layer.h"
#include "runner/generate.h"

#include "base/hash.h"

#include <math.h>
#include <stdio.h>

enum { PER_LAYER = 4, IN = 0, X, DT, OUT };
enum { HELD, ASIDE, STATES }; /* the tokens seen so far; a token that is not kept */

typedef struct layer {
    icd_dptr norm, conv, conv_bias, a, d;
} layer;

/* The tokens that one pass through the layers computes. */
typedef struct pass {
    const icd_gpu_linear *linear;
    int64_t batch, seq;
    bool fresh; /* from an empty state */
    int to;     /* HELD or ASIDE */
} pass;

typedef struct mamba {
    const icd_model_config *config;
    icd_gpu gpu;
    icd_gpu_linear *linear, *single; /* schedules of a prefill; of one token */
    icd_gpu_stage stage;
    layer *layer;
    icd_dptr embedding, norm;
    icd_dptr ids, lengths;
    icd_dptr x, n;            /* f32 stream; its last norm */
    icd_dptr y, xz, u, mixed; /* bf16 */
    icd_dptr p, dt; /* f32: what a step of time is made of, e^(dt a) and dt u b, is as
                       exact as they are */
    icd_dptr conv[STATES], scan[STATES]; /* [layers][batch]... */
    icd_dptr carry;                      /* between the pieces of time of a scan */
    icd_device_graph *graph[STATES];
    int64_t graph_batch[STATES];
    uint64_t graph_room[STATES];
    const float *head;
    const int32_t *order;
    float *rows, *hidden;
    int32_t *last, *length;
    int64_t batch;
    uint64_t prepared;
} mamba;

static int64_t wide(const icd_model_config *c)
{
    return c->dt_rank + 2 * c->state;
}

static icd_status find(icd_ctx *ctx, icd_runner *r, int64_t n, const char *part,
                       const float **out, int64_t *count)
{
    char name[96];
    *out = NULL;
    snprintf(name, sizeof name, "backbone.layers.%d.%s", (int)n, part);
    const icd_tensor *t = icd_model_tensor(r->model, name);
    if (!t) return ICD_OK;
    *count = t->count;
    return icd_i_runner_tensor(ctx, r, name, out);
}

static icd_status put_part(icd_ctx *ctx, icd_runner *r, int64_t n, const char *part,
                           icd_dptr *out)
{
    mamba *m = r->state;
    const float *host = NULL;
    int64_t count = 0;
    icd_status status = find(ctx, r, n, part, &host, &count);
    if (status != ICD_OK || !host) return status;
    return ICD_GPU_PUT(ctx, &m->gpu, host, count, part, out);
}

/* Taps first, so that neighbouring channels lie side by side. */
static icd_status put_conv(icd_ctx *ctx, icd_runner *r, int64_t n, layer *l)
{
    icd_status status = ICD_OK;
    mamba *m = r->state;
    const icd_model_config *c = m->config;
    const float *w = NULL;
    float *turned = NULL;
    int64_t count = 0;
    ICD_TRY(find(ctx, r, n, "mixer.conv1d.weight", &w, &count));
    ICD_TRY(ICD_ALLOC(ctx, count, &turned));
    for (int64_t i = 0; i < c->inner; i++)
        for (int64_t j = 0; j < c->conv; j++)
            turned[j * c->inner + i] = w[i * c->conv + j];
    ICD_TRY(ICD_GPU_PUT(ctx, &m->gpu, turned, count, "the convolution", &l->conv));
done:
    icd_i_free(ctx, turned);
    return status;
}

static icd_status put_a(icd_ctx *ctx, icd_runner *r, int64_t n, layer *l)
{
    icd_status status = ICD_OK;
    mamba *m = r->state;
    const float *log = NULL;
    float *a = NULL;
    int64_t count = 0;
    ICD_TRY(find(ctx, r, n, "mixer.A_log", &log, &count));
    ICD_TRY(ICD_ALLOC(ctx, count, &a));
    for (int64_t i = 0; i < count; i++) a[i] = (float)-exp((double)log[i]);
    ICD_TRY(ICD_GPU_PUT(ctx, &m->gpu, a, count, "the scan", &l->a));
done:
    icd_i_free(ctx, a);
    return status;
}

static icd_status load_layer(icd_ctx *ctx, icd_runner *r, int64_t n, layer *l)
{
    icd_status status = ICD_OK;
    ICD_TRY(put_part(ctx, r, n, "norm.weight", &l->norm));
    ICD_TRY(put_part(ctx, r, n, "mixer.conv1d.bias", &l->conv_bias));
    ICD_TRY(put_part(ctx, r, n, "mixer.D", &l->d));
    ICD_TRY(put_conv(ctx, r, n, l));
    ICD_TRY(put_a(ctx, r, n, l));
done:
    return status;
}

static icd_status put_whole(icd_ctx *ctx, icd_runner *r, const char *name, icd_dptr *out)
{
    mamba *m = r->state;
    const float *host = NULL;
    icd_status status = icd_i_runner_tensor(ctx, r, name, &host);
    if (status != ICD_OK) return status;
    return ICD_GPU_PUT(ctx, &m->gpu, host, icd_model_tensor(r->model, name)->count, name,
                       out);
}

static icd_status load_tensors(icd_ctx *ctx, icd_runner *r, mamba *m)
{
    icd_status status = ICD_OK;
    const char *embedding = "backbone.embeddings.weight";
    m->order = icd_i_residual_order(r);
    ICD_TRY(put_whole(ctx, r, embedding, &m->embedding));
    ICD_TRY(put_whole(ctx, r, "backbone.norm_f.weight", &m->norm));
    ICD_TRY(icd_i_runner_tensor(ctx, r, m->config->tied ? embedding : "lm_head.weight",
                                &m->head));
    ICD_TRY(ICD_ALLOC(ctx, m->config->layers, &m->layer));
    for (int64_t n = 0; n < m->config->layers; n++)
        ICD_TRY(load_layer(ctx, r, n, &m->layer[n]));
done:
    return status;
}

/* Floats of one layer's state, all sequences. */
static int64_t conv_floats(const icd_runner *r, const icd_model_config *c)
{
    return r->capacity.batch * (c->conv - 1) * c->inner;
}

static int64_t scan_floats(const icd_runner *r, const icd_model_config *c)
{
    return r->capacity.batch * c->inner * c->state;
}

/* Blocks of a scan that keep the device busy: 16 warps a multiprocessor. */
static int64_t scan_blocks(const mamba *m)
{
    return 8 * (int64_t)m->gpu.info.multiprocessors;
}

/* Blocks across the channels. */
static int64_t scan_wide(const icd_model_config *c)
{
    return (c->inner + ICD_GPU_SCAN - 1) / ICD_GPU_SCAN;
}

/* Pieces of time that a prefill is cut into where its channels are too few for the
 * device. A cut scan computes nearly twice as much: two pieces gain nothing. */
static int64_t scan_pieces(const mamba *m, const pass *p)
{
    enum { LEAST = 64, FEWEST = 3 };
    int64_t pieces = scan_blocks(m) / (p->batch * scan_wide(m->config));
    if (pieces > p->seq / LEAST) pieces = p->seq / LEAST;
    return p->fresh && pieces >= FEWEST ? pieces : 1;
}

/* Floats that any number of sequences and pieces needs: scan_pieces keeps their product
 * within the blocks of the device. */
static int64_t carry_floats(const mamba *m)
{
    int64_t cut = scan_blocks(m) / scan_wide(m->config);
    return cut * (m->config->state + 1) * m->config->inner;
}

static icd_status allocate_state(icd_ctx *ctx, icd_runner *r, mamba *m)
{
    icd_status status = ICD_OK;
    const icd_model_config *c = m->config;
    int64_t carry = carry_floats(m);
    if (carry)
        ICD_TRY(icd_device_alloc(ctx, m->gpu.device, carry * 4, "the scan", &m->carry));
    for (int i = 0; i < STATES; i++) {
        ICD_TRY(icd_device_alloc(ctx, m->gpu.device, c->layers * conv_floats(r, c) * 4,
                                 "states", &m->conv[i]));
        ICD_TRY(icd_device_alloc(ctx, m->gpu.device, c->layers * scan_floats(r, c) * 4,
                                 "states", &m->scan[i]));
    }
done:
    return status;
}

static icd_status allocate(icd_ctx *ctx, icd_runner *r, mamba *m)
{
    icd_status status = ICD_OK;
    const icd_model_config *c = m->config;
    int64_t batch = r->capacity.batch, tokens = batch * r->capacity.seq;
    const struct {
        icd_dptr *at;
        int64_t bytes;
    } buffer[] = {{&m->ids, tokens * 4},           {&m->lengths, batch * 4},
                  {&m->x, tokens * c->hidden * 4}, {&m->n, tokens * c->hidden * 4},
                  {&m->y, tokens * c->hidden * 2}, {&m->xz, tokens * c->inner * 4},
                  {&m->u, tokens * c->inner * 2},  {&m->p, tokens * wide(c) * 4},
                  {&m->dt, tokens * c->inner * 4}, {&m->mixed, tokens * c->inner * 2}};
    for (size_t i = 0; i < sizeof buffer / sizeof buffer[0]; i++)
        ICD_TRY(icd_device_alloc(ctx, m->gpu.device, buffer[i].bytes, "activations",
                                 buffer[i].at));
    ICD_TRY(allocate_state(ctx, r, m));
    ICD_TRY(icd_i_gpu_stage_new(ctx, &m->gpu, m->linear, r->linears, tokens, &m->stage));
    ICD_TRY(ICD_ALLOC(ctx, tokens * c->hidden, &m->rows));
    ICD_TRY(ICD_ALLOC(ctx, tokens * c->hidden, &m->hidden));
    ICD_TRY(ICD_ALLOC(ctx, batch, &m->last));
    ICD_TRY(ICD_ALLOC(ctx, batch, &m->length));
done:
    return status;
}

static icd_status check_shape(icd_ctx *ctx, const icd_runner *r,
                              const icd_model_config *c)
{
    if (c->conv <= ICD_GPU_TAPS && c->state <= ICD_GPU_STATES) return ICD_OK;
    return icd_i_fail(ctx, ICD_EUNSUPPORTED, icd_model_name(r->model), NULL,
                      "found %lld taps and %lld states a channel, a GPU takes at most %d "
                      "and %d",
                      (long long)c->conv, (long long)c->state, ICD_GPU_TAPS,
                      ICD_GPU_STATES);
}

static icd_status mamba_start(icd_ctx *ctx, icd_runner *r)
{
    icd_status status = ICD_OK;
    mamba *m = NULL;
    const icd_model_config *c = icd_model_get_config(r->model);
    ICD_TRY(check_shape(ctx, r, c));
    ICD_TRY(ICD_ALLOC(ctx, 1, &m));
    r->state = m;
    m->config = c;
    ICD_TRY(icd_i_gpu_open(ctx, &r->opts, c->inner > c->hidden ? c->inner : c->hidden,
                           &m->gpu));
    ICD_TRY(load_tensors(ctx, r, m));
    ICD_TRY(icd_i_gpu_linears_new(ctx, &m->gpu, r, r->layout, &m->linear));
    for (int64_t i = 0; i < r->linears; i++)
        m->linear[i].wide = i % PER_LAYER == X || i % PER_LAYER == DT;
    ICD_TRY(ICD_ALLOC(ctx, r->linears, &m->single));
    for (int64_t i = 0; i < r->linears; i++) m->single[i] = m->linear[i];
    ICD_TRY(allocate(ctx, r, m));
done:
    return status;
}

static void mamba_stop(icd_ctx *ctx, icd_runner *r)
{
    mamba *m = r->state;
    for (int i = 0; i < STATES; i++) icd_device_graph_free(ctx, m->graph[i]);
    icd_i_gpu_linears_free(ctx, r, m->linear);
    icd_i_gpu_close(ctx, &m->gpu);
    icd_i_free(ctx, m->single);
    icd_i_free(ctx, m->layer);
    icd_i_free(ctx, m->rows);
    icd_i_free(ctx, m->hidden);
    icd_i_free(ctx, m->last);
    icd_i_free(ctx, m->length);
    icd_i_free(ctx, m);
}

/* x += y, and the norm of it: staged for `next`, or as the result. */
static icd_status norm(icd_ctx *ctx, mamba *m, const pass *p, icd_dptr y, icd_dptr gain,
                       const icd_gpu_linear *next)
{
    icd_gpu_rows rows = {.y = y,
                         .x = m->x,
                         .gain = gain,
                         .out = next ? (icd_dptr){0} : m->n,
                         .ldy = m->config->hidden,
                         .tokens = (int32_t)(p->batch * p->seq),
                         .n = (int32_t)m->config->hidden,
                         .op = ICD_GPU_RMS_NORM,
                         .eps = (float)m->config->norm_eps};
    return icd_i_gpu_rows_to(ctx, &m->gpu, rows, next, &m->stage);
}

static icd_status convolve(icd_ctx *ctx, icd_runner *r, const pass *p, int64_t n)
{
    mamba *m = r->state;
    const icd_model_config *c = m->config;
    int64_t at = n * conv_floats(r, c) * 4;
    int64_t pieces = p->fresh ? (p->seq + ICD_GPU_STEPS - 1) / ICD_GPU_STEPS : 1;
    icd_gpu_conv conv = {.x = m->xz,
                         .y = m->u,
                         .w = m->layer[n].conv,
                         .bias = m->layer[n].conv_bias,
                         .from = icd_dptr_add(m->conv[HELD], at),
                         .to = icd_dptr_add(m->conv[p->to], at),
                         .lengths = p->fresh ? m->lengths : (icd_dptr){0},
                         .ldx = 2 * c->inner,
                         .batch = (int32_t)p->batch,
                         .seq = (int32_t)p->seq,
                         .n = (int32_t)c->inner,
                         .taps = (int32_t)c->conv,
                         .fresh = p->fresh};
    int64_t across = (c->inner + ICD_GPU_ROWS - 1) / ICD_GPU_ROWS;
    return icd_i_gpu_run(ctx, &m->gpu, ICD_RUN_CONV, p->batch * pieces * across,
                         ICD_GPU_ROWS, &conv);
}

static icd_status scan(icd_ctx *ctx, icd_runner *r, const pass *p, int64_t n)
{
    mamba *m = r->state;
    const icd_model_config *c = m->config;
    int64_t at = n * scan_floats(r, c) * 4, pieces = scan_pieces(m, p),
            blocks = p->batch * scan_wide(c);
    icd_gpu_scan s = {.u = m->u,
                      .dt = m->dt,
                      .b = icd_dptr_add(m->p, c->dt_rank * 4),
                      .c = icd_dptr_add(m->p, (c->dt_rank + c->state) * 4),
                      .z = icd_dptr_add(m->xz, c->inner * 2),
                      .y = m->mixed,
                      .carry = m->carry,
                      .a = m->layer[n].a,
                      .d = m->layer[n].d,
                      .from = icd_dptr_add(m->scan[HELD], at),
                      .to = icd_dptr_add(m->scan[p->to], at),
                      .lengths = p->fresh ? m->lengths : (icd_dptr){0},
                      .ld_bc = wide(c),
                      .ldz = 2 * c->inner,
                      .batch = (int32_t)p->batch,
                      .seq = (int32_t)p->seq,
                      .n = (int32_t)c->inner,
                      .states = (int32_t)c->state,
                      .fresh = p->fresh,
                      .pieces = (int32_t)pieces,
                      .span = (int32_t)(p->seq / pieces)};
    icd_status status = ICD_OK;
    if (pieces > 1)
        status = icd_i_gpu_run(ctx, &m->gpu, ICD_RUN_SCAN_CARRY, blocks * (pieces - 1),
                               ICD_GPU_SCAN, &s);
    if (status != ICD_OK) return status;
    return icd_i_gpu_run(ctx, &m->gpu, ICD_RUN_SCAN, blocks * pieces, ICD_GPU_SCAN, &s);
}

/* x holds the stream, its norm is staged; y is what the layer adds. */
static icd_status mix(icd_ctx *ctx, icd_runner *r, const pass *p, int64_t n)
{
    icd_status status = ICD_OK;
    mamba *m = r->state;
    const icd_gpu_linear *l = p->linear + n * PER_LAYER;
    ICD_TRY(icd_i_gpu_multiply(ctx, &m->gpu, l + IN, &m->stage, m->xz));
    ICD_TRY(convolve(ctx, r, p, n));
    ICD_TRY(icd_i_gpu_apply(ctx, &m->gpu, l + X, m->u, m->config->inner, ICD_GPU_COPY,
                            &m->stage, m->p));
    ICD_TRY(icd_i_gpu_apply(ctx, &m->gpu, l + DT, m->p, wide(m->config),
                            ICD_GPU_COPY_WIDE, &m->stage, m->dt));
    ICD_TRY(scan(ctx, r, p, n));
    ICD_TRY(icd_i_gpu_apply(ctx, &m->gpu, l + OUT, m->mixed, m->config->inner,
                            ICD_GPU_COPY, &m->stage, m->y));
done:
    return status;
}

static icd_status run_layers(icd_ctx *ctx, icd_runner *r, const pass *p)
{
    icd_status status = ICD_OK;
    mamba *m = r->state;
    int64_t layers = m->config->layers;
    icd_gpu_embed embed = {.ids = m->ids,
                           .word = m->embedding,
                           .x = m->x,
                           .tokens = (int32_t)(p->batch * p->seq),
                           .seq = (int32_t)p->seq,
                           .n = (int32_t)m->config->hidden};
    ICD_TRY(
        icd_i_gpu_run(ctx, &m->gpu, ICD_RUN_EMBED, embed.tokens, ICD_GPU_ROWS, &embed));
    ICD_TRY(norm(ctx, m, p, (icd_dptr){0}, m->layer[0].norm, p->linear));
    for (int64_t n = 0; n < layers; n++) {
        bool end = n + 1 == layers;
        ICD_TRY(mix(ctx, r, p, n));
        ICD_TRY(norm(ctx, m, p, m->y, end ? m->norm : m->layer[n + 1].norm,
                     end ? NULL : p->linear + (n + 1) * PER_LAYER));
    }
done:
    return status;
}

static icd_status fetch(icd_ctx *ctx, mamba *m, const pass *p, icd_output *out)
{
    int64_t h = m->config->hidden, tokens = p->batch * p->seq;
    icd_status status =
        icd_device_download(ctx, m->gpu.device, m->rows, m->n, tokens * h * 4);
    if (status != ICD_OK) return status;
    icd_i_undo_order(m->order, m->rows, tokens, h, m->hidden);
    *out = (icd_output){m->hidden, tokens, h, NULL, p->batch};
    return ICD_OK;
}

static icd_status prefill(icd_ctx *ctx, icd_runner *r, const icd_batch *batch,
                          const int32_t *lengths, icd_output *out)
{
    icd_status status = ICD_OK;
    mamba *m = r->state;
    pass p = {m->linear, batch->batch, batch->seq, true, HELD};
    m->prepared = 0;
    m->batch = batch->batch;
    for (int64_t s = 0; s < batch->batch; s++)
        m->length[s] = lengths ? lengths[s] : (int32_t)batch->seq;
    ICD_TRY(icd_i_gpu_prepare(ctx, &m->gpu, m->linear, r->linears, p.batch * p.seq));
    ICD_TRY(
        icd_device_upload(ctx, m->gpu.device, m->lengths, m->length, batch->batch * 4));
    ICD_TRY(
        icd_device_upload(ctx, m->gpu.device, m->ids, batch->ids, p.batch * p.seq * 4));
    ICD_TRY(run_layers(ctx, r, &p));
    ICD_TRY(fetch(ctx, m, &p, out));
done:
    return status;
}

static icd_status record(icd_ctx *ctx, icd_runner *r, const pass *p)
{
    icd_status status = ICD_OK, ended = ICD_OK;
    mamba *m = r->state;
    icd_device_graph **graph = &m->graph[p->to];
    if (m->single[0].tokens != p->batch)
        ICD_TRY(icd_i_gpu_prepare(ctx, &m->gpu, m->single, r->linears, p->batch));
    if (*graph && m->graph_batch[p->to] == p->batch &&
        m->graph_room[p->to] == icd_i_gpu_room(&m->gpu))
        return ICD_OK;
    icd_device_graph_free(ctx, *graph);
    *graph = NULL;
    ICD_TRY(icd_device_record(ctx, m->gpu.device));
    status = run_layers(ctx, r, p);
    ended = icd_device_record_end(ctx, m->gpu.device, status == ICD_OK ? graph : NULL);
    if (status == ICD_OK) status = ended;
    m->graph_batch[p->to] = p->batch;
    m->graph_room[p->to] = icd_i_gpu_room(&m->gpu);
done:
    return status;
}

static icd_status decode(icd_ctx *ctx, icd_runner *r, const int32_t *ids, bool keep,
                         icd_output *out)
{
    icd_status status = ICD_OK;
    mamba *m = r->state;
    pass p = {m->single, m->batch, 1, false, keep ? HELD : ASIDE};
    if (keep) m->prepared = 0;
    ICD_TRY(record(ctx, r, &p));
    ICD_TRY(icd_device_upload(ctx, m->gpu.device, m->ids, ids, m->batch * 4));
    ICD_TRY(icd_device_replay(ctx, m->gpu.device, m->graph[p.to]));
    ICD_TRY(fetch(ctx, m, &p, out));
done:
    return status;
}

/* The state of all tokens but the last, and the last ones' ids. */
static icd_status prepare(icd_ctx *ctx, icd_runner *r, const icd_batch *batch)
{
    mamba *m = r->state;
    icd_output out;
    uint64_t hash = icd_i_prompt_hash(batch);
    if (hash == m->prepared) return ICD_OK;
    icd_i_prompt_cut(batch, m->length, m->last);
    icd_status status = prefill(ctx, r, batch, m->length, &out);
    if (status == ICD_OK) m->prepared = hash;
    return status;
}

static icd_status mamba_step(icd_ctx *ctx, icd_runner *r, const icd_batch *batch,
                             icd_output *out)
{
    const mamba *m = r->state;
    icd_status status = icd_i_gpu_check_observers(ctx, r);
    if (status != ICD_OK) return status;
    if (r->opts.phase == ICD_PHASE_PREFILL)
        return prefill(ctx, r, batch, batch->lengths, out);
    status = prepare(ctx, r, batch);
    return status == ICD_OK ? decode(ctx, r, m->last, false, out) : status;
}

static icd_status mamba_decode(icd_ctx *ctx, icd_runner *r, const int32_t *ids, bool keep,
                               icd_output *out)
{
    const mamba *m = r->state;
    icd_batch next = {.ids = ids, .batch = m->batch, .seq = 1};
    icd_status status = icd_i_check_tokens(ctx, r, &next);
    return status == ICD_OK ? decode(ctx, r, ids, keep, out) : status;
}

/* On the CPU, from the rows that came back. */
static icd_status mamba_logits(icd_ctx *ctx, icd_runner *r, int64_t first, int64_t count,
                               float *out)
{
    const mamba *m = r->state;
    return icd_i_vocabulary_logits(ctx, r, m->rows + first * m->config->hidden, m->head,
                                   count, out);
}

static icd_status mamba_linears(icd_ctx *ctx, const icd_model *model, icd_linear **list,
                                int64_t *count)
{
    return icd_i_engine_mamba.linears(ctx, model, list, count);
}

const icd_engine icd_i_engine_mamba_cuda = {.arch = "mamba",
                                            .device = ICD_RUN_CUDA,
                                            .linears = mamba_linears,
                                            .start = mamba_start,
                                            .check = icd_i_check_tokens,
                                            .step = mamba_step,
                                            .stop = mamba_stop,
                                            .outputs = icd_i_vocabulary,
                                            .logits = mamba_logits,
                                            .decode = mamba_decode};
