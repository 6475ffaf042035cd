/**
 * @file trace_writer.h
 * The writer of ICD binary traces, with the frame that the public one takes for granted.
 */
#ifndef ICD_CORE_TRACE_WRITER_H
#define ICD_CORE_TRACE_WRITER_H

#include "base/error.h"
#include <icd/access.h>

/** icd_trace_writer_open for indices of any frame. */
icd_status icd_i_trace_writer_open(icd_ctx *ctx, const char *path, const char *axis,
                                   int64_t n, uint64_t frame, icd_trace_writer **out);

#endif
