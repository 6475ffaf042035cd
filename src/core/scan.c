#include "core/scan.h"

#include <stdio.h>
#include <string.h>

enum { MAX_DIGITS = 18, MAX_EXPONENT = 9999 };
#define FULL_MANTISSA UINT64_C(1000000000000000000)

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool ends_token(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == ',' || c == ';' ||
           c == ']' || c == '}';
}

icd_token icd_i_scan_token(const icd_scan *scan)
{
    icd_token token = {{0}};
    size_t n = 1;
    if (scan->at == scan->end || *scan->at == '\n') {
        snprintf(token.text, sizeof token.text, "the end of the %s",
                 scan->at == scan->end ? "file" : "line");
        return token;
    }
    token.text[0] = '\'';
    for (const char *p = scan->at; p < scan->end && n < 32; ++p) {
        if (n > 1 && (ends_token(*p) || ends_token(p[-1]))) break;
        token.text[n++] = *p >= 32 && *p < 127 ? *p : '?';
    }
    token.text[n] = '\'';
    return token;
}

void icd_i_scan_blanks(icd_scan *scan)
{
    while (scan->at < scan->end &&
           (*scan->at == ' ' || *scan->at == '\t' || *scan->at == '\r'))
        ++scan->at;
}

bool icd_i_scan_at_line_end(const icd_scan *scan)
{
    return scan->at == scan->end || *scan->at == '\n';
}

void icd_i_scan_next_line(icd_scan *scan)
{
    const char *feed = memchr(scan->at, '\n', (size_t)(scan->end - scan->at));
    scan->at = feed ? feed + 1 : scan->end;
    if (feed) ++scan->line;
}

static bool continues_number(const char *p, const char *end)
{
    return p < end && (is_digit(*p) || *p == '.' || *p == 'e' || *p == 'E');
}

bool icd_i_scan_int(icd_scan *scan, int64_t *out)
{
    const char *p = scan->at;
    bool negative = p < scan->end && *p == '-';
    if (p < scan->end && (*p == '-' || *p == '+')) ++p;
    const char *first = p;
    int64_t value = 0;
    for (; p < scan->end && is_digit(*p) && p - first < MAX_DIGITS; ++p)
        value = value * 10 + (*p - '0');
    if (p == first || continues_number(p, scan->end)) return false;
    *out = negative ? -value : value;
    scan->at = p;
    return true;
}

/* mantissa * 10^exponent; both factors of a double product are exact in the fast case,
   which makes the product correctly rounded (Clinger 1990, 10.1145/93542.93557). */
static double scale(uint64_t mantissa, int64_t exponent)
{
    static const double POWER[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                   1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                   1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (mantissa == 0) return 0;
    if (mantissa <= UINT64_C(1) << 53 && exponent >= -22 && exponent <= 22)
        return exponent < 0 ? (double)mantissa / POWER[-exponent]
                            : (double)mantissa * POWER[exponent];
    long double result = (long double)mantissa, factor = 10.0L, power = 1.0L;
    int64_t steps = exponent < 0 ? -exponent : exponent;
    for (int64_t e = steps < MAX_EXPONENT ? steps : MAX_EXPONENT; e;
         e >>= 1, factor *= factor)
        if (e & 1) power *= factor;
    return (double)(exponent < 0 ? result / power : result * power);
}

typedef struct decimal {
    uint64_t mantissa;
    int64_t exponent;
    bool any; /* a digit was there */
} decimal;

/* Digits that the mantissa cannot hold only move the exponent. */
static const char *take_digits(const char *p, const char *end, bool fraction, decimal *d)
{
    for (; p < end && is_digit(*p); ++p) {
        d->any = true;
        if (d->mantissa < FULL_MANTISSA) {
            d->mantissa = d->mantissa * 10 + (uint64_t)(*p - '0');
            d->exponent -= fraction;
        } else {
            d->exponent += !fraction;
        }
    }
    return p;
}

static const char *take_exponent(const char *p, const char *end, decimal *d)
{
    const char *q = p + 1;
    int32_t value = 0;
    bool negative = q < end && *q == '-';
    if (q < end && (*q == '-' || *q == '+')) ++q;
    if (q == end || !is_digit(*q)) return NULL;
    for (; q < end && is_digit(*q); ++q)
        if (value < MAX_EXPONENT) value = value * 10 + (*q - '0');
    d->exponent += negative ? -value : value;
    return q;
}

bool icd_i_scan_real(icd_scan *scan, double *out)
{
    decimal d = {0};
    const char *p = scan->at, *end = scan->end;
    bool negative = p < end && *p == '-';
    if (p < end && (*p == '-' || *p == '+')) ++p;
    p = take_digits(p, end, false, &d);
    if (p < end && *p == '.') p = take_digits(p + 1, end, true, &d);
    if (!d.any) return false;
    if (p < end && (*p == 'e' || *p == 'E')) p = take_exponent(p, end, &d);
    if (!p || continues_number(p, end)) return false;
    double value = scale(d.mantissa, d.exponent);
    *out = negative ? -value : value;
    scan->at = p;
    return true;
}
