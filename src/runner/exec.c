/* exec: a user's command as a runner. */
#include <icd/exec.h>

#include "base/child.h"
#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_OUTPUT = 1 << 28 };

typedef struct numbers {
    icd_ctx *ctx;
    const char *place;
    icd_exec_result *out;
    int64_t capacity;
    int64_t line;
    bool latencies; /* only values above zero; objects are read by "lat_ms" */
} numbers;

void icd_exec_result_release(icd_ctx *ctx, icd_exec_result *result)
{
    icd_i_free(ctx, result->value);
    *result = (icd_exec_result){0};
}

static icd_status refuse(const numbers *n, const char *found)
{
    char place[512];
    snprintf(place, sizeof place, "%s:%lld", n->place, (long long)n->line);
    return icd_i_fail(
        n->ctx, ICD_EMEASURE, place, NULL, "found '%.80s', expected %s", found,
        n->latencies ? "a latency in ms above zero, or JSON with lat_ms" : "numbers");
}

static icd_status push(numbers *n, double value)
{
    char text[40];
    snprintf(text, sizeof text, "%g", value);
    if (!isfinite(value) || (n->latencies && value <= 0)) return refuse(n, text);
    icd_status status = icd_i_grow(n->ctx, (void **)&n->out->value, &n->capacity,
                                   n->out->count + 1, sizeof *n->out->value);
    if (status == ICD_OK) n->out->value[n->out->count++] = value;
    return status;
}

static icd_status push_json(numbers *n, const json_t *value)
{
    if (json_is_number(value)) return push(n, json_number_value(value));
    if (json_is_object(value) && n->latencies) {
        const json_t *inner = json_object_get(value, "lat_ms");
        if (inner && !json_is_object(inner)) return push_json(n, inner);
    }
    if (!json_is_array(value)) return refuse(n, "another kind of JSON value");
    icd_status status = ICD_OK;
    size_t i = 0;
    const json_t *item = NULL;
    json_array_foreach(value, i, item)
    {
        if (status == ICD_OK) status = push_json(n, item);
    }
    return status;
}

static icd_status take_json(numbers *n, const char *text, size_t size)
{
    json_t *root = NULL;
    icd_status status = icd_i_json_parse(n->ctx, text, size, n->place, &root);
    if (status == ICD_ENOMEM) return status;
    status = status == ICD_OK ? push_json(n, root) : refuse(n, text);
    json_decref(root);
    return status;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Words of a line, each a number; `line` ends with 0. */
static icd_status take_words(numbers *n, const char *line)
{
    icd_status status = ICD_OK;
    while (status == ICD_OK) {
        char *end = NULL;
        while (is_space(*line)) line++;
        if (!*line) break;
        double value = strtod(line, &end);
        if (end == line || (*end && !is_space(*end))) return refuse(n, line);
        status = push(n, value);
        line = end;
    }
    return status;
}

static icd_status take_line(numbers *n, char *line, size_t size)
{
    while (size && is_space(line[size - 1])) line[--size] = 0;
    while (is_space(*line)) {
        line++;
        size--;
    }
    if (!*line || *line == '#') return ICD_OK;
    if (*line == '{' || *line == '[') return take_json(n, line, size);
    return take_words(n, line);
}

/* One JSON document over several lines begins with a bracket that its line does not
 * close. */
static bool is_document(const char *text)
{
    while (is_space(*text)) text++;
    if (*text != '{' && *text != '[') return false;
    char close = *text == '{' ? '}' : ']';
    size_t n = strcspn(text, "\n");
    while (n && is_space(text[n - 1])) n--;
    return n == 0 || text[n - 1] != close;
}

static icd_status take_all(numbers *n, char *text, int64_t size)
{
    icd_status status = ICD_OK;
    n->line = 1;
    if (memchr(text, 0, (size_t)size)) return refuse(n, "a byte 0");
    if (is_document(text)) return take_json(n, text, (size_t)size);
    for (char *line = text; status == ICD_OK && line < text + size; n->line++) {
        size_t length = strcspn(line, "\n");
        line[length] = 0;
        status = take_line(n, line, length);
        line += length + 1;
    }
    return status;
}

/* `text` has a 0 behind its last byte and is changed. */
static icd_status read_numbers(icd_ctx *ctx, char *text, int64_t size, const char *place,
                               bool latencies, icd_exec_result *out)
{
    numbers n = {.ctx = ctx, .place = place, .out = out, .latencies = latencies};
    icd_status status = take_all(&n, text, size);
    if (status == ICD_OK && out->count == 0)
        status = icd_i_fail(ctx, ICD_EMEASURE, place, NULL, "it printed no %s",
                            latencies ? "latency" : "number");
    if (status != ICD_OK) icd_exec_result_release(ctx, out);
    return status;
}

icd_status icd_exec_parse(icd_ctx *ctx, const char *text, int64_t size, const char *place,
                          icd_exec_result *out)
{
    char *copy = NULL;
    *out = (icd_exec_result){0};
    icd_status status = ICD_ALLOC(ctx, size + 1, &copy);
    if (status != ICD_OK) return status;
    if (size) memcpy(copy, text, (size_t)size);
    status = read_numbers(ctx, copy, size, place, true, out);
    icd_i_free(ctx, copy);
    return status;
}

/* Room for a text in single quotes, each of its own quotes as '\''. */
static size_t quoted_bytes(const char *text)
{
    size_t bytes = 2;
    for (; *text; text++) bytes += *text == '\'' ? 4 : 1;
    return bytes;
}

static char *put_quoted(char *at, const char *text)
{
    *at++ = '\'';
    for (; *text; text++) {
        if (*text == '\'') {
            memcpy(at, "'\\''", 4);
            at += 4;
        } else {
            *at++ = *text;
        }
    }
    *at++ = '\'';
    return at;
}

/* The place that begins here; NULL: none does. */
static const icd_exec_place *place_at(const char *text, const icd_exec_place *place,
                                      int64_t places)
{
    for (int64_t i = 0; *text == '{' && i < places; i++) {
        size_t n = strlen(place[i].name);
        if (!strncmp(text + 1, place[i].name, n) && text[1 + n] == '}') return &place[i];
    }
    return NULL;
}

static icd_status filled_bytes(icd_ctx *ctx, const char *command,
                               const icd_exec_place *place, int64_t places, size_t *bytes)
{
    *bytes = strlen(command) + 1;
    for (const char *p = command; *p; p++) {
        const icd_exec_place *at = place_at(p, place, places);
        if (!at) continue;
        if (!at->value)
            return icd_i_fail(ctx, ICD_EINVAL, "command", NULL,
                              "found {%s}, but there is no %s to put there", at->name,
                              at->name);
        *bytes += quoted_bytes(at->value);
    }
    return ICD_OK;
}

icd_status icd_exec_fill(icd_ctx *ctx, const char *command, const icd_exec_place *place,
                         int64_t places, char **out)
{
    size_t bytes = 0;
    *out = NULL;
    icd_status status = filled_bytes(ctx, command, place, places, &bytes);
    if (status == ICD_OK) status = ICD_ALLOC(ctx, (int64_t)bytes, out);
    if (status != ICD_OK) return status;
    char *to = *out;
    for (const char *p = command; *p;) {
        const icd_exec_place *at = place_at(p, place, places);
        if (at) to = put_quoted(to, at->value);
        if (at)
            p += strlen(at->name) + 2;
        else
            *to++ = *p++;
    }
    *to = 0;
    return ICD_OK;
}

/* What went wrong, then the end of what the command wrote to its standard error. */
static icd_status with_last_words(icd_ctx *ctx, icd_status status, const icd_child *child)
{
    char text[512];
    if (status != ICD_EMEASURE || !child->error[0]) return status;
    snprintf(text, sizeof text, "%s", icd_ctx_message(ctx));
    return icd_i_fail(ctx, status, NULL, NULL, "%s; its last words: %s", text,
                      child->error);
}

static icd_status check_end(icd_ctx *ctx, const icd_child *child)
{
    if (child->exit_code == 0) return ICD_OK;
    if (child->signal)
        return icd_i_fail(ctx, ICD_EMEASURE, "command", NULL, "it was ended by signal %d",
                          child->signal);
    return icd_i_fail(ctx, ICD_EMEASURE, "command", NULL, "it ended with exit code %d",
                      child->exit_code);
}

static icd_status run_line(icd_ctx *ctx, const char *line, double timeout_s,
                           bool latencies, icd_exec_result *out)
{
    icd_child child = {0};
    const char *argv[] = {"sh", "-c", line, NULL};
    *out = (icd_exec_result){0};
    icd_status status = icd_i_child_run(ctx, argv, timeout_s, MOST_OUTPUT, &child);
    if (status == ICD_OK) status = check_end(ctx, &child);
    if (status == ICD_OK)
        status = read_numbers(ctx, child.out, child.size, "command", latencies, out);
    status = with_last_words(ctx, status, &child);
    icd_i_child_release(ctx, &child);
    return status;
}

static icd_status run(icd_ctx *ctx, const char *command, const char *model,
                      double timeout_s, bool latencies, icd_exec_result *out)
{
    const icd_exec_place place = {"model", model};
    char *line = NULL;
    *out = (icd_exec_result){0};
    icd_status status = icd_exec_fill(ctx, command, &place, 1, &line);
    if (status == ICD_OK) status = run_line(ctx, line, timeout_s, latencies, out);
    icd_i_free(ctx, line);
    return status;
}

icd_status icd_exec_latencies(icd_ctx *ctx, const char *command, const char *model,
                              double timeout_s, icd_exec_result *out)
{
    return run(ctx, command, model, timeout_s, true, out);
}

icd_status icd_exec_numbers(icd_ctx *ctx, const char *command, const char *model,
                            double timeout_s, icd_exec_result *out)
{
    return run(ctx, command, model, timeout_s, false, out);
}

icd_status icd_exec_sample(icd_ctx *ctx, const char *command, const icd_exec_opts *opts,
                           double *lat_ms, int64_t *steps)
{
    double sum = 0;
    icd_exec_result r = {0};
    icd_status status = run_line(ctx, command, opts->timeout_s, true, &r);
    int64_t count = r.count - opts->discard;
    if (status == ICD_OK && count < opts->lines)
        status = icd_i_fail(ctx, ICD_EMEASURE, "command", "see runner.exec.lines",
                            "it printed %lld latencies, expected %lld and %lld to leave "
                            "out",
                            (long long)r.count, (long long)opts->lines,
                            (long long)opts->discard);
    if (status == ICD_OK) {
        for (int64_t i = opts->discard; i < r.count; i++) sum += r.value[i];
        *lat_ms = sum / (double)count;
        *steps = count;
    }
    icd_exec_result_release(ctx, &r);
    return status;
}
