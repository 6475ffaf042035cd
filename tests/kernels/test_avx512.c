/* The AVX-512 tiles, compiled against a model of the instructions that they use, so
   that their logic is tested on any x86-64 CPU. */
#include "levels.h"

#if defined(__x86_64__)
#include <immintrin.h>

typedef struct lanes {
    int32_t lane[16];
} lanes;
typedef struct float_lanes {
    float lane[16];
} float_lanes;

static lanes model_set1(int32_t x)
{
    lanes v;
    for (int i = 0; i < 16; i++) v.lane[i] = x;
    return v;
}

static lanes model_load(const void *p)
{
    lanes v;
    memcpy(&v, p, sizeof v);
    return v;
}

static void model_store(void *p, lanes v)
{
    memcpy(p, &v, sizeof v);
}

/* Wraps around, as the instructions do. */
static int32_t wrap(uint32_t x)
{
    int32_t y;
    memcpy(&y, &x, sizeof y);
    return y;
}

static lanes model_sub(lanes a, lanes b)
{
    for (int i = 0; i < 16; i++)
        a.lane[i] = wrap((uint32_t)a.lane[i] - (uint32_t)b.lane[i]);
    return a;
}

/* vpdpbusd: each int32 lane gains four products, unsigned bytes of u by signed ones of s.
 */
static lanes model_dpbusd(lanes sum, lanes u, lanes s)
{
    uint8_t a[64];
    int8_t b[64];
    memcpy(a, &u, sizeof a);
    memcpy(b, &s, sizeof b);
    for (int i = 0; i < 16; i++) {
        int32_t dot = 0;
        for (int k = 4 * i; k < 4 * i + 4; k++) dot += a[k] * b[k];
        sum.lane[i] = wrap((uint32_t)sum.lane[i] + (uint32_t)dot);
    }
    return sum;
}

static float_lanes model_set1_f32(float x)
{
    float_lanes v;
    for (int i = 0; i < 16; i++) v.lane[i] = x;
    return v;
}

static float_lanes model_load_f32(const float *p)
{
    float_lanes v;
    memcpy(&v, p, sizeof v);
    return v;
}

static void model_store_f32(float *p, float_lanes v)
{
    memcpy(p, &v, sizeof v);
}

static float_lanes model_fma(float_lanes a, float_lanes b, float_lanes c)
{
    for (int i = 0; i < 16; i++) c.lane[i] = fmaf(a.lane[i], b.lane[i], c.lane[i]);
    return c;
}

/* Sixteen bf16, widened and shifted: the three instructions of a load. */
typedef struct half_lanes {
    uint16_t lane[16];
} half_lanes;

static half_lanes model_load_half(const void *p)
{
    half_lanes v;
    memcpy(&v, p, sizeof v);
    return v;
}

static lanes model_widen(half_lanes h)
{
    lanes v;
    for (int i = 0; i < 16; i++) v.lane[i] = h.lane[i];
    return v;
}

static lanes model_shift_left(lanes v, int bits)
{
    for (int i = 0; i < 16; i++) v.lane[i] = wrap((uint32_t)v.lane[i] << bits);
    return v;
}

static float_lanes model_cast(lanes v)
{
    float_lanes f;
    memcpy(&f, &v, sizeof f);
    return f;
}

static lanes model_and(lanes a, lanes b)
{
    for (int i = 0; i < 16; i++) a.lane[i] &= b.lane[i];
    return a;
}

static lanes model_or(lanes a, lanes b)
{
    for (int i = 0; i < 16; i++) a.lane[i] |= b.lane[i];
    return a;
}

static lanes model_shift_right(lanes v, int bits)
{
    for (int i = 0; i < 16; i++) v.lane[i] = wrap((uint32_t)v.lane[i] >> bits);
    return v;
}

static float_lanes model_convert(lanes v)
{
    float_lanes f;
    for (int i = 0; i < 16; i++) f.lane[i] = (float)v.lane[i];
    return f;
}

static lanes model_set1_64(int64_t x)
{
    lanes v;
    for (int i = 0; i < 8; i++) memcpy(v.lane + 2 * i, &x, sizeof x);
    return v;
}

/* vpshufb: bytes move inside their quarter; a set top bit gives 0. */
static lanes model_shuffle(lanes from, lanes control)
{
    uint8_t a[64], c[64], out[64];
    memcpy(a, &from, sizeof a);
    memcpy(c, &control, sizeof c);
    for (int i = 0; i < 64; i++) out[i] = c[i] & 128 ? 0 : a[i / 16 * 16 + (c[i] & 15)];
    memcpy(&from, out, sizeof out);
    return from;
}

/* Sixteen bytes, widened. */
static lanes model_widen_bytes(__m128i bytes)
{
    uint8_t b[16];
    lanes v;
    memcpy(b, &bytes, sizeof b);
    for (int i = 0; i < 16; i++) v.lane[i] = b[i];
    return v;
}

#undef _mm512_slli_epi32
#undef _mm512_srli_epi32
#undef _mm512_loadu_si512
#undef _mm512_storeu_si512
#undef _mm512_dpbusd_epi32
#define __m512i                      lanes
#define __m512                       float_lanes
#define _mm512_set1_epi32(x)         model_set1(x)
#define _mm512_setzero_si512()       model_set1(0)
#define _mm512_loadu_si512(p)        model_load(p)
#define _mm512_storeu_si512(p, v)    model_store(p, v)
#define _mm512_sub_epi32             model_sub
#define _mm512_dpbusd_epi32          model_dpbusd
#define _mm512_set1_ps(x)            model_set1_f32(x)
#define _mm512_setzero_ps()          model_set1_f32(0)
#define _mm512_loadu_ps(p)           model_load_f32(p)
#define _mm512_storeu_ps(p, v)       model_store_f32(p, v)
#define _mm512_fmadd_ps              model_fma
#define __m256i                      half_lanes
#define _mm256_loadu_si256(p)        model_load_half(p)
#define _mm512_cvtepu16_epi32(h)     model_widen(h)
#define _mm512_slli_epi32(v, n)      model_shift_left(v, n)
#define _mm512_castsi512_ps(v)       model_cast(v)
#define _mm512_and_si512             model_and
#define _mm512_or_si512              model_or
#define _mm512_srli_epi32(v, n)      model_shift_right(v, n)
#define _mm512_cvtepi32_ps(v)        model_convert(v)
#define _mm512_set1_epi64(x)         model_set1_64(x)
#define _mm512_shuffle_epi8          model_shuffle
#define _mm512_cvtepu8_epi32(b)      model_widen_bytes(b)
#define icd_i_stage_rows_avx512      stage_model
#define icd_i_tile_block_avx512      tile_model
#define icd_i_tile_block_int4_avx512 tile_int4_model
#define icd_i_tile_block_24_avx512   tile_24_model
#define icd_i_tile_block_f32_avx512  tile_f32_model
#define icd_i_tile_block_bf16_avx512 tile_bf16_model
#include "kernels/avx512/tile.c"
#include "kernels/avx512/tile_f32.c"
#undef CLEAR
#undef STEP
#undef SCALE
#undef GROUP
#include "kernels/avx512/tile_small.c"

enum { GROUPS = 9, LDA = 4 * GROUPS + 1, TOKENS = 27, MAX_VECTOR = 144 };
static const int32_t LIVE[GROUPS] = {0, 1, 2, 4, 5, 6, 7, 8, 8};

static void int8_tiles_are_exact(void **state)
{
    static int8_t a[TOKENS * LDA], w[GROUPS * MAX_VECTOR * 4];
    static int32_t found[TOKENS * MAX_VECTOR], expected[TOKENS * MAX_VECTOR];
    static uint8_t staged[TOKENS * (16 * GROUPS + 128)];
    const icd_kernels *ref = icd_i_kernels(ICD_ISA_REF);
    int32_t comp[MAX_VECTOR];
    icd_rng rng;
    (void)state;
    icd_i_rng_init(&rng, 30, 0);
    fill_int8(&rng, a, sizeof a);
    fill_int8(&rng, w, sizeof w);
    for (int32_t vector = 16; vector <= MAX_VECTOR; vector += 16)
        for (int64_t tokens = 1; tokens <= TOKENS; tokens++)
            for (int64_t count = 0; count <= GROUPS; count += 3) {
                const int32_t *live = tokens % 2 ? LIVE : NULL;
                const int32_t *at = tokens % 3 ? NULL : LIVE;
                size_t bytes = (size_t)(tokens * vector) * sizeof *found;
                memset(comp, 0, sizeof comp);
                for (int64_t i = 0; i < count * vector * 4; i++)
                    comp[i / 4 % vector] += 128 * w[i];
                ref->stage_rows(a, LDA, tokens, 4 * GROUPS, staged);
                ref->tile_block(staged, 4 * GROUPS, tokens, live, at, count, w, comp,
                                vector, expected);
                stage_model(a, LDA, tokens, 4 * GROUPS, staged);
                tile_model(staged, 4 * GROUPS, tokens, live, at, count, w, comp, vector,
                           found);
                assert_memory_equal(found, expected, bytes);
            }
}

static void f32_tiles_are_exact(void **state)
{
    static float a[TOKENS * LDA], w[GROUPS * MAX_VECTOR];
    static float found[TOKENS * MAX_VECTOR], expected[TOKENS * MAX_VECTOR];
    const icd_kernels *ref = icd_i_kernels(ICD_ISA_REF);
    const uint16_t *half = (const uint16_t *)w;
    icd_rng rng;
    (void)state;
    icd_i_rng_init(&rng, 31, 0);
    fill_f32(&rng, a, TOKENS * LDA);
    fill_f32(&rng, w, GROUPS * MAX_VECTOR);
    for (int32_t vector = 16; vector <= MAX_VECTOR; vector += 16)
        for (int64_t tokens = 1; tokens <= TOKENS; tokens++) {
            const int32_t *live = tokens % 2 ? LIVE : NULL;
            const int32_t *at = tokens % 3 ? LIVE : NULL;
            ref->tile_block_f32(a, LDA, tokens, live, at, GROUPS, 0, w, GROUPS, vector,
                                expected);
            tile_f32_model(a, LDA, tokens, live, at, GROUPS, 0, w, GROUPS, vector, found);
            assert_same_f32(found, expected, tokens * vector, "model of AVX-512");
            ref->tile_block_bf16(a, LDA, tokens, live, at, GROUPS, 0, half, GROUPS,
                                 vector, expected);
            tile_bf16_model(a, LDA, tokens, live, at, GROUPS, 0, half, GROUPS, vector,
                            found);
            assert_same_f32(found, expected, tokens * vector, "model of AVX-512");
        }
}

/* Any bytes are 4-bit weights and codes; comp is what the packed weights sum to. */
static void small_tiles_are_exact(void **state)
{
    enum { STEPS = GROUPS / 2 };
    static const int32_t STEP[STEPS] = {0, 1, 1, 3};
    static int8_t a[TOKENS * LDA], w[GROUPS * MAX_VECTOR * 5];
    static float scale[STEPS * MAX_VECTOR];
    static float y[TOKENS * MAX_VECTOR], z[TOKENS * MAX_VECTOR];
    static int32_t found[TOKENS * MAX_VECTOR], expected[TOKENS * MAX_VECTOR];
    const icd_kernels *ref = icd_i_kernels(ICD_ISA_REF);
    icd_rng rng;
    (void)state;
    icd_i_rng_init(&rng, 32, 0);
    fill_int8(&rng, a, sizeof a);
    fill_int8(&rng, w, sizeof w);
    fill_f32(&rng, scale, STEPS * MAX_VECTOR);
    for (int32_t vector = 16; vector <= MAX_VECTOR; vector += 64)
        for (int64_t tokens = 1; tokens <= TOKENS; tokens++) {
            const int32_t *live = tokens % 2 ? STEP : NULL;
            int32_t comp[MAX_VECTOR] = {0};
            ref->tile_block_int4(a, LDA, tokens, live, STEPS, 3, (const uint8_t *)w,
                                 scale, vector, y);
            tile_int4_model(a, LDA, tokens, live, STEPS, 3, (const uint8_t *)w, scale,
                            vector, z);
            assert_same_f32(z, y, tokens * vector, "model of AVX-512");
            for (int64_t i = 0; i < STEPS * vector * 4; i++)
                comp[i / 4 % vector] +=
                    128 * w[i / (4 * vector) * 5 * vector + i % (4 * vector)];
            ref->tile_block_24(a, LDA, tokens, live, STEPS, w, comp, vector, expected);
            tile_24_model(a, LDA, tokens, live, STEPS, w, comp, vector, found);
            assert_memory_equal(found, expected,
                                (size_t)(tokens * vector) * sizeof *found);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(int8_tiles_are_exact),
        cmocka_unit_test(f32_tiles_are_exact),
        cmocka_unit_test(small_tiles_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
int main(void)
{
    print_message("skipped: not an x86-64 CPU\n");
    return 77;
}
#endif
