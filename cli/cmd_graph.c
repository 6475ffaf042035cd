/* icd graph: trace or mock -> W. */
#include "cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    const char *out, *planted, *events;
    bool mock;
} arg;

static const cli_flag *flags(void)
{
    static const cli_flag ROW[] = {
        {"--trace", 't', "FILE", "read access sets or pairs (icdt, jsonl, csv, mtx, npz)",
         "graph.trace", NULL, NULL},
        {"--axis", 'a', "NAME", "the axis to take from a trace of several", "graph.axis",
         NULL, NULL},
        {"--d", 'd', "N", "size of the index space, where the trace does not state it",
         "graph.d", NULL, NULL},
        {"--events", 0, "A:B", "use events A to B-1 only", NULL, &arg.events, NULL},
        {"--weighting", 'w', "NAME", "count, clique or jaccard (default)",
         "graph.weighting", NULL, NULL},
        {"--normalize", 'n', "NAME", "none, row or sym (default)", "graph.normalize",
         NULL, NULL},
        {"--nnz-cap", 0, "N", "keep the N strongest entries", "graph.nnz_cap", NULL,
         NULL},
        {"--mock", 0, NULL, "make hidden planted blocks instead of reading a trace", NULL,
         NULL, &arg.mock},
        {"--blocks", 0, "N", "mock: planted blocks", "graph.mock.blocks", NULL, NULL},
        {"--noise", 0, "SHARE", "mock: share of edges between any two nodes",
         "graph.mock.noise", NULL, NULL},
        {"--seed", 0, "N", "mock: seed", "graph.mock.seed", NULL, NULL},
        {"--planted", 0, "FILE", "mock: also write the planted order as perm.json", NULL,
         &arg.planted, NULL},
        {"--output", 'o', "FILE", "W.csr.npz; the meta file goes beside it", NULL,
         &arg.out, NULL},
        {NULL, 0, NULL, NULL, NULL, NULL, NULL},
    };
    return ROW;
}

/* --d belongs to both inputs: the size of the mock and of a trace that does not state it.
 */
static icd_status build_mock(cli_app *app, icd_csr **w, icd_csr_meta *meta)
{
    icd_mock_opts mock = app->config->mock;
    icd_perm *planted = NULL;
    if (app->config->graph.d > 0) mock.d = app->config->graph.d;
    icd_status status =
        icd_build_w_mock(app->ctx, &mock, w, arg.planted ? &planted : NULL);
    if (status == ICD_OK && arg.planted)
        status = icd_perm_write(app->ctx, planted, arg.planted);
    icd_perm_free(app->ctx, planted);
    *meta = (icd_csr_meta){
        .source = "mock", .seed = mock.seed, .weighting = "mock", .normalize = "none"};
    return status;
}

static icd_status build_slice(cli_app *app, icd_csr **w, icd_csr_meta *meta)
{
    const icd_graph_opts *graph = &app->config->graph;
    icd_trace_opts opts = {.size = sizeof opts, .axis = graph->axis, .n = graph->d};
    icd_access *sets = NULL;
    icd_status status = cli_parse_range(app, arg.events, &opts.first, &opts.limit);
    if (status == ICD_OK) status = icd_access_read(app->ctx, graph->trace, &opts, &sets);
    if (status == ICD_OK) status = icd_build_w(app->ctx, sets, graph, w, meta);
    icd_access_free(app->ctx, sets);
    return status;
}

static icd_status build(cli_app *app, icd_csr **w, icd_csr_meta *meta)
{
    const icd_graph_opts *graph = &app->config->graph;
    if (arg.mock || (!graph->trace && graph->source == ICD_SOURCE_MOCK))
        return build_mock(app, w, meta);
    if (!graph->trace)
        return cli_usage(app, "expected --trace FILE or --mock, found neither");
    if (arg.events) return build_slice(app, w, meta);
    return icd_build_w_from_trace(app->ctx, graph->trace, graph, w, meta);
}

static icd_status show(cli_app *app, const icd_csr *w, const icd_csr_meta *meta)
{
    double density = w->n ? (double)w->nnz / (double)w->n / (double)w->n : 0;
    if (app->json)
        return cli_print_json(
            json_pack("{s:s,s:I,s:I,s:f,s:s,s:s,s:s,s:I,s:I}", "out", arg.out, "n",
                      (json_int_t)w->n, "nnz", (json_int_t)w->nnz, "density", density,
                      "source", meta->source, "weighting", meta->weighting, "normalize",
                      meta->normalize, "events", (json_int_t)meta->events, "dropped_nnz",
                      (json_int_t)meta->dropped_nnz));
    char n[32], nnz[32], events[32], dropped[32];
    printf("W: %s x %s, %s entries (%.2f %% of the square), from %s", cli_count(w->n, n),
           n, cli_count(w->nnz, nnz), 100 * density, meta->source);
    if (meta->events)
        printf(" of %s events, %s, normalised: %s", cli_count(meta->events, events),
               meta->weighting, meta->normalize);
    if (meta->dropped_nnz)
        printf("; %s weakest dropped", cli_count(meta->dropped_nnz, dropped));
    printf("\nwritten: %s\n", arg.out);
    return ICD_OK;
}

static icd_status run(cli_app *app)
{
    icd_csr *w = NULL;
    icd_csr_meta meta = {0};
    char *meta_path = NULL;
    icd_status status;
    if (!arg.out) return cli_usage(app, "-o W.csr.npz is missing");
    status = build(app, &w, &meta);
    if (status == ICD_OK) status = icd_csr_write(app->ctx, w, arg.out);
    if (status == ICD_OK) {
        meta_path = cli_sibling(arg.out, ".meta.json");
        status =
            meta_path ? icd_csr_write_meta(app->ctx, w, &meta, meta_path) : ICD_ENOMEM;
    }
    cli_progress_end();
    if (status == ICD_OK) app->meta = json_pack("{s:I}", "nnz(W)", (json_int_t)w->nnz);
    if (status == ICD_OK) status = show(app, w, &meta);
    free(meta_path);
    icd_csr_free(app->ctx, w);
    return status;
}

const cli_command cli_graph = {
    .name = "graph",
    .summary = "build the co-access matrix W from a trace, or a mock",
    .usage = "--trace FILE | --mock  -o W.csr.npz [options]",
    .examples =
        "  icd graph --trace data/use-lite-ffn1.access.npz -o W.csr.npz\n"
        "  icd graph --trace pairs.csv --d 4096 --normalize none -o W.csr.npz\n"
        "  icd graph --mock --d 2560 --blocks 4 --noise 0.02 --seed 42 -o W.csr.npz\n",
    .flags = flags,
    .run = run,
};
