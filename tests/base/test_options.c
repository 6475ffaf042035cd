#include "support.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/options.h"

/* A table with one row of every type, and one of a nested section. */
typedef struct thing {
    size_t size;
    bool flag;
    int32_t count;
    int64_t seed;
    double tau;
    int32_t mode;
    const char *path;
    icd_strings metrics, arms;
} thing;

typedef struct mock {
    size_t size;
    int32_t blocks;
} mock;

typedef struct whole {
    thing solver;
    mock mock;
} whole;

static const icd_option THING_ROW[] = {
    {"flag", offsetof(thing, flag), ICD_OPTION_BOOL, "true", 0, 0, NULL, NULL,
     "a switch"},
    {"count", offsetof(thing, count), ICD_OPTION_INT, "64", 1, 65536, NULL, NULL,
     "a count"},
    {"seed", offsetof(thing, seed), ICD_OPTION_INT64, "42", 0, 0, NULL, NULL, "a seed"},
    {"tau", offsetof(thing, tau), ICD_OPTION_REAL, ".25", 0, INFINITY, NULL, "s",
     "a slope"},
    {"mode", offsetof(thing, mode), ICD_OPTION_ENUM, "cut", 0, 0, "auto|T|cut|J", NULL,
     "a mode"},
    {"path", offsetof(thing, path), ICD_OPTION_STRING, NULL, 0, 0, NULL, NULL, "a path"},
    {"metrics", offsetof(thing, metrics), ICD_OPTION_LIST, "l2.pct", 0, 0, NULL, NULL,
     "names"},
    {"arms", offsetof(thing, arms), ICD_OPTION_LIST, NULL, 0, 0, "dense|linear", NULL,
     "arms"},
};

static const icd_option MOCK_ROW[] = {
    {"blocks", offsetof(mock, blocks), ICD_OPTION_INT, "4", 1, 1024, NULL, NULL,
     "planted"},
};

static const icd_option_table THING = {"solver", "Solves.", sizeof(thing), THING_ROW,
                                       sizeof THING_ROW / sizeof THING_ROW[0]};
static const icd_option_table MOCK = {"graph.mock", "Mocks.", sizeof(mock), MOCK_ROW, 1};

static const icd_section SECTION[] = {{&THING, offsetof(whole, solver)},
                                      {&MOCK, offsetof(whole, mock)}};
static const icd_schema SCHEMA = {SECTION, 2, "Things"};

typedef struct fixture {
    icd_ctx *ctx;
    icd_arena *arena;
    whole config;
} fixture;

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    *state = f;
    if (!f) return -1;
    f->ctx = icd_ctx_new(NULL);
    if (!f->ctx || icd_i_arena_new(f->ctx, &f->arena) != ICD_OK) return -1;
    icd_i_config_init(&SCHEMA, &f->config);
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    icd_i_arena_free(f->ctx, f->arena);
    icd_ctx_free(f->ctx);
    free(f);
    return 0;
}

static icd_status apply(fixture *f, const char *text)
{
    icd_node *root = NULL;
    icd_i_config_init(&SCHEMA, &f->config);
    assert_ok(f->ctx,
              icd_i_yaml_parse(f->ctx, f->arena, text, strlen(text), "c.yaml", &root));
    return icd_i_config_apply(f->ctx, &SCHEMA, f->arena, root, "c.yaml", &f->config);
}

static icd_status override(fixture *f, const char *assignment)
{
    return icd_i_config_override(f->ctx, &SCHEMA, f->arena, assignment, &f->config);
}

static void defaults(void **state)
{
    const thing *t = &((fixture *)*state)->config.solver;
    assert_int_equal(t->size, sizeof *t);
    assert_true(t->flag);
    assert_int_equal(t->count, 64);
    assert_int_equal(t->seed, 42);
    assert_true(t->tau == .25);
    assert_int_equal(t->mode, 2);
    assert_null(t->path);
    assert_int_equal(t->metrics.count, 1);
    assert_string_equal(t->metrics.item[0], "l2.pct");
    assert_int_equal(t->arms.count, 0);
}

static void resolve(void **state)
{
    fixture *f = *state;
    thing out, in = {0};
    assert_ok(f->ctx, icd_options_resolve(f->ctx, &THING, NULL, &out));
    assert_int_equal(out.count, 64);
    assert_ok(f->ctx, icd_options_resolve(f->ctx, &THING, &in, &out));
    assert_int_equal(out.count, 64);
    in.count = 3;
    assert_fails(f->ctx, ICD_EINVAL, "solver: options struct: found size 0, expected",
                 icd_options_resolve(f->ctx, &THING, &in, &out));
    icd_options_init(&THING, &in);
    in.seed = 0;
    assert_ok(f->ctx, icd_options_resolve(f->ctx, &THING, &in, &out));
    assert_int_equal(out.seed, 0);
    in.count = 0;
    assert_fails(f->ctx, ICD_EINVAL,
                 "solver.count: found 0, expected an integer in 1..65536",
                 icd_options_resolve(f->ctx, &THING, &in, &out));
    in.count = 1;
    in.tau = NAN;
    assert_fails(f->ctx, ICD_EINVAL, "solver.tau: found nan, expected a number >= 0 s",
                 icd_options_resolve(f->ctx, &THING, &in, &out));
    in.tau = 0;
    in.mode = 4;
    assert_fails(f->ctx, ICD_EINVAL, "solver.mode: found 4, expected auto, T, cut or J",
                 icd_options_resolve(f->ctx, &THING, &in, &out));
    in.mode = 0;
    in.size = sizeof in + 8;
    assert_fails(f->ctx, ICD_EINVAL, "build against the headers",
                 icd_options_resolve(f->ctx, &THING, &in, &out));
}

static void an_older_struct_keeps_newer_defaults(void **state)
{
    fixture *f = *state;
    thing in, out;
    icd_options_init(&THING, &in);
    in.count = 7;
    in.tau = 9;
    in.size = offsetof(thing, tau);
    assert_ok(f->ctx, icd_options_resolve(f->ctx, &THING, &in, &out));
    assert_int_equal(out.size, sizeof out);
    assert_int_equal(out.count, 7);
    assert_true(out.tau == .25);
}

static void set_from_text(void **state)
{
    fixture *f = *state;
    thing *t = &f->config.solver;
    assert_ok(f->ctx, icd_options_set(f->ctx, &THING, t, "count", "8", "--count"));
    assert_int_equal(t->count, 8);
    assert_ok(f->ctx, icd_options_set(f->ctx, &THING, t, "path", "a b", "--path"));
    assert_string_equal(t->path, "a b");
    assert_ok(f->ctx, icd_options_set(f->ctx, &THING, t, "mode", "T", "--mode"));
    assert_int_equal(t->mode, 1);
    assert_fails(f->ctx, ICD_EINVAL,
                 "--count: solver.count: found '1e3', expected an integer",
                 icd_options_set(f->ctx, &THING, t, "count", "1e3", "--count"));
    assert_int_equal(t->count, 8);
    assert_fails(f->ctx, ICD_EINVAL,
                 "unknown option \"coutn\" of section \"solver\"; did you",
                 icd_options_set(f->ctx, &THING, t, "coutn", "1", "--coutn"));
    assert_fails(f->ctx, ICD_EINVAL, "expected a list",
                 icd_options_set(f->ctx, &THING, t, "arms", "dense", "--arms"));
}

static void applies_a_document(void **state)
{
    fixture *f = *state;
    const thing *t = &f->config.solver;
    assert_ok(f->ctx,
              apply(f,
                    "solver:\n  flag: false\n  count: 1\n  seed: -9223372036854775808\n"
                    "  tau: 1e3\n  mode: \"J\"\n  path: x/y\n"
                    "  metrics: [a, 'b c']\n  arms: []\n"
                    "graph:\n  mock: {blocks: 8}\n"));
    assert_false(t->flag);
    assert_int_equal(t->count, 1);
    assert_true(t->seed == INT64_MIN);
    assert_true(t->tau == 1000);
    assert_int_equal(t->mode, 3);
    assert_string_equal(t->path, "x/y");
    assert_int_equal(t->metrics.count, 2);
    assert_string_equal(t->metrics.item[1], "b c");
    assert_int_equal(t->arms.count, 0);
    assert_int_equal(f->config.mock.blocks, 8);
    assert_ok(f->ctx, apply(f, "solver:\n  path: ~\n  metrics: null\ngraph:\n"));
    assert_null(t->path);
    assert_int_equal(t->metrics.count, 0);
}

static void unknown_keys(void **state)
{
    static const struct {
        const char *text, *message;
    } CASE[] = {
        {"# a\n\nsover:\n  seed: 1\n",
         "c.yaml:3: unknown key \"sover\"; did you mean \"solver\"?"},
        {"solver:\n  sede: 1\n",
         "c.yaml:2: unknown key \"solver.sede\"; did you mean \"solver.seed\"?"},
        {"solver:\n  SEED: 1\n", "did you mean \"solver.seed\"?"},
        {"graph:\n  moc:\n    blocks: 1\n",
         "c.yaml:2: unknown key \"graph.moc\"; did you mean \"graph.mock\"?"},
        {"mock: {blocks: 1}\n", "unknown key \"mock\"; did you mean \"graph.mock\"?"},
        {"blocks: 1\n", "unknown key \"blocks\"; did you mean \"graph.mock.blocks\"?"},
        {"solver:\n  zzz: 1\n",
         "unknown key \"solver.zzz\"; `icd schema` lists every key"},
        {"solver.seed: 1\n", "write \"solver:\" and \"seed:\" below it"},
        {"solver:\n  seed.x: 1\n", "unknown key \"solver.seed.x\""},
        {"'': 1\n", "unknown key \"\""},
    };
    fixture *f = *state;
    for (size_t i = 0; i < sizeof CASE / sizeof CASE[0]; i++)
        assert_fails(f->ctx, ICD_EINVAL, CASE[i].message, apply(f, CASE[i].text));
}

static void wrong_values(void **state)
{
    static const struct {
        const char *text, *message;
    } CASE[] = {
        {"solver:\n  count: 1e3\n", "c.yaml:2: solver.count: found '1e3', expected an "
                                    "integer in 1..65536; write it with"},
        {"solver: {count: 65537}", "found '65537', expected an integer in 1..65536"},
        {"solver: {count: '8'}",
         "found a string in quotes, expected an integer in 1..65536; "
         "remove the quotes"},
        {"solver: {count: }", "found nothing, expected an integer"},
        {"solver: {count: [8]}", "found a list, expected an integer"},
        {"solver: {count: {a: 8}}", "found nested keys, expected an integer"},
        {"solver: {seed: 9223372036854775808}", "expected an integer"},
        {"solver: {flag: yes}",
         "found 'yes', expected true or false; YAML 1.2 knows true and"},
        {"solver: {flag: Off}", "YAML 1.2 knows true and false only"},
        {"solver: {tau: .nan}", "found '.nan', expected a number >= 0 s"},
        {"solver: {tau: .inf}", "expected a number"},
        {"solver: {tau: 1e999}", "expected a number"},
        {"solver: {tau: -1}", "expected a number >= 0 s"},
        {"solver: {mode: Cut}", "found 'Cut', expected auto, T, cut or J"},
        {"solver: {mode: ''}", "found '', expected auto"},
        {"solver: {metrics: a}", "found a single value, expected a list; write [a, b]"},
        {"solver: {metrics: [[a]]}",
         "found a list, expected a list; items are plain words"},
        {"solver: {arms: [dense, liner]}",
         "found 'liner', expected a list of dense or linear"},
        {"solver: 3", "section \"solver\": found a value, expected keys below it"},
        {"graph: {mock: [1]}", "section \"graph.mock\": found a list"},
        {"[1]", "c.yaml:1: found a list, expected sections such as \"solver:\""},
    };
    fixture *f = *state;
    for (size_t i = 0; i < sizeof CASE / sizeof CASE[0]; i++)
        assert_fails(f->ctx, ICD_EINVAL, CASE[i].message, apply(f, CASE[i].text));
}

static void overrides(void **state)
{
    fixture *f = *state;
    const thing *t = &f->config.solver;
    assert_ok(f->ctx, override(f, "solver.count=9"));
    assert_int_equal(t->count, 9);
    assert_ok(f->ctx, override(f, "graph.mock.blocks=2"));
    assert_int_equal(f->config.mock.blocks, 2);
    assert_ok(f->ctx, override(f, "solver.path=a=b"));
    assert_string_equal(t->path, "a=b");
    assert_ok(f->ctx, override(f, "solver.path="));
    assert_null(t->path);
    assert_ok(f->ctx, override(f, "solver.arms=[dense, linear]"));
    assert_int_equal(t->arms.count, 2);
    assert_string_equal(t->arms.item[1], "linear");
    assert_ok(f->ctx, override(f, "solver.arms= linear "));
    assert_int_equal(t->arms.count, 1);
    assert_ok(f->ctx, override(f, "solver.arms=[]"));
    assert_int_equal(t->arms.count, 0);
    assert_fails(f->ctx, ICD_EINVAL, "found nothing, expected a list",
                 override(f, "solver.arms=dense,,linear"));
    assert_fails(f->ctx, ICD_EINVAL,
                 "unknown key \"sover.count\"; did you mean \"solver.count\"?",
                 override(f, "sover.count=1"));
    assert_fails(f->ctx, ICD_EINVAL,
                 "override: found 'solver.count', expected section.key=value",
                 override(f, "solver.count"));
    assert_fails(f->ctx, ICD_EINVAL, "\"graph\" is a section", override(f, "graph=1"));
    assert_fails(f->ctx, ICD_EINVAL, "unknown key", override(f, "=1"));
    assert_fails(f->ctx, ICD_EINVAL, "solver.count: found 'x', expected an integer",
                 override(f, "solver.count=x"));
}

static void json_applies_again(void **state)
{
    fixture *f = *state;
    json_t *first = NULL, *second = NULL;
    char *text = NULL;
    assert_ok(f->ctx,
              apply(f, "solver: {tau: 0.1, seed: 9007199254740993, path: 'null',\n"
                       "  metrics: ['1', x], mode: T}\n"));
    assert_ok(f->ctx, icd_i_config_json(f->ctx, &SCHEMA, &f->config, &first));
    assert_ok(f->ctx, icd_i_json_print(f->ctx, first, false, &text));
    assert_non_null(strstr(text, "\"tau\": 0.1"));
    assert_ok(f->ctx, apply(f, text));
    assert_ok(f->ctx, icd_i_config_json(f->ctx, &SCHEMA, &f->config, &second));
    assert_true(json_equal(first, second));
    assert_string_equal(f->config.solver.path, "null");
    json_decref(first);
    json_decref(second);
    icd_i_free(f->ctx, text);
}

static const json_t *at(const json_t *root, const char *section, const char *key)
{
    const json_t *level = json_object_get(json_object_get(root, "properties"), section);
    return json_object_get(json_object_get(level, "properties"), key);
}

static void assert_member(icd_ctx *ctx, const json_t *object, const char *key,
                          const char *text)
{
    char *found = NULL;
    json_t *list = json_pack("[O]", json_object_get(object, key));
    assert_ok(ctx, icd_i_json_print(ctx, list, true, &found));
    assert_string_equal(found, text);
    icd_i_free(ctx, found);
    json_decref(list);
}

static void schema(void **state)
{
    icd_ctx *ctx = ((fixture *)*state)->ctx;
    json_t *root = NULL;
    assert_ok(ctx, icd_i_config_schema(ctx, &SCHEMA, &root));
    assert_member(ctx, root, "$schema",
                  "[\"https://json-schema.org/draft/2020-12/schema\"]");
    assert_member(ctx, root, "additionalProperties", "[false]");
    const json_t *count = at(root, "solver", "count");
    assert_member(ctx, count, "type", "[\"integer\"]");
    assert_member(ctx, count, "minimum", "[1]");
    assert_member(ctx, count, "maximum", "[65536]");
    assert_member(ctx, count, "default", "[64]");
    assert_member(ctx, count, "description", "[\"a count\"]");
    const json_t *tau = at(root, "solver", "tau");
    assert_member(ctx, tau, "minimum", "[0.0]");
    assert_null(json_object_get(tau, "maximum"));
    assert_member(ctx, tau, "description", "[\"a slope (unit: s)\"]");
    assert_member(ctx, at(root, "solver", "mode"), "enum",
                  "[[\"auto\",\"T\",\"cut\",\"J\"]]");
    assert_member(ctx, at(root, "solver", "mode"), "default", "[\"cut\"]");
    assert_member(ctx, at(root, "solver", "path"), "type", "[[\"string\",\"null\"]]");
    assert_member(ctx, at(root, "solver", "metrics"), "default", "[[\"l2.pct\"]]");
    const json_t *nested = at(root, "graph", "mock");
    assert_member(ctx, nested, "additionalProperties", "[false]");
    assert_member(ctx, nested, "type", "[\"object\"]");
    assert_member(ctx, nested, "description", "[\"Mocks.\"]");
    assert_non_null(json_object_get(json_object_get(nested, "properties"), "blocks"));
    json_decref(root);
}

static void nearest(void **state)
{
    (void)state;
    static const char *const NAME[] = {"seed", "steps", "spread"};
    assert_int_equal(icd_i_edit_distance("", "abc"), 3);
    assert_int_equal(icd_i_edit_distance("ab", "ba"), 1);
    assert_int_equal(icd_i_edit_distance("kitten", "sitting"), 3);
    assert_int_equal(icd_i_edit_distance("abcd", "acbd"), 1);
    assert_int_equal(icd_i_edit_distance("Seed", "sEED"), 0);
    assert_string_equal(icd_i_nearest("sede", NAME, 3), "seed");
    assert_string_equal(icd_i_nearest("step", NAME, 3), "steps");
    assert_null(icd_i_nearest("x", NAME, 3));
    assert_null(icd_i_nearest("", NAME, 3));
    assert_null(icd_i_nearest("seed", NAME, 0));
    char longer[200];
    memset(longer, 's', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    assert_null(icd_i_nearest(longer, NAME, 3));
}

static icd_status everything(icd_ctx *ctx, void *arg)
{
    static const char TEXT[] = "solver: {path: x, metrics: [a, b], arms: [dense]}";
    (void)arg;
    icd_status status;
    icd_arena *arena = NULL;
    icd_node *root = NULL;
    json_t *json = NULL;
    whole config;
    icd_i_config_init(&SCHEMA, &config);
    ICD_TRY(icd_i_arena_new(ctx, &arena));
    ICD_TRY(icd_i_yaml_parse(ctx, arena, TEXT, sizeof TEXT - 1, "c.yaml", &root));
    ICD_TRY(icd_i_config_apply(ctx, &SCHEMA, arena, root, "c.yaml", &config));
    ICD_TRY(
        icd_i_config_override(ctx, &SCHEMA, arena, "solver.arms=dense,linear", &config));
    ICD_TRY(icd_i_config_override(ctx, &SCHEMA, arena, "solver.path=y", &config));
    ICD_TRY(icd_i_config_schema(ctx, &SCHEMA, &json));
done:
    json_decref(json);
    icd_i_arena_free(ctx, arena);
    return status;
}

static void failing_allocations(void **state)
{
    (void)state;
    icd_test_failing_allocations(everything, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(defaults),
        TEST(resolve),
        TEST(an_older_struct_keeps_newer_defaults),
        TEST(set_from_text),
        TEST(applies_a_document),
        TEST(unknown_keys),
        TEST(wrong_values),
        TEST(overrides),
        TEST(json_applies_again),
        TEST(schema),
        TEST(nearest),
        TEST(failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
