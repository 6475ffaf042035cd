/* A CUDA driver without a GPU: memory is the host's, kernels run in the emulator, graphs
 * are lists of launches. */
#include "driver.h"
#include "emulate.h"
extern "C" {
#include "libraries.h"
}

#include <stdlib.h>
#include <functional>
#include <map>
#include <string>
#include <vector>

#define API extern "C" __attribute__((visibility("default")))

namespace {

enum { OK = 0, INVALID = 1, NO_MEMORY = 2, NO_DEVICE = 100, NOT_FOUND = 500, CAPTURE = 900 };

fake_cuda_state state;
size_t used;
std::map<uintptr_t, size_t> blocks;

typedef std::function<void()> work;
struct stream {
    bool recording;
    std::vector<work> recorded;
};
struct graph {
    std::vector<work> list;
};
struct function {
    std::string name;
    size_t shared;
};

void reset()
{
    state = fake_cuda_state();
    state.memory = (size_t)1 << 30;
    state.devices = 1;
    state.major = 9;
    state.processors = 4;
    state.pinnable = 1 << 20;
    state.product_ms = 1;
}
const bool started = (reset(), true);

int told(const char *symbol)
{
    if (!state.fail || strcmp(state.fail, symbol)) return OK;
    return state.fail_after-- > 0 ? OK : state.fail_with;
}

void run(stream *s, const work &w)
{
    if (s->recording)
        s->recorded.push_back(w);
    else
        w();
}

} // namespace

bool emu_is_global(const void *p, size_t bytes)
{
    uintptr_t at = (uintptr_t)p;
    auto after = blocks.upper_bound(at);
    if (after == blocks.begin()) return false;
    --after;
    return at + bytes <= after->first + after->second;
}

bool emu_is_wrong()
{
    return state.wrong != 0;
}

bool emu_has_fp8()
{
    return state.major >= 9;
}

#define TOLD(symbol)                                                                     \
    do {                                                                                 \
        int result = told(symbol);                                                       \
        if (result != OK) return result;                                                 \
    } while (0)

API fake_cuda_state *fake_cuda(void)
{
    return &state;
}

API int cuInit(unsigned)
{
    TOLD("cuInit");
    return state.devices ? OK : NO_DEVICE;
}
API int cuDriverGetVersion(int *v)
{
    *v = 13000;
    return OK;
}
API int cuGetErrorString(int result, const char **text)
{
    *text = result == NO_MEMORY ? "out of memory" : result == NO_DEVICE ? "no CUDA-capable device is detected" : "fake error";
    return OK;
}
API int cuDeviceGetCount(int *n)
{
    *n = state.devices;
    return OK;
}
API int cuDeviceGet(int *d, int ordinal)
{
    *d = ordinal;
    return OK;
}
API int cuDeviceGetName(char *name, int n, int)
{
    strncpy(name, "Fake GPU (emulated)", (size_t)n);
    return OK;
}
API int cuDeviceTotalMem_v2(size_t *bytes, int)
{
    *bytes = state.memory;
    return OK;
}
API int cuDeviceGetAttribute(int *v, int which, int)
{
    TOLD("cuDeviceGetAttribute");
    static const std::map<int, int> value = {{38, 4 << 20}, {76, 0}, {97, 232448}, {109, 1 << 27}};
    *v = which == 75 ? state.major : which == 16 ? state.processors : which == 108 ? state.pinnable : value.count(which) ? value.at(which) : 0;
    return OK;
}
API int cuDevicePrimaryCtxRetain(void **c, int)
{
    TOLD("cuDevicePrimaryCtxRetain");
    state.contexts++;
    *c = &state;
    return OK;
}
API int cuDevicePrimaryCtxRelease_v2(int)
{
    state.contexts--;
    return OK;
}
API int cuCtxSetCurrent(void *)
{
    return OK;
}
API int cuCtxSetLimit(int, size_t)
{
    TOLD("cuCtxSetLimit");
    return OK;
}
API int cuCtxResetPersistingL2Cache(void)
{
    return OK;
}
API int cuProfilerStart(void)
{
    TOLD("cuProfilerStart");
    return OK;
}
API int cuProfilerStop(void)
{
    TOLD("cuProfilerStop");
    return OK;
}
API int cuMemGetInfo_v2(size_t *left, size_t *all)
{
    *left = state.memory - used;
    *all = state.memory;
    return OK;
}
API int cuMemAlloc_v2(unsigned long long *at, size_t bytes)
{
    TOLD("cuMemAlloc_v2");
    if (bytes > state.memory - used) return NO_MEMORY;
    void *p = nullptr;
    if (posix_memalign(&p, 256, bytes)) return NO_MEMORY;
    memset(p, 0xff, bytes); /* NaN: nobody may rely on zeros */
    blocks[(uintptr_t)p] = bytes;
    used += bytes;
    state.allocations++;
    *at = (uintptr_t)p;
    return OK;
}
API int cuMemFree_v2(unsigned long long at)
{
    if (!blocks.count((uintptr_t)at)) return INVALID;
    used -= blocks[(uintptr_t)at];
    blocks.erase((uintptr_t)at);
    state.allocations--;
    free((void *)at);
    return OK;
}
API int cuMemcpyHtoDAsync_v2(unsigned long long to, const void *from, size_t n, stream *s)
{
    TOLD("cuMemcpyHtoDAsync_v2");
    if (s->recording) return CAPTURE;
    if (!emu_is_global((void *)to, n)) return INVALID;
    memcpy((void *)to, from, n);
    state.copies++;
    return OK;
}
API int cuMemcpyDtoHAsync_v2(void *to, unsigned long long from, size_t n, stream *s)
{
    TOLD("cuMemcpyDtoHAsync_v2");
    if (s->recording) return CAPTURE;
    if (!emu_is_global((void *)from, n)) return INVALID;
    memcpy(to, (void *)from, n);
    state.copies++;
    return OK;
}
API int cuMemcpyDtoDAsync_v2(unsigned long long to, unsigned long long from, size_t n, stream *s)
{
    if (!emu_is_global((void *)to, n) || !emu_is_global((void *)from, n)) return INVALID;
    run(s, [=] { memmove((void *)to, (void *)from, n); });
    return OK;
}
API int cuMemsetD8Async(unsigned long long to, unsigned char v, size_t n, stream *s)
{
    TOLD("cuMemsetD8Async");
    if (!emu_is_global((void *)to, n)) return INVALID;
    run(s, [=] { memset((void *)to, v, n); });
    return OK;
}
API int cuStreamCreate(stream **s, unsigned)
{
    TOLD("cuStreamCreate");
    *s = new stream();
    state.streams++;
    return OK;
}
API int cuStreamDestroy_v2(stream *s)
{
    delete s;
    state.streams--;
    return OK;
}
API int cuStreamSynchronize(stream *s)
{
    TOLD("cuStreamSynchronize");
    return s->recording ? (int)CAPTURE : (int)OK;
}
API int cuStreamSetAttribute(stream *, int, const void *value)
{
    TOLD("cuStreamSetAttribute");
    memcpy(&state.pinned, (const char *)value + sizeof(void *), sizeof state.pinned);
    return OK;
}
API int cuStreamBeginCapture_v2(stream *s, int)
{
    TOLD("cuStreamBeginCapture_v2");
    s->recording = true;
    return OK;
}
API int cuStreamEndCapture(stream *s, graph **out)
{
    *out = new graph{s->recorded};
    s->recorded.clear();
    s->recording = false;
    state.graphs++;
    TOLD("cuStreamEndCapture");
    return OK;
}
API int cuGraphDestroy(graph *g)
{
    delete g;
    state.graphs--;
    return OK;
}
API int cuGraphInstantiateWithFlags(graph **exec, graph *g, unsigned long long)
{
    TOLD("cuGraphInstantiateWithFlags");
    *exec = new graph(*g);
    state.graphs++;
    return OK;
}
API int cuGraphLaunch(graph *g, stream *)
{
    TOLD("cuGraphLaunch");
    state.replays++;
    for (const work &w : g->list) w();
    return OK;
}
API int cuGraphExecDestroy(graph *g)
{
    return cuGraphDestroy(g);
}
API int cuEventCreate(double **e, unsigned)
{
    TOLD("cuEventCreate");
    *e = new double(0);
    state.events++;
    return OK;
}
API int cuEventDestroy_v2(double *e)
{
    delete e;
    state.events--;
    return OK;
}
API int cuEventRecord(double *e, stream *s)
{
    TOLD("cuEventRecord");
    run(s, [=] { *e = state.clock; });
    return OK;
}
API int cuEventSynchronize(double *)
{
    return OK;
}
API int cuEventElapsedTime(float *ms, double *from, double *to)
{
    *ms = (float)(*to - *from);
    return OK;
}
API int cuModuleLoadData(void **out, const void *)
{
    TOLD("cuModuleLoadData");
    state.modules++;
    *out = new std::vector<function *>();
    return OK;
}
API int cuModuleUnload(std::vector<function *> *module)
{
    for (function *f : *module) delete f;
    delete module;
    state.modules--;
    return OK;
}
API int cuModuleGetFunction(function **f, std::vector<function *> *module, const char *name)
{
    TOLD("cuModuleGetFunction");
    if (!emu_find(name).fn) return NOT_FOUND;
    *f = new function{name, 0};
    module->push_back(*f);
    return OK;
}
API int cuFuncSetAttribute(function *f, int which, int value)
{
    if (which == 8) f->shared = (size_t)value;
    return OK;
}
/* Shared memory and threads alone decide: nobody counts registers here. */
API int cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, function *, int threads,
                                                    size_t shared)
{
    TOLD("cuOccupancyMaxActiveBlocksPerMultiprocessor");
    int by_shared = shared ? (int)(232448 / shared) : 32, by_threads = 1024 / threads;
    *blocks = by_shared < by_threads ? by_shared : by_threads;
    return OK;
}

static bool is_product(const std::string &name)
{
    return name.find("icd_tile") == 0 || name.find("icd_gather") == 0 ||
           name.find("icd_decode") == 0;
}

/* Parameters are copied at the launch, as the driver does. */
static work launch_of(const emu_found &kernel, unsigned grid, unsigned threads,
                      unsigned shared, const void *params)
{
    const unsigned char *bytes = (const unsigned char *)params;
    std::vector<unsigned char> copy(bytes, bytes + kernel.params);
    const double ms = is_product(kernel.name) ? state.product_ms : 1;
    return [=] {
        emu_launch(kernel.fn, grid, threads, shared, copy.data());
        state.launches++;
        state.clock += ms;
    };
}

API int cuLaunchKernel(function *f, unsigned gx, unsigned, unsigned, unsigned bx, unsigned,
                       unsigned, unsigned shared, stream *s, void **params, void **)
{
    TOLD("cuLaunchKernel");
    emu_found kernel = emu_find(f->name.c_str());
    if (gx == 0 || (int)bx > kernel.threads || shared > (f->shared > 49152 ? f->shared : 49152))
        return INVALID;
    run(s, launch_of(kernel, gx, bx, shared, params[0]));
    return OK;
}

extern "C" __attribute__((visibility("default"))) void
fake_cuda_enqueue(void *s, void (*fn)(const void *), const void *data, unsigned long bytes,
                  double ms)
{
    const unsigned char *from = (const unsigned char *)data;
    std::vector<unsigned char> copy(from, from + bytes);
    run((stream *)s, [=] {
        fn(copy.data());
        state.launches++;
        state.clock += ms;
    });
}

extern "C" __attribute__((visibility("default"))) int fake_cuda_holds(const void *at,
                                                                       unsigned long bytes)
{
    return emu_is_global(at, bytes);
}
