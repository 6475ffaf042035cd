/* Access matrices: MatrixMarket and SciPy CSR. Rows are events; a square symmetric matrix
   is a list of pairs. The whole matrix is held in memory, for its file may be in any
   order. */
#include "base/mem.h"
#include "core/sparse.h"
#include "core/trace.h"

typedef struct state {
    icd_sparse m;
    bool pairs;
    int64_t row, k; /* the next row; PAIR: the next entry inside it */
    int32_t pair[2];
} state;

static void close_matrix(icd_trace_reader *reader)
{
    state *s = reader->state;
    icd_i_sparse_release(reader->ctx, &s->m);
    icd_i_free(reader->ctx, s);
}

typedef icd_status decode_fn(icd_ctx *ctx, const void *bytes, size_t size,
                             const char *place, icd_sparse *out);

static icd_status open_matrix(icd_trace_reader *reader, decode_fn *decode)
{
    icd_status status;
    int64_t zeros = 0, diagonals = 0;
    state *s = NULL;
    ICD_TRY(ICD_ALLOC(reader->ctx, 1, &s));
    reader->state = s;
    ICD_TRY(decode(reader->ctx, reader->bytes, reader->size, reader->place, &s->m));
    ICD_TRY(icd_i_sparse_symmetric(reader->ctx, &s->m, &s->pairs));
    icd_i_sparse_drop(&s->m, s->pairs, &zeros, &diagonals);
    reader->unit = "row";
    reader->at = s->m.base;
    if (diagonals) icd_i_trace_warn_self(reader);
    reader->n = s->m.cols;
    reader->frame = s->m.frame;
done:
    return status;
}

static icd_status open_mtx(icd_trace_reader *reader)
{
    return open_matrix(reader, icd_i_sparse_decode_mtx);
}

static icd_status open_npz(icd_trace_reader *reader)
{
    return open_matrix(reader, icd_i_sparse_decode_npz);
}

static void next_set(state *s, icd_trace_item *item)
{
    int64_t begin = s->m.row_ptr[s->row];
    item->kind = ICD_TRACE_SET;
    item->index = s->m.col + begin;
    item->count = s->m.row_ptr[++s->row] - begin;
}

/* Entries above the diagonal, each pair once. */
static void next_pair(state *s, icd_trace_item *item)
{
    for (; s->row < s->m.rows; ++s->row) {
        if (s->k < s->m.row_ptr[s->row]) s->k = s->m.row_ptr[s->row];
        for (; s->k < s->m.row_ptr[s->row + 1]; ++s->k) {
            if (s->m.col[s->k] <= s->row) continue;
            s->pair[0] = (int32_t)s->row;
            s->pair[1] = s->m.col[s->k];
            item->kind = ICD_TRACE_PAIR;
            item->index = s->pair;
            item->count = 2;
            item->weight = s->m.val[s->k++];
            return;
        }
    }
}

static icd_status next_item(icd_trace_reader *reader, icd_trace_item *item)
{
    state *s = reader->state;
    *item = (icd_trace_item){.t = -1, .count = -1, .weight = 1};
    if (s->pairs)
        next_pair(s, item);
    else if (s->row < s->m.rows)
        next_set(s, item);
    return ICD_OK;
}

static icd_status skip_rows(icd_trace_reader *reader, int64_t count)
{
    state *s = reader->state;
    if (s->pairs) return ICD_OK;
    if (count > s->m.rows - s->row) count = s->m.rows - s->row;
    s->row += count;
    reader->seen += count;
    return ICD_OK;
}

const icd_trace_format icd_i_trace_mtx = {
    .name = "MatrixMarket",
    .matches = icd_i_is_mtx,
    .open = open_mtx,
    .next = next_item,
    .skip = skip_rows,
    .close = close_matrix,
};

const icd_trace_format icd_i_trace_npz = {
    .name = "SciPy npz",
    .matches = icd_i_is_npz,
    .open = open_npz,
    .next = next_item,
    .skip = skip_rows,
    .close = close_matrix,
};
