/* Writing packed matrices: what survives of each, and how to read it. */
#include "model/packed.h"

#include "base/json.h"
#include "model/fused.h"

#include <string.h>

enum { PARTS = 6 };

/* Everything that one packed matrix adds to the file. */
typedef struct pieces {
    char *name[PARTS];
    void *data[PARTS];
    icd_tensor tensor[PARTS];
    int count;
} pieces;

static void release(icd_ctx *ctx, pieces *p)
{
    for (int i = 0; i < PARTS; i++) {
        icd_i_free(ctx, p->name[i]);
        icd_i_free(ctx, p->data[i]);
    }
}

/* A part of `dims` dimensions; its zeroed bytes are p->data of the returned index. */
static icd_status add(icd_ctx *ctx, pieces *p, const char *tensor, const char *suffix,
                      icd_dtype dtype, int64_t rows, int64_t cols, void **data)
{
    icd_status status = ICD_OK;
    int i = p->count++;
    int64_t count = cols ? rows * cols : rows;
    size_t length = strlen(tensor) + strlen(suffix) + 1;
    ICD_TRY(ICD_ALLOC(ctx, (int64_t)length, &p->name[i]));
    strcpy(p->name[i], tensor);
    strcat(p->name[i], suffix);
    ICD_TRY(icd_i_alloc(ctx, count, (size_t)icd_dtype_size(dtype), &p->data[i]));
    p->tensor[i] = (icd_tensor){.name = p->name[i],
                                .dtype = dtype,
                                .dims = cols ? 2 : 1,
                                .shape = {rows, cols},
                                .count = count,
                                .data = p->data[i]};
    *data = p->data[i];
done:
    return status;
}

static icd_dtype stored_type(const icd_quantized *q)
{
    if (!q) return ICD_F32;
    if (q->dtype == ICD_WEIGHT_BF16) return ICD_BF16;
    return q->dtype == ICD_WEIGHT_INT8 ? ICD_I8 : ICD_U8;
}

/* Weight `from` of the matrix becomes weight `to` of the survivors. */
static void put(const icd_quantized *q, const float *dense, int64_t from, int64_t to,
                void *out)
{
    if (!q)
        ((float *)out)[to] = dense[from];
    else if (q->dtype == ICD_WEIGHT_BF16)
        ((uint16_t *)out)[to] = q->bits[from];
    else if (q->dtype == ICD_WEIGHT_INT4)
        ((uint8_t *)out)[to / 2] |= (uint8_t)((q->q[from] & 15) << (to % 2 * 4));
    else
        ((int8_t *)out)[to] = q->q[from];
}

static icd_status add_values(icd_ctx *ctx, pieces *p, const char *name,
                             const icd_packed *k, const float *dense, int64_t rows,
                             int64_t cols)
{
    void *out = NULL;
    const icd_quantized *q = k->quant;
    int64_t at = 0, kept = icd_i_packed_regular(
                        k->mask, rows, cols, q ? q->outlier : NULL, q ? q->outliers : 0);
    bool halves = k->quant && k->quant->dtype == ICD_WEIGHT_INT4;
    icd_status status = add(ctx, p, name, ICD_PACKED_VALUES, stored_type(k->quant),
                            halves ? (kept + 1) / 2 : kept, 0, &out);
    for (int64_t r = 0; status == ICD_OK && r < rows; r++)
        for (int64_t c = 0; c < cols; c++)
            if ((!k->mask || icd_i_mask_get(k->mask, r / k->mask->vector, c)) &&
                !(q && icd_i_is_outlier(q, c)))
                put(k->quant, dense, r * cols + c, at++, out);
    return status;
}

static icd_status add_mask(icd_ctx *ctx, pieces *p, const char *name, const icd_mask *m)
{
    void *out = NULL;
    int64_t bytes = (m->cols + 7) / 8;
    icd_status status =
        add(ctx, p, name, ICD_PACKED_MASK, ICD_U8, m->blocks, bytes, &out);
    uint8_t *bits = out;
    for (int64_t b = 0; status == ICD_OK && b < m->blocks; b++)
        for (int64_t c = 0; c < m->cols; c++)
            if (icd_i_mask_get(m, b, c))
                bits[b * bytes + c / 8] |= (uint8_t)(1u << (c % 8));
    return status;
}

static icd_status add_outliers(icd_ctx *ctx, pieces *p, const char *name,
                               const icd_quantized *q)
{
    icd_status status = ICD_OK;
    void *out = NULL;
    ICD_TRY(add(ctx, p, name, ICD_PACKED_WHICH, ICD_I32, q->outliers, 0, &out));
    memcpy(out, q->outlier, (size_t)q->outliers * sizeof *q->outlier);
    ICD_TRY(add(ctx, p, name, ICD_PACKED_WIDE, ICD_BF16, q->rows, q->outliers, &out));
    memcpy(out, q->wide, (size_t)(q->rows * q->outliers) * sizeof *q->wide);
done:
    return status;
}

static icd_status add_rest(icd_ctx *ctx, pieces *p, const char *name, const icd_packed *k)
{
    icd_status status = ICD_OK;
    void *out = NULL;
    if (k->mask) ICD_TRY(add_mask(ctx, p, name, k->mask));
    if (k->quant && k->quant->dtype != ICD_WEIGHT_BF16) {
        int64_t groups = icd_quantized_groups(k->quant);
        ICD_TRY(
            add(ctx, p, name, ICD_PACKED_SCALES, ICD_F32, k->quant->rows, groups, &out));
        memcpy(out, k->quant->scale,
               (size_t)(k->quant->rows * groups) * sizeof *k->quant->scale);
    }
    if (k->quant && k->quant->outliers) ICD_TRY(add_outliers(ctx, p, name, k->quant));
    if (k->order) {
        ICD_TRY(add(ctx, p, name, ICD_PACKED_ORDER, ICD_I32, k->order->n, 0, &out));
        memcpy(out, k->order->old_of_new,
               (size_t)k->order->n * sizeof *k->order->old_of_new);
    }
done:
    return status;
}

static json_t *about(const icd_packed *k, int64_t rows, int64_t cols)
{
    char frame[17] = "0000000000000000";
    if (k->order)
        snprintf(frame, sizeof frame, "%016llx", (unsigned long long)k->order->from);
    json_t *one = json_pack(
        "{s:I,s:I,s:s,s:i,s:i,s:i,s:i,s:s}", "rows", (json_int_t)rows, "cols",
        (json_int_t)cols, "dtype",
        icd_weight_dtype_name(k->quant ? k->quant->dtype : ICD_WEIGHT_F32), "vector",
        k->mask ? k->mask->vector : 0, "group", k->quant ? k->quant->group : 0, "n",
        k->quant ? k->quant->n : 0, "m", k->quant ? k->quant->m : 0, "frame", frame);
    if (k->quant && k->quant->outliers)
        json_object_set_new(one, "outliers", json_integer(k->quant->outliers));
    if (k->quant && k->quant->input_scale > 0)
        json_object_set_new(one, "input_scale", json_real((double)k->quant->input_scale));
    return one;
}

static icd_status check(icd_ctx *ctx, const icd_packed *k, const icd_slot *slot)
{
    if (!slot)
        return icd_i_fail(ctx, ICD_EINVAL, k->tensor, NULL,
                          "the model has no such tensor");
    const icd_tensor *t = &slot->tensor;
    bool fits = t->dims == 2;
    if (k->mask)
        fits = fits && k->mask->rows == t->shape[0] && k->mask->cols == t->shape[1];
    if (k->quant)
        fits = fits && k->quant->rows == t->shape[0] && k->quant->cols == t->shape[1];
    if (k->order) fits = fits && k->order->n == t->shape[1];
    if (fits) return ICD_OK;
    return icd_i_fail(ctx, ICD_EINVAL, k->tensor, NULL,
                      "mask, weights or order are of another shape than the tensor");
}

static icd_status pack(icd_ctx *ctx, const icd_model *model, const icd_packed *k,
                       pieces *p, json_t *list)
{
    icd_status status = ICD_OK;
    float *dense = NULL;
    const icd_slot *slot = icd_i_model_slot(model, k->tensor);
    ICD_TRY(check(ctx, k, slot));
    int64_t rows = slot->tensor.shape[0], cols = slot->tensor.shape[1];
    if (!k->quant) ICD_TRY(icd_model_tensor_f32(ctx, model, k->tensor, &dense));
    ICD_TRY(add_values(ctx, p, slot->file_name, k, dense, rows, cols));
    ICD_TRY(add_rest(ctx, p, slot->file_name, k));
    if (json_object_set_new(list, slot->file_name, about(k, rows, cols)))
        status = ICD_ENOMEM;
done:
    icd_mem_free(ctx, dense);
    return status;
}

/* The tensors that stay whole, with room for the parts of the others. */
static icd_status list_whole(icd_ctx *ctx, const icd_model *model,
                             const icd_packed *packed, int64_t count, icd_stored *out)
{
    bool *without = NULL;
    *out = (icd_stored){0};
    icd_status status = ICD_ALLOC(ctx, model->slots, &without);
    if (status != ICD_OK) return status;
    for (int64_t i = 0; i < count; i++)
        without[icd_i_model_slot(model, packed[i].tensor) - model->slot] = true;
    status = icd_i_stored_new(ctx, model, without, PARTS * count, out);
    icd_i_free(ctx, without);
    return status;
}

icd_status icd_model_write_packed(icd_ctx *ctx, const icd_model *model,
                                  const icd_packed *packed, int64_t count,
                                  const char *source, const char *dir)
{
    icd_status status = ICD_OK;
    pieces *part = NULL;
    icd_stored stored = {0};
    char *text = NULL;
    json_t *list = json_object();
    ICD_TRY(ICD_ALLOC(ctx, count, &part));
    for (int64_t i = 0; i < count; i++)
        ICD_TRY(pack(ctx, model, &packed[i], &part[i], list));
    ICD_TRY(icd_i_json_print(ctx, list, true, &text));
    ICD_TRY(list_whole(ctx, model, packed, count, &stored));
    for (int64_t i = 0; i < count; i++)
        for (int k = 0; k < part[i].count; k++)
            stored.tensor[stored.count++] = part[i].tensor[k];
    status = icd_i_model_write_as(ctx, model, stored.tensor, stored.count, ICD_PACKED_KEY,
                                  text, source, dir);
done:
    for (int64_t i = 0; part && i < count; i++) release(ctx, &part[i]);
    icd_i_free(ctx, part);
    icd_i_stored_release(ctx, &stored);
    icd_i_free(ctx, text);
    json_decref(list);
    return status;
}
