/* Runs a fuzz target over files and folders: the corpus as a plain test, without
 * libFuzzer. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "fuzz.h"

/* An allocation of the exact size, so that a sanitizer sees a read past the end. */
static int replay_file(const char *path, long size)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(size ? (size_t)size : 1);
    if (!file || !data || fread(data, 1, (size_t)size, file) != (size_t)size) {
        perror(path);
        if (file) fclose(file);
        free(data);
        return -1;
    }
    fclose(file);
    LLVMFuzzerTestOneInput(data, (size_t)size);
    free(data);
    return 1;
}

static int replay(const char *path);

static int replay_folder(const char *path)
{
    int total = 0;
    struct dirent **entry = NULL;
    int count = scandir(path, &entry, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char child[4096];
        snprintf(child, sizeof child, "%s/%s", path, entry[i]->d_name);
        int ran = entry[i]->d_name[0] == '.' || total < 0 ? 0 : replay(child);
        total = ran < 0 ? -1 : total + ran;
        free(entry[i]);
    }
    free(entry);
    return count < 0 ? -1 : total;
}

/* Number of inputs run, -1 for what cannot be read. */
static int replay(const char *path)
{
    struct stat info;
    if (stat(path, &info)) {
        perror(path);
        return -1;
    }
    return S_ISDIR(info.st_mode) ? replay_folder(path) : replay_file(path, info.st_size);
}

int main(int argc, char **argv)
{
    int total = 0;
    for (int i = 1; i < argc; i++) {
        int ran = replay(argv[i]);
        if (ran < 0) return 1;
        total += ran;
    }
    printf("%d inputs\n", total);
    return total ? 0 : 1;
}
