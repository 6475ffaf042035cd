/* kernel.kind: auto in the loop. The kernels of every arm are measured once, before
   anything is checked or timed, and from then on they are as fixed as if they had been
   configured: all processes of a run, and its A/A control, execute the same. */
#include "runtime/judgement.h"
#include "runtime/variant.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const NAME[] = {"auto", "dense", "gather", "tile"};

static bool has_auto(const icd_layout *layout)
{
    for (int64_t i = 0; i < layout->count; i++)
        if (layout->entry[i].kernel == ICD_KERNEL_AUTO) return true;
    return false;
}

/* A GPU's own dense products are chosen when they are loaded (docs/gpu.md); whatever has
   dead granules skips them. */
static void settle_device(icd_layout *layout)
{
    for (int64_t i = 0; i < layout->count; i++)
        if (layout->entry[i].kernel == ICD_KERNEL_AUTO)
            layout->entry[i].kernel = ICD_KERNEL_TILE;
}

static void copy_choices(const icd_layout *from, icd_layout *to)
{
    for (int64_t i = 0; i < to->count && i < from->count; i++) {
        if (to->entry[i].kernel != ICD_KERNEL_AUTO) continue;
        to->entry[i].kernel = from->entry[i].kernel;
        to->entry[i].choice = from->entry[i].choice;
    }
}

static bool same_shape(const json_t *row, const icd_layout_entry *e, const char *dtype)
{
    return json_integer_value(json_object_get(row, "rows")) == e->rows &&
           json_integer_value(json_object_get(row, "cols")) == e->cols &&
           json_integer_value(json_object_get(row, "granule")) == e->granule &&
           !strcmp(json_string_value(json_object_get(row, "dtype")), dtype);
}

static json_t *share(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

/* The break-even shares of this entry's shape, where they are not known yet. */
static icd_status add_shape(icd_job *job, icd_runner *runner, const icd_layout_entry *e,
                            int32_t dtype)
{
    const char *name = icd_i_run_dtype_name(dtype);
    icd_break_even even;
    const json_t *row = NULL;
    size_t i = 0;
    json_array_foreach(job->break_even, i, row)
    {
        if (same_shape(row, e, name)) return ICD_OK;
    }
    icd_status status = icd_runner_break_even(job->ctx, runner, e, &even);
    if (status != ICD_OK) return status;
    if (!job->break_even) job->break_even = json_array();
    json_t *new = json_pack("{s:I,s:I,s:i,s:s,s:I,s:o,s:o}", "rows", (json_int_t)e->rows,
                            "cols", (json_int_t)e->cols, "granule", e->granule, "dtype",
                            name, "tokens", (json_int_t)e->choice.tokens, "tile",
                            share(even.tile), "gather", share(even.gather));
    return json_array_append_new(job->break_even, new) ? ICD_ENOMEM : ICD_OK;
}

static icd_status measure(icd_job *job, icd_job_arm *arm)
{
    icd_status status = ICD_OK;
    icd_runner *runner = NULL;
    icd_runner_opts opts = job->config->runner;
    icd_batch batch = icd_i_input_batch(&job->input, 0);
    const icd_model *model = arm->variant ? arm->variant->model : job->transformed;
    opts.dtype = arm->dtype;
    opts.vector = job->config->kernel.vector;
    ICD_TRY(icd_runner_new(job->ctx, model, arm->layout, &batch, &opts, &runner));
    for (int64_t i = 0; i < arm->layout->count; i++) {
        icd_layout_entry *e = &arm->layout->entry[i];
        if (e->kernel != ICD_KERNEL_AUTO) continue;
        icd_runner_choice(runner, i, &e->choice);
        e->kernel = e->choice.kernel ? e->choice.kernel : ICD_KERNEL_DENSE;
        ICD_TRY(add_shape(job, runner, e, arm->dtype));
    }
done:
    icd_runner_free(job->ctx, runner);
    return status;
}

icd_status icd_i_kernels_choose(icd_job *job)
{
    bool device = job->config->runner.device != ICD_RUN_CPU;
    for (int64_t i = 0; i < job->arms; i++) {
        icd_job_arm *arm = &job->arm[i];
        icd_status status = ICD_OK;
        icd_i_progress(job->ctx, "kernels", i, job->arms);
        if (!has_auto(arm->layout)) continue;
        if (device)
            settle_device(arm->layout);
        else if (!strcmp(arm->name, "linear A/A"))
            copy_choices(job->arm[0].layout, arm->layout);
        else
            status = measure(job, arm);
        if (status != ICD_OK) return status;
    }
    return ICD_OK;
}

json_t *icd_i_kernel_json(const icd_layout_entry *e)
{
    const icd_kernel_choice *c = &e->choice;
    json_t *row = json_pack("{s:i,s:i}", "kind", e->kernel, "granule", e->granule);
    const double us[] = {1e6 * c->dense_s, 1e6 * c->tile_s, 1e6 * c->gather_s};
    if (!c->kernel) return row;
    json_object_set_new(row, "kernel", json_string(NAME[c->kernel & 3]));
    json_object_set_new(row, "live", share(c->live));
    json_object_set_new(row, "tokens", json_integer(c->tokens));
    json_object_set_new(row, "dense_us", share(us[0]));
    json_object_set_new(row, "tile_us", share(us[1]));
    json_object_set_new(row, "gather_us", share(us[2]));
    return row;
}

static double seconds(const json_t *row, const char *key)
{
    const json_t *value = json_object_get(row, key);
    return json_is_number(value) ? 1e-6 * json_number_value(value) : NAN;
}

static void take_choice(const json_t *row, icd_layout_entry *e)
{
    json_int_t kind = json_integer_value(json_object_get(row, "kind"));
    if (!json_object_get(row, "dense_us") || kind < ICD_KERNEL_DENSE ||
        kind > ICD_KERNEL_TILE)
        return;
    e->kernel = (int32_t)kind;
    e->choice =
        (icd_kernel_choice){.kernel = e->kernel,
                            .tokens = json_integer_value(json_object_get(row, "tokens")),
                            .live = json_number_value(json_object_get(row, "live")),
                            .dense_s = seconds(row, "dense_us"),
                            .tile_s = seconds(row, "tile_us"),
                            .gather_s = seconds(row, "gather_us")};
}

icd_status icd_i_kernels_load(icd_job *job, const char *path)
{
    json_t *root = NULL, *even = NULL;
    const json_t *row = NULL;
    size_t i = 0;
    if (!path) return ICD_ENOMEM;
    icd_status status = icd_i_json_read(job->ctx, path, &root);
    json_array_foreach(json_object_get(root, "arms"), i, row)
    {
        const char *name = json_string_value(json_object_get(row, "name"));
        icd_job_arm *arm = name ? icd_i_arm_find(job, name) : NULL;
        for (int64_t k = 0; arm && arm->layout && k < arm->layout->count; k++) {
            icd_layout_entry *e = &arm->layout->entry[k];
            take_choice(json_object_get(json_object_get(row, "kernels"), e->linear), e);
        }
    }
    even = json_object_get(root, "break_even");
    if (json_is_array(even)) {
        json_decref(job->break_even);
        job->break_even = json_incref(even);
    }
    json_decref(root);
    return status;
}

void icd_i_kernel_words(const icd_layout *layout, char *out, size_t size)
{
    int64_t count[4] = {0}, chosen = 0;
    size_t used = 0;
    for (int64_t i = 0; layout && i < layout->count; i++) {
        const icd_layout_entry *e = &layout->entry[i];
        chosen += e->choice.kernel != ICD_KERNEL_AUTO;
        count[e->kernel & 3] += e->choice.kernel != ICD_KERNEL_AUTO;
    }
    snprintf(out, size, "%s",
             NAME[layout && layout->count ? layout->entry[0].kernel & 3 : 0]);
    if (chosen == 0) return;
    used = (size_t)snprintf(out, size, "auto:");
    for (int k = ICD_KERNEL_TILE; k >= ICD_KERNEL_DENSE && used < size; k--)
        if (count[k])
            used += (size_t)snprintf(out + used, size - used, "%s %lld %s",
                                     used > strlen("auto:") ? "," : "",
                                     (long long)count[k], NAME[k]);
}
