#include "model/bpe.h"

#include <string.h>
#include <utf8proc.h>

typedef enum kind { LETTER, NUMBER, SPACE, OTHER } kind;

static bool is_space(utf8proc_int32_t c)
{
    return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

/* The kind of the character at `text` and its bytes; a broken byte is one of its own. */
static kind kind_at(const char *text, int64_t size, int64_t *bytes)
{
    utf8proc_int32_t code = -1;
    utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)text, size, &code);
    *bytes = n > 0 ? n : 1;
    if (n <= 0) return OTHER;
    if (is_space(code)) return SPACE;
    utf8proc_category_t c = utf8proc_category(code);
    if (c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO) return LETTER;
    return c >= UTF8PROC_CATEGORY_ND && c <= UTF8PROC_CATEGORY_NO ? NUMBER : OTHER;
}

/* Bytes of the run of characters of one kind. */
static int64_t run_of(kind k, const char *text, int64_t size)
{
    int64_t at = 0, bytes = 0;
    while (at < size && kind_at(text + at, size - at, &bytes) == k) at += bytes;
    return at;
}

static int64_t without_numbers(const char *text, int64_t size)
{
    int64_t at = 0, bytes = 0;
    while (at < size && kind_at(text + at, size - at, &bytes) != NUMBER) at += bytes;
    return at;
}

int64_t icd_i_bpe_piece(const icd_bpe_rules *rules, const char *text, int64_t size)
{
    int64_t bytes = 0;
    if (rules->digits == ICD_DIGITS_NONE) return size;
    if (kind_at(text, size, &bytes) != NUMBER) return without_numbers(text, size);
    return rules->digits == ICD_DIGITS_EACH ? bytes : run_of(NUMBER, text, size);
}

static int64_t contraction(const char *text, int64_t size)
{
    static const char *const TAIL[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
    for (size_t i = 0; i < sizeof TAIL / sizeof *TAIL; i++) {
        int64_t n = (int64_t)strlen(TAIL[i]);
        if (n <= size && memcmp(text, TAIL[i], (size_t)n) == 0) return n;
    }
    return 0;
}

/* A run of spaces leaves its last one to the word behind it, unless it is all there is.
 */
static int64_t spaces(const char *text, int64_t size)
{
    int64_t at = 0, last = 0, bytes = 0;
    while (at < size && kind_at(text + at, size - at, &bytes) == SPACE) {
        last = at;
        at += bytes;
    }
    return at < size && last > 0 ? last : at;
}

int64_t icd_i_bpe_word(const char *text, int64_t size)
{
    int64_t bytes = 0, n = text[0] == '\'' ? contraction(text, size) : 0;
    if (n) return n;
    int64_t lead = text[0] == ' ' && size > 1;
    kind k = kind_at(text + lead, size - lead, &bytes);
    if (k == SPACE) return spaces(text, size);
    return lead + run_of(k, text + lead, size - lead);
}
