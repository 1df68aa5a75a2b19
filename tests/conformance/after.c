/* after.c — weft_after_func and weft_after: what Go's sleep_test.go checks, under its names, and what is weft's own. Nothing
   may ever come early; how late it may come is generous, for the machine may be busy. */
#include "timers.h"

typedef weft_chan(int) int_chan;

static void signal_int(int_chan c, int value)
{
    CHECK_EQ(weft_send(c, value), 0);
}

/* ---- weft_after_func ---- */

static void count_down(_Atomic int *left, int_chan done)
{
    if (atomic_fetch_sub(left, 1) == 1) {
        signal_int(done, 1);
        return;
    }
    weft_timer_free(weft_after_func(0, count_down, left, done));
    weft_sleep(WEFT_US); /* it is a goroutine like any other */
}

TEST_BOTH(AfterFunc)
{
    _Atomic int left = 10;
    int_chan done = weft_chan_make(int, 0);
    weft_timer_free(weft_after_func(0, count_down, &left, done));
    CHECK(weft_recv(done, NULL));
    CHECK_EQ(atomic_load(&left), 0);
    weft_chan_free(done);
}

static void ping_pong(_Atomic bool *stop, int_chan in, int_chan out)
{
    for (int v; !atomic_load(stop) && weft_recv(in, &v);)
        if (weft_send(out, v + 1) != 0)
            break;
    weft_close(out);
}

static void set(_Atomic bool *flag)
{
    atomic_store(flag, true);
}

/* Two goroutines that hand each other the worker for ever must not keep a timer from firing. */
TEST_BOTH(AfterFuncStarvation)
{
    _Atomic bool stop = false;
    int_chan a = weft_chan_make(int, 1), b = weft_chan_make(int, 1);
    weft_waitgroup wg = {0};
    CHECK_EQ(weft_send(a, 0), 0);
    weft_wg_go(&wg, ping_pong, &stop, a, b);
    weft_wg_go(&wg, ping_pong, &stop, b, a);
    int64_t start_ns = clock_ns();
    weft_timer *timer = weft_after_func(WEFT_MS, set, &stop);
    weft_wg_wait(&wg);
    CHECK(clock_ns() - start_ns >= WEFT_MS);
    CHECK(clock_ns() - start_ns < LATE);
    weft_timer_free(timer);
    weft_chan_free(a);
    weft_chan_free(b);
}

static const char key_of_test;

static void note_value(int *value, int_chan done)
{
    *value = weft_ctx_value(weft_ctx_current(), &key_of_test) == value;
    weft_send(done, 1);
}

/* Weft's own: the goroutine runs in the context of who made the timer, also after a reset elsewhere. */
TEST_BOTH(AfterFuncContext)
{
    int_chan done = weft_chan_make(int, 0);
    int value = 0;
    weft_timer *timer;
    weft_ctx *ctx = weft_ctx_with_value(weft_ctx_background(), &key_of_test, &value);
    {
        weft_scoped_use(ctx);
        timer = weft_after_func(WEFT_MS, note_value, &value, done);
    }
    weft_ctx_free(ctx);
    for (int i = 0; i < 2; i++) {
        CHECK(weft_recv(done, NULL));
        CHECK_EQ(value, 1);
        value = 0;
        CHECK(!weft_timer_reset(timer, i == 0 ? 0 : WEFT_MINUTE));
    }
    CHECK(weft_timer_stop(timer));
    weft_timer_free(timer);
    weft_chan_free(done);
}

/* Weft's own: a handle may be freed at once; the function is called all the same. Not when it was stopped before. */
TEST_BOTH(AfterFuncFree)
{
    int n = test_scale(1000);
    _Atomic int calls = 0, stopped_calls = 0;
    for (int i = 0; i < n; i++) {
        weft_timer_free(weft_after_func((int64_t)(test_random() % 1000) * WEFT_US, bump, &calls));
        weft_timer *timer = weft_after_func(WEFT_MINUTE, bump, &stopped_calls);
        CHECK(weft_timer_stop(timer));
        weft_timer_free(timer);
    }
    wait_for_count(&calls, n);
    CHECK_EQ(atomic_load(&stopped_calls), 0);
    weft_timer_free(NULL);
    weft_ticker_free(NULL);
}

/* ---- weft_after ---- */

TEST_BOTH(After)
{
    for (int64_t ns = 1; ns < 30 * WEFT_MS; ns *= 7) {
        int64_t start_ns = weft_now();
        time_chan c = weft_after(ns);
        receive_after(c, start_ns + ns);
        check_empty(c);
        weft_chan_free(c);
    }
}

TEST_BOTH(AfterTick)
{
    enum { COUNT = 10 };
    int64_t start_ns = weft_now();
    for (int i = 0; i < COUNT; i++) {
        time_chan c = weft_after(5 * WEFT_MS);
        receive_after(c, start_ns + (i + 1) * 5 * WEFT_MS);
        weft_chan_free(c);
    }
}

/* False when the machine was too busy to stop them in time. */
static bool stop_in_time(int64_t ns)
{
    _Atomic int calls = 0;
    weft_timer *first = weft_timer_make(ns), *second = weft_after_func(ns, bump, &calls);
    time_chan last = weft_after(2 * ns);
    bool stopped_first = weft_timer_stop(first), stopped_second = weft_timer_stop(second);
    CHECK(weft_recv(last, NULL));
    weft_sleep(10 * WEFT_MS);
    check_empty(weft_timer_chan(first));
    wait_for_count(&calls, stopped_second ? 0 : 1);
    CHECK(!weft_timer_stop(first));
    CHECK(!weft_timer_stop(second));
    weft_timer_free(first);
    weft_timer_free(second);
    weft_chan_free(last);
    return stopped_first && stopped_second;
}

TEST_BOTH(AfterStop)
{
    for (int64_t ns = 50 * WEFT_MS; !stop_in_time(ns); ns *= 2)
        CHECK(ns < 10 * WEFT_SECOND);
}

/* Weft's own: freeing the channel stops its timer, and leaves nothing behind. */
TEST_BOTH(AfterFree)
{
    for (int i = 0; i < test_scale(2000); i++) {
        time_chan c = weft_after(i % 3 == 0 ? BIG : (int64_t)(test_random() % 20) * WEFT_US), other = NULL;
        CHECK(c);
        if (i % 5 == 0)
            other = weft_chan_ref(c);
        weft_chan_free(c);
        if (other && i % 3 != 0)
            CHECK(weft_recv(other, NULL)); /* the timer goes on for the last who has it */
        weft_chan_free(other);
    }
}

static void await(time_chan c, int64_t *at_ns, weft_waitgroup *wg)
{
    CHECK(weft_recv(c, at_ns));
    weft_wg_done(wg);
}

/* Timers fire in the order of their deadlines, whatever the order that they were made in. Judged by when each was due and
   sent, because each goroutine may be held up on its way. */
TEST_BOTH(AfterQueuing)
{
    static const int slots[] = {5, 3, 6, 6, 6, 1, 1, 2, 7, 9, 4, 8, 0};
    enum { N = sizeof slots / sizeof *slots };
    time_chan chans[N];
    int64_t at_ns[N];
    for (int i = 0; i < N; i++)
        chans[i] = weft_after(slots[i] * 10 * WEFT_MS);
    for (int i = 0; i < N; i++)
        CHECK(weft_recv(chans[i], &at_ns[i]));
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N && weft_procs() == 1; j++)
            CHECK(slots[i] >= slots[j] || at_ns[i] <= at_ns[j]);
    for (int i = 0; i < N; i++)
        weft_chan_free(chans[i]);
    weft_waitgroup wg = {0};
    weft_wg_add(&wg, 3);
    for (int i = 0; i < 3; i++)
        weft_go(await, chans[i] = weft_after((3 - i) * 50 * WEFT_MS), &at_ns[i], &wg);
    weft_wg_wait(&wg);
    CHECK(weft_procs() > 1 || (at_ns[2] <= at_ns[1] && at_ns[1] <= at_ns[0]));
    for (int i = 0; i < 3; i++)
        weft_chan_free(chans[i]);
}

/* The time that is received is when the timer fired, not when somebody looked. */
TEST_BOTH(AfterTimes)
{
    for (int i = 0; i < 5; i++) {
        int64_t start_ns = weft_now(), at_ns;
        time_chan c = weft_after(10 * WEFT_MS);
        weft_sleep(500 * WEFT_MS);
        CHECK(weft_recv(c, &at_ns));
        CHECK(at_ns - start_ns >= 10 * WEFT_MS);
        weft_chan_free(c);
        if (at_ns - start_ns < 400 * WEFT_MS)
            return;
    }
    CHECK(!"the time of the receive was received");
}

TEST_BOTH(AfterStress)
{
    int n = test_scale(500);
    _Atomic bool stop = false;
    weft_waitgroup wg = {0};
    weft_wg_go(&wg, churn, INT32_MAX, &stop);
    time_chan c = weft_after(0);
    for (int i = 0; i < n; i++) {
        CHECK(weft_recv(c, NULL));
        weft_chan_free(c);
        c = weft_after(WEFT_US);
    }
    weft_chan_free(c);
    atomic_store(&stop, true);
    weft_wg_wait(&wg);
}

TEST_MAIN()
