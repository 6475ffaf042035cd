/* bench_hyper FILE [-n EVENTS] [-l LEARN] [-e EFFORT] [-s SEED] [-p SOFTNESS] GRANULE...
 *
 * Share of granules touched per event under identity, frequency sort, greedy union and
 * the refined order, a tab-separated line for each granule. Learned on the first LEARN
 * events, judged on the others of the first EVENTS (default: all); 0 (default): learned
 * and judged on all of them, as for a mask. */
#include "solver/hyper.h"

#include "base/clock.h"
#include <icd/icd.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct bench {
    icd_ctx *ctx;
    const char *path;
    icd_access *learn, *judge;
    icd_hyper_params params;
} bench;

static int fail(bench *b)
{
    fprintf(stderr, "bench_hyper: %s\n", icd_ctx_message(b->ctx));
    return 1;
}

static int load(bench *b, int64_t learn, int64_t limit)
{
    icd_access *all = NULL;
    icd_trace_opts opts = {.size = sizeof opts, .limit = limit};
    if (icd_access_read(b->ctx, b->path, &opts, &all)) return fail(b);
    int64_t first = learn ? learn : all->events, from = learn ? learn : 0;
    int failed = icd_access_slice(b->ctx, all, 0, first, &b->learn) ||
                 icd_access_slice(b->ctx, all, from, all->events - from, &b->judge);
    icd_access_free(b->ctx, all);
    return failed ? fail(b) : 0;
}

/* Share of granules touched per event. */
static double share(bench *b, const icd_access *sets, const int32_t *order)
{
    double touched = 0;
    int64_t g = b->params.granule;
    icd_i_hyper_touched(b->ctx, sets, b->params.granule, order, &touched);
    return touched / (double)(sets->events * ((sets->n + g - 1) / g));
}

static void frequency_sort(bench *b, int32_t *order, double *frequency)
{
    icd_access_frequency(b->learn, frequency);
    for (int64_t i = 0; i < b->learn->n; ++i) {
        int64_t k = i;
        for (; k > 0 && frequency[order[k - 1]] < frequency[i]; --k)
            order[k] = order[k - 1];
        order[k] = (int32_t)i;
    }
}

static int run(bench *b, int32_t granule)
{
    size_t n = (size_t)b->learn->n;
    int32_t *order = malloc((n + 1) * sizeof *order);
    double *frequency = malloc((n + 1) * sizeof *frequency);
    icd_hyper_stats stats;
    int failed = 1;
    if (!order || !frequency) goto done;
    b->params.granule = granule;
    for (size_t i = 0; i < n; ++i) order[i] = (int32_t)i;
    double identity = share(b, b->judge, order);
    frequency_sort(b, order, frequency);
    double sorted = share(b, b->judge, order), begun = icd_i_now();
    if (icd_i_hyper_order(b->ctx, b->learn, &b->params, order)) goto done;
    double greedy = share(b, b->judge, order), greedy_s = icd_i_now() - begun;
    if (icd_i_hyper_refine(b->ctx, b->learn, &b->params, order, &stats)) goto done;
    double total_s = icd_i_now() - begun;
    const char *name = strrchr(b->path, '/');
    printf("%s\t%d\t%.4f\t%.4f\t%.4f\t%.4f\t%.4f\t%.2f\t%.2f\t%.2f\n",
           name ? name + 1 : b->path, granule, identity, sorted, greedy,
           share(b, b->judge, order), share(b, b->learn, order), stats.softness, greedy_s,
           total_s);
    failed = 0;
done:
    free(order);
    free(frequency);
    return failed ? fail(b) : 0;
}

int main(int argc, char **argv)
{
    bench b = {.params = {.effort = ICD_EFFORT_DEFAULT, .refine_steps = 2000, .seed = 1}};
    int64_t learn = 0, limit = 0;
    int at = 2;
    if (argc < 3) {
        fprintf(stderr, "usage: bench_hyper FILE [-n EVENTS] [-l LEARN] [-e EFFORT] "
                        "[-s SEED] [-p SOFTNESS] GRANULE...\n");
        return 2;
    }
    b.path = argv[1];
    for (; at + 1 < argc && argv[at][0] == '-'; at += 2) {
        long long value = atoll(argv[at + 1]);
        if (argv[at][1] == 'n') limit = value;
        if (argv[at][1] == 'l') learn = value;
        if (argv[at][1] == 'e') b.params.effort = (int32_t)value;
        if (argv[at][1] == 's') b.params.seed = (uint64_t)value;
        if (argv[at][1] == 'p') b.params.softness = atof(argv[at + 1]);
    }
    b.ctx = icd_ctx_new(NULL);
    if (!b.ctx || load(&b, learn, limit)) return 1;
    printf("file\tgranule\tidentity\tfrequency\tgreedy\tours\tlearned\tsoftness\tgreedy_"
           "s\ttotal_s\n");
    for (int failed = 0; at < argc && !failed; ++at) {
        failed = run(&b, atoi(argv[at]));
        fflush(stdout);
        if (failed) return failed;
    }
    icd_access_free(b.ctx, b.learn);
    icd_access_free(b.ctx, b.judge);
    icd_ctx_free(b.ctx);
    return 0;
}
