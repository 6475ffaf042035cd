/* icd version, schema and doctor: what this build and this machine are. */
#include "cli.h"

#include <stdio.h>

static icd_status run_version(cli_app *app)
{
    if (app->json) return cli_print_json(json_pack("{s:s}", "version", icd_version()));
    printf("icd %s\n", icd_version());
    return ICD_OK;
}

const cli_command cli_version = {
    .name = "version",
    .summary = "print the version",
    .usage = "[--json]",
    .examples = "  icd version\n",
    .run = run_version,
};

static icd_status run_schema(cli_app *app)
{
    char *text = NULL;
    icd_status status = icd_config_schema(app->ctx, &text);
    if (status == ICD_OK) fputs(text, stdout);
    icd_mem_free(app->ctx, text);
    return status;
}

const cli_command cli_schema = {
    .name = "schema",
    .summary = "print the JSON Schema of the configuration",
    .usage = "",
    .examples = "  icd schema > icd.schema.json\n",
    .run = run_schema,
};

static void show_capability(const icd_capability *c)
{
    printf("  %s%s%s %-22s %s\n", cli_style(c->available ? "green" : "red"),
           c->available ? "yes" : "no ", cli_style("reset"), c->name, c->found);
    if (!c->available && c->enable) printf("      to enable: %s\n", c->enable);
}

static void show_report(const icd_doctor_report *report)
{
    const char *area = "";
    for (int64_t i = 0; i < icd_doctor_count(report); i++) {
        const icd_capability *c = icd_doctor_get(report, i);
        if (c->area != area)
            printf("%s%s%s\n", cli_style("bold"), c->area, cli_style("reset"));
        area = c->area;
        show_capability(c);
    }
}

static json_t *report_json(const icd_doctor_report *report)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < icd_doctor_count(report); i++) {
        const icd_capability *c = icd_doctor_get(report, i);
        json_array_append_new(list,
                              json_pack("{s:s,s:s,s:b,s:s,s:s?}", "area", c->area, "name",
                                        c->name, "available", (int)c->available, "found",
                                        c->found, "enable", c->enable));
    }
    return json_pack("{s:s,s:o}", "version", icd_version(), "capabilities", list);
}

static icd_status run_doctor(cli_app *app)
{
    icd_doctor_report *report = NULL;
    icd_status status = icd_doctor(app->ctx, &report);
    if (status == ICD_OK && app->json)
        status = cli_print_json(report_json(report));
    else if (status == ICD_OK)
        show_report(report);
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
