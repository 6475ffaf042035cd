/* W as a picture: mean weight per cell of a coarse grid, darker is more. */
#include "report/html.h"

#include "base/file.h"

#include <icd/csr.h>
#include <icd/perm.h>

#include <math.h>
#include <string.h>

/* 96 divides the widths that occur into whole granules: 384 / 4, 768 / 8, 1536 / 16. */
enum { CELLS_MOST = 96, SHADES = 9 };

/* Everything that a pair of pictures is drawn from. */
typedef struct heat {
    icd_csr *w;
    icd_perm_set *before, *after;
    int32_t *slot;  /* [n] where the order that was found puts each index of w */
    int32_t cells;  /* per side */
    double *given;  /* [cells x cells] mean weight in w's own order */
    double *solved; /* the same in the order that was found */
} heat;

static void heat_release(icd_ctx *ctx, heat *h)
{
    icd_csr_free(ctx, h->w);
    icd_perm_set_free(ctx, h->before);
    icd_perm_set_free(ctx, h->after);
    icd_i_free(ctx, h->slot);
    icd_i_free(ctx, h->given);
    icd_i_free(ctx, h->solved);
}

static icd_status read_set(icd_page *page, const char *name, icd_perm_set **out)
{
    char *path = NULL;
    icd_status status = icd_i_path_join(page->ctx, page->dir, name, &path);
    if (status == ICD_OK) status = icd_perm_set_read(page->ctx, path, out);
    icd_i_free(page->ctx, path);
    return status;
}

static icd_status read_w(icd_page *page, const char *axis, bool local, icd_csr **out)
{
    icd_status status = ICD_OK;
    icd_text name = {0};
    char *path = NULL;
    *out = NULL;
    if (!*axis || *axis == '.' || strchr(axis, '/'))
        return icd_i_fail(page->ctx, ICD_EDATA, "metrics.json", NULL,
                          "found an axis whose name is no folder's");
    ICD_TRY(icd_i_text_puts(page->ctx, &name, "axes/"));
    ICD_TRY(icd_i_text_puts(page->ctx, &name, axis));
    ICD_TRY(icd_i_text_puts(page->ctx, &name, local ? "/W_after.csr.npz" : "/W.csr.npz"));
    ICD_TRY(icd_i_path_join(page->ctx, page->dir, name.data, &path));
    ICD_TRY(icd_csr_read(page->ctx, path, out));
    if ((*out)->n == 0)
        status = icd_i_fail(page->ctx, ICD_EDATA, path, NULL, "found a W of no indices");
done:
    icd_i_free(page->ctx, path);
    icd_i_text_release(page->ctx, &name);
    return status;
}

/* The order of the checkpoint's indices that made the frame w is counted in; *out is
   NULL where that frame is the checkpoint's own. */
static icd_status frame_order(icd_page *page, const heat *h, const icd_perm **out)
{
    *out = NULL;
    if (h->w->frame == ICD_FRAME_CHECKPOINT) return ICD_OK;
    for (int64_t i = 0; i < h->before->count; i++) {
        const icd_perm *p = h->before->entry[i].perm;
        if (p->to == h->w->frame && p->n == h->w->n) {
            *out = p;
            return ICD_OK;
        }
    }
    return icd_i_fail(page->ctx, ICD_EDATA, "perm_before.json", NULL,
                      "found no order that makes the frame in which W is counted");
}

/* Stored orders lead from the checkpoint, w may be counted behind pi0. With i an index of
   w, pi0[i] is the checkpoint's, and the stored order's inverse is its new slot. */
static icd_status fill_slots(icd_page *page, const char *axis, bool local, heat *h)
{
    icd_status status = ICD_OK;
    int32_t *position = NULL;
    const icd_perm *pi0 = NULL,
                   *found = icd_perm_set_get(local ? h->after : h->before, axis);
    ICD_TRY(frame_order(page, h, &pi0));
    if (!found || found->n != h->w->n || found->from != ICD_FRAME_CHECKPOINT) {
        status = icd_i_fail(page->ctx, ICD_EDATA,
                            local ? "perm_after.json" : "perm_before.json", NULL,
                            "found no order of these %lld indices", (long long)h->w->n);
        goto done;
    }
    ICD_TRY(ICD_ALLOC(page->ctx, h->w->n, &position));
    ICD_TRY(ICD_ALLOC(page->ctx, h->w->n, &h->slot));
    icd_perm_invert_into(found, position);
    for (int64_t i = 0; i < h->w->n; i++)
        h->slot[i] = position[pi0 ? pi0->old_of_new[i] : i];
done:
    icd_i_free(page->ctx, position);
    return status;
}

static int64_t cell_of(const heat *h, int64_t slot)
{
    return slot * h->cells / h->w->n;
}

/* How many indices cell `c` holds. */
static int64_t cell_size(const heat *h, int64_t c)
{
    int64_t n = h->w->n, k = h->cells;
    return ((c + 1) * n + k - 1) / k - (c * n + k - 1) / k;
}

static void accumulate(const heat *h, const int32_t *slot, double *cell)
{
    const icd_csr *w = h->w;
    for (int64_t i = 0; i < w->n; i++)
        for (int64_t k = w->row_ptr[i]; k < w->row_ptr[i + 1]; k++) {
            int64_t r = slot ? slot[i] : i, c = slot ? slot[w->col[k]] : w->col[k];
            cell[cell_of(h, r) * h->cells + cell_of(h, c)] += (double)w->val[k];
        }
    for (int64_t r = 0; r < h->cells; r++)
        for (int64_t c = 0; c < h->cells; c++) {
            int64_t pairs = cell_size(h, r) * (cell_size(h, c) - (r == c));
            if (pairs > 0) cell[r * h->cells + c] /= (double)pairs;
        }
}

static icd_status heat_read(icd_page *page, const char *axis, bool local, heat *h)
{
    icd_status status = ICD_OK;
    ICD_TRY(read_w(page, axis, local, &h->w));
    ICD_TRY(read_set(page, "perm_before.json", &h->before));
    if (local) ICD_TRY(read_set(page, "perm_after.json", &h->after));
    ICD_TRY(fill_slots(page, axis, local, h));
    h->cells = h->w->n < CELLS_MOST ? (int32_t)h->w->n : CELLS_MOST;
    ICD_TRY(ICD_ALLOC(page->ctx, h->cells * h->cells, &h->given));
    ICD_TRY(ICD_ALLOC(page->ctx, h->cells * h->cells, &h->solved));
    accumulate(h, NULL, h->given);
    accumulate(h, h->slot, h->solved);
done:
    return status;
}

static double top_of(const heat *h, const double *cell, double top)
{
    for (int64_t i = 0; i < h->cells * h->cells; i++) top = fmax(top, cell[i]);
    return top;
}

/* Square root: a heavy tail would leave everything else white. */
static int shade_of(double value, double top)
{
    return top > 0 ? (int)lround(SHADES * sqrt(value / top)) : 0;
}

/* All cells of one shade as horizontal strokes, neighbours joined. */
static void draw_shade(icd_page *page, const heat *h, const double *cell, double top,
                       int shade)
{
    bool any = false;
    for (int32_t r = 0; r < h->cells; r++)
        for (int32_t c = 0; c < h->cells;) {
            int32_t from = c;
            while (c < h->cells && shade_of(cell[r * h->cells + c], top) == shade) c++;
            if (c == from) {
                c++;
                continue;
            }
            if (!any)
                icd_i_page_put(page, "<path opacity=\"%.2g\" d=\"",
                               (double)shade / SHADES);
            any = true;
            icd_i_page_put(page, "M%d %dh%d", from, r, c - from);
        }
    if (any) icd_i_page_raw(page, "\"/>\n");
}

static void draw(icd_page *page, const heat *h, const double *cell, double top,
                 const char *axis, const char *label)
{
    icd_i_page_put(page, "<figure><svg role=img viewBox=\"0 -.5 %d %d\" ", h->cells,
                   h->cells);
    icd_i_page_raw(page,
                   "shape-rendering=crispEdges aria-label=\"Co-access matrix W of ");
    icd_i_page_text(page, axis);
    icd_i_page_put(page, ", %s\">", label);
    for (int shade = 1; shade <= SHADES; shade++) draw_shade(page, h, cell, top, shade);
    icd_i_page_put(page, "</svg><figcaption>%s</figcaption></figure>\n", label);
}

/* The reason without the run directory: a report names no machine's paths. */
static void draw_reason(icd_page *page)
{
    const char *message = icd_ctx_message(page->ctx);
    size_t length = strlen(page->dir);
    if (!strncmp(message, page->dir, length)) {
        message += length;
        while (*message == '/') message++;
    }
    icd_i_page_raw(page, "<p class=note>No picture: ");
    icd_i_page_text(page, message);
    icd_i_page_raw(page, "</p>\n");
}

void icd_i_heat_pair(icd_page *page, const char *axis, bool local)
{
    heat h = {0};
    if (page->status != ICD_OK) return;
    icd_status status = heat_read(page, axis, local, &h);
    if (status == ICD_OK) {
        double top = top_of(&h, h.solved, top_of(&h, h.given, 0));
        icd_i_page_raw(page, "<div class=pair>");
        draw(page, &h, h.given, top, axis,
             local ? "before: the order that pi0 made"
                   : "before: the checkpoint's order");
        draw(page, &h, h.solved, top, axis, local ? "after pi1" : "after pi0");
        icd_i_page_raw(page, "</div>\n");
    } else if (status == ICD_ENOMEM) {
        page->status = status;
    } else {
        draw_reason(page);
        icd_ctx_clear(page->ctx);
    }
    heat_release(page->ctx, &h);
}
