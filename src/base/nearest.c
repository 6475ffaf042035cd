#include "base/nearest.h"

#include <stddef.h>
#include <string.h>

enum { LONGEST = 63 };

static int fold(char c)
{
    return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
}

static int32_t least(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

/* One row of the table: row[0] is the new one, row[1] the one before, row[2] the one
 * before that. */
static void fill_row(int32_t *const row[3], const char *a, int32_t i, const char *b,
                     int32_t m)
{
    row[0][0] = i;
    for (int32_t j = 1; j <= m; j++) {
        int32_t replace = row[1][j - 1] + (fold(a[i - 1]) != fold(b[j - 1]));
        int32_t cost = least(replace, 1 + least(row[1][j], row[0][j - 1]));
        if (i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) &&
            fold(a[i - 2]) == fold(b[j - 1]))
            cost = least(cost, row[2][j - 2] + 1);
        row[0][j] = cost;
    }
}

int32_t icd_i_edit_distance(const char *a, const char *b)
{
    int32_t table[3][LONGEST + 1];
    size_t n = strlen(a), m = strlen(b);
    if (n > LONGEST || m > LONGEST) return INT32_MAX;
    for (int32_t j = 0; j <= (int32_t)m; j++) table[0][j] = j;
    for (int32_t i = 1; i <= (int32_t)n; i++) {
        int32_t *const row[3] = {table[i % 3], table[(i + 2) % 3], table[(i + 1) % 3]};
        fill_row(row, a, i, b, (int32_t)m);
    }
    return table[n % 3][m];
}

int32_t icd_i_edit_limit(const char *name)
{
    size_t size = strlen(name);
    return size > LONGEST ? 0 : ((int32_t)size + 2) / 3;
}

const char *icd_i_nearest(const char *name, const char *const *candidate, int64_t count)
{
    const char *best = NULL;
    int32_t limit = icd_i_edit_limit(name);
    for (int64_t i = 0; i < count; i++) {
        int32_t distance = icd_i_edit_distance(name, candidate[i]);
        if (distance > limit) continue;
        best = candidate[i];
        limit = distance - 1;
    }
    return best;
}
