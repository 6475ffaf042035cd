/* Attention of the decoder: causal over a whole prompt, or of one token over the pages of
 * the cache. */
#include "runner/decoder.h"

#include "base/threads.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

/* Queries of one GEMM, tokens of one rotation: fixed, so that threads change no sum. */
enum { BLOCK = 64, TURN = 16 };

static int64_t slots_of(const icd_runner *r)
{
    return (r->capacity.seq + r->opts.page - 1) / r->opts.page * r->opts.page;
}

int64_t icd_i_decoder_scores(const icd_runner *r)
{
    int64_t heads = icd_model_get_config(r->model)->heads;
    int64_t prefill = r->workers * BLOCK * r->capacity.seq,
            decode = r->capacity.batch * heads * slots_of(r);
    return prefill > decode ? prefill : decode;
}

typedef struct attend_job {
    icd_runner *r;
    const icd_decoder *d;
    const icd_decoder_pass *pass;
    const icd_kv *kv;
    int64_t heads, group, dim, q_width, kv_width;
    float scale;
} attend_job;

static attend_job job_of(icd_runner *r, const icd_decoder_pass *pass, int64_t layer)
{
    const icd_decoder *d = r->state;
    const icd_model_config *c = d->config;
    return (attend_job){.r = r,
                        .d = d,
                        .pass = pass,
                        .kv = d->kv[layer],
                        .heads = c->heads,
                        .group = c->heads / c->kv_heads,
                        .dim = c->head_dim,
                        .q_width = c->heads * c->head_dim,
                        .kv_width = c->kv_heads * c->head_dim,
                        .scale = 1 / sqrtf((float)c->head_dim)};
}

int64_t icd_i_decoder_position(const icd_kv *kv, const icd_decoder_pass *pass,
                               int64_t token)
{
    return pass->prefill ? token % pass->seq : kv->sequence[token].next;
}

static void turn_row(const attend_job *job, float *row, int64_t width, int64_t position)
{
    int64_t half = job->dim / 2;
    for (int64_t i = 0; i < width; i += job->dim)
        job->r->k->rope(row + i, job->d->cosine + position * half,
                        job->d->sine + position * half, half);
}

static void turn(void *arg, int64_t chunk, int64_t chunks, int32_t worker)
{
    const attend_job *job = arg;
    int64_t tokens = job->pass->batch * job->pass->seq;
    (void)chunks;
    (void)worker;
    for (int64_t t = chunk * TURN; t < (chunk + 1) * TURN && t < tokens; t++) {
        int64_t position = icd_i_decoder_position(job->kv, job->pass, t);
        turn_row(job, job->d->q + t * job->q_width, job->q_width, position);
        turn_row(job, job->d->k + t * job->kv_width, job->kv_width, position);
    }
}

/* Keys are cached turned, so that they may lie anywhere from here on. */
static void cache(const attend_job *job, icd_kv *kv)
{
    const icd_decoder_pass *p = job->pass;
    for (int64_t s = 0; s < p->batch; s++) {
        int64_t length = p->lengths ? p->lengths[s] : p->seq;
        for (int64_t t = 0; t < length; t++) {
            int64_t at = (s * p->seq + t) * job->kv_width;
            icd_i_kv_append(kv, s, job->d->k + at, job->d->v + at);
        }
    }
}

/* Queries first .. first + BLOCK - 1 of one sequence and head over all tokens up to
 * them. `mass` [seq x seq]: takes the mean of the shares over the heads; NULL: none. */
static void attend_block(const attend_job *job, int64_t sequence, int64_t head,
                         int64_t first, float *mass, int32_t worker)
{
    int64_t seq = job->pass->seq, n = seq - first < BLOCK ? seq - first : BLOCK,
            keys = first + n, token = sequence * seq,
            q_at = (token + first) * job->q_width + head * job->dim,
            kv_at = token * job->kv_width + head / job->group * job->dim;
    float *score = job->d->scores + worker * BLOCK * job->r->capacity.seq;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)n, (int)keys, (int)job->dim,
                1, job->d->q + q_at, (int)job->q_width, job->d->k + kv_at,
                (int)job->kv_width, 0, score, (int)keys);
    for (int64_t i = 0; i < n; i++)
        job->r->k->softmax(score + i * keys, keys, first + i + 1, job->scale);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)n, (int)job->dim,
                (int)keys, 1, score, (int)keys, job->d->v + kv_at, (int)job->kv_width, 0,
                job->d->context + q_at, (int)job->q_width);
    for (int64_t i = 0; mass && i < n; i++)
        for (int64_t j = 0; j <= first + i; j++)
            mass[(first + i) * seq + j] += score[i * keys + j] / (float)job->heads;
}

/* One item: all queries of a sequence and head. */
static void attend_head(void *arg, int64_t item, int64_t items, int32_t worker)
{
    const attend_job *job = arg;
    (void)items;
    for (int64_t first = 0; first < job->pass->seq; first += BLOCK)
        attend_block(job, item / job->heads, item % job->heads, first, NULL, worker);
}

/* One item: a block of queries of a sequence, head after head, so that the masses of a
 * query are summed in one order. The same blocks as above: the same bits. */
static void attend_seen(void *arg, int64_t item, int64_t items, int32_t worker)
{
    const attend_job *job = arg;
    int64_t seq = job->pass->seq, blocks = (seq + BLOCK - 1) / BLOCK,
            sequence = item / blocks, first = item % blocks * BLOCK;
    float *mass = job->r->mass + sequence * seq * seq;
    int64_t n = seq - first < BLOCK ? seq - first : BLOCK;
    (void)items;
    memset(mass + first * seq, 0, (size_t)(n * seq) * sizeof *mass);
    for (int64_t h = 0; h < job->heads; h++)
        attend_block(job, sequence, h, first, mass, worker);
}

/* Scores of the query heads of one KV head over every page; dead slots get no weight. */
static void score_pages(const attend_job *job, const icd_kv_sequence *s, int64_t head,
                        const float *q, float *score, int64_t slots)
{
    const icd_kv *kv = job->kv;
    int64_t page = kv->shape.page;
    for (int64_t i = 0; i < s->pages; i++) {
        int32_t p = s->page[i];
        int64_t at = icd_i_kv_head(kv, p, head);
        const bool *alive = kv->alive + p * page;
        for (int64_t g = 0; g < job->group; g++) {
            float *out = score + g * slots + i * page;
            if (kv->k8)
                job->r->k->page_scores8(q + g * job->dim, job->dim, kv->k8 + at,
                                        kv->k_scale + icd_i_kv_scale(kv, p, head), page,
                                        out);
            else
                job->r->k->page_scores(q + g * job->dim, job->dim, kv->k + at, page, out);
            for (int64_t t = 0; kv->live[p] < page && t < page; t++)
                if (!alive[t]) out[t] = -INFINITY;
        }
    }
}

static void add_pages(const attend_job *job, const icd_kv_sequence *s, int64_t head,
                      const float *score, int64_t slots, float *out)
{
    const icd_kv *kv = job->kv;
    int64_t page = kv->shape.page;
    for (int64_t i = 0; i < s->pages; i++) {
        int32_t p = s->page[i];
        int64_t at = icd_i_kv_head(kv, p, head);
        for (int64_t g = 0; g < job->group; g++) {
            const float *weight = score + g * slots + i * page;
            if (kv->v8)
                job->r->k->page_values8(weight, kv->used[p], kv->v8 + at,
                                        kv->v_scale + icd_i_kv_scale(kv, p, head),
                                        job->dim, out + g * job->dim);
            else
                job->r->k->page_values(weight, kv->used[p], kv->v + at, job->dim,
                                       out + g * job->dim);
        }
    }
}

/* One item: the query heads that share one KV head of one sequence. */
static void attend_pages(void *arg, int64_t item, int64_t items, int32_t worker)
{
    const attend_job *job = arg;
    int64_t kv_heads = job->heads / job->group, s = item / kv_heads,
            head = item % kv_heads;
    const icd_kv_sequence *sequence = &job->kv->sequence[s];
    int64_t slots = slots_of(job->r), n = sequence->pages * job->kv->shape.page;
    int64_t at = s * job->q_width + head * job->group * job->dim;
    float *score = job->d->scores + (s * job->heads + head * job->group) * slots;
    (void)items;
    (void)worker;
    score_pages(job, sequence, head, job->d->q + at, score, slots);
    for (int64_t g = 0; g < job->group; g++)
        job->r->k->softmax(score + g * slots, n, n, job->scale);
    memset(job->d->context + at, 0,
           (size_t)(job->group * job->dim) * sizeof *job->d->context);
    add_pages(job, sequence, head, score, slots, job->d->context + at);
}

/* Adds the masses of one query to the cached tokens and shows them. */
static icd_status show(icd_ctx *ctx, const attend_job *job, icd_kv *kv, int64_t layer,
                       int64_t sequence, int64_t query, const float *mass, int64_t count)
{
    icd_runner *r = job->r;
    bool stays = job->pass->prefill || job->pass->keep;
    for (int64_t i = 0; stays && i < count; i++)
        kv->mass[icd_i_kv_at(kv, job->d->slot[i])] += mass[i];
    if (!r->attention) return ICD_OK;
    icd_attention seen = {layer, sequence, query, job->d->position, mass, count};
    return r->attention(ctx, r->attention_user, &seen);
}

static void list_tokens(const attend_job *job, int64_t sequence)
{
    icd_i_kv_list(job->kv, sequence, job->d->slot);
    for (int64_t i = 0; i < job->kv->sequence[sequence].live; i++)
        job->d->position[i] = job->kv->position[icd_i_kv_at(job->kv, job->d->slot[i])];
}

static icd_status show_prefill(icd_ctx *ctx, const attend_job *job, icd_kv *kv,
                               int64_t layer)
{
    icd_status status = ICD_OK;
    int64_t seq = job->pass->seq;
    for (int64_t s = 0; s < job->pass->batch; s++) {
        list_tokens(job, s);
        for (int64_t t = 0; status == ICD_OK && t < kv->sequence[s].live; t++)
            status = show(ctx, job, kv, layer, s, t, job->r->mass + (s * seq + t) * seq,
                          t + 1);
    }
    return status;
}

/* The shares of the live slots, in the order of the list. */
static void gather_mass(const attend_job *job, int64_t sequence, float *mass)
{
    const icd_kv_sequence *s = &job->kv->sequence[sequence];
    int64_t slots = slots_of(job->r), page = job->kv->shape.page, n = 0;
    const float *score = job->d->scores + sequence * job->heads * slots;
    for (int64_t i = 0; i < s->pages * page; i++) {
        if (!job->kv->alive[s->page[i / page] * page + i % page]) continue;
        float sum = 0;
        for (int64_t h = 0; h < job->heads; h++) sum += score[h * slots + i];
        mass[n++] = sum / (float)job->heads;
    }
}

static icd_status show_decode(icd_ctx *ctx, const attend_job *job, icd_kv *kv,
                              int64_t layer)
{
    icd_status status = ICD_OK;
    for (int64_t s = 0; status == ICD_OK && s < job->pass->batch; s++) {
        list_tokens(job, s);
        gather_mass(job, s, job->r->mass);
        status = show(ctx, job, kv, layer, s, kv->sequence[s].next - 1, job->r->mass,
                      kv->sequence[s].live);
    }
    return status;
}

icd_status icd_i_decoder_attend(icd_ctx *ctx, icd_runner *r, const icd_decoder_pass *pass,
                                int64_t layer)
{
    icd_decoder *d = r->state;
    attend_job job = job_of(r, pass, layer);
    int64_t kv_heads = job.heads / job.group, blocks = (pass->seq + BLOCK - 1) / BLOCK;
    if (d->cosine)
        icd_i_parallel(ctx, (pass->batch * pass->seq + TURN - 1) / TURN, turn, &job);
    cache(&job, d->kv[layer]);
    if (!pass->prefill)
        icd_i_parallel(ctx, pass->batch * kv_heads, attend_pages, &job);
    else if (r->mass)
        icd_i_parallel(ctx, pass->batch * blocks, attend_seen, &job);
    else
        icd_i_parallel(ctx, pass->batch * job.heads, attend_head, &job);
    if (!r->mass) return icd_i_check_cancel(ctx);
    return pass->prefill ? show_prefill(ctx, &job, d->kv[layer], layer)
                         : show_decode(ctx, &job, d->kv[layer], layer);
}
