/* S: what survives of one matrix, what that costs, and what several matrices share. */
#include "adapters/adapter.h"
#include "adapters/s/units.h"

#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double DELTA_RATE = .25; /* below it most granules stay live in any order */

/* Indexed by icd_sparsity_type. */
static const char *const NAME[] = {"none", "hds", "unstructured", "block", "channel",
                                   "2:4",  "1:4", "4:8",          "nm"};

void icd_mask_free(icd_ctx *ctx, icd_mask *mask)
{
    icd_i_mask_free(ctx, mask);
}

void icd_mask_apply(const icd_mask *mask, const float *w, float *out)
{
    for (int64_t r = 0; r < mask->rows; r++)
        for (int64_t c = 0; c < mask->cols; c++) {
            int64_t at = r * mask->cols + c;
            out[at] = icd_i_mask_get(mask, r / mask->vector, c) ? w[at] : 0;
        }
}

bool icd_sparsity_nm(const icd_sparsity_opts *opts, int32_t *n, int32_t *m)
{
    static const struct {
        int32_t type, n, m;
    } FIXED[] = {{ICD_S_2_4, 2, 4}, {ICD_S_1_4, 1, 4}, {ICD_S_4_8, 4, 8}};
    for (size_t i = 0; i < sizeof FIXED / sizeof *FIXED; i++)
        if (FIXED[i].type == opts->type) {
            *n = FIXED[i].n;
            *m = FIXED[i].m;
            return true;
        }
    *n = opts->n;
    *m = opts->m;
    return opts->type == ICD_S_NM;
}

static double rate_of(int32_t n, int32_t m)
{
    return 1 - (double)n / m;
}

icd_status icd_sparsity_check(icd_ctx *ctx, const icd_sparsity_opts *opts)
{
    static const double UNSET = .75, NEAR = 1e-3;
    int32_t n = 0, m = 0;
    if (!icd_sparsity_nm(opts, &n, &m) || n >= m || opts->rate == UNSET ||
        fabs(opts->rate - rate_of(n, m)) <= NEAR)
        return ICD_OK;
    return icd_i_fail(ctx, ICD_EINVAL, "transform.sparsity.rate",
                      "leave it out, or take another type",
                      "found %g, expected %g, the 1 - N/M of %d:%d", opts->rate,
                      rate_of(n, m), (int)n, (int)m);
}

bool icd_sparsity_excludes(const icd_sparsity_opts *opts, const char *linear)
{
    for (int64_t i = 0; i < opts->exclude.count; i++)
        if (fnmatch(opts->exclude.item[i], linear, 0) == 0) return true;
    return false;
}

icd_status icd_sparsity_saliency(icd_ctx *ctx, const icd_matrix *w,
                                 const icd_calibration *cal,
                                 const icd_sparsity_opts *opts, float *out)
{
    bool activation = opts->saliency == ICD_SALIENCY_ACTIVATION;
    if (activation && (!cal || !cal->x_sq))
        return icd_i_fail(ctx, ICD_EINVAL, w->name, NULL,
                          "saliency 'activation' needs calibration input");
    for (int64_t r = 0; r < w->rows; r++)
        for (int64_t c = 0; c < w->cols; c++) {
            double value = (double)w->w[r * w->cols + c];
            double square = value * value * (activation ? cal->x_sq[c] : 1);
            if (!isfinite(square) || square > (double)HUGE_VALF)
                return icd_i_fail(ctx, ICD_EDATA, w->name, NULL,
                                  "a weight or its saliency is NaN or infinite");
            out[r * w->cols + c] = (float)square;
        }
    return ICD_OK;
}

static double retained_share(const icd_unit_shape *s, const float *sum, const bool *kept)
{
    double held = 0, all = 0;
    for (int64_t u = 0; u < s->down * s->across; u++) {
        all += (double)sum[u];
        held += kept[u] ? (double)sum[u] : 0;
    }
    return all > 0 ? held / all : 1;
}

static void begin_meta(icd_transform_meta *meta, const icd_sparsity_opts *opts)
{
    *meta = (icd_transform_meta){
        .kind = "S",
        .type = NAME[opts->type],
        .retained = NAN,
        .retained_in_place = NAN,
        .sqnr_db = NAN,
        .max_error = NAN,
        .cosine = NAN,
    };
    snprintf(meta->rule, sizeof meta->rule, "S: rate >= %.2f", DELTA_RATE);
}

static icd_status finish_meta(icd_ctx *ctx, const icd_matrix *w,
                              const icd_calibration *cal, const icd_mask *mask,
                              const icd_sparsity_opts *opts, icd_transform_meta *meta)
{
    int32_t n = 0, m = 0;
    float *changed = NULL;
    meta->applied = true;
    meta->vector = mask->vector;
    meta->unit = icd_sparsity_nm(opts, &n, &m) ? m : 0;
    meta->rate = 1 - icd_i_mask_density(mask);
    meta->delta_layout = meta->rate >= DELTA_RATE;
    icd_status status = ICD_ALLOC(ctx, w->rows * w->cols, &changed);
    if (status != ICD_OK) return status;
    icd_mask_apply(mask, w->w, changed);
    status = icd_i_measure_loss(ctx, w, changed, cal, meta);
    icd_i_free(ctx, changed);
    return status;
}

/* The reason a type cannot be applied to a matrix; NULL: it can. */
static const char *obstacle(const icd_sparsity_opts *opts, const icd_matrix *w,
                            const icd_sparsity_place *place)
{
    int32_t n = 0, m = 0;
    if (place->order && place->order->n != w->cols)
        return "its order has another number of columns";
    if (!icd_sparsity_nm(opts, &n, &m)) return NULL;
    if (n >= m) return "N:M needs N below M";
    if (w->cols % m) return "the number of columns is no multiple of M";
    return NULL;
}

/* Rows of the mask: units of hds and block stay as they are; whole channels are told in
 * the blocks of the kernel; others row by row. */
static int32_t mask_vector(const icd_sparsity_opts *opts)
{
    bool blocks = opts->type == ICD_S_HDS || opts->type == ICD_S_BLOCK ||
                  opts->type == ICD_S_CHANNEL;
    return blocks ? opts->vector : 1;
}

/* Sums, choice and retained share under one order. */
static icd_status choose(icd_ctx *ctx, const icd_unit_shape *shape, const float *saliency,
                         const int32_t *order, const icd_sparsity_opts *opts,
                         double floor, bool *kept, double *retained)
{
    float *sum = NULL;
    icd_status status = ICD_ALLOC(ctx, shape->down * shape->across, &sum);
    if (status == ICD_OK) status = icd_i_unit_sums(ctx, shape, saliency, order, sum);
    if (status == ICD_OK)
        status = icd_i_unit_choose(ctx, shape, sum, opts->rate, floor, kept);
    if (status == ICD_OK) *retained = retained_share(shape, sum, kept);
    icd_i_free(ctx, sum);
    return status;
}

static icd_status prune(icd_ctx *ctx, const icd_matrix *w, const icd_sparsity_opts *opts,
                        const icd_sparsity_place *place, const float *saliency,
                        icd_mask **mask, icd_transform_meta *meta)
{
    icd_status status = ICD_OK;
    bool *kept = NULL;
    icd_unit_shape shape = icd_i_unit_shape(opts, w->rows, w->cols);
    const int32_t *order = place->order ? place->order->old_of_new : NULL;
    ICD_TRY(ICD_ALLOC(ctx, shape.down * shape.across, &kept));
    if (order)
        ICD_TRY(choose(ctx, &shape, saliency, NULL, opts, place->floor, kept,
                       &meta->retained_in_place));
    ICD_TRY(
        choose(ctx, &shape, saliency, order, opts, place->floor, kept, &meta->retained));
    status = icd_i_unit_mask(ctx, &shape, kept, order, mask_vector(opts), mask);
done:
    icd_i_free(ctx, kept);
    return status;
}

/* What the data or the shape forbid is a no-op; an error is for our own limits. */
static icd_status apply(icd_ctx *ctx, const icd_matrix *w, const icd_calibration *cal,
                        const icd_sparsity_opts *opts, const icd_sparsity_place *place,
                        float *saliency, icd_mask **mask, icd_transform_meta *meta)
{
    const char *why = obstacle(opts, w, place);
    if (why) {
        icd_i_no_op(ctx, meta, w->name, "%s", why);
        return ICD_OK;
    }
    icd_status status = icd_sparsity_saliency(ctx, w, cal, opts, saliency);
    if (status == ICD_EINVAL || status == ICD_EDATA) {
        icd_i_no_op(ctx, meta, w->name, "%s",
                    status == ICD_EINVAL ? "saliency 'activation' needs calibration input"
                                         : "a weight or its saliency is NaN or infinite");
        return ICD_OK;
    }
    if (status == ICD_OK) status = prune(ctx, w, opts, place, saliency, mask, meta);
    if (status == ICD_OK) status = finish_meta(ctx, w, cal, *mask, opts, meta);
    return status;
}

icd_status icd_apply_sparsity_at(icd_ctx *ctx, const icd_matrix *w,
                                 const icd_calibration *cal, const icd_sparsity_opts *in,
                                 const icd_sparsity_place *place, icd_mask **mask,
                                 icd_transform_meta *meta)
{
    icd_sparsity_opts opts;
    float *saliency = NULL;
    *mask = NULL;
    *meta = (icd_transform_meta){.kind = "S", .type = "none"};
    icd_status status = icd_options_resolve(ctx, &icd_sparsity_table, in, &opts);
    if (status != ICD_OK) return status;
    begin_meta(meta, &opts);
    if (opts.type == ICD_S_NONE || icd_sparsity_excludes(&opts, w->name)) {
        snprintf(meta->reason, sizeof meta->reason, "%s",
                 opts.type == ICD_S_NONE ? "transform.sparsity.type is none"
                                         : "transform.sparsity.exclude names it");
        return ICD_OK;
    }
    status = ICD_ALLOC(ctx, w->rows * w->cols, &saliency);
    if (status == ICD_OK) status = apply(ctx, w, cal, &opts, place, saliency, mask, meta);
    if (status != ICD_OK) {
        icd_i_mask_free(ctx, *mask);
        *mask = NULL;
    }
    icd_i_free(ctx, saliency);
    return status;
}

icd_status icd_apply_sparsity(icd_ctx *ctx, const icd_matrix *w,
                              const icd_calibration *cal, const icd_sparsity_opts *opts,
                              icd_mask **mask, icd_transform_meta *meta)
{
    icd_sparsity_place nowhere = {0};
    return icd_apply_sparsity_at(ctx, w, cal, opts, &nowhere, mask, meta);
}
