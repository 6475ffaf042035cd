/* quality: one score for every example, of the dense model, of linear, of iterative, and
   of arms that are models of their own; quality.json. The verdict compares them in
   pairs. */
#include "runtime/quality_data.h"
#include "runtime/variant.h"

#include "base/file.h"
#include "base/hash.h"

#include <icd/quality.h>
#include <icd/tokenizer.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { FOLDS = 5, HIDE_ONE_IN = 7, BATCH_TOKENS = 1024 };

/* A model to be judged, and what it scored. */
typedef struct judged {
    const char *name;
    const icd_model *model;
    const icd_layout *layout;
    int32_t dtype, kv; /* icd_arm_kv */
    double *score;     /* [examples] more is better */
    double *loss;      /* [examples] nats a token; NULL: not a language task */
} judged;

enum { JUDGED_MAX = ICD_ARMS_MAX + 1 };

typedef struct panel {
    icd_job *job;
    int32_t task;
    const char *why; /* not evaluated; NULL: evaluated */
    icd_examples examples;
    judged model[JUDGED_MAX];
    int64_t models;
} panel;

static const char *const TASK[] = {"auto", "none", "classification", "next-token",
                                   "masked-word"};

static void add_model(panel *p, const char *name, const icd_model *model,
                      const icd_layout *layout, int32_t dtype, int32_t kv)
{
    p->model[p->models++] = (judged){
        .name = name, .model = model, .layout = layout, .dtype = dtype, .kv = kv};
}

/* dense, linear, iterative and other models; control arms compute what linear does. */
static void list_models(panel *p)
{
    icd_job *job = p->job;
    add_model(p, "dense", job->checkpoint, NULL, ICD_RUN_F32, ICD_ARM_KV_FULL);
    for (int64_t i = 0; i < job->arms; i++) {
        const icd_job_arm *a = &job->arm[i];
        if (strcmp(a->name, "linear") && strcmp(a->name, "iterative") && !a->variant &&
            strcmp(a->name, "full cache"))
            continue;
        if (!strcmp(a->name, "original")) continue; /* what "dense" is here */
        add_model(p, a->name, a->variant ? a->variant->model : job->transformed,
                  a->layout, a->dtype, a->kv);
    }
}

static bool has_labels(const icd_job *job)
{
    const icd_strings *data = &job->config->quality.data;
    for (int64_t i = 0; i < data->count; i++)
        if (icd_i_examples_labelled(data->item[i])) return true;
    return false;
}

static bool has_masked_head(const icd_job *job)
{
    return icd_model_tensor(job->checkpoint, "cls.predictions.transform.dense.weight") !=
           NULL;
}

/* What the model and the data allow; `why` where nothing does. */
static void choose_task(panel *p)
{
    const icd_job *job = p->job;
    const char *arch = icd_model_arch(job->checkpoint);
    bool bert = !strcmp(arch, "bert");
    p->task = job->config->quality.task;
    if (p->task == ICD_QUALITY_NONE) {
        p->why = "quality.task is none";
    } else if (job->config->quality.data.count == 0) {
        p->why = "no data (quality.data)";
    } else if (icd_model_synthetic(job->checkpoint)) {
        p->why = "the weights are synthetic";
    } else if (!strcmp(arch, "ffn")) {
        p->why = "a single block has no task";
    } else if (p->task == ICD_QUALITY_AUTO) {
        p->task = !bert             ? ICD_QUALITY_NEXT_TOKEN
                  : has_labels(job) ? ICD_QUALITY_CLASSIFICATION
                                    : ICD_QUALITY_MASKED_WORD;
    }
    if (p->why) return;
    if (p->task == ICD_QUALITY_NEXT_TOKEN && bert)
        p->why = "an encoder predicts no next token";
    if (p->task == ICD_QUALITY_MASKED_WORD && !has_masked_head(job))
        p->why = "the model has no masked-word head; give labelled sentences";
    if (p->task == ICD_QUALITY_CLASSIFICATION && !has_labels(job))
        p->why = "classification needs labelled sentences (.tsv or .json)";
}

static icd_status open_runner(panel *p, const judged *m, icd_batch *capacity,
                              icd_runner **out)
{
    icd_runner_opts opts = p->job->config->runner;
    int64_t rows = BATCH_TOKENS / p->examples.seq;
    opts.dtype = m->dtype;
    opts.vector = p->job->config->kernel.vector;
    if (m->layout) opts.threshold = p->job->config->kernel.threshold;
    opts.l2_pin = p->job->config->layout.l2_pin;
    opts.phase = ICD_PHASE_PREFILL;
    *capacity = (icd_batch){.batch = rows > 0 ? rows : 1, .seq = p->examples.seq};
    return icd_runner_new(p->job->ctx, m->model, m->layout, capacity, &opts, out);
}

/* K: the first half of every example fills the cache, which is thinned; the other half is
   predicted token by token. */
static int64_t context_of(const panel *p)
{
    return p->examples.seq / 2;
}

static icd_batch batch_at(const panel *p, int64_t first, int64_t most, const int32_t *ids)
{
    const icd_examples *e = &p->examples;
    int64_t left = e->count - first;
    return (icd_batch){.ids = ids + first * e->seq,
                       .lengths = e->lengths + first,
                       .batch = left < most ? left : most,
                       .seq = e->seq};
}

/* Mean over the tokens of a sentence, at unit length. */
static void embed(const float *hidden, int64_t tokens, int64_t width, float *out)
{
    double norm = 0;
    for (int64_t c = 0; c < width; c++) {
        double sum = 0;
        for (int64_t t = 0; t < tokens; t++) sum += (double)hidden[t * width + c];
        out[c] = (float)(sum / (double)tokens);
        norm += (double)out[c] * (double)out[c];
    }
    for (int64_t c = 0; c < width && norm > 0; c++) out[c] /= (float)sqrt(norm);
}

static icd_status classify(panel *p, judged *m)
{
    icd_status status = ICD_OK;
    icd_ctx *ctx = p->job->ctx;
    const icd_examples *e = &p->examples;
    int64_t width = icd_model_get_config(m->model)->hidden;
    float *x = NULL;
    icd_runner *r = NULL;
    icd_batch capacity;
    ICD_TRY(ICD_ALLOC(ctx, e->count * width, &x));
    ICD_TRY(open_runner(p, m, &capacity, &r));
    for (int64_t i = 0; i < e->count; i += capacity.batch) {
        icd_batch b = batch_at(p, i, capacity.batch, e->ids);
        icd_output out;
        ICD_TRY(icd_runner_step(ctx, r, &b, &out));
        for (int64_t s = 0; s < b.batch; s++)
            embed(out.hidden + s * e->seq * width, e->lengths[i + s], width,
                  x + (i + s) * width);
        ICD_TRY(icd_i_check_cancel(ctx));
    }
    status = icd_probe_scores(ctx, x, e->count, width, e->label, e->classes, FOLDS,
                              p->job->config->measure.seed, m->score);
done:
    icd_runner_free(ctx, r);
    icd_i_free(ctx, x);
    return status;
}

/* Log-probability of the wanted token, and whether it is the likeliest. */
static bool judge_logits(const float *logit, int64_t n, int32_t wanted, double *loss)
{
    double top = -INFINITY, sum = 0;
    int64_t best = 0;
    for (int64_t i = 0; i < n; i++)
        if ((double)logit[i] > top) {
            top = (double)logit[i];
            best = i;
        }
    for (int64_t i = 0; i < n; i++) sum += exp((double)logit[i] - top);
    *loss += top + log(sum) - (double)logit[wanted];
    return best == wanted;
}

/* Whether the masked-word task hides token t of example i: about one in seven, the same
 * for every model. */
static bool hidden_at(int64_t i, int64_t t)
{
    int64_t key[2] = {i, t};
    return icd_i_hash(0, key, sizeof key) % HIDE_ONE_IN == 0;
}

/* Token t - 1's output must be token t; a masked word's own output the word. */
static bool judged_at(const panel *p, int64_t i, int64_t t)
{
    if (t >= p->examples.lengths[i]) return false;
    return p->task == ICD_QUALITY_NEXT_TOKEN ? t > 0 : hidden_at(i, t);
}

static icd_status score_row(panel *p, judged *m, icd_runner *r, int64_t i, int64_t row,
                            float *logits)
{
    const icd_examples *e = &p->examples;
    int64_t outputs = icd_runner_outputs(r), count = 0, right = 0;
    double loss = 0;
    icd_status status = icd_runner_logits(p->job->ctx, r, row * e->seq, e->seq, logits);
    int64_t shift = p->task == ICD_QUALITY_NEXT_TOKEN;
    for (int64_t t = 0; status == ICD_OK && t < e->seq; t++) {
        if (!judged_at(p, i, t)) continue;
        right += judge_logits(logits + (t - shift) * outputs, outputs,
                              e->ids[i * e->seq + t], &loss);
        count++;
    }
    m->score[i] = count ? (double)right / (double)count : 0;
    m->loss[i] = count ? loss / (double)count : 0;
    return status;
}

/* The ids with hidden tokens replaced by [MASK]. */
static icd_status hide(panel *p, int32_t **out)
{
    const icd_examples *e = &p->examples;
    icd_tokenizer *tokenizer = NULL;
    icd_status status = ICD_OK;
    ICD_TRY(ICD_ALLOC(p->job->ctx, e->count * e->seq, out));
    memcpy(*out, e->ids, (size_t)(e->count * e->seq) * sizeof **out);
    if (p->task != ICD_QUALITY_MASKED_WORD) return ICD_OK;
    ICD_TRY(icd_tokenizer_open(p->job->ctx, icd_model_path(p->job->checkpoint),
                               icd_model_get_config(p->job->checkpoint)->vocab,
                               &tokenizer));
    int32_t mask = icd_tokenizer_id(tokenizer, "[MASK]");
    for (int64_t i = 0; mask >= 0 && i < e->count; i++)
        for (int64_t t = 0; t < e->lengths[i]; t++)
            if (hidden_at(i, t)) (*out)[i * e->seq + t] = mask;
    if (mask < 0)
        status = icd_i_fail(p->job->ctx, ICD_EDATA, "vocab.txt", NULL,
                            "found no [MASK], which masked words need");
done:
    icd_tokenizer_free(p->job->ctx, tokenizer);
    return status;
}

static icd_status fill_cache(panel *p, const judged *m, icd_runner *r, int64_t first,
                             int64_t rows, int32_t *ids)
{
    const icd_examples *e = &p->examples;
    int64_t context = context_of(p);
    for (int64_t s = 0; s < rows; s++)
        memcpy(ids + s * context, e->ids + (first + s) * e->seq,
               (size_t)context * sizeof *ids);
    icd_batch b = {.ids = ids, .batch = rows, .seq = context};
    return icd_i_evict(p->job->ctx, r, icd_model_get_config(m->model)->layers, &b,
                       &p->job->config->kv, m->kv, NULL, NULL);
}

/* Predicts token t of `rows` examples from the last step, then reads it. */
static icd_status next_tokens(panel *p, judged *m, icd_runner *r, int64_t first,
                              int64_t rows, int64_t t, int32_t *ids, float *logits)
{
    icd_status status = ICD_OK;
    const icd_examples *e = &p->examples;
    int64_t context = context_of(p), n = icd_runner_outputs(r);
    icd_output out;
    for (int64_t s = 0; s < rows; s++) {
        int64_t i = first + s, row = t == context ? s * context + context - 1 : s;
        ids[s] = e->ids[i * e->seq + t];
        ICD_TRY(icd_runner_logits(p->job->ctx, r, row, 1, logits));
        if (t < e->lengths[i])
            m->score[i] += judge_logits(logits, n, ids[s], &m->loss[i]);
    }
    status = icd_runner_decode(p->job->ctx, r, ids, true, &out);
done:
    return status;
}

static icd_status predict_cached(panel *p, judged *m)
{
    icd_status status = ICD_OK;
    icd_ctx *ctx = p->job->ctx;
    const icd_examples *e = &p->examples;
    icd_runner *r = NULL;
    int32_t *ids = NULL;
    float *logits = NULL;
    icd_batch capacity;
    ICD_TRY(ICD_ALLOC(ctx, e->count, &m->loss));
    ICD_TRY(open_runner(p, m, &capacity, &r));
    ICD_TRY(ICD_ALLOC(ctx, capacity.batch * e->seq, &ids));
    ICD_TRY(ICD_ALLOC(ctx, icd_runner_outputs(r), &logits));
    for (int64_t i = 0; i < e->count; i += capacity.batch) {
        int64_t left = e->count - i, rows = left < capacity.batch ? left : capacity.batch;
        ICD_TRY(fill_cache(p, m, r, i, rows, ids));
        for (int64_t t = context_of(p); t < e->seq; t++)
            ICD_TRY(next_tokens(p, m, r, i, rows, t, ids, logits));
        ICD_TRY(icd_i_check_cancel(ctx));
    }
    for (int64_t i = 0; i < e->count; i++) {
        double judged_tokens = fmax(1, (double)(e->lengths[i] - context_of(p)));
        m->score[i] /= judged_tokens;
        m->loss[i] /= judged_tokens;
    }
done:
    icd_runner_free(ctx, r);
    icd_i_free(ctx, ids);
    icd_i_free(ctx, logits);
    return status;
}

static icd_status predict_tokens(panel *p, judged *m)
{
    if (p->job->kv) return predict_cached(p, m);
    icd_status status = ICD_OK;
    icd_ctx *ctx = p->job->ctx;
    const icd_examples *e = &p->examples;
    icd_runner *r = NULL;
    int32_t *ids = NULL;
    float *logits = NULL;
    icd_batch capacity;
    ICD_TRY(ICD_ALLOC(ctx, e->count, &m->loss));
    ICD_TRY(hide(p, &ids));
    ICD_TRY(open_runner(p, m, &capacity, &r));
    ICD_TRY(ICD_ALLOC(ctx, e->seq * icd_runner_outputs(r), &logits));
    for (int64_t i = 0; i < e->count; i += capacity.batch) {
        icd_batch b = batch_at(p, i, capacity.batch, ids);
        icd_output out;
        ICD_TRY(icd_runner_step(ctx, r, &b, &out));
        for (int64_t s = 0; s < b.batch; s++)
            ICD_TRY(score_row(p, m, r, i + s, s, logits));
        ICD_TRY(icd_i_check_cancel(ctx));
    }
done:
    icd_runner_free(ctx, r);
    icd_i_free(ctx, ids);
    icd_i_free(ctx, logits);
    return status;
}

static double mean(const double *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i];
    return n ? sum / (double)n : NAN;
}

static json_t *list_json(const double *x, int64_t n)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < n; i++) json_array_append_new(list, json_real(x[i]));
    return list;
}

static icd_status write_scores(const panel *p)
{
    json_t *scores = json_object(), *means = json_object(), *perplexity = json_object();
    const char *path = icd_i_round_path(p->job, "quality.json");
    int64_t n = p->examples.count;
    if (!path) return ICD_ENOMEM;
    for (int64_t i = 0; i < p->models; i++) {
        const judged *m = &p->model[i];
        if (!m->score) continue;
        json_object_set_new(scores, m->name, list_json(m->score, n));
        json_object_set_new(means, m->name, json_real(mean(m->score, n)));
        if (m->loss)
            json_object_set_new(perplexity, m->name, json_real(exp(mean(m->loss, n))));
    }
    json_t *root =
        json_pack("{s:s,s:s,s:I,s:I,s:o,s:o,s:o,s:o?}", "version", "icd/1", "task",
                  TASK[p->task], "examples", (json_int_t)n, "seq",
                  (json_int_t)p->examples.seq, "mean", means, "perplexity", perplexity,
                  "scores", scores, "reason", p->why ? json_string(p->why) : NULL);
    icd_status status = root ? icd_i_json_write(p->job->ctx, root, path) : ICD_ENOMEM;
    json_decref(root);
    return status;
}

static icd_status judge_all(panel *p)
{
    icd_status status = ICD_OK;
    list_models(p);
    if (p->task == ICD_QUALITY_CLASSIFICATION)
        ICD_TRY(icd_i_examples_labelled_read(p->job, &p->examples));
    else
        ICD_TRY(icd_i_examples_text_read(p->job, &p->examples));
    if (p->examples.count < FOLDS) {
        p->why = "too few examples";
        return ICD_OK;
    }
    for (int64_t i = 0; i < p->models; i++) {
        icd_i_progress(p->job->ctx, "quality", i, p->models);
        ICD_TRY(ICD_ALLOC(p->job->ctx, p->examples.count, &p->model[i].score));
        ICD_TRY(p->task == ICD_QUALITY_CLASSIFICATION ? classify(p, &p->model[i])
                                                      : predict_tokens(p, &p->model[i]));
    }
done:
    return status;
}

/* Scores that the user brought: a file without our version. */
static bool brought(icd_job *job)
{
    json_t *root = NULL;
    const char *path = icd_i_round_path(job, "quality.json");
    bool theirs = path && icd_i_file_exists(path) &&
                  icd_i_json_read(job->ctx, path, &root) == ICD_OK &&
                  json_object_get(root, "scores") && !json_object_get(root, "version");
    json_decref(root);
    return theirs;
}

icd_status icd_i_stage_quality(icd_job *job)
{
    panel p = {.job = job};
    icd_status status = ICD_OK;
    choose_task(&p);
    if (p.why && brought(job)) return ICD_OK;
    if (!p.why) status = judge_all(&p);
    if (status == ICD_OK) status = write_scores(&p);
    for (int64_t i = 0; i < p.models; i++) {
        icd_i_free(job->ctx, p.model[i].score);
        icd_i_free(job->ctx, p.model[i].loss);
    }
    icd_i_examples_release(job->ctx, &p.examples);
    return status;
}
