/* Callers work alone for a while after a call that lost its time waiting for threads that were not running. */
#ifndef FASTRNN_BACKOFF_H
#define FASTRNN_BACKOFF_H

#include <stdint.h>

/* Begin to count the waits of a call. The first wait is lost time only if the workers are awake already (`awake`):
 * otherwise they may still be waking, which says nothing about how busy the machine is. */
void backoff_begin_call(int awake);

/* Count a wait of the caller, in nanoseconds. */
void backoff_count(int64_t waited);

/* Decide after a call whether callers shall work alone, and for how long. */
void backoff_end_call(void);

/* Return whether callers shall work alone now. Every thread may ask; the other functions are for the pool's owner. */
int backing_off(void);

/* Let the next call use threads again. Every thread may call this. */
void backoff_stop(void);

/* Forget all losses, in a forked child. */
void backoff_reset(void);

#endif
