/**
 * @file solver.h
 * From W and access sets to a permutation pi, and the figures by which an order is
 * judged.
 *
 * With line(i) = pos[i] / g (SPEC section 4):
 *
 *     C      sum_{i<j} W_ij phi(|line(i)-line(j)|), phi(d) = d up to lambda, then lambda
 * + tau (d-lambda) Cn     C / (phi(ceil(n/g)-1) sum_{i<j} W_ij), 0 when undefined cut(B)
 * share of W between different blocks of B consecutive slots; 0 when undefined Q
 * modularity of the blocks (k_blocks slices, else granules); 0 when undefined T granules
 * touched, relative to the fewest possible; 1 when undefined J      alpha Cn - mu Q +
 * gamma_stab R_stab
 */
#ifndef ICD_SOLVER_H
#define ICD_SOLVER_H

#include <icd/access.h>
#include <icd/constraint.h>
#include <icd/csr.h>
#include <icd/options.h>
#include <icd/perm.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum icd_objective {
    ICD_OBJ_AUTO,
    ICD_OBJ_T,
    ICD_OBJ_CUT,
    ICD_OBJ_J
} icd_objective;
typedef enum icd_effort {
    ICD_EFFORT_LOW,
    ICD_EFFORT_DEFAULT,
    ICD_EFFORT_HIGH
} icd_effort;

/** How hard to look for a lower bound on the cut; auto: spectral up to 256 indices, and
 * up to 4096 where effort high has the time. */
typedef enum icd_bound {
    ICD_BOUND_AUTO,
    ICD_BOUND_NONE,
    ICD_BOUND_DEGREE,
    ICD_BOUND_SPECTRAL
} icd_bound;

/** Section `solver`. */
typedef struct icd_solver_opts {
    size_t size;
    const char *method;   /**< "auto" or a name of icd_solver_method_name */
    int32_t objective;    /**< icd_objective; auto: T with access sets, else cut */
    int32_t effort;       /**< icd_effort */
    double time_budget_s; /**< cancels; only effort high uses it up */
    int64_t refine_steps; /**< refinement passes over all indices at most */
    int32_t k_blocks;     /**< blocks of Q; 0: granules */
    int64_t seed;
    int32_t granule; /**< g */
    double lambda, tau, gamma, alpha, mu, gamma_stab;
    int32_t bound; /**< icd_bound */
} icd_solver_opts;

extern const icd_option_table icd_solver_table;

/** What is to be ordered. `w` or `sets` must be there; both have n indices in one frame.
 */
typedef struct icd_problem {
    const icd_csr *w;                 /**< NULL: built from `sets` when needed */
    const icd_access *sets;           /**< NULL: none */
    const icd_constraint *constraint; /**< NULL: none */
    const icd_perm *prev; /**< start and reference of R_stab; NULL: identity */
} icd_problem;

typedef struct icd_score {
    double C, Cn, cut, Q, T, J; /**< cut at the granule */
    double R_stab;
    double cut16, cut64, cut128;
    double touched;   /**< mean granules touched per event (weighted); 0 without sets */
    double cut_bound; /**< no order has a lower cut; 0 where nothing better is known */
    double T_bound;   /**< no order has a lower T; 1 where nothing better is known */
} icd_score;

typedef struct icd_solver_stats {
    icd_score score,
        start;         /**< of the result, and of `prev` (identity where there is none) */
    char method[24];   /**< what was run */
    char reason[320];  /**< why (auto), one sentence */
    int32_t objective; /**< what was minimised: icd_objective, never AUTO */
    int64_t iters;     /**< refinement passes done */
    int64_t moved;     /**< slots that differ from `prev` */
    double elapsed_s;
    bool optimal;     /**< a lower bound is met, or all orders were searched */
    bool improved;    /**< the local search bettered its initial solution */
    bool timed_out;   /**< the clock ended it: best so far, no determinism promised */
    bool budget_used; /**< effort high: the whole budget was used */
} icd_solver_stats;

/**
 * Finds an order.
 * @param problem [in]
 * @param opts    [in]  NULL: defaults
 * @param out     [out] always a bijection that keeps the constraint; from = frame of the
 * problem; owned by the caller; NULL on error
 * @param stats   [out] may be NULL
 * @return ICD_OK (also with stats->timed_out) | ICD_EINVAL | ICD_ENOMEM | ICD_ETIMEOUT
 * nothing yet | ICD_ENUMERIC | ICD_ECANCELLED
 * @cost   time O(nnz log(n/g)) per level of effort; memory O(nnz + n + sum |e|)
 * @det    same input, options and CPU type: same bytes for any thread count, unless timed
 * out
 */
icd_status icd_fit_permutation(icd_ctx *ctx, const icd_problem *problem,
                               const icd_solver_opts *opts, icd_perm **out,
                               icd_solver_stats *stats);

/**
 * Judges an order; `opts` gives granule, k_blocks and the weights of J.
 * @return ICD_OK | ICD_EINVAL sizes or frames differ | ICD_ENOMEM
 * @cost time O(nnz + sum |e|), memory O(n)
 */
icd_status icd_score_perm(icd_ctx *ctx, const icd_problem *problem, const icd_perm *perm,
                          const icd_solver_opts *opts, icd_score *out);

/** Names of the methods compiled in, in a stable order; NULL past the end. */
const char *icd_solver_method_name(int32_t i);

/** One line about a method; NULL for an unknown name. */
const char *icd_solver_method_help(const char *name);

/**
 * Second smallest eigenvalue of the normalised or plain Laplacian and its vector.
 * @param normalized [in] false: L = D - W; true: I - D^-1/2 W D^-1/2
 * @param vector     [out] w->n entries of the caller, unit norm, sign fixed (first
 * non-zero > 0)
 * @param value      [out]
 * @return ICD_OK | ICD_EINVAL n < 2 | ICD_ENUMERIC | ICD_ENOMEM. A disconnected graph
 * gives 0 and a vector that separates components.
 * @det    any thread count, same bits
 */
icd_status icd_fiedler(icd_ctx *ctx, const icd_csr *w, bool normalized, double *vector,
                       double *value);

#ifdef __cplusplus
}
#endif
#endif
