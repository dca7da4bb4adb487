/* The pool: one caller at a time, and the choice among its thread alone, the library's own workers and OpenMP's.
 *
 * One caller at a time owns the pool. A second Python thread that calls meanwhile works alone, so both make progress. No
 * result depends on this, because kernels give the same bits for every number of threads. */
#define _GNU_SOURCE
#include "parallel.h"

#include <unistd.h>

#include "backoff.h"
#include "barrier.h"
#include "denormals.h"
#include "openmp.h"
#include "workers.h"
#ifdef __linux__
#include <sched.h>
#endif

static const double WAKING = 50000; /* the least that waking costs, in nanoseconds */

static struct {
    pthread_mutex_t owner; /* held by the caller that owns the pool */
    int32_t groups, size;  /* the call's */
    pool_body body;
    void *const *contexts;      /* one for each group */
    barrier_t step[MAX_GROUPS]; /* the barriers inside the body, one for each group */
    int64_t last_call;          /* when it ended */
    _Atomic int32_t threads;    /* 0: not set yet */
    _Atomic int32_t openmp;     /* whether OpenMP's workers are used instead of the library's own */
    int32_t fork_handler, forked;
} pool = {.owner = PTHREAD_MUTEX_INITIALIZER, .step = {BARRIER, BARRIER}};

/* Start afresh in a forked child: it has the parent's memory but none of its threads, and its locks are in an unknown
 * state. The child has workers of its own, because OpenMP would wait for the parent's. */
static void reset_after_fork(void) {
    pthread_mutex_init(&pool.owner, NULL);
    for (int i = 0; i < MAX_GROUPS; i++) barrier_reset(pool.step + i);
    atomic_store(&pool.openmp, 0);
    pool.forked = 1;
    workers_reset();
    backoff_reset();
}

/* Only the pool's owner calls this. */
static void handle_forks(void) {
    if (!pool.fork_handler) pthread_atfork(NULL, NULL, reset_after_fork);
    pool.fork_handler = 1; /* a child inherits the handlers */
}

void pool_barrier(const worker *me) {
    if (me->size == 1) return;
    const int64_t waited = barrier_wait(&pool.step[me->number], me->size);
    if (waited && !me->rank && !me->number) backoff_count(waited);
}

static void run_alone(int32_t groups, pool_body body, void *const *contexts) {
    for (int32_t i = 0; i < groups; i++) body(&(worker){0, 1, i}, contexts[i]);
}

/* Do a thread's part of the call. If fewer threads came than the groups need, the groups are smaller. */
static void work_in_group(int32_t thread, int32_t threads) {
    const int32_t each = threads / pool.groups, size = each < pool.size ? each : pool.size;
    if (size == 0) {
        if (thread == 0) run_alone(pool.groups, pool.body, pool.contexts);
    } else if (thread < pool.groups * size) {
        const worker me = {thread % size, size, thread / size};
        pool.body(&me, pool.contexts[me.number]);
    }
}

/* `awake`: no worker sleeps, so the first wait also counts as lost time. A wait until OpenMP's workers wake counts as
 * well, because the caller would have to wait for them in every call. */
static void run_together(int awake) {
    backoff_begin_call(awake || pool.openmp);
    (pool.openmp ? openmp_run : workers_run)(pool.groups * pool.size, work_in_group);
    backoff_end_call();
}

/* Run a call that would end before a sleeping worker wakes. The first few such calls run alone. If they follow each
 * other so closely that a worker would still spin, it is woken for the next one. Steps of an LSTM, H = 256, on two cores
 * (Zen 5) take 10 us instead of 21; steps that come once in a while take as long as on one thread.
 *
 * OpenMP does not say whether its workers sleep. They still spin soon after the last call, because that call or one of
 * PyTorch's operators after it has woken them. */
static void run_brief(void) {
    const int32_t threads = pool.groups * pool.size;
    const int64_t pause = nanoseconds() - pool.last_call;
    if (pool.openmp ? pause < OPENMP_SPIN : workers_awake(threads)) {
        run_together(1);
        return;
    }
    run_alone(pool.groups, pool.body, pool.contexts);
    if (!pool.openmp && pause < SPIN_BETWEEN_CALLS) workers_wake(threads);
}

/* Run the caller's call; the caller owns the pool. */
static void run_owned(int32_t groups, int32_t size, double time, pool_body body, void *const *contexts) {
    handle_forks();
    pool.groups = groups;
    pool.size = size;
    pool.body = body;
    pool.contexts = contexts;
    if (time < WAKING)
        run_brief();
    else
        run_together(0);
    pool.last_call = nanoseconds();
}

void pool_run_several(int32_t groups, int32_t size, double time, pool_body body, void *const *contexts) {
    fp_mode mode = flush_denormals();
    if (size > MAX_THREADS / groups) size = MAX_THREADS / groups;
    if (groups * size > 1 && !backing_off() && pthread_mutex_trylock(&pool.owner) == 0) {
        run_owned(groups, size, time, body, contexts);
        pthread_mutex_unlock(&pool.owner);
    } else {
        run_alone(groups, body, contexts);
    }
    restore_denormals(mode);
}

void pool_run(int32_t size, double time, pool_body body, void *context) { pool_run_several(1, size, time, body, &context); }

range pool_share(const worker *me, int64_t n, int64_t grain) {
    int64_t grains = (n + grain - 1) / grain;
    int64_t begin = grains * me->rank / me->size * grain, end = grains * (me->rank + 1) / me->size * grain;
    return (range){begin < n ? begin : n, end < n ? end : n};
}

static int32_t processors(void) {
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (int32_t)online : 1;
}

int32_t pool_threads(void) {
    int32_t n = atomic_load_explicit(&pool.threads, memory_order_relaxed);
    if (n == 0) {
        pool_set_threads(processors());
        n = atomic_load_explicit(&pool.threads, memory_order_relaxed);
    }
    return n;
}

void pool_set_threads(int32_t n) {
    atomic_store(&pool.threads, n < 1 ? 1 : n > MAX_THREADS ? MAX_THREADS : n);
    backoff_stop();
}

int32_t pool_uses_openmp(void) { return atomic_load(&pool.openmp); }

int32_t pool_use_openmp(int32_t wanted) {
    pthread_mutex_lock(&pool.owner);
    handle_forks();
    atomic_store(&pool.openmp, wanted && !pool.forked && openmp_find());
    pthread_mutex_unlock(&pool.owner);
    backoff_stop();
    return pool_uses_openmp();
}
