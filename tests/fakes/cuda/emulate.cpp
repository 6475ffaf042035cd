#include "emulate.h"

#include <stdio.h>
#include <stdlib.h>
#include <vector>

/* void emu_switch(void **save, void *load): the registers that a call preserves. */
asm(".text\n.globl emu_switch\n.type emu_switch,@function\nemu_switch:\n"
    "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
    "movq %rsp,(%rdi)\nmovq %rsi,%rsp\n"
    "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n"
    ".size emu_switch,.-emu_switch\n");
extern "C" void emu_switch(void **save, void *load);

namespace {

enum { STACK = 64 << 10, LANES = 32, WORDS = 4 };

struct copy {
    void *to;
    const void *from;
    bool valid;
};

struct group_product {
    int type, n;
    void *c;
    uint64_t a, b, seen; /* seen: of the operands, when it was asked for */
};

struct fiber {
    void *stack_pointer;
    std::vector<std::vector<copy>> groups; /* committed, oldest first */
    std::vector<copy> open;
    std::vector<std::vector<group_product>> products; /* the same */
    std::vector<group_product> asked;
    bool unseen; /* copies came that no fence shows to products */
    int exchanges;
    bool done;
};

struct barrier {
    int waiting, generation;
};

struct warp {
    uint32_t word[2][LANES][WORDS];
    barrier meeting;
};

struct machine {
    std::vector<fiber> fibers;
    std::vector<warp> warps;
    std::vector<unsigned char> shared_room;
    unsigned char *shared, *stacks;
    size_t shared_bytes;
    barrier meeting;
    void *host;
    emu_kernel *fn;
    const void *params;
    int current, block, alive;
    bool backward;
} m;

std::vector<emu_found> &list()
{
    static std::vector<emu_found> all;
    return all;
}

[[noreturn]] void wrong(const char *what)
{
    fprintf(stderr, "emulated kernel: %s (block %d, thread %d)\n", what, m.block,
            m.current);
    abort();
}

void resume(int next)
{
    int from = m.current;
    m.current = next;
    if (next != from) emu_switch(&m.fibers[from].stack_pointer, m.fibers[next].stack_pointer);
}

int next_alive(int from)
{
    int n = (int)m.fibers.size();
    for (int i = 1; i <= n; i++) {
        int at = (from + (m.backward ? n - i : i)) % n;
        if (!m.fibers[at].done) return at;
    }
    return -1;
}

void meet(barrier &b, int expected)
{
    int generation = b.generation;
    if (++b.waiting == expected) {
        b.waiting = 0;
        b.generation++;
        return;
    }
    while (b.generation == generation) resume(next_alive(m.current));
}

void run_thread()
{
    m.fn(m.params);
    if (!m.fibers[m.current].open.empty()) wrong("copies were never committed");
    if (!m.fibers[m.current].asked.empty() || !m.fibers[m.current].products.empty())
        wrong("products were never waited for");
    m.fibers[m.current].done = true;
    m.alive--;
    int next = next_alive(m.current);
    void *nowhere;
    int from = m.current;
    m.current = next < 0 ? from : next;
    emu_switch(&nowhere, next < 0 ? m.host : m.fibers[next].stack_pointer);
    abort();
}

/* A stack as emu_switch leaves it: six registers, then where to return to. */
void prepare(int i)
{
    uintptr_t top = ((uintptr_t)m.stacks + (size_t)(i + 1) * STACK) & ~(uintptr_t)15;
    void **sp = (void **)top;
    *--sp = nullptr; /* keeps the alignment that a call would have */
    *--sp = (void *)run_thread;
    for (int r = 0; r < 6; r++) *--sp = nullptr;
    m.fibers[i] = fiber();
    m.fibers[i].stack_pointer = sp;
}

void run_block(int block)
{
    memset(m.shared, 0xff, m.shared_bytes);
    m.block = block;
    m.alive = (int)m.fibers.size();
    m.meeting = barrier();
    for (size_t i = 0; i < m.fibers.size(); i++) prepare((int)i);
    for (warp &w : m.warps) w = warp();
    m.current = m.backward ? m.alive - 1 : 0;
    emu_switch(&m.host, m.fibers[m.current].stack_pointer);
}

warp &my_warp()
{
    return m.warps[m.current / LANES];
}

/* Every lane gives `n` words and then sees everybody's. */
const uint32_t (*exchange(const uint32_t *mine, int n))[WORDS]
{
    warp &w = my_warp();
    int phase = m.fibers[m.current].exchanges++ % 2;
    memcpy(w.word[phase][m.current % LANES], mine, (size_t)n * sizeof *mine);
    meet(w.meeting, LANES);
    return w.word[phase];
}

void check_shared(const void *p, size_t bytes)
{
    const unsigned char *at = (const unsigned char *)p;
    if (at < m.shared || at + bytes > m.shared + m.shared_bytes)
        wrong("an address outside the block's shared memory");
    if ((uintptr_t)p % 16) wrong("a shared address that is no multiple of 16");
}

float bf16_at(uint32_t word, int half)
{
    return as_float((half ? word >> 16 : word & 0xffff) << 16);
}

void finish(const copy &c)
{
    if (c.valid)
        memcpy(c.to, c.from, 16);
    else
        memset(c.to, 0, 16);
}

} // namespace

emu_entry::emu_entry(const char *name, emu_kernel *fn, int threads, size_t params)
{
    list().push_back({name, fn, threads, params});
}

emu_found emu_find(const char *name)
{
    for (const emu_found &l : list())
        if (!strcmp(l.name, name)) return l;
    return {};
}

bool emu_launch(emu_kernel *fn, unsigned blocks, unsigned threads, size_t shared,
                const void *params)
{
    static unsigned launches;
    if (threads == 0 || threads > 1024 || threads % LANES) {
        fprintf(stderr, "emulated launch: %u threads\n", threads);
        return false;
    }
    m.fibers.assign(threads, fiber());
    m.warps.assign(threads / LANES, warp());
    m.shared_room.assign(shared + 1024, 0);
    m.shared =
        (unsigned char *)(((uintptr_t)m.shared_room.data() + 1023) & ~(uintptr_t)1023);
    m.shared_bytes = shared;
    m.stacks = (unsigned char *)malloc((size_t)threads * STACK);
    m.fn = fn;
    m.params = params;
    m.backward = launches++ % 2;
    for (unsigned b = 0; b < blocks; b++) run_block((int)b);
    free(m.stacks);
    return true;
}

int emu_thread()
{
    return m.current;
}
int emu_block()
{
    return m.block;
}
unsigned char *emu_shared()
{
    return m.shared;
}
void emu_block_sync()
{
    meet(m.meeting, m.alive);
}

float emu_warp_xor(float v, int mask)
{
    uint32_t bits = as_bits(v);
    return as_float(exchange(&bits, 1)[m.current % LANES ^ mask][0]);
}

void emu_copy_async(void *to, const void *from, bool valid)
{
    check_shared(to, 16);
    if ((uintptr_t)from % 16) wrong("a copy from an address that is no multiple of 16");
    if (valid && !emu_is_global(from, 16)) wrong("a copy from outside every allocation");
    m.fibers[m.current].open.push_back({to, from, valid});
}

void emu_copy_commit()
{
    fiber &f = m.fibers[m.current];
    f.groups.push_back(f.open);
    f.open.clear();
}

void emu_copy_wait(int left)
{
    fiber &f = m.fibers[m.current];
    while ((int)f.groups.size() > left) {
        for (const copy &c : f.groups.front()) finish(c);
        if (!f.groups.front().empty()) f.unseen = true;
        f.groups.erase(f.groups.begin());
    }
}

uint4 emu_load(const void *p)
{
    uint4 v;
    if (!emu_is_global(p, sizeof v)) wrong("a load from outside every allocation");
    memcpy(&v, p, sizeof v);
    return v;
}

/* PTX ISA, ldmatrix: lane l gets elements 2 (l % 4), 2 (l % 4) + 1 of row l / 4. */
void emu_load_matrix(uint32_t r[4], const void *p, bool turned)
{
    uintptr_t at = (uintptr_t)p;
    uint32_t mine[2] = {(uint32_t)at, (uint32_t)(at >> 32)};
    int lane = m.current % LANES;
    check_shared(p, 16);
    const uint32_t(*all)[WORDS] = exchange(mine, 2);
    for (int i = 0; i < 4; i++) {
        uint32_t word = 0;
        for (int e = 0; e < 2; e++) {
            int row = turned ? lane % 4 * 2 + e : lane / 4;
            int column = turned ? lane / 4 : lane % 4 * 2 + e;
            const uint32_t *a = all[i * 8 + row];
            uint16_t value;
            memcpy(&value, (const char *)((uintptr_t)a[0] | (uintptr_t)a[1] << 32) + 2 * column,
                   2);
            word |= (uint32_t)value << 16 * e;
        }
        r[i] = word;
    }
}

/* PTX ISA, mma.m16n8k16 / m16n8k32: which lane and register hold 4 bytes of row `row` at
 * quarter `word` (0..7) of the 32 bytes along k. */
static uint32_t operand_a(const uint32_t (*a)[WORDS], int row, int word)
{
    return a[row % 8 * 4 + word % 4][row / 8 + word / 4 * 2];
}
static uint32_t operand_b(const uint32_t (*b)[WORDS], int column, int word)
{
    return b[column * 4 + word % 4][word / 4];
}

template <typename sum, typename dot_fn>
static void multiply_warp(sum c[4], const uint32_t a[4], uint32_t b0, uint32_t b1,
                          dot_fn dot)
{
    uint32_t b[2] = {b0, b1};
    int lane = m.current % LANES;
    uint32_t all_a[LANES][WORDS], all_b[LANES][WORDS];
    memcpy(all_a, exchange(a, 4), sizeof all_a);
    memcpy(all_b, exchange(b, 2), sizeof all_b);
    for (int i = 0; i < 4; i++)
        for (int word = 0; word < 8; word++)
            c[i] = dot(operand_a(all_a, lane / 4 + i / 2 * 8, word),
                       operand_b(all_b, lane % 4 * 2 + i % 2, word), c[i]);
}

void emu_multiply(float c[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
    multiply_warp(c, a, b0, b1, [](uint32_t x, uint32_t w, float v) {
        return v + bf16_at(x, 0) * bf16_at(w, 0) + bf16_at(x, 1) * bf16_at(w, 1);
    });
}

void emu_multiply(int32_t c[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
    multiply_warp(c, a, b0, b1,
                  [](uint32_t x, uint32_t w, int32_t v) { return dot4(x, w, v); });
}

/* OCP 8-bit floating point, e4m3. */
static float e4m3_of(int bits)
{
    int exponent = bits >> 3 & 15, mantissa = bits & 7;
    if ((bits & 0x7f) == 0x7f) return NAN;
    float v = exponent ? ldexpf((float)(8 + mantissa), exponent - 10)
                       : ldexpf((float)mantissa, -9);
    return bits & 0x80 ? -v : v;
}

static const struct e4m3_table {
    float value[256];
    e4m3_table()
    {
        for (int i = 0; i < 256; i++) value[i] = e4m3_of(i);
    }
} e4m3;

static float e4m3_at(uint32_t word, int byte)
{
    return e4m3.value[word >> 8 * byte & 0xff];
}

bool emu_multiply_e4m3(float c[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
    if (!emu_has_fp8()) return false;
    multiply_warp(c, a, b0, b1, [](uint32_t x, uint32_t w, float v) {
        for (int i = 0; i < 4; i++) v += e4m3_at(x, i) * e4m3_at(w, i);
        return v;
    });
    return true;
}

/* ---- products of warp groups ---- */

uint32_t emu_shared_address(const void *p)
{
    return (uint32_t)((const unsigned char *)p - m.shared);
}

/* PTX ISA, matrix descriptor: row `row` of an operand whose rows have 32 bytes, word
 * `word` of it, as the 32-byte swizzle stores it: bit 4 of an address changes with bit 7. */
static uint32_t operand_word(uint64_t descriptor, int row, int word)
{
    uint32_t at = (uint32_t)(descriptor & 0x3fff) << 4;
    uint32_t stride = (uint32_t)(descriptor >> 32 & 0x3fff) << 4, value;
    at += (uint32_t)(row / 8) * stride + (uint32_t)(row % 8) * 32 + (uint32_t)word * 4;
    at ^= (at >> 7 & 1) << 4;
    if (at + 4 > m.shared_bytes) wrong("an operand outside the block's shared memory");
    memcpy(&value, m.shared + at, 4);
    return value;
}

static void check_descriptor(uint64_t d)
{
    if (d >> 62 != 3) wrong("an operand in another swizzle than that of 32 bytes");
    if (d >> 49 & 7) wrong("an operand with a base offset");
    if ((d & 0x3fff) % 16) wrong("an operand that does not begin with its swizzle");
}

static uint64_t operands_seen(const group_product &p)
{
    uint64_t hash = 1469598103934665603u;
    for (int row = 0; row < 64 + p.n; row++)
        for (int word = 0; word < 8; word++)
            hash = (hash ^ (row < 64 ? operand_word(p.a, row, word)
                                     : operand_word(p.b, row - 64, word))) *
                   1099511628211u;
    return hash;
}

static float add_words(int type, uint32_t x, uint32_t w, float v)
{
    if (type == 0)
        return v + bf16_at(x, 0) * bf16_at(w, 0) + bf16_at(x, 1) * bf16_at(w, 1);
    for (int i = 0; i < 4; i++) v += e4m3_at(x, i) * e4m3_at(w, i);
    return v;
}

/* PTX ISA, D of wgmma.m64nN: warp w of the group has rows 16 w .. 16 w + 15, laid out over
 * its lanes as those of mma.m16n8, every eight columns in four registers. */
static void multiply_group(const group_product &p)
{
    int lane = m.current % LANES, warp = m.current / LANES % 4;
    if (m.current % (4 * LANES) == 0 && operands_seen(p) != p.seen)
        wrong("an operand changed before its product was waited for");
    for (int i = 0; i < p.n / 2; i++) {
        int row = warp * 16 + lane / 4 + i % 4 / 2 * 8;
        int column = i / 4 * 8 + lane % 4 * 2 + i % 2;
        for (int word = 0; word < 8; word++) {
            uint32_t x = operand_word(p.a, row, word ^ emu_is_wrong()),
                     w = operand_word(p.b, column, word);
            if (p.type == 1)
                ((int32_t *)p.c)[i] = dot4(x, w, ((int32_t *)p.c)[i]);
            else
                ((float *)p.c)[i] = add_words(p.type, x, w, ((float *)p.c)[i]);
        }
    }
}

void emu_group_multiply(int type, int n, void *c, uint64_t a, uint64_t b)
{
    fiber &f = m.fibers[m.current];
    if (!emu_has_fp8()) wrong("a warp group's product on a device without them");
    if (f.unseen) wrong("a product of what was copied without a fence");
    check_descriptor(a);
    check_descriptor(b);
    group_product p = {type, n, c, a, b, 0};
    if (m.current % (4 * LANES) == 0) p.seen = operands_seen(p);
    f.asked.push_back(p);
}

void emu_group_fence()
{
}

void emu_group_commit()
{
    fiber &f = m.fibers[m.current];
    f.products.push_back(f.asked);
    f.asked.clear();
}

void emu_group_wait(int left)
{
    fiber &f = m.fibers[m.current];
    while ((int)f.products.size() > left) {
        for (const group_product &p : f.products.front()) multiply_group(p);
        f.products.erase(f.products.begin());
    }
}

void emu_fence_copies()
{
    m.fibers[m.current].unseen = false;
}
