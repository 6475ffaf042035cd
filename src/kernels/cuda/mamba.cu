/* The parts of a Mamba layer that are no products. */
#include "kernels/cuda/lang.h"

struct conv_view {
    int batch, channel, first, last;
};

/* x of token t; before the sequence, the state. */
ICD_INLINE float conv_input(const icd_gpu_conv &p, const conv_view &v, int t)
{
    if (t >= 0)
        return from_bf16(p.x[((int64_t)v.batch * p.seq + t) * p.ldx + v.channel]);
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
                   block_id() % wide * ICD_GPU_ROWS + thread_id(), piece * ICD_GPU_STEPS, p.seq};
    if (v.channel >= p.n) return;
    if (p.fresh && v.first + ICD_GPU_STEPS < p.seq) v.last = v.first + ICD_GPU_STEPS;
    convolve(p, v);
    if (piece == pieces - 1) keep_inputs(p, v, p.lengths ? p.lengths[v.batch] : p.seq);
}

ICD_INLINE float softplus(float x)
{
    return x > 20 ? x : log1pf(expf(x));
}

enum { LANES = 4, SHARE = ICD_GPU_STATES / LANES }; /* lanes of a channel, states of each */

struct scan_view {
    int64_t batch, channel;
    int lane;
};

ICD_INLINE float scan_step(const icd_gpu_scan &p, const scan_view &v, int64_t row,
                           const float a[SHARE], float h[SHARE])
{
    float u = from_bf16(p.u[row * p.n + v.channel]);
    float dt = softplus(p.dt[row * p.n + v.channel]), y = 0;
#pragma unroll
    for (int j = 0; j < SHARE; j++) {
        int s = v.lane * SHARE + j;
        if (s >= p.states) continue;
        float b = p.b[row * p.ld_bc + s], c = p.c[row * p.ld_bc + s];
        h[j] = fmaf(expf(dt * a[j]), h[j], dt * u * b);
        y = fmaf(h[j], c, y);
    }
    y += warp_xor(y, 1);
    y += warp_xor(y, 2);
    y = fmaf(p.d[v.channel], u, y);
    return p.z ? y * silu(from_bf16(p.z[row * p.ldz + v.channel])) : y;
}

/* Blocks: sequences x 32 channels, 4 lanes a channel. */
ICD_KERNEL(icd_scan, icd_gpu_scan, 128, 1)
{
    const int wide = (p.n + 31) / 32;
    int channel = block_id() % wide * 32 + thread_id() / LANES;
    const bool valid = channel < p.n;
    const scan_view v = {block_id() / wide, valid ? channel : p.n - 1, thread_id() % LANES};
    const int live = p.lengths ? p.lengths[v.batch] : p.seq;
    float a[SHARE], h[SHARE];
    const int64_t state = (v.batch * p.n + v.channel) * p.states + v.lane * SHARE;
#pragma unroll
    for (int j = 0; j < SHARE; j++) {
        bool has = v.lane * SHARE + j < p.states;
        a[j] = has ? p.a[v.channel * p.states + v.lane * SHARE + j] : 0;
        h[j] = has && !p.fresh ? p.from[state + j] : 0;
    }
    for (int t = 0; t < live; t++) {
        int64_t row = v.batch * p.seq + t;
        float y = scan_step(p, v, row, a, h);
        if (v.lane == 0 && valid) p.y[row * p.n + v.channel] = to_bf16(y);
    }
    for (int t = live + v.lane; t < p.seq && valid; t += LANES)
        p.y[(v.batch * p.seq + t) * p.n + v.channel] = 0;
#pragma unroll
    for (int j = 0; j < SHARE; j++)
        if (valid && v.lane * SHARE + j < p.states) p.to[state + j] = h[j];
}
