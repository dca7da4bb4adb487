/* Helpers for all tests here: counted expectations, reproducible values, and guarded memory that shows overruns. */
#ifndef TESTING_H
#define TESTING_H

#include <stddef.h>
#include <stdint.h>

/* Count one check and return `ok`. If it failed, print the message. Any thread may call this. */
int expect(int ok, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Return the number of failed checks. */
long failures(void);

/* Print a line for the checks since the last call: "name: 12 passed" and, if any, ", 1 failed". */
void group_done(const char *name);

/* Print the final line; return the exit status of the program. */
int all_done(void);

/* Return a value in [-1, 1) that float holds exactly. The sequence is the same on every machine. */
double next_value(uint64_t *state);

/* Return zeroed memory, or end the program. */
void *allocate(size_t bytes);

/* The arrays of one library call. Each has exactly the bytes that the call may touch, between guard bytes. */
typedef struct {
    char *blocks[64];
    size_t sizes[64];
    int count;
} guards;

/* Return memory aligned to 64 bytes and filled with 0xFF, so that reading it before writing it gives NaN. */
void *guarded(guards *g, size_t bytes);

/* Expect all guard bytes unchanged; free all blocks. */
void guards_done(guards *g, const char *what);

#endif
