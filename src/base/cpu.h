/**
 * @file cpu.h
 * What this CPU can do, as far as the kernels ask.
 */
#ifndef ICD_BASE_CPU_H
#define ICD_BASE_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum icd_isa {
    ICD_ISA_REF = 0,
    ICD_ISA_AVX2,
    ICD_ISA_AVX512,
    ICD_ISA_VNNI,
    ICD_ISA_AMX,
    ICD_ISA_COUNT
} icd_isa;

/**
 * True where CPU and operating system support the level. AVX2: AVX2 and FMA; AVX512: F,
 * BW, VL and DQ; VNNI: those and AVX512-VNNI; AMX: those and
 * AMX-TILE and AMX-INT8. Tiles are memory that Linux lends a process when it asks, so the
 * question whether there is AMX asks for them.
 */
bool icd_i_cpu_has(icd_isa isa);

/** The best level this CPU has. */
icd_isa icd_i_cpu_best(void);
const char *icd_i_isa_name(icd_isa isa);

/** Model name from the system, "unknown" otherwise. */
void icd_i_cpu_model(char *out, size_t size);

/** CPUs that this process may run on. */
int32_t icd_i_cpu_count(void);

/** Cache size in bytes of level 1 (data), 2 or 3; 0: unknown. */
int64_t icd_i_cpu_cache(int level);

#endif
