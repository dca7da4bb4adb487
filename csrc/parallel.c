/* A team of threads that sleeps between calls.
 *
 * One caller at a time has the team; a second Python thread that comes meanwhile works alone, so both make progress and no
 * result depends on it (kernels give the same bits for every crew size). Waiting is by a bounded spin, then sleep: steps are
 * often only microseconds apart, but on a busy machine a spinning thread keeps the very thread it waits for off the core. */
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

/* How long to spin before sleeping, in nanoseconds. To sleep and be woken costs some 50 us, on a virtual machine 200. Inside
 * a call the others are at work and near: LSTM H = 128, B = 32, T = 20, training on 2 cores took 9.7 ms when waits slept
 * after 20 us, 1.7 with this (2.9 on one thread). Between calls there may be no next one, so a worker gives up sooner. */
enum { SPIN_IN_CALL = 2000000, SPIN_BETWEEN_CALLS = 200000 };

static const double WAKING = 50000; /* the least that it costs, in nanoseconds */

/* A value that threads wait on until it changes. */
typedef struct {
    _Atomic uint64_t value;
    _Atomic int32_t sleepers;
    pthread_mutex_t mutex;
    pthread_cond_t moved;
} signal_t;

typedef struct {
    _Atomic int32_t arrived;
    signal_t phase;
} barrier_t;

typedef struct {
    pthread_mutex_t owner; /* held by the caller that has the team */
    int32_t started;       /* workers that exist: ranks 1..started */
    _Atomic int32_t born;  /* of these, those that have begun to run */
    crew_body body;
    void *const *contexts; /* of each crew */
    int32_t crew_size;
    signal_t call; /* calls so far * SIZES + threads in all: one word, so that no worker reads half of it */
#ifdef __linux__
    _Atomic pid_t thread[MAX_THREADS]; /* of each worker, 0 before it runs */
#endif
    uint64_t made[MAX_THREADS]; /* the call that was the last one when a worker was made */
    barrier_t step[MAX_CREWS];  /* inside the body */
    barrier_t finish;           /* at its end, for all crews */
    _Atomic int32_t threads;    /* 0: not asked for yet */
    int32_t fork_handler;
    int64_t brief;               /* when the last brief call was over */
    int32_t rest;                /* how many times the loss of a call the next rest takes */
    int64_t begun, lost;         /* when the crew was first together in this call; what its caller has waited since */
    _Atomic int64_t resting_for; /* callers work alone until this time */
} team_t;

#define SIGNAL {.mutex = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER}
static team_t team = {.owner = PTHREAD_MUTEX_INITIALIZER,
                      .rest = 1,
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

/* Whether the value moved within `most` nanoseconds from `begin`. */
static int spin_until_moved(signal_t *s, uint64_t seen, int64_t begin, int64_t most) {
    do {
        for (int i = 0; i < 32; i++) {
            if (atomic_load_explicit(&s->value, memory_order_acquire) != seen) return 1;
            pause_briefly();
        }
    } while (nanoseconds() - begin < most);
    return 0;
}

static void sleep_until_moved(signal_t *s, uint64_t seen) {
    pthread_mutex_lock(&s->mutex);
    /* Sequentially consistent on both sides: either the mover sees this sleeper, or the sleeper sees the move. */
    atomic_fetch_add(&s->sleepers, 1);
    while (atomic_load(&s->value) == seen) pthread_cond_wait(&s->moved, &s->mutex);
    atomic_fetch_sub(&s->sleepers, 1);
    pthread_mutex_unlock(&s->mutex);
}

/* Returns how long it took. */
static int64_t signal_wait(signal_t *s, uint64_t seen, int64_t spin) {
    const int64_t begin = nanoseconds();
    if (!spin_until_moved(s, seen, begin, spin)) sleep_until_moved(s, seen);
    return nanoseconds() - begin;
}

static void signal_set(signal_t *s, uint64_t value) {
    atomic_store(&s->value, value);
    if (atomic_load(&s->sleepers) == 0) return;
    pthread_mutex_lock(&s->mutex);
    pthread_cond_broadcast(&s->moved);
    pthread_mutex_unlock(&s->mutex);
}

/* The first wait of a call is for sleepers to wake, which says nothing about how busy the machine is. */
static void count_wait(int64_t waited) {
    if (team.begun)
        team.lost += waited;
    else
        team.begun = nanoseconds();
}

static void barrier_wait(barrier_t *b, int32_t threads, int is_caller) {
    uint64_t seen = atomic_load_explicit(&b->phase.value, memory_order_relaxed);
    if (atomic_fetch_add(&b->arrived, 1) + 1 == threads) {
        atomic_store_explicit(&b->arrived, 0, memory_order_relaxed);
        signal_set(&b->phase, seen + 1);
        return;
    }
    int64_t waited = signal_wait(&b->phase, seen, SPIN_IN_CALL);
    if (is_caller) count_wait(waited);
}

void crew_barrier(const crew *me) {
    if (me->size > 1) barrier_wait(&team.step[me->number], me->size, !me->rank && !me->number);
}

static void work_in_crew(int32_t thread) {
    const crew me = {thread % team.crew_size, team.crew_size, thread / team.crew_size};
    team.body(&me, team.contexts[me.number]);
}

/* Where both processors of two have just been busy, with another library's threads, Linux does not look for the idle one,
 * and may put a worker that is woken behind the very thread that wakes it: it then runs when that one's turn is over, up to
 * 10 ms later, of which the caller spends 2 spinning. So sleepers are kept off the caller's processor while they are woken.
 */
#ifdef __linux__
static void tell_thread(int32_t rank) { atomic_store(&team.thread[rank], (pid_t)syscall(SYS_gettid)); }

/* Returns where the worker may run otherwise; empty where that is not known. */
static cpu_set_t keep_off(int processor, pid_t thread) {
    cpu_set_t allowed;
    if (processor < 0 || !thread || sched_getaffinity(thread, sizeof allowed, &allowed)) CPU_ZERO(&allowed);
    cpu_set_t elsewhere = allowed;
    if (CPU_COUNT(&allowed)) CPU_CLR(processor, &elsewhere);
    if (CPU_COUNT(&elsewhere)) sched_setaffinity(thread, sizeof elsewhere, &elsewhere);
    return allowed;
}

static void wake_elsewhere(uint64_t call) {
    enum { FEW = 8 }; /* where there are more, there are more processors, of which one is idle */
    cpu_set_t allowed[FEW];
    const int32_t workers = team.started <= FEW ? team.started : 0;
    for (int32_t i = 0; i < workers; i++) allowed[i] = keep_off(sched_getcpu(), atomic_load(&team.thread[i + 1]));
    signal_set(&team.call, call);
    for (int32_t i = 0; i < workers; i++)
        if (CPU_COUNT(allowed + i)) sched_setaffinity(atomic_load(&team.thread[i + 1]), sizeof *allowed, allowed + i);
}
#else
static void tell_thread(int32_t rank) { (void)rank; }
static void wake_elsewhere(uint64_t call) { signal_set(&team.call, call); }
#endif

static void *worker(void *argument) {
    int32_t rank = (int32_t)(intptr_t)argument;
    uint64_t seen = team.made[rank];
    flush_denormals();
    tell_thread(rank);
    atomic_fetch_add(&team.born, 1);
    for (;;) {
        signal_wait(&team.call, seen, SPIN_BETWEEN_CALLS);
        seen = atomic_load(&team.call.value);
        const int32_t threads = (int32_t)(seen % SIZES);
        if (rank >= threads) continue;
        work_in_crew(rank); /* its orders cannot change: the caller waits for this rank */
        barrier_wait(&team.finish, threads, 0);
    }
    return NULL;
}

static void signal_reset(signal_t *s) {
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->moved, NULL);
}

/* A forked child has the parent's memory but none of its workers, and locks in whatever state they were. */
static void forget_team(void) {
    int32_t threads = atomic_load(&team.threads);
    memset(&team, 0, sizeof team);
    pthread_mutex_init(&team.owner, NULL);
    signal_reset(&team.call);
    for (int i = 0; i < MAX_CREWS; i++) signal_reset(&team.step[i].phase);
    signal_reset(&team.finish.phase);
    team.rest = 1;
    team.fork_handler = 1; /* handlers are inherited */
    atomic_store(&team.threads, threads);
}

/* Make sure that ranks 1..size-1 exist; returns the size that could be had. Only the team's owner calls this. */
static int32_t start_workers(int32_t size) {
    if (!team.fork_handler) {
        pthread_atfork(NULL, NULL, forget_team);
        team.fork_handler = 1;
    }
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    while (team.started + 1 < size) {
        int32_t rank = team.started + 1;
        pthread_t thread;
        team.made[rank] = atomic_load(&team.call.value);
        if (pthread_create(&thread, &detached, worker, (void *)(intptr_t)rank)) break;
        team.started = rank;
    }
    pthread_attr_destroy(&detached);
    return size < team.started + 1 ? size : team.started + 1;
}

static void run_alone(int32_t crews, crew_body body, void *const *contexts) {
    for (int32_t i = 0; i < crews; i++) body(&(crew){0, 1, i}, contexts[i]);
}

/* On a machine that other processes keep busy, threads that must meet after every step lose their time waiting for the one
 * that is not running. A caller that waited for more than half of a call would have been faster alone; so callers then work
 * alone for as long as was lost, and twice as long each time that it happens again, up to 20 times: then trying costs 5 % at
 * most. Measured beside six busy processes on 2 cores, LSTM H = 128, B = 32, T = 20, training: 39 ms, as on one thread.
 *
 * A loss that is smaller than a neighbour's shortest turn is no neighbour's: threads meet a little unevenly, and with its
 * half of the weights in a cache of its own each may still be faster than one with all of them. */
enum { LONGEST_REST = 20, LEAST_LOSS = 20000 };

static void rest_if_lost(void) {
    int64_t now = nanoseconds();
    if (!team.begun || team.lost < LEAST_LOSS || 2 * team.lost <= now - team.begun) {
        team.rest = 1;
        return;
    }
    atomic_store_explicit(&team.resting_for, now + team.rest * team.lost, memory_order_relaxed);
    team.rest = 2 * team.rest < LONGEST_REST ? 2 * team.rest : LONGEST_REST;
}

static int resting(void) {
    int64_t until = atomic_load_explicit(&team.resting_for, memory_order_relaxed);
    return until && nanoseconds() < until;
}

/* A call for the workers with rank below `threads`. */
static void call_workers(int32_t threads) {
    const uint64_t calls = atomic_load(&team.call.value) / SIZES, call = (calls + 1) * SIZES + (uint64_t)threads;
    if (atomic_load(&team.call.sleepers))
        wake_elsewhere(call);
    else
        signal_set(&team.call, call);
}

static void run_together(int32_t crews, int32_t size, crew_body body, void *const *contexts) {
    team.body = body;
    team.contexts = contexts;
    team.crew_size = size;
    const int32_t threads = crews * size;
    call_workers(threads);
    work_in_crew(0);
    barrier_wait(&team.finish, threads, 1);
    rest_if_lost();
}

static void run_long(int32_t crews, int32_t size, crew_body body, void *const *contexts) {
    team.begun = team.lost = 0;
    size = start_workers(crews * size) / crews;
    if (crews * size > 1)
        run_together(crews, size, body, contexts);
    else
        run_alone(crews, body, contexts);
}

/* A call that is over before a sleeper is awake. The first few run alone; where they come so soon after each other that a
 * worker would still spin, it is woken to be there for the next one. Steps of an LSTM, H = 256, on two cores: 10 us instead
 * of 21; steps that come once in a while take as long as alone. */
static void run_brief(int32_t crews, int32_t size, crew_body body, void *const *contexts) {
    const int64_t now = nanoseconds();
    const int awake = atomic_load(&team.born) + 1 >= crews * size && !atomic_load(&team.call.sleepers);
    if (awake) {
        team.begun = now; /* nobody sleeps: the first wait, too, is lost */
        team.lost = 0;
        run_together(crews, size, body, contexts);
    } else {
        run_alone(crews, body, contexts);
        if (now - team.brief < SPIN_BETWEEN_CALLS && start_workers(crews * size) > 1) call_workers(0);
    }
    team.brief = nanoseconds();
}

void crew_run_several(int32_t crews, int32_t size, double time, crew_body body, void *const *contexts) {
    fp_mode mode = flush_denormals();
    if (size > MAX_THREADS / crews) size = MAX_THREADS / crews;
    if (crews * size > 1 && !resting() && pthread_mutex_trylock(&team.owner) == 0) {
        (time < WAKING ? run_brief : run_long)(crews, size, body, contexts);
        pthread_mutex_unlock(&team.owner);
    } else {
        run_alone(crews, body, contexts);
    }
    restore_denormals(mode);
}

void crew_run(int32_t size, double time, crew_body body, void *context) { crew_run_several(1, size, time, body, &context); }

range crew_share(const crew *me, int64_t n, int64_t grain) {
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

int32_t crew_threads(void) {
    int32_t n = atomic_load_explicit(&team.threads, memory_order_relaxed);
    if (n == 0) {
        crew_set_threads(processors());
        n = atomic_load_explicit(&team.threads, memory_order_relaxed);
    }
    return n;
}

void crew_set_threads(int32_t n) {
    atomic_store(&team.threads, n < 1 ? 1 : n > MAX_THREADS ? MAX_THREADS : n);
    atomic_store(&team.resting_for, 0); /* whoever asks for threads wants them tried */
}
