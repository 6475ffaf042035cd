#include "levels.h"

enum { MAX_TOKENS = 17, MAX_GROUPS = 37, MAX_VECTOR = 192, GUARD = 64, GATHERED = 400 };
static const int32_t VECTOR[] = {16, 32, 48, 64, 112, 128, 192};
static const int64_t COUNT[] = {0, 1, 2, 5, 33};

/* One call, its buffers deliberately unaligned. */
typedef struct call {
    int64_t tokens, lda, count;
    int32_t vector;
    const int32_t *live;
    int32_t list[4 * MAX_GROUPS];
    int8_t *a, *w;
    float *af, *wf;
    int32_t comp[MAX_VECTOR];
} call;

static void make_list(icd_rng *rng, call *c, int64_t range)
{
    for (int64_t i = 0, at = 0; i < c->count; i++) {
        int64_t room = range - at - (c->count - i);
        at += icd_i_rng_below(rng, room < 3 ? room + 1 : 3);
        c->list[i] = (int32_t)at++;
    }
    c->live = c->list;
}

static void sum_weights(call *c)
{
    memset(c->comp, 0, sizeof c->comp);
    for (int64_t j = 0; j < c->count; j++)
        for (int32_t r = 0; r < c->vector; r++)
            for (int k = 0; k < 4; k++)
                c->comp[r] += 128 * c->w[(j * c->vector + r) * 4 + k];
}

/* Stages into no more than a row may take. */
static void run_int8(const icd_kernels *k, const call *c, const int32_t *at, int32_t *acc)
{
    int64_t bytes = c->tokens * icd_i_staged_bytes(4 * MAX_GROUPS);
    uint8_t *staged = checked_malloc((size_t)bytes + 1);
    staged[bytes] = 0x5A;
    k->stage_rows(c->a, c->lda, c->tokens, 4 * MAX_GROUPS, staged);
    k->tile_block(staged, 4 * MAX_GROUPS, c->tokens, c->live, at, c->count, c->w, c->comp,
                  c->vector, acc);
    assert_int_equal(staged[bytes], 0x5A);
    free(staged);
}

static void check_int8(const icd_kernels *k, const call *c)
{
    size_t n = (size_t)(c->tokens * c->vector), bytes = n * sizeof(int32_t);
    int32_t *expected = checked_malloc(bytes);
    int32_t *found = checked_malloc(bytes + GUARD);
    const int32_t *at = c->tokens % 4 == 1 ? c->list : NULL;
    memset(found, 0x5A, bytes + GUARD);
    run_int8(icd_i_kernels(ICD_ISA_REF), c, at, expected);
    run_int8(k, c, at, found);
    if (memcmp(expected, found, bytes) != 0)
        fail_msg("%s: %lld tokens, %lld groups, V %d differ", icd_i_isa_name(k->isa),
                 (long long)c->tokens, (long long)c->count, c->vector);
    for (int i = 0; i < GUARD; i++)
        assert_int_equal(((unsigned char *)(found + n))[i], 0x5A);
    free(found);
    free(expected);
}

static void for_each_shape(void (*check)(const icd_kernels *, const call *), bool f32)
{
    call c = {0};
    icd_rng rng;
    size_t floats = (size_t)MAX_VECTOR * MAX_GROUPS * 4;
    int8_t *a = checked_malloc(MAX_TOKENS * (4 * MAX_GROUPS + 3) + 1);
    int8_t *w = checked_malloc(floats + 1);
    c.af = checked_malloc(sizeof(float) * MAX_TOKENS * (4 * MAX_GROUPS + 3));
    c.wf = checked_malloc(sizeof(float) * floats);
    c.a = a + 1;
    c.w = w + 1;
    c.lda = 4 * MAX_GROUPS + 3;
    icd_i_rng_init(&rng, 20, 0);
    for (int level = 0; level_at(level); level++)
        for (size_t v = 0; v < sizeof VECTOR / sizeof *VECTOR; v++)
            for (size_t n = 0; n < sizeof COUNT / sizeof *COUNT; n++)
                for (c.tokens = 1; c.tokens <= MAX_TOKENS; c.tokens++) {
                    c.vector = VECTOR[v];
                    c.count = COUNT[n];
                    fill_int8(&rng, c.a, c.tokens * c.lda);
                    fill_int8(&rng, c.w, MAX_GROUPS * c.vector * 4);
                    if (f32) fill_f32(&rng, c.af, c.tokens * c.lda);
                    if (f32) fill_f32(&rng, c.wf, MAX_GROUPS * c.vector);
                    make_list(&rng, &c, MAX_GROUPS);
                    if (c.tokens % 3 == 0) c.live = NULL;
                    sum_weights(&c);
                    check(level_at(level), &c);
                }
    free(c.wf);
    free(c.af);
    free(w);
    free(a);
}

/* More groups than one pass takes, with and without holes. */
static void long_int8_sums_are_exact(void **state)
{
    enum { LONG = 150, TOKENS = 5, V = 80, SLOTS = 4 * LONG };
    static int8_t a[TOKENS * SLOTS], w[SLOTS * V];
    static int32_t sum[2][TOKENS * V], list[LONG];
    static uint8_t staged[TOKENS * (4 * SLOTS + 64)];
    icd_rng rng;
    (void)state;
    icd_i_rng_init(&rng, 23, 0);
    fill_int8(&rng, a, sizeof a);
    fill_int8(&rng, w, sizeof w);
    for (int32_t j = 0; j < LONG; j++) list[j] = j + (j > 70) + (j > 90);
    for (int holes = 0; holes < 2; holes++)
        for (int i = 0; level_at(i); i++) {
            call c = {.count = holes ? LONG - 2 : LONG, .vector = V, .w = w};
            sum_weights(&c);
            level_at(i)->stage_rows(a, SLOTS, TOKENS, SLOTS, staged);
            level_at(i)->tile_block(staged, SLOTS, TOKENS, holes ? list : NULL, NULL,
                                    c.count, w, c.comp, V, sum[i > 0]);
            if (i) assert_memory_equal(sum[1], sum[0], sizeof sum[0]);
        }
}

static void int8_tiles_give_the_same_bits(void **state)
{
    (void)state;
    for_each_shape(check_int8, false);
}

/* Both types; the weights of one list entry in three lie at other places than its number.
 */
static void check_f32(const icd_kernels *k, const call *c)
{
    const icd_kernels *ref = icd_i_kernels(ICD_ISA_REF);
    const int32_t *at = c->tokens % 4 == 1 ? c->list : NULL;
    const uint16_t *half = (const uint16_t *)c->wf;
    int64_t n = c->tokens * c->vector;
    float *expected = checked_malloc((size_t)n * sizeof *expected);
    float *found = checked_malloc((size_t)(n + 1) * sizeof *found);
    found[n] = 42;
    ref->tile_block_f32(c->af, c->lda, c->tokens, c->live, at, c->count, 0, c->wf,
                        MAX_GROUPS, c->vector, expected);
    k->tile_block_f32(c->af, c->lda, c->tokens, c->live, at, c->count, 0, c->wf,
                      MAX_GROUPS, c->vector, found);
    assert_same_f32(found, expected, n, icd_i_isa_name(k->isa));
    ref->tile_block_bf16(c->af, c->lda, c->tokens, c->live, at, c->count, 0, half,
                         MAX_GROUPS, c->vector, expected);
    k->tile_block_bf16(c->af, c->lda, c->tokens, c->live, at, c->count, 0, half,
                       MAX_GROUPS, c->vector, found);
    assert_same_f32(found, expected, n, icd_i_isa_name(k->isa));
    assert_true(found[n] == 42);
    free(found);
    free(expected);
}

static void f32_tiles_give_the_same_bits(void **state)
{
    (void)state;
    for_each_shape(check_f32, true);
}

/* More channels than one pass takes. */
static void long_sums_keep_their_order(void **state)
{
    enum { LONG = 600, TOKENS = 15, V = 48 };
    static float a[TOKENS * LONG], w[LONG * V], expected[TOKENS * V], found[TOKENS * V];
    icd_rng rng;
    (void)state;
    icd_i_rng_init(&rng, 22, 0);
    fill_f32(&rng, a, TOKENS * LONG);
    fill_f32(&rng, w, LONG * V);
    icd_i_kernels(ICD_ISA_REF)
        ->tile_block_f32(a, LONG, TOKENS, NULL, NULL, LONG, 0, w, LONG, V, expected);
    for (int i = 0; level_at(i); i++) {
        level_at(i)->tile_block_f32(a, LONG, TOKENS, NULL, NULL, LONG, 0, w, LONG, V,
                                    found);
        assert_same_f32(found, expected, TOKENS * V, "long sums");
    }
}

static void panels_hold_rows_side_by_side(void **state)
{
    enum { N = 37, SLOTS = 44 };
    float x[ICD_PANEL * N], out[ICD_PANEL * SLOTS];
    int32_t order[SLOTS];
    icd_rng rng;
    (void)state;
    icd_i_rng_init(&rng, 23, 0);
    fill_f32(&rng, x, ICD_PANEL * N);
    for (int s = 0; s < SLOTS; s++) order[s] = s < N ? N - 1 - s : -1;
    for (int i = 0; level_at(i); i++)
        for (int64_t width = 1; width <= ICD_PANEL; width++)
            for (int ordered = 0; ordered < 2; ordered++) {
                level_at(i)->pack_panel(x, N, width, ordered ? order : NULL, N, SLOTS,
                                        out);
                for (int s = 0; s < SLOTS; s++)
                    for (int64_t t = 0; t < width; t++) {
                        int64_t column = ordered ? order[s] : s;
                        float value = s < N ? x[t * N + column] : 0;
                        assert_true(out[s * width + t] == value);
                    }
            }
}

/* The largest sum that int32 must hold: 131,072 channels of 127 * -127. */
static void extreme_sums_do_not_saturate(void **state)
{
    enum { GROUPS = 131072 / 4, V = 16 };
    int8_t *a = checked_malloc(4 * GROUPS), *w = checked_malloc(4 * GROUPS * V);
    int32_t comp[V], acc[V];
    (void)state;
    uint8_t *staged = checked_malloc((size_t)icd_i_staged_bytes(4 * GROUPS));
    memset(a, 127, 4 * GROUPS);
    memset(w, -127, 4 * GROUPS * V);
    for (int r = 0; r < V; r++) comp[r] = 128 * -127 * 4 * GROUPS;
    for (int i = 0; level_at(i); i++) {
        level_at(i)->stage_rows(a, 4 * GROUPS, 1, 4 * GROUPS, staged);
        level_at(i)->tile_block(staged, 4 * GROUPS, 1, NULL, NULL, GROUPS, w, comp, V,
                                acc);
        for (int r = 0; r < V; r++) assert_int_equal(acc[r], -127 * 127 * 131072);
    }
    free(staged);
    free(w);
    free(a);
}

static void check_gather(const int8_t *a, int64_t lda, const int32_t *index)
{
    int8_t out[MAX_TOKENS * GATHERED + 1];
    for (int i = 0; level_at(i); i++)
        for (int64_t tokens = 1; tokens <= MAX_TOKENS; tokens += 4)
            for (int64_t count = 0; count <= GATHERED; count += count < 40 ? 4 : 60) {
                out[tokens * count] = 99;
                level_at(i)->gather_rows(a, lda, tokens, index, count, out);
                for (int64_t t = 0; t < tokens; t++)
                    for (int64_t k = 0; k < count; k++)
                        assert_int_equal(out[t * count + k], a[t * lda + index[k]]);
                assert_int_equal(out[tokens * count], 99);
            }
}

/* Ascending lists as plans have them, some with repeats at the end, and any list at all.
 */
static void gather_takes_the_indexed_bytes(void **state)
{
    static const int64_t LDA[] = {1, 5, 16, 17, 301, 3000};
    int32_t index[GATHERED];
    icd_rng rng;
    (void)state;
    icd_i_rng_init(&rng, 21, 0);
    for (size_t l = 0; l < sizeof LDA / sizeof *LDA; l++)
        for (int kind = 0; kind < 3; kind++) {
            int64_t lda = LDA[l];
            int8_t *a = checked_malloc((size_t)(MAX_TOKENS * lda));
            fill_int8(&rng, a, MAX_TOKENS * lda);
            for (int64_t k = 0; k < GATHERED; k++) {
                int64_t step = kind == 0 ? 1 : icd_i_rng_below(&rng, 11);
                int64_t next = k ? index[k - 1] + step : 0;
                if (kind == 2) next = icd_i_rng_below(&rng, lda);
                index[k] = (int32_t)(next < lda ? next : lda - 1);
            }
            check_gather(a, lda, index);
            free(a);
        }
}

static void every_level_fills_the_whole_table(void **state)
{
    (void)state;
    for (int isa = 0; isa < ICD_ISA_COUNT; isa++) {
        const icd_kernels *k = icd_i_kernels((icd_isa)isa);
        assert_true((int)k->isa <= isa);
#define CHECK(name, args) assert_true(k->name != NULL);
        ICD_KERNELS(CHECK)
#undef CHECK
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_level_fills_the_whole_table),
        cmocka_unit_test(int8_tiles_give_the_same_bits),
        cmocka_unit_test(long_int8_sums_are_exact),
        cmocka_unit_test(f32_tiles_give_the_same_bits),
        cmocka_unit_test(long_sums_keep_their_order),
        cmocka_unit_test(panels_hold_rows_side_by_side),
        cmocka_unit_test(extreme_sums_do_not_saturate),
        cmocka_unit_test(gather_takes_the_indexed_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
