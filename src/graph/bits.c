#include "graph/bits.h"

#include "base/threads.h"

#include <math.h>

enum {
    GROUPS = 16,     /* different values at most */
    TILE_ROWS = 64,  /* rows i that stay in the level-2 cache */
    TILE_COLUMNS = 8 /* rows j that stay in the level-1 cache */
};

/* Events of one value; a panel is at most ICD_BITS_WORDS words of one group. */
typedef struct group {
    double value;
    int64_t events;
    int64_t first, words; /* in a row of bits; multiples of 4 */
} group;

typedef struct plan {
    group group[GROUPS];
    int32_t groups;
    int64_t words; /* of a whole row */
} plan;

static group *find_group(plan *p, double value)
{
    for (int32_t g = 0; g < p->groups; g++)
        if (p->group[g].value == value) return &p->group[g];
    if (p->groups == GROUPS) return NULL;
    p->group[p->groups] = (group){.value = value};
    return &p->group[p->groups++];
}

/* @return whether the values of the block are few enough */
static bool make_plan(const icd_block *b, plan *p)
{
    *p = (plan){0};
    for (int64_t e = 0; e < b->events.count; e++) {
        if (b->value[e] <= 0) continue;
        group *g = find_group(p, b->value[e]);
        if (!g) return false;
        g->events++;
    }
    for (int32_t g = 0; g < p->groups; g++) {
        p->group[g].first = p->words;
        p->group[g].words = (p->group[g].events + 255) / 256 * 4;
        p->words += p->group[g].words;
    }
    return true;
}

/* Measured on Zen 3: a word of a pair takes about .3 of the time of one addition by
 * lists, and a pair of rows about 12 more for the call and the addition of its count. */
double icd_i_bits_cost(const icd_block *block)
{
    plan p;
    double pairs = (double)block->n * (double)(block->n - 1) / 2;
    if (!make_plan(block, &p)) return INFINITY;
    return pairs * (0.3 * (double)p.words + 12 * p.groups);
}

/* Rows of a panel lie one behind the other, so that a panel of a tile is dense in the
 * cache whatever the number of events: word w of row i in the panel that begins at word
 * `first` and is `words` long is bits[first * n + i * words + w]. */
typedef struct bit_job {
    icd_triangle *t;
    const plan *p;
    icd_i_popcount_fn *popcount;
    uint64_t *bits;
} bit_job;

static int64_t panel_words(const group *g, int64_t begin)
{
    int64_t left = g->words - begin;
    return left < ICD_BITS_WORDS ? left : ICD_BITS_WORDS;
}

static void set_event(uint64_t *bits, int64_t n, const group *g, int64_t slot,
                      const int32_t *index, int64_t size)
{
    int64_t word = slot >> 6, begin = word / ICD_BITS_WORDS * ICD_BITS_WORDS;
    int64_t words = panel_words(g, begin);
    uint64_t *panel = bits + (g->first + begin) * n + (word - begin);
    for (int64_t k = 0; k < size; k++)
        panel[index[k] * words] |= UINT64_C(1) << (slot & 63);
}

static void fill_bits(const icd_block *b, plan *p, uint64_t *bits)
{
    int64_t used[GROUPS] = {0};
    for (int64_t e = 0; e < b->events.count; e++) {
        if (b->value[e] <= 0) continue;
        const group *g = find_group(p, b->value[e]);
        set_event(bits, b->n, g, used[g - p->group]++, b->events.index + b->events.ptr[e],
                  icd_i_event_size(&b->events, e));
    }
}

/* Columns [j0, j1) of row i in one panel. */
static void add_strip(const bit_job *job, const uint64_t *panel, int64_t words,
                      double value, int64_t i, int64_t j0, int64_t j1)
{
    icd_triangle *t = job->t;
    int64_t shift = icd_i_triangle_shift(t->n, i);
    for (int64_t j = j0 > i + 1 ? j0 : i + 1; j < j1; j++) {
        uint32_t both = job->popcount(panel + i * words, panel + j * words, words);
        if (t->sum)
            t->sum[shift + j] += value * both;
        else
            t->count[shift + j] += both;
    }
}

static void add_panel(const bit_job *job, const uint64_t *panel, int64_t words,
                      double value, int64_t i0, int64_t i1)
{
    int64_t n = job->t->n;
    for (int64_t j0 = i0; j0 < n; j0 += TILE_COLUMNS) {
        int64_t j1 = j0 + TILE_COLUMNS < n ? j0 + TILE_COLUMNS : n;
        for (int64_t i = i0; i < i1 && i < j1; i++)
            add_strip(job, panel, words, value, i, j0, j1);
    }
}

static void add_tile(void *arg, int64_t chunk, int64_t chunks, int32_t worker)
{
    const bit_job *job = arg;
    int64_t n = job->t->n, i0 = chunk * TILE_ROWS;
    int64_t i1 = i0 + TILE_ROWS < n ? i0 + TILE_ROWS : n;
    (void)chunks;
    (void)worker;
    for (int32_t k = 0; k < job->p->groups; k++) {
        const group *g = &job->p->group[k];
        for (int64_t begin = 0; begin < g->words; begin += ICD_BITS_WORDS)
            add_panel(job, job->bits + (g->first + begin) * n, panel_words(g, begin),
                      g->value, i0, i1);
    }
}

icd_status icd_i_bits_add(icd_ctx *ctx, icd_triangle *t, const icd_block *block)
{
    plan p;
    uint64_t *bits = NULL;
    if (!make_plan(block, &p))
        return icd_i_fail(ctx, ICD_EINTERNAL, "graph", NULL,
                          "more than %d different values in a bit matrix", GROUPS);
    icd_status status = ICD_ALLOC(ctx, t->n * p.words, &bits);
    if (status != ICD_OK) return status;
    fill_bits(block, &p, bits);
    bit_job job = {t, &p, icd_i_popcount_best(), bits};
    icd_i_parallel(ctx, (t->n + TILE_ROWS - 1) / TILE_ROWS, add_tile, &job);
    icd_i_free(ctx, bits);
    return ICD_OK;
}
