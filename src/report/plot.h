/**
 * @file plot.h
 * Points in a plane: boxes placed in per cent, so that labels stay text of the page.
 */
#ifndef ICD_REPORT_PLOT_H
#define ICD_REPORT_PLOT_H

#include "report/html.h"

typedef struct icd_plot_point {
    double x, y;
    const char *label; /**< beside the dot; NULL: none */
    const char *class; /**< "linear", "iterative", "frequency", "good", ...: style.c */
} icd_plot_point;

typedef struct icd_plot {
    const char *alt;             /**< what a reader who cannot see it should know */
    const char *x_name, *y_name; /**< with units */
    double base, slope;          /**< a line y = base + slope x; slope NaN: none */
} icd_plot;

/** Nothing is drawn for fewer than two points that differ in x and in y. Points that are
 * not finite are left out. */
void icd_i_plot_draw(icd_page *page, const icd_plot *plot, const icd_plot_point *point,
                     int64_t count);

#endif
