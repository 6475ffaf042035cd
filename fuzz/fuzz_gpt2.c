/* layer: model */
/* Bytes as model.safetensors of a small GPT-2. What is opened, taken apart, must be put
 * together again as it was. */
#include "fuzz.h"
#include "fuzz_ctx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <icd/model.h>

static const char CONFIG[] = "{\"model_type\": \"gpt2\", \"n_layer\": 1, \"n_embd\": 2, "
                             "\"n_head\": 1, \"n_inner\": 3,"
                             " \"vocab_size\": 2, \"n_positions\": 2}";

static void put_file(const char *dir, const char *name, const void *data, size_t size)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, size, file) != size || fclose(file)) abort();
}

static void remove_all(const char *dir)
{
    static const char *const NAME[] = {"model.safetensors", "config.json",
                                       "icd.axes.json"};
    char path[256];
    for (size_t i = 0; i < sizeof NAME / sizeof *NAME; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, NAME[i]);
        unlink(path);
    }
    rmdir(dir);
}

/* Written and read back it is the same model. */
static void check(icd_ctx *ctx, const icd_model *m, const char *dir)
{
    icd_model *again = NULL;
    char back[128];
    snprintf(back, sizeof back, "%s-back", dir);
    if (icd_model_write(ctx, m, dir, back) != ICD_OK) abort();
    if (icd_model_open(ctx, back, &again) != ICD_OK) abort();
    if (icd_model_hash(again) != icd_model_hash(m)) abort();
    icd_model_free(ctx, again);
    remove_all(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char dir[] = "/tmp/icd-fuzz-XXXXXX";
    icd_model *model = NULL;
    icd_ctx *ctx = fuzz_ctx_new();
    if (!ctx || !mkdtemp(dir)) abort();
    put_file(dir, "config.json", CONFIG, sizeof CONFIG - 1);
    put_file(dir, "model.safetensors", data, size);
    icd_status status = icd_model_open(ctx, dir, &model);
    if (status == ICD_OK && model)
        check(ctx, model, dir);
    else if (model || !*icd_ctx_message(ctx))
        abort();
    icd_model_free(ctx, model);
    remove_all(dir);
    icd_ctx_free(ctx);
    return 0;
}
