#include "kernels/cuda/image.h"

#if ICD_CUDA

/* The bytes of a file as a symbol, 16-byte aligned. */
#define IMAGE(name)                                                                      \
    __asm__(".section .rodata\n.balign 16\n"                                             \
            "icd_image_" #name ":\n.incbin \"" ICD_FATBINS "/" #name ".fatbin\"\n"       \
            ".byte 0\n.previous\n");                                                     \
    extern const unsigned char icd_image_##name[] __attribute__((visibility("hidden")))

IMAGE(tile);
IMAGE(hopper);
IMAGE(decode);
IMAGE(rows);
IMAGE(attention);
IMAGE(mamba);

const void *icd_i_gpu_image(int image)
{
    const void *const all[ICD_IMAGES] = {icd_image_tile,      icd_image_hopper,
                                         icd_image_decode,    icd_image_rows,
                                         icd_image_attention, icd_image_mamba};
    return all[image];
}

#else

const void *icd_i_gpu_image(int image)
{
    (void)image;
    return "";
}

#endif
