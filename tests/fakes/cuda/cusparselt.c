/* cuSPARSELt without a GPU: checks what it is given, compresses two of any four values
 * and multiplies them on the CPU. A compressed four is two values behind two places. */
#include "libraries.h"
#include "product.h"
#include "runner/cuda/splt_abi.h"

#include <stdlib.h>

#define API                           __attribute__((visibility("default")))
#define DECLARE(member, symbol, args) API int symbol args;
ICD_SPLT_FUNCTIONS(DECLARE)
API fake_library_state *fake_cusparselt(void);

enum {
    INVALID = 3,
    NOT_SUPPORTED = 10,
    BUFFER = 64,
    WORKSPACE = 96,
    SEARCHED_ROOM = 160
};
enum { HANDLE = 0x51, SPARSE, DENSE, PRODUCT, CHOICE, PLAN };

/* What the fake keeps in the caller's structures. */
typedef struct matrix {
    int magic, type;
    int64_t rows, cols, ld;
} matrix;

typedef struct product {
    int magic, compute;
    matrix w, x, y;
} product;

typedef struct plan {
    int magic, searched, compressed;
    product p;
} plan;

static fake_library_state state = {.ms = .25, .version = 1000};

API fake_library_state *fake_cusparselt(void)
{
    return &state;
}

static int told(const char *symbol)
{
    return state.fail && !strcmp(state.fail, symbol) ? NOT_SUPPORTED : ICD_SPLT_OK;
}

static int magic_of(const icd_splt_opaque *o)
{
    int magic;
    memcpy(&magic, o, sizeof magic);
    return magic;
}

static int misused(void)
{
    state.misuse++;
    return INVALID;
}

static int put(icd_splt_opaque *to, const void *from, size_t bytes)
{
    memset(to, 0, sizeof *to);
    memcpy(to, from, bytes);
    return ICD_SPLT_OK;
}

static int wipe(const icd_splt_opaque *o, int magic, int other)
{
    int none = 0, found = magic_of(o);
    if (found != magic && found != other) return misused();
    memcpy((void *)(uintptr_t)o, &none, sizeof none);
    state.alive--;
    return ICD_SPLT_OK;
}

API int cusparseLtInit(icd_splt_opaque *h)
{
    int magic = HANDLE;
    if (told("cusparseLtInit")) return told("cusparseLtInit");
    state.alive++;
    return put(h, &magic, sizeof magic);
}
API int cusparseLtDestroy(const icd_splt_opaque *h)
{
    return wipe(h, HANDLE, HANDLE);
}
API int cusparseLtGetVersion(const icd_splt_opaque *h, int *version)
{
    *version = state.version;
    return magic_of(h) == HANDLE ? ICD_SPLT_OK : misused();
}

static int new_matrix(const icd_splt_opaque *h, icd_splt_opaque *out, matrix m, int order)
{
    int64_t unit = m.type == ICD_LT_R_16BF ? 8 : 16;
    if (magic_of(h) != HANDLE || order != ICD_SPLT_BY_COLUMN || m.ld < m.rows)
        return misused();
    if (m.type != ICD_LT_R_32I && (m.rows % unit || m.cols % unit)) return NOT_SUPPORTED;
    state.alive++;
    return put(out, &m, sizeof m);
}

API int cusparseLtStructuredDescriptorInit(const icd_splt_opaque *h, icd_splt_opaque *out,
                                           int64_t rows, int64_t cols, int64_t ld,
                                           uint32_t alignment, int type, int order,
                                           int sparsity)
{
    (void)alignment, (void)sparsity;
    return new_matrix(h, out, (matrix){SPARSE, type, rows, cols, ld}, order);
}
API int cusparseLtDenseDescriptorInit(const icd_splt_opaque *h, icd_splt_opaque *out,
                                      int64_t rows, int64_t cols, int64_t ld,
                                      uint32_t alignment, int type, int order)
{
    (void)alignment;
    return new_matrix(h, out, (matrix){DENSE, type, rows, cols, ld}, order);
}
API int cusparseLtMatDescriptorDestroy(const icd_splt_opaque *m)
{
    return wipe(m, SPARSE, DENSE);
}

API int cusparseLtMatmulDescriptorInit(const icd_splt_opaque *h, icd_splt_opaque *out,
                                       int turn_a, int turn_b, const icd_splt_opaque *a,
                                       const icd_splt_opaque *b, const icd_splt_opaque *c,
                                       const icd_splt_opaque *d, int compute)
{
    product p = {.magic = PRODUCT, .compute = compute};
    if (magic_of(h) != HANDLE || magic_of(a) != SPARSE || magic_of(b) != DENSE ||
        c != d || magic_of(d) != DENSE || turn_a != ICD_SPLT_TURNED ||
        turn_b != ICD_SPLT_AS_IT_IS)
        return misused();
    memcpy(&p.w, a, sizeof p.w);
    memcpy(&p.x, b, sizeof p.x);
    memcpy(&p.y, d, sizeof p.y);
    if (p.w.rows != p.x.rows || p.w.cols != p.y.rows || p.x.cols != p.y.cols)
        return misused();
    return put(out, &p, sizeof p);
}
API int cusparseLtMatmulAlgSelectionInit(const icd_splt_opaque *h, icd_splt_opaque *out,
                                         const icd_splt_opaque *p, int algorithm)
{
    int magic = CHOICE;
    if (magic_of(h) != HANDLE || magic_of(p) != PRODUCT || algorithm != ICD_SPLT_DEFAULT)
        return misused();
    state.alive++;
    return put(out, &magic, sizeof magic);
}
API int cusparseLtMatmulAlgSelectionDestroy(const icd_splt_opaque *c)
{
    return wipe(c, CHOICE, CHOICE);
}
API int cusparseLtMatmulPlanInit(const icd_splt_opaque *h, icd_splt_opaque *out,
                                 const icd_splt_opaque *p, const icd_splt_opaque *choice)
{
    plan made = {.magic = PLAN};
    if (magic_of(h) != HANDLE || magic_of(p) != PRODUCT || magic_of(choice) != CHOICE)
        return misused();
    memcpy(&made.p, p, sizeof made.p);
    state.alive++;
    return put(out, &made, sizeof made);
}
API int cusparseLtMatmulPlanDestroy(const icd_splt_opaque *p)
{
    return wipe(p, PLAN, PLAN);
}

static plan *plan_of(const icd_splt_opaque *o)
{
    return magic_of(o) == PLAN ? (plan *)(uintptr_t)o : NULL;
}

API int cusparseLtMatmulGetWorkspace(const icd_splt_opaque *h, const icd_splt_opaque *o,
                                     size_t *bytes)
{
    const plan *p = plan_of(o);
    if (magic_of(h) != HANDLE || !p) return misused();
    *bytes = p->searched ? SEARCHED_ROOM : WORKSPACE;
    return ICD_SPLT_OK;
}

static int64_t size_of(const matrix *m)
{
    return m->type == ICD_LT_R_16BF ? 2 : 1;
}

typedef struct check {
    const unsigned char *w;
    int *wrong;
    matrix m;
} check;

static int is_zero(const unsigned char *at, int64_t size)
{
    return at[0] == 0 && (size == 1 || at[1] == 0);
}

static void look(const void *data)
{
    check c;
    memcpy(&c, data, sizeof c);
    *c.wrong = 0;
    for (int64_t r = 0; r < c.m.cols; r++)
        for (int64_t k = 0; k < c.m.rows; k += 4) {
            int live = 0;
            for (int64_t i = k; i < k + 4; i++)
                live += !is_zero(c.w + (r * c.m.ld + i) * size_of(&c.m), size_of(&c.m));
            if (live > 2) *c.wrong = 1;
        }
}

API int cusparseLtSpMMAPruneCheck(const icd_splt_opaque *h, const icd_splt_opaque *o,
                                  const void *w, int *wrong, void *stream)
{
    check c = {w, wrong, {0}};
    if (magic_of(h) != HANDLE || magic_of(o) != PRODUCT ||
        !fake_cuda_holds(wrong, sizeof *wrong))
        return misused();
    memcpy(&c.m, &((const product *)(const void *)o)->w, sizeof c.m);
    fake_cuda_enqueue(stream, look, &c, sizeof c, 0);
    return told("cusparseLtSpMMAPruneCheck");
}

/* Of a four: two values, then their two places. */
static int64_t four(const matrix *m)
{
    return 2 * size_of(m) + 2;
}
static size_t compressed_bytes(const matrix *m)
{
    return (size_t)(m->rows / 4 * m->cols * four(m));
}

API int cusparseLtSpMMACompressedSize(const icd_splt_opaque *h, const icd_splt_opaque *o,
                                      size_t *bytes, size_t *buffer)
{
    const plan *p = plan_of(o);
    if (magic_of(h) != HANDLE || !p) return misused();
    *bytes = compressed_bytes(&p->p.w);
    *buffer = BUFFER;
    return ICD_SPLT_OK;
}

typedef struct squeeze {
    const unsigned char *w;
    unsigned char *out;
    matrix m;
} squeeze;

static void compress(const void *data)
{
    squeeze s;
    memcpy(&s, data, sizeof s);
    int64_t size = size_of(&s.m);
    memset(s.out, 0, compressed_bytes(&s.m));
    for (int64_t r = 0; r < s.m.cols; r++)
        for (int64_t k = 0; k < s.m.rows; k += 4) {
            unsigned char *to = s.out + (r * (s.m.rows / 4) + k / 4) * four(&s.m);
            int n = 0;
            for (int i = 0; i < 4 && n < 2; i++) {
                const unsigned char *at = s.w + (r * s.m.ld + k + i) * size;
                if (is_zero(at, size)) continue;
                memcpy(to + n * size, at, (size_t)size);
                to[2 * size + n++] = (unsigned char)i;
            }
        }
}

API int cusparseLtSpMMACompress(const icd_splt_opaque *h, const icd_splt_opaque *o,
                                const void *w, void *out, void *buffer, void *stream)
{
    plan *p = plan_of(o);
    if (magic_of(h) != HANDLE || !p || !fake_cuda_holds(buffer, BUFFER) ||
        !fake_cuda_holds(out, compressed_bytes(&p->p.w)))
        return misused();
    squeeze s = {w, out, p->p.w};
    p->compressed = 1;
    fake_cuda_enqueue(stream, compress, &s, sizeof s, 0);
    return told("cusparseLtSpMMACompress");
}

typedef struct job {
    const unsigned char *w;
    fake_product p;
    matrix m;
} job;

/* The dense matrix once more, and the product of it. */
static void multiply(const void *data)
{
    job j;
    memcpy(&j, data, sizeof j);
    int64_t size = size_of(&j.m), rows = j.m.rows;
    unsigned char *dense = calloc((size_t)(rows * j.m.cols), (size_t)size);
    for (int64_t i = 0; i < rows / 4 * j.m.cols; i++)
        for (int n = 0; n < 2; n++) {
            const unsigned char *at = j.w + i * four(&j.m);
            if (is_zero(at + n * size, size)) continue;
            memcpy(dense + (i * 4 + at[2 * size + n]) * size, at + n * size,
                   (size_t)size);
        }
    j.p.w = dense;
    fake_multiply(&j.p);
    free(dense);
}

static int ask(const icd_splt_opaque *h, plan *p, const void *w, const void *x, void *y,
               const void *room, size_t bytes, void **streams, int32_t count)
{
    if (magic_of(h) != HANDLE || !p || !p->compressed || count != 1 ||
        !fake_cuda_holds(room, bytes) || !fake_cuda_holds(w, compressed_bytes(&p->p.w)))
        return misused();
    const product *q = &p->p;
    job j = {w,
             {.x = x,
              .y = y,
              .in = q->w.type,
              .out = q->y.type,
              .rows = q->w.cols,
              .tokens = q->x.cols,
              .cols = q->w.rows,
              .ldw = q->w.rows,
              .ldx = q->x.ld,
              .ldy = q->y.ld},
             q->w};
    state.products++;
    fake_cuda_enqueue(streams[0], multiply, &j, sizeof j, state.ms);
    return ICD_SPLT_OK;
}

API int cusparseLtMatmulSearch(const icd_splt_opaque *h, icd_splt_opaque *o,
                               const void *alpha, const void *w, const void *x,
                               const void *beta, const void *c, void *y, void *room,
                               void **streams, int32_t count)
{
    plan *p = plan_of(o);
    (void)alpha, (void)beta, (void)c;
    int status = ask(h, p, w, x, y, room, WORKSPACE, streams, count);
    state.searches++;
    if (status == ICD_SPLT_OK) p->searched = 1;
    return status == ICD_SPLT_OK ? told("cusparseLtMatmulSearch") : status;
}
API int cusparseLtMatmul(const icd_splt_opaque *h, const icd_splt_opaque *o,
                         const void *alpha, const void *w, const void *x,
                         const void *beta, const void *c, void *y, void *room,
                         void **streams, int32_t count)
{
    (void)alpha, (void)beta, (void)c;
    if (told("cusparseLtMatmul")) return told("cusparseLtMatmul");
    return ask(h, plan_of(o), w, x, y, room, SEARCHED_ROOM, streams, count);
}
