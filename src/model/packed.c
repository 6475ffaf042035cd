/* Reading packed matrices back: sizes first, then the parts, then dense f32. */
#include "model/packed.h"

#include "base/json.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_SIDE = 1 << 24, NAME = 512 };

static const char *const SUFFIX[] = {ICD_PACKED_VALUES, ICD_PACKED_MASK,
                                     ICD_PACKED_SCALES, ICD_PACKED_ORDER,
                                     ICD_PACKED_WIDE,   ICD_PACKED_WHICH};

bool icd_i_packed_part(const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < sizeof SUFFIX / sizeof *SUFFIX; i++) {
        size_t tail = strlen(SUFFIX[i]);
        if (n > tail && !strcmp(name + n - tail, SUFFIX[i])) return true;
    }
    return false;
}

int64_t icd_i_packed_survivors(const icd_mask *mask, int64_t rows, int64_t cols)
{
    int64_t count = 0;
    if (!mask) return rows * cols;
    for (int64_t b = 0; b < mask->blocks; b++) {
        int64_t left = rows - b * mask->vector;
        int64_t height = left < mask->vector ? left : mask->vector;
        for (int64_t w = 0; w < mask->words; w++)
            count += height * __builtin_popcountll(mask->bits[b * mask->words + w]);
    }
    return count;
}

int64_t icd_i_packed_regular(const icd_mask *mask, int64_t rows, int64_t cols,
                             const int32_t *wide, int64_t count)
{
    int64_t left = icd_i_packed_survivors(mask, rows, cols);
    if (!mask) return left - rows * count;
    for (int64_t b = 0; b < mask->blocks; b++) {
        int64_t height = rows - b * mask->vector;
        if (height > mask->vector) height = mask->vector;
        for (int64_t i = 0; i < count; i++)
            left -= icd_i_mask_get(mask, b, wide[i]) ? height : 0;
    }
    return left;
}

/* What the metadata says of one matrix. */
typedef struct shape {
    const char *tensor;
    int64_t rows, cols, vector, group, n, m;
    int64_t outliers;
    double input_scale; /* 0: none */
    int32_t dtype;
    uint64_t frame;
    const int32_t *wide; /* [outliers] */
} shape;

static icd_status bad(icd_ctx *ctx, const shape *s, const char *what)
{
    return icd_i_fail(ctx, ICD_EDATA, s->tensor, "the file is damaged; transform again",
                      "packed as [%" PRId64 ", %" PRId64 "]: %s", s->rows, s->cols, what);
}

static icd_status read_dtype(icd_ctx *ctx, const json_t *about, const char *place,
                             int32_t *out)
{
    const char *name = NULL;
    icd_status status = icd_i_json_string(ctx, about, "dtype", place, &name);
    if (status != ICD_OK) return status;
    for (*out = 0; *out < ICD_WEIGHT_DTYPES; ++*out)
        if (!strcmp(icd_weight_dtype_name(*out), name)) return ICD_OK;
    return icd_i_fail(ctx, ICD_EDATA, place, NULL, "dtype: found '%.40s'", name);
}

static icd_status read_frame(icd_ctx *ctx, const json_t *about, const char *place,
                             uint64_t *out)
{
    const char *text = NULL;
    char *end = NULL;
    icd_status status = icd_i_json_string(ctx, about, "frame", place, &text);
    if (status != ICD_OK) return status;
    *out = strtoull(text, &end, 16);
    if (strlen(text) == 16 && !*end) return ICD_OK;
    return icd_i_fail(ctx, ICD_EDATA, place, NULL,
                      "frame: found '%.40s', expected 16 hexadecimal digits", text);
}

/* Members that only some matrices have. */
static icd_status read_extras(icd_ctx *ctx, const char *tensor, const json_t *about,
                              shape *s)
{
    icd_status status = ICD_OK;
    if (json_object_get(about, "outliers"))
        ICD_TRY(
            icd_i_json_int(ctx, about, "outliers", tensor, 1, MOST_SIDE, &s->outliers));
    if (json_object_get(about, "input_scale"))
        ICD_TRY(icd_i_json_real(ctx, about, "input_scale", tensor, &s->input_scale));
    if (s->input_scale < 0 || s->input_scale > (double)FLT_MAX)
        status = bad(ctx, s, "its input_scale is no positive number");
    if (s->outliers > s->cols) status = bad(ctx, s, "it has more outliers than columns");
    if (s->outliers && (s->dtype == ICD_WEIGHT_F32 || s->dtype == ICD_WEIGHT_BF16))
        status = bad(ctx, s, "outliers go with a type that is smaller than theirs");
done:
    return status;
}

static icd_status read_shape(icd_ctx *ctx, const char *tensor, const json_t *about,
                             shape *s)
{
    icd_status status = ICD_OK;
    *s = (shape){.tensor = tensor};
    ICD_TRY(icd_i_json_int(ctx, about, "rows", tensor, 1, MOST_SIDE, &s->rows));
    ICD_TRY(icd_i_json_int(ctx, about, "cols", tensor, 1, MOST_SIDE, &s->cols));
    ICD_TRY(icd_i_json_int(ctx, about, "vector", tensor, 0, MOST_SIDE, &s->vector));
    ICD_TRY(icd_i_json_int(ctx, about, "group", tensor, 0, MOST_SIDE, &s->group));
    ICD_TRY(icd_i_json_int(ctx, about, "n", tensor, 0, 256, &s->n));
    ICD_TRY(icd_i_json_int(ctx, about, "m", tensor, 0, 256, &s->m));
    ICD_TRY(read_dtype(ctx, about, tensor, &s->dtype));
    ICD_TRY(read_frame(ctx, about, tensor, &s->frame));
    status = read_extras(ctx, tensor, about, s);
done:
    return status;
}

static const icd_tensor *part(const icd_model *model, const shape *s, const char *suffix)
{
    char name[NAME];
    if (snprintf(name, sizeof name, "%s%s", s->tensor, suffix) >= NAME) return NULL;
    return icd_safetensors_get(model->file, name);
}

static bool fits(const icd_tensor *t, icd_dtype dtype, int64_t rows, int64_t cols)
{
    return t && t->dtype == dtype && t->dims == (cols ? 2 : 1) && t->shape[0] == rows &&
           (!cols || t->shape[1] == cols);
}

static icd_status read_mask(icd_ctx *ctx, const icd_model *model, const shape *s,
                            icd_packed_slot *p)
{
    const icd_tensor *t = part(model, s, ICD_PACKED_MASK);
    int64_t bytes = (s->cols + 7) / 8;
    if (!t) return s->vector ? bad(ctx, s, "its .icd.mask is missing") : ICD_OK;
    if (s->vector < 1) return bad(ctx, s, "a mask needs a vector of at least 1");
    int64_t blocks = (s->rows + s->vector - 1) / s->vector;
    if (!fits(t, ICD_U8, blocks, bytes))
        return bad(ctx, s, "its .icd.mask is not U8 [row blocks, ceil(cols / 8)]");
    icd_status status =
        icd_i_mask_new(ctx, s->rows, s->cols, (int32_t)s->vector, &p->mask);
    const uint8_t *bits = t->data;
    for (int64_t b = 0; status == ICD_OK && b < blocks; b++)
        for (int64_t c = 0; c < s->cols; c++)
            if (bits[b * bytes + c / 8] >> (c % 8) & 1) icd_i_mask_set(p->mask, b, c);
    return status;
}

static icd_status read_order(icd_ctx *ctx, const icd_model *model, const shape *s,
                             icd_packed_slot *p)
{
    const icd_tensor *t = part(model, s, ICD_PACKED_ORDER);
    if (!t) return ICD_OK;
    if (!fits(t, ICD_I32, s->cols, 0))
        return bad(ctx, s, "its .icd.order is not I32 [cols]");
    return icd_perm_from_array(ctx, t->data, s->cols, s->frame, t->name, &p->order);
}

static icd_status read_scales(icd_ctx *ctx, const icd_model *model, const shape *s,
                              icd_quantized *q)
{
    const icd_tensor *t = part(model, s, ICD_PACKED_SCALES);
    int64_t groups = icd_quantized_groups(q);
    if (q->dtype == ICD_WEIGHT_BF16) {
        for (int64_t i = 0; i < s->rows * groups; i++) q->scale[i] = 1;
        return ICD_OK;
    }
    if (!fits(t, ICD_F32, s->rows, groups))
        return bad(ctx, s, "its .icd.scales are not F32 [rows, groups]");
    memcpy(q->scale, t->data, (size_t)(s->rows * groups) * sizeof *q->scale);
    for (int64_t i = 0; i < s->rows * groups; i++)
        if (!isfinite(q->scale[i])) return bad(ctx, s, "a scale is not finite");
    return ICD_OK;
}

/* Takes survivor `from` as weight `to`. @return false: no value of this type */
static bool take(icd_packed_slot *p, const void *values, int64_t from, int64_t to)
{
    icd_quantized *q = p->quant;
    if (!q) {
        p->dense[to] = ((const float *)values)[from];
    } else if (q->dtype == ICD_WEIGHT_BF16) {
        q->bits[to] = ((const uint16_t *)values)[from];
    } else if (q->dtype == ICD_WEIGHT_INT4) {
        int v = ((const uint8_t *)values)[from / 2] >> (from % 2 * 4) & 15;
        q->q[to] = (int8_t)(v > 7 ? v - 16 : v);
    } else {
        q->q[to] = ((const int8_t *)values)[from];
    }
    return !q || q->dtype != ICD_WEIGHT_INT8 || q->q[to] != INT8_MIN;
}

static icd_dtype stored_type(int32_t dtype)
{
    if (dtype == ICD_WEIGHT_F32) return ICD_F32;
    if (dtype == ICD_WEIGHT_BF16) return ICD_BF16;
    return dtype == ICD_WEIGHT_INT8 ? ICD_I8 : ICD_U8;
}

static icd_status find_outliers(icd_ctx *ctx, const icd_model *model, shape *s)
{
    const icd_tensor *t = part(model, s, ICD_PACKED_WHICH);
    if (!s->outliers) return ICD_OK;
    if (!fits(t, ICD_I32, s->outliers, 0))
        return bad(ctx, s, "its .icd.outlier_columns are not I32 [outliers]");
    if (!fits(part(model, s, ICD_PACKED_WIDE), ICD_BF16, s->rows, s->outliers))
        return bad(ctx, s, "its .icd.outliers are not BF16 [rows, outliers]");
    s->wide = t->data;
    for (int64_t i = 0; i < s->outliers; i++)
        if (s->wide[i] < 0 || s->wide[i] >= s->cols ||
            (i > 0 && s->wide[i] <= s->wide[i - 1]))
            return bad(ctx, s, "its .icd.outlier_columns are no ascending columns");
    return ICD_OK;
}

static icd_status read_outliers(icd_ctx *ctx, const icd_model *model, const shape *s,
                                icd_quantized *q)
{
    icd_status status = ICD_OK;
    if (!s->outliers) return ICD_OK;
    q->outliers = s->outliers;
    ICD_TRY(ICD_ALLOC(ctx, s->outliers, &q->outlier));
    memcpy(q->outlier, s->wide, (size_t)s->outliers * sizeof *q->outlier);
    ICD_TRY(ICD_ALLOC(ctx, s->rows * s->outliers, &q->wide));
    memcpy(q->wide, part(model, s, ICD_PACKED_WIDE)->data,
           (size_t)(s->rows * s->outliers) * sizeof *q->wide);
done:
    return status;
}

static bool is_listed(const int32_t *wide, int64_t count, int64_t column)
{
    const icd_quantized list = {.outlier = (int32_t *)(uintptr_t)wide, .outliers = count};
    return icd_i_is_outlier(&list, column);
}

static icd_status read_values(icd_ctx *ctx, const icd_model *model, const shape *s,
                              icd_packed_slot *p)
{
    const icd_tensor *t = part(model, s, ICD_PACKED_VALUES);
    int64_t at = 0,
            kept = icd_i_packed_regular(p->mask, s->rows, s->cols, s->wide, s->outliers);
    int64_t stored = s->dtype == ICD_WEIGHT_INT4 ? (kept + 1) / 2 : kept;
    if (!fits(t, stored_type(s->dtype), stored, 0))
        return bad(ctx, s, "its .icd.values are not the survivors of its mask");
    for (int64_t r = 0; r < s->rows; r++)
        for (int64_t c = 0; c < s->cols; c++)
            if ((!p->mask || icd_i_mask_get(p->mask, r / p->mask->vector, c)) &&
                !is_listed(s->wide, s->outliers, c) &&
                !take(p, t->data, at++, r * s->cols + c))
                return bad(ctx, s, "an int8 value is -128");
    return ICD_OK;
}

static icd_status copy_group_order(icd_ctx *ctx, const icd_packed_slot *p)
{
    if (!p->order || p->quant->group == 0) return ICD_OK;
    icd_status status = ICD_ALLOC(ctx, p->order->n, &p->quant->order);
    if (status == ICD_OK)
        memcpy(p->quant->order, p->order->old_of_new,
               (size_t)p->order->n * sizeof *p->quant->order);
    return status;
}

static icd_status read_one(icd_ctx *ctx, const icd_model *model, const char *tensor,
                           const json_t *about, icd_packed_slot *p)
{
    icd_status status = ICD_OK;
    shape s;
    ICD_TRY(read_shape(ctx, tensor, about, &s));
    p->rows = s.rows;
    p->cols = s.cols;
    ICD_TRY(read_mask(ctx, model, &s, p));
    ICD_TRY(read_order(ctx, model, &s, p));
    ICD_TRY(find_outliers(ctx, model, &s));
    const icd_tensor *t = part(model, &s, ICD_PACKED_VALUES);
    int64_t kept = icd_i_packed_regular(p->mask, s.rows, s.cols, s.wide, s.outliers);
    if (!t || t->count < kept / 2) { /* before memory is taken for what is not there */
        status = bad(ctx, &s, "its .icd.values are missing or too few");
        goto done;
    }
    ICD_TRY(ICD_ALLOC(ctx, s.rows * s.cols, &p->dense));
    if (s.dtype != ICD_WEIGHT_F32)
        ICD_TRY(icd_quantized_new_as(ctx, s.rows, s.cols, s.dtype, (int32_t)s.group,
                                     &p->quant));
    ICD_TRY(read_values(ctx, model, &s, p));
    if (p->quant) {
        ICD_TRY(read_scales(ctx, model, &s, p->quant));
        ICD_TRY(read_outliers(ctx, model, &s, p->quant));
        ICD_TRY(copy_group_order(ctx, p));
        p->quant->input_scale = (float)s.input_scale;
        p->quant->n = (int32_t)s.n;
        p->quant->m = (int32_t)s.m;
        for (int64_t r = 0; r < s.rows; r++)
            icd_quantized_row(p->quant, r, p->dense + r * s.cols);
    }
    p->packed = (icd_packed){tensor, p->mask, p->quant, p->order};
    p->packed.tensor = icd_i_arena_strdup(ctx, model->arena, tensor);
    if (!p->packed.tensor) status = ICD_ENOMEM;
done:
    return status;
}

icd_status icd_i_packed_read(icd_ctx *ctx, icd_model *model)
{
    icd_status status = ICD_OK;
    const char *text = icd_safetensors_metadata(model->file, ICD_PACKED_KEY), *tensor;
    json_t *root = NULL, *about;
    if (!text) return ICD_OK;
    ICD_TRY(icd_i_json_parse(ctx, text, strlen(text), ICD_PACKED_KEY, &root));
    ICD_TRY(ICD_ALLOC(ctx, (int64_t)json_object_size(root), &model->packed));
    json_object_foreach(root, tensor, about)
        ICD_TRY(read_one(ctx, model, tensor, about, &model->packed[model->packs++]));
done:
    json_decref(root);
    return status;
}

void icd_i_packed_release(icd_ctx *ctx, icd_model *model)
{
    for (int64_t i = 0; i < model->packs; i++) {
        icd_packed_slot *p = &model->packed[i];
        icd_i_mask_free(ctx, p->mask);
        icd_quantized_free(ctx, p->quant);
        icd_perm_free(ctx, p->order);
        icd_i_free(ctx, p->dense);
    }
    icd_i_free(ctx, model->packed);
}

const icd_packed *icd_model_packed(const icd_model *model, const char *tensor)
{
    for (int64_t i = 0; i < model->packs; i++)
        if (!strcmp(model->packed[i].packed.tensor, tensor))
            return &model->packed[i].packed;
    return NULL;
}
