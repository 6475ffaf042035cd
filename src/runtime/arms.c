/* The arms of a measurement: the same model and masks, other orders and kernels. */
#include "runtime/job.h"

#include <string.h>

/* Where the local orders of an arm come from. */
typedef enum order_source {
    ORDER_NONE,
    ORDER_PI1,
    ORDER_RANDOM,
    ORDER_FREQUENCY
} order_source;

typedef struct arm_spec {
    const char *name, *role;
    int32_t kernel; /* AUTO: what the layout says */
    order_source order;
} arm_spec;

/* Arm 0 is what every other is compared with. */
static const arm_spec SPEC[ICD_ARMS_MAX] = {
    {"linear", "baseline", ICD_KERNEL_AUTO, ORDER_NONE},
    {"iterative", "candidate", ICD_KERNEL_AUTO, ORDER_PI1},
    {"gather", "alternative", ICD_KERNEL_GATHER, ORDER_NONE},
    {"frequency", "alternative", ICD_KERNEL_AUTO, ORDER_FREQUENCY},
    {"dense", "alternative", ICD_KERNEL_DENSE, ORDER_NONE},
    {"random", "control", ICD_KERNEL_AUTO, ORDER_RANDOM},
    {"linear A/A", "control", ICD_KERNEL_AUTO, ORDER_NONE},
    {"dense pi1", "control", ICD_KERNEL_DENSE, ORDER_PI1},
    {"dense random", "control", ICD_KERNEL_DENSE, ORDER_RANDOM},
};

/* A control order of one group, solved like pi1 but by a named method. */
static icd_status control_order(icd_job *job, const icd_job_axis *axis,
                                const char *method, icd_perm **out)
{
    icd_problem problem = {.w = axis->w, .sets = axis->sets};
    icd_solver_opts opts = job->config->solver;
    opts.method = method;
    opts.granule = axis->granule;
    return icd_fit_permutation(job->ctx, &problem, &opts, out, NULL);
}

static icd_status order_group(icd_job *job, const icd_job_axis *axis, order_source source,
                              icd_layout *layout)
{
    icd_perm *order = NULL;
    icd_status status = ICD_OK;
    if (source == ORDER_PI1)
        return icd_i_layout_set_order(job->ctx, layout, axis->name, axis->perm);
    status =
        control_order(job, axis, source == ORDER_RANDOM ? "random" : "frequency", &order);
    if (status == ICD_OK)
        status = icd_i_layout_set_order(job->ctx, layout, axis->name, order);
    icd_perm_free(job->ctx, order);
    return status;
}

/* Only masked int8 matrices have a choice of kernel. */
static void set_kernel(icd_layout *layout, int32_t kernel)
{
    for (int64_t i = 0; i < layout->count; i++) {
        icd_layout_entry *e = &layout->entry[i];
        if (kernel != ICD_KERNEL_AUTO && e->mask && e->quant) e->kernel = kernel;
    }
}

static icd_status make_layout(icd_job *job, const arm_spec *spec, icd_layout **out)
{
    icd_status status = icd_i_layout_copy(job->ctx, job->layout, out);
    if (status != ICD_OK) return status;
    set_kernel(*out, spec->kernel);
    for (int64_t i = 0; status == ICD_OK && spec->order != ORDER_NONE && i < job->axes;
         i++)
        if (job->axis[i].local)
            status = order_group(job, &job->axis[i], spec->order, *out);
    return status;
}

static bool has_local_orders(const icd_job *job)
{
    for (int64_t i = 0; i < job->axes; i++)
        if (job->axis[i].local) return true;
    return false;
}

icd_status icd_i_arms_make(icd_job *job)
{
    bool iterative = has_local_orders(job);
    for (int i = 0; i < ICD_ARMS_MAX; i++) {
        icd_job_arm *arm = &job->arm[job->arms];
        if (!iterative && (SPEC[i].order != ORDER_NONE)) continue;
        arm->name = SPEC[i].name;
        arm->role = SPEC[i].role;
        icd_status status = make_layout(job, &SPEC[i], &arm->layout);
        if (status != ICD_OK) return status;
        job->arms++;
    }
    return ICD_OK;
}
