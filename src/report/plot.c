#include "report/plot.h"

#include <math.h>
#include <string.h>

enum { TICKS_MOST = 12, LABELS_MOST = 64 };

/* Per cent of the plot that a label takes, roughly: a character across, a line down. */
static const double CHARACTER = 1.3, LINE = 5;

typedef struct frame {
    double low[2], high[2], step[2]; /* x, y */
} frame;

/* A label that stands: from left to right in per cent, around its middle. */
typedef struct placed {
    double left, right, middle;
} placed;

static void include(frame *f, int axis, double value)
{
    f->low[axis] = fmin(f->low[axis], value);
    f->high[axis] = fmax(f->high[axis], value);
}

/* 1, 2 or 5 times a power of ten, so that about five steps fit. */
static double round_step(double span)
{
    double raw = span / 5, power = pow(10, floor(log10(raw))), lead = raw / power;
    return power * (lead <= 1 ? 1 : lead <= 2 ? 2 : lead <= 5 ? 5 : 10);
}

/* Whole steps with some room; false where a side has no length. */
static bool find_frame(const icd_plot_point *point, int64_t count, frame *f)
{
    *f = (frame){{INFINITY, INFINITY}, {-INFINITY, -INFINITY}, {0, 0}};
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite(point[i].x) || !isfinite(point[i].y)) continue;
        include(f, 0, point[i].x);
        include(f, 1, point[i].y);
    }
    for (int axis = 0; axis < 2; axis++) {
        double span = f->high[axis] - f->low[axis], room = .04 * span;
        if (!(span > 0) || !isfinite(span)) return false;
        double step = f->step[axis] = round_step(span);
        f->low[axis] = floor((f->low[axis] - room) / step) * step;
        f->high[axis] = ceil((f->high[axis] + room) / step) * step;
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

static bool collides(const placed *all, int count, const placed *p)
{
    for (int i = 0; i < count; i++)
        if (p->left < all[i].right && p->right > all[i].left &&
            fabs(p->middle - all[i].middle) < LINE)
            return true;
    return false;
}

/* Right or left of the dot, then a line higher or lower, until it stands free. On a phone
 * a label takes half of the width: it goes where there is that much. */
static placed find_place(const placed *all, int count, double x, double y, size_t length)
{
    static const double SHIFT[] = {0, -5, 5, -10, 10};
    double width = CHARACTER * (double)length + 2;
    placed first = {0, 0, 0};
    for (int i = 0; i < 10; i++) {
        bool left = (x > 50) != (i % 2 == 1);
        placed p = {left ? x - width : x + 1, left ? x - 1 : x + width, y + SHIFT[i / 2]};
        bool room = left ? x >= 40 : x <= 60;
        bool inside = p.middle > 1 && p.middle < 99 && room;
        if (i == 0) first = p;
        if (inside && !collides(all, count, &p)) return p;
    }
    return first;
}

static void draw_dot(icd_page *page, const frame *f, const icd_plot_point *p)
{
    if (!isfinite(p->x) || !isfinite(p->y)) return;
    icd_i_page_put(page, "<i class=\"dot %s\" style=\"left:%.2f%%;top:%.2f%%\"></i>",
                   p->class, place(f, 0, p->x), place(f, 1, p->y));
}

static void draw_label(icd_page *page, const frame *f, const icd_plot_point *p,
                       placed *all, int *count)
{
    double x = place(f, 0, p->x), y = place(f, 1, p->y);
    if (!isfinite(p->x) || !isfinite(p->y) || !p->label || *count == LABELS_MOST) return;
    placed at = find_place(all, *count, x, y, strnlen(p->label, 40));
    all[(*count)++] = at;
    icd_i_page_put(page, "<b class=\"%s\" style=\"left:%.2f%%;top:%.2f%%\">",
                   at.right <= x ? "left" : "", x, at.middle);
    icd_i_page_text(page, p->label);
    icd_i_page_raw(page, "</b>");
}

static void draw_ticks(icd_page *page, const frame *f, int axis)
{
    for (int i = 0; i < TICKS_MOST; i++) {
        double value = f->low[axis] + i * f->step[axis];
        if (value > f->high[axis] + f->step[axis] / 2) break;
        icd_i_page_put(page, "<b class=%c style=\"%s:%.2f%%\">%.4g</b>", axis ? 'y' : 'x',
                       axis ? "top" : "left", place(f, axis, value),
                       fabs(value) < 1e-9 * f->step[axis] ? 0 : value);
    }
}

static void draw_names(icd_page *page, const icd_plot *plot)
{
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
    placed all[LABELS_MOST];
    int labels = 0;
    if (!find_frame(point, count, &f)) return;
    icd_i_page_raw(page, "<div class=plot role=img aria-label=\"");
    icd_i_page_text(page, plot->alt);
    icd_i_page_raw(page, "\">");
    draw_line(page, plot, &f);
    for (int64_t i = 0; i < count; i++) draw_dot(page, &f, &point[i]);
    for (int64_t i = 0; i < count; i++) draw_label(page, &f, &point[i], all, &labels);
    draw_ticks(page, &f, 0);
    draw_ticks(page, &f, 1);
    draw_names(page, plot);
}
