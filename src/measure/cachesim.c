/* A line's way is found by comparing tags; what is known of a sector is one bit of two
   masks beside the tag. Levels call downwards on a miss and push downwards on eviction.
 */
#include "measure/cachesim.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

enum { RUNS = 256, SECTORS_MOST = 8, ABSENT = -1 };

/* One array of lines. */
typedef struct bank {
    int64_t sets;
    int32_t ways, policy;
    bool hashed;
    uint64_t *tag;   /* [sets x ways] line number; meaningful where valid != 0 */
    uint64_t *order; /* LRU: [sets x ways] when it was used; PLRU: [sets] the tree */
    uint8_t *valid, *dirty; /* [sets x ways] a bit for each sector */
} bank;

struct icd_cachesim {
    icd_cache_model model;
    int32_t agents, line_shift, sector_shift;
    bank *bank[ICD_CACHE_LEVELS]; /* [agents], of the last level [partitions] */
    int32_t banks[ICD_CACHE_LEVELS];
    uint64_t now;
    icd_cache_totals totals;
};

static bool is_power_of_two(int64_t x)
{
    return x > 0 && (x & (x - 1)) == 0;
}

static int32_t log2_of(int64_t x)
{
    int32_t shift = 0;
    while (((int64_t)1 << shift) < x) shift++;
    return shift;
}

/* Fibonacci hashing: the middle bits of a product depend on all bits below them. */
static uint64_t scatter(uint64_t line)
{
    return (line * 0x9E3779B97F4A7C15u) >> 24;
}

static uint64_t set_of(const bank *b, uint64_t line)
{
    uint64_t key = b->hashed ? scatter(line) : line;
    return (b->sets & (b->sets - 1)) == 0 ? key & (uint64_t)(b->sets - 1)
                                          : key % (uint64_t)b->sets;
}

static int64_t find(const bank *b, uint64_t line)
{
    int64_t first = (int64_t)set_of(b, line) * b->ways;
    for (int64_t w = first; w < first + b->ways; w++)
        if (b->tag[w] == line && b->valid[w]) return w;
    return ABSENT;
}

static bool has(const bank *b, int64_t way, unsigned bit)
{
    return way != ABSENT && (b->valid[way] & bit);
}

/* PLRU: the bits on the way from the root to a leaf point away from it. Node 1 is the
 * root, node n has the children 2n and 2n + 1; bit 0: the left one is older. */
static void point_away(uint64_t *tree, int32_t ways, int32_t way)
{
    for (int32_t node = way + ways; node > 1; node /= 2) {
        uint64_t parent = (uint64_t)1 << (node / 2);
        *tree = node % 2 ? *tree & ~parent : *tree | parent;
    }
}

static int32_t follow(uint64_t tree, int32_t ways)
{
    int32_t node = 1;
    while (node < ways) node = 2 * node + (int32_t)(tree >> node & 1);
    return node - ways;
}

static void use(icd_cachesim *sim, bank *b, int64_t way)
{
    if (b->policy == ICD_CACHE_PLRU)
        point_away(&b->order[way / b->ways], b->ways, (int32_t)(way % b->ways));
    else
        b->order[way] = ++sim->now;
}

/* The way of a set that is given up: an empty one, else the oldest. */
static int64_t choose(const bank *b, uint64_t set)
{
    int64_t first = (int64_t)set * b->ways, oldest = first;
    for (int64_t w = first; w < first + b->ways; w++) {
        if (!b->valid[w]) return w;
        if (b->policy == ICD_CACHE_LRU && b->order[w] < b->order[oldest]) oldest = w;
    }
    return b->policy == ICD_CACHE_PLRU ? first + follow(b->order[set], b->ways) : oldest;
}

static int32_t last_level(const icd_cachesim *sim)
{
    return sim->model.levels - 1;
}

/* Where a line of an agent lives in a level; in the last: the part it belongs to. */
static bank *home(icd_cachesim *sim, int32_t level, int32_t agent, uint64_t line)
{
    if (level < last_level(sim)) return &sim->bank[level][agent];
    int32_t parts = sim->banks[level];
    return &sim->bank[level][parts > 1 ? scatter(line * 3 + 1) % (uint64_t)parts : 0];
}

/* Removes a line from the levels above and returns which sectors were dirty there. */
static uint8_t purge_above(icd_cachesim *sim, int32_t level, int32_t agent, uint64_t line)
{
    uint8_t dirty = 0;
    bool all = level == last_level(sim);
    for (int32_t l = 0; l < level; l++)
        for (int32_t a = all ? 0 : agent; a < (all ? sim->agents : agent + 1); a++) {
            bank *b = &sim->bank[l][a];
            int64_t w = find(b, line);
            if (w == ABSENT) continue;
            dirty |= b->dirty[w];
            b->valid[w] = b->dirty[w] = 0;
        }
    return dirty;
}

static void insert(icd_cachesim *sim, int32_t level, int32_t agent, bank *b,
                   uint64_t line, unsigned valid, unsigned dirty);

/* A line leaves a level: what is newer than the memory goes down, and to a victim level
 * everything goes. */
static void evict(icd_cachesim *sim, int32_t level, int32_t agent, bank *b, int64_t way)
{
    uint64_t line = b->tag[way];
    unsigned valid = b->valid[way], dirty = b->dirty[way];
    int32_t below = level + 1;
    b->valid[way] = b->dirty[way] = 0;
    if (level > 0 && sim->model.level[level].inclusion == ICD_CACHE_INCLUSIVE)
        dirty |= purge_above(sim, level, agent, line);
    if (level == last_level(sim)) {
        sim->totals.written_bytes += (int64_t)__builtin_popcount(dirty)
                                     << sim->sector_shift;
        return;
    }
    bool victim = sim->model.level[below].inclusion == ICD_CACHE_VICTIM;
    if (victim || dirty)
        insert(sim, below, agent, home(sim, below, agent, line), line,
               victim ? valid | dirty : dirty, dirty);
}

static void insert(icd_cachesim *sim, int32_t level, int32_t agent, bank *b,
                   uint64_t line, unsigned valid, unsigned dirty)
{
    int64_t way = find(b, line);
    if (way == ABSENT) {
        way = choose(b, set_of(b, line));
        if (b->valid[way]) evict(sim, level, agent, b, way);
        b->tag[way] = line;
    }
    b->valid[way] = (uint8_t)(b->valid[way] | valid);
    b->dirty[way] = (uint8_t)(b->dirty[way] | dirty);
    use(sim, b, way);
}

/* Other agents' newer copies go to the last level, and all copies to one that holds no
 * line of a living agent: cores hand lines over. `drop`: their copies are gone. */
static void settle(icd_cachesim *sim, int32_t agent, uint64_t line, unsigned bit,
                   bool drop)
{
    int32_t last = last_level(sim);
    bool hand_over = sim->model.level[last].inclusion == ICD_CACHE_VICTIM;
    for (int32_t a = 0; a < sim->agents; a++)
        for (int32_t l = 0; a != agent && l < last; l++) {
            bank *b = &sim->bank[l][a];
            int64_t w = find(b, line);
            if (!has(b, w, bit)) continue;
            bool newer = b->dirty[w] & bit;
            b->dirty[w] = (uint8_t)(b->dirty[w] & ~bit);
            if (drop) b->valid[w] = (uint8_t)(b->valid[w] & ~bit);
            if (newer || hand_over)
                insert(sim, last, agent, home(sim, last, agent, line), line, bit,
                       newer ? bit : 0);
        }
}

static void count(icd_cache_counts *c, bool write, bool miss)
{
    *(write ? &c->writes : &c->reads) += 1;
    *(write ? &c->write_misses : &c->read_misses) += miss;
}

static void from_memory(icd_cachesim *sim, bool write)
{
    if (!write || sim->model.write_fetches)
        sim->totals.read_bytes += (int64_t)1 << sim->sector_shift;
}

/* A read of the last level by an agent whose part is not the line's: its own part keeps a
 * copy. */
static void read_parted(icd_cachesim *sim, int32_t agent, uint64_t line, unsigned bit,
                        bank *there)
{
    int32_t last = last_level(sim);
    bank *own = &sim->bank[last][agent % sim->banks[last]];
    int64_t way = find(own, line);
    if (has(own, way, bit)) {
        count(&sim->totals.level[last], false, false);
        use(sim, own, way);
        return;
    }
    bool far = has(there, find(there, line), bit);
    count(&sim->totals.level[last], false, !far);
    sim->totals.level[last].far_hits += far && there != own;
    if (!far) from_memory(sim, false);
    insert(sim, last, agent, there, line, bit, 0);
    if (own != there) insert(sim, last, agent, own, line, bit, 0);
}

/* A write of the first and last level goes to the line's part; copies elsewhere are
 * gone. */
static void write_parted(icd_cachesim *sim, int32_t agent, uint64_t line, unsigned bit,
                         bank *there)
{
    int32_t last = last_level(sim);
    bool miss = !has(there, find(there, line), bit);
    count(&sim->totals.level[last], true, miss);
    if (miss) from_memory(sim, true);
    insert(sim, last, agent, there, line, bit, bit);
    for (int32_t p = 0; p < sim->banks[last]; p++) {
        bank *b = &sim->bank[last][p];
        int64_t w = b == there ? ABSENT : find(b, line);
        if (w != ABSENT) b->valid[w] = (uint8_t)(b->valid[w] & ~bit);
    }
}

/* Brings a sector from `level` or below it. @return it is newer than the memory, and the
 * level gave it away */
static bool fetch(icd_cachesim *sim, int32_t level, int32_t agent, uint64_t line,
                  unsigned bit, bool write)
{
    bool newer = false;
    if (level == sim->model.levels) {
        from_memory(sim, write);
        return false;
    }
    bank *b = home(sim, level, agent, line);
    if (sim->banks[level] > 1 && level == last_level(sim)) {
        read_parted(sim, agent, line, bit, b);
        return false;
    }
    if (level == last_level(sim) && sim->agents > 1 && level > 0)
        settle(sim, agent, line, bit, write);
    int64_t way = find(b, line);
    bool hit = has(b, way, bit);
    count(&sim->totals.level[level], write, !hit);
    if (!hit) newer = fetch(sim, level + 1, agent, line, bit, write);
    if (sim->model.level[level].inclusion == ICD_CACHE_VICTIM) {
        if (!hit) return newer;
        newer = b->dirty[way] & bit;
        b->valid[way] = (uint8_t)(b->valid[way] & ~bit);
        b->dirty[way] = (uint8_t)(b->dirty[way] & ~bit);
        return newer;
    }
    if (hit)
        use(sim, b, way);
    else
        insert(sim, level, agent, b, line, bit, newer ? bit : 0);
    return false;
}

/* A store: the sector comes to the first level and is newer than the memory there. */
static void store(icd_cachesim *sim, int32_t agent, uint64_t line, unsigned bit)
{
    bank *b = home(sim, 0, agent, line);
    if (last_level(sim) == 0) {
        write_parted(sim, agent, line, bit, b);
        return;
    }
    int64_t way = find(b, line);
    bool mine = has(b, way, bit) && (b->dirty[way] & bit);
    if (!mine && sim->agents > 1) settle(sim, agent, line, bit, true);
    fetch(sim, 0, agent, line, bit, true);
    way = find(b, line);
    if (way != ABSENT) b->dirty[way] = (uint8_t)(b->dirty[way] | bit);
}

void icd_i_cachesim_touch(icd_cachesim *sim, const icd_addr_run *run)
{
    if (run->bytes == 0) return;
    int32_t agent = run->agent % sim->agents, per = sim->line_shift - sim->sector_shift;
    uint64_t first = run->address >> sim->sector_shift,
             last = (run->address + run->bytes - 1) >> sim->sector_shift;
    for (uint64_t s = first; s <= last; s++) {
        uint64_t line = s >> per;
        unsigned bit = 1u << (s & (((uint64_t)1 << per) - 1));
        if (run->write)
            store(sim, agent, line, bit);
        else
            fetch(sim, 0, agent, line, bit, false);
    }
}

icd_status icd_i_cachesim_run(icd_ctx *ctx, icd_cachesim *sim, icd_addrs *addrs)
{
    icd_addr_run run[RUNS];
    int64_t n;
    addrs->rewind(addrs->self);
    while ((n = addrs->next(addrs->self, run, RUNS)) > 0) {
        for (int64_t i = 0; i < n; i++) icd_i_cachesim_touch(sim, &run[i]);
        if (icd_i_cancelled(ctx)) return icd_i_check_cancel(ctx);
    }
    return ICD_OK;
}

void icd_i_cachesim_totals(const icd_cachesim *sim, icd_cache_totals *out)
{
    *out = sim->totals;
}

void icd_i_cachesim_reset(icd_cachesim *sim)
{
    memset(&sim->totals, 0, sizeof sim->totals);
}

static icd_status check_level(icd_ctx *ctx, const icd_cache_model *m, int32_t i)
{
    const icd_cache_level *l = &m->level[i];
    char place[64];
    snprintf(place, sizeof place, "cache model %.32s, level %d", m->name ? m->name : "",
             i + 1);
    if (l->ways < 1 || l->ways > ICD_CACHE_WAYS || l->bytes < (int64_t)l->ways * m->line)
        return icd_i_fail(ctx, ICD_EINVAL, place, NULL,
                          "found %lld bytes in %d ways, expected 1 to %d ways and room "
                          "for one line in each",
                          (long long)l->bytes, l->ways, ICD_CACHE_WAYS);
    if (l->policy == ICD_CACHE_PLRU && !is_power_of_two(l->ways))
        return icd_i_fail(ctx, ICD_EINVAL, place, "use LRU",
                          "found a tree over %d ways, expected a power of two", l->ways);
    if (l->inclusion == ICD_CACHE_VICTIM && (i == 0 || l->partitions > 1))
        return icd_i_fail(ctx, ICD_EINVAL, place, NULL,
                          "found a victim level that is the first one or has parts");
    if (l->partitions > 1 && i != m->levels - 1)
        return icd_i_fail(ctx, ICD_EINVAL, place, NULL,
                          "found parts, expected them in the last level only");
    return ICD_OK;
}

static icd_status check_model(icd_ctx *ctx, const icd_cache_model *m, int32_t agents)
{
    icd_status status = ICD_OK;
    if (m->levels < 1 || m->levels > ICD_CACHE_LEVELS || !is_power_of_two(m->line) ||
        !is_power_of_two(m->sector) || m->sector > m->line ||
        m->line > m->sector * SECTORS_MOST || agents < 0 || agents > ICD_CACHE_AGENTS)
        return icd_i_fail(ctx, ICD_EINVAL, "cache model", NULL,
                          "found %d levels, lines of %d bytes in sectors of %d, %d "
                          "agents; expected 1 to %d levels, powers of two, at most %d "
                          "sectors a line and %d agents",
                          m->levels, m->line, m->sector, agents, ICD_CACHE_LEVELS,
                          SECTORS_MOST, ICD_CACHE_AGENTS);
    for (int32_t i = 0; status == ICD_OK && i < m->levels; i++)
        status = check_level(ctx, m, i);
    return status;
}

static icd_status make_bank(icd_ctx *ctx, const icd_cache_level *l, int32_t line, bank *b)
{
    icd_status status = ICD_OK;
    b->ways = l->ways;
    b->policy = l->policy;
    b->hashed = l->hashed;
    b->sets = l->bytes / ((int64_t)l->ways * line);
    int64_t lines = b->sets * b->ways;
    ICD_TRY(ICD_ALLOC(ctx, lines, &b->tag));
    ICD_TRY(ICD_ALLOC(ctx, l->policy == ICD_CACHE_PLRU ? b->sets : lines, &b->order));
    ICD_TRY(ICD_ALLOC(ctx, lines, &b->valid));
    ICD_TRY(ICD_ALLOC(ctx, lines, &b->dirty));
done:
    return status;
}

static icd_status make_level(icd_ctx *ctx, icd_cachesim *sim, int32_t i)
{
    const icd_cache_level *l = &sim->model.level[i];
    int32_t banks = sim->agents;
    if (i == last_level(sim)) banks = l->partitions > 1 ? l->partitions : 1;
    icd_status status = ICD_ALLOC(ctx, banks, &sim->bank[i]);
    if (status == ICD_OK) sim->banks[i] = banks;
    for (int32_t b = 0; status == ICD_OK && b < banks; b++)
        status = make_bank(ctx, l, sim->model.line, &sim->bank[i][b]);
    return status;
}

icd_status icd_i_cachesim_new(icd_ctx *ctx, const icd_cache_model *model, int32_t agents,
                              icd_cachesim **out)
{
    icd_status status = ICD_OK;
    icd_cachesim *sim = NULL;
    *out = NULL;
    ICD_TRY(check_model(ctx, model, agents));
    ICD_TRY(ICD_ALLOC(ctx, 1, &sim));
    sim->model = *model;
    sim->agents = agents ? agents : 1;
    sim->line_shift = log2_of(model->line);
    sim->sector_shift = log2_of(model->sector);
    for (int32_t i = 0; i < model->levels; i++) ICD_TRY(make_level(ctx, sim, i));
    *out = sim;
    sim = NULL;
done:
    icd_i_cachesim_free(ctx, sim);
    return status;
}

void icd_i_cachesim_free(icd_ctx *ctx, icd_cachesim *sim)
{
    if (!sim) return;
    for (int32_t i = 0; i < ICD_CACHE_LEVELS; i++) {
        for (int32_t b = 0; b < sim->banks[i]; b++) {
            icd_i_free(ctx, sim->bank[i][b].tag);
            icd_i_free(ctx, sim->bank[i][b].order);
            icd_i_free(ctx, sim->bank[i][b].valid);
            icd_i_free(ctx, sim->bank[i][b].dirty);
        }
        icd_i_free(ctx, sim->bank[i]);
    }
    icd_i_free(ctx, sim);
}
