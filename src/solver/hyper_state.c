#include "solver/hyper_state.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* Gains are sums of weight x phi over some of the events of one granule: they stay below
 * 2^31. */
#define WEIGHT_TOTAL ((INT64_C(1) << 30) / ICD_HYPER_WHOLE)

void icd_i_hyper_release(icd_ctx *ctx, icd_hyper *h)
{
    icd_i_free(ctx, h->weight);
    icd_i_free(ctx, h->step);
    icd_i_free(ctx, h->event_ptr);
    icd_i_free(ctx, h->event_index);
    icd_i_free(ctx, h->index_ptr);
    icd_i_free(ctx, h->index_event);
    icd_i_free(ctx, h->granule_of);
    icd_i_free(ctx, h->slot_of);
    icd_i_free(ctx, h->global);
    icd_i_free(ctx, h->cell);
    icd_i_free(ctx, h->join);
    icd_i_free(ctx, h->leave);
    for (int k = 0; k < 3; ++k) icd_i_free(ctx, h->only[k]);
    memset(h, 0, sizeof *h);
}

/* Whole weights are kept as they are; others become multiples of a small share of the
 * total. */
static double weight_unit(const icd_access *sets)
{
    if (!sets->weight) return 1;
    double total = 0;
    bool whole = true;
    for (int64_t e = 0; e < sets->events; ++e) {
        total += sets->weight[e];
        whole = whole && sets->weight[e] == floorf(sets->weight[e]);
    }
    if (whole && total <= (double)WEIGHT_TOTAL) return 1;
    return total / (double)WEIGHT_TOTAL;
}

static int32_t event_weight(const icd_access *sets, double unit, int64_t e)
{
    return sets->weight ? (int32_t)lrint(sets->weight[e] / unit) : 1;
}

/* local[i] = local number of index i of the window, -1 outside. */
static void number_window(icd_hyper *h, const icd_hyper_window *window, int64_t n,
                          int32_t *local)
{
    for (int64_t i = 0; i < n; ++i) local[i] = -1;
    for (int32_t k = 0; k < h->n; ++k) {
        int32_t old = window->old_of_new[window->begin + k];
        local[old] = k;
        h->global[k] = old;
        h->slot_of[k] = k;
        h->granule_of[k] = k / h->granule;
    }
}

static int64_t count_inside(const icd_access *sets, int64_t e, const int32_t *local)
{
    int64_t count = 0;
    for (int64_t k = sets->event_ptr[e]; k < sets->event_ptr[e + 1]; ++k)
        count += local[sets->index[k]] >= 0;
    return count;
}

/* Keeps the events with a weight that touch the window. */
static icd_status copy_events(icd_ctx *ctx, const icd_access *sets, int64_t stride,
                              const int32_t *local, icd_hyper *h)
{
    icd_status status;
    int64_t events = 0, entries = 0;
    for (int64_t e = 0; e < sets->events; e += stride) {
        int64_t inside =
            event_weight(sets, h->unit, e) ? count_inside(sets, e, local) : 0;
        events += inside > 0;
        entries += inside;
    }
    ICD_TRY(ICD_ALLOC(ctx, events, &h->weight));
    ICD_TRY(ICD_ALLOC(ctx, events + 1, &h->event_ptr));
    ICD_TRY(ICD_ALLOC(ctx, entries, &h->event_index));
    entries = 0;
    for (int64_t e = 0; e < sets->events; e += stride) {
        int32_t weight = event_weight(sets, h->unit, e);
        if (!weight || !count_inside(sets, e, local)) continue;
        for (int64_t k = sets->event_ptr[e]; k < sets->event_ptr[e + 1]; ++k)
            if (local[sets->index[k]] >= 0)
                h->event_index[entries++] = local[sets->index[k]];
        h->weight[h->events++] = weight;
        h->event_ptr[h->events] = entries;
    }
done:
    return status;
}

static icd_status transpose_events(icd_ctx *ctx, icd_hyper *h)
{
    icd_status status;
    int64_t entries = h->event_ptr[h->events];
    ICD_TRY(ICD_ALLOC(ctx, (int64_t)h->n + 2, &h->index_ptr));
    ICD_TRY(ICD_ALLOC(ctx, entries, &h->index_event));
    int64_t *fill = h->index_ptr + 1;
    for (int64_t k = 0; k < entries; ++k) fill[h->event_index[k] + 1]++;
    for (int32_t i = 0; i < h->n; ++i) fill[i + 1] += fill[i];
    for (int64_t e = 0; e < h->events; ++e)
        for (int64_t k = h->event_ptr[e]; k < h->event_ptr[e + 1]; ++k)
            h->index_event[fill[h->event_index[k]]++] = (int32_t)e;
done:
    return status;
}

static icd_hyper_cell *cell_of(const icd_hyper *h, int32_t granule, int64_t e)
{
    return h->cell + granule * h->events + e;
}

static void fill_cells(icd_hyper *h)
{
    size_t cells = (size_t)h->events * (size_t)h->granules;
    if (cells) memset(h->cell, 0, cells * sizeof *h->cell);
    for (int64_t e = 0; e < h->events; ++e)
        for (int64_t k = h->event_ptr[e]; k < h->event_ptr[e + 1]; ++k) {
            int32_t i = h->event_index[k];
            icd_hyper_cell *cell = cell_of(h, h->granule_of[i], e);
            cell->count++;
            cell->members ^= i;
        }
}

static int64_t cell_cost(const icd_hyper *h, int32_t count)
{
    int64_t cost = 0;
    for (int32_t c = 1; c <= count; ++c) cost += h->step[c];
    return cost;
}

int64_t icd_i_hyper_cost(const icd_hyper *h)
{
    int64_t cost = 0;
    for (int32_t g = 0; g < h->granules; ++g)
        for (int64_t e = 0; e < h->events; ++e)
            cost += h->weight[e] * cell_cost(h, cell_of(h, g, e)->count);
    return cost;
}

/* What one event contributes to join and leave, by definition. */
static void add_event_gains(icd_hyper *h, int64_t e)
{
    const int32_t *first = h->event_index + h->event_ptr[e];
    const int32_t *end = h->event_index + h->event_ptr[e + 1];
    for (const int32_t *k = first; k < end; ++k)
        h->leave[*k] += h->weight[e] * h->step[cell_of(h, h->granule_of[*k], e)->count];
    for (int32_t g = 0; g < h->granules; ++g) {
        int32_t gain = h->weight[e] * h->step[cell_of(h, g, e)->count + 1];
        int32_t *row = h->join + (int64_t)g * h->n;
        if (!gain) continue;
        for (const int32_t *k = first; k < end; ++k) row[*k] += gain;
    }
}

/* Rounded to whole units the steps still fall, so phi stays concave. */
static void fill_steps(icd_hyper *h, double p)
{
    double left = ICD_HYPER_WHOLE;
    memset(h->step, 0, ((size_t)h->granule + 2) * sizeof *h->step);
    h->step[1] = 1;
    if (p >= 1) return;
    for (int32_t c = 1; c < h->granule + 2; ++c) {
        double next = left * (1 - p);
        h->step[c] = (int32_t)lrint(left - next);
        left = next;
    }
}

static void fill_gains(icd_hyper *h)
{
    memset(h->leave, 0, (size_t)h->n * sizeof *h->leave);
    memset(h->join, 0, (size_t)h->granules * (size_t)h->n * sizeof *h->join);
    for (int64_t e = 0; e < h->events; ++e) add_event_gains(h, e);
    h->cost = icd_i_hyper_cost(h);
}

void icd_i_hyper_soften(icd_hyper *h, double p)
{
    fill_steps(h, p);
    fill_gains(h);
}

void icd_i_hyper_place(icd_hyper *h, const int32_t *slot_of)
{
    memcpy(h->slot_of, slot_of, (size_t)h->n * sizeof *h->slot_of);
    for (int32_t i = 0; i < h->n; ++i) h->granule_of[i] = slot_of[i] / h->granule;
    fill_cells(h);
    fill_gains(h);
}

static icd_status alloc_indices(icd_ctx *ctx, icd_hyper *h)
{
    icd_status status;
    ICD_TRY(ICD_ALLOC(ctx, h->n, &h->granule_of));
    ICD_TRY(ICD_ALLOC(ctx, h->n, &h->slot_of));
    ICD_TRY(ICD_ALLOC(ctx, h->n, &h->global));
    ICD_TRY(ICD_ALLOC(ctx, h->n, &h->leave));
    ICD_TRY(ICD_ALLOC(ctx, (int64_t)h->granules * h->n, &h->join));
    ICD_TRY(ICD_ALLOC(ctx, (int64_t)h->granule + 2, &h->step));
done:
    return status;
}

icd_status icd_i_hyper_init(icd_ctx *ctx, const icd_access *sets, int32_t granule,
                            int64_t stride, const icd_hyper_window *window,
                            icd_hyper *out)
{
    icd_status status;
    int32_t *local = NULL;
    memset(out, 0, sizeof *out);
    out->n = (int32_t)(window->end - window->begin);
    out->granule = granule;
    out->granules = (int32_t)(((int64_t)out->n + granule - 1) / granule);
    out->unit = weight_unit(sets);
    ICD_TRY(alloc_indices(ctx, out));
    ICD_TRY(ICD_ALLOC(ctx, sets->n, &local));
    number_window(out, window, sets->n, local);
    ICD_TRY(copy_events(ctx, sets, stride, local, out));
    ICD_TRY(transpose_events(ctx, out));
    ICD_TRY(ICD_ALLOC(ctx, out->events * out->granules, &out->cell));
    for (int k = 0; k < 3; ++k) ICD_TRY(ICD_ALLOC(ctx, out->events, &out->only[k]));
    fill_cells(out);
    icd_i_hyper_soften(out, 1);
done:
    icd_i_free(ctx, local);
    return status;
}

/* Merges two ascending lists of events into: first only, second only, both. */
static void split_events(icd_hyper *h, int32_t i, int32_t j)
{
    const int32_t *a = h->index_event + h->index_ptr[i];
    const int32_t *b = h->index_event + h->index_ptr[j];
    const int32_t *a_end = h->index_event + h->index_ptr[i + 1];
    const int32_t *b_end = h->index_event + h->index_ptr[j + 1];
    int64_t only_a = 0, only_b = 0, both = 0;
    while (a < a_end && b < b_end) {
        int32_t x = *a, y = *b;
        h->only[0][only_a] = x;
        h->only[1][only_b] = y;
        h->only[2][both] = x;
        only_a += x < y;
        only_b += y < x;
        both += x == y;
        a += x <= y;
        b += y <= x;
    }
    while (a < a_end) h->only[0][only_a++] = *a++;
    while (b < b_end) h->only[1][only_b++] = *b++;
    h->only_count[0] = only_a;
    h->only_count[1] = only_b;
    h->only_count[2] = both;
}

int64_t icd_i_hyper_swap_delta(icd_hyper *h, int32_t i, int32_t j)
{
    int64_t delta = icd_i_hyper_swap_bound(h, i, j);
    const icd_hyper_cell *a = cell_of(h, h->granule_of[i], 0);
    const icd_hyper_cell *b = cell_of(h, h->granule_of[j], 0);
    split_events(h, i, j);
    for (int64_t k = 0; k < h->only_count[2]; ++k) {
        int32_t e = h->only[2][k];
        delta += h->weight[e] * (h->step[a[e].count] - h->step[a[e].count + 1] +
                                 h->step[b[e].count] - h->step[b[e].count + 1]);
    }
    return delta;
}

/* Adds to the gain of every index of an event to join a granule. */
static void shift_join(icd_hyper *h, int32_t granule, int32_t e, int32_t change)
{
    int32_t *row = h->join + (int64_t)granule * h->n;
    const int32_t *end = h->event_index + h->event_ptr[e + 1];
    if (!change) return;
    for (const int32_t *k = h->event_index + h->event_ptr[e]; k < end; ++k)
        row[*k] += change;
}

/* Adds to the gain of an event's indices in a granule to leave it, except for one of
 * them. */
static void shift_leave(icd_hyper *h, int32_t granule, int32_t e, int32_t except,
                        int32_t change)
{
    const int32_t *end = h->event_index + h->event_ptr[e + 1];
    for (const int32_t *k = h->event_index + h->event_ptr[e]; k < end; ++k)
        if (h->granule_of[*k] == granule && *k != except) h->leave[*k] += change;
}

/* Index i enters (+1) or leaves (-1) a granule, as far as event e is concerned. */
static void move_event(icd_hyper *h, int32_t i, int32_t granule, int32_t e, int32_t move)
{
    icd_hyper_cell *cell = cell_of(h, granule, e);
    const int32_t *step = h->step;
    int32_t weight = h->weight[e], from = cell->count, to = from + move;
    int32_t others = move < 0 ? cell->members ^ i : cell->members;
    int32_t leave = weight * (step[to] - step[from]);
    cell->count = to;
    cell->members ^= i;
    h->leave[i] += move < 0 ? -weight * step[from] : weight * step[to];
    shift_join(h, granule, e, weight * (step[to + 1] - step[from + 1]));
    if (!leave || from + to == 1) return;
    if (from + to == 3)
        h->leave[others] += leave; /* the only other one */
    else
        shift_leave(h, granule, e, i, leave);
}

/* An event of both keeps its count; `in` takes the place of `out`. */
static void exchange(icd_hyper *h, int32_t out, int32_t in, int32_t granule, int32_t e)
{
    icd_hyper_cell *cell = cell_of(h, granule, e);
    int32_t leave = h->weight[e] * h->step[cell->count];
    cell->members ^= out ^ in;
    h->leave[out] -= leave;
    h->leave[in] += leave;
}

static void swap_slots(icd_hyper *h, int32_t i, int32_t j)
{
    int32_t granule = h->granule_of[i], slot = h->slot_of[i];
    h->granule_of[i] = h->granule_of[j];
    h->slot_of[i] = h->slot_of[j];
    h->granule_of[j] = granule;
    h->slot_of[j] = slot;
}

void icd_i_hyper_swap(icd_hyper *h, int32_t i, int32_t j, int64_t delta)
{
    int32_t a = h->granule_of[i], b = h->granule_of[j];
    swap_slots(h, i, j);
    for (int64_t k = 0; k < h->only_count[0]; ++k) {
        move_event(h, i, a, h->only[0][k], -1);
        move_event(h, i, b, h->only[0][k], +1);
    }
    for (int64_t k = 0; k < h->only_count[1]; ++k) {
        move_event(h, j, b, h->only[1][k], -1);
        move_event(h, j, a, h->only[1][k], +1);
    }
    for (int64_t k = 0; k < h->only_count[2]; ++k) {
        exchange(h, i, j, a, h->only[2][k]);
        exchange(h, j, i, b, h->only[2][k]);
    }
    h->cost += delta;
}

static bool cells_consistent(const icd_hyper *h)
{
    bool same = true;
    for (int64_t e = 0; e < h->events && same; ++e) {
        int64_t count = 0;
        int32_t members = 0, expected = 0;
        for (int32_t g = 0; g < h->granules; ++g) {
            count += cell_of(h, g, e)->count;
            members ^= cell_of(h, g, e)->members;
        }
        for (int64_t k = h->event_ptr[e]; k < h->event_ptr[e + 1]; ++k)
            expected ^= h->event_index[k];
        same = count == h->event_ptr[e + 1] - h->event_ptr[e] && members == expected;
    }
    return same;
}

/* Weight times a step of phi over the events of an index, in its own granule or another.
 */
static int64_t sum_steps(const icd_hyper *h, int32_t i, int32_t granule, int32_t more)
{
    int64_t sum = 0;
    for (int64_t k = h->index_ptr[i]; k < h->index_ptr[i + 1]; ++k) {
        int32_t e = h->index_event[k];
        sum += h->weight[e] * h->step[cell_of(h, granule, e)->count + more];
    }
    return sum;
}

bool icd_i_hyper_consistent(const icd_hyper *h)
{
    bool same = cells_consistent(h) && icd_i_hyper_cost(h) == h->cost;
    for (int32_t i = 0; i < h->n && same; ++i) {
        same = sum_steps(h, i, h->granule_of[i], 0) == h->leave[i];
        for (int32_t g = 0; g < h->granules && same; ++g)
            same = sum_steps(h, i, g, 1) == h->join[(int64_t)g * h->n + i];
    }
    return same;
}
