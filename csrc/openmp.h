/* The workers of the OpenMP library that PyTorch has loaded, as a second source of threads.
 *
 * After each of PyTorch's operators its workers spin for some milliseconds and hold the cores on which the library's own
 * workers would run. A call that runs on PyTorch's workers finds them awake instead. */
#ifndef FASTRNN_OPENMP_H
#define FASTRNN_OPENMP_H

#include "workers.h"

/* The least time that OpenMP workers spin after a parallel region, in nanoseconds: GNU's spin for 300,000 pauses. */
enum { OPENMP_SPIN = 1000000 };

/* Find the OpenMP library; return whether one is loaded. */
int openmp_find(void);

/* Run `part` on the caller and on OpenMP's workers; return when all are done. Fewer than `threads` come if OpenMP gives
 * no more. Inside a parallel region the caller is alone. */
void openmp_run(int32_t threads, thread_part part);

#endif
