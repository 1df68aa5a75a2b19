/* timer.c — weft_timer: what Go's sleep_test.go and tick_test.go check, under their names, and what is weft's own. Nothing
   may ever come early; how late it may come is generous, for the machine may be busy. */
#include "timers.h"

/* ---- stop and reset ---- */

static void stop_in_time(_Atomic int *wrong)
{
    weft_timer *timer = weft_after_func(20 * WEFT_SECOND, bump, wrong);
    weft_sleep(100 * WEFT_MS);
    CHECK(weft_timer_stop(timer));
    weft_timer_free(timer);
}

TEST_BOTH(TimerStopStress)
{
    _Atomic int wrong = 0;
    weft_waitgroup wg = {0};
    for (int i = 0; i < test_scale(100); i++)
        weft_wg_go(&wg, stop_in_time, &wrong);
    weft_wg_wait(&wg);
    CHECK_EQ(atomic_load(&wrong), 0);
}

static void make_and_stop(int times, int64_t ns)
{
    for (int i = 0; i < times; i++) {
        weft_timer *timer = weft_timer_make(ns);
        weft_sleep(ns);
        weft_timer_stop(timer);
        check_empty(weft_timer_chan(timer));
        weft_timer_free(timer);
    }
}

TEST_BOTH(SleepZeroDeadlock)
{
    weft_waitgroup wg = {0};
    weft_wg_go(&wg, make_and_stop, test_scale(1000), 1);
    weft_wg_go(&wg, make_and_stop, test_scale(1000), 0);
    for (int i = 0; i < test_scale(1000); i++)
        weft_sleep(1);
    weft_wg_wait(&wg);
}

/* True when time stood still enough for the test to judge. */
static bool reset_once(int64_t d)
{
    weft_timer *timer = weft_timer_make(2 * d);
    time_chan c = weft_timer_chan(timer);
    bool judged = false;
    weft_sleep(d);
    int64_t before_ns = weft_now();
    bool pending = weft_timer_reset(timer, 3 * d);
    if (pending) {
        weft_sleep(2 * d);
        bool fired = weft_try_recv(c, NULL) == 0;
        CHECK(!fired || weft_now() - before_ns >= 3 * d);
        if (!fired) {
            receive_after(c, before_ns + 3 * d);
            CHECK(!weft_timer_reset(timer, d));
            receive_after(c, before_ns + 4 * d);
            judged = true;
        }
    }
    weft_timer_free(timer);
    return judged;
}

TEST_BOTH(Reset)
{
    int64_t d = 10 * WEFT_MS;
    while (!reset_once(d)) {
        d *= 2;
        CHECK(d < 10 * WEFT_SECOND);
    }
}

/* Overflow, Issue 5745 and others: durations at and beyond the ends neither wrap nor fire. */
TEST_BOTH(OverflowDurations)
{
    static const int64_t big[] = {INT64_MAX, INT64_MAX - 1, INT64_MAX - WEFT_SECOND, INT64_MAX / 2, BIG};
    static const int64_t small[] = {0, -1, -WEFT_SECOND, INT64_MIN, INT64_MIN + 1, INT64_MIN / 2};
    enum { N = sizeof big / sizeof *big };
    _Atomic int wrong = 0, calls = 0;
    weft_timer *timers[N], *funcs[N];
    weft_ticker *tickers[N];
    time_chan afters[N];
    for (int i = 0; i < N; i++) {
        timers[i] = weft_timer_make(big[i]);
        funcs[i] = weft_after_func(big[i], bump, &wrong);
        tickers[i] = weft_ticker_make(big[i]);
        afters[i] = weft_after(big[i]);
    }
    for (size_t i = 0; i < sizeof small / sizeof *small; i++) {
        int64_t start_ns = weft_now();
        time_chan c = weft_after(small[i]);
        receive_after(c, start_ns);
        weft_chan_free(c);
        weft_timer *timer = weft_timer_make(BIG);
        CHECK(weft_timer_reset(timer, small[i]));
        receive_after(weft_timer_chan(timer), start_ns);
        weft_timer_free(timer);
        weft_timer_free(weft_after_func(small[i], bump, &calls));
    }
    wait_for_count(&calls, sizeof small / sizeof *small);
    for (int i = 0; i < N; i++) {
        check_empty(weft_timer_chan(timers[i]));
        check_empty(weft_ticker_chan(tickers[i]));
        check_empty(afters[i]);
        CHECK(weft_timer_reset(timers[i], big[N - 1 - i]));
        CHECK(weft_timer_stop(timers[i]));
        CHECK(!weft_timer_stop(timers[i]));
        CHECK(weft_timer_stop(funcs[i]));
        CHECK(!weft_timer_stop(funcs[i]));
        weft_timer_free(timers[i]);
        weft_timer_free(funcs[i]);
        weft_ticker_free(tickers[i]);
        weft_chan_free(afters[i]);
    }
    CHECK_EQ(atomic_load(&wrong), 0);
}

/* A ticker of the largest period that fired once early does not wrap around to fire at once. */
TEST_BOTH(OverflowPeriodicTimer)
{
    weft_ticker *ticker = weft_ticker_make(WEFT_MS);
    CHECK(weft_recv(weft_ticker_chan(ticker), NULL));
    weft_ticker_reset(ticker, INT64_MAX - 1);
    weft_sleep(5 * WEFT_MS);
    check_empty(weft_ticker_chan(ticker));
    weft_ticker_reset(ticker, WEFT_MS);
    CHECK(weft_recv(weft_ticker_chan(ticker), NULL));
    weft_ticker_free(ticker);
}

/* Exactly one of the two: the function was called, or stop (or reset) said that it stopped it. */
static void func_results(bool reset)
{
    enum { N = 100 };
    _Atomic int calls[N] = {0};
    weft_timer *timers[N];
    for (int i = 0; i < N; i++)
        timers[i] = weft_after_func((int64_t)(test_random() % 500) * WEFT_US, bump, &calls[i]);
    weft_sleep((int64_t)(test_random() % 500) * WEFT_US);
    bool stopped[N];
    for (int i = 0; i < N; i++)
        stopped[i] = reset ? weft_timer_reset(timers[i], BIG) : weft_timer_stop(timers[i]);
    for (int i = 0; i < N; i++)
        wait_for_count(&calls[i], stopped[i] ? 0 : 1);
    weft_sleep(WEFT_MS);
    for (int i = 0; i < N; i++) {
        CHECK_EQ(atomic_load(&calls[i]), stopped[i] ? 0 : 1);
        CHECK_EQ(weft_timer_stop(timers[i]), reset);
        weft_timer_free(timers[i]);
    }
}

static void receive_one(time_chan c, _Atomic int *received, _Atomic bool *end)
{
    int64_t at_ns;
    while (!atomic_load(end))
        if (weft_select(weft_on_recv(c, &at_ns), weft_on_timeout(WEFT_MS)) == 0)
            atomic_fetch_add(received, 1);
}

/* The same with channels: exactly one of the two, the time was received, or stop (or reset) said that it will not be. */
static void chan_results(bool reset)
{
    enum { N = 20 };
    _Atomic int received[N] = {0};
    _Atomic bool end = false;
    weft_timer *timers[N];
    weft_waitgroup wg = {0};
    for (int i = 0; i < N; i++) {
        timers[i] = weft_timer_make((int64_t)(test_random() % 500) * WEFT_US);
        weft_wg_go(&wg, receive_one, weft_timer_chan(timers[i]), &received[i], &end);
    }
    weft_sleep((int64_t)(test_random() % 500) * WEFT_US);
    bool stopped[N];
    for (int i = 0; i < N; i++)
        stopped[i] = reset ? weft_timer_reset(timers[i], BIG) : weft_timer_stop(timers[i]);
    atomic_store(&end, true);
    weft_wg_wait(&wg);
    for (int i = 0; i < N; i++) {
        CHECK_EQ(atomic_load(&received[i]), stopped[i] ? 0 : 1);
        check_empty(weft_timer_chan(timers[i]));
        weft_timer_free(timers[i]);
    }
}

TEST_BOTH(StopResult)
{
    for (int i = 0; i < at_least(2, test_scale(20)); i++) {
        func_results(false);
        chan_results(false);
    }
}

TEST_BOTH(ResetResult)
{
    for (int i = 0; i < at_least(2, test_scale(20)); i++) {
        func_results(true);
        chan_results(true);
    }
}

static void reset_often(weft_timer *timer, int times, uint64_t seed)
{
    for (int i = 0; i < times; i++)
        weft_timer_reset(timer, (int64_t)(test_random_from(&seed) % 1000) * 1000);
}

static void reset_or_stop_often(weft_timer *timer, int times, uint64_t seed)
{
    for (int i = 0; i < times; i++)
        if (test_random_from(&seed) % 2)
            weft_timer_stop(timer);
        else
            weft_timer_reset(timer, (int64_t)(test_random_from(&seed) % 1000) * 1000);
}

static void concurrently(void (*change)(weft_timer *, int, uint64_t))
{
    weft_timer *timer = weft_timer_make(BIG);
    weft_waitgroup wg = {0};
    for (int i = 0; i < 8; i++)
        weft_wg_go(&wg, change, timer, at_least(100, test_scale(5000)), test_random());
    weft_wg_wait(&wg);
    int64_t start_ns = weft_now();
    weft_timer_reset(timer, WEFT_MS);
    receive_after(weft_timer_chan(timer), start_ns + WEFT_MS);
    check_empty(weft_timer_chan(timer));
    weft_timer_free(timer);
}

TEST_BOTH(ConcurrentTimerReset)
{
    concurrently(reset_often);
}

TEST_BOTH(ConcurrentTimerResetStop)
{
    concurrently(reset_or_stop_often);
}

TEST_BOTH(TimerModifiedEarlier)
{
    for (int i = 0; i < 5; i++) {
        weft_timer *timer = weft_timer_make(BIG);
        time_chan other = weft_after(BIG);
        CHECK(weft_timer_reset(timer, 1));
        int64_t start_ns = weft_now();
        CHECK(weft_recv(weft_timer_chan(timer), NULL));
        CHECK(weft_now() - start_ns < LATE);
        weft_timer_free(timer);
        weft_chan_free(other);
    }
}

TEST_BOTH(AdjustTimers)
{
    weft_waitgroup wg = {0};
    for (int i = 0; i < 20; i++)
        weft_wg_go(&wg, adjust, at_least(5, test_scale(50)), test_random());
    weft_wg_wait(&wg);
}

TEST_BOTH(LongAdjustTimers)
{
    int n = test_scale(30000);
    _Atomic int calls = 0;
    weft_timer **timers = calloc((size_t)n, sizeof(void *));
    int64_t start_ns = clock_ns();
    for (int i = 0; i < n; i++)
        timers[i] = weft_after_func(WEFT_MINUTE + i * WEFT_MS, bump, &calls);
    for (int i = 0; i < n; i++)
        CHECK(weft_timer_reset(timers[i], i % 2 ? WEFT_MINUTE : WEFT_MS));
    wait_for_count(&calls, (n + 1) / 2);
    for (int i = 0; i < n; i++) {
        CHECK_EQ(weft_timer_stop(timers[i]), i % 2);
        weft_timer_free(timers[i]);
    }
    free(timers);
    CHECK(clock_ns() - start_ns < LATE);
}

/* ---- nothing stale is received: Go 1.23's TestTimerChan ---- */

static void let_it_fire(weft_timer *timer)
{
    int64_t end_ns = clock_ns() + LATE;
    while (weft_chan_len(weft_timer_chan(timer)) == 0 && clock_ns() < end_ns)
        weft_sleep(WEFT_MS);
    CHECK_EQ(weft_chan_len(weft_timer_chan(timer)), 1);
}

TEST_BOTH(TimerChanStopDrains)
{
    weft_timer *timer = weft_timer_make(1);
    let_it_fire(timer);
    CHECK(weft_timer_stop(timer)); /* nobody has received it, and nobody will */
    check_empty(weft_timer_chan(timer));
    CHECK(!weft_timer_stop(timer));
    CHECK(!weft_timer_reset(timer, 1));
    CHECK(weft_recv(weft_timer_chan(timer), NULL));
    CHECK(!weft_timer_stop(timer));
    weft_timer_free(timer);
}

TEST_BOTH(TimerChanResetDrains)
{
    weft_timer *timer = weft_timer_make(1);
    let_it_fire(timer);
    int64_t start_ns = weft_now();
    CHECK(weft_timer_reset(timer, 20 * WEFT_MS));
    receive_after(weft_timer_chan(timer), start_ns + 20 * WEFT_MS);
    check_empty(weft_timer_chan(timer));
    CHECK(!weft_timer_reset(timer, BIG));
    CHECK(weft_timer_reset(timer, BIG));
    check_empty(weft_timer_chan(timer));
    CHECK(weft_timer_stop(timer));
    weft_timer_free(timer);
}

/* Whatever the moment of the reset, what is received was sent for it. */
TEST_BOTH(TimerChanNeverStale)
{
    weft_timer *timer = weft_timer_make(0);
    for (int i = 0; i < test_scale(5000); i++) {
        burn_ns((int64_t)(test_random() % 20000));
        int64_t start_ns = weft_now(), ns = (int64_t)(test_random() % 20000);
        weft_timer_reset(timer, ns);
        if (i % 2)
            receive_after(weft_timer_chan(timer), start_ns + ns);
        weft_timer_stop(timer);
        check_empty(weft_timer_chan(timer));
        weft_timer_reset(timer, (int64_t)(test_random() % 20000));
    }
    weft_timer_free(timer);
}

/* One that waits in a receive or a select gets the time of the reset. */
static void receive_due(time_chan c, int in_select, int64_t due_ns)
{
    int64_t at_ns = 0;
    if (in_select)
        CHECK_EQ(weft_select(weft_on_recv(c, &at_ns), weft_on_timeout(INT64_MAX)), 0);
    else
        CHECK(weft_recv(c, &at_ns));
    CHECK(at_ns >= due_ns);
}

TEST_BOTH(TimerChanBlocked)
{
    for (int i = 0; i < 10; i++) {
        weft_timer *timer = weft_timer_make(BIG);
        weft_waitgroup wg = {0};
        weft_wg_go(&wg, receive_due, weft_timer_chan(timer), i % 2, weft_now() + 5 * WEFT_MS);
        weft_sleep(i % 4 * WEFT_MS);
        if (i % 3 == 0)
            CHECK(weft_timer_stop(timer));
        weft_timer_reset(timer, 5 * WEFT_MS);
        weft_wg_wait(&wg);
        CHECK(!weft_timer_stop(timer));
        weft_timer_free(timer);
    }
}

/* A goroutine that starts a timer and computes on must not keep it from firing in time. */
TEST_BOTH(TimerOfABusyGoroutine)
{
    if (weft_procs() == 1 && TEST_TSAN)
        return; /* the monitor must first take the only worker away, in TSan's time */
    int64_t best_ns = INT64_MAX;
    for (int i = 0; i < 20 && best_ns > 50 * WEFT_MS; i++) {
        int64_t start_ns = weft_now(), at_ns;
        time_chan c = weft_after(5 * WEFT_MS);
        burn_ns(200 * WEFT_MS);
        CHECK(weft_recv(c, &at_ns));
        CHECK(at_ns - start_ns >= 5 * WEFT_MS);
        if (at_ns - start_ns < best_ns)
            best_ns = at_ns - start_ns;
        weft_chan_free(c);
    }
    CHECK(best_ns <= 100 * WEFT_MS);
}

TEST_MAIN()
