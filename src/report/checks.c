/* What the transform did, whether the permuted model is still the same, and the gates. */
#include "report/html.h"

#include <math.h>
#include <string.h>

static void bold(icd_page *page, const char *text)
{
    icd_i_page_raw(page, "<b>");
    icd_i_page_text(page, *text ? text : "unknown");
    icd_i_page_raw(page, "</b>");
}

static void sparsity(icd_page *page, const json_t *s)
{
    bold(page, icd_i_get_string(s, "type"));
    if (!strcmp(icd_i_get_string(s, "type"), "none")) return;
    icd_i_page_raw(page, " (rate ");
    icd_i_page_real(page, icd_i_get_real(s, "rate"), 2);
    icd_i_page_raw(page, ", V ");
    icd_i_page_real(page, icd_i_get_real(s, "vector"), 0);
    icd_i_page_raw(page, ", saliency ");
    icd_i_page_text(page, icd_i_get_string(s, "saliency"));
    icd_i_page_raw(page, ")");
}

static void transform_line(icd_page *page, const json_t *t)
{
    const json_t *q = json_object_get(t, "quant");
    icd_i_page_raw(page, "<p>Transform: sparsity ");
    sparsity(page, json_object_get(t, "sparsity"));
    icd_i_page_raw(page, ", quantisation ");
    bold(page, icd_i_get_string(q, "dtype"));
    icd_i_page_raw(page, ". ");
    icd_i_page_real(page, 100 * icd_i_get_real(t, "density"), 1);
    icd_i_page_raw(page, "&nbsp;% of the weights survive with ");
    icd_i_page_real(page, 100 * icd_i_get_real(t, "retained"), 1);
    icd_i_page_raw(page, "&nbsp;% of their saliency; mean cosine of the outputs to the "
                         "untransformed f32 model: ");
    icd_i_page_real(page, icd_i_get_real(t, "cosine_vs_dense"), 4);
    icd_i_page_raw(page, ".</p>\n");
}

static void science_cell(icd_page *page, double value)
{
    if (isfinite(value))
        icd_i_page_put(page, "<td class=n>%.1e</td>", value);
    else
        icd_i_page_raw(page, "<td class=n>&ndash;</td>");
}

static void exactness_table(icd_page *page, const json_t *rows)
{
    const json_t *row = NULL;
    size_t i = 0;
    icd_i_page_table(page, "Exactness: a permuted model must equal its unpermuted self",
                     "check|#largest difference, relative|#bound|#cosine|result");
    json_array_foreach(rows, i, row)
    {
        const json_t *ok = json_object_get(row, "ok");
        icd_i_page_row(page, icd_i_get_string(row, "what"));
        science_cell(page, icd_i_get_real(row, "max_rel"));
        science_cell(page, icd_i_get_real(row, "bound"));
        icd_i_page_number(page, icd_i_get_real(row, "cosine"), 7);
        if (json_is_true(ok))
            icd_i_page_raw(page, "<td class=good>equal</td>");
        else
            icd_i_page_put(page, "<td class=bad>%s</td>",
                           json_is_false(ok) ? "DIFFERENT" : "unknown");
        icd_i_page_row_end(page);
    }
    icd_i_page_table_end(page);
}

static const char *result_class(const char *result)
{
    if (!strcmp(result, "met")) return "good";
    return !strcmp(result, "not met") ? "bad" : "absent";
}

static void gates_table(icd_page *page, const json_t *rows)
{
    const json_t *row = NULL;
    size_t i = 0;
    icd_i_page_table(page, "Gates: iterative against linear, and the targets",
                     "gate|target|found|result|why");
    json_array_foreach(rows, i, row)
    {
        const char *result = icd_i_get_string(row, "result");
        icd_i_page_row(page, icd_i_get_string(row, "name"));
        icd_i_page_cell(page, icd_i_get_string(row, "target"));
        icd_i_page_cell(page, icd_i_get_string(row, "found"));
        icd_i_page_put(page, "<td class=%s>", result_class(result));
        icd_i_page_text(page, result);
        icd_i_page_raw(page, "</td>");
        icd_i_page_cell(page, icd_i_get_string(row, "reason"));
        icd_i_page_row_end(page);
    }
    icd_i_page_table_end(page);
}

void icd_i_section_checks(icd_page *page)
{
    const json_t *transform = icd_i_page_get(page, "transform"),
                 *exactness = icd_i_page_get(page, "exactness"),
                 *gates = icd_i_page_get(page, "gates");
    icd_i_page_section(page, "checks", "Transform, exactness, gates");
    if (json_is_object(transform))
        transform_line(page, transform);
    else
        icd_i_page_raw(page, "<p>The run did not come to a transform.</p>\n");
    if (json_array_size(exactness))
        exactness_table(page, exactness);
    else
        icd_i_page_raw(page, "<p>Exactness was not checked in this run.</p>\n");
    if (json_array_size(gates)) gates_table(page, gates);
}
