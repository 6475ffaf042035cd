#include "kernels/linear_small.h"

enum { GROUPS = ICD_STEP / ICD_GROUP };

static int64_t steps_before(const icd_plan *plan, int64_t block)
{
    return plan->block_ptr[block] / GROUPS;
}

int64_t icd_i_small_steps(const icd_plan *plan)
{
    return steps_before(plan, plan->blocks);
}

static int64_t step_bytes(const icd_plan *plan, int64_t per)
{
    return per ? icd_i_step_bytes_int4(plan->vector) : icd_i_step_bytes_24(plan->vector);
}

int64_t icd_i_small_bytes(const icd_plan *plan, int64_t per)
{
    return icd_i_small_steps(plan) * step_bytes(plan, per);
}

void icd_i_small_list(const icd_plan *plan, int32_t *step)
{
    for (int64_t j = 0; j < icd_i_small_steps(plan); j++)
        step[j] = plan->live[GROUPS * j] / GROUPS;
}

int64_t icd_i_small_scales(const icd_plan *plan, int64_t per, int64_t block)
{
    int64_t sum = 0;
    for (int64_t b = 0; b < block; b++)
        sum += (steps_before(plan, b + 1) - steps_before(plan, b) + per - 1) / per;
    return sum;
}

static int64_t block_rows(const icd_plan *plan, int64_t block)
{
    int64_t left = plan->rows - block * plan->vector;
    return left < plan->vector ? left : plan->vector;
}

bool icd_i_small_pack(const icd_plan *plan, int64_t per, const int8_t *q, int32_t *column,
                      uint8_t *w, int32_t *comp)
{
    for (int64_t b = 0; b < plan->blocks; b++) {
        const int8_t *from = q + b * plan->vector * plan->cols;
        int64_t first = steps_before(plan, b), n = steps_before(plan, b + 1) - first;
        uint8_t *to = w + first * step_bytes(plan, per);
        icd_i_plan_columns(plan, b, column);
        if (per)
            icd_i_pack_block_int4(from, plan->cols, block_rows(plan, b), column, n,
                                  plan->vector, to);
        else if (!icd_i_pack_block_24(from, plan->cols, block_rows(plan, b), column, n,
                                      plan->vector, (int8_t *)to,
                                      comp + b * plan->vector))
            return false;
    }
    return true;
}

/* Where one block's operands begin. */
typedef struct block {
    const uint8_t *w;
    const int32_t *step; /* NULL: 0, 1, 2... */
    const float *scale;  /* 4 bits */
    int64_t count, index;
} block;

static block block_at(const icd_small_linear *l, int64_t index, int64_t scales)
{
    const icd_plan *plan = l->plan;
    int64_t first = steps_before(plan, index);
    block b = {l->w + first * step_bytes(plan, l->per), l->step + first,
               l->scale + scales * plan->vector, steps_before(plan, index + 1) - first,
               index};
    if (b.count && b.step[b.count - 1] == b.count - 1) b.step = NULL;
    return b;
}

static void run_int4(const icd_kernels *k, const icd_small_linear *l, const block *b,
                     const int8_t *a, const float *a_scale, int64_t tokens, float *y,
                     int64_t ldy, float *sum)
{
    int32_t vector = l->plan->vector;
    int64_t row = b->index * vector;
    k->tile_block_int4(a, l->plan->slots, tokens, b->step, b->count, l->per, b->w,
                       b->scale, vector, sum);
    for (int64_t i = 0; i < tokens; i++)
        k->scale_row(sum + i * vector, block_rows(l->plan, b->index), a_scale[i],
                     l->bias ? l->bias + row : NULL, y + i * ldy + row);
}

static void run_24(const icd_kernels *k, const icd_small_linear *l, const block *b,
                   const int8_t *a, const float *a_scale, int64_t tokens, float *y,
                   int64_t ldy, int32_t *acc)
{
    int32_t vector = l->plan->vector;
    int64_t row = b->index * vector;
    k->tile_block_24(a, l->plan->slots, tokens, b->step, b->count, (const int8_t *)b->w,
                     l->comp + row, vector, acc);
    for (int64_t i = 0; i < tokens; i++)
        k->dequantize_row(acc + i * vector, block_rows(l->plan, b->index), a_scale[i],
                          l->scale + row, l->bias ? l->bias + row : NULL,
                          y + i * ldy + row);
}

void icd_i_small_run(const icd_kernels *k, const icd_small_linear *l, const int8_t *a,
                     const float *a_scale, int64_t tokens, int64_t first, int64_t last,
                     float *y, int64_t ldy, void *scratch)
{
    int64_t scales = l->per ? icd_i_small_scales(l->plan, l->per, first) : 0;
    for (int64_t i = first; i < last; i++) {
        block b = block_at(l, i, scales);
        if (l->per) scales += (b.count + l->per - 1) / l->per;
        for (int64_t t = 0; t < tokens; t += ICD_TOKEN_CHUNK) {
            int64_t n = tokens - t < ICD_TOKEN_CHUNK ? tokens - t : ICD_TOKEN_CHUNK;
            const int8_t *x = a + t * l->plan->slots;
            if (l->per)
                run_int4(k, l, &b, x, a_scale + t, n, y + t * ldy, ldy, scratch);
            else
                run_24(k, l, &b, x, a_scale + t, n, y + t * ldy, ldy, scratch);
        }
    }
}
