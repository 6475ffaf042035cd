/**
 * @file cli.h
 * What the subcommands of `icd` share: flags, configuration, output, progress.
 */
#ifndef ICD_CLI_H
#define ICD_CLI_H

#include <icd/icd.h>
#include <jansson.h>

/** One flag of a subcommand. Exactly one of `key`, `text`, `on` says where the value
 * goes. */
typedef struct cli_flag {
    const char *name;  /**< "--granule" */
    char letter;       /**< 'o' for -o; 0: none */
    const char *value; /**< name of the value in the help; NULL: the flag takes none */
    const char *help;
    const char *key;   /**< configuration key set by the flag: "solver.granule" */
    const char **text; /**< the value as it is */
    bool *on;          /**< set true */
} cli_flag;

/** What every subcommand gets: parsed common flags, context and configuration. */
typedef struct cli_app {
    icd_ctx *ctx;
    icd_config *config;
    bool json;           /**< --json: one JSON document on stdout */
    bool quiet;          /**< --quiet: no progress */
    const char *command; /**< "solve" */
    const char *positional[16];
    int positionals;
    const char *repeated[32]; /**< values of the flag that may be given several times */
    int repeats;
    json_t *meta; /**< counters for the event of this command; may stay NULL */
} cli_app;

typedef struct cli_command {
    const char *name;
    const char *summary;  /**< one line, for `icd --help` */
    const char *usage;    /**< "W.csr.npz -o perm.json [options]" */
    const char *examples; /**< lines of the help's last part */
    int min_positionals, max_positionals;
    const cli_flag *(*flags)(void); /**< ends with a row whose name is NULL */
    icd_status (*run)(cli_app *app);
} cli_command;

extern const cli_command cli_run, cli_resume, cli_measure, cli_report, cli_trace,
    cli_transform, cli_sweep, cli_synth, cli_calibrate, cli_compare, cli_graph, cli_solve,
    cli_score, cli_axes, cli_apply, cli_infer, cli_verify, cli_doctor, cli_schema,
    cli_version;

/** Reports a wrong use of the command line. @return ICD_EINVAL */
icd_status cli_usage(cli_app *app, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** Human output on stdout; nothing with --json. */
void cli_print(const cli_app *app, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** Prints a JSON document on stdout and releases it. */
icd_status cli_print_json(json_t *document);

/** "12,345". Returns `out`. */
const char *cli_count(int64_t value, char out[32]);

/** True when stdout is a terminal that takes colour (NO_COLOR unset, TERM not dumb). */
bool cli_colour(void);

/** ANSI sequence or "" when stdout takes no colour: "bold", "dim", "green", "red",
 * "reset". */
const char *cli_style(const char *name);

/** Draws progress with an ETA on a terminal, plain lines elsewhere, on stderr. */
void cli_progress(void *user, const char *stage, int64_t done, int64_t total);

/** Ends the progress line. */
void cli_progress_end(void);

/** This program as the measuring process: {"icd", "measure", "--worker"}. @param self
 * [out] its path @return false: not known, measure in this process */
bool cli_worker(char *self, size_t size, const char *worker[4]);

struct icd_trial_row;
/** Tries every axis (icd/trial.h); `command` NULL: with the built-in runner. */
icd_status cli_trial(cli_app *app, const icd_model *model, const char *command,
                     struct icd_trial_row **rows, bool *ok);

/** Parses "A:B", "A:" or ":B" into first and count (0: to the end). */
icd_status cli_parse_range(cli_app *app, const char *text, int64_t *first,
                           int64_t *count);

/** PATH with its suffix (".csr.npz", ".npz", ".json") replaced; malloc'd. */
char *cli_sibling(const char *path, const char *suffix);

#endif
