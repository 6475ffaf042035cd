/* Keeping the largest values: quickselect on a copy finds the threshold, one pass applies
 * it. */
#include "adapters/adapter.h"

#include <string.h>

static void swap(float *a, float *b)
{
    float t = *a;
    *a = *b;
    *b = t;
}

static float median_of_three(float a, float b, float c)
{
    if ((a <= b) == (b <= c)) return b;
    return (b <= a) == (a <= c) ? a : c;
}

float icd_i_select_descending(float *v, int64_t n, int64_t rank)
{
    int64_t low = 0, high = n - 1;
    while (low < high) {
        float pivot = median_of_three(v[low], v[low + (high - low) / 2], v[high]);
        int64_t i = low, j = high;
        while (i <= j) {
            while (v[i] > pivot) i++;
            while (v[j] < pivot) j--;
            if (i <= j) swap(&v[i++], &v[j--]);
        }
        if (rank <= j)
            high = j;
        else if (rank >= i)
            low = i;
        else
            return v[rank];
    }
    return v[rank];
}

void icd_i_keep_largest(const float *value, int64_t n, int64_t keep, float *work,
                        bool *kept)
{
    memset(kept, keep >= n, (size_t)n * sizeof *kept);
    if (keep <= 0 || keep >= n) return;
    memcpy(work, value, (size_t)n * sizeof *work);
    float threshold = icd_i_select_descending(work, n, keep - 1);
    int64_t above = 0;
    for (int64_t i = 0; i < n; i++) above += value[i] > threshold;
    int64_t ties = keep - above;
    for (int64_t i = 0; i < n; i++)
        kept[i] = value[i] > threshold || (value[i] == threshold && ties-- > 0);
}
