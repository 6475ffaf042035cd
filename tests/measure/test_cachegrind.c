#include "fixture.h"

#include "access_pattern.h"
#include "base/child.h"
#include "measure/cachegrind.h"
#include <icd/meter.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char GOOD[] = "desc: I1 cache:         32768 B, 64 B, 8-way associative\n"
                           "desc: D1 cache:         8192 B, 64 B, 2-way associative\n"
                           "desc: LL cache:         65536 B, 64 B, 16-way associative\n"
                           "cmd: ./a b\n"
                           "events: Ir I1mr ILmr Dr D1mr DLmr Dw D1mw DLmw \n"
                           "fl=a.c\n"
                           "fn=f\n"
                           "1 10 1 1 5 2 1\n"
                           "2 20\n"
                           "fl=b.c\n"
                           "fn=g(int, char)\n"
                           "0 1 0 0 1 1 1 1 1 1\n"
                           "fn=f\n"
                           "\n"
                           "3 2\n"
                           "summary: 33 1 1 6 3 2 1 1 1\n";

static icd_status parse(const char *text, icd_cg_out **out)
{
    return icd_i_cg_parse(ctx, text, strlen(text), "cg.out", out);
}

static void test_parse(void **state)
{
    icd_cg_out *out = NULL;
    (void)state;
    assert_ok(ctx, parse(GOOD, &out));
    assert_int_equal(out->functions, 2);
    const icd_cg_function *f = icd_i_cg_find(out, "f"),
                          *g = icd_i_cg_find(out, "g(int, char)");
    assert_non_null(f);
    assert_non_null(g);
    assert_int_equal(f->count[ICD_CG_IR], 32);
    assert_int_equal(f->count[ICD_CG_DR], 5);
    assert_int_equal(g->count[ICD_CG_DLMW], 1);
    assert_int_equal(out->total[ICD_CG_D1MR], 3);
    assert_string_equal(out->cache[2], "65536 B, 64 B, 16-way associative");
    assert_null(icd_i_cg_find(out, "h"));
    icd_i_cg_out_free(ctx, out);
    assert_ok(ctx, parse("events: Ir Bc\nfn=f\n1 5 2\nsummary: 5 2\n", &out));
    assert_false(out->counted[ICD_CG_DR]);
    assert_int_equal(out->total[ICD_CG_IR], 5);
    icd_i_cg_out_free(ctx, out);
}

static void test_damaged(void **state)
{
    static const char *const TEXT[][2] = {
        {"", "summary:"},
        {"events: Ir\nfn=f\n1 5\n", "summary:"},
        {"events: Ir\nfn=f\n1 5\nsummary: 6\n", "sum of the counts"},
        {"events: Ir\n1 5\nsummary: 5\n", "fn= first"},
        {"fn=f\n1 5\nsummary: 5\n", "events"},
        {"events: Ir Ir\n", "every event once"},
        {"events: Ir\nevents: Ir\n", "one list"},
        {"events:\n", "names of events"},
        {"events: Ir\nfn=f\nx 5\n", "line number"},
        {"events: Ir\nfn=f\n1 5x\n", "as many counts"},
        {"events: Ir\nfn=f\n1 -5\n", "counts"},
        {"events: Ir\nfn=f\n1 5 6\n", "as many counts"},
        {"events: Ir\nfn=f\n1 99999999999999999999\n", "counts"},
        {"events: Ir\nfn=f\n1 9223372036854775807\n2 1\n", "below 2^63"},
    };
    icd_cg_out *out = NULL;
    (void)state;
    for (size_t i = 0; i < sizeof TEXT / sizeof TEXT[0]; i++) {
        assert_fails(ctx, ICD_EDATA, TEXT[i][1], parse(TEXT[i][0], &out));
        assert_null(out);
    }
}

static icd_status parse_good(icd_ctx *c, void *arg)
{
    icd_cg_out *out = NULL;
    (void)arg;
    icd_status status = icd_i_cg_parse(c, GOOD, sizeof GOOD - 1, "cg.out", &out);
    icd_i_cg_out_free(c, out);
    return status;
}

static void test_memory(void **state)
{
    (void)state;
    icd_test_failing_allocations(parse_good, NULL);
}

static void test_cache_sizes(void **state)
{
    icd_cache_model m = {.line = 64, .levels = 2};
    (void)state;
    m.level[0] = (icd_cache_level){.bytes = 48 * 1024, .ways = 12};
    m.level[1] = (icd_cache_level){.bytes = 36 << 20, .ways = 12};
    icd_cg_cache first = icd_i_cg_cache(&m, 0), last = icd_i_cg_cache(&m, 1);
    assert_int_equal(first.bytes, 48 * 1024);
    assert_int_equal(first.ways, 12);
    assert_int_equal(last.bytes, 36 << 20); /* 49152 sets are 32768 of 18 ways */
    assert_int_equal(last.ways, 18);
}

static bool is_valgrind_here(void)
{
    const char *argv[] = {"valgrind", "--version", NULL};
    icd_child child = {0};
    bool here =
        icd_i_child_run(ctx, argv, 60, 4096, &child) == ICD_OK && child.exit_code == 0;
    icd_i_child_release(ctx, &child);
    icd_ctx_clear(ctx);
    if (!here) print_message("skipped: valgrind is not here\n");
    return here;
}

/* Cachegrind's caches: 8 KiB in 2 ways before 64 KiB in 16, LRU, nothing promised. */
static const icd_cache_model SMALL = {
    .name = "small",
    .note = "",
    .line = 64,
    .sector = 64,
    .write_fetches = true,
    .levels = 2,
    .level = {{.number = 1, .bytes = 8192, .ways = 2},
              {.number = 3, .bytes = 65536, .ways = 16}}};

static icd_cache_totals simulate(int pattern, int rounds)
{
    icd_cachesim *sim = NULL;
    icd_cache_totals t;
    uint64_t seed = 1;
    assert_ok(ctx, icd_i_cachesim_new(ctx, &SMALL, 1, &sim));
    for (int r = 0; r < rounds; r++)
        for (uint32_t i = 0; i < PATTERN_ACCESSES; i++) {
            pattern_access a = pattern_at(pattern, i, &seed);
            icd_i_cachesim_touch(
                sim, &(icd_addr_run){.address = a.offset, .bytes = 1, .write = a.write});
        }
    icd_i_cachesim_totals(sim, &t);
    icd_i_cachesim_free(ctx, sim);
    return t;
}

static icd_cg_out *run_cachegrind(int pattern)
{
    char number[12];
    snprintf(number, sizeof number, "%d", pattern);
    const char *command[] = {ICD_ACCESS_PATTERN, number, "{steps}", NULL};
    icd_cachegrind how = {"valgrind", icd_test_path("cachegrind.out"), 120,
                          icd_i_cg_cache(&SMALL, 0), icd_i_cg_cache(&SMALL, 1)};
    icd_cg_out *out = NULL;
    assert_ok(ctx, icd_i_cachegrind_run(ctx, &how, command, 2, &out));
    return out;
}

static void close_to(int64_t found, int64_t expected, int64_t slack)
{
    assert_near((double)found, (double)expected, (double)slack);
}

/* The simulator and cachegrind count the same misses of the same accesses. The function's
 * own code passes through the last level too, and its stack through the first: a few
 * lines of slack. Cachegrind knows no
 * write-backs, which renew lines in the last level: only there and only with writes do
 * the two differ, by less than 2 %. */
static void test_simulator_against_cachegrind(void **state)
{
    (void)state;
    if (!is_valgrind_here()) skip();
    for (int pattern = 0; pattern < PATTERNS; pattern++) {
        icd_cache_totals t = simulate(pattern, 2);
        icd_cg_out *out = run_cachegrind(pattern);
        const icd_cg_function *f = icd_i_cg_find(out, "touch_all");
        assert_non_null(f);
        const int64_t *c = f->count;
        int64_t missed = t.level[1].read_misses + t.level[1].write_misses;
        close_to(c[ICD_CG_DR] + c[ICD_CG_DW], t.level[0].reads + t.level[0].writes, 32);
        close_to(c[ICD_CG_D1MR], t.level[0].read_misses, 4);
        close_to(c[ICD_CG_D1MW], t.level[0].write_misses, 4);
        close_to(c[ICD_CG_DLMR] + c[ICD_CG_DLMW], missed,
                 pattern == PATTERN_WRITES ? missed / 50 : 8);
        print_message("pattern %d: first level %lld misses of %lld and %lld; last level "
                      "%lld and %lld\n",
                      pattern, (long long)t.level[0].read_misses,
                      (long long)t.level[0].reads, (long long)c[ICD_CG_D1MR],
                      (long long)missed, (long long)(c[ICD_CG_DLMR] + c[ICD_CG_DLMW]));
        icd_i_cg_out_free(ctx, out);
    }
}

static void write_index(const char *root, int index, const char *text)
{
    static const char *const FILE_NAME[] = {
        "level", "type", "size", "ways_of_associativity", "coherency_line_size"};
    char dir[512], path[600], word[5][16];
    assert_int_equal(sscanf(text, "%15s %15s %15s %15s %15s", word[0], word[1], word[2],
                            word[3], word[4]),
                     5);
    snprintf(dir, sizeof dir, "%s/index%d", root, index);
    mkdir(dir, 0755);
    for (int i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, FILE_NAME[i]);
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        fprintf(f, "%s\n", word[i]);
        fclose(f);
    }
}

/* A round of the sequential pattern misses everywhere: 20000 lines. */
static void test_meter(void **state)
{
    const char *command[] = {ICD_ACCESS_PATTERN, "0", "{steps}", NULL};
    icd_meter *meter = NULL;
    icd_readings *r = NULL;
    icd_meter_opts opts;
    char root[512];
    (void)state;
    if (!is_valgrind_here()) skip();
    snprintf(root, sizeof root, "%s", icd_test_path("caches"));
    mkdir(root, 0755);
    write_index(root, 0, "1 Data 8K 2 64");
    write_index(root, 1, "2 Unified 64K 16 64");
    icd_options_init(&icd_meter_table, &opts);
    opts.caches = root;
    icd_meter_subject subject = {.name = "linear", .command = command, .steps = 2};
    assert_ok(ctx, icd_meter_open(ctx, "cachegrind", &opts, &meter));
    assert_true(icd_meter_probe(meter)->available);
    assert_ok(ctx, icd_meter_measure(ctx, meter, &subject, 1, 0, &r));
    const icd_metric *m = icd_readings_find(r, "llc_misses");
    assert_int_equal(m->provenance, ICD_SIMULATED);
    assert_near(m->value, PATTERN_ACCESSES, 2);
    assert_true(isnan(m->low) && isnan(m->high));
    assert_near(icd_readings_find(r, "llc_references")->value, PATTERN_ACCESSES, 2);
    assert_near(icd_readings_find(r, "dram_read_bytes")->value, 64. * PATTERN_ACCESSES,
                128);
    assert_near(icd_readings_find(r, "llc_hit_pct")->value, 0, .1);
    assert_non_null(strstr(r->method, "AVX2"));
    assert_non_null(strstr(r->detail, "touch_all"));
    icd_readings_free(ctx, r);
    icd_meter_free(ctx, meter);
}

/* A file of cachegrind's that has so many misses for its first step and the others. */
static const char *fake_valgrind(const char *name, int first, int more)
{
    const char *path = icd_test_path(name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f,
            "#!/bin/sh\n"
            "[ \"$1\" = --version ] && { echo valgrind-3.99; exit 0; }\n"
            "for a; do case $a in --cachegrind-out-file=*) out=${a#*=};; esac; last=$a; "
            "done\n"
            "n=%d; [ \"$last\" = 1 ] || n=$((%d + %d))\n"
            "printf 'events: Ir D1mr DLmr\\nfn=f\\n1 10 200000 '$n'\\nsummary: 10 200000 "
            "'$n'\\n' > \"$out\"\n",
            first, first, more);
    fclose(f);
    chmod(path, 0755);
    return path;
}

/* Misses that are few beside those of loading are not told, above all not below zero. */
static void test_lost_in_loading(void **state)
{
    const char *command[] = {"program", "{steps}", NULL};
    (void)state;
    for (int k = 0; k < 3; k++) {
        static const int MORE[] = {-30, 90, 3000};
        icd_meter *meter = NULL;
        icd_readings *r = NULL;
        icd_meter_opts opts;
        icd_options_init(&icd_meter_table, &opts);
        opts.valgrind = fake_valgrind("valgrind", 10000, MORE[k]);
        icd_meter_subject subject = {.name = "a", .command = command};
        assert_ok(ctx, icd_meter_open(ctx, "cachegrind", &opts, &meter));
        assert_ok(ctx, icd_meter_measure(ctx, meter, &subject, 1, 0, &r));
        const icd_metric *m = icd_readings_find(r, "llc_misses");
        assert_int_equal(m->provenance, k < 2 ? ICD_ABSENT : ICD_SIMULATED);
        if (k < 2) assert_non_null(strstr(m->reason, "10000 of loading"));
        if (k == 2) assert_near(m->value, 1000, 1e-9);
        assert_int_equal(icd_readings_find(r, "instructions")->provenance, ICD_SIMULATED);
        icd_readings_free(ctx, r);
        icd_meter_free(ctx, meter);
    }
}

static void test_not_there(void **state)
{
    const char *command[] = {"true", NULL};
    icd_meter *meter = NULL;
    icd_readings *r[2] = {NULL, NULL};
    icd_meter_opts opts;
    (void)state;
    icd_options_init(&icd_meter_table, &opts);
    opts.valgrind = "/nowhere/valgrind";
    icd_meter_subject subject[] = {{.name = "a", .command = command}, {.name = "b"}};
    assert_ok(ctx, icd_meter_open(ctx, "cachegrind", &opts, &meter));
    assert_false(icd_meter_probe(meter)->available);
    assert_non_null(strstr(icd_meter_probe(meter)->enable, "apt-get install valgrind"));
    assert_ok(ctx, icd_meter_measure(ctx, meter, subject, 2, 0, r));
    for (int i = 0; i < 2; i++) {
        const icd_metric *m = icd_readings_find(r[i], "llc_misses");
        assert_int_equal(m->provenance, ICD_ABSENT);
        assert_non_null(strstr(m->reason, "cannot be started"));
        icd_readings_free(ctx, r[i]);
    }
    icd_meter_free(ctx, meter);
}

static void test_failures(void **state)
{
    const char *command[] = {"false", NULL};
    icd_cg_out *out = NULL;
    icd_cg_cache cache = {4096, 4, 64};
    (void)state;
    icd_cachegrind how = {"false", icd_test_path("no.out"), 10, cache, cache};
    assert_fails(ctx, ICD_EMEASURE, "exit code 1",
                 icd_i_cachegrind_run(ctx, &how, command, 1, &out));
    how.valgrind = "true"; /* writes no file */
    assert_fails(ctx, ICD_EMEASURE, "no.out",
                 icd_i_cachegrind_run(ctx, &how, command, 1, &out));
    assert_null(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_cache_sizes),
        cmocka_unit_test(test_simulator_against_cachegrind),
        cmocka_unit_test(test_meter),
        cmocka_unit_test(test_lost_in_loading),
        cmocka_unit_test(test_not_there),
        cmocka_unit_test(test_failures),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
