/* What mixes tokens in a Mamba layer: a causal convolution and the selective scan. */
#include "runner/mamba.h"

#include "base/threads.h"

#include <string.h>

enum { MOST_TAPS = 16 };

int64_t icd_i_mamba_conv_floats(const icd_runner *r, const icd_mamba *m)
{
    return m->config->layers * r->capacity.batch * (m->config->conv - 1) *
           m->config->inner;
}

int64_t icd_i_mamba_scan_floats(const icd_runner *r, const icd_mamba *m)
{
    return m->config->layers * r->capacity.batch * m->blocks * m->config->state *
           ICD_SCAN;
}

static float *conv_state(const icd_runner *r, const icd_mamba_state *s, int64_t layer,
                         int64_t sequence)
{
    const icd_mamba *m = r->state;
    int64_t one = (m->config->conv - 1) * m->config->inner;
    return s->conv + (layer * r->capacity.batch + sequence) * one;
}

static float *scan_state(const icd_runner *r, const icd_mamba_state *s, int64_t layer,
                         int64_t sequence, int64_t block)
{
    const icd_mamba *m = r->state;
    int64_t one = m->config->state * ICD_SCAN;
    return s->scan + ((layer * r->capacity.batch + sequence) * m->blocks + block) * one;
}

typedef struct mix_job {
    const icd_runner *r;
    const icd_mamba *m;
    const icd_mamba_pass *pass;
    int64_t layer;
} mix_job;

static int64_t length_of(const icd_mamba_pass *pass, int64_t sequence)
{
    return pass->lengths ? pass->lengths[sequence] : pass->seq;
}

/* Input of the convolution at a position of this pass; below 0: of an earlier one. */
static const float *input_at(const mix_job *job, int64_t sequence, int64_t position)
{
    const icd_model_config *c = job->m->config;
    if (position >= 0)
        return job->m->xz + (sequence * job->pass->seq + position) * 2 * c->inner;
    if (job->pass->empty) return job->m->zero;
    return conv_state(job->r, job->pass->from, job->layer, sequence) +
           (position + c->conv - 1) * c->inner;
}

static void convolve_row(const icd_kernels *k, const icd_row_pass *p, int64_t t)
{
    const mix_job *job = p->user;
    const icd_mamba_layer *l = &job->m->layer[job->layer];
    int64_t taps = job->m->config->conv, sequence = t / job->pass->seq,
            first = t % job->pass->seq - taps + 1;
    const float *x[MOST_TAPS];
    for (int64_t j = 0; j < taps; j++) x[j] = input_at(job, sequence, first + j);
    k->conv_silu(x, taps, l->conv, l->conv_bias, p->n, p->x + t * p->n);
}

static void keep_inputs(const mix_job *job)
{
    const icd_model_config *c = job->m->config;
    for (int64_t s = 0; s < job->pass->batch; s++) {
        float *to = conv_state(job->r, job->pass->to, job->layer, s);
        int64_t first = length_of(job->pass, s) - c->conv + 1;
        for (int64_t j = 0; j < c->conv - 1; j++)
            memcpy(to + j * c->inner, input_at(job, s, first + j),
                   (size_t)c->inner * sizeof *to);
    }
}

icd_status icd_i_mamba_convolve(icd_ctx *ctx, icd_runner *r, const icd_mamba_pass *pass,
                                int64_t layer, const icd_loaded *next)
{
    const icd_mamba *m = r->state;
    mix_job job = {r, m, pass, layer};
    icd_row_pass rows = {.fn = convolve_row,
                         .x = m->u,
                         .tokens = pass->batch * pass->seq,
                         .n = m->config->inner,
                         .user = &job};
    keep_inputs(&job);
    return icd_i_rows(ctx, r, &rows, next);
}

static icd_scan scan_of(const mix_job *job, int64_t sequence, int64_t block)
{
    const icd_mamba *m = job->m;
    const icd_model_config *c = m->config;
    int64_t channel = block * ICD_SCAN, token = sequence * job->pass->seq,
            wide = c->dt_rank + 2 * c->state, left = c->inner - channel;
    const float *b = m->p + token * wide + c->dt_rank;
    return (icd_scan){.u = m->u + token * c->inner + channel,
                      .dt = m->dt + token * c->inner + channel,
                      .b = b,
                      .c = b + c->state,
                      .ld = c->inner,
                      .ld_bc = wide,
                      .a = m->layer[job->layer].a + block * c->state * ICD_SCAN,
                      .d = m->layer[job->layer].d + channel,
                      .n = left < ICD_SCAN ? left : ICD_SCAN,
                      .states = c->state};
}

/* One item: the channels of a block in one sequence, so that a and h stay in the cache
 * while the tokens pass. */
static void scan_item(void *arg, int64_t item, int64_t items, int32_t worker)
{
    const mix_job *job = arg;
    const icd_mamba_pass *pass = job->pass;
    int64_t sequence = item / job->m->blocks, block = item % job->m->blocks,
            inner = job->m->config->inner, length = length_of(pass, sequence);
    size_t bytes = (size_t)job->m->config->state * ICD_SCAN * sizeof(float);
    float *h = scan_state(job->r, pass->to, job->layer, sequence, block);
    float *y = job->m->u + sequence * pass->seq * inner + block * ICD_SCAN;
    icd_scan scan = scan_of(job, sequence, block);
    (void)items;
    (void)worker;
    if (pass->empty)
        memset(h, 0, bytes);
    else
        memcpy(h, scan_state(job->r, pass->from, job->layer, sequence, block), bytes);
    job->r->k->scan(&scan, length, h, y);
    for (int64_t t = length; t < pass->seq; t++)
        memset(y + t * inner, 0, (size_t)scan.n * sizeof *y);
}

icd_status icd_i_mamba_scan(icd_ctx *ctx, icd_runner *r, const icd_mamba_pass *pass,
                            int64_t layer)
{
    const icd_mamba *m = r->state;
    mix_job job = {r, m, pass, layer};
    icd_i_parallel(ctx, pass->batch * m->blocks, scan_item, &job);
    return icd_i_check_cancel(ctx);
}
