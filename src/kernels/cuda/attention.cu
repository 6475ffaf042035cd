/* Attention: of whole sequences in tiles on tensor cores, with the softmax carried along
 * (Dao et al. 2022, arXiv:2205.14135), and of one query over a paged cache. */
#include "kernels/cuda/lang.h"

enum { PAD = 16 }; /* bytes behind a row, so that eight rows lie in different banks */

struct tile_view {
    unsigned char *at;
    int stride; /* bytes */
};

/* Rows first .. first + 63 of one head; zeros beyond `last` and up to the padded width. */
ICD_INLINE void load_rows(const tile_view &to, const uint16_t *from, int64_t ld, int first,
                          int last, int dim)
{
    const int padded = (dim + 15) / 16 * 16;
    const bool wide = dim % 8 == 0 && ld % 8 == 0 && (uintptr_t)from % 16 == 0;
    const int unit = wide ? 8 : 1, n = padded / unit;
    for (int i = thread_id(); i < ICD_GPU_KEYS * n; i += 128) {
        int r = i / n, c = i % n * unit;
        bool valid = first + r < last && c < dim;
        const uint16_t *value = from + (valid ? (first + r) * ld + c : 0);
        unsigned char *slot = to.at + r * to.stride + c * 2;
        if (wide)
            *(uint4 *)slot = valid ? *(const uint4 *)value : make_uint4(0, 0, 0, 0);
        else
            *(uint16_t *)slot = valid ? *value : 0;
    }
}

/* s = q k^T of a warp's 16 queries and 64 keys. */
ICD_INLINE void score_tile(const tile_view &q, const tile_view &k, int padded, float s[8][4])
{
    const int lane = thread_id() % 32, q0 = thread_id() / 32 * 16;
    for (int c = 0; c < padded; c += 16) {
        uint32_t a[4];
        load_matrix(a, q.at + (q0 + lane % 16) * q.stride + c * 2 + lane / 16 * 16);
#pragma unroll
        for (int n = 0; n < 4; n++) {
            uint32_t b[4];
            load_matrix(b, k.at + (n * 16 + lane % 8 + lane / 16 * 8) * k.stride + c * 2 +
                               lane / 8 % 2 * 16);
            multiply(s[2 * n], a, b[0], b[1]);
            multiply(s[2 * n + 1], a, b[2], b[3]);
        }
    }
}

/* What a thread carries for its two queries. */
struct softmax_state {
    float most[2], sum[2];
};

/* Scores to shares: s becomes e^(scale s - most); returns how much older sums shrink. */
ICD_INLINE void carry_softmax(softmax_state *c, float s[8][4], float shrink[2])
{
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float most = c->most[h], sum = 0;
#pragma unroll
        for (int n = 0; n < 8; n++)
            most = fmaxf(most, fmaxf(s[n][2 * h], s[n][2 * h + 1]));
        most = fmaxf(most, warp_xor(most, 1));
        most = fmaxf(most, warp_xor(most, 2));
        shrink[h] = expf(c->most[h] - most);
#pragma unroll
        for (int n = 0; n < 8; n++) {
            s[n][2 * h] = expf(s[n][2 * h] - most);
            s[n][2 * h + 1] = expf(s[n][2 * h + 1] - most);
            sum += s[n][2 * h] + s[n][2 * h + 1];
        }
        sum += warp_xor(sum, 1);
        sum += warp_xor(sum, 2);
        c->sum[h] = c->sum[h] * shrink[h] + sum;
        c->most[h] = most;
    }
}

/* o += s v; s is turned from the layout of sums into that of operands. */
template <int columns>
ICD_INLINE void add_values(const tile_view &v, int padded, const float s[8][4],
                           float (*o)[4])
{
    const int lane = thread_id() % 32;
#pragma unroll
    for (int k = 0; k < 4; k++) {
        const float *left = s[2 * k], *right = s[2 * k + 1];
        uint32_t a[4] = {pack_bf16(left[0], left[1]), pack_bf16(left[2], left[3]),
                         pack_bf16(right[0], right[1]), pack_bf16(right[2], right[3])};
#pragma unroll
        for (int n = 0; n < columns / 16; n++) {
            uint32_t b[4];
            if (n * 16 >= padded) continue;
            load_matrix_turned(b, v.at + (k * 16 + lane % 16) * v.stride + n * 32 +
                                      lane / 16 * 16);
            multiply(o[2 * n], a, b[0], b[1]);
            multiply(o[2 * n + 1], a, b[2], b[3]);
        }
    }
}

ICD_INLINE void mask_scores(const icd_gpu_attention &p, float s[8][4], int query, int key,
                            int live)
{
#pragma unroll
    for (int n = 0; n < 8; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int at = key + n * 8 + i % 2;
            bool seen = at < live && (!p.causal || at <= query + i / 2 * 8);
            s[n][i] = seen ? s[n][i] * p.scale : -INFINITY;
        }
}

template <int columns>
ICD_INLINE void store_rows(const icd_gpu_attention &p, uint16_t *y, float (*o)[4],
                           const softmax_state &c, int query)
{
    const int lane = thread_id() % 32;
#pragma unroll
    for (int n = 0; n < columns / 8; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int t = query + i / 2 * 8, at = n * 8 + lane % 4 * 2 + i % 2;
            if (t < p.seq && at < p.dim) y[t * p.ldy + at] = to_bf16(c.sum[i / 2] > 0 ? o[n][i] / c.sum[i / 2] : 0);
        }
}

/* What a share of a query's attention is worked out from later. */
ICD_INLINE void store_peaks(const icd_gpu_attention &p, const softmax_state &c, int batch,
                            int head, int query)
{
    float *peak = p.peak + ((int64_t)batch * p.heads + head) * p.seq * 2;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        int t = query + h * 8;
        if (t >= p.seq || thread_id() % 4) continue;
        peak[2 * t] = c.most[h];
        peak[2 * t + 1] = c.sum[h];
    }
}

template <int columns>
ICD_INLINE void attend(const icd_gpu_attention &p, unsigned char *room)
{
    const int tiles = (p.seq + ICD_GPU_QUERIES - 1) / ICD_GPU_QUERIES;
    const int first = block_id() % tiles * ICD_GPU_QUERIES;
    const int head = block_id() / tiles % p.heads, batch = block_id() / tiles / p.heads;
    const int padded = (p.dim + 15) / 16 * 16, stride = padded * 2 + PAD;
    const tile_view q = {room, stride}, k = {room + 64 * stride, stride},
                    v = {room + 128 * stride, stride};
    const int64_t row = (int64_t)batch * p.seq, kv = head / (p.heads / p.kv_heads);
    const int live = p.lengths ? p.lengths[batch] : p.seq;
    const int end = p.causal && first + ICD_GPU_QUERIES < live ? first + ICD_GPU_QUERIES
                                                               : live;
    const int query = first + thread_id() / 32 * 16 + thread_id() % 32 / 4;
    float o[columns / 8][4] = {};
    softmax_state c = {{-INFINITY, -INFINITY}, {0, 0}};
    load_rows(q, p.q + row * p.ldq + (int64_t)head * p.dim, p.ldq, first, p.seq, p.dim);
    for (int key = 0; key < end; key += ICD_GPU_KEYS) {
        float s[8][4] = {}, shrink[2];
        block_sync();
        load_rows(k, p.k + row * p.ldk + kv * p.dim, p.ldk, key, p.seq, p.dim);
        load_rows(v, p.v + row * p.ldv + kv * p.dim, p.ldv, key, p.seq, p.dim);
        block_sync();
        score_tile(q, k, padded, s);
        mask_scores(p, s, query, key + thread_id() % 4 * 2, live);
        carry_softmax(&c, s, shrink);
#pragma unroll
        for (int n = 0; n < columns / 8; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) o[n][i] *= shrink[i / 2];
        add_values<columns>(v, padded, s, o);
    }
    store_rows<columns>(p, p.y + row * p.ldy + (int64_t)head * p.dim, o, c, query);
    if (p.peak) store_peaks(p, c, batch, head, query);
}

ICD_KERNEL(icd_attention_64, icd_gpu_attention, 128, 1)
{
    ICD_SHARED(room);
    attend<64>(p, room);
}
ICD_KERNEL(icd_attention_128, icd_gpu_attention, 128, 1)
{
    ICD_SHARED(room);
    attend<128>(p, room);
}

/* Adds what a warp's 16 queries give to its 64 keys: a thread has two queries of two
 * keys of every eight. */
ICD_INLINE void add_shares(const icd_gpu_attention_mass &p, const float s[8][4],
                           const float *peak, int query, int key, int live, float sum[8][2])
{
#pragma unroll
    for (int n = 0; n < 8; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int t = query + i / 2 * 8, at = key + n * 8 + i % 2;
            if (t >= live || at > t || !(peak[2 * t + 1] > 0)) continue;
            sum[n][i % 2] +=
                expf(s[n][i] * p.scale - peak[2 * t]) / peak[2 * t + 1];
        }
}

/* The sums of all warps, in a fixed order. @param room 4 x 64 floats */
ICD_INLINE float join_shares(float sum[8][2], float *room)
{
    const int lane = thread_id() % 32, warp = thread_id() / 32;
    float all = 0;
#pragma unroll
    for (int n = 0; n < 8; n++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
            float v = sum[n][i];
            for (int mask = 16; mask >= 4; mask >>= 1) v += warp_xor(v, mask);
            if (lane < 4) room[warp * ICD_GPU_KEYS + n * 8 + lane * 2 + i] = v;
        }
    block_sync();
    if (thread_id() < ICD_GPU_KEYS)
        for (int w = 0; w < 4; w++) all += room[w * ICD_GPU_KEYS + thread_id()];
    return all;
}

/* Blocks: sequences x 64 keys; all heads one after the other. */
ICD_KERNEL(icd_attention_mass, icd_gpu_attention_mass, 128, 1)
{
    ICD_SHARED(room);
    const int tiles = (p.seq + ICD_GPU_KEYS - 1) / ICD_GPU_KEYS;
    const int key = block_id() % tiles * ICD_GPU_KEYS, batch = block_id() / tiles;
    const int padded = (p.dim + 15) / 16 * 16, stride = padded * 2 + PAD;
    const tile_view q = {room, stride}, k = {room + 64 * stride, stride};
    const int64_t row = (int64_t)batch * p.seq;
    const int live = p.lengths ? p.lengths[batch] : p.seq;
    float sum[8][2] = {};
    for (int head = 0; head < p.heads; head++) {
        const float *peak = p.peak + ((int64_t)batch * p.heads + head) * p.seq * 2;
        const int64_t kv = head / (p.heads / p.kv_heads);
        block_sync();
        load_rows(k, p.k + row * p.ldk + kv * p.dim, p.ldk, key, p.seq, p.dim);
        for (int first = key; first < live; first += ICD_GPU_QUERIES) {
            float s[8][4] = {};
            block_sync();
            load_rows(q, p.q + row * p.ldq + (int64_t)head * p.dim, p.ldq, first, p.seq,
                      p.dim);
            block_sync();
            score_tile(q, k, padded, s);
            add_shares(p, s, peak, first + thread_id() / 32 * 16 + thread_id() % 32 / 4,
                       key + thread_id() % 4 * 2, live, sum);
        }
    }
    block_sync();
    float mass = join_shares(sum, (float *)room) / (float)p.heads;
    if (thread_id() < ICD_GPU_KEYS && key + thread_id() < live)
        p.mass[p.slot[row + key + thread_id()]] = mass;
}

ICD_INLINE void turn(uint16_t *x, int half, int i, float cosine, float sine)
{
    float a = from_bf16(x[i]), b = from_bf16(x[half + i]);
    x[i] = to_bf16(a * cosine - b * sine);
    x[half + i] = to_bf16(b * cosine + a * sine);
}

/* First value of a token's head in the pages. */
ICD_INLINE int64_t in_pages(int slot, int size, int heads, int head, int dim)
{
    return (((int64_t)(slot / size) * heads + head) * size + slot % size) * dim;
}

ICD_INLINE void store_pages(const icd_gpu_rope &p, int64_t t)
{
    for (int i = thread_id(); i < p.kv_heads * p.dim; i += ICD_GPU_ROWS) {
        int64_t to = in_pages(p.slot[t], p.size, p.kv_heads, i / p.dim, p.dim) + i % p.dim;
        p.page_k[to] = p.k[t * p.ldk + i];
        p.page_v[to] = p.v[t * p.ldv + i];
    }
    if (p.mass && thread_id() == 0) p.mass[p.slot[t]] = 0;
    if (!p.live) return;
    for (int i = thread_id(); i < p.size && p.slot[t] % p.size == 0; i += ICD_GPU_ROWS)
        p.live[p.slot[t] + i] = i == 0;
    if (thread_id() == 0) p.live[p.slot[t]] = 1;
}

ICD_KERNEL(icd_rope, icd_gpu_rope, ICD_GPU_ROWS, 1)
{
    const int64_t t = block_id();
    const int half = p.dim / 2, at = p.position[t];
    if (at < 0) return;
    for (int i = thread_id(); i < (p.heads + p.kv_heads) * half; i += ICD_GPU_ROWS) {
        int head = i / half, pair = i % half;
        uint16_t *x = head < p.heads
                          ? p.q + t * p.ldq + head * p.dim
                          : p.k + t * p.ldk + (int64_t)(head - p.heads) * p.dim;
        turn(x, half, pair, p.cosine[(int64_t)at * half + pair],
             p.sine[(int64_t)at * half + pair]);
    }
    block_sync();
    if (p.slot && p.slot[t] >= 0) store_pages(p, t);
}

/* Score of the slot that this thread holds; -infinity where no live token lies. */
ICD_INLINE float score_slot(const icd_gpu_paged &p, const float *q, int batch, int kv, int s)
{
    float sum = 0;
    if (s >= p.pages[batch] * p.size) return -INFINITY;
    int slot = p.table[batch * p.width + s / p.size] * p.size + s % p.size;
    if (!p.live[slot]) return -INFINITY;
    const uint16_t *k = p.page_k + in_pages(slot, p.size, p.kv_heads, kv, p.dim);
    if (p.dim % 8 == 0)
        for (int i = 0; i < p.dim; i += 8) {
            uint4 v = *(const uint4 *)(k + i);
            const uint32_t pair[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
            for (int j = 0; j < 4; j++) {
                sum = fmaf(q[i + 2 * j], low_bf16(pair[j]), sum);
                sum = fmaf(q[i + 2 * j + 1], high_bf16(pair[j]), sum);
            }
        }
    else
        for (int i = 0; i < p.dim; i++) sum = fmaf(q[i], from_bf16(k[i]), sum);
    return sum * p.scale;
}

/* Scores to shares; a thread finds its own. */
ICD_INLINE void finish_shares(float *share, int slots, float most, float sum)
{
    for (int s = thread_id(); s < slots; s += ICD_GPU_PAGED)
        share[s] = sum > 0 ? expf(share[s] - most) / sum : 0;
}

/* One block: one query head of one sequence; thread d gathers value d. */
ICD_KERNEL(icd_paged, icd_gpu_paged, ICD_GPU_PAGED, 1)
{
    ICD_SHARED(shared);
    float *room = (float *)shared, *q = room + 32, *share = q + ICD_GPU_HEAD;
    const int batch = block_id() / p.heads, head = block_id() % p.heads;
    const int kv = head / (p.heads / p.kv_heads), d = thread_id();
    const int slots = p.pages[batch] * p.size;
    float *kept = p.share ? p.share + (int64_t)block_id() * p.width * p.size : 0;
    float most = -INFINITY, sum = 0, y = 0;
    if (d < p.dim) q[d] = from_bf16(p.q[batch * p.ldq + head * p.dim + d]);
    block_sync();
    for (int s = 0; s < slots; s += ICD_GPU_PAGED) {
        float score = score_slot(p, q, batch, kv, s + d), e = 0;
        float peak = -INFINITY;
        share[d] = score;
        if (kept && s + d < slots) kept[s + d] = score;
        block_sync();
        for (int i = 0; i < ICD_GPU_PAGED; i++) peak = fmaxf(peak, share[i]);
        peak = fmaxf(peak, most);
        block_sync();
        if (peak == -INFINITY) continue; /* not one live token so far */
        float shrink = expf(most - peak);
        e = expf(score - peak);
        share[d] = e;
        sum = sum * shrink + block_sum(e, room, ICD_GPU_PAGED);
        y *= shrink;
        for (int i = 0; i < ICD_GPU_PAGED && s + i < slots && d < p.dim; i++) {
            if (share[i] == 0) continue;
            int slot = p.table[batch * p.width + (s + i) / p.size] * p.size +
                       (s + i) % p.size;
            y = fmaf(share[i],
                     from_bf16(p.page_v[in_pages(slot, p.size, p.kv_heads, kv, p.dim) + d]),
                     y);
        }
        most = peak;
        block_sync();
    }
    if (d < p.dim)
        p.y[batch * p.ldy + head * p.dim + d] = to_bf16(sum > 0 ? y / sum : 0);
    if (kept) finish_shares(kept, slots, most, sum);
}

/* Blocks: sequences. */
ICD_KERNEL(icd_paged_mass, icd_gpu_paged_mass, ICD_GPU_ROWS, 1)
{
    const int batch = block_id(), slots = p.pages[batch] * p.size;
    const int64_t row = (int64_t)p.width * p.size;
    for (int s = thread_id(); s < slots; s += ICD_GPU_ROWS) {
        int slot = p.table[batch * p.width + s / p.size] * p.size + s % p.size;
        float sum = 0;
        for (int h = 0; h < p.heads; h++)
            sum += p.share[((int64_t)batch * p.heads + h) * row + s];
        if (p.live[slot]) p.mass[slot] += sum / (float)p.heads;
    }
}

ICD_KERNEL(icd_move, icd_gpu_move, ICD_GPU_ROWS, 1)
{
    const int i = block_id();
    for (int v = thread_id(); v < p.kv_heads * p.dim; v += ICD_GPU_ROWS) {
        int head = v / p.dim, at = v % p.dim;
        p.out[in_pages(p.to[i], p.size, p.kv_heads, head, p.dim) + at] =
            p.in[in_pages(p.from[i], p.size, p.kv_heads, head, p.dim) + at];
    }
}
