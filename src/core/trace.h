/**
 * @file trace.h
 * What the readers of traces share: one vtable, one file per format.
 */
#ifndef ICD_CORE_TRACE_H
#define ICD_CORE_TRACE_H

#include "base/file.h"
#include "core/spot.h"
#include <icd/access.h>

/** A format; its state hangs on reader->state. */
typedef struct icd_trace_format {
    const char *name;
    /** True where the bytes can only be this format. */
    bool (*matches)(const void *bytes, size_t size);
    /** Sets reader->n (-1: not stated), the axis if the trace names one, and the state.
     */
    icd_status (*open)(icd_trace_reader *reader);
    /** The next event of the chosen axis, already valid; count -1 at the end. */
    icd_status (*next)(icd_trace_reader *reader, icd_trace_item *item);
    /** Passes over up to `count` events without decoding them and adds them to
     * reader->seen; NULL: they are read and dropped. */
    icd_status (*skip)(icd_trace_reader *reader, int64_t count);
    void (*close)(icd_trace_reader *reader);
} icd_trace_format;

extern const icd_trace_format icd_i_trace_icdt, icd_i_trace_npz, icd_i_trace_mtx,
    icd_i_trace_jsonl, icd_i_trace_csv;

struct icd_trace_reader {
    icd_ctx *ctx; /**< of the running call */
    const icd_trace_format *format;
    icd_map map; /**< of the file; empty when read from memory */
    const unsigned char *bytes;
    size_t size;
    char *place;  /**< how errors name the trace */
    char *wanted; /**< axis that the caller asked for; NULL: the only one */
    char *axis;   /**< axis of the events; NULL: unnamed */
    int64_t n, first, limit;
    int64_t seen;  /**< events passed so far, skipped ones included */
    int64_t taken; /**< events given to the caller */
    uint64_t frame;
    const char *unit; /**< what `at` counts: "line", "row", "byte" */
    int64_t at;       /**< where the event stands, for messages */
    bool warned_self; /**< a pair of an index with itself was dropped and reported */
    void *state;
};

/** icd_trace_open from bytes that outlive the reader. */
icd_status icd_i_trace_open_memory(icd_ctx *ctx, const void *bytes, size_t size,
                                   const char *place, const icd_trace_opts *opts,
                                   icd_trace_reader **out);

/** "FILE: line 7", from reader->unit and reader->at. */
icd_spot icd_i_trace_spot(const icd_trace_reader *reader);

/** What several formats check alike. */
icd_status icd_i_trace_check_index(icd_trace_reader *reader, int64_t index);
icd_status icd_i_trace_check_weight(icd_trace_reader *reader, double weight);

/** Sorts a set in place; an index that stands twice or is out of range is an error. */
icd_status icd_i_trace_check_set(icd_trace_reader *reader, int32_t *index, int64_t count);

/** Says once that pairs of an index with itself are dropped. */
void icd_i_trace_warn_self(icd_trace_reader *reader);

#endif
