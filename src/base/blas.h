/**
 * @file blas.h
 * BLAS and LAPACK on the calling thread alone.
 *
 * OpenBLAS splits even small calls over threads of its own, which wait for each other in
 * loops: on a machine whose processors are busy, an eigenvalue problem of 96 rows then
 * takes seconds in place of a millisecond. They also add in another order. ICD's threads
 * split the work themselves, so every call stands between these two.
 */
#ifndef ICD_BASE_BLAS_H
#define ICD_BASE_BLAS_H

/** From here on calls stay on their thread, in the whole process. Nests; thread-safe. */
void icd_i_blas_alone(void);

/** Ends the matching icd_i_blas_alone; the last one gives back the host's setting. */
void icd_i_blas_shared(void);

#endif
