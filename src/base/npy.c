#include "base/npz.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/npy_header.h"

static const unsigned char MAGIC[6] = {0x93, 'N', 'U', 'M', 'P', 'Y'};
static const bool LITTLE = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__;

/* Headers of plain arrays have about 100 bytes; NumPy itself refuses more than 10,000. */
enum { LONGEST_HEADER = 65536 };

void icd_i_array_release(icd_ctx *ctx, icd_array *a)
{
    icd_i_free(ctx, a->data);
    *a = (icd_array){0};
}

static double half_to_double(uint16_t h)
{
    int exponent = h >> 10 & 31;
    double mantissa = h & 1023, value;
    if (exponent == 31)
        value = mantissa != 0 ? (double)NAN : (double)INFINITY;
    else
        value = exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24);
    return h & 0x8000 ? -value : value;
}

static double load_real(const unsigned char *p, int32_t item)
{
    uint16_t half;
    float single;
    double value;
    switch (item) {
    case 2:
        memcpy(&half, p, sizeof half);
        return half_to_double(half);
    case 4:
        memcpy(&single, p, sizeof single);
        return (double)single;
    default:
        memcpy(&value, p, sizeof value);
        return value;
    }
}

static uint64_t load_unsigned(const unsigned char *p, int32_t item)
{
    uint64_t value = 0;
    for (int32_t i = 0; i < item; i++)
        value |= (uint64_t)p[LITTLE ? i : item - 1 - i] << 8 * i;
    return value;
}

static int64_t load_signed(const unsigned char *p, int32_t item)
{
    uint64_t sign = (uint64_t)1 << (8 * item - 1);
    /* two's complement: flip the sign bit, then take its weight away */
    return (int64_t)((load_unsigned(p, item) ^ sign) - sign);
}

static int64_t real_to_int(double value)
{
    if (isnan(value)) return 0;
    if (value >= 0x1p63) return INT64_MAX;
    if (value < -0x1p63) return INT64_MIN;
    return (int64_t)value;
}

static const unsigned char *element(const icd_array *a, int64_t i)
{
    return (const unsigned char *)a->data + (size_t)i * (size_t)a->item;
}

int64_t icd_i_array_int(const icd_array *a, int64_t i)
{
    const unsigned char *p = element(a, i);
    uint64_t value;
    switch (a->kind) {
    case 'f':
        return real_to_int(load_real(p, a->item));
    case 'i':
        return load_signed(p, a->item);
    case 'b':
        return *p != 0;
    case 'u':
        value = load_unsigned(p, a->item);
        return value > INT64_MAX ? INT64_MAX : (int64_t)value;
    default:
        return 0;
    }
}

double icd_i_array_real(const icd_array *a, int64_t i)
{
    const unsigned char *p = element(a, i);
    switch (a->kind) {
    case 'f':
        return load_real(p, a->item);
    case 'i':
        return (double)load_signed(p, a->item);
    case 'b':
        return *p != 0;
    case 'u':
        return (double)load_unsigned(p, a->item);
    default:
        return 0;
    }
}

bool icd_i_npy_bytes(int32_t dims, const int64_t *shape, int32_t item, int64_t *count,
                     size_t *bytes)
{
    size_t product = 1, total = 0;
    for (int32_t d = 0; d < dims; d++)
        if (shape[d] == 0) product = 0;
    for (int32_t d = 0; d < dims; d++)
        if (shape[d] < 0 || !icd_i_mul_size(product, (size_t)shape[d], &product))
            return false;
    if (!icd_i_mul_size(product, (size_t)item, &total) || total > INT64_MAX) return false;
    *count = (int64_t)product;
    *bytes = total;
    return true;
}

static icd_status fail_at(icd_ctx *ctx, const icd_npy_source *s, uint64_t offset,
                          const char *hint, const char *text)
{
    char where[1280];
    snprintf(where, sizeof where, "%s: %s%sbyte %llu", s->place, s->unit,
             *s->unit ? ", " : "", (unsigned long long)offset);
    return icd_i_fail(ctx, ICD_EDATA, where, hint, "%s", text);
}

static icd_status fetch(icd_ctx *ctx, icd_npy_source *s, void *out, size_t bytes,
                        const char *what)
{
    char text[128];
    if (bytes > s->left) {
        snprintf(text, sizeof text, "found %llu bytes, expected %zu of %s",
                 (unsigned long long)s->left, bytes, what);
        return fail_at(ctx, s, s->offset, "the file is cut off or not .npy", text);
    }
    icd_status status = s->read(ctx, s, out, bytes);
    if (status != ICD_OK) return status;
    s->offset += bytes;
    s->left -= bytes;
    return ICD_OK;
}

static icd_status fetch_prefix(icd_ctx *ctx, icd_npy_source *s, size_t *size)
{
    unsigned char head[8], length[4] = {0};
    icd_status status = fetch(ctx, s, head, sizeof head, "magic and version");
    if (status != ICD_OK) return status;
    if (memcmp(head, MAGIC, sizeof MAGIC) != 0)
        return fail_at(ctx, s, 0, NULL, "found other bytes, expected the magic of .npy");
    if (head[6] < 1 || head[6] > 3 || head[7] != 0)
        return fail_at(ctx, s, 6, NULL,
                       "found an unknown version, expected 1.0, 2.0 or 3.0");
    status = fetch(ctx, s, length, head[6] == 1 ? 2 : 4, "header length");
    if (status != ICD_OK) return status;
    *size = (size_t)length[0] | (size_t)length[1] << 8 | (size_t)length[2] << 16 |
            (size_t)length[3] << 24;
    if (*size > LONGEST_HEADER)
        return fail_at(ctx, s, 8, NULL, "found a header longer than 65536 bytes");
    return ICD_OK;
}

static icd_status fetch_header(icd_ctx *ctx, icd_npy_source *s, icd_npy_header *header)
{
    size_t size = 0, wrong = 0;
    char *text = NULL;
    icd_status status = ICD_OK;
    ICD_TRY(fetch_prefix(ctx, s, &size));
    uint64_t start = s->offset;
    if (size > s->left) ICD_TRY(fetch(ctx, s, NULL, size, "header"));
    ICD_TRY(ICD_ALLOC(ctx, (int64_t)size, &text));
    ICD_TRY(fetch(ctx, s, text, size, "header"));
    const char *error = icd_i_npy_header_parse(text, size, header, &wrong);
    if (error) status = fail_at(ctx, s, start + wrong, NULL, error);
done:
    icd_i_free(ctx, text);
    return status;
}

static void describe_shape(const icd_npy_header *h, char *out, size_t size)
{
    size_t used = 0;
    for (int32_t d = 0; d < h->dims; d++)
        used += (size_t)snprintf(out + used, size - used, "%s%lld", d ? "x" : "",
                                 (long long)h->shape[d]);
    if (!h->dims) snprintf(out, size, "a scalar");
}

static icd_status check_size(icd_ctx *ctx, const icd_npy_source *s,
                             const icd_npy_header *h, int64_t *count, size_t *bytes)
{
    char shape[96], text[256], expected[64] = "more than a file can hold";
    bool fits = icd_i_npy_bytes(h->dims, h->shape, h->item, count, bytes);
    if (fits && *bytes == s->left) return ICD_OK;
    describe_shape(h, shape, sizeof shape);
    if (fits) snprintf(expected, sizeof expected, "%zu", *bytes);
    snprintf(text, sizeof text, "found %llu bytes of data, expected %s (%s of %c%d)",
             (unsigned long long)s->left, expected, shape, h->kind, h->item);
    return fail_at(ctx, s, s->offset, "the file is damaged or cut off", text);
}

static void swap_bytes(unsigned char *p, int64_t count, int32_t width)
{
    for (int64_t i = 0; i < count; i++, p += width)
        for (int32_t a = 0, b = width - 1; a < b; a++, b--) {
            unsigned char keep = p[a];
            p[a] = p[b];
            p[b] = keep;
        }
}

static void to_host_order(const icd_npy_header *h, icd_array *a)
{
    bool foreign = h->order == (LITTLE ? '>' : '<');
    if (!foreign || a->kind == 'S' || a->kind == 'b') return;
    if (a->kind == 'U')
        swap_bytes(a->data, a->count * (a->item / 4), 4);
    else
        swap_bytes(a->data, a->count, a->item);
}

icd_status icd_i_npy_read(icd_ctx *ctx, icd_npy_source *source, icd_array *out)
{
    icd_npy_header header;
    icd_array a = {0};
    size_t bytes = 0;
    icd_status status = ICD_OK;
    *out = (icd_array){0};
    ICD_TRY(fetch_header(ctx, source, &header));
    a.kind = header.kind;
    a.item = header.item;
    a.dims = header.dims;
    a.fortran = header.fortran;
    memcpy(a.shape, header.shape, sizeof a.shape);
    ICD_TRY(check_size(ctx, source, &header, &a.count, &bytes));
    ICD_TRY(icd_i_alloc(ctx, (int64_t)bytes, 1, &a.data));
    ICD_TRY(fetch(ctx, source, a.data, bytes, "data"));
    to_host_order(&header, &a);
    *out = a;
    a.data = NULL;
done:
    icd_i_free(ctx, a.data);
    return status;
}

static icd_status read_memory(icd_ctx *ctx, icd_npy_source *source, void *out,
                              size_t bytes)
{
    (void)ctx;
    if (bytes) memcpy(out, (const unsigned char *)source->user + source->offset, bytes);
    return ICD_OK;
}

icd_status icd_i_npy_decode(icd_ctx *ctx, const void *bytes, size_t size,
                            const char *place, icd_array *out)
{
    icd_npy_source source = {.read = read_memory,
                             .place = place,
                             .unit = "",
                             .left = size,
                             .user = (void *)(uintptr_t)bytes};
    return icd_i_npy_read(ctx, &source, out);
}

static char order_mark(const icd_npz_member *m)
{
    if (m->item == 1 || m->kind == 'S' || m->kind == 'b') return '|';
    return LITTLE ? '<' : '>';
}

static size_t print_shape(const icd_npz_member *m, char *out, size_t size)
{
    size_t used = (size_t)snprintf(out, size, "(");
    for (int32_t d = 0; d < m->dims; d++)
        used += (size_t)snprintf(out + used, size - used, "%s%lld", d ? ", " : "",
                                 (long long)m->shape[d]);
    return used +
           (size_t)snprintf(out + used, size - used, "%s), }", m->dims == 1 ? "," : "");
}

size_t icd_i_npy_header(const icd_npz_member *m, unsigned char out[ICD_NPY_HEADER])
{
    char dict[ICD_NPY_HEADER];
    size_t used = (size_t)snprintf(
        dict, sizeof dict,
        "{'descr': '%c%c%d', 'fortran_order': False, 'shape': ", order_mark(m), m->kind,
        m->kind == 'U' ? m->item / 4 : m->item);
    used += print_shape(m, dict + used, sizeof dict - used);
    size_t total = (10 + used + 1 + 63) / 64 * 64;
    memset(out, ' ', total);
    memcpy(out, MAGIC, sizeof MAGIC);
    out[6] = 1;
    out[7] = 0;
    out[8] = (unsigned char)((total - 10) & 255);
    out[9] = (unsigned char)((total - 10) >> 8);
    memcpy(out + 10, dict, used);
    out[total - 1] = '\n';
    return total;
}

icd_status icd_i_npy_write(icd_ctx *ctx, const char *path, const icd_npz_member *member)
{
    unsigned char header[ICD_NPY_HEADER];
    icd_out *out = NULL;
    int64_t count = 0;
    size_t bytes = 0;
    if (!icd_i_npy_bytes(member->dims, member->shape, member->item, &count, &bytes))
        return icd_i_fail(ctx, ICD_EINVAL, path, NULL,
                          "the array is larger than 2^63 bytes");
    icd_status status = icd_i_out_open(ctx, path, &out);
    if (status != ICD_OK) return status;
    status = icd_i_out_write(ctx, out, header, icd_i_npy_header(member, header));
    if (status == ICD_OK) status = icd_i_out_write(ctx, out, member->data, bytes);
    icd_status closed = icd_i_out_close(ctx, out, status == ICD_OK);
    return status == ICD_OK ? closed : status;
}
