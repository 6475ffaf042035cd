/* bench_graph FILE [REPEATS [THREADS...]]: seconds of icd_build_w on the access sets of
 * FILE, the reading left out; one line per way of counting and number of threads. */
#include "base/clock.h"
#include "graph/build.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const struct {
    const char *name;
    icd_tuning tuning;
} WAY[] = {
    {"auto", {.path = ICD_PATH_AUTO}},
    {"lists", {.path = ICD_PATH_LISTS}},
    {"bits", {.path = ICD_PATH_BITS}},
};

static int fail(icd_ctx *ctx)
{
    fprintf(stderr, "%s\n", icd_ctx_message(ctx));
    icd_ctx_free(ctx);
    return 1;
}

typedef struct cost {
    double wall, cpu; /* seconds */
} cost;

static double cpu_now(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

static icd_status time_way(icd_ctx *ctx, const icd_access *sets, const icd_tuning *tuning,
                           int repeats, cost *best, uint64_t *hash)
{
    *best = (cost){1e30, 1e30};
    for (int r = 0; r < repeats; r++) {
        icd_csr *w = NULL;
        double begin = icd_i_now(), cpu = cpu_now();
        icd_status status = icd_i_build_w(ctx, sets, NULL, tuning, &w, NULL);
        if (status != ICD_OK) return status;
        cost found = {icd_i_now() - begin, cpu_now() - cpu};
        if (found.wall < best->wall) best->wall = found.wall;
        if (found.cpu < best->cpu) best->cpu = found.cpu;
        *hash = icd_csr_hash(w);
        icd_csr_free(ctx, w);
    }
    return ICD_OK;
}

static int bench(const char *path, int repeats, int32_t threads)
{
    icd_ctx_opts opts = {.size = sizeof opts, .threads = threads};
    icd_ctx *ctx = icd_ctx_new(&opts);
    icd_access *sets = NULL;
    if (icd_access_read(ctx, path, NULL, &sets) != ICD_OK) return fail(ctx);
    for (size_t k = 0; k < sizeof WAY / sizeof WAY[0]; k++) {
        cost best = {0, 0};
        uint64_t hash = 0;
        if (time_way(ctx, sets, &WAY[k].tuning, repeats, &best, &hash) != ICD_OK)
            return fail(ctx);
        printf("icd %-6s threads %" PRId32 "  %8.3f s  %8.3f s CPU  W %016" PRIx64 "\n",
               WAY[k].name, threads, best.wall, best.cpu, hash);
        fflush(stdout);
    }
    icd_access_free(ctx, sets);
    icd_ctx_free(ctx);
    return 0;
}

int main(int argc, char **argv)
{
    int repeats = argc > 2 ? atoi(argv[2]) : 3, failed = 0;
    if (argc < 2) {
        fprintf(stderr, "usage: bench_graph FILE [REPEATS [THREADS...]]\n");
        return 2;
    }
    if (argc < 4) failed |= bench(argv[1], repeats, 1);
    for (int k = 3; k < argc; k++) failed |= bench(argv[1], repeats, atoi(argv[k]));
    return failed;
}
