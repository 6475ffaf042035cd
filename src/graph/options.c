#include <icd/graph.h>

#define FIELD(field)      offsetof(icd_graph_opts, field)
#define MOCK_FIELD(field) offsetof(icd_mock_opts, field)

static const icd_option GRAPH[] = {
    {"source", FIELD(source), ICD_OPTION_ENUM, "trace", 0, 0, "trace|mock", NULL,
     "where W comes from"},
    {"trace", FIELD(trace), ICD_OPTION_STRING, NULL, 0, 0, NULL, NULL,
     "file of access sets or pairs; unset: the run traces its own model"},
    {"axis", FIELD(axis), ICD_OPTION_STRING, NULL, 0, 0, NULL, NULL,
     "the axis to take from a trace of several"},
    {"d", FIELD(d), ICD_OPTION_INT64, "0", 0, INT32_MAX, NULL, "indices",
     "size of the index space where the trace does not state it; 0: stated"},
    {"weighting", FIELD(weighting), ICD_OPTION_ENUM, "jaccard", 0, 0,
     "count|clique|jaccard", NULL, "what a co-access is worth"},
    {"normalize", FIELD(normalize), ICD_OPTION_ENUM, "sym", 0, 0, "none|row|sym", NULL,
     "how hubs are damped before the cap: D^-1 W symmetrised, or D^-1/2 W D^-1/2"},
    {"nnz_cap", FIELD(nnz_cap), ICD_OPTION_INT64, "0", 0, 9e15, NULL, "entries",
     "entries kept at most, the strongest; 0: .05 D^2 below D = 20000, else 256 D"},
    {"activity_mass", FIELD(activity_mass), ICD_OPTION_REAL, "0.9", 0.01, 1, NULL, NULL,
     "share of activation mass that an access set holds where nothing is exactly zero"},
    {"on_bad_trace", FIELD(on_bad_trace), ICD_OPTION_ENUM, "abort", 0, 0, "abort|mock",
     NULL, "what an empty or damaged trace leads to"},
};

static const icd_option MOCK[] = {
    {"d", MOCK_FIELD(d), ICD_OPTION_INT64, "2560", 1, INT32_MAX, NULL, "indices",
     "nodes of the mock"},
    {"blocks", MOCK_FIELD(blocks), ICD_OPTION_INT, "4", 1, INT32_MAX, NULL, NULL,
     "equal blocks planted, then hidden under a shuffle"},
    {"noise", MOCK_FIELD(noise), ICD_OPTION_REAL, "0.02", 0, 1, NULL, NULL,
     "share of the edges that join any two nodes"},
    {"seed", MOCK_FIELD(seed), ICD_OPTION_INT64, "42", 0, 9e15, NULL, NULL,
     "same seed, same mock"},
    {"strength", MOCK_FIELD(strength), ICD_OPTION_REAL, "2", 1e-3, 1e6, NULL, NULL,
     "weight of an edge inside a block relative to a noise edge"},
};

const icd_option_table icd_graph_table = {
    .section = "graph",
    .help = "W, the co-access matrix, from a trace or a mock",
    .struct_size = sizeof(icd_graph_opts),
    .row = GRAPH,
    .rows = sizeof GRAPH / sizeof GRAPH[0],
};

const icd_option_table icd_mock_table = {
    .section = "graph.mock",
    .help = "planted blocks for tests and demonstrations",
    .struct_size = sizeof(icd_mock_opts),
    .row = MOCK,
    .rows = sizeof MOCK / sizeof MOCK[0],
};
