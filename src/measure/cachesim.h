/**
 * @file cachesim.h
 * Caches in front of a memory, fed with an address stream: what would hit, what would go
 * to memory. No prefetcher, no timing, no translation of addresses.
 */
#ifndef ICD_MEASURE_CACHESIM_H
#define ICD_MEASURE_CACHESIM_H

#include "core/addrs.h"

enum { ICD_CACHE_LEVELS = 4, ICD_CACHE_WAYS = 64, ICD_CACHE_AGENTS = 1024 };

typedef enum icd_cache_policy {
    ICD_CACHE_LRU,
    ICD_CACHE_PLRU /**< a tree of bits; ways must be a power of two */
} icd_cache_policy;

/** How a level relates to those above it. */
typedef enum icd_cache_inclusion {
    ICD_CACHE_FREE,      /**< nothing is promised: a miss fills every level */
    ICD_CACHE_INCLUSIVE, /**< what leaves this level leaves those above too */
    ICD_CACHE_VICTIM     /**< holds only what left the level above; not the first level */
} icd_cache_inclusion;

typedef struct icd_cache_level {
    int32_t number; /**< 1, 2, 3: how people call it */
    int64_t bytes;  /**< of one partition */
    int32_t ways;
    int32_t policy;     /**< icd_cache_policy */
    int32_t inclusion;  /**< icd_cache_inclusion */
    int32_t partitions; /**< last level only: an agent asks its own part (agent %
                           partitions) first, then the one that a line belongs to; both
                           keep a copy. 0, 1: one */
    bool hashed;        /**< sets are chosen by a hash of the address, as in large shared
                           levels; else by its low bits */
} icd_cache_level;

/** All levels but the last are private to an agent. */
typedef struct icd_cache_model {
    const char *name, *note; /**< what it stands for and what it leaves out */
    int32_t line, sector; /**< bytes, powers of two; a miss brings one sector; at most 8
                             sectors a line; sector == line: whole lines */
    bool write_fetches;   /**< a write that misses reads the rest of its sector first */
    int32_t levels;       /**< first to last */
    icd_cache_level level[ICD_CACHE_LEVELS];
} icd_cache_model;

/**
 * "cpu": the data caches of the CPU as sysfs tells (32 KiB, 512 KiB, 16 MiB where it
 * does not); "h100", "a100": the second level alone.
 * @param root [in] "/sys/devices/system/cpu/cpu0/cache"
 * @return false: no such model
 */
bool icd_i_cache_model(const char *name, const char *root, icd_cache_model *out);

/** Multiprocessors of the GPU that a model stands for; 0: it is no GPU's. */
int32_t icd_i_cache_multiprocessors(const char *name);

/** Counts of one level are sectors. */
typedef struct icd_cache_counts {
    int64_t reads, writes, read_misses, write_misses;
    int64_t far_hits; /**< found in another partition; not misses */
} icd_cache_counts;

typedef struct icd_cache_totals {
    icd_cache_counts level[ICD_CACHE_LEVELS];
    int64_t read_bytes, written_bytes; /**< from and to memory */
} icd_cache_totals;

typedef struct icd_cachesim icd_cachesim;

/**
 * Empty caches.
 * @param agents [in] cores or multiprocessors; runs of others wrap around; 0: 1
 * @return ICD_OK | ICD_EINVAL sizes that do not fit, naming the level | ICD_ENOMEM
 */
icd_status icd_i_cachesim_new(icd_ctx *ctx, const icd_cache_model *model, int32_t agents,
                              icd_cachesim **out);
void icd_i_cachesim_free(icd_ctx *ctx, icd_cachesim *sim);

/**
 * One run of bytes: each sector of it is one access. Private levels of several agents are
 * kept coherent: a write takes a line from the others, a read cleans theirs.
 * @cost one line that misses three levels: some 30 ns; more agents, more
 */
void icd_i_cachesim_touch(icd_cachesim *sim, const icd_addr_run *run);

/** A whole stream, from its beginning. @return ICD_OK | ICD_ECANCELLED */
icd_status icd_i_cachesim_run(icd_ctx *ctx, icd_cachesim *sim, icd_addrs *addrs);

/** What was counted since the last call of reset; contents stay. */
void icd_i_cachesim_totals(const icd_cachesim *sim, icd_cache_totals *out);
void icd_i_cachesim_reset(icd_cachesim *sim);

#endif
