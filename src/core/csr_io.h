/**
 * @file csr_io.h
 * W from memory: what icd_csr_read does once it has the bytes.
 */
#ifndef ICD_CORE_CSR_IO_H
#define ICD_CORE_CSR_IO_H

#include "base/error.h"
#include <icd/csr.h>

/** icd_csr_check; `base` is the number of the first row in messages (MatrixMarket counts
 * from 1). */
icd_status icd_i_csr_check(icd_ctx *ctx, const icd_csr *w, const char *place, int base);

/** icd_csr_read from bytes that outlive the call. */
icd_status icd_i_csr_decode(icd_ctx *ctx, const void *bytes, size_t size,
                            const char *place, icd_csr **out);

#endif
