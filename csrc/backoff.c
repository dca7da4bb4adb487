/* Threads that meet after every step lose time on a busy machine, because they wait for the thread that is not running.
 * A caller that waited for more than half of a call would have been faster alone. Callers then work alone for as long as
 * was lost. If it happens again, they work alone twice as long, up to 20 times the loss, so that trying costs at most 5
 * %. LSTM H = 128, B = 32, T = 20, training next to six busy processes on 2 cores (AMD EPYC): 39 ms, as on one thread.
 *
 * Delays shorter than a scheduler time slice do not come from another process. Threads always meet a little unevenly,
 * and two threads may still be faster than one because each has half of the weights in its own cache. */
#include "backoff.h"

#include <stdatomic.h>

#include "barrier.h"

enum { LONGEST_BACK_OFF = 20, LEAST_LOSS = 20000 };

static int64_t begun, lost;    /* when all threads first met in this call; how long the caller has waited since */
static int32_t factor = 1;     /* the next back-off lasts this many times the time lost */
static _Atomic int64_t resume; /* callers work alone until this time */

void backoff_begin_call(int awake) {
    begun = awake ? nanoseconds() : 0;
    lost = 0;
}

void backoff_count(int64_t waited) {
    if (begun)
        lost += waited;
    else
        begun = nanoseconds();
}

void backoff_end_call(void) {
    const int64_t now = nanoseconds();
    if (!begun || lost < LEAST_LOSS || 2 * lost <= now - begun) {
        factor = 1;
        return;
    }
    atomic_store_explicit(&resume, now + factor * lost, memory_order_relaxed);
    factor = 2 * factor < LONGEST_BACK_OFF ? 2 * factor : LONGEST_BACK_OFF;
}

int backing_off(void) {
    const int64_t until = atomic_load_explicit(&resume, memory_order_relaxed);
    return until && nanoseconds() < until;
}

void backoff_stop(void) { atomic_store(&resume, 0); }

void backoff_reset(void) {
    begun = lost = 0;
    factor = 1;
    backoff_stop();
}
