#include <icd/status.h>

#ifndef ICD_VERSION
#define ICD_VERSION "0.1.0"
#endif

typedef struct status_row {
    const char *code;
    int exit_code;
    const char *text;
} status_row;

static const status_row ROW[ICD_STATUS_COUNT] = {
#define STATUS_ROW(name, code, exit_code, text) {code, exit_code, text},
    ICD_STATUS_LIST(STATUS_ROW)
#undef STATUS_ROW
};

static const status_row *row_of(icd_status status)
{
    int index = (int)status;
    return &ROW[index >= 0 && index < ICD_STATUS_COUNT ? index : ICD_EINTERNAL];
}

const char *icd_status_code(icd_status status)
{
    return row_of(status)->code;
}

const char *icd_status_text(icd_status status)
{
    return row_of(status)->text;
}

int icd_status_exit_code(icd_status status)
{
    return row_of(status)->exit_code;
}

const char *icd_version(void)
{
    return ICD_VERSION;
}
