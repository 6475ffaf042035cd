/**
 * @file access.h
 * Access sets: which indices of an axis one event touches; the form every trace is read
 * into.
 */
#ifndef ICD_ACCESS_H
#define ICD_ACCESS_H

#include <icd/csr.h>
#include <icd/ctx.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Events in the order of the trace; indices of an event ascend and are distinct. */
typedef struct icd_access {
    int64_t n; /**< size of the index space */
    int64_t events;
    int64_t *event_ptr; /**< events + 1 */
    int32_t *index;     /**< event_ptr[events] */
    float *weight;      /**< per event, >= 0; NULL: all 1 */
    uint64_t frame;     /**< frame of the indices */
    char *axis;         /**< name of the axis; NULL: unnamed */
} icd_access;

/** What one step of a reader yields. */
typedef enum icd_trace_kind { ICD_TRACE_SET, ICD_TRACE_PAIR } icd_trace_kind;

/** A view, valid until the next step. PAIR: count is 2, index = {src, dst}, never equal.
 */
typedef struct icd_trace_item {
    icd_trace_kind kind;
    double t;             /**< time stamp of the trace; -1: none */
    const int32_t *index; /**< SET: ascending, distinct */
    int64_t count;
    float weight;
} icd_trace_item;

typedef struct icd_trace_reader icd_trace_reader;

/** Zeroed = defaults. */
typedef struct icd_trace_opts {
    size_t size;
    const char *
        axis; /**< take this axis only; NULL: the only one there is (several: an error) */
    int64_t n; /**< size of the index space for formats that do not state it; 0: stated */
    int64_t first; /**< first event to take */
    int64_t limit; /**< events to take at most; 0: all */
} icd_trace_opts;

/**
 * Opens a trace. Formats, told by their content: ICD binary trace (.icdt), JSON Lines of
 * {"t","axis","set":[..],"w"} or {"t","src","dst","w"} (a first line {"axis","n"} may
 * state n), CSV/TSV pairs `src,dst[,w]` (header line allowed), MatrixMarket (rectangular
 * = events x indices as sets; square symmetric = pairs), SciPy CSR (rows = events; square
 * symmetric = pairs only with the symmetric pattern AND values, else events).
 * @param out [out] owned by the caller (icd_trace_close); NULL on error
 * @return ICD_OK | ICD_EIO | ICD_EDATA | ICD_EINVAL (E_CFG_001) when n is neither stated
 * nor given
 */
icd_status icd_trace_open(icd_ctx *ctx, const char *path, const icd_trace_opts *opts,
                          icd_trace_reader **out);

/** Size of the index space. */
int64_t icd_trace_n(const icd_trace_reader *reader);

/** Name of the axis; "" where the trace names none. */
const char *icd_trace_axis(const icd_trace_reader *reader);

/** Frame of the indices; formats that name none: the checkpoint's. */
uint64_t icd_trace_frame(const icd_trace_reader *reader);

/**
 * The next item.
 * @param item [out] a view; count = -1 at the end
 * @return ICD_OK | ICD_EDATA naming file and line or byte, found and expected | ICD_EIO
 * @cost memory bounded by the largest event or chunk
 */
icd_status icd_trace_next(icd_ctx *ctx, icd_trace_reader *reader, icd_trace_item *item);

void icd_trace_close(icd_ctx *ctx, icd_trace_reader *reader);

/**
 * Reads a whole trace of access sets into memory.
 * @return as icd_trace_open and icd_trace_next; ICD_EINVAL when the trace holds pairs
 */
icd_status icd_access_read(icd_ctx *ctx, const char *path, const icd_trace_opts *opts,
                           icd_access **out);

/** Writes access sets as an ICD binary trace, axis and frame with them; atomic. */
icd_status icd_access_write(icd_ctx *ctx, const icd_access *a, const char *path);

/** Events [first, first + count) as a set of their own (a copy). */
icd_status icd_access_slice(icd_ctx *ctx, const icd_access *a, int64_t first,
                            int64_t count, icd_access **out);

void icd_access_free(icd_ctx *ctx, icd_access *a);

/** Full validity of access sets built by the caller. */
icd_status icd_access_check(icd_ctx *ctx, const icd_access *a, const char *place);

/** f_i = sum of the weights of the events that touch i; `freq` holds a->n entries. */
void icd_access_frequency(const icd_access *a, double *freq);

typedef struct icd_trace_writer icd_trace_writer;

/**
 * Starts an ICD binary trace (docs/formats.md): chunks of delta-coded events, zstd, one
 * checksum each, an index at the end. Nothing appears under `path` before
 * icd_trace_writer_close.
 */
icd_status icd_trace_writer_open(icd_ctx *ctx, const char *path, const char *axis,
                                 int64_t n, icd_trace_writer **out);

/** Appends one access set (ascending, distinct). */
icd_status icd_trace_writer_add(icd_ctx *ctx, icd_trace_writer *writer,
                                const int32_t *index, int64_t count, float weight);

/** Finishes and publishes the file (`publish`), or drops it; frees the writer either way.
 */
icd_status icd_trace_writer_close(icd_ctx *ctx, icd_trace_writer *writer, bool publish);

#ifdef __cplusplus
}
#endif
#endif
