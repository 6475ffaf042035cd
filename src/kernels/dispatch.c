#include "kernels/level.h"

#define ROW(level, isa_)                                                                 \
    static const icd_kernels level = {.isa = isa_, ICD_KERNELS(ENTRY)}

#define ENTRY(name, args) .name = icd_i_##name##_ref,
ROW(REF, ICD_ISA_REF);
#undef ENTRY
#define ENTRY(name, args) .name = icd_i_##name##_avx2,
ROW(AVX2, ICD_ISA_AVX2);
#undef ENTRY
#define ENTRY(name, args) .name = icd_i_##name##_avx512,
ROW(VNNI, ICD_ISA_VNNI);
#undef ENTRY

const icd_kernels *icd_i_kernels(icd_isa isa)
{
    if (isa >= ICD_ISA_VNNI) return &VNNI;
    return isa >= ICD_ISA_AVX2 ? &AVX2 : &REF;
}
