/* time.c — sleeping: never too short, not at all for nothing, for ever for the largest duration, ten thousand at once. */
#include "../workload.h"
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
#include <weft.h>

#include "../test.h"

TEST_BOTH(NowIsTheMonotonicClock)
{
    for (int i = 0; i < 1000; i++) {
        int64_t before_ns = clock_ns(), now_ns = weft_now(), after_ns = clock_ns();
        CHECK(before_ns <= now_ns);
        CHECK(now_ns <= after_ns);
    }
}

TEST_BOTH(SleepOfNothingReturnsAtOnce)
{
    static const int64_t durations[] = {0, -1, -WEFT_SECOND, INT64_MIN, INT64_MIN + 1};
    int64_t start_ns = clock_ns();
    for (int i = 0; i < 1000; i++)
        CHECK_EQ(weft_sleep(durations[i % 5]), 0);
    CHECK(clock_ns() - start_ns < 5 * WEFT_SECOND);
}

static void sleep_exactly(int64_t ns, int times)
{
    for (int i = 0; i < times; i++) {
        int64_t start_ns = clock_ns();
        CHECK_EQ(weft_sleep(ns), 0);
        CHECK(clock_ns() - start_ns >= ns);
    }
}

TEST_BOTH(SleepIsNeverShort)
{
    static const int64_t durations[] = {
        1, 10, 999, 1000, 1001, 49999, 100 * WEFT_US, 999999, WEFT_MS, 3 * WEFT_MS + 1, 20 * WEFT_MS};
    weft_waitgroup wg = {0};
    for (size_t i = 0; i < sizeof durations / sizeof *durations; i++)
        weft_wg_go(&wg, sleep_exactly, durations[i], test_shorten(2, 10));
    for (size_t i = 0; i < sizeof durations / sizeof *durations; i++)
        sleep_exactly(durations[i], test_shorten(1, 3)); /* the test's own thread or goroutine */
    weft_wg_wait(&wg);
}

static void sleep_randomly(uint64_t seed, int64_t most_ns, _Atomic int *woken)
{
    sleep_exactly((int64_t)(test_random_from(&seed) % (uint64_t)most_ns), 1);
    atomic_fetch_add(woken, 1);
}

TEST(TenThousandSleepers)
{
    int n = test_scale(10000);
    _Atomic int woken = 0;
    weft_waitgroup wg = {0};
    int64_t start_ns = clock_ns();
    for (int i = 0; i < n; i++)
        weft_wg_go(&wg, sleep_randomly, test_random(), test_shorten(30, 300) * WEFT_MS, &woken);
    weft_wg_wait(&wg);
    CHECK_EQ(atomic_load(&woken), n);
    CHECK(clock_ns() - start_ns < 20 * WEFT_SECOND); /* one after the other they would take 25 minutes */
}

/* The same deadline for all: nobody is lost in a crowd of equal timers. */
TEST(SleepersOfOneMoment)
{
    int n = test_scale(3000);
    _Atomic int woken = 0;
    weft_waitgroup wg = {0};
    for (int i = 0; i < n; i++)
        weft_wg_go(&wg, sleep_randomly, 1, 50 * WEFT_MS, &woken);
    weft_wg_wait(&wg);
    CHECK_EQ(atomic_load(&woken), n);
}

struct order {
    _Atomic int next;
    int places[5];
};

static void note_order(struct order *order, int me)
{
    sleep_exactly((me + 1) * 20 * WEFT_MS, 1);
    order->places[atomic_fetch_add(&order->next, 1)] = me;
}

/* With one worker the order is exact; with more, each may be held up on its way. */
TEST(SleepersWakeInOrder)
{
    struct order order = {0};
    weft_waitgroup wg = {0};
    for (int i = 5; i-- > 0;)
        weft_wg_go(&wg, note_order, &order, i);
    weft_wg_wait(&wg);
    CHECK_EQ(atomic_load(&order.next), 5);
    for (int i = 0; i < 5 && weft_procs() == 1; i++)
        CHECK_EQ(order.places[i], i);
}

/* A far timer first, near ones after it: the earlier deadline must be noticed by whoever waits for the later one. */
TEST(EarlierSleepOvertakes)
{
    for (int i = 0; i < test_scale(50); i++) {
        weft_waitgroup wg = {0};
        weft_wg_go(&wg, sleep_exactly, 30 * WEFT_MS, 1);
        nap_ms(2); /* everyone is idle by now */
        int64_t start_ns = clock_ns();
        weft_waitgroup near = {0};
        weft_wg_go(&near, sleep_exactly, WEFT_MS, 1);
        weft_wg_wait(&near);
        CHECK(clock_ns() - start_ns >= WEFT_MS);
        CHECK(clock_ns() - start_ns < 5 * WEFT_SECOND);
        weft_wg_wait(&wg);
    }
}

static void *sleep_on_a_thread(void *argument)
{
    sleep_exactly(*(int64_t *)argument, 5);
    return NULL;
}

TEST(ForeignThreadsSleepToo)
{
    pthread_t threads[8];
    int64_t durations[8];
    for (int i = 0; i < 8; i++) {
        durations[i] = (i + 1) * WEFT_MS;
        CHECK_EQ(pthread_create(&threads[i], NULL, sleep_on_a_thread, &durations[i]), 0);
    }
    for (int i = 0; i < 8; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
}

static _Atomic int early;

static void sleep_for_ever(int64_t ns, weft_waitgroup *asleep)
{
    weft_wg_done(asleep);
    weft_sleep(ns);
    atomic_store(&early, 1);
}

/* Last: these goroutines stay parked until the program ends. */
TEST(SleepForEver)
{
    static const int64_t durations[] = {INT64_MAX, INT64_MAX - 1, INT64_MAX / 2, INT64_MAX - WEFT_SECOND};
    weft_waitgroup asleep = {0};
    weft_wg_add(&asleep, 4);
    for (int i = 0; i < 4; i++)
        weft_go(sleep_for_ever, durations[i], &asleep);
    weft_wg_wait(&asleep);
    weft_waitgroup wg = {0};
    for (int i = 0; i < test_shorten(20, 100); i++)
        weft_wg_go(&wg, sleep_exactly, WEFT_MS, 3);
    weft_wg_wait(&wg);
    nap_ms(50);
    CHECK_EQ(atomic_load(&early), 0);
    CHECK(weft_count() >= 4);
}

/* ---- timers that are always due ---- */

static void time_out_until(atomic_bool *stop, weft_chan(int) never, int sleeps)
{
    while (!atomic_load(stop)) {
        if (sleeps)
            CHECK_EQ(weft_sleep(1), 0);
        else
            CHECK_EQ(weft_select([0] = weft_on_timeout(1), [1] = weft_on_recv(never, NULL)), 0);
    }
}

static void store_true(atomic_bool *flag)
{
    atomic_store(flag, true);
}

static void take_turns(weft_chan(int) from, weft_chan(int) to, int turns)
{
    for (int i = 0; i < turns; i++) {
        CHECK(weft_recv(from, NULL));
        CHECK_EQ(weft_send(to, i), 0);
    }
}

/* So many goroutines wait for so short a time that a worker never finds nothing due: what foreign threads start, and what
   waits for its turn in the queues, runs all the same. */
TEST(TimersThatAreAlwaysDueStarveNobody)
{
    int sleepers = test_shorten(40, 100);
    atomic_bool stop = false;
    weft_chan(int) never = weft_chan_make(int, 0), there = weft_chan_make(int, 0), back = weft_chan_make(int, 0);
    weft_waitgroup wg = {0}, turns = {0};
    for (int i = 0; i < sleepers; i++)
        weft_wg_go(&wg, time_out_until, &stop, never, i % 2);
    int rounds = test_scale(200) + 2;
    weft_wg_go(&turns, take_turns, there, back, rounds);
    for (int i = 0; i < rounds; i++) {
        atomic_bool ran = false;
        weft_waitgroup one = {0};
        weft_wg_go(&one, store_true, &ran);
        weft_wg_wait(&one);
        CHECK(atomic_load(&ran));
        CHECK_EQ(weft_send(there, i), 0);
        CHECK(weft_recv(back, NULL));
    }
    atomic_store(&stop, true);
    weft_wg_wait(&turns);
    weft_wg_wait(&wg);
    weft_chan_free(never);
    weft_chan_free(there);
    weft_chan_free(back);
}

/* ---- a dense row beside those who compute ---- */

static void sleep_and_count(_Atomic long *count, atomic_bool *stop)
{
    while (!atomic_load(stop)) {
        CHECK_EQ(weft_sleep(WEFT_MS), 0);
        atomic_fetch_add(count, 1);
    }
}

/* Never enters weft. Relaxed, because TSan lets those that store wait for those that load in any other way. */
static void compute_until(_Atomic long *count, long goal)
{
    int64_t start_ns = clock_ns();
    while (atomic_load_explicit(count, memory_order_relaxed) < goal)
        CHECK(clock_ns() - start_ns < 20 * WEFT_SECOND);
}

static void compute_until_more(_Atomic long *count)
{
    compute_until(count, atomic_load(count) + 100);
}

/* The monitor leaves dense timers alone for a while, and so does whoever is out of work; but not for ever when the threads
   that should see to them compute. */
TEST(DenseRowGoesOnBesideComputing)
{
    _Atomic long count = 0;
    atomic_bool stop = false;
    weft_waitgroup sleepers = {0};
    for (int i = 0; i < 200; i++)
        weft_wg_go(&sleepers, sleep_and_count, &count, &stop);
    for (int round = 0; round < test_shorten(3, 20); round++) {
        weft_waitgroup hogs = {0};
        weft_sleep(5 * WEFT_MS);
        for (int i = 0; i < weft_procs() + 1; i++)
            weft_wg_go(&hogs, compute_until_more, &count);
        weft_wg_wait(&hogs);
    }
    atomic_store(&stop, true);
    weft_wg_wait(&sleepers);
}

static void sleep_often(_Atomic long *count, int times, int64_t last_ns)
{
    for (int i = 0; i < times; i++)
        CHECK_EQ(weft_sleep(WEFT_MS), 0);
    CHECK_EQ(weft_sleep(last_ns), 0);
    atomic_fetch_add(count, 1);
}

/* When it comes the row is over, but whoever leaves dense timers alone for a while may not have seen that yet. */
TEST_GO(LastOfADenseRowComesBesideComputing)
{
    for (int round = 0; round < test_shorten(3, 20); round++) {
        _Atomic long count = 0;
        weft_waitgroup row = {0}, last = {0};
        for (int i = 0; i < 40; i++)
            weft_wg_go(&row, sleep_often, &count, 70, WEFT_MS);
        weft_wg_go(&last, sleep_often, &count, 70, WEFT_MS + test_random() % (2 * WEFT_MS));
        weft_wg_wait(&row);
        for (int i = 0; i < weft_procs(); i++)
            weft_wg_go(&last, compute_until, &count, 41);
        weft_wg_wait(&last);
    }
}

static void compute_then_read(int fd, int64_t ns)
{
    char byte;
    burn_ns(ns);
    CHECK_EQ(read(fd, &byte, 1), 1);
}

static void sleep_and_say(_Atomic long *count)
{
    CHECK_EQ(weft_sleep(WEFT_MS), 0);
    atomic_fetch_add(count, 1);
}

/* Those that lost their workers as they computed, and have been blocked ever since, take nobody's time: so many of them that no
   more would be taken if they did. */
TEST(HogsThatBlockTakeNoTime)
{
    enum { BLOCKED = 10 };
    if (weft_procs() > 1)
        return; /* it would take long */
    int ends[2];
    _Atomic long count = 0;
    weft_waitgroup wg = {0};
    CHECK_EQ(pipe(ends), 0);
    for (int i = 0; i < BLOCKED; i++)
        weft_wg_go(&wg, compute_then_read, ends[0], (10 * (i + 3)) * WEFT_MS);
    CHECK_EQ(weft_sleep(WEFT_SECOND), 0);
    weft_wg_go(&wg, sleep_and_say, &count);
    CHECK_EQ(weft_sleep(WEFT_MS), 0);
    weft_wg_go(&wg, compute_until, &count, 1);
    CHECK(HOLDS_WITHIN(30000, atomic_load(&count) == 1));
    CHECK_EQ(write(ends[1], "0123456789", BLOCKED), BLOCKED);
    weft_wg_wait(&wg);
    close(ends[0]);
    close(ends[1]);
}

TEST_MAIN()
