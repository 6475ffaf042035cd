/* Passes over rows: norms and activation functions, which write the input of the next
 * product in its type and local order while the row is in shared memory. */
#include "kernels/cuda/lang.h"

struct row_view {
    float *v;    /* the row */
    float *room; /* 32 floats */
    int64_t t;
};

ICD_INLINE float gate_value(const icd_gpu_rows &p, int64_t t, int i)
{
    float g = from_bf16(p.gate[t * p.ld_gate + i]);
    if (p.op == ICD_GPU_MUL_SILU) return silu(g);
    return p.op == ICD_GPU_MUL_GELU ? gelu(g) : relu(g);
}

ICD_INLINE float read_value(const icd_gpu_rows &p, int64_t t, int i)
{
    float v = p.y ? from_bf16(p.y[t * p.ldy + i]) : 0;
    switch (p.op) {
        case ICD_GPU_COPY_WIDE: return p.x[t * p.ldy + i];
        case ICD_GPU_LAYER_NORM: return v + p.x[t * p.n + i];
        case ICD_GPU_RMS_NORM: return p.x[t * p.n + i] += v;
        case ICD_GPU_ROW_GELU: return gelu(v);
        case ICD_GPU_ROW_RELU: return relu(v);
        case ICD_GPU_MUL_SILU:
        case ICD_GPU_MUL_GELU:
        case ICD_GPU_MUL_RELU: return v * gate_value(p, t, i);
        default: return v;
    }
}

ICD_INLINE float mean_of(const icd_gpu_rows &p, const row_view &row)
{
    float sum = 0;
    for (int i = thread_id(); i < p.n; i += ICD_GPU_ROWS) sum += row.v[i];
    return block_sum(sum, row.room, ICD_GPU_ROWS) / (float)p.n;
}

ICD_INLINE float spread_of(const icd_gpu_rows &p, const row_view &row, float mean)
{
    float sum = 0;
    for (int i = thread_id(); i < p.n; i += ICD_GPU_ROWS)
        sum += (row.v[i] - mean) * (row.v[i] - mean);
    return rsqrtf(block_sum(sum, row.room, ICD_GPU_ROWS) / (float)p.n + p.eps);
}

ICD_INLINE void normalise(const icd_gpu_rows &p, const row_view &row)
{
    bool layer = p.op == ICD_GPU_LAYER_NORM;
    float mean = layer ? mean_of(p, row) : 0, by = spread_of(p, row, mean);
    for (int i = thread_id(); i < p.n; i += ICD_GPU_ROWS) {
        float v = (row.v[i] - mean) * by * p.gain[i] + (p.bias ? p.bias[i] : 0);
        row.v[i] = v;
        if (layer) p.x[row.t * p.n + i] = v;
        if (p.out) p.out[row.t * p.n + i] = v;
    }
}

ICD_INLINE float at_slot(const icd_gpu_rows &p, const row_view &row, int64_t s)
{
    int64_t from = p.order ? p.order[s] : s < p.n ? s : -1;
    return from < 0 ? 0 : row.v[from];
}

ICD_INLINE void stage_bf16(const icd_gpu_rows &p, const row_view &row)
{
    uint32_t *to = (uint32_t *)p.staged + row.t * p.slots / 2;
    for (int64_t s = 2 * thread_id(); s < p.slots; s += 2 * ICD_GPU_ROWS)
        to[s / 2] = pack_bf16(at_slot(p, row, s), at_slot(p, row, s + 1));
}

/* The rule of quantize_row (kernels.h), of which `top` is the largest value: what a row is
 * multiplied by before it is rounded; 0: it becomes zeros. */
ICD_INLINE float scale_row(const icd_gpu_rows &p, const row_view &row, float top)
{
    float most = 0, bad = 0;
    for (int i = thread_id(); i < p.n; i += ICD_GPU_ROWS) {
        most = fmaxf(most, fabsf(row.v[i]));
        if (!isfinite(row.v[i])) bad = 1;
    }
    most = block_max(most, row.room, ICD_GPU_ROWS);
    bad = block_max(bad, row.room, ICD_GPU_ROWS);
    float by = bad > 0 || most < 0x1p-118f ? 0 : top / most;
    if (thread_id() == 0)
        p.scale[row.t] = bad > 0 ? as_float(0x7fc00000u) : by > 0 ? most / top : 0;
    return by;
}

/* The rule of quantize_fixed: steps of one size. */
ICD_INLINE float fix_row(const icd_gpu_rows &p, const row_view &row)
{
    float bad = 0;
    for (int i = thread_id(); i < p.n; i += ICD_GPU_ROWS)
        if (!isfinite(row.v[i])) bad = 1;
    bad = block_max(bad, row.room, ICD_GPU_ROWS);
    if (thread_id() == 0) p.scale[row.t] = bad > 0 ? as_float(0x7fc00000u) : p.step;
    return bad > 0 ? 0 : 1 / p.step;
}

ICD_INLINE void stage_int8(const icd_gpu_rows &p, const row_view &row)
{
    float by = p.step > 0 ? fix_row(p, row) : scale_row(p, row, 127);
    signed char *to = (signed char *)p.staged + row.t * p.slots;
    for (int64_t s = thread_id(); s < p.slots; s += ICD_GPU_ROWS) {
        float v = fminf(fmaxf(at_slot(p, row, s) * by, -127), 127);
        to[s] = by > 0 ? (signed char)rintf(v) : 0;
    }
}

ICD_INLINE void stage_fp8(const icd_gpu_rows &p, const row_view &row)
{
    float by = scale_row(p, row, 448);
    unsigned char *to = p.staged + row.t * p.slots;
    for (int64_t s = thread_id(); s < p.slots; s += ICD_GPU_ROWS)
        to[s] = by > 0 ? (unsigned char)to_e4m3(at_slot(p, row, s) * by) : 0;
}

ICD_KERNEL(icd_rows, icd_gpu_rows, ICD_GPU_ROWS, 1)
{
    ICD_SHARED(room);
    row_view row = {(float *)room + 32, (float *)room, block_id()};
    for (int i = thread_id(); i < p.n; i += ICD_GPU_ROWS)
        row.v[i] = read_value(p, row.t, i);
    if (p.op == ICD_GPU_LAYER_NORM || p.op == ICD_GPU_RMS_NORM) normalise(p, row);
    block_sync();
    if (!p.staged) return;
    if (p.type == ICD_GPU_BF16)
        stage_bf16(p, row);
    else if (p.type == ICD_GPU_FP8)
        stage_fp8(p, row);
    else
        stage_int8(p, row);
}

ICD_INLINE float raw_sum(const icd_gpu_finish &p, int64_t at)
{
    if (p.type == ICD_GPU_INT8) return (float)((const int32_t *)p.sum)[at];
    return from_bf16(((const uint16_t *)p.sum)[at]);
}

/* Blocks: tokens. */
ICD_KERNEL(icd_finish, icd_gpu_finish, ICD_GPU_ROWS, 1)
{
    const int64_t t = block_id();
    for (int r = thread_id(); r < p.rows; r += ICD_GPU_ROWS) {
        float v = raw_sum(p, t * p.rows + r);
        if (p.type != ICD_GPU_BF16) v *= p.a_scale[t] * p.w_scale[r];
        if (p.bias) v += p.bias[r];
        p.y[t * p.ldy + (p.place ? p.place[r] : r)] = to_bf16(activate(v, p.act));
    }
}

ICD_KERNEL(icd_embed, icd_gpu_embed, ICD_GPU_ROWS, 1)
{
    const int64_t t = block_id(), id = p.ids[t];
    for (int i = thread_id(); i < p.n; i += ICD_GPU_ROWS) {
        float v = p.word[id * p.n + i];
        if (p.type) v += p.type[i];
        if (p.position) v += p.position[t % p.seq * p.n + i];
        p.x[t * p.n + i] = v;
    }
}
