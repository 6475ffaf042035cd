#include "core/sparse.h"

#include "base/mem.h"
#include "base/npz.h"
#include "core/spot.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

bool icd_i_is_npz(const void *bytes, size_t size)
{
    return size >= 4 &&
           (memcmp(bytes, "PK\3\4", 4) == 0 || memcmp(bytes, "PK\5\6", 4) == 0);
}

/* The members of save_npz, held together until the matrix is made. */
typedef struct members {
    icd_array format, shape, indptr, indices, data, frame;
} members;

static void release_members(icd_ctx *ctx, members *a)
{
    icd_array *all[] = {&a->format,  &a->shape, &a->indptr,
                        &a->indices, &a->data,  &a->frame};
    for (size_t i = 0; i < sizeof all / sizeof *all; ++i)
        icd_i_array_release(ctx, all[i]);
}

static icd_status get(icd_ctx *ctx, icd_npz *npz, const char *name, const char *kinds,
                      const char *place, icd_array *out)
{
    icd_status status = icd_i_npz_get(ctx, npz, name, out);
    if (status != ICD_OK) return status;
    if (strchr(kinds, out->kind) && out->dims <= 1) return ICD_OK;
    return icd_i_fail(ctx, ICD_EDATA, icd_i_spot(place, "member %s.npy", name).text, NULL,
                      "found dtype kind '%c' in %" PRId32
                      " dimensions, expected one of '%s' in at most one",
                      out->kind, out->dims, kinds);
}

/* Byte strings hold 'csr', UCS-4 strings 'c\0\0\0s\0\0\0r\0\0\0'. */
static bool is_csr(const icd_array *format)
{
    static const char NAME[] = "csr";
    size_t step = format->kind == 'U' ? 4 : 1;
    const char *text = format->data;
    if (format->count != 1 || format->item != (int32_t)(3 * step)) return false;
    for (size_t i = 0; i < 3; ++i)
        if (text[i * step] != NAME[i]) return false;
    return true;
}

static icd_status get_members(icd_ctx *ctx, icd_npz *npz, const char *place, members *a)
{
    icd_status status;
    ICD_TRY(get(ctx, npz, "format", "SU", place, &a->format));
    if (!is_csr(&a->format))
        return icd_i_fail(ctx, ICD_EDATA, icd_i_spot(place, "member format.npy").text,
                          "convert with .tocsr() before save_npz",
                          "found another sparse format, expected 'csr'");
    ICD_TRY(get(ctx, npz, "shape", "iu", place, &a->shape));
    ICD_TRY(get(ctx, npz, "indptr", "iu", place, &a->indptr));
    ICD_TRY(get(ctx, npz, "indices", "iu", place, &a->indices));
    ICD_TRY(get(ctx, npz, "data", "fiub", place, &a->data));
    if (icd_i_npz_has(npz, "icd_frame"))
        ICD_TRY(get(ctx, npz, "icd_frame", "iu", place, &a->frame));
done:
    return status;
}

static icd_status check_shape(icd_ctx *ctx, const members *a, const char *place,
                              icd_sparse *m)
{
    icd_spot spot = icd_i_spot(place, "member shape.npy");
    if (a->shape.count != 2)
        return icd_i_fail(ctx, ICD_EDATA, spot.text, NULL,
                          "found %" PRId64 " numbers, expected 2", a->shape.count);
    m->rows = icd_i_array_int(&a->shape, 0);
    m->cols = icd_i_array_int(&a->shape, 1);
    if (m->rows < 0 || m->rows > INT32_MAX || m->cols < 0 || m->cols > INT32_MAX)
        return icd_i_fail(ctx, ICD_EDATA, spot.text, NULL,
                          "found %" PRId64 " x %" PRId64
                          ", expected each from 0 to %" PRId32,
                          m->rows, m->cols, INT32_MAX);
    if (a->indptr.count != m->rows + 1)
        return icd_i_fail(ctx, ICD_EDATA, icd_i_spot(place, "member indptr.npy").text,
                          NULL, "found %" PRId64 " numbers, expected rows + 1 = %" PRId64,
                          a->indptr.count, m->rows + 1);
    if (a->indices.count != a->data.count)
        return icd_i_fail(ctx, ICD_EDATA, icd_i_spot(place, "member data.npy").text, NULL,
                          "found %" PRId64 " values for %" PRId64
                          " indices, expected as many of each",
                          a->data.count, a->indices.count);
    m->nnz = a->indices.count;
    return ICD_OK;
}

static icd_status fill_row_ptr(icd_ctx *ctx, const icd_array *indptr, const char *place,
                               icd_sparse *m)
{
    int64_t last = 0;
    for (int64_t i = 0; i <= m->rows; ++i) {
        int64_t value = icd_i_array_int(indptr, i);
        if (value < last || value > m->nnz || (i == 0 && value != 0) ||
            (i == m->rows && value != m->nnz))
            return icd_i_fail(
                ctx, ICD_EDATA,
                icd_i_spot(place, "member indptr.npy, element %" PRId64, i).text, NULL,
                "found %" PRId64 ", expected numbers that rise from 0 to %" PRId64, value,
                m->nnz);
        m->row_ptr[i] = last = value;
    }
    return ICD_OK;
}

static icd_status fill_row(icd_ctx *ctx, const members *a, const char *place, int64_t i,
                           icd_sparse *m)
{
    for (int64_t k = m->row_ptr[i]; k < m->row_ptr[i + 1]; ++k) {
        int64_t col = icd_i_array_int(&a->indices, k);
        double val = icd_i_array_real(&a->data, k);
        icd_spot spot;
        if (col >= 0 && col < m->cols && val >= 0 && isfinite((float)val)) {
            m->col[k] = (int32_t)col;
            m->val[k] = (float)val;
            continue;
        }
        spot = icd_i_spot(place, "row %" PRId64 ", column %" PRId64, i, col);
        if (col < 0 || col >= m->cols)
            return icd_i_fail(ctx, ICD_EDATA, spot.text, NULL,
                              "found column %" PRId64 ", expected 0 to %" PRId64, col,
                              m->cols - 1);
        return icd_i_fail(ctx, ICD_EDATA, spot.text, NULL,
                          "found value %g, expected a finite one >= 0", val);
    }
    return ICD_OK;
}

/* A frame uses all 64 bits, so it must not pass through a signed number. */
static icd_status fill_frame(icd_ctx *ctx, const members *a, const char *place,
                             icd_sparse *m)
{
    if (!a->frame.data) return ICD_OK;
    if (a->frame.kind != 'u' || a->frame.item != 8 || a->frame.count != 1)
        return icd_i_fail(ctx, ICD_EDATA, icd_i_spot(place, "member icd_frame.npy").text,
                          NULL,
                          "found %" PRId64 " elements of %" PRId32
                          " bytes, expected one of dtype uint64",
                          a->frame.count, a->frame.item);
    memcpy(&m->frame, a->frame.data, sizeof m->frame);
    return ICD_OK;
}

static icd_status fill(icd_ctx *ctx, const members *a, const char *place, icd_sparse *m)
{
    icd_status status;
    ICD_TRY(check_shape(ctx, a, place, m));
    ICD_TRY(ICD_ALLOC(ctx, m->rows + 1, &m->row_ptr));
    ICD_TRY(ICD_ALLOC(ctx, m->nnz, &m->col));
    ICD_TRY(ICD_ALLOC(ctx, m->nnz, &m->val));
    ICD_TRY(fill_row_ptr(ctx, &a->indptr, place, m));
    for (int64_t i = 0; i < m->rows; ++i) ICD_TRY(fill_row(ctx, a, place, i, m));
    ICD_TRY(icd_i_sparse_sort(ctx, m, place));
    ICD_TRY(fill_frame(ctx, a, place, m));
done:
    return status;
}

icd_status icd_i_sparse_decode_npz(icd_ctx *ctx, const void *bytes, size_t size,
                                   const char *place, icd_sparse *out)
{
    icd_status status;
    icd_npz *npz = NULL;
    members a = {0};
    *out = (icd_sparse){0};
    ICD_TRY(icd_i_npz_open_memory(ctx, bytes, size, place, &npz));
    ICD_TRY(get_members(ctx, npz, place, &a));
    ICD_TRY(fill(ctx, &a, place, out));
done:
    release_members(ctx, &a);
    icd_i_npz_close(ctx, npz);
    if (status != ICD_OK) icd_i_sparse_release(ctx, out);
    return status;
}
