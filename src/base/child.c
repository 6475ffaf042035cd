#include "base/child.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum { READ_BYTES = 1 << 14, WAIT_MS = 50, NAP_NS_MAX = 20 * 1000 * 1000 };

/* Both ends of the two pipes; -1: closed. */
typedef struct pipes {
    int out[2], err[2];
} pipes;

typedef struct reader {
    icd_ctx *ctx;
    icd_child *child;
    int64_t capacity, most;
} reader;

static void close_end(int *fd)
{
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

static void close_pipes(pipes *p)
{
    for (int i = 0; i < 2; i++) {
        close_end(&p->out[i]);
        close_end(&p->err[i]);
    }
}

static icd_status open_pipes(icd_ctx *ctx, pipes *p)
{
    *p = (pipes){{-1, -1}, {-1, -1}};
    if (pipe2(p->out, O_CLOEXEC) == 0 && pipe2(p->err, O_CLOEXEC) == 0) return ICD_OK;
    icd_status status =
        icd_i_fail_errno(ctx, ICD_EMEASURE, "child process", errno, "pipe");
    close_pipes(p);
    return status;
}

/* Standard input is empty; the pipes become standard output and error. */
static int spawn(const char *const *argv, const pipes *p, pid_t *pid)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, p->out[1], 1);
    posix_spawn_file_actions_adddup2(&files, p->err[1], 2);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    posix_spawnattr_setpgroup(&attributes, 0);
    int err =
        posix_spawnp(pid, argv[0], &files, &attributes, (char *const *)argv, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    return err;
}

static icd_status take_out(reader *r, const char *bytes, int64_t n)
{
    icd_child *c = r->child;
    if (c->size + n > r->most)
        return icd_i_fail(r->ctx, ICD_EMEASURE, "child process", NULL,
                          "it printed more than %lld bytes", (long long)r->most);
    icd_status status =
        icd_i_grow(r->ctx, (void **)&c->out, &r->capacity, c->size + n + 1, 1);
    if (status != ICD_OK) return status;
    memcpy(c->out + c->size, bytes, (size_t)n);
    c->size += n;
    c->out[c->size] = 0;
    return ICD_OK;
}

/* Keeps the end. */
static void take_error(icd_child *c, const char *bytes, size_t n)
{
    size_t room = sizeof c->error - 1, have = strlen(c->error);
    if (n > room) {
        bytes += n - room;
        n = room;
    }
    size_t keep = have + n > room ? room - n : have;
    memmove(c->error, c->error + have - keep, keep);
    memcpy(c->error + keep, bytes, n);
    c->error[keep + n] = 0;
}

/* Reads what is there; closes the end at end of file. */
static icd_status drain(reader *r, int *fd, bool is_error)
{
    char bytes[READ_BYTES];
    ssize_t n = read(*fd, bytes, sizeof bytes);
    if (n < 0 && errno == EINTR) return ICD_OK;
    if (n <= 0) {
        close_end(fd);
        return ICD_OK;
    }
    if (!is_error) return take_out(r, bytes, n);
    take_error(r->child, bytes, (size_t)n);
    return ICD_OK;
}

static icd_status check_time(icd_ctx *ctx, const char *name, double end, double timeout_s)
{
    if (icd_i_cancelled(ctx)) return icd_i_check_cancel(ctx);
    if (timeout_s <= 0 || icd_i_now() < end) return ICD_OK;
    return icd_i_fail(ctx, ICD_EMEASURE, name, "raise the timeout",
                      "it ran longer than %g s and was ended", timeout_s);
}

static icd_status read_all(reader *r, const char *name, pipes *p, double end,
                           double timeout_s)
{
    icd_status status = ICD_OK;
    while (status == ICD_OK && (p->out[0] >= 0 || p->err[0] >= 0)) {
        struct pollfd fd[2] = {{p->out[0], POLLIN, 0}, {p->err[0], POLLIN, 0}};
        if (poll(fd, 2, WAIT_MS) > 0) {
            if (fd[0].revents) status = drain(r, &p->out[0], false);
            if (status == ICD_OK && fd[1].revents) status = drain(r, &p->err[0], true);
        }
        if (status == ICD_OK) status = check_time(r->ctx, name, end, timeout_s);
    }
    return status;
}

/* Waits for a program that closed its output before its end. */
static icd_status wait_end(icd_ctx *ctx, const char *name, pid_t pid, double end,
                           double timeout_s)
{
    siginfo_t info;
    struct timespec nap = {0, 100 * 1000};
    for (;;) {
        info.si_pid = 0;
        int err = waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT);
        if (info.si_pid == pid || (err < 0 && errno != EINTR)) return ICD_OK;
        icd_status status = check_time(ctx, name, end, timeout_s);
        if (status != ICD_OK) return status;
        nanosleep(&nap, NULL);
        if (nap.tv_nsec < NAP_NS_MAX) nap.tv_nsec *= 2;
    }
}

static void reap(pid_t pid, icd_child *child)
{
    int state = 0;
    while (waitpid(pid, &state, 0) < 0 && errno == EINTR) {
    }
    child->exit_code = WIFEXITED(state) ? WEXITSTATUS(state) : -1;
    child->signal = WIFSIGNALED(state) ? WTERMSIG(state) : 0;
}

icd_status icd_i_child_run(icd_ctx *ctx, const char *const *argv, double timeout_s,
                           int64_t most, icd_child *out)
{
    pipes p;
    pid_t pid = 0;
    reader r = {.ctx = ctx, .child = out, .most = most};
    *out = (icd_child){0};
    icd_status status = open_pipes(ctx, &p);
    if (status != ICD_OK) return status;
    status = take_out(&r, "", 0);
    int err = status == ICD_OK ? spawn(argv, &p, &pid) : 0;
    if (err)
        status =
            icd_i_fail_errno(ctx, ICD_EMEASURE, argv[0], err, "it cannot be started");
    close_end(&p.out[1]);
    close_end(&p.err[1]);
    if (pid > 0) {
        double end = icd_i_now() + timeout_s;
        status = read_all(&r, argv[0], &p, end, timeout_s);
        if (status == ICD_OK) status = wait_end(ctx, argv[0], pid, end, timeout_s);
        if (status != ICD_OK) kill(-pid, SIGKILL);
        reap(pid, out);
    }
    close_pipes(&p);
    size_t n = strlen(out->error);
    while (n > 0 && out->error[n - 1] == '\n') out->error[--n] = 0;
    if (status != ICD_OK) icd_i_child_release(ctx, out);
    return status;
}

void icd_i_child_release(icd_ctx *ctx, icd_child *child)
{
    icd_i_free(ctx, child->out);
    child->out = NULL;
    child->size = 0;
}
