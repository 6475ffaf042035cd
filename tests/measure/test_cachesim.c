#include "fixture.h"

#include "base/rng.h"
#include "measure/cachesim.h"
#include <icd/meter.h>

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static icd_cache_model one_level(int64_t bytes, int32_t ways, int32_t policy)
{
    return (icd_cache_model){
        .name = "test",
        .note = "",
        .line = 64,
        .sector = 64,
        .write_fetches = true,
        .levels = 1,
        .level = {{.number = 1, .bytes = bytes, .ways = ways, .policy = policy}}};
}

static void add_level(icd_cache_model *m, int64_t bytes, int32_t ways, int32_t inclusion)
{
    m->level[m->levels] = (icd_cache_level){
        .number = m->levels + 1, .bytes = bytes, .ways = ways, .inclusion = inclusion};
    m->levels++;
}

static icd_cachesim *make(const icd_cache_model *m, int32_t agents)
{
    icd_cachesim *sim = NULL;
    assert_ok(ctx, icd_i_cachesim_new(ctx, m, agents, &sim));
    return sim;
}

static void touch(icd_cachesim *sim, int64_t line, bool write, int agent)
{
    icd_i_cachesim_touch(sim, &(icd_addr_run){.address = (uint64_t)line * 64,
                                              .bytes = 64,
                                              .agent = (uint16_t)agent,
                                              .write = write});
}

static icd_cache_totals totals(icd_cachesim *sim)
{
    icd_cache_totals t;
    icd_i_cachesim_totals(sim, &t);
    icd_i_cachesim_reset(sim);
    return t;
}

/* Reads one line. @return from which level it came, 0 = the first; levels: memory */
static int came_from(icd_cachesim *sim, int64_t line, int agent, int levels)
{
    totals(sim);
    touch(sim, line, false, agent);
    icd_cache_totals t = totals(sim);
    int level = 0;
    while (level < levels && t.level[level].read_misses) level++;
    assert_int_equal(t.read_bytes, level == levels ? 64 : 0);
    return level;
}

/* A list of lines per set, the newest first: LRU as its definition says. */
enum { SETS_MOST = 64, WAYS_MOST = 8 };
typedef struct lists {
    int64_t line[SETS_MOST][WAYS_MOST];
    bool dirty[SETS_MOST][WAYS_MOST];
    int count[SETS_MOST], sets, ways;
    int64_t misses, written;
} lists;

static void list_touch(lists *l, int64_t line, bool write)
{
    int s = (int)(line % l->sets), at = 0;
    while (at < l->count[s] && l->line[s][at] != line) at++;
    bool miss = at == l->count[s], dirty = write || (!miss && l->dirty[s][at]);
    l->misses += miss;
    if (miss && l->count[s] == l->ways) l->written += l->dirty[s][--at];
    if (miss && l->count[s] < l->ways) l->count[s]++;
    for (; at > 0; at--) {
        l->line[s][at] = l->line[s][at - 1];
        l->dirty[s][at] = l->dirty[s][at - 1];
    }
    l->line[s][0] = line;
    l->dirty[s][0] = dirty;
}

static void test_lru_as_lists(void **state)
{
    static const int SHAPE[][2] = {{1, 1}, {4, 2}, {12, 3}, {64, 8}, {1, 8}};
    (void)state;
    for (size_t k = 0; k < sizeof SHAPE / sizeof SHAPE[0]; k++) {
        lists l = {.sets = SHAPE[k][0], .ways = SHAPE[k][1]};
        int64_t lines = (int64_t)l.sets * l.ways;
        icd_cache_model m = one_level(lines * 64, l.ways, ICD_CACHE_LRU);
        icd_cachesim *sim = make(&m, 1);
        icd_rng rng;
        icd_i_rng_init(&rng, k, 0);
        for (int i = 0; i < 20000; i++) {
            int64_t line = icd_i_rng_below(&rng, 2 * lines + 1);
            bool write = icd_i_rng_below(&rng, 4) == 0;
            list_touch(&l, line, write);
            touch(sim, line, write, 0);
        }
        icd_cache_totals t = totals(sim);
        assert_int_equal(t.level[0].reads + t.level[0].writes, 20000);
        assert_int_equal(t.level[0].read_misses + t.level[0].write_misses, l.misses);
        assert_int_equal(t.read_bytes, 64 * l.misses);
        assert_int_equal(t.written_bytes, 64 * l.written);
        icd_i_cachesim_free(ctx, sim);
    }
}

/* The tree over four ways: after 0 1 2 3 0 it gives up 2, where LRU would give up 1. */
static void test_tree(void **state)
{
    (void)state;
    for (int32_t policy = ICD_CACHE_LRU; policy <= ICD_CACHE_PLRU; policy++) {
        icd_cache_model m = one_level(4 * 64, 4, policy);
        icd_cachesim *sim = make(&m, 1);
        for (int64_t line = 0; line < 4; line++) touch(sim, line, false, 0);
        touch(sim, 0, false, 0);
        touch(sim, 4, false, 0);
        int64_t gone = policy == ICD_CACHE_LRU ? 1 : 2;
        for (int64_t line = 0; line < 5; line++)
            if (line != gone) assert_int_equal(came_from(sim, line, 0, 1), 0);
        assert_int_equal(came_from(sim, gone, 0, 1), 1);
        icd_i_cachesim_free(ctx, sim);
    }
}

static void test_sectors(void **state)
{
    (void)state;
    icd_cache_model m = one_level(8 * 128, 8, ICD_CACHE_LRU);
    m.line = 128;
    m.sector = 32;
    m.write_fetches = false;
    icd_cachesim *sim = make(&m, 1);
    icd_i_cachesim_touch(sim, &(icd_addr_run){.address = 40, .bytes = 30});
    icd_i_cachesim_touch(sim, &(icd_addr_run){.address = 32, .bytes = 96});
    icd_cache_totals t = totals(sim);
    assert_int_equal(t.level[0].reads, 2 + 3);
    assert_int_equal(t.level[0].read_misses, 3);
    assert_int_equal(t.read_bytes, 96);
    icd_i_cachesim_touch(sim, &(icd_addr_run){.bytes = 32, .write = true});
    icd_i_cachesim_touch(sim, &(icd_addr_run){0});
    t = totals(sim);
    assert_int_equal(t.level[0].write_misses, 1);
    assert_int_equal(t.read_bytes, 0);
    /* Eight other lines throw it out, and the one sector that was written goes down. */
    for (int64_t line = 1; line <= 8; line++)
        icd_i_cachesim_touch(
            sim, &(icd_addr_run){.address = (uint64_t)line * 128, .bytes = 1});
    assert_int_equal(totals(sim).written_bytes, 32);
    icd_i_cachesim_free(ctx, sim);
}

/* Line 0 is used all the time above, so the second level forgets it. */
static int kept_above(int32_t inclusion)
{
    icd_cache_model m = one_level(2 * 64, 2, ICD_CACHE_LRU);
    add_level(&m, 4 * 64, 4, inclusion);
    icd_cachesim *sim = make(&m, 1);
    for (int64_t line = 1; line <= 4; line++) {
        touch(sim, 0, false, 0);
        touch(sim, line, false, 0);
    }
    int level = came_from(sim, 0, 0, 2);
    icd_i_cachesim_free(ctx, sim);
    return level;
}

static void test_inclusion(void **state)
{
    (void)state;
    assert_int_equal(kept_above(ICD_CACHE_FREE), 0);
    assert_int_equal(kept_above(ICD_CACHE_INCLUSIVE), 2);
    assert_int_equal(kept_above(ICD_CACHE_VICTIM), 0);
}

/* Two levels that hold nothing twice keep as much as one of both sizes. */
static void test_victim(void **state)
{
    (void)state;
    icd_cache_model m = one_level(2 * 64, 2, ICD_CACHE_LRU);
    add_level(&m, 4 * 64, 4, ICD_CACHE_VICTIM);
    icd_cachesim *sim = make(&m, 1);
    for (int64_t line = 0; line < 6; line++) touch(sim, line, line == 0, 0);
    for (int round = 0; round < 3; round++)
        for (int64_t line = 0; line < 6; line++)
            assert_int_equal(came_from(sim, line, 0, 2), 1);
    assert_int_equal(totals(sim).written_bytes, 0);
    for (int64_t line = 10; line < 16; line++) touch(sim, line, false, 0);
    assert_int_equal(totals(sim).written_bytes, 64); /* line 0 was written to */
    icd_i_cachesim_free(ctx, sim);
}

/* What misses in one level is what the next one is asked for; memory is what the last one
 * lacks. */
static void test_levels_add_up(void **state)
{
    (void)state;
    for (int32_t inclusion = ICD_CACHE_FREE; inclusion <= ICD_CACHE_VICTIM; inclusion++) {
        icd_cache_model m = one_level(4 * 64, 2, ICD_CACHE_PLRU);
        add_level(&m, 16 * 64, 4, ICD_CACHE_INCLUSIVE);
        add_level(&m, 60 * 64, 5, inclusion);
        icd_cachesim *sim = make(&m, 1);
        icd_rng rng;
        icd_i_rng_init(&rng, 3, (uint64_t)inclusion);
        for (int i = 0; i < 30000; i++)
            touch(sim, icd_i_rng_below(&rng, 100), icd_i_rng_below(&rng, 3) == 0, 0);
        icd_cache_totals t = totals(sim);
        for (int l = 0; l < 2; l++) {
            assert_int_equal(t.level[l + 1].reads, t.level[l].read_misses);
            assert_int_equal(t.level[l + 1].writes, t.level[l].write_misses);
        }
        int64_t misses = t.level[2].read_misses + t.level[2].write_misses;
        assert_int_equal(t.read_bytes, 64 * misses);
        assert_true(t.written_bytes <= 64 * 30000 && t.written_bytes > 0);
        icd_i_cachesim_free(ctx, sim);
    }
}

static void test_agents(void **state)
{
    (void)state;
    for (int32_t inclusion = ICD_CACHE_FREE; inclusion <= ICD_CACHE_VICTIM; inclusion++) {
        icd_cache_model m = one_level(2 * 64, 2, ICD_CACHE_LRU);
        add_level(&m, 8 * 64, 8, inclusion);
        icd_cachesim *sim = make(&m, 2);
        touch(sim, 0, true, 0);
        assert_int_equal(came_from(sim, 0, 1, 2), 1); /* handed over */
        assert_int_equal(came_from(sim, 0, 1, 2), 0);
        touch(sim, 0, true, 0); /* takes it back */
        assert_int_equal(came_from(sim, 0, 1, 2), 1);
        totals(sim);
        for (int64_t line = 10; line < 40; line++) touch(sim, line, false, (int)line % 2);
        assert_int_equal(totals(sim).written_bytes, 64); /* once, although handed over */
        icd_i_cachesim_free(ctx, sim);
    }
}

static void test_parts(void **state)
{
    (void)state;
    icd_cache_model m = one_level(64 * 64, 16, ICD_CACHE_LRU);
    m.level[0].partitions = 2;
    m.level[0].hashed = true;
    icd_cachesim *sim = make(&m, 2);
    for (int64_t line = 0; line < 32; line++) touch(sim, line, false, 0);
    icd_cache_totals t = totals(sim);
    assert_int_equal(t.level[0].read_misses, 32);
    for (int64_t line = 0; line < 32; line++) touch(sim, line, false, 1);
    t = totals(sim);
    assert_int_equal(t.level[0].read_misses, 0);
    assert_in_range(t.level[0].far_hits, 1, 31); /* lines that belong to the other part */
    for (int64_t line = 0; line < 32; line++) touch(sim, line, false, 1);
    assert_int_equal(totals(sim).level[0].far_hits, 0); /* copies are kept */
    for (int64_t line = 0; line < 32; line++) touch(sim, line, true, 0);
    t = totals(sim);
    assert_int_equal(t.level[0].write_misses, 0);
    for (int64_t line = 0; line < 32; line++) touch(sim, line, false, 1);
    t = totals(sim);
    assert_in_range(t.level[0].far_hits, 1, 31); /* copies were taken away */
    icd_i_cachesim_free(ctx, sim);
}

static void test_wrong_models(void **state)
{
    (void)state;
    icd_cachesim *sim = NULL;
    icd_cache_model line = one_level(4096, 4, ICD_CACHE_LRU), small = line, tree = line,
                    victim = line, parts = line, none = line;
    line.line = 48;
    small.level[0].bytes = 100;
    tree.level[0].ways = 3;
    tree.level[0].policy = ICD_CACHE_PLRU;
    victim.level[0].inclusion = ICD_CACHE_VICTIM;
    parts.level[0].partitions = 2;
    add_level(&parts, 8192, 4, ICD_CACHE_FREE);
    none.levels = 0;
    assert_fails(ctx, ICD_EINVAL, "lines of 48", icd_i_cachesim_new(ctx, &line, 1, &sim));
    assert_fails(ctx, ICD_EINVAL, "100 bytes", icd_i_cachesim_new(ctx, &small, 1, &sim));
    assert_fails(ctx, ICD_EINVAL, "tree over 3", icd_i_cachesim_new(ctx, &tree, 1, &sim));
    assert_fails(ctx, ICD_EINVAL, "victim", icd_i_cachesim_new(ctx, &victim, 1, &sim));
    assert_fails(ctx, ICD_EINVAL, "last level", icd_i_cachesim_new(ctx, &parts, 1, &sim));
    assert_fails(ctx, ICD_EINVAL, "0 levels", icd_i_cachesim_new(ctx, &none, 1, &sim));
    assert_fails(ctx, ICD_EINVAL, "-1", icd_i_cachesim_new(ctx, &none, -1, &sim));
    assert_null(sim);
    icd_i_cachesim_free(ctx, NULL);
}

static void write_file(const char *dir, const char *name, const char *text)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void write_index(const char *root, int index, const char *level, const char *type,
                        const char *size, const char *ways)
{
    char dir[512];
    snprintf(dir, sizeof dir, "%s/index%d", root, index);
    assert_int_equal(mkdir(dir, 0755), 0);
    write_file(dir, "level", level);
    write_file(dir, "type", type);
    write_file(dir, "size", size);
    write_file(dir, "ways_of_associativity", ways);
    write_file(dir, "coherency_line_size", "64\n");
}

static void test_cpu_model(void **state)
{
    icd_cache_model m;
    const char *root = icd_test_path("cache");
    (void)state;
    mkdir(root, 0755);
    assert_true(icd_i_cache_model("cpu", root, &m));
    assert_non_null(strstr(m.note, "does not describe"));
    write_index(root, 0, "1\n", "Data\n", "48K\n", "12\n");
    write_index(root, 1, "1\n", "Instruction\n", "32K\n", "8\n");
    write_index(root, 2, "2\n", "Unified\n", "2048K\n", "16\n");
    write_index(root, 3, "3\n", "Unified\n", "30M\n", "15\n");
    assert_true(icd_i_cache_model("cpu", root, &m));
    assert_int_equal(m.levels, 3);
    assert_int_equal(m.level[0].bytes, 48 * 1024);
    assert_int_equal(m.level[1].ways, 16);
    assert_int_equal(m.level[2].bytes, 30 * 1024 * 1024);
    icd_i_cachesim_free(ctx, make(&m, 2));
}

static void test_presets(void **state)
{
    icd_cache_model m;
    const char *name;
    (void)state;
    for (int64_t i = 0; (name = icd_cache_model_name(i)); i++) {
        assert_true(icd_i_cache_model(name, "/nowhere", &m));
        assert_string_equal(m.name, name);
        icd_i_cachesim_free(ctx, make(&m, 132));
    }
    assert_null(icd_cache_model_name(-1));
    assert_false(icd_i_cache_model("z80", "/nowhere", &m));
}

/* Lines 0 to n - 1 again and again, as a stream. */
typedef struct round {
    int64_t at, lines;
} round_of;

static int64_t next_line(void *self, icd_addr_run *run, int64_t most)
{
    round_of *r = self;
    int64_t n = 0;
    for (; n < most && r->at < r->lines; n++, r->at++)
        run[n] = (icd_addr_run){.address = (uint64_t)r->at * 64, .bytes = 64};
    return n;
}

static void rewind_lines(void *self)
{
    ((round_of *)self)->at = 0;
}

static icd_readings *measure(int64_t lines, const char *cache)
{
    round_of r = {0, lines};
    icd_addrs addrs = {next_line, rewind_lines, &r, 1};
    icd_meter *meter = NULL;
    icd_readings *out = NULL;
    icd_meter_opts opts;
    icd_meter_subject subject = {.name = "linear", .addrs = &addrs};
    icd_options_init(&icd_meter_table, &opts);
    opts.cache = cache;
    opts.caches = "/nowhere";
    assert_ok(ctx, icd_meter_open(ctx, "cachesim", &opts, &meter));
    assert_true(icd_meter_probe(meter)->available);
    assert_ok(ctx, icd_meter_measure(ctx, meter, &subject, 1, 0, &out));
    icd_meter_free(ctx, meter);
    return out;
}

static void check(const icd_readings *r, const char *name, double value)
{
    const icd_metric *m = icd_readings_find(r, name);
    assert_non_null(m);
    assert_int_equal(m->provenance, ICD_SIMULATED);
    assert_near(m->value, value, 1e-9);
}

static void test_meter(void **state)
{
    (void)state;
    /* 1 MiB goes round in 16 MiB: the third level holds it, the second does not. */
    icd_readings *r = measure(16384, "cpu");
    check(r, "l2_references", 16384);
    check(r, "llc_hit_pct", 100);
    check(r, "dram_bytes", 0);
    assert_true(icd_readings_find(r, "l2_hit_pct")->value < 60);
    assert_non_null(strstr(r->detail, "\"model\":\"cpu\""));
    icd_readings_free(ctx, r);
    r = measure(16384, "h100");
    check(r, "l2_hit_pct", 100);
    check(r, "l2_read_bytes", 1048576);
    assert_int_equal(icd_readings_find(r, "llc_hit_pct")->provenance, ICD_ABSENT);
    icd_readings_free(ctx, r);
}

static icd_status allocate(icd_ctx *c, void *arg)
{
    round_of r = {0, 100};
    icd_addrs addrs = {next_line, rewind_lines, &r, 2};
    icd_meter *meter = NULL;
    icd_readings *out[2] = {NULL, NULL};
    icd_meter_subject subject[] = {{.name = "linear", .addrs = &addrs}, {.name = "none"}};
    (void)arg;
    icd_status status = icd_meter_open(c, "cachesim", NULL, &meter);
    if (status == ICD_OK) status = icd_meter_measure(c, meter, subject, 2, 1, out);
    if (status != ICD_OK) assert_true(!out[0] && !out[1]);
    icd_readings_free(c, out[0]);
    icd_readings_free(c, out[1]);
    icd_meter_free(c, meter);
    return status;
}

static void test_memory(void **state)
{
    (void)state;
    icd_test_failing_allocations(allocate, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lru_as_lists), cmocka_unit_test(test_tree),
        cmocka_unit_test(test_sectors),      cmocka_unit_test(test_inclusion),
        cmocka_unit_test(test_victim),       cmocka_unit_test(test_levels_add_up),
        cmocka_unit_test(test_agents),       cmocka_unit_test(test_parts),
        cmocka_unit_test(test_wrong_models), cmocka_unit_test(test_cpu_model),
        cmocka_unit_test(test_presets),      cmocka_unit_test(test_meter),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
