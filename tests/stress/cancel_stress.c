/* cancel_stress.c — the end of contexts against everything else that may happen to a wait at the same moment: a value, a
   timeout, a close, a release; and against those that enter and leave contexts, make and free them. What is counted: every
   value that was sent is received once, every unit of a semaphore comes back, every watch is called or stopped. That no
   wake-up is lost shows in that the tests end. */
#include "../workload.h"
#include <pthread.h>
#include <weft.h>

#include "../test.h"

#define FOR_EVER (600 * WEFT_SECOND)

enum { GOROUTINES = 96, THREADS = 4, ACTORS = GOROUTINES + THREADS };

typedef weft_chan(uint64_t) number_chan;

/* Runs fn(arena, i) for every actor, the last of them on threads of their own. */
struct cast {
    void (*fn)(void *arena, int i);
    void *arena;
    int i;
};

static void act(struct cast *cast)
{
    cast->fn(cast->arena, cast->i);
}

static void *act_as_thread(void *cast)
{
    act(cast);
    return NULL;
}

static void run_all(void (*fn)(void *arena, int i), void *arena)
{
    struct cast casts[ACTORS];
    pthread_t threads[THREADS];
    weft_waitgroup wg = {0};
    for (int i = 0; i < ACTORS; i++) {
        casts[i] = (struct cast){fn, arena, i};
        if (i < GOROUTINES)
            weft_wg_go(&wg, act, &casts[i]);
        else
            CHECK_EQ(pthread_create(&threads[i - GOROUTINES], NULL, act_as_thread, &casts[i]), 0);
    }
    weft_wg_wait(&wg);
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
}

/* ---- the contexts that actors show to the cancellers ---- */

struct show {
    weft_mutex mutex;
    weft_ctx *ctx; /* [mutex] without a reference */
};

static void show(struct show *place, weft_ctx *ctx)
{
    weft_scoped_lock(&place->mutex);
    place->ctx = ctx;
}

static weft_ctx *look(struct show *place)
{
    weft_scoped_lock(&place->mutex);
    return weft_ctx_ref(place->ctx);
}

struct cancellers {
    struct show shows[ACTORS];
    int stop; /* [atomic] */
    weft_waitgroup wg;
};

static void keep_cancelling(struct cancellers *c)
{
    uint64_t random = test_random();
    while (!__atomic_load_n(&c->stop, __ATOMIC_RELAXED)) {
        uint64_t r = test_random_from(&random);
        weft_ctx *ctx = look(&c->shows[r % ACTORS]);
        weft_ctx_cancel(ctx);
        weft_ctx_free(ctx);
        if ((r >> 20) % 4 == 0)
            CHECK_EQ(weft_sleep((int64_t)((r >> 32) % 20) * WEFT_US), 0);
    }
}

static void start_cancellers(struct cancellers *c)
{
    for (int i = 0; i < 3; i++)
        weft_wg_go(&c->wg, keep_cancelling, c);
}

static void stop_cancellers(struct cancellers *c)
{
    __atomic_store_n(&c->stop, 1, __ATOMIC_RELAXED);
    weft_wg_wait(&c->wg);
}

/* A context that somebody will end, or time will, or both at once; now and then inside of others. */
static weft_ctx *make_ctx(uint64_t r)
{
    weft_ctx *parent = weft_ctx_background(), *ctx;
    if (r % 4 == 0)
        parent = weft_ctx_with_timeout(parent, (int64_t)((r >> 8) % 60) * WEFT_US);
    else if (r % 4 == 1)
        parent = weft_ctx_with_value(parent, &r, NULL);
    if ((r >> 2) % 2)
        ctx = weft_ctx_with_timeout(parent, (int64_t)((r >> 16) % 60) * WEFT_US);
    else
        ctx = weft_ctx_with_cancel(parent);
    CHECK(ctx);
    weft_ctx_free(parent);
    return ctx;
}

/* ---- values, units and ends ---- */

struct arena {
    struct cancellers cancellers;
    number_chan channels[3];
    weft_sem sem;
    weft_mutex mutex;
    weft_cond cond;
    int rounds;                                      /* [const] */
    int running;                                     /* [atomic] actors */
    uint64_t next;                                   /* [atomic] */
    uint64_t sent_n, sent, received_n, received;     /* [atomic] counts and sums */
    uint64_t completed, cancelled, timed_out, units; /* [atomic] */
};

static void add(uint64_t *sum, uint64_t n)
{
    __atomic_fetch_add(sum, n, __ATOMIC_RELAXED);
}

static void book(uint64_t *count, uint64_t *sum, uint64_t value)
{
    add(count, 1);
    add(sum, value);
}

static int select_something(struct arena *a, uint64_t r)
{
    uint64_t offer = __atomic_add_fetch(&a->next, 1, __ATOMIC_RELAXED), got = 0;
    bool ok = false;
    int result =
        weft_select([0] = weft_on_send(a->channels[r % 3], offer), [1] = weft_on_recv(a->channels[(r >> 4) % 3], &got, &ok),
                    [2] = weft_on_timeout((int64_t)((r >> 8) % 100) * WEFT_US));
    CHECK(ok == (result == 1));
    if (result == 0)
        book(&a->sent_n, &a->sent, offer);
    if (result == 1)
        book(&a->received_n, &a->received, got);
    return result > 0 ? 0 : result;
}

static int use_units(struct arena *a, uint64_t r)
{
    int64_t n = 1 + (int64_t)(r % 3);
    int error = weft_sem_acquire(&a->sem, n);
    if (error)
        return error;
    uint64_t used = __atomic_add_fetch(&a->units, (uint64_t)n, __ATOMIC_RELAXED);
    CHECK(used <= 3);
    if (r >> 8 & 1)
        weft_yield();
    __atomic_sub_fetch(&a->units, (uint64_t)n, __ATOMIC_RELAXED);
    weft_sem_release(&a->sem, n);
    return 0;
}

static int wait_for_signal(struct arena *a, uint64_t r)
{
    weft_scoped_lock(&a->mutex);
    if (r % 4 == 0)
        weft_cond_signal(&a->cond);
    return weft_cond_wait(&a->cond, &a->mutex);
}

static int do_something(struct arena *a, uint64_t r)
{
    number_chan c = a->channels[(r >> 8) % 3];
    uint64_t value = __atomic_add_fetch(&a->next, 1, __ATOMIC_RELAXED);
    int error = 0;
    switch (r % 8) {
    case 0:
    case 1:
        if ((error = weft_send(c, value)) == 0)
            book(&a->sent_n, &a->sent, value);
        return error;
    case 2:
    case 3:
        if ((error = weft_recv_status(c, &value)) == 0)
            book(&a->received_n, &a->received, value);
        return error;
    case 4:
    case 5:
        return select_something(a, r >> 16);
    case 6:
        return use_units(a, r >> 16);
    default:
        return r >> 16 & 1 ? weft_sleep((int64_t)((r >> 20) % 50) * WEFT_US) : wait_for_signal(a, r >> 20);
    }
}

/* One wait after another, each in a context of its own, and now and then in one inside. */
static void live(void *arena, int i)
{
    struct arena *a = arena;
    uint64_t random = test_random(), results[3] = {0};
    for (int round = 0; round < a->rounds; round++) {
        uint64_t r = test_random_from(&random);
        weft_ctx *ctx = make_ctx(r);
        show(&a->cancellers.shows[i], ctx);
        int error;
        {
            weft_scoped_use(ctx);
            if (r >> 40 & 1) {
                weft_ctx *inner = weft_ctx_with_cancel(ctx);
                weft_scoped_ctx(inner);
                weft_scoped_use(inner);
                error = do_something(a, test_random_from(&random));
            } else {
                error = do_something(a, test_random_from(&random));
            }
            CHECK(error == 0 || error == -ECANCELED || error == -ETIMEDOUT);
            CHECK(error == 0 || error == weft_ctx_err(ctx));
        }
        results[error == 0 ? 0 : error == -ECANCELED ? 1 : 2]++;
        show(&a->cancellers.shows[i], NULL);
        weft_ctx_free(ctx);
    }
    add(&a->completed, results[0]);
    add(&a->cancelled, results[1]);
    add(&a->timed_out, results[2]);
}

TEST(EveryEndAtOnce)
{
    struct arena a = {.sem = WEFT_SEM(3), .rounds = test_scale(2000)};
    for (size_t i = 0; i < 3; i++)
        a.channels[i] = weft_chan_make(uint64_t, i);
    start_cancellers(&a.cancellers);
    run_all(live, &a);
    stop_cancellers(&a.cancellers);
    for (int i = 0; i < 3; i++) {
        for (uint64_t left; weft_try_recv(a.channels[i], &left) == 0;)
            book(&a.received_n, &a.received, left);
        CHECK_EQ(weft_try_send(a.channels[i], 0), i == 0 ? -EAGAIN : 0); /* nobody is left in a queue */
        weft_chan_free(a.channels[i]);
    }
    CHECK_EQ(a.received_n, a.sent_n);
    CHECK_EQ(a.received, a.sent);
    CHECK(weft_sem_try_acquire(&a.sem, 3));
    CHECK_EQ(a.completed + a.cancelled + a.timed_out, (uint64_t)a.rounds * ACTORS);
}

/* ---- one waiter, one value, one end: exactly one of the two comes first ---- */

struct duel {
    number_chan c;
    weft_ctx *ctx;
    int taken; /* [atomic] */
    int start; /* [atomic] */
};

static void wait_for_start(struct duel *d, uint64_t spins)
{
    while (!__atomic_load_n(&d->start, __ATOMIC_ACQUIRE))
        weft_yield();
    for (volatile uint64_t i = 0; i < spins; i++)
        ;
}

static void give(struct duel *d, uint64_t spins)
{
    wait_for_start(d, spins);
    if (weft_try_send(d->c, 1) == 0)
        __atomic_store_n(&d->taken, 1, __ATOMIC_RELAXED);
}

static void end(struct duel *d, uint64_t spins)
{
    wait_for_start(d, spins);
    weft_ctx_cancel(d->ctx);
}

static int take(struct duel *d, uint64_t r)
{
    uint64_t value = 0;
    weft_scoped_use(d->ctx);
    __atomic_store_n(&d->start, 1, __ATOMIC_RELEASE);
    int result = r % 2 ? weft_recv_status(d->c, &value)
                       : weft_select([0] = weft_on_recv(d->c, &value), [1] = weft_on_timeout((int64_t)(r % 50) * WEFT_US));
    CHECK(result == 0 || result == 1 || result == -ECANCELED || result == -ETIMEDOUT);
    CHECK_EQ(value, result == 0);
    return result;
}

static void fight(void *rounds, int i)
{
    uint64_t random = test_random();
    (void)i;
    for (int round = 0; round < *(int *)rounds; round++) {
        uint64_t r = test_random_from(&random);
        int64_t timeout_ns = r % 3 ? FOR_EVER : (int64_t)((r >> 8) % 20) * WEFT_US;
        struct duel d = {weft_chan_make(uint64_t, 0), weft_ctx_with_timeout(weft_ctx_background(), timeout_ns), 0, 0};
        weft_waitgroup wg = {0};
        weft_wg_go(&wg, give, &d, (r >> 16) % 300);
        weft_wg_go(&wg, end, &d, (r >> 32) % 300);
        int result = take(&d, r >> 48);
        weft_wg_wait(&wg);
        CHECK_EQ(d.taken, result == 0);
        weft_chan_free(d.c);
        weft_ctx_free(d.ctx);
    }
}

TEST(ValueAgainstEnd)
{
    int rounds = test_scale(600);
    run_all(fight, &rounds);
}

/* ---- entering and leaving while the context ends ---- */

struct rooms {
    struct cancellers cancellers; /* of the contexts in the first ROOMS shows, which are replaced when they ended */
    int rounds;
};
enum { ROOMS = 2 };

static void visit(struct rooms *rooms, uint64_t *random, int depth)
{
    uint64_t r = test_random_from(random);
    struct show *place = &rooms->cancellers.shows[r % ROOMS];
    weft_ctx *ctx = look(place), *outer = weft_ctx_current();
    weft_scoped_use(ctx);
    weft_ctx_free(ctx); /* the scope has a reference */
    if (depth > 0 && (r >> 8) % 2)
        visit(rooms, random, depth - 1);
    if ((r >> 9) % 4 == 0)
        CHECK_EQ(weft_sleep(FOR_EVER), -ECANCELED); /* lost when the end misses us */
    else if ((r >> 9) % 4 == 1) {
        weft_scoped_shield();
        CHECK_EQ(weft_sleep((int64_t)((r >> 16) % 10) * WEFT_US), 0);
        if (depth > 0)
            visit(rooms, random, depth - 1);
    }
    CHECK(weft_ctx_current() == ctx);
    CHECK(outer != NULL);
    if (weft_ctx_err(ctx) == 0)
        return;
    weft_scoped_lock(&place->mutex);
    if (place->ctx == ctx) {
        place->ctx = weft_ctx_with_cancel(weft_ctx_background());
        weft_ctx_free(ctx); /* the place's */
    }
}

static void come_and_go(void *arena, int i)
{
    struct rooms *rooms = arena;
    uint64_t random = test_random();
    (void)i;
    for (int round = 0; round < rooms->rounds; round++)
        visit(rooms, &random, 3);
    CHECK(weft_ctx_current() == weft_ctx_background());
}

TEST(EnterAndLeaveWhileItEnds)
{
    struct rooms rooms = {.rounds = test_scale(600)};
    for (int i = 0; i < ROOMS; i++)
        rooms.cancellers.shows[i].ctx = weft_ctx_with_cancel(weft_ctx_background());
    start_cancellers(&rooms.cancellers);
    run_all(come_and_go, &rooms);
    stop_cancellers(&rooms.cancellers);
    for (int i = 0; i < ROOMS; i++)
        weft_ctx_free(rooms.cancellers.shows[i].ctx);
}

/* ---- a tree that grows and ends everywhere at once ---- */

enum { NODES = 64 };

struct forest {
    struct show nodes[NODES]; /* with references */
    int rounds;
    uint64_t called, expected; /* [atomic] watches */
};

static void count_call(uint64_t *called)
{
    __atomic_fetch_add(called, 1, __ATOMIC_RELEASE);
}

/* Puts ctx, a reference of which it takes, in the place of another. */
static void plant(struct show *place, weft_ctx *ctx)
{
    weft_ctx *old;
    {
        weft_scoped_lock(&place->mutex);
        old = place->ctx;
        place->ctx = ctx;
    }
    weft_ctx_free(old);
}

static weft_ctx *grow(weft_ctx *parent, uint64_t r)
{
    switch (r % 8) {
    case 0:
        return weft_ctx_with_value(parent, &r, NULL);
    case 1:
        return weft_ctx_with_timeout(parent, (int64_t)((r >> 8) % 300) * WEFT_US);
    case 2:
        return weft_ctx_with_timeout(parent, FOR_EVER);
    default:
        return weft_ctx_with_cancel(parent);
    }
}

static void garden(void *arena, int i)
{
    struct forest *forest = arena;
    uint64_t random = test_random(), expected = 0;
    (void)i;
    for (int round = 0; round < forest->rounds; round++) {
        uint64_t r = test_random_from(&random);
        weft_ctx *parent = look(&forest->nodes[r % NODES]);
        if (!parent || (r >> 20) % 16 == 0) {
            weft_ctx_free(parent);
            parent = weft_ctx_background();
        }
        weft_ctx *ctx = grow(parent, r >> 24);
        CHECK(ctx);
        weft_ctx_watch *watch = weft_ctx_after_func(ctx, count_call, &forest->called);
        bool own = (r >> 24) % 8 != 0;
        if (own && (r >> 48) % 8 == 0) {
            weft_ctx_cancel(ctx);
            CHECK(weft_ctx_err(ctx) != 0);
        }
        int err = weft_ctx_err(ctx);
        weft_ctx *below = weft_ctx_with_cancel(ctx);
        CHECK(err == 0 || weft_ctx_err(below) == err); /* what begins under an end has ended */
        weft_ctx_free(below);
        plant(&forest->nodes[(r >> 8) % NODES], weft_ctx_ref(ctx));
        if ((r >> 56) % 4 == 0)
            weft_yield();
        expected += !weft_ctx_unwatch(watch);
        weft_ctx_free(ctx);
        weft_ctx_free(parent);
    }
    add(&forest->expected, expected);
}

TEST(TreeGrowsAndEndsEverywhere)
{
    struct forest forest = {.rounds = test_scale(2000)};
    run_all(garden, &forest);
    for (int i = 0; i < NODES; i++)
        plant(&forest.nodes[i], NULL);
    while (__atomic_load_n(&forest.called, __ATOMIC_ACQUIRE) < forest.expected)
        weft_sleep(WEFT_MS);
    weft_sleep(2 * WEFT_MS);
    CHECK_EQ(__atomic_load_n(&forest.called, __ATOMIC_ACQUIRE), forest.expected);
}

/* ---- children that are freed, or end, while their parent ends ---- */

static void drop(weft_ctx *child, int cancel)
{
    if (cancel)
        weft_ctx_cancel(child);
    weft_ctx_free(child);
}

static void orphan(void *rounds, int i)
{
    enum { CHILDREN = 3 };
    (void)i;
    for (int round = 0; round < *(int *)rounds; round++) {
        weft_ctx *parent = weft_ctx_with_cancel(weft_ctx_background()), *children[CHILDREN];
        weft_waitgroup wg = {0};
        for (int k = 0; k < CHILDREN; k++)
            children[k] = weft_ctx_with_cancel(parent);
        weft_wg_go(&wg, drop, children[0], 0);
        weft_wg_go(&wg, drop, children[1], round % 2 == 0);
        if (round % 3 == 0)
            weft_yield();
        weft_ctx_cancel(parent);
        CHECK_EQ(weft_ctx_err(children[2]), -ECANCELED);
        weft_ctx_free(children[2]);
        weft_ctx_free(parent);
        weft_wg_wait(&wg);
    }
}

TEST(ChildrenFreedWhileTheirParentEnds)
{
    int rounds = test_scale(1000);
    run_all(orphan, &rounds);
}

TEST_MAIN()
