/* Tests of the thread pool: the same bits for every number of threads, concurrent callers, children of a fork. */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "library.h"
#include "parallel.h"
#include "test_groups.h"

/* Sizes large enough to be split over two threads or more: the first over the batch, the others over hidden units. */
static const model SPLIT[] = {
    {FASTRNN_LSTM, 9, 24, 0, 6, 260, 0, 1, 1, 1, EVERY_OUTPUT},
    {FASTRNN_GRU, 40, 99, 0, 20, 3, 0, 0, 0, 1, EVERY_OUTPUT},
    {FASTRNN_GRU_RESET_BEFORE, 7, 259, 0, 16, 3, 1, 1, 0, 0, EVERY_OUTPUT},
    {FASTRNN_LSTM_PEEPHOLE, 5, 193, 98, 20, 3, 0, 1, 1, 1, EVERY_OUTPUT},
    {FASTRNN_RNN_RELU, 33, 260, 0, 20, 3, 0, 0, 1, 1, EVERY_OUTPUT},
};
enum { SPLITS = sizeof SPLIT / sizeof *SPLIT };

/* Expect a plan for `threads` threads. `wanted`: the batch's own number of threads. */
static void expect_plan(const fastrnn_stack *stack, const model *m, int32_t wanted, int32_t threads) {
    const fastrnn_batch batch = {.T = m->T, .B = m->B, .threads = wanted};
    for (int32_t backward = 0; backward < 2; backward++) {
        int32_t split, planned;
        fastrnn_plan(stack, 0, &batch, backward, &split, &planned);
        expect(planned == threads, "%s: planned %d of %d threads", describe(m), planned, threads);
        int32_t right = m->B > 200 ? FASTRNN_SPLIT_BATCH : FASTRNN_SPLIT_HIDDEN;
        expect(split == right || threads > 2, "%s, backward %d: split %d, not %d", describe(m), backward, split, right);
    }
}

/* Compare training on the pool's number of threads, and inference on the batch's own number, with one thread. Products of
 * bfloat16 cost less, so some of them are planned in another way. */
static void same_for_products(const problem *p, int32_t isa, int32_t dtype, int32_t products) {
    const fastrnn_stack stack = stack_of(&p->m, 1, isa, dtype);
    setup inference = {.isa = isa, .dtype = dtype, .products = products}, training = inference;
    training.training = 1;
    fastrnn_set_num_threads(1);
    results one = run_layer(p, training), one_inference = run_layer(p, inference);
    expect(one.grad[IN_W][0] != 0 && !isnan(one.grad[IN_W][0]), "%s: no gradient", describe(&p->m));
    for (int32_t threads = 2; threads <= 3; threads++) {
        fastrnn_set_num_threads(threads);
        if (!products) expect_plan(&stack, &p->m, 0, threads);
        results more = run_layer(p, training);
        fastrnn_set_num_threads(1);
        inference.threads = threads;
        if (!products) expect_plan(&stack, &p->m, threads, threads);
        results more_inference = run_layer(p, inference);
        expect_same(p, &one, &more, "training with more threads");
        expect_same(p, &one_inference, &more_inference, "inference with more threads");
        free_results(&more);
        free_results(&more_inference);
    }
    free_results(&one);
    free_results(&one_inference);
}

static void same_for_every_size(int32_t isa, int32_t dtype, void *context) {
    same_for_products(context, isa, dtype, FASTRNN_PRODUCTS_FULL);
    if (dtype == FASTRNN_FLOAT32) same_for_products(context, isa, dtype, FASTRNN_PRODUCTS_BFLOAT16);
}

/* Compare one thread with far more threads than there are processors. */
static void same_for_the_largest_pool(const problem *p) {
    const setup s = {.isa = fastrnn_isa_default(), .training = 1};
    fastrnn_set_num_threads(1);
    results one = run_layer(p, s);
    fastrnn_set_num_threads(1000);
    expect(fastrnn_get_num_threads() == 256, "%d threads, not 256", fastrnn_get_num_threads());
    results most = run_layer(p, s);
    expect_same(p, &one, &most, "256 threads");
    results too_many = run_layer(p, (setup){.isa = s.isa, .training = 1, .threads = 400});
    expect_same(p, &one, &too_many, "400 threads");
    free_results(&too_many);
    free_results(&one);
    free_results(&most);
}

/* Expect workspace sizes that do not depend on the pool: another thread may change it after the size is requested and
 * before the workspace is used. */
static void sizes_follow_the_number_of_threads(const model *m) {
    const fastrnn_stack stack = stack_of(m, 1, fastrnn_isa_default(), FASTRNN_FLOAT32);
    const fastrnn_batch batch = {.T = m->T, .B = m->B, .threads = 2};
    fastrnn_set_num_threads(1);
    size_t one = fastrnn_backward_workspace_size(&stack, &batch, 0);
    fastrnn_set_num_threads(256);
    expect(one == fastrnn_backward_workspace_size(&stack, &batch, 0), "%s: the workspace depends on the pool", describe(m));
}

typedef struct {
    const problem *p;
    results right;
} caller;

static void *call_often(void *argument) {
    const caller *c = argument;
    for (int i = 0; i < 4; i++) {
        results r = run_layer(c->p, (setup){.isa = fastrnn_isa_default(), .training = 1, .threads = 2 + i % 2});
        expect_same(c->p, &c->right, &r, "concurrent callers");
        free_results(&r);
    }
    return NULL;
}

/* Run three callers at once, of which one owns the pool, while a fourth thread changes the number of threads. */
static void concurrent_callers(const problem *problems) {
    pthread_t threads[3];
    caller callers[3];
    for (int i = 0; i < 3; i++)
        callers[i] = (caller){problems + i,
                              run_layer(problems + i, (setup){.isa = fastrnn_isa_default(), .training = 1, .threads = 1})};
    for (int i = 0; i < 3; i++) pthread_create(threads + i, NULL, call_often, callers + i);
    for (int i = 0; i < 400; i++) {
        fastrnn_set_num_threads(1 + i % 4);
        usleep(100);
    }
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < 3; i++) free_results(&callers[i].right);
}

static void store_size(const worker *me, void *size) {
    if (!me->rank) *(int32_t *)size = me->size;
}

/* Expect that a call too short to wake a sleeping worker does not wait for it, and that such calls in quick succession
 * wake it. */
static void brief_calls(void) {
    enum { LONG_ENOUGH_TO_SLEEP = 50000, CALLS = 10000000 };
    const double brief = 1000;
    int32_t size = 0;
    void *contexts[] = {&size};
    fastrnn_set_num_threads(2);
    pool_run(2, LONG_CALL, store_size, &size);
    expect(size == 2, "a long call had %d threads, not 2", size);
    for (int i = 0; i < 20 && size == 2; i++) { /* on a busy machine a worker may not have gone to sleep yet */
        usleep(LONG_ENOUGH_TO_SLEEP);
        pool_run_several(1, 2, brief, store_size, contexts);
    }
    expect(size == 1, "a brief call after a pause had %d threads, not 1", size);
    for (int i = 0; i < CALLS && size == 1; i++) pool_run_several(1, 2, brief, store_size, contexts);
    expect(size == 2, "brief calls one after the other had %d threads, not 2", size);
}

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

typedef struct {
    int64_t nanoseconds;
    _Atomic int waits; /* rank 0 has only its wait ahead */
} lateness;

/* Meet at a barrier; then let rank 1 arrive so much later than rank 0. Its time begins when rank 0 is about to wait: on a
 * busy machine rank 0 may come out of the barrier some milliseconds after rank 1. */
static void arrive_late(const worker *me, void *context) {
    lateness *late = context;
    pool_barrier(me);
    if (!me->rank) atomic_store(&late->waits, 1);
    while (!atomic_load(&late->waits)) continue;
    const int64_t begin = now();
    while (me->rank && now() - begin < late->nanoseconds) continue;
}

/* Return whether callers still use the pool after a call in which the caller waited this long. */
static int uses_pool_after_loss(int64_t nanoseconds) {
    int32_t size;
    lateness late = {nanoseconds, 0};
    fastrnn_set_num_threads(2); /* ends a back-off */
    pool_run(2, LONG_CALL, arrive_late, &late);
    pool_run(2, LONG_CALL, store_size, &size);
    return size == 2;
}

/* Expect a back-off after long waits and none after short waits, in at least one of several tries, because another
 * process may make any wait long. */
static void backs_off_after_a_loss(void) {
    int together = 0, backed_off = 0;
    for (int i = 0; i < 50; i++) {
        together += uses_pool_after_loss(10000);
        backed_off += !uses_pool_after_loss(1000000);
    }
    expect(together > 0, "callers backed off after every call in which a worker came 10 us late");
    expect(backed_off > 0, "callers backed off after no call in which a worker came 1 ms late");
    fastrnn_set_num_threads(2);
}

void test_threads(void) {
    problem problems[SPLITS];
    for (int i = 0; i < SPLITS; i++) {
        problems[i] = new_problem(SPLIT + i, 50 + (uint64_t)i);
        each_kernel(same_for_every_size, problems + i);
        sizes_follow_the_number_of_threads(SPLIT + i);
    }
    group_done("numbers of threads");
    brief_calls();
    backs_off_after_a_loss();
    group_done("brief calls and back-offs");
    same_for_the_largest_pool(problems);
    same_for_the_largest_pool(problems + 1);
    fastrnn_set_num_threads(-5);
    expect(fastrnn_get_num_threads() == 1, "%d threads, not 1", fastrnn_get_num_threads());
    group_done("largest pool");
    concurrent_callers(problems);
    group_done("concurrent callers");
    for (int i = 0; i < SPLITS; i++) free_problem(problems + i);
}

/* Expect the same bits in the child of a fork, with a pool of its own. */
static int child(const problem *p, const results *right, int depth) {
    for (int i = 0; i < 3; i++) {
        results r = run_layer(p, (setup){.isa = fastrnn_isa_default(), .training = 1});
        expect_same(p, right, &r, "after a fork");
        free_results(&r);
    }
    expect(fastrnn_get_num_threads() == 3, "after a fork: %d threads, not 3", fastrnn_get_num_threads());
    if (depth > 0) return all_done();
    fflush(stdout);
    pid_t grandchild = fork();
    if (grandchild == 0) _exit(child(p, right, depth + 1));
    int status;
    return waitpid(grandchild, &status, 0) == grandchild && status == 0 ? all_done() : EXIT_FAILURE;
}

/* Fork while another thread owns the pool and its workers run. */
void test_fork(void) {
    problem p = new_problem(SPLIT + 1, 60);
    fastrnn_set_num_threads(3);
    caller c = {&p, run_layer(&p, (setup){.isa = fastrnn_isa_default(), .training = 1})};
    for (int i = 0; i < 4; i++) {
        pthread_t busy;
        pthread_create(&busy, NULL, call_often, &c);
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0) {
            int code = child(&p, &c.right, 0);
            fflush(stdout);
            _exit(code);
        }
        int status = -1;
        waitpid(pid, &status, 0);
        expect(status == 0, "a forked child ended with status %d", status);
        pthread_join(busy, NULL);
    }
    free_results(&c.right);
    free_problem(&p);
    group_done("fork");
}
