/* The thread pool: the only interface to threads in this library. */
#ifndef FASTRNN_PARALLEL_H
#define FASTRNN_PARALLEL_H

#include <stdint.h>

enum { MAX_THREADS = 256 };

/* The largest number of groups of workers that run at once. */
enum { MAX_GROUPS = 2 };

/* A thread's place in its group: its rank among the `size` threads of the group, and the group's number. */
typedef struct {
    int32_t rank, size, number;
} worker;

typedef void (*pool_body)(const worker *me, void *context);

/* Pass this as the `time`, in nanoseconds, of a call that is always long enough to wake workers. */
enum { LONG_CALL = 1000000000 };

/* Run `body` on `size` threads and return when all of them are done. The caller has rank 0. `time` is an estimate of the
 * call's duration in nanoseconds. A call that would end before a sleeping worker wakes uses only workers that still spin
 * after the previous call.
 *
 * The caller runs alone, with size 1, if size is 1, if the call is too short to wake sleeping workers, if another caller
 * owns the pool, or while the pool backs off on a busy machine. Denormals are flushed to zero during the call; the
 * caller's mode is restored afterwards. */
void pool_run(int32_t size, double time, pool_body body, void *context);

/* Run several groups of `size` threads at once, each with its own context and barriers. If pool_run would run alone, the
 * groups run one after another. */
void pool_run_several(int32_t groups, int32_t size, double time, pool_body body, void *const *contexts);

/* Wait until every thread of the group has called this. */
void pool_barrier(const worker *me);

/* The range begin..end-1. */
typedef struct {
    int64_t begin, end;
} range;

static inline range run_of(int64_t begin, int64_t count) { return (range){begin, begin + count}; }

/* Return this rank's part of 0..n-1. Parts are whole multiples of `grain`, as equal as possible. */
range pool_share(const worker *me, int64_t n, int64_t grain);

int32_t pool_threads(void);
void pool_set_threads(int32_t n);

/* Choose the source of threads: the workers of the OpenMP library that PyTorch has loaded (`wanted`), or the library's
 * own. Own workers stay in use if no OpenMP library is loaded, and in a forked child, where OpenMP would wait for
 * the parent's workers. Returns whether OpenMP's are in use. */
int32_t pool_use_openmp(int32_t wanted);
int32_t pool_uses_openmp(void);

#endif
