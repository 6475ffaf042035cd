/**
 * @file driver.h
 * The CUDA driver by its binary interface, loaded at run time: no CUDA header or library
 * is needed to build, no driver to start.
 */
#ifndef ICD_BASE_CUDA_DRIVER_H
#define ICD_BASE_CUDA_DRIVER_H

#include "base/mem.h"

typedef int icd_cu_result; /**< CUresult */
typedef int icd_cu_device;
typedef unsigned long long icd_cu_ptr; /**< CUdeviceptr */
typedef struct CUctx_st *icd_cu_context;
typedef struct CUstream_st *icd_cu_stream;
typedef struct CUevent_st *icd_cu_event;
typedef struct CUmod_st *icd_cu_module;
typedef struct CUfunc_st *icd_cu_function;
typedef struct CUgraph_st *icd_cu_graph;
typedef struct CUgraphExec_st *icd_cu_exec;

/** CUaccessPolicyWindow inside CUlaunchAttributeValue (64 bytes). */
typedef struct icd_cu_window {
    void *base;
    size_t bytes;
    float ratio;
    int hit, miss; /**< CUaccessProperty */
} icd_cu_window;
typedef union icd_cu_value {
    char room[64];
    icd_cu_window window;
} icd_cu_value;

/** CUresult */
enum {
    ICD_CU_OK = 0,
    ICD_CU_ENOMEM = 2,
    ICD_CU_NO_DEVICE = 100,
    ICD_CU_INVALID_DEVICE = 101,
    ICD_CU_INVALID_IMAGE = 200,
    ICD_CU_NO_BINARY = 209,
    ICD_CU_NOT_FOUND = 500
};

/** Every function that is used: X(member, symbol, parameters). */
#define ICD_CU_FUNCTIONS(X)                                                              \
    X(init, "cuInit", (unsigned))                                                        \
    X(version, "cuDriverGetVersion", (int *))                                            \
    X(error_string, "cuGetErrorString", (icd_cu_result, const char **))                  \
    X(device_count, "cuDeviceGetCount", (int *))                                         \
    X(device, "cuDeviceGet", (icd_cu_device *, int))                                     \
    X(device_name, "cuDeviceGetName", (char *, int, icd_cu_device))                      \
    X(device_memory, "cuDeviceTotalMem_v2", (size_t *, icd_cu_device))                   \
    X(attribute, "cuDeviceGetAttribute", (int *, int, icd_cu_device))                    \
    X(retain, "cuDevicePrimaryCtxRetain", (icd_cu_context *, icd_cu_device))             \
    X(give_back, "cuDevicePrimaryCtxRelease_v2", (icd_cu_device))                        \
    X(use, "cuCtxSetCurrent", (icd_cu_context))                                          \
    X(set_limit, "cuCtxSetLimit", (int, size_t))                                         \
    X(reset_l2, "cuCtxResetPersistingL2Cache", (void))                                   \
    X(profile_start, "cuProfilerStart", (void))                                          \
    X(profile_stop, "cuProfilerStop", (void))                                            \
    X(memory, "cuMemGetInfo_v2", (size_t *, size_t *))                                   \
    X(alloc, "cuMemAlloc_v2", (icd_cu_ptr *, size_t))                                    \
    X(free, "cuMemFree_v2", (icd_cu_ptr))                                                \
    X(upload, "cuMemcpyHtoDAsync_v2", (icd_cu_ptr, const void *, size_t, icd_cu_stream)) \
    X(download, "cuMemcpyDtoHAsync_v2", (void *, icd_cu_ptr, size_t, icd_cu_stream))     \
    X(copy, "cuMemcpyDtoDAsync_v2", (icd_cu_ptr, icd_cu_ptr, size_t, icd_cu_stream))     \
    X(fill, "cuMemsetD8Async", (icd_cu_ptr, unsigned char, size_t, icd_cu_stream))       \
    X(stream_new, "cuStreamCreate", (icd_cu_stream *, unsigned))                         \
    X(stream_free, "cuStreamDestroy_v2", (icd_cu_stream))                                \
    X(stream_sync, "cuStreamSynchronize", (icd_cu_stream))                               \
    X(stream_set, "cuStreamSetAttribute", (icd_cu_stream, int, const icd_cu_value *))    \
    X(capture, "cuStreamBeginCapture_v2", (icd_cu_stream, int))                          \
    X(capture_end, "cuStreamEndCapture", (icd_cu_stream, icd_cu_graph *))                \
    X(graph_free, "cuGraphDestroy", (icd_cu_graph))                                      \
    X(graph_make, "cuGraphInstantiateWithFlags",                                         \
      (icd_cu_exec *, icd_cu_graph, unsigned long long))                                 \
    X(graph_launch, "cuGraphLaunch", (icd_cu_exec, icd_cu_stream))                       \
    X(exec_free, "cuGraphExecDestroy", (icd_cu_exec))                                    \
    X(event_new, "cuEventCreate", (icd_cu_event *, unsigned))                            \
    X(event_free, "cuEventDestroy_v2", (icd_cu_event))                                   \
    X(event_record, "cuEventRecord", (icd_cu_event, icd_cu_stream))                      \
    X(event_sync, "cuEventSynchronize", (icd_cu_event))                                  \
    X(event_ms, "cuEventElapsedTime", (float *, icd_cu_event, icd_cu_event))             \
    X(module_load, "cuModuleLoadData", (icd_cu_module *, const void *))                  \
    X(module_free, "cuModuleUnload", (icd_cu_module))                                    \
    X(function, "cuModuleGetFunction", (icd_cu_function *, icd_cu_module, const char *)) \
    X(function_set, "cuFuncSetAttribute", (icd_cu_function, int, int))                   \
    X(occupancy, "cuOccupancyMaxActiveBlocksPerMultiprocessor",                          \
      (int *, icd_cu_function, int, size_t))                                             \
    X(launch, "cuLaunchKernel",                                                          \
      (icd_cu_function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,      \
       unsigned, icd_cu_stream, void **, void **))

typedef struct icd_cu {
    void *library;
#define ICD_CU_MEMBER(name, symbol, args) icd_cu_result(*name) args;
    ICD_CU_FUNCTIONS(ICD_CU_MEMBER)
#undef ICD_CU_MEMBER
} icd_cu;

/**
 * Loads the driver and its functions, and starts it.
 * @param library [in] NULL: libcuda.so.1
 * @return ICD_OK | ICD_EUNSUPPORTED not there, a function missing (too old), or it does
 * not start
 */
icd_status icd_i_cu_load(icd_ctx *ctx, const char *library, icd_cu *out);
void icd_i_cu_unload(icd_cu *cu);

/** Fails with the driver's own words. @param doing [in] "launch of tile_bf16" */
icd_status icd_i_cu_fail(icd_ctx *ctx, const icd_cu *cu, icd_cu_result result,
                         const char *doing);

#endif
