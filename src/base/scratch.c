#include "base/scratch.h"

#include "base/mem.h"
#include "base/text.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FOLDERS_OPEN = 16 };

icd_status icd_i_scratch_new(icd_ctx *ctx, const char *name, char **out)
{
    const char *root = getenv("TMPDIR");
    icd_text path = {0};
    *out = NULL;
    icd_status status = icd_i_text_printf(ctx, &path, "%s/icd-%s-XXXXXX",
                                          root && *root ? root : "/tmp", name);
    if (status == ICD_OK && !mkdtemp(path.data)) {
        int why = errno; /* mkdtemp may have spoilt the X's */
        status = icd_i_fail(ctx, ICD_EIO, root && *root ? root : "/tmp",
                            "name another folder in TMPDIR",
                            "a scratch folder cannot be made: %s", strerror(why));
    }
    if (status == ICD_OK) status = icd_i_strdup(ctx, path.data, out);
    icd_i_text_release(ctx, &path);
    return status;
}

static int remove_entry(const char *path, const struct stat *info, int kind,
                        struct FTW *where)
{
    (void)info;
    (void)kind;
    (void)where;
    remove(path); /* what cannot be removed stays; the rest still goes */
    return 0;
}

void icd_i_scratch_remove(icd_ctx *ctx, char *dir)
{
    if (!dir) return;
    nftw(dir, remove_entry, FOLDERS_OPEN, FTW_DEPTH | FTW_PHYS);
    icd_i_free(ctx, dir);
}
