/* Tile maps: which granules of a linear's row blocks are live, before and after. */
#include "report/html.h"

#include "base/file.h"
#include "base/json.h"
#include "base/npz.h"

#include <math.h>
#include <string.h>

enum {
    WIDTH_MOST = 96,
    HEIGHT_MOST = 48,
    SHADES = 4,
    LINEARS_MOST = 64,
    SIDE_MOST = 1 << 20
};

/* Files that all maps are drawn from. */
typedef struct source {
    icd_npz *masks;
    json_t *arms;
} source;

/* One linear: its mask as stored, and the map that is drawn. */
typedef struct tiles {
    int64_t rows, cols, granule;
    icd_array bits; /* u64 [blocks, words] */
    int32_t *order; /* [cols] old index at every slot */
    int64_t width, height;
    double *cell; /* [height x width] share of live granules */
} tiles;

static void tiles_release(icd_ctx *ctx, tiles *t)
{
    icd_i_array_release(ctx, &t->bits);
    icd_i_free(ctx, t->order);
    icd_i_free(ctx, t->cell);
}

static bool bit(const tiles *t, int64_t block, int64_t col)
{
    const uint64_t *words = t->bits.data;
    return words[block * t->bits.shape[1] + (col >> 6)] >> (col & 63) & 1;
}

static const json_t *find_order(const source *s, const char *arm, const char *group)
{
    const json_t *row = NULL;
    size_t i = 0;
    json_array_foreach(
        json_object_get(s->arms, "arms"), i,
        row) if (!strcmp(icd_i_get_string(row, "name"),
                         arm)) return json_object_get(json_object_get(row, "orders"),
                                                      group);
    return NULL;
}

/* Without an order the columns stay; false where it is none of these columns. */
static bool fill_order(tiles *t, const json_t *order)
{
    const json_t *value = NULL;
    size_t i = 0;
    for (int64_t c = 0; c < t->cols; c++) t->order[c] = (int32_t)c;
    if (!order) return true;
    if ((int64_t)json_array_size(order) != t->cols) return false;
    json_array_foreach(order, i, value)
    {
        json_int_t old = json_integer_value(value);
        if (!json_is_integer(value) || old < 0 || old >= t->cols) return false;
        t->order[i] = (int32_t)old;
    }
    return true;
}

static bool granule_live(const tiles *t, int64_t block, int64_t granule)
{
    for (int64_t k = granule * t->granule; k < (granule + 1) * t->granule && k < t->cols;
         k++)
        if (bit(t, block, t->order[k])) return true;
    return false;
}

static void fill_cells(tiles *t)
{
    int64_t blocks = t->bits.shape[0], granules = (t->cols + t->granule - 1) / t->granule;
    memset(t->cell, 0, (size_t)(t->width * t->height) * sizeof *t->cell);
    for (int64_t b = 0; b < blocks; b++)
        for (int64_t g = 0; g < granules; g++)
            t->cell[(b * t->height / blocks) * t->width + g * t->width / granules] +=
                granule_live(t, b, g);
    double most =
        (double)blocks / (double)t->height * (double)granules / (double)t->width;
    for (int64_t i = 0; i < t->width * t->height; i++)
        t->cell[i] = fmin(1, t->cell[i] / most);
}

static int shade_of(double share)
{
    return (int)lround(SHADES * share);
}

static void draw_shade(icd_page *page, const tiles *t, int shade)
{
    bool any = false;
    for (int64_t r = 0; r < t->height; r++)
        for (int64_t c = 0; c < t->width;) {
            int64_t from = c;
            while (c < t->width && shade_of(t->cell[r * t->width + c]) == shade) c++;
            if (c == from) {
                c++;
                continue;
            }
            if (!any)
                icd_i_page_put(page, "<path opacity=\"%.2g\" d=\"",
                               (double)shade / SHADES);
            any = true;
            icd_i_page_put(page, "M%d %dh%d", (int)from, (int)r, (int)(c - from));
        }
    if (any) icd_i_page_raw(page, "\"/>");
}

static void draw(icd_page *page, const tiles *t, const char *linear, const char *arm)
{
    icd_i_page_put(
        page,
        "<svg class=tilemap role=img viewBox=\"0 -.5 %d %d\" "
        "preserveAspectRatio=none shape-rendering=crispEdges aria-label=\"Live "
        "granules of ",
        (int)t->width, (int)t->height);
    icd_i_page_text(page, linear);
    icd_i_page_put(page, ", %s\">", arm);
    for (int shade = 1; shade <= SHADES; shade++) draw_shade(page, t, shade);
    icd_i_page_raw(page, "</svg>");
}

/* Sizes from metrics.json must fit what masks.npz holds. */
static bool sizes_fit(const tiles *t)
{
    return t->rows > 0 && t->cols > 0 && t->rows <= SIDE_MOST && t->cols <= SIDE_MOST &&
           t->granule > 0 && t->granule <= t->cols && t->bits.dims == 2 &&
           t->bits.item == 8 && t->bits.shape[0] > 0 && t->bits.shape[0] <= t->rows &&
           t->bits.shape[1] == (t->cols + 63) / 64;
}

static icd_status open_tiles(icd_page *page, const source *s, const json_t *row, tiles *t)
{
    icd_status status = ICD_OK;
    double rows = icd_i_get_real(row, "rows"), cols = icd_i_get_real(row, "cols"),
           granule = icd_i_get_real(row, "granule");
    const char *name = icd_i_get_string(row, "linear");
    bool sane = rows >= 1 && rows <= SIDE_MOST && cols >= 1 && cols <= SIDE_MOST &&
                granule >= 1 && granule <= SIDE_MOST;
    if (!sane || !icd_i_npz_has(s->masks, name)) return ICD_EDATA;
    t->rows = (int64_t)rows;
    t->cols = (int64_t)cols;
    t->granule = (int64_t)granule;
    ICD_TRY(icd_i_npz_get(page->ctx, s->masks, name, &t->bits));
    if (!sizes_fit(t)) return ICD_EDATA;
    int64_t granules = (t->cols + t->granule - 1) / t->granule;
    t->width = granules < WIDTH_MOST ? granules : WIDTH_MOST;
    t->height = t->bits.shape[0] < HEIGHT_MOST ? t->bits.shape[0] : HEIGHT_MOST;
    ICD_TRY(ICD_ALLOC(page->ctx, t->cols, &t->order));
    ICD_TRY(ICD_ALLOC(page->ctx, t->width * t->height, &t->cell));
done:
    return status;
}

/* Both maps of a linear, one above the other; nothing where the files do not fit. */
static void draw_linear(icd_page *page, const source *s, const json_t *row)
{
    tiles t = {0};
    const char *name = icd_i_get_string(row, "linear"),
               *group = icd_i_get_string(row, "group");
    static const char *const ARM[] = {"linear", "iterative"};
    icd_status status = open_tiles(page, s, row, &t);
    if (status == ICD_OK) {
        icd_i_page_raw(page, "<figure><figcaption>");
        icd_i_page_text(page, name);
        icd_i_page_raw(page, "</figcaption>");
        for (int i = 0; i < 2; i++) {
            if (!fill_order(&t, find_order(s, ARM[i], group))) continue;
            fill_cells(&t);
            draw(page, &t, name, ARM[i]);
        }
        icd_i_page_raw(page, "</figure>\n");
    } else if (status == ICD_ENOMEM) {
        page->status = status;
    }
    icd_ctx_clear(page->ctx);
    tiles_release(page->ctx, &t);
}

static bool open_source(icd_page *page, source *s)
{
    char *masks = NULL, *arms = NULL;
    bool ok = icd_i_path_join(page->ctx, page->dir, "masks.npz", &masks) == ICD_OK &&
              icd_i_path_join(page->ctx, page->dir, "arms.json", &arms) == ICD_OK &&
              icd_i_file_exists(masks) && icd_i_file_exists(arms) &&
              icd_i_npz_open(page->ctx, masks, &s->masks) == ICD_OK &&
              icd_i_json_read(page->ctx, arms, &s->arms) == ICD_OK;
    icd_ctx_clear(page->ctx);
    icd_i_free(page->ctx, masks);
    icd_i_free(page->ctx, arms);
    return ok;
}

void icd_i_tile_maps(icd_page *page)
{
    source s = {0};
    const json_t *row = NULL;
    size_t i = 0;
    if (page->status != ICD_OK) return;
    if (open_source(page, &s)) {
        icd_i_page_raw(page,
                       "<details><summary>Tile maps: live granules, above linear, below "
                       "iterative</summary>\n<p class=note>One row per block of output "
                       "rows, one column per granule of inputs (joined where they are "
                       "many); white is skipped.</p>\n<div class=\"pair maps\">\n");
        json_array_foreach(icd_i_page_get(page, "linears"), i, row) if (i < LINEARS_MOST)
            draw_linear(page, &s, row);
        icd_i_page_raw(page, "</div></details>\n");
    }
    icd_i_npz_close(page->ctx, s.masks);
    json_decref(s.arms);
}
