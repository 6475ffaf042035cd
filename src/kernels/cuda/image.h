/**
 * @file image.h
 * The compiled device kernels, inside the library.
 */
#ifndef ICD_KERNELS_CUDA_IMAGE_H
#define ICD_KERNELS_CUDA_IMAGE_H

/** Files of kernels. */
enum {
    ICD_IMAGE_TILE,
    ICD_IMAGE_HOPPER,
    ICD_IMAGE_DECODE,
    ICD_IMAGE_ROWS,
    ICD_IMAGE_ATTENTION,
    ICD_IMAGE_MAMBA,
    ICD_IMAGES
};

/** A fatbin; an empty text in a build without ICD_CUDA, which a driver refuses. */
const void *icd_i_gpu_image(int image);

#endif
