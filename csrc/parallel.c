/* A pool of threads that sleep between calls.
 *
 * One caller at a time owns the pool. A second Python thread that calls meanwhile works alone, so both make progress. No
 * result depends on this, because kernels give the same bits for every number of threads. A thread that waits spins for
 * a bounded time, then sleeps. Time steps are often only microseconds apart, so sleeping costs too much; but on a busy
 * machine a spinning thread keeps the thread it waits for off the core. */
#define _GNU_SOURCE
#include "parallel.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "denormals.h"
#ifdef __linux__
#include <sched.h>
#include <sys/syscall.h>
#endif
#ifdef __x86_64__
#include <immintrin.h>
#endif

enum { SIZES = 1024 };

/* The longest spin before a thread sleeps, in nanoseconds. Sleeping and waking cost about 50 us, on a virtual machine
 * 200 us. Inside a call the other threads are at work and arrive soon. LSTM H = 128, B = 32, T = 20, training on 2 cores
 * (EPYC with AVX-512) took 9.7 ms when waits slept after 20 us, and takes 1.7 ms with these values (2.9 ms on one
 * thread). Between calls a worker gives up sooner because there may be no next call. */
enum { SPIN_IN_CALL = 2000000, SPIN_BETWEEN_CALLS = 200000 };

static const double WAKING = 50000; /* the least that waking costs, in nanoseconds */

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

typedef struct {
    pthread_mutex_t owner;   /* held by the caller that owns the pool */
    int32_t started;         /* workers created: ranks 1..started */
    _Atomic int32_t running; /* workers that have begun to run */
    pool_body body;
    void *const *contexts; /* one for each group */
    int32_t group_size;
    signal_t call; /* calls so far * SIZES + threads in all: one word, so that no worker reads half of an update */
#ifdef __linux__
    _Atomic pid_t thread[MAX_THREADS]; /* thread id of each worker, 0 before it runs */
#endif
    uint64_t call_before[MAX_THREADS]; /* value of `call` when a worker was created */
    barrier_t step[MAX_GROUPS];        /* the barriers inside the body, one for each group */
    barrier_t finish;                  /* the barrier at the end of a call, for all groups */
    _Atomic int32_t threads;           /* 0: not set yet */
    int32_t fork_handler;
    int64_t last_brief_call;        /* when the last brief call ended */
    int32_t back_off;               /* the next back-off lasts this many times the time lost */
    int64_t begun, lost;            /* when all threads first met in this call; how long its caller has waited since */
    _Atomic int64_t back_off_until; /* callers work alone until this time */
} pool_t;

#define SIGNAL {.mutex = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER}
static pool_t pool = {.owner = PTHREAD_MUTEX_INITIALIZER,
                      .back_off = 1,
                      .call = SIGNAL,
                      .step = {{.phase = SIGNAL}, {.phase = SIGNAL}},
                      .finish = {.phase = SIGNAL}};

static inline void pause_briefly(void) {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* Spin until the value changes or `most` nanoseconds have passed since `begin`; return whether it changed. */
static int spin_until_moved(signal_t *s, uint64_t old, int64_t begin, int64_t most) {
    do {
        for (int i = 0; i < 32; i++) {
            if (atomic_load_explicit(&s->value, memory_order_acquire) != old) return 1;
            pause_briefly();
        }
    } while (nanoseconds() - begin < most);
    return 0;
}

static void sleep_until_moved(signal_t *s, uint64_t old) {
    pthread_mutex_lock(&s->mutex);
    /* Sequentially consistent on both sides: either signal_set sees this sleeping thread, or this thread sees the new
     * value. */
    atomic_fetch_add(&s->sleeping, 1);
    while (atomic_load(&s->value) == old) pthread_cond_wait(&s->moved, &s->mutex);
    atomic_fetch_sub(&s->sleeping, 1);
    pthread_mutex_unlock(&s->mutex);
}

/* Wait until the value differs from `old`; return how long that took, in nanoseconds. */
static int64_t signal_wait(signal_t *s, uint64_t old, int64_t spin) {
    const int64_t begin = nanoseconds();
    if (!spin_until_moved(s, old, begin, spin)) sleep_until_moved(s, old);
    return nanoseconds() - begin;
}

static void signal_set(signal_t *s, uint64_t value) {
    atomic_store(&s->value, value);
    if (atomic_load(&s->sleeping) == 0) return;
    pthread_mutex_lock(&s->mutex);
    pthread_cond_broadcast(&s->moved);
    pthread_mutex_unlock(&s->mutex);
}

/* Do not count the first wait of a call: then workers may still be waking, which says nothing about how busy the machine
 * is. */
static void count_wait(int64_t waited) {
    if (pool.begun)
        pool.lost += waited;
    else
        pool.begun = nanoseconds();
}

static void barrier_wait(barrier_t *b, int32_t threads, int is_caller) {
    uint64_t old = atomic_load_explicit(&b->phase.value, memory_order_relaxed);
    if (atomic_fetch_add(&b->arrived, 1) + 1 == threads) {
        atomic_store_explicit(&b->arrived, 0, memory_order_relaxed);
        signal_set(&b->phase, old + 1);
        return;
    }
    int64_t waited = signal_wait(&b->phase, old, SPIN_IN_CALL);
    if (is_caller) count_wait(waited);
}

void pool_barrier(const worker *me) {
    if (me->size > 1) barrier_wait(&pool.step[me->number], me->size, !me->rank && !me->number);
}

static void work_in_group(int32_t thread) {
    const worker me = {thread % pool.group_size, pool.group_size, thread / pool.group_size};
    pool.body(&me, pool.contexts[me.number]);
}

/* On a machine with two processors that another library's threads have just kept busy, Linux does not look for the idle
 * one. It may queue a woken worker behind the thread that wakes it. The worker then starts up to 10 ms later, and the
 * caller spends 2 ms of that spinning. So sleeping workers are kept off the caller's processor while they are woken. */
#ifdef __linux__
static void publish_thread(int32_t rank) { atomic_store(&pool.thread[rank], (pid_t)syscall(SYS_gettid)); }

/* Keep a worker off this processor; return where it was allowed to run. The set is empty if that is unknown. */
static cpu_set_t keep_off(int processor, pid_t thread) {
    cpu_set_t allowed;
    if (processor < 0 || !thread || sched_getaffinity(thread, sizeof allowed, &allowed)) CPU_ZERO(&allowed);
    cpu_set_t elsewhere = allowed;
    if (CPU_COUNT(&allowed)) CPU_CLR(processor, &elsewhere);
    if (CPU_COUNT(&elsewhere)) sched_setaffinity(thread, sizeof elsewhere, &elsewhere);
    return allowed;
}

static void wake_elsewhere(uint64_t call) {
    enum { FEW = 8 }; /* with more workers there are more processors, and one of them is idle */
    cpu_set_t allowed[FEW];
    const int32_t workers = pool.started <= FEW ? pool.started : 0;
    for (int32_t i = 0; i < workers; i++) allowed[i] = keep_off(sched_getcpu(), atomic_load(&pool.thread[i + 1]));
    signal_set(&pool.call, call);
    for (int32_t i = 0; i < workers; i++)
        if (CPU_COUNT(allowed + i)) sched_setaffinity(atomic_load(&pool.thread[i + 1]), sizeof *allowed, allowed + i);
}
#else
static void publish_thread(int32_t rank) { (void)rank; }
static void wake_elsewhere(uint64_t call) { signal_set(&pool.call, call); }
#endif

static void *run_worker(void *argument) {
    int32_t rank = (int32_t)(intptr_t)argument;
    uint64_t last_call = pool.call_before[rank];
    flush_denormals();
    publish_thread(rank);
    atomic_fetch_add(&pool.running, 1);
    for (;;) {
        signal_wait(&pool.call, last_call, SPIN_BETWEEN_CALLS);
        last_call = atomic_load(&pool.call.value);
        const int32_t threads = (int32_t)(last_call % SIZES);
        if (rank >= threads) continue;
        work_in_group(rank); /* the call cannot change meanwhile because the caller waits for this rank */
        barrier_wait(&pool.finish, threads, 0);
    }
    return NULL;
}

static void signal_reset(signal_t *s) {
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->moved, NULL);
}

/* Start afresh in a forked child: it has the parent's memory but no workers, and its locks are in an unknown state. */
static void reset_after_fork(void) {
    int32_t threads = atomic_load(&pool.threads);
    memset(&pool, 0, sizeof pool);
    pthread_mutex_init(&pool.owner, NULL);
    signal_reset(&pool.call);
    for (int i = 0; i < MAX_GROUPS; i++) signal_reset(&pool.step[i].phase);
    signal_reset(&pool.finish.phase);
    pool.back_off = 1;
    pool.fork_handler = 1; /* a child inherits the handlers */
    atomic_store(&pool.threads, threads);
}

/* Create workers until ranks 1..size-1 exist; return the size that is available. Only the pool's owner calls this. */
static int32_t start_workers(int32_t size) {
    if (!pool.fork_handler) {
        pthread_atfork(NULL, NULL, reset_after_fork);
        pool.fork_handler = 1;
    }
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    while (pool.started + 1 < size) {
        int32_t rank = pool.started + 1;
        pthread_t thread;
        pool.call_before[rank] = atomic_load(&pool.call.value);
        if (pthread_create(&thread, &detached, run_worker, (void *)(intptr_t)rank)) break;
        pool.started = rank;
    }
    pthread_attr_destroy(&detached);
    return size < pool.started + 1 ? size : pool.started + 1;
}

static void run_alone(int32_t groups, pool_body body, void *const *contexts) {
    for (int32_t i = 0; i < groups; i++) body(&(worker){0, 1, i}, contexts[i]);
}

/* Threads that meet after every step lose time on a busy machine, because they wait for the thread that is not running.
 * A caller that waited for more than half of a call would have been faster alone. Callers then work alone for as long as
 * was lost. If it happens again, they work alone twice as long, up to 20 times the loss, so that trying costs at most 5
 * %. LSTM H = 128, B = 32, T = 20, training next to six busy processes on 2 cores (AMD EPYC): 39 ms, as on one thread.
 *
 * Delays shorter than a scheduler time slice do not come from another process. Threads always meet a little unevenly,
 * and two threads may still be faster than one because each has half of the weights in its own cache. */
enum { LONGEST_BACK_OFF = 20, LEAST_LOSS = 20000 };

static void back_off_if_lost(void) {
    int64_t now = nanoseconds();
    if (!pool.begun || pool.lost < LEAST_LOSS || 2 * pool.lost <= now - pool.begun) {
        pool.back_off = 1;
        return;
    }
    atomic_store_explicit(&pool.back_off_until, now + pool.back_off * pool.lost, memory_order_relaxed);
    pool.back_off = 2 * pool.back_off < LONGEST_BACK_OFF ? 2 * pool.back_off : LONGEST_BACK_OFF;
}

static int backing_off(void) {
    int64_t until = atomic_load_explicit(&pool.back_off_until, memory_order_relaxed);
    return until && nanoseconds() < until;
}

/* Start a call for the workers with rank below `threads`. */
static void call_workers(int32_t threads) {
    const uint64_t calls = atomic_load(&pool.call.value) / SIZES, call = (calls + 1) * SIZES + (uint64_t)threads;
    if (atomic_load(&pool.call.sleeping))
        wake_elsewhere(call);
    else
        signal_set(&pool.call, call);
}

static void run_together(int32_t groups, int32_t size, pool_body body, void *const *contexts) {
    pool.body = body;
    pool.contexts = contexts;
    pool.group_size = size;
    const int32_t threads = groups * size;
    call_workers(threads);
    work_in_group(0);
    barrier_wait(&pool.finish, threads, 1);
    back_off_if_lost();
}

static void run_long(int32_t groups, int32_t size, pool_body body, void *const *contexts) {
    pool.begun = pool.lost = 0;
    size = start_workers(groups * size) / groups;
    if (groups * size > 1)
        run_together(groups, size, body, contexts);
    else
        run_alone(groups, body, contexts);
}

/* Run a call that would end before a sleeping worker wakes. The first few such calls run alone. If they follow each
 * other so closely that a worker would still spin, it is woken for the next one. Steps of an LSTM, H = 256, on two cores
 * (Zen 5) take 10 us instead of 21; steps that come once in a while take as long as on one thread. */
static void run_brief(int32_t groups, int32_t size, pool_body body, void *const *contexts) {
    const int64_t now = nanoseconds();
    const int awake = atomic_load(&pool.running) + 1 >= groups * size && !atomic_load(&pool.call.sleeping);
    if (awake) {
        pool.begun = now; /* no worker sleeps, so the first wait is lost time as well */
        pool.lost = 0;
        run_together(groups, size, body, contexts);
    } else {
        run_alone(groups, body, contexts);
        if (now - pool.last_brief_call < SPIN_BETWEEN_CALLS && start_workers(groups * size) > 1) call_workers(0);
    }
    pool.last_brief_call = nanoseconds();
}

void pool_run_several(int32_t groups, int32_t size, double time, pool_body body, void *const *contexts) {
    fp_mode mode = flush_denormals();
    if (size > MAX_THREADS / groups) size = MAX_THREADS / groups;
    if (groups * size > 1 && !backing_off() && pthread_mutex_trylock(&pool.owner) == 0) {
        (time < WAKING ? run_brief : run_long)(groups, size, body, contexts);
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
    atomic_store(&pool.back_off_until, 0); /* setting the number of threads ends a back-off */
}
