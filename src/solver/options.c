#include <icd/solver.h>

#define ROW(field, type, def, min, max, choices, unit, help)                             \
    {                                                                                    \
#field, offsetof(icd_solver_opts, field), type, def, min, max, choices, unit,    \
            help                                                                         \
    }

static const icd_option ROWS[] = {
    ROW(method, ICD_OPTION_STRING, "auto", 0, 0, NULL, NULL,
        "auto, or one method by its name"),
    ROW(objective, ICD_OPTION_ENUM, "auto", 0, 0, "auto|T|cut|J", NULL,
        "what is minimised; auto: T with access sets, else cut"),
    ROW(effort, ICD_OPTION_ENUM, "default", 0, 0, "low|default|high", NULL,
        "how long to search; high uses the whole time budget"),
    ROW(time_budget_s, ICD_OPTION_REAL, "300", 0, 1e9, NULL, "s",
        "seconds after which the best order so far is returned"),
    ROW(refine_steps, ICD_OPTION_INT64, "2000", 0, 1e12, NULL, "passes",
        "refinement passes over all indices at most"),
    ROW(k_blocks, ICD_OPTION_INT, "0", 0, 2147483647, NULL, NULL,
        "slices whose modularity Q is judged; 0: granules"),
    ROW(seed, ICD_OPTION_INT64, "0", 0, 9e18, NULL, NULL,
        "same input and seed, same order"),
    ROW(granule, ICD_OPTION_INT, "64", 1, 2147483647, NULL, "indices",
        "neighbours taken together by a kernel step or a memory transaction"),
    ROW(lambda, ICD_OPTION_REAL, "3", 0, 1e9, NULL, "granules",
        "distance up to which C grows in full"),
    ROW(tau, ICD_OPTION_REAL, "0.25", 0, 1e9, NULL, NULL, "slope of C beyond lambda"),
    ROW(gamma, ICD_OPTION_REAL, "1", 0, 1e9, NULL, NULL, "resolution of Q"),
    ROW(alpha, ICD_OPTION_REAL, "1", 0, 1e9, NULL, NULL, "weight of Cn in J"),
    ROW(mu, ICD_OPTION_REAL, "0.5", 0, 1e9, NULL, NULL, "weight of Q in J"),
    ROW(gamma_stab, ICD_OPTION_REAL, "0", 0, 1e9, NULL, NULL,
        "weight in J of the share of indices that leave their previous granule"),
    ROW(bound, ICD_OPTION_ENUM, "auto", 0, 0, "auto|none|degree|spectral", NULL,
        "how hard to look for a lower bound on the cut; spectral takes n^3 steps"),
};

const icd_option_table icd_solver_table = {
    .section = "solver",
    .help = "From W and access sets to a permutation",
    .struct_size = sizeof(icd_solver_opts),
    .row = ROWS,
    .rows = sizeof ROWS / sizeof ROWS[0],
};
