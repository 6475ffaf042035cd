#include "base/mem.h"
#include <icd/perm.h>

#include <string.h>

icd_status icd_perm_set_new(icd_ctx *ctx, icd_perm_set **out)
{
    return ICD_ALLOC(ctx, 1, out);
}

void icd_perm_set_free(icd_ctx *ctx, icd_perm_set *set)
{
    if (!set) return;
    for (int64_t i = 0; i < set->count; ++i) {
        icd_i_free(ctx, set->entry[i].axis);
        icd_perm_free(ctx, set->entry[i].perm);
    }
    icd_i_free(ctx, set->entry);
    icd_i_free(ctx, set->tag);
    icd_i_free(ctx, set);
}

static icd_perm_entry *find(const icd_perm_set *set, const char *axis)
{
    for (int64_t i = 0; i < set->count; ++i)
        if (strcmp(set->entry[i].axis, axis) == 0) return &set->entry[i];
    return NULL;
}

static icd_status append(icd_ctx *ctx, icd_perm_set *set, const char *axis,
                         icd_perm_entry **out)
{
    icd_status status;
    ICD_TRY(icd_i_grow(ctx, (void **)&set->entry, &set->capacity, set->count + 1,
                       sizeof *set->entry));
    ICD_TRY(icd_i_strdup(ctx, axis, &set->entry[set->count].axis));
    *out = &set->entry[set->count++];
done:
    return status;
}

icd_status icd_perm_set_put(icd_ctx *ctx, icd_perm_set *set, const char *axis,
                            const icd_perm *p, bool local)
{
    icd_status status;
    icd_perm *copy = NULL;
    icd_perm_entry *entry = find(set, axis);
    ICD_TRY(icd_perm_copy(ctx, p, &copy));
    if (!entry) ICD_TRY(append(ctx, set, axis, &entry));
    icd_perm_free(ctx, entry->perm);
    entry->perm = copy;
    entry->local = local;
    copy = NULL;
done:
    icd_perm_free(ctx, copy);
    return status;
}

const icd_perm *icd_perm_set_get(const icd_perm_set *set, const char *axis)
{
    const icd_perm_entry *entry = find(set, axis);
    return entry ? entry->perm : NULL;
}
