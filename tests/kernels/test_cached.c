/* Kernels of attention over pages: rotation, scores, weighted values. */
#include "levels.h"

enum { PAGES = 7, DIMS = 8, MOST_PAGE = 33, MOST_DIM = 132 };
static const int64_t PAGE[PAGES] = {1, 8, 15, 16, 24, 32, MOST_PAGE};
static const int64_t DIM[DIMS] = {2, 4, 6, 62, 64, 66, 128, MOST_DIM};

/* One page of one head, unaligned. */
typedef struct page {
    int64_t dim, page;
    float q[MOST_DIM + 1], k[MOST_DIM * MOST_PAGE + 1], v[MOST_DIM * MOST_PAGE + 1];
    float p[MOST_PAGE + 2], scale[MOST_PAGE + 2];
    int8_t k8[MOST_DIM * MOST_PAGE + 1], v8[MOST_DIM * MOST_PAGE + 1];
    float turned[MOST_DIM + 1], score[2][MOST_PAGE + 2], y[2][MOST_DIM + 1];
} page;

static void fill_page(icd_rng *rng, page *g)
{
    fill_f32(rng, g->q, MOST_DIM + 1);
    fill_f32(rng, g->k, MOST_DIM * MOST_PAGE + 1);
    fill_f32(rng, g->v, MOST_DIM * MOST_PAGE + 1);
    fill_f32(rng, g->p, MOST_PAGE + 1);
    fill_f32(rng, g->scale, MOST_PAGE + 1);
    fill_int8(rng, g->k8, MOST_DIM * MOST_PAGE + 1);
    fill_int8(rng, g->v8, MOST_DIM * MOST_PAGE + 1);
    memset(g->score, 0, sizeof g->score);
    for (int i = 0; i < 2; i++) fill_f32(rng, g->y[i], MOST_DIM + 1);
    memcpy(g->turned, g->q, sizeof g->q);
}

static void run_all(const icd_kernels *k, page *g)
{
    k->rope(g->turned + 1, g->k, g->v, g->dim / 2);
    k->page_scores(g->q + 1, g->dim, g->k + 1, g->page, g->score[0] + 1);
    k->page_scores8(g->q + 1, g->dim, g->k8 + 1, g->scale + 1, g->page, g->score[1] + 1);
    k->page_values(g->p + 1, g->page, g->v + 1, g->dim, g->y[0] + 1);
    k->page_values8(g->p + 1, g->page, g->v8 + 1, g->scale + 1, g->dim, g->y[1] + 1);
}

static void every_level_gives_the_same_bits(void **state)
{
    static page first, other;
    icd_rng rng;
    (void)state;
    icd_i_rng_init(&rng, 60, 0);
    for (int level = 1; level_at(level); level++)
        for (int i = 0; i < PAGES * DIMS; i++) {
            const char *isa = icd_i_isa_name(level_at(level)->isa);
            fill_page(&rng, &first);
            first.page = PAGE[i % PAGES];
            first.dim = DIM[i / PAGES];
            other = first;
            run_all(icd_i_kernels(ICD_ISA_REF), &first);
            run_all(level_at(level), &other);
            assert_same_f32(other.turned, first.turned, MOST_DIM + 1, isa);
            for (int w = 0; w < 2; w++) {
                assert_same_f32(other.score[w], first.score[w], MOST_PAGE + 1, isa);
                assert_same_f32(other.y[w], first.y[w], MOST_DIM + 1, isa);
            }
        }
}

static void check_scores(const page *g)
{
    for (int64_t t = 0; t < g->page; t++) {
        double wide = 0, narrow = 0, size = 0;
        for (int64_t i = 0; i < g->dim; i++) {
            double q = (double)g->q[1 + i];
            wide += q * (double)g->k[1 + i * g->page + t];
            narrow += q * g->k8[1 + i * g->page + t] * (double)g->scale[1 + t];
            size += fabs(q) * 127 * (1 + fabs((double)g->scale[1 + t]));
        }
        assert_near((double)g->score[0][1 + t], wide, 1e-5 * size);
        assert_near((double)g->score[1][1 + t], narrow, 1e-5 * size);
    }
    for (int w = 0; w < 2; w++) assert_true(g->score[w][1 + g->page] == 0);
}

static void check_values(const page *g, const page *before)
{
    for (int64_t j = 0; j < g->dim; j++) {
        double wide = (double)before->y[0][1 + j], narrow = (double)before->y[1][1 + j];
        for (int64_t t = 0; t < g->page; t++) {
            double p = (double)g->p[1 + t];
            wide += p * (double)g->v[1 + t * g->dim + j];
            narrow += p * (double)g->scale[1 + t] * g->v8[1 + t * g->dim + j];
        }
        assert_near((double)g->y[0][1 + j], wide, 1e-3);
        assert_near((double)g->y[1][1 + j], narrow, 2e-2);
    }
    for (int w = 0; w < 2; w++)
        assert_same_f32(g->y[w] + 1 + g->dim, before->y[w] + 1 + g->dim,
                        MOST_DIM - g->dim, "behind the row");
}

static void sums_are_right(void **state)
{
    static page g, before;
    icd_rng rng;
    (void)state;
    icd_i_rng_init(&rng, 61, 0);
    for (int i = 0; i < PAGES * DIMS; i++) {
        fill_page(&rng, &g);
        g.page = PAGE[i % PAGES];
        g.dim = DIM[i / PAGES];
        before = g;
        run_all(icd_i_kernels(icd_i_cpu_best()), &g);
        check_scores(&g);
        check_values(&g, &before);
    }
}

static void rotation_keeps_lengths(void **state)
{
    float x[8] = {1, 2, 3, 4, 5, 6, 7, 8}, cosine[4], sine[4];
    (void)state;
    for (int i = 0; i < 4; i++) {
        cosine[i] = cosf((float)i);
        sine[i] = sinf((float)i);
    }
    icd_i_kernels(icd_i_cpu_best())->rope(x, cosine, sine, 4);
    for (int i = 0; i < 4; i++) {
        double a = i + 1, b = i + 5, c = (double)cosine[i], s = (double)sine[i];
        assert_near((double)x[i], a * c - b * s, 1e-6);
        assert_near((double)x[4 + i], b * c + a * s, 2e-6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_level_gives_the_same_bits),
        cmocka_unit_test(sums_are_right),
        cmocka_unit_test(rotation_keeps_lengths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
