#include "base/text.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void icd_i_text_release(icd_ctx *ctx, icd_text *text)
{
    icd_i_free(ctx, text->data);
    *text = (icd_text){0};
}

static icd_status reserve(icd_ctx *ctx, icd_text *text, int64_t more)
{
    return icd_i_grow(ctx, (void **)&text->data, &text->capacity, text->size + more + 1,
                      1);
}

icd_status icd_i_text_add(icd_ctx *ctx, icd_text *text, const char *bytes, int64_t size)
{
    icd_status status = reserve(ctx, text, size);
    if (status != ICD_OK) return status;
    if (size) memcpy(text->data + text->size, bytes, (size_t)size);
    text->size += size;
    text->data[text->size] = 0;
    return ICD_OK;
}

icd_status icd_i_text_puts(icd_ctx *ctx, icd_text *text, const char *string)
{
    return icd_i_text_add(ctx, text, string, (int64_t)strlen(string));
}

icd_status icd_i_text_printf(icd_ctx *ctx, icd_text *text, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int size = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    icd_status status = reserve(ctx, text, size);
    if (status != ICD_OK) return status;
    va_start(args, fmt);
    vsnprintf(text->data + text->size, (size_t)size + 1, fmt, args);
    va_end(args);
    text->size += size;
    return ICD_OK;
}

/* A caller may have set a locale whose decimal point is not a point. */
static void swap_point(char *text, char from, char to)
{
    char *point = from == to ? NULL : strchr(text, from);
    if (point) *point = to;
}

static char locale_point(void)
{
    return localeconv()->decimal_point[0];
}

void icd_i_real_print(double value, char out[32])
{
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(out, 32, "%.*g", digits, value);
        if (strtod(out, NULL) == value) break;
    }
    swap_point(out, locale_point(), '.');
}

static const char *skip_digits(const char *p)
{
    while (*p >= '0' && *p <= '9') p++;
    return p;
}

bool icd_i_int_parse(const char *text, int64_t *out)
{
    const char *digits = text + (*text == '-' || *text == '+');
    const char *end = skip_digits(digits);
    if (end == digits || *end) return false;
    errno = 0;
    long long value = strtoll(text, NULL, 10);
    if (errno) return false;
    *out = value;
    return true;
}

/* [-+]? ( digits [. digits?] | . digits ) ( [eE] [-+]? digits )? */
static bool is_decimal(const char *p)
{
    p += *p == '-' || *p == '+';
    const char *whole = p;
    p = skip_digits(p);
    bool some = p != whole;
    if (*p == '.') {
        const char *fraction = ++p;
        p = skip_digits(p);
        some = some || p != fraction;
    }
    if (!some) return false;
    if (*p == 'e' || *p == 'E') {
        p++;
        p += *p == '-' || *p == '+';
        const char *exponent = p;
        p = skip_digits(p);
        if (p == exponent) return false;
    }
    return *p == 0;
}

bool icd_i_real_parse(const char *text, double *out)
{
    char copy[512];
    size_t size = strlen(text);
    if (size >= sizeof copy || !is_decimal(text)) return false;
    memcpy(copy, text, size + 1);
    swap_point(copy, '.', locale_point());
    double value = strtod(copy, NULL);
    if (!isfinite(value)) return false;
    *out = value;
    return true;
}
