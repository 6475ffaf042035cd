/* power.csv: what the source told, row by row, beside what was done meanwhile. */
#include "measure/power.h"

static const char *const PHASE[] = {"idle", "lead", "window", "tail"};

static const icd_power_span *span_at(const icd_power_record *record, double t)
{
    for (int64_t i = 0; i < record->spans; i++)
        if (t >= record->span[i].from && t <= record->span[i].to) return &record->span[i];
    return NULL;
}

/* A number behind a comma; nothing where it is not known. */
static icd_status add_cell(icd_ctx *ctx, icd_text *text, double value, int digits)
{
    if (isnan(value)) return icd_i_text_puts(ctx, text, ",");
    return icd_i_text_printf(ctx, text, ",%.*f", digits, value);
}

/* The reasons as names: "sw_power_cap|sw_thermal_slowdown"; "none". */
static icd_status add_reasons(icd_ctx *ctx, icd_text *text, int64_t mask)
{
    icd_status status = icd_i_text_puts(ctx, text, mask == 0 ? ",none" : ",");
    const char *name, *bar = "";
    if (mask <= 0) return status;
    for (int64_t i = 0; status == ICD_OK && (name = icd_i_power_reason_name(i)); i++) {
        if (!((uint64_t)mask >> i & 1)) continue;
        status = icd_i_text_printf(ctx, text, "%s%s", bar, name);
        bar = "|";
    }
    return status;
}

static icd_status add_row(icd_ctx *ctx, icd_text *text, const icd_power_row *row,
                          const icd_power_span *span, const icd_arm *const *arm,
                          double began)
{
    bool has_arm = span && span->arm >= 0;
    icd_status status = icd_i_text_printf(ctx, text, "%.4f,%s,%s", row->t - began,
                                          span ? PHASE[span->phase] : "",
                                          has_arm ? arm[span->arm]->name : "");
    ICD_TRY(status);
    ICD_TRY(add_cell(ctx, text, has_arm ? (double)span->block : (double)NAN, 0));
    ICD_TRY(add_cell(ctx, text, row->joules, 6));
    ICD_TRY(add_cell(ctx, text, row->watts, 3));
    ICD_TRY(add_cell(ctx, text, row->sm_mhz, 0));
    ICD_TRY(add_cell(ctx, text, row->mem_mhz, 0));
    ICD_TRY(add_cell(ctx, text, row->celsius, 0));
    ICD_TRY(add_cell(ctx, text, row->busy_pct, 0));
    ICD_TRY(add_reasons(ctx, text, row->throttle));
    ICD_TRY(icd_i_text_puts(ctx, text, "\n"));
done:
    return status;
}

icd_status icd_i_power_csv(icd_ctx *ctx, const icd_power_record *record,
                           const icd_arm *const *arm, double hz, double began,
                           icd_text *text)
{
    icd_status status = ICD_OK;
    double next = -INFINITY;
    if (!text->size)
        status = icd_i_text_puts(ctx, text,
                                 "t_s,phase,arm,window,energy_j,power_w,sm_mhz,mem_mhz,"
                                 "temp_c,busy_pct,throttle\n");
    for (int64_t i = 0; status == ICD_OK && i < record->rows; i++) {
        const icd_power_row *row = &record->row[i];
        if (row->t < next) continue;
        next = row->t + 1 / hz;
        status = add_row(ctx, text, row, span_at(record, row->t), arm, began);
    }
    return status;
}
