#define _GNU_SOURCE
#include "workers.h"

#include <string.h>

#include "backoff.h"
#include "barrier.h"
#include "denormals.h"
#include "parallel.h"
#ifdef __linux__
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

enum { SIZES = 1024 };

static struct {
    int32_t started;         /* workers created: ranks 1..started */
    _Atomic int32_t running; /* workers that have begun to run */
    thread_part part;
    signal_t call; /* calls so far * SIZES + threads of the call, in one word, so that no worker reads half of an update */
#ifdef __linux__
    _Atomic pid_t thread[MAX_THREADS]; /* thread id of each worker, 0 before it runs */
#endif
    uint64_t call_before[MAX_THREADS]; /* value of `call` when a worker was created */
    barrier_t finish;                  /* the barrier at the end of a call */
} pool = {.call = SIGNAL, .finish = BARRIER};

/* On a machine with two processors that another library's threads have just kept busy, Linux does not look for the idle
 * one. It may queue a woken worker behind the thread that wakes it. The worker then starts up to 10 ms later, and the
 * caller spends 2 ms of that spinning. So sleeping workers are kept off the caller's processor while they are woken. Steps
 * of an LSTM, H = 256, B = 1, T = 20, 20 ms after a product of NumPy on 2 cores (Zen 3): 0.63 ms instead of 2.9 ms. */
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
    const int32_t rank = (int32_t)(intptr_t)argument;
    uint64_t last_call = pool.call_before[rank];
    flush_denormals();
    publish_thread(rank);
    atomic_fetch_add(&pool.running, 1);
    for (;;) {
        signal_wait(&pool.call, last_call, SPIN_BETWEEN_CALLS);
        last_call = atomic_load(&pool.call.value);
        const int32_t threads = (int32_t)(last_call % SIZES);
        if (rank >= threads) continue;
        pool.part(rank, threads); /* the call cannot change meanwhile because the caller waits for this rank */
        barrier_wait(&pool.finish, threads);
    }
    return NULL;
}

/* Create workers until ranks 1..threads-1 exist; return the number of threads that are available. */
static int32_t start_workers(int32_t threads) {
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    while (pool.started + 1 < threads) {
        const int32_t rank = pool.started + 1;
        pthread_t thread;
        pool.call_before[rank] = atomic_load(&pool.call.value);
        if (pthread_create(&thread, &detached, run_worker, (void *)(intptr_t)rank)) break;
        pool.started = rank;
    }
    pthread_attr_destroy(&detached);
    return threads < pool.started + 1 ? threads : pool.started + 1;
}

/* Start a call for the workers with rank below `threads`. */
static void call_workers(int32_t threads) {
    const uint64_t calls = atomic_load(&pool.call.value) / SIZES, call = (calls + 1) * SIZES + (uint64_t)threads;
    if (atomic_load(&pool.call.sleeping))
        wake_elsewhere(call);
    else
        signal_set(&pool.call, call);
}

void workers_run(int32_t threads, thread_part part) {
    threads = start_workers(threads);
    pool.part = part;
    if (threads > 1) call_workers(threads);
    part(0, threads);
    if (threads > 1) backoff_count(barrier_wait(&pool.finish, threads));
}

int workers_awake(int32_t threads) { return atomic_load(&pool.running) + 1 >= threads && !atomic_load(&pool.call.sleeping); }

void workers_wake(int32_t threads) {
    if (start_workers(threads) > 1) call_workers(0);
}

void workers_reset(void) {
    memset(&pool, 0, sizeof pool);
    signal_reset(&pool.call);
    barrier_reset(&pool.finish);
}
