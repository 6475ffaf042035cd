#include "report/sweep.h"

#include "base/text.h"

#include <stdio.h>
#include <string.h>

enum { FIELD = 96, COLUMNS = 3, ROWS_MOST = 2000 };

static const char *const NAME[COLUMNS] = {"config", "lat_ms", "quality"};

typedef struct reader {
    const char *at, *end;
    char field[FIELD];
    bool last;   /* the field was its line's last */
    bool broken; /* a quote was not closed */
} reader;

static void keep(reader *r, size_t *used, char c)
{
    if (*used + 1 < FIELD && c) r->field[(*used)++] = c;
    r->field[*used] = 0;
}

/* Behind the opening quote; "" is one quote. */
static void read_quoted(reader *r, size_t *used)
{
    while (r->at < r->end) {
        char c = *r->at++;
        if (c == '"' && (r->at == r->end || *r->at != '"')) return;
        r->at += c == '"';
        keep(r, used, c);
    }
    r->broken = true;
}

/* One field, cut to the buffer; false at the end of the text. */
static bool read_field(reader *r)
{
    size_t used = 0;
    r->field[0] = 0;
    if (r->at >= r->end) return false;
    if (*r->at == '"') {
        r->at++;
        read_quoted(r, &used);
    }
    while (r->at < r->end && *r->at != ',' && *r->at != '\n') {
        if (*r->at != '\r') keep(r, &used, *r->at);
        r->at++;
    }
    r->last = r->at >= r->end || *r->at == '\n';
    r->at += r->at < r->end;
    return true;
}

/* Which field of a line is which column. */
static bool read_head(reader *r, int64_t column[COLUMNS])
{
    for (int k = 0; k < COLUMNS; k++) column[k] = -1;
    for (int64_t i = 0; read_field(r); i++) {
        for (int k = 0; k < COLUMNS; k++)
            if (!strcmp(r->field, NAME[k])) column[k] = i;
        if (r->last) break;
    }
    return column[0] >= 0 && column[1] >= 0 && column[2] >= 0;
}

/* @return whether the line has both numbers; false with r->at at the end: no line */
static bool read_line(reader *r, const int64_t column[COLUMNS], icd_sweep_row *row)
{
    bool lat = false, quality = false;
    *row = (icd_sweep_row){.config = ""};
    for (int64_t i = 0; read_field(r); i++) {
        if (i == column[0]) snprintf(row->config, sizeof row->config, "%s", r->field);
        if (i == column[1]) lat = icd_i_real_parse(r->field, &row->lat_ms);
        if (i == column[2]) quality = icd_i_real_parse(r->field, &row->quality);
        if (r->last) break;
    }
    return lat && quality;
}

static void mark_front(icd_sweep *s)
{
    for (int64_t i = 0; i < s->count; i++) {
        icd_sweep_row *a = &s->row[i];
        a->front = true;
        for (int64_t j = 0; j < s->count && a->front; j++) {
            const icd_sweep_row *b = &s->row[j];
            a->front = !(b->lat_ms <= a->lat_ms && b->quality >= a->quality &&
                         (b->lat_ms < a->lat_ms || b->quality > a->quality));
        }
    }
}

void icd_i_sweep_release(icd_ctx *ctx, icd_sweep *sweep)
{
    icd_i_free(ctx, sweep->row);
    *sweep = (icd_sweep){0};
}

icd_status icd_i_sweep_parse(icd_ctx *ctx, const char *text, int64_t size, icd_sweep *out)
{
    icd_status status = ICD_OK;
    int64_t column[COLUMNS];
    reader r = {.at = text, .end = text + size};
    *out = (icd_sweep){0};
    if (!read_head(&r, column))
        return icd_i_fail(ctx, ICD_EDATA, "sweep.csv", NULL,
                          "found no columns config, lat_ms and quality");
    while (r.at < r.end && out->count < ROWS_MOST) {
        icd_sweep_row row;
        if (!read_line(&r, column, &row)) continue;
        ICD_TRY(icd_i_grow(ctx, (void **)&out->row, &out->capacity, out->count + 1,
                           sizeof row));
        out->row[out->count++] = row;
    }
    if (r.broken)
        status = icd_i_fail(ctx, ICD_EDATA, "sweep.csv", NULL,
                            "found a quote that is not closed");
    mark_front(out);
done:
    if (status != ICD_OK) icd_i_sweep_release(ctx, out);
    return status;
}
