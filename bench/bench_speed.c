/* bench_speed W.csr.npz [-n REPEATS] [-t THREADS] [-g GRANULE] [ARM...]
 *
 * Speed of the solver beside its peers on one W in memory: the arms take turns in one
 * process, so that a busy machine slows all alike, and CPU time is given beside the
 * clock. Arms: default, low (effort of `auto`), aggregation (the plain peer below), and
 * every method by its name. Columns: seconds by the clock (median), CPU seconds (median),
 * CPU relative to the first arm, memory taken at the peak, in bytes per entry and node of
 * W (Linux), cut16, cut64, and the order's hash. */
#include <icd/solver.h>

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { MOST_REPEATS = 99, MOST_ARMS = 16, CAP = 64 };

typedef struct arm {
    const char *name;
    double wall[MOST_REPEATS], cpu[MOST_REPEATS];
    double bytes; /* the most taken beyond what was there */
    icd_score score;
    uint64_t hash;
} arm;

typedef struct bench {
    icd_ctx *ctx;
    icd_csr *w;
    icd_solver_opts opts;
    int repeats, arms;
    arm arm[MOST_ARMS];
} bench;

static double cpu_now(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)u.ru_utime.tv_sec + 1e-6 * (double)u.ru_utime.tv_usec;
}

/* A line of /proc/self/status in bytes; 0 where there is none. */
static double status_bytes(const char *key)
{
    char line[256];
    double kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, key, strlen(key))) kib = atof(line + strlen(key) + 1);
    if (f) fclose(f);
    return 1024 * kib;
}

/* The peak of resident memory starts anew. */
static void reset_peak(void)
{
    FILE *f = fopen("/proc/self/clear_refs", "w");
    if (!f) return;
    fputs("5", f);
    fclose(f);
}

/* The plain peer: nodes by rising degree, each cluster joined to the neighbouring cluster
 * with the heaviest edge to the node, as long as both fit a block; clusters that were
 * joined stand together, blocks as they fill. */
typedef struct forest {
    int32_t *root;       /* node -> towards the head of its cluster */
    int32_t *next, *end; /* cluster as a list of nodes */
    int32_t *size;
    float *weight; /* head -> weight of the node's edges into it */
} forest;

static int32_t head_of(forest *f, int32_t v)
{
    while (f->root[v] != v) v = f->root[v] = f->root[f->root[v]];
    return v;
}

static void join(forest *f, int32_t a, int32_t b)
{
    f->root[b] = a;
    f->next[f->end[a]] = b;
    f->end[a] = f->end[b];
    f->size[a] += f->size[b];
}

static void aggregate_node(forest *f, const icd_csr *w, int32_t v)
{
    int32_t own = head_of(f, v), best = -1;
    for (int64_t k = w->row_ptr[v]; k < w->row_ptr[v + 1]; ++k)
        f->weight[head_of(f, w->col[k])] += w->val[k];
    for (int64_t k = w->row_ptr[v]; k < w->row_ptr[v + 1]; ++k) {
        int32_t u = head_of(f, w->col[k]);
        if (u != own && f->size[u] + f->size[own] <= CAP &&
            (best < 0 || f->weight[u] > f->weight[best]))
            best = u;
    }
    for (int64_t k = w->row_ptr[v]; k < w->row_ptr[v + 1]; ++k)
        f->weight[head_of(f, w->col[k])] = 0;
    if (best >= 0) join(f, best, own);
}

static void by_degree(const icd_csr *w, int32_t *visit)
{
    int32_t n = (int32_t)w->n, *first = calloc((size_t)n + 1, sizeof *first);
    if (!first) abort();
    for (int32_t v = 0; v < n; ++v) first[w->row_ptr[v + 1] - w->row_ptr[v]]++;
    for (int32_t d = 0, at = 0; d <= n; ++d) {
        int32_t count = first[d];
        first[d] = at;
        at += count;
    }
    for (int32_t v = 0; v < n; ++v) visit[first[w->row_ptr[v + 1] - w->row_ptr[v]]++] = v;
    free(first);
}

static void aggregate(const icd_csr *w, int32_t *order)
{
    int32_t n = (int32_t)w->n, slot = 0, *memory = malloc((size_t)n * 5 * sizeof *memory);
    forest f = {.weight = calloc((size_t)n, sizeof *f.weight)};
    if (!memory || !f.weight) abort();
    f.root = memory;
    f.next = memory + n;
    f.end = f.next + n;
    f.size = f.end + n;
    for (int32_t v = 0; v < n; ++v) {
        f.root[v] = f.end[v] = v;
        f.next[v] = -1;
        f.size[v] = 1;
    }
    int32_t *visit = f.size + n;
    by_degree(w, visit);
    for (int32_t i = 0; i < n; ++i) aggregate_node(&f, w, visit[i]);
    for (int32_t v = 0; v < n; ++v)
        if (f.root[v] == v)
            for (int32_t u = v; u >= 0; u = f.next[u]) order[slot++] = u;
    free(memory);
    free(f.weight);
}

static icd_status solve_arm(bench *b, const char *name, icd_perm **perm)
{
    icd_problem problem = {.w = b->w};
    icd_solver_stats stats;
    icd_solver_opts o = b->opts;
    icd_status status;
    o.method = "auto";
    if (!strcmp(name, "aggregation")) {
        status = icd_perm_identity(b->ctx, b->w->n, 0, perm);
        if (status == ICD_OK) aggregate(b->w, (*perm)->old_of_new);
        return status;
    }
    if (!strcmp(name, "low"))
        o.effort = ICD_EFFORT_LOW;
    else if (strcmp(name, "default"))
        o.method = name;
    return icd_fit_permutation(b->ctx, &problem, &o, perm, &stats);
}

static uint64_t hash_of(const icd_perm *perm)
{
    uint64_t h = 14695981039346656037u;
    for (int64_t k = 0; k < perm->n; ++k)
        h = (h ^ (uint64_t)perm->old_of_new[k]) * 1099511628211u;
    return h;
}

static icd_status run_arm(bench *b, arm *a, int round)
{
    icd_perm *perm = NULL;
    icd_problem problem = {.w = b->w};
    reset_peak();
    double before = status_bytes("VmRSS:"), wall = icd_i_now(), cpu = cpu_now();
    icd_status status = solve_arm(b, a->name, &perm);
    a->cpu[round] = cpu_now() - cpu;
    a->wall[round] = icd_i_now() - wall;
    double bytes = status_bytes("VmHWM:") - before;
    if (bytes > a->bytes) a->bytes = bytes;
    if (status == ICD_OK && round == 0) {
        a->hash = hash_of(perm);
        status = icd_score_perm(b->ctx, &problem, perm, &b->opts, &a->score);
    }
    icd_perm_free(b->ctx, perm);
    return status;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const bench *b, double *seconds)
{
    qsort(seconds, (size_t)b->repeats, sizeof *seconds, by_value);
    return seconds[b->repeats / 2];
}

static void print(bench *b)
{
    double first = median(b, b->arm[0].cpu), items = (double)(b->w->nnz + b->w->n);
    printf("arm\tseconds\tcpu\tratio\tbytes\tcut16\tcut64\thash\n");
    for (int i = 0; i < b->arms; ++i) {
        arm *a = &b->arm[i];
        double wall = median(b, a->wall), cpu = median(b, a->cpu);
        printf("%-12s\t%.4f\t%.4f\t%.3f\t%.0f\t%.4f\t%.4f\t%016" PRIx64 "\n", a->name,
               wall, cpu, cpu / first, a->bytes / items, a->score.cut16, a->score.cut64,
               a->hash);
    }
}

static icd_status run_all(bench *b)
{
    icd_status status = ICD_OK;
    for (int round = 0; round < b->repeats; ++round)
        for (int i = 0; status == ICD_OK && i < b->arms; ++i)
            status = run_arm(b, &b->arm[i], round);
    if (status == ICD_OK) print(b);
    return status;
}

static void read_arms(bench *b, int argc, char **argv)
{
    static const char *const USUAL[] = {"metis", "default", "low", "aggregation"};
    for (int i = 0; i < argc && i < MOST_ARMS; ++i) b->arm[b->arms++].name = argv[i];
    for (int i = 0; argc == 0 && i < 4; ++i) b->arm[b->arms++].name = USUAL[i];
}

int main(int argc, char **argv)
{
    static bench b = {.repeats = 3};
    icd_ctx_opts ctx_opts = {.size = sizeof ctx_opts, .threads = 1};
    icd_options_init(&icd_solver_table, &b.opts);
    int at = 2;
    for (; at + 1 < argc && argv[at][0] == '-'; at += 2) {
        if (argv[at][1] == 'n') b.repeats = atoi(argv[at + 1]);
        if (argv[at][1] == 't') ctx_opts.threads = atoi(argv[at + 1]);
        if (argv[at][1] == 'g') b.opts.granule = atoi(argv[at + 1]);
        if (argv[at][1] == 's') b.opts.seed = atoi(argv[at + 1]);
        if (argv[at][1] == 'u') b.opts.bound = atoi(argv[at + 1]);
    }
    if (argc < 2 || b.repeats < 1 || b.repeats > MOST_REPEATS) {
        fprintf(stderr, "usage: bench_speed W.csr.npz [-n REPEATS] [-t THREADS] "
                        "[-g GRANULE] [ARM...]\n");
        return 2;
    }
    read_arms(&b, argc - at, argv + at);
    b.ctx = icd_ctx_new(&ctx_opts);
    icd_status status = icd_csr_read(b.ctx, argv[1], &b.w);
    if (status == ICD_OK) status = run_all(&b);
    if (status != ICD_OK) fprintf(stderr, "bench_speed: %s\n", icd_ctx_message(b.ctx));
    icd_csr_free(b.ctx, b.w);
    icd_ctx_free(b.ctx);
    return status != ICD_OK;
}
