#include "solver_support.h"

enum { ROUNDS = 200 };

/* SPEC section 4 by the letter, over dense loops. */
static icd_score naive_score(const icd_csr *w, const icd_access *sets, const int32_t *pos,
                             const icd_solver_opts *o, const int32_t *prev_pos)
{
    icd_score s = {.T = 1};
    int64_t n = w->n, g = o->granule, lines = (n + g - 1) / g;
    double total = 0, inside = 0, null = 0;
    float *a = calloc((size_t)(n * n + 1), sizeof *a);
    int64_t *block = calloc((size_t)(n + 1), sizeof *block);
    double *degree = calloc((size_t)(n + 1), sizeof *degree);
    for (int64_t i = 0; i < n; ++i) {
        block[i] = pos[i] / g;
        for (int64_t b = 0; o->k_blocks && b < o->k_blocks; ++b)
            if (pos[i] >= b * n / o->k_blocks && pos[i] < (b + 1) * n / o->k_blocks)
                block[i] = b;
        for (int64_t k = w->row_ptr[i]; k < w->row_ptr[i + 1]; ++k) {
            a[i * n + w->col[k]] = w->val[k];
            degree[i] += (double)w->val[k];
        }
    }
#define PHI(d) ((d) <= o->lambda ? (d) : o->lambda + o->tau * ((d)-o->lambda))
    for (int64_t i = 0; i < n; ++i)
        for (int64_t j = i + 1; j < n; ++j) {
            double v = (double)a[i * n + j],
                   far = fabs((double)(pos[i] / g - pos[j] / g));
            total += v;
            s.C += v * PHI(far);
            s.cut += far > 0 ? v : 0;
            s.cut16 += pos[i] / 16 != pos[j] / 16 ? v : 0;
            s.cut64 += pos[i] / 64 != pos[j] / 64 ? v : 0;
            s.cut128 += pos[i] / 128 != pos[j] / 128 ? v : 0;
        }
    for (int64_t i = 0; i < n; ++i)
        for (int64_t j = 0; j < n; ++j) {
            if (block[i] != block[j]) continue;
            inside += (double)a[i * n + j];
            null += degree[i] * degree[j];
        }
    if (total > 0) {
        s.Q = inside / (2 * total) - o->gamma * null / (4 * total * total);
        double longest = PHI((double)(lines - 1));
        s.Cn = longest > 0 ? s.C / (longest * total) : 0;
        s.cut /= total;
        s.cut16 /= total;
        s.cut64 /= total;
        s.cut128 /= total;
    } else {
        s.C = s.cut = 0;
    }
    double touched = 0, fewest = 0;
    for (int64_t e = 0; sets && e < sets->events; ++e) {
        double we = sets->weight ? (double)sets->weight[e] : 1;
        int64_t size = sets->event_ptr[e + 1] - sets->event_ptr[e];
        for (int64_t line = 0; line < lines; ++line)
            for (int64_t k = sets->event_ptr[e]; k < sets->event_ptr[e + 1]; ++k)
                if (pos[sets->index[k]] / g == line) {
                    touched += we;
                    break;
                }
        fewest += we * (double)((size + g - 1) / g);
    }
    if (fewest > 0) s.T = touched / fewest;
    for (int64_t i = 0; i < n; ++i) s.R_stab += pos[i] / g != prev_pos[i] / g;
    s.R_stab = n ? s.R_stab / (double)n : 0;
    s.J = o->alpha * s.Cn - o->mu * s.Q + o->gamma_stab * s.R_stab;
    free(a);
    free(block);
    free(degree);
    return s;
}

static icd_access *random_sets(icd_ctx *ctx, int64_t n, icd_rng *rng)
{
    icd_access *a = NULL;
    assert_ok(ctx, ICD_ALLOC(ctx, 1, &a));
    a->n = n;
    a->events = icd_i_rng_below(rng, 12);
    assert_ok(ctx, ICD_ALLOC(ctx, a->events + 1, &a->event_ptr));
    assert_ok(ctx, ICD_ALLOC(ctx, a->events * n, &a->index));
    assert_ok(ctx, ICD_ALLOC(ctx, a->events, &a->weight));
    for (int64_t e = 0; e < a->events; ++e) {
        int64_t at = a->event_ptr[e];
        for (int32_t i = 0; i < n; ++i)
            if (icd_i_rng_below(rng, 3) == 0) a->index[at++] = i;
        a->event_ptr[e + 1] = at;
        a->weight[e] = (float)icd_i_rng_below(rng, 4);
    }
    return a;
}

static void assert_close(double a, double b)
{
    assert_true(fabs(a - b) <= 1e-9 * (1 + fabs(b)));
}

static void test_definition(void **state)
{
    icd_ctx *ctx = ctx_of_threads(1);
    icd_rng rng;
    (void)state;
    icd_i_rng_init(&rng, 20260, 1);
    for (int round = 0; round < ROUNDS; ++round) {
        int64_t n = icd_i_rng_below(&rng, 40);
        icd_solver_opts o = solver_defaults();
        o.granule = (int32_t)(1 + icd_i_rng_below(&rng, 9));
        o.k_blocks = (int32_t)icd_i_rng_below(&rng, 5);
        o.lambda = (double)icd_i_rng_below(&rng, 5);
        o.gamma = 0.5 + icd_i_rng_unit(&rng);
        o.gamma_stab = icd_i_rng_unit(&rng);
        icd_csr *w = random_graph(ctx, n, 0.3, true, &rng);
        icd_access *sets = random_sets(ctx, n, &rng);
        icd_perm *perm = NULL, *prev = NULL;
        int32_t pos[40], prev_pos[40];
        assert_ok(ctx, icd_perm_identity(ctx, n, 0, &perm));
        assert_ok(ctx, icd_perm_identity(ctx, n, 0, &prev));
        icd_i_rng_shuffle(&rng, perm->old_of_new, n);
        icd_i_rng_shuffle(&rng, prev->old_of_new, n);
        icd_perm_invert_into(perm, pos);
        icd_perm_invert_into(prev, prev_pos);
        icd_problem problem = {.w = w, .sets = sets, .prev = prev};
        icd_score got, want = naive_score(w, sets, pos, &o, prev_pos);
        assert_ok(ctx, icd_score_perm(ctx, &problem, perm, &o, &got));
        print_message("%s", round == 0 ? "seed 20260\n" : "");
        assert_close(got.C, want.C);
        assert_close(got.Cn, want.Cn);
        assert_close(got.cut, want.cut);
        assert_close(got.cut16, want.cut16);
        assert_close(got.cut64, want.cut64);
        assert_close(got.cut128, want.cut128);
        assert_close(got.Q, want.Q);
        assert_close(got.T, want.T);
        assert_close(got.R_stab, want.R_stab);
        assert_close(got.J, want.J);
        icd_perm_free(ctx, perm);
        icd_perm_free(ctx, prev);
        icd_access_free(ctx, sets);
        icd_csr_free(ctx, w);
    }
    icd_ctx_free(ctx);
}

static void test_undefined(void **state)
{
    icd_ctx *ctx = ctx_of_threads(1);
    (void)state;
    for (int64_t n = 0; n <= 2; ++n) {
        icd_rng rng;
        icd_score s;
        icd_perm *perm = NULL;
        icd_i_rng_init(&rng, 1, 1);
        icd_csr *w = random_graph(ctx, n, 0, false, &rng);
        icd_problem problem = {.w = w};
        assert_ok(ctx, icd_perm_identity(ctx, n, 0, &perm));
        assert_ok(ctx, icd_score_perm(ctx, &problem, perm, NULL, &s));
        assert_true(s.C == 0 && s.Cn == 0 && s.cut == 0 && s.Q == 0 && s.T == 1);
        icd_perm_free(ctx, perm);
        icd_csr_free(ctx, w);
    }
    icd_ctx_free(ctx);
}

static void test_refusals(void **state)
{
    icd_ctx *ctx = ctx_of_threads(1);
    icd_rng rng;
    icd_score s;
    icd_perm *perm = NULL, *other = NULL;
    (void)state;
    icd_i_rng_init(&rng, 1, 1);
    icd_csr *w = random_graph(ctx, 5, 1, false, &rng);
    icd_problem problem = {.w = w}, nothing = {0};
    assert_ok(ctx, icd_perm_identity(ctx, 4, 0, &perm));
    assert_ok(ctx, icd_perm_identity(ctx, 5, 99, &other));
    assert_fails(ctx, ICD_EINVAL, "4 indices",
                 icd_score_perm(ctx, &problem, perm, NULL, &s));
    assert_fails(ctx, ICD_EINVAL, "frame",
                 icd_score_perm(ctx, &problem, other, NULL, &s));
    assert_fails(ctx, ICD_EINVAL, "neither",
                 icd_score_perm(ctx, &nothing, perm, NULL, &s));
    icd_perm_free(ctx, perm);
    icd_perm_free(ctx, other);
    icd_csr_free(ctx, w);
    icd_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_definition),
        cmocka_unit_test(test_undefined),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
