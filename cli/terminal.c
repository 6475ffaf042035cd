#include "cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void cli_print(const cli_app *app, const char *format, ...)
{
    if (app->json) return;
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
}

icd_status cli_print_json(json_t *document)
{
    int bad = json_dumpf(document, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
    json_decref(document);
    putchar('\n');
    return bad ? ICD_EIO : ICD_OK;
}

const char *cli_count(int64_t value, char out[32])
{
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%lld", (long long)value);
    int at = 0;
    for (int i = 0; i < length; i++) {
        out[at++] = digits[i];
        int left = length - 1 - i;
        if (left && left % 3 == 0 && digits[i] != '-') out[at++] = ',';
    }
    out[at] = 0;
    return out;
}

static bool takes_colour(int fd)
{
    const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");
    return isatty(fd) && !(no_color && no_color[0]) && term && strcmp(term, "dumb") != 0;
}

bool cli_colour(void)
{
    return takes_colour(STDOUT_FILENO);
}

const char *cli_style(const char *name)
{
    static const char *const TABLE[][2] = {
        {"bold", "\033[1m"}, {"dim", "\033[2m"},   {"green", "\033[32m"},
        {"red", "\033[31m"}, {"reset", "\033[0m"},
    };
    if (!cli_colour()) return "";
    for (size_t i = 0; i < sizeof TABLE / sizeof TABLE[0]; i++)
        if (!strcmp(name, TABLE[i][0])) return TABLE[i][1];
    return "";
}

/* The state of the one progress line a process has. */
static struct {
    char stage[32];
    double began, drawn;
    bool open;
} line;

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void draw(int64_t done, int64_t total, double now)
{
    double spent = now - line.began;
    fprintf(stderr, "\r\033[K%-12s", line.stage);
    if (total > 0) {
        double share = (double)done / (double)total;
        int filled = (int)(share * 24 + .5);
        fputs(" [", stderr);
        for (int i = 0; i < 24; i++) fputc(i < filled ? '#' : '.', stderr);
        fprintf(stderr, "] %3.0f %%", 100 * share);
        if (done > 0 && done < total && spent > .5)
            fprintf(stderr, "  %.0f s left", spent / share - spent);
    }
    fprintf(stderr, "  %.1f s", spent);
    fflush(stderr);
    line.open = true;
    line.drawn = now;
}

void cli_progress(void *user, const char *stage, int64_t done, int64_t total)
{
    const cli_app *app = user;
    double now = seconds();
    bool fresh = strncmp(line.stage, stage, sizeof line.stage - 1) != 0;
    if (app->quiet) return;
    if (fresh) {
        cli_progress_end();
        snprintf(line.stage, sizeof line.stage, "%s", stage);
        line.began = now;
        line.drawn = 0;
    }
    if (!isatty(STDERR_FILENO)) {
        if (fresh) fprintf(stderr, "%s ...\n", stage);
        return;
    }
    if (fresh || now - line.drawn > .1 || (total > 0 && done == total))
        draw(done, total, now);
}

void cli_progress_end(void)
{
    if (line.open) fputs("\r\033[K", stderr);
    line.open = false;
    line.stage[0] = 0;
}

char *cli_sibling(const char *path, const char *suffix)
{
    static const char *const KNOWN[] = {".csr.npz", ".npz", ".mtx", ".json"};
    size_t stem = strlen(path);
    for (size_t i = 0; i < sizeof KNOWN / sizeof KNOWN[0]; i++) {
        size_t length = strlen(KNOWN[i]);
        if (stem > length && !strcmp(path + stem - length, KNOWN[i])) {
            stem -= length;
            break;
        }
    }
    char *out = malloc(stem + strlen(suffix) + 1);
    if (!out) return NULL;
    memcpy(out, path, stem);
    strcpy(out + stem, suffix);
    return out;
}
