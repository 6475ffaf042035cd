/* The report from whatever metrics.json holds: complete, partial, of wrong types,
 * hostile. */
#include "support.h"

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

#include <icd/csr.h>
#include <icd/perm.h>
#include <icd/report.h>

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A whole run in small; ' stands for ". */
static const char FULL[] =
    "{'version':'icd/1','outcome':'kept','cause':null,"
    "'verdict':['KEPT: iterative is 31.2 % faster','second','third'],"
    "'state':['READY','MEASURED','REPORTED'],'stopped':'all intervals are narrow',"
    "'model':{'name':'tiny-bert','arch':'bert','synthetic':false,'fallback':true,"
    "'hash':'00ff','parameters':22713216},"
    "'input':{'name':'austen.txt','tokens':4096,'batch':4,'seq':128},"
    "'transform':{'sparsity':{'type':'hds','rate':0.75,'vector':64,"
    "'saliency':'activation'},'quant':{'dtype':'int8','method':'ptq-minmax'},"
    "'density':0.25,'retained':0.71,'cosine_vs_dense':0.9312},"
    "'exactness':[{'what':'pi0 against the checkpoint','max_rel':3e-7,'cosine':1.0,"
    "'bound':1e-5,'ok':true},{'what':'broken','max_rel':0.5,'cosine':0.2,"
    "'bound':0.02,'ok':false}],"
    "'arms':[{'name':'linear','kernel':'tile','role':'baseline','lat_ms':{'value':34.373,"
    "'unit':'ms','low':32.8,'high':36.1,'count':60,'provenance':'MEASURED',"
    "'reason':null},'p50_ms':35.2,'p95_ms':49.0,'toks_per_s':{'value':3724.0,"
    "'provenance':'MEASURED'},'l2_hit_pct':{'value':null,'unit':'%','low':null,"
    "'high':null,'count':0,'provenance':'ABSENT','reason':'no counters here'},"
    "'ept_j_per_tok':{'value':0,'provenance':'ABSENT','reason':'neither RAPL nor NVML'},"
    "'repeats':60,'burst':2,'live':630,'all':1000,'bytes':6839820},"
    "{'name':'iterative','kernel':'tile','role':'candidate','lat_ms':{'value':25.724,"
    "'low':24.5,'high':27.2,'count':60,'provenance':'MEASURED'},'p50_ms':26.0,"
    "'p95_ms':40.9,'toks_per_s':{'value':4976.0,'provenance':'MEASURED'},"
    "'l2_hit_pct':{'value':91.25,'low':90.0,'high':92.0,'provenance':'MEASURED'},"
    "'repeats':60,'burst':2,'live':288,'all':1000,'bytes':3100000}],"
    "'comparisons':[{'a':'linear','b':'iterative','delta':-0.2572,'low':-0.282,"
    "'high':-0.2295,'verdict':'FASTER','p_value':0.0001,'hedges_g':-0.99,'blocks':144}],"
    "'linears':[{'linear':'layer.0.ffn.down','group':'layer.0.ffn.down','rows':384,"
    "'cols':1536,'granule':4,'density':0.25,'retained':0.7,'all':2000,"
    "'live':{'linear':1500,'iterative':700,'random':1580,'frequency':800},"
    "'bytes':{'linear':36000,'iterative':17000},'kernel':{'linear':'tile'}}],"
    "'axes':[{'axis':'inner','local':false,'D':96,'nnz':96,'granule':16,'T_before':1.9,"
    "'T_after':1.5,'cut_before':0.9,'cut_after':0.7,'moved':90,'method':'multilevel',"
    "'reason':'lowest T','elapsed_s':0.1},{'axis':'down','local':true,'D':96,"
    "'granule':4,'T_before':2.5,'T_after':1.25,'method':'auto'}],"
    "'gates':[{'name':'latency','target':'-20 %','found':'-25.7 %','result':'met',"
    "'reason':'point estimate'},{'name':'l2','target':'+10 pp','found':'-',"
    "'result':'not evaluated','reason':'no counters here'}],"
    "'stages':[{'stage':'trace','seconds':1.25,'ok':true,'cached':true},"
    "{'stage':'measure','seconds':9.5,'ok':false,'cached':false}],"
    "'environment':{'cpu':'a CPU','isa':'avx2','threads':2,'fixed':true,'none':null},"
    "'overhead':{'events':20,'event_seconds':0.0001,'event_share':0.00001},"
    "'reproduce':['icd run -c config.lock.json --out ANOTHER_DIRECTORY']}";

typedef struct report {
    icd_ctx *ctx;
    const char *dir;
    char *html, *csv;
} report;

static json_t *parse(const char *text)
{
    char *copy = strdup(text);
    for (char *at = copy; *at; at++)
        if (*at == '\'') *at = '"';
    json_t *root = json_loads(copy, 0, NULL);
    assert_non_null(root);
    free(copy);
    return root;
}

static const char ROUNDS[] =
    "{'outcome':'kept','rounds':{'asked':3,'kept':2,'shown':2,'stopped':'the 95 % CI of "
    "the gain, "
    "-0.40 to +0.30 %, includes zero','round':[{'round':1,'against':'pi0','groups':[],"
    "'redone':0,'loss_before':null,'loss_after':0.0821,'moved':90,'inputs':100,"
    "'before':{'live':90,'all':100,'bytes':900},'after':{'live':40,'all':100,'bytes':400}"
    ","
    "'predicted':{'time_low':0.44,'time_high':1.0},'gain':{'change':-0.3,'low':-0.31,"
    "'high':-0.29,'verdict':'FASTER'},'kept':true,'why':'','stop':''},"
    "{'round':2,'against':'round 1','groups':[{'group':'down','what':'N:M groups',"
    "'loss_before':0.08,'loss_after':0.06,'redone':true},{'group':'up','what':'N:M "
    "groups','loss_before':0.084,'loss_after':0.09,'redone':false}],'redone':1,"
    "'loss_before':0.0821,'loss_after':0.0721,'moved':8,'inputs':100,'before':{'live':40,"
    "'all':100,'bytes':400},'after':{'live':40,'all':100,'bytes':400},'predicted':null,"
    "'gain':{'change':-0.0005,'low':-0.004,'high':0.003,'verdict':'SAME'},'kept':true,"
    "'why':'its loss is less, and no metric is worse','stop':'the gain includes "
    "zero'}]}}";

/* FULL with the rounds. */
static json_t *parse_all(void)
{
    json_t *root = parse(FULL), *rounds = parse(ROUNDS);
    json_object_set(root, "rounds", json_object_get(rounds, "rounds"));
    json_decref(rounds);
    return root;
}

static const char *in(const char *dir, const char *name)
{
    static char path[4][4096];
    static int turn = 0;
    char *out = path[turn++ % 4];
    size_t length = strlen(dir);
    assert_true(length + strlen(name) + 2 <= sizeof path[0]);
    memcpy(out, dir, length);
    out[length] = '/';
    strcpy(out + length + 1, name);
    return out;
}

static report begin(const char *name)
{
    report r = {icd_ctx_new(NULL), icd_test_path(name), NULL, NULL};
    assert_non_null(r.ctx);
    assert_ok(r.ctx, icd_i_mkdirs(r.ctx, r.dir));
    return r;
}

static void forget(report *r)
{
    icd_i_free(r->ctx, r->html);
    icd_i_free(r->ctx, r->csv);
    r->html = r->csv = NULL;
}

static void end(report *r)
{
    forget(r);
    icd_ctx_free(r->ctx);
}

static void put_metrics(report *r, const json_t *metrics)
{
    assert_int_equal(json_dump_file(metrics, in(r->dir, "metrics.json"), 0), 0);
}

static void make(report *r, const json_t *metrics)
{
    size_t size = 0;
    forget(r);
    put_metrics(r, metrics);
    assert_ok(r->ctx, icd_report_write(r->ctx, r->dir));
    assert_ok(r->ctx,
              icd_i_file_read(r->ctx, in(r->dir, "report.html"), &r->html, &size));
    assert_ok(r->ctx, icd_i_file_read(r->ctx, in(r->dir, "report.csv"), &r->csv, &size));
}

static void make_text(report *r, const char *text)
{
    json_t *root = parse(text);
    make(r, root);
    json_decref(root);
}

#define assert_has(text, part)   assert_non_null(strstr((text), (part)))
#define assert_lacks(text, part) assert_null(strstr((text), (part)))

static void says_the_facts(void **state)
{
    (void)state;
    report r = begin("facts");
    make_text(&r, FULL);
    static const char *const FACT[] = {
        "KEPT: iterative is 31.2 % faster",
        ">pi1 kept<",
        "tiny-bert",
        "22.7&nbsp;M parameters",
        "4&nbsp;&times;&nbsp;128 tokens",
        "the block that ships with ICD",
        "-25.7&nbsp;%",
        "FASTER, 95&nbsp;% CI -28.2 to -22.9&nbsp;%, 144 blocks",
        "34.37 &rarr; 25.72&nbsp;ms",
        "63.0 &rarr; 28.8&nbsp;%",
        "6.84 &rarr; 3.10&nbsp;MB",
        "layer.0.ffn.down",
        "75.0 &rarr; 35.0&nbsp;%",
        ">DIFFERENT<",
        "<td class=good>met</td>",
        "9.50",
        "reused",
        "all intervals are narrow",
        "--out ANOTHER_DIRECTORY",
        "0.9312",
        "READY &rarr; MEASURED &rarr; REPORTED",
    };
    for (size_t i = 0; i < sizeof FACT / sizeof FACT[0]; i++) {
        if (!strstr(r.html, FACT[i])) print_error("missing: %s\n", FACT[i]);
        assert_has(r.html, FACT[i]);
    }
    assert_has(r.csv, "linear,baseline,tile,34.373,32.8,36.1,MEASURED,3724,,,MEASURED,"
                      ",,,ABSENT,,,,ABSENT,60,630,1000,6839820\n");
    end(&r);
}

/* ept_j_per_tok says ABSENT and carries a 0 all the same: the 0 must not appear. */
static void absent_is_no_zero(void **state)
{
    (void)state;
    report r = begin("absent");
    make_text(&r, FULL);
    assert_has(r.html, "L2 hit rate: absent in linear, no counters here.");
    assert_has(r.html, "Energy per token: absent in linear, neither RAPL nor NVML.");
    assert_has(r.html, "title=\"neither RAPL nor NVML\">absent</td>");
    assert_lacks(r.html, "0.0000");
    assert_has(r.html, "91.25 <small>[90.00, 92.00]</small></td>");
    end(&r);
}

/* A simulation has no chance in it, and so no interval, on the page and in the table. */
static void simulated_has_no_interval(void **state)
{
    (void)state;
    report r = begin("simulated");
    make_text(&r, "{'arms':[{'name':'linear','l2_hit_pct':{'value':67.77,'low':67.77,"
                  "'high':67.77,'provenance':'SIMULATED'}}]}");
    assert_has(r.html, ">67.77 <small>SIMULATED</small></td>");
    assert_lacks(r.html, "[67.77");
    assert_has(r.csv, ",67.77,,,SIMULATED,");
    end(&r);
}

/* A tile says what; how to get it stands below, in full. */
static void tiles_are_short(void **state)
{
    (void)state;
    report r = begin("tiles");
    make_text(&r,
              "{'arms':[{'name':'linear','ept_j_per_tok':{'value':null,'provenance':"
              "'ABSENT','reason':'NVML cannot be loaded: no such file; to enable: "
              "docker run --gpus all'}},{'name':'dense','ept_j_per_tok':{'provenance':"
              "'ABSENT','reason':'no meter'}}]}");
    assert_has(r.html, "<small>NVML cannot be loaded (<a href=\"#environment\">");
    assert_has(r.html,
               "<dt>Energy per token</dt><dd>NVML cannot be loaded: no such file; "
               "to enable: docker run --gpus all</dd>");
    assert_has(r.html, "Energy per token: absent in linear, NVML cannot be loaded (");
    assert_has(r.html, "Energy per token: absent in dense, no meter.");
    end(&r);
}

static void shows_every_round(void **state)
{
    (void)state;
    report r = begin("rounds");
    char *md = NULL, *csv = NULL;
    size_t size = 0;
    make_text(&r, ROUNDS);
    static const char *const FACT[] = {
        "href=\"#rounds\">Rounds<",
        "<b>Why it ended:</b> the 95 % CI of the gain, -0.40 to +0.30 %, includes zero",
        "first transform, pi1",
        "N:M groups: 1 of 2 redone",
        "8.210 &rarr; 7.210&nbsp;%",
        "90.0 &rarr; 40.0&nbsp;%",
        "-56.0 to +0.0&nbsp;%",
        "-30.0&nbsp;%<br><small>-31.0 to -29.0&nbsp;%</small><br><small>FASTER",
        "Round 2 was kept: its loss is less, and no metric is worse.",
        "<td>the old one stayed</td>",
    };
    for (size_t i = 0; i < sizeof FACT / sizeof FACT[0]; i++) {
        if (!strstr(r.html, FACT[i])) print_error("missing: %s\n", FACT[i]);
        assert_has(r.html, FACT[i]);
    }
    assert_ok(r.ctx,
              icd_report_write_as(r.ctx, r.dir, ICD_REPORT_MARKDOWN | ICD_REPORT_CSV));
    assert_ok(r.ctx, icd_i_file_read(r.ctx, in(r.dir, "report.md"), &md, &size));
    assert_ok(r.ctx, icd_i_file_read(r.ctx, in(r.dir, "rounds.csv"), &csv, &size));
    assert_has(md,
               "| 2 | round 1 | 1 | 8.210 | 7.210 | 40.0 | -0.1 \\[-0.4, 0.3\\] | yes |");
    assert_has(csv,
               "\n2,round 1,1,0.0821,0.0721,8,100,40,40,400,400,,,-0.0005,-0.004,"
               "0.003,SAME,yes,\"its loss is less, and no metric is worse\",the gain "
               "includes zero\n");
    icd_i_free(r.ctx, md);
    icd_i_free(r.ctx, csv);
    end(&r);
}

static void rolled_back_says_why(void **state)
{
    (void)state;
    report r = begin("rolled");
    make_text(&r, "{'outcome':'rolled_back','cause':'E_EXACT_601: outputs differ',"
                  "'verdict':[],'arms':[],'stopped':'nothing was measured'}");
    assert_has(r.html, ">rolled back<");
    assert_has(r.html, "Why it was rolled back:</strong> E_EXACT_601: outputs differ");
    assert_has(r.html, "The run recorded no verdict.");
    assert_has(r.html, "absent</dd><dd><small>nothing was measured");
    assert_has(r.html, "No arm was built");
    make_text(&r, "{'outcome':'rolled_back'}");
    assert_has(r.html, "no cause was recorded");
    end(&r);
}

/* Arms that were built and never timed: live granules are facts, times are not. */
static void not_measured(void **state)
{
    (void)state;
    report r = begin("untimed");
    make_text(&r, "{'outcome':'not_measured','stopped':'nothing was measured',"
                  "'arms':[{'name':'linear','role':'baseline','live':5,'all':10}]}");
    assert_has(r.html, ">not measured<");
    assert_has(r.html, "Latency: absent in every arm, nothing was measured.");
    assert_has(r.html, "50.0&nbsp;%");
    assert_lacks(r.html, "Time of a step</h3>");
    assert_has(r.csv, "linear,baseline,,,,,ABSENT,,,,ABSENT,");
    make_text(&r, "{'outcome':'dry_run'}");
    assert_has(r.html, ">dry run<");
    make_text(&r, "{}");
    assert_has(r.html, "outcome unknown");
    end(&r);
}

typedef void visit_fn(json_t *parent, const char *key, size_t index, json_t *value,
                      void *user);

/* Calls `visit` for every value below `root`, deepest first. */
static void walk(json_t *root, visit_fn *visit, void *user)
{
    const char *key = NULL;
    json_t *value = NULL;
    void *next = NULL;
    json_object_foreach_safe(root, next, key, value)
    {
        walk(value, visit, user);
        visit(root, key, 0, value, user);
    }
    for (size_t i = 0; i < json_array_size(root); i++) {
        value = json_array_get(root, i);
        walk(value, visit, user);
        visit(root, NULL, i, value, user);
    }
}

static void set(json_t *parent, const char *key, size_t index, json_t *value)
{
    if (key)
        json_object_set_new(parent, key, value);
    else
        json_array_set_new(parent, index, value);
}

static void make_hostile(json_t *parent, const char *key, size_t index, json_t *value,
                         void *user)
{
    if (json_is_string(value)) set(parent, key, index, json_string(user));
}

static void escapes_everything(void **state)
{
    (void)state;
    static char evil[] = "<script>x</script>\"' onload=x,&\n\x01\xe2\x82\xac";
    report r = begin("hostile");
    json_t *root = parse_all();
    walk(root, make_hostile, evil);
    json_object_set_new(json_object_get(root, "environment"), evil, json_string(evil));
    make(&r, root);
    assert_lacks(r.html, "<script");
    assert_lacks(r.html, "\" onload");
    assert_lacks(r.html, "' onload");
    assert_lacks(r.html, "\x01");
    assert_has(r.html, "&lt;script&gt;x&lt;/script&gt;&quot;&#39; onload=x,&amp;");
    assert_has(r.html, "&#xfffd;\xe2\x82\xac");
    assert_has(r.csv, "\n\"<script>x</script>\"\"' onload=x,&\n\x01\xe2\x82\xac\",\"");
    json_decref(root);
    end(&r);
}

static void cuts_long_text(void **state)
{
    (void)state;
    report r = begin("long");
    json_t *root = parse(FULL);
    size_t size = 3 * 30 * 1000;
    char *text = malloc(size + 1);
    for (size_t i = 0; i < size; i++) text[i] = "\xe2\x82\xac"[i % 3];
    text[size] = 0;
    walk(root, make_hostile, text);
    make(&r, root);
    assert_true(strlen(r.html) < 400 * 1000);
    assert_has(r.html, "\xe2\x82\xac&hellip;<");
    free(text);
    json_decref(root);
    end(&r);
}

/* What stands for a number must be one: no "nan", "inf" and no negative width. */
static void assert_sane(const report *r)
{
    static const char *const NONSENSE[] = {">nan",    ">-nan", ":nan", ">inf",
                                           ">-inf",   ":inf",  "inf&", "nan&",
                                           "width:-", ":-nan", "+nan", "+inf"};
    for (size_t i = 0; i < sizeof NONSENSE / sizeof NONSENSE[0]; i++)
        assert_lacks(r->html, NONSENSE[i]);
    assert_lacks(r->csv, ",nan");
    assert_lacks(r->csv, ",-nan");
    assert_lacks(r->csv, ",inf");
    assert_has(r->html, "</main></body></html>");
}

typedef struct mutation {
    report *r;
    json_t *root, *wrong;
    int64_t count;
} mutation;

static void mutate(json_t *parent, const char *key, size_t index, json_t *value,
                   void *user)
{
    mutation *m = user;
    json_incref(value);
    set(parent, key, index, json_incref(m->wrong));
    make(m->r, m->root);
    assert_sane(m->r);
    set(parent, key, index, value);
    m->count++;
}

/* Every value of the file in turn becomes something else. */
static void survives_wrong_types(void **state)
{
    (void)state;
    static const char *const WRONG[] = {"null", "1e308", "-1e308", "0",
                                        "'x'",  "[[]]",  "{}"};
    report r = begin("types");
    for (size_t i = 0; i < sizeof WRONG / sizeof WRONG[0]; i++) {
        char text[32];
        snprintf(text, sizeof text, "[%s]", WRONG[i]);
        json_t *holder = parse(text), *root = parse_all();
        mutation m = {&r, root, json_array_get(holder, 0), 0};
        walk(root, mutate, &m);
        assert_true(m.count > 150);
        json_decref(root);
        json_decref(holder);
    }
    end(&r);
}

static void refuses_what_is_no_run(void **state)
{
    (void)state;
    report r = begin("damaged");
    assert_fails(r.ctx, ICD_EIO, "metrics.json", icd_report_write(r.ctx, r.dir));
    assert_ok(r.ctx,
              icd_i_file_write(r.ctx, in(r.dir, "metrics.json"), "{\"arms\":[", 9));
    assert_fails(r.ctx, ICD_EDATA, "not JSON", icd_report_write(r.ctx, r.dir));
    assert_ok(r.ctx, icd_i_file_write(r.ctx, in(r.dir, "metrics.json"), "[]", 2));
    assert_fails(r.ctx, ICD_EDATA, "no JSON object", icd_report_write(r.ctx, r.dir));
    assert_false(icd_i_file_exists(in(r.dir, "report.html")));
    end(&r);
}

enum { N = 96 };

/* W of pairs: `mate` tells whom every index is used with. */
static void put_w(report *r, const char *folder, const char *name, const int32_t *mate,
                  uint64_t frame)
{
    icd_csr *w = NULL;
    assert_ok(r->ctx, icd_i_mkdirs(r->ctx, in(r->dir, folder)));
    assert_ok(r->ctx, icd_csr_new(r->ctx, N, N, &w));
    for (int32_t i = 0; i < N; i++) {
        w->row_ptr[i + 1] = i + 1;
        w->col[i] = mate[i];
        w->val[i] = 1;
    }
    w->frame = frame;
    assert_ok(r->ctx, icd_csr_write(r->ctx, w, in(in(r->dir, folder), name)));
    icd_csr_free(r->ctx, w);
}

static icd_perm *perm(report *r, int32_t step, uint64_t from)
{
    int32_t pi[N];
    icd_perm *p = NULL;
    for (int32_t k = 0; k < N; k++) pi[k] = (k * step + 7) % N;
    assert_ok(r->ctx, icd_perm_from_array(r->ctx, pi, N, from, "test", &p));
    return p;
}

static void put_set(report *r, const char *name, const icd_perm *inner,
                    const icd_perm *down)
{
    icd_perm_set *set = NULL;
    assert_ok(r->ctx, icd_perm_set_new(r->ctx, &set));
    assert_ok(r->ctx, icd_perm_set_put(r->ctx, set, "inner", inner, false));
    if (down) assert_ok(r->ctx, icd_perm_set_put(r->ctx, set, "down", down, true));
    assert_ok(r->ctx, icd_perm_set_write(r->ctx, set, in(r->dir, name)));
    icd_perm_set_free(r->ctx, set);
}

/* mate[order[2k]] = order[2k+1] and back: under `order` mates are neighbours. */
static void mates_under(const icd_perm *order, int32_t *mate)
{
    for (int32_t k = 0; k < N; k += 2) {
        mate[order->old_of_new[k]] = order->old_of_new[k + 1];
        mate[order->old_of_new[k + 1]] = order->old_of_new[k];
    }
}

/* W in the checkpoint's frame and pi0 = inner; W' behind pi0 and pi1 = pi0 then d. */
static void put_orders(report *r)
{
    int32_t mate[N];
    icd_perm *pi0 = perm(r, 5, ICD_FRAME_CHECKPOINT), *d = perm(r, 11, pi0->to),
             *pi1 = NULL;
    assert_ok(r->ctx, icd_perm_compose(r->ctx, pi0, d, &pi1));
    put_set(r, "perm_before.json", pi0, NULL);
    put_set(r, "perm_after.json", pi0, pi1);
    mates_under(pi0, mate);
    put_w(r, "axes/inner", "W.csr.npz", mate, ICD_FRAME_CHECKPOINT);
    mates_under(d, mate);
    put_w(r, "axes/down", "W_after.csr.npz", mate, pi0->to);
    icd_perm_free(r->ctx, pi0);
    icd_perm_free(r->ctx, d);
    icd_perm_free(r->ctx, pi1);
}

/* Neighbours as a picture: row 2k has its stroke at 2k+1, row 2k+1 at 2k. */
static const char NEIGHBOURS[] =
    "<path opacity=\"1\" d=\"M1 0h1M0 1h1M3 2h1M2 3h1M5 4h1M4 5h1M7 6h1";

static int occurrences(const char *text, const char *part)
{
    int count = 0;
    for (; (text = strstr(text, part)); text++) count++;
    return count;
}

static void w_is_drawn_in_its_own_frame(void **state)
{
    (void)state;
    report r = begin("frames");
    put_orders(&r);
    make_text(&r, FULL);
    assert_int_equal(occurrences(r.html, "<svg role=img"), 4);
    assert_int_equal(occurrences(r.html, "aria-label=\"Co-access"), 4);
    assert_int_equal(occurrences(r.html, NEIGHBOURS), 2);
    assert_has(strstr(r.html, ", after pi0\">"), NEIGHBOURS);
    assert_has(strstr(r.html, ", after pi1\">"), NEIGHBOURS);
    assert_lacks(r.html, "No picture");
    end(&r);
}

static void pictures_that_cannot_be(void **state)
{
    (void)state;
    int32_t mate[N];
    report r = begin("unframed");
    make_text(&r, FULL);
    assert_int_equal(occurrences(r.html, "No picture: axes/"), 2);
    assert_lacks(r.html, r.dir);
    put_orders(&r);
    icd_perm *other = perm(&r, 13, ICD_FRAME_CHECKPOINT);
    mates_under(other, mate);
    put_w(&r, "axes/down", "W_after.csr.npz", mate, other->to);
    make_text(&r, FULL);
    assert_has(r.html,
               "No picture: perm_before.json: found no order that makes the frame");
    assert_ok(r.ctx, icd_i_file_write(r.ctx, in(r.dir, "axes/inner/W.csr.npz"), "PK", 2));
    assert_ok(r.ctx, icd_i_file_write(r.ctx, in(r.dir, "perm_after.json"), "{}", 2));
    make_text(&r, FULL);
    assert_int_equal(occurrences(r.html, "No picture: "), 2);
    assert_lacks(r.html, "<svg");
    json_t *root = parse(FULL);
    json_object_set_new(json_array_get(json_object_get(root, "axes"), 0), "axis",
                        json_string("../frames/axes/inner"));
    make(&r, root);
    assert_has(r.html, "No picture: metrics.json: found an axis whose name is no folder");
    json_decref(root);
    icd_perm_free(r.ctx, other);
    end(&r);
}

/* A directory whose name is longer than any buffer one would think of. */
static void long_directory(void **state)
{
    (void)state;
    char dir[4096];
    report r = begin("deep");
    size_t length = (size_t)snprintf(dir, sizeof dir, "%s", r.dir);
    for (int i = 0; i < 8; i++)
        length += (size_t)snprintf(dir + length, sizeof dir - length, "/%0200d", i);
    r.dir = dir;
    assert_ok(r.ctx, icd_i_mkdirs(r.ctx, dir));
    put_orders(&r);
    make_text(&r, FULL);
    assert_int_equal(occurrences(r.html, "<svg role=img"), 4);
    end(&r);
}

static void same_in_any_locale(void **state)
{
    (void)state;
    if (!setlocale(LC_NUMERIC, "de_DE.UTF-8")) {
        print_message("skipped: no locale with a decimal comma is installed\n");
        skip();
    }
    report r = begin("locale");
    make_text(&r, FULL);
    assert_has(r.html, "34.373");
    assert_has(r.csv, "34.373");
    assert_int_equal(localeconv()->decimal_point[0], ',');
    setlocale(LC_NUMERIC, "C");
    end(&r);
}

static icd_status write_again(icd_ctx *ctx, void *arg)
{
    return icd_report_write(ctx, arg);
}

static void failing_allocations(void **state)
{
    (void)state;
    char dir[4096];
    report r = begin("memory");
    snprintf(dir, sizeof dir, "%s", r.dir);
    put_orders(&r);
    make_text(&r, FULL);
    icd_test_failing_allocations(write_again, dir);
    end(&r);
}

static void twice_the_same(void **state)
{
    (void)state;
    report r = begin("same");
    put_orders(&r);
    make_text(&r, FULL);
    char *first = strdup(r.html);
    make_text(&r, FULL);
    assert_string_equal(first, r.html);
    free(first);
    end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_the_facts),
        cmocka_unit_test(absent_is_no_zero),
        cmocka_unit_test(simulated_has_no_interval),
        cmocka_unit_test(tiles_are_short),
        cmocka_unit_test(shows_every_round),
        cmocka_unit_test(rolled_back_says_why),
        cmocka_unit_test(not_measured),
        cmocka_unit_test(escapes_everything),
        cmocka_unit_test(cuts_long_text),
        cmocka_unit_test(survives_wrong_types),
        cmocka_unit_test(refuses_what_is_no_run),
        cmocka_unit_test(w_is_drawn_in_its_own_frame),
        cmocka_unit_test(pictures_that_cannot_be),
        cmocka_unit_test(long_directory),
        cmocka_unit_test(same_in_any_locale),
        cmocka_unit_test(failing_allocations),
        cmocka_unit_test(twice_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
