/* What was expected of the layouts, and what their times were. */
#include "report/plot.h"

#include "base/file.h"
#include "base/json.h"

#include <math.h>
#include <string.h>

enum { POINTS_MOST = 256 };

static const char *class_of(const json_t *arm)
{
    const char *role = icd_i_get_string(arm, "role");
    if (!strcmp(role, "baseline")) return "linear";
    if (!strcmp(role, "candidate")) return "iterative";
    return !strcmp(role, "alternative") ? "frequency" : "";
}

/* calibration.json of this directory; NULL where there is none that can be read. */
static json_t *read_calibration(icd_page *page)
{
    char *path = NULL;
    json_t *root = NULL;
    if (icd_i_path_join(page->ctx, page->dir, "calibration.json", &path) == ICD_OK &&
        icd_i_file_exists(path))
        (void)icd_i_json_read(page->ctx, path, &root);
    icd_ctx_clear(page->ctx);
    icd_i_free(page->ctx, path);
    return root;
}

static int64_t arm_points(const json_t *arms, icd_plot_point *point)
{
    const json_t *arm = NULL;
    size_t i = 0;
    int64_t n = 0;
    json_array_foreach(arms, i, arm)
    {
        if (n == POINTS_MOST / 2) break;
        point[n++] = (icd_plot_point){icd_i_get_real(arm, "bytes") / 1e6,
                                      icd_i_metric_value(json_object_get(arm, "lat_ms")),
                                      icd_i_get_string(arm, "name"), class_of(arm)};
    }
    return n;
}

static int64_t calibration_points(const json_t *rows, icd_plot_point *point)
{
    const json_t *row = NULL;
    size_t i = 0;
    int64_t n = 0;
    json_array_foreach(rows, i, row)
    {
        if (n == POINTS_MOST / 2) break;
        point[n++] = (icd_plot_point){icd_i_get_real(row, "bytes") / 1e6,
                                      icd_i_get_real(row, "ms"), NULL, "random"};
    }
    return n;
}

static void arms_plot(icd_page *page, const json_t *arms)
{
    icd_plot_point point[POINTS_MOST];
    icd_plot plot = {
        "Measured time of every arm over its packed bytes; the table of arms "
        "has the same numbers",
        "packed weights in MB that a step reads", "measured ms a step", 0, NAN};
    icd_i_page_raw(page, "<h3>Cost and measured time of the arms</h3><p class=note>Arms "
                         "of one kernel should lie on a line; other kernels have lines "
                         "of their own.</p>\n");
    icd_i_plot_draw(page, &plot, point, arm_points(arms, point));
}

static void calibration_plot(icd_page *page, const json_t *c)
{
    icd_plot_point point[POINTS_MOST];
    icd_plot plot = {"Measured time of the calibration's layouts over their packed bytes "
                     "with the fitted line",
                     "packed weights in MB that a step reads", "measured ms a step",
                     icd_i_get_real(c, "base_ms"), icd_i_get_real(c, "ms_per_mb")};
    icd_i_page_raw(page, "<h3>Layouts between solved and random</h3>\n");
    icd_i_plot_draw(page, &plot, point,
                    calibration_points(json_object_get(c, "points"), point));
    if (isfinite(plot.base) && isfinite(plot.slope))
        icd_i_page_put(page, "<p>Time = %.4g&nbsp;ms + %.4g&nbsp;ms per MB; R&sup2; ",
                       plot.base, plot.slope);
    else
        icd_i_page_raw(page, "<p>No line; R&sup2; ");
    icd_i_page_real(page, icd_i_get_real(c, "r2"), 3);
    icd_i_page_raw(page, ", cross-validated ");
    icd_i_page_real(page, icd_i_get_real(c, "r2_cv"), 3);
    icd_i_page_raw(page, ", rank correlation ");
    icd_i_page_real(page, icd_i_get_real(c, "spearman"), 3);
    icd_i_page_raw(page, " (<code>icd calibrate</code>).</p>\n");
}

static void ratio_cell(icd_page *page, double value, double low, double high)
{
    icd_i_page_raw(page, "<td class=n>");
    icd_i_page_real(page, 100 * (value - 1), 1);
    if (isfinite(value)) icd_i_page_raw(page, "&nbsp;%");
    if (isfinite(value) && isfinite(low) && isfinite(high))
        icd_i_page_put(page, " <small>[%+.1f, %+.1f]</small>", 100 * (low - 1),
                       100 * (high - 1));
    icd_i_page_raw(page, "</td>");
}

static void fidelity_table(icd_page *page, const json_t *p)
{
    icd_i_page_table(page, "Iterative against linear: expected and found",
                     "|#live granules|#bytes|#time by the model|#time measured");
    icd_i_page_row(page, "change");
    ratio_cell(page, icd_i_get_real(p, "live_ratio"), NAN, NAN);
    ratio_cell(page, icd_i_get_real(p, "bytes_ratio"), NAN, NAN);
    ratio_cell(page, icd_i_get_real(p, "time_ratio"), icd_i_get_real(p, "time_low"),
               icd_i_get_real(p, "time_high"));
    ratio_cell(page, icd_i_get_real(p, "measured_ratio"),
               icd_i_get_real(p, "measured_low"), icd_i_get_real(p, "measured_high"));
    icd_i_page_row_end(page);
    icd_i_page_table_end(page);
}

void icd_i_section_cost(icd_page *page)
{
    const json_t *prediction = icd_i_page_get(page, "prediction"),
                 *arms = icd_i_page_get(page, "arms");
    if (!json_is_object(prediction)) return;
    json_t *calibration = read_calibration(page);
    icd_i_page_section(page, "cost", "Cost model against measurement");
    fidelity_table(page, prediction);
    arms_plot(page, arms);
    if (json_array_size(json_object_get(calibration, "points")))
        calibration_plot(page, calibration);
    json_decref(calibration);
}
