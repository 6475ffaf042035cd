#include "storage/rundir.h"

#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEEPEST = 8 };

static icd_status copy_file(icd_ctx *ctx, const char *from, const char *to)
{
    icd_status status = ICD_OK;
    icd_map map = {0};
    ICD_TRY(icd_i_map_open(ctx, from, &map));
    status = icd_i_file_write(ctx, to, map.data, map.size);
done:
    icd_i_map_close(&map);
    return status;
}

/* A second name of a file, put in place of what has that name. */
static icd_status show(icd_ctx *ctx, const char *from, const char *folder,
                       const char *name, const char *to)
{
    icd_status status = ICD_OK;
    char own[300], *temporary = NULL;
    if (snprintf(own, sizeof own, ".%.255s.tmp.%ld", name, (long)getpid()) < 0)
        return ICD_EINTERNAL;
    ICD_TRY(icd_i_path_join(ctx, folder, own, &temporary));
    (void)unlink(temporary);
    if (link(from, temporary) != 0)
        status = copy_file(ctx, from, to);
    else if (rename(temporary, to) != 0)
        status = icd_i_fail_errno(ctx, ICD_EIO, to, errno, "cannot be replaced");
    (void)unlink(temporary); /* renaming onto the same file leaves both names */
done:
    icd_i_free(ctx, temporary);
    return status;
}

static icd_status show_folder(icd_ctx *ctx, const char *from, const char *to, int depth);

static icd_status show_entry(icd_ctx *ctx, const char *from, const char *to,
                             const char *name, int depth)
{
    icd_status status = ICD_OK;
    char *source = NULL, *target = NULL;
    struct stat info;
    ICD_TRY(icd_i_path_join(ctx, from, name, &source));
    ICD_TRY(icd_i_path_join(ctx, to, name, &target));
    if (lstat(source, &info) != 0)
        status = icd_i_fail_errno(ctx, ICD_EIO, source, errno, "cannot be read");
    else if (S_ISDIR(info.st_mode) && depth < DEEPEST)
        status = show_folder(ctx, source, target, depth + 1);
    else if (S_ISREG(info.st_mode))
        status = show(ctx, source, to, name, target);
done:
    icd_i_free(ctx, source);
    icd_i_free(ctx, target);
    return status;
}

static icd_status show_folder(icd_ctx *ctx, const char *from, const char *to, int depth)
{
    icd_status status = icd_i_mkdirs(ctx, to);
    if (status != ICD_OK) return status;
    DIR *list = opendir(from);
    if (!list) return icd_i_fail_errno(ctx, ICD_EIO, from, errno, "cannot be read");
    for (const struct dirent *e = readdir(list); e && status == ICD_OK; e = readdir(list))
        if (e->d_name[0] != '.') status = show_entry(ctx, from, to, e->d_name, depth);
    closedir(list);
    return status;
}

icd_status icd_i_rundir_publish(icd_ctx *ctx, icd_rundir *dir, const char *folder)
{
    const char *from = icd_i_rundir_path(ctx, dir, folder);
    return from ? show_folder(ctx, from, icd_i_rundir_root(dir), 0) : ICD_ENOMEM;
}
