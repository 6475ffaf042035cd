/* layer: model */
/* An axis map for a model of two tensors. Every axis that is accepted must fit them. */
#include "fuzz.h"
#include "fuzz_ctx.h"

#include "model/model_private.h"

#include <string.h>

enum { MOST_BYTES = 1 << 14, ROWS = 8, COLS = 6 };

static void check(const icd_model *m)
{
    for (int64_t a = 0; a < m->axes; a++) {
        const icd_axis *axis = &m->axis[a].axis;
        if (axis->n < 1 || axis->bindings < 1) abort();
        for (int64_t b = 0; b < axis->bindings; b++) {
            const icd_binding *p = &axis->binding[b];
            const icd_tensor *t = icd_model_tensor(m, p->tensor);
            if (!t || p->dim < 0 || p->dim >= t->dims || p->offset < 0 || p->block < 1 ||
                p->offset + axis->n * p->block > t->shape[p->dim])
                abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static float values[ROWS * COLS];
    icd_slot slot[2] = {
        {.tensor = {"a", ICD_F32, 2, {ROWS, COLS}, ROWS * COLS, values}},
        {.tensor = {"b.0", ICD_F32, 1, {ROWS}, ROWS, values}},
    };
    icd_model m = {.name = "model", .path = "model", .slot = slot, .slots = 2};
    if (size > MOST_BYTES) return 0;
    icd_ctx *ctx = fuzz_ctx_new();
    if (icd_i_arena_new(ctx, &m.arena) != ICD_OK) abort();
    icd_status status =
        icd_i_axis_map_parse(ctx, &m, (const char *)data, size, "axes.yaml");
    if (status != ICD_OK) fuzz_check_error(ctx, status, NULL);
    if (status == ICD_OK) check(&m);
    icd_mem_free(ctx, m.axis);
    icd_i_arena_free(ctx, m.arena);
    icd_ctx_free(ctx);
    return 0;
}
