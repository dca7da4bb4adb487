#define _GNU_SOURCE /* RTLD_DEFAULT */
#include "openmp.h"

#include <dlfcn.h>

#include "backoff.h"
#include "barrier.h"
#include "denormals.h"

/* The functions of the library; GNU's, Intel's and LLVM's all have them. */
static struct {
    void (*parallel)(void (*body)(void *), void *context, unsigned threads, unsigned flags);
    int (*thread_num)(void), (*num_threads)(void), (*max_threads)(void), (*in_parallel)(void);
} omp;

typedef struct {
    int32_t threads;
    thread_part part;
    int64_t worked; /* how long the caller's part took */
} region;

/* The barrier at the end of a call. OpenMP's own barrier would spin for milliseconds if a worker is not running. */
static barrier_t finish = BARRIER;

/* PyTorch loads its OpenMP library into the global scope, so the lookup finds the one that PyTorch calls. Copies that
 * other packages load for themselves are not in that scope. */
int openmp_find(void) {
    static const char *const names[] = {"GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads", "omp_get_max_threads",
                                        "omp_in_parallel"};
    void *const to[] = {&omp.parallel, &omp.thread_num, &omp.num_threads, &omp.max_threads, &omp.in_parallel};
    for (int i = 0; i < 5; i++)
        if (!(*(void **)to[i] = dlsym(RTLD_DEFAULT, names[i]))) return 0;
    return 1;
}

/* The body of a parallel region. The threads belong to OpenMP, so their floating-point modes are restored. */
static void run_part(void *context) {
    region *r = context;
    const int32_t thread = omp.thread_num(), came = omp.num_threads(), threads = came < r->threads ? came : r->threads;
    if (thread >= threads) return;
    const fp_mode mode = flush_denormals();
    const int64_t begin = nanoseconds();
    r->part(thread, threads);
    if (thread == 0) r->worked = nanoseconds() - begin;
    restore_denormals(mode);
    if (threads > 1) barrier_wait(&finish, threads);
}

/* Ask for at least as many threads as PyTorch uses. GNU's library ends workers that a region does not use, and
 * PyTorch's next operator would have to create them again. */
void openmp_run(int32_t threads, thread_part part) {
    if (omp.in_parallel()) {
        part(0, 1);
        return;
    }
    const int32_t most = omp.max_threads();
    const int64_t begin = nanoseconds();
    region r = {threads, part, 0};
    omp.parallel(run_part, &r, (unsigned)(most > threads ? most : threads), 0);
    backoff_count(nanoseconds() - begin - r.worked); /* the caller also waits for workers before and after its part */
}
