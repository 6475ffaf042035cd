#include "core/matrix.h"

#include "base/mem.h"
#include "core/spot.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void icd_i_matrix_release(icd_ctx *ctx, icd_matrix *m)
{
    icd_i_free(ctx, m->row_ptr);
    icd_i_free(ctx, m->col);
    icd_i_free(ctx, m->val);
    *m = (icd_matrix){0};
}

typedef struct entry {
    int32_t col;
    float val;
} entry;

static int by_column(const void *a, const void *b)
{
    int32_t x = ((const entry *)a)->col, y = ((const entry *)b)->col;
    return (x > y) - (x < y);
}

static bool row_ascends(const icd_matrix *m, int64_t i)
{
    for (int64_t k = m->row_ptr[i] + 1; k < m->row_ptr[i + 1]; ++k)
        if (m->col[k - 1] >= m->col[k]) return false;
    return true;
}

static icd_status sort_row(icd_ctx *ctx, icd_matrix *m, int64_t i, entry *scratch,
                           const char *place)
{
    int64_t begin = m->row_ptr[i], count = m->row_ptr[i + 1] - begin;
    for (int64_t k = 0; k < count; ++k)
        scratch[k] = (entry){m->col[begin + k], m->val[begin + k]};
    qsort(scratch, (size_t)count, sizeof *scratch, by_column);
    for (int64_t k = 0; k < count; ++k) {
        m->col[begin + k] = scratch[k].col;
        m->val[begin + k] = scratch[k].val;
        if (k > 0 && scratch[k - 1].col == scratch[k].col)
            return icd_i_fail(ctx, ICD_EDATA,
                              icd_i_spot(place, "row %" PRId64 ", column %" PRId64,
                                         i + m->base, (int64_t)scratch[k].col + m->base)
                                  .text,
                              "sum duplicates before saving",
                              "the entry is stored twice, expected once");
    }
    return ICD_OK;
}

icd_status icd_i_matrix_sort(icd_ctx *ctx, icd_matrix *m, const char *place)
{
    icd_status status = ICD_OK;
    entry *scratch = NULL;
    int64_t longest = 0;
    for (int64_t i = 0; i < m->rows; ++i) {
        int64_t count = m->row_ptr[i + 1] - m->row_ptr[i];
        if (count > longest && !row_ascends(m, i)) longest = count;
    }
    if (!longest) return ICD_OK;
    ICD_TRY(ICD_ALLOC(ctx, longest, &scratch));
    for (int64_t i = 0; i < m->rows; ++i)
        if (!row_ascends(m, i)) ICD_TRY(sort_row(ctx, m, i, scratch, place));
done:
    icd_i_free(ctx, scratch);
    return status;
}

/* The same walk as in icd_csr_check: the mirror image of (i, j) must be the next
   unclaimed entry of row j. */
static bool mirrors(const icd_matrix *m, int64_t *next)
{
    for (int64_t i = 0; i < m->rows; ++i)
        for (int64_t k = m->row_ptr[i]; k < m->row_ptr[i + 1]; ++k) {
            int32_t j = m->col[k];
            int64_t at = next[j]++;
            if (at >= m->row_ptr[j + 1] || m->col[at] != i ||
                memcmp(&m->val[at], &m->val[k], sizeof *m->val) != 0)
                return false;
        }
    return true;
}

icd_status icd_i_matrix_symmetric(icd_ctx *ctx, const icd_matrix *m, bool *out)
{
    int64_t *next = NULL;
    *out = false;
    if (m->rows != m->cols) return ICD_OK;
    icd_status status = ICD_ALLOC(ctx, m->rows, &next);
    if (status != ICD_OK) return status;
    if (m->rows) memcpy(next, m->row_ptr, (size_t)m->rows * sizeof *next);
    *out = mirrors(m, next);
    icd_i_free(ctx, next);
    return ICD_OK;
}

void icd_i_matrix_drop(icd_matrix *m, bool diagonal, int64_t *zeros, int64_t *diagonals)
{
    int64_t kept = 0;
    *zeros = *diagonals = 0;
    for (int64_t i = 0, k = 0; i < m->rows; ++i) {
        for (; k < m->row_ptr[i + 1]; ++k) {
            bool on_diagonal = diagonal && m->col[k] == i;
            *diagonals += on_diagonal;
            *zeros += !on_diagonal && m->val[k] == 0;
            if (on_diagonal || m->val[k] == 0) continue;
            m->col[kept] = m->col[k];
            m->val[kept++] = m->val[k];
        }
        m->row_ptr[i + 1] = kept;
    }
    m->nnz = kept;
}
