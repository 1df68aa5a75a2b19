/* park_stress.c — going to sleep against being woken. Both sides meet after short random delays, so that the completion
   falls before, into and after every step of it; and several completers (partners, timeouts, closes) race for one wait.
   A lost wake-up shows as a deadlock report or a timeout, a double one as a sum that is off. */
#include "../workload.h"
#include <pthread.h>
#include <weft.h>

#include "../test.h"

/* A delay of about 0 to 2 µs, sometimes with a yield: around the length of a park. */
static void dither(uint64_t *seed)
{
    uint64_t dice = test_random_from(seed);
    for (volatile unsigned i = 0; i < dice % 1024; i++) {
    }
    if (dice >> 60 == 0)
        weft_yield();
}

static void send_range(weft_chan(int) c, int first, int n, uint64_t seed)
{
    for (int i = 0; i < n; i++) {
        dither(&seed);
        CHECK_EQ(weft_send(c, first + i), 0);
    }
}

static void receive_range(weft_chan(int) c, int first, int n, uint64_t seed)
{
    for (int i = 0; i < n; i++) {
        int value = -1;
        dither(&seed);
        CHECK(weft_recv(c, &value));
        CHECK_EQ(value, first + i);
    }
}

struct range {
    weft_chan(int) c;
    int first, n;
    uint64_t seed;
};

static void *send_range_on_a_thread(void *argument)
{
    struct range *range = argument;
    send_range(range->c, range->first, range->n, range->seed);
    return NULL;
}

static void *receive_range_on_a_thread(void *argument)
{
    struct range *range = argument;
    receive_range(range->c, range->first, range->n, range->seed);
    return NULL;
}

/* Pairs of all kinds: goroutine or thread on either side, capacity 0 or 1. */
TEST_BOTH(PairsInLockstep)
{
    int n = test_scale(10000), some = test_scale(2000);
    weft_waitgroup wg = {0};
    weft_chan(int) c[8];
    pthread_t threads[4];
    struct range ranges[4];
    for (int i = 0; i < 8; i++)
        c[i] = weft_chan_make(int, (size_t)i & 1);
    for (int i = 0; i < 4; i++) {
        weft_wg_go(&wg, send_range, c[i], i, n, test_random());
        weft_wg_go(&wg, receive_range, c[i], i, n, test_random());
    }
    for (int i = 0; i < 4; i++) {
        ranges[i] = (struct range){c[4 + i], i, some, test_random()};
        void *(*fn)(void *) = i < 2 ? send_range_on_a_thread : receive_range_on_a_thread;
        CHECK_EQ(pthread_create(&threads[i], NULL, fn, &ranges[i]), 0);
        if (i < 2)
            weft_wg_go(&wg, receive_range, c[4 + i], i, some, test_random());
        else
            weft_wg_go(&wg, send_range, c[4 + i], i, some, test_random());
    }
    weft_wg_wait(&wg);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < 8; i++)
        weft_chan_free(c[i]);
}

struct race {
    weft_chan(int) c[3];
    _Atomic int64_t sent, received;
    _Atomic int timeouts;
};

/* Timeouts of a few µs against partners that arrive at about the same time. */
static void select_with_timeouts(struct race *race, int n, uint64_t seed)
{
    enum { R0, R1, S2, S0, LATE };
    for (int i = 1; i <= n; i++) {
        int a = 0, b = 0;
        dither(&seed);
        int64_t timeout_ns = (int64_t)(test_random_from(&seed) % 20000);
        switch (weft_select([R0] = weft_on_recv(race->c[0], &a), [R1] = weft_on_recv(race->c[1], &b),
                            [S2] = weft_on_send(race->c[2], i), [S0] = weft_on_send(race->c[0], i),
                            [LATE] = weft_on_timeout(timeout_ns))) {
        case R0:
            CHECK(a > 0 && b == 0);
            atomic_fetch_add(&race->received, a);
            break;
        case R1:
            CHECK(b > 0 && a == 0);
            atomic_fetch_add(&race->received, b);
            break;
        case S2:
        case S0:
            CHECK(a == 0 && b == 0);
            atomic_fetch_add(&race->sent, i);
            break;
        case LATE:
            CHECK(a == 0 && b == 0);
            atomic_fetch_add(&race->timeouts, 1);
            break;
        default:
            CHECK(false);
        }
    }
}

static void turn_round(struct race *race, int n, uint64_t seed)
{
    enum { R2, S1, LATE };
    for (int i = 1; i <= n; i++) {
        int a = 0;
        dither(&seed);
        switch (weft_select([R2] = weft_on_recv(race->c[2], &a), [S1] = weft_on_send(race->c[1], i),
                            [LATE] = weft_on_timeout((int64_t)(test_random_from(&seed) % 20000)))) {
        case R2:
            CHECK(a > 0);
            atomic_fetch_add(&race->received, a);
            break;
        case S1:
            CHECK_EQ(a, 0);
            atomic_fetch_add(&race->sent, i);
            break;
        case LATE:
            CHECK_EQ(a, 0);
            break;
        default:
            CHECK(false);
        }
    }
}

struct turn {
    struct race *race;
    int n;
    uint64_t seed;
};

static void *turn_round_on_a_thread(void *argument)
{
    struct turn *turn = argument;
    turn_round(turn->race, turn->n, turn->seed);
    return NULL;
}

TEST_BOTH(SelectAgainstTimeouts)
{
    struct race race = {.sent = 0};
    int n = test_scale(4000);
    for (int i = 0; i < 3; i++)
        race.c[i] = weft_chan_make(int, 0);
    weft_waitgroup wg = {0};
    for (int i = 0; i < 3; i++) {
        weft_wg_go(&wg, select_with_timeouts, &race, n, test_random());
        weft_wg_go(&wg, turn_round, &race, n, test_random());
    }
    struct turn turn = {&race, n / 4, test_random()};
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, turn_round_on_a_thread, &turn), 0);
    weft_wg_wait(&wg);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(atomic_load(&race.sent), atomic_load(&race.received));
    for (int i = 0; i < 3; i++)
        weft_chan_free(race.c[i]); /* fatal if a finished select left anything linked */
}

static void receive_until_closed(weft_chan(int) c, _Atomic int *got, uint64_t seed)
{
    dither(&seed);
    for (int value; weft_recv(c, &value);)
        atomic_fetch_add(got, 1);
}

static void send_until_closed(weft_chan(int) c, _Atomic int *sent, uint64_t seed)
{
    dither(&seed);
    int status;
    while ((status = weft_send(c, 1)) == 0)
        atomic_fetch_add(sent, 1);
    CHECK_EQ(status, -EPIPE);
}

/* Close against parked and parking ones; the channel is freed as soon as all have returned. */
TEST_BOTH(CloseAgainstEverybody)
{
    for (int round = 0; round < test_scale(1500); round++) {
        uint64_t seed = test_random();
        _Atomic int sent = 0, got = 0;
        weft_chan(int) c = weft_chan_make(int, (size_t)(round % 3));
        weft_waitgroup wg = {0};
        for (int i = 0; i < 3; i++) {
            weft_wg_go(&wg, receive_until_closed, c, &got, test_random_from(&seed));
            if (i < round % 4)
                weft_wg_go(&wg, send_until_closed, c, &sent, test_random_from(&seed));
        }
        dither(&seed);
        if (round % 8 == 0)
            nap_ns(50000);
        CHECK_EQ(weft_close(c), 0);
        weft_wg_wait(&wg);
        CHECK_EQ(atomic_load(&sent), atomic_load(&got));
        weft_chan_free(c);
    }
}

static void pass_baton(weft_mutex *locks, int me, int n, int times, int *turns, uint64_t seed)
{
    for (int i = 0; i < times; i++) {
        dither(&seed);
        weft_lock(&locks[me]);
        *turns += 1; /* one lock is free at any time, so one goroutine is here */
        weft_unlock(&locks[(me + 1) % n]);
    }
}

/* A ring of locks that each unlocks for the next: every lock() parks or nearly parks. */
TEST_BOTH(MutexRing)
{
    enum { N = 5 };
    int turns = 0, times = test_scale(4000);
    weft_mutex locks[N] = {{0}};
    for (int i = 1; i < N; i++)
        weft_lock(&locks[i]);
    weft_waitgroup wg = {0};
    for (int i = 0; i < N; i++)
        weft_wg_go(&wg, pass_baton, locks, i, N, times, &turns, test_random());
    weft_wg_wait(&wg);
    CHECK_EQ(turns, N * times);
}

static void done_after_dither(weft_waitgroup *wg, uint64_t seed)
{
    dither(&seed);
    weft_wg_done(wg);
}

TEST_BOTH(WaitAgainstDone)
{
    uint64_t seed = test_random();
    for (int round = 0; round < test_scale(20000); round++) {
        weft_waitgroup wg = {0};
        weft_wg_add(&wg, 2);
        weft_go(done_after_dither, &wg, test_random_from(&seed));
        weft_go(done_after_dither, &wg, test_random_from(&seed));
        dither(&seed);
        weft_wg_wait(&wg);
    }
}

static void sleep_shortly(int n, uint64_t seed)
{
    for (int i = 0; i < n; i++) {
        int64_t ns = (int64_t)(test_random_from(&seed) % 5000), start_ns = clock_ns();
        CHECK_EQ(weft_sleep(ns), 0);
        CHECK(clock_ns() - start_ns >= ns);
    }
}

/* Timers that fire while their goroutine is still on its way to sleep. */
TEST_BOTH(SleepsShorterThanAPark)
{
    weft_waitgroup wg = {0};
    for (int i = 0; i < 6; i++)
        weft_wg_go(&wg, sleep_shortly, test_scale(5000), test_random());
    weft_wg_wait(&wg);
}

TEST_MAIN()
