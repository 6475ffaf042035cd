/* Which kernel every linear got where the machine was asked (kernel.kind: auto), and at
   which share of live granules the kernels break even with dense. */
#include "report/html.h"

static const char *const ARM[] = {"linear", "iterative"};
enum { ARMS = sizeof ARM / sizeof ARM[0] };

static void choice_cells(icd_page *page, const json_t *choice)
{
    icd_i_page_cell(page, icd_i_get_string(choice, "kernel"));
    icd_i_page_percent(page, icd_i_get_real(choice, "live"), 1);
    icd_i_page_number(page, icd_i_get_real(choice, "dense_us"), 1);
    icd_i_page_number(page, icd_i_get_real(choice, "tile_us"), 1);
    icd_i_page_number(page, icd_i_get_real(choice, "gather_us"), 1);
}

static void choices(icd_page *page, const json_t *linears)
{
    const json_t *row = NULL;
    size_t i = 0;
    icd_i_page_raw(page, "<details><summary>Kernels that were chosen</summary>\n");
    icd_i_page_table(page,
                     "Kernel of every linear, and microseconds of one product of each",
                     "linear|linear: kernel|#live|#dense|#tile|#gather|iterative: "
                     "kernel|#live|#dense|#tile|#gather");
    json_array_foreach(linears, i, row)
    {
        const json_t *kernels = json_object_get(row, "kernels");
        if (!kernels) continue;
        icd_i_page_row(page, icd_i_get_string(row, "linear"));
        for (int a = 0; a < ARMS; a++)
            choice_cells(page, json_object_get(kernels, ARM[a]));
        icd_i_page_row_end(page);
    }
    icd_i_page_table_end(page);
    icd_i_page_raw(page, "</details>\n");
}

/* How many inputs are zero, and what the threshold costs. */
static void contextual(icd_page *page)
{
    const json_t *c = icd_i_page_get(page, "contextual");
    if (!c) return;
    icd_i_page_raw(page, "<p>Of the inputs of linears ");
    icd_i_page_real(page, 100 * icd_i_get_real(c, "zeros"), 1);
    icd_i_page_raw(page, "&nbsp;% are exactly zero; kernels skip granules of few tokens "
                         "that are.");
    if (icd_i_get_real(c, "threshold") > 0) {
        icd_i_page_put(page, " Under the threshold of %g ",
                       icd_i_get_real(c, "threshold"));
        icd_i_page_real(page, 100 * icd_i_get_real(c, "below"), 1);
        icd_i_page_put(page,
                       "&nbsp;%% are: against outputs without it max |a-b| / max |a| "
                       "is %.3g, cosine ",
                       icd_i_get_real(c, "max_rel"));
        icd_i_page_real(page, icd_i_get_real(c, "cosine"), 6);
        icd_i_page_raw(page, ".");
    }
    icd_i_page_raw(page, "</p>\n");
}

void icd_i_kernel_tables(icd_page *page)
{
    const json_t *rows = icd_i_page_get(page, "break_even"), *row = NULL;
    size_t i = 0;
    contextual(page);
    if (json_array_size(rows) == 0) return;
    icd_i_page_table(page,
                     "Break-even: above this share of live granules (tile) or channels "
                     "(gather) dense is faster on this machine",
                     "type|#rows|#columns|#g|#tokens|#tile|#gather");
    json_array_foreach(rows, i, row)
    {
        icd_i_page_row(page, icd_i_get_string(row, "dtype"));
        icd_i_page_count(page, icd_i_get_real(row, "rows"));
        icd_i_page_count(page, icd_i_get_real(row, "cols"));
        icd_i_page_count(page, icd_i_get_real(row, "granule"));
        icd_i_page_count(page, icd_i_get_real(row, "tokens"));
        icd_i_page_percent(page, icd_i_get_real(row, "tile"), 0);
        icd_i_page_percent(page, icd_i_get_real(row, "gather"), 0);
        icd_i_page_row_end(page);
    }
    icd_i_page_table_end(page);
    choices(page, icd_i_page_get(page, "linears"));
}
