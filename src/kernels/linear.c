#include "kernels/linear.h"

#include "kernels/fetch.h"
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

/* Sums of one chunk. */
static int64_t acc_bytes(const icd_plan *plan)
{
    return ICD_TOKEN_CHUNK * plan->vector * (int64_t)sizeof(int32_t);
}

/* Slots of the rows that are staged: gathered rows hold what a block needs. */
static int64_t staged_slots(const icd_plan *plan)
{
    return plan->kernel == ICD_KERNEL_GATHER ? ICD_GROUP * icd_i_plan_widest(plan)
                                             : plan->slots;
}

/* The sums, the staged rows of a chunk; then activations gathered for a block, or the
   groups of a block that are not zero, twice, and which groups are not zero. */
int64_t icd_i_linear_scratch(const icd_plan *plan)
{
    int64_t widest = icd_i_plan_widest(plan);
    int64_t bytes =
        acc_bytes(plan) + ICD_TOKEN_CHUNK * icd_i_staged_bytes(staged_slots(plan));
    if (plan->kernel == ICD_KERNEL_GATHER)
        return bytes + ICD_TOKEN_CHUNK * ICD_GROUP * widest;
    return bytes + 2 * widest * (int64_t)sizeof(int32_t) + plan->slots / ICD_GROUP;
}

/* Where the parts of a scratch begin. */
typedef struct parts {
    int32_t *acc, *live, *at;
    uint8_t *staged;
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
    char *staged = (char *)scratch + acc_bytes(plan);
    char *rest = staged + ICD_TOKEN_CHUNK * icd_i_staged_bytes(staged_slots(plan));
    parts p = {.acc = scratch, .staged = (uint8_t *)staged};
    p.live = (int32_t *)(void *)rest;
    p.gathered = (int8_t *)rest;
    p.at = p.live + icd_i_plan_widest(plan);
    p.any = (uint8_t *)(p.at + icd_i_plan_widest(plan));
    if (plan->kernel == ICD_KERNEL_GATHER || tokens > ICD_PANEL ||
        !mark_any(plan, a, tokens, p.any))
        p.any = NULL;
    return p;
}

/* 0, 1, 2... without holes: no need to look up each entry. */
static bool is_run(const int32_t *live, int64_t count)
{
    return count > 0 && live[count - 1] == count - 1;
}

/* Where a block's weights are few enough to stay in the L1, a few tokens at a time cost
   nothing, and their outputs can leave while the next ones are computed. */
enum { FEW_GROUPS = 64, FEW_TOKENS = 8, AMX_TOKENS = 16 };

/* Tokens of one call; AMX takes them by the tile. */
static int64_t tokens_at_once(const icd_kernels *k, int64_t groups, int64_t tokens)
{
    if (groups > FEW_GROUPS) return tokens;
    return k->isa == ICD_ISA_AMX ? AMX_TOKENS : FEW_TOKENS;
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

/* The groups of one block: a list, or NULL where they are 0, 1, 2... */
typedef struct list {
    const int32_t *live, *at;
    int64_t count;
} list;

static list list_block(const icd_plan *plan, int64_t block, const parts *p)
{
    int64_t first = plan->block_ptr[block], count = plan->block_ptr[block + 1] - first;
    const int32_t *live = plan->live + first;
    if (plan->kernel == ICD_KERNEL_GATHER) return (list){NULL, NULL, count};
    if (p->any) return (list){p->live, p->at, skip_zeros(live, count, p)};
    return (list){is_run(live, count) ? NULL : live, NULL, count};
}

/* One block for the chunk of tokens that is staged. */
static void run_block(const icd_kernels *k, const icd_packed_linear *l, int64_t block,
                      int64_t slots, const float *a_scale, int64_t tokens, float *y,
                      int64_t ldy, const parts *p)
{
    const icd_plan *plan = l->plan;
    int64_t row = block * plan->vector, rows = block_rows(plan, block);
    list c = list_block(plan, block, p);
    int64_t step = tokens_at_once(k, c.count, tokens);
    for (int64_t t = 0; t < tokens; t += step) {
        int64_t n = tokens - t < step ? tokens - t : step;
        icd_i_fetch_rows(y + t * ldy + row, ldy, n, rows);
        k->tile_block(p->staged + t * icd_i_staged_bytes(slots), slots, n, c.live, c.at,
                      c.count,
                      l->w + icd_i_pack_bytes(plan->block_ptr[block], plan->vector),
                      l->comp + row, plan->vector, p->acc);
        for (int64_t i = 0; i < n; i++)
            k->dequantize_row(p->acc + i * plan->vector, rows, a_scale[t + i],
                              l->scale + row, l->bias ? l->bias + row : NULL,
                              y + (t + i) * ldy + row);
    }
}

/* Rows of each block's own slots, one behind the other; returns how many slots. */
static int64_t gather(const icd_kernels *k, const icd_plan *plan, int64_t block,
                      const int8_t *a, int64_t tokens, const parts *p)
{
    int64_t first = plan->block_ptr[block] * ICD_GROUP;
    int64_t count = plan->block_ptr[block + 1] * ICD_GROUP - first;
    k->gather_rows(a, plan->slots, tokens, plan->live + first, count, p->gathered);
    k->stage_rows(p->gathered, count, tokens, count, p->staged);
    return count;
}

void icd_i_linear_run(const icd_kernels *k, const icd_packed_linear *l, const int8_t *a,
                      const float *a_scale, int64_t tokens, int64_t first, int64_t last,
                      float *y, int64_t ldy, void *scratch)
{
    const icd_plan *plan = l->plan;
    parts p = part_scratch(plan, a, tokens, scratch);
    bool own = plan->kernel == ICD_KERNEL_GATHER;
    for (int64_t t = 0; t < tokens; t += ICD_TOKEN_CHUNK) {
        const int8_t *x = a + t * plan->slots;
        int64_t n = tokens - t < ICD_TOKEN_CHUNK ? tokens - t : ICD_TOKEN_CHUNK;
        if (!own) k->stage_rows(x, plan->slots, n, plan->slots, p.staged);
        for (int64_t b = first; b < last; b++)
            run_block(k, l, b, own ? gather(k, plan, b, x, n, &p) : plan->slots,
                      a_scale + t, n, y + t * ldy, ldy, &p);
    }
}
