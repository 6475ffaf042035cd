#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/yaml.h"

typedef struct fixture {
    icd_ctx *ctx;
    icd_arena *arena;
} fixture;

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    *state = f;
    if (!f) return -1;
    f->ctx = icd_ctx_new(NULL);
    return f->ctx && icd_i_arena_new(f->ctx, &f->arena) == ICD_OK ? 0 : -1;
}

static int teardown(void **state)
{
    fixture *f = *state;
    icd_i_arena_free(f->ctx, f->arena);
    icd_ctx_free(f->ctx);
    free(f);
    return 0;
}

static const icd_node *parse(fixture *f, const char *text)
{
    icd_node *root = NULL;
    assert_ok(f->ctx,
              icd_i_yaml_parse(f->ctx, f->arena, text, strlen(text), "c.yaml", &root));
    return root;
}

static void tree_with_lines(void **state)
{
    const icd_node *root = parse(*state, "# config\n"
                                         "solver:\n"
                                         "  seed: 3\n"
                                         "  names: [a, 'b']\n"
                                         "empty:\n");
    assert_int_equal(root->kind, ICD_NODE_MAP);
    const icd_node *solver = icd_i_node_get(root, "solver");
    assert_int_equal(solver->kind, ICD_NODE_MAP);
    assert_int_equal(solver->line, 2);
    const icd_node *seed = icd_i_node_get(solver, "seed");
    assert_string_equal(seed->text, "3");
    assert_false(seed->quoted);
    assert_int_equal(seed->line, 3);
    assert_int_equal(seed->column, 3);
    const icd_node *names = icd_i_node_get(solver, "names");
    assert_int_equal(names->kind, ICD_NODE_LIST);
    assert_string_equal(names->child->text, "a");
    assert_true(names->child->next->quoted);
    assert_null(names->child->next->next);
    assert_null(names->child->key);
    assert_int_equal(names->child->next->column, 14);
    assert_null(icd_i_node_get(root, "empty")->text);
    assert_null(icd_i_node_get(root, "none"));
    assert_null(icd_i_node_get(names, "a"));
    assert_null(icd_i_node_get(NULL, "a"));
}

static void nulls(void **state)
{
    const icd_node *root =
        parse(*state, "{a: ~, b: null, c: , d: '', e: \"null\", f: NULL}");
    assert_null(icd_i_node_get(root, "a")->text);
    assert_null(icd_i_node_get(root, "b")->text);
    assert_null(icd_i_node_get(root, "c")->text);
    assert_string_equal(icd_i_node_get(root, "d")->text, "");
    assert_string_equal(icd_i_node_get(root, "e")->text, "null");
    assert_null(icd_i_node_get(root, "f")->text);
}

static void json_is_read_too(void **state)
{
    const icd_node *root = parse(*state, "{\"a\":1,\"b\":[true,null,\"x\\u00e9\\/\"],\n"
                                         "\t\"c\":{\"d\":-1.5e-3}}\n");
    assert_string_equal(icd_i_node_get(root, "a")->text, "1");
    const icd_node *b = icd_i_node_get(root, "b");
    assert_string_equal(b->child->text, "true");
    assert_null(b->child->next->text);
    assert_string_equal(b->child->next->next->text, "x\xc3\xa9/");
    const icd_node *d = icd_i_node_get(icd_i_node_get(root, "c"), "d");
    assert_string_equal(d->text, "-1.5e-3");
    assert_int_equal(d->line, 2);
}

static void empty_documents(void **state)
{
    assert_null(parse(*state, ""));
    assert_null(parse(*state, "# nothing\n\n"));
    assert_null(parse(*state, "---\n"));
    assert_null(parse(*state, "~"));
}

static void refuses(void **state)
{
    static const struct {
        const char *text, *message;
    } CASE[] = {
        {"a: &x 1\n", "c.yaml:1:4: found an anchor (&), expected a plain value"},
        {"a: 1\nb: *x\n", "c.yaml:2:4: found an alias (*)"},
        {"a: !!str 1\n", "c.yaml:1:4: found a tag (!)"},
        {"a: &x [1]\n", "found an anchor"},
        {"a: !t {b: 1}\n", "found a tag"},
        {"a: 1\n---\nb: 2\n", "c.yaml:2:1: found a second document, expected one"},
        {"a: 1\nb: 2\na: 3\n", "c.yaml:3:1: key 'a' is there twice, first on line 1"},
        {"? [1]\n: 2\n", "found a list or map as a key"},
        {"~: 2\n", "expected a name"},
        {"a: \"x\\0y\"\n", "found a zero byte"},
        {"a: [1\nb: 2\n", "c.yaml:2:"},
        {"a: 1\n b: 2\n", "c.yaml:2:3: mapping values are not allowed in this context"},
        {"a:\n\tb: 1\n", "c.yaml:2:1: "},
        {"a: \xff\n", "c.yaml, byte 3: "},
    };
    fixture *f = *state;
    for (size_t i = 0; i < sizeof CASE / sizeof CASE[0]; i++) {
        icd_node *root = NULL;
        assert_fails(f->ctx, ICD_EDATA, CASE[i].message,
                     icd_i_yaml_parse(f->ctx, f->arena, CASE[i].text,
                                      strlen(CASE[i].text), "c.yaml", &root));
        assert_null(root);
    }
}

static void depth(void **state)
{
    fixture *f = *state;
    char text[256];
    icd_node *root = NULL;
    memset(text, '[', 64);
    memset(text + 64, ']', 64);
    assert_ok(f->ctx, icd_i_yaml_parse(f->ctx, f->arena, text, 128, "c.yaml", &root));
    memset(text, '[', 65);
    memset(text + 65, ']', 65);
    assert_fails(f->ctx, ICD_EDATA, "c.yaml:1:65: nested deeper than 64 levels",
                 icd_i_yaml_parse(f->ctx, f->arena, text, 130, "c.yaml", &root));
}

static icd_status parse_once(icd_ctx *ctx, void *text)
{
    icd_status status;
    icd_arena *arena = NULL;
    icd_node *root = NULL;
    ICD_TRY(icd_i_arena_new(ctx, &arena));
    ICD_TRY(icd_i_yaml_parse(ctx, arena, text, strlen(text), "c.yaml", &root));
done:
    icd_i_arena_free(ctx, arena);
    return status;
}

static void failing_allocations(void **state)
{
    (void)state;
    static char text[20000] = "list: [a, b]\n";
    size_t used = strlen(text);
    for (int i = 0; used < sizeof text - 32; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "k%d: {a: %d, b: x}\n",
                                 i, i);
    icd_test_failing_allocations(parse_once, text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tree_with_lines),
        cmocka_unit_test(nulls),
        cmocka_unit_test(json_is_read_too),
        cmocka_unit_test(empty_documents),
        cmocka_unit_test(refuses),
        cmocka_unit_test(depth),
        cmocka_unit_test(failing_allocations),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
