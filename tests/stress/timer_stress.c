/* timer_stress.c — timers that many goroutines and a few threads start, stop, reset, receive from and free at random times;
   and sleeps in dense rows.
   The books are exact: every start ends in a receive or a call, or in a stop or reset that says so; never in both, never in
   neither. */
#include <weft.h>

#include <errno.h>
#include <pthread.h>

#include "../test.h"

enum { THREADS = 3, TIMERS = 4 };

typedef weft_chan(int64_t) time_chan;

static struct {
    _Atomic long starts, ends, calls; /* ends: stopped, or received */
    _Atomic bool over;
} books;

static void begin_books(void)
{
    books.starts = books.ends = books.calls = 0;
    books.over = false;
}

static void close_books(void)
{
    while (books.ends + books.calls < books.starts) /* the calls of the last short times are on their way */
        weft_sleep(WEFT_MS);
    weft_sleep(5 * WEFT_MS);
    CHECK_EQ(books.ends + books.calls, books.starts);
    CHECK(books.calls > 0);
}

static int64_t short_ns(uint64_t *seed)
{
    uint64_t bits = test_random_from(seed);
    return (int64_t)(bits >> 32) % (INT64_C(1) << bits % 20); /* up to a millisecond, small ones more often */
}

static void call(void)
{
    books.calls++;
}

static weft_timer *start(bool func, int64_t ns)
{
    books.starts++;
    weft_timer *timer = func ? weft_after_func(ns, call) : weft_timer_make(ns);
    CHECK(timer);
    return timer;
}

static void change(weft_timer *timer, uint64_t *seed)
{
    uint64_t choice = test_random_from(seed) % 8;
    if (choice == 0) {
        weft_yield();
    } else if (choice < 4) {
        books.ends += weft_timer_stop(timer);
    } else {
        books.starts++;
        books.ends += weft_timer_reset(timer, choice == 7 ? WEFT_MINUTE : short_ns(seed));
    }
}

/* ---- several change the same timers, others receive ---- */

struct shared {
    weft_timer *chans[TIMERS], *funcs[TIMERS];
    int times;
};

static void change_shared(struct shared *shared, uint64_t seed)
{
    for (int i = 0; i < shared->times; i++) {
        uint64_t which = test_random_from(&seed);
        change((which & 1 ? shared->chans : shared->funcs)[which / 2 % TIMERS], &seed);
    }
}

static void receive_shared(struct shared *shared, uint64_t seed)
{
    while (!books.over) {
        time_chan a = weft_timer_chan(shared->chans[test_random_from(&seed) % TIMERS]);
        time_chan b = weft_timer_chan(shared->chans[test_random_from(&seed) % TIMERS]);
        int64_t at_ns = 0;
        bool got = test_random_from(&seed) % 2 ? weft_try_recv(a, &at_ns) == 0
                                               : weft_select(weft_on_recv(a, &at_ns), weft_on_recv(b, &at_ns),
                                                             weft_on_timeout(short_ns(&seed))) != 2;
        CHECK(!got || (at_ns > 0 && at_ns <= weft_now()));
        books.ends += got;
        weft_yield();
    }
}

static void *change_on_thread(void *argument)
{
    change_shared(argument, test_random());
    return NULL;
}

TEST(SharedTimers)
{
    struct shared shared = {.times = test_scale(20000)};
    pthread_t threads[THREADS];
    weft_waitgroup changers = {0}, receivers = {0};
    begin_books();
    for (int i = 0; i < TIMERS; i++) {
        shared.chans[i] = start(false, i);
        shared.funcs[i] = start(true, i);
    }
    for (int i = 0; i < 4; i++)
        weft_wg_go(&receivers, receive_shared, &shared, test_random());
    for (int i = 0; i < 8; i++)
        weft_wg_go(&changers, change_shared, &shared, test_random());
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, change_on_thread, &shared), 0);
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    weft_wg_wait(&changers);
    books.over = true;
    weft_wg_wait(&receivers);
    for (int i = 0; i < TIMERS; i++) {
        books.ends += weft_timer_stop(shared.chans[i]);
        books.ends += weft_timer_stop(shared.funcs[i]);
        CHECK_EQ(weft_try_recv(weft_timer_chan(shared.chans[i]), NULL), -EAGAIN);
        weft_timer_free(shared.chans[i]);
        weft_timer_free(shared.funcs[i]);
    }
    close_books();
}

/* ---- each has its own, and frees them while they fire ---- */

static void live_and_die(int times, uint64_t seed)
{
    for (int i = 0; i < times; i++) {
        weft_timer *func = start(true, short_ns(&seed)), *chan = start(false, short_ns(&seed));
        weft_ticker *ticker = weft_ticker_make(1 + short_ns(&seed));
        weft_chan_core *after = weft_after_(short_ns(&seed));
        CHECK(ticker && after);
        for (uint64_t n = test_random_from(&seed) % 4; n-- > 0;) {
            change(func, &seed);
            change(chan, &seed);
            if (test_random_from(&seed) % 4 == 0)
                weft_ticker_reset(ticker, 1 + short_ns(&seed));
            weft_try_recv(weft_ticker_chan(ticker), NULL);
        }
        if (test_random_from(&seed) % 2)
            CHECK(weft_chan_core_recv(after, NULL));
        weft_chan_core_free(after);
        books.starts++;
        books.ends += weft_timer_reset(func, short_ns(&seed));
        weft_timer_free(func); /* most likely pending */
        books.ends += weft_timer_stop(chan);
        CHECK(!weft_timer_stop(chan));
        CHECK_EQ(weft_try_recv(weft_timer_chan(chan), NULL), -EAGAIN);
        weft_timer_free(chan);
        weft_ticker_free(ticker);
        if (i % 16 == 0)
            weft_yield();
    }
}

static void *live_on_thread(void *argument)
{
    live_and_die(*(int *)argument, test_random());
    return NULL;
}

/* Nobody receives: all that channels got is taken back by stop or reset. */
TEST(ShortLives)
{
    int times = test_scale(3000);
    pthread_t threads[THREADS];
    weft_waitgroup wg = {0};
    begin_books();
    for (int i = 0; i < 8; i++)
        weft_wg_go(&wg, live_and_die, times, test_random());
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, live_on_thread, &times), 0);
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    weft_wg_wait(&wg);
    close_books();
    CHECK_EQ(weft_shutdown(20 * WEFT_SECOND), 0);
}

static void sleep_in_row(int times, uint64_t seed)
{
    for (int i = 0; i < times; i++) {
        int64_t ns = 100 * WEFT_US + short_ns(&seed), start_ns = weft_now();
        CHECK_EQ(weft_sleep(ns), 0);
        CHECK(weft_now() - start_ns >= ns);
    }
}

/* Dense rows of timers, which idle threads see to together, come and go; between them a lone sleeper beside somebody who
   computes. No timer may be forgotten at the change from one to the other. */
TEST(DenseRows)
{
    for (int row = 0; row < test_scale(100); row++) {
        weft_waitgroup wg = {0};
        for (int i = 0; i < 500; i++)
            weft_wg_go(&wg, sleep_in_row, 4, test_random());
        weft_wg_wait(&wg);
        weft_sleep(row % 8 * WEFT_MS);
        weft_wg_go(&wg, sleep_in_row, 1, test_random());
        int64_t end_ns = weft_now() + row % 4 * WEFT_MS;
        while (weft_now() < end_ns)
            ;
        weft_wg_wait(&wg);
    }
    CHECK_EQ(weft_shutdown(20 * WEFT_SECOND), 0);
}

TEST_MAIN()
