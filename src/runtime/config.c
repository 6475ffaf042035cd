#include <icd/config.h>

#include "base/file.h"
#include "base/options.h"

struct icd_config_private {
    icd_arena *arena;
};

static const icd_section SECTION[] = {
    {&icd_pipeline_table, offsetof(icd_config, pipeline)},
    {&icd_model_table, offsetof(icd_config, model)},
    {&icd_runner_table, offsetof(icd_config, runner)},
    {&icd_exec_table, offsetof(icd_config, exec)},
    {&icd_layout_table, offsetof(icd_config, layout)},
    {&icd_kernel_table, offsetof(icd_config, kernel)},
    {&icd_trace_table, offsetof(icd_config, trace)},
    {&icd_graph_table, offsetof(icd_config, graph)},
    {&icd_mock_table, offsetof(icd_config, mock)},
    {&icd_solver_table, offsetof(icd_config, solver)},
    {&icd_sparsity_table, offsetof(icd_config, sparsity)},
    {&icd_quant_table, offsetof(icd_config, quant)},
    {&icd_kv_table, offsetof(icd_config, kv)},
    {&icd_measure_table, offsetof(icd_config, measure)},
    {&icd_meter_table, offsetof(icd_config, meter)},
    {&icd_quality_table, offsetof(icd_config, quality)},
    {&icd_cache_table, offsetof(icd_config, cache)},
    {&icd_gates_table, offsetof(icd_config, gates)},
    {&icd_rollback_table, offsetof(icd_config, rollback)},
    {&icd_report_table, offsetof(icd_config, report)},
};

static const icd_schema SCHEMA = {
    .section = SECTION,
    .sections = sizeof SECTION / sizeof SECTION[0],
    .title = "ICD configuration",
};

icd_status icd_config_new(icd_ctx *ctx, icd_config **out)
{
    icd_status status = ICD_OK;
    icd_config *config = NULL;
    *out = NULL;
    ICD_TRY(ICD_ALLOC(ctx, 1, &config));
    ICD_TRY(ICD_ALLOC(ctx, 1, &config->own));
    ICD_TRY(icd_i_arena_new(ctx, &config->own->arena));
    icd_i_config_init(&SCHEMA, config);
    *out = config;
    config = NULL;
done:
    icd_config_free(ctx, config);
    return status;
}

void icd_config_free(icd_ctx *ctx, icd_config *config)
{
    if (!config) return;
    if (config->own) icd_i_arena_free(ctx, config->own->arena);
    icd_i_free(ctx, config->own);
    icd_i_free(ctx, config);
}

icd_status icd_config_read(icd_ctx *ctx, icd_config *config, const char *path)
{
    icd_status status = ICD_OK;
    char *text = NULL;
    size_t size = 0;
    icd_arena *arena = NULL;
    icd_node *root = NULL;
    ICD_TRY(icd_i_file_read(ctx, path, &text, &size));
    ICD_TRY(icd_i_arena_new(ctx, &arena));
    ICD_TRY(icd_i_yaml_parse(ctx, arena, text, size, path, &root));
    if (root)
        ICD_TRY(icd_i_config_apply(ctx, &SCHEMA, config->own->arena, root, path, config));
done:
    icd_i_arena_free(ctx, arena);
    icd_i_free(ctx, text);
    return status;
}

icd_status icd_config_override(icd_ctx *ctx, icd_config *config, const char *assignment)
{
    return icd_i_config_override(ctx, &SCHEMA, config->own->arena, assignment, config);
}

icd_status icd_config_print(icd_ctx *ctx, const icd_config *config, char **json)
{
    json_t *object = NULL;
    *json = NULL;
    icd_status status = icd_i_config_json(ctx, &SCHEMA, config, &object);
    if (status == ICD_OK) status = icd_i_json_print(ctx, object, false, json);
    json_decref(object);
    return status;
}

icd_status icd_config_write(icd_ctx *ctx, const icd_config *config, const char *path)
{
    json_t *object = NULL;
    icd_status status = icd_i_config_json(ctx, &SCHEMA, config, &object);
    if (status == ICD_OK) status = icd_i_json_write(ctx, object, path);
    json_decref(object);
    return status;
}

icd_status icd_config_schema(icd_ctx *ctx, char **json)
{
    json_t *object = NULL;
    *json = NULL;
    icd_status status = icd_i_config_schema(ctx, &SCHEMA, &object);
    if (status == ICD_OK) status = icd_i_json_print(ctx, object, false, json);
    json_decref(object);
    return status;
}

bool icd_config_key(int32_t i, const icd_option_table **table, const icd_option **option)
{
    for (int32_t s = 0; s < SCHEMA.sections; s++) {
        const icd_option_table *t = SCHEMA.section[s].table;
        if (i < t->rows) {
            *table = t;
            *option = &t->row[i];
            return true;
        }
        i -= t->rows;
    }
    return false;
}
