#include "core/csr_io.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/npz.h"
#include "core/sparse.h"
#include "core/spot.h"

#include <inttypes.h>
#include <string.h>

/* Moves the arrays of a cleaned matrix into a W. */
static icd_status adopt(icd_ctx *ctx, icd_sparse *m, icd_csr **out)
{
    icd_status status = ICD_ALLOC(ctx, 1, out);
    if (status != ICD_OK) return status;
    **out = (icd_csr){.n = m->rows,
                      .nnz = m->nnz,
                      .row_ptr = m->row_ptr,
                      .col = m->col,
                      .val = m->val,
                      .frame = m->frame};
    m->row_ptr = NULL;
    m->col = NULL;
    m->val = NULL;
    return ICD_OK;
}

static icd_status decode_matrix(icd_ctx *ctx, const void *bytes, size_t size,
                                const char *place, icd_sparse *m)
{
    if (icd_i_is_npz(bytes, size))
        return icd_i_sparse_decode_npz(ctx, bytes, size, place, m);
    if (icd_i_is_mtx(bytes, size))
        return icd_i_sparse_decode_mtx(ctx, bytes, size, place, m);
    return icd_i_fail(ctx, ICD_EDATA, place, NULL,
                      "found %zu bytes that are neither, expected a SciPy .npz or a "
                      "MatrixMarket file",
                      size);
}

icd_status icd_i_csr_decode(icd_ctx *ctx, const void *bytes, size_t size,
                            const char *place, icd_csr **out)
{
    icd_status status;
    icd_sparse m = {0};
    icd_csr *w = NULL;
    int64_t zeros = 0, diagonals = 0;
    *out = NULL;
    ICD_TRY(decode_matrix(ctx, bytes, size, place, &m));
    if (m.rows != m.cols) {
        status = icd_i_fail(
            ctx, ICD_EDATA, place,
            "a matrix of events x indices is a trace: see icd graph --trace",
            "found %" PRId64 " x %" PRId64 ", expected W to be square", m.rows, m.cols);
        goto done;
    }
    icd_i_sparse_drop(&m, true, &zeros, &diagonals);
    int base = m.base;
    ICD_TRY(adopt(ctx, &m, &w));
    ICD_TRY(icd_i_csr_check(ctx, w, place, base));
    if (zeros || diagonals)
        icd_i_warn(ctx,
                   "%s: dropped %" PRId64 " diagonal entries and %" PRId64
                   " stored zeros; W has neither",
                   place, diagonals, zeros);
    *out = w;
    w = NULL;
done:
    icd_i_sparse_release(ctx, &m);
    icd_csr_free(ctx, w);
    return status;
}

icd_status icd_csr_read(icd_ctx *ctx, const char *path, icd_csr **out)
{
    icd_map map = {0};
    *out = NULL;
    icd_status status = icd_i_map_open(ctx, path, &map);
    if (status != ICD_OK) return status;
    status = icd_i_csr_decode(ctx, map.data, map.size, path, out);
    icd_i_map_close(&map);
    return status;
}

/* SciPy stores indptr and indices in one type; so do we where the count of entries fits.
 */
static icd_status narrow(icd_ctx *ctx, const icd_csr *w, int32_t **out)
{
    *out = NULL;
    if (w->nnz > INT32_MAX) return ICD_OK;
    icd_status status = ICD_ALLOC(ctx, w->n + 1, out);
    if (status != ICD_OK) return status;
    for (int64_t i = 0; i <= w->n; ++i) (*out)[i] = (int32_t)w->row_ptr[i];
    return ICD_OK;
}

icd_status icd_csr_write(icd_ctx *ctx, const icd_csr *w, const char *path)
{
    int32_t *row_ptr = NULL;
    int64_t shape[2] = {w->n, w->n};
    icd_status status = narrow(ctx, w, &row_ptr);
    if (status != ICD_OK) return status;
    icd_npz_member member[] = {
        {"indices", 'i', 4, 1, {w->nnz}, w->col},
        {"indptr",
         'i',
         row_ptr ? 4 : 8,
         1,
         {w->n + 1},
         row_ptr ? (void *)row_ptr : w->row_ptr},
        {"format", 'S', 3, 0, {0}, "csr"},
        {"shape", 'i', 8, 1, {2}, shape},
        {"data", 'f', 4, 1, {w->nnz}, w->val},
        {"icd_frame", 'u', 8, 0, {0}, &w->frame},
    };
    status = icd_i_npz_write(ctx, path, member, w->frame == ICD_FRAME_CHECKPOINT ? 5 : 6);
    icd_i_free(ctx, row_ptr);
    return status;
}

icd_status icd_csr_write_meta(icd_ctx *ctx, const icd_csr *w, const icd_csr_meta *meta,
                              const char *path)
{
    char hash[17];
    icd_i_hash_hex(icd_csr_hash(w), hash);
    json_t *object = json_pack(
        "{s:[I,I],s:s,s:I,s:s?,s:I,s:s?,s:s?,s:I,s:I,s:s}", "shape", (json_int_t)w->n,
        (json_int_t)w->n, "format", "csr", "nnz", (json_int_t)w->nnz, "source",
        meta->source, "seed", (json_int_t)meta->seed, "weighting", meta->weighting,
        "normalize", meta->normalize, "events", (json_int_t)meta->events, "dropped_nnz",
        (json_int_t)meta->dropped_nnz, "hash", hash);
    if (!object)
        return icd_i_fail(ctx, ICD_ENOMEM, path, NULL, "no memory for the JSON object");
    icd_status status = icd_i_json_write(ctx, object, path);
    json_decref(object);
    return status;
}
