/**
 * @file level.h
 * Prototypes of every kernel on every level, from the one list.
 */
#ifndef ICD_KERNELS_LEVEL_H
#define ICD_KERNELS_LEVEL_H

#include "kernels/kernels.h"

#define ICD_KERNEL_PROTOTYPES(name, args)                                                \
    void icd_i_##name##_ref args;                                                        \
    void icd_i_##name##_avx2 args;                                                       \
    void icd_i_##name##_avx512 args;
ICD_KERNELS(ICD_KERNEL_PROTOTYPES)
#undef ICD_KERNEL_PROTOTYPES

/** The one kernel that AMX has of its own; it takes what stage_rows of AVX-512 makes. */
void icd_i_tile_block_amx(const uint8_t *a, int64_t slots, int64_t tokens,
                          const int32_t *live, const int32_t *at, int64_t count,
                          const int8_t *w, const int32_t *comp, int32_t vector,
                          int32_t *acc);

#endif
