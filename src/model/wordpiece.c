#include "model/wordpiece.h"

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "model/tokenizer_private.h"
#include "model/vocabulary.h"

#include <string.h>
#include <utf8proc.h>

/* What is compared with is Hugging Face's `tokenizers`
 * (tests/data/wordpiece_oracle.json). All of Unicode comes out alike but for 568 code
 * points whose category is younger than that library's tables (Unicode 8). Longer words
 * than this are [UNK], as in BERT. */
enum { MOST_CHARS = 100 };

typedef struct wordpiece {
    icd_tokenizer base;
    icd_vocabulary vocabulary;
    int32_t unknown;
    bool lower;
} wordpiece;

static icd_status read_lower(icd_ctx *ctx, const char *dir, bool *lower)
{
    icd_status status;
    char *path = NULL;
    json_t *root = NULL;
    *lower = true;
    ICD_TRY(icd_i_path_join(ctx, dir, "tokenizer_config.json", &path));
    if (!icd_i_file_exists(path)) goto done;
    ICD_TRY(icd_i_json_read(ctx, path, &root));
    *lower = !json_is_false(json_object_get(root, "do_lower_case"));
done:
    json_decref(root);
    icd_i_free(ctx, path);
    return status;
}

static icd_status check_special(icd_ctx *ctx, const icd_tokenizer *t, const char *path)
{
    static const char *const NEEDED[] = {"[UNK]", "[CLS]", "[SEP]"};
    for (size_t i = 0; i < sizeof NEEDED / sizeof *NEEDED; ++i)
        if (icd_tokenizer_id(t, NEEDED[i]) < 0)
            return icd_i_fail(ctx, ICD_EDATA, path, NULL,
                              "no line '%s', expected BERT's special tokens", NEEDED[i]);
    return ICD_OK;
}

static void wordpiece_free(icd_ctx *ctx, icd_tokenizer *tokenizer)
{
    wordpiece *t = (wordpiece *)tokenizer;
    icd_i_vocabulary_release(ctx, &t->vocabulary);
    icd_i_free(ctx, t);
}

static int32_t wordpiece_id(const icd_tokenizer *tokenizer, const char *token)
{
    const wordpiece *t = (const wordpiece *)tokenizer;
    bool inside = strlen(token) > 2 && token[0] == '#' && token[1] == '#';
    if (inside) token += 2;
    return icd_i_vocabulary_find(&t->vocabulary, token, (int64_t)strlen(token), inside);
}

static icd_status wordpiece_encode(icd_ctx *ctx, const icd_tokenizer *tokenizer,
                                   const char *text, int64_t size, int32_t **ids,
                                   int64_t *count);

static const icd_tokenizer_kind KIND = {wordpiece_free, wordpiece_id, wordpiece_encode};

icd_status icd_i_tokenizer_take(icd_ctx *ctx, char *lines, size_t size, bool lower,
                                const char *place, icd_tokenizer **out)
{
    wordpiece *t = NULL;
    *out = NULL;
    icd_status status = ICD_ALLOC(ctx, 1, &t);
    if (status != ICD_OK) {
        icd_i_free(ctx, lines);
        return status;
    }
    t->base.kind = &KIND;
    t->lower = lower;
    ICD_TRY(icd_i_vocabulary_take(ctx, lines, size, place, &t->vocabulary));
    ICD_TRY(check_special(ctx, &t->base, place));
    t->unknown = icd_tokenizer_id(&t->base, "[UNK]");
    *out = &t->base;
    t = NULL;
done:
    if (t) wordpiece_free(ctx, &t->base);
    return status;
}

icd_status icd_i_wordpiece_open(icd_ctx *ctx, const char *dir, const char *vocab,
                                icd_tokenizer **out)
{
    icd_status status;
    char *lines = NULL;
    size_t size = 0;
    bool lower = true;
    *out = NULL;
    ICD_TRY(read_lower(ctx, dir, &lower));
    ICD_TRY(icd_i_file_read(ctx, vocab, &lines, &size));
    status = icd_i_tokenizer_take(ctx, lines, size, lower, vocab, out);
done:
    return status;
}

/* What one call of encode works with. */
typedef struct encoder {
    icd_ctx *ctx;
    const wordpiece *tokenizer;
    icd_text clean;         /* the text without control characters */
    utf8proc_int32_t *code; /* its code points, decomposed */
    int64_t code_capacity;
    icd_text word;
    int64_t chars; /* in the word */
    int32_t *id;
    int64_t count, capacity;
} encoder;

static icd_status put_id(encoder *e, int32_t id)
{
    icd_status status =
        icd_i_grow(e->ctx, (void **)&e->id, &e->capacity, e->count + 1, sizeof *e->id);
    if (status == ICD_OK) e->id[e->count++] = id;
    return status;
}

static icd_status put_code(icd_ctx *ctx, icd_text *text, utf8proc_int32_t code)
{
    utf8proc_uint8_t bytes[4];
    utf8proc_ssize_t n = utf8proc_encode_char(code, bytes);
    return icd_i_text_add(ctx, text, (const char *)bytes, n);
}

/* Bytes of the longest token that begins at `at`, its id in *id; 0: none. */
static int64_t longest_piece(const encoder *e, int64_t at, int32_t *id)
{
    const icd_vocabulary *v = &e->tokenizer->vocabulary;
    const char *word = e->word.data;
    int64_t size = e->word.size - at;
    if (size > v->longest) size = v->longest;
    for (; size > 0; --size) {
        bool boundary =
            at + size == e->word.size || ((unsigned char)word[at + size] & 0xc0) != 0x80;
        if (!boundary) continue;
        *id = icd_i_vocabulary_find(v, word + at, size, at > 0);
        if (*id >= 0) return size;
    }
    return 0;
}

/* Greedy: the longest token, then the longest "##" token behind it...; a word that does
 * not come out even is unknown as a whole. */
static icd_status split_word(encoder *e)
{
    int64_t start = e->count, at = 0;
    while (at < e->word.size) {
        int32_t id = -1;
        int64_t size = e->chars > MOST_CHARS ? 0 : longest_piece(e, at, &id);
        if (size == 0) {
            e->count = start;
            return put_id(e, e->tokenizer->unknown);
        }
        icd_status status = put_id(e, id);
        if (status != ICD_OK) return status;
        at += size;
    }
    return ICD_OK;
}

static icd_status end_word(encoder *e)
{
    icd_status status = split_word(e);
    e->word.size = 0;
    e->chars = 0;
    return status;
}

static bool is_space(utf8proc_int32_t code)
{
    utf8proc_category_t c = utf8proc_category(code);
    return code == '\t' || code == '\n' || code == '\r' || c == UTF8PROC_CATEGORY_ZS ||
           c == UTF8PROC_CATEGORY_ZL || c == UTF8PROC_CATEGORY_ZP;
}

/* Control, format, private; U+FFFD stands for what could not be decoded. */
static bool is_dropped(utf8proc_int32_t code)
{
    utf8proc_category_t c = utf8proc_category(code);
    return code == 0xfffd || c == UTF8PROC_CATEGORY_CC || c == UTF8PROC_CATEGORY_CF ||
           c == UTF8PROC_CATEGORY_CO;
}

/* BERT counts every ASCII character that is no letter or digit, `$` and `^` too. */
static bool is_punctuation(utf8proc_int32_t code)
{
    if (code < 128)
        return (code >= '!' && code <= '/') || (code >= ':' && code <= '@') ||
               (code >= '[' && code <= '`') || (code >= '{' && code <= '~');
    utf8proc_category_t c = utf8proc_category(code);
    return c >= UTF8PROC_CATEGORY_PC && c <= UTF8PROC_CATEGORY_PO;
}

/* The blocks whose characters are words of their own. 2B920 is not where the block begins
 * (2B820), but it is where Hugging Face's tokenizer, with which models are used, has it.
 */
static bool is_ideograph(utf8proc_int32_t code)
{
    static const utf8proc_int32_t RANGE[][2] = {
        {0x4e00, 0x9fff},   {0x3400, 0x4dbf},   {0x20000, 0x2a6df}, {0x2a700, 0x2b73f},
        {0x2b740, 0x2b81f}, {0x2b920, 0x2ceaf}, {0xf900, 0xfaff},   {0x2f800, 0x2fa1f}};
    for (size_t i = 0; i < sizeof RANGE / sizeof *RANGE; ++i)
        if (code >= RANGE[i][0] && code <= RANGE[i][1]) return true;
    return false;
}

static icd_status clean_code(encoder *e, utf8proc_int32_t code)
{
    icd_status status = ICD_OK;
    if (is_space(code)) return icd_i_text_add(e->ctx, &e->clean, " ", 1);
    if (is_dropped(code)) return ICD_OK;
    if (!is_ideograph(code)) return put_code(e->ctx, &e->clean, code);
    ICD_TRY(icd_i_text_add(e->ctx, &e->clean, " ", 1));
    ICD_TRY(put_code(e->ctx, &e->clean, code));
    ICD_TRY(icd_i_text_add(e->ctx, &e->clean, " ", 1));
done:
    return status;
}

/* Each byte that begins no character is a broken sequence, hence dropped. */
static icd_status clean(encoder *e, const char *text, int64_t size)
{
    icd_status status = ICD_OK;
    const utf8proc_uint8_t *at = (const utf8proc_uint8_t *)text, *end = at + size;
    e->clean.size = 0;
    while (at < end) {
        utf8proc_int32_t code = -1;
        utf8proc_ssize_t n = utf8proc_iterate(at, end - at, &code);
        if (n > 0) ICD_TRY(clean_code(e, code));
        at += n > 0 ? n : 1;
    }
done:
    return status;
}

/* The code points of the clean text: for lower case decomposed (NFD), so that accents
 * stand alone and can be taken off. */
static icd_status decompose(encoder *e, int64_t *count)
{
    utf8proc_option_t options =
        e->tokenizer->lower ? UTF8PROC_DECOMPOSE : (utf8proc_option_t)0;
    *count = 0;
    for (;;) {
        utf8proc_ssize_t n =
            utf8proc_decompose((const utf8proc_uint8_t *)e->clean.data, e->clean.size,
                               e->code, e->code_capacity, options);
        if (n < 0)
            return icd_i_fail(e->ctx, ICD_EDATA, "text", NULL, "cannot decompose it: %s",
                              utf8proc_errmsg(n));
        *count = n;
        if (n <= e->code_capacity) return ICD_OK;
        icd_status status =
            icd_i_grow(e->ctx, (void **)&e->code, &e->code_capacity, n, sizeof *e->code);
        if (status != ICD_OK) return status;
    }
}

static icd_status split_code(encoder *e, utf8proc_int32_t code)
{
    icd_status status = ICD_OK;
    bool alone = is_punctuation(code);
    if (alone || is_space(code)) ICD_TRY(end_word(e));
    if (is_space(code)) goto done;
    ICD_TRY(put_code(e->ctx, &e->word, code));
    e->chars++;
    if (alone) ICD_TRY(end_word(e));
done:
    return status;
}

static icd_status encode_plain(encoder *e, const char *text, int64_t size)
{
    icd_status status;
    bool lower = e->tokenizer->lower;
    int64_t count = 0;
    ICD_TRY(clean(e, text, size));
    if (e->clean.size) ICD_TRY(decompose(e, &count));
    for (int64_t i = 0; i < count; ++i) {
        utf8proc_int32_t code = e->code[i];
        if (lower && utf8proc_category(code) == UTF8PROC_CATEGORY_MN) continue;
        ICD_TRY(split_code(e, lower ? utf8proc_tolower(code) : code));
    }
    ICD_TRY(end_word(e));
done:
    return status;
}

/* Bytes of a special token, spelt out in the text; 0: none begins here. */
static int64_t special_at(const encoder *e, const char *text, int64_t size, int32_t *id)
{
    static const char *const SPECIAL[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
    for (size_t i = 0; i < sizeof SPECIAL / sizeof *SPECIAL; ++i) {
        int64_t n = (int64_t)strlen(SPECIAL[i]);
        if (n > size || memcmp(text, SPECIAL[i], (size_t)n)) continue;
        *id = icd_tokenizer_id(&e->tokenizer->base, SPECIAL[i]);
        if (*id >= 0) return n;
    }
    return 0;
}

static icd_status encode_all(encoder *e, const char *text, int64_t size)
{
    icd_status status = ICD_OK;
    int64_t begin = 0, at = 0;
    while (at < size) {
        int32_t id = -1;
        int64_t n = text[at] == '[' ? special_at(e, text + at, size - at, &id) : 0;
        if (n) {
            ICD_TRY(encode_plain(e, text + begin, at - begin));
            ICD_TRY(put_id(e, id));
            begin = at + n;
        }
        at += n ? n : 1;
    }
    ICD_TRY(encode_plain(e, text + begin, size - begin));
done:
    return status;
}

static icd_status wordpiece_encode(icd_ctx *ctx, const icd_tokenizer *tokenizer,
                                   const char *text, int64_t size, int32_t **ids,
                                   int64_t *count)
{
    icd_status status;
    encoder e = {.ctx = ctx, .tokenizer = (const wordpiece *)tokenizer};
    ICD_TRY(ICD_ALLOC(ctx, 16, &e.id));
    e.capacity = 16;
    ICD_TRY(encode_all(&e, text, size));
    *ids = e.id;
    *count = e.count;
    e.id = NULL;
done:
    icd_i_free(ctx, e.id);
    icd_i_free(ctx, e.code);
    icd_i_text_release(ctx, &e.word);
    icd_i_text_release(ctx, &e.clean);
    return status;
}
