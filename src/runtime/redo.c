#include "runtime/redo.h"

#include "runtime/subject.h"

#include <icd/graph.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double loss_of(const icd_transform_meta *s, const icd_transform_meta *q)
{
    double gone = s->applied && isfinite(s->retained) ? 1 - s->retained : 0;
    double noise = q->applied && isfinite(q->sqnr_db) ? pow(10, -q->sqnr_db / 10) : 0;
    return gone + (1 - gone) * noise;
}

double icd_i_loss(const icd_job *job, const icd_transform_meta *s,
                  const icd_transform_meta *q, int64_t i, int64_t end)
{
    double sum = 0, weights = 0;
    for (; i < end; i++) {
        const icd_linear *l = job->linear[i].linear;
        double size = (double)(l->rows * l->cols);
        sum += size * loss_of(&s[i], &q[i]);
        weights += size;
    }
    return weights > 0 ? sum / weights : 0;
}

double icd_i_job_loss(const icd_job *job, int64_t i, int64_t end)
{
    double sum = 0, weights = 0;
    for (; i < end; i++) {
        const icd_job_linear *l = &job->linear[i];
        double size = (double)(l->linear->rows * l->linear->cols);
        sum += size * loss_of(&l->s, &l->q);
        weights += size;
    }
    return weights > 0 ? sum / weights : 0;
}

const char *icd_i_redo_what(const icd_job *job, int64_t linear)
{
    int32_t n, m;
    const icd_job_linear *l = &job->linear[linear];
    const icd_sparsity_opts *s = &job->config->sparsity;
    if (l->s.applied && icd_sparsity_nm(s, &n, &m)) return "N:M groups";
    if (l->s.applied && s->type == ICD_S_BLOCK) return "tiles";
    return l->q.applied && job->config->quant.group > 0 ? "scale groups" : NULL;
}

/* A run of channels that moves as one, and how large its weights are. */
typedef struct unit {
    double size;
    int64_t at;
} unit;

static int by_size(const void *a, const void *b)
{
    const unit *x = a, *y = b;
    if (x->size != y->size) return x->size < y->size ? 1 : -1;
    return (x->at > y->at) - (x->at < y->at);
}

/* Sum of squares of every column over all rows that read one input. */
static void column_sizes(const icd_subject *s, int64_t count, double *out)
{
    for (int64_t i = 0; i < count; i++)
        for (int64_t r = 0; r < s[i].w.rows; r++)
            for (int64_t c = 0; c < s[i].w.cols; c++) {
                double w = (double)s[i].w.w[r * s[i].w.cols + c];
                out[c] += w * w;
            }
}

/* The units of an order by falling magnitude, so that what shares a scale is alike; a
   last unit that is not full stays where it is. Which channels share a unit, and so what
   a kernel can skip, does not change. */
static icd_status arrange(icd_job *job, const icd_subject *s, int64_t count,
                          const icd_perm *order, int32_t width, uint64_t frame,
                          icd_perm **out)
{
    icd_status status = ICD_OK;
    int64_t n = s[0].w.cols, units = n / width;
    double *size = NULL;
    int32_t *index = NULL;
    unit *list = NULL;
    ICD_TRY(ICD_ALLOC(job->ctx, n, &size));
    ICD_TRY(ICD_ALLOC(job->ctx, n, &index));
    ICD_TRY(ICD_ALLOC(job->ctx, units, &list));
    column_sizes(s, count, size);
    for (int64_t u = 0; u < units; u++) {
        list[u].at = u;
        for (int64_t k = u * width; k < (u + 1) * width; k++)
            list[u].size += size[order ? order->old_of_new[k] : k];
    }
    qsort(list, (size_t)units, sizeof *list, by_size);
    for (int64_t k = 0; k < n; k++) {
        int64_t from = k < units * width ? list[k / width].at * width + k % width : k;
        index[k] = order ? order->old_of_new[from] : (int32_t)from;
    }
    status = icd_perm_from_array(job->ctx, index, n, frame, "redo", out);
done:
    icd_i_free(job->ctx, size);
    icd_i_free(job->ctx, index);
    icd_i_free(job->ctx, list);
    return status;
}

/* Masks of single vectors: what the linears of a group would keep if tiles had not to be
   whole. */
static icd_status vector_sets(icd_job *job, const icd_subject *s, int64_t count,
                              uint64_t frame, const char *group, icd_access **out)
{
    icd_status status = ICD_OK;
    icd_mask **mask = NULL;
    icd_sparsity_opts opts = job->config->sparsity;
    opts.type = ICD_S_HDS;
    opts.scope = ICD_SCOPE_MATRIX;
    *out = NULL;
    ICD_TRY(ICD_ALLOC(job->ctx, count, &mask));
    for (int64_t i = 0; i < count; i++) {
        icd_transform_meta meta;
        ICD_TRY(icd_apply_sparsity(job->ctx, &s[i].w, &s[i].cal, &opts, &mask[i], &meta));
        if (!mask[i]) goto done; /* no input: the adapter said so */
    }
    status = icd_i_mask_access(job->ctx, (const icd_mask *const *)mask, count, frame,
                               group, out);
done:
    for (int64_t i = 0; mask && i < count; i++) icd_i_mask_free(job->ctx, mask[i]);
    icd_i_free(job->ctx, mask);
    return status;
}

/* Tiles keep most where channels that the same row blocks want are neighbours. */
static icd_status order_of_tiles(icd_job *job, const icd_subject *s, int64_t count,
                                 const icd_perm *start, uint64_t frame, const char *group,
                                 icd_perm **out)
{
    icd_status status = ICD_OK;
    icd_csr *w = NULL;
    icd_csr_meta meta = {0};
    icd_problem problem = {.prev = start};
    icd_access *sets = NULL;
    icd_solver_opts opts = job->config->solver;
    opts.granule = job->config->sparsity.granule ? job->config->sparsity.granule : 16;
    ICD_TRY(vector_sets(job, s, count, frame, group, &sets));
    if (!sets) return ICD_OK;
    icd_i_progress_hold(job->ctx, true);
    status = icd_build_w(job->ctx, sets, &job->config->graph, &w, &meta);
    problem.w = w;
    problem.sets = sets;
    if (status == ICD_OK)
        status = icd_fit_permutation(job->ctx, &problem, &opts, out, NULL);
    icd_i_progress_hold(job->ctx, false);
done:
    icd_csr_free(job->ctx, w);
    icd_access_free(job->ctx, sets);
    return status;
}

/* How many channels must stay together for the masks of a group to stay what they are. */
static int32_t unit_of(const icd_job *job, const icd_layout_entry *e)
{
    int32_t n, m;
    if (icd_sparsity_nm(&job->config->sparsity, &n, &m)) return m;
    return e->mask ? e->granule : 1;
}

/* Orders in which a group may be transformed again: [0] along the layout, [1] the same
   with its units sorted for the scales. NULL: nothing to try. */
typedef struct attempt {
    icd_perm *order[2];
} attempt;

static void attempt_release(icd_ctx *ctx, attempt *a)
{
    for (int k = 0; k < 2; k++) icd_perm_free(ctx, a->order[k]);
}

static icd_status make_attempt(icd_job *job, const icd_layout *layout,
                               const icd_places *places, int64_t first, int64_t end,
                               attempt *out)
{
    icd_status status = ICD_OK;
    int32_t n, m;
    icd_subject *s = NULL;
    const icd_sparsity_opts *opts = &job->config->sparsity;
    const icd_linear *l = job->linear[first].linear;
    const icd_layout_entry *e = &layout->entry[first];
    const icd_perm *place = places->order[first];
    uint64_t frame = icd_i_input_frame(job, l);
    int64_t count = end - first;
    ICD_TRY(icd_i_subjects_open(job, first, end, &s));
    if (!job->linear[first].s.applied) {
        if (e->order) ICD_TRY(icd_perm_copy(job->ctx, e->order, &out->order[0]));
    } else if (icd_sparsity_nm(opts, &n, &m)) {
        ICD_TRY(icd_i_search_nm(job, s, count, opts, place, job->round - 1, frame,
                                &out->order[0]));
    } else if (opts->type == ICD_S_BLOCK) {
        ICD_TRY(order_of_tiles(job, s, count, e->order, frame, l->group, &out->order[0]));
    } else if (e->order) {
        ICD_TRY(icd_perm_copy(job->ctx, e->order, &out->order[0]));
    }
    const icd_perm *base = out->order[0] ? out->order[0] : e->order;
    if (job->linear[first].q.applied && job->config->quant.group > 0)
        status = arrange(job, s, count, base, unit_of(job, e), frame, &out->order[1]);
done:
    icd_i_subjects_free(job->ctx, s, count);
    return status;
}

/* The places of one attempt; where a group has none, it stays as it is. */
static icd_status places_of_attempt(icd_job *job, const icd_places *places,
                                    const attempt *a, int which, icd_places **out,
                                    bool *any)
{
    icd_status status = icd_i_places_new(job, out);
    *any = false;
    for (int64_t i = 0, end; status == ICD_OK && i < job->linears; i = end) {
        end = icd_i_group_end(job, i);
        const icd_perm *order = a[i].order[which];
        *any |= order != NULL;
        status =
            icd_i_places_set(job->ctx, *out, i, end, order ? order : places->order[i]);
    }
    return status;
}

/* Saliency of the whole model competes: a group's masks depend on all orders. */
static bool together(const icd_job *job)
{
    return job->config->sparsity.scope == ICD_SCOPE_GLOBAL &&
           job->config->sparsity.type == ICD_S_BLOCK;
}

static bool is_less(double after, double before)
{
    return after < before * (1 - ICD_REDO_LEAST);
}

/* Takes what this attempt does better than every one before it. */
static icd_status take_better(icd_job *job, const icd_variant *v, const icd_places *tried,
                              icd_redo_group *group, icd_places *best)
{
    icd_status status = ICD_OK;
    bool all = together(job);
    double before = icd_i_job_loss(job, 0, job->linears),
           after = icd_i_loss(job, v->s, v->q, 0, job->linears);
    for (int64_t i = 0, end; i < job->linears; i = end) {
        end = icd_i_group_end(job, i);
        if (!icd_i_redo_what(job, i)) continue;
        double loss = icd_i_loss(job, v->s, v->q, i, end);
        bool less = all ? is_less(after, before) : is_less(loss, group->before);
        if (isnan(group->after) || loss < group->after) {
            group->after = loss;
            group->taken = less;
            if (less) ICD_TRY(icd_i_places_set(job->ctx, best, i, end, tried->order[i]));
        }
        group++;
    }
done:
    return status;
}

static icd_status try_attempt(icd_job *job, const icd_places *places, const attempt *a,
                              int which, icd_redo_group *group, icd_places *best)
{
    icd_status status = ICD_OK;
    icd_places *tried = NULL;
    icd_variant *v = NULL;
    bool any = false;
    ICD_TRY(places_of_attempt(job, places, a, which, &tried, &any));
    if (!any) goto done;
    ICD_TRY(icd_i_variant_make_at(job, &job->config->sparsity, &job->config->quant, tried,
                                  &v));
    status = take_better(job, v, tried, group, best);
done:
    icd_i_variant_free(v);
    icd_i_places_free(job->ctx, tried);
    return status;
}

static icd_status list_groups(icd_job *job, icd_redo_group **out, int64_t *count)
{
    icd_status status = ICD_ALLOC(job->ctx, job->linears, out);
    *count = 0;
    for (int64_t i = 0, end; status == ICD_OK && i < job->linears; i = end) {
        end = icd_i_group_end(job, i);
        const char *what = icd_i_redo_what(job, i);
        if (what)
            (*out)[(*count)++] =
                (icd_redo_group){job->linear[i].linear->group, what,
                                 icd_i_job_loss(job, i, end), NAN, false};
    }
    return status;
}

static icd_status make_attempts(icd_job *job, const icd_layout *layout,
                                const icd_places *places, attempt *a)
{
    for (int64_t i = 0, end; i < job->linears; i = end) {
        end = icd_i_group_end(job, i);
        if (!icd_i_redo_what(job, i)) continue;
        icd_i_progress(job->ctx, "redo", i, job->linears);
        icd_status status = icd_i_check_cancel(job->ctx);
        if (status == ICD_OK) status = make_attempt(job, layout, places, i, end, &a[i]);
        if (status != ICD_OK) return status;
    }
    return ICD_OK;
}

static bool any_taken(const icd_redo_group *group, int64_t groups)
{
    for (int64_t i = 0; i < groups; i++)
        if (group[i].taken) return true;
    return false;
}

icd_status icd_i_redo(icd_job *job, const icd_layout *layout, const icd_places *places,
                      icd_redo_group **group, int64_t *groups, icd_places **made)
{
    icd_status status = ICD_OK;
    attempt *a = NULL;
    icd_places *best = NULL;
    *made = NULL;
    *group = NULL;
    ICD_TRY(list_groups(job, group, groups));
    ICD_TRY(ICD_ALLOC(job->ctx, job->linears, &a));
    ICD_TRY(icd_i_places_new(job, &best));
    for (int64_t i = 0; i < job->linears; i++)
        ICD_TRY(icd_i_places_set(job->ctx, best, i, i + 1, places->order[i]));
    ICD_TRY(make_attempts(job, layout, places, a));
    for (int k = 0; k < 2; k++) ICD_TRY(try_attempt(job, places, a, k, *group, best));
    if (any_taken(*group, *groups)) {
        *made = best;
        best = NULL;
    }
done:
    for (int64_t i = 0; a && i < job->linears; i++) attempt_release(job->ctx, &a[i]);
    icd_i_free(job->ctx, a);
    icd_i_places_free(job->ctx, best);
    return status;
}
