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

#endif
