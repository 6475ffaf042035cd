#include "base/npz.h"

#include <stdio.h>
#include <string.h>
#include <zip.h>

#include "base/file.h"
#include "base/mem.h"

/* The most that deflate can expand: 258 bytes from 2 bits, and a little for short
 * streams. */
enum { MOST_EXPANSION = 1032, SHORT_STREAM = 64 };

struct icd_npz {
    zip_t *zip;
    icd_map map; /* of a file; zero for memory of the caller */
    size_t size;
    char *place;
};

static icd_status fail_zip(icd_ctx *ctx, const char *place, zip_error_t *error,
                           const char *what)
{
    icd_status status =
        zip_error_code_zip(error) == ZIP_ER_MEMORY ? ICD_ENOMEM : ICD_EDATA;
    return icd_i_fail(ctx, status, place, NULL, "%s: %s", what,
                      zip_error_strerror(error));
}

static icd_status open_zip(icd_ctx *ctx, icd_npz *npz, const void *bytes, size_t size)
{
    icd_status status = ICD_OK;
    zip_error_t error;
    /* libzip takes nothing at all for an archive without members */
    if (!size)
        return icd_i_fail(ctx, ICD_EDATA, npz->place, NULL,
                          "not an .npz archive: no bytes");
    zip_error_init(&error);
    zip_source_t *source = zip_source_buffer_create(bytes, size, 0, &error);
    if (source)
        npz->zip = zip_open_from_source(source, ZIP_RDONLY | ZIP_CHECKCONS, &error);
    if (!npz->zip) {
        zip_source_free(source);
        status = fail_zip(ctx, npz->place, &error, "not an .npz archive");
    }
    zip_error_fini(&error);
    return status;
}

/* Takes the map over, also on failure. */
static icd_status open_bytes(icd_ctx *ctx, icd_map *map, const void *bytes, size_t size,
                             const char *place, icd_npz **out)
{
    icd_status status = ICD_OK;
    icd_npz *npz = NULL;
    *out = NULL;
    ICD_TRY(ICD_ALLOC(ctx, 1, &npz));
    npz->size = size;
    ICD_TRY(icd_i_strdup(ctx, place, &npz->place));
    ICD_TRY(open_zip(ctx, npz, bytes, size));
    if (map) npz->map = *map;
    map = NULL;
    *out = npz;
    npz = NULL;
done:
    icd_i_npz_close(ctx, npz);
    if (map) icd_i_map_close(map);
    return status;
}

icd_status icd_i_npz_open(icd_ctx *ctx, const char *path, icd_npz **out)
{
    icd_map map = {0};
    *out = NULL;
    icd_status status = icd_i_map_open(ctx, path, &map);
    if (status != ICD_OK) return status;
    return open_bytes(ctx, &map, map.data, map.size, path, out);
}

icd_status icd_i_npz_open_memory(icd_ctx *ctx, const void *bytes, size_t size,
                                 const char *place, icd_npz **out)
{
    return open_bytes(ctx, NULL, bytes, size, place, out);
}

void icd_i_npz_close(icd_ctx *ctx, icd_npz *npz)
{
    if (!npz) return;
    if (npz->zip) zip_discard(npz->zip);
    if (npz->map.data) icd_i_map_close(&npz->map);
    icd_i_free(ctx, npz->place);
    icd_i_free(ctx, npz);
}

static void member_name(const char *name, char out[256])
{
    snprintf(out, 256, "%s.npy", name);
}

bool icd_i_npz_has(const icd_npz *npz, const char *name)
{
    char member[256];
    member_name(name, member);
    return zip_name_locate(npz->zip, member, 0) >= 0;
}

/* Two members of one name: which one a reader takes depends on the reader. */
static int64_t count_named(zip_t *zip, const char *member)
{
    int64_t count = 0, entries = zip_get_num_entries(zip, 0);
    for (int64_t i = 0; i < entries; i++) {
        const char *name = zip_get_name(zip, (zip_uint64_t)i, 0);
        if (name && !strcmp(name, member)) count++;
    }
    return count;
}

static icd_status find_member(icd_ctx *ctx, const icd_npz *npz, const char *member,
                              zip_stat_t *stat)
{
    int64_t count = count_named(npz->zip, member);
    if (count != 1)
        return icd_i_fail(ctx, ICD_EDATA, npz->place, NULL,
                          count ? "found %s twice, expected it once"
                                : "no member '%s' in the archive",
                          member);
    if (zip_stat(npz->zip, member, 0, stat))
        return fail_zip(ctx, npz->place, zip_get_error(npz->zip), member);
    return ICD_OK;
}

static icd_status fail_member(icd_ctx *ctx, const icd_npz *npz, const char *member,
                              const char *hint, const char *text)
{
    char where[1280];
    snprintf(where, sizeof where, "%s: member %s", npz->place, member);
    return icd_i_fail(ctx, ICD_EDATA, where, hint, "%s", text);
}

/* What the archive says about a member must be possible before anything is allocated for
 * it. */
static icd_status check_stat(icd_ctx *ctx, const icd_npz *npz, const char *member,
                             const zip_stat_t *stat)
{
    zip_uint64_t needed = ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD;
    if ((stat->valid & needed) != needed)
        return fail_member(ctx, npz, member, NULL, "the archive does not state its size");
    if ((stat->valid & ZIP_STAT_ENCRYPTION_METHOD) &&
        stat->encryption_method != ZIP_EM_NONE)
        return fail_member(ctx, npz, member, NULL,
                           "found an encrypted member, expected none");
    if (stat->comp_method != ZIP_CM_STORE && stat->comp_method != ZIP_CM_DEFLATE)
        return fail_member(ctx, npz, member, "write it with numpy.savez",
                           "found an unknown compression, expected stored or deflated");
    if (stat->comp_size > npz->size)
        return fail_member(ctx, npz, member, "the file is cut off",
                           "found a member larger than the archive");
    zip_uint64_t most = stat->comp_method == ZIP_CM_STORE
                            ? stat->comp_size
                            : MOST_EXPANSION * stat->comp_size + SHORT_STREAM;
    if (stat->size > most)
        return fail_member(
            ctx, npz, member, NULL,
            "its stated size is more than its compressed bytes can expand to");
    return ICD_OK;
}

typedef struct zip_reader {
    const icd_npz *npz;
    const char *member;
    zip_file_t *file;
} zip_reader;

static icd_status fail_read(icd_ctx *ctx, const zip_reader *r)
{
    char where[1280];
    zip_error_t *error = zip_file_get_error(r->file);
    snprintf(where, sizeof where, "%s: member %s", r->npz->place, r->member);
    if (zip_error_code_zip(error) == ZIP_ER_OK)
        return icd_i_fail(ctx, ICD_EDATA, where, NULL,
                          "its data ends before its stated size");
    return fail_zip(ctx, where, error, "damaged data");
}

static icd_status read_zip(icd_ctx *ctx, icd_npy_source *source, void *out, size_t bytes)
{
    zip_reader *r = source->user;
    unsigned char *to = out;
    while (bytes > 0) {
        zip_int64_t got = zip_fread(r->file, to, bytes);
        if (got <= 0) return fail_read(ctx, r);
        to += got;
        bytes -= (size_t)got;
    }
    return ICD_OK;
}

/* libzip compares the CRC when the end is read past. */
static icd_status expect_end(icd_ctx *ctx, const zip_reader *r)
{
    unsigned char more;
    zip_int64_t got = zip_fread(r->file, &more, 1);
    if (got < 0) return fail_read(ctx, r);
    if (got > 0)
        return fail_member(ctx, r->npz, r->member, NULL,
                           "found more data than its stated size");
    return ICD_OK;
}

static icd_status read_member(icd_ctx *ctx, icd_npz *npz, const char *member,
                              const zip_stat_t *stat, icd_array *out)
{
    char unit[280];
    zip_reader r = {npz, member, zip_fopen_index(npz->zip, stat->index, 0)};
    if (!r.file) return fail_zip(ctx, npz->place, zip_get_error(npz->zip), member);
    snprintf(unit, sizeof unit, "member %s", member);
    icd_npy_source source = {.read = read_zip,
                             .place = npz->place,
                             .unit = unit,
                             .left = stat->size,
                             .user = &r};
    icd_status status = icd_i_npy_read(ctx, &source, out);
    if (status == ICD_OK) status = expect_end(ctx, &r);
    zip_fclose(r.file);
    if (status != ICD_OK) icd_i_array_release(ctx, out);
    return status;
}

icd_status icd_i_npz_get(icd_ctx *ctx, icd_npz *npz, const char *name, icd_array *out)
{
    char member[256];
    zip_stat_t stat;
    icd_status status = ICD_OK;
    *out = (icd_array){0};
    zip_stat_init(&stat);
    member_name(name, member);
    ICD_TRY(find_member(ctx, npz, member, &stat));
    ICD_TRY(check_stat(ctx, npz, member, &stat));
    ICD_TRY(read_member(ctx, npz, member, &stat, out));
done:
    return status;
}
