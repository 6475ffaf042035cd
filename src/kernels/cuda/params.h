/**
 * @file params.h
 * What the device kernels take, one structure each, and the arithmetic of their formats:
 * one header for the host (C11) and the device (CUDA C++).
 *
 * A granule is 32 bytes of one row along K: 16 channels in bf16, 32 in int8 and fp8. That
 * is one sector of memory and one step of a tensor core.
 *
 * Packed weights: row block behind row block; inside a block its live granules in the
 * order of its list; inside a granule [V rows][2 chunks of 16 bytes], the two chunks of a
 * row swapped where bit 2 of the row is set, so that eight rows of one chunk lie in
 * different banks of shared memory (this is also wgmma's 32-byte swizzle). Staged
 * activations are [tokens][slots], row-major, not swizzled.
 */
#ifndef ICD_KERNELS_CUDA_PARAMS_H
#define ICD_KERNELS_CUDA_PARAMS_H

#include <stdint.h>

#if defined(__CUDACC__)
#define ICD_BOTH      static __host__ __device__ __forceinline__
#define ICD_DEV(type) type *
#elif defined(ICD_EMULATE)
#define ICD_BOTH      static inline
#define ICD_DEV(type) type *
#else
#include <icd/device.h>
#define ICD_BOTH      static inline
#define ICD_DEV(type) icd_dptr
#endif

enum {
    ICD_GPU_GRANULE = 32,  /**< bytes of a granule's row */
    ICD_GPU_CHUNK = 16,    /**< bytes of one copy */
    ICD_GPU_STAGE = 4,     /**< granules of one stage of the tile kernels' pipeline */
    ICD_GPU_STAGES = 3,    /**< stages in flight */
    ICD_GPU_ROOMS = 4,     /**< the same of the kernels with warp groups */
    ICD_GPU_ROWS = 256,    /**< threads of a row kernel */
    ICD_GPU_DECODE = 8,    /**< most tokens of the decode kernel */
    ICD_GPU_DECODE_X = 64, /**< granules of activations that it holds at a time */
    /** bytes of a token's activations in the decode kernel on tensor cores; the rest
     * keeps two tokens in different banks */
    ICD_GPU_DECODE_ROW = ICD_GPU_DECODE_X * ICD_GPU_GRANULE + 64,
    ICD_GPU_QUERIES = 64, /**< queries of a block of the attention kernel */
    ICD_GPU_KEYS = 64,    /**< keys that it holds at a time */
    ICD_GPU_HEAD = 128,   /**< widest attention head */
    ICD_GPU_PAGED = 128,  /**< threads of the paged attention kernel */
    ICD_GPU_STATES = 16,  /**< most states of a channel of a scan */
    ICD_GPU_SCAN = 64,    /**< threads, and channels, of a block of it */
    ICD_GPU_PATCH = 16,   /**< tokens whose b and c such a block holds */
    ICD_GPU_TAPS = 4,     /**< most taps of the causal convolution */
    ICD_GPU_STEPS = 32    /**< tokens of a block of it, of a fresh sequence */
};

/** Operand types of a product. */
enum { ICD_GPU_BF16, ICD_GPU_INT8, ICD_GPU_FP8 /**< e4m3 */, ICD_GPU_TYPES };

/** Bytes of a value of a type. */
ICD_BOTH int32_t icd_i_gpu_size(int32_t type)
{
    return type == ICD_GPU_BF16 ? 2 : 1;
}

/** Channels of a granule. */
ICD_BOTH int32_t icd_i_gpu_channels(int32_t type)
{
    return ICD_GPU_GRANULE / icd_i_gpu_size(type);
}

/** Where chunk `half` (0, 1) of a row lies inside a granule, in shared memory and in
 * packed weights; bytes. */
ICD_BOTH int32_t icd_i_gpu_swizzle(int32_t row, int32_t half)
{
    return row * ICD_GPU_GRANULE + ((half ^ ((row >> 2) & 1)) * ICD_GPU_CHUNK);
}

/** One piece of work of a product: granules first .. last - 1 of a row block's list for
 * one tile of tokens. A tile that is cut has `parts` pieces, of which this is number
 * `part`; the last one to finish adds them up in their order. */
typedef struct icd_gpu_item {
    int32_t block, tile; /**< row block; tile of tokens */
    int32_t first, last; /**< granules, counted from the block's first */
    int32_t part, parts;
    int32_t slot;  /**< of part 0 in the workspace; -1: not cut */
    int32_t tally; /**< number of the cut tile */
} icd_gpu_item;

/** After the product. */
enum { ICD_GPU_NONE, ICD_GPU_GELU, ICD_GPU_RELU };

/** y = act(a w^T * scales + bias). */
typedef struct icd_gpu_product {
    ICD_DEV(const unsigned char) a;   /**< [tokens][slots] */
    ICD_DEV(const unsigned char) w;   /**< packed */
    ICD_DEV(const int64_t) block_ptr; /**< [blocks + 1] granules */
    /** Tile kernels: granules of `a`, [block_ptr[blocks]]. Gather kernels: channels of
     * `a`, as many as a granule has for each; -1: zero. */
    ICD_DEV(const int32_t) live;
    ICD_DEV(const icd_gpu_item) item;
    ICD_DEV(const int32_t) item_ptr; /**< [blocks of the grid + 1] */
    ICD_DEV(const float) a_scale;    /**< int8, fp8: [tokens] */
    ICD_DEV(const float) w_scale;    /**< int8, fp8: [rows] */
    ICD_DEV(const float) bias;       /**< [rows]; none: 0 */
    ICD_DEV(const int32_t) place;    /**< [rows] column of y; none: the row itself */
    ICD_DEV(void) y;                 /**< bf16, or f32 where `wide` [tokens][ldy] */
    ICD_DEV(uint32_t) partial;       /**< workspace: sums of cut tiles */
    ICD_DEV(uint32_t) tally;         /**< workspace: pieces done, 0 between launches */
    int64_t slots, ldy;              /**< channels; values */
    int32_t tokens, rows, vector, act, wide;
} icd_gpu_product;

/** What a product of another library still needs: y = act(sum * scales + bias). */
typedef struct icd_gpu_finish {
    ICD_DEV(const void) sum;      /**< [tokens][rows] bf16; int8: int32 */
    ICD_DEV(const float) a_scale; /**< int8, fp8: [tokens] */
    ICD_DEV(const float) w_scale; /**< int8, fp8: [rows] */
    ICD_DEV(const float) bias;    /**< [rows]; none: 0 */
    ICD_DEV(const int32_t) place; /**< [rows] column of y; none: the row itself */
    ICD_DEV(uint16_t) y;          /**< bf16 [tokens][ldy] */
    int64_t ldy;
    int32_t tokens, rows, type, act;
} icd_gpu_finish;

/** What a row kernel makes of a row before it is staged. */
enum {
    ICD_GPU_COPY,
    ICD_GPU_COPY_WIDE,  /**< of rows in f32: x [tokens][ldy] */
    ICD_GPU_LAYER_NORM, /**< x = norm(x + y): the stream is replaced */
    ICD_GPU_RMS_NORM,   /**< x += y; the norm goes to the next product only */
    ICD_GPU_ROW_GELU,
    ICD_GPU_ROW_RELU,
    ICD_GPU_MUL_SILU, /**< y * silu(gate) */
    ICD_GPU_MUL_GELU,
    ICD_GPU_MUL_RELU
};

/** One row: y (and the stream x), an operation, and the staged input of the next product
 * in its local order. */
typedef struct icd_gpu_rows {
    ICD_DEV(const uint16_t) y;    /**< bf16 [tokens][ldy]; none: 0 */
    ICD_DEV(const uint16_t) gate; /**< bf16 [tokens][ld_gate] */
    ICD_DEV(float) x;             /**< f32 stream [tokens][n] */
    ICD_DEV(const float) gain;
    ICD_DEV(const float) bias;
    ICD_DEV(const int32_t) order;  /**< [slots] of n or -1; none: identity */
    ICD_DEV(unsigned char) staged; /**< [tokens][slots] of `type`; none: nothing staged */
    ICD_DEV(float) scale;          /**< int8, fp8: [tokens] */
    ICD_DEV(float) out;            /**< norms: f32 [tokens][n]; none */
    int64_t ldy, ld_gate, slots;
    int32_t tokens, n, op, type;
    float eps;
    float step; /**< int8: what a staged 1 stands for; 0: by the largest of the row */
} icd_gpu_rows;

/** x = word[id] (+ type + position of the token's place in its sequence). */
typedef struct icd_gpu_embed {
    ICD_DEV(const int32_t) ids;
    ICD_DEV(const float) word;
    ICD_DEV(const float) type;     /**< none: 0 */
    ICD_DEV(const float) position; /**< [seq][n]; none: 0 */
    ICD_DEV(float) x;
    int32_t tokens, seq, n;
} icd_gpu_embed;

/** Attention of whole sequences. Rows of q, k, v and y are a token's heads, side by side.
 */
typedef struct icd_gpu_attention {
    ICD_DEV(const uint16_t) q;
    ICD_DEV(const uint16_t) k;
    ICD_DEV(const uint16_t) v;
    ICD_DEV(uint16_t) y;
    ICD_DEV(const int32_t) lengths; /**< [batch]; none: all seq */
    ICD_DEV(float)
    peak; /**< [batch][heads][seq][2] largest score and sum of e^(score -
             it); none: not kept */
    int64_t ldq, ldk, ldv, ldy;
    int32_t batch, seq, heads, kv_heads, dim, causal;
    float scale;
} icd_gpu_attention;

/** What tokens of whole sequences draw of the attention of all queries, mean over the
 * heads; from the peaks of icd_gpu_attention. Causal. */
typedef struct icd_gpu_attention_mass {
    ICD_DEV(const uint16_t) q;
    ICD_DEV(const uint16_t) k;
    ICD_DEV(const float) peak;
    ICD_DEV(const int32_t) lengths; /**< [batch]; none: all seq */
    ICD_DEV(const int32_t) slot;    /**< [tokens] page * size + slot */
    ICD_DEV(float) mass;            /**< [pages of the pool][size] */
    int64_t ldq, ldk;
    int32_t batch, seq, heads, kv_heads, dim;
    float scale;
} icd_gpu_attention_mass;

/** Turns q and k by their positions and puts k and v into their pages. */
typedef struct icd_gpu_rope {
    ICD_DEV(uint16_t) q;
    ICD_DEV(uint16_t) k;
    ICD_DEV(const uint16_t) v;
    ICD_DEV(const float) cosine; /**< [positions][dim / 2] */
    ICD_DEV(const float) sine;
    ICD_DEV(const int32_t) position; /**< [tokens]; -1: padding, left alone */
    ICD_DEV(const int32_t) slot;     /**< [tokens] page * size + slot; none: no pages */
    ICD_DEV(uint16_t) page_k;        /**< [pages][kv_heads][size][dim] */
    ICD_DEV(uint16_t) page_v;
    /** [pages of the pool][size]; the token becomes live, and as the first of its page it
     * ends those that lay there before; none: 0 */
    ICD_DEV(unsigned char) live;
    ICD_DEV(float) mass; /**< the same shape; the token's becomes 0; none: 0 */
    int64_t ldq, ldk, ldv;
    int32_t tokens, heads, kv_heads, dim, size;
} icd_gpu_rope;

/** Attention of one query a sequence over the live pages of its table. */
typedef struct icd_gpu_paged {
    ICD_DEV(const uint16_t) q;
    ICD_DEV(uint16_t) y;
    ICD_DEV(const uint16_t) page_k;
    ICD_DEV(const uint16_t) page_v;
    ICD_DEV(const int32_t) table;      /**< [batch][width] */
    ICD_DEV(const int32_t) pages;      /**< [batch] */
    ICD_DEV(const unsigned char) live; /**< [pages of the pool][size] */
    ICD_DEV(float) share; /**< [batch][heads][width][size] of each slot; none: not kept */
    int64_t ldq, ldy;
    int32_t batch, heads, kv_heads, dim, size, width;
    float scale;
} icd_gpu_paged;

/** Adds the shares, mean over the heads, to what the tokens drew so far. */
typedef struct icd_gpu_paged_mass {
    ICD_DEV(const float) share;
    ICD_DEV(const int32_t) table;      /**< [batch][width] */
    ICD_DEV(const int32_t) pages;      /**< [batch] */
    ICD_DEV(const unsigned char) live; /**< [pages of the pool][size] */
    ICD_DEV(float) mass;               /**< the same shape */
    int32_t batch, heads, size, width;
} icd_gpu_paged_mass;

/** Copies tokens of a cache: to[i] <- from[i], both page * size + slot. */
typedef struct icd_gpu_move {
    ICD_DEV(const uint16_t) in;
    ICD_DEV(uint16_t) out;
    ICD_DEV(const int32_t) from;
    ICD_DEV(const int32_t) to;
    int32_t count, kv_heads, dim, size;
} icd_gpu_move;

/** y[t] = silu(bias + sum of w[j] x[t + j - taps + 1]), x of before the sequence from
 * `from`; its last taps - 1 rows go to `to`, which may be `from`. */
typedef struct icd_gpu_conv {
    ICD_DEV(const uint16_t) x; /**< [batch * seq][ldx] */
    ICD_DEV(uint16_t) y;       /**< [batch * seq][n] */
    ICD_DEV(const float) w;    /**< [taps][n] */
    ICD_DEV(const float) bias; /**< none: 0 */
    ICD_DEV(const float) from; /**< [batch][taps - 1][n] */
    ICD_DEV(float) to;
    ICD_DEV(const int32_t) lengths; /**< none: all seq */
    int64_t ldx;
    int32_t batch, seq, n, taps, fresh; /**< fresh: before the sequence lies nothing */
} icd_gpu_conv;

/** h = e^(dt a) h + dt u b, y = (h c + d u) silu(z), dt = softplus(dt).
 *
 * Time may be cut into pieces of `span` tokens, the last one takes the rest: then one
 * launch finds what every piece makes of zero states (`carry`), a second begins each
 * piece with what the ones before it carry. The steps are computed twice, by `pieces`
 * times as many threads. */
typedef struct icd_gpu_scan {
    ICD_DEV(const uint16_t) u; /**< [batch * seq][n] */
    ICD_DEV(const float) dt;   /**< [batch * seq][n], bias added */
    ICD_DEV(const float) b;    /**< [batch * seq][ld_bc] */
    ICD_DEV(const float) c;
    ICD_DEV(const uint16_t) z;      /**< [batch * seq][ldz]; none: no gate */
    ICD_DEV(uint16_t) y;            /**< [batch * seq][n] */
    ICD_DEV(const float) a;         /**< [n][states], <= 0 */
    ICD_DEV(const float) d;         /**< [n] */
    ICD_DEV(const float) from;      /**< [batch][n][states] */
    ICD_DEV(float) to;              /**< may be `from` */
    ICD_DEV(float) carry;           /**< [batch][pieces - 1][states + 1][n] */
    ICD_DEV(const int32_t) lengths; /**< none: all seq */
    int64_t ld_bc, ldz;
    int32_t batch, seq, n, states, fresh;
    int32_t pieces, span;
} icd_gpu_scan;

#endif
