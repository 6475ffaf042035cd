#include "report/plot.h"

#include <math.h>

typedef struct frame {
    double low[2], high[2]; /* x, y */
} frame;

static void include(frame *f, int axis, double value)
{
    f->low[axis] = fmin(f->low[axis], value);
    f->high[axis] = fmax(f->high[axis], value);
}

/* A margin of 6 % on every side; false where a side has no length. */
static bool find_frame(const icd_plot_point *point, int64_t count, frame *f)
{
    *f = (frame){{INFINITY, INFINITY}, {-INFINITY, -INFINITY}};
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite(point[i].x) || !isfinite(point[i].y)) continue;
        include(f, 0, point[i].x);
        include(f, 1, point[i].y);
    }
    for (int axis = 0; axis < 2; axis++) {
        double span = f->high[axis] - f->low[axis];
        if (!(span > 0) || !isfinite(span)) return false;
        f->low[axis] -= .06 * span;
        f->high[axis] += .06 * span;
    }
    return true;
}

static double place(const frame *f, int axis, double value)
{
    double share = (value - f->low[axis]) / (f->high[axis] - f->low[axis]);
    return 100 * (axis ? 1 - share : share);
}

static void draw_line(icd_page *page, const icd_plot *plot, const frame *f)
{
    if (!isfinite(plot->slope) || !isfinite(plot->base)) return;
    double x0 = f->low[0], x1 = f->high[0];
    icd_i_page_put(page,
                   "<svg class=over viewBox=\"0 0 100 100\" preserveAspectRatio=none "
                   "aria-hidden=true><path d=\"M0 %.2fL100 %.2f\"/></svg>",
                   place(f, 1, plot->base + plot->slope * x0),
                   place(f, 1, plot->base + plot->slope * x1));
}

static void draw_point(icd_page *page, const frame *f, const icd_plot_point *p)
{
    double x = place(f, 0, p->x), y = place(f, 1, p->y);
    if (!isfinite(p->x) || !isfinite(p->y)) return;
    icd_i_page_put(page, "<i class=\"dot %s\" style=\"left:%.2f%%;top:%.2f%%\"></i>",
                   p->class, x, y);
    if (!p->label) return;
    icd_i_page_put(page, "<b class=\"%s\" style=\"left:%.2f%%;top:%.2f%%\">",
                   x > 70 ? "left" : "", x, y);
    icd_i_page_text(page, p->label);
    icd_i_page_raw(page, "</b>");
}

static void draw_axes(icd_page *page, const icd_plot *plot, const frame *f)
{
    for (int i = 0; i <= 4; i++) {
        double x = f->low[0] + (f->high[0] - f->low[0]) * i / 4,
               y = f->high[1] - (f->high[1] - f->low[1]) * i / 4;
        icd_i_page_put(page,
                       "<b class=x style=\"left:%d%%\">%.3g</b><b class=y "
                       "style=\"top:%d%%\">%.3g</b>",
                       25 * i, x, 25 * i, y);
    }
    icd_i_page_raw(page, "</div><p class=note>Across: ");
    icd_i_page_raw(page, plot->x_name);
    icd_i_page_raw(page, "; up: ");
    icd_i_page_raw(page, plot->y_name);
    icd_i_page_raw(page, ".</p>\n");
}

void icd_i_plot_draw(icd_page *page, const icd_plot *plot, const icd_plot_point *point,
                     int64_t count)
{
    frame f;
    if (!find_frame(point, count, &f)) return;
    icd_i_page_raw(page, "<div class=plot role=img aria-label=\"");
    icd_i_page_text(page, plot->alt);
    icd_i_page_raw(page, "\">");
    draw_line(page, plot, &f);
    for (int64_t i = 0; i < count; i++) draw_point(page, &f, &point[i]);
    draw_axes(page, plot, &f);
}
