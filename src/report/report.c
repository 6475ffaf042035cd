#include <icd/report.h>

#include "base/file.h"
#include "base/json.h"
#include "report/html.h"

#include <locale.h>
#include <stdio.h>
#include <string.h>

/* Links to the sections that the page has. */
static void contents(icd_page *page)
{
    static const char *const LINK[][3] = {
        {"rounds", "#rounds", "Rounds"},    {"arms", "#arms", "Arms"},
        {"samples", "#samples", "Samples"}, {"evidence", "#metrics", "Metrics"},
        {"prediction", "#cost", "Cost"},    {"linears", "#layers", "Layers"},
        {"axes", "#orders", "Orders"},
    };
    icd_i_page_raw(page, "<nav aria-label=Contents>");
    for (size_t i = 0; i < sizeof LINK / sizeof LINK[0]; i++) {
        const json_t *part = icd_i_page_get(page, LINK[i][0]);
        bool always = !strcmp(LINK[i][0], "arms");
        if (always || json_array_size(part) || json_object_size(part))
            icd_i_page_put(page, "<a href=\"%s\">%s</a> ", LINK[i][1], LINK[i][2]);
    }
    icd_i_page_raw(page, "<a href=\"#checks\">Checks</a> <a "
                         "href=\"#environment\">Environment</a></nav>\n");
}

void icd_i_page_head(icd_page *page, const char *title)
{
    icd_i_page_raw(page, "<!doctype html>\n<html lang=en><head><meta charset=utf-8><meta "
                         "name=viewport content=\"width=device-width,initial-scale=1\">"
                         "<title>");
    icd_i_page_text(page, title);
    icd_i_page_raw(page, "</title>\n<style>\n");
    for (int i = 0; ICD_I_PAGE_STYLE[i]; i++) icd_i_page_raw(page, ICD_I_PAGE_STYLE[i]);
    icd_i_page_raw(page, "</style></head><body>\n");
}

static void html(icd_page *page)
{
    char title[160];
    snprintf(title, sizeof title, "ICD report %s",
             icd_i_get_string(icd_i_page_get(page, "model"), "name"));
    icd_i_page_head(page, title);
    icd_i_section_verdict(page);
    contents(page);
    icd_i_page_raw(page, "<main>\n");
    icd_i_section_rounds(page);
    icd_i_section_arms(page);
    icd_i_section_samples(page);
    icd_i_section_meters(page);
    icd_i_section_cost(page);
    icd_i_section_sweep(page);
    icd_i_section_layers(page);
    icd_i_section_orders(page);
    icd_i_section_checks(page);
    icd_i_section_environment(page);
    icd_i_page_raw(page, "</main></body></html>\n");
}

static icd_status write_page(icd_ctx *ctx, const char *dir, const char *name,
                             const json_t *metrics, void (*fill)(icd_page *page))
{
    char *path = NULL;
    icd_page page = {.ctx = ctx, .metrics = metrics, .dir = dir};
    page.status = icd_i_path_join(ctx, dir, name, &path);
    fill(&page);
    if (page.status == ICD_OK)
        page.status = icd_i_file_write(ctx, path, page.text.data, (size_t)page.text.size);
    icd_i_text_release(ctx, &page.text);
    icd_i_free(ctx, path);
    return page.status;
}

/* What can be written, in the order of icd_report_format. */
static const icd_page_format FORMAT[] = {
    {"html", "report.html", html, NULL},
    {"csv", "report.csv", icd_i_csv, NULL},
    {"md", "report.md", icd_i_markdown, NULL},
    {"junit", "junit.xml", icd_i_junit, NULL},
    {"rounds", "rounds.csv", icd_i_rounds_csv, "rounds"}, /* comes with csv */
};
enum { FORMATS = sizeof FORMAT / sizeof FORMAT[0], ROUNDS = 1 << (FORMATS - 1) };

static icd_status write_all(icd_ctx *ctx, const char *dir, const char *source,
                            const icd_page_format *format, int formats, uint32_t which)
{
    icd_status status = ICD_OK;
    char *path = NULL;
    json_t *metrics = NULL;
    ICD_TRY(icd_i_path_join(ctx, dir, source, &path));
    ICD_TRY(icd_i_json_read(ctx, path, &metrics));
    if (!json_is_object(metrics)) {
        status = icd_i_fail(ctx, ICD_EDATA, path, "run `icd run` again",
                            "found no JSON object, expected the metrics of a run");
        goto done;
    }
    for (int i = 0; i < formats; i++)
        if ((which >> i & 1) &&
            (!format[i].needs || json_object_get(metrics, format[i].needs)))
            ICD_TRY(write_page(ctx, dir, format[i].file, metrics, format[i].fill));
done:
    json_decref(metrics);
    icd_i_free(ctx, path);
    return status;
}

icd_status icd_i_pages_write(icd_ctx *ctx, const char *dir, const char *source,
                             const icd_page_format *format, int formats, uint32_t which)
{
    locale_t plain = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0), before;
    if (!plain)
        return icd_i_fail(ctx, ICD_ENOMEM, "report", NULL, "the C locale is not there");
    before = uselocale(plain);
    icd_status status = write_all(ctx, dir, source, format, formats, which);
    uselocale(before);
    freelocale(plain);
    return status;
}

icd_status icd_report_write_as(icd_ctx *ctx, const char *dir, uint32_t formats)
{
    if (formats & ICD_REPORT_CSV) formats |= ROUNDS;
    return icd_i_pages_write(ctx, dir, "metrics.json", FORMAT, FORMATS, formats);
}

icd_status icd_report_write(icd_ctx *ctx, const char *dir)
{
    return icd_report_write_as(ctx, dir, ICD_REPORT_HTML | ICD_REPORT_CSV);
}

/* The format of `length` bytes of text; -1: none of that name. */
static int find_format(const char *text, size_t length)
{
    for (int i = 0; i < FORMATS; i++)
        if (strlen(FORMAT[i].name) == length && !strncmp(FORMAT[i].name, text, length))
            return i;
    return -1;
}

icd_status icd_report_formats(icd_ctx *ctx, const char *list, uint32_t *formats)
{
    *formats = 0;
    for (const char *at = list;; at++) {
        size_t length = strcspn(at, ",");
        int found = find_format(at, length);
        if (found < 0)
            return icd_i_fail(ctx, ICD_EINVAL, "formats", NULL,
                              "found '%s', expected a list of html, csv, md and junit",
                              list);
        *formats |= UINT32_C(1) << found;
        at += length;
        if (!*at) return ICD_OK;
    }
}
