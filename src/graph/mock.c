#include <icd/graph.h>

#include "base/mem.h"
#include "base/rng.h"
#include "graph/pairs.h"

#include <inttypes.h>

enum { STREAM_EDGES, STREAM_NOISE, STREAM_WEIGHTS, STREAM_LABELS };

/* Pairs are bits of an upper triangle, in labels: sorted and distinct by construction,
 * and smaller than the W that they become. */
typedef struct mock {
    icd_mock_opts opts;
    int64_t n, size;       /* nodes; nodes per block, the last takes the remainder */
    int64_t inside, noise; /* edges wanted */
    int32_t *label;        /* label[k]: index of planted node k */
    uint64_t *edge;        /* chosen pairs */
    uint64_t *is_noise;    /* those between any two nodes */
} mock;

static int64_t pair_bit(int64_t n, int32_t a, int32_t b)
{
    int64_t i = a < b ? a : b, j = a < b ? b : a;
    return i * (2 * n - i - 1) / 2 + j - i - 1;
}

static bool get_bit(const uint64_t *bits, int64_t k)
{
    return bits[k >> 6] >> (k & 63) & 1;
}

static void set_bit(uint64_t *bits, int64_t k)
{
    bits[k >> 6] |= UINT64_C(1) << (k & 63);
}

static int64_t block_begin(const mock *m, int64_t node)
{
    int64_t block = node / m->size;
    if (block >= m->opts.blocks) block = m->opts.blocks - 1;
    return block * m->size;
}

static int64_t block_end(const mock *m, int64_t begin)
{
    return begin / m->size == m->opts.blocks - 1 ? m->n : begin + m->size;
}

static int64_t pairs_inside(const mock *m)
{
    int64_t last = m->n - (m->opts.blocks - 1) * m->size;
    return (m->opts.blocks - 1) * (m->size * (m->size - 1) / 2) + last * (last - 1) / 2;
}

/* Too many blocks leave fewer pairs inside them than .05 D^2 / 2 asks for: then all of
 * these are taken and the noise shrinks with them, so that its share stays. */
static void limit_inside(icd_ctx *ctx, mock *m)
{
    int64_t most = pairs_inside(m);
    if (m->inside <= most) return;
    m->inside = most;
    m->noise = (int64_t)((double)most * m->opts.noise / (1 - m->opts.noise));
    icd_i_warn(ctx,
               "graph.mock: %" PRId32 " blocks of D = %" PRId64 " hold only %" PRId64
               " pairs; W has them all and fewer entries than .05 D^2",
               m->opts.blocks, m->n, most);
}

static icd_status plan_edges(icd_ctx *ctx, mock *m)
{
    int64_t edges = m->n * m->n / 40;
    if (m->opts.blocks > m->n / 2 && edges > 0)
        return icd_i_fail(ctx, ICD_EINVAL, "graph.mock.blocks", NULL,
                          "found %" PRId32 " blocks for D = %" PRId64
                          ", expected at most %" PRId64 ": a block needs two nodes",
                          m->opts.blocks, m->n, m->n / 2);
    m->size = m->n / m->opts.blocks;
    m->noise = (int64_t)((double)edges * m->opts.noise);
    m->inside = edges - m->noise;
    if (edges) limit_inside(ctx, m);
    return ICD_OK;
}

/* @return whether the pair of planted nodes was new */
static bool choose(mock *m, int64_t a, int64_t b, bool noise)
{
    int64_t k = pair_bit(m->n, m->label[a], m->label[b]);
    if (get_bit(m->edge, k)) return false;
    set_bit(m->edge, k);
    if (noise) set_bit(m->is_noise, k);
    return true;
}

static void choose_all_inside(mock *m)
{
    for (int64_t a = 0; a < m->n; a++)
        for (int64_t b = a + 1; b < block_end(m, block_begin(m, a)); b++)
            choose(m, a, b, false);
}

static icd_status choose_inside(icd_ctx *ctx, mock *m)
{
    icd_rng rng;
    icd_i_rng_init(&rng, (uint64_t)m->opts.seed, STREAM_EDGES);
    for (int64_t left = m->inside, draws = 0; left > 0; draws++) {
        int64_t a = icd_i_rng_below(&rng, m->n), begin = block_begin(m, a);
        int64_t b = begin + icd_i_rng_below(&rng, block_end(m, begin) - begin);
        if (a != b) left -= choose(m, a, b, false);
        if (draws % 65536 == 0 && icd_i_cancelled(ctx)) return icd_i_check_cancel(ctx);
    }
    return ICD_OK;
}

static icd_status choose_noise(icd_ctx *ctx, mock *m)
{
    icd_rng rng;
    icd_i_rng_init(&rng, (uint64_t)m->opts.seed, STREAM_NOISE);
    for (int64_t left = m->noise, draws = 0; left > 0; draws++) {
        int64_t a = icd_i_rng_below(&rng, m->n), b = icd_i_rng_below(&rng, m->n);
        if (a != b) left -= choose(m, a, b, true);
        if (draws % 65536 == 0 && icd_i_cancelled(ctx)) return icd_i_check_cancel(ctx);
    }
    return ICD_OK;
}

/* Weights are drawn in the order of the labels, so that no sort is needed. */
static icd_status weigh_edges(icd_ctx *ctx, const mock *m, icd_pairs *pairs)
{
    icd_status status = ICD_OK;
    icd_rng rng;
    int64_t k = 0;
    icd_i_rng_init(&rng, (uint64_t)m->opts.seed, STREAM_WEIGHTS);
    for (int32_t i = 0; i < m->n; i++)
        for (int32_t j = i + 1; j < m->n; j++, k++) {
            if (!get_bit(m->edge, k)) continue;
            double weight = 0.5 + icd_i_rng_unit(&rng);
            if (get_bit(m->is_noise, k)) weight /= m->opts.strength;
            ICD_TRY(icd_i_pairs_add(ctx, pairs, (icd_pair){i, j, (float)weight}));
        }
done:
    return status;
}

static icd_status plant(icd_ctx *ctx, mock *m)
{
    icd_status status = ICD_OK;
    icd_rng rng;
    int64_t words = m->n * (m->n - 1) / 2 / 64 + 1;
    ICD_TRY(ICD_ALLOC(ctx, m->n, &m->label));
    ICD_TRY(ICD_ALLOC(ctx, words, &m->edge));
    ICD_TRY(ICD_ALLOC(ctx, words, &m->is_noise));
    for (int32_t i = 0; i < m->n; i++) m->label[i] = i;
    icd_i_rng_init(&rng, (uint64_t)m->opts.seed, STREAM_LABELS);
    icd_i_rng_shuffle(&rng, m->label, m->n);
    if (m->inside == pairs_inside(m))
        choose_all_inside(m);
    else
        ICD_TRY(choose_inside(ctx, m));
    ICD_TRY(choose_noise(ctx, m));
done:
    return status;
}

icd_status icd_build_w_mock(icd_ctx *ctx, const icd_mock_opts *opts, icd_csr **w,
                            icd_perm **planted)
{
    icd_status status = ICD_OK;
    mock m = {0};
    icd_pairs pairs = {0};
    icd_csr *made = NULL;
    *w = NULL;
    if (planted) *planted = NULL;
    ICD_TRY(icd_options_resolve(ctx, &icd_mock_table, opts, &m.opts));
    m.n = m.opts.d;
    ICD_TRY(plan_edges(ctx, &m));
    ICD_TRY(plant(ctx, &m));
    pairs.keep = m.inside + m.noise;
    ICD_TRY(weigh_edges(ctx, &m, &pairs));
    ICD_TRY(icd_i_pairs_csr(ctx, &pairs, m.n, &made));
    if (planted)
        ICD_TRY(icd_perm_from_array(ctx, m.label, m.n, ICD_FRAME_CHECKPOINT,
                                    "planted order", planted));
    *w = made;
    made = NULL;
done:
    icd_csr_free(ctx, made);
    icd_i_pairs_release(ctx, &pairs);
    icd_i_free(ctx, m.label);
    icd_i_free(ctx, m.edge);
    icd_i_free(ctx, m.is_noise);
    return status;
}
