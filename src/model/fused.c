#include "model/fused.h"

#include <stdio.h>
#include <string.h>

enum { TILE = 32 };

/* A matrix of elements whose bytes nobody looks at. */
typedef struct side {
    unsigned char *data;
    int64_t stride; /* elements from row to row */
} side;

/* to[c][r] = from[r][c], tile by tile, so that both sides stay in the cache. With `size`
 * known where it is inlined, memcpy is one move. */
static inline __attribute__((always_inline)) void
turn_sized(side from, side to, int64_t rows, int64_t cols, size_t size)
{
    for (int64_t r0 = 0; r0 < rows; r0 += TILE)
        for (int64_t c0 = 0; c0 < cols; c0 += TILE)
            for (int64_t r = r0; r < r0 + TILE && r < rows; ++r)
                for (int64_t c = c0; c < c0 + TILE && c < cols; ++c)
                    memcpy(to.data + (size_t)(c * to.stride + r) * size,
                           from.data + (size_t)(r * from.stride + c) * size, size);
}

static void turn(side from, side to, int64_t rows, int64_t cols, int64_t size)
{
    if (size == 4)
        turn_sized(from, to, rows, cols, 4);
    else if (size == 2)
        turn_sized(from, to, rows, cols, 2);
    else
        turn_sized(from, to, rows, cols, (size_t)size);
}

static unsigned char *bytes_at(const void *data, int64_t element, int64_t size)
{
    return (unsigned char *)(uintptr_t)data + element * size;
}

static icd_status check_whole(icd_ctx *ctx, const icd_model *model,
                              const icd_tensor *whole, int64_t parts)
{
    char place[1024];
    int64_t last = whole->dims ? whole->shape[whole->dims - 1] : 0;
    if ((whole->dims == 1 || whole->dims == 2) && last % parts == 0) return ICD_OK;
    snprintf(place, sizeof place, "%.700s: tensor '%.200s'", model->path, whole->name);
    return icd_i_fail(ctx, ICD_EDATA, place, NULL,
                      "found %d dimensions, the last of %lld, expected a matrix or a "
                      "vector of %lld equal parts",
                      (int)whole->dims, (long long)last, (long long)parts);
}

icd_status icd_i_part_take(icd_ctx *ctx, const icd_model *model, const icd_slot *whole,
                           const icd_home *home, const char *name, icd_slot *out)
{
    const icd_tensor *t = &whole->tensor;
    icd_status status = check_whole(ctx, model, t, home->parts);
    if (status != ICD_OK) return status;
    int64_t size = icd_dtype_size(t->dtype), width = t->shape[t->dims - 1],
            rows = width / home->parts, cols = t->dims == 2 ? t->shape[0] : 1;
    *out = (icd_slot){.tensor = {.name = name,
                                 .dtype = t->dtype,
                                 .dims = t->dims,
                                 .shape = {rows, cols},
                                 .count = rows * cols,
                                 .data = bytes_at(t->data, home->part * rows, size)},
                      .file_name = name,
                      .home = *home};
    if (t->dims == 1) {
        out->tensor.shape[1] = 0;
        return ICD_OK;
    }
    status = icd_i_alloc(ctx, rows * cols, (size_t)size, &out->owned);
    if (status != ICD_OK) return status;
    turn((side){bytes_at(out->tensor.data, 0, size), width}, (side){out->owned, cols},
         cols, rows, size);
    out->tensor.data = out->owned;
    return ICD_OK;
}

/* Slot of part `part` of the tensor that `home` names; NULL: it is left out. */
static const icd_slot *part_of(const icd_model *model, const bool *without,
                               const icd_home *home, int64_t part)
{
    for (int64_t i = 0; i < model->slots; ++i)
        if (model->slot[i].home.tensor == home->tensor &&
            model->slot[i].home.part == part)
            return without && without[i] ? NULL : &model->slot[i];
    return NULL;
}

static bool is_whole(const icd_model *model, const bool *without, const icd_home *home)
{
    for (int64_t p = 0; p < home->parts; ++p)
        if (!part_of(model, without, home, p)) return false;
    return true;
}

/* The type of a tensor whose parts are of these types: theirs, or f32. */
static icd_dtype common_type(const icd_model *model, const icd_home *home)
{
    icd_dtype type = part_of(model, NULL, home, 0)->tensor.dtype;
    for (int64_t p = 1; p < home->parts; ++p)
        if (part_of(model, NULL, home, p)->tensor.dtype != type) return ICD_F32;
    return type;
}

static icd_status put_part(icd_ctx *ctx, const icd_tensor *part, icd_dtype type, side to)
{
    float *copy = NULL;
    icd_status status = ICD_OK;
    int64_t cols = part->dims == 2 ? part->shape[1] : 1;
    side from = {bytes_at(part->data, 0, 0), cols};
    if (part->dtype != type) {
        ICD_TRY(ICD_ALLOC(ctx, part->count, &copy));
        ICD_TRY(icd_tensor_to_f32(ctx, part, copy));
        from.data = (unsigned char *)copy;
    }
    turn(from, to, part->shape[0], cols, icd_dtype_size(type));
done:
    icd_i_free(ctx, copy);
    return status;
}

static icd_status put_together(icd_ctx *ctx, const icd_model *model,
                               const icd_slot *first, icd_stored *s)
{
    icd_status status = ICD_OK;
    const icd_home *home = &first->home;
    icd_tensor *out = &s->tensor[s->count];
    icd_dtype type = common_type(model, home);
    int64_t rows = first->tensor.shape[0], size = icd_dtype_size(type), width;
    ICD_TRY(icd_i_alloc(ctx, first->tensor.count * home->parts, (size_t)size,
                        &s->owned[s->owned_count]));
    unsigned char *data = s->owned[s->owned_count++];
    *out = first->tensor;
    width = rows * home->parts;
    for (int64_t p = 0; p < home->parts; ++p)
        ICD_TRY(put_part(ctx, &part_of(model, NULL, home, p)->tensor, type,
                         (side){data + p * rows * size, width}));
    *out = (icd_tensor){.name = home->tensor,
                        .dtype = type,
                        .dims = out->dims,
                        .shape = {out->dims == 2 ? out->shape[1] : width, width},
                        .count = out->count * home->parts,
                        .data = data};
    if (out->dims == 1) out->shape[1] = 0;
    s->count++;
done:
    return status;
}

static icd_status add_stored(icd_ctx *ctx, const icd_model *model, const bool *without,
                             const icd_slot *slot, icd_stored *s)
{
    if (slot->home.tensor && is_whole(model, without, &slot->home))
        return slot->home.part ? ICD_OK : put_together(ctx, model, slot, s);
    s->tensor[s->count] = slot->tensor;
    s->tensor[s->count++].name = slot->file_name;
    return ICD_OK;
}

icd_status icd_i_stored_new(icd_ctx *ctx, const icd_model *model, const bool *without,
                            int64_t more, icd_stored *out)
{
    icd_status status = ICD_OK;
    *out = (icd_stored){0};
    ICD_TRY(ICD_ALLOC(ctx, model->slots + more, &out->tensor));
    ICD_TRY(ICD_ALLOC(ctx, model->slots, &out->owned));
    for (int64_t i = 0; i < model->slots; ++i)
        if (!without || !without[i])
            ICD_TRY(add_stored(ctx, model, without, &model->slot[i], out));
done:
    return status;
}

void icd_i_stored_release(icd_ctx *ctx, icd_stored *stored)
{
    for (int64_t i = 0; i < stored->owned_count; ++i) icd_i_free(ctx, stored->owned[i]);
    icd_i_free(ctx, stored->owned);
    icd_i_free(ctx, stored->tensor);
}
