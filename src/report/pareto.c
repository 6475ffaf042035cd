/* The sweep that this run is part of: time against quality. */
#include "report/plot.h"
#include "report/sweep.h"

#include "base/file.h"

#include <math.h>
#include <string.h>

/* sweep.csv of the run directory, else of the folder above it; false: none that reads. */
static bool read_sweep(icd_page *page, icd_sweep *sweep)
{
    static const char *const NAME[] = {"sweep.csv", "../sweep.csv"};
    bool found = false;
    for (int i = 0; i < 2 && !found; i++) {
        char *path = NULL, *text = NULL;
        size_t size = 0;
        found = icd_i_path_join(page->ctx, page->dir, NAME[i], &path) == ICD_OK &&
                icd_i_file_exists(path) &&
                icd_i_file_read(page->ctx, path, &text, &size) == ICD_OK &&
                icd_i_sweep_parse(page->ctx, text, (int64_t)size, sweep) == ICD_OK;
        icd_i_free(page->ctx, text);
        icd_i_free(page->ctx, path);
        icd_ctx_clear(page->ctx);
    }
    return found && sweep->count > 0;
}

static void sweep_plot(icd_page *page, const icd_sweep *sweep)
{
    icd_plot plot = {
        "Quality over time of every configuration of the sweep; the table has "
        "the same numbers",
        "ms a step", "quality", 0, NAN};
    icd_plot_point *point = NULL;
    if (page->status == ICD_OK) page->status = ICD_ALLOC(page->ctx, sweep->count, &point);
    if (page->status != ICD_OK) return;
    for (int64_t i = 0; i < sweep->count; i++) {
        const icd_sweep_row *r = &sweep->row[i];
        point[i] = (icd_plot_point){r->lat_ms, r->quality, r->front ? r->config : NULL,
                                    r->front ? "iterative" : "random"};
    }
    icd_i_plot_draw(page, &plot, point, sweep->count);
    icd_i_free(page->ctx, point);
}

void icd_i_section_sweep(icd_page *page)
{
    icd_sweep sweep = {0};
    if (page->status != ICD_OK || !read_sweep(page, &sweep)) return;
    icd_i_page_section(page, "sweep", "Sweep: time against quality");
    icd_i_page_raw(page, "<p>Blue: no other configuration is both faster and better. "
                         "Quality as the sweep measured it; more is better.</p>\n");
    sweep_plot(page, &sweep);
    icd_i_page_table(page, "Configurations", "config|#ms a step|#quality|front");
    for (int64_t i = 0; i < sweep.count; i++) {
        icd_i_page_row(page, sweep.row[i].config);
        icd_i_page_number(page, sweep.row[i].lat_ms, 3);
        icd_i_page_number(page, sweep.row[i].quality, 4);
        icd_i_page_cell(page, sweep.row[i].front ? "yes" : "");
        icd_i_page_row_end(page);
    }
    icd_i_page_table_end(page);
    icd_i_sweep_release(page->ctx, &sweep);
}
