/* transform: S and Q on every linear of the permuted model. A transform that cannot be
   applied is a no-op with its reason; the run goes on. */
#include "runtime/rounds.h"

#include "base/file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *loss_json(const icd_loss *loss)
{
    return json_pack("{s:o,s:o,s:o}", "sqnr_db", number(loss->sqnr_db), "max_error",
                     number(loss->max_error), "cosine", number(loss->cosine));
}

/* Q with outliers or static scales: what they are, and the loss without them. */
static void add_refinements(json_t *json, const icd_transform_meta *m)
{
    if (!m->refined) return;
    json_object_set_new(json, "outliers", json_integer(m->outliers));
    json_object_set_new(json, "input_scale",
                        m->input_scale > 0 ? json_real(m->input_scale) : json_null());
    json_object_set_new(json, "plain_loss", loss_json(&m->plain));
}

static json_t *meta_json(const icd_transform_meta *m)
{
    json_t *loss = json_object();
    const struct {
        const char *name;
        double value;
    } LOSS[] = {{"retained", m->retained},
                {"retained_in_place", m->retained_in_place},
                {"sqnr_db", m->sqnr_db},
                {"max_error", m->max_error},
                {"cosine", m->cosine}};
    for (size_t i = 0; i < sizeof LOSS / sizeof LOSS[0]; i++)
        json_object_set_new(loss, LOSS[i].name, number(LOSS[i].value));
    json_t *json =
        json_pack("{s:s,s:b,s:s,s:f,s:i,s:b,s:s,s:i,s:o}", "type", m->type, "applied",
                  (int)m->applied, "reason", m->reason, "rate", m->rate, "vector",
                  m->vector, "delta_layout", (int)m->delta_layout, "rule", m->rule,
                  "granule", m->granule, "loss", loss);
    add_refinements(json, m);
    return json;
}

/* What moving factors from activations into weights bought. */
static json_t *smooth_json(const icd_job_smooth *s)
{
    json_t *json = json_pack("{s:b,s:o}", "applied", (int)s->applied, "alpha",
                             s->applied ? json_real(s->alpha) : json_null());
    if (s->reason) json_object_set_new(json, "reason", json_string(s->reason));
    if (*s->into) json_object_set_new(json, "into", json_string(s->into));
    if (*s->into) json_object_set_new(json, "before", loss_json(&s->before));
    if (*s->into) json_object_set_new(json, "after", loss_json(&s->after));
    return json;
}

static json_t *linear_json(const icd_job_linear *l)
{
    json_t *triggers = json_array(), *constraints = json_array();
    if (l->s.delta_layout) json_array_append_new(triggers, json_string("S"));
    if (l->q.delta_layout) json_array_append_new(triggers, json_string("Q"));
    if (l->s.applied && l->s.vector > 1)
        json_array_append_new(constraints,
                              json_sprintf("rows stay in groups of %d", l->s.vector));
    if (l->s.applied && l->s.unit > 1)
        json_array_append_new(constraints,
                              json_sprintf("columns stay in groups of %d", l->s.unit));
    json_t *json =
        json_pack("{s:s,s:o,s:o,s:b,s:o,s:o,s:i}", "linear", l->linear->name, "sparsity",
                  meta_json(&l->s), "quant", meta_json(&l->q), "delta_layout",
                  (int)(l->s.delta_layout || l->q.delta_layout), "triggers", triggers,
                  "constraints", constraints, "granule", l->q.granule);
    if (l->smooth.tried) json_object_set_new(json, "smooth", smooth_json(&l->smooth));
    return json;
}

icd_status icd_i_transform_meta_write(icd_job *job, const char *path)
{
    json_t *list = json_array();
    if (!path || !list) return ICD_ENOMEM;
    for (int64_t i = 0; i < job->linears; i++)
        json_array_append_new(list, linear_json(&job->linear[i]));
    json_t *root = json_pack("{s:s,s:o}", "version", "icd/1", "linears", list);
    icd_status status = root ? icd_i_json_write(job->ctx, root, path) : ICD_ENOMEM;
    json_decref(root);
    return status;
}

void icd_i_variant_take(icd_job *job, icd_variant *v)
{
    for (int64_t i = 0; i < job->linears; i++) {
        job->linear[i].s = v->s[i];
        job->linear[i].q = v->q[i];
        job->linear[i].quant = v->quant[i];
        v->quant[i] = NULL;
    }
    job->layout = v->layout;
    job->transformed = v->model;
    v->layout = NULL;
    v->model = NULL;
}

icd_status icd_i_stage_transform(icd_job *job)
{
    icd_status status = ICD_OK;
    icd_variant *v = NULL;
    const char *path = icd_i_round_path(job, "model");
    if (!path) return ICD_ENOMEM;
    icd_i_out_sweep(path); /* what a killed run left half-written */
    if (job->round > 1) {
        ICD_TRY(icd_i_round_redo(job, &v));
        if (!v) goto done; /* nothing is less: the round is over */
        icd_i_variant_take(job, v);
    } else {
        ICD_TRY(icd_i_variant_anneal(job, &job->config->sparsity));
        ICD_TRY(icd_i_variant_make(job, &job->config->sparsity, &job->config->quant, &v));
        icd_i_variant_take(job, v);
        ICD_TRY(icd_i_places_of(job, job->layout, &job->places));
    }
    ICD_TRY(
        icd_i_transform_meta_write(job, icd_i_round_path(job, "transform_meta.json")));
    if (!job->opts.dry_run)
        ICD_TRY(icd_model_write(job->ctx, job->transformed,
                                icd_model_path(job->checkpoint), path));
done:
    icd_i_variant_free(v);
    return status;
}
