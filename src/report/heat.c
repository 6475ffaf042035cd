/* W as a picture: weight per cell of a coarse grid, in the order given, darker is more.
 */
#include "report/html.h"

#include <icd/csr.h>
#include <icd/perm.h>

#include <math.h>
#include <stdio.h>

enum { CELLS = 64, SIDE = 320 };

/* The order of `axis` in a stored set, as slot of every checkpoint index; NULL: identity.
   W of a local order is counted in the frame that pi0 makes, which for untouched axes is
   the checkpoint's. */
static icd_status read_slots(icd_page *page, const char *perm_path, const char *axis,
                             const icd_csr *w, int32_t **slot)
{
    icd_status status = ICD_OK;
    icd_perm_set *set = NULL;
    char path[512];
    *slot = NULL;
    if (!perm_path) return ICD_OK;
    snprintf(path, sizeof path, "%s/%s", page->dir, perm_path);
    ICD_TRY(icd_perm_set_read(page->ctx, path, &set));
    const icd_perm *perm = icd_perm_set_get(set, axis);
    if (perm && perm->n == w->n) {
        ICD_TRY(ICD_ALLOC(page->ctx, w->n, slot));
        icd_perm_invert_into(perm, *slot);
    }
done:
    icd_perm_set_free(page->ctx, set);
    return status;
}

static void accumulate(const icd_csr *w, const int32_t *slot, double *cell)
{
    for (int64_t i = 0; i < w->n; i++)
        for (int64_t k = w->row_ptr[i]; k < w->row_ptr[i + 1]; k++) {
            int64_t r = slot ? slot[i] : i, c = slot ? slot[w->col[k]] : w->col[k];
            cell[r * CELLS / w->n * CELLS + c * CELLS / w->n] += (double)w->val[k];
        }
}

/* Square root: a heavy tail would leave everything else white. */
static void draw(icd_page *page, const double *cell, const char *label)
{
    double top = 0, size = (double)SIDE / CELLS;
    for (int i = 0; i < CELLS * CELLS; i++) top = fmax(top, cell[i]);
    icd_i_page_put(
        page,
        "<figure><svg role=img class=heat viewBox=\"0 0 %d %d\" aria-label=\"Co-access "
        "matrix W, %s\">",
        SIDE, SIDE, label);
    for (int r = 0; r < CELLS; r++)
        for (int c = 0; c < CELLS; c++) {
            double shade = top > 0 ? sqrt(cell[r * CELLS + c] / top) : 0;
            if (shade > .03)
                icd_i_page_put(page, "<path d=\"M%g %gh%gv%gh-%gz\" opacity=%.2f />",
                               c * size, r * size, size, size, size, shade);
        }
    icd_i_page_put(page, "</svg><figcaption>%s</figcaption></figure>\n", label);
}

void icd_i_svg_heat(icd_page *page, const char *w_path, const char *perm_path,
                    const char *axis, const char *label)
{
    icd_status status = ICD_OK;
    icd_csr *w = NULL;
    int32_t *slot = NULL;
    double *cell = NULL;
    if (page->status != ICD_OK) return;
    ICD_TRY(icd_csr_read(page->ctx, w_path, &w));
    ICD_TRY(read_slots(page, perm_path, axis, w, &slot));
    ICD_TRY(ICD_ALLOC(page->ctx, CELLS * CELLS, &cell));
    accumulate(w, slot, cell);
    draw(page, cell, label);
done:
    icd_i_free(page->ctx, cell);
    icd_i_free(page->ctx, slot);
    icd_csr_free(page->ctx, w);
    if (status == ICD_ENOMEM) {
        page->status = status;
    } else if (status != ICD_OK) {
        icd_i_page_put(page, "<p class=note>No picture: ");
        icd_i_page_text(page, icd_ctx_message(page->ctx));
        icd_i_page_put(page, "</p>\n");
        icd_ctx_clear(page->ctx);
    }
}
