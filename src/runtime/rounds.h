/**
 * @file rounds.h
 * The iteration: transform -> W' -> permute -> measure, again and again, each time
 * against the round before; docs/iterations.md.
 */
#ifndef ICD_RUNTIME_ROUNDS_H
#define ICD_RUNTIME_ROUNDS_H

#include "runtime/judgement.h"
#include "runtime/redo.h"
#include "runtime/round_rule.h"

/** What a round came to. */
typedef struct icd_round {
    int32_t number;
    icd_redo_group *group; /**< [groups] what was tried again; owned */
    int64_t groups, redone;
    double loss_before, loss_after; /**< of all linears (icd_i_loss); NaN: not known */
    int64_t moved, inputs;          /**< inputs of linears in another slot than before */
    icd_arm_cost cost, cost_before; /**< of the layout now and before */
    icd_prediction predicted;       /**< of this layout against the one before */
    icd_verdict verdict;            /**< of the gain */
    char failure[256];
    icd_round_facts facts;
    icd_round_end end;
} icd_round;

struct icd_job_rounds {
    icd_round round[ICD_ROUNDS_MAX];
    int32_t count;
    /** Number of the round whose results and files stand at the end: the last that was
     * kept, or the first where none was; 0: none has ended. */
    int32_t shown;
};

/** A round that was kept, while the next one is tried. */
struct icd_put_away {
    icd_variant *variant; /**< model, masks, weights and their metadata */
    icd_places *places;
    icd_job_axis *axis; /**< [axes] local ones */
    int64_t axes;
    icd_perm_set *after;
    icd_job_arm arm[ICD_ARMS_MAX];
    int64_t arms;
    icd_samples *samples;
    json_t *readings;
    icd_job_check check[ICD_CHECKS_MAX];
    int64_t checks;
    double cosine_vs_dense;
    icd_transform_meta kv_meta;
    bool kv;
    icd_outcome outcome;
    char name[24];       /**< of its layout as an arm of the next round: "round 1" */
    icd_put_away *older; /**< the round before that; its layout may be an arm here */
};

/** The layout that it is executed in. */
const icd_layout *icd_i_put_away_layout(const icd_put_away *p);

/** The arm of a layout that may be kept: iterative, or linear where nothing but the
 * transform's own order moved. */
icd_job_arm *icd_i_candidate(icd_job *job);

/** Begins a round; from the second on, what the round before came to is put away. */
icd_status icd_i_round_begin(icd_job *job);

/** Redoes the transforms under the layout that was put away.
 * @param made [out] NULL where no loss is less: the round is over */
icd_status icd_i_round_redo(icd_job *job, icd_variant **made);

/** Whether the round has anything to permute, check and measure. */
bool icd_i_round_alive(const icd_job *job);

/**
 * Judges the round, records it in rounds/N/round.json, and returns to the round before
 * where it is not kept: model, layout, results, all of it.
 * @param status [in] of its stages; what failed after round 1 ends the iteration only
 * @param more   [out] whether another round is wanted
 */
icd_status icd_i_round_end(icd_job *job, icd_status status, bool *more);

/** The local order that a group's input keeps in this round: that of the round before, or
 * that of its new scale groups; *out NULL: it has to be solved. Owned by the caller. */
icd_status icd_i_round_standing(icd_job *job, const icd_linear *linear, icd_perm **out);

/** rounds/N/round.json. */
icd_status icd_i_round_write(icd_job *job, const icd_round *r);

/** Shows the files of the round that is kept at the top of the run directory. */
icd_status icd_i_round_publish(icd_job *job);

/** One sentence on the rounds; `out` stays as it is where there is one only. */
void icd_i_rounds_words(const icd_job *job, char *out, size_t size);

/** The rounds as metrics.json has them; NULL: pipeline.iterations is 1. */
json_t *icd_i_rounds_json(const icd_job *job);

/** Lets go of all that belongs to one round. */
void icd_i_round_release(icd_job *job);

void icd_i_put_away_free(icd_ctx *ctx, icd_put_away *p);
void icd_i_rounds_free(icd_ctx *ctx, icd_job_rounds *rounds);

#endif
