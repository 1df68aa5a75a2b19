/* ticker.c — tickers, what Go's tick_test.go checks, under its names, and what is weft's own; and timers and tickers
   together: in select, on threads that weft did not start, across the end of the runtime. Nothing may ever come early; how
   late it may come is generous. */
#include "timers.h"

#include <pthread.h>

/* ---- ticks ---- */

TEST_BOTH(TickerChanDrains)
{
    weft_ticker *ticker = weft_ticker_make(WEFT_MS);
    weft_sleep(10 * WEFT_MS);
    weft_ticker_stop(ticker);
    check_empty(weft_ticker_chan(ticker));
    weft_sleep(5 * WEFT_MS);
    check_empty(weft_ticker_chan(ticker));
    weft_ticker_reset(ticker, WEFT_MS);
    weft_sleep(10 * WEFT_MS);
    int64_t start_ns = weft_now();
    weft_ticker_reset(ticker, 20 * WEFT_MS);
    receive_after(weft_ticker_chan(ticker), start_ns + 20 * WEFT_MS);
    weft_ticker_free(ticker);
}

static bool ticks_steadily(int count, int64_t delta_ns)
{
    int64_t start_ns = weft_now();
    weft_ticker *ticker = weft_ticker_make(delta_ns);
    time_chan c = weft_ticker_chan(ticker);
    for (int i = 0; i < count; i++)
        CHECK(weft_recv(c, NULL));
    int64_t middle_ns = weft_now();
    weft_ticker_reset(ticker, 2 * delta_ns);
    for (int i = 0; i < count; i++)
        CHECK(weft_recv(c, NULL));
    weft_ticker_stop(ticker);
    int64_t end_ns = weft_now(), most_ns = 3 * count * delta_ns * 3 / 2 + 2 * delta_ns;
    CHECK(middle_ns - start_ns >= count * delta_ns);
    CHECK(end_ns - middle_ns >= count * 2 * delta_ns);
    weft_sleep(2 * delta_ns);
    check_empty(c);
    weft_ticker_free(ticker);
    return end_ns - start_ns <= most_ns;
}

TEST_BOTH(Ticker)
{
    int64_t delta_ns = 10 * WEFT_MS;
    for (int i = 0; !ticks_steadily(10, delta_ns); i++) {
        CHECK(i < 6);
        delta_ns = delta_ns < 100 * WEFT_MS ? 2 * delta_ns : delta_ns;
    }
}

TEST_BOTH(Teardown)
{
    for (int i = 0; i < 3; i++) {
        weft_ticker *ticker = weft_ticker_make(10 * WEFT_MS);
        CHECK(weft_recv(weft_ticker_chan(ticker), NULL));
        weft_ticker_stop(ticker);
        weft_ticker_free(ticker);
    }
}

TEST_BOTH(TickerStop)
{
    weft_ticker *tickers[20];
    for (int i = 0; i < 20; i++)
        tickers[i] = weft_ticker_make((i + 1) * 200 * WEFT_US);
    weft_sleep(5 * WEFT_MS);
    for (int i = 0; i < 20; i++)
        weft_ticker_stop(tickers[i]);
    for (int i = 0; i < 20; i++)
        check_empty(weft_ticker_chan(tickers[i]));
    weft_sleep(10 * WEFT_MS);
    for (int i = 0; i < 20; i++) {
        check_empty(weft_ticker_chan(tickers[i]));
        weft_ticker_stop(tickers[i]);
        weft_ticker_free(tickers[i]);
    }
}

TEST_BOTH(TickerReset)
{
    weft_ticker *ticker = weft_ticker_make(BIG);
    for (int i = 0; i < 20; i++) {
        int64_t start_ns = weft_now(), ns = (i % 5 + 1) * WEFT_MS;
        weft_ticker_reset(ticker, ns);
        receive_after(weft_ticker_chan(ticker), start_ns + ns);
        receive_after(weft_ticker_chan(ticker), start_ns + 2 * ns);
    }
    weft_ticker_free(ticker);
}

/* True when the first ticks came while the receiver slept, and one of the later ones was on time. */
static bool drops_and_keeps_phase(int64_t period_ns)
{
    int64_t before_ns = weft_now(), at_ns;
    weft_ticker *ticker = weft_ticker_make(period_ns);
    int64_t after_ns = weft_now();
    time_chan c = weft_ticker_chan(ticker);
    weft_sleep(25 * period_ns);
    CHECK(weft_recv(c, &at_ns));
    bool first = at_ns < before_ns + 20 * period_ns, in_phase = false;
    for (int i = 0; i < 20; i++) {
        CHECK(weft_recv(c, &at_ns));
        CHECK(at_ns >= before_ns + 25 * period_ns);
        in_phase |= (at_ns - before_ns) % period_ns < period_ns / 2 + (after_ns - before_ns);
    }
    weft_ticker_free(ticker);
    return first && in_phase;
}

/* A receiver that is late finds the first tick that it missed, then those of the present, in phase. */
TEST_BOTH(TickerDropsAndKeepsPhase)
{
    for (int i = 0; !drops_and_keeps_phase((i + 1) * 10 * WEFT_MS); i++)
        CHECK(i < 5);
}

TEST_BOTH(TickTimes)
{
    for (int i = 0; i < 5; i++) {
        int64_t start_ns = weft_now(), at_ns;
        weft_ticker *ticker = weft_ticker_make(10 * WEFT_MS);
        weft_sleep(500 * WEFT_MS);
        CHECK(weft_recv(weft_ticker_chan(ticker), &at_ns));
        weft_ticker_free(ticker);
        CHECK(at_ns - start_ns >= 10 * WEFT_MS);
        if (at_ns - start_ns < 400 * WEFT_MS)
            return;
    }
    CHECK(!"the time of the receive was received");
}

static void count_ticks(int64_t ns, int n)
{
    int64_t start_ns = weft_now(), last_ns = 0, at_ns;
    weft_ticker *ticker = weft_ticker_make(ns);
    for (int i = 0; i < n; i++) {
        CHECK(weft_recv(weft_ticker_chan(ticker), &at_ns));
        CHECK(at_ns > last_ns);
        last_ns = at_ns;
    }
    CHECK(last_ns - start_ns >= n * ns);
    weft_ticker_free(ticker);
}

TEST_BOTH(MultiWakeupTicker)
{
    weft_waitgroup wg = {0};
    int64_t start_ns = clock_ns();
    for (int i = 0; i < 30; i++)
        weft_wg_go(&wg, count_ticks, (i % 3 + 1) * 100 * WEFT_US, test_scale(100));
    weft_wg_wait(&wg);
    CHECK(clock_ns() - start_ns < 2 * LATE);
}

TEST_BOTH(TickerConcurrentStress)
{
    _Atomic bool stop = false;
    weft_waitgroup busy = {0}, wg = {0};
    weft_wg_go(&busy, churn, INT32_MAX, &stop);
    for (int i = 0; i < 10; i++)
        weft_wg_go(&wg, count_ticks, WEFT_US, test_scale(500));
    weft_wg_wait(&wg);
    atomic_store(&stop, true);
    weft_wg_wait(&busy);
}

/* ---- timers and tickers together ---- */

TEST_BOTH(TimersInSelect)
{
    weft_timer *timer = weft_timer_make(5 * WEFT_MS);
    weft_ticker *ticker = weft_ticker_make(WEFT_MS);
    time_chan end = weft_after(20 * WEFT_MS);
    int counts[3] = {0};
    int64_t at_ns;
    for (int chosen = 0; chosen != 2; counts[chosen]++)
        chosen = weft_select(weft_on_recv(weft_timer_chan(timer), &at_ns), weft_on_recv(weft_ticker_chan(ticker), &at_ns),
                             weft_on_recv(end, &at_ns));
    CHECK(counts[0] <= 1);
    CHECK(counts[0] == 1 || weft_timer_stop(timer)); /* it may have lost to the others at the end */
    CHECK(weft_recv(weft_ticker_chan(ticker), &at_ns));
    weft_timer_free(timer);
    weft_ticker_free(ticker);
    weft_chan_free(end);
}

static void *use_timers(void *argument)
{
    uint64_t seed = (uintptr_t)argument;
    _Atomic int calls = 0;
    int n = at_least(5, test_scale(50));
    adjust(n, seed);
    count_ticks(200 * WEFT_US, n);
    for (int i = 0; i < n; i++)
        weft_timer_free(weft_after_func((int64_t)(test_random_from(&seed) % 1000000), bump, &calls));
    wait_for_count(&calls, n);
    return NULL;
}

TEST_BOTH(ForeignThreadsHaveTimers)
{
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, use_timers, (void *)(uintptr_t)test_random()), 0);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
}

/* Handles outlast the runtime: what was pending was stopped by its end, and can be started in the next. */
TEST(ShutdownWithPendingTimers)
{
    static _Atomic int wrong, calls;
    atomic_store(&calls, 0);
    for (int i = 0; i < 3; i++) {
        weft_timer *timer = weft_timer_make(BIG), *func = weft_after_func(BIG, bump, i == 2 ? &calls : &wrong);
        weft_ticker *ticker = weft_ticker_make(1); /* always due, and yet the runtime's threads must come to rest */
        time_chan c = weft_after(BIG), fired = weft_after(0);
        for (int k = 0; k < 100; k++)
            weft_timer_free(weft_after_func(BIG, bump, &wrong));
        while (weft_chan_len(fired) == 0)
            weft_sleep(WEFT_MS);
        CHECK_EQ(weft_shutdown(10 * WEFT_SECOND), 0);
        weft_chan_free(c);
        CHECK(weft_recv(fired, NULL));
        weft_chan_free(fired);
        weft_timer_reset(timer, WEFT_MS);
        CHECK(weft_recv(weft_timer_chan(timer), NULL));
        weft_ticker_reset(ticker, WEFT_MS);
        CHECK(weft_recv(weft_ticker_chan(ticker), NULL));
        CHECK(!weft_timer_reset(func, i == 2 ? 0 : BIG));
        if (i == 2)
            wait_for_count(&calls, 1);
        CHECK_EQ(weft_shutdown(10 * WEFT_SECOND), 0);
        weft_timer_free(timer);
        weft_timer_free(func);
        weft_ticker_free(ticker);
    }
    CHECK_EQ(atomic_load(&wrong), 0);
}

TEST_MAIN()
