#include "measure/cachegrind.h"

#include "base/child.h"
#include "base/file.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { OPTIONS = 7, TEXT = 600 };
static const int64_t OUTPUT_MOST = (int64_t)64 << 20;

icd_cg_cache icd_i_cg_cache(const icd_cache_model *model, int32_t level)
{
    const icd_cache_level *l = &model->level[level];
    int64_t lines = l->bytes / model->line, sets = 1;
    while (sets * 2 * l->ways <= lines) sets *= 2;
    int32_t ways = (int32_t)(lines / sets);
    return (icd_cg_cache){sets * ways * model->line, ways, model->line};
}

/* Options of valgrind as text; argv points into them. */
typedef struct options {
    char file[TEXT], first[64], last[64], steps[32];
} options;

static void print_cache(char out[64], const char *name, const icd_cg_cache *c)
{
    snprintf(out, 64, "--%s=%lld,%d,%d", name, (long long)c->bytes, c->ways, c->line);
}

static icd_status make_argv(icd_ctx *ctx, const icd_cachegrind *how,
                            const char *const *command, int64_t steps, options *text,
                            const char ***argv)
{
    int64_t n = 0, at = 0;
    while (command[n]) n++;
    icd_status status = ICD_ALLOC(ctx, n + OPTIONS + 1, argv);
    if (status != ICD_OK) return status;
    snprintf(text->file, sizeof text->file, "--cachegrind-out-file=%s", how->file);
    snprintf(text->steps, sizeof text->steps, "%lld", (long long)steps);
    print_cache(text->first, "D1", &how->first);
    print_cache(text->last, "LL", &how->last);
    const char *option[OPTIONS] = {how->valgrind, "--tool=cachegrind", "--cache-sim=yes",
                                   "-q",          text->file,          text->first,
                                   text->last};
    for (int i = 0; i < OPTIONS; i++) (*argv)[at++] = option[i];
    for (int64_t i = 0; i < n; i++)
        (*argv)[at++] = strcmp(command[i], "{steps}") == 0 ? text->steps : command[i];
    return ICD_OK;
}

static icd_status read_file(icd_ctx *ctx, const char *path, icd_cg_out **out)
{
    char *text = NULL;
    size_t size = 0;
    icd_status status = icd_i_file_read(ctx, path, &text, &size);
    if (status == ICD_OK) status = icd_i_cg_parse(ctx, text, size, path, out);
    icd_i_free(ctx, text);
    return status == ICD_EDATA || status == ICD_EIO ? ICD_EMEASURE : status;
}

icd_status icd_i_cachegrind_run(icd_ctx *ctx, const icd_cachegrind *how,
                                const char *const *command, int64_t steps,
                                icd_cg_out **out)
{
    icd_status status = ICD_OK;
    options text;
    const char **argv = NULL;
    icd_child child = {0};
    *out = NULL;
    if (strlen(how->file) + 32 > TEXT)
        return icd_i_fail(ctx, ICD_EINVAL, "cachegrind", NULL,
                          "the path %.80s... is too long", how->file);
    ICD_TRY(make_argv(ctx, how, command, steps, &text, &argv));
    unlink(how->file);
    ICD_TRY(icd_i_child_run(ctx, argv, how->timeout_s, OUTPUT_MOST, &child));
    if (child.exit_code != 0)
        status = icd_i_fail(ctx, ICD_EMEASURE, "cachegrind", NULL,
                            "%s ended with exit code %d: %s", command[0], child.exit_code,
                            child.error);
    else
        status = read_file(ctx, how->file, out);
done:
    icd_i_child_release(ctx, &child);
    icd_i_free(ctx, argv);
    return status;
}
