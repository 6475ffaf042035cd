/* Real input: a text cut into sequences (BERT: [CLS] ... [SEP]), ids from .npy, or a
 * block file's own rows. */
#include "runtime/job.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/npz.h"

#include <icd/tokenizer.h>

#include <string.h>

void icd_i_input_release(icd_ctx *ctx, icd_job_input *input)
{
    icd_i_free(ctx, input->name);
    icd_i_free(ctx, input->ids);
    icd_i_free(ctx, input->lengths);
    icd_i_free(ctx, input->rows);
    *input = (icd_job_input){0};
}

static icd_status name_of(icd_job *job, const char *path)
{
    const char *slash = strrchr(path, '/');
    return icd_i_strdup(job->ctx, slash ? slash + 1 : path, &job->input.name);
}

/* Rounds the number of sequences down to whole batches, at least one. */
static int64_t whole_batches(const icd_job *job, int64_t available)
{
    int64_t wanted = job->config->model.calibration_tokens / job->input.seq;
    int64_t sequences = available < wanted ? available : wanted;
    sequences = sequences / job->input.batch * job->input.batch;
    return sequences > 0 ? sequences : job->input.batch;
}

static icd_status too_short(icd_job *job, const char *path, int64_t found)
{
    return icd_i_fail(job->ctx, ICD_EINVAL, path,
                      "give a longer text, or lower runner.seq",
                      "found %lld tokens, expected at least %lld for one sequence",
                      (long long)found, (long long)job->input.seq);
}

/* Cuts a stream of tokens into sequences; with `frame` they begin with frame[0] and end
   with frame[1]. A text shorter than one batch is repeated, so that the last batch is
   whole. */
static icd_status cut(icd_job *job, const int32_t *token, int64_t count,
                      const int32_t *frame)
{
    icd_status status = ICD_OK;
    icd_job_input *in = &job->input;
    int64_t head = frame ? 1 : 0, body = in->seq - 2 * head, available = count / body;
    in->sequences = whole_batches(job, available);
    ICD_TRY(ICD_ALLOC(job->ctx, in->sequences * in->seq, &in->ids));
    ICD_TRY(ICD_ALLOC(job->ctx, in->sequences, &in->lengths));
    for (int64_t s = 0; s < in->sequences; s++) {
        int32_t *row = in->ids + s * in->seq;
        memcpy(row + head, token + s % available * body, (size_t)body * sizeof *row);
        if (frame) row[0] = frame[0];
        if (frame) row[in->seq - 1] = frame[1];
        in->lengths[s] = (int32_t)in->seq;
    }
done:
    return status;
}

static icd_status read_text(icd_job *job, const char *path)
{
    icd_status status = ICD_OK;
    icd_tokenizer *tokenizer = NULL;
    char *text = NULL;
    size_t size = 0;
    int32_t *token = NULL;
    int64_t count = 0;
    ICD_TRY(icd_tokenizer_open(job->ctx, icd_model_path(job->checkpoint),
                               icd_model_get_config(job->checkpoint)->vocab, &tokenizer));
    const int32_t frame[] = {icd_tokenizer_id(tokenizer, "[CLS]"),
                             icd_tokenizer_id(tokenizer, "[SEP]")};
    /* Bytes as tokens, a synthetic model's, have no [CLS]. */
    bool framed = !strcmp(icd_model_arch(job->checkpoint), "bert") && frame[0] >= 0 &&
                  frame[1] >= 0;
    ICD_TRY(icd_i_file_read(job->ctx, path, &text, &size));
    ICD_TRY(
        icd_tokenizer_encode(job->ctx, tokenizer, text, (int64_t)size, &token, &count));
    if (count < job->input.seq - (framed ? 2 : 0)) {
        status = too_short(job, path, count);
        goto done;
    }
    ICD_TRY(cut(job, token, count, framed ? frame : NULL));
done:
    icd_mem_free(job->ctx, token);
    icd_i_free(job->ctx, text);
    icd_tokenizer_free(job->ctx, tokenizer);
    return status;
}

/* ids.npy: [sequences, seq] integers. */
static icd_status read_ids(icd_job *job, const char *path)
{
    icd_status status = ICD_OK;
    icd_map map = {0};
    icd_array a = {0};
    icd_job_input *in = &job->input;
    ICD_TRY(icd_i_map_open(job->ctx, path, &map));
    ICD_TRY(icd_i_npy_decode(job->ctx, map.data, map.size, path, &a));
    if (a.dims != 2 || a.fortran || (a.kind != 'i' && a.kind != 'u') || a.shape[0] < 1 ||
        a.shape[1] < 1) {
        status = icd_i_fail(job->ctx, ICD_EDATA, path, NULL,
                            "expected an integer array [sequences, tokens] in C order");
        goto done;
    }
    in->seq = a.shape[1];
    if (in->batch > a.shape[0]) in->batch = a.shape[0];
    in->sequences = whole_batches(job, a.shape[0]);
    ICD_TRY(ICD_ALLOC(job->ctx, in->sequences * in->seq, &in->ids));
    ICD_TRY(ICD_ALLOC(job->ctx, in->sequences, &in->lengths));
    for (int64_t i = 0; i < in->sequences * in->seq; i++)
        in->ids[i] = (int32_t)icd_i_array_int(&a, i);
    for (int64_t s = 0; s < in->sequences; s++) in->lengths[s] = (int32_t)in->seq;
done:
    icd_i_array_release(job->ctx, &a);
    icd_i_map_close(&map);
    return status;
}

/* A block file ships real rows of activations as its tensor `input`. */
static icd_status read_rows(icd_job *job)
{
    icd_job_input *in = &job->input;
    const icd_tensor *t = icd_model_tensor(job->checkpoint, "input");
    if (!t || t->dims != 2)
        return icd_i_fail(
            job->ctx, ICD_EINVAL, "model.input", NULL,
            "the block file has no tensor `input` of [tokens, width], expected one");
    in->width = t->shape[1];
    if (in->seq > t->shape[0]) in->seq = t->shape[0];
    in->batch = 1;
    in->sequences = whole_batches(job, t->shape[0] / in->seq);
    icd_status status =
        icd_model_tensor_f32(job->ctx, job->checkpoint, "input", &in->rows);
    return status;
}

static bool ends_with(const char *text, const char *suffix)
{
    size_t a = strlen(text), b = strlen(suffix);
    return a >= b && !strcmp(text + a - b, suffix);
}

static icd_status read_by_kind(icd_job *job)
{
    const char *path = job->config->model.input;
    if (!strcmp(icd_model_arch(job->checkpoint), "ffn")) {
        icd_status status =
            icd_i_strdup(job->ctx, "the block's own input rows", &job->input.name);
        return status == ICD_OK ? read_rows(job) : status;
    }
    if (!path)
        return icd_i_fail(job->ctx, ICD_EINVAL, "model.input", "name a text file",
                          "found nothing, expected real input");
    icd_status status = name_of(job, path);
    if (status != ICD_OK) return status;
    return ends_with(path, ".npy") ? read_ids(job, path) : read_text(job, path);
}

icd_status icd_i_input_read(icd_job *job)
{
    icd_job_input *in = &job->input;
    in->batch = job->config->runner.batch;
    in->seq = job->config->runner.seq;
    icd_status status = read_by_kind(job);
    if (status != ICD_OK) return status;
    in->tokens = in->sequences * in->seq;
    if (in->ids)
        in->hash = icd_i_hash(0, in->ids, (size_t)in->tokens * sizeof *in->ids);
    else
        in->hash =
            icd_i_hash(0, in->rows, (size_t)(in->tokens * in->width) * sizeof *in->rows);
    return ICD_OK;
}

icd_batch icd_i_input_batch(const icd_job_input *input, int64_t i)
{
    int64_t first = i * input->batch % input->sequences;
    return (icd_batch){
        .ids = input->ids ? input->ids + first * input->seq : NULL,
        .lengths = input->lengths ? input->lengths + first : NULL,
        .batch = input->batch,
        .seq = input->seq,
        .rows = input->rows ? input->rows + first * input->seq * input->width : NULL,
        .width = input->width,
    };
}
