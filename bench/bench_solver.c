/* bench_solver W.csr.npz [-n REPEATS] [-t THREADS] [-b SECONDS] [-a ACCESS] [-l LABEL]
 * METHOD[@low|@default|@high|@trace]...
 *
 * Solves one W by every method, REPEATS times with another seed each, methods in turn,
 * and prints a line of tab-separated figures for each solve. With -a the figures include
 * T of those access sets; METHOD@trace may learn from them too. bench/solver.py takes
 * the medians. */
#define _POSIX_C_SOURCE 200809L
#include <icd/icd.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct bench {
    icd_ctx *ctx;
    icd_csr *w;
    icd_access *sets;
    const char *label;
    icd_solver_opts opts;
    double budget_s;
} bench;

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
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

static int fail(bench *b, const char *what)
{
    fprintf(stderr, "bench_solver: %s: %s\n", what, icd_ctx_message(b->ctx));
    return 1;
}

static int print(bench *b, const char *name, int repeat, const icd_perm *perm,
                 const icd_solver_stats *stats, double cpu_s)
{
    icd_score s;
    double la = 0, mloga = 0;
    icd_problem problem = {.w = b->w, .sets = b->sets};
    icd_solver_opts opts = b->opts;
    opts.bound = ICD_BOUND_NONE;
    if (icd_score_perm(b->ctx, &problem, perm, &opts, &s) != ICD_OK) return fail(b, name);
    arrangement(b->w, perm, &la, &mloga);
    printf(
        "%s\t%lld\t%lld\t%s\t%d\t%.5f\t%.5f\t%.5f\t%.5f\t%.5f\t%.5f\t%.6g\t%.5f\t%.4f\t",
        b->label, (long long)b->w->n, (long long)b->w->nnz, name, repeat,
        stats->elapsed_s, cpu_s, s.cut16, s.cut64, s.cut128, s.Q, s.C, la, mloga);
    printf("%.5f\t%.5f\t%.5f\t%s\n", b->sets ? s.T : 0, b->sets ? s.touched : 0,
           stats->start.cut_bound, stats->timed_out ? "timed out" : stats->reason);
    fflush(stdout);
    return 0;
}

/* "auto@high": the method, and how it is run. */
static int run_method(bench *b, const char *name, int repeat)
{
    char method[32];
    const char *at = strchr(name, '@');
    icd_problem problem = {.w = b->w};
    icd_solver_stats stats;
    icd_perm *perm = NULL;
    snprintf(method, sizeof method, "%.*s", (int)(at ? at - name : (int)strlen(name)),
             name);
    b->opts.method = method;
    b->opts.seed = repeat;
    b->opts.effort = ICD_EFFORT_DEFAULT;
    b->opts.time_budget_s = 600;
    if (at && !strcmp(at, "@low")) b->opts.effort = ICD_EFFORT_LOW;
    if (at && !strcmp(at, "@high")) b->opts.effort = ICD_EFFORT_HIGH;
    if (at && !strcmp(at, "@high")) b->opts.time_budget_s = b->budget_s;
    if ((at && !strcmp(at, "@trace")) || !strcmp(method, "frequency"))
        problem.sets = b->sets;
    double begin = cpu_seconds();
    if (icd_fit_permutation(b->ctx, &problem, &b->opts, &perm, &stats) != ICD_OK)
        return fail(b, name);
    int bad = print(b, name, repeat, perm, &stats, cpu_seconds() - begin);
    icd_perm_free(b->ctx, perm);
    return bad;
}

static int read_all(bench *b, const char *w, const char *sets)
{
    if (icd_csr_read(b->ctx, w, &b->w) != ICD_OK) return fail(b, w);
    if (sets && icd_access_read(b->ctx, sets, NULL, &b->sets) != ICD_OK)
        return fail(b, sets);
    return 0;
}

int main(int argc, char **argv)
{
    bench b = {.label = "W", .budget_s = 10};
    icd_ctx_opts ctx_opts = {.size = sizeof ctx_opts, .threads = 1};
    const char *sets = NULL;
    int at = 2, repeats = 1;
    icd_options_init(&icd_solver_table, &b.opts);
    for (; at + 1 < argc && argv[at][0] == '-'; at += 2) {
        if (argv[at][1] == 'n') repeats = atoi(argv[at + 1]);
        if (argv[at][1] == 't') ctx_opts.threads = atoi(argv[at + 1]);
        if (argv[at][1] == 'b') b.budget_s = atof(argv[at + 1]);
        if (argv[at][1] == 'a') sets = argv[at + 1];
        if (argv[at][1] == 'l') b.label = argv[at + 1];
    }
    if (at >= argc) {
        fprintf(stderr, "usage: bench_solver W.csr.npz [-n REPEATS] [-t THREADS] "
                        "[-b SECONDS] [-a ACCESS] [-l LABEL] METHOD[@EFFORT]...\n");
        return 2;
    }
    b.ctx = icd_ctx_new(&ctx_opts);
    int bad = read_all(&b, argv[1], sets);
    if (!bad)
        printf(
            "instance\tn\tnnz\tmethod\trepeat\tseconds\tcpu_s\tcut16\tcut64\tcut128\tQ\tC"
            "\tLA\tMLogA\tT\ttouched\tbound\treason\n");
    for (int r = 0; r < repeats && !bad; ++r)
        for (int i = at; i < argc; ++i) bad |= run_method(&b, argv[i], r);
    icd_access_free(b.ctx, b.sets);
    icd_csr_free(b.ctx, b.w);
    icd_ctx_free(b.ctx);
    return bad;
}
