/* kernel: auto. Where tiles break even with dense depends on the shape, the type, the
   tokens and the CPU, so it is measured: per linear, when it is loaded. */
#include "runner/linear.h"

#include "base/clock.h"
#include "base/rng.h"
#include "kernels/linear_f32.h"
#include "kernels/linear_small.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { KINDS = 3, TURNS = 5, ENOUGH_ROWS = 2048 };
enum { DENSE, TILE, GATHER };
static const int32_t KIND[KINDS] = {ICD_KERNEL_DENSE, ICD_KERNEL_TILE, ICD_KERNEL_GATHER};
static const double WORTH = .97; /* of dense: less gain is not told from noise */

/* A linear packed for one kernel, and the fastest of its steps. */
typedef struct candidate {
    icd_loaded l;
    bool there;
    double seconds;
} candidate;

static int64_t probe_tokens(const icd_runner *r)
{
    bool decode = r->opts.phase == ICD_PHASE_DECODE;
    int64_t tokens = r->capacity.batch * (decode ? 1 : r->capacity.seq);
    return tokens < ICD_TOKEN_CHUNK ? tokens : ICD_TOKEN_CHUNK;
}

static icd_status pack_kind(icd_ctx *ctx, icd_runner *r, const icd_linear *info,
                            const icd_layout_entry *entry, int32_t kind, candidate *c)
{
    icd_layout_entry e = *entry;
    bool int4 =
        r->opts.dtype != ICD_RUN_F32 && !e.whole &&
        (e.quant ? e.quant->dtype == ICD_WEIGHT_INT4 : r->opts.dtype == ICD_RUN_INT4);
    e.kernel = kind;
    if (e.granule < ICD_GROUP) e.granule = ICD_GROUP;
    if (int4 && e.granule % ICD_STEP) e.granule *= 2;
    if (kind != ICD_KERNEL_DENSE && !e.mask) return ICD_OK;
    if (kind == ICD_KERNEL_GATHER && int4) return ICD_OK;
    c->l.info = info;
    c->there = true;
    return icd_i_linear_pack_as(ctx, r, &c->l, &e);
}

/* Activations without zeros, which would be skipped. */
static icd_status make_input(icd_ctx *ctx, icd_runner *probe, int64_t slots,
                             int64_t scratch)
{
    icd_status status = ICD_OK;
    int64_t tokens = probe_tokens(probe);
    icd_rng rng;
    icd_i_rng_init(&rng, 1, 0);
    ICD_TRY(ICD_ALLOC(ctx, tokens * slots, &probe->q));
    ICD_TRY(ICD_ALLOC(ctx, tokens * slots, &probe->staged));
    ICD_TRY(ICD_ALLOC(ctx, tokens, &probe->q_scale));
    ICD_TRY(ICD_ALLOC(ctx, scratch, &probe->scratch));
    for (int64_t i = 0; i < tokens * slots; i++) {
        probe->q[i] = (int8_t)(1 + icd_i_rng_below(&rng, 127));
        probe->staged[i] = (float)probe->q[i];
    }
done:
    return status;
}

static double step_seconds(const icd_runner *probe, const icd_loaded *l, int64_t steps,
                           float *y)
{
    double start = icd_i_now();
    for (int64_t i = 0; i < steps; i++)
        icd_i_linear_once(probe, l, probe_tokens(probe), y);
    return (icd_i_now() - start) / (double)steps;
}

static icd_status time_all(icd_ctx *ctx, const icd_runner *r, candidate *c)
{
    icd_status status = ICD_OK;
    icd_runner probe = *r;
    float *y = NULL;
    int64_t slots = 0, scratch = 0, tokens = probe_tokens(r), rows = c->l.info->rows;
    probe.q = NULL, probe.staged = NULL, probe.q_scale = NULL, probe.scratch = NULL;
    for (int i = 0; i < KINDS; i++) {
        if (!c[i].there) continue;
        if (c[i].l.plan->slots > slots) slots = c[i].l.plan->slots;
        if (icd_i_linear_needs(&c[i].l) > scratch) scratch = icd_i_linear_needs(&c[i].l);
    }
    ICD_TRY(make_input(ctx, &probe, slots, scratch));
    ICD_TRY(ICD_ALLOC(ctx, tokens * rows, &y));
    for (int turn = -1; turn < TURNS; turn++)
        for (int i = 0; i < KINDS; i++) {
            if (!c[i].there) continue;
            double s =
                step_seconds(&probe, &c[i].l, 1 + ENOUGH_ROWS / (rows * tokens + 1), y);
            if (turn <= 0 || s < c[i].seconds) c[i].seconds = s;
        }
done:
    icd_i_free(ctx, y);
    icd_i_free(ctx, probe.q);
    icd_i_free(ctx, probe.staged);
    icd_i_free(ctx, probe.q_scale);
    icd_i_free(ctx, probe.scratch);
    return status;
}

static int fastest(const candidate *c)
{
    int best = 0;
    for (int i = 1; i < KINDS; i++)
        if (c[i].there && c[i].seconds < (best ? c[best].seconds : WORTH * c[0].seconds))
            best = i;
    return best;
}

static double live_share(const candidate *c)
{
    const icd_plan *plan = c->there ? c->l.plan : NULL;
    int64_t all = plan ? plan->slots * plan->blocks : 0;
    return all > 0 ? (double)icd_i_plan_groups(plan) * ICD_GROUP / (double)all : 1;
}

static void tell(icd_ctx *ctx, const icd_runner *r, const candidate *c, int best,
                 double start)
{
    static const char *const NAME[KINDS] = {"dense", "tile", "gather"};
    char meta[512];
    int n = snprintf(meta, sizeof meta,
                     "{\"linear\":\"%s\",\"kernel\":\"%s\",\"tokens\":%lld,"
                     "\"live\":%.4f",
                     c->l.info->name, NAME[best], (long long)probe_tokens(r),
                     live_share(&c[best]));
    for (int i = 0; i < KINDS && n > 0 && n < (int)sizeof meta; i++)
        if (c[i].there)
            n += snprintf(meta + n, sizeof meta - (size_t)n, ",\"%s_us\":%.2f", NAME[i],
                          c[i].seconds * 1e6);
    if (n > 0 && n + 1 < (int)sizeof meta) meta[n++] = '}', meta[n] = 0;
    icd_event event = {"kernel", start, icd_ctx_now(ctx), true, meta};
    if (n < (int)sizeof meta) icd_ctx_emit(ctx, &event);
}

/* Where the runner's users can read it. */
static icd_status keep_choice(icd_ctx *ctx, icd_runner *r, const candidate *c, int best)
{
    int64_t i = c->l.info - r->list;
    icd_status status = r->choice ? ICD_OK : ICD_ALLOC(ctx, r->linears, &r->choice);
    if (status != ICD_OK) return status;
    double s[KINDS];
    for (int k = 0; k < KINDS; k++) s[k] = c[k].there ? c[k].seconds : NAN;
    r->choice[i] = (icd_kernel_choice){.kernel = KIND[best],
                                       .tokens = probe_tokens(r),
                                       .live = live_share(&c[TILE]),
                                       .dense_s = s[DENSE],
                                       .tile_s = s[TILE],
                                       .gather_s = s[GATHER]};
    return ICD_OK;
}

icd_status icd_i_linear_pack_fastest(icd_ctx *ctx, icd_runner *r, icd_loaded *l,
                                     const icd_layout_entry *entry)
{
    icd_status status = ICD_OK;
    candidate c[KINDS] = {0};
    double start = icd_ctx_now(ctx);
    int best = 0;
    for (int i = 0; i < KINDS; i++)
        ICD_TRY(pack_kind(ctx, r, l->info, entry, KIND[i], &c[i]));
    if (entry->mask) {
        ICD_TRY(time_all(ctx, r, c));
        best = fastest(c);
        tell(ctx, r, c, best, start);
        ICD_TRY(keep_choice(ctx, r, c, best));
    }
    const float *bias = l->bias;
    *l = c[best].l;
    l->bias = bias;
    c[best] = (candidate){0};
done:
    for (int i = 0; i < KINDS; i++) icd_i_linear_unload(ctx, &c[i].l);
    return status;
}

/* A mask of which about this share of granules lives, at random. */
static icd_status random_mask(icd_ctx *ctx, const icd_layout_entry *e, int32_t vector,
                              int32_t granule, double share, icd_mask **out)
{
    icd_rng rng;
    icd_status status = icd_i_mask_new(ctx, e->rows, e->cols, vector, out);
    if (status != ICD_OK) return status;
    icd_i_rng_init(&rng, 2, 0);
    for (int64_t b = 0; b < (*out)->blocks; b++)
        for (int64_t c = 0; c < e->cols; c += granule) {
            bool live = (double)icd_i_rng_below(&rng, 1 << 20) < share * (1 << 20);
            for (int64_t i = c; live && i < c + granule && i < e->cols; i++)
                icd_i_mask_set(*out, b, i);
        }
    return ICD_OK;
}

/* The share at which the line through (s0, t0) and (s1, t1) reaches `dense`. */
static double meeting(double s0, double t0, double s1, double t1, double dense)
{
    double slope = (t1 - t0) / (s1 - s0);
    if (!(slope > 0)) return t1 < dense ? 1 : 0;
    return fmin(fmax(s0 + (dense - t0) / slope, 0), 1);
}

/* Dense in place 0, then the kernel with few and with all granules alive. */
static icd_status measure_even(icd_ctx *ctx, icd_runner *r, const icd_linear *info,
                               const icd_layout_entry *entry, int32_t kind, double *out)
{
    static const double SHARE[KINDS] = {1, .25, 1};
    icd_status status = ICD_OK;
    candidate c[KINDS] = {0};
    icd_layout_entry e = *entry;
    icd_mask *mask[KINDS] = {0};
    int32_t granule = kind == ICD_KERNEL_TILE && e.granule > 1 ? e.granule : 1;
    e.order = NULL;
    for (int i = 0; i < KINDS; i++) {
        ICD_TRY(random_mask(ctx, &e, r->opts.vector, granule, SHARE[i], &mask[i]));
        e.mask = mask[i];
        ICD_TRY(pack_kind(ctx, r, info, &e, i ? kind : ICD_KERNEL_DENSE, &c[i]));
    }
    *out = NAN;
    if (!c[1].there) goto done;
    ICD_TRY(time_all(ctx, r, c));
    *out = meeting(live_share(&c[1]), c[1].seconds, live_share(&c[2]), c[2].seconds,
                   c[0].seconds);
done:
    for (int i = 0; i < KINDS; i++) {
        icd_i_linear_unload(ctx, &c[i].l);
        icd_i_mask_free(ctx, mask[i]);
    }
    return status;
}

icd_status icd_runner_break_even(icd_ctx *ctx, icd_runner *r,
                                 const icd_layout_entry *entry, icd_break_even *out)
{
    icd_status status = ICD_OK;
    const icd_linear *info = NULL;
    *out = (icd_break_even){NAN, NAN};
    for (int64_t i = 0; i < r->linears; i++)
        if (!strcmp(r->list[i].name, entry->linear)) info = &r->list[i];
    if (!info) return icd_i_fail(ctx, ICD_EINVAL, entry->linear, NULL, "no such linear");
    if (r->engine->device != ICD_RUN_CPU)
        return icd_i_fail(ctx, ICD_EUNSUPPORTED, entry->linear, NULL,
                          "break-even is measured on a CPU only");
    ICD_TRY(measure_even(ctx, r, info, entry, ICD_KERNEL_TILE, &out->tile));
    ICD_TRY(measure_even(ctx, r, info, entry, ICD_KERNEL_GATHER, &out->gather));
done:
    return status;
}

void icd_runner_choice(const icd_runner *r, int64_t linear, icd_kernel_choice *out)
{
    bool there = r->choice && linear >= 0 && linear < r->linears;
    *out = there ? r->choice[linear] : (icd_kernel_choice){.kernel = ICD_KERNEL_AUTO};
}
