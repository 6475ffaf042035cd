#include "graph/pairs.h"

#include <math.h>
#include <string.h>

enum { DIGIT = 1 << 16 };

void icd_i_pairs_release(icd_ctx *ctx, icd_pairs *p)
{
    icd_i_free(ctx, p->item);
    *p = (icd_pairs){0};
}

/* Positive floats order as their bits do. */
static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* The digit in which the `rank`-th largest lies (1 = largest); *rank becomes its rank
 * among the values with that digit. */
static uint32_t pick_digit(const int64_t *histogram, int64_t *rank)
{
    uint32_t digit = DIGIT - 1;
    while (histogram[digit] < *rank) *rank -= histogram[digit--];
    return digit;
}

/* Bits of the `rank`-th largest weight by two passes of 16 bits; *ties: how many pairs of
 * just this weight belong to the `rank` largest. */
static uint32_t select_bits(const icd_pairs *p, int64_t *histogram, int64_t rank,
                            int64_t *ties)
{
    memset(histogram, 0, DIGIT * sizeof *histogram);
    for (int64_t k = 0; k < p->count; k++) histogram[bits_of(p->item[k].weight) >> 16]++;
    uint32_t high = pick_digit(histogram, &rank);
    memset(histogram, 0, DIGIT * sizeof *histogram);
    for (int64_t k = 0; k < p->count; k++) {
        uint32_t bits = bits_of(p->item[k].weight);
        if (bits >> 16 == high) histogram[bits & (DIGIT - 1)]++;
    }
    uint32_t low = pick_digit(histogram, &rank);
    *ties = rank;
    return high << 16 | low;
}

static void keep_above(icd_pairs *p, uint32_t threshold, int64_t ties)
{
    int64_t kept = 0;
    for (int64_t k = 0; k < p->count; k++) {
        uint32_t bits = bits_of(p->item[k].weight);
        if (bits < threshold || (bits == threshold && ties-- <= 0)) continue;
        p->item[kept++] = p->item[k];
    }
    p->dropped += p->count - kept;
    p->count = kept;
}

icd_status icd_i_pairs_trim(icd_ctx *ctx, icd_pairs *p)
{
    int64_t *histogram = NULL, ties = 0;
    if (p->count <= p->keep) return ICD_OK;
    if (p->keep == 0) {
        p->dropped += p->count;
        p->count = 0;
        p->floor = INFINITY;
        return ICD_OK;
    }
    icd_status status = ICD_ALLOC(ctx, DIGIT, &histogram);
    if (status != ICD_OK) return status;
    uint32_t threshold = select_bits(p, histogram, p->keep, &ties);
    keep_above(p, threshold, ties);
    p->floor = float_of(threshold);
    icd_i_free(ctx, histogram);
    return ICD_OK;
}

/* The array doubles; once it holds a quarter more than `keep`, a trim of O(count) pays
 * for the quarter of `keep` additions that follow. */
static icd_status make_room(icd_ctx *ctx, icd_pairs *p)
{
    enum { SMALLEST = 1 << 12 };
    if (p->capacity >= SMALLEST && p->capacity - p->keep >= p->keep / 4)
        return icd_i_pairs_trim(ctx, p);
    return icd_i_grow(ctx, (void **)&p->item, &p->capacity, p->count + 1,
                      sizeof *p->item);
}

icd_status icd_i_pairs_add(icd_ctx *ctx, icd_pairs *p, icd_pair pair)
{
    if (p->count == p->capacity) {
        icd_status status = make_room(ctx, p);
        if (status != ICD_OK) return status;
    }
    p->item[p->count++] = pair;
    return ICD_OK;
}

/* Pairs ascend by (i, j): row r first receives its entries left of the diagonal, from
 * pairs (i, r) with ascending i, and then those right of it; so columns ascend without a
 * sort. */
static void fill_rows(const icd_pairs *p, icd_csr *w, int64_t *next)
{
    memcpy(next, w->row_ptr, (size_t)w->n * sizeof *next);
    for (int64_t k = 0; k < p->count; k++) {
        icd_pair pair = p->item[k];
        int64_t upper = next[pair.i]++, lower = next[pair.j]++;
        w->col[upper] = pair.j;
        w->col[lower] = pair.i;
        w->val[upper] = w->val[lower] = pair.weight;
    }
}

icd_status icd_i_pairs_csr(icd_ctx *ctx, const icd_pairs *p, int64_t n, icd_csr **out)
{
    icd_status status = ICD_OK;
    icd_csr *w = NULL;
    int64_t *next = NULL;
    *out = NULL;
    ICD_TRY(icd_csr_new(ctx, n, 2 * p->count, &w));
    ICD_TRY(ICD_ALLOC(ctx, n, &next));
    for (int64_t k = 0; k < p->count; k++) {
        w->row_ptr[p->item[k].i + 1]++;
        w->row_ptr[p->item[k].j + 1]++;
    }
    for (int64_t i = 0; i < n; i++) w->row_ptr[i + 1] += w->row_ptr[i];
    fill_rows(p, w, next);
    *out = w;
    w = NULL;
done:
    icd_i_free(ctx, next);
    icd_csr_free(ctx, w);
    return status;
}
