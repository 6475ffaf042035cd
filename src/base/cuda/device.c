#include "base/cuda/device.h"

#include <stdio.h>
#include <string.h>

/* CUdevice_attribute */
enum {
    MULTIPROCESSORS = 16,
    L2_BYTES = 38,
    MAJOR = 75,
    MINOR = 76,
    SHARED_BLOCK = 97,
    L2_PINNABLE = 108,
    L2_WINDOW = 109
};
/* CUstream_flags, CUlimit, CUstreamCaptureMode, CUlaunchAttributeID, CUaccessProperty,
 * CUfunction_attribute */
enum {
    NON_BLOCKING = 1,
    LIMIT_PINNED_L2 = 6,
    CAPTURE_THREAD = 1,
    POLICY_WINDOW = 1,
    NORMAL = 0,
    STREAMING = 1,
    PERSISTING = 2,
    MAX_DYNAMIC_SHARED = 8
};
enum { MODULES = 16 };

typedef struct allocation {
    icd_cu_ptr at;
    int64_t bytes;
} allocation;

struct icd_device {
    icd_cu cu;
    icd_cu_device id;
    icd_cu_context context;
    icd_cu_stream stream;
    icd_device_info info;
    allocation *held;
    int64_t count, capacity;
    int64_t use_now, use_most;
    icd_cu_module module[MODULES];
    int32_t modules;
    icd_dptr other; /* what the L2 is filled with to flush it */
    int flush_value;
    bool recording;
};

struct icd_timer {
    icd_device *device;
    icd_cu_event start, stop;
};

struct icd_device_graph {
    icd_device *device;
    icd_cu_exec exec;
};

/* Every call of the driver goes through here: its context made current, its result
 * checked. */
#define CALL(ctx, d, doing, fn, ...)                                                     \
    checked((ctx), (d),                                                                  \
            (d)->cu.use((d)->context) == ICD_CU_OK ? (d)->cu.fn(__VA_ARGS__) : -1,       \
            (doing))

static icd_status checked(icd_ctx *ctx, const icd_device *d, icd_cu_result result,
                          const char *doing)
{
    return result == ICD_CU_OK ? ICD_OK : icd_i_cu_fail(ctx, &d->cu, result, doing);
}

static icd_status pick(icd_ctx *ctx, icd_device *d, int32_t ordinal)
{
    int count = 0;
    icd_status status = checked(ctx, d, d->cu.device_count(&count), "count of GPUs");
    if (status != ICD_OK) return status;
    if (ordinal < 0 || ordinal >= count)
        return icd_i_fail(ctx, ICD_EUNSUPPORTED, "CUDA", "see what `nvidia-smi` lists",
                          "found %d GPUs, none has the number %d", count, ordinal);
    return checked(ctx, d, d->cu.device(&d->id, ordinal), "choice of the GPU");
}

static icd_status read_int32(icd_ctx *ctx, icd_device *d, int which, int32_t *out)
{
    int value = 0;
    icd_status status =
        checked(ctx, d, d->cu.attribute(&value, which, d->id), "reading an attribute");
    *out = value;
    return status;
}

static icd_status read_int64(icd_ctx *ctx, icd_device *d, int which, int64_t *out)
{
    int32_t value = 0;
    icd_status status = read_int32(ctx, d, which, &value);
    *out = value;
    return status;
}

static icd_status read_info(icd_ctx *ctx, icd_device *d)
{
    icd_status status = ICD_OK;
    icd_device_info *info = &d->info;
    size_t memory = 0;
    ICD_TRY(checked(ctx, d, d->cu.device_name(info->name, (int)sizeof info->name, d->id),
                    "reading the GPU's name"));
    ICD_TRY(checked(ctx, d, d->cu.device_memory(&memory, d->id), "reading its memory"));
    ICD_TRY(checked(ctx, d, d->cu.version(&info->driver), "reading its driver"));
    info->memory = (int64_t)memory;
    ICD_TRY(read_int32(ctx, d, MAJOR, &info->major));
    ICD_TRY(read_int32(ctx, d, MINOR, &info->minor));
    ICD_TRY(read_int32(ctx, d, MULTIPROCESSORS, &info->multiprocessors));
    ICD_TRY(read_int64(ctx, d, SHARED_BLOCK, &info->shared_block));
    ICD_TRY(read_int64(ctx, d, L2_BYTES, &info->l2));
    ICD_TRY(read_int64(ctx, d, L2_PINNABLE, &info->l2_pinnable));
    ICD_TRY(read_int64(ctx, d, L2_WINDOW, &info->l2_window));
    if (info->major < 8)
        status = icd_i_fail(ctx, ICD_EUNSUPPORTED, info->name, NULL,
                            "found compute capability %d.%d, expected 8.0 or later",
                            info->major, info->minor);
done:
    return status;
}

icd_status icd_device_open(icd_ctx *ctx, const icd_device_opts *opts, icd_device **out)
{
    icd_status status = ICD_OK;
    icd_device *d = NULL;
    *out = NULL;
    ICD_TRY(ICD_ALLOC(ctx, 1, &d));
    ICD_TRY(icd_i_cu_load(ctx, opts ? opts->driver : NULL, &d->cu));
    ICD_TRY(pick(ctx, d, opts ? opts->ordinal : 0));
    ICD_TRY(read_info(ctx, d));
    ICD_TRY(checked(ctx, d, d->cu.retain(&d->context, d->id), "opening the GPU"));
    ICD_TRY(CALL(ctx, d, "making a stream", stream_new, &d->stream, NON_BLOCKING));
    *out = d;
    d = NULL;
done:
    icd_device_close(ctx, d);
    return status;
}

/* What cannot be given back is the driver's to clean up: nobody could act on a message.
 */
void icd_device_close(icd_ctx *ctx, icd_device *d)
{
    if (!d) return;
    if (d->context) (void)d->cu.use(d->context);
    if (d->stream) (void)d->cu.stream_sync(d->stream);
    for (int64_t i = 0; i < d->count; i++) (void)d->cu.free(d->held[i].at);
    for (int32_t i = 0; i < d->modules; i++) (void)d->cu.module_free(d->module[i]);
    if (d->stream) (void)d->cu.stream_free(d->stream);
    if (d->context) (void)d->cu.give_back(d->id);
    icd_i_cu_unload(&d->cu);
    icd_i_free(ctx, d->held);
    icd_i_free(ctx, d);
}

void icd_device_get_info(const icd_device *d, icd_device_info *out)
{
    *out = d->info;
}

const icd_cu *icd_i_device_cu(const icd_device *d)
{
    return &d->cu;
}

icd_cu_stream icd_i_device_stream(const icd_device *d)
{
    return d->stream;
}

icd_status icd_i_device_enter(icd_ctx *ctx, icd_device *d)
{
    return checked(ctx, d, d->cu.use(d->context), "entering the GPU's context");
}

icd_status icd_device_free_bytes(icd_ctx *ctx, icd_device *d, int64_t *out)
{
    size_t left = 0, all = 0;
    icd_status status = CALL(ctx, d, "reading free memory", memory, &left, &all);
    *out = (int64_t)left;
    return status;
}

static icd_status out_of_memory(icd_ctx *ctx, icd_device *d, int64_t bytes,
                                const char *what)
{
    int64_t left = 0;
    icd_status status = icd_device_free_bytes(ctx, d, &left);
    if (status != ICD_OK) return status;
    return icd_i_fail(
        ctx, ICD_ENOMEM, d->info.name,
        "use a smaller batch or shorter sequences, or end other programs on "
        "the GPU",
        "%s need %.1f MB of GPU memory, %.1f MB are free", what, (double)bytes / 1e6,
        (double)left / 1e6);
}

icd_status icd_device_alloc(icd_ctx *ctx, icd_device *d, int64_t bytes, const char *what,
                            icd_dptr *out)
{
    icd_cu_ptr at = 0;
    *out = (icd_dptr){0};
    if (bytes < 0)
        return icd_i_fail(ctx, ICD_EINVAL, what, NULL, "found a negative size");
    icd_status status =
        icd_i_grow(ctx, (void **)&d->held, &d->capacity, d->count + 1, sizeof *d->held);
    if (status != ICD_OK) return status;
    if (bytes == 0) bytes = 1;
    icd_cu_result result = d->cu.use(d->context);
    if (result == ICD_CU_OK) result = d->cu.alloc(&at, (size_t)bytes);
    if (result == ICD_CU_ENOMEM) return out_of_memory(ctx, d, bytes, what);
    if (result != ICD_CU_OK) return icd_i_cu_fail(ctx, &d->cu, result, "an allocation");
    d->held[d->count++] = (allocation){at, bytes};
    d->use_now += bytes;
    if (d->use_now > d->use_most) d->use_most = d->use_now;
    out->at = at;
    return ICD_OK;
}

void icd_device_release(icd_ctx *ctx, icd_device *d, icd_dptr at)
{
    (void)ctx;
    for (int64_t i = d->count - 1; at.at && i >= 0; i--) {
        if (d->held[i].at != at.at) continue;
        (void)d->cu.use(d->context);
        (void)d->cu.free(at.at); /* waits for the work that uses it */
        d->use_now -= d->held[i].bytes;
        d->held[i] = d->held[--d->count];
        return;
    }
}

void icd_device_use(const icd_device *d, int64_t *now, int64_t *most)
{
    *now = d->use_now;
    *most = d->use_most;
}

static icd_status refuse_recording(icd_ctx *ctx, const icd_device *d, const char *what)
{
    if (!d->recording) return ICD_OK;
    return icd_i_fail(ctx, ICD_EINVAL, "CUDA graph", NULL,
                      "%s is not possible while work is recorded", what);
}

icd_status icd_device_upload(icd_ctx *ctx, icd_device *d, icd_dptr to, const void *from,
                             int64_t bytes)
{
    icd_status status = refuse_recording(ctx, d, "an upload");
    if (status != ICD_OK || bytes == 0) return status;
    return CALL(ctx, d, "an upload", upload, to.at, from, (size_t)bytes, d->stream);
}

icd_status icd_device_download(icd_ctx *ctx, icd_device *d, void *to, icd_dptr from,
                               int64_t bytes)
{
    icd_status status = refuse_recording(ctx, d, "a download");
    if (status == ICD_OK && bytes > 0)
        status =
            CALL(ctx, d, "a download", download, to, from.at, (size_t)bytes, d->stream);
    return status == ICD_OK ? icd_device_sync(ctx, d) : status;
}

icd_status icd_device_copy(icd_ctx *ctx, icd_device *d, icd_dptr to, icd_dptr from,
                           int64_t bytes)
{
    if (bytes == 0) return ICD_OK;
    return CALL(ctx, d, "a copy", copy, to.at, from.at, (size_t)bytes, d->stream);
}

icd_status icd_device_fill(icd_ctx *ctx, icd_device *d, icd_dptr to, int value,
                           int64_t bytes)
{
    if (bytes == 0) return ICD_OK;
    return CALL(ctx, d, "filling memory", fill, to.at, (unsigned char)value,
                (size_t)bytes, d->stream);
}

icd_status icd_device_sync(icd_ctx *ctx, icd_device *d)
{
    icd_status status = refuse_recording(ctx, d, "waiting");
    if (status != ICD_OK) return status;
    return CALL(ctx, d, "the work on the GPU", stream_sync, d->stream);
}

icd_status icd_i_device_module(icd_ctx *ctx, icd_device *d, const void *image,
                               icd_cu_module *out)
{
    *out = NULL;
    if (d->modules == MODULES)
        return icd_i_fail(ctx, ICD_EINTERNAL, "CUDA", NULL, "too many modules");
    icd_status status = CALL(ctx, d, "loading the kernels", module_load, out, image);
    if (status == ICD_OK) d->module[d->modules++] = *out;
    return status;
}

icd_status icd_i_device_kernel(icd_ctx *ctx, icd_device *d, icd_cu_module module,
                               const char *name, int64_t shared, icd_gpu_kernel *out)
{
    *out = (icd_gpu_kernel){.name = name, .shared = shared};
    if (shared > d->info.shared_block)
        return icd_i_fail(ctx, ICD_EUNSUPPORTED, d->info.name, NULL,
                          "kernel %s needs %lld bytes of shared memory, found %lld", name,
                          (long long)shared, (long long)d->info.shared_block);
    icd_status status = CALL(ctx, d, name, function, &out->function, module, name);
    if (status != ICD_OK || shared == 0) return status;
    return CALL(ctx, d, name, function_set, out->function, MAX_DYNAMIC_SHARED,
                (int)shared);
}

icd_status icd_i_device_resident(icd_ctx *ctx, icd_device *d, const icd_gpu_kernel *k,
                                 int32_t threads, int32_t *out)
{
    int blocks = 0;
    icd_status status = CALL(ctx, d, k->name, occupancy, &blocks, k->function, threads,
                             (size_t)k->shared);
    *out = blocks > 0 ? blocks : 1;
    return status;
}

icd_status icd_i_device_launch(icd_ctx *ctx, icd_device *d, const icd_gpu_kernel *k,
                               int64_t blocks, int32_t threads, const void *params)
{
    void *list[1];
    memcpy(&list[0], &params, sizeof params);
    if (blocks == 0) return ICD_OK;
    if (blocks < 0 || blocks > INT32_MAX)
        return icd_i_fail(ctx, ICD_EINVAL, k->name, NULL,
                          "found %lld blocks, expected at most 2^31", (long long)blocks);
    return CALL(ctx, d, k->name, launch, k->function, (unsigned)blocks, 1, 1,
                (unsigned)threads, 1, 1, (unsigned)k->shared, d->stream, list, NULL);
}

icd_status icd_timer_new(icd_ctx *ctx, icd_device *d, icd_timer **out)
{
    icd_status status = ICD_OK;
    icd_timer *t = NULL;
    *out = NULL;
    ICD_TRY(ICD_ALLOC(ctx, 1, &t));
    t->device = d;
    ICD_TRY(CALL(ctx, d, "making an event", event_new, &t->start, 0));
    ICD_TRY(CALL(ctx, d, "making an event", event_new, &t->stop, 0));
    *out = t;
    t = NULL;
done:
    icd_timer_free(ctx, t);
    return status;
}

void icd_timer_free(icd_ctx *ctx, icd_timer *t)
{
    if (!t) return;
    (void)t->device->cu.use(t->device->context);
    if (t->start) (void)t->device->cu.event_free(t->start);
    if (t->stop) (void)t->device->cu.event_free(t->stop);
    icd_i_free(ctx, t);
}

icd_status icd_timer_start(icd_ctx *ctx, icd_timer *t)
{
    return CALL(ctx, t->device, "an event", event_record, t->start, t->device->stream);
}

icd_status icd_timer_stop(icd_ctx *ctx, icd_timer *t)
{
    return CALL(ctx, t->device, "an event", event_record, t->stop, t->device->stream);
}

icd_status icd_timer_ms(icd_ctx *ctx, icd_timer *t, double *out)
{
    float ms = 0;
    *out = 0;
    icd_status status = CALL(ctx, t->device, "waiting for an event", event_sync, t->stop);
    if (status == ICD_OK)
        status =
            CALL(ctx, t->device, "reading a timer", event_ms, &ms, t->start, t->stop);
    if (status == ICD_OK) *out = (double)ms;
    return status;
}

icd_status icd_device_record(icd_ctx *ctx, icd_device *d)
{
    icd_status status = refuse_recording(ctx, d, "recording");
    if (status == ICD_OK)
        status = CALL(ctx, d, "recording a graph", capture, d->stream, CAPTURE_THREAD);
    if (status == ICD_OK) d->recording = true;
    return status;
}

static icd_status instantiate(icd_ctx *ctx, icd_device *d, icd_cu_graph graph,
                              icd_device_graph **out)
{
    icd_device_graph *g = NULL;
    icd_status status = ICD_ALLOC(ctx, 1, &g);
    if (status != ICD_OK) return status;
    g->device = d;
    status = CALL(ctx, d, "making a graph", graph_make, &g->exec, graph, 0);
    if (status == ICD_OK)
        *out = g;
    else
        icd_i_free(ctx, g);
    return status;
}

icd_status icd_device_record_end(icd_ctx *ctx, icd_device *d, icd_device_graph **out)
{
    icd_cu_graph graph = NULL;
    if (out) *out = NULL;
    d->recording = false;
    icd_status status =
        CALL(ctx, d, "the end of a recording", capture_end, d->stream, &graph);
    if (status == ICD_OK && out) status = instantiate(ctx, d, graph, out);
    if (graph) (void)d->cu.graph_free(graph);
    return status;
}

icd_status icd_device_replay(icd_ctx *ctx, icd_device *d, const icd_device_graph *g)
{
    return CALL(ctx, d, "replaying a graph", graph_launch, g->exec, d->stream);
}

void icd_device_graph_free(icd_ctx *ctx, icd_device_graph *g)
{
    if (!g) return;
    (void)g->device->cu.use(g->device->context);
    (void)g->device->cu.exec_free(g->exec);
    icd_i_free(ctx, g);
}

icd_status icd_device_flush_l2(icd_ctx *ctx, icd_device *d)
{
    int64_t bytes = 2 * d->info.l2;
    if (!d->other.at) {
        icd_status status = icd_device_alloc(ctx, d, bytes, "the L2 flush", &d->other);
        if (status != ICD_OK) return status;
    }
    d->flush_value ^= 1;
    return icd_device_fill(ctx, d, d->other, d->flush_value, bytes);
}

icd_status icd_device_profile(icd_ctx *ctx, icd_device *d, bool on)
{
    icd_status status = icd_device_sync(ctx, d);
    if (status != ICD_OK) return status;
    return checked(ctx, d, on ? d->cu.profile_start() : d->cu.profile_stop(),
                   on ? "beginning a profiled range" : "ending a profiled range");
}

static icd_status unpin(icd_ctx *ctx, icd_device *d)
{
    icd_cu_value none = {.room = {0}};
    icd_status status = CALL(ctx, d, "ending a pinned range", stream_set, d->stream,
                             POLICY_WINDOW, &none);
    if (status == ICD_OK) status = icd_device_sync(ctx, d);
    if (status == ICD_OK)
        status = checked(ctx, d, d->cu.reset_l2(), "giving back pinned lines");
    return status;
}

static icd_status check_pin(icd_ctx *ctx, const icd_device *d, int64_t bytes)
{
    if (d->info.l2_pinnable == 0)
        return icd_i_fail(ctx, ICD_EUNSUPPORTED, d->info.name,
                          "set layout.l2_pin to false",
                          "this device (or its MIG slice) sets no part of its L2 aside");
    if (bytes < 0 || bytes > d->info.l2_window)
        return icd_i_fail(ctx, ICD_EINVAL, d->info.name, NULL,
                          "found a range of %lld bytes to pin, expected at most %lld",
                          (long long)bytes, (long long)d->info.l2_window);
    return ICD_OK;
}

icd_status icd_device_pin(icd_ctx *ctx, icd_device *d, icd_dptr at, int64_t bytes)
{
    icd_cu_value value = {.room = {0}};
    icd_status status = check_pin(ctx, d, bytes);
    if (status != ICD_OK) return status;
    if (bytes == 0) return unpin(ctx, d);
    int64_t room = bytes < d->info.l2_pinnable ? bytes : d->info.l2_pinnable;
    status = CALL(ctx, d, "setting L2 aside", set_limit, LIMIT_PINNED_L2, (size_t)room);
    if (status != ICD_OK) return status;
    memcpy(&value.window.base, &at.at, sizeof value.window.base);
    value.window.bytes = (size_t)bytes;
    value.window.ratio = (float)((double)room / (double)bytes);
    value.window.hit = PERSISTING;
    value.window.miss = STREAMING;
    return CALL(ctx, d, "pinning a range", stream_set, d->stream, POLICY_WINDOW, &value);
}
