/* ctx.c — what Go's context package checks (context_test, x_test, afterfunc_test).

   Not here: TODO, InvalidDerivedFail, DeadlineExceededIsNetError, Allocs (they have no counterpart), the CustomContext tests
   (a weft_ctx is not for others to implement), WithValueChecksKey (every pointer is a key). */
#include "../workload.h"
#include <pthread.h>
#include <weft.h>

#include "../test.h"

#define SHORT (2 * WEFT_MS)
#define FOR_EVER (60 * WEFT_SECOND)

static void check_going_on(weft_ctx *ctx)
{
    CHECK_EQ(weft_ctx_err(ctx), 0);
    CHECK_EQ(weft_ctx_cause(ctx), 0);
    CHECK_EQ(weft_try_select([0] = weft_on_done(ctx)), -EAGAIN);
}

static void check_ended(weft_ctx *ctx, int err, int cause)
{
    CHECK_EQ(weft_try_select([0] = weft_on_done(ctx)), 0);
    CHECK_EQ(weft_ctx_err(ctx), err);
    CHECK_EQ(weft_ctx_cause(ctx), cause);
}

/* Gives the parent's reference up: the child keeps it. */
static weft_ctx *only(weft_ctx *child, weft_ctx *parent)
{
    CHECK(child);
    weft_ctx_free(parent);
    return child;
}

/* Waits for the end. */
static void await_end(weft_ctx *ctx, int err)
{
    CHECK_EQ(weft_select([0] = weft_on_done(ctx), [1] = weft_on_timeout(FOR_EVER)), 0);
    CHECK_EQ(weft_ctx_err(ctx), err);
}

/* ---- the basics ---- */

TEST_BOTH(Background)
{
    weft_ctx *background = weft_ctx_background();
    CHECK(background && background == weft_ctx_background() && background == weft_ctx_current());
    CHECK(weft_ctx_done(background) == NULL);
    CHECK_EQ(weft_ctx_err(background), 0);
    CHECK_EQ(weft_ctx_cause(background), 0);
    CHECK_EQ(weft_ctx_deadline(background), INT64_MAX);
    CHECK(weft_ctx_value(background, NULL) == NULL && weft_ctx_value(background, background) == NULL);
    CHECK(weft_ctx_ref(background) == background);
    weft_ctx_free(background);
    weft_ctx_free(background);
    weft_ctx_free(background);
}

TEST_BOTH(NullParents)
{
    int value;
    CHECK(!weft_ctx_with_cancel(NULL) && !weft_ctx_with_timeout(NULL, 1) && !weft_ctx_with_deadline(NULL, 1));
    CHECK(!weft_ctx_with_value(NULL, &value, &value) && !weft_ctx_without_cancel(NULL) && !weft_ctx_ref(NULL));
    weft_ctx_cancel(NULL);
    weft_ctx_cancel_cause(NULL, -EIO);
    weft_ctx_free(NULL);
    CHECK(!weft_ctx_unwatch(NULL));
}

TEST_BOTH(WithCancel)
{
    weft_ctx *a = weft_ctx_with_cancel(weft_ctx_background());
    CHECK_EQ(weft_ctx_deadline(a), INT64_MAX);
    check_going_on(a);
    weft_ctx_cancel(a);
    check_ended(a, -ECANCELED, -ECANCELED);
    weft_ctx_cancel_cause(a, -EIO); /* too late */
    check_ended(a, -ECANCELED, -ECANCELED);
    weft_ctx_free(a);
}

TEST_BOTH(ParentFinishesChild)
{
    char key;
    weft_ctx *parent = weft_ctx_with_cancel(weft_ctx_background());
    weft_ctx *cancel_child = weft_ctx_with_cancel(parent), *value_child = weft_ctx_with_value(parent, &key, &key);
    weft_ctx *timer_child = weft_ctx_with_timeout(value_child, FOR_EVER), *below = weft_ctx_with_cancel(value_child);
    weft_ctx *all[] = {parent, cancel_child, value_child, timer_child, below};
    for (int i = 0; i < 5; i++)
        check_going_on(all[i]);
    CHECK(weft_ctx_done(value_child) == weft_ctx_done(parent));
    weft_ctx_cancel(parent);
    for (int i = 0; i < 5; i++)
        check_ended(all[i], -ECANCELED, -ECANCELED);
    weft_ctx *late = weft_ctx_with_cancel(value_child); /* a child of an ended parent has ended */
    check_ended(late, -ECANCELED, -ECANCELED);
    weft_ctx_free(late);
    for (int i = 0; i < 5; i++)
        weft_ctx_free(all[i]);
}

TEST_BOTH(ChildFinishesFirst)
{
    weft_ctx *parents[] = {weft_ctx_background(), weft_ctx_with_cancel(weft_ctx_background())};
    for (int i = 0; i < 2; i++) {
        weft_ctx *child = weft_ctx_with_cancel(parents[i]), *sibling = weft_ctx_with_cancel(parents[i]);
        weft_ctx_cancel(child);
        check_ended(child, -ECANCELED, -ECANCELED);
        CHECK_EQ(weft_ctx_err(parents[i]), 0);
        check_going_on(sibling);
        if (i > 0)
            weft_ctx_cancel(parents[i]);
        check_ended(child, -ECANCELED, -ECANCELED);
        weft_ctx_free(child);
        weft_ctx_free(sibling);
        weft_ctx_free(parents[i]);
    }
}

/* ---- deadlines ---- */

TEST_BOTH(Deadline)
{
    int64_t start_ns = weft_now();
    weft_ctx *c = weft_ctx_with_deadline(weft_ctx_background(), start_ns + SHORT);
    CHECK_EQ(weft_ctx_deadline(c), start_ns + SHORT);
    await_end(c, -ETIMEDOUT);
    CHECK(weft_now() >= start_ns + SHORT);
    check_ended(c, -ETIMEDOUT, -ETIMEDOUT);
    weft_ctx_free(c);
    /* under a value, and under a later deadline */
    weft_ctx *value = weft_ctx_with_value(weft_ctx_background(), &start_ns, NULL);
    c = weft_ctx_with_deadline(value, weft_now() + SHORT);
    weft_ctx *later = weft_ctx_with_deadline(c, weft_now() + FOR_EVER);
    CHECK_EQ(weft_ctx_deadline(later), weft_ctx_deadline(c));
    await_end(later, -ETIMEDOUT);
    await_end(c, -ETIMEDOUT);
    weft_ctx_free(c);
    weft_ctx_free(later);
    weft_ctx_free(value);
    c = weft_ctx_with_deadline(weft_ctx_background(), weft_now() - 1); /* in the past */
    check_ended(c, -ETIMEDOUT, -ETIMEDOUT);
    weft_ctx_free(c);
    c = weft_ctx_with_deadline(weft_ctx_background(), INT64_MAX);
    check_going_on(c);
    weft_ctx_free(c);
}

TEST_BOTH(Timeout)
{
    int64_t start_ns = weft_now();
    weft_ctx *c = weft_ctx_with_timeout(weft_ctx_background(), SHORT);
    await_end(c, -ETIMEDOUT);
    CHECK(weft_now() >= start_ns + SHORT);
    weft_ctx_free(c);
    weft_ctx *outer = weft_ctx_with_timeout(weft_ctx_background(), SHORT), *inner = weft_ctx_with_timeout(outer, FOR_EVER);
    await_end(inner, -ETIMEDOUT);
    weft_ctx_free(outer);
    weft_ctx_free(inner);
    outer = weft_ctx_with_timeout(weft_ctx_background(), FOR_EVER);
    inner = weft_ctx_with_timeout(outer, SHORT);
    CHECK(weft_ctx_deadline(inner) < weft_ctx_deadline(outer));
    await_end(inner, -ETIMEDOUT);
    check_going_on(outer);
    weft_ctx_free(outer);
    weft_ctx_free(inner);
    static const int64_t at_once[] = {0, -1, INT64_MIN};
    for (int i = 0; i < 3; i++) {
        c = weft_ctx_with_timeout(weft_ctx_background(), at_once[i]);
        check_ended(c, -ETIMEDOUT, -ETIMEDOUT);
        weft_ctx_free(c);
    }
    for (int64_t ns = INT64_MAX; ns > INT64_MAX - 2; ns--) { /* never, without overflow */
        c = weft_ctx_with_timeout(weft_ctx_background(), ns);
        check_going_on(c);
        CHECK(weft_ctx_deadline(c) > weft_now());
        weft_ctx_cancel(c);
        weft_ctx_free(c);
    }
}

TEST_BOTH(CanceledTimeout)
{
    weft_ctx *outer = weft_ctx_with_timeout(weft_ctx_background(), FOR_EVER), *c;
    for (;;) {
        int64_t start_ns = weft_now();
        c = weft_ctx_with_timeout(outer, SHORT);
        weft_ctx_cancel(c);
        if (weft_now() - start_ns < SHORT)
            break;
        weft_ctx_free(c); /* the machine stood still, and the time came first */
    }
    check_ended(c, -ECANCELED, -ECANCELED);
    CHECK_EQ(weft_sleep(2 * SHORT), 0);
    check_ended(c, -ECANCELED, -ECANCELED);
    weft_ctx_cancel(outer);
    weft_ctx_free(c);
    weft_ctx_free(outer);
}

/* Nobody but its timer has a reference; its end reaches who waits for it. */
TEST_BOTH(TimeoutOutlivesItsReferences)
{
    weft_ctx *c = weft_ctx_with_timeout(weft_ctx_background(), SHORT);
    weft_ctx *child = weft_ctx_with_cancel(c);
    weft_ctx_free(c);
    await_end(child, -ETIMEDOUT);
    weft_ctx_free(child);
    for (int i = test_scale(1000); i > 0; i--)
        weft_ctx_free(weft_ctx_with_timeout(weft_ctx_background(), i % 7 * WEFT_US));
}

/* ---- values ---- */

static const char *value_of(weft_ctx *ctx, const void *key)
{
    const char *value = weft_ctx_value(ctx, key);
    return value ? value : "-";
}

static void check_values(weft_ctx *ctx, const char *keys, const char *a, const char *b, const char *c)
{
    CHECK(strcmp(value_of(ctx, &keys[0]), a) == 0);
    CHECK(strcmp(value_of(ctx, &keys[1]), b) == 0);
    CHECK(strcmp(value_of(ctx, &keys[2]), c) == 0);
    CHECK(weft_ctx_value(ctx, &keys[3]) == NULL);
}

TEST_BOTH(Values)
{
    char keys[4] = "abc", one[] = "1", two[] = "2", three[] = "3", four[] = "4";
    weft_ctx *c0 = weft_ctx_background(), *c1 = weft_ctx_with_value(c0, &keys[0], one),
             *c2 = weft_ctx_with_value(c1, &keys[1], two);
    weft_ctx *c3 = weft_ctx_with_value(c2, &keys[2], three), *c4 = weft_ctx_with_value(c3, &keys[0], NULL);
    weft_ctx *o0 = weft_ctx_with_cancel(c3), *o1 = weft_ctx_with_value(o0, &keys[0], four),
             *o2 = weft_ctx_without_cancel(o1);
    weft_ctx *o3 = weft_ctx_with_timeout(o2, FOR_EVER), *null_key = weft_ctx_with_value(o3, NULL, one);
    check_values(c0, keys, "-", "-", "-");
    check_values(c1, keys, "1", "-", "-");
    check_values(c2, keys, "1", "2", "-");
    check_values(c3, keys, "1", "2", "3");
    check_values(c4, keys, "-", "2", "3"); /* a NULL hides the one above */
    check_values(o0, keys, "1", "2", "3");
    check_values(o1, keys, "4", "2", "3");
    check_values(o2, keys, "4", "2", "3");
    check_values(o3, keys, "4", "2", "3");
    CHECK(weft_ctx_value(o3, NULL) == NULL && weft_ctx_value(null_key, NULL) == one);
    weft_ctx *all[] = {c1, c2, c3, c4, o0, o1, o2, o3};
    weft_ctx_cancel(o3);
    for (int i = 0; i < 8; i++)
        weft_ctx_free(all[i]);
    check_values(null_key, keys, "4", "2", "3"); /* what is below keeps what is above */
    weft_ctx_free(null_key);
}

/* ---- many at a time ---- */

static void check_end_as(weft_ctx *ctx, int err)
{
    await_end(ctx, err);
    weft_ctx_free(ctx);
}

TEST_BOTH(SimultaneousCancels)
{
    enum { N = 100 };
    weft_ctx *root = weft_ctx_with_cancel(weft_ctx_background()), *all[N];
    weft_waitgroup cancellers = {0}, waiters = {0};
    for (int i = 0; i < N; i++) /* a tree of two children each */
        all[i] = i == 0 ? root : weft_ctx_with_cancel(all[(i - 1) / 2]);
    for (int i = 0; i < N; i++)
        weft_wg_go(&waiters, check_end_as, weft_ctx_ref(all[i]), -ECANCELED);
    for (int i = 0; i < N; i++)
        weft_wg_go(&cancellers, weft_ctx_cancel, all[N - 1 - i]);
    weft_wg_wait(&cancellers);
    weft_wg_wait(&waiters);
    for (int i = 0; i < N; i++) {
        check_ended(all[i], -ECANCELED, -ECANCELED);
        weft_ctx_free(all[i]);
    }
}

static void wait_and_cancel(weft_ctx *wait_for, weft_ctx *cancel)
{
    await_end(wait_for, -ECANCELED);
    weft_ctx_cancel(cancel);
}

TEST_BOTH(InterlockedCancels)
{
    weft_ctx *parent = weft_ctx_with_cancel(weft_ctx_background()), *child = weft_ctx_with_cancel(parent);
    weft_ctx *other = weft_ctx_with_cancel(weft_ctx_background());
    weft_waitgroup wg = {0};
    weft_wg_go(&wg, wait_and_cancel, parent, other);
    weft_wg_go(&wg, wait_and_cancel, other, child);
    weft_ctx_cancel(parent);
    await_end(child, -ECANCELED);
    weft_wg_wait(&wg);
    weft_ctx_free(parent);
    weft_ctx_free(child);
    weft_ctx_free(other);
}

/* Layers of contexts of all kinds, at random; the end of one with an end of its own ends what is below it, and not what is
   above. */
static void check_layers(bool by_timeout, uint64_t *random)
{
    enum { MIN_LAYERS = 30 };
    static char keys[MIN_LAYERS * 20];
    weft_ctx *at = weft_ctx_background(), *made[MIN_LAYERS * 20];
    int n = 0, ends = 0, last_own = 0;
    while (ends < MIN_LAYERS && n < MIN_LAYERS * 20) {
        switch (test_random_from(random) % 3) {
        case 0:
            at = weft_ctx_with_value(at, &keys[n], &keys[n]);
            break;
        case 1:
            at = weft_ctx_with_cancel(at);
            last_own = n;
            ends++;
            break;
        default:
            at = weft_ctx_with_timeout(at, FOR_EVER + (int64_t)(test_random_from(random) % 1000) * WEFT_MS);
            last_own = n;
            ends++;
            break;
        }
        made[n++] = at;
    }
    for (int i = 0; i < n; i++) {
        void *value = weft_ctx_value(at, &keys[i]);
        CHECK(value == NULL || value == &keys[i]);
        CHECK_EQ(weft_ctx_err(made[i]), 0);
    }
    if (by_timeout) {
        weft_ctx *timed = weft_ctx_with_timeout(at, SHORT);
        await_end(timed, -ETIMEDOUT);
        weft_ctx_free(timed);
        check_going_on(at);
    }
    weft_ctx_cancel(made[last_own]);
    for (int i = 0; i < n; i++) {
        CHECK_EQ(weft_ctx_err(made[i]), i < last_own ? 0 : -ECANCELED);
        if (i % 2)
            weft_ctx_free(made[i]);
    }
    for (int i = 0; i < n; i += 2)
        weft_ctx_free(made[i]);
}

TEST_BOTH(LayersCancel)
{
    uint64_t random = test_random();
    for (int i = test_scale(100); i > 0; i--)
        check_layers(false, &random);
}

TEST_BOTH(LayersTimeout)
{
    uint64_t random = test_random();
    for (int i = test_scale(30); i > 0; i--)
        check_layers(true, &random);
}

/* What has ended or was freed is gone from its parent: the parent's end costs nothing for it, and touches nothing of it. */
TEST_BOTH(CancelRemoves)
{
    weft_ctx *parent = weft_ctx_with_cancel(weft_ctx_background()), *stays = weft_ctx_with_cancel(parent);
    for (int i = test_scale(50000); i > 0; i--) {
        weft_ctx *child = i % 2 ? weft_ctx_with_cancel(parent) : weft_ctx_with_timeout(parent, FOR_EVER);
        CHECK(child);
        if (i % 3 || i % 2 == 0)
            weft_ctx_cancel(child);
        weft_ctx_free(child);
    }
    check_going_on(stays);
    weft_ctx_cancel(parent);
    check_ended(stays, -ECANCELED, -ECANCELED);
    weft_ctx_free(stays);
    weft_ctx_free(parent);
}

TEST_BOTH(WithCancelCanceledParent)
{
    weft_ctx *parent = weft_ctx_with_cancel(weft_ctx_background());
    weft_ctx_cancel_cause(parent, -EIO);
    weft_ctx *children[] = {weft_ctx_with_cancel(parent), weft_ctx_with_timeout(parent, FOR_EVER),
                            weft_ctx_with_timeout(parent, -1)};
    for (int i = 0; i < 3; i++) {
        check_ended(children[i], -ECANCELED, -EIO);
        weft_ctx_free(children[i]);
    }
    weft_ctx_free(parent);
}

static void cancel_and_free(weft_ctx *ctx)
{
    weft_ctx_cancel_cause(ctx, -EIO);
    weft_ctx_free(ctx);
}

TEST_BOTH(WithCancelSimultaneouslyCanceledParent)
{
    for (int i = test_scale(3000); i > 0; i--) {
        weft_ctx *parent = weft_ctx_with_cancel(weft_ctx_background());
        weft_go(cancel_and_free, weft_ctx_ref(parent));
        if (i % 2)
            weft_yield();
        weft_ctx *child = i % 3 ? weft_ctx_with_cancel(parent) : weft_ctx_with_timeout(parent, FOR_EVER);
        await_end(child, -ECANCELED);
        CHECK_EQ(weft_ctx_cause(child), -EIO);
        weft_ctx_free(child);
        weft_ctx_free(parent);
    }
}

/* ---- causes ---- */

static weft_ctx *cancelled(weft_ctx *ctx, int cause)
{
    weft_ctx_cancel_cause(ctx, cause);
    return ctx;
}

TEST_BOTH(Cause)
{
    enum { PARENT = -EIO, CHILD = -EPROTO };
    char key;
    weft_ctx *background = weft_ctx_background(), *parent, *child;

    parent = weft_ctx_with_cancel(background);
    check_going_on(parent);
    check_ended(cancelled(parent, 0), -ECANCELED, -ECANCELED); /* no cause is the usual one */
    weft_ctx_free(parent);

    parent = weft_ctx_with_cancel(background); /* the parent's cause goes down, the child's does not go up */
    child = weft_ctx_with_cancel(parent);
    check_ended(cancelled(child, CHILD), -ECANCELED, CHILD);
    check_going_on(parent);
    check_ended(cancelled(parent, PARENT), -ECANCELED, PARENT);
    check_ended(child, -ECANCELED, CHILD); /* the first end counts */
    weft_ctx_free(child);
    weft_ctx_free(parent);

    parent = weft_ctx_with_cancel(background);
    child = weft_ctx_with_timeout(parent, FOR_EVER);
    child = only(weft_ctx_with_cancel(child), child);
    child = only(weft_ctx_with_value(child, &key, NULL), child);
    check_ended(cancelled(parent, PARENT), -ECANCELED, PARENT);
    check_ended(child, -ECANCELED, PARENT);
    weft_ctx_free(child);
    weft_ctx_free(parent);

    child = weft_ctx_with_timeout(background, 0);
    check_ended(cancelled(child, CHILD), -ETIMEDOUT, -ETIMEDOUT);
    weft_ctx_free(child);

    parent = weft_ctx_with_timeout(background, SHORT); /* a deadline's cause goes down too */
    child = weft_ctx_with_cancel(parent);
    await_end(child, -ETIMEDOUT);
    check_ended(child, -ETIMEDOUT, -ETIMEDOUT);
    weft_ctx_free(child);
    weft_ctx_free(parent);

    parent = weft_ctx_with_timeout(background, FOR_EVER);
    check_ended(cancelled(parent, PARENT), -ECANCELED, PARENT);
    weft_ctx_free(parent);
}

static void cancel_with(weft_ctx *ctx, int cause)
{
    weft_ctx_cancel_cause(ctx, cause);
    weft_ctx_free(ctx);
}

TEST_BOTH(CauseRace)
{
    for (int i = test_scale(1000); i > 0; i--) {
        weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background());
        weft_go(cancel_with, weft_ctx_ref(ctx), -EIO);
        weft_go(cancel_with, weft_ctx_ref(ctx), -EPROTO);
        int cause;
        while ((cause = weft_ctx_cause(ctx)) == 0)
            weft_yield();
        CHECK(cause == -EIO || cause == -EPROTO);
        CHECK_EQ(weft_ctx_err(ctx), -ECANCELED);
        CHECK_EQ(weft_ctx_cause(ctx), cause);
        weft_ctx_free(ctx);
    }
}

TEST_BOTH(WithoutCancel)
{
    char key, value;
    weft_ctx *timed = weft_ctx_with_timeout(weft_ctx_background(), 0);
    weft_ctx *parent = only(weft_ctx_with_value(timed, &key, &value), timed);
    weft_ctx *ctx = weft_ctx_without_cancel(parent), *below = weft_ctx_with_cancel(ctx);
    CHECK_EQ(weft_ctx_err(parent), -ETIMEDOUT);
    CHECK(weft_ctx_done(ctx) == NULL);
    CHECK_EQ(weft_ctx_err(ctx), 0);
    CHECK_EQ(weft_ctx_deadline(ctx), INT64_MAX);
    CHECK(weft_ctx_value(ctx, &key) == &value && weft_ctx_value(below, &key) == &value);
    check_going_on(below);
    weft_ctx_cancel(below);
    CHECK_EQ(weft_ctx_err(ctx), 0);
    weft_ctx_free(below);
    weft_ctx_free(ctx);
    weft_ctx_free(parent);
}

TEST_BOTH(WithoutCancelCause)
{
    weft_ctx *parent = cancelled(weft_ctx_with_cancel(weft_ctx_background()), -EIO), *ctx = weft_ctx_without_cancel(parent);
    CHECK_EQ(weft_ctx_cause(parent), -EIO);
    CHECK_EQ(weft_ctx_cause(ctx), 0);
    weft_ctx_free(ctx);
    weft_ctx_free(parent);
}

/* ---- after_func ---- */

static void tell(weft_chan(int) told)
{
    CHECK(weft_ctx_current() == weft_ctx_background());
    CHECK_EQ(weft_send(told, 1), 0);
}

static void check_told(weft_chan(int) told)
{
    CHECK_EQ(weft_select([0] = weft_on_recv(told, NULL), [1] = weft_on_timeout(FOR_EVER)), 0);
}

static void check_not_told(weft_chan(int) told)
{
    CHECK_EQ(weft_select([0] = weft_on_recv(told, NULL), [1] = weft_on_timeout(SHORT)), 1);
}

TEST_BOTH(AfterFuncCalledAfterCancel)
{
    char key;
    weft_chan(int) told = weft_chan_make(int, 1);
    weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background()), *value = weft_ctx_with_value(ctx, &key, NULL);
    weft_ctx_watch *watches[] = {weft_ctx_after_func(ctx, tell, told), weft_ctx_after_func(value, tell, told)};
    check_not_told(told);
    weft_scoped_use(ctx); /* the call runs in background all the same */
    weft_ctx_cancel(ctx);
    weft_scoped_shield();
    check_told(told);
    check_told(told);
    CHECK(!weft_ctx_unwatch(watches[0]) && !weft_ctx_unwatch(watches[1]));
    weft_ctx_free(ctx);
    weft_ctx_free(value);
    weft_chan_free(told);
}

TEST_BOTH(AfterFuncCalledAfterTimeout)
{
    weft_chan(int) told = weft_chan_make(int, 1);
    weft_ctx *ctx = weft_ctx_with_timeout(weft_ctx_background(), SHORT);
    weft_ctx_watch *watch = weft_ctx_after_func(ctx, tell, told);
    weft_ctx_free(ctx);
    check_told(told);
    CHECK(!weft_ctx_unwatch(watch));
    weft_chan_free(told);
}

TEST_BOTH(AfterFuncCalledImmediately)
{
    weft_chan(int) told = weft_chan_make(int, 1);
    weft_ctx *ctx = cancelled(weft_ctx_with_cancel(weft_ctx_background()), -EIO);
    weft_ctx_watch *watch = weft_ctx_after_func(ctx, tell, told);
    check_told(told);
    CHECK(!weft_ctx_unwatch(watch));
    weft_ctx_free(ctx);
    weft_chan_free(told);
}

TEST_BOTH(AfterFuncNotCalledAfterStop)
{
    weft_chan(int) told = weft_chan_make(int, 1);
    weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background());
    weft_ctx_watch *watch = weft_ctx_after_func(ctx, tell, told), *other = weft_ctx_after_func(ctx, tell, told);
    CHECK(weft_ctx_unwatch(watch));
    weft_ctx_cancel(ctx);
    check_told(told); /* the other's */
    check_not_told(told);
    CHECK(!weft_ctx_unwatch(other));
    weft_ctx_free(ctx);
    CHECK(weft_ctx_unwatch(weft_ctx_after_func(weft_ctx_background(), tell, told))); /* which never comes */
    weft_chan_free(told);
}

/* The call may block for as long as it likes: cancel does not wait for it. */
TEST_BOTH(AfterFuncCalledAsynchronously)
{
    weft_chan(int) told = weft_chan_make(int, 0);
    weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background());
    weft_ctx_watch *watch = weft_ctx_after_func(ctx, tell, told);
    weft_ctx_cancel(ctx);
    CHECK(!weft_ctx_unwatch(watch));
    check_told(told);
    weft_ctx_free(ctx);
    weft_chan_free(told);
}

static void count_one(int *count)
{
    __atomic_fetch_add(count, 1, __ATOMIC_RELEASE);
}

/* Each is either stopped or called, never both and never neither. */
TEST_BOTH(AfterFuncStopRace)
{
    enum { WATCHES = 8 };
    int called = 0, expected = 0;
    for (int i = test_scale(1000); i > 0; i--) {
        weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background());
        weft_ctx_watch *watches[WATCHES];
        for (int k = 0; k < WATCHES; k++)
            watches[k] = weft_ctx_after_func(ctx, count_one, &called);
        weft_go(cancel_and_free, ctx); /* the watches keep it */
        if (i % 2)
            weft_yield();
        for (int k = 0; k < WATCHES; k++)
            expected += !weft_ctx_unwatch(watches[k]);
    }
    while (__atomic_load_n(&called, __ATOMIC_ACQUIRE) < expected)
        weft_sleep(WEFT_MS);
    weft_sleep(SHORT);
    CHECK_EQ(__atomic_load_n(&called, __ATOMIC_ACQUIRE), expected);
}

TEST_MAIN()
