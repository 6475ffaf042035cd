#include "runtime/quality_data.h"

#include "base/file.h"
#include "base/text.h"

#include <icd/tokenizer.h>

#include <stdio.h>
#include <string.h>

enum { MOST_CLASSES = 1000 };

/* Sentences of all files, before they are thinned and cut into tokens. */
typedef struct sentences {
    icd_job *job;
    icd_arena *arena;
    const char **text;
    int32_t *label;
    int64_t count, text_capacity, label_capacity;
} sentences;

static bool ends_with(const char *text, const char *tail)
{
    size_t a = strlen(text), b = strlen(tail);
    return a >= b && !strcmp(text + a - b, tail);
}

bool icd_i_examples_labelled(const char *path)
{
    return ends_with(path, ".tsv") || ends_with(path, ".json");
}

void icd_i_examples_release(icd_ctx *ctx, icd_examples *e)
{
    icd_i_free(ctx, e->ids);
    icd_i_free(ctx, e->lengths);
    icd_i_free(ctx, e->label);
    *e = (icd_examples){0};
}

static icd_status add(sentences *s, const char *place, const char *text, int64_t label)
{
    icd_status status = ICD_OK;
    icd_ctx *ctx = s->job->ctx;
    if (label < 0 || label >= MOST_CLASSES)
        return icd_i_fail(ctx, ICD_EDATA, place, NULL,
                          "found label %lld, expected 0 to %d", (long long)label,
                          MOST_CLASSES - 1);
    ICD_TRY(icd_i_grow(ctx, (void **)&s->text, &s->text_capacity, s->count + 1,
                       sizeof *s->text));
    ICD_TRY(icd_i_grow(ctx, (void **)&s->label, &s->label_capacity, s->count + 1,
                       sizeof *s->label));
    s->text[s->count] = icd_i_arena_strdup(ctx, s->arena, text);
    if (!s->text[s->count]) return ICD_ENOMEM;
    s->label[s->count++] = (int32_t)label;
done:
    return status;
}

static icd_status read_json(sentences *s, const char *path)
{
    json_t *root = NULL;
    const json_t *item = NULL;
    size_t i = 0;
    icd_status status = icd_i_json_read(s->job->ctx, path, &root);
    if (status == ICD_OK && !json_is_array(root))
        status = icd_i_fail(s->job->ctx, ICD_EDATA, path, NULL,
                            "expected a list of {\"text\", \"class\"}");
    json_array_foreach(root, i, item)
    {
        const json_t *text = json_object_get(item, "text"),
                     *label = json_object_get(item, "class");
        if (status != ICD_OK || json_is_null(label)) continue;
        if (!json_is_string(text) || !json_is_integer(label))
            status = icd_i_fail(s->job->ctx, ICD_EDATA, path, NULL,
                                "entry %lld: expected a text and a whole number as class",
                                (long long)i);
        else
            status = add(s, path, json_string_value(text), json_integer_value(label));
    }
    json_decref(root);
    return status;
}

static icd_status read_line(sentences *s, const char *path, char *line, int64_t number)
{
    char place[512];
    int64_t label = 0;
    char *tab = strchr(line, '\t');
    snprintf(place, sizeof place, "%s:%lld", path, (long long)number);
    if (!*line || *line == '#') return ICD_OK;
    if (tab) *tab = 0;
    if (!tab || !icd_i_int_parse(line, &label))
        return icd_i_fail(s->job->ctx, ICD_EDATA, place, NULL,
                          "expected a label, a tab and a sentence");
    return add(s, place, tab + 1, label);
}

static icd_status read_tsv(sentences *s, const char *path)
{
    char *text = NULL;
    size_t size = 0;
    int64_t number = 1;
    icd_status status = icd_i_file_read(s->job->ctx, path, &text, &size);
    for (char *line = text; status == ICD_OK && line && line < text + size; number++) {
        size_t n = strcspn(line, "\n");
        char *next = line + n + 1;
        line[n] = 0;
        if (n && line[n - 1] == '\r') line[n - 1] = 0;
        status = read_line(s, path, line, number);
        line = next;
    }
    icd_i_free(s->job->ctx, text);
    return status;
}

static icd_status open_tokenizer(icd_job *job, icd_tokenizer **out)
{
    return icd_tokenizer_open(job->ctx, icd_model_path(job->checkpoint),
                              icd_model_get_config(job->checkpoint)->vocab, out);
}

static icd_status allocate(icd_job *job, int64_t count, bool labelled, icd_examples *e)
{
    icd_status status = ICD_OK;
    e->count = count;
    e->seq = job->config->quality.seq;
    ICD_TRY(ICD_ALLOC(job->ctx, count * e->seq, &e->ids));
    ICD_TRY(ICD_ALLOC(job->ctx, count, &e->lengths));
    if (labelled) ICD_TRY(ICD_ALLOC(job->ctx, count, &e->label));
done:
    return status;
}

/* [CLS] text [SEP] where the vocabulary has them, cut to the length of an example. */
static icd_status encode(icd_job *job, const icd_tokenizer *tokenizer, const char *text,
                         int32_t *row, int64_t seq, int32_t *length)
{
    int32_t *token = NULL, cls = icd_tokenizer_id(tokenizer, "[CLS]"),
            sep = icd_tokenizer_id(tokenizer, "[SEP]");
    int64_t count = 0, at = 0, framed = cls >= 0 && sep >= 0;
    icd_status status = icd_tokenizer_encode(job->ctx, tokenizer, text,
                                             (int64_t)strlen(text), &token, &count);
    if (status != ICD_OK) return status;
    if (framed) row[at++] = cls;
    for (int64_t i = 0; i < count && at < seq - framed; i++) row[at++] = token[i];
    if (framed) row[at++] = sep;
    *length = (int32_t)(at > 0 ? at : 1);
    icd_mem_free(job->ctx, token);
    return ICD_OK;
}

static icd_status encode_all(sentences *s, icd_examples *e)
{
    icd_status status = ICD_OK;
    icd_tokenizer *tokenizer = NULL;
    int64_t most = s->job->config->quality.examples,
            count = s->count < most ? s->count : most;
    ICD_TRY(open_tokenizer(s->job, &tokenizer));
    ICD_TRY(allocate(s->job, count, true, e));
    for (int64_t i = 0; i < count; i++) {
        int64_t from = i * s->count / count;
        e->label[i] = s->label[from];
        if (s->label[from] >= e->classes) e->classes = s->label[from] + 1;
        ICD_TRY(encode(s->job, tokenizer, s->text[from], e->ids + i * e->seq, e->seq,
                       &e->lengths[i]));
    }
done:
    icd_tokenizer_free(s->job->ctx, tokenizer);
    return status;
}

icd_status icd_i_examples_labelled_read(icd_job *job, icd_examples *out)
{
    icd_status status = ICD_OK;
    sentences s = {.job = job};
    const icd_strings *data = &job->config->quality.data;
    *out = (icd_examples){0};
    ICD_TRY(icd_i_arena_new(job->ctx, &s.arena));
    for (int64_t i = 0; i < data->count; i++) {
        if (ends_with(data->item[i], ".tsv"))
            ICD_TRY(read_tsv(&s, data->item[i]));
        else if (ends_with(data->item[i], ".json"))
            ICD_TRY(read_json(&s, data->item[i]));
    }
    status = encode_all(&s, out);
done:
    icd_i_arena_free(job->ctx, s.arena);
    icd_i_free(job->ctx, s.text);
    icd_i_free(job->ctx, s.label);
    if (status != ICD_OK) icd_i_examples_release(job->ctx, out);
    return status;
}

/* The tokens of all plain files behind each other. */
static icd_status read_tokens(icd_job *job, int32_t **token, int64_t *count)
{
    icd_status status = ICD_OK;
    icd_tokenizer *tokenizer = NULL;
    char *text = NULL;
    int32_t *one = NULL;
    int64_t capacity = 0;
    const icd_strings *data = &job->config->quality.data;
    ICD_TRY(open_tokenizer(job, &tokenizer));
    for (int64_t i = 0; i < data->count; i++) {
        size_t size = 0;
        int64_t n = 0;
        if (icd_i_examples_labelled(data->item[i])) continue;
        ICD_TRY(icd_i_file_read(job->ctx, data->item[i], &text, &size));
        ICD_TRY(icd_tokenizer_encode(job->ctx, tokenizer, text, (int64_t)size, &one, &n));
        ICD_TRY(
            icd_i_grow(job->ctx, (void **)token, &capacity, *count + n, sizeof **token));
        if (n) memcpy(*token + *count, one, (size_t)n * sizeof **token);
        *count += n;
        icd_mem_free(job->ctx, one);
        icd_i_free(job->ctx, text);
        one = NULL;
        text = NULL;
    }
done:
    icd_mem_free(job->ctx, one);
    icd_i_free(job->ctx, text);
    icd_tokenizer_free(job->ctx, tokenizer);
    return status;
}

icd_status icd_i_examples_text_read(icd_job *job, icd_examples *out)
{
    icd_status status = ICD_OK;
    int32_t *token = NULL;
    int64_t tokens = 0, seq = job->config->quality.seq;
    *out = (icd_examples){0};
    ICD_TRY(read_tokens(job, &token, &tokens));
    int64_t pieces = tokens / seq, most = job->config->quality.examples;
    ICD_TRY(allocate(job, pieces < most ? pieces : most, false, out));
    for (int64_t i = 0; i < out->count; i++) {
        int64_t from = i * pieces / out->count;
        memcpy(out->ids + i * seq, token + from * seq, (size_t)seq * sizeof *token);
        out->lengths[i] = (int32_t)seq;
    }
done:
    icd_i_free(job->ctx, token);
    if (status != ICD_OK) icd_i_examples_release(job->ctx, out);
    return status;
}
