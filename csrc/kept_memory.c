/* A block is in one slot while no call uses it, and in none while a call does. It is exchanged for null and back, so there
 * is no lock that a fork could leave locked. A thread that looks at a block takes it out for that moment. Another thread
 * that misses it meanwhile uses a block of its own. */
#define _GNU_SOURCE
#include "kept_memory.h"

#include <stdatomic.h>
#include <stdlib.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

#include "arena.h"

enum { SLOTS = 8 };

typedef struct {
    uint64_t key;
    size_t size;      /* of the memory, which begins a line after the block */
    int64_t last_use; /* counts calls */
    int32_t spent;
} block;

static _Atomic(block *) slots[SLOTS];
static _Atomic int64_t calls;

static block *block_of(void *memory) { return (block *)((char *)memory - LINE); }
static void *memory_of(block *b) { return (char *)b + LINE; }

/* Put the block into an empty slot, the given one if it is empty. */
static void put(block *b, int slot) {
    for (int i = 0; i < SLOTS; i++) {
        block *none = NULL;
        if (atomic_compare_exchange_strong(slots + (slot + i) % SLOTS, &none, b)) return;
    }
    free(b);
}

/* Return whether it is better to lose the content of a than that of b. */
static int goes_first(const block *a, const block *b) { return a->spent != b->spent ? a->spent : a->last_use < b->last_use; }

/* Take out the block of this key. If there is none, `victim` is the slot of the block that makes room: a spent one or, if
 * all slots are full, the one that has not been used for longest. Else it is -1. */
static block *find(uint64_t key, size_t size, int *victim) {
    block first = {0};
    int full = 1;
    *victim = -1;
    for (int i = 0; i < SLOTS; i++) {
        block *b = atomic_exchange(slots + i, NULL);
        if (!b) {
            full = 0;
            continue;
        }
        if (b->key == key && b->size >= size) return b;
        if (b->key == key) { /* too small for what is called now */
            free(b);
            full = 0;
            continue;
        }
        if (*victim < 0 || goes_first(b, &first)) {
            first = *b;
            *victim = i;
        }
        put(b, i);
    }
    if (!full && !first.spent) *victim = -1;
    return NULL;
}

static block *allocate(size_t size) {
    size = (size + LINE - 1) / LINE * LINE;
    block *b = aligned_alloc(LINE, LINE + size);
    if (!b) return NULL;
    memory_prefer_huge_pages(b, size);
    b->size = size;
    return b;
}

void *memory_take(uint64_t key, size_t size, int32_t *found) {
    int victim;
    block *b = find(key, size, &victim);
    *found = !!b;
    if (!b && victim >= 0) b = atomic_exchange(slots + victim, NULL);
    if (b && b->size < size) {
        free(b);
        b = NULL;
    }
    if (!b) b = allocate(size);
    if (!b) return NULL;
    b->key = key;
    return memory_of(b);
}

void memory_give_back(void *memory, int32_t spent) {
    block *b = block_of(memory);
    b->spent = spent;
    b->last_use = atomic_fetch_add(&calls, 1);
    put(b, 0);
}

void memory_prefer_huge_pages(void *memory, size_t size) {
#ifdef __linux__
    enum { PAGE = 4096, LEAST = 4 << 20 }; /* less memory comes from pages that were used before */
    if (size < LEAST) return;
    const uintptr_t begin = ((uintptr_t)memory + PAGE - 1) / PAGE * PAGE, end = ((uintptr_t)memory + size) / PAGE * PAGE;
    madvise((void *)begin, end - begin, MADV_HUGEPAGE);
#else
    (void)memory, (void)size;
#endif
}
