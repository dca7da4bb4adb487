#include "testing.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define POISON_GUARDS
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define POISON_GUARDS
#endif
#ifdef POISON_GUARDS
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

enum { GUARD = 512, GUARD_BYTE = 0xA5, FAILURES_SHOWN = 20 };

static _Atomic long passed, failed;
static long passed_before, failed_before;

int expect(int ok, const char *format, ...) {
    if (ok) {
        atomic_fetch_add(&passed, 1);
        return ok;
    }
    if (atomic_fetch_add(&failed, 1) < FAILURES_SHOWN) {
        va_list arguments;
        va_start(arguments, format);
        printf("FAILED: ");
        vprintf(format, arguments);
        printf("\n");
        va_end(arguments);
    }
    return ok;
}

long failures(void) { return failed; }

void group_done(const char *name) {
    printf("%s: %ld passed", name, passed - passed_before);
    if (failed > failed_before) printf(", %ld failed", failed - failed_before);
    printf("\n");
    fflush(stdout);
    passed_before = passed;
    failed_before = failed;
}

int all_done(void) {
    printf("%ld passed, %ld failed\n", passed, failed);
    return failed || !passed ? EXIT_FAILURE : EXIT_SUCCESS;
}

double next_value(uint64_t *state) { /* xorshift64* (Vigna 2016) */
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    uint64_t bits = *state * 0x2545F4914F6CDD1Du;
    return (double)(bits >> 44) / (1 << 19) - 1;
}

void *allocate(size_t bytes) {
    void *memory = calloc(bytes ? bytes : 1, 1);
    if (!memory) {
        fprintf(stderr, "out of memory: %zu bytes\n", bytes);
        exit(EXIT_FAILURE);
    }
    return memory;
}

void *guarded(guards *g, size_t bytes) {
    const size_t all = (GUARD + bytes + GUARD + 63) / 64 * 64;
    char *block = aligned_alloc(64, all);
    if (!block || g->count == sizeof g->blocks / sizeof *g->blocks) {
        fprintf(stderr, "no room for %zu guarded bytes\n", bytes);
        exit(EXIT_FAILURE);
    }
    memset(block, GUARD_BYTE, GUARD);
    memset(block + GUARD, 0xFF, bytes);
    memset(block + GUARD + bytes, GUARD_BYTE, GUARD);
    ASAN_POISON_MEMORY_REGION(block, GUARD);
    ASAN_POISON_MEMORY_REGION(block + GUARD + bytes, GUARD);
    g->blocks[g->count] = block;
    g->sizes[g->count++] = bytes;
    return block + GUARD;
}

static int intact(const char *guard) {
    for (int i = 0; i < GUARD; i++)
        if ((unsigned char)guard[i] != GUARD_BYTE) return 0;
    return 1;
}

void guards_done(guards *g, const char *what) {
    for (int i = 0; i < g->count; i++) {
        char *block = g->blocks[i], *after = block + GUARD + g->sizes[i];
        ASAN_UNPOISON_MEMORY_REGION(block, GUARD);
        ASAN_UNPOISON_MEMORY_REGION(after, GUARD);
        expect(intact(block) && intact(after), "%s: wrote outside its memory number %d of %zu bytes", what, i, g->sizes[i]);
        free(block);
    }
    g->count = 0;
}
