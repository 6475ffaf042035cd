/* How many granules of every linear are live under each order. */
#include "report/html.h"

#include <math.h>

static const char *const ORDER[] = {"linear", "iterative", "frequency", "random"};
enum { ORDERS = sizeof ORDER / sizeof ORDER[0] };

/* Live granules under an order in per cent of all; NaN where unknown. */
static double live_percent(const json_t *row, const char *order)
{
    double all = icd_i_get_real(row, "all"),
           live = icd_i_get_real(json_object_get(row, "live"), order);
    return all > 0 && live >= 0 && live <= all ? 100 * live / all : NAN;
}

static void live_link(icd_page *page, double a, double b)
{
    if (isfinite(a) && isfinite(b))
        icd_i_page_put(page, "<i class=link style=\"left:%.2f%%;width:%.2f%%\"></i>",
                       fmin(a, b), fabs(a - b));
}

static void live_row(icd_page *page, const json_t *row)
{
    double linear = live_percent(row, "linear"),
           iterative = live_percent(row, "iterative");
    icd_i_page_raw(page, "<div class=row><span class=name>");
    icd_i_page_text(page, icd_i_get_string(row, "linear"));
    icd_i_page_raw(page, "</span><span class=track>");
    live_link(page, linear, iterative);
    for (int i = ORDERS - 1; i >= 0; i--) {
        double at = live_percent(row, ORDER[i]);
        if (isfinite(at))
            icd_i_page_put(page, "<i class=\"dot %s\" style=\"left:%.2f%%\"></i>",
                           ORDER[i], at);
    }
    icd_i_page_raw(page, "</span><span class=value>");
    icd_i_page_real(page, linear, 1);
    icd_i_page_raw(page, " &rarr; ");
    icd_i_page_real(page, iterative, 1);
    icd_i_page_raw(page, "&nbsp;%</span></div>\n");
}

static void live_chart(icd_page *page, const json_t *rows)
{
    const json_t *row = NULL;
    size_t i = 0;
    icd_i_page_raw(
        page,
        "<p>A tile kernel's work is its live granules: V rows by g columns that hold a "
        "surviving weight. The same masks under four orders of the columns; further left "
        "is less work.</p>\n<p class=legend><span><i class=\"dot linear\"></i>linear "
        "(pi0)</span><span><i class=\"dot iterative\"></i>iterative (pi1)</span><span><i "
        "class=\"dot frequency\"></i>frequency sort</span><span><i class=\"dot "
        "random\"></i>random</span></p>\n<div class=\"chart dense\" role=img "
        "aria-label=\"Share of live granules of every linear under four orders; the "
        "table of linears has the same numbers\">\n");
    json_array_foreach(rows, i, row) live_row(page, row);
    icd_i_page_raw(page, "<div class=\"row axis\"><span></span><span class=track>");
    for (int percent = 0; percent <= 100; percent += 25)
        icd_i_page_put(page, "<b style=\"left:%d%%\">%d&nbsp;%%</b>", percent, percent);
    icd_i_page_raw(page, "</span><span></span></div></div>\n");
}

static void table_row(icd_page *page, const json_t *row)
{
    const json_t *bytes = json_object_get(row, "bytes");
    icd_i_page_row(page, icd_i_get_string(row, "linear"));
    icd_i_page_raw(page, "<td class=n>");
    icd_i_page_real(page, icd_i_get_real(row, "rows"), 0);
    icd_i_page_raw(page, "&times;");
    icd_i_page_real(page, icd_i_get_real(row, "cols"), 0);
    icd_i_page_raw(page, "</td>");
    icd_i_page_count(page, icd_i_get_real(row, "granule"));
    icd_i_page_percent(page, icd_i_get_real(row, "density"), 1);
    icd_i_page_percent(page, icd_i_get_real(row, "retained"), 1);
    for (int i = 0; i < ORDERS; i++)
        icd_i_page_percent(page, live_percent(row, ORDER[i]) / 100, 1);
    icd_i_page_number(page, icd_i_get_real(bytes, "linear") / 1e3, 1);
    icd_i_page_number(page, icd_i_get_real(bytes, "iterative") / 1e3, 1);
    icd_i_page_row_end(page);
}

static void live_table(icd_page *page, const json_t *rows)
{
    const json_t *row = NULL;
    size_t i = 0;
    icd_i_page_put(page, "<details><summary>Table of linears (%zu)</summary>\n",
                   json_array_size(rows));
    icd_i_page_table(page,
                     "Linears: what survived the transform, live granules under each "
                     "order, packed size",
                     "linear|#shape|#g|#density|#saliency kept|#linear|#iterative|"
                     "#frequency sort|#random|#linear kB|#iterative kB");
    json_array_foreach(rows, i, row) table_row(page, row);
    icd_i_page_table_end(page);
    icd_i_page_raw(page, "</details>\n");
}

void icd_i_section_layers(icd_page *page)
{
    const json_t *rows = icd_i_page_get(page, "linears");
    if (json_array_size(rows) == 0) return;
    icd_i_page_section(page, "layers", "Live granules per layer");
    live_chart(page, rows);
    live_table(page, rows);
    icd_i_kernel_tables(page);
    icd_i_tile_maps(page);
}
