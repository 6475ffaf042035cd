#include "core/spot.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { FILE_CHARS = 200 };

static const char *file_tail(const char *file)
{
    size_t length = strlen(file);
    return length > FILE_CHARS ? file + (length - FILE_CHARS) : file;
}

icd_spot icd_i_spot(const char *file, const char *fmt, ...)
{
    icd_spot spot = {{0}};
    size_t used = 0;
    if (file) {
        const char *tail = file_tail(file);
        used = (size_t)snprintf(spot.text, sizeof spot.text,
                                "%s%s: ", tail == file ? "" : "...", tail);
    }
    va_list args;
    va_start(args, fmt);
    vsnprintf(spot.text + used, sizeof spot.text - used, fmt, args);
    va_end(args);
    return spot;
}
