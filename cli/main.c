/* `icd`: finds the subcommand, parses flags, hands over, prints the error, exits with its
 * code. */
#include "cli.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const cli_command *const COMMAND[] = {
    &cli_run,       &cli_resume,  &cli_measure,   &cli_report,  &cli_trace,
    &cli_transform, &cli_sweep,   &cli_graph,     &cli_solve,   &cli_score,
    &cli_axes,      &cli_apply,   &cli_infer,     &cli_verify,  &cli_doctor,
    &cli_schema,    &cli_version, &cli_calibrate, &cli_compare, &cli_synth,
};
enum { COMMANDS = sizeof COMMAND / sizeof COMMAND[0] };

/* Flags that every subcommand takes; filled in by parse(). */
typedef struct common {
    const char *threads, *log;
    bool help;
} common;

static icd_ctx *signal_ctx;

static void on_signal(int number)
{
    (void)number;
    icd_ctx_cancel(signal_ctx);
    signal(SIGINT, SIG_DFL); /* a second one ends the program at once */
    signal(SIGTERM, SIG_DFL);
}

static void on_warning(void *user, const char *message)
{
    const cli_app *app = user;
    cli_progress_end();
    fprintf(stderr, "icd %s: warning: %s\n", app->command, message);
}

icd_status cli_usage(cli_app *app, const char *format, ...)
{
    va_list args;
    cli_progress_end();
    fprintf(stderr, "icd %s: error %s: ", app->command, icd_status_code(ICD_EINVAL));
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "; see `icd %s --help`\n", app->command);
    icd_ctx_clear(app->ctx);
    return ICD_EINVAL;
}

icd_status cli_parse_range(cli_app *app, const char *text, int64_t *first, int64_t *count)
{
    char *end = NULL;
    long long a = *text == ':' ? 0 : strtoll(text, &end, 10), b = 0;
    const char *colon = *text == ':' ? text : end;
    if (a < 0 || *colon != ':') goto bad;
    if (colon[1]) {
        b = strtoll(colon + 1, &end, 10);
        if (*end || b <= a) goto bad;
    }
    *first = a;
    *count = b ? b - a : 0;
    return ICD_OK;
bad:
    return cli_usage(
        app, "--events: found '%s', expected FIRST:END such as 0:8000 or 8000:", text);
}

static void print_flags(const cli_flag *flag)
{
    for (; flag && flag->name; flag++) {
        char left[64];
        snprintf(left, sizeof left, "%s%.1s%s%s%s%s", flag->letter ? "-" : "",
                 flag->letter ? &flag->letter : "", flag->letter ? ", " : "", flag->name,
                 flag->value ? " " : "", flag->value ? flag->value : "");
        printf("  %-28s %s\n", left, flag->help);
    }
}

static const cli_flag *common_flags(cli_app *app, common *c)
{
    static cli_flag rows[8];
    const cli_flag fill[] = {
        {"--config", 'c', "FILE", "read settings from a YAML or JSON file", NULL, NULL,
         NULL},
        {"--override", 0, "KEY=VALUE", "set one key, e.g. solver.granule=16", NULL, NULL,
         NULL},
        {"--threads", 0, "N", "worker threads (default: one per CPU)", NULL, &c->threads,
         NULL},
        {"--log", 0, "FILE", "append events as JSON Lines", NULL, &c->log, NULL},
        {"--json", 0, NULL, "one JSON document on standard output", NULL, NULL,
         &app->json},
        {"--quiet", 'q', NULL, "no progress", NULL, NULL, &app->quiet},
        {"--help", 'h', NULL, "this text", NULL, NULL, &c->help},
        {NULL, 0, NULL, NULL, NULL, NULL, NULL},
    };
    memcpy(rows, fill, sizeof fill);
    return rows;
}

static void print_command_help(const cli_command *command, const cli_flag *shared)
{
    printf("icd %s: %s\n\nusage: icd %s %s\n", command->name, command->summary,
           command->name, command->usage);
    const cli_flag *own = command->flags ? command->flags() : NULL;
    if (own && own->name) {
        puts("\noptions:");
        print_flags(own);
    }
    puts("\ncommon options:");
    print_flags(shared);
    printf("\nexamples:\n%s", command->examples);
}

static void print_help(void)
{
    puts("icd: memory-layout re-optimisation of neural networks for inference\n\n"
         "usage: icd COMMAND [options]\n\ncommands:");
    for (int i = 0; i < COMMANDS; i++)
        printf("  %-10s %s\n", COMMAND[i]->name, COMMAND[i]->summary);
    puts("\n`icd COMMAND --help` tells more and ends with examples.\n"
         "Exit codes: 0 ok, 1 internal, 2 configuration or usage, 3 resource, 4 "
         "measurement,\n"
         "5 solver timeout without a result, 6 I/O or damaged file, 7 gate failed.");
}

static const cli_flag *find_flag(const cli_flag *flag, const char *name, size_t length)
{
    for (; flag && flag->name; flag++) {
        if (strlen(flag->name) == length && !strncmp(flag->name, name, length))
            return flag;
        if (length == 2 && flag->letter && name[0] == '-' && name[1] == flag->letter)
            return flag;
    }
    return NULL;
}

/* Where the value of one flag goes. -c and --override act at once, in the order given. */
static icd_status take_flag(cli_app *app, const cli_flag *flag, const char *value)
{
    char assignment[512];
    if (flag->on) {
        *flag->on = true;
        return ICD_OK;
    }
    if (flag->text) {
        *flag->text = value;
        return ICD_OK;
    }
    if (!strcmp(flag->name, "--config"))
        return icd_config_read(app->ctx, app->config, value);
    if (!strcmp(flag->name, "--override"))
        return icd_config_override(app->ctx, app->config, value);
    if (!flag->key) {
        if (app->repeats == (int)(sizeof app->repeated / sizeof app->repeated[0]))
            return cli_usage(app, "%s was given too often", flag->name);
        app->repeated[app->repeats++] = value;
        return ICD_OK;
    }
    if (snprintf(assignment, sizeof assignment, "%s=%s", flag->key, value) >=
        (int)sizeof assignment)
        return cli_usage(app, "%s: the value is longer than %zu bytes", flag->name,
                         sizeof assignment);
    return icd_config_override(app->ctx, app->config, assignment);
}

static icd_status parse(cli_app *app, const cli_command *command, const cli_flag *shared,
                        int argc, char **argv)
{
    const cli_flag *own = command->flags ? command->flags() : NULL;
    bool only_positionals = false;
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        if (only_positionals || word[0] != '-' || !word[1]) {
            if (app->positionals == command->max_positionals)
                return cli_usage(app, "found one argument too many, '%s'", word);
            app->positional[app->positionals++] = word;
            continue;
        }
        if (!strcmp(word, "--")) {
            only_positionals = true;
            continue;
        }
        const char *equals = word[1] == '-' ? strchr(word, '=') : NULL;
        size_t length = equals ? (size_t)(equals - word) : strlen(word);
        const cli_flag *flag = find_flag(own, word, length);
        if (!flag) flag = find_flag(shared, word, length);
        if (!flag) return cli_usage(app, "unknown option '%s'", word);
        const char *value = equals ? equals + 1 : NULL;
        if (!flag->value && value)
            return cli_usage(app, "%s takes no value, found '%s'", flag->name, value);
        if (flag->value && !value) {
            if (i + 1 == argc)
                return cli_usage(app, "%s needs a value (%s)", flag->name, flag->value);
            value = argv[++i];
        }
        icd_status status = take_flag(app, flag, value);
        if (status != ICD_OK) return status;
    }
    return ICD_OK;
}

static void print_error(const cli_app *app, icd_status status)
{
    cli_progress_end();
    if (icd_ctx_status(app->ctx) == ICD_OK) return; /* already told, by cli_usage */
    fprintf(stderr, "icd %s: error %s: %s\n", app->command, icd_status_code(status),
            icd_ctx_message(app->ctx));
    if (app->json)
        cli_print_json(
            json_pack("{s:{s:s,s:s,s:s,s:s}}", "error", "code", icd_status_code(status),
                      "message", icd_ctx_message(app->ctx), "place",
                      icd_ctx_place(app->ctx), "hint", icd_ctx_hint(app->ctx)));
}

static icd_status set_up(cli_app *app, const common *c)
{
    icd_ctx_on_warning(app->ctx, on_warning, app);
    icd_ctx_on_progress(app->ctx, cli_progress, app);
    signal_ctx = app->ctx;
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    signal(SIGXFSZ,
           SIG_IGN); /* a file-size limit becomes an error message, not a death */
    return c->log ? icd_ctx_log_open(app->ctx, c->log) : ICD_OK;
}

/* The number of threads is a property of the context, so it is looked up before there is
 * one. */
static icd_status find_threads(int argc, char **argv, int32_t *threads)
{
    *threads = 0;
    for (int i = 0; i < argc; i++) {
        const char *value = NULL;
        char *end = NULL;
        if (!strcmp(argv[i], "--threads") && i + 1 < argc) value = argv[i + 1];
        if (!strncmp(argv[i], "--threads=", 10)) value = argv[i] + 10;
        if (!value) continue;
        long n = strtol(value, &end, 10);
        if (*end || end == value || n < 1 || n > 1024) {
            fprintf(stderr, "icd: error %s: --threads: found '%s', expected 1 to 1024\n",
                    icd_status_code(ICD_EINVAL), value);
            return ICD_EINVAL;
        }
        *threads = (int32_t)n;
    }
    return ICD_OK;
}

/* One event per command; the loop of `icd run` emits one per stage itself. */
static icd_status run_with_event(cli_app *app, const cli_command *command)
{
    double from = icd_ctx_now(app->ctx);
    icd_status status = command->run(app);
    char *meta = app->meta ? json_dumps(app->meta, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    icd_event event = {.stage = command->name,
                       .t_start = from,
                       .t_end = icd_ctx_now(app->ctx),
                       .ok = status == ICD_OK,
                       .meta_json = meta ? meta : "{}"};
    icd_ctx_emit(app->ctx, &event);
    free(meta);
    json_decref(app->meta);
    return status;
}

static icd_status run_command(cli_app *app, const cli_command *command, int argc,
                              char **argv)
{
    common c = {0};
    const cli_flag *shared = common_flags(app, &c);
    icd_status status = icd_config_new(app->ctx, &app->config);
    for (int i = 0; i < argc; i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
            print_command_help(command, shared);
            return ICD_OK;
        }
    if (status == ICD_OK) status = parse(app, command, shared, argc, argv);
    if (status == ICD_OK && app->positionals < command->min_positionals)
        status = cli_usage(app, "expected: icd %s %s", command->name, command->usage);
    if (status == ICD_OK) status = set_up(app, &c);
    if (status == ICD_OK) status = run_with_event(app, command);
    cli_progress_end();
    if (status != ICD_OK) print_error(app, status);
    return status;
}

static const cli_command *find_command(const char *name)
{
    for (int i = 0; i < COMMANDS; i++)
        if (!strcmp(COMMAND[i]->name, name)) return COMMAND[i];
    return NULL;
}

/* Output that could not be written (a full disk behind a pipe) is an error like any
 * other. */
static icd_status flush_output(icd_status status)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) return status;
    fprintf(stderr, "icd: error %s: standard output could not be written\n",
            icd_status_code(ICD_EIO));
    return status == ICD_OK ? ICD_EIO : status;
}

static int unknown_command(const char *name)
{
    fprintf(stderr, "icd: error %s: found '%s', expected ", icd_status_code(ICD_EINVAL),
            name);
    for (int i = 0; i < COMMANDS; i++)
        fprintf(stderr, "%s%s", i ? i + 1 < COMMANDS ? ", " : " or " : "",
                COMMAND[i]->name);
    fputs("; see `icd --help`\n", stderr);
    return icd_status_exit_code(ICD_EINVAL);
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "--help";
    char help[] = "--help", *of_command[] = {argv[0], argc > 2 ? argv[2] : NULL, help};
    if (!strcmp(name, "help") && argc > 2) { /* icd help solve */
        argc = 3;
        argv = of_command;
        name = argv[1];
    }
    if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")) {
        print_help();
        icd_status told = flush_output(argc > 1 ? ICD_OK : ICD_EINVAL);
        return icd_status_exit_code(told);
    }
    if (!strcmp(name, "--version")) name = "version";
    const cli_command *command = find_command(name);
    if (!command) return unknown_command(name);
    icd_ctx_opts opts = {.size = sizeof opts};
    if (find_threads(argc - 2, argv + 2, &opts.threads) != ICD_OK)
        return icd_status_exit_code(ICD_EINVAL);
    cli_app app = {.command = command->name, .ctx = icd_ctx_new(&opts)};
    if (!app.ctx) {
        fprintf(stderr, "icd: error %s: not enough memory to start\n",
                icd_status_code(ICD_ENOMEM));
        return icd_status_exit_code(ICD_ENOMEM);
    }
    icd_status status = flush_output(run_command(&app, command, argc - 2, argv + 2));
    icd_config_free(app.ctx, app.config);
    icd_ctx_free(app.ctx);
    return icd_status_exit_code(status);
}
