/* f32 tiles with AVX2: a panel of 16 rows is two vectors. */
#if defined(__x86_64__)
#include <immintrin.h>

#define KERNEL(name)  icd_i_##name##_avx2
#define VEC           __m256
#define LANES         8
#define ROWS          16
#define REPEAT_ONE(M) REPEAT_8(M)
#define GAP(room)     8
#define ZERO          _mm256_setzero_ps()
#define LOAD(p)       _mm256_loadu_ps(p)
#define STORE(p, v)   _mm256_storeu_ps(p, v)
#define BROADCAST(p)  _mm256_broadcast_ss(p)
#define FMA(a, b, c)  _mm256_fmadd_ps(a, b, c)
#define LOAD_BF16(p)                                                                     \
    _mm256_castsi256_ps(_mm256_slli_epi32(                                               \
        _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(p))), 16))
#include "kernels/tile_f32_body.inc"
#endif
