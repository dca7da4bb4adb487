/* What every test here needs: counted expectations, reproducible values, and memory that tells when it was overrun. */
#ifndef TESTING_H
#define TESTING_H

#include <stddef.h>
#include <stdint.h>

/* Count one check; a failed one is printed, with the format and what follows. Returns `ok`. Any thread may call it. */
int expect(int ok, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Print a line for the checks since the last call: "name: 12 passed" and, if any, ", 1 failed". */
void group_done(const char *name);

/* Print the final line; the exit status of the program. */
int all_done(void);

/* A value in [-1, 1) that float holds exactly; the same sequence everywhere. */
double next_value(uint64_t *state);

/* Zeroed memory, or the end of the program. */
void *allocate(size_t bytes);

/* The arrays of one call of the library, each of exactly the bytes that it may touch, between guard bytes. */
typedef struct {
    char *blocks[64];
    size_t sizes[64];
    int count;
} guards;

/* Memory aligned to 64 bytes and filled with 0xFF: what is read before it is written is a NaN. */
void *guarded(guards *g, size_t bytes);

/* Expect every guard byte as it was; release all. */
void guards_done(guards *g, const char *what);

#endif
