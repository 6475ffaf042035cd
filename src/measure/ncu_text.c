#include "measure/ncu_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const icd_ncu_refusal REFUSAL[] = {
    {"ERR_NVGPUCTRPERM",
     "the driver keeps the GPU's performance counters to administrators",
     "sudo sh -c 'echo options nvidia NVreg_RestrictProfilingToAdminUsers=0 > "
     "/etc/modprobe.d/nvidia-profiling.conf', then reboot; or run as root; in a "
     "container: docker run --cap-add SYS_ADMIN"},
    {"driver resource was unavailable",
     "another tool holds the GPU's performance counters",
     "dcgmi profile --pause, or stop whatever else profiles this GPU"},
    {"LibraryNotLoaded", "the profiler's library cannot be loaded on this machine",
     "run outside of gVisor or another sandbox; reinstall Nsight Compute"},
    {"No kernels were profiled", "the command ran no kernel on the GPU",
     "profile an arm that runs on the GPU; check meter.nvtx"},
    {"No CUDA devices", "there is no CUDA device",
     "a machine with an NVIDIA GPU; in a container: docker run --gpus all"},
    {"is not supported", "ncu does not support this GPU or driver",
     "an Nsight Compute that belongs to the driver"},
};

const icd_ncu_refusal *icd_i_ncu_refusal_permission(void)
{
    return &REFUSAL[0];
}

/* Only ncu's own lines: the program may print anything. */
static bool is_said(const char *text, const char *sign)
{
    for (const char *at = strstr(text, sign); at; at = strstr(at + 1, sign)) {
        const char *line = at;
        while (line > text && line[-1] != '\n') line--;
        if (strncmp(line, "==ERROR==", 9) == 0 || strncmp(line, "==WARNING==", 11) == 0)
            return true;
    }
    return false;
}

const icd_ncu_refusal *icd_i_ncu_refusal(const char *text)
{
    for (size_t i = 0; i < sizeof REFUSAL / sizeof REFUSAL[0]; i++)
        if (is_said(text, REFUSAL[i].sign)) return &REFUSAL[i];
    return NULL;
}

static void copy_to(const char *from, const char *stop, char *out, size_t size)
{
    size_t n = strcspn(from, stop);
    if (n >= size) n = size - 1;
    memcpy(out, from, n);
    out[n] = 0;
}

bool icd_i_ncu_version(const char *text, char *out, size_t size)
{
    static const char WORD[] = "Version ";
    const char *at = strstr(text, WORD);
    *out = 0;
    if (at) copy_to(at + sizeof WORD - 1, " \r\n", out, size);
    return *out != 0;
}

void icd_i_ncu_error(const char *text, char *out, size_t size)
{
    static const char MARK[] = "==ERROR== ";
    const char *at = strstr(text, MARK);
    *out = 0;
    if (at) copy_to(at + sizeof MARK - 1, "\r\n", out, size);
}

/* Behind the kernel's name, which stands in quotes and may hold anything. */
static int64_t passes_of(const char *line, const char *end)
{
    static const char AFTER[] = "replay pass ";
    const char *from = line;
    for (const char *at = line; at < end; at++)
        if (*at == '"') from = at;
    for (const char *at = from; at < end; at++) {
        if (strncmp(at, AFTER, sizeof AFTER - 1) == 0)
            return strtoll(at + sizeof AFTER - 1, NULL, 10);
        if (strncmp(at, " - ", 3) != 0) continue;
        char *rest = NULL;
        int64_t n = strtoll(at + 3, &rest, 10);
        if (rest != at + 3 && strncmp(rest, " pass", 5) == 0) return n;
    }
    return 0;
}

int64_t icd_i_ncu_passes(const char *text)
{
    int64_t most = 1;
    while (*text) {
        const char *end = text + strcspn(text, "\n");
        int64_t n = strncmp(text, "==PROF==", 8) == 0 ? passes_of(text, end) : 0;
        if (n > most) most = n;
        text = *end ? end + 1 : end;
    }
    return most;
}
