/**
 * @file round_rule.h
 * What becomes of a round of the loop: whether its layout is kept, whether there is
 * another one, and why. Knows numbers only, so that it can be tested without a model.
 */
#ifndef ICD_RUNTIME_ROUND_RULE_H
#define ICD_RUNTIME_ROUND_RULE_H

#include <stdbool.h>
#include <stdint.h>

/** What a round came to. Round 1 is compared with pi0 on the same model, every later one
 * with the layout and the model of the round before. */
typedef struct icd_round_facts {
    int32_t number, most; /**< this round from 1; pipeline.iterations */
    bool redoable;        /**< some transform depends on the layout */
    bool redone;        /**< later rounds: some transform was redone, its loss is less */
    bool moved;         /**< the layout is another one than before */
    const char *failed; /**< the message of a failure, or of an inequality; NULL: none */
    bool measured;      /**< the gain was; false: `gain` and what follows mean nothing */
    bool trusted;       /**< the A/A control lies inside +-1 % */
    double gain, low, high; /**< change of latency with its 95 % interval, shares */
    const char *better;     /**< a metric that is better than before; NULL: none */
    const char *worse;      /**< a metric that is worse than before; NULL: none */
    bool beats_linear;      /**< pi1 would be kept against pi0 of the same model, too */
} icd_round_facts;

typedef struct icd_round_end {
    bool keep;      /**< the layout and model of this round become the active ones */
    bool go_on;     /**< there is another round */
    char why[256];  /**< why it is kept or not */
    char stop[256]; /**< why there is no other round; empty where there is */
} icd_round_end;

/**
 * Round 1 goes on unless its gain includes zero. A later round is kept where nothing is
 * worse than before and either a metric is better or the transform's loss is less; the
 * iteration ends where its gain includes zero, where the layout did not move, where it is
 * not kept, and at `most`.
 */
void icd_i_round_rule(const icd_round_facts *facts, icd_round_end *end);

#endif
