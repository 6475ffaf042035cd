/* icd doctor: what can be measured here, what cannot, and the command that enables it. */
#include "cli.h"

#include <stdio.h>

static void show_capability(const icd_capability *c)
{
    printf("  %s%s%s %-22s %s\n", cli_style(c->available ? "green" : "red"),
           c->available ? "yes" : "no ", cli_style("reset"), c->name, c->found);
    if (!c->available && c->enable) printf("      to enable: %s\n", c->enable);
}

/* What measurements on this machine depend on. */
static json_t *fingerprint(cli_app *app)
{
    char *text = NULL;
    json_t *object = NULL;
    if (icd_fingerprint(app->ctx, ".", &text) == ICD_OK)
        object = json_loads(text, 0, NULL);
    icd_mem_free(app->ctx, text);
    return object ? object : json_null();
}

static void show_report(cli_app *app, const icd_doctor_report *report)
{
    const char *area = "";
    json_t *facts = fingerprint(app);
    const char *machine = json_string_value(json_object_get(facts, "machine"));
    for (int64_t i = 0; i < icd_doctor_count(report); i++) {
        const icd_capability *c = icd_doctor_get(report, i);
        if (c->area != area)
            printf("%s%s%s\n", cli_style("bold"), c->area, cli_style("reset"));
        area = c->area;
        show_capability(c);
    }
    printf("fingerprint %s (everything behind it: icd doctor --json)\n",
           machine ? machine : "unknown");
    json_decref(facts);
}

static json_t *report_json(cli_app *app, const icd_doctor_report *report)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < icd_doctor_count(report); i++) {
        const icd_capability *c = icd_doctor_get(report, i);
        json_array_append_new(list,
                              json_pack("{s:s,s:s,s:b,s:s,s:s?}", "area", c->area, "name",
                                        c->name, "available", (int)c->available, "found",
                                        c->found, "enable", c->enable));
    }
    return json_pack("{s:s,s:o,s:o}", "version", icd_version(), "capabilities", list,
                     "fingerprint", fingerprint(app));
}

static icd_status run_doctor(cli_app *app)
{
    icd_doctor_report *report = NULL;
    icd_status status = icd_doctor(app->ctx, &app->config->meter, &report);
    if (status == ICD_OK && app->json)
        status = cli_print_json(report_json(app, report));
    else if (status == ICD_OK)
        show_report(app, report);
    icd_doctor_free(app->ctx, report);
    return status;
}

const cli_command cli_doctor = {
    .name = "doctor",
    .summary = "what this machine can do, what it cannot, and how to enable it",
    .usage = "[--json]",
    .examples = "  icd doctor\n  icd doctor --json\n",
    .run = run_doctor,
};
