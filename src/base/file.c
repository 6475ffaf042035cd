#include "base/file.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static ssize_t read_some(int fd, void *to, size_t bytes)
{
    ssize_t got;
    do got = read(fd, to, bytes);
    while (got < 0 && errno == EINTR);
    return got;
}

static icd_status open_input(icd_ctx *ctx, const char *path, int *fd, struct stat *info)
{
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*fd >= 0 && fstat(*fd, info) == 0) {
        if (!S_ISDIR(info->st_mode)) return ICD_OK;
        close(*fd);
        *fd = -1;
        return icd_i_fail(ctx, ICD_EIO, path, NULL, "found a folder, expected a file");
    }
    int err = errno;
    if (*fd >= 0) close(*fd);
    *fd = -1;
    return icd_i_fail_errno(ctx, ICD_EIO, path, err, "cannot open the file");
}

/* Doubles a region of anonymous pages. */
static bool add_pages(char **data, size_t *room)
{
    size_t larger = *room ? 2 * *room : 1 << 16;
    void *fresh = *room ? mremap(*data, *room, larger, MREMAP_MAYMOVE)
                        : mmap(NULL, larger, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fresh == MAP_FAILED) return false;
    *data = fresh;
    *room = larger;
    return true;
}

/* Pipes and the like cannot be mapped: their bytes are collected in anonymous pages, so
 * that icd_i_map_close treats both alike. Returns errno or 0. */
static int collect_pages(int fd, icd_map *map)
{
    char *data = NULL;
    size_t room = 0, used = 0;
    ssize_t got = -1;
    while (used < room || add_pages(&data, &room)) {
        got = read_some(fd, data + used, room - used);
        if (got <= 0) break;
        used += (size_t)got;
    }
    int err = got == 0 ? 0 : errno;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t keep = err ? 0 : (used + page - 1) / page * page;
    if (keep < room) munmap(data + keep, room - keep);
    if (keep) *map = (icd_map){(unsigned char *)data, used, fd};
    return err;
}

icd_status icd_i_map_open(icd_ctx *ctx, const char *path, icd_map *map)
{
    struct stat info;
    int err = 0;
    *map = (icd_map){.fd = -1};
    icd_status status = open_input(ctx, path, &map->fd, &info);
    if (status != ICD_OK) return status;

    size_t size = S_ISREG(info.st_mode) ? (size_t)info.st_size : 0;
    void *data = size ? mmap(NULL, size, PROT_READ, MAP_PRIVATE, map->fd, 0) : MAP_FAILED;
    if (data != MAP_FAILED) {
        map->data = data;
        map->size = size;
    } else {
        err = collect_pages(map->fd, map);
    }
    if (!map->data) map->data = (const unsigned char *)"";
    if (!err) return ICD_OK;
    close(map->fd);
    *map = (icd_map){.fd = -1};
    return icd_i_fail_errno(ctx, ICD_EIO, path, err, "cannot read the file");
}

void icd_i_map_close(icd_map *map)
{
    if (!map->data) return;
    if (map->size) munmap((void *)(uintptr_t)map->data, map->size);
    close(map->fd);
    *map = (icd_map){.fd = -1};
}

icd_status icd_i_file_read(icd_ctx *ctx, const char *path, char **text, size_t *size)
{
    icd_status status = ICD_OK;
    icd_map map;
    *text = NULL;
    *size = 0;
    ICD_TRY(icd_i_map_open(ctx, path, &map));
    ICD_TRY(ICD_ALLOC(ctx, (int64_t)map.size + 1, text));
    memcpy(*text, map.data, map.size);
    *size = map.size;
done:
    icd_i_map_close(&map);
    return status;
}

icd_status icd_i_file_write(icd_ctx *ctx, const char *path, const void *data,
                            size_t bytes)
{
    icd_out *out = NULL;
    icd_status status = icd_i_out_open(ctx, path, &out);
    if (status != ICD_OK) return status;
    status = icd_i_out_write(ctx, out, data, bytes);
    icd_status closed = icd_i_out_close(ctx, out, status == ICD_OK);
    return status != ICD_OK ? status : closed;
}

static bool is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static icd_status make_folder(icd_ctx *ctx, const char *path)
{
    if (mkdir(path, 0777) == 0 || is_folder(path)) return ICD_OK;
    if (errno == EEXIST)
        return icd_i_fail(ctx, ICD_EIO, path, NULL, "found a file, expected a folder");
    return icd_i_fail_errno(ctx, ICD_EIO, path, errno, "cannot make the folder");
}

icd_status icd_i_mkdirs(icd_ctx *ctx, const char *path)
{
    icd_status status = ICD_OK;
    char *prefix = NULL;
    ICD_TRY(icd_i_strdup(ctx, path, &prefix));
    for (char *slash = strchr(prefix + 1, '/'); *prefix && slash;
         slash = strchr(slash + 1, '/')) {
        *slash = 0;
        ICD_TRY(make_folder(ctx, prefix));
        *slash = '/';
    }
    ICD_TRY(make_folder(ctx, prefix));
done:
    icd_i_free(ctx, prefix);
    return status;
}

bool icd_i_file_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

icd_status icd_i_path_join(icd_ctx *ctx, const char *dir, const char *name, char **out)
{
    size_t head = strlen(dir), tail = strlen(name) + 1;
    bool slash = head && dir[head - 1] != '/';
    icd_status status = ICD_ALLOC(ctx, (int64_t)(head + slash + tail), out);
    if (status != ICD_OK) return status;
    memcpy(*out, dir, head);
    if (slash) (*out)[head] = '/';
    memcpy(*out + head + slash, name, tail);
    return ICD_OK;
}
