#include "kernels/linear.h"

int64_t icd_i_linear_bytes(const icd_plan *plan)
{
    return icd_i_pack_bytes(icd_i_plan_groups(plan), plan->vector);
}

static int64_t block_rows(const icd_plan *plan, int64_t block)
{
    int64_t left = plan->rows - block * plan->vector;
    return left < plan->vector ? left : plan->vector;
}

void icd_i_linear_pack(const icd_plan *plan, const int8_t *q, int32_t *column, int8_t *w,
                       int32_t *comp)
{
    for (int64_t b = 0; b < plan->blocks; b++) {
        int64_t first = plan->block_ptr[b], groups = plan->block_ptr[b + 1] - first;
        icd_i_plan_columns(plan, b, column);
        icd_i_pack_block(q + b * plan->vector * plan->cols, plan->cols,
                         block_rows(plan, b), column, groups, plan->vector,
                         w + icd_i_pack_bytes(first, plan->vector),
                         comp + b * plan->vector);
    }
}

/* Sums of one chunk, and behind them the gathered activations. */
static int64_t acc_count(const icd_plan *plan)
{
    return (int64_t)ICD_TOKEN_CHUNK * plan->vector;
}

int64_t icd_i_linear_scratch(const icd_plan *plan)
{
    int64_t bytes = acc_count(plan) * (int64_t)sizeof(int32_t);
    if (plan->kernel == ICD_KERNEL_GATHER)
        bytes += ICD_TOKEN_CHUNK * ICD_GROUP * icd_i_plan_widest(plan);
    return bytes;
}

/* An ascending list without holes: no need to look up each entry, which costs 5 %. */
static bool is_run(const int32_t *live, int64_t count)
{
    return count > 0 && live[count - 1] - live[0] == count - 1;
}

/* acc = the sums of one block for one chunk of tokens. */
static void sum_block(const icd_kernels *k, const icd_packed_linear *l, int64_t block,
                      const int8_t *a, int64_t tokens, int32_t *acc)
{
    const icd_plan *plan = l->plan;
    int64_t lda = plan->slots, first = plan->block_ptr[block];
    int64_t groups = plan->block_ptr[block + 1] - first;
    const int32_t *live = plan->live + first;
    if (plan->kernel == ICD_KERNEL_GATHER) {
        int8_t *gathered = (int8_t *)(acc + acc_count(plan));
        k->gather_rows(a, lda, tokens, plan->live + first * ICD_GROUP, groups * ICD_GROUP,
                       gathered);
        a = gathered;
        lda = groups * ICD_GROUP;
        live = NULL;
    } else if (is_run(live, groups)) {
        a += live[0] * ICD_GROUP;
        live = NULL;
    }
    k->tile_block(a, lda, tokens, live, NULL, groups,
                  l->w + icd_i_pack_bytes(first, plan->vector),
                  l->comp + block * plan->vector, plan->vector, acc);
}

void icd_i_linear_run(const icd_kernels *k, const icd_packed_linear *l, const int8_t *a,
                      const float *a_scale, int64_t tokens, int64_t first, int64_t last,
                      float *y, int64_t ldy, void *scratch)
{
    const icd_plan *plan = l->plan;
    int32_t *acc = scratch;
    for (int64_t b = first; b < last; b++)
        for (int64_t t = 0; t < tokens; t += ICD_TOKEN_CHUNK) {
            int64_t row = b * plan->vector, n = tokens - t;
            if (n > ICD_TOKEN_CHUNK) n = ICD_TOKEN_CHUNK;
            sum_block(k, l, b, a + t * plan->slots, n, acc);
            for (int64_t i = 0; i < n; i++)
                k->dequantize_row(acc + i * plan->vector, block_rows(plan, b),
                                  a_scale[t + i], l->scale + row,
                                  l->bias ? l->bias + row : NULL,
                                  y + (t + i) * ldy + row);
        }
}
