/**
 * @file config.h
 * The whole configuration of a run: the sections of config.yaml as one struct.
 *
 * Order of precedence: defaults, then files in the order read, then overrides.
 */
#ifndef ICD_CONFIG_H
#define ICD_CONFIG_H

#include <icd/adapters.h>
#include <icd/exec.h>
#include <icd/graph.h>
#include <icd/measure.h>
#include <icd/meter.h>
#include <icd/options.h>
#include <icd/quality.h>
#include <icd/run.h>
#include <icd/runner.h>
#include <icd/solver.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct icd_config {
    icd_pipeline_opts pipeline;
    icd_model_opts model;
    icd_runner_opts runner;
    icd_exec_opts exec; /**< section runner.exec */
    icd_layout_opts layout;
    icd_kernel_opts kernel;
    icd_trace_run_opts trace;
    icd_graph_opts graph;
    icd_mock_opts mock; /**< section graph.mock */
    icd_solver_opts solver;
    icd_sparsity_opts sparsity; /**< section transform.sparsity */
    icd_quant_opts quant;       /**< section transform.quant */
    icd_kv_opts kv;             /**< section transform.kv */
    icd_measure_opts measure;
    icd_meter_opts meter;
    icd_quality_opts quality;
    icd_cache_opts cache;
    icd_gates_opts gates;
    icd_rollback_opts rollback;
    icd_report_opts report;
    struct icd_config_private *own; /**< memory of strings and lists */
} icd_config;

/** A configuration that holds the defaults; owned by the caller (icd_config_free). */
icd_status icd_config_new(icd_ctx *ctx, icd_config **out);
void icd_config_free(icd_ctx *ctx, icd_config *config);

/**
 * Applies a YAML or JSON file.
 * @return ICD_OK | ICD_EIO | ICD_EDATA not YAML | ICD_EINVAL "config.yaml:7: unknown key
 * ..." with the nearest valid name, or a value of the wrong type or out of range. On
 * error the configuration may hold a part of the file.
 */
icd_status icd_config_read(icd_ctx *ctx, icd_config *config, const char *path);

/** Applies "section.key=value". */
icd_status icd_config_override(icd_ctx *ctx, icd_config *config, const char *assignment);

/** Resolved values as JSON text (icd_mem_free): what config.lock.json holds. */
icd_status icd_config_print(icd_ctx *ctx, const icd_config *config, char **json);

/** Writes config.lock.json; atomic. */
icd_status icd_config_write(icd_ctx *ctx, const icd_config *config, const char *path);

/** JSON Schema of every key, as text (icd_mem_free). */
icd_status icd_config_schema(icd_ctx *ctx, char **json);

/**
 * Visits every key: section, option. Used by help texts and bindings.
 * @return false past the end
 */
bool icd_config_key(int32_t i, const icd_option_table **table, const icd_option **option);

#ifdef __cplusplus
}
#endif
#endif
