#include "kernels/level.h"

#define REF_ENTRY(name, args)    .name = icd_i_##name##_ref,
#define AVX2_ENTRY(name, args)   .name = icd_i_##name##_avx2,
#define AVX512_ENTRY(name, args) .name = icd_i_##name##_avx512,

static const icd_kernels REF = {.isa = ICD_ISA_REF, ICD_KERNELS(REF_ENTRY)};

#if defined(__x86_64__)
static const icd_kernels AVX2 = {.isa = ICD_ISA_AVX2, ICD_KERNELS(AVX2_ENTRY)};
static const icd_kernels VNNI = {.isa = ICD_ISA_VNNI, ICD_KERNELS(AVX512_ENTRY)};
/* All of AVX-512 but one entry. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"
static const icd_kernels AMX = {
    .isa = ICD_ISA_AMX, ICD_KERNELS(AVX512_ENTRY).tile_block = icd_i_tile_block_amx};
#pragma GCC diagnostic pop

const icd_kernels *icd_i_kernels(icd_isa isa)
{
    if (isa >= ICD_ISA_AMX) return &AMX;
    if (isa == ICD_ISA_VNNI) return &VNNI;
    return isa >= ICD_ISA_AVX2 ? &AVX2 : &REF;
}
#else
const icd_kernels *icd_i_kernels(icd_isa isa)
{
    (void)isa;
    return &REF;
}
#endif
