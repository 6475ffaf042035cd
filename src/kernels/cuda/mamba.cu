/* The parts of a Mamba layer that are no products. */
#include "kernels/cuda/lang.h"

struct conv_view {
    int batch, channel, first, last;
};

/* x of token t; before the sequence, the state. */
ICD_INLINE float conv_input(const icd_gpu_conv &p, const conv_view &v, int t)
{
    if (t >= 0) return from_bf16(p.x[((int64_t)v.batch * p.seq + t) * p.ldx + v.channel]);
    if (p.fresh) return 0;
    return p.from[((int64_t)v.batch * (p.taps - 1) + p.taps - 1 + t) * p.n + v.channel];
}

/* The last taps - 1 inputs. Read before written: with one token in the sequence the rows
 * of the state move up. */
ICD_INLINE void keep_inputs(const icd_gpu_conv &p, const conv_view &v, int live)
{
    float tail[ICD_GPU_TAPS - 1];
#pragma unroll
    for (int j = 0; j < ICD_GPU_TAPS - 1; j++)
        tail[j] = j < p.taps - 1 ? conv_input(p, v, live - p.taps + 1 + j) : 0;
#pragma unroll
    for (int j = 0; j < ICD_GPU_TAPS - 1; j++)
        if (j < p.taps - 1)
            p.to[((int64_t)v.batch * (p.taps - 1) + j) * p.n + v.channel] = tail[j];
}

ICD_INLINE void convolve(const icd_gpu_conv &p, const conv_view &v)
{
    for (int t = v.first; t < v.last; t++) {
        float sum = p.bias ? p.bias[v.channel] : 0;
        for (int j = 0; j < p.taps; j++)
            sum = fmaf(p.w[(int64_t)j * p.n + v.channel],
                       conv_input(p, v, t + j - p.taps + 1), sum);
        p.y[((int64_t)v.batch * p.seq + t) * p.n + v.channel] = to_bf16(silu(sum));
    }
}

/* Blocks: sequences x pieces of time (one where the state is read) x 256 channels. */
ICD_KERNEL(icd_conv, icd_gpu_conv, ICD_GPU_ROWS, 1)
{
    const int wide = (p.n + ICD_GPU_ROWS - 1) / ICD_GPU_ROWS;
    const int pieces = p.fresh ? (p.seq + ICD_GPU_STEPS - 1) / ICD_GPU_STEPS : 1;
    const int piece = block_id() / wide % pieces;
    conv_view v = {block_id() / wide / pieces,
                   block_id() % wide * ICD_GPU_ROWS + thread_id(), piece * ICD_GPU_STEPS,
                   p.seq};
    if (v.channel >= p.n) return;
    if (p.fresh && v.first + ICD_GPU_STEPS < p.seq) v.last = v.first + ICD_GPU_STEPS;
    convolve(p, v);
    if (piece == pieces - 1) keep_inputs(p, v, p.lengths ? p.lengths[v.batch] : p.seq);
}

ICD_INLINE float softplus(float x)
{
    return x > 20 ? x : log1pf(expf(x));
}

/* A thread walks one channel's states through the tokens of a piece of time. What it
 * reads of them does not depend on the walk: AHEAD tokens at a time are under way, and b
 * and c, the same for every channel, are staged for PATCH tokens by the whole block. */
enum { AHEAD = 4, PATCH = ICD_GPU_PATCH, STATES = ICD_GPU_STATES };

struct scan_view {
    int64_t batch, channel;
    int piece, first, last; /* tokens of the piece that are live */
    bool valid;
};

/* b, then c, of every staged token; zeros for states that are none. */
ICD_INLINE void stage_bc(const icd_gpu_scan &p, const scan_view &v, int first, float *bc)
{
    for (int i = thread_id(); i < PATCH * 2 * STATES; i += ICD_GPU_SCAN) {
        const int t = first + i / (2 * STATES), s = i % STATES;
        const float *from = i % (2 * STATES) < STATES ? p.b : p.c;
        bc[i] =
            t < v.last && s < p.states ? from[(v.batch * p.seq + t) * p.ld_bc + s] : 0;
    }
}

struct token {
    float u, dt, z;
};

/* Beyond the piece: its last token again, which nobody uses. */
template <bool outputs>
ICD_INLINE void load_tokens(const icd_gpu_scan &p, const scan_view &v, int first,
                            token next[AHEAD])
{
#pragma unroll
    for (int i = 0; i < AHEAD; i++) {
        const int t = first + i < v.last ? first + i : v.last - 1;
        const int64_t row = v.batch * p.seq + t;
        next[i].u = from_bf16(p.u[row * p.n + v.channel]);
        next[i].dt = p.dt[row * p.n + v.channel];
        next[i].z = outputs && p.z ? from_bf16(p.z[row * p.ldz + v.channel]) : 0;
    }
}

/* One token: h, and with it y before the gate. a is scaled for powers of two. */
template <bool outputs>
ICD_INLINE float advance(const float a[STATES], float h[STATES], float dt, float du,
                         const float *b)
{
    float y = 0;
#pragma unroll
    for (int s = 0; s < STATES; s++) {
        h[s] = fmaf(power_of_two(dt * a[s]), h[s], du * b[s]);
        if (outputs) y = fmaf(h[s], b[STATES + s], y);
    }
    return y;
}

ICD_INLINE void put_y(const icd_gpu_scan &p, const scan_view &v, int t, const token &in,
                      float y)
{
    y = fmaf(p.d[v.channel], in.u, y);
    if (p.z) y *= silu(in.z);
    if (v.valid) p.y[(v.batch * p.seq + t) * p.n + v.channel] = to_bf16(y);
}

/* The piece's tokens. Returns the sum of dt: what was before shrinks by e^(a sum). */
template <bool outputs>
ICD_INLINE float walk(const icd_gpu_scan &p, const scan_view &v, const float a[STATES],
                      float h[STATES], float *bc)
{
    float sum = 0;
    token next[AHEAD];
    for (int first = v.first; first < v.last; first += PATCH) {
        block_sync();
        stage_bc(p, v, first, bc);
        block_sync();
        for (int at = first; at < first + PATCH && at < v.last; at += AHEAD) {
            load_tokens<outputs>(p, v, at, next);
#pragma unroll
            for (int i = 0; i < AHEAD; i++) {
                if (at + i >= v.last) break;
                const float dt = softplus(next[i].dt);
                const float y = advance<outputs>(a, h, dt, dt * next[i].u,
                                                 bc + (at + i - first) * 2 * STATES);
                sum += dt;
                if (outputs) put_y(p, v, at + i, next[i], y);
            }
        }
    }
    return sum;
}

/* Blocks: sequences x pieces of time x ICD_GPU_SCAN channels. */
ICD_INLINE scan_view view_scan(const icd_gpu_scan &p, int pieces)
{
    const int wide = (p.n + ICD_GPU_SCAN - 1) / ICD_GPU_SCAN;
    const int channel = block_id() % wide * ICD_GPU_SCAN + thread_id();
    scan_view v = {block_id() / wide / pieces,
                   channel < p.n ? channel : p.n - 1,
                   block_id() / wide % pieces,
                   0,
                   0,
                   channel < p.n};
    const int live = p.lengths ? p.lengths[v.batch] : p.seq;
    v.first = v.piece * p.span;
    v.last = v.piece + 1 < p.pieces && v.first + p.span < live ? v.first + p.span : live;
    return v;
}

ICD_INLINE void load_a(const icd_gpu_scan &p, const scan_view &v, float a[STATES])
{
#pragma unroll
    for (int s = 0; s < STATES; s++)
        a[s] = s < p.states ? p.a[v.channel * p.states + s] * 1.44269504088896341f : 0;
}

/* Where a piece leaves its states [states], then the sum of its dt. One number of all
 * channels lies side by side. */
ICD_INLINE float *carry_of(const icd_gpu_scan &p, const scan_view &v, int piece)
{
    return p.carry + (v.batch * (p.pieces - 1) + piece) * (p.states + 1) * (int64_t)p.n +
           v.channel;
}

/* What every piece but the last makes of states that are zero. */
ICD_KERNEL(icd_scan_carry, icd_gpu_scan, ICD_GPU_SCAN, 8)
{
    ICD_SHARED(shared);
    const scan_view v = view_scan(p, p.pieces - 1);
    float a[STATES], h[STATES] = {0};
    load_a(p, v, a);
    const float sum = walk<false>(p, v, a, h, (float *)shared);
    float *to = carry_of(p, v, v.piece);
    if (!v.valid) return;
#pragma unroll
    for (int s = 0; s < STATES; s++)
        if (s < p.states) to[(int64_t)s * p.n] = h[s];
    to[(int64_t)p.states * p.n] = sum;
}

/* The states before the piece: the earlier pieces, one after the other. */
ICD_INLINE void load_states(const icd_gpu_scan &p, const scan_view &v,
                            const float a[STATES], float h[STATES])
{
    const int64_t state = (v.batch * p.n + v.channel) * p.states;
#pragma unroll
    for (int s = 0; s < STATES; s++)
        h[s] = s < p.states && !p.fresh ? p.from[state + s] : 0;
    for (int piece = 0; piece < v.piece; piece++) {
        const float *carry = carry_of(p, v, piece);
        const float sum = carry[(int64_t)p.states * p.n];
#pragma unroll
        for (int s = 0; s < STATES; s++)
            if (s < p.states)
                h[s] = fmaf(power_of_two(sum * a[s]), h[s], carry[(int64_t)s * p.n]);
    }
}

/* What is not live is zero. */
ICD_INLINE void clear_tail(const icd_gpu_scan &p, const scan_view &v)
{
    const int end = v.piece + 1 < p.pieces ? v.first + p.span : p.seq;
    for (int t = v.first > v.last ? v.first : v.last; t < end && v.valid; t++)
        p.y[(v.batch * p.seq + t) * p.n + v.channel] = 0;
}

/* One piece; with several, icd_scan_carry ran before. */
ICD_KERNEL(icd_scan, icd_gpu_scan, ICD_GPU_SCAN, 8)
{
    ICD_SHARED(shared);
    const scan_view v = view_scan(p, p.pieces);
    float a[STATES], h[STATES];
    load_a(p, v, a);
    load_states(p, v, a, h);
    walk<true>(p, v, a, h, (float *)shared);
    clear_tail(p, v);
    if (!v.valid || v.piece + 1 < p.pieces) return;
#pragma unroll
    for (int s = 0; s < STATES; s++)
        if (s < p.states) p.to[(v.batch * p.n + v.channel) * p.states + s] = h[s];
}
