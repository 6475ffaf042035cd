#include "base/npy_header.h"

#include <string.h>

/* A cursor over the text; the first error stays. */
typedef struct cursor {
    const char *text;
    size_t at, size;
    const char *error;
} cursor;

static void fail(cursor *c, const char *error)
{
    if (!c->error) c->error = error;
}

static char peek(const cursor *c)
{
    return c->at < c->size && !c->error ? c->text[c->at] : 0;
}

static void skip_blank(cursor *c)
{
    while (peek(c) == ' ' || peek(c) == '\t' || peek(c) == '\n') c->at++;
}

static bool take(cursor *c, char wanted)
{
    skip_blank(c);
    if (peek(c) != wanted) return false;
    c->at++;
    return true;
}

static void need(cursor *c, char wanted, const char *error)
{
    if (!take(c, wanted)) fail(c, error);
}

static void take_string(cursor *c, char *out, size_t capacity)
{
    skip_blank(c);
    char quote = peek(c);
    size_t size = 0;
    out[0] = 0;
    if (quote != '\'' && quote != '"') {
        fail(c, "expected a string in quotes");
        return;
    }
    c->at++;
    while (peek(c) && peek(c) != quote && size + 1 < capacity)
        out[size++] = c->text[c->at++];
    out[size] = 0;
    need(c, quote, "expected a short string in quotes");
}

static bool take_word(cursor *c, const char *word)
{
    size_t size = strlen(word);
    skip_blank(c);
    if (c->error || c->size - c->at < size || memcmp(c->text + c->at, word, size) != 0)
        return false;
    c->at += size;
    return true;
}

static int64_t take_count(cursor *c)
{
    int64_t value = 0;
    skip_blank(c);
    if (peek(c) < '0' || peek(c) > '9') fail(c, "expected a size (an integer >= 0)");
    for (; peek(c) >= '0' && peek(c) <= '9'; c->at++) {
        int digit = c->text[c->at] - '0';
        if (value > (INT64_MAX - digit) / 10) {
            fail(c, "expected a size below 2^63");
            return 0;
        }
        value = 10 * value + digit;
    }
    if (peek(c) == 'L') c->at++; /* Python 2 wrote long integers so */
    return value;
}

static bool is_item_size(char kind, int64_t item)
{
    switch (kind) {
    case 'b':
        return item == 1;
    case 'f':
        return item == 2 || item == 4 || item == 8;
    case 'i':
    case 'u':
        return item == 1 || item == 2 || item == 4 || item == 8;
    case 'S':
        return item >= 1 && item <= INT32_MAX;
    case 'U':
        return item >= 1 && item <= INT32_MAX / 4;
    default:
        return false;
    }
}

static void take_descr(cursor *c, icd_npy_header *out)
{
    char descr[32];
    skip_blank(c);
    if (peek(c) == '[')
        fail(c, "found a structured dtype, expected one number or text type");
    take_string(c, descr, sizeof descr);
    if (c->error) return;
    cursor type = {.text = descr, .size = strlen(descr)};
    out->order = strchr("<>|=", peek(&type)) && peek(&type) ? descr[type.at++] : '=';
    out->kind = peek(&type);
    if (out->kind == 'O') {
        fail(c, "found Python objects (a pickle), which are never loaded, expected a "
                "number type");
        return;
    }
    type.at++;
    int64_t item = take_count(&type);
    if (type.error || type.at != type.size || !is_item_size(out->kind, item)) {
        fail(c,
             "found an unknown dtype, expected b1, i1..i8, u1..u8, f2, f4, f8, S or U");
        return;
    }
    out->item = (int32_t)(out->kind == 'U' ? 4 * item : item);
}

static void take_shape(cursor *c, icd_npy_header *out)
{
    need(c, '(', "expected '(' before the shape");
    while (!c->error && !take(c, ')')) {
        if (out->dims == 4) {
            fail(c, "found more than four dimensions, expected at most four");
            return;
        }
        out->shape[out->dims++] = take_count(c);
        if (take(c, ')')) return;
        need(c, ',', "expected ',' or ')' in the shape");
    }
}

static void take_fortran(cursor *c, icd_npy_header *out)
{
    out->fortran = take_word(c, "True");
    if (!out->fortran && !take_word(c, "False")) fail(c, "expected True or False");
}

static void take_entry(cursor *c, icd_npy_header *out, unsigned *seen)
{
    static const char *const KEY[] = {"descr", "fortran_order", "shape"};
    static void (*const TAKE[])(cursor *, icd_npy_header *) = {take_descr, take_fortran,
                                                               take_shape};
    char key[16];
    take_string(c, key, sizeof key);
    for (unsigned i = 0; i < 3 && !c->error; i++) {
        if (strcmp(key, KEY[i]) != 0) continue;
        if (*seen & 1u << i) fail(c, "found a key twice");
        *seen |= 1u << i;
        need(c, ':', "expected ':' after a key");
        if (!c->error) TAKE[i](c, out);
        return;
    }
    fail(c, "expected the keys descr, fortran_order and shape");
}

const char *icd_i_npy_header_parse(const char *text, size_t size, icd_npy_header *out,
                                   size_t *wrong)
{
    cursor c = {.text = text, .size = size};
    unsigned seen = 0;
    memset(out, 0, sizeof *out);
    need(&c, '{', "expected '{'");
    while (!c.error && !take(&c, '}')) {
        take_entry(&c, out, &seen);
        if (take(&c, '}')) break;
        need(&c, ',', "expected ',' or '}'");
    }
    skip_blank(&c);
    if (c.at != c.size) fail(&c, "expected nothing after the dictionary");
    if (seen != 7) fail(&c, "expected the keys descr, fortran_order and shape");
    *wrong = c.at;
    return c.error;
}
