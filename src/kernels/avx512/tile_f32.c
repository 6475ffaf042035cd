/* f32 tiles with AVX-512: two panels of 16 rows, a vector each. */
#if defined(__x86_64__)
#include <immintrin.h>

#define KERNEL(name)  icd_i_##name##_avx512
#define VEC           __m512
#define LANES         16
#define ROWS          32
#define REPEAT_ONE(M) REPEAT_4(M)
#define GAP(room)     (16 * (room))
#define ZERO          _mm512_setzero_ps()
#define LOAD(p)       _mm512_loadu_ps(p)
#define STORE(p, v)   _mm512_storeu_ps(p, v)
#define BROADCAST(p)  _mm512_set1_ps(*(p))
#define FMA(a, b, c)  _mm512_fmadd_ps(a, b, c)
#define LOAD_BF16(p)                                                                     \
    _mm512_castsi512_ps(_mm512_slli_epi32(                                               \
        _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(p))), 16))
#include "kernels/tile_f32_body.inc"
#endif
