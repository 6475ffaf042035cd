/* layer: model */
/* Bytes as one .safetensors file with packed matrices (icd/packed.h). Whatever is opened
 * keeps the promises that its readers rely on. */
#include "fuzz.h"
#include "fuzz_ctx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/layout.h"
#include "model/model_private.h"

#include <icd/packed.h>

static void check_quant(const icd_quantized *q)
{
    volatile float sum = 0;
    float *row = malloc((size_t)(q->cols + 1) * sizeof *row);
    if (!row) return;
    for (int64_t i = 0; i < q->outliers; i++)
        if (q->outlier[i] < 0 || q->outlier[i] >= q->cols ||
            (i > 0 && q->outlier[i] <= q->outlier[i - 1]) || q->q[q->outlier[i]] != 0 ||
            !icd_i_is_outlier(q, q->outlier[i]))
            abort();
    for (int64_t r = 0; r < q->rows; r++) {
        icd_quantized_row(q, r, row);
        for (int64_t c = 0; c < q->cols; c++) sum = sum + row[c];
    }
    if (!(q->input_scale >= 0)) abort();
    free(row);
}

static void check(const icd_model *m)
{
    static const char *const NAME[] = {"layer.0.ffn.w1", "layer.0.ffn.w2"};
    for (size_t i = 0; i < sizeof NAME / sizeof *NAME; i++) {
        const icd_packed *p = icd_model_packed(m, NAME[i]);
        const icd_tensor *t = icd_model_tensor(m, NAME[i]);
        if (!p) continue;
        if (!t || t->dims != 2 || t->dtype != ICD_F32) abort();
        if (p->mask && (p->mask->rows != t->shape[0] || p->mask->cols != t->shape[1]))
            abort();
        if (p->order && p->order->n != t->shape[1]) abort();
        if (p->quant) check_quant(p->quant);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[] = "/tmp/icd-fuzz-XXXXXX.safetensors";
    icd_model *model = NULL;
    icd_ctx *ctx = fuzz_ctx_new();
    int file = mkstemps(path, 12);
    if (!ctx || file < 0) abort();
    bool written = write(file, data, size) == (ssize_t)size;
    close(file);
    icd_status status = written ? icd_model_open(ctx, path, &model) : ICD_OK;
    if (status == ICD_OK && model)
        check(model);
    else if (status != ICD_OK && (model || !*icd_ctx_message(ctx)))
        abort();
    icd_model_free(ctx, model);
    unlink(path);
    icd_ctx_free(ctx);
    return 0;
}
