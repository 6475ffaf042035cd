/**
 * @file heap.h
 * A binary max-heap of nodes by an integer key that lives elsewhere; ties by the lower
 * node.
 */
#ifndef ICD_SOLVER_HEAP_H
#define ICD_SOLVER_HEAP_H

#include <stdbool.h>
#include <stdint.h>

enum { ICD_HEAP_OUT = -1 };

typedef struct icd_heap {
    int32_t *node; /**< room for every node */
    int32_t *at;   /**< node -> place in `node`, ICD_HEAP_OUT; may be shared by heaps */
    const int32_t *key; /**< of every node */
    int32_t count;
} icd_heap;

static inline bool icd_i_heap_before(const icd_heap *h, int32_t a, int32_t b)
{
    return h->key[a] != h->key[b] ? h->key[a] > h->key[b] : a < b;
}

static inline void icd_i_heap_put(icd_heap *h, int32_t place, int32_t v)
{
    h->node[place] = v;
    h->at[v] = place;
}

static inline void icd_i_heap_up(icd_heap *h, int32_t place)
{
    int32_t v = h->node[place];
    while (place > 0) {
        int32_t parent = (place - 1) / 2;
        if (!icd_i_heap_before(h, v, h->node[parent])) break;
        icd_i_heap_put(h, place, h->node[parent]);
        place = parent;
    }
    icd_i_heap_put(h, place, v);
}

static inline void icd_i_heap_down(icd_heap *h, int32_t place)
{
    int32_t v = h->node[place];
    for (;;) {
        int32_t child = 2 * place + 1;
        if (child >= h->count) break;
        if (child + 1 < h->count &&
            icd_i_heap_before(h, h->node[child + 1], h->node[child]))
            child++;
        if (!icd_i_heap_before(h, h->node[child], v)) break;
        icd_i_heap_put(h, place, h->node[child]);
        place = child;
    }
    icd_i_heap_put(h, place, v);
}

static inline void icd_i_heap_push(icd_heap *h, int32_t v)
{
    h->node[h->count] = v;
    icd_i_heap_up(h, h->count++);
}

/** Appends without order; icd_i_heap_build makes a heap of what was appended. */
static inline void icd_i_heap_append(icd_heap *h, int32_t v)
{
    icd_i_heap_put(h, h->count++, v);
}

static inline void icd_i_heap_build(icd_heap *h)
{
    for (int32_t place = h->count / 2 - 1; place >= 0; --place) icd_i_heap_down(h, place);
}

/** Restores the order after the key of a member changed. */
static inline void icd_i_heap_moved(icd_heap *h, int32_t v)
{
    int32_t place = h->at[v];
    if (place > 0 && icd_i_heap_before(h, v, h->node[(place - 1) / 2]))
        icd_i_heap_up(h, place);
    else
        icd_i_heap_down(h, place);
}

static inline void icd_i_heap_remove(icd_heap *h, int32_t v)
{
    int32_t place = h->at[v], last = h->node[--h->count];
    h->at[v] = ICD_HEAP_OUT;
    if (last == v) return;
    icd_i_heap_put(h, place, last);
    icd_i_heap_moved(h, last);
}

static inline int32_t icd_i_heap_pop(icd_heap *h)
{
    int32_t v = h->node[0];
    icd_i_heap_remove(h, v);
    return v;
}

#endif
