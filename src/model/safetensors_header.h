/**
 * @file safetensors_header.h
 * The bytes of one .safetensors file: 8 bytes of header length (little-endian), a JSON
 * header, data. Nothing is believed before it is checked.
 */
#ifndef ICD_MODEL_SAFETENSORS_HEADER_H
#define ICD_MODEL_SAFETENSORS_HEADER_H

#include "base/mem.h"
#include <icd/model.h>

/** The longest header that the format allows. */
enum { ICD_SAFETENSORS_HEADER = 100000000 };

/** A text of `__metadata__`. */
typedef struct icd_metadata icd_metadata;
struct icd_metadata {
    const char *key, *value;
    const icd_metadata *next;
};

/** Tensors that grow in number; zeroed = empty. Names (and copies of data that the file
 * does not align to its element size) and metadata live in an arena, other data in the
 * file. */
typedef struct icd_tensor_list {
    icd_tensor *tensor;
    int64_t count, capacity;
    const icd_metadata *metadata; /**< the newest first */
} icd_tensor_list;

/**
 * Appends the tensors of a file's bytes, in the order of their data. The data must fill
 * the file behind the header without overlap and without hole.
 * @param place [in] how errors name the file
 * @return ICD_OK | ICD_EDATA "place: tensor 'NAME': ..." | ICD_ENOMEM; on an error the
 * list may hold some of the tensors
 */
icd_status icd_i_safetensors_parse(icd_ctx *ctx, icd_arena *arena, const void *bytes,
                                   size_t size, const char *place, icd_tensor_list *list);

/** Sorts by name. @return ICD_OK | ICD_EDATA a name twice */
icd_status icd_i_tensor_list_sort(icd_ctx *ctx, icd_tensor_list *list, const char *place);

/** By bisection in a sorted list; NULL where there is none. */
const icd_tensor *icd_i_tensor_list_get(const icd_tensor_list *list, const char *name);

#endif
