/* samples.csv: the raw samples, one line each, in the order in which they were taken. */
#include "measure/samples_csv.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

static const char HEAD[] = "block,arm,position,t_start_s,lat_ms,burst\n";

static int64_t arm_at(const icd_samples *s, int64_t block, int64_t position)
{
    for (int64_t a = 0; a < s->arms; a++)
        if (s->position[block * s->arms + a] == position) return a;
    return -1;
}

icd_status icd_samples_write(icd_ctx *ctx, const icd_samples *s, const char *path)
{
    icd_out *out = NULL;
    icd_status status = icd_i_out_open(ctx, path, &out);
    if (status != ICD_OK) return status;
    status = icd_i_out_printf(ctx, out, "%s", HEAD);
    if (status == ICD_OK)
        status = icd_i_out_printf(ctx, out, "# stopped: %s; elapsed_s: %.6f\n",
                                  s->stopped, s->elapsed_s);
    for (int64_t b = 0; status == ICD_OK && b < s->blocks; b++)
        for (int64_t p = 0; status == ICD_OK && p < s->arms; p++) {
            int64_t a = arm_at(s, b, p), at = b * s->arms + a;
            status = icd_i_out_printf(
                ctx, out, "%lld,%s,%lld,%.9f,%.9f,%lld\n", (long long)b, s->name[a],
                (long long)p, s->t_start[at], s->lat_ms[at], (long long)s->burst[a]);
        }
    icd_status closed = icd_i_out_close(ctx, out, status == ICD_OK);
    return status != ICD_OK ? status : closed;
}

enum { FIELDS = 6, ARMS_MOST = 1000 };

/* One parsed line; `arm` points into the text. */
typedef struct row {
    int64_t block, position, burst;
    double t_start, lat_ms;
    const char *arm;
} row;

/* Cuts a line at its commas. @return false: another number of fields */
static bool split(char *line, const char *field[FIELDS])
{
    for (int i = 0; i < FIELDS; i++) {
        field[i] = line;
        line = strchr(line, ',');
        if (!line) return i == FIELDS - 1;
        *line++ = 0;
    }
    return false;
}

static bool parse_row(char *line, row *r)
{
    const char *field[FIELDS];
    if (!split(line, field)) return false;
    r->arm = field[1];
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
            "found a line that is not block,arm,position,t_start_s,lat_ms,burst in "
            "the order taken");
    icd_i_text_release(ctx, &place);
    return status;
}

/* The first block names the arms; every later one must repeat them all. */
static icd_status collect_arms(icd_ctx *ctx, const row *rows, int64_t count,
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
    return true;
}

static icd_status place_rows(icd_ctx *ctx, const row *rows, int64_t count,
                             const char *path, icd_samples *s)
{
    icd_status status = collect_arms(ctx, rows, count, s);
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

/* "# stopped: WHY; elapsed_s: SECONDS"; other comments say nothing to us. */
static void read_comment(const char *line, icd_samples *s)
{
    static const char STOPPED[] = "# stopped: ", ELAPSED[] = "; elapsed_s: ";
    const char *to = strstr(line, ELAPSED);
    if (strncmp(line, STOPPED, sizeof STOPPED - 1) != 0 || !to) return;
    line += sizeof STOPPED - 1;
    snprintf(s->stopped, sizeof s->stopped, "%.*s", (int)(to - line), line);
    if (!icd_i_real_parse(to + sizeof ELAPSED - 1, &s->elapsed_s)) s->elapsed_s = 0;
}

/* Every line ends with \n; the first is HEAD. `text` is cut into its fields. */
static icd_status parse_all(icd_ctx *ctx, char *text, const char *path, icd_samples *s)
{
    icd_status status = ICD_OK;
    row *rows = NULL;
    int64_t count = 0, capacity = 0, line = 1;
    char *at = text, *stop = NULL;
    if (strncmp(text, HEAD, sizeof HEAD - 1) != 0) return bad_line(ctx, path, line);
    for (at += sizeof HEAD - 1; *at; at = stop + 1) {
        line++;
        stop = strchr(at, '\n');
        if (stop) *stop = 0;
        if (stop && *at == '#') {
            read_comment(at, s);
            continue;
        }
        ICD_TRY(icd_i_grow(ctx, (void **)&rows, &capacity, count + 1, sizeof *rows));
        if (!stop || !parse_row(at, &rows[count++])) {
            status = bad_line(ctx, path, line);
            goto done;
        }
    }
    status = place_rows(ctx, rows, count, path, s);
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
