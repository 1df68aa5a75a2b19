/* threads.c — threads that weft did not start: sixteen at once that come and go and use everything, and twenty thousand
   short ones that must leave nothing behind. */
#include "../workload.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <weft.h>

#include "../test.h"

enum { THREADS = 16 };

struct shared {
    weft_chan(int64_t) numbers; /* capacity 2 */
    weft_chan(int64_t) meet;    /* capacity 0 */
    weft_mutex mutex;
    int64_t plain_count; /* [mutex] */
    _Atomic int64_t atomic_count, sent, received, ran;
};

struct visit {
    struct shared *shared;
    uint64_t seed;
    int calls;
};

static void count_run(struct shared *shared)
{
    atomic_fetch_add(&shared->ran, 1);
}

static void exchange(struct shared *shared, uint64_t *seed)
{
    enum { SENT, GOT, MET, CAME, LATE };
    int64_t value = (int64_t)(test_random_from(seed) % 1000) + 1, a = 0, b = 0;
    int chosen = test_random_from(seed) % 4
                     ? weft_select([SENT] = weft_on_send(shared->numbers, value), [GOT] = weft_on_recv(shared->numbers, &a),
                                   [MET] = weft_on_send(shared->meet, value), [CAME] = weft_on_recv(shared->meet, &b),
                                   [LATE] = weft_on_timeout((int64_t)(test_random_from(seed) % 100) * WEFT_US))
                     : weft_try_select([MET] = weft_on_send(shared->meet, value), [CAME] = weft_on_recv(shared->meet, &b));
    if (chosen == SENT || chosen == MET)
        atomic_fetch_add(&shared->sent, value);
    else if (chosen == GOT || chosen == CAME)
        atomic_fetch_add(&shared->received, a + b);
    else
        CHECK(chosen == LATE || chosen == -EAGAIN);
}

static void call_once(struct shared *shared, uint64_t *seed)
{
    int64_t value = 0;
    weft_waitgroup wg = {0};
    switch (test_random_from(seed) % 8) {
    case 0:
        weft_wg_go(&wg, count_run, shared);
        weft_wg_go(&wg, count_run, shared);
        weft_wg_wait(&wg);
        break;
    case 1:
        weft_yield();
        break;
    case 2:
        CHECK_EQ(weft_sleep((int64_t)(test_random_from(seed) % 200) * WEFT_US), 0);
        break;
    case 3:
        weft_lock(&shared->mutex);
        shared->plain_count++;
        weft_unlock(&shared->mutex);
        atomic_fetch_add(&shared->atomic_count, 1);
        break;
    case 4:
        if (weft_try_lock(&shared->mutex)) {
            shared->plain_count++;
            weft_unlock(&shared->mutex);
            atomic_fetch_add(&shared->atomic_count, 1);
        }
        break;
    case 5:
        if (weft_try_recv(shared->numbers, &value) == 0)
            atomic_fetch_add(&shared->received, value);
        break;
    case 6:
        weft_pin();
        CHECK_EQ(weft_id(), 0);
        CHECK_EQ(weft_name("nobody"), -EINVAL);
        weft_unpin();
        break;
    default:
        exchange(shared, seed);
    }
}

static void *visit(void *argument)
{
    struct visit *v = argument;
    uint64_t seed = v->seed;
    for (int i = 0; i < v->calls; i++)
        call_once(v->shared, &seed);
    return NULL;
}

static void serve(struct shared *shared, _Atomic bool *stop, uint64_t seed)
{
    while (!atomic_load(stop)) {
        exchange(shared, &seed);
        weft_yield();
    }
}

static void start_visit(pthread_t *thread, struct visit *v, struct shared *shared, int calls)
{
    *v = (struct visit){shared, test_random(), calls};
    CHECK_EQ(pthread_create(thread, NULL, visit, v), 0);
}

static void check_and_free(struct shared *shared)
{
    for (int64_t value; weft_try_recv(shared->numbers, &value) == 0;)
        atomic_fetch_add(&shared->received, value);
    CHECK_EQ(shared->plain_count, atomic_load(&shared->atomic_count));
    CHECK_EQ(atomic_load(&shared->sent), atomic_load(&shared->received));
    weft_chan_free(shared->numbers);
    weft_chan_free(shared->meet);
}

TEST(SixteenThreadsComeAndGo)
{
    struct shared shared = {.numbers = weft_chan_make(int64_t, 2), .meet = weft_chan_make(int64_t, 0)};
    _Atomic bool stop = false;
    weft_waitgroup servers = {0};
    for (int i = 0; i < 3; i++)
        weft_wg_go(&servers, serve, &shared, &stop, test_random());
    pthread_t threads[THREADS];
    struct visit visits[THREADS];
    for (int i = 0; i < THREADS; i++)
        start_visit(&threads[i], &visits[i], &shared, 100);
    for (int i = 0; i < test_scale(600); i++) { /* whoever is done makes room for a new one */
        int k = i % THREADS;
        CHECK_EQ(pthread_join(threads[k], NULL), 0);
        start_visit(&threads[k], &visits[k], &shared, (int)(test_random() % 150));
    }
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    atomic_store(&stop, true);
    weft_wg_wait(&servers);
    check_and_free(&shared);
}

static void receive_number(weft_chan(int64_t) c, _Atomic int64_t *got)
{
    int64_t value = 0;
    CHECK(weft_recv(c, &value));
    atomic_store(got, value);
}

struct start {
    weft_chan(int64_t) c;
    _Atomic int64_t got;
    weft_waitgroup wg;
};

static void *start_and_end(void *argument)
{
    struct start *start = argument;
    start->c = weft_chan_make(int64_t, 0);
    weft_wg_go(&start->wg, receive_number, start->c, &start->got);
    return NULL;
}

/* A thread starts the runtime and a goroutine, and ends; both go on. */
TEST(RuntimeOutlivesTheThreadThatStartedIt)
{
    CHECK_EQ(weft_shutdown(20 * WEFT_SECOND), 0);
    struct start start = {.got = 0};
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, start_and_end, &start), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    nap_ms(5);
    CHECK_EQ(weft_count(), 1);
    CHECK_EQ(weft_send(start.c, 77), 0);
    weft_wg_wait(&start.wg);
    CHECK_EQ(atomic_load(&start.got), 77);
    weft_chan_free(start.c);
}

static void come_and_go(struct shared *shared, int n)
{
    pthread_t threads[4];
    struct visit visits[4];
    for (int i = 0; i < n; i++) {
        if (i >= 4)
            CHECK_EQ(pthread_join(threads[i % 4], NULL), 0);
        start_visit(&threads[i % 4], &visits[i % 4], shared, 3);
    }
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
}

/* What a thread needs inside weft goes with it: the memory of the process stands still. */
TEST(ThreadsLeaveNothing)
{
    struct shared shared = {.numbers = weft_chan_make(int64_t, 2), .meet = weft_chan_make(int64_t, 0)};
    int n = test_scale(16000);
    come_and_go(&shared, n / 4 + 4);
    long before_kib = resident_kib();
    come_and_go(&shared, n + 4);
    long grown_kib = resident_kib() - before_kib;
    if (!TEST_ASAN && !TEST_TSAN && n >= 16000) /* 128 bytes for each would be 2,000 KiB */
        CHECK(grown_kib < 1500);
    check_and_free(&shared);
}

static weft_local value = WEFT_LOCAL(NULL);

static void *use_before_and_after(void *argument)
{
    pthread_barrier_t *barrier = argument;
    weft_yield();
    pthread_barrier_wait(barrier);
    pthread_barrier_wait(barrier);
    CHECK_EQ(weft_local_set(&value, argument), 0);
    CHECK(weft_local_get(&value) == argument);
    weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background());
    {
        weft_scoped_use(ctx);
        CHECK(weft_ctx_current() == ctx);
        weft_ctx_cancel(ctx);
        CHECK_EQ(weft_sleep(WEFT_SECOND), -ECANCELED);
    }
    weft_ctx_free(ctx);
    return NULL;
}

/* A thread that outlives the runtime is like any other to the next. */
TEST(ThreadIsKnownToTheNextRuntime)
{
    pthread_t thread;
    pthread_barrier_t barrier;
    CHECK_EQ(pthread_barrier_init(&barrier, NULL, 2), 0);
    CHECK_EQ(pthread_create(&thread, NULL, use_before_and_after, &barrier), 0);
    pthread_barrier_wait(&barrier);
    CHECK_EQ(weft_shutdown(20 * WEFT_SECOND), 0);
    pthread_barrier_wait(&barrier);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    pthread_barrier_destroy(&barrier);
}

static void *use_and_outlive(void *argument)
{
    pthread_barrier_t *barrier = argument;
    weft_yield();
    pthread_barrier_wait(barrier);
    pthread_barrier_wait(barrier);
    return NULL;
}

/* Nor do those that end after the runtime that knew them. */
TEST(ThreadsThatOutliveTheRuntimeLeaveNothing)
{
    enum { THREADS = 100 };
    int rounds = test_scale(60);
    long before_kib = 0;
    pthread_barrier_t barrier;
    CHECK_EQ(pthread_barrier_init(&barrier, NULL, THREADS + 1), 0);
    for (int round = 0; round < 10 + rounds; round++) {
        pthread_t threads[THREADS];
        if (round == 10)
            before_kib = resident_kib();
        for (int i = 0; i < THREADS; i++)
            CHECK_EQ(pthread_create(&threads[i], NULL, use_and_outlive, &barrier), 0);
        pthread_barrier_wait(&barrier);
        CHECK_EQ(weft_shutdown(20 * WEFT_SECOND), 0);
        pthread_barrier_wait(&barrier);
        for (int i = 0; i < THREADS; i++)
            CHECK_EQ(pthread_join(threads[i], NULL), 0);
    }
    pthread_barrier_destroy(&barrier);
    if (!TEST_ASAN && !TEST_TSAN && rounds >= 60) /* 320 bytes for each would be 1,875 KiB */
        CHECK(resident_kib() - before_kib < 1000);
}

TEST_MAIN()
