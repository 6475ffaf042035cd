/**
 * @file evict.h
 * K in the loop: what an arm's KV cache is made of before its steps are timed.
 */
#ifndef ICD_RUNTIME_EVICT_H
#define ICD_RUNTIME_EVICT_H

#include <icd/adapters.h>
#include <icd/config.h>
#include <icd/runner.h>

/** How the survivors of an arm lie. */
typedef enum icd_arm_kv {
    ICD_ARM_KV_FULL,     /**< nothing is dropped */
    ICD_ARM_KV_IN_PLACE, /**< the linear order: where they were, in pages with holes */
    ICD_ARM_KV_COMPACT   /**< the new order: whole pages */
} icd_arm_kv;

/** "full", "in place", "compact". */
const char *icd_i_arm_kv_name(int32_t kv);
/** The same back; FULL for any other text. */
int32_t icd_i_arm_kv_of(const char *name);

/** Whether section transform.kv asks for anything. */
bool icd_i_kv_wanted(const icd_config *config);

/**
 * Why it cannot be done; NULL: it can. The seed's rule: that is a no-op and a warning.
 */
const char *icd_i_kv_obstacle(const icd_config *config, const icd_model *model);

/**
 * Makes a runner of a model with a KV cache whose state is that of `batch` after the
 * eviction. With FULL the cache is that of the batch.
 * @param opts   [in] transform.kv
 * @param effect [out] summed over the layers; may be NULL
 * @param meta   [out] of the last layer, `retained` the mean over the layers; may be NULL
 * @return as icd_runner_step and icd_apply_kvcache
 */
icd_status icd_i_evict(icd_ctx *ctx, icd_runner *runner, int64_t layers,
                       const icd_batch *batch, const icd_kv_opts *opts, int32_t kv,
                       icd_kv_effect *effect, icd_transform_meta *meta);

#endif
