#include <icd/constraint.h>

#include "base/mem.h"
#include "core/spot.h"

#include <inttypes.h>

static icd_status check_index(icd_ctx *ctx, const char *what, int64_t at, int32_t i,
                              int64_t n)
{
    if (i >= 0 && i < n) return ICD_OK;
    return icd_i_fail(ctx, ICD_EINVAL,
                      icd_i_spot("constraint", "%s %" PRId64, what, at).text, NULL,
                      "found index %" PRId32 ", expected 0 to %" PRId64, i, n - 1);
}

static icd_status check_unit(icd_ctx *ctx, int32_t unit, int64_t n)
{
    if (unit < 0 || (unit > 1 && n % unit != 0))
        return icd_i_fail(ctx, ICD_EINVAL, "constraint",
                          "choose a unit that divides the size of the axis",
                          "found unit %" PRId32 " for %" PRId64 " indices", unit, n);
    return ICD_OK;
}

/* A tie across units forces whole units to keep their distance, so it must be whole units
 * long. */
static bool crosses_unit(const icd_tie *tie, int32_t unit)
{
    return unit > 1 && tie->a / unit != tie->b / unit && (tie->b - tie->a) % unit != 0;
}

static icd_status check_tie(icd_ctx *ctx, const icd_constraint *c, int64_t t, bool *tied,
                            int64_t n)
{
    icd_status status;
    const icd_tie *tie = &c->tie[t];
    icd_spot spot = icd_i_spot("constraint", "tie %" PRId64, t);
    ICD_TRY(check_index(ctx, "tie", t, tie->a, n));
    ICD_TRY(check_index(ctx, "tie", t, tie->b, n));
    if (tie->a == tie->b || tied[tie->a] || tied[tie->b])
        return icd_i_fail(ctx, ICD_EINVAL, spot.text, "ties are disjoint pairs",
                          "an index of (%" PRId32 ", %" PRId32 ") is tied twice", tie->a,
                          tie->b);
    if (tie->b - tie->a != c->tie[0].b - c->tie[0].a)
        return icd_i_fail(ctx, ICD_EINVAL, spot.text, "all ties have one distance",
                          "found distance %" PRId32 ", expected %" PRId32,
                          tie->b - tie->a, c->tie[0].b - c->tie[0].a);
    if (crosses_unit(tie, c->unit))
        return icd_i_fail(ctx, ICD_EINVAL, spot.text,
                          "tie inside a unit, or over a whole number of units",
                          "distance %" PRId32 " crosses units of %" PRId32,
                          tie->b - tie->a, c->unit);
    tied[tie->a] = tied[tie->b] = true;
done:
    return status;
}

static icd_status check_ties(icd_ctx *ctx, const icd_constraint *c, int64_t n)
{
    icd_status status;
    bool *tied = NULL;
    ICD_TRY(ICD_ALLOC(ctx, n, &tied));
    for (int64_t t = 0; t < c->ties; ++t) ICD_TRY(check_tie(ctx, c, t, tied, n));
done:
    icd_i_free(ctx, tied);
    return status;
}

icd_status icd_constraint_check(icd_ctx *ctx, const icd_constraint *c, int64_t n)
{
    icd_status status = ICD_OK;
    if (!c) return ICD_OK;
    ICD_TRY(check_unit(ctx, c->unit, n));
    for (int64_t f = 0; f < c->fixed_count; ++f)
        ICD_TRY(check_index(ctx, "fixed index", f, c->fixed[f], n));
    if (c->ties) ICD_TRY(check_ties(ctx, c, n));
done:
    return status;
}

static icd_status check_perm_units(icd_ctx *ctx, int32_t unit, const icd_perm *p)
{
    for (int64_t k = 0; unit > 1 && k < p->n; ++k) {
        int64_t head = k - k % unit, expected = p->old_of_new[head] + k % unit;
        if (p->old_of_new[head] % unit == 0 && p->old_of_new[k] == expected) continue;
        return icd_i_fail(
            ctx, ICD_EINVAL, icd_i_spot("permutation", "slot %" PRId64, k).text, NULL,
            "index %" PRId32 " has left its unit of %" PRId32, p->old_of_new[k], unit);
    }
    return ICD_OK;
}

static icd_status check_perm_ties(icd_ctx *ctx, const icd_constraint *c,
                                  const int32_t *pos)
{
    for (int64_t t = 0; t < c->ties; ++t) {
        const icd_tie *tie = &c->tie[t];
        int32_t found = pos[tie->b] - pos[tie->a];
        if (found != tie->b - tie->a)
            return icd_i_fail(ctx, ICD_EINVAL, "permutation", NULL,
                              "indices %" PRId32 " and %" PRId32
                              " are tied at distance %" PRId32 ", found %" PRId32,
                              tie->a, tie->b, tie->b - tie->a, found);
    }
    return ICD_OK;
}

static icd_status check_perm_fixed(icd_ctx *ctx, const icd_constraint *c,
                                   const int32_t *pos)
{
    for (int64_t f = 0; f < c->fixed_count; ++f) {
        int32_t i = c->fixed[f];
        if (pos[i] != i)
            return icd_i_fail(ctx, ICD_EINVAL, "permutation", NULL,
                              "index %" PRId32 " is fixed, found in slot %" PRId32, i,
                              pos[i]);
    }
    return ICD_OK;
}

icd_status icd_constraint_check_perm(icd_ctx *ctx, const icd_constraint *c,
                                     const icd_perm *p)
{
    icd_status status;
    int32_t *pos = NULL;
    if (!c) return ICD_OK;
    ICD_TRY(icd_constraint_check(ctx, c, p->n));
    ICD_TRY(ICD_ALLOC(ctx, p->n, &pos));
    icd_perm_invert_into(p, pos);
    ICD_TRY(check_perm_units(ctx, c->unit, p));
    ICD_TRY(check_perm_ties(ctx, c, pos));
    ICD_TRY(check_perm_fixed(ctx, c, pos));
done:
    icd_i_free(ctx, pos);
    return status;
}
