#include "kernels/cuda/schedule.h"

#include <stdbool.h>

/* What starting and storing a tile costs, in granules. A guess until it is measured; it
 * only moves where tiles are cut. */
enum { PIECE = 4 };

typedef struct state {
    const icd_gpu_work *work;
    icd_gpu_item *item;
    int32_t *item_ptr;
    icd_gpu_cuts cuts;
    int64_t total, done; /* cost */
    int32_t block;       /* of the grid */
} state;

static int64_t granules(const icd_gpu_work *w, int64_t block)
{
    return w->block_ptr[block + 1] - w->block_ptr[block];
}

/* Cost that is left to the current block of the grid. Borders are absolute, so that
 * rounding does not add up. */
static int64_t room(const state *s)
{
    return s->total * (s->block + 1) / s->work->grid - s->done;
}

static void next_block(state *s)
{
    s->item_ptr[++s->block] = (int32_t)s->cuts.items;
}

static bool is_last(const state *s)
{
    return s->block == s->work->grid - 1;
}

/* Granules of the next piece; 0: not worth it, the next block takes them. */
static int64_t piece_of(const state *s, int64_t left)
{
    int64_t stage = ICD_GPU_STAGE, least = s->work->least;
    int64_t take = (room(s) - PIECE + stage - 1) / stage * stage;
    if (is_last(s) || take >= left - least) return left;
    return take < least ? 0 : take;
}

static void add_piece(state *s, int64_t block, int64_t tile, int64_t first, int64_t take)
{
    s->item[s->cuts.items++] = (icd_gpu_item){.block = (int32_t)block,
                                              .tile = (int32_t)tile,
                                              .first = (int32_t)first,
                                              .last = (int32_t)(first + take),
                                              .slot = -1};
    s->done += take + PIECE;
}

/* Numbers the pieces of a tile that was cut. */
static void close_tile(state *s, int64_t from)
{
    int64_t parts = s->cuts.items - from;
    for (int64_t i = 0; i < parts; i++) {
        icd_gpu_item *item = &s->item[from + i];
        item->part = (int32_t)i;
        item->parts = (int32_t)parts;
        if (parts == 1) continue;
        item->slot = (int32_t)s->cuts.slots;
        item->tally = (int32_t)s->cuts.tallies;
    }
    if (parts > 1) {
        s->cuts.slots += parts;
        s->cuts.tallies++;
    }
}

static void add_tile(state *s, int64_t block, int64_t tile)
{
    int64_t from = s->cuts.items, first = 0, all = granules(s->work, block);
    do {
        if (!is_last(s) && room(s) <= PIECE) next_block(s);
        int64_t take = piece_of(s, all - first);
        if (take == 0 && first < all) {
            next_block(s);
            continue;
        }
        add_piece(s, block, tile, first, take);
        first += take;
    } while (first < all);
    /* a cut costs a piece more than was planned for */
    s->done -= (s->cuts.items - from - 1) * PIECE;
    close_tile(s, from);
}

void icd_i_gpu_schedule(const icd_gpu_work *work, icd_gpu_item *item, int32_t *item_ptr,
                        icd_gpu_cuts *out)
{
    state s = {.work = work, .item = item, .item_ptr = item_ptr};
    for (int64_t b = 0; b < work->blocks; b++) s.total += granules(work, b) + PIECE;
    s.total *= work->tiles;
    item_ptr[0] = 0;
    for (int64_t t = 0; t < work->tiles; t++)
        for (int64_t b = 0; b < work->blocks; b++) add_tile(&s, b, t);
    while (s.block < work->grid) next_block(&s);
    *out = s.cuts;
}

double icd_i_gpu_imbalance(const icd_gpu_item *item, const int32_t *item_ptr,
                           int32_t grid)
{
    int64_t most = 0, sum = 0;
    for (int32_t c = 0; c < grid; c++) {
        int64_t cost = 0;
        for (int32_t i = item_ptr[c]; i < item_ptr[c + 1]; i++)
            cost += item[i].last - item[i].first + PIECE;
        most = cost > most ? cost : most;
        sum += cost;
    }
    return sum ? (double)most * grid / (double)sum : 1;
}
