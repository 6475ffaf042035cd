/* The orders that were found, and W before and after the one that gained most. */
#include "report/html.h"

#include <math.h>

static void order_row(icd_page *page, const json_t *row)
{
    icd_i_page_row(page, icd_i_get_string(row, "axis"));
    icd_i_page_cell(page, icd_i_get_bool(row, "local") ? "local, pi1" : "true axis, pi0");
    icd_i_page_count(page, icd_i_get_real(row, "D"));
    icd_i_page_count(page, icd_i_get_real(row, "granule"));
    icd_i_page_number(page, icd_i_get_real(row, "T_before"), 3);
    icd_i_page_number(page, icd_i_get_real(row, "T_after"), 3);
    icd_i_page_number(page, icd_i_get_real(row, "cut_before"), 3);
    icd_i_page_number(page, icd_i_get_real(row, "cut_after"), 3);
    icd_i_page_count(page, icd_i_get_real(row, "moved"));
    icd_i_page_cell(page, icd_i_get_string(row, "method"));
    icd_i_page_cell(page, icd_i_get_string(row, "reason"));
    icd_i_page_number(page, icd_i_get_real(row, "elapsed_s"), 2);
    icd_i_page_row_end(page);
}

static void orders_table(icd_page *page, const json_t *axes)
{
    const json_t *row = NULL;
    size_t i = 0;
    icd_i_page_put(page, "<details><summary>Table of orders (%zu)</summary>\n",
                   json_array_size(axes));
    icd_i_page_table(
        page,
        "Orders found: T is granules touched relative to the fewest possible (1 is "
        "perfect), cut the share of W between granules",
        "axis|kind|#D|#g|#T before|#T after|#cut before|#cut after|#moved|method|why|#s");
    json_array_foreach(axes, i, row) order_row(page, row);
    icd_i_page_table_end(page);
    icd_i_page_raw(page, "</details>\n");
}

static double gain(const json_t *row)
{
    double before = icd_i_get_real(row, "T_before"),
           after = icd_i_get_real(row, "T_after");
    return isfinite(before) && after > 0 ? before / after : 0;
}

/* The order of its kind whose T fell most; the first of equals. NULL: there is none. */
static const json_t *best_order(const json_t *axes, bool local)
{
    const json_t *row = NULL, *best = NULL;
    size_t i = 0;
    json_array_foreach(axes, i, row)
    {
        if (!json_is_object(row) || icd_i_get_bool(row, "local") != local) continue;
        if (!best || gain(row) > gain(best)) best = row;
    }
    return best;
}

static void picture(icd_page *page, const json_t *row, bool local)
{
    const char *axis = icd_i_get_string(row, "axis");
    if (!row) return;
    icd_i_page_raw(page, local ? "<h3>W after the transform, " : "<h3>W, ");
    icd_i_page_text(page, axis);
    icd_i_page_raw(page, "</h3>\n");
    icd_i_heat_pair(page, axis, local);
}

void icd_i_section_orders(icd_page *page)
{
    const json_t *axes = icd_i_page_get(page, "axes");
    if (json_array_size(axes) == 0) return;
    icd_i_page_section(page, "orders", "Orders");
    icd_i_page_raw(page,
                   "<p>W counts how often two channels are used together. Each cell is "
                   "the mean weight of the pairs in it; darker is more, on one scale for "
                   "both pictures. Of each kind the axis that gained most is shown; the "
                   "table has all.</p>\n");
    picture(page, best_order(axes, false), false);
    picture(page, best_order(axes, true), true);
    orders_table(page, axes);
}
