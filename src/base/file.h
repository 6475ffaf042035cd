/**
 * @file file.h
 * Reading whole files, mapping them, writing them atomically, and locks.
 */
#ifndef ICD_BASE_FILE_H
#define ICD_BASE_FILE_H

#include "base/error.h"

/**
 * A file's bytes, read-only, mapped where the system can, else (pipes, /proc) read to
 * their end. Empty files: data = "", size 0.
 */
typedef struct icd_map {
    const unsigned char *data;
    size_t size;
    int fd;
} icd_map;

/** @return ICD_OK | ICD_EIO (missing, a folder, no permission: each told apart) */
icd_status icd_i_map_open(icd_ctx *ctx, const char *path, icd_map *map);
void icd_i_map_close(icd_map *map);

/** A whole file as a string of `*size` bytes with a zero byte behind them (icd_i_free).
 */
icd_status icd_i_file_read(icd_ctx *ctx, const char *path, char **text, size_t *size);

/**
 * A file that appears under its name whole or not at all: written to a temporary beside
 * it
 * (".NAME.tmp.PID"), fsync, rename, fsync of the folder. Symbolic links are followed, the
 * permissions of an existing file kept; a device or a pipe (/dev/stdout) is written in
 * place.
 * @return of all: ICD_OK | ICD_ENOMEM | ICD_EIO with the system's reason (disk full,
 * folder read-only). Writing is buffered: an error may show only in a later call; after
 * one, icd_i_out_close drops the file and returns the error.
 */
typedef struct icd_out icd_out;
icd_status icd_i_out_open(icd_ctx *ctx, const char *path, icd_out **out);
icd_status icd_i_out_write(icd_ctx *ctx, icd_out *out, const void *data, size_t bytes);
icd_status icd_i_out_printf(icd_ctx *ctx, icd_out *out, const char *fmt, ...)
    ICD_PRINTF(3, 4);
/** The descriptor of the temporary, for libraries that write by themselves; flushes
 * first. */
int icd_i_out_fd(icd_out *out);
/** Publishes (`publish`) or drops the file; frees `out` either way; NULL is legal. */
icd_status icd_i_out_close(icd_ctx *ctx, icd_out *out, bool publish);

/**
 * Removes the temporaries that killed processes left in a folder. Call it only where no
 * other machine writes there (under a lock): processes are told apart by pid.
 */
void icd_i_out_sweep(const char *dir);

/** One call: all of `data` to `path`, atomically. */
icd_status icd_i_file_write(icd_ctx *ctx, const char *path, const void *data,
                            size_t bytes);

/** Makes a folder and its parents. */
icd_status icd_i_mkdirs(icd_ctx *ctx, const char *path);
bool icd_i_file_exists(const char *path);

/** Joins a folder and a name; icd_i_free. */
icd_status icd_i_path_join(icd_ctx *ctx, const char *dir, const char *name, char **out);

/**
 * An exclusive lock file (flock, so it dies with its holder) that records pid and start
 * time. The file stays behind, empty. A child forked meanwhile holds the lock too, until
 * it ends or execs.
 * @return ICD_OK | ICD_EBUSY naming the holder's pid | ICD_EIO
 */
typedef struct icd_lock icd_lock;
icd_status icd_i_lock_take(icd_ctx *ctx, const char *path, icd_lock **out);
void icd_i_lock_release(icd_ctx *ctx, icd_lock *lock);

#endif
