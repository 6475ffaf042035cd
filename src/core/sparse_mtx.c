#include "core/sparse.h"

#include "base/mem.h"
#include "core/scan.h"
#include "core/spot.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char BANNER[] = "%%MatrixMarket";

/* A cancel is looked for once per this many entries. */
enum { CANCEL_STEP = 1 << 20 };

typedef struct reader {
    icd_ctx *ctx;
    icd_scan scan;
    const char *place;
    bool pattern, symmetric;
    int64_t rows, cols, stated; /* as in the size line */
    int32_t *row, *col;         /* `stated` entries in the order of the file */
    float *val;
} reader;

bool icd_i_is_mtx(const void *bytes, size_t size)
{
    size_t length = sizeof BANNER - 1;
    return size >= length && strncasecmp(bytes, BANNER, length) == 0;
}

static icd_status fail_found(const reader *r, const char *expected)
{
    return icd_i_fail(r->ctx, ICD_EDATA,
                      icd_i_spot(r->place, "line %" PRId64, r->scan.line).text, NULL,
                      "found %s, expected %s", icd_i_scan_token(&r->scan).text, expected);
}

/* Takes the next word of the banner if it is `word`. */
static bool take_word(reader *r, const char *word)
{
    icd_i_scan_blanks(&r->scan);
    size_t length = strlen(word);
    if ((size_t)(r->scan.end - r->scan.at) < length) return false;
    if (strncasecmp(r->scan.at, word, length) != 0) return false;
    r->scan.at += length;
    return true;
}

static icd_status read_banner(reader *r)
{
    r->scan.at += sizeof BANNER - 1;
    if (!take_word(r, "matrix")) return fail_found(r, "'matrix'");
    if (!take_word(r, "coordinate"))
        return fail_found(r, "'coordinate' (dense 'array' files are not read)");
    r->pattern = take_word(r, "pattern");
    if (!r->pattern && !take_word(r, "real") && !take_word(r, "integer"))
        return fail_found(r, "'real', 'integer' or 'pattern'");
    r->symmetric = take_word(r, "symmetric");
    if (!r->symmetric && !take_word(r, "general"))
        return fail_found(r, "'general' or 'symmetric'");
    icd_i_scan_blanks(&r->scan);
    if (!icd_i_scan_at_line_end(&r->scan)) return fail_found(r, "the end of the banner");
    icd_i_scan_next_line(&r->scan);
    return ICD_OK;
}

/* Moves to the next line that is neither empty nor a comment. */
static void skip_to_data(icd_scan *scan)
{
    for (;;) {
        icd_i_scan_blanks(scan);
        if (scan->at == scan->end) return;
        if (*scan->at != '%' && *scan->at != '\n') return;
        icd_i_scan_next_line(scan);
    }
}

static icd_status take_int(reader *r, int64_t low, int64_t high, const char *what,
                           int64_t *out)
{
    char expected[96];
    icd_i_scan_blanks(&r->scan);
    icd_scan before = r->scan;
    if (icd_i_scan_int(&r->scan, out) && *out >= low && *out <= high) return ICD_OK;
    r->scan = before;
    snprintf(expected, sizeof expected, "%s from %" PRId64 " to %" PRId64, what, low,
             high);
    return fail_found(r, expected);
}

/* An entry needs four bytes ("1 1\n") at least, so a file cannot make us allocate more
   than a few times its own size. */
static icd_status read_sizes(reader *r)
{
    icd_status status;
    skip_to_data(&r->scan);
    ICD_TRY(take_int(r, 0, INT32_MAX, "a number of rows", &r->rows));
    ICD_TRY(take_int(r, 0, INT32_MAX, "a number of columns", &r->cols));
    ICD_TRY(take_int(r, 0, INT64_MAX / 32, "a number of entries", &r->stated));
    if (r->symmetric && r->rows != r->cols)
        return icd_i_fail(r->ctx, ICD_EDATA,
                          icd_i_spot(r->place, "line %" PRId64, r->scan.line).text, NULL,
                          "found %" PRId64 " rows and %" PRId64
                          " columns, expected a symmetric matrix to be square",
                          r->rows, r->cols);
    if (r->stated > (r->scan.end - r->scan.at + 1) / 4)
        return icd_i_fail(r->ctx, ICD_EDATA,
                          icd_i_spot(r->place, "line %" PRId64, r->scan.line).text,
                          "the file is cut, or its size line is wrong",
                          "states %" PRId64 " entries, found %td bytes behind it",
                          r->stated, r->scan.end - r->scan.at);
    icd_i_scan_blanks(&r->scan);
    if (!icd_i_scan_at_line_end(&r->scan))
        return fail_found(r, "the end of the size line");
    icd_i_scan_next_line(&r->scan);
done:
    return status;
}

static icd_status take_value(reader *r, float *out)
{
    double value = 1;
    *out = 1;
    if (r->pattern) return ICD_OK;
    icd_i_scan_blanks(&r->scan);
    icd_scan before = r->scan;
    if (!icd_i_scan_real(&r->scan, &value)) return fail_found(r, "a finite value >= 0");
    *out = (float)value;
    if (*out >= 0 && isfinite(*out)) return ICD_OK;
    r->scan = before;
    return fail_found(r, "a finite value >= 0");
}

static icd_status read_entry(reader *r, int64_t e)
{
    icd_status status;
    int64_t row = 0, col = 0;
    ICD_TRY(take_int(r, 1, r->rows, "a row", &row));
    ICD_TRY(take_int(r, 1, r->cols, "a column", &col));
    ICD_TRY(take_value(r, &r->val[e]));
    r->row[e] = (int32_t)(row - 1);
    r->col[e] = (int32_t)(col - 1);
    icd_i_scan_blanks(&r->scan);
    if (!icd_i_scan_at_line_end(&r->scan)) return fail_found(r, "the end of the line");
    icd_i_scan_next_line(&r->scan);
done:
    return status;
}

static icd_status read_entries(reader *r)
{
    icd_status status = ICD_OK;
    for (int64_t e = 0; e < r->stated; ++e) {
        skip_to_data(&r->scan);
        if (r->scan.at == r->scan.end)
            return icd_i_fail(r->ctx, ICD_EDATA,
                              icd_i_spot(r->place, "line %" PRId64, r->scan.line).text,
                              "the file is cut, or its size line is wrong",
                              "found the end of the file after %" PRId64
                              " entries, expected %" PRId64,
                              e, r->stated);
        ICD_TRY(read_entry(r, e));
        if (e % CANCEL_STEP == 0) ICD_TRY(icd_i_check_cancel(r->ctx));
    }
    skip_to_data(&r->scan);
    if (r->scan.at < r->scan.end)
        return fail_found(r, "the end after the stated entries");
done:
    return status;
}

static void count_rows(const reader *r, int64_t *row_ptr)
{
    for (int64_t e = 0; e < r->stated; ++e) {
        ++row_ptr[r->row[e] + 1];
        if (r->symmetric && r->row[e] != r->col[e]) ++row_ptr[r->col[e] + 1];
    }
    for (int64_t i = 0; i < r->rows; ++i) row_ptr[i + 1] += row_ptr[i];
}

static void put(icd_sparse *m, int64_t *next, int32_t row, int32_t col, float val)
{
    int64_t k = next[row]++;
    m->col[k] = col;
    m->val[k] = val;
}

static void fill_rows(const reader *r, int64_t *next, icd_sparse *m)
{
    memcpy(next, m->row_ptr, (size_t)m->rows * sizeof *next);
    for (int64_t e = 0; e < r->stated; ++e) {
        put(m, next, r->row[e], r->col[e], r->val[e]);
        if (r->symmetric && r->row[e] != r->col[e])
            put(m, next, r->col[e], r->row[e], r->val[e]);
    }
}

static icd_status gather_rows(const reader *r, icd_sparse *m)
{
    icd_status status;
    int64_t *next = NULL;
    m->rows = r->rows;
    m->cols = r->cols;
    m->base = 1;
    ICD_TRY(ICD_ALLOC(r->ctx, m->rows + 1, &m->row_ptr));
    count_rows(r, m->row_ptr);
    m->nnz = m->row_ptr[m->rows];
    ICD_TRY(ICD_ALLOC(r->ctx, m->nnz, &m->col));
    ICD_TRY(ICD_ALLOC(r->ctx, m->nnz, &m->val));
    ICD_TRY(ICD_ALLOC(r->ctx, m->rows, &next));
    fill_rows(r, next, m);
    ICD_TRY(icd_i_sparse_sort(r->ctx, m, r->place));
done:
    icd_i_free(r->ctx, next);
    return status;
}

icd_status icd_i_sparse_decode_mtx(icd_ctx *ctx, const void *bytes, size_t size,
                                   const char *place, icd_sparse *out)
{
    icd_status status;
    reader r = {
        .ctx = ctx, .scan = {bytes, (const char *)bytes + size, 1}, .place = place};
    *out = (icd_sparse){0};
    ICD_TRY(read_banner(&r));
    ICD_TRY(read_sizes(&r));
    ICD_TRY(ICD_ALLOC(ctx, r.stated, &r.row));
    ICD_TRY(ICD_ALLOC(ctx, r.stated, &r.col));
    ICD_TRY(ICD_ALLOC(ctx, r.stated, &r.val));
    ICD_TRY(read_entries(&r));
    ICD_TRY(gather_rows(&r, out));
done:
    icd_i_free(ctx, r.row);
    icd_i_free(ctx, r.col);
    icd_i_free(ctx, r.val);
    if (status != ICD_OK) icd_i_sparse_release(ctx, out);
    return status;
}
