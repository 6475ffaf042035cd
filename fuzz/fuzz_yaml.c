/* layer: base */
/* YAML into a tree, the tree into options, and the options as JSON into the same options
 * again. */
#include "fuzz.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/options.h"

typedef struct sample {
    size_t size;
    bool flag;
    int32_t granule, method;
    int64_t seed;
    double tau;
    const char *trace;
    icd_strings arms;
} sample;

static const icd_option ROW[] = {
    {"flag", offsetof(sample, flag), ICD_OPTION_BOOL, "true", 0, 0, NULL, NULL, ""},
    {"granule", offsetof(sample, granule), ICD_OPTION_INT, "64", 1, 65536, NULL, NULL,
     ""},
    {"method", offsetof(sample, method), ICD_OPTION_ENUM, "auto", 0, 0, "auto|T|cut",
     NULL, ""},
    {"seed", offsetof(sample, seed), ICD_OPTION_INT64, "42", 0, 0, NULL, NULL, ""},
    {"tau", offsetof(sample, tau), ICD_OPTION_REAL, "0.25", 0, 1, NULL, NULL, ""},
    {"trace", offsetof(sample, trace), ICD_OPTION_STRING, NULL, 0, 0, NULL, NULL, ""},
    {"arms", offsetof(sample, arms), ICD_OPTION_LIST, "dense", 0, 0, NULL, NULL, ""},
};
static const icd_option_table SOLVER = {"solver", "", sizeof(sample), ROW, 7};
static const icd_option_table MOCK = {"graph.mock", "", sizeof(sample), ROW, 7};
static const icd_section SECTION[] = {{&SOLVER, 0}, {&MOCK, sizeof(sample)}};
static const icd_schema SCHEMA = {SECTION, 2, "fuzz"};

static icd_status read_config(icd_ctx *ctx, icd_arena *arena, const char *text,
                              size_t size, sample config[2])
{
    icd_node *root = NULL;
    icd_i_config_init(&SCHEMA, config);
    icd_status status = icd_i_yaml_parse(ctx, arena, text, size, "fuzz.yaml", &root);
    if (status != ICD_OK || !root) return status;
    return icd_i_config_apply(ctx, &SCHEMA, arena, root, "fuzz.yaml", config);
}

static void require(icd_status status)
{
    if (status != ICD_OK) abort();
}

static bool is_text(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || (unsigned char)*text >= 0x7f) return false;
    return true;
}

/* YAML takes fewer characters in its escapes than JSON writes, so only plain text must
 * return. */
static void check_round_trip(icd_ctx *ctx, icd_arena *arena, sample config[2])
{
    json_t *first = NULL, *second = NULL;
    char *text = NULL;
    sample again[2];
    require(icd_i_config_json(ctx, &SCHEMA, config, &first));
    require(icd_i_json_print(ctx, first, true, &text));
    if (is_text(text)) {
        require(read_config(ctx, arena, text, strlen(text), again));
        require(icd_i_config_json(ctx, &SCHEMA, again, &second));
        if (!json_equal(first, second)) abort();
    }
    icd_i_free(ctx, text);
    json_decref(first);
    json_decref(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    icd_ctx_opts opts = {.size = sizeof opts, .threads = 1};
    icd_ctx *ctx = icd_ctx_new(&opts);
    icd_arena *arena = NULL;
    sample config[2];
    require(icd_i_arena_new(ctx, &arena));
    icd_status status = read_config(ctx, arena, (const char *)data, size, config);
    if (status == ICD_OK)
        check_round_trip(ctx, arena, config);
    else if (!*icd_ctx_message(ctx))
        abort(); /* a failure without a reason */
    icd_i_arena_free(ctx, arena);
    icd_ctx_free(ctx);
    return 0;
}
