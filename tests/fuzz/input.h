/* An input of the fuzzer as a source of choices, and the memory of the calls that they make. */
#ifndef FUZZ_INPUT_H
#define FUZZ_INPUT_H

#include "library.h"

enum { GUARDS = 8, BLOCKS = 60, MOST_OUTPUTS = 64, RUNS = 2 };

/* One input. A call may run twice, with different numbers of threads; `run` is the number of the present run. */
typedef struct {
    const uint8_t *at, *end;
    uint64_t state; /* of the values in arrays */
    int32_t isa, dtype;
    guards g[GUARDS];
    int used, run, count[RUNS];
    struct {
        void *at;
        int64_t n;
        int finite;
    } outputs[RUNS][MOST_OUTPUTS];
} input;

/* Return a number in 0..bound-1 from the next bytes; 0 after the last one. */
int64_t take(input *in, int64_t bound);

/* Return a size in 1..most, small ones more often. */
int64_t take_size(input *in, int64_t most);

/* Return memory between guard bytes. All bytes are 0xFF, so reals that nobody writes are NaN. */
void *block(input *in, size_t bytes);

/* Return n random reals within -scale..scale, or null if n is 0. */
void *reals(input *in, int64_t n, double scale);

/* Return n ids, targets or lengths in from..to, taken from the input. */
int64_t *integers(input *in, int64_t n, int64_t from, int64_t to);

/* Return n reals for a result: null if n is 0; unwritten, or 1 if the call adds to them. `finite`: no NaN may be left in
 * them. */
void *result(input *in, int64_t n, int added, int finite);

/* Stop the fuzzer if a guard was overwritten, a result is not finite, or both runs differ in a bit. Frees all memory. */
void finish(input *in);

#endif
