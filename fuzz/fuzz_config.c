/* layer: model */
/* Bytes as the config.json of a model whose tensors are fixed: a Mamba of one layer. What
 * is accepted must fit them, and every axis too. */
#include "fuzz.h"
#include "fuzz_ctx.h"

#include "model/model_private.h"

#include <string.h>

enum { MOST_BYTES = 1 << 14, H = 4, I = 6, S = 2, K = 4, R = 1, V = 5, SLOTS = 12 };

static void check(const icd_model *m)
{
    const icd_model_config *c = &m->config;
    if (c->layers != 1 || c->hidden != H || c->inner != I || c->vocab != V) abort();
    if (c->state != S || c->conv != K || c->dt_rank != R || c->norm_eps < 0) abort();
    for (int64_t a = 0; a < m->axes; a++) {
        const icd_axis *axis = &m->axis[a].axis;
        for (int64_t b = 0; b < axis->bindings; b++) {
            const icd_binding *p = &axis->binding[b];
            const icd_tensor *t = icd_model_tensor(m, p->tensor);
            if (!t || p->dim < 0 || p->dim >= t->dims || p->offset < 0 || p->block < 1 ||
                p->offset + axis->n * p->block > t->shape[p->dim])
                abort();
        }
    }
}

/* Sorted by name, as a model has them. */
static void fill(icd_slot slot[SLOTS], const float *values)
{
#define LAYER "backbone.layers.0."
    const icd_tensor tensor[SLOTS] = {
        {"backbone.embeddings.weight", ICD_F32, 2, {V, H}, V * H, values},
        {LAYER "mixer.A_log", ICD_F32, 2, {I, S}, I * S, values},
        {LAYER "mixer.D", ICD_F32, 1, {I}, I, values},
        {LAYER "mixer.conv1d.bias", ICD_F32, 1, {I}, I, values},
        {LAYER "mixer.conv1d.weight", ICD_F32, 3, {I, 1, K}, I * K, values},
        {LAYER "mixer.dt_proj.bias", ICD_F32, 1, {I}, I, values},
        {LAYER "mixer.dt_proj.weight", ICD_F32, 2, {I, R}, I * R, values},
        {LAYER "mixer.in_proj.weight", ICD_F32, 2, {2 * I, H}, 2 * I * H, values},
        {LAYER "mixer.out_proj.weight", ICD_F32, 2, {H, I}, H * I, values},
        {LAYER "mixer.x_proj.weight",
         ICD_F32,
         2,
         {R + 2 * S, I},
         (R + 2 * S) * I,
         values},
        {LAYER "norm.weight", ICD_F32, 1, {H}, H, values},
        {"backbone.norm_f.weight", ICD_F32, 1, {H}, H, values},
    };
#undef LAYER
    for (int i = 0; i < SLOTS; i++)
        slot[i] = (icd_slot){.tensor = tensor[i], .file_name = tensor[i].name};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static float values[64];
    icd_slot slot[SLOTS];
    icd_model m = {.name = "model", .path = "model", .slot = slot, .slots = SLOTS};
    json_t *root = NULL;
    if (size > MOST_BYTES) return 0;
    fill(slot, values);
    icd_ctx *ctx = fuzz_ctx_new();
    if (icd_i_arena_new(ctx, &m.arena) != ICD_OK) abort();
    icd_status status =
        icd_i_json_parse(ctx, (const char *)data, size, "config.json", &root);
    if (status == ICD_OK) status = icd_i_mamba_open(ctx, &m, "config.json", root);
    if (status == ICD_OK)
        check(&m);
    else if (status != ICD_EUNSUPPORTED)
        fuzz_check_error(ctx, status, NULL);
    json_decref(root);
    icd_mem_free(ctx, m.axis);
    icd_i_arena_free(ctx, m.arena);
    icd_ctx_free(ctx);
    return 0;
}
