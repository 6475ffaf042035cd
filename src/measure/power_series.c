/* Joules between two moments, from rows that a counter or a sensor left. */
#include "measure/power.h"

/* No package, board or rack unit that this reads takes more. */
static const double MOST_WATTS = 20e3;
/* A counter is late by a tick: what it tells at once may belong to this much time. */
static const double LATE_S = 1.5;

bool icd_i_power_count(icd_power_counter *c, double t, double value)
{
    if (!isfinite(value) || value < 0) return false;
    if (!c->begun) {
        *c = (icd_power_counter){.range = c->range, .last = value, .t = t, .begun = true};
        return true;
    }
    double used = value - c->last;
    if (used < 0 && c->range > 0) used += c->range;
    if (used < 0 || used > MOST_WATTS * (t - c->t + LATE_S)) return false;
    c->total += used;
    c->last = value;
    c->t = t;
    return true;
}

static double between(double x, double x0, double x1, double y0, double y1)
{
    return x1 > x0 ? y0 + (y1 - y0) * (x - x0) / (x1 - x0) : y0;
}

/* Row 0 need not be a tick: the counter may have stood there for a while. */
static bool is_tick(const icd_power_row *row, int64_t i)
{
    return i > 0 && row[i].joules > row[i - 1].joules;
}

/* The counter at a moment, between the ticks around it. */
static double counter_at(const icd_power_row *row, int64_t count, double t)
{
    int64_t before = -1;
    for (int64_t i = 1; i < count; i++) {
        if (!is_tick(row, i)) continue;
        if (row[i].t >= t)
            return before < 0 ? (row[i].t > t ? (double)NAN : row[i].joules)
                              : between(t, row[before].t, row[i].t, row[before].joules,
                                        row[i].joules);
        before = i;
    }
    return NAN;
}

/* Watts times seconds of one piece between two rows, cut to [from, to]. */
static double piece(const icd_power_row *a, const icd_power_row *b, double from,
                    double to)
{
    double left = fmax(a->t, from), right = fmin(b->t, to);
    if (!(right > left)) return 0;
    double w0 = between(left, a->t, b->t, a->watts, b->watts);
    double w1 = between(right, a->t, b->t, a->watts, b->watts);
    return .5 * (w0 + w1) * (right - left);
}

/* Trapezoids over the rows that tell watts. */
static double integral(const icd_power_row *row, int64_t count, double from, double to)
{
    double sum = 0;
    int64_t first = -1, last = -1;
    for (int64_t i = 0; i < count; i++) {
        if (isnan(row[i].watts)) continue;
        if (first < 0) first = i;
        if (last >= 0) sum += piece(&row[last], &row[i], from, to);
        last = i;
    }
    if (first < 0 || row[first].t > from || row[last].t < to) return NAN;
    return sum;
}

double icd_i_power_joules(const icd_power_row *row, int64_t count, bool counts,
                          double from, double to)
{
    if (!counts) return integral(row, count, from, to);
    return counter_at(row, count, to) - counter_at(row, count, from);
}

double icd_i_power_idle(const icd_power_record *record, int64_t span)
{
    double sum = 0;
    int64_t n = 0;
    for (int step = -1; step <= 1; step += 2) {
        int64_t i = span;
        do {
            i += step;
        } while (i >= 0 && i < record->spans && record->span[i].phase != ICD_POWER_IDLE);
        if (i < 0 || i >= record->spans || isnan(record->span[i].watts)) continue;
        sum += record->span[i].watts;
        n++;
    }
    return n ? sum / (double)n : (double)NAN;
}

/* The order of NVML's bits (nvmlClocksEventReasons). */
const char *icd_i_power_reason_name(int64_t i)
{
    static const char *const NAME[] = {"gpu_idle",
                                       "applications_clocks_setting",
                                       "sw_power_cap",
                                       "hw_slowdown",
                                       "sync_boost",
                                       "sw_thermal_slowdown",
                                       "hw_thermal_slowdown",
                                       "hw_power_brake_slowdown",
                                       "display_clock_setting"};
    return i >= 0 && i < (int64_t)(sizeof NAME / sizeof NAME[0]) ? NAME[i] : NULL;
}
