/* The measuring process: builds the arms that a run directory describes, times them,
   writes samples.csv. */
#include "runtime/meters.h"
#include "runtime/variant.h"

#include <icd/device.h>

#include <stdio.h>
#include <string.h>

static void path_of(const icd_worker *w, const char *name, char out[1024])
{
    snprintf(out, 1024, "%s/%s", w->dir, name);
}

static icd_status damaged(icd_worker *w, const char *file, const char *what)
{
    return icd_i_fail(w->ctx, ICD_EDATA, file, "run `icd run` again", "%s", what);
}

static icd_status read_input(icd_worker *w)
{
    icd_status status = ICD_OK;
    char path[1024];
    icd_npz *npz = NULL;
    path_of(w, "input.npz", path);
    ICD_TRY(icd_i_npz_open(w->ctx, path, &npz));
    if (icd_i_npz_has(npz, "ids")) {
        ICD_TRY(icd_i_npz_get(w->ctx, npz, "ids", &w->ids));
        ICD_TRY(icd_i_npz_get(w->ctx, npz, "lengths", &w->lengths));
        if (w->ids.dims != 2 || w->ids.item != 4 || w->lengths.item != 4 ||
            w->lengths.count != w->ids.shape[0]) {
            status = damaged(w, path, "ids and lengths do not fit each other");
            goto done;
        }
        w->batch = (icd_batch){.ids = w->ids.data,
                               .lengths = w->lengths.data,
                               .batch = w->ids.shape[0],
                               .seq = w->ids.shape[1]};
    } else {
        ICD_TRY(icd_i_npz_get(w->ctx, npz, "rows", &w->rows));
        if (w->rows.dims != 3 || w->rows.kind != 'f' || w->rows.item != 4) {
            status = damaged(w, path, "expected rows of float32 [batch, seq, width]");
            goto done;
        }
        w->batch = (icd_batch){.rows = w->rows.data,
                               .batch = w->rows.shape[0],
                               .seq = w->rows.shape[1],
                               .width = w->rows.shape[2]};
    }
done:
    icd_i_npz_close(w->ctx, npz);
    return status;
}

/* `icd_masks` holds the rows of a block of every mask, in the order of the linears. */
static icd_status read_mask(icd_worker *w, icd_npz *npz, int32_t vector,
                            icd_layout_entry *e)
{
    icd_status status = ICD_OK;
    icd_array bits = {0};
    if (!icd_i_npz_has(npz, e->linear)) return ICD_OK;
    ICD_TRY(icd_i_npz_get(w->ctx, npz, e->linear, &bits));
    ICD_TRY(icd_i_mask_new(w->ctx, e->rows, e->cols, vector, &e->mask));
    if (bits.item != 8 || bits.count != e->mask->blocks * e->mask->words) {
        status = damaged(w, e->linear, "the mask does not fit its matrix");
        goto done;
    }
    memcpy(e->mask->bits, bits.data, (size_t)bits.count * sizeof(uint64_t));
done:
    icd_i_array_release(w->ctx, &bits);
    return status;
}

/* The order in which scales belong to neighbours; *out NULL: that of the columns. */
static icd_status read_scale_order(icd_worker *w, icd_npz *npz, const icd_layout_entry *e,
                                   icd_perm **out)
{
    icd_status status = ICD_OK;
    icd_array index = {0};
    char name[512];
    snprintf(name, sizeof name, "order.%s", e->linear);
    if (!icd_i_npz_has(npz, name)) return ICD_OK;
    ICD_TRY(icd_i_npz_get(w->ctx, npz, name, &index));
    if (index.kind != 'i' || index.item != 4 || index.count != e->cols)
        status = damaged(w, name, "the order does not fit its matrix");
    else
        status = icd_perm_from_array(w->ctx, index.data, index.count,
                                     ICD_FRAME_CHECKPOINT, name, out);
done:
    icd_i_array_release(w->ctx, &index);
    return status;
}

/* What calibration decided: outliers and the static scale of activations. */
static icd_status read_choices(icd_worker *w, icd_npz *npz, const icd_layout_entry *e,
                               icd_array *outliers, icd_quant_place *place)
{
    icd_status status = ICD_OK;
    char name[512];
    icd_array scale = {0};
    place->given = true;
    snprintf(name, sizeof name, "outliers.%s", e->linear);
    if (icd_i_npz_has(npz, name)) {
        ICD_TRY(icd_i_npz_get(w->ctx, npz, name, outliers));
        if (outliers->kind != 'i' || outliers->item != 4) {
            status = damaged(w, name, "outliers are no columns");
            goto done;
        }
        place->outlier = outliers->data;
        place->outliers = outliers->count;
    }
    snprintf(name, sizeof name, "input_scale.%s", e->linear);
    if (icd_i_npz_has(npz, name)) {
        ICD_TRY(icd_i_npz_get(w->ctx, npz, name, &scale));
        if (scale.kind != 'f' || scale.item != 4 || scale.count != 1)
            status = damaged(w, name, "expected one float32");
        else
            place->input_scale = *(const float *)scale.data;
    }
done:
    icd_i_array_release(w->ctx, &scale);
    return status;
}

static icd_status quantize(icd_worker *w, icd_worker_model *m, int64_t i, icd_npz *npz,
                           icd_layout_entry *e)
{
    icd_status status = ICD_OK;
    icd_perm *order = NULL;
    float *weights = NULL;
    icd_array outliers = {0};
    icd_quant_place place = {0};
    icd_transform_meta meta;
    if (!icd_i_config_small(w->config)) return ICD_OK;
    ICD_TRY(icd_model_tensor_f32(w->ctx, m->model, w->list[i].tensor, &weights));
    icd_matrix matrix = {e->linear, weights, e->rows, e->cols};
    ICD_TRY(read_scale_order(w, npz, e, &order));
    ICD_TRY(read_choices(w, npz, e, &outliers, &place));
    place.order = order;
    ICD_TRY(icd_apply_quant_in(w->ctx, &matrix, NULL, &w->config->quant, &place,
                               &m->quant[i], &meta));
    if (m->quant[i]) icd_i_promise_nm(&w->config->sparsity, m->quant[i]);
    e->quant = m->quant[i];
done:
    icd_i_array_release(w->ctx, &outliers);
    icd_perm_free(w->ctx, order);
    icd_mem_free(w->ctx, weights);
    return status;
}

static icd_status fill_layout(icd_worker *w, icd_worker_model *m, icd_npz *npz,
                              const icd_array *vectors)
{
    icd_status status = ICD_OK;
    for (int64_t i = 0; i < w->linears; i++) {
        const icd_linear *l = &w->list[i];
        int64_t vector = icd_i_array_int(vectors, i);
        if (vector < 1 || vector > INT32_MAX) vector = 1;
        icd_i_progress(w->ctx, "load", i, w->linears);
        ICD_TRY(icd_i_layout_add(w->ctx, m->layout, l->name, l->group, l->rows, l->cols));
        ICD_TRY(read_mask(w, npz, (int32_t)vector, &m->layout->entry[i]));
        ICD_TRY(quantize(w, m, i, npz, &m->layout->entry[i]));
    }
    if (icd_i_config_small(w->config)) icd_i_layout_keep_whole(m->layout);
done:
    return status;
}

static icd_status read_layout(icd_worker *w, icd_worker_model *m)
{
    icd_status status = ICD_OK;
    char name[96], path[1024];
    icd_npz *npz = NULL;
    icd_array vectors = {0};
    snprintf(name, sizeof name, "masks%s.npz", m->folder + strlen("model"));
    path_of(w, name, path);
    ICD_TRY(icd_i_npz_open(w->ctx, path, &npz));
    ICD_TRY(ICD_ALLOC(w->ctx, w->linears, &m->quant));
    ICD_TRY(icd_i_layout_new(w->ctx, &m->layout));
    ICD_TRY(icd_i_npz_get(w->ctx, npz, "icd_masks", &vectors));
    if (vectors.kind != 'i' || vectors.count != w->linears)
        status = damaged(w, path, "it does not belong to this model");
    else
        status = fill_layout(w, m, npz, &vectors);
done:
    icd_i_array_release(w->ctx, &vectors);
    icd_i_npz_close(w->ctx, npz);
    return status;
}

/* Opens a stored model, once. */
static icd_status take_model(icd_worker *w, const char *folder, icd_worker_model **out)
{
    char path[1024];
    for (int64_t i = 0; i < w->models; i++)
        if (!strcmp(w->model[i].folder, folder)) {
            *out = &w->model[i];
            return ICD_OK;
        }
    if (w->models == ICD_WORKER_MODELS || strncmp(folder, "model", 5) ||
        strchr(folder, '/') || strlen(folder) >= sizeof w->model[0].folder)
        return damaged(w, "arms.json", "an arm names no model of the run");
    icd_worker_model *m = &w->model[w->models++];
    snprintf(m->folder, sizeof m->folder, "%s", folder);
    path_of(w, folder, path);
    icd_status status = icd_model_open(w->ctx, path, &m->model);
    if (status == ICD_OK && !w->list)
        status = icd_runner_linears(w->ctx, m->model, &w->list, &w->linears);
    if (status == ICD_OK) status = read_layout(w, m);
    *out = m;
    return status;
}

/* The frame in which the input of a group stands in the stored model. */
static uint64_t group_frame(const icd_worker *w, const icd_model *model,
                            const char *group)
{
    for (int64_t i = 0; i < w->linears; i++)
        if (!strcmp(w->list[i].group, group) && icd_model_axis(model, w->list[i].in_axis))
            return icd_model_frame(model, w->list[i].in_axis);
    return ICD_FRAME_CHECKPOINT;
}

static icd_status read_order(icd_worker *w, const icd_model *model, const char *group,
                             const json_t *list, icd_layout *layout)
{
    icd_status status = ICD_OK;
    int32_t *index = NULL;
    icd_perm *perm = NULL;
    const json_t *value = NULL;
    size_t i = 0;
    int64_t count = (int64_t)json_array_size(list);
    ICD_TRY(ICD_ALLOC(w->ctx, count, &index));
    json_array_foreach(list, i, value)
    {
        json_int_t v = json_integer_value(value);
        index[i] = v < 0 || v > INT32_MAX ? -1 : (int32_t)v;
    }
    ICD_TRY(icd_perm_from_array(w->ctx, index, count, group_frame(w, model, group),
                                "arms.json", &perm));
    ICD_TRY(icd_i_layout_set_order(w->ctx, layout, group, perm));
done:
    icd_perm_free(w->ctx, perm);
    icd_i_free(w->ctx, index);
    return status;
}

static void read_kernels(const json_t *kernels, icd_layout *layout)
{
    for (int64_t i = 0; i < layout->count; i++) {
        icd_layout_entry *e = &layout->entry[i];
        const json_t *row = json_object_get(kernels, e->linear);
        json_int_t kind = json_integer_value(json_object_get(row, "kind"));
        json_int_t granule = json_integer_value(json_object_get(row, "granule"));
        e->kernel = kind >= ICD_KERNEL_DENSE && kind <= ICD_KERNEL_TILE
                        ? (int32_t)kind
                        : ICD_KERNEL_DENSE;
        e->granule = granule > 0 && granule <= 4096 ? (int32_t)granule : 4;
    }
}

static icd_status step(icd_ctx *ctx, void *self)
{
    icd_worker_arm *arm = self;
    icd_output out;
    return icd_runner_step(ctx, arm->runner, arm->batch, &out);
}

/* The arms' runners share the context of the device, hence its second level. */
static icd_status flush(icd_ctx *ctx, void *self)
{
    icd_worker_arm *arm = self;
    icd_status status = icd_device_flush_l2(ctx, arm->device);
    return status == ICD_OK ? icd_device_sync(ctx, arm->device) : status;
}

static icd_status open_device(icd_worker *w, icd_device **out)
{
    const char *driver = w->config->runner.driver;
    icd_device_opts opts = {.size = sizeof opts,
                            .driver = driver && *driver ? driver : NULL};
    return icd_device_open(w->ctx, &opts, out);
}

static icd_status model_of(icd_worker *w, const json_t *row, icd_worker_model **out)
{
    const char *folder = json_string_value(json_object_get(row, "model"));
    return take_model(w, folder ? folder : "model", out);
}

icd_status icd_i_worker_layout(icd_worker *w, const json_t *row, icd_layout **out)
{
    json_t *order = NULL, *orders = json_object_get(row, "orders");
    const char *group = NULL;
    icd_worker_model *m = NULL;
    *out = NULL;
    icd_status status = model_of(w, row, &m);
    if (status == ICD_OK) status = icd_i_layout_copy(w->ctx, m->layout, out);
    if (status != ICD_OK) return status;
    read_kernels(json_object_get(row, "kernels"), *out);
    json_object_foreach(orders, group, order)
    {
        status = read_order(w, m->model, group, order, *out);
        if (status == ICD_OK) continue;
        icd_i_layout_free(w->ctx, *out);
        *out = NULL;
        return status;
    }
    return ICD_OK;
}

/* The runner of arm i, with a cache that holds what the arm's kv says. */
static icd_status start_runner(icd_worker *w, int64_t i, const icd_worker_model *m,
                               const icd_layout *layout, const icd_runner_opts *opts,
                               int32_t kv)
{
    icd_worker_arm *self = &w->self[i];
    icd_status status = icd_i_region_new(w->ctx, &self->region);
    if (status != ICD_OK) return status;
    icd_i_region_enter(w->ctx, self->region);
    status = icd_runner_new(w->ctx, m->model, layout, &w->batch, opts, &self->runner);
    if (status == ICD_OK && icd_i_kv_wanted(w->config) &&
        !icd_i_kv_obstacle(w->config, m->model))
        status = icd_i_evict(w->ctx, self->runner, icd_model_get_config(m->model)->layers,
                             &w->batch, &w->config->kv, kv, NULL, NULL);
    icd_i_region_leave(w->ctx);
    return status;
}

static icd_status command_arm(icd_worker *w, int64_t i, const json_t *row)
{
    const char *name = json_string_value(json_object_get(row, "name"));
    const char *command = json_string_value(json_object_get(row, "command"));
    if (!name || !command)
        return damaged(w, "arms.json", "an arm has no name or no command");
    w->self[i].exec = (icd_exec_arm){command, &w->config->exec};
    w->arm[i] =
        (icd_arm){name, icd_i_exec_step, &w->self[i].exec, .burst = icd_i_exec_burst};
    return ICD_OK;
}

static icd_status build_arm(icd_worker *w, int64_t i, const json_t *row)
{
    icd_status status = ICD_OK;
    icd_layout *layout = NULL;
    icd_worker_model *m = NULL;
    icd_runner_opts opts = w->config->runner;
    const char *dtype = json_string_value(json_object_get(row, "dtype"));
    opts.dtype = icd_i_run_dtype_of(dtype);
    opts.vector = w->config->kernel.vector;
    opts.threshold = w->config->kernel.threshold;
    opts.l2_pin = w->config->layout.l2_pin;
    ICD_TRY(model_of(w, row, &m));
    ICD_TRY(icd_i_worker_layout(w, row, &layout));
    bool other = opts.dtype != icd_i_config_dtype(w->config); /* "original" */
    for (int64_t k = 0; other && k < layout->count; k++) layout->entry[k].quant = NULL;
    ICD_TRY(start_runner(w, i, m, layout, &opts,
                         icd_i_arm_kv_of(json_string_value(json_object_get(row, "kv")))));
    w->self[i].batch = &w->batch;
    w->self[i].device = w->device;
    w->arm[i] = (icd_arm){.name = json_string_value(json_object_get(row, "name")),
                          .step = step,
                          .self = &w->self[i],
                          .flush = w->device ? flush : NULL,
                          .elsewhere = opts.device == ICD_RUN_CUDA};
    if (!w->arm[i].name) status = damaged(w, "arms.json", "an arm has no name");
done:
    icd_i_layout_free(w->ctx, layout);
    return status;
}

icd_status icd_i_worker_build(icd_worker *w, const json_t *list)
{
    icd_status status = ICD_OK;
    int64_t count = (int64_t)json_array_size(list);
    if (count == 0) return damaged(w, "arms.json", "found no arms");
    ICD_TRY(ICD_ALLOC(w->ctx, count, &w->self));
    ICD_TRY(ICD_ALLOC(w->ctx, count, &w->arm));
    w->arms = count;
    if (w->config->runner.device == ICD_RUN_CUDA &&
        w->config->measure.mode == ICD_MEASURE_COLD && !icd_i_exec_wanted(w->config))
        ICD_TRY(open_device(w, &w->device));
    for (int64_t i = 0; i < count; i++) {
        const json_t *row = json_array_get(list, (size_t)i);
        ICD_TRY(icd_i_exec_wanted(w->config) ? command_arm(w, i, row)
                                             : build_arm(w, i, row));
    }
done:
    return status;
}

static void release_model(icd_worker *w, icd_worker_model *m)
{
    for (int64_t i = 0; m->quant && i < w->linears; i++)
        icd_quantized_free(w->ctx, m->quant[i]);
    icd_i_free(w->ctx, m->quant);
    icd_i_layout_free(w->ctx, m->layout);
    icd_model_free(w->ctx, m->model);
}

void icd_i_worker_release(icd_worker *w)
{
    for (int64_t i = 0; w->self && i < w->arms; i++)
        icd_runner_free(w->ctx, w->self[i].runner);
    for (int64_t i = 0; i < w->models; i++) release_model(w, &w->model[i]);
    /* Last: a model may have read a tensor while an arm was built. */
    for (int64_t i = 0; w->self && i < w->arms; i++) icd_i_region_free(w->self[i].region);
    icd_device_close(w->ctx, w->device);
    icd_i_free(w->ctx, w->self);
    icd_i_free(w->ctx, w->arm);
    icd_mem_free(w->ctx, (void *)(uintptr_t)w->list);
    icd_i_array_release(w->ctx, &w->ids);
    icd_i_array_release(w->ctx, &w->lengths);
    icd_i_array_release(w->ctx, &w->rows);
    icd_config_free(w->ctx, w->config);
}

icd_status icd_i_worker_open(icd_worker *w)
{
    icd_status status = ICD_OK;
    char path[1024];
    icd_worker_model *loop = NULL;
    path_of(w, "config.lock.json", path);
    ICD_TRY(icd_config_new(w->ctx, &w->config));
    ICD_TRY(icd_config_read(w->ctx, w->config, path));
    if (icd_i_exec_wanted(w->config)) goto done;
    ICD_TRY(take_model(w, "model", &loop));
    ICD_TRY(read_input(w));
done:
    return status;
}

static icd_status open_arms(icd_worker *w, json_t **arms)
{
    char path[1024];
    icd_status status = icd_i_worker_open(w);
    if (status != ICD_OK) return status;
    path_of(w, "arms.json", path);
    return icd_i_json_read(w->ctx, path, arms);
}

/* Steps that a profiler can tell from building and warming up: on a GPU the first step,
   which records graphs and tries kernels, is not one of them. */
static icd_status profiled_steps(icd_worker *w, int64_t steps)
{
    icd_status status = ICD_OK;
    icd_ctx *ctx = w->ctx;
    icd_device *device = NULL;
    if (w->config->runner.device == ICD_RUN_CUDA) {
        ICD_TRY(w->arm[0].step(ctx, w->arm[0].self));
        ICD_TRY(open_device(w, &device));
        ICD_TRY(icd_device_profile(ctx, device, true));
    }
    for (int64_t k = 0; k < steps; k++) ICD_TRY(w->arm[0].step(ctx, w->arm[0].self));
    if (device) status = icd_device_profile(ctx, device, false);
done:
    icd_device_close(ctx, device);
    return status;
}

icd_status icd_step_run(icd_ctx *ctx, const char *dir, const char *arm, int64_t steps)
{
    icd_status status = ICD_OK;
    icd_worker w = {.ctx = ctx, .dir = dir};
    json_t *root = NULL, *row = NULL, *only = json_array();
    size_t i;
    ICD_TRY(open_arms(&w, &root));
    json_array_foreach(json_object_get(root, "arms"), i, row)
    {
        const char *name = json_string_value(json_object_get(row, "name"));
        if (name && !strcmp(name, arm)) json_array_append(only, row);
    }
    if (json_array_size(only) == 0) {
        status = icd_i_fail(ctx, ICD_EINVAL, dir, NULL, "the run has no arm '%s'", arm);
        goto done;
    }
    ICD_TRY(icd_i_worker_build(&w, only));
    status = profiled_steps(&w, steps);
done:
    icd_i_worker_release(&w);
    json_decref(only);
    json_decref(root);
    return status;
}

icd_status icd_measure_run(icd_ctx *ctx, const char *dir, const char *const *worker)
{
    icd_status status = ICD_OK;
    icd_worker w = {.ctx = ctx, .dir = dir};
    icd_samples *samples = NULL;
    json_t *arms = NULL;
    char path[1024];
    ICD_TRY(open_arms(&w, &arms));
    ICD_TRY(icd_i_worker_build(&w, json_object_get(arms, "arms")));
    icd_measure_opts opts = w.config->measure;
    opts.repeats = w.config->pipeline.repeats;
    opts.warmup_iter = w.config->pipeline.warmup_iter;
    ICD_TRY(icd_measure_arms(ctx, w.arm, w.arms, &opts, &samples));
    path_of(&w, "samples.csv", path);
    ICD_TRY(icd_samples_write(ctx, samples, path));
    if (!icd_i_exec_wanted(w.config))
        status = icd_i_meters_run(&w, json_object_get(arms, "arms"), worker);
done:
    icd_samples_free(ctx, samples);
    icd_i_worker_release(&w);
    json_decref(arms);
    return status;
}
