/* What caches are like: of this CPU as the kernel tells, of GPUs as their makers do. */
#include "measure/cachesim.h"

#include <icd/meter.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INDICES = 10, KIB = 1024, MIB = 1024 * 1024 };

static const icd_cache_model GPU[] = {
    {.name = "h100",
     .note =
         "second level of an H100: 50 MB in two parts, lines of 128 bytes, sectors of "
         "32; 16 ways and the hash are assumed, compression is left out",
     .line = 128,
     .sector = 32,
     .levels = 1,
     .level =
         {{.number = 2, .bytes = 25 * MIB, .ways = 16, .partitions = 2, .hashed = true}}},
    {.name = "a100",
     .note =
         "second level of an A100: 40 MB in two parts, lines of 128 bytes, sectors of "
         "32; 16 ways and the hash are assumed, compression is left out",
     .line = 128,
     .sector = 32,
     .levels = 1,
     .level =
         {{.number = 2, .bytes = 20 * MIB, .ways = 16, .partitions = 2, .hashed = true}}},
};

int32_t icd_i_cache_multiprocessors(const char *name)
{
    enum { H100 = 132, A100 = 108 };
    return !strcmp(name, "h100") ? H100 : !strcmp(name, "a100") ? A100 : 0;
}

/* Where the kernel tells nothing. */
static const icd_cache_model SOME_CPU = {
    .name = "cpu",
    .note = "caches of a usual CPU, because the kernel does not describe these; no "
            "prefetcher, physical addresses taken as virtual ones",
    .line = 64,
    .sector = 64,
    .write_fetches = true,
    .levels = 3,
    .level = {{.number = 1, .bytes = 32 * KIB, .ways = 8, .policy = ICD_CACHE_PLRU},
              {.number = 2, .bytes = 512 * KIB, .ways = 8, .policy = ICD_CACHE_PLRU},
              {.number = 3, .bytes = 16 * MIB, .ways = 16, .hashed = true}}};

const char *icd_cache_model_name(int64_t i)
{
    static const char *const NAME[] = {"cpu", "h100", "a100"};
    return i >= 0 && i < 3 ? NAME[i] : NULL;
}

static bool read_word(const char *root, int index, const char *file, char word[32])
{
    char path[512];
    snprintf(path, sizeof path, "%s/index%d/%s", root, index, file);
    FILE *f = fopen(path, "re");
    bool read = f && fscanf(f, "%31s", word) == 1;
    if (f) fclose(f);
    return read;
}

static int64_t read_number(const char *root, int index, const char *file)
{
    char word[32], *end = word;
    if (!read_word(root, index, file, word)) return 0;
    int64_t value = strtoll(word, &end, 10);
    return *end == 'K' ? value * KIB : *end == 'M' ? value * MIB : value;
}

/* The data caches of one folder, the first level first. */
static bool read_level(const char *root, int index, icd_cache_model *m)
{
    char type[32];
    if (!read_word(root, index, "type", type) || !strcmp(type, "Instruction"))
        return false;
    int64_t number = read_number(root, index, "level");
    if (number != m->levels + 1 || number > ICD_CACHE_LEVELS) return false;
    icd_cache_level *l = &m->level[m->levels];
    *l = (icd_cache_level){
        .number = (int32_t)number,
        .bytes = read_number(root, index, "size"),
        .ways = (int32_t)read_number(root, index, "ways_of_associativity")};
    int64_t line = read_number(root, index, "coherency_line_size");
    if (line < 16 || line > 4096 || (m->line && line != m->line) || l->ways < 1 ||
        l->ways > ICD_CACHE_WAYS || l->bytes < line * l->ways)
        return false;
    m->line = m->sector = (int32_t)line;
    m->levels++;
    return true;
}

/* Zen: the second level contains the first, the third holds what the second threw out. */
static bool is_amd(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_is("amd");
#else
    return false;
#endif
}

/* Small levels are trees of bits on every CPU that was taken apart so far; the last
 * level's policy is secret, and LRU stands in for it. */
static void guess_rest(icd_cache_model *m)
{
    bool amd = is_amd();
    for (int32_t i = 0; i < m->levels; i++) {
        icd_cache_level *l = &m->level[i];
        bool last = i == m->levels - 1;
        if (!last && (l->ways & (l->ways - 1)) == 0) l->policy = ICD_CACHE_PLRU;
        l->hashed = last && i > 0;
        if (amd && i == 1) l->inclusion = ICD_CACHE_INCLUSIVE;
        if (amd && i == 2) l->inclusion = ICD_CACHE_VICTIM;
    }
    m->note = amd ? "sizes as the kernel tells, the last level holds victims; no "
                    "prefetcher, physical addresses taken as virtual ones"
                  : "sizes as the kernel tells, replacement assumed; no prefetcher, "
                    "physical addresses taken as virtual ones";
}

static void read_cpu(const char *root, icd_cache_model *out)
{
    icd_cache_model m = {.name = "cpu", .write_fetches = true};
    for (int i = 0; i < INDICES; i++) read_level(root, i, &m);
    if (m.levels < 2) {
        *out = SOME_CPU;
        return;
    }
    guess_rest(&m);
    *out = m;
}

bool icd_i_cache_model(const char *name, const char *root, icd_cache_model *out)
{
    for (size_t i = 0; i < sizeof GPU / sizeof GPU[0]; i++)
        if (!strcmp(GPU[i].name, name)) {
            *out = GPU[i];
            return true;
        }
    if (strcmp(name, "cpu") != 0) return false;
    read_cpu(root, out);
    return true;
}
