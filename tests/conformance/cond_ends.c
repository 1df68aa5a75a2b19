/* cond_ends.c — waits for a Cond that time or a context ends, against each other and against signals: none is lost, and who
   gave up is out of the queue. What Go's sync package checks is in cond.c. */
#include "../workload.h"
#include <weft.h>

#include "../test.h"

/* What the tests share with the goroutines that they start. */
struct place {
    weft_mutex m;
    weft_cond c;
    bool done;                  /* [m] */
    int tokens, woken, waiting; /* [m] */
};

/* ---- timeouts ---- */

TEST_BOTH(WaitTimeout)
{
    struct place p = {.done = false};
    weft_lock(&p.m);
    int64_t start_ns = clock_ns();
    CHECK_EQ(weft_cond_wait_timeout(&p.c, &p.m, 5 * WEFT_MS), -ETIMEDOUT);
    CHECK(clock_ns() - start_ns >= 5 * WEFT_MS);
    CHECK(!weft_try_lock(&p.m));
    CHECK_EQ(weft_cond_wait_timeout(&p.c, &p.m, 0), -ETIMEDOUT);
    CHECK_EQ(weft_cond_wait_timeout(&p.c, &p.m, -1), -ETIMEDOUT);
    CHECK_EQ(weft_cond_wait_timeout(&p.c, &p.m, INT64_MIN), -ETIMEDOUT);
    CHECK(!weft_try_lock(&p.m));
    CHECK(p.c.first == NULL && p.c.last == NULL); /* all gone */
    weft_unlock(&p.m);
}

static void set_done(struct place *p)
{
    weft_lock(&p->m);
    p->done = true;
    weft_cond_signal(&p->c);
    weft_unlock(&p->m);
}

/* Also where no time is given it unlocks, so that others can make the condition true. */
TEST_BOTH(PollingWaitLetsOthersIn)
{
    struct place p = {.done = false};
    weft_waitgroup wg = {0};
    weft_lock(&p.m);
    weft_wg_go(&wg, set_done, &p);
    while (!p.done)
        CHECK_EQ(weft_cond_wait_timeout(&p.c, &p.m, 0), -ETIMEDOUT);
    weft_unlock(&p.m);
    weft_wg_wait(&wg);
}

TEST_BOTH(WaitTimeoutSignalled)
{
    static const int64_t long_ns[] = {INT64_MAX, INT64_MAX - 1, WEFT_MINUTE};
    for (int i = 0; i < 3; i++) {
        struct place p = {.done = false};
        weft_waitgroup wg = {0};
        weft_lock(&p.m);
        weft_wg_go(&wg, set_done, &p);
        while (!p.done)
            CHECK_EQ(weft_cond_wait_timeout(&p.c, &p.m, long_ns[i]), 0);
        weft_unlock(&p.m);
        weft_wg_wait(&wg);
    }
}

/* Takes a token, or gives up after ns. */
static int take_token(struct place *p, int64_t ns, weft_waitgroup *waits)
{
    int error = 0;
    weft_lock(&p->m);
    p->waiting++;
    weft_wg_done(waits);
    while (!error && p->tokens == 0)
        error = weft_cond_wait_timeout(&p->c, &p->m, ns);
    if (!error)
        p->tokens--;
    p->waiting--;
    weft_unlock(&p->m);
    return error;
}

static void take_token_hastily(struct place *p, weft_waitgroup *waits)
{
    int error = take_token(p, (int64_t)(test_random() % 200000), waits);
    CHECK(error == 0 || error == -ETIMEDOUT);
}

static void take_token_patiently(struct place *p, weft_waitgroup *waits)
{
    CHECK_EQ(take_token(p, INT64_MAX, waits), 0);
}

static void *take_token_by_thread(void *argument)
{
    void **parts = argument;
    take_token_hastily(parts[0], parts[1]);
    return NULL;
}

static void put_token(struct place *p)
{
    weft_lock(&p->m);
    p->tokens++;
    weft_unlock(&p->m);
    weft_cond_signal(&p->c);
}

/* Signals at the time at which waiters at the front give up: none may be lost to such a one. The patient one comes last;
   were a signal lost, it would wait for ever. */
TEST_BOTH(SignalPassesOverTimedOutWaiters)
{
    enum { HASTY = 5 };
    for (int round = 0; round < test_scale(1000); round++) {
        struct place p = {.tokens = 0};
        weft_waitgroup wg = {0}, waits = {0};
        void *parts[] = {&p, &waits};
        pthread_t thread;
        bool with_thread = round % 16 == 0;
        weft_wg_add(&waits, HASTY + with_thread);
        for (int i = 0; i < HASTY; i++)
            weft_wg_go(&wg, take_token_hastily, &p, &waits);
        if (with_thread)
            CHECK_EQ(pthread_create(&thread, NULL, take_token_by_thread, parts), 0);
        weft_wg_wait(&waits);
        weft_wg_add(&waits, 1);
        weft_wg_go(&wg, take_token_patiently, &p, &waits);
        weft_wg_wait(&waits);
        nap_ns((int64_t)(test_random() % 200000));
        put_token(&p);
        for (;;) { /* a hasty one may have got it: then another */
            weft_lock(&p.m);
            bool more = p.waiting != 0 && p.tokens == 0;
            bool all = p.waiting == 0;
            weft_unlock(&p.m);
            if (all)
                break;
            if (more)
                put_token(&p);
            weft_yield();
        }
        weft_wg_wait(&wg);
        if (with_thread)
            CHECK_EQ(pthread_join(thread, NULL), 0);
    }
}

/* ---- contexts ---- */

static void lock_once(struct place *p)
{
    weft_lock(&p->m);
    p->done = true;
    weft_unlock(&p->m);
}

/* In a context that has ended the wait still unlocks and lets others run: the loop ends. */
TEST_BOTH(WaitInAnEndedContext)
{
    weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background());
    weft_ctx_cancel(ctx);
    struct place p = {.done = false};
    weft_waitgroup wg = {0};
    {
        weft_scoped_use(ctx);
        weft_lock(&p.m);
        CHECK_EQ(weft_cond_wait(&p.c, &p.m), -ECANCELED);
        CHECK_EQ(weft_cond_wait_timeout(&p.c, &p.m, WEFT_MINUTE), -ECANCELED);
        CHECK(!weft_try_lock(&p.m));
        CHECK(p.c.first == NULL && p.c.last == NULL);
        weft_wg_go(&wg, lock_once, &p);
        while (!p.done)
            CHECK_EQ(weft_cond_wait(&p.c, &p.m), -ECANCELED);
        weft_unlock(&p.m);
    }
    weft_wg_wait(&wg);
    weft_ctx_free(ctx);
}

TEST_BOTH(WaitUntilTheDeadlineOfTheContext)
{
    struct place p = {.done = false};
    weft_ctx *ctx = weft_ctx_with_timeout(weft_ctx_background(), 5 * WEFT_MS);
    {
        weft_scoped_use(ctx);
        weft_lock(&p.m);
        int64_t start_ns = clock_ns();
        CHECK_EQ(weft_cond_wait(&p.c, &p.m), -ETIMEDOUT);
        CHECK(clock_ns() - start_ns < 10 * WEFT_SECOND);
        CHECK(!weft_try_lock(&p.m));
        CHECK_EQ(weft_cond_wait_timeout(&p.c, &p.m, WEFT_MINUTE), -ETIMEDOUT);
        weft_unlock(&p.m);
    }
    weft_ctx_free(ctx);
}

static void wait_in(weft_ctx *ctx, struct place *p, int expected)
{
    weft_scoped_use(ctx);
    weft_lock(&p->m);
    p->waiting++;
    CHECK_EQ(weft_cond_wait(&p->c, &p->m), expected);
    CHECK(!weft_try_lock(&p->m));
    p->waiting--;
    p->woken++;
    weft_unlock(&p->m);
}

struct in_context {
    weft_ctx *ctx;
    struct place *p;
    int expected;
};

static void *wait_in_by_thread(void *argument)
{
    struct in_context *in = argument;
    wait_in(in->ctx, in->p, in->expected);
    return NULL;
}

static void await_waiting(struct place *p, int n)
{
    for (int waiting = -1; waiting != n; weft_yield()) {
        weft_lock(&p->m);
        waiting = p->waiting;
        weft_unlock(&p->m);
    }
}

/* The context ends those that run in it, goroutines and threads; the signals are for those that do not. */
TEST_BOTH(CancelEndsWaits)
{
    enum { N = 8 };
    for (int round = 0; round < test_scale(100); round++) {
        weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background());
        struct place p = {.done = false};
        struct in_context in = {ctx, &p, -ECANCELED};
        weft_waitgroup wg = {0};
        pthread_t threads[2];
        for (int i = 0; i < N; i++) {
            weft_wg_go(&wg, wait_in, ctx, &p, -ECANCELED);
            weft_wg_go(&wg, wait_in, weft_ctx_background(), &p, 0);
        }
        for (int i = 0; i < 2; i++)
            CHECK_EQ(pthread_create(&threads[i], NULL, wait_in_by_thread, &in), 0);
        await_waiting(&p, 2 * N + 2);
        weft_ctx_cancel(ctx);
        for (int i = 0; i < N; i++)
            weft_cond_signal(&p.c); /* some of those that the context ended may be in the queue still */
        weft_wg_wait(&wg);
        for (int i = 0; i < 2; i++)
            CHECK_EQ(pthread_join(threads[i], NULL), 0);
        CHECK_EQ(p.woken, 2 * N + 2);
        CHECK(p.c.first == NULL && p.c.last == NULL);
        weft_ctx_free(ctx);
    }
}

static void wait_shielded(weft_ctx *ctx, struct place *p)
{
    weft_scoped_use(ctx);
    weft_scoped_shield();
    weft_lock(&p->m);
    p->waiting++;
    while (!p->done)
        CHECK_EQ(weft_cond_wait(&p->c, &p->m), 0);
    weft_unlock(&p->m);
}

TEST_BOTH(ShieldedWaitGoesOn)
{
    weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background());
    struct place p = {.done = false};
    weft_waitgroup wg = {0};
    weft_wg_go(&wg, wait_shielded, ctx, &p);
    await_waiting(&p, 1);
    weft_ctx_cancel(ctx);
    set_done(&p);
    weft_wg_wait(&wg);
    weft_ctx_free(ctx);
}

static void wait_either(weft_ctx *ctx, struct place *p, _Atomic int *signalled)
{
    weft_scoped_use(ctx);
    weft_lock(&p->m);
    p->waiting++;
    int error = weft_cond_wait(&p->c, &p->m);
    CHECK(error == 0 || error == -ECANCELED);
    atomic_fetch_add(signalled, error == 0);
    weft_unlock(&p->m);
}

static void cancel_now(weft_ctx *ctx)
{
    weft_ctx_cancel(ctx);
}

/* One signal against the cancelling of the first of two: it wakes one of them, in every order of events. */
TEST_BOTH(SignalAgainstCancel)
{
    for (int round = 0; round < test_scale(2000); round++) {
        weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background());
        struct place p = {.done = false};
        weft_waitgroup wg = {0};
        _Atomic int signalled = 0;
        weft_wg_go(&wg, wait_either, ctx, &p, &signalled);
        await_waiting(&p, 1);
        weft_wg_go(&wg, wait_either, weft_ctx_background(), &p, &signalled);
        await_waiting(&p, 2);
        weft_wg_go(&wg, cancel_now, ctx);
        if (round % 3)
            weft_yield();
        weft_cond_signal(&p.c);
        while (atomic_load(&signalled) == 0)
            weft_yield();
        weft_cond_signal(&p.c); /* for the second, unless the first one was cancelled */
        weft_wg_wait(&wg);
        CHECK(atomic_load(&signalled) >= 1);
        weft_ctx_free(ctx);
    }
}

static void wait_or_time(struct place *p, int64_t ns, weft_ctx *ctx, _Atomic int *returned)
{
    weft_scoped_use(ctx);
    weft_lock(&p->m);
    p->waiting++;
    int error = weft_cond_wait_timeout(&p->c, &p->m, ns);
    CHECK(!weft_try_lock(&p->m));
    weft_unlock(&p->m);
    CHECK(error == 0 || error == -ECANCELED || error == -ETIMEDOUT);
    atomic_fetch_add(returned, 1);
}

/* Broadcast, time and context at once: each waiter returns, once, and the queue is empty then. */
TEST_BOTH(BroadcastTimeAndCancelTogether)
{
    enum { N = 150 };
    for (int round = 0; round < test_scale(200); round++) {
        weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background());
        struct place p = {.done = false};
        weft_waitgroup wg = {0};
        _Atomic int returned = 0;
        for (int i = 0; i < N; i++)
            weft_wg_go(&wg, wait_or_time, &p, (int64_t)(test_random() % 1000000), ctx, &returned);
        await_waiting(&p, N);
        if (round % 2)
            weft_wg_go(&wg, cancel_now, ctx);
        weft_cond_broadcast(&p.c);
        weft_wg_wait(&wg);
        CHECK_EQ(atomic_load(&returned), N);
        CHECK(p.c.first == NULL && p.c.last == NULL);
        weft_ctx_free(ctx);
    }
}

TEST_MAIN()
