/**
 * @file worker.h
 * The measuring process: the arms that a run directory describes, rebuilt from its files.
 */
#ifndef ICD_RUNTIME_WORKER_H
#define ICD_RUNTIME_WORKER_H

#include "runtime/exec_arms.h"
#include "runtime/job.h"

#include "base/npz.h"
#include "base/region.h"

#include <icd/device.h>

typedef struct icd_worker_arm {
    icd_region *region; /**< all that the runner stands in: the arms lie alike */
    icd_runner *runner;
    icd_device *device; /**< on which caches are emptied; NULL: the CPU */
    const icd_batch *batch;
    icd_exec_arm exec; /**< runner.kind: exec; the rest is then empty */
} icd_worker_arm;

/** A stored model: the loop's in `model`, and those of arms that are models of their own.
 */
typedef struct icd_worker_model {
    char folder[64]; /**< "model", "model.block-tiles"; masks in masks.npz,
                        masks.block-tiles.npz */
    icd_model *model;
    icd_layout *layout;    /**< masks and int8 weights, identity orders */
    icd_quantized **quant; /**< [linears] */
} icd_worker_model;

enum { ICD_WORKER_MODELS = 10 };

typedef struct icd_worker {
    icd_ctx *ctx;
    const char *dir;
    icd_config *config;
    icd_worker_model model[ICD_WORKER_MODELS];
    int64_t models;
    const icd_linear *list;
    int64_t linears;
    icd_array ids, lengths, rows;
    icd_batch batch;
    icd_worker_arm *self;
    icd_arm *arm;
    int64_t arms;
    icd_device *device; /**< in cold mode on a GPU; NULL: not needed */
} icd_worker;

/** Model, input, masks and int8 weights of a run directory. `w` is zeroed but for ctx and
 * dir; release it also after an error. */
icd_status icd_i_worker_open(icd_worker *w);

/** The layout of an arm: {"model": FOLDER, "kernels": {LINEAR: {"kind", "granule"}},
 * "orders": {GROUP:
 * [...]}}. */
icd_status icd_i_worker_layout(icd_worker *w, const json_t *row, icd_layout **out);

/** Builds the arms of a list as in arms.json, which must outlive the worker. */
icd_status icd_i_worker_build(icd_worker *w, const json_t *list);

void icd_i_worker_release(icd_worker *w);

#endif
