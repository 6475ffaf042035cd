#include "storage/cache.h"

#include "base/file.h"
#include "base/hash.h"

#include <stdio.h>

enum { PATH_MAX_BYTES = 1024 };

static bool entry_path(const char *dir, uint64_t key, char *out)
{
    char hex[17];
    icd_i_hash_hex(key, hex);
    return snprintf(out, PATH_MAX_BYTES, "%s/%s.perm.json", dir, hex) < PATH_MAX_BYTES;
}

icd_status icd_i_cache_get(icd_ctx *ctx, const char *dir, uint64_t key, int64_t n,
                           uint64_t frame, icd_perm **out)
{
    char path[PATH_MAX_BYTES];
    *out = NULL;
    if (!dir || !entry_path(dir, key, path) || !icd_i_file_exists(path)) return ICD_OK;
    icd_status status = icd_perm_read(ctx, path, out);
    if (status == ICD_ENOMEM) return status;
    if (status == ICD_OK && (*out)->n == n && (*out)->from == frame) return ICD_OK;
    icd_i_warn(ctx, "cache entry %s does not fit and is ignored", path);
    icd_perm_free(ctx, *out);
    *out = NULL;
    icd_ctx_clear(ctx);
    return ICD_OK;
}

icd_status icd_i_cache_put(icd_ctx *ctx, const char *dir, uint64_t key,
                           const icd_perm *perm)
{
    char path[PATH_MAX_BYTES];
    if (!dir || !entry_path(dir, key, path)) return ICD_OK;
    icd_status status = icd_i_mkdirs(ctx, dir);
    if (status == ICD_OK) status = icd_perm_write(ctx, perm, path);
    if (status == ICD_OK || status == ICD_ENOMEM) return status;
    icd_i_warn(ctx, "the cache cannot be written: %s", icd_ctx_message(ctx));
    icd_ctx_clear(ctx);
    return ICD_OK;
}
