/* How threads wait for each other: signals and barriers.
 *
 * A thread that waits spins for a bounded time, then sleeps. Time steps are often only microseconds apart, so sleeping
 * costs too much; but on a busy machine a spinning thread keeps the thread it waits for off the core. */
#ifndef FASTRNN_BARRIER_H
#define FASTRNN_BARRIER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

/* A value and the threads that wait until it changes. */
typedef struct {
    _Atomic uint64_t value;
    _Atomic int32_t sleeping;
    pthread_mutex_t mutex;
    pthread_cond_t moved;
} signal_t;

typedef struct {
    _Atomic int32_t arrived;
    signal_t phase;
} barrier_t;

#define SIGNAL {.mutex = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER}
#define BARRIER {.phase = SIGNAL}

int64_t nanoseconds(void);

/* Wait until the value differs from `old`; spin for the first `spin` nanoseconds. */
void signal_wait(signal_t *s, uint64_t old, int64_t spin);
void signal_set(signal_t *s, uint64_t value);

/* Wait until `threads` threads have called this; return how long this thread waited, in nanoseconds, or 0 if it was the
 * last. */
int64_t barrier_wait(barrier_t *b, int32_t threads);

/* Make a signal or a barrier as new in a forked child, where its lock is in an unknown state. */
void signal_reset(signal_t *s);
void barrier_reset(barrier_t *b);

#endif
