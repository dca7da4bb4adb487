/* The library's own threads, which sleep between calls. Only the pool's owner calls these functions. */
#ifndef FASTRNN_WORKERS_H
#define FASTRNN_WORKERS_H

#include <stdint.h>

/* Do one thread's part of a call, for which `threads` threads came. */
typedef void (*thread_part)(int32_t thread, int32_t threads);

/* How long a worker spins between calls, in nanoseconds. It gives up sooner than inside a call, because there may be no
 * next call. */
enum { SPIN_BETWEEN_CALLS = 200000 };

/* Run `part` on the caller and on workers, which are created first if they do not exist; return when all are done.
 * Fewer than `threads` come if the system creates no more. */
void workers_run(int32_t threads, thread_part part);

/* Return whether enough workers for `threads` threads exist, and none of them sleeps. */
int workers_awake(int32_t threads);

/* Wake the workers, so that they spin when the next call comes. */
void workers_wake(int32_t threads);

/* Start afresh in a forked child, which has no workers. */
void workers_reset(void);

#endif
