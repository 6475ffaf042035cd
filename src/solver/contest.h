/**
 * @file contest.h
 * The orders that a solve tried, the best of them, and the sentence that says why.
 */
#ifndef ICD_SOLVER_CONTEST_H
#define ICD_SOLVER_CONTEST_H

#include "solver/objective.h"
#include "solver/solve.h"

enum { ICD_ENTRIES = 8 };

/** An order of indices and what it is worth. */
typedef struct icd_candidate {
    int32_t *old_of_new;
    icd_assessment verdict;
    const char *from; /**< where it came from */
} icd_candidate;

typedef struct icd_contest {
    icd_solve *s;
    icd_candidate best, trial;
    struct {
        const char *from;
        double value;
    } entry[ICD_ENTRIES]; /**< the objective by where it came from, in order of trial */
    int32_t entries;
    double multilevel_s; /**< seconds that dividing took */
    bool prev_is_legal;  /**< keeps the constraint */
    bool searched;       /**< all orders were: none is better than the best */
} icd_contest;

icd_status icd_i_contest_init(icd_solve *s, icd_contest *c);
void icd_i_contest_release(icd_contest *c);

/** By the objective, then slices, cut, cut of quarters, C. */
bool icd_i_contest_better(const icd_solve *s, const icd_assessment *a,
                          const icd_assessment *b);

/** Scores the trial; it becomes the best where it is better, or with `keep` anyway. */
icd_status icd_i_contest_judge(icd_contest *c, const char *from, bool keep);

/** Copies the best order into the trial. */
void icd_i_contest_retry(icd_contest *c);

/** True once the best meets a lower bound, or every order was searched. */
bool icd_i_contest_optimal(const icd_contest *c);

/** Fills stats->reason: what won, with which figure, against which others. */
void icd_i_contest_explain(const icd_contest *c);

#endif
