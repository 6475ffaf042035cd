#include "runner/cuda/dense.h"

#include "base/rng.h"
#include "core/small_float.h"
#include "kernels/cuda/pack.h"
#include "runner/cuda/lt.h"
#include "runner/cuda/splt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    WAYS = ICD_GPU_SPARSE + 1,
    ROWS_AT_ONCE = 64, /* of a flat matrix on its way to the device */
    LAUNCHES = 4,      /* of a timed graph */
    ROUNDS = 7
};

/* ---- the matrix as the libraries read it ---- */

static void flat_row(const icd_gpu_linear *l, const void *w, int64_t row,
                     unsigned char *out)
{
    int64_t size = icd_i_gpu_size(l->type);
    for (int64_t s = 0; s < l->flat_slots; s++) {
        int32_t c = s < l->plan->slots ? l->plan->old_of_new[s] : -1;
        int64_t at = row * l->info->cols + c;
        uint16_t bits = 0;
        if (c >= 0 && size == 2) bits = icd_i_bf16_of(((const float *)w)[at]);
        if (c >= 0 && size == 1) bits = ((const unsigned char *)w)[at];
        memcpy(out + s * size, &bits, (size_t)size);
    }
}

/* At most two of any four neighbours are not zero. */
static bool is_two_of_four(const unsigned char *row, int64_t slots, int64_t size)
{
    static const unsigned char zero[2] = {0};
    for (int64_t s = 0; s < slots; s += 4) {
        int live = 0;
        for (int64_t i = s; i < s + 4 && i < slots; i++)
            live += memcmp(row + i * size, zero, (size_t)size) != 0;
        if (live > 2) return false;
    }
    return true;
}

static icd_status upload_flat(icd_ctx *ctx, icd_gpu *gpu, icd_gpu_linear *l,
                              const void *w, bool *sparse)
{
    icd_status status = ICD_OK;
    unsigned char *some = NULL;
    int64_t size = icd_i_gpu_size(l->type), row = l->flat_slots * size;
    *sparse = true;
    ICD_TRY(ICD_ALLOC(ctx, ROWS_AT_ONCE * row, &some));
    for (int64_t r = 0; r < l->info->rows; r += ROWS_AT_ONCE) {
        int64_t n = l->info->rows - r < ROWS_AT_ONCE ? l->info->rows - r : ROWS_AT_ONCE;
        for (int64_t i = 0; i < n; i++) {
            flat_row(l, w, r + i, some + i * row);
            *sparse = *sparse && is_two_of_four(some + i * row, l->flat_slots, size);
        }
        ICD_TRY(icd_device_upload(ctx, gpu->device, icd_dptr_add(l->flat, r * row), some,
                                  n * row));
    }
done:
    icd_i_free(ctx, some);
    return status;
}

static icd_status upload_flat_bias(icd_ctx *ctx, icd_gpu *gpu, icd_gpu_linear *l,
                                   const float *bias)
{
    uint16_t *bits = NULL;
    icd_status status = ICD_ALLOC(ctx, l->info->rows, &bits);
    for (int64_t r = 0; status == ICD_OK && r < l->info->rows; r++)
        bits[r] = icd_i_bf16_of(bias[r]);
    if (status == ICD_OK)
        status = ICD_GPU_PUT(ctx, gpu, bits, l->info->rows, l->info->name, &l->flat_bias);
    icd_i_free(ctx, bits);
    return status;
}

static void drop_flat(icd_ctx *ctx, icd_gpu *gpu, icd_gpu_linear *l)
{
    icd_device_release(ctx, gpu->device, l->flat);
    icd_device_release(ctx, gpu->device, l->flat_bias);
    l->flat = l->flat_bias = (icd_dptr){0};
}

icd_status icd_i_gpu_flat_put(icd_ctx *ctx, icd_gpu *gpu, icd_gpu_linear *l,
                              const icd_gpu_weights *from)
{
    icd_status status = ICD_OK;
    bool sparse = false;
    if ((!gpu->lt && !gpu->splt) || l->plan->kernel != ICD_KERNEL_DENSE) return ICD_OK;
    l->flat_slots = l->slots;
    int64_t bytes = l->info->rows * l->flat_slots * icd_i_gpu_size(l->type);
    ICD_TRY(icd_device_alloc(ctx, gpu->device, bytes, l->info->name, &l->flat));
    ICD_TRY(upload_flat(ctx, gpu, l, from->w, &sparse));
    if (from->bias && l->type == ICD_GPU_BF16)
        ICD_TRY(upload_flat_bias(ctx, gpu, l, from->bias));
    l->two_of_four = sparse && gpu->splt ? ICD_SPLT_NEW : ICD_SPLT_NONE;
    if (!gpu->lt && !l->two_of_four) drop_flat(ctx, gpu, l);
done:
    if (status != ICD_OK) drop_flat(ctx, gpu, l);
    if (status == ICD_ENOMEM)
        icd_i_warn(ctx,
                   "%s: no GPU memory is left for it as a library reads it, our "
                   "kernel runs it",
                   l->info->name);
    return status == ICD_ENOMEM ? ICD_OK : status;
}

/* ---- a product by a library ---- */

/* What the library leaves to be done: it knows neither our scales nor erf's GELU nor
 * places of rows. */
static bool needs_finish(const icd_gpu_linear *l)
{
    return l->type != ICD_GPU_BF16 || l->act == ICD_GPU_GELU || l->place.at != 0 ||
           l->width != l->info->rows;
}

static icd_lt_product lt_product(const icd_gpu_linear *l, icd_dptr x, icd_dptr y)
{
    bool whole = !needs_finish(l);
    return (icd_lt_product){.type = l->type,
                            .relu = whole && l->act == ICD_GPU_RELU,
                            .tokens = l->tokens,
                            .rows = l->info->rows,
                            .cols = l->flat_slots,
                            .ldx = l->slots,
                            .x = x,
                            .w = l->flat,
                            .y = y,
                            .bias = whole ? l->flat_bias : (icd_dptr){0}};
}

static int64_t raw_bytes(const icd_gpu_linear *l)
{
    return l->tokens * l->info->rows * (l->type == ICD_GPU_INT8 ? 4 : 2);
}

static icd_status finish(icd_ctx *ctx, icd_gpu *gpu, const icd_gpu_linear *l,
                         icd_dptr scale, icd_dptr y, int64_t ldy)
{
    icd_gpu_finish p = {.sum = gpu->raw,
                        .a_scale = scale,
                        .w_scale = l->w_scale,
                        .bias = l->bias,
                        .place = l->place,
                        .y = y,
                        .ldy = ldy,
                        .tokens = (int32_t)l->tokens,
                        .rows = (int32_t)l->info->rows,
                        .type = l->type,
                        .act = l->act};
    return icd_i_gpu_run(ctx, gpu, ICD_RUN_FINISH, p.tokens, ICD_GPU_ROWS, &p);
}

icd_status icd_i_gpu_foreign(icd_ctx *ctx, icd_gpu *gpu, const icd_gpu_linear *l,
                             icd_dptr staged, icd_dptr scale, icd_dptr y, int64_t ldy)
{
    bool apart = needs_finish(l) || l->by == ICD_GPU_SPARSE;
    icd_lt_product p = lt_product(l, staged, apart ? gpu->raw : y);
    if (apart) {
        p.relu = 0;
        p.bias = (icd_dptr){0};
    }
    icd_status status = l->by == ICD_GPU_LT
                            ? icd_i_lt_run(ctx, gpu->lt, &p)
                            : icd_i_splt_run(ctx, gpu->splt, l->two_of_four, &p);
    return status == ICD_OK && apart ? finish(ctx, gpu, l, scale, y, ldy) : status;
}

/* ---- the race ---- */

typedef struct lane {
    bool runs;
    icd_device_graph *graph;
    double ms[ROUNDS];
} lane;

typedef struct track {
    icd_dptr x, scale, y;
    icd_timer *timer;
    lane lane[WAYS];
} track;

static const char *const WAY_NAME[WAYS] = {"ours", "cublaslt", "cusparselt"};

void icd_i_gpu_random(int32_t type, unsigned char *out, int64_t bytes)
{
    icd_rng rng;
    icd_i_rng_init(&rng, 1, 0);
    for (int64_t i = 0; i < bytes; i++) {
        uint32_t bits = icd_i_rng_u32(&rng);
        bool exponent = type == ICD_GPU_BF16 && i % 2;
        out[i] = (unsigned char)(exponent              ? 0x3c | (bits & 0x83)
                                 : type == ICD_GPU_FP8 ? bits & 0xbf
                                                       : bits);
    }
}

static icd_status put_operands(icd_ctx *ctx, icd_gpu *gpu, const icd_gpu_linear *l,
                               track *t)
{
    icd_status status = ICD_OK;
    unsigned char *row = NULL;
    int64_t bytes = l->slots * icd_i_gpu_size(l->type);
    float one = 1;
    ICD_TRY(icd_device_alloc(ctx, gpu->device, l->tokens * bytes, "operands", &t->x));
    ICD_TRY(icd_device_alloc(ctx, gpu->device, l->tokens * 4, "operands", &t->scale));
    ICD_TRY(
        icd_device_alloc(ctx, gpu->device, l->tokens * l->width * 2, "operands", &t->y));
    ICD_TRY(ICD_ALLOC(ctx, bytes, &row));
    icd_i_gpu_random(l->type, row, bytes);
    for (int64_t i = 0; i < l->tokens; i++) {
        ICD_TRY(icd_device_upload(ctx, gpu->device, icd_dptr_add(t->x, i * bytes), row,
                                  bytes));
        ICD_TRY(
            icd_device_upload(ctx, gpu->device, icd_dptr_add(t->scale, i * 4), &one, 4));
    }
done:
    icd_i_free(ctx, row);
    return status;
}

/* What a way needs before it can run. */
static icd_status make_ready(icd_ctx *ctx, icd_gpu *gpu, icd_gpu_linear *l, int32_t way,
                             const track *t)
{
    icd_lt_product p = lt_product(l, t->x, needs_finish(l) ? gpu->raw : t->y);
    if (way == ICD_GPU_OURS) return ICD_OK;
    if (way == ICD_GPU_LT) {
        if (!gpu->lt || !l->flat.at) return ICD_EUNSUPPORTED;
        return icd_i_lt_tune(ctx, gpu->lt, &p, NULL);
    }
    if (!gpu->splt || l->two_of_four == ICD_SPLT_NONE) return ICD_EUNSUPPORTED;
    p.y = gpu->raw;
    return icd_i_splt_make(ctx, gpu->splt, &p, &l->two_of_four);
}

static icd_status record_lane(icd_ctx *ctx, icd_gpu *gpu, icd_gpu_linear *l, int32_t way,
                              const track *t, icd_device_graph **out)
{
    icd_status status = ICD_OK, ended = ICD_OK;
    l->by = way;
    ICD_TRY(icd_device_record(ctx, gpu->device));
    for (int i = 0; status == ICD_OK && i < LAUNCHES; i++)
        status = icd_i_gpu_product(ctx, gpu, l, t->x, t->scale, t->y, l->width);
    ended = icd_device_record_end(ctx, gpu->device, status == ICD_OK ? out : NULL);
    if (status == ICD_OK) status = ended;
done:
    return status;
}

static icd_status time_once(icd_ctx *ctx, icd_gpu *gpu, const track *t, const lane *one,
                            double *ms)
{
    icd_status status = ICD_OK;
    ICD_TRY(icd_timer_start(ctx, t->timer));
    ICD_TRY(icd_device_replay(ctx, gpu->device, one->graph));
    ICD_TRY(icd_timer_stop(ctx, t->timer));
    ICD_TRY(icd_timer_ms(ctx, t->timer, ms));
    *ms /= LAUNCHES;
done:
    return status;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* In turns, so that what else happens on the device meets all of them. */
static icd_status run_race(icd_ctx *ctx, icd_gpu *gpu, icd_gpu_linear *l, track *t)
{
    icd_status status = ICD_OK;
    double warm;
    for (int32_t w = 0; w < WAYS; w++)
        t->lane[w].runs = make_ready(ctx, gpu, l, w, t) == ICD_OK &&
                          record_lane(ctx, gpu, l, w, t, &t->lane[w].graph) == ICD_OK &&
                          time_once(ctx, gpu, t, &t->lane[w], &warm) == ICD_OK;
    for (int i = 0; i < ROUNDS; i++)
        for (int32_t w = 0; w < WAYS; w++)
            if (t->lane[w].runs)
                ICD_TRY(time_once(ctx, gpu, t, &t->lane[w], &t->lane[w].ms[i]));
    for (int32_t w = 0; w < WAYS; w++)
        qsort(t->lane[w].ms, ROUNDS, sizeof(double), by_value);
done:
    return status;
}

static int32_t winner(const track *t)
{
    int32_t best = ICD_GPU_OURS;
    for (int32_t w = 1; w < WAYS; w++)
        if (t->lane[w].runs && t->lane[w].ms[ROUNDS / 2] < t->lane[best].ms[ROUNDS / 2])
            best = w;
    return best;
}

static void tell(icd_ctx *ctx, const icd_gpu_linear *l, const track *t, double start)
{
    char meta[512];
    int n = snprintf(meta, sizeof meta,
                     "{\"linear\":\"%s\",\"kernel\":\"dense\",\"by\":\"%s\","
                     "\"tokens\":%lld",
                     l->info->name, WAY_NAME[l->by], (long long)l->tokens);
    for (int32_t w = 0; w < WAYS && n > 0 && n < (int)sizeof meta; w++)
        if (t->lane[w].runs)
            n += snprintf(meta + n, sizeof meta - (size_t)n, ",\"%s_us\":%.2f",
                          WAY_NAME[w], t->lane[w].ms[ROUNDS / 2] * 1e3);
    if (n <= 0 || n + 1 >= (int)sizeof meta) return;
    meta[n++] = '}';
    meta[n] = 0;
    icd_event event = {"kernel", start, icd_ctx_now(ctx), true, meta};
    icd_ctx_emit(ctx, &event);
}

static void release_track(icd_ctx *ctx, icd_gpu *gpu, track *t)
{
    for (int32_t w = 0; w < WAYS; w++) icd_device_graph_free(ctx, t->lane[w].graph);
    icd_timer_free(ctx, t->timer);
    icd_device_release(ctx, gpu->device, t->x);
    icd_device_release(ctx, gpu->device, t->scale);
    icd_device_release(ctx, gpu->device, t->y);
}

static icd_gpu_race race_of(const icd_gpu_linear *l)
{
    return (icd_gpu_race){.type = l->type,
                          .act = l->act,
                          .biased = l->bias.at != 0,
                          .placed = l->place.at != 0 || l->width != l->info->rows,
                          .vector = l->plan->vector,
                          .tokens = l->tokens,
                          .rows = l->info->rows,
                          .cols = l->flat_slots,
                          .slots = l->slots};
}

static const icd_gpu_race *find_race(const icd_gpu *gpu, const icd_gpu_race *like)
{
    for (int64_t i = 0; i < gpu->races; i++) {
        icd_gpu_race known = gpu->race[i];
        known.by = like->by;
        if (memcmp(&known, like, sizeof known) == 0) return &gpu->race[i];
    }
    return NULL;
}

static icd_status remember(icd_ctx *ctx, icd_gpu *gpu, const icd_gpu_race *race)
{
    icd_status status = icd_i_grow(ctx, (void **)&gpu->race, &gpu->race_capacity,
                                   gpu->races + 1, sizeof *gpu->race);
    if (status == ICD_OK) gpu->race[gpu->races++] = *race;
    return status;
}

static icd_status hold_race(icd_ctx *ctx, icd_gpu *gpu, icd_gpu_linear *l)
{
    icd_status status = ICD_OK;
    track t = {.x = {0}};
    double start = icd_ctx_now(ctx);
    ICD_TRY(put_operands(ctx, gpu, l, &t));
    ICD_TRY(icd_timer_new(ctx, gpu->device, &t.timer));
    ICD_TRY(run_race(ctx, gpu, l, &t));
    l->by = winner(&t);
    tell(ctx, l, &t, start);
done:
    if (status != ICD_OK) l->by = ICD_GPU_OURS;
    release_track(ctx, gpu, &t);
    return status;
}

icd_status icd_i_gpu_fastest(icd_ctx *ctx, icd_gpu *gpu, icd_gpu_linear *l)
{
    icd_status status = ICD_OK;
    l->by = ICD_GPU_OURS;
    if (!l->flat.at || l->wide) return ICD_OK;
    icd_gpu_race race = race_of(l);
    /* a compressed matrix is each linear's own, so that it runs its own race */
    const icd_gpu_race *known =
        l->two_of_four == ICD_SPLT_NONE ? find_race(gpu, &race) : NULL;
    ICD_TRY(icd_i_gpu_grow(ctx, gpu, &gpu->raw, &gpu->raw_bytes, raw_bytes(l)));
    if (known) {
        l->by = known->by;
        return ICD_OK;
    }
    ICD_TRY(hold_race(ctx, gpu, l));
    race.by = l->by;
    if (l->two_of_four == ICD_SPLT_NONE) ICD_TRY(remember(ctx, gpu, &race));
done:
    if (status == ICD_ENOMEM) {
        l->by = ICD_GPU_OURS;
        icd_i_warn(ctx, "%s: no GPU memory is left to time a library, our kernel runs it",
                   l->info->name);
    }
    return status == ICD_ENOMEM ? ICD_OK : status;
}
