/* icd version and schema: what this build is. */
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
