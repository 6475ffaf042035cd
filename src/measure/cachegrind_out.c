#include "measure/cachegrind_out.h"

#include <stdio.h>
#include <string.h>

enum { COLUMNS_MOST = 32 };

static const char *const EVENT[ICD_CG_EVENTS] = {"Ir",   "I1mr", "ILmr", "Dr",  "D1mr",
                                                 "DLmr", "Dw",   "D1mw", "DLmw"};

typedef struct reader {
    icd_ctx *ctx;
    const char *place;
    const char *at, *end; /* the rest of the text */
    const char *line;     /* the line that is read, up to `stop` */
    const char *stop;
    int64_t number;
    int column[COLUMNS_MOST]; /* icd_cg_event of a column; ICD_CG_EVENTS: another */
    int columns;
    bool summed;
    int64_t current, capacity; /* function; -1: none yet */
    icd_cg_out *out;
} reader;

static icd_status damaged(const reader *r, const char *what)
{
    char place[200];
    snprintf(place, sizeof place, "%.150s:%lld", r->place, (long long)r->number);
    return icd_i_fail(r->ctx, ICD_EDATA, place, NULL,
                      "not cachegrind's: %s, found \"%.*s\"", what,
                      (int)(r->stop - r->line > 60 ? 60 : r->stop - r->line), r->line);
}

static bool next_line(reader *r)
{
    if (r->at >= r->end) return false;
    const char *stop = memchr(r->at, '\n', (size_t)(r->end - r->at));
    r->line = r->at;
    r->stop = stop ? stop : r->end;
    r->at = stop ? stop + 1 : r->end;
    r->number++;
    return true;
}

/* Takes a prefix off the line. */
static bool take(reader *r, const char *prefix)
{
    size_t n = strlen(prefix);
    if ((size_t)(r->stop - r->line) < n || memcmp(r->line, prefix, n) != 0) return false;
    r->line += n;
    return true;
}

static void skip_blanks(reader *r)
{
    while (r->line < r->stop && (*r->line == ' ' || *r->line == '\t')) r->line++;
}

/* The next number of the line. @return false: there is none, or it is too big */
static bool take_number(reader *r, int64_t *out)
{
    int64_t value = 0;
    skip_blanks(r);
    const char *from = r->line;
    for (; r->line < r->stop && *r->line >= '0' && *r->line <= '9'; r->line++)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, *r->line - '0', &value))
            return false;
    *out = value;
    return r->line > from;
}

static void read_description(reader *r)
{
    static const char *const NAME[] = {"I1 cache:", "D1 cache:", "LL cache:"};
    skip_blanks(r);
    for (int i = 0; i < 3; i++)
        if (take(r, NAME[i])) {
            skip_blanks(r);
            snprintf(r->out->cache[i], sizeof r->out->cache[i], "%.*s",
                     (int)(r->stop - r->line), r->line);
        }
}

static icd_status read_events(reader *r)
{
    if (r->columns) return damaged(r, "expected one list of events");
    for (skip_blanks(r); r->line < r->stop; skip_blanks(r)) {
        const char *from = r->line;
        int event = 0;
        while (r->line < r->stop && *r->line != ' ' && *r->line != '\t') r->line++;
        size_t n = (size_t)(r->line - from);
        while (event < ICD_CG_EVENTS &&
               (strlen(EVENT[event]) != n || memcmp(EVENT[event], from, n) != 0))
            event++;
        if (r->columns == COLUMNS_MOST) return damaged(r, "expected fewer events");
        if (event < ICD_CG_EVENTS && r->out->counted[event])
            return damaged(r, "expected every event once");
        if (event < ICD_CG_EVENTS) r->out->counted[event] = true;
        r->column[r->columns++] = event;
    }
    return r->columns ? ICD_OK : damaged(r, "expected names of events");
}

/* Makes the function of a name the current one. */
static icd_status read_function(reader *r)
{
    icd_cg_out *out = r->out;
    size_t n = (size_t)(r->stop - r->line);
    for (int64_t i = 0; i < out->functions; i++)
        if (strlen(out->function[i].name) == n &&
            memcmp(out->function[i].name, r->line, n) == 0) {
            r->current = i;
            return ICD_OK;
        }
    icd_status status = icd_i_grow(r->ctx, (void **)&out->function, &r->capacity,
                                   out->functions + 1, sizeof *out->function);
    char *name = icd_i_arena_alloc(r->ctx, out->memory, n + 1);
    if (status != ICD_OK || !name) return ICD_ENOMEM;
    memcpy(name, r->line, n);
    for (size_t i = 0; i < n; i++)
        if (!name[i]) name[i] = '?';
    r->current = out->functions++;
    out->function[r->current] = (icd_cg_function){.name = name};
    return ICD_OK;
}

/* Counts behind a line number or "summary:"; those that are left out are 0. */
static icd_status read_counts(reader *r, int64_t count[ICD_CG_EVENTS])
{
    for (int c = 0; c < r->columns; c++) {
        int64_t value = 0;
        skip_blanks(r);
        if (r->line == r->stop) break;
        if (!take_number(r, &value)) return damaged(r, "expected counts");
        if (r->column[c] < ICD_CG_EVENTS) count[r->column[c]] = value;
    }
    skip_blanks(r);
    return r->line == r->stop ? ICD_OK : damaged(r, "expected as many counts as events");
}

static icd_status read_line_of_source(reader *r)
{
    int64_t where, count[ICD_CG_EVENTS] = {0};
    if (!r->columns || r->current < 0) return damaged(r, "expected events and fn= first");
    if (!take_number(r, &where)) return damaged(r, "expected a line number and counts");
    icd_status status = read_counts(r, count);
    icd_cg_function *f = &r->out->function[r->current];
    for (int e = 0; status == ICD_OK && e < ICD_CG_EVENTS; e++)
        if (__builtin_add_overflow(r->out->total[e], count[e], &r->out->total[e]) ||
            __builtin_add_overflow(f->count[e], count[e], &f->count[e]))
            status = damaged(r, "expected counts below 2^63");
    return status;
}

static icd_status read_summary(reader *r)
{
    int64_t count[ICD_CG_EVENTS] = {0};
    icd_status status = read_counts(r, count);
    r->summed = true;
    if (status == ICD_OK && memcmp(count, r->out->total, sizeof count) != 0)
        return damaged(r, "expected the sum of the counts above");
    return status;
}

static icd_status read_line(reader *r)
{
    if (r->line == r->stop || *r->line == '#' || take(r, "cmd:") || take(r, "fl=") ||
        take(r, "fi=") || take(r, "fe="))
        return ICD_OK;
    if (take(r, "desc:")) {
        read_description(r);
        return ICD_OK;
    }
    if (take(r, "events:")) return read_events(r);
    if (take(r, "fn=")) return read_function(r);
    if (take(r, "summary:")) return read_summary(r);
    return read_line_of_source(r);
}

icd_status icd_i_cg_parse(icd_ctx *ctx, const char *text, size_t size, const char *place,
                          icd_cg_out **out)
{
    icd_status status = ICD_OK;
    reader r = {.ctx = ctx,
                .place = place,
                .at = text,
                .end = text + size,
                .line = "",
                .current = -1};
    r.stop = r.line;
    *out = NULL;
    ICD_TRY(ICD_ALLOC(ctx, 1, &r.out));
    ICD_TRY(icd_i_arena_new(ctx, &r.out->memory));
    while (next_line(&r)) ICD_TRY(read_line(&r));
    if (!r.summed) {
        status = damaged(&r, "expected a line summary: at the end");
        goto done;
    }
    *out = r.out;
    r.out = NULL;
done:
    icd_i_cg_out_free(ctx, r.out);
    return status;
}

void icd_i_cg_out_free(icd_ctx *ctx, icd_cg_out *out)
{
    if (!out) return;
    if (out->memory) icd_i_arena_free(ctx, out->memory);
    icd_i_free(ctx, out->function);
    icd_i_free(ctx, out);
}

const icd_cg_function *icd_i_cg_find(const icd_cg_out *out, const char *name)
{
    for (int64_t i = 0; i < out->functions; i++)
        if (!strcmp(out->function[i].name, name)) return &out->function[i];
    return NULL;
}
