#include "kernels/linear_f32.h"

#include "kernels/fetch.h"
#include "kernels/survivors.h"

void icd_i_f32_channels(const icd_plan *plan, int32_t *channel)
{
    bool gather = plan->kernel == ICD_KERNEL_GATHER;
    for (int64_t i = 0; i < icd_i_plan_groups(plan) * ICD_GROUP; i++)
        channel[i] =
            gather ? plan->live[i]
                   : plan->live[i / ICD_GROUP] * ICD_GROUP + (int32_t)(i % ICD_GROUP);
}

static int64_t block_rows(const icd_plan *plan, int64_t block)
{
    int64_t left = plan->rows - block * plan->vector;
    return left < plan->vector ? left : plan->vector;
}

void icd_i_f32_pack(const icd_plan *plan, const float *w, int32_t *column, float *out)
{
    for (int64_t b = 0; b < plan->blocks; b++) {
        int64_t first = plan->block_ptr[b] * ICD_GROUP;
        icd_i_plan_columns(plan, b, column);
        icd_i_pack_block_f32(w + b * plan->vector * plan->cols, plan->cols,
                             block_rows(plan, b), column,
                             plan->block_ptr[b + 1] * ICD_GROUP - first, plan->vector,
                             out + first * plan->vector);
    }
}

void icd_i_bf16_pack(const icd_plan *plan, const uint16_t *w, int32_t *column,
                     uint16_t *out)
{
    for (int64_t b = 0; b < plan->blocks; b++) {
        int64_t first = plan->block_ptr[b] * ICD_GROUP;
        icd_i_plan_columns(plan, b, column);
        icd_i_pack_block_bf16(w + b * plan->vector * plan->cols, plan->cols,
                              block_rows(plan, b), column,
                              plan->block_ptr[b + 1] * ICD_GROUP - first, plan->vector,
                              out + first * plan->vector);
    }
}

/* Blocks that share a pass: with V = 64 their sums take 4 x 192 x 64 x 4 bytes, 192 KB
   of an L2 of 512 KB, and the activations of the pass as much; weights stream by. */
enum { BLOCKS = 4 };

static int64_t sum_count(const icd_plan *plan)
{
    return (int64_t)BLOCKS * ICD_F32_CHUNK * plan->vector;
}

/* Sums of one chunk; the channels of a block that are not zero, twice; and which slots
   are not zero. */
int64_t icd_i_f32_scratch(const icd_plan *plan)
{
    return sum_count(plan) * (int64_t)sizeof(float) +
           2 * ICD_GROUP * icd_i_plan_widest(plan) * (int64_t)sizeof(int32_t) +
           plan->slots;
}

/* Where the parts of a scratch begin. */
typedef struct parts {
    float *sum;
    int32_t *live, *at;
    uint8_t *any; /* NULL: nothing worth skipping */
} parts;

/* Marks the slots of one panel that are not zero in all of its tokens. */
static bool mark_any(const float *a, int64_t slots, int64_t tokens, uint8_t *any)
{
    int64_t count = 0;
    for (int64_t s = 0; s < slots; s++) {
        uint8_t found = 0;
        for (int64_t t = 0; t < tokens; t++) found |= a[s * tokens + t] != 0;
        any[s] = found;
        count += found;
    }
    return count < icd_i_worth_skipping(slots);
}

static parts part_scratch(const icd_plan *plan, const float *a, int64_t tokens,
                          void *scratch)
{
    parts p = {.sum = scratch};
    p.live = (int32_t *)scratch + sum_count(plan);
    p.at = p.live + ICD_GROUP * icd_i_plan_widest(plan);
    p.any = (uint8_t *)(p.at + ICD_GROUP * icd_i_plan_widest(plan));
    if (tokens > ICD_PANEL || !mark_any(a, plan->slots, tokens, p.any)) p.any = NULL;
    return p;
}

/* The live channels of a block: a list, or NULL where they are 0, 1, 2... */
typedef struct list {
    const int32_t *live, *at;
    int64_t count;
} list;

/* 0, 1, 2... without a hole. Gathered lists end with repeats. */
static bool is_run(const int32_t *channel, int64_t count)
{
    return count >= ICD_GROUP && channel[count - 1] == count - 1 &&
           channel[count - 2] == count - 2;
}

static list list_block(const int32_t *channel, int64_t count, const parts *p)
{
    int64_t n = 0;
    if (!p->any) return (list){is_run(channel, count) ? NULL : channel, NULL, count};
    for (int64_t j = 0; j < count; j++) {
        p->live[n] = channel[j];
        p->at[n] = (int32_t)j;
        n += p->any[channel[j]];
    }
    return (list){p->live, p->at, n};
}

/* Channels `first` and up to ICD_PASS - 1 more of a block's list; all of it for tokens as
   few as go without passes. */
static void sum_pass(const icd_kernels *k, const icd_f32_linear *l, int64_t block,
                     const float *a, int64_t tokens, const parts *p, int64_t first,
                     float *sum)
{
    const icd_plan *plan = l->plan;
    int64_t at = plan->block_ptr[block] * ICD_GROUP;
    int64_t room = plan->block_ptr[block + 1] * ICD_GROUP - at;
    list c = list_block(l->channel + at, room, p);
    int64_t n = c.count - first;
    if (n <= 0 && first) return;
    if (n > ICD_PASS && tokens > ICD_PANEL) n = ICD_PASS;
    if (l->half)
        k->tile_block_bf16(a, plan->slots, tokens, c.live, c.at, n, first,
                           l->half + at * plan->vector, room, plan->vector, sum);
    else
        k->tile_block_f32(a, plan->slots, tokens, c.live, c.at, n, first,
                          l->w + at * plan->vector, room, plan->vector, sum);
}

static void write_rows(const icd_kernels *k, const icd_f32_linear *l, int64_t block,
                       int64_t tokens, const float *sum, float *y, int64_t ldy)
{
    const icd_plan *plan = l->plan;
    int64_t row = block * plan->vector, rows = block_rows(plan, block);
    icd_i_fetch_rows(y + row, ldy, tokens, rows);
    for (int64_t i = 0; i < tokens; i++, sum += plan->vector, y += ldy)
        if (l->add)
            k->add_bias(y + row, sum, rows);
        else
            k->scale_row(sum, rows, 1, l->bias ? l->bias + row : NULL, y + row);
}

static int64_t widest_of(const icd_plan *plan, int64_t first, int64_t last)
{
    int64_t most = 0;
    for (int64_t b = first; b < last; b++) {
        int64_t n = plan->block_ptr[b + 1] - plan->block_ptr[b];
        most = n > most ? n : most;
    }
    return most * ICD_GROUP;
}

/* A few blocks, pass for pass, so that the activations of a pass serve all of them while
   they are in the L2. */
static void run_blocks(const icd_kernels *k, const icd_f32_linear *l, const float *a,
                       int64_t tokens, int64_t first, int64_t last, float *y, int64_t ldy,
                       const parts *p)
{
    int64_t widest = widest_of(l->plan, first, last);
    int64_t step = tokens > ICD_PANEL ? ICD_PASS : widest + 1;
    int64_t room = ICD_F32_CHUNK * l->plan->vector;
    for (int64_t c = 0; c == 0 || c < widest; c += step)
        for (int64_t b = first; b < last; b++)
            sum_pass(k, l, b, a, tokens, p, c, p->sum + (b - first) * room);
    for (int64_t b = first; b < last; b++)
        write_rows(k, l, b, tokens, p->sum + (b - first) * room, y, ldy);
}

void icd_i_f32_run(const icd_kernels *k, const icd_f32_linear *l, const float *a,
                   int64_t tokens, int64_t first, int64_t last, float *y, int64_t ldy,
                   void *scratch)
{
    const icd_plan *plan = l->plan;
    parts p = part_scratch(plan, a, tokens, scratch);
    for (int64_t b = first; b < last; b += BLOCKS)
        for (int64_t t = 0; t < tokens; t += ICD_F32_CHUNK) {
            int64_t n = tokens - t < ICD_F32_CHUNK ? tokens - t : ICD_F32_CHUNK;
            int64_t end = b + BLOCKS < last ? b + BLOCKS : last;
            run_blocks(k, l, a + t * plan->slots, n, b, end, y + t * ldy, ldy, &p);
        }
}
