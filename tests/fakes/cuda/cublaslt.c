/* cuBLASLt without a GPU: products on the CPU, in the order of the fake driver's streams.
 * Of three algorithms it suggests, the first is slow, the second does not run. */
#include "libraries.h"
#include "product.h"

#include <stdlib.h>

#define API                           __attribute__((visibility("default")))
#define DECLARE(member, symbol, args) API int symbol args;
ICD_LT_FUNCTIONS(DECLARE)
API fake_library_state *fake_cublaslt(void);

enum { SUGGESTED = 3, SLOW = 0, BROKEN = 1, NOT_SUPPORTED = 15, INVALID = 7 };

typedef struct desc {
    int compute, scale, turned, epilogue;
    const void *bias;
} desc;

typedef struct layout {
    int type;
    uint64_t rows, cols;
    int64_t ld;
} layout;

static fake_library_state state = {.ms = .25};

API fake_library_state *fake_cublaslt(void)
{
    return &state;
}

static int told(const char *symbol)
{
    return state.fail && !strcmp(state.fail, symbol) ? NOT_SUPPORTED : ICD_LT_OK;
}

static int make(void **out, size_t bytes, const char *symbol)
{
    if (told(symbol)) return told(symbol);
    *out = calloc(1, bytes);
    state.alive++;
    return ICD_LT_OK;
}

static int give_back(void *p)
{
    free(p);
    state.alive--;
    return ICD_LT_OK;
}

API int cublasLtCreate(void **out)
{
    return make(out, 1, "cublasLtCreate");
}
API int cublasLtDestroy(void *p)
{
    return give_back(p);
}
API int cublasLtMatmulDescCreate(void **out, int compute, int scale)
{
    int status = make(out, sizeof(desc), "cublasLtMatmulDescCreate");
    if (status == ICD_LT_OK)
        *(desc *)*out = (desc){compute, scale, 0, ICD_LT_EPILOGUE_NONE, NULL};
    return status;
}
API int cublasLtMatmulDescSetAttribute(void *p, int what, const void *value, size_t bytes)
{
    desc *d = p;
    if (what == ICD_LT_DESC_BIAS && bytes == sizeof d->bias)
        memcpy(&d->bias, value, bytes);
    else if (what == ICD_LT_DESC_TRANSA && bytes == 4)
        memcpy(&d->turned, value, bytes);
    else if (what == ICD_LT_DESC_EPILOGUE && bytes == 4)
        memcpy(&d->epilogue, value, bytes);
    else
        return INVALID;
    return ICD_LT_OK;
}
API int cublasLtMatmulDescDestroy(void *p)
{
    return give_back(p);
}
API int cublasLtMatrixLayoutCreate(void **out, int type, uint64_t rows, uint64_t cols,
                                   int64_t ld)
{
    int status = make(out, sizeof(layout), "cublasLtMatrixLayoutCreate");
    if (status == ICD_LT_OK) *(layout *)*out = (layout){type, rows, cols, ld};
    return status;
}
API int cublasLtMatrixLayoutDestroy(void *p)
{
    return give_back(p);
}
API int cublasLtMatmulPreferenceCreate(void **out)
{
    return make(out, 1, "cublasLtMatmulPreferenceCreate");
}
API int cublasLtMatmulPreferenceSetAttribute(void *p, int what, const void *value,
                                             size_t bytes)
{
    (void)p;
    (void)value;
    return what == ICD_LT_PREFERENCE_WORKSPACE && bytes == 8 ? ICD_LT_OK : INVALID;
}
API int cublasLtMatmulPreferenceDestroy(void *p)
{
    return give_back(p);
}
API int cublasLtMatmulAlgoGetHeuristic(void *handle, void *product, void *a, void *b,
                                       void *c, void *d, void *preference, int most,
                                       icd_lt_suggestion *out, int *count)
{
    (void)handle, (void)product, (void)a, (void)b, (void)c, (void)d, (void)preference;
    state.searches++;
    *count = most < SUGGESTED ? most : SUGGESTED;
    for (int i = 0; i < *count; i++)
        out[i] = (icd_lt_suggestion){.algo = {{(uint64_t)i}}};
    return told("cublasLtMatmulAlgoGetHeuristic");
}

static size_t size_of(int type)
{
    return type == ICD_LT_R_32I ? 4 : type == ICD_LT_R_16BF ? 2 : 1;
}

/* A matrix of columns lies in device memory. */
static int holds(const void *at, const layout *l)
{
    return fake_cuda_holds(
        at, (unsigned long)((((int64_t)l->cols - 1) * l->ld + (int64_t)l->rows) *
                            (int64_t)size_of(l->type)));
}

static int fits(const desc *d, const layout *w, const layout *x, const layout *y)
{
    int whole = w->type == ICD_LT_R_8I;
    return d->turned == ICD_LT_TURNED && w->rows == x->rows && w->cols == y->rows &&
           x->cols == y->cols && w->type == x->type &&
           d->compute == (whole ? ICD_LT_COMPUTE_32I : ICD_LT_COMPUTE_32F) &&
           d->scale == (whole ? ICD_LT_R_32I : ICD_LT_R_32F) &&
           y->type == (whole ? ICD_LT_R_32I : ICD_LT_R_16BF) &&
           w->ld >= (int64_t)w->rows && x->ld >= (int64_t)x->rows;
}

API int cublasLtMatmul(void *handle, void *product, const void *alpha, const void *a,
                       void *la, const void *b, void *lb, const void *beta, const void *c,
                       void *lc, void *y, void *ly, const icd_lt_algo *algo, void *room,
                       size_t bytes, void *stream)
{
    const desc *d = product;
    const layout *w = la, *x = lb, *out = ly;
    (void)handle, (void)alpha, (void)beta, (void)c, (void)lc, (void)room, (void)bytes;
    if (!fits(d, w, x, out) || !holds(a, w) || !holds(b, x) || !holds(y, out)) {
        state.misuse++;
        return INVALID;
    }
    if (told("cublasLtMatmul") || algo->data[0] == BROKEN) return NOT_SUPPORTED;
    fake_product p = {.w = a,
                      .x = b,
                      .y = y,
                      .bias = d->epilogue & ICD_LT_EPILOGUE_BIAS ? d->bias : NULL,
                      .relu = (d->epilogue & ICD_LT_EPILOGUE_RELU) != 0,
                      .in = w->type,
                      .out = out->type,
                      .rows = (int64_t)w->cols,
                      .tokens = (int64_t)x->cols,
                      .cols = (int64_t)w->rows,
                      .ldw = w->ld,
                      .ldx = x->ld,
                      .ldy = out->ld};
    state.products++;
    fake_cuda_enqueue(stream, fake_multiply, &p, sizeof p,
                      algo->data[0] == SLOW ? 10 * state.ms : state.ms);
    return ICD_LT_OK;
}
