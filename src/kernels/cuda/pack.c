#include "kernels/cuda/pack.h"

#include "core/small_float.h"

#include <string.h>

int64_t icd_i_gpu_slots(const icd_plan *plan, int32_t type)
{
    int64_t n = icd_i_gpu_channels(type);
    return (plan->slots + n - 1) / n * n;
}

static bool is_gather(const icd_plan *plan)
{
    return plan->kernel == ICD_KERNEL_GATHER;
}

/* Live slots of a gather block, without the repeats that fill its last group of four. */
static int64_t gathered(const icd_plan *plan, int64_t block)
{
    int64_t first = plan->block_ptr[block] * ICD_GROUP,
            last = plan->block_ptr[block + 1] * ICD_GROUP;
    while (last > first + 1 && plan->live[last - 1] == plan->live[last - 2]) last--;
    return last - first;
}

/* Walks the granules that the block's groups of four touch. */
static int64_t tiles(const icd_plan *plan, int32_t type, int64_t block, int32_t *live)
{
    int64_t count = 0;
    int32_t groups = icd_i_gpu_channels(type) / ICD_GROUP, before = -1;
    for (int64_t i = plan->block_ptr[block]; i < plan->block_ptr[block + 1]; i++) {
        int32_t granule = plan->live[i] / groups;
        if (granule == before) continue;
        if (live) live[count] = granule;
        before = granule;
        count++;
    }
    return count;
}

int64_t icd_i_gpu_count(const icd_plan *plan, int32_t type, int64_t *block_ptr)
{
    int64_t n = icd_i_gpu_channels(type);
    block_ptr[0] = 0;
    for (int64_t b = 0; b < plan->blocks; b++)
        block_ptr[b + 1] =
            block_ptr[b] + (is_gather(plan) ? (gathered(plan, b) + n - 1) / n
                                            : tiles(plan, type, b, NULL));
    return block_ptr[plan->blocks];
}

int64_t icd_i_gpu_live_entries(const icd_plan *plan, int32_t type, int64_t granules)
{
    return is_gather(plan) ? granules * icd_i_gpu_channels(type) : granules;
}

static void list_channels(const icd_plan *plan, int64_t block, int64_t room,
                          int32_t *live)
{
    int64_t count = gathered(plan, block);
    memcpy(live, plan->live + plan->block_ptr[block] * ICD_GROUP,
           (size_t)count * sizeof *live);
    for (int64_t i = count; i < room; i++) live[i] = -1;
}

void icd_i_gpu_list(const icd_plan *plan, int32_t type, const int64_t *block_ptr,
                    int32_t *live)
{
    int64_t n = icd_i_gpu_channels(type);
    for (int64_t b = 0; b < plan->blocks; b++)
        if (is_gather(plan))
            list_channels(plan, b, (block_ptr[b + 1] - block_ptr[b]) * n,
                          live + block_ptr[b] * n);
        else
            tiles(plan, type, b, live + block_ptr[b]);
}

/* Column of the model behind channel c of granule g of the list; -1: zero. */
static int32_t column_of(const icd_plan *plan, int32_t type, const int32_t *live,
                         int64_t g, int64_t c)
{
    int64_t n = icd_i_gpu_channels(type);
    int64_t slot = is_gather(plan) ? live[g * n + c] : live[g] * n + c;
    return slot < 0 || slot >= plan->slots ? -1 : plan->old_of_new[slot];
}

static void put(int32_t type, const void *w, int64_t at, unsigned char *to)
{
    if (icd_i_gpu_size(type) == 1) {
        *to = ((const unsigned char *)w)[at];
        return;
    }
    uint16_t bits = icd_i_bf16_of(((const float *)w)[at]);
    memcpy(to, &bits, sizeof bits);
}

static void pack_granule(const icd_plan *plan, int32_t type, const void *w,
                         int64_t first_row, const int32_t *column, unsigned char *out)
{
    int32_t n = icd_i_gpu_channels(type), size = icd_i_gpu_size(type);
    for (int32_t r = 0; r < plan->vector && first_row + r < plan->rows; r++)
        for (int32_t c = 0; c < n; c++) {
            int32_t byte = c * size;
            if (column[c] < 0) continue;
            put(type, w, (first_row + r) * plan->cols + column[c],
                out + icd_i_gpu_swizzle(r, byte / ICD_GPU_CHUNK) + byte % ICD_GPU_CHUNK);
        }
}

void icd_i_gpu_pack(const icd_plan *plan, int32_t type, const int64_t *block_ptr,
                    const int32_t *live, const void *w, int64_t block, unsigned char *out)
{
    int32_t column[ICD_GPU_GRANULE];
    int64_t bytes = (int64_t)plan->vector * ICD_GPU_GRANULE;
    memset(out, 0, (size_t)((block_ptr[block + 1] - block_ptr[block]) * bytes));
    for (int64_t g = block_ptr[block]; g < block_ptr[block + 1]; g++) {
        for (int32_t c = 0; c < icd_i_gpu_channels(type); c++)
            column[c] = column_of(plan, type, live, g, c);
        pack_granule(plan, type, w, block * plan->vector, column,
                     out + (g - block_ptr[block]) * bytes);
    }
}
