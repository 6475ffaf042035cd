/* Lock files. */
#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

struct icd_lock {
    int fd;
};

/* "pid 123 since 2026-01-31T12:00:00Z" */
static bool record_holder(int fd)
{
    char text[96], when[32];
    time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &utc);
    int length = snprintf(text, sizeof text, "pid %ld since %s\n", (long)getpid(), when);
    return ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)length, 0) == length;
}

static icd_status fail_busy(icd_ctx *ctx, const char *path, int fd)
{
    char holder[96];
    ssize_t length = pread(fd, holder, sizeof holder - 1, 0);
    holder[length > 0 ? length : 0] = 0;
    holder[strcspn(holder, "\n")] = 0;
    return icd_i_fail(ctx, ICD_EBUSY, path, "wait for it or end it", "held by %s",
                      holder[0] ? holder : "a process that has not recorded itself yet");
}

static icd_status take(icd_ctx *ctx, const char *path, int *fd)
{
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (*fd < 0)
        return icd_i_fail_errno(ctx, ICD_EIO, path, errno, "cannot open the lock file");
    if (flock(*fd, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK
                   ? fail_busy(ctx, path, *fd)
                   : icd_i_fail_errno(ctx, ICD_EIO, path, errno, "cannot lock the file");
    if (!record_holder(*fd))
        return icd_i_fail_errno(ctx, ICD_EIO, path, errno, "cannot write the lock file");
    return ICD_OK;
}

icd_status icd_i_lock_take(icd_ctx *ctx, const char *path, icd_lock **out)
{
    icd_status status = ICD_OK;
    icd_lock *lock = NULL;
    *out = NULL;
    ICD_TRY(ICD_ALLOC(ctx, 1, &lock));
    lock->fd = -1;
    ICD_TRY(take(ctx, path, &lock->fd));
    *out = lock;
    lock = NULL;
done:
    if (lock && lock->fd >= 0) close(lock->fd);
    icd_i_free(ctx, lock);
    return status;
}

/* The file stays, empty: removing it would let two processes hold locks on two files of
 * one name. */
void icd_i_lock_release(icd_ctx *ctx, icd_lock *lock)
{
    if (!lock) return;
    int emptied = ftruncate(lock->fd, 0);
    (void)emptied; /* the record is only advice to others; the lock itself ends with the
                      close */
    close(lock->fd);
    icd_i_free(ctx, lock);
}
