/* bench_solver W.csr.npz [-n REPEATS] [-t THREADS] [-b SECONDS] [-e EFFORT] [METHOD...]
 *
 * Times methods on one W and prints a line of tab-separated figures for each: medians of
 * the repeats; the order is that of the last one. `ratio` is cut64 relative to METIS
 * nested. */
#include <icd/icd.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_REPEATS = 99 };

typedef struct bench {
    icd_ctx *ctx;
    icd_csr *w;
    icd_solver_opts opts;
    int repeats;
    double metis64; /* cut64 of METIS nested; 0: not run yet */
} bench;

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Weighted means over pairs: |p - q| / n and log2(1 + |p - q|), p and q the slots of the
 * ends. */
static void arrangement(const icd_csr *w, const icd_perm *perm, double *la, double *mloga)
{
    int32_t *pos = malloc((size_t)(w->n + 1) * sizeof *pos);
    double total = 0, linear = 0, logs = 0;
    if (!pos) return;
    icd_perm_invert_into(perm, pos);
    for (int64_t i = 0; i < w->n; ++i)
        for (int64_t k = w->row_ptr[i]; k < w->row_ptr[i + 1]; ++k) {
            double d = fabs((double)pos[i] - pos[w->col[k]]), v = (double)w->val[k];
            total += v;
            linear += v * d;
            logs += v * log2(1 + d);
        }
    *la = total > 0 ? linear / total / (double)w->n : 0;
    *mloga = total > 0 ? logs / total : 0;
    free(pos);
}

static int fail(bench *b)
{
    fprintf(stderr, "bench_solver: %s\n", icd_ctx_message(b->ctx));
    return 1;
}

static int run_method(bench *b, const char *method)
{
    double seconds[MOST_REPEATS], la = 0, mloga = 0;
    icd_perm *perm = NULL;
    icd_solver_stats stats;
    icd_problem problem = {.w = b->w};
    b->opts.method = method;
    for (int r = 0; r < b->repeats; ++r) {
        icd_perm_free(b->ctx, perm);
        if (icd_fit_permutation(b->ctx, &problem, &b->opts, &perm, &stats) != ICD_OK)
            return fail(b);
        seconds[r] = stats.elapsed_s;
    }
    qsort(seconds, (size_t)b->repeats, sizeof *seconds, by_value);
    arrangement(b->w, perm, &la, &mloga);
    const icd_score *s = &stats.score;
    if (!strcmp(method, "metis")) b->metis64 = s->cut64;
    printf(
        "%-12s\t%9.4f\t%9.4f\t%.4f\t%.4f\t%.4f\t%8.4f\t%11.4g\t%.4f\t%7.3f\t%.4f\t%s\n",
        method, seconds[b->repeats / 2], seconds[0], s->cut16, s->cut64, s->cut128, s->Q,
        s->C, la, mloga, b->metis64 > 0 ? s->cut64 / b->metis64 : 0,
        stats.timed_out ? "timed out" : stats.reason);
    fflush(stdout);
    icd_perm_free(b->ctx, perm);
    return 0;
}

static int run_all(bench *b, int argc, char **argv)
{
    int bad = 0;
    printf("method\tseconds\tfastest\tcut16\tcut64\tcut128\tQ\tC\tLA\tMLogA\tratio\treaso"
           "n\n");
    for (int i = 0; i < argc; ++i) bad |= run_method(b, argv[i]);
    for (int32_t i = 0; argc == 0; ++i) {
        const char *name = icd_solver_method_name(i);
        if (!name) break;
        if (strcmp(name, "frequency") && strcmp(name, "warm")) bad |= run_method(b, name);
    }
    return bad;
}

int main(int argc, char **argv)
{
    bench b = {.repeats = 1};
    icd_ctx_opts ctx_opts = {.size = sizeof ctx_opts, .threads = 1};
    icd_options_init(&icd_solver_table, &b.opts);
    int at = 2;
    for (; at + 1 < argc && argv[at][0] == '-'; at += 2) {
        if (argv[at][1] == 'n') b.repeats = atoi(argv[at + 1]);
        if (argv[at][1] == 't') ctx_opts.threads = atoi(argv[at + 1]);
        if (argv[at][1] == 'b') b.opts.time_budget_s = atof(argv[at + 1]);
        if (argv[at][1] == 'e') b.opts.effort = atoi(argv[at + 1]);
    }
    if (argc < 2 || b.repeats < 1 || b.repeats > MOST_REPEATS) {
        fprintf(stderr, "usage: bench_solver W.csr.npz [-n REPEATS] [-t THREADS] "
                        "[-b SECONDS] [-e 0|1|2] [METHOD...]\n");
        return 2;
    }
    b.ctx = icd_ctx_new(&ctx_opts);
    int bad = icd_csr_read(b.ctx, argv[1], &b.w) == ICD_OK
                  ? run_all(&b, argc - at, argv + at)
                  : fail(&b);
    icd_csr_free(b.ctx, b.w);
    icd_ctx_free(b.ctx);
    return bad;
}
