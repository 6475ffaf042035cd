/* Files that appear whole or not at all. */
#include "base/file.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUFFER = 1 << 15, NAME_TRIES = 100 };

struct icd_out {
    int fd;
    int err;    /* errno of the first write that failed; such a file is never published */
    char *path; /* where the file goes, symbolic links resolved */
    char *tmp;  /* NULL: written in place, because `path` is a device or a pipe */
    size_t used;
    char buffer[BUFFER];
};

static size_t folder_length(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) + 1 : 0;
}

static icd_status temporary_name(icd_ctx *ctx, const char *path, int attempt, char **out)
{
    size_t folder = folder_length(path);
    size_t bytes = strlen(path) + 40;
    icd_status status = ICD_ALLOC(ctx, (int64_t)bytes, out);
    if (status != ICD_OK) return status;
    int used = snprintf(*out, bytes, "%.*s.%s.tmp.%ld", (int)folder, path, path + folder,
                        (long)getpid());
    if (attempt) snprintf(*out + used, bytes - (size_t)used, ".%d", attempt);
    return ICD_OK;
}

/* A name that is taken is either a second writer in this process or left behind by a
 * killed one. */
static icd_status open_temporary(icd_ctx *ctx, icd_out *out, mode_t mode)
{
    for (int attempt = 0;; attempt++) {
        icd_status status = temporary_name(ctx, out->path, attempt, &out->tmp);
        if (status != ICD_OK) return status;
        out->fd = open(out->tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        if (out->fd >= 0) return ICD_OK;
        int err = errno;
        icd_i_free(ctx, out->tmp);
        out->tmp = NULL;
        if (err != EEXIST || attempt == NAME_TRIES)
            return icd_i_fail_errno(ctx, ICD_EIO, out->path, err,
                                    "cannot create the file");
    }
}

static icd_status open_in_place(icd_ctx *ctx, icd_out *out)
{
    out->fd = open(out->path, O_WRONLY | O_CLOEXEC);
    if (out->fd >= 0) return ICD_OK;
    return icd_i_fail_errno(ctx, ICD_EIO, out->path, errno, "cannot open it for writing");
}

/* Renaming over a symbolic link would replace the link and leave its target stale. */
static icd_status resolve_path(icd_ctx *ctx, const char *path, char **out)
{
    char target[PATH_MAX];
    struct stat info;
    bool link = lstat(path, &info) == 0 && S_ISLNK(info.st_mode);
    return icd_i_strdup(ctx, link && realpath(path, target) ? target : path, out);
}

static icd_status open_target(icd_ctx *ctx, icd_out *out)
{
    struct stat info;
    if (stat(out->path, &info) != 0) return open_temporary(ctx, out, 0666);
    if (S_ISDIR(info.st_mode))
        return icd_i_fail(ctx, ICD_EIO, out->path, NULL,
                          "found a folder, expected a file");
    if (!S_ISREG(info.st_mode)) return open_in_place(ctx, out);
    icd_status status = open_temporary(ctx, out, 0600);
    if (status == ICD_OK && fchmod(out->fd, info.st_mode & 07777) != 0)
        status = icd_i_fail_errno(ctx, ICD_EIO, out->path, errno,
                                  "cannot keep its permissions");
    return status;
}

static void discard(icd_ctx *ctx, icd_out *out)
{
    if (out->fd >= 0) close(out->fd);
    if (out->tmp && out->fd >= 0) unlink(out->tmp);
    icd_i_free(ctx, out->tmp);
    icd_i_free(ctx, out->path);
    icd_i_free(ctx, out);
}

icd_status icd_i_out_open(icd_ctx *ctx, const char *path, icd_out **result)
{
    icd_status status = ICD_OK;
    icd_out *out = NULL;
    *result = NULL;
    ICD_TRY(ICD_ALLOC(ctx, 1, &out));
    out->fd = -1;
    ICD_TRY(resolve_path(ctx, path, &out->path));
    ICD_TRY(open_target(ctx, out));
    *result = out;
    out = NULL;
done:
    if (out) discard(ctx, out);
    return status;
}

static bool write_all(icd_out *out, const char *data, size_t bytes)
{
    while (bytes && !out->err) {
        ssize_t written = write(out->fd, data, bytes);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) {
            out->err = errno;
        } else {
            data += written;
            bytes -= (size_t)written;
        }
    }
    return !out->err;
}

static bool flush(icd_out *out)
{
    size_t used = out->used;
    out->used = 0;
    return write_all(out, out->buffer, used);
}

static icd_status write_error(icd_ctx *ctx, const icd_out *out)
{
    return icd_i_fail_errno(ctx, ICD_EIO, out->path, out->err, "cannot write the file");
}

icd_status icd_i_out_write(icd_ctx *ctx, icd_out *out, const void *data, size_t bytes)
{
    if (bytes > BUFFER - out->used) flush(out);
    if (bytes >= BUFFER) {
        write_all(out, data, bytes);
    } else if (bytes) {
        memcpy(out->buffer + out->used, data, bytes);
        out->used += bytes;
    }
    return out->err ? write_error(ctx, out) : ICD_OK;
}

/* For the rare text that is longer than the buffer. */
static icd_status print_long(icd_ctx *ctx, icd_out *out, size_t bytes, const char *fmt,
                             va_list args)
{
    char *text = NULL;
    icd_status status = ICD_ALLOC(ctx, (int64_t)bytes + 1, &text);
    if (status != ICD_OK) return status;
    vsnprintf(text, bytes + 1, fmt, args);
    status = icd_i_out_write(ctx, out, text, bytes);
    icd_i_free(ctx, text);
    return status;
}

icd_status icd_i_out_printf(icd_ctx *ctx, icd_out *out, const char *fmt, ...)
{
    icd_status status = ICD_OK;
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    char *end = out->buffer + out->used;
    int length = vsnprintf(end, BUFFER - out->used, fmt, args);
    if (length < 0)
        status =
            icd_i_fail_errno(ctx, ICD_EIO, out->path, errno, "cannot format the text");
    else if ((size_t)length < BUFFER - out->used)
        out->used += (size_t)length;
    else
        status = print_long(ctx, out, (size_t)length, fmt, again);
    va_end(again);
    va_end(args);
    return status;
}

int icd_i_out_fd(icd_out *out)
{
    flush(out);
    return out->fd;
}

/* The rename is durable only once the folder is; some file systems cannot sync one
 * (EINVAL). */
static int sync_folder(const char *path)
{
    char folder[PATH_MAX] = ".";
    size_t length = folder_length(path);
    if (length >= sizeof folder) return ENAMETOOLONG;
    if (length) snprintf(folder, sizeof folder, "%.*s", (int)length, path);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == EACCES ? 0 : errno; /* a folder one may write to but not list */
    int err = fsync(fd) != 0 && errno != EINVAL ? errno : 0;
    close(fd);
    return err;
}

static int publish_file(icd_out *out)
{
    if (!flush(out)) return out->err;
    if (!out->tmp) return 0;
    if (fsync(out->fd) != 0) return errno;
    if (rename(out->tmp, out->path) != 0) return errno;
    close(out->fd);
    out->fd = -1;
    return sync_folder(out->path);
}

icd_status icd_i_out_close(icd_ctx *ctx, icd_out *out, bool publish)
{
    icd_status status = ICD_OK;
    if (!out) return ICD_OK;
    if (publish) out->err = publish_file(out);
    if (publish && out->err) status = write_error(ctx, out);
    discard(ctx, out);
    return status;
}

/* ".NAME.tmp.PID" or ".NAME.tmp.PID.N" of a process that is gone. */
static bool is_left_behind(const char *name)
{
    const char *mark = NULL;
    if (name[0] != '.') return false;
    for (const char *at = strstr(name, ".tmp."); at; at = strstr(at + 1, ".tmp."))
        mark = at;
    if (!mark) return false;
    char *end = NULL;
    long pid = strtol(mark + 5, &end, 10);
    if (*end == '.') strtol(end + 1, &end, 10);
    return pid > 0 && *end == 0 && kill((pid_t)pid, 0) != 0 && errno == ESRCH;
}

void icd_i_out_sweep(const char *dir)
{
    DIR *folder = opendir(dir);
    if (!folder) return;
    for (struct dirent *entry; (entry = readdir(folder));)
        if (is_left_behind(entry->d_name)) unlinkat(dirfd(folder), entry->d_name, 0);
    closedir(folder);
}
