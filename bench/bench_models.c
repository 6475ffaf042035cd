/* bench_models MODEL_DIR BATCH SEQ f32|bf16|int8|int4 THREADS: one step of a model for
 * every line that it reads, so that bench_models.py can let several programs take turns.
 * For each step it prints the CPU seconds of the process, the seconds on the clock, and
 * the first hidden value. Token i is (7919 i + 13) mod the vocabulary. */
#include <icd/runner.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static icd_ctx *ctx;

static void check(icd_status status)
{
    if (status == ICD_OK) return;
    fprintf(stderr, "%s\n", icd_ctx_message(ctx));
    exit(1);
}

static double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int32_t dtype_of(const char *name)
{
    if (!strcmp(name, "f32")) return ICD_RUN_F32;
    if (!strcmp(name, "bf16")) return ICD_RUN_BF16;
    return strcmp(name, "int4") ? ICD_RUN_INT8 : ICD_RUN_INT4;
}

static void step(icd_runner *runner, const icd_batch *batch)
{
    icd_output out;
    double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID), wall = seconds(CLOCK_MONOTONIC);
    check(icd_runner_step(ctx, runner, batch, &out));
    printf("%.9f %.9f %.9g\n", seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu,
           seconds(CLOCK_MONOTONIC) - wall, (double)out.hidden[0]);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    icd_model *model = NULL;
    icd_runner *runner = NULL;
    icd_runner_opts opts;
    if (argc < 6) {
        fprintf(stderr,
                "usage: bench_models MODEL_DIR BATCH SEQ f32|bf16|int8|int4 THREADS\n");
        return 2;
    }
    icd_ctx_opts ctx_opts = {.size = sizeof ctx_opts, .threads = atoi(argv[5])};
    icd_batch batch = {.batch = atoll(argv[2]), .seq = atoll(argv[3])};
    ctx = icd_ctx_new(&ctx_opts);
    if (!ctx) return 1;
    check(icd_model_open(ctx, argv[1], &model));
    int32_t *ids = malloc((size_t)(batch.batch * batch.seq) * sizeof *ids);
    if (!ids) return 1;
    for (int64_t i = 0; i < batch.batch * batch.seq; i++)
        ids[i] = (int32_t)((7919 * i + 13) % icd_model_get_config(model)->vocab);
    batch.ids = ids;
    icd_options_init(&icd_runner_table, &opts);
    opts.dtype = dtype_of(argv[4]);
    check(icd_runner_new(ctx, model, NULL, &batch, &opts, &runner));
    while (getchar() != EOF) step(runner, &batch);
    icd_runner_free(ctx, runner);
    icd_model_free(ctx, model);
    icd_ctx_free(ctx);
    free(ids);
    return 0;
}
