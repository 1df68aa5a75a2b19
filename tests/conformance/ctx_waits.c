/* ctx_waits.c — the context that a goroutine or thread runs in: which waits its end ends and which not, what is inherited,
   and what scopes do. */
#include "../workload.h"
#include <pthread.h>
#include <weft.h>

#include "../test.h"

#define SHORT (2 * WEFT_MS)
#define FOR_EVER (60 * WEFT_SECOND)

typedef weft_chan(int) int_chan;

/* ---- every kind of wait ---- */

/* What the waits wait for in vain. */
static struct {
    int_chan empty, full, unread, null;
    weft_mutex mutex;
    weft_cond cond;
    weft_sem sem;
} vain;

static void make_vain(void)
{
    vain.empty = weft_chan_make(int, 0);
    vain.full = weft_chan_make(int, 1);
    vain.unread = weft_chan_make(int, 0);
    CHECK_EQ(weft_send(vain.full, 1), 0);
    vain.sem = (weft_sem)WEFT_SEM(2);
    CHECK_EQ(weft_sem_acquire(&vain.sem, 1), 0);
}

/* Nobody is left in any queue. */
static void free_vain(void)
{
    CHECK_EQ(weft_try_send(vain.empty, 1), -EAGAIN);
    CHECK_EQ(weft_try_recv(vain.full, NULL), 0);
    CHECK_EQ(weft_try_recv(vain.full, NULL), -EAGAIN);
    weft_chan_free(vain.empty);
    weft_chan_free(vain.full);
    CHECK_EQ(weft_try_recv(vain.unread, NULL), -EAGAIN);
    weft_chan_free(vain.unread);
    CHECK(weft_sem_try_acquire(&vain.sem, 1));
    weft_sem_release(&vain.sem, 2);
    CHECK(weft_try_lock(&vain.mutex));
    weft_unlock(&vain.mutex);
}

static int wait_recv(void)
{
    int value = 7, error = weft_recv_status(vain.empty, &value);
    CHECK_EQ(value, 7);
    return error;
}

static int wait_recv_bool(void)
{
    CHECK(!weft_recv(vain.empty, NULL));
    return weft_ctx_err(weft_ctx_current());
}

static int wait_send(void)
{
    return weft_send(vain.unread, 1);
}

static int wait_send_full(void)
{
    return weft_send(vain.full, 1);
}

static int wait_null_recv(void)
{
    return weft_recv_status(vain.null, NULL);
}

static int wait_null_send(void)
{
    return weft_send(vain.null, 1);
}

static int wait_select(void)
{
    bool ok = true;
    int result = weft_select([0] = weft_on_recv(vain.empty, NULL, &ok), [1] = weft_on_send(vain.full, 1));
    CHECK(ok);
    return result;
}

static int wait_select_twins(void)
{
    return weft_select([0] = weft_on_send(vain.full, 1), [3] = weft_on_send(vain.full, 2),
                       [4] = weft_on_recv(vain.empty, NULL));
}

static int wait_select_timeout(void)
{
    return weft_select([0] = weft_on_recv(vain.empty, NULL), [1] = weft_on_timeout(FOR_EVER));
}

static int wait_select_only_timeout(void)
{
    return weft_select([1] = weft_on_timeout(FOR_EVER));
}

static int wait_select_nothing(void)
{
    return weft_select([0] = weft_on_recv(vain.null, NULL));
}

static int wait_select_many(void)
{
    weft_case cases[100];
    for (int i = 0; i < 100; i++)
        cases[i] = weft_on_recv(vain.empty, NULL);
    return weft_select_(cases, 100, true);
}

static int wait_sleep(void)
{
    return weft_sleep(FOR_EVER);
}

static int wait_sleep_longest(void)
{
    return weft_sleep(INT64_MAX);
}

static int wait_sem(void)
{
    return weft_sem_acquire(&vain.sem, 2);
}

static int wait_sem_more_than_there_is(void)
{
    return weft_sem_acquire(&vain.sem, 3);
}

static int wait_cond(void)
{
    weft_scoped_lock(&vain.mutex);
    int error = weft_cond_wait(&vain.cond, &vain.mutex);
    CHECK(!weft_try_lock(&vain.mutex));
    return error;
}

static const struct {
    const char *name;
    int (*wait)(void);
} kinds[] = {{"recv", wait_recv},
             {"recv_bool", wait_recv_bool},
             {"send", wait_send},
             {"send_full", wait_send_full},
             {"null_recv", wait_null_recv},
             {"null_send", wait_null_send},
             {"select", wait_select},
             {"select_twins", wait_select_twins},
             {"select_timeout", wait_select_timeout},
             {"select_only_timeout", wait_select_only_timeout},
             {"select_nothing", wait_select_nothing},
             {"select_many", wait_select_many},
             {"sleep", wait_sleep},
             {"sleep_longest", wait_sleep_longest},
             {"sem", wait_sem},
             {"sem_more", wait_sem_more_than_there_is},
             {"cond", wait_cond}};
enum { KINDS = sizeof kinds / sizeof *kinds };

static void check_wait(int kind, weft_ctx *ctx, int expected)
{
    weft_scoped_use(ctx);
    int error = kinds[kind].wait();
    if (error != expected)
        fprintf(stderr, "%s\n", kinds[kind].name);
    CHECK_EQ(error, expected);
}

static void cancel_later(weft_ctx *ctx, int64_t ns)
{
    CHECK_EQ(weft_sleep(ns), 0);
    weft_ctx_cancel(ctx);
    weft_ctx_free(ctx);
}

TEST_BOTH(CancelledBeforeTheWait)
{
    weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background()), *below = weft_ctx_with_cancel(ctx);
    make_vain();
    weft_ctx_cancel(ctx);
    for (int i = test_scale(100); i > 0; i--)
        for (int kind = 0; kind < KINDS; kind++)
            check_wait(kind, kind % 2 ? ctx : below, -ECANCELED);
    free_vain();
    weft_ctx_free(below);
    weft_ctx_free(ctx);
}

TEST_BOTH(CancelledDuringTheWait)
{
    uint64_t random = test_random();
    make_vain();
    for (int i = test_scale(40); i > 0; i--)
        for (int kind = 0; kind < KINDS; kind++) {
            weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background()), *below = weft_ctx_with_value(ctx, &vain, NULL);
            weft_go(cancel_later, ctx, (int64_t)(test_random_from(&random) % 100) * WEFT_US);
            check_wait(kind, i % 2 ? below : ctx, -ECANCELED);
            weft_ctx_free(below);
        }
    free_vain();
}

TEST_BOTH(TimedOutBeforeTheWait)
{
    weft_ctx *ctx = weft_ctx_with_timeout(weft_ctx_background(), 0);
    make_vain();
    for (int kind = 0; kind < KINDS; kind++)
        check_wait(kind, ctx, -ETIMEDOUT);
    free_vain();
    weft_ctx_free(ctx);
}

TEST_BOTH(TimedOutDuringTheWait)
{
    uint64_t random = test_random();
    make_vain();
    for (int i = test_scale(20); i > 0; i--)
        for (int kind = 0; kind < KINDS; kind++) {
            int64_t ns = (int64_t)(test_random_from(&random) % 100) * WEFT_US, start_ns = weft_now();
            weft_ctx *ctx = weft_ctx_with_timeout(weft_ctx_background(), ns);
            check_wait(kind, ctx, -ETIMEDOUT);
            CHECK(weft_now() - start_ns >= ns);
            weft_ctx_free(ctx);
        }
    free_vain();
}

/* ---- what completes all the same ---- */

TEST_BOTH(WhatCanCompleteAtOnceCompletes)
{
    weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background());
    int_chan c = weft_chan_make(int, 1);
    weft_sem sem = WEFT_SEM(1);
    weft_mutex mutex = {0};
    weft_waitgroup wg = {0};
    weft_ctx_cancel(ctx);
    weft_scoped_use(ctx);
    for (int i = test_scale(1000); i > 0; i--) {
        int value;
        CHECK_EQ(weft_send(c, i), 0);
        CHECK_EQ(weft_send(c, i), -ECANCELED);
        CHECK(weft_recv(c, &value) && value == i);
        CHECK_EQ(weft_recv_status(c, &value), -ECANCELED);
        CHECK_EQ(weft_select([0] = weft_on_send(c, i), [1] = weft_on_timeout(FOR_EVER)), 0);
        CHECK_EQ(weft_select([0] = weft_on_send(c, i), [1] = weft_on_timeout(FOR_EVER)), -ECANCELED);
        CHECK_EQ(weft_select([0] = weft_on_send(c, i), [1] = weft_on_timeout(0)), 1);
        CHECK_EQ(weft_select([0] = weft_on_send(c, i), [1] = weft_on_recv(c, NULL)), 1);
        CHECK_EQ(weft_select([0] = weft_on_recv(c, NULL), [1] = weft_on_done(ctx)), 1);
        CHECK_EQ(weft_sleep(0), 0);
        CHECK_EQ(weft_sem_acquire(&sem, 1), 0);
        CHECK_EQ(weft_sem_acquire(&sem, 1), -ECANCELED);
        weft_sem_release(&sem, 1);
        weft_lock(&mutex);
        weft_unlock(&mutex);
        weft_wg_wait(&wg);
    }
    CHECK_EQ(weft_close(c), 0);
    CHECK_EQ(weft_recv_status(c, NULL), -EPIPE);
    CHECK_EQ(weft_send(c, 1), -EPIPE);
    weft_chan_free(c);
    weft_ctx_free(ctx);
}

static void unlock_later(weft_mutex *m, weft_ctx *ctx, bool *unlocked)
{
    weft_scoped_shield();
    CHECK_EQ(weft_select([0] = weft_on_done(ctx)), 0);
    CHECK_EQ(weft_sleep(SHORT), 0);
    *unlocked = true;
    weft_unlock(m);
}

static void done_later(weft_waitgroup *wg, bool *done)
{
    weft_scoped_shield();
    CHECK_EQ(weft_sleep(SHORT), 0);
    *done = true;
    weft_wg_done(wg);
}

TEST_BOTH(LockAndWaitGroupAreNotEnded)
{
    weft_mutex mutex = {0};
    weft_waitgroup wg = {0};
    bool flag = false;
    weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background());
    weft_scoped_use(ctx);
    weft_go(cancel_later, weft_ctx_ref(ctx), (int64_t)0);
    weft_lock(&mutex);
    weft_go(unlock_later, &mutex, ctx, &flag);
    weft_lock(&mutex);
    CHECK(flag);
    CHECK_EQ(weft_ctx_err(ctx), -ECANCELED);
    weft_unlock(&mutex);
    flag = false;
    weft_wg_add(&wg, 1);
    weft_go(done_later, &wg, &flag);
    weft_wg_wait(&wg);
    CHECK(flag);
    weft_ctx_free(ctx);
}

/* A select that waits for the end of the context that it runs in is told of it, not ended by it. */
TEST_BOTH(SelectOnDoneOfItsOwnContext)
{
    uint64_t random = test_random();
    int_chan never = weft_chan_make(int, 0);
    for (int i = test_scale(1000); i > 0; i--) {
        weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background());
        weft_go(cancel_later, weft_ctx_ref(ctx), (int64_t)(test_random_from(&random) % 30) * WEFT_US);
        weft_scoped_use(ctx);
        CHECK_EQ(weft_select([0] = weft_on_recv(never, NULL), [1] = weft_on_done(ctx), [2] = weft_on_timeout(FOR_EVER)), 1);
        weft_ctx_free(ctx);
    }
    weft_chan_free(never);
}

/* Refused waits give the CPU to others, with one worker too. */
static void set_flag(int *flag)
{
    __atomic_store_n(flag, 1, __ATOMIC_RELEASE);
}

TEST_BOTH(LoopOfRefusedWaitsStarvesNobody)
{
    int flag = 0;
    weft_ctx *ctx = weft_ctx_with_timeout(weft_ctx_background(), 0);
    weft_go(set_flag, &flag);
    weft_scoped_use(ctx);
    for (int n = 0; !__atomic_load_n(&flag, __ATOMIC_ACQUIRE); n++) {
        CHECK(n < 1000 || weft_procs() > 1 || weft_id() == 0); /* a slice would be a hundred times as many */
        CHECK_EQ(weft_sleep(FOR_EVER), -ETIMEDOUT);
    }
    weft_ctx_free(ctx);
}

/* ---- scopes ---- */

TEST_BOTH(UseNests)
{
    weft_ctx *background = weft_ctx_background(), *a = weft_ctx_with_cancel(background),
             *b = weft_ctx_with_cancel(background);
    CHECK(weft_ctx_current() == background);
    {
        weft_scoped_use(a);
        CHECK(weft_ctx_current() == a);
        {
            weft_scoped_use(b);
            CHECK(weft_ctx_current() == b);
            weft_ctx_cancel(a); /* not the one that we run in */
            CHECK_EQ(weft_sleep(WEFT_MS), 0);
            {
                weft_scoped_use(background);
                CHECK(weft_ctx_current() == background);
                CHECK_EQ(weft_sleep(WEFT_MS), 0);
                weft_scoped_use(a); /* twice in one */
                CHECK_EQ(weft_sleep(FOR_EVER), -ECANCELED);
            }
            CHECK_EQ(weft_sleep(WEFT_MS), 0);
            weft_ctx_cancel(b);
            CHECK_EQ(weft_sleep(FOR_EVER), -ECANCELED);
        }
        CHECK(weft_ctx_current() == a);
        CHECK_EQ(weft_sleep(FOR_EVER), -ECANCELED);
    }
    CHECK(weft_ctx_current() == background);
    CHECK_EQ(weft_sleep(WEFT_MS), 0);
    weft_ctx_free(a);
    weft_ctx_free(b);
}

/* The end of an outer context, once we are back in it, reaches the waits that it did not find. */
TEST_BOTH(OuterEndsMeanwhile)
{
    uint64_t random = test_random();
    for (int i = test_scale(1000); i > 0; i--) {
        weft_ctx *outer = weft_ctx_with_cancel(weft_ctx_background()), *inner = weft_ctx_with_cancel(weft_ctx_background());
        weft_go(cancel_later, weft_ctx_ref(outer), (int64_t)(test_random_from(&random) % 20) * WEFT_US);
        weft_scoped_use(outer);
        {
            weft_scoped_use(inner);
            CHECK_EQ(weft_sleep((int64_t)(test_random_from(&random) % 20) * WEFT_US), 0);
        }
        CHECK_EQ(weft_sleep(FOR_EVER), -ECANCELED);
        weft_ctx_free(outer);
        weft_ctx_free(inner);
    }
}

/* The scope has a reference of its own. */
TEST_BOTH(UseKeepsTheContext)
{
    weft_ctx *ctx = weft_ctx_with_timeout(weft_ctx_background(), SHORT);
    weft_scoped_use(ctx);
    weft_ctx_free(ctx);
    CHECK_EQ(weft_sleep(FOR_EVER), -ETIMEDOUT);
    CHECK_EQ(weft_ctx_err(weft_ctx_current()), -ETIMEDOUT);
}

TEST_BOTH(ScopedCtxCancelsAndFrees)
{
    weft_ctx *seen;
    for (int i = 0; i < 3; i++) {
        weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background());
        weft_scoped_ctx(ctx);
        weft_scoped_ctx(NULL);
        seen = weft_ctx_ref(ctx);
        CHECK_EQ(weft_ctx_err(seen), 0);
        if (i == 1) {
            weft_ctx_free(seen);
            continue;
        }
        if (i == 2)
            break;
        weft_ctx_free(seen);
    }
    CHECK_EQ(weft_ctx_err(seen), -ECANCELED);
    weft_ctx_free(seen);
}

static void check_shielded(weft_ctx *ctx, weft_waitgroup *wg)
{
    CHECK(weft_ctx_current() == ctx);
    CHECK_EQ(weft_sleep(WEFT_MS), 0);
    weft_wg_done(wg);
}

TEST_BOTH(Shield)
{
    weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background()), *other = weft_ctx_with_timeout(weft_ctx_background(), 0);
    weft_waitgroup wg = {0};
    int_chan c = weft_chan_make(int, 0);
    weft_ctx_cancel(ctx);
    weft_scoped_use(ctx);
    {
        weft_scoped_shield();
        CHECK(weft_ctx_current() == ctx);
        CHECK_EQ(weft_sleep(WEFT_MS), 0);
        CHECK_EQ(weft_select([0] = weft_on_recv(c, NULL), [1] = weft_on_timeout(WEFT_MS)), 1);
        weft_wg_add(&wg, 1);
        weft_go(check_shielded, ctx, &wg); /* started under the shield, it is shielded to its end */
        {
            weft_scoped_use(other); /* a context for the clean-up itself */
            CHECK_EQ(weft_sleep(FOR_EVER), -ETIMEDOUT);
            weft_scoped_shield();
            CHECK_EQ(weft_sleep(WEFT_MS), 0);
        }
        CHECK_EQ(weft_sleep(WEFT_MS), 0);
    }
    CHECK_EQ(weft_sleep(WEFT_MS), -ECANCELED);
    weft_wg_wait(&wg);
    weft_chan_free(c);
    weft_ctx_free(ctx);
    weft_ctx_free(other);
}

/* ---- inheritance ---- */

struct heir {
    weft_ctx *ctx; /* that it shall run in */
    weft_chan(int) results;
};

static void inherit(weft_ctx *ctx, int_chan results)
{
    CHECK(weft_ctx_current() == ctx);
    int error = weft_sleep(FOR_EVER);
    weft_scoped_shield();
    CHECK_EQ(weft_send(results, error), 0);
}

static void inherit_struct(struct heir *heir)
{
    inherit(heir->ctx, heir->results);
}

struct big_heir {
    struct heir heir;
    char more[200];
};

static void inherit_big(struct big_heir *heir)
{
    inherit(heir->heir.ctx, heir->heir.results);
}

static void pass_on(weft_ctx *ctx, int_chan results)
{
    weft_go(inherit, ctx, results);
}

TEST_BOTH(Inherited)
{
    enum { HEIRS = 7 };
    int_chan results = weft_chan_make(int, HEIRS);
    weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background()),
             *given = weft_ctx_with_timeout(weft_ctx_background(), SHORT);
    weft_waitgroup wg = {0};
    weft_go_opt(WEFT_OPTIONS(.ctx = ctx), inherit, ctx, results);
    {
        weft_scoped_use(ctx);
        weft_go(inherit, ctx, results);
        CHECK_EQ(weft_try_go(inherit, ctx, results), 0);
        weft_go_with(inherit_struct, (struct heir){ctx, results});
        weft_go_with(inherit_big, (struct big_heir){{ctx, results}, ""});
        weft_wg_go(&wg, pass_on, ctx, results);
        weft_wg_wait(&wg);
        weft_go_opt(WEFT_OPTIONS(.ctx = given), inherit, given, results);
    }
    int result;
    CHECK(weft_recv(results, &result) && result == -ETIMEDOUT);
    weft_ctx_cancel(ctx);
    weft_ctx_free(ctx); /* they have their own references */
    weft_ctx_free(given);
    for (int i = 1; i < HEIRS; i++)
        CHECK(weft_recv(results, &result) && result == -ECANCELED);
    weft_chan_free(results);
}

static void check_background(weft_waitgroup *wg)
{
    CHECK(weft_ctx_current() == weft_ctx_background());
    CHECK_EQ(weft_sleep(WEFT_MS), 0);
    weft_wg_done(wg);
}

TEST_BOTH(GivenBackground)
{
    weft_ctx *ctx = weft_ctx_with_timeout(weft_ctx_background(), 0);
    weft_waitgroup wg = {0};
    weft_scoped_use(ctx);
    weft_wg_add(&wg, 1);
    weft_go_opt(WEFT_OPTIONS(.ctx = weft_ctx_background()), check_background, &wg);
    weft_wg_wait(&wg);
    weft_ctx_free(ctx);
}

/* ---- leaving by exit ---- */

struct exiting {
    weft_ctx *inherited, *used, *owned;
    weft_waitgroup wg;
};

static void check_undoing(struct exiting *e)
{
    CHECK(weft_ctx_current() == e->inherited); /* the others have been left */
    CHECK_EQ(weft_ctx_err(e->owned), -ECANCELED);
    CHECK_EQ(weft_sleep(WEFT_MS), 0); /* shielded */
}

static void leave_deep(struct exiting *e, int depth, void (*last)(void))
{
    weft_scoped_use(depth % 2 ? e->used : e->owned);
    weft_scoped_shield();
    if (depth > 0)
        leave_deep(e, depth - 1, last);
    else
        last();
}

static void leave_by_exit(struct exiting *e)
{
    weft_defer(check_undoing, e);
    weft_scoped_ctx(e->owned);
    leave_deep(e, 5, weft_exit_goroutine);
}

TEST_BOTH(ExitLeavesContexts)
{
    for (int i = test_scale(500); i > 0; i--) {
        weft_ctx *background = weft_ctx_background();
        struct exiting e = {
            weft_ctx_with_cancel(background), weft_ctx_with_cancel(background), weft_ctx_with_cancel(background), {0}};
        if (i % 2)
            weft_ctx_cancel(e.inherited);
        weft_ctx_ref(e.owned);
        {
            weft_scoped_use(e.inherited);
            weft_wg_go(&e.wg, leave_by_exit, &e);
        }
        weft_wg_wait(&e.wg);
        weft_ctx_cancel(e.inherited); /* it finds nobody */
        weft_ctx_cancel(e.used);
        weft_ctx_free(e.inherited);
        weft_ctx_free(e.used);
        weft_ctx_free(e.owned);
    }
}

/* ---- very many ---- */

static void wait_somehow(int kind, long *ended)
{
    CHECK_EQ(kinds[kind].wait(), -ECANCELED);
    __atomic_fetch_add(ended, 1, __ATOMIC_RELAXED);
}

static void *wait_as_thread(void *ctx)
{
    for (int kind = 0; kind < KINDS; kind++)
        check_wait(kind, ctx, -ECANCELED);
    return NULL;
}

TEST_BOTH(ManyEndAtOnce)
{
    enum { THREADS = 4 };
    int n = test_scale(20000);
    long ended = 0;
    pthread_t threads[THREADS];
    weft_waitgroup wg = {0};
    weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background());
    make_vain();
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, wait_as_thread, ctx), 0);
    {
        weft_scoped_use(ctx);
        for (int i = 0; i < n; i++)
            weft_wg_go(&wg, wait_somehow, i % KINDS, &ended);
    }
    weft_sleep(5 * WEFT_MS);
    CHECK_EQ(__atomic_load_n(&ended, __ATOMIC_RELAXED), 0);
    weft_ctx_cancel(ctx);
    weft_wg_wait(&wg);
    CHECK_EQ(ended, n);
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    free_vain();
    weft_ctx_free(ctx);
}

TEST_MAIN()
