/* Pairs as text: src,dst[,w], separated by commas, semicolons, tabs or blanks. A first
   line of names may give the columns another order; columns of other names are passed
   over. */
#include "base/mem.h"
#include "core/scan.h"
#include "core/trace.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

enum { MAX_COLUMNS = 16, SNIFF_BYTES = 512 };

typedef enum role { ROLE_NONE, ROLE_SRC, ROLE_DST, ROLE_W } role;

static const struct {
    const char *name;
    role role;
} NAME[] = {
    {"src", ROLE_SRC},    {"source", ROLE_SRC}, {"i", ROLE_SRC}, {"dst", ROLE_DST},
    {"target", ROLE_DST}, {"j", ROLE_DST},      {"w", ROLE_W},   {"weight", ROLE_W},
};

typedef struct state {
    icd_scan scan;
    role column[MAX_COLUMNS];
    int32_t columns; /* 0: no line was read yet */
    int32_t pair[2];
} state;

static icd_status fail_found(icd_trace_reader *reader, const char *expected)
{
    const icd_scan *scan = &((state *)reader->state)->scan;
    return icd_i_fail(reader->ctx, ICD_EDATA, icd_i_trace_spot(reader).text, NULL,
                      "found %s, expected %s", icd_i_scan_token(scan).text, expected);
}

/* Moves to the next line that holds data; lines that begin with '#' are comments. */
static bool find_line(icd_trace_reader *reader)
{
    icd_scan *scan = &((state *)reader->state)->scan;
    for (;;) {
        icd_i_scan_blanks(scan);
        reader->at = scan->line;
        if (scan->at == scan->end) return false;
        if (*scan->at != '#' && *scan->at != '\n') return true;
        icd_i_scan_next_line(scan);
    }
}

static bool ends_field(char c)
{
    return c == ',' || c == ';' || c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Behind a field: one comma or semicolon with blanks around it, or blanks alone. */
static void skip_separator(icd_scan *scan)
{
    icd_i_scan_blanks(scan);
    if (scan->at < scan->end && (*scan->at == ',' || *scan->at == ';')) ++scan->at;
    icd_i_scan_blanks(scan);
}

static void skip_field(icd_scan *scan)
{
    while (scan->at < scan->end && !ends_field(*scan->at)) ++scan->at;
}

static role role_of(const char *text, size_t size)
{
    if (size >= 2 && *text == '"') {
        ++text;
        size -= 2;
    }
    for (size_t i = 0; i < sizeof NAME / sizeof *NAME; ++i)
        if (strlen(NAME[i].name) == size && strncasecmp(NAME[i].name, text, size) == 0)
            return NAME[i].role;
    return ROLE_NONE;
}

static bool begins_number(const icd_scan *scan)
{
    char c = *scan->at;
    return (c >= '0' && c <= '9') || c == '-' || c == '+';
}

static icd_status read_header(icd_trace_reader *reader)
{
    state *s = reader->state;
    icd_scan *scan = &s->scan;
    int32_t found[ROLE_W + 1] = {0};
    while (!icd_i_scan_at_line_end(scan) && s->columns < MAX_COLUMNS) {
        const char *first = scan->at;
        skip_field(scan);
        s->column[s->columns] = role_of(first, (size_t)(scan->at - first));
        ++found[s->column[s->columns++]];
        skip_separator(scan);
    }
    if (found[ROLE_SRC] != 1 || found[ROLE_DST] != 1 || found[ROLE_W] > 1)
        return icd_i_fail(
            reader->ctx, ICD_EDATA, icd_i_trace_spot(reader).text, NULL,
            "found a first line that names no pair, expected numbers or columns "
            "src,dst[,w]");
    icd_i_scan_next_line(scan);
    return ICD_OK;
}

/* Without a header the columns are src,dst or src,dst,w. */
static icd_status guess_columns(icd_trace_reader *reader)
{
    state *s = reader->state;
    icd_scan scan = s->scan;
    for (int32_t c = 0; c < 3; ++c) s->column[c] = (role)(ROLE_SRC + c);
    while (!icd_i_scan_at_line_end(&scan) && s->columns < MAX_COLUMNS) {
        skip_field(&scan);
        skip_separator(&scan);
        ++s->columns;
    }
    if (s->columns == 2 || s->columns == 3) return ICD_OK;
    return icd_i_fail(reader->ctx, ICD_EDATA, icd_i_trace_spot(reader).text,
                      "name the columns in a first line if there are more",
                      "found %" PRId32 " columns, expected src,dst[,w]", s->columns);
}

static icd_status open_csv(icd_trace_reader *reader)
{
    state *s = NULL;
    icd_status status = ICD_ALLOC(reader->ctx, 1, &s);
    if (status != ICD_OK) return status;
    const char *text = (const char *)reader->bytes;
    s->scan = (icd_scan){text, text + reader->size, 1};
    if (reader->size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) s->scan.at += 3;
    reader->state = s;
    reader->unit = "line";
    if (!find_line(reader)) return ICD_OK;
    return begins_number(&s->scan) ? guess_columns(reader) : read_header(reader);
}

static icd_status take_index(icd_trace_reader *reader, int32_t *out)
{
    int64_t index = 0;
    if (!icd_i_scan_int(&((state *)reader->state)->scan, &index))
        return fail_found(reader, "an integer");
    icd_status status = icd_i_trace_check_index(reader, index);
    if (status == ICD_OK) *out = (int32_t)index;
    return status;
}

static icd_status take_weight(icd_trace_reader *reader, float *out)
{
    double weight = 0;
    if (!icd_i_scan_real(&((state *)reader->state)->scan, &weight))
        return fail_found(reader, "a number");
    *out = (float)weight;
    return icd_i_trace_check_weight(reader, weight);
}

static icd_status take_field(icd_trace_reader *reader, role r, icd_trace_item *item)
{
    icd_status status = ICD_OK;
    state *s = reader->state;
    const char *first = s->scan.at;
    if (r == ROLE_SRC) ICD_TRY(take_index(reader, &s->pair[0]));
    if (r == ROLE_DST) ICD_TRY(take_index(reader, &s->pair[1]));
    if (r == ROLE_W) ICD_TRY(take_weight(reader, &item->weight));
    if (r == ROLE_NONE) skip_field(&s->scan);
    if (s->scan.at == first) return fail_found(reader, "another column");
    if (s->scan.at < s->scan.end && !ends_field(*s->scan.at))
        return fail_found(reader, "a separator behind the number");
    skip_separator(&s->scan);
done:
    return status;
}

static icd_status take_line(icd_trace_reader *reader, icd_trace_item *item)
{
    icd_status status = ICD_OK;
    state *s = reader->state;
    *item = (icd_trace_item){ICD_TRACE_PAIR, -1, s->pair, 2, 1};
    for (int32_t c = 0; c < s->columns; ++c)
        ICD_TRY(take_field(reader, s->column[c], item));
    if (!icd_i_scan_at_line_end(&s->scan))
        return fail_found(reader, "the end of the line");
    icd_i_scan_next_line(&s->scan);
done:
    return status;
}

static icd_status next_pair(icd_trace_reader *reader, icd_trace_item *item)
{
    const state *s = reader->state;
    while (find_line(reader)) {
        icd_status status = take_line(reader, item);
        if (status != ICD_OK || s->pair[0] != s->pair[1]) return status;
        icd_i_trace_warn_self(reader);
    }
    *item = (icd_trace_item){.t = -1, .count = -1};
    return ICD_OK;
}

static void close_csv(icd_trace_reader *reader)
{
    icd_i_free(reader->ctx, reader->state);
}

/* Any text: what is wrong with it is better said with a line number. */
static bool is_text(const void *bytes, size_t size)
{
    const unsigned char *p = bytes;
    for (size_t i = 0; i < size && i < SNIFF_BYTES; ++i)
        if (p[i] < 32 && p[i] != '\t' && p[i] != '\r' && p[i] != '\n') return false;
    return size == 0 || p[0] < 127 || p[0] == 0xef;
}

const icd_trace_format icd_i_trace_csv = {
    .name = "CSV",
    .matches = is_text,
    .open = open_csv,
    .next = next_pair,
    .close = close_csv,
};
