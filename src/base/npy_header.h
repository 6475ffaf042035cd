/**
 * @file npy_header.h
 * The dictionary at the head of an .npy file: {'descr': '<f4', 'fortran_order': False,
 * 'shape': (3,)}
 */
#ifndef ICD_BASE_NPY_HEADER_H
#define ICD_BASE_NPY_HEADER_H

#include "base/error.h"

typedef struct icd_npy_header {
    char order; /**< '<', '>', '|' or '=' */
    char kind;
    int32_t item;
    bool fortran;
    int32_t dims;
    int64_t shape[4];
} icd_npy_header;

/**
 * Parses the dictionary's text; keys in any order, each exactly once, no others.
 * @param wrong [out] the byte at which it went wrong
 * @return NULL, or half a sentence: what was found and expected
 */
const char *icd_i_npy_header_parse(const char *text, size_t size, icd_npy_header *out,
                                   size_t *wrong);

#endif
