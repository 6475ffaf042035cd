#include "base/npz.h"

#include <assert.h>
#include <stdio.h>
#include <zip.h>

#include "base/file.h"
#include "base/mem.h"

/* 1 January 1980, the beginning of time in zip files: equal arrays must give equal bytes.
 */
enum { DOS_DATE = 1 << 5 | 1, DOS_TIME = 0 };

typedef struct headed {
    unsigned char header[ICD_NPY_HEADER];
    char name[256];
    zip_buffer_fragment_t part[2];
} headed;

/* libzip takes pointers to changeable bytes but only reads what it does not own. */
static unsigned char *borrowed(const void *data)
{
    return (unsigned char *)(uintptr_t)data;
}

static bool prepare(const icd_npz_member *m, headed *h)
{
    int64_t count = 0;
    size_t bytes = 0;
    if (!icd_i_npy_bytes(m->dims, m->shape, m->item, &count, &bytes)) return false;
    if ((size_t)snprintf(h->name, sizeof h->name, "%s.npy", m->name) >= sizeof h->name)
        return false;
    h->part[0].data = h->header;
    h->part[0].length = icd_i_npy_header(m, h->header);
    h->part[1].data = borrowed(m->data);
    h->part[1].length = bytes;
    return true;
}

static bool add_member(zip_t *zip, const headed *h)
{
    zip_uint64_t parts = h->part[1].length ? 2 : 1;
    zip_source_t *source =
        zip_source_buffer_fragment_create(h->part, parts, 0, zip_get_error(zip));
    zip_int64_t index =
        source ? zip_file_add(zip, h->name, source, ZIP_FL_ENC_UTF_8) : -1;
    if (index < 0) {
        zip_source_free(source);
        return false;
    }
    return !zip_set_file_compression(zip, (zip_uint64_t)index, ZIP_CM_STORE, 0) &&
           !zip_file_set_dostime(zip, (zip_uint64_t)index, DOS_TIME, DOS_DATE, 0);
}

static icd_status fail_zip(icd_ctx *ctx, const char *path, zip_error_t *error)
{
    bool memory = zip_error_code_zip(error) == ZIP_ER_MEMORY;
    return icd_i_fail(ctx, memory ? ICD_ENOMEM : ICD_EIO, path, NULL,
                      "the archive could not be built: %s", zip_error_strerror(error));
}

static icd_status build(icd_ctx *ctx, const char *path, zip_source_t *image,
                        const headed *h, int32_t count)
{
    zip_error_t error;
    zip_error_init(&error);
    zip_t *zip = zip_open_from_source(image, ZIP_TRUNCATE, &error);
    if (!zip) {
        icd_status status = fail_zip(ctx, path, &error);
        zip_error_fini(&error);
        return status;
    }
    zip_source_keep(
        image); /* closing or discarding the archive gives back its own reference */
    bool good = true;
    for (int32_t i = 0; i < count && good; i++) good = add_member(zip, &h[i]);
    if (good && !zip_close(zip)) return ICD_OK;
    icd_status status = fail_zip(ctx, path, zip_get_error(zip));
    zip_discard(zip);
    return status;
}

static icd_status copy_image(icd_ctx *ctx, const char *path, zip_source_t *image,
                             icd_out *out)
{
    unsigned char block[65536];
    zip_int64_t got = -1;
    icd_status status = ICD_OK;
    if (zip_source_open(image)) return fail_zip(ctx, path, zip_source_error(image));
    while (status == ICD_OK && (got = zip_source_read(image, block, sizeof block)) > 0)
        status = icd_i_out_write(ctx, out, block, (size_t)got);
    if (got < 0) status = fail_zip(ctx, path, zip_source_error(image));
    zip_source_close(image);
    return status;
}

static icd_status publish(icd_ctx *ctx, const char *path, zip_source_t *image)
{
    icd_out *out = NULL;
    icd_status status = icd_i_out_open(ctx, path, &out);
    if (status != ICD_OK) return status;
    status = copy_image(ctx, path, image, out);
    icd_status closed = icd_i_out_close(ctx, out, status == ICD_OK);
    return status == ICD_OK ? closed : status;
}

icd_status icd_i_npz_write(icd_ctx *ctx, const char *path, const icd_npz_member *member,
                           int32_t count)
{
    icd_status status = ICD_OK;
    headed *h = NULL;
    zip_source_t *image = NULL;
    zip_error_t error;
    assert(count >= 1 && "libzip writes no file for an archive without members");
    zip_error_init(&error);
    ICD_TRY(ICD_ALLOC(ctx, count, &h));
    for (int32_t i = 0; i < count; i++)
        if (!prepare(&member[i], &h[i])) {
            status = icd_i_fail(ctx, ICD_EINVAL, path, NULL,
                                "member '%.64s' is too large or its name too long",
                                member[i].name);
            goto done;
        }
    image = zip_source_buffer_create(NULL, 0, 0, &error);
    if (!image) {
        status = fail_zip(ctx, path, &error);
        goto done;
    }
    ICD_TRY(build(ctx, path, image, h, count));
    ICD_TRY(publish(ctx, path, image));
done:
    zip_source_free(image);
    zip_error_fini(&error);
    icd_i_free(ctx, h);
    return status;
}
