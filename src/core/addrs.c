/* The loops of the packed kernels, turned inside out: each call of next() goes on where
   the last one stopped. */
#include "core/addrs.h"

#include "base/mem.h"

enum {
    LINE = 64,
    CHUNK = 192,
    PASS = 64,
    TILE = 6,
    INDEX_BYTES = 4,
    SUM_BYTES = 4,
    WEIGHT_BITS = 8,
    WEIGHT_BITS_MOST = 32,
    INPUT_BYTES_MOST = 4
};

/* What a tile of tokens touches, in this order; sums are written once per chunk. */
typedef enum phase { WEIGHTS, INDICES, ACTIVATIONS, SUMS } phase;

typedef struct cursor {
    phase phase;
    int64_t linear, block, chunk; /* chunk: its first token */
    int64_t pass;                 /* its first group, in the block */
    int64_t token, at;            /* at: in the live list of the pass */
} cursor;

typedef struct stream {
    icd_addrs face;
    icd_addrs_opts opts;
    icd_addrs_linear *linear;
    int32_t *weight_bits, *input_bytes; /* [count] */
    int64_t count;
    uint64_t *weights, *indices; /* [count] addresses */
    uint64_t *buffer;            /* [buffers] */
    int64_t buffers;
    cursor now;
} stream;

static uint64_t place(uint64_t *top, int64_t bytes)
{
    uint64_t at = *top;
    *top += ((uint64_t)bytes + LINE - 1) / LINE * LINE;
    return at;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t entries_per_group(const icd_plan *plan)
{
    return plan->kernel == ICD_KERNEL_GATHER ? ICD_GROUP : 1;
}

/* First group of the pass among all blocks, and the one behind its last. */
static int64_t pass_first(const stream *s, const icd_plan *plan)
{
    return plan->block_ptr[s->now.block] + s->now.pass;
}

static int64_t pass_end(const stream *s, const icd_plan *plan)
{
    int64_t first = pass_first(s, plan), end = plan->block_ptr[s->now.block + 1];
    return end - first > s->opts.pass ? first + s->opts.pass : end;
}

/* Entries of the live list of the pass, and where they begin. */
static int64_t live_count(const stream *s, const icd_plan *plan)
{
    return (pass_end(s, plan) - pass_first(s, plan)) * entries_per_group(plan);
}

static int64_t live_first(const stream *s, const icd_plan *plan)
{
    return pass_first(s, plan) * entries_per_group(plan);
}

/* Bytes of the packed weights of so many groups. */
static int64_t weight_bytes(const stream *s, int64_t linear, int64_t groups)
{
    return groups * s->linear[linear].plan->vector * ICD_GROUP * s->weight_bits[linear] /
           WEIGHT_BITS;
}

static int64_t chunk_end(const stream *s)
{
    return least(s->now.chunk + s->opts.chunk, s->opts.tokens);
}

static void next_block(stream *s)
{
    cursor *c = &s->now;
    c->chunk = chunk_end(s);
    if (c->chunk >= s->opts.tokens) {
        c->chunk = 0;
        c->block++;
    }
    while (c->linear < s->count && c->block >= s->linear[c->linear].plan->blocks) {
        c->block = 0;
        c->linear++;
    }
    c->phase = WEIGHTS;
    c->pass = 0;
    c->token = c->chunk;
}

static void read_weights(stream *s, const icd_plan *plan, icd_addr_run *run)
{
    int64_t at = s->now.linear, from = weight_bytes(s, at, pass_first(s, plan)),
            to = weight_bytes(s, at, pass_end(s, plan));
    run->address = s->weights[at] + (uint64_t)from;
    run->bytes = (uint32_t)(to - from);
    s->now.phase = INDICES;
}

static void read_indices(stream *s, const icd_plan *plan, icd_addr_run *run)
{
    s->now.phase = ACTIVATIONS;
    s->now.at = 0;
    if (plan->kernel == ICD_KERNEL_DENSE) return;
    run->address =
        s->indices[s->now.linear] + (uint64_t)(live_first(s, plan) * INDEX_BYTES);
    run->bytes = (uint32_t)(live_count(s, plan) * INDEX_BYTES);
}

/* Where the tile of a token ends. */
static int64_t tile_end(const stream *s, int64_t token)
{
    int64_t from = token - s->now.chunk;
    return least(s->now.chunk + (from / s->opts.tile + 1) * s->opts.tile, chunk_end(s));
}

/* After the last token of a chunk comes its next pass, after the last pass its sums. */
static void next_token(stream *s, const icd_plan *plan)
{
    cursor *c = &s->now;
    bool tile_done = c->token + 1 == tile_end(s, c->token);
    c->at = 0;
    c->token++;
    if (!tile_done) return;
    c->phase = WEIGHTS;
    if (c->token < chunk_end(s)) return;
    c->token = c->chunk;
    if (pass_end(s, plan) == plan->block_ptr[c->block + 1])
        c->phase = SUMS;
    else
        c->pass += s->opts.pass;
}

/* One stretch of neighbouring live entries of one token. */
static void read_activations(stream *s, const icd_plan *plan, icd_addr_run *run)
{
    cursor *c = &s->now;
    int64_t count = live_count(s, plan), end = c->at + 1;
    int64_t bytes = s->input_bytes[c->linear],
            unit = (plan->kernel == ICD_KERNEL_GATHER ? 1 : ICD_GROUP) * bytes;
    const int32_t *live = plan->live + live_first(s, plan);
    if (c->at < count) {
        while (end < count && live[end] == live[end - 1] + 1) end++;
        run->address = s->buffer[s->linear[c->linear].input] +
                       (uint64_t)(c->token * plan->slots * bytes + live[c->at] * unit);
        run->bytes = (uint32_t)((end - c->at) * unit);
        c->at = end;
    }
    if (c->at >= count) next_token(s, plan);
}

static void write_sums(stream *s, const icd_plan *plan, icd_addr_run *run)
{
    cursor *c = &s->now;
    int64_t row = c->block * plan->vector;
    run->address = s->buffer[s->linear[c->linear].output] +
                   (uint64_t)((c->token * plan->rows + row) * SUM_BYTES);
    run->bytes = (uint32_t)(least(plan->vector, plan->rows - row) * SUM_BYTES);
    run->write = true;
    if (++c->token == chunk_end(s)) next_block(s);
}

/* One step; the run stays empty where there is nothing to touch. */
static void step(stream *s, icd_addr_run *run)
{
    const icd_plan *plan = s->linear[s->now.linear].plan;
    *run = (icd_addr_run){.agent = (uint16_t)(s->now.block % s->opts.agents)};
    switch (s->now.phase) {
    case WEIGHTS:
        read_weights(s, plan, run);
        break;
    case INDICES:
        read_indices(s, plan, run);
        break;
    case ACTIVATIONS:
        read_activations(s, plan, run);
        break;
    case SUMS:
        write_sums(s, plan, run);
        break;
    }
}

static int64_t next(void *self, icd_addr_run *run, int64_t most)
{
    stream *s = self;
    int64_t n = 0;
    while (n < most && s->now.linear < s->count) {
        step(s, &run[n]);
        n += run[n].bytes > 0;
    }
    return n;
}

static void rewind_stream(void *self)
{
    stream *s = self;
    s->now = (cursor){0};
    while (s->now.linear < s->count && !s->linear[s->now.linear].plan->blocks)
        s->now.linear++;
}

/* A buffer is as long as the longest use of it. */
static void widen(int64_t *bytes, int32_t buffer, int64_t need)
{
    if (bytes[buffer] < need) bytes[buffer] = need;
}

static icd_status place_all(icd_ctx *ctx, stream *s)
{
    int64_t *bytes = NULL;
    uint64_t top = 0;
    icd_status status = ICD_ALLOC(ctx, s->buffers, &bytes);
    if (status != ICD_OK) return status;
    for (int64_t i = 0; i < s->count; i++) {
        const icd_plan *plan = s->linear[i].plan;
        int64_t groups = icd_i_plan_groups(plan);
        s->weights[i] = place(&top, weight_bytes(s, i, groups));
        s->indices[i] = place(&top, groups * entries_per_group(plan) * INDEX_BYTES);
        widen(bytes, s->linear[i].input,
              s->opts.tokens * plan->slots * s->input_bytes[i]);
        widen(bytes, s->linear[i].output, s->opts.tokens * plan->rows * SUM_BYTES);
    }
    for (int64_t b = 0; b < s->buffers; b++) s->buffer[b] = place(&top, bytes[b]);
    icd_i_free(ctx, bytes);
    return ICD_OK;
}

static bool is_within(const int32_t *list, int64_t i, int32_t most)
{
    return !list || (list[i] >= 1 && list[i] <= most);
}

static icd_status check_widths(icd_ctx *ctx, int64_t count, const icd_addrs_opts *opts)
{
    for (int64_t i = 0; i < count; i++)
        if (!is_within(opts->weight_bits, i, WEIGHT_BITS_MOST) ||
            !is_within(opts->input_bytes, i, INPUT_BYTES_MOST))
            return icd_i_fail(ctx, ICD_EINVAL, "address stream", NULL,
                              "linear %lld has weights of %d bits and activations of %d "
                              "bytes, expected 1 to %d and 1 to %d",
                              (long long)i, opts->weight_bits ? opts->weight_bits[i] : 0,
                              opts->input_bytes ? opts->input_bytes[i] : 0,
                              WEIGHT_BITS_MOST, INPUT_BYTES_MOST);
    return ICD_OK;
}

static icd_status check(icd_ctx *ctx, const icd_addrs_linear *linear, int64_t count,
                        const icd_addrs_opts *opts)
{
    if (opts->tokens < 1 || opts->chunk < 0 || opts->pass < 0 || opts->tile < 0 ||
        opts->agents < 0 || opts->agents > UINT16_MAX)
        return icd_i_fail(ctx, ICD_EINVAL, "address stream", NULL,
                          "found %lld tokens in chunks of %lld, passes of %lld and tiles "
                          "of %lld for %d agents, expected at least one token",
                          (long long)opts->tokens, (long long)opts->chunk,
                          (long long)opts->pass, (long long)opts->tile, opts->agents);
    for (int64_t i = 0; i < count; i++)
        if (linear[i].input < 0 || linear[i].output < 0 || linear[i].input > count * 2 ||
            linear[i].output > count * 2)
            return icd_i_fail(ctx, ICD_EINVAL, "address stream", NULL,
                              "linear %lld uses buffers %d and %d, expected 0 to %lld",
                              (long long)i, linear[i].input, linear[i].output,
                              (long long)count * 2);
    return check_widths(ctx, count, opts);
}

static void set_defaults(icd_addrs_opts *o)
{
    if (!o->chunk) o->chunk = CHUNK;
    if (!o->pass) o->pass = PASS;
    if (!o->tile) o->tile = TILE;
    if (!o->agents) o->agents = 1;
}

static icd_status fill(icd_ctx *ctx, stream *s, const icd_addrs_linear *linear,
                       const icd_addrs_opts *opts)
{
    icd_status status = ICD_OK;
    ICD_TRY(ICD_ALLOC(ctx, s->count, &s->linear));
    ICD_TRY(ICD_ALLOC(ctx, s->count, &s->weight_bits));
    ICD_TRY(ICD_ALLOC(ctx, s->count, &s->input_bytes));
    ICD_TRY(ICD_ALLOC(ctx, s->count, &s->weights));
    ICD_TRY(ICD_ALLOC(ctx, s->count, &s->indices));
    for (int64_t i = 0; i < s->count; i++) {
        s->linear[i] = linear[i];
        s->weight_bits[i] = opts->weight_bits ? opts->weight_bits[i] : WEIGHT_BITS;
        s->input_bytes[i] = opts->input_bytes ? opts->input_bytes[i] : 1;
        if (s->buffers <= linear[i].input) s->buffers = linear[i].input + 1;
        if (s->buffers <= linear[i].output) s->buffers = linear[i].output + 1;
    }
    ICD_TRY(ICD_ALLOC(ctx, s->buffers, &s->buffer));
    ICD_TRY(place_all(ctx, s));
    rewind_stream(s);
done:
    return status;
}

icd_status icd_i_addrs_plans(icd_ctx *ctx, const icd_addrs_linear *linear, int64_t count,
                             const icd_addrs_opts *opts, icd_addrs **out)
{
    icd_status status = ICD_OK;
    stream *s = NULL;
    *out = NULL;
    ICD_TRY(check(ctx, linear, count, opts));
    ICD_TRY(ICD_ALLOC(ctx, 1, &s));
    s->opts = *opts;
    s->opts.weight_bits = s->opts.input_bytes = NULL; /* copied below */
    s->count = count;
    set_defaults(&s->opts);
    s->face = (icd_addrs){next, rewind_stream, s, s->opts.agents};
    ICD_TRY(fill(ctx, s, linear, opts));
    *out = &s->face;
    s = NULL;
done:
    if (s) icd_i_addrs_free(ctx, &s->face);
    return status;
}

void icd_i_addrs_free(icd_ctx *ctx, icd_addrs *addrs)
{
    if (!addrs) return;
    stream *s = addrs->self;
    icd_i_free(ctx, s->linear);
    icd_i_free(ctx, s->weight_bits);
    icd_i_free(ctx, s->input_bytes);
    icd_i_free(ctx, s->weights);
    icd_i_free(ctx, s->indices);
    icd_i_free(ctx, s->buffer);
    icd_i_free(ctx, s);
}
