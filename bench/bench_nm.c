/* bench_nm [-e EFFORT] [-b SECONDS] [-g N:M] [-k COUNT] [-u] random ROWS COLS
 * bench_nm [-e EFFORT] [-b SECONDS] [-g N:M] FILE.safetensors...
 *
 * Channel permutation for N:M (default 2:4): shares of the magnitude retained in the
 * order given, in the order found and by the best N/M of every row; efficacy, as in
 * NVIDIA apex's permutation tests; CPU and wall seconds of the search alone. Random
 * matrices (COUNT of them, |normal|; -u: uniform) get a summary line; files a line for
 * each matrix. */
#include "base/clock.h"
#include "base/rng.h"

#include <icd/icd.h>
#include <icd/nm.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct bench {
    icd_ctx *ctx;
    icd_nm_opts opts;
    int32_t n, m;
    int64_t count;
    bool uniform;
} bench;

typedef struct found {
    icd_nm_stats stats;
    double cpu_s;
} found;

static int fail(const bench *b)
{
    fprintf(stderr, "bench_nm: %s\n", icd_ctx_message(b->ctx));
    return 1;
}

static int search(const bench *b, const float *saliency, int64_t rows, int64_t cols,
                  found *out)
{
    icd_perm *order = NULL;
    clock_t begun = clock();
    icd_status status = icd_nm_permute(b->ctx, saliency, rows, cols, b->n, b->m, &b->opts,
                                       &order, &out->stats);
    out->cpu_s = (double)(clock() - begun) / CLOCKS_PER_SEC;
    icd_perm_free(b->ctx, order);
    return status ? fail(b) : 0;
}

static void print_found(const char *name, int64_t rows, int64_t cols, const found *f)
{
    const icd_nm_stats *s = &f->stats;
    printf("%s\t%lld\t%lld\t%.4f\t%.4f\t%.4f\t%.4f\t%.3f\t%.3f\n", name, (long long)rows,
           (long long)cols, s->before / s->total, s->after / s->total,
           s->bound / s->total, s->efficacy, f->cpu_s, s->elapsed_s);
    fflush(stdout);
}

static void fill_random(const bench *b, uint64_t seed, float *x, int64_t count)
{
    icd_rng rng;
    icd_i_rng_init(&rng, seed, 0);
    for (int64_t k = 0; k < count; ++k)
        x[k] = (float)(b->uniform ? icd_i_rng_unit(&rng) : fabs(icd_i_rng_normal(&rng)));
}

static int run_random(const bench *b, int64_t rows, int64_t cols)
{
    float *x = calloc((size_t)(rows * cols), sizeof *x);
    double least = INFINITY, sum = 0, cpu = 0, longest = 0;
    int failed = !x;
    for (int64_t k = 0; k < b->count && !failed; ++k) {
        char name[32];
        found f;
        fill_random(b, (uint64_t)k + 1, x, rows * cols);
        failed = search(b, x, rows, cols, &f);
        if (failed) break;
        snprintf(name, sizeof name, "random %lld", (long long)k + 1);
        print_found(name, rows, cols, &f);
        least = fmin(least, f.stats.efficacy);
        sum += f.stats.efficacy;
        cpu += f.cpu_s;
        longest = fmax(longest, f.cpu_s);
    }
    printf("# efficacy: least %.4f, mean %.4f; CPU seconds: mean %.4f, most %.4f\n",
           least, sum / (double)b->count, cpu / (double)b->count, longest);
    free(x);
    return failed;
}

static int run_tensor(const bench *b, const icd_tensor *t)
{
    found f;
    int64_t rows = t->shape[0], cols = t->shape[1];
    float *x = malloc((size_t)(rows * cols) * sizeof *x);
    int failed = !x;
    if (x && icd_tensor_to_f32(b->ctx, t, x)) failed = fail(b);
    for (int64_t k = 0; k < rows * cols && !failed; ++k) x[k] = fabsf(x[k]);
    if (!failed) failed = search(b, x, rows, cols, &f);
    if (!failed) print_found(t->name, rows, cols, &f);
    free(x);
    return failed;
}

static bool ends_with(const char *name, const char *end)
{
    size_t length = strlen(name), tail = strlen(end);
    return length >= tail && strcmp(name + length - tail, end) == 0;
}

/* Traces of a layer's input and output may stand beside its weights. */
static bool is_weight(const bench *b, const icd_tensor *t)
{
    return t->dims == 2 && t->shape[0] >= 128 && t->shape[1] % b->m == 0 &&
           !strstr(t->name, "embed") && !ends_with(t->name, ".input") &&
           !ends_with(t->name, ".output");
}

static int run_file(const bench *b, const char *path)
{
    icd_safetensors *file = NULL;
    int failed = 0;
    if (icd_safetensors_open(b->ctx, path, &file)) return fail(b);
    for (int64_t k = 0; k < icd_safetensors_count(file) && !failed; ++k)
        if (is_weight(b, icd_safetensors_at(file, k)))
            failed = run_tensor(b, icd_safetensors_at(file, k));
    icd_safetensors_close(b->ctx, file);
    return failed;
}

static int read_options(bench *b, int argc, char **argv)
{
    int at = 1;
    for (; at < argc && argv[at][0] == '-'; ++at) {
        char option = argv[at][1];
        if (option == 'u') b->uniform = true;
        if (option == 'u') continue;
        if (++at == argc) break;
        if (option == 'e') b->opts.effort = atoi(argv[at]);
        if (option == 'b') b->opts.time_budget_s = atof(argv[at]);
        if (option == 'k') b->count = atoll(argv[at]);
        if (option == 'g') sscanf(argv[at], "%d:%d", &b->n, &b->m);
    }
    return at;
}

int main(int argc, char **argv)
{
    bench b = {.opts.size = sizeof b.opts, .n = 2, .m = 4, .count = 24};
    int at = read_options(&b, argc, argv), failed = 0;
    if (at >= argc) {
        fprintf(stderr, "usage: bench_nm [-e EFFORT] [-b SECONDS] [-g N:M] [-k COUNT] "
                        "[-u] random ROWS COLS | FILE.safetensors...\n");
        return 2;
    }
    b.ctx = icd_ctx_new(NULL);
    if (!b.ctx) return 1;
    printf("matrix\trows\tcols\tgiven\tfound\tbound\tefficacy\tcpu_s\twall_s\n");
    if (at + 2 < argc && strcmp(argv[at], "random") == 0)
        failed = run_random(&b, atoll(argv[at + 1]), atoll(argv[at + 2]));
    else
        for (; at < argc && !failed; ++at) failed = run_file(&b, argv[at]);
    icd_ctx_free(b.ctx);
    return failed;
}
