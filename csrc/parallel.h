/* The thread team: the only interface to threads in this library. */
#ifndef FASTRNN_PARALLEL_H
#define FASTRNN_PARALLEL_H

#include <stdint.h>

enum { MAX_THREADS = 256 };

/* Crews that work side by side, at most. */
enum { MAX_CREWS = 2 };

/* What a thread knows of the crew it works in; `number` tells it from those beside it. */
typedef struct {
    int32_t rank, size, number;
} crew;

typedef void (*crew_body)(const crew *me, void *context);

/* The time of a call that is long in any case, in nanoseconds. */
enum { LONG_CALL = 1000000000 };

/* Run body on `size` threads, the caller being rank 0; returns when all are done. `time` is about how many nanoseconds it
 * takes: a call that is over before a sleeper is awake has only a team that is still awake after the call before. Runs on
 * the caller alone, with size 1, when size is 1, when that team sleeps, when another caller has it, or after it has lost its
 * time waiting on a busy machine. Denormals are flushed to zero inside; the caller's mode is restored. */
void crew_run(int32_t size, double time, crew_body body, void *context);

/* The same for several crews of `size` threads, each with its own context and barriers, at once; one after another where
 * crew_run would run alone. */
void crew_run_several(int32_t crews, int32_t size, double time, crew_body body, void *const *contexts);

/* Wait until every thread of the crew is here. */
void crew_barrier(const crew *me);

/* The part of 0..n-1 that falls to this rank: begin..end, as equal as whole multiples of `grain` allow. */
typedef struct {
    int64_t begin, end;
} range;
range crew_share(const crew *me, int64_t n, int64_t grain);

int32_t crew_threads(void);
void crew_set_threads(int32_t n);

#endif
