#include "kernels/linear.h"

#include "kernels/survivors.h"

#include <string.h>

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

/* What follows the sums: activations gathered for a block; or the groups of a block that
   are not zero, twice, and which groups are not zero. */
int64_t icd_i_linear_scratch(const icd_plan *plan)
{
    int64_t bytes = acc_count(plan) * (int64_t)sizeof(int32_t),
            widest = icd_i_plan_widest(plan);
    if (plan->kernel == ICD_KERNEL_GATHER)
        return bytes + ICD_TOKEN_CHUNK * ICD_GROUP * widest;
    return bytes + 2 * widest * (int64_t)sizeof(int32_t) + plan->slots / ICD_GROUP;
}

/* Where the parts of a scratch begin. */
typedef struct parts {
    int32_t *acc, *live, *at;
    uint8_t *any; /* NULL: nothing worth skipping */
    int8_t *gathered;
} parts;

/* Marks the groups that are not zero in all of a few tokens. */
static bool mark_any(const icd_plan *plan, const int8_t *a, int64_t tokens, uint8_t *any)
{
    int64_t count = 0, groups = plan->slots / ICD_GROUP;
    for (int64_t g = 0; g < groups; g++) {
        uint32_t found = 0, four;
        for (int64_t t = 0; t < tokens; t++) {
            memcpy(&four, a + t * plan->slots + g * ICD_GROUP, sizeof four);
            found |= four;
        }
        any[g] = found != 0;
        count += any[g];
    }
    return count < icd_i_worth_skipping(groups);
}

static parts part_scratch(const icd_plan *plan, const int8_t *a, int64_t tokens,
                          void *scratch)
{
    parts p = {.acc = scratch};
    p.live = p.acc + acc_count(plan);
    p.gathered = (int8_t *)p.live;
    p.at = p.live + icd_i_plan_widest(plan);
    p.any = (uint8_t *)(p.at + icd_i_plan_widest(plan));
    if (plan->kernel == ICD_KERNEL_GATHER || tokens > ICD_PANEL ||
        !mark_any(plan, a, tokens, p.any))
        p.any = NULL;
    return p;
}

/* An ascending list without holes: no need to look up each entry, which costs 5 %. */
static bool is_run(const int32_t *live, int64_t count)
{
    return count > 0 && live[count - 1] - live[0] == count - 1;
}

static int64_t skip_zeros(const int32_t *live, int64_t count, const parts *p)
{
    int64_t n = 0;
    for (int64_t j = 0; j < count; j++) {
        p->live[n] = live[j];
        p->at[n] = (int32_t)j;
        n += p->any[live[j]];
    }
    return n;
}

/* The sums of one block for one chunk of tokens. */
static void sum_block(const icd_kernels *k, const icd_packed_linear *l, int64_t block,
                      const int8_t *a, int64_t tokens, const parts *p)
{
    const icd_plan *plan = l->plan;
    int64_t lda = plan->slots, first = plan->block_ptr[block];
    int64_t groups = plan->block_ptr[block + 1] - first;
    const int32_t *live = plan->live + first, *at = NULL;
    if (plan->kernel == ICD_KERNEL_GATHER) {
        k->gather_rows(a, lda, tokens, plan->live + first * ICD_GROUP, groups * ICD_GROUP,
                       p->gathered);
        a = p->gathered;
        lda = groups * ICD_GROUP;
        live = NULL;
    } else if (p->any) {
        groups = skip_zeros(live, groups, p);
        live = p->live, at = p->at;
    } else if (is_run(live, groups)) {
        a += live[0] * ICD_GROUP;
        live = NULL;
    }
    k->tile_block(a, lda, tokens, live, at, groups,
                  l->w + icd_i_pack_bytes(first, plan->vector),
                  l->comp + block * plan->vector, plan->vector, p->acc);
}

void icd_i_linear_run(const icd_kernels *k, const icd_packed_linear *l, const int8_t *a,
                      const float *a_scale, int64_t tokens, int64_t first, int64_t last,
                      float *y, int64_t ldy, void *scratch)
{
    const icd_plan *plan = l->plan;
    parts p = part_scratch(plan, a, tokens, scratch);
    for (int64_t b = first; b < last; b++)
        for (int64_t t = 0; t < tokens; t += ICD_TOKEN_CHUNK) {
            int64_t row = b * plan->vector, n = tokens - t;
            if (n > ICD_TOKEN_CHUNK) n = ICD_TOKEN_CHUNK;
            sum_block(k, l, b, a + t * plan->slots, n, &p);
            for (int64_t i = 0; i < n; i++)
                k->dequantize_row(p.acc + i * plan->vector, block_rows(plan, b),
                                  a_scale[t + i], l->scale + row,
                                  l->bias ? l->bias + row : NULL,
                                  y + (t + i) * ldy + row);
        }
}
