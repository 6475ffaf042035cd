/* samples.csv: the raw samples, one line each, in the order in which they were taken. */
#include <icd/measure.h>

#include "base/file.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
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

/* One parsed line; `arm` points into the text. */
typedef struct row {
    int64_t block, position, burst;
    double t_start, lat_ms;
    char *arm;
} row;

static bool parse_row(char *text, row *r)
{
    char *comma = strchr(text, ','), *end = NULL;
    long long block = 0, position = 0, burst = 0;
    int used = 0;
    if (!comma) return false;
    block = strtoll(text, &end, 10);
    r->arm = comma + 1;
    comma = strchr(r->arm, ',');
    if (!comma) return false;
    *comma = 0;
    if (sscanf(comma + 1, "%lld,%lf,%lf,%lld%n", &position, &r->t_start, &r->lat_ms,
               &burst, &used) != 4 ||
        comma[1 + used] != 0)
        return false;
    r->block = block;
    r->position = position;
    r->burst = burst;
    return block >= 0 && position >= 0 && burst > 0 && r->lat_ms > 0;
}

static icd_status bad_line(icd_ctx *ctx, const char *path, int64_t line)
{
    char place[320];
    snprintf(place, sizeof place, "%s:%lld", path, (long long)line);
    return icd_i_fail(
        ctx, ICD_EDATA, place, "measure again",
        "found a line that is not block,arm,position,t_start_s,lat_ms,burst in "
        "the order taken");
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

static icd_status place_rows(icd_ctx *ctx, const row *rows, int64_t count,
                             const char *path, icd_samples *s)
{
    icd_status status = collect_arms(ctx, rows, count, s);
    if (status != ICD_OK) return status;
    if (s->arms == 0 || count % s->arms != 0) return bad_line(ctx, path, count + 1);
    for (int64_t i = 0; i < count; i++) {
        int64_t a = icd_samples_find(s, rows[i].arm), at = rows[i].block * s->arms + a;
        bool fits =
            a >= 0 && rows[i].block == i / s->arms && rows[i].position == i % s->arms;
        if (!fits || s->lat_ms[at] > 0) return bad_line(ctx, path, i + 2);
        s->lat_ms[at] = rows[i].lat_ms;
        s->t_start[at] = rows[i].t_start;
        s->position[at] = (int32_t)rows[i].position;
    }
    return ICD_OK;
}

static icd_status parse_all(icd_ctx *ctx, char *text, const char *path, icd_samples *s)
{
    icd_status status = ICD_OK;
    row *rows = NULL;
    int64_t count = 0, capacity = 0, line = 0;
    char *save = NULL;
    for (char *at = strtok_r(text, "\n", &save); at; at = strtok_r(NULL, "\n", &save)) {
        line++;
        if (line == 1 || at[0] == '#') {
            const char *from = strstr(at, "stopped: "), *to = strstr(at, "; elapsed_s: ");
            if (from && to > from) {
                snprintf(s->stopped, sizeof s->stopped, "%.*s", (int)(to - from - 9),
                         from + 9);
                s->elapsed_s = strtod(to + 13, NULL);
            }
            continue;
        }
        ICD_TRY(icd_i_grow(ctx, (void **)&rows, &capacity, count + 1, sizeof *rows));
        if (!parse_row(at, &rows[count])) {
            status = bad_line(ctx, path, line);
            goto done;
        }
        count++;
    }
    status = place_rows(ctx, rows, count, path, s);
done:
    icd_i_free(ctx, rows);
    return status;
}

icd_status icd_samples_read(icd_ctx *ctx, const char *path, icd_samples **out)
{
    icd_status status = ICD_OK;
    char *text = NULL;
    size_t size = 0;
    icd_samples *s = NULL;
    *out = NULL;
    ICD_TRY(icd_i_file_read(ctx, path, &text, &size));
    ICD_TRY(ICD_ALLOC(ctx, 1, &s));
    ICD_TRY(parse_all(ctx, text, path, s));
    *out = s;
    s = NULL;
done:
    icd_samples_free(ctx, s);
    icd_i_free(ctx, text);
    return status;
}
