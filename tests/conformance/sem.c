/* sem.c — what golang.org/x/sync/semaphore checks, by its names, with foreign threads mixed in; then timeouts, contexts in
   every order of events, and a semaphore that vanishes with its last release. WeightedPanic is in tests/death/semaphore.c.
   */
#include "../workload.h"
#include <fcntl.h>
#include <weft.h>

#include "../test.h"

/* No units are less than there are: this fails only because somebody waits. */
static bool somebody_waits(weft_sem *s)
{
    if (!weft_sem_try_acquire(s, 0))
        return true;
    weft_sem_release(s, 0);
    return false;
}

static void await_waiter(weft_sem *s)
{
    while (!somebody_waits(s))
        weft_yield();
}

/* The same for one that may have returned already. */
static void await_waiter_or(weft_sem *s, _Atomic bool *returned)
{
    while (!somebody_waits(s) && !atomic_load(returned))
        weft_yield();
}

static void cancel_now(weft_ctx *ctx)
{
    weft_ctx_cancel(ctx);
}

/* ---- golang.org/x/sync/semaphore's ---- */

static void hammer_weighted(weft_sem *s, int64_t n, int loops)
{
    for (int i = 0; i < loops; i++) {
        CHECK_EQ(weft_sem_acquire(s, n), 0);
        weft_sleep((int64_t)(test_random() % 100) * WEFT_US);
        weft_sem_release(s, n);
    }
}

TEST_BOTH(Weighted)
{
    int n = at_least(4, weft_procs());
    weft_sem s = WEFT_SEM(n);
    weft_waitgroup wg = {0};
    for (int i = 0; i < n; i++)
        weft_wg_go(&wg, hammer_weighted, &s, i, test_scale(2000) / n + 1);
    weft_wg_wait(&wg);
    CHECK(weft_sem_try_acquire(&s, n));
}

TEST_BOTH(WeightedTryAcquire)
{
    weft_sem s = WEFT_SEM(2);
    CHECK(weft_sem_try_acquire(&s, 1));
    CHECK(weft_sem_try_acquire(&s, 1));
    CHECK(!weft_sem_try_acquire(&s, 1));
    CHECK(weft_sem_try_acquire(&s, 0));
    weft_sem_release(&s, 2);
    CHECK(!weft_sem_try_acquire(&s, 3));
    CHECK(!weft_sem_try_acquire(&s, INT64_MAX));
    CHECK(weft_sem_try_acquire(&s, 2));
    CHECK(!weft_sem_try_acquire(&s, 1));
}

static int acquire_for_10_ms(weft_sem *s, int64_t n)
{
    weft_ctx *ctx = weft_ctx_with_timeout(weft_ctx_background(), 10 * WEFT_MS);
    int error;
    {
        weft_scoped_use(ctx);
        error = weft_sem_acquire(s, n);
    }
    weft_ctx_free(ctx);
    return error;
}

TEST_BOTH(WeightedAcquire)
{
    weft_sem s = WEFT_SEM(2);
    CHECK_EQ(weft_sem_acquire(&s, 1), 0);
    CHECK_EQ(acquire_for_10_ms(&s, 1), 0);
    CHECK_EQ(acquire_for_10_ms(&s, 1), -ETIMEDOUT);
    weft_sem_release(&s, 2);
    CHECK_EQ(acquire_for_10_ms(&s, 1), 0);
    CHECK_EQ(weft_sem_acquire(&s, 1), 0);
    CHECK_EQ(acquire_for_10_ms(&s, 1), -ETIMEDOUT);
    weft_sem_release(&s, 2);
    CHECK_EQ(weft_sem_acquire(&s, 2), 0); /* those that gave up have taken nothing */
}

static void acquire_in(weft_ctx *ctx, weft_sem *s, int64_t n, int expected)
{
    weft_scoped_use(ctx);
    CHECK_EQ(weft_sem_acquire(s, n), expected);
    if (expected == 0)
        weft_sem_release(s, n);
}

static void hold_for_a_while(weft_sem *s)
{
    CHECK_EQ(weft_sem_acquire(s, 1), 0);
    weft_sleep(WEFT_MS);
    weft_sem_release(s, 1);
}

TEST_BOTH(WeightedDoesntBlockIfTooBig)
{
    enum { N = 2 };
    weft_sem s = WEFT_SEM(N);
    weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background());
    weft_waitgroup too_big = {0}, others = {0};
    weft_wg_go(&too_big, acquire_in, ctx, &s, N + 1, -ECANCELED);
    weft_wg_go(&too_big, acquire_in, ctx, &s, INT64_MAX, -ECANCELED);
    weft_sleep(WEFT_MS); /* they wait, most likely */
    for (int i = 0; i < N * 3; i++)
        weft_wg_go(&others, hold_for_a_while, &s);
    weft_wg_wait(&others);
    CHECK(!somebody_waits(&s));
    weft_ctx_cancel(ctx);
    weft_wg_wait(&too_big);
    weft_ctx_free(ctx);
    CHECK(weft_sem_try_acquire(&s, N));
}

static void hold_and_let_go(weft_sem *s, _Atomic bool *running, weft_waitgroup *holding)
{
    CHECK_EQ(weft_sem_acquire(s, 1), 0);
    weft_wg_done(holding);
    while (atomic_load(running)) {
        weft_sleep(WEFT_MS);
        weft_sem_release(s, 1);
        CHECK_EQ(weft_sem_acquire(s, 1), 0);
    }
    weft_sem_release(s, 1);
}

/* One that wants all units gets them, while others give back one at a time and take it again at once. */
TEST_BOTH(LargeAcquireDoesntStarve)
{
    int n = at_least(4, weft_procs());
    weft_sem s = WEFT_SEM(n);
    _Atomic bool running = true;
    weft_waitgroup wg = {0}, holding = {0};
    weft_wg_add(&holding, n);
    for (int i = 0; i < n; i++)
        weft_wg_go(&wg, hold_and_let_go, &s, &running, &holding);
    weft_wg_wait(&holding);
    CHECK_EQ(weft_sem_acquire(&s, n), 0);
    atomic_store(&running, false);
    weft_sem_release(&s, n);
    weft_wg_wait(&wg);
}

/* The first waiter wants more than there is and gives up: those behind it that want little proceed. */
TEST_BOTH(AllocCancelDoesntStarve)
{
    for (int round = 0; round < test_scale(1000); round++) {
        weft_sem s = WEFT_SEM(10);
        weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background());
        weft_waitgroup wg = {0};
        CHECK_EQ(weft_sem_acquire(&s, 1), 0);
        weft_wg_go(&wg, acquire_in, ctx, &s, 10, -ECANCELED);
        await_waiter(&s);
        weft_wg_go(&wg, cancel_now, ctx);
        CHECK_EQ(weft_sem_acquire(&s, 1), 0);
        weft_sem_release(&s, 1);
        weft_wg_wait(&wg);
        CHECK(weft_sem_try_acquire(&s, 9));
        weft_ctx_free(ctx);
    }
}

static void cancel_and_release(weft_ctx *ctx, weft_sem *s, int64_t n)
{
    weft_ctx_cancel(ctx);
    weft_sem_release(s, n);
}

/* A wait that the context ended before there were units takes none, though they come before it returns. */
TEST_BOTH(WeightedAcquireCanceled)
{
    for (int round = 0; round < test_scale(1000); round++) {
        weft_sem s = WEFT_SEM(2);
        weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background());
        weft_waitgroup wg = {0};
        CHECK_EQ(weft_sem_acquire(&s, 2), 0);
        weft_wg_go(&wg, acquire_in, ctx, &s, 1, -ECANCELED);
        await_waiter(&s);
        cancel_and_release(ctx, &s, 2);
        weft_wg_wait(&wg);
        CHECK(weft_sem_try_acquire(&s, 2));
        weft_ctx_free(ctx);
    }
}

/* ---- order ---- */

static void acquire_in_order(weft_sem *s, int64_t n, weft_chan(int) order, int number)
{
    CHECK_EQ(weft_sem_acquire(s, n), 0);
    CHECK_EQ(weft_send(order, number), 0);
    weft_sem_release(s, n);
}

/* Until n goroutines are parked; those of this test park in the semaphore's queue only, and there in the order in which this
   saw them come. */
static void await_parked(int n)
{
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    while (weft_leaks(fd) != n)
        weft_yield();
    CHECK_EQ(close(fd), 0);
}

/* Everybody wants all: one after the other, as they came. */
TEST_BOTH(FirstComeFirstServed)
{
    enum { N = 10 };
    weft_sem s = WEFT_SEM(5);
    weft_chan(int) order = weft_chan_make(int, N);
    weft_waitgroup wg = {0};
    CHECK_EQ(weft_sem_acquire(&s, 5), 0);
    for (int i = 0; i < N; i++) {
        weft_wg_go(&wg, acquire_in_order, &s, 5, order, i);
        await_parked(i + 1);
    }
    weft_sem_release(&s, 5);
    weft_wg_wait(&wg);
    for (int i = 0; i < N; i++) {
        int who = -1;
        CHECK(weft_recv(order, &who));
        CHECK_EQ(who, i);
    }
    weft_chan_free(order);
}

static void acquire_and_count(weft_sem *s, int64_t n, _Atomic int *got)
{
    CHECK_EQ(weft_sem_acquire(s, n), 0);
    atomic_fetch_add(got, (int)n);
}

/* One release serves all that fit, from the first one on, and nobody behind the first one that does not. */
TEST_BOTH(ReleaseServesSeveral)
{
    for (int round = 0; round < test_scale(50); round++) {
        weft_sem s = WEFT_SEM(10);
        weft_waitgroup fit = {0}, rest = {0};
        _Atomic int got = 0;
        CHECK_EQ(weft_sem_acquire(&s, 10), 0);
        weft_wg_go(&fit, acquire_and_count, &s, 1, &got);
        weft_wg_go(&fit, acquire_and_count, &s, 2, &got);
        weft_wg_go(&fit, acquire_and_count, &s, 3, &got);
        await_parked(3);
        weft_wg_go(&rest, acquire_and_count, &s, 4, &got);
        await_parked(4);
        weft_wg_go(&rest, acquire_and_count, &s, 1, &got);
        await_parked(5);
        weft_sem_release(&s, 9);
        weft_wg_wait(&fit);
        CHECK(!weft_sem_try_acquire(&s, 1)); /* 3 are there, but 4 are waited for */
        CHECK_EQ(atomic_load(&got), 6);
        weft_sem_release(&s, 3);
        weft_wg_wait(&rest);
        CHECK_EQ(atomic_load(&got), 11);
        CHECK(weft_sem_try_acquire(&s, 1)); /* 10 + 11 were taken, 12 given back */
        CHECK(!weft_sem_try_acquire(&s, 1));
    }
}

/* Many at once: more than a list of some. */
TEST_BOTH(OneReleaseServesAll)
{
    enum { N = 500 };
    for (int round = 0; round < test_scale(30); round++) {
        weft_sem s = WEFT_SEM(N);
        weft_waitgroup wg = {0};
        _Atomic int got = 0;
        CHECK_EQ(weft_sem_acquire(&s, N), 0);
        for (int i = 0; i < N; i++)
            weft_wg_go(&wg, acquire_and_count, &s, 1, &got);
        if (round % 2)
            await_parked(N);
        weft_sem_release(&s, N);
        weft_wg_wait(&wg);
        CHECK_EQ(atomic_load(&got), N);
        CHECK(!weft_sem_try_acquire(&s, 1));
    }
}

static void write_and_release(int *plain, weft_sem *s, int value)
{
    *plain = value;
    weft_sem_release(s, 1);
}

/* What came before a release is seen after the acquire that it allowed: plain memory is enough, and TSan agrees. */
TEST_BOTH(ReleaseOrdersWhatCameBefore)
{
    enum { N = 4 };
    for (int round = 0; round < test_scale(1000); round++) {
        int values[N] = {0};
        weft_sem s = WEFT_SEM(N);
        CHECK_EQ(weft_sem_acquire(&s, N), 0);
        for (int i = 0; i < N; i++)
            weft_go(write_and_release, &values[i], &s, round + i);
        CHECK_EQ(weft_sem_acquire(&s, N), 0);
        for (int i = 0; i < N; i++)
            CHECK_EQ(values[i], round + i);
    }
}

/* ---- the object vanishes ---- */

static void release_on_page(weft_sem *page, int64_t n)
{
    weft_sem_release(page, n);
}

static void *release_by_thread(void *page)
{
    weft_sem_release(page, 1);
    return NULL;
}

/* Whoever has got all units knows that nobody else has any, and unmaps the semaphore; the releases may not have returned. */
TEST_BOTH(SemaphoreVanishes)
{
    for (int i = 0; i < test_scale(10000); i++) {
        weft_sem *s = page_take();
        bool with_thread = i % 64 == 0;
        pthread_t thread;
        *s = (weft_sem)WEFT_SEM(5);
        CHECK_EQ(weft_sem_acquire(s, 5), 0);
        weft_go(release_on_page, s, 1);
        weft_go(release_on_page, s, 2);
        weft_go(release_on_page, s, 1);
        if (with_thread)
            CHECK_EQ(pthread_create(&thread, NULL, release_by_thread, s), 0);
        else
            weft_go(release_on_page, s, 1);
        if (i % 5 == 0)
            weft_yield(); /* sometimes all are back before the acquire */
        if (i % 3 == 0)
            CHECK_EQ(weft_sem_acquire_timeout(s, 5, WEFT_MINUTE), 0);
        else
            CHECK_EQ(weft_sem_acquire(s, 5), 0);
        page_give(s);
        if (with_thread)
            CHECK_EQ(pthread_join(thread, NULL), 0);
    }
}

/* ---- timeouts ---- */

TEST_BOTH(AcquireTimeout)
{
    weft_sem s = WEFT_SEM(3);
    CHECK_EQ(weft_sem_acquire_timeout(&s, 2, 0), 0); /* what is there is had at once */
    CHECK_EQ(weft_sem_acquire_timeout(&s, 2, 0), -ETIMEDOUT);
    CHECK_EQ(weft_sem_acquire_timeout(&s, 2, INT64_MIN), -ETIMEDOUT);
    int64_t start_ns = clock_ns();
    CHECK_EQ(weft_sem_acquire_timeout(&s, 2, 5 * WEFT_MS), -ETIMEDOUT);
    CHECK_EQ(weft_sem_acquire_timeout(&s, 4, 5 * WEFT_MS), -ETIMEDOUT); /* more than there ever is */
    CHECK(clock_ns() - start_ns >= 10 * WEFT_MS);
    CHECK(!somebody_waits(&s));
    CHECK_EQ(weft_sem_acquire_timeout(&s, 1, -1), 0);
    weft_go(release_on_page, &s, 3);
    CHECK_EQ(weft_sem_acquire_timeout(&s, 3, INT64_MAX), 0);
}

static void acquire_until(weft_sem *s, int64_t n, int64_t ns, int expected, _Atomic bool *returned)
{
    CHECK_EQ(weft_sem_acquire_timeout(s, n, ns), expected);
    atomic_store(returned, true);
}

/* The first waiter's time is over: those behind it that want what is there proceed, without any release. */
TEST_BOTH(TimeoutOfTheFirstServesTheNext)
{
    for (int round = 0; round < test_scale(200); round++) {
        weft_sem s = WEFT_SEM(4);
        weft_waitgroup wg = {0};
        _Atomic bool returned = false, unused = false;
        CHECK_EQ(weft_sem_acquire(&s, 2), 0);
        weft_wg_go(&wg, acquire_until, &s, 4, WEFT_MS, -ETIMEDOUT, &returned);
        await_waiter_or(&s, &returned);
        weft_wg_go(&wg, acquire_until, &s, 1, INT64_MAX, 0, &unused);
        weft_wg_go(&wg, acquire_until, &s, 1, WEFT_MINUTE, 0, &unused);
        weft_wg_wait(&wg);
        CHECK(weft_sem_try_acquire(&s, 0));
        CHECK(!weft_sem_try_acquire(&s, 1));
    }
}

/* ---- contexts ---- */

TEST_BOTH(AcquireInAnEndedContext)
{
    weft_sem s = WEFT_SEM(2);
    weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background());
    weft_ctx_cancel(ctx);
    {
        weft_scoped_use(ctx);
        CHECK_EQ(weft_sem_acquire(&s, 2), 0); /* what can complete at once completes */
        CHECK_EQ(weft_sem_acquire(&s, 1), -ECANCELED);
        CHECK_EQ(weft_sem_acquire(&s, 3), -ECANCELED);
        CHECK_EQ(weft_sem_acquire_timeout(&s, 1, WEFT_MINUTE), -ECANCELED);
        CHECK(!somebody_waits(&s));
        weft_sem_release(&s, 2);
        CHECK_EQ(weft_sem_acquire_timeout(&s, 2, WEFT_MINUTE), 0);
    }
    CHECK_EQ(weft_sem_acquire_timeout(&s, 1, 1), -ETIMEDOUT); /* out of it again */
    weft_ctx_free(ctx);
}

struct in_context {
    weft_ctx *ctx;
    weft_sem *s;
};

static void *acquire_in_by_thread(void *argument)
{
    struct in_context *in = argument;
    acquire_in(in->ctx, in->s, 1, -ECANCELED);
    return NULL;
}

/* The context ends its own, goroutines and threads, wherever they are in the queue; the others stay and are served. */
TEST_BOTH(CancelEndsAcquires)
{
    enum { N = 8 };
    for (int round = 0; round < test_scale(100); round++) {
        weft_sem s = WEFT_SEM(4);
        weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background());
        struct in_context in = {ctx, &s};
        weft_waitgroup wg = {0};
        pthread_t threads[2];
        CHECK_EQ(weft_sem_acquire(&s, 4), 0);
        for (int i = 0; i < N; i++) {
            weft_wg_go(&wg, acquire_in, ctx, &s, 1 + i % 4, -ECANCELED);
            weft_wg_go(&wg, acquire_in, weft_ctx_background(), &s, 1 + i % 4, 0);
        }
        for (int i = 0; i < 2; i++)
            CHECK_EQ(pthread_create(&threads[i], NULL, acquire_in_by_thread, &in), 0);
        await_parked(2 * N);
        weft_ctx_cancel(ctx);
        for (int i = 0; i < 2; i++)
            CHECK_EQ(pthread_join(threads[i], NULL), 0);
        weft_sem_release(&s, 4); /* not before: those that find units take them, ended context or not */
        weft_wg_wait(&wg);
        CHECK(weft_sem_try_acquire(&s, 4));
        weft_ctx_free(ctx);
    }
}

static void acquire_shielded(weft_ctx *ctx, weft_sem *s)
{
    weft_scoped_use(ctx);
    weft_scoped_shield();
    CHECK_EQ(weft_sem_acquire(s, 1), 0);
}

TEST_BOTH(ShieldedAcquireGoesOn)
{
    weft_sem s = WEFT_SEM(1);
    weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background());
    weft_waitgroup wg = {0};
    CHECK_EQ(weft_sem_acquire(&s, 1), 0);
    weft_wg_go(&wg, acquire_shielded, ctx, &s);
    await_waiter(&s);
    weft_ctx_cancel(ctx);
    weft_sem_release(&s, 1);
    weft_wg_wait(&wg);
    weft_ctx_free(ctx);
}

static void acquire_either(weft_ctx *ctx, weft_sem *s, int64_t n, int64_t ns, _Atomic int *got, _Atomic bool *returned)
{
    weft_scoped_use(ctx);
    int error = weft_sem_acquire_timeout(s, n, ns);
    CHECK(error == 0 || error == -ECANCELED || error == -ETIMEDOUT);
    if (error == 0)
        atomic_fetch_add(got, (int)n);
    atomic_store(returned, true);
}

/* A release against time and context: the units go to a waiter or stay, never both, never neither. */
TEST_BOTH(ReleaseAgainstCancelAndTime)
{
    for (int round = 0; round < test_scale(2000); round++) {
        weft_sem s = WEFT_SEM(3);
        weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background());
        weft_waitgroup wg = {0};
        _Atomic int got = 0;
        _Atomic bool returned = false, unused = false;
        CHECK_EQ(weft_sem_acquire(&s, 3), 0);
        weft_wg_go(&wg, acquire_either, ctx, &s, 2, round % 2 ? 50 * WEFT_US : INT64_MAX, &got, &returned);
        await_waiter_or(&s, &returned);
        weft_wg_go(&wg, acquire_either, weft_ctx_background(), &s, 1, INT64_MAX, &got, &unused);
        weft_wg_go(&wg, cancel_now, ctx);
        if (round % 3)
            weft_yield();
        weft_sem_release(&s, 3);
        weft_wg_wait(&wg);
        int left = 3 - atomic_load(&got);
        CHECK(left == 0 || left == 2);
        CHECK(weft_sem_try_acquire(&s, left));
        CHECK(!weft_sem_try_acquire(&s, 1));
        weft_ctx_free(ctx);
    }
}

/* ---- everything at once ---- */

enum { HAMMERED = 6 };
struct hammered {
    weft_sem s;
    _Atomic int64_t held;
    weft_ctx *ctx;
    int loops;
};

static void hold(struct hammered *h, int64_t n)
{
    CHECK(atomic_fetch_add(&h->held, n) + n <= HAMMERED);
    if (test_random() % 8 == 0)
        weft_yield();
    atomic_fetch_sub(&h->held, n);
    weft_sem_release(&h->s, n);
}

static void hammer(struct hammered *h)
{
    weft_scoped_use(h->ctx);
    for (int i = 0; i < h->loops; i++) {
        int64_t n = (int64_t)(test_random() % (HAMMERED + 1));
        int error = 0;
        switch (test_random() % 4) {
        case 0:
            error = weft_sem_try_acquire(&h->s, n) ? 0 : -EAGAIN;
            break;
        case 1:
            error = weft_sem_acquire_timeout(&h->s, n, (int64_t)(test_random() % 50000));
            break;
        default:
            error = weft_sem_acquire(&h->s, n);
        }
        if (error == 0)
            hold(h, n);
        else
            CHECK(error == -EAGAIN || error == -ETIMEDOUT || error == -ECANCELED);
    }
}

static void *hammer_by_thread(void *h)
{
    hammer(h);
    return NULL;
}

TEST_BOTH(HammerWithForeignThreads)
{
    enum { N = 8, THREADS = 3, ROUNDS = 4 };
    for (int round = 0; round < ROUNDS; round++) {
        struct hammered h = {.s = WEFT_SEM(HAMMERED), .loops = test_scale(1000)};
        h.ctx = weft_ctx_with_cancel(weft_ctx_background());
        weft_waitgroup wg = {0};
        pthread_t threads[THREADS];
        for (int i = 0; i < N; i++)
            weft_wg_go(&wg, hammer, &h);
        for (int i = 0; i < THREADS; i++)
            CHECK_EQ(pthread_create(&threads[i], NULL, hammer_by_thread, &h), 0);
        if (round % 2) { /* half of the rounds end in an ended context */
            nap_ms(1 + (int64_t)(test_random() % 4));
            weft_ctx_cancel(h.ctx);
        }
        weft_wg_wait(&wg);
        for (int i = 0; i < THREADS; i++)
            CHECK_EQ(pthread_join(threads[i], NULL), 0);
        CHECK(weft_sem_try_acquire(&h.s, HAMMERED));
        weft_ctx_free(h.ctx);
    }
}

TEST_MAIN()
