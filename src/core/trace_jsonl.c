/* JSON Lines: {"t","axis","set":[..],"w"} or {"t","axis","src","dst","w"}, and lines
   {"axis","n"} that state the size of an axis. A scanner of its own, because a JSON tree
   per event would cost more than everything else that is done with a trace. */
#include "base/json.h"
#include "base/mem.h"
#include "core/scan.h"
#include "core/trace.h"

#include <inttypes.h>
#include <string.h>

typedef enum member {
    MEMBER_T,
    MEMBER_AXIS,
    MEMBER_SET,
    MEMBER_W,
    MEMBER_SRC,
    MEMBER_DST,
    MEMBER_N,
    MEMBERS
} member;

static const char *const MEMBER_NAME[MEMBERS] = {"t",   "axis", "set", "w",
                                                 "src", "dst",  "n"};

/* A string as it stands in the file, with its quotes. */
typedef struct raw {
    const char *text;
    size_t size;
} raw;

typedef struct line {
    bool has[MEMBERS];
    double t, w;
    int64_t src, dst, n, count;
    raw axis;
} line;

typedef struct state {
    icd_scan scan;
    int32_t *set; /* of the current line */
    int64_t capacity;
    raw last_axis; /* the axis of an earlier line, and whether its events are taken */
    bool last_taken;
    int32_t pair[2];
} state;

static icd_status fail_found(icd_trace_reader *reader, const char *expected)
{
    const icd_scan *scan = &((state *)reader->state)->scan;
    return icd_i_fail(reader->ctx, ICD_EDATA, icd_i_trace_spot(reader).text,
                      scan->at == scan->end ? "the file seems to be cut" : NULL,
                      "found %s, expected %s", icd_i_scan_token(scan).text, expected);
}

static bool take_char(icd_scan *scan, char c)
{
    icd_i_scan_blanks(scan);
    if (scan->at == scan->end || *scan->at != c) return false;
    ++scan->at;
    return true;
}

/* Leaves the cursor behind the closing quote; false at an unclosed string. */
static bool take_string(icd_scan *scan, raw *out)
{
    const char *p = scan->at;
    if (p == scan->end || *p != '"') return false;
    for (++p; p < scan->end && *p != '"'; ++p) {
        if ((unsigned char)*p < 32) return false;
        if (*p == '\\' && ++p == scan->end) return false;
    }
    if (p >= scan->end) return false;
    *out = (raw){scan->at, (size_t)(p + 1 - scan->at)};
    scan->at = p + 1;
    return true;
}

/* Passes over the value of a member that means nothing to us. */
static bool skip_value(icd_scan *scan)
{
    int64_t depth = 0;
    raw string;
    icd_i_scan_blanks(scan);
    for (const char *first = scan->at; scan->at < scan->end && *scan->at != '\n';) {
        char c = *scan->at;
        if (depth == 0 && (c == ',' || c == '}')) return scan->at > first;
        if (c == '"') {
            if (!take_string(scan, &string)) return false;
            continue;
        }
        if (c == '{' || c == '[') ++depth;
        if ((c == '}' || c == ']') && --depth < 0) return false;
        ++scan->at;
    }
    return false;
}

static icd_status take_index(icd_trace_reader *reader, int64_t *out)
{
    icd_scan *scan = &((state *)reader->state)->scan;
    icd_i_scan_blanks(scan);
    if (!icd_i_scan_int(scan, out)) return fail_found(reader, "an integer");
    if (*out >= 0 && *out < INT32_MAX) return ICD_OK;
    return icd_i_fail(reader->ctx, ICD_EDATA, icd_i_trace_spot(reader).text, NULL,
                      "found index %" PRId64 ", expected 0 to %" PRId64, *out,
                      reader->n > 0 ? reader->n - 1 : INT32_MAX - 1);
}

static icd_status take_set(icd_trace_reader *reader, line *l)
{
    icd_status status = ICD_OK;
    state *s = reader->state;
    int64_t index = 0;
    l->count = 0;
    if (!take_char(&s->scan, '[')) return fail_found(reader, "a list of indices");
    if (take_char(&s->scan, ']')) return ICD_OK;
    do {
        ICD_TRY(take_index(reader, &index));
        if (l->count == s->capacity)
            ICD_TRY(icd_i_grow(reader->ctx, (void **)&s->set, &s->capacity, l->count + 1,
                               sizeof *s->set));
        s->set[l->count++] = (int32_t)index;
    } while (take_char(&s->scan, ','));
    if (!take_char(&s->scan, ']')) return fail_found(reader, "',' or ']'");
done:
    return status;
}

static icd_status take_real(icd_trace_reader *reader, double *out)
{
    icd_scan *scan = &((state *)reader->state)->scan;
    icd_i_scan_blanks(scan);
    return icd_i_scan_real(scan, out) ? ICD_OK : fail_found(reader, "a number");
}

static icd_status take_axis(icd_trace_reader *reader, line *l)
{
    icd_scan *scan = &((state *)reader->state)->scan;
    icd_i_scan_blanks(scan);
    return take_string(scan, &l->axis) ? ICD_OK : fail_found(reader, "a string");
}

static icd_status take_value(icd_trace_reader *reader, member m, line *l)
{
    switch (m) {
    case MEMBER_T:
        return take_real(reader, &l->t);
    case MEMBER_AXIS:
        return take_axis(reader, l);
    case MEMBER_SET:
        return take_set(reader, l);
    case MEMBER_W:
        return take_real(reader, &l->w);
    case MEMBER_SRC:
        return take_index(reader, &l->src);
    case MEMBER_DST:
        return take_index(reader, &l->dst);
    case MEMBER_N:
        return take_index(reader, &l->n);
    case MEMBERS:
        break;
    }
    return skip_value(&((state *)reader->state)->scan)
               ? ICD_OK
               : fail_found(reader, "a JSON value");
}

static member find_member(raw key)
{
    int m = 0;
    for (; m < MEMBERS; ++m) {
        size_t length = strlen(MEMBER_NAME[m]);
        if (key.size == length + 2 && memcmp(key.text + 1, MEMBER_NAME[m], length) == 0)
            break;
    }
    return (member)m;
}

static icd_status take_member(icd_trace_reader *reader, line *l)
{
    icd_scan *scan = &((state *)reader->state)->scan;
    raw key;
    icd_i_scan_blanks(scan);
    if (!take_string(scan, &key)) return fail_found(reader, "a member name in quotes");
    if (!take_char(scan, ':')) return fail_found(reader, "':'");
    member m = find_member(key);
    if (m < MEMBERS && l->has[m])
        return icd_i_fail(reader->ctx, ICD_EDATA, icd_i_trace_spot(reader).text, NULL,
                          "member '%s' stands twice, expected once", MEMBER_NAME[m]);
    if (m < MEMBERS) l->has[m] = true;
    return take_value(reader, m, l);
}

static icd_status take_object(icd_trace_reader *reader, line *l)
{
    icd_status status = ICD_OK;
    icd_scan *scan = &((state *)reader->state)->scan;
    *l = (line){.t = -1, .w = 1};
    if (!take_char(scan, '{')) return fail_found(reader, "an object, '{'");
    do ICD_TRY(take_member(reader, l));
    while (take_char(scan, ','));
    if (!take_char(scan, '}')) return fail_found(reader, "',' or '}'");
    icd_i_scan_blanks(scan);
    if (!icd_i_scan_at_line_end(scan)) return fail_found(reader, "the end of the line");
    icd_i_scan_next_line(scan);
done:
    return status;
}

/* A line is one of three: a statement of n, a set, a pair. */
static icd_status check_members(icd_trace_reader *reader, const line *l)
{
    bool pair = l->has[MEMBER_SRC] && l->has[MEMBER_DST];
    bool half = l->has[MEMBER_SRC] != l->has[MEMBER_DST];
    if (!half && l->has[MEMBER_SET] + pair + l->has[MEMBER_N] == 1) return ICD_OK;
    return icd_i_fail(reader->ctx, ICD_EDATA, icd_i_trace_spot(reader).text, NULL,
                      "found '%s', expected one of 'set', 'src' with 'dst', or 'n'",
                      l->has[MEMBER_SRC]   ? "src"
                      : l->has[MEMBER_DST] ? "dst"
                      : l->has[MEMBER_SET] ? "set"
                                           : "neither");
}

/* *found is false at the end of the trace. */
static icd_status next_line(icd_trace_reader *reader, line *l, bool *found)
{
    icd_status status;
    icd_scan *scan = &((state *)reader->state)->scan;
    icd_i_scan_blanks(scan);
    while (scan->at < scan->end && *scan->at == '\n') {
        icd_i_scan_next_line(scan);
        icd_i_scan_blanks(scan);
    }
    reader->at = scan->line;
    *found = scan->at < scan->end;
    if (!*found) return ICD_OK;
    ICD_TRY(take_object(reader, l));
    ICD_TRY(check_members(reader, l));
done:
    return status;
}

static icd_status decode_axis(icd_trace_reader *reader, raw axis, char **out)
{
    json_error_t error;
    *out = NULL;
    json_t *value = json_loadb(axis.text, axis.size, JSON_DECODE_ANY, &error);
    if (!value)
        return icd_i_fail(reader->ctx, ICD_EDATA, icd_i_trace_spot(reader).text, NULL,
                          "member 'axis' is not a valid JSON string: %s", error.text);
    icd_status status = icd_i_strdup(reader->ctx, json_string_value(value), out);
    json_decref(value);
    return status;
}

/* The first axis that is named becomes the only one, unless the caller asked for another.
 */
static icd_status decide_axis(icd_trace_reader *reader, raw axis, bool *taken)
{
    icd_status status;
    char *name = NULL;
    ICD_TRY(decode_axis(reader, axis, &name));
    if (reader->wanted) {
        *taken = strcmp(name, reader->wanted) == 0;
    } else if (!reader->axis) {
        *taken = true;
        reader->axis = name;
        name = NULL;
    } else if (!(*taken = strcmp(name, reader->axis) == 0)) {
        status = icd_i_fail(reader->ctx, ICD_EINVAL, icd_i_trace_spot(reader).text,
                            "choose one with --axis",
                            "found axis '%.60s' beside axis '%.60s'", name, reader->axis);
    }
done:
    icd_i_free(reader->ctx, name);
    return status;
}

/* Whether a line is of the chosen axis; lines that name none are. */
static icd_status check_axis(icd_trace_reader *reader, const line *l, bool *taken)
{
    state *s = reader->state;
    raw last = s->last_axis;
    *taken = true;
    if (!l->has[MEMBER_AXIS]) return ICD_OK;
    if (last.size != l->axis.size || memcmp(last.text, l->axis.text, last.size) != 0) {
        icd_status status = decide_axis(reader, l->axis, &s->last_taken);
        if (status != ICD_OK) return status;
        s->last_axis = l->axis;
    }
    *taken = s->last_taken;
    return ICD_OK;
}

static icd_status state_n(icd_trace_reader *reader, int64_t n)
{
    if (reader->n >= 0 && reader->n != n)
        return icd_i_fail(reader->ctx, ICD_EDATA, icd_i_trace_spot(reader).text, NULL,
                          "states n = %" PRId64 ", expected %" PRId64 " as before", n,
                          reader->n);
    reader->n = n;
    return ICD_OK;
}

/* Reads the statements in front of the events, and from the first event only its axis. */
static icd_status read_statements(icd_trace_reader *reader)
{
    icd_status status;
    state *s = reader->state;
    line l;
    bool found = false, taken = false;
    for (;;) {
        icd_scan before = s->scan;
        ICD_TRY(next_line(reader, &l, &found));
        if (!found) break;
        ICD_TRY(check_axis(reader, &l, &taken));
        if (!l.has[MEMBER_N]) {
            s->scan = before;
            break;
        }
        if (taken) ICD_TRY(state_n(reader, l.n));
    }
done:
    return status;
}

static size_t bom_size(const unsigned char *bytes, size_t size)
{
    return size >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
}

static icd_status open_jsonl(icd_trace_reader *reader)
{
    state *s = NULL;
    icd_status status = ICD_ALLOC(reader->ctx, 1, &s);
    if (status != ICD_OK) return status;
    const char *text = (const char *)reader->bytes;
    s->scan =
        (icd_scan){text + bom_size(reader->bytes, reader->size), text + reader->size, 1};
    reader->state = s;
    reader->unit = "line";
    return read_statements(reader);
}

static icd_status give_set(icd_trace_reader *reader, const line *l, icd_trace_item *item)
{
    state *s = reader->state;
    icd_status status = icd_i_trace_check_set(reader, s->set, l->count);
    *item = (icd_trace_item){ICD_TRACE_SET, l->t, s->set, l->count, (float)l->w};
    return status;
}

static icd_status give_pair(icd_trace_reader *reader, const line *l, icd_trace_item *item)
{
    icd_status status;
    state *s = reader->state;
    ICD_TRY(icd_i_trace_check_index(reader, l->src));
    ICD_TRY(icd_i_trace_check_index(reader, l->dst));
    s->pair[0] = (int32_t)l->src;
    s->pair[1] = (int32_t)l->dst;
    *item = (icd_trace_item){ICD_TRACE_PAIR, l->t, s->pair, 2, (float)l->w};
done:
    return status;
}

static icd_status next_event(icd_trace_reader *reader, icd_trace_item *item)
{
    icd_status status;
    line l;
    bool found = false, taken = false;
    for (;;) {
        ICD_TRY(next_line(reader, &l, &found));
        if (!found) break;
        ICD_TRY(check_axis(reader, &l, &taken));
        if (!taken) continue;
        if (l.has[MEMBER_N]) {
            ICD_TRY(state_n(reader, l.n));
            continue;
        }
        ICD_TRY(icd_i_trace_check_weight(reader, l.w));
        if (l.has[MEMBER_SET]) return give_set(reader, &l, item);
        if (l.src != l.dst) return give_pair(reader, &l, item);
        icd_i_trace_warn_self(reader);
    }
    *item = (icd_trace_item){.t = -1, .count = -1};
done:
    return status;
}

static void close_jsonl(icd_trace_reader *reader)
{
    state *s = reader->state;
    icd_i_free(reader->ctx, s->set);
    icd_i_free(reader->ctx, s);
}

/* An object at the beginning of the text. */
static bool is_jsonl(const void *bytes, size_t size)
{
    const unsigned char *p = bytes;
    for (size_t i = bom_size(bytes, size); i < size; ++i)
        if (p[i] != ' ' && p[i] != '\t' && p[i] != '\r' && p[i] != '\n')
            return p[i] == '{';
    return false;
}

const icd_trace_format icd_i_trace_jsonl = {
    .name = "JSON Lines",
    .matches = is_jsonl,
    .open = open_jsonl,
    .next = next_event,
    .close = close_jsonl,
};
