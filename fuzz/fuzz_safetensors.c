/* layer: model */
/* Bytes as one .safetensors file; every byte of every tensor is read, and every name
 * finds its tensor. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "model/safetensors_header.h"

/* Tensors lie in the input (or, misaligned ones, in copies of parts of it). */
static void use(const icd_tensor *t, size_t size)
{
    int64_t bytes = t->count * icd_dtype_size(t->dtype), product = 1;
    volatile unsigned char sum = 0;
    for (int32_t d = 0; d < t->dims; d++) product *= t->shape[d];
    if (product != t->count || bytes < 0 || (size_t)bytes > size) abort();
    if (bytes && (uintptr_t)t->data % (size_t)icd_dtype_size(t->dtype)) abort();
    for (int64_t i = 0; i < bytes; i++)
        sum = (unsigned char)(sum ^ ((const unsigned char *)t->data)[i]);
}

static void use_all(icd_ctx *ctx, icd_tensor_list *list, size_t size)
{
    int64_t total = 0;
    for (int64_t i = 0; i < list->count; i++) {
        use(&list->tensor[i], size);
        total += list->tensor[i].count * icd_dtype_size(list->tensor[i].dtype);
    }
    if ((size_t)total > size) abort();
    if (icd_i_tensor_list_sort(ctx, list, "fuzz.safetensors") != ICD_OK) abort();
    for (int64_t i = 0; i < list->count; i++)
        if (icd_i_tensor_list_get(list, list->tensor[i].name) != &list->tensor[i])
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    icd_ctx_opts opts = {.size = sizeof opts, .threads = 1};
    icd_ctx *ctx = icd_ctx_new(&opts);
    icd_arena *arena = NULL;
    icd_tensor_list list = {0};
    if (icd_i_arena_new(ctx, &arena) != ICD_OK) abort();
    if (icd_i_safetensors_parse(ctx, arena, data, size, "fuzz.safetensors", &list) ==
        ICD_OK)
        use_all(ctx, &list, size);
    else if (!*icd_ctx_message(ctx))
        abort();
    icd_i_free(ctx, list.tensor);
    icd_i_arena_free(ctx, arena);
    icd_ctx_free(ctx);
    return 0;
}
