#include "runner/generate.h"

#include "base/hash.h"
#include "base/threads.h"

#include <cblas.h>
#include <math.h>

uint64_t icd_i_prompt_hash(const icd_batch *b)
{
    const int64_t shape[] = {b->batch, b->seq, b->lengths != NULL};
    uint64_t hash = icd_i_hash(1, shape, sizeof shape);
    hash = icd_i_hash(hash, b->ids, (size_t)(b->batch * b->seq) * sizeof *b->ids);
    if (b->lengths)
        hash = icd_i_hash(hash, b->lengths, (size_t)b->batch * sizeof *b->lengths);
    return hash ? hash : 1;
}

void icd_i_prompt_cut(const icd_batch *b, int32_t *lengths, int32_t *last)
{
    for (int64_t s = 0; s < b->batch; s++) {
        lengths[s] = (b->lengths ? b->lengths[s] : (int32_t)b->seq) - 1;
        last[s] = b->ids[s * b->seq + lengths[s]];
    }
}

/* Angles in f32, as PyTorch has them: at far positions their rounding shows. */
icd_status icd_i_decoder_angles(icd_ctx *ctx, const icd_model_config *config,
                                int64_t positions, float **cosine, float **sine)
{
    icd_status status = ICD_OK;
    int64_t half = config->head_dim / 2;
    ICD_TRY(ICD_ALLOC(ctx, positions * half, cosine));
    ICD_TRY(ICD_ALLOC(ctx, positions * half, sine));
    for (int64_t i = 0; i < half; i++) {
        double power = (double)((float)(2 * i) / (float)(2 * half));
        float frequency = 1 / (float)pow(config->rope_theta, power);
        for (int64_t p = 0; p < positions; p++) {
            float angle = (float)p * frequency;
            (*cosine)[p * half + i] = (float)cos((double)angle);
            (*sine)[p * half + i] = (float)sin((double)angle);
        }
    }
done:
    return status;
}

int64_t icd_i_vocabulary(const icd_runner *r)
{
    return icd_model_get_config(r->model)->vocab;
}

/* Vocabulary entries of one item: fixed, so that threads change no sum. */
enum { HEAD_ROWS = 1024 };

typedef struct head_job {
    const float *x, *head;
    int64_t count, hidden, vocab;
    float *out;
} head_job;

static void head_chunk(void *arg, int64_t chunk, int64_t chunks, int32_t worker)
{
    const head_job *job = arg;
    int64_t h = job->hidden, vocab = job->vocab, at = chunk * HEAD_ROWS,
            n = vocab - at < HEAD_ROWS ? vocab - at : HEAD_ROWS;
    const float *w = job->head + at * h;
    (void)chunks;
    (void)worker;
    if (job->count == 1)
        cblas_sgemv(CblasRowMajor, CblasNoTrans, (int)n, (int)h, 1, w, (int)h, job->x, 1,
                    0, job->out + at, 1);
    else
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)job->count, (int)n,
                    (int)h, 1, job->x, (int)h, w, (int)h, 0, job->out + at, (int)vocab);
}

icd_status icd_i_vocabulary_logits(icd_ctx *ctx, const icd_runner *r, const float *x,
                                   const float *head, int64_t count, float *out)
{
    const icd_model_config *c = icd_model_get_config(r->model);
    head_job job = {x, head, count, c->hidden, c->vocab, out};
    if (count == 0) return ICD_OK;
    icd_i_parallel(ctx, (c->vocab + HEAD_ROWS - 1) / HEAD_ROWS, head_chunk, &job);
    return icd_i_check_cancel(ctx);
}
