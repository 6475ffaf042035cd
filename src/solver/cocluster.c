#include <icd/cocluster.h>

#include "base/clock.h"
#include "solver/hyper.h"

#include <inttypes.h>
#include <math.h>

#define TILE  16
#define TURNS 2000

static int64_t tiles_of(const icd_mask *mask, int64_t vector, int64_t granule)
{
    return (mask->rows + vector - 1) / vector * ((mask->cols + granule - 1) / granule);
}

static int64_t least_tiles(const icd_mask *mask, int64_t vector, int64_t granule)
{
    double survivors = icd_i_mask_density(mask) * (double)mask->rows * (double)mask->cols;
    return (int64_t)ceil(survivors / ((double)vector * (double)granule) - 1e-9);
}

static icd_status new_identity(icd_ctx *ctx, int64_t n, int32_t **out)
{
    icd_status status = ICD_ALLOC(ctx, n, out);
    for (int64_t k = 0; k < n && status == ICD_OK; ++k) (*out)[k] = (int32_t)k;
    return status;
}

static icd_status check(icd_ctx *ctx, const icd_mask *mask,
                        const icd_cocluster_opts *opts)
{
    if (mask->rows > INT32_MAX || mask->cols > INT32_MAX)
        return icd_i_fail(ctx, ICD_EINVAL, "mask", NULL,
                          "found %" PRId64 " x %" PRId64 ", expected %" PRId32
                          " rows and columns at most",
                          mask->rows, mask->cols, INT32_MAX);
    if (opts->effort < ICD_EFFORT_LOW || opts->effort > ICD_EFFORT_HIGH)
        return icd_i_fail(ctx, ICD_EINVAL, "effort", NULL,
                          "found %" PRId32 ", expected 0 (low) to 2 (high)",
                          opts->effort);
    return ICD_OK;
}

/* Perms of both orders, or none. */
static icd_status give(icd_ctx *ctx, const icd_mask *mask, const int32_t *row_order,
                       const int32_t *col_order, icd_perm **rows, icd_perm **cols)
{
    icd_status status;
    ICD_TRY(icd_perm_from_array(ctx, row_order, mask->rows, ICD_FRAME_CHECKPOINT,
                                "co-clustered rows", rows));
    ICD_TRY(icd_perm_from_array(ctx, col_order, mask->cols, ICD_FRAME_CHECKPOINT,
                                "co-clustered columns", cols));
    return ICD_OK;
done:
    icd_perm_free(ctx, *rows);
    *rows = NULL;
    return status;
}

icd_status icd_cocluster(icd_ctx *ctx, const icd_mask *mask,
                         const icd_cocluster_opts *opts, icd_perm **rows, icd_perm **cols,
                         icd_cocluster_stats *stats)
{
    icd_status status;
    icd_cocluster_opts defaults = {0};
    icd_hyper_stats found = {0};
    int32_t *row_order = NULL, *col_order = NULL;
    double begun = icd_i_now();
    if (!opts) opts = &defaults;
    int32_t vector = opts->vector ? opts->vector : TILE;
    icd_hyper_params params = {.granule = opts->granule ? opts->granule : TILE,
                               .effort = opts->effort,
                               .refine_steps = TURNS,
                               .seed = (uint64_t)opts->seed};
    if (opts->time_budget_s > 0) params.deadline = begun + opts->time_budget_s;
    *rows = *cols = NULL;
    ICD_TRY(check(ctx, mask, opts));
    ICD_TRY(new_identity(ctx, mask->rows, &row_order));
    ICD_TRY(new_identity(ctx, mask->cols, &col_order));
    ICD_TRY(
        icd_i_hyper_cocluster(ctx, mask, vector, &params, row_order, col_order, &found));
    ICD_TRY(give(ctx, mask, row_order, col_order, rows, cols));
    if (stats)
        *stats = (icd_cocluster_stats){.tiles = tiles_of(mask, vector, params.granule),
                                       .before = (int64_t)found.start,
                                       .after = (int64_t)found.touched,
                                       .least = least_tiles(mask, vector, params.granule),
                                       .elapsed_s = icd_i_now() - begun,
                                       .timed_out = found.timed_out};
done:
    icd_i_free(ctx, row_order);
    icd_i_free(ctx, col_order);
    return status;
}
