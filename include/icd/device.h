/**
 * @file device.h
 * One NVIDIA GPU: memory, ordered work, time, and what happens to its L2 cache.
 *
 * The driver is loaded when a device is opened, by the name of its library, so that
 * programs start on machines without one. Work on a device runs in the order in which it
 * was asked for. Nothing here changes clocks, power or persistence mode.
 */
#ifndef ICD_DEVICE_H
#define ICD_DEVICE_H

#include <icd/ctx.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct icd_device icd_device;

/** A place in device memory; never dereferenced by the host. {0}: none. */
typedef struct icd_dptr {
    uint64_t at;
} icd_dptr;

/** `bytes` behind a place. */
static inline icd_dptr icd_dptr_add(icd_dptr p, int64_t bytes)
{
    icd_dptr moved = {p.at + (uint64_t)bytes};
    return moved;
}

/** Zeroed = defaults. */
typedef struct icd_device_opts {
    size_t size;
    const char *driver; /**< library of the CUDA driver; NULL: libcuda.so.1 */
    int32_t ordinal;    /**< which device */
} icd_device_opts;

typedef struct icd_device_info {
    char name[128];
    int32_t major, minor; /**< compute capability */
    int32_t multiprocessors;
    int32_t driver;       /**< 1000 * major + 10 * minor */
    int64_t memory;       /**< bytes */
    int64_t shared_block; /**< shared memory that one block may ask for, bytes */
    int64_t l2;           /**< bytes of the L2 cache */
    int64_t l2_pinnable;  /**< of these, most that may be set aside; 0: none */
    int64_t l2_window;    /**< largest range that icd_device_pin takes */
} icd_device_info;

/**
 * Opens a device. Several handles to one device share its context and have each their
 * own order of work.
 * @param opts [in] NULL: defaults
 * @param out  [out] icd_device_close; NULL on error
 * @return ICD_OK | ICD_EUNSUPPORTED no driver, one that is too old, no such device, or
 * one older than compute capability 8.0 | ICD_ENOMEM
 */
icd_status icd_device_open(icd_ctx *ctx, const icd_device_opts *opts, icd_device **out);

/** Waits for the work asked for, frees the handle and every allocation made with it;
 * NULL is legal. */
void icd_device_close(icd_ctx *ctx, icd_device *device);

void icd_device_get_info(const icd_device *device, icd_device_info *out);

/** Bytes that are free on the device now. */
icd_status icd_device_free_bytes(icd_ctx *ctx, icd_device *device, int64_t *out);

/**
 * Device memory, 256-byte aligned, not initialised.
 * @param what [in] for the message: "weights of layer.3.ffn.up"
 * @return ICD_OK | ICD_ENOMEM naming what, how much and how much is free | ICD_EINVAL
 */
icd_status icd_device_alloc(icd_ctx *ctx, icd_device *device, int64_t bytes,
                            const char *what, icd_dptr *out);

/** Gives memory back after the work asked for; {0} is legal. */
void icd_device_release(icd_ctx *ctx, icd_device *device, icd_dptr at);

/** Bytes allocated through this handle, now and at most. */
void icd_device_use(const icd_device *device, int64_t *now, int64_t *most);

/** Host to device; `from` may be changed on return. */
icd_status icd_device_upload(icd_ctx *ctx, icd_device *device, icd_dptr to,
                             const void *from, int64_t bytes);

/** Device to host; waits. */
icd_status icd_device_download(icd_ctx *ctx, icd_device *device, void *to, icd_dptr from,
                               int64_t bytes);

/** Device to device, in the order of work. */
icd_status icd_device_copy(icd_ctx *ctx, icd_device *device, icd_dptr to, icd_dptr from,
                           int64_t bytes);

/** Sets every byte, in the order of work. */
icd_status icd_device_fill(icd_ctx *ctx, icd_device *device, icd_dptr to, int value,
                           int64_t bytes);

/** Waits for everything asked for; reports an error of any kernel among it. */
icd_status icd_device_sync(icd_ctx *ctx, icd_device *device);

/** Device time between two points in the order of work. */
typedef struct icd_timer icd_timer;
icd_status icd_timer_new(icd_ctx *ctx, icd_device *device, icd_timer **out);
void icd_timer_free(icd_ctx *ctx, icd_timer *timer);
icd_status icd_timer_start(icd_ctx *ctx, icd_timer *timer);
icd_status icd_timer_stop(icd_ctx *ctx, icd_timer *timer);

/** Waits for the stop. @param out [out] milliseconds, resolution about 0.5 us */
icd_status icd_timer_ms(icd_ctx *ctx, icd_timer *timer, double *out);

/** Work recorded once and replayed with one call. */
typedef struct icd_device_graph icd_device_graph;

/** From here on work is recorded, not done; icd_device_sync, uploads and downloads are
 * errors until the end. */
icd_status icd_device_record(icd_ctx *ctx, icd_device *device);

/** @param out [out] icd_device_graph_free; NULL on error, and then nothing is recorded
 * any more. NULL: what was recorded is dropped. */
icd_status icd_device_record_end(icd_ctx *ctx, icd_device *device,
                                 icd_device_graph **out);
icd_status icd_device_replay(icd_ctx *ctx, icd_device *device,
                             const icd_device_graph *graph);
void icd_device_graph_free(icd_ctx *ctx, icd_device_graph *graph);

/** Fills the L2 cache with other data: writes twice its size. The first call allocates
 * that. */
icd_status icd_device_flush_l2(icd_ctx *ctx, icd_device *device);

/**
 * Begins or ends the range that a profiler looks at which was told not to look from the
 * start (`ncu --profile-from-start off`). Waits for the work so far; no profiler: nothing
 * happens.
 */
icd_status icd_device_profile(icd_ctx *ctx, icd_device *device, bool on);

/**
 * Later kernels keep the lines of this range in the part of the L2 that is set aside
 * (access-policy window). A range larger than that part gets a share of its lines, chosen
 * by the hardware.
 * @param bytes [in] 0: no range any more, and the part is given back
 * @return ICD_OK | ICD_EUNSUPPORTED the device sets nothing aside | ICD_EINVAL larger
 * than info.l2_window
 */
icd_status icd_device_pin(icd_ctx *ctx, icd_device *device, icd_dptr at, int64_t bytes);

#ifdef __cplusplus
}
#endif
#endif
