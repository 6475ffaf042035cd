/* samples.csv: the raw samples, one line each, in the order in which they were taken. */
#include "measure/samples_csv.h"

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

/* The speed of the core is a last column that older files lack. */
static const char HEAD[] = "block,arm,position,t_start_s,lat_ms,burst,core_mhz\n",
                  HEAD_OLD[] = "block,arm,position,t_start_s,lat_ms,burst\n";

static int64_t arm_at(const icd_samples *s, int64_t block, int64_t position)
{
    for (int64_t a = 0; a < s->arms; a++)
        if (s->position[block * s->arms + a] == position) return a;
    return -1;
}

static icd_status write_clock(icd_ctx *ctx, const icd_samples *s, icd_out *out)
{
    char *text = NULL;
    const icd_clock *c = &s->clock;
    json_t *clock = json_pack(
        "{s:s,s:s,s:s,s:s,s:I,s:I,s:b,s:f,s:f,s:[f,f,f],s:f,s:s}", "criterion",
        icd_stop_name((icd_stop)s->stop), "governor", c->governor, "boost", c->boost,
        "pinned", c->pinned, "throttled", (json_int_t)c->throttled, "interrupted",
        (json_int_t)c->interrupted, "tsc_invariant", (int)c->tsc_invariant, "tsc_mhz",
        c->tsc_mhz, "tsc_worst_ppm", c->tsc_worst_ppm, "core_mhz", c->mhz_low,
        c->mhz_mean, c->mhz_high, "observing_s", c->observing_s, "mode",
        s->mode == ICD_MEASURE_COLD ? "cold" : "warm");
    icd_status status = icd_i_json_print(ctx, clock, true, &text);
    if (status == ICD_OK) status = icd_i_out_printf(ctx, out, "# clock: %s\n", text);
    icd_i_free(ctx, text);
    json_decref(clock);
    return status;
}

static icd_status write_rows(icd_ctx *ctx, const icd_samples *s, icd_out *out)
{
    icd_status status = ICD_OK;
    for (int64_t i = 0; status == ICD_OK && i < s->blocks * s->arms; i++) {
        int64_t b = i / s->arms, p = i % s->arms, a = arm_at(s, b, p),
                at = b * s->arms + a;
        status = icd_i_out_printf(ctx, out, "%lld,%s,%lld,%.9f,%.9f,%lld", (long long)b,
                                  s->name[a], (long long)p, s->t_start[at], s->lat_ms[at],
                                  (long long)s->burst[a]);
        if (status == ICD_OK)
            status = s->mhz ? icd_i_out_printf(ctx, out, ",%.1f\n", s->mhz[at])
                            : icd_i_out_printf(ctx, out, "\n");
    }
    return status;
}

icd_status icd_samples_write(icd_ctx *ctx, const icd_samples *s, const char *path)
{
    icd_out *out = NULL;
    icd_status status = icd_i_out_open(ctx, path, &out);
    if (status != ICD_OK) return status;
    status = icd_i_out_printf(ctx, out, "%s# stopped: %s; elapsed_s: %.6f\n",
                              s->mhz ? HEAD : HEAD_OLD, s->stopped, s->elapsed_s);
    if (status == ICD_OK) status = write_clock(ctx, s, out);
    if (status == ICD_OK) status = write_rows(ctx, s, out);
    icd_status closed = icd_i_out_close(ctx, out, status == ICD_OK);
    return status != ICD_OK ? status : closed;
}

enum { FIELDS = 7, ARMS_MOST = 1000 };

/* One parsed line; `arm` points into the text. */
typedef struct row {
    int64_t block, position, burst;
    double t_start, lat_ms, mhz;
    const char *arm;
} row;

/* Cuts a line at its commas. @return false: another number of fields */
static bool split(char *line, int fields, const char *field[FIELDS])
{
    for (int i = 0; i < fields; i++) {
        field[i] = line;
        line = strchr(line, ',');
        if (!line) return i == fields - 1;
        *line++ = 0;
    }
    return false;
}

static bool parse_row(char *line, int fields, row *r)
{
    const char *field[FIELDS];
    if (!split(line, fields, field)) return false;
    r->arm = field[1];
    r->mhz = 0;
    if (fields == FIELDS && (!icd_i_real_parse(field[6], &r->mhz) || r->mhz < 0))
        return false;
    return icd_i_int_parse(field[0], &r->block) && *r->arm &&
           icd_i_int_parse(field[2], &r->position) &&
           icd_i_real_parse(field[3], &r->t_start) &&
           icd_i_real_parse(field[4], &r->lat_ms) &&
           icd_i_int_parse(field[5], &r->burst) && r->lat_ms > 0 && r->burst > 0;
}

static icd_status bad_line(icd_ctx *ctx, const char *path, int64_t line)
{
    icd_text place = {0};
    icd_status status = icd_i_text_printf(ctx, &place, "%s:%lld", path, (long long)line);
    if (status == ICD_OK)
        status = icd_i_fail(
            ctx, ICD_EDATA, place.data, "measure again",
            "found a line that is not block,arm,position,t_start_s,lat_ms,burst "
            "(and core_mhz) in the order taken");
    icd_i_text_release(ctx, &place);
    return status;
}

/* The first block names the arms; every later one must repeat them all. */
static icd_status collect_arms(icd_ctx *ctx, const row *rows, int64_t count, int fields,
                               icd_samples *s)
{
    icd_status status = ICD_OK;
    while (s->arms < count && rows[s->arms].block == 0) s->arms++;
    ICD_TRY(ICD_ALLOC(ctx, s->arms, &s->name));
    ICD_TRY(ICD_ALLOC(ctx, s->arms, &s->burst));
    for (int64_t a = 0; a < s->arms; a++) {
        ICD_TRY(icd_i_strdup(ctx, rows[a].arm, &s->name[a]));
        s->burst[a] = rows[a].burst;
    }
    s->blocks = s->arms ? count / s->arms : 0;
    ICD_TRY(ICD_ALLOC(ctx, s->blocks * s->arms, &s->lat_ms));
    ICD_TRY(ICD_ALLOC(ctx, s->blocks * s->arms, &s->t_start));
    ICD_TRY(ICD_ALLOC(ctx, s->blocks * s->arms, &s->position));
    if (fields == FIELDS) ICD_TRY(ICD_ALLOC(ctx, s->blocks * s->arms, &s->mhz));
done:
    return status;
}

/* Row i belongs to block i / arms, and to an arm that this block does not have yet. */
static bool place_row(const row *r, int64_t i, icd_samples *s)
{
    int64_t a = icd_samples_find(s, r->arm), block = i / s->arms,
            at = block * s->arms + a;
    if (a < 0 || r->block != block || r->position != i % s->arms ||
        r->burst != s->burst[a] || s->lat_ms[at] > 0)
        return false;
    s->lat_ms[at] = r->lat_ms;
    s->t_start[at] = r->t_start;
    s->position[at] = (int32_t)r->position;
    if (s->mhz) s->mhz[at] = r->mhz;
    return true;
}

static icd_status place_rows(icd_ctx *ctx, const row *rows, int64_t count, int fields,
                             const char *path, icd_samples *s)
{
    icd_status status = collect_arms(ctx, rows, count, fields, s);
    if (status != ICD_OK) return status;
    if (s->arms == 0 || s->arms > ARMS_MOST || count % s->arms != 0)
        return icd_i_fail(ctx, ICD_EDATA, path, "measure again",
                          "found %lld samples and %lld arms in the first block, expected "
                          "whole blocks of 1 to %d arms",
                          (long long)count, (long long)s->arms, ARMS_MOST);
    for (int64_t i = 0; i < count; i++)
        if (!place_row(&rows[i], i, s))
            return icd_i_fail(ctx, ICD_EDATA, path, "measure again",
                              "sample %lld is not the next one of an interleaved design",
                              (long long)i + 1);
    return ICD_OK;
}

static void copy_text(const json_t *object, const char *key, char *out, size_t size)
{
    const char *text = json_string_value(json_object_get(object, key));
    if (text) snprintf(out, size, "%s", text);
}

static double real_of(const json_t *value)
{
    return json_is_number(value) ? json_number_value(value) : 0;
}

static int64_t count_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_integer(value) ? json_integer_value(value) : -1;
}

static void read_clock(icd_ctx *ctx, const char *text, icd_samples *s)
{
    json_t *root = NULL;
    icd_clock *c = &s->clock;
    char word[16] = "";
    if (icd_i_json_parse(ctx, text, strlen(text), "samples", &root) != ICD_OK) {
        icd_ctx_clear(ctx); /* a comment that is not ours */
        return;
    }
    copy_text(root, "governor", c->governor, sizeof c->governor);
    copy_text(root, "boost", c->boost, sizeof c->boost);
    copy_text(root, "pinned", c->pinned, sizeof c->pinned);
    const json_t *mhz = json_object_get(root, "core_mhz");
    c->throttled = count_of(root, "throttled");
    c->interrupted = count_of(root, "interrupted");
    c->tsc_invariant = json_is_true(json_object_get(root, "tsc_invariant"));
    c->tsc_mhz = real_of(json_object_get(root, "tsc_mhz"));
    c->tsc_worst_ppm = real_of(json_object_get(root, "tsc_worst_ppm"));
    c->mhz_low = real_of(json_array_get(mhz, 0));
    c->mhz_mean = real_of(json_array_get(mhz, 1));
    c->mhz_high = real_of(json_array_get(mhz, 2));
    c->observing_s = real_of(json_object_get(root, "observing_s"));
    copy_text(root, "criterion", word, sizeof word);
    for (int i = 0; i <= ICD_STOP_TIMEOUT; i++)
        if (!strcmp(word, icd_stop_name((icd_stop)i))) s->stop = i;
    copy_text(root, "mode", word, sizeof word);
    s->mode = strcmp(word, "cold") ? ICD_MEASURE_WARM : ICD_MEASURE_COLD;
    json_decref(root);
}

/* "# stopped: WHY; elapsed_s: SECONDS", "# clock: {...}"; others say nothing to us. */
static void read_comment(icd_ctx *ctx, const char *line, icd_samples *s)
{
    static const char STOPPED[] = "# stopped: ", ELAPSED[] = "; elapsed_s: ",
                      CLOCK[] = "# clock: ";
    const char *to = strstr(line, ELAPSED);
    if (!strncmp(line, CLOCK, sizeof CLOCK - 1)) {
        read_clock(ctx, line + sizeof CLOCK - 1, s);
    } else if (!strncmp(line, STOPPED, sizeof STOPPED - 1) && to) {
        line += sizeof STOPPED - 1;
        snprintf(s->stopped, sizeof s->stopped, "%.*s", (int)(to - line), line);
        if (!icd_i_real_parse(to + sizeof ELAPSED - 1, &s->elapsed_s)) s->elapsed_s = 0;
    }
}

/* Fields of a row by the first line, which is passed; 0: another file. */
static int read_head(char **text)
{
    const char *head = strncmp(*text, HEAD, sizeof HEAD - 1) == 0           ? HEAD
                       : strncmp(*text, HEAD_OLD, sizeof HEAD_OLD - 1) == 0 ? HEAD_OLD
                                                                            : NULL;
    if (!head) return 0;
    *text += strlen(head);
    return head == HEAD ? FIELDS : FIELDS - 1;
}

/* Every line ends with \n; the first is a head. `text` is cut into its fields. */
static icd_status parse_all(icd_ctx *ctx, char *text, const char *path, icd_samples *s)
{
    icd_status status = ICD_OK;
    row *rows = NULL;
    int64_t count = 0, capacity = 0, line = 1;
    char *at = text, *stop = NULL;
    int fields = read_head(&at);
    if (!fields) return bad_line(ctx, path, line);
    for (; *at; at = stop + 1) {
        line++;
        stop = strchr(at, '\n');
        if (stop) *stop = 0;
        if (stop && *at == '#') {
            read_comment(ctx, at, s);
            continue;
        }
        ICD_TRY(icd_i_grow(ctx, (void **)&rows, &capacity, count + 1, sizeof *rows));
        if (!stop || !parse_row(at, fields, &rows[count++])) {
            status = bad_line(ctx, path, line);
            goto done;
        }
    }
    status = place_rows(ctx, rows, count, fields, path, s);
done:
    icd_i_free(ctx, rows);
    return status;
}

icd_status icd_i_samples_parse(icd_ctx *ctx, const char *text, size_t size,
                               const char *place, icd_samples **out)
{
    icd_status status = ICD_OK;
    icd_samples *s = NULL;
    char *copy = NULL;
    *out = NULL;
    ICD_TRY(ICD_ALLOC(ctx, (int64_t)size + 1, &copy));
    ICD_TRY(ICD_ALLOC(ctx, 1, &s));
    if (size) memcpy(copy, text, size);
    if (memchr(copy, 0, size)) {
        status = icd_i_fail(ctx, ICD_EDATA, place, "measure again",
                            "found a zero byte, expected text");
        goto done;
    }
    ICD_TRY(parse_all(ctx, copy, place, s));
    *out = s;
    s = NULL;
done:
    icd_samples_free(ctx, s);
    icd_i_free(ctx, copy);
    return status;
}

icd_status icd_samples_read(icd_ctx *ctx, const char *path, icd_samples **out)
{
    char *text = NULL;
    size_t size = 0;
    *out = NULL;
    icd_status status = icd_i_file_read(ctx, path, &text, &size);
    if (status == ICD_OK) status = icd_i_samples_parse(ctx, text, size, path, out);
    icd_i_free(ctx, text);
    return status;
}
