#include "kernels/linear_f32.h"

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

/* Sums of one chunk; the channels of a block that are not zero, twice; and which slots
   are not zero. */
int64_t icd_i_f32_scratch(const icd_plan *plan)
{
    return ICD_F32_CHUNK * plan->vector * (int64_t)sizeof(float) +
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
    p.live = (int32_t *)scratch + ICD_F32_CHUNK * plan->vector;
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

static void sum_block(const icd_kernels *k, const icd_f32_linear *l, int64_t block,
                      const float *a, int64_t tokens, const parts *p)
{
    const icd_plan *plan = l->plan;
    int64_t first = plan->block_ptr[block] * ICD_GROUP;
    int64_t room = plan->block_ptr[block + 1] * ICD_GROUP - first;
    list c = list_block(l->channel + first, room, p);
    if (l->half)
        k->tile_block_bf16(a, plan->slots, tokens, c.live, c.at, c.count,
                           l->half + first * plan->vector, room, plan->vector, p->sum);
    else
        k->tile_block_f32(a, plan->slots, tokens, c.live, c.at, c.count,
                          l->w + first * plan->vector, room, plan->vector, p->sum);
}

void icd_i_f32_run(const icd_kernels *k, const icd_f32_linear *l, const float *a,
                   int64_t tokens, int64_t first, int64_t last, float *y, int64_t ldy,
                   void *scratch)
{
    const icd_plan *plan = l->plan;
    parts p = part_scratch(plan, a, tokens, scratch);
    for (int64_t b = first; b < last; b++)
        for (int64_t t = 0; t < tokens; t += ICD_F32_CHUNK) {
            int64_t row = b * plan->vector, n = tokens - t;
            if (n > ICD_F32_CHUNK) n = ICD_F32_CHUNK;
            sum_block(k, l, b, a + t * plan->slots, n, &p);
            for (int64_t i = 0; i < n; i++)
                k->scale_row(p.sum + i * plan->vector, block_rows(plan, b), 1,
                             l->bias ? l->bias + row : NULL, y + (t + i) * ldy + row);
        }
}
