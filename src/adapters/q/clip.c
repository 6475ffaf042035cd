#include "adapters/q/clip.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BINS = 512, CUTS = 32 };

static int rising(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

float icd_i_clip_percentile(const float *w, int64_t n, double percentile, float *work)
{
    if (n == 0) return 0;
    for (int64_t i = 0; i < n; i++) work[i] = fabsf(w[i]);
    qsort(work, (size_t)n, sizeof *work, rising);
    double at = percentile / 100 * (double)(n - 1);
    int64_t low = (int64_t)at, high = low + 1 < n ? low + 1 : low;
    double part = at - (double)low;
    return (float)((1 - part) * (double)work[low] + part * (double)work[high]);
}

/* Divergence of the histogram up to `bins` (what lies above joins the last bin) from
   itself spread evenly over `levels` steps. */
static double divergence(const double *count, int bins, int32_t levels)
{
    double p[BINS], all = 0, sum = 0;
    for (int i = 0; i < BINS; i++) {
        if (i < bins) p[i] = count[i];
        if (i >= bins) p[bins - 1] += count[i];
        all += count[i];
    }
    for (int32_t s = 0; s < levels; s++) {
        int from = (int)((int64_t)s * bins / levels),
            to = (int)((int64_t)(s + 1) * bins / levels);
        double inside = 0, filled = 0;
        for (int i = from; i < to; i++) {
            inside += count[i]; /* the cut mass is missing here: that is the loss */
            filled += p[i] > 0;
        }
        for (int i = from; i < to; i++)
            if (p[i] > 0) {
                double q = inside > 0 ? inside / filled : 1e-9 * all;
                sum += p[i] / all * log(p[i] / q);
            }
    }
    return sum;
}

float icd_i_clip_kld(const float *w, int64_t n, int32_t levels)
{
    double count[BINS] = {0}, best = INFINITY;
    float top = 0, cut = 0;
    for (int64_t i = 0; i < n; i++) top = fmaxf(top, fabsf(w[i]));
    if (top <= 0) return 0;
    for (int64_t i = 0; i < n; i++) {
        int bin = (int)(fabsf(w[i]) / top * BINS);
        if (w[i] != 0) count[bin < BINS ? bin : BINS - 1]++;
    }
    for (int c = 0; c < CUTS; c++) {
        int bins = BINS - c * (2 * BINS / 3) / CUTS;
        double d = divergence(count, bins, levels < bins ? levels : bins);
        if (d < best) {
            best = d;
            cut = top * (float)bins / BINS;
        }
    }
    return cut;
}
