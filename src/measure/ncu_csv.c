/* The reader of ncu's table: fields are quoted, kernel names hold commas, numbers hold
 * separators of thousands. */
#include "measure/ncu_csv.h"

#include "base/text.h"

#include <math.h>
#include <string.h>

enum { FIELDS_MOST = 4096, NUMBER_BYTES = 64 };

typedef struct parser {
    icd_ctx *ctx;
    const char *place;
    const char *at, *end; /* what is left */
    int64_t line;
    char **field; /* [fields] of the current line, in the table's memory */
    int64_t fields, field_capacity;
    int32_t *column_of; /* [fields] of the head: column, or -1 */
    int64_t width;      /* fields of the head */
    int64_t kernel_capacity, value_capacity;
    int64_t name, device, cc, grid, block; /* fields of the head; -1: none */
    icd_ncu_table *table;
} parser;

void icd_i_ncu_table_free(icd_ctx *ctx, icd_ncu_table *t)
{
    if (!t) return;
    icd_i_free(ctx, t->kernel);
    icd_i_free(ctx, t->column);
    icd_i_free(ctx, t->value);
    icd_i_arena_free(ctx, t->memory);
    icd_i_free(ctx, t);
}

int64_t icd_i_ncu_column(const icd_ncu_table *t, const char *name)
{
    for (int64_t i = 0; i < t->columns; i++)
        if (strcmp(t->column[i].name, name) == 0) return i;
    return -1;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Separators stand before groups of three digits, none behind the point. */
static bool copy_without_commas(const char *text, char *out)
{
    size_t n = 0, digits = 0;
    bool grouped = false, fraction = false;
    for (; *text; text++) {
        if (*text == ',') {
            if (fraction || digits == 0 || digits > 3 || (grouped && digits != 3))
                return false;
            grouped = true;
            digits = 0;
            continue;
        }
        if (n + 1 >= NUMBER_BYTES) return false;
        if (!fraction && !is_digit(*text) && n > 0) {
            if (grouped && digits != 3) return false;
            fraction = true;
        }
        digits += is_digit(*text);
        out[n++] = *text;
    }
    out[n] = 0;
    return fraction || !grouped || digits == 3;
}

bool icd_i_ncu_number(const char *text, double *out)
{
    char plain[NUMBER_BYTES];
    return copy_without_commas(text, plain) && icd_i_real_parse(plain, out);
}

/* "n/a", "(!) n/a", "nan", nothing: the counter was not read. */
static bool is_missing(const char *text)
{
    static const char *const WORD[] = {"", "n/a", "(!) n/a", "N/A", "nan", "-nan", "NaN"};
    for (size_t i = 0; i < sizeof WORD / sizeof WORD[0]; i++)
        if (strcmp(text, WORD[i]) == 0) return true;
    return false;
}

/* Takes a prefix of thousands off a unit: "Mbyte" is 1e6 "byte", as ncu prints it. */
static double unit_factor(const char **unit)
{
    static const char *const BASE[] = {"byte",  "sector", "request",     "inst",
                                       "cycle", "hz",     "byte/second", "byte/s"};
    static const struct {
        const char *unit, *base;
        double factor;
    } TIME[] = {{"nsecond", "ns", 1},   {"usecond", "ns", 1e3}, {"us", "ns", 1e3},
                {"msecond", "ns", 1e6}, {"ms", "ns", 1e6},      {"second", "ns", 1e9},
                {"s", "ns", 1e9}};
    static const char PREFIX[] = "KMGT";
    for (size_t i = 0; i < sizeof TIME / sizeof TIME[0]; i++)
        if (strcmp(*unit, TIME[i].unit) == 0) {
            *unit = TIME[i].base;
            return TIME[i].factor;
        }
    const char *prefix = **unit ? strchr(PREFIX, **unit) : NULL;
    for (size_t i = 0; prefix && i < sizeof BASE / sizeof BASE[0]; i++)
        if (strcmp(*unit + 1, BASE[i]) == 0) {
            ++*unit;
            return pow(1e3, (double)(prefix - PREFIX + 1));
        }
    return 1;
}

static icd_status bad_line(const parser *p, const char *what)
{
    return icd_i_fail(p->ctx, ICD_EDATA, p->place, NULL, "line %lld: %s",
                      (long long)p->line, what);
}

/* The end of the current line, without its newline. */
static const char *line_end(const parser *p)
{
    const char *newline = memchr(p->at, '\n', (size_t)(p->end - p->at));
    return newline ? newline : p->end;
}

static void next_line(parser *p)
{
    const char *end = line_end(p);
    p->at = end < p->end ? end + 1 : end;
    p->line++;
}

/* One field from p->at to `*to`, which moves behind its terminating 0. @return its end;
 * NULL: a quote that stays open */
static const char *take_field(const char *at, const char *end, char **to)
{
    char *text = *to;
    bool open = at < end && *at == '"';
    if (!open)
        while (at < end && *at != ',') *text++ = *at++;
    else
        for (at++; at < end && open; at++) {
            if (*at != '"')
                *text++ = *at;
            else if (at + 1 < end && at[1] == '"')
                *text++ = *at++;
            else
                open = false;
        }
    *text = 0;
    *to = text + 1;
    return open ? NULL : at;
}

/* Splits the current line into p->field. */
static icd_status split(parser *p)
{
    const char *end = line_end(p);
    if (end > p->at && end[-1] == '\r') end--;
    char *text = icd_i_arena_alloc(p->ctx, p->table->memory, (size_t)(end - p->at) + 1);
    if (!text) return ICD_ENOMEM;
    for (p->fields = 0;;) {
        if (p->fields == FIELDS_MOST) return bad_line(p, "more than 4096 fields");
        icd_status status = icd_i_grow(p->ctx, (void **)&p->field, &p->field_capacity,
                                       p->fields + 1, sizeof *p->field);
        if (status != ICD_OK) return status;
        p->field[p->fields++] = text;
        p->at = take_field(p->at, end, &text);
        if (!p->at) return bad_line(p, "a quote stays open: the output was cut off");
        if (p->at >= end) return ICD_OK;
        if (*p->at != ',') return bad_line(p, "text behind a closing quote");
        p->at++;
    }
}

static int64_t find_field(const parser *p, const char *name)
{
    for (int64_t i = 0; i < p->fields; i++)
        if (strcmp(p->field[i], name) == 0) return i;
    return -1;
}

static bool starts_with(const parser *p, const char *text)
{
    size_t n = strlen(text);
    return (size_t)(p->end - p->at) >= n && memcmp(p->at, text, n) == 0;
}

/* Metrics are told from what describes the launch by "__" ("lts__t_sectors.sum"). */
static icd_status take_head(parser *p)
{
    icd_ncu_table *t = p->table;
    p->width = p->fields;
    p->name = find_field(p, "Kernel Name");
    p->device = find_field(p, "Device");
    p->cc = find_field(p, "CC");
    p->grid = find_field(p, "Grid Size");
    p->block = find_field(p, "Block Size");
    if (find_field(p, "Metric Value") >= 0)
        return bad_line(p, "one metric per line, expected the output of --page raw");
    if (p->name < 0) return bad_line(p, "the table has no column 'Kernel Name'");
    icd_status status = ICD_ALLOC(p->ctx, p->width, &p->column_of);
    if (status == ICD_OK) status = ICD_ALLOC(p->ctx, p->width, &t->column);
    for (int64_t i = 0; status == ICD_OK && i < p->width; i++) {
        p->column_of[i] = -1;
        if (!strstr(p->field[i], "__")) continue;
        p->column_of[i] = (int32_t)t->columns;
        t->column[t->columns++] = (icd_ncu_column){.name = p->field[i], .unit = ""};
    }
    if (status == ICD_OK && t->columns == 0)
        return bad_line(p, "the table has no column of a metric");
    return status;
}

/* A line of names begins with "ID". */
static icd_status find_head(parser *p)
{
    for (; p->at < p->end; next_line(p)) {
        if (!starts_with(p, "\"ID\",") && !starts_with(p, "ID,")) continue;
        icd_status status = split(p);
        if (status == ICD_OK) status = take_head(p);
        if (status == ICD_OK) next_line(p);
        return status;
    }
    return icd_i_fail(p->ctx, ICD_EDATA, p->place, NULL,
                      "no table of kernels was found, expected a line that begins with "
                      "\"ID\"");
}

/* Units come before the values they belong to. */
static void take_units(parser *p, double *factor)
{
    for (int64_t i = 0; i < p->width; i++) {
        const char *unit = p->field[i];
        if (p->column_of[i] < 0) continue;
        factor[p->column_of[i]] = unit_factor(&unit);
        p->table->column[p->column_of[i]].unit = unit;
    }
}

static const char *field_at(const parser *p, int64_t i)
{
    return i >= 0 ? p->field[i] : "";
}

static icd_status take_kernel(parser *p, const double *factor)
{
    icd_ncu_table *t = p->table;
    icd_status status = icd_i_grow(p->ctx, (void **)&t->kernel, &p->kernel_capacity,
                                   t->kernels + 1, sizeof *t->kernel);
    if (status == ICD_OK)
        status = icd_i_grow(p->ctx, (void **)&t->value, &p->value_capacity,
                            (t->kernels + 1) * t->columns, sizeof *t->value);
    if (status != ICD_OK) return status;
    double *value = t->value + t->kernels * t->columns;
    t->kernel[t->kernels++] = (icd_ncu_kernel){.name = field_at(p, p->name),
                                               .device = field_at(p, p->device),
                                               .cc = field_at(p, p->cc),
                                               .grid = field_at(p, p->grid),
                                               .block = field_at(p, p->block)};
    for (int64_t i = 0; i < p->width; i++) {
        int32_t c = p->column_of[i];
        if (c < 0) continue;
        double x = NAN;
        value[c] = NAN;
        if (icd_i_ncu_number(p->field[i], &x))
            value[c] = isfinite(x * factor[c]) ? x * factor[c] : (double)NAN;
        else if (!is_missing(p->field[i]) && !t->column[c].odd)
            t->column[c].odd = p->field[i];
    }
    return ICD_OK;
}

/* A row of the table begins with a number, the line of units with nothing. */
static bool is_row(const parser *p)
{
    const char *at = p->at;
    if (at < p->end && *at == '"')
        at++;
    else if (!starts_with(p, ","))
        return at < p->end && is_digit(*at);
    return at < p->end && (is_digit(*at) || *at == '"' || *at == ',');
}

/* Lines that are not of the table belong to ncu or to the program. */
static icd_status take_rows(parser *p, double *factor)
{
    for (; p->at < p->end; next_line(p)) {
        if (!is_row(p)) continue;
        icd_status status = split(p);
        if (status != ICD_OK) return status;
        if (p->fields != p->width)
            return icd_i_fail(p->ctx, ICD_EDATA, p->place, NULL,
                              "line %lld: found %lld fields, expected %lld",
                              (long long)p->line, (long long)p->fields,
                              (long long)p->width);
        if (*p->field[0] == 0)
            take_units(p, factor);
        else
            status = take_kernel(p, factor);
        if (status != ICD_OK) return status;
    }
    return ICD_OK;
}

static icd_status parse(parser *p)
{
    double *factor = NULL;
    icd_status status = find_head(p);
    if (status == ICD_OK) status = ICD_ALLOC(p->ctx, p->table->columns, &factor);
    for (int64_t i = 0; status == ICD_OK && i < p->table->columns; i++) factor[i] = 1;
    if (status == ICD_OK) status = take_rows(p, factor);
    icd_i_free(p->ctx, factor);
    return status;
}

icd_status icd_i_ncu_parse(icd_ctx *ctx, const char *text, size_t size, const char *place,
                           icd_ncu_table **out)
{
    parser p = {.ctx = ctx, .place = place, .at = text, .end = text + size, .line = 1};
    *out = NULL;
    icd_status status = ICD_ALLOC(ctx, 1, &p.table);
    if (status == ICD_OK) status = icd_i_arena_new(ctx, &p.table->memory);
    if (status == ICD_OK) status = parse(&p);
    icd_i_free(ctx, p.field);
    icd_i_free(ctx, p.column_of);
    if (status != ICD_OK)
        icd_i_ncu_table_free(ctx, p.table);
    else
        *out = p.table;
    return status;
}
