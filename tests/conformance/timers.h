/* timers.h — what the tests of timers share. */
#ifndef TIMERS_H
#define TIMERS_H

#include "../workload.h"
#include <stdlib.h>
#include <weft.h>

#include "../test.h"

typedef weft_chan(int64_t) time_chan;

#define LATE (20 * WEFT_SECOND)
#define BIG (100000 * WEFT_SECOND)

/* Receives what comes at last, and checks that it is not early. */
static TEST_UNUSED_ void receive_after(time_chan c, int64_t due_ns)
{
    int64_t at_ns = 0;
    CHECK(weft_recv(c, &at_ns));
    CHECK(at_ns >= due_ns);
    CHECK(weft_now() >= at_ns);
    CHECK(weft_now() - due_ns < LATE);
}

static TEST_UNUSED_ void check_empty(time_chan c)
{
    CHECK_EQ(weft_try_recv(c, NULL), -EAGAIN);
    CHECK_EQ(weft_chan_len(c), 0);
}

static TEST_UNUSED_ void bump(_Atomic int *counter)
{
    atomic_fetch_add(counter, 1);
}

static TEST_UNUSED_ void wait_for_count(_Atomic int *counter, int n)
{
    int64_t end_ns = clock_ns() + LATE;
    while (atomic_load(counter) < n && clock_ns() < end_ns)
        weft_sleep(WEFT_MS);
    CHECK_EQ(atomic_load(counter), n);
}

static TEST_UNUSED_ void churn(int times, _Atomic bool *stop)
{
    for (int i = 0; i < times && !atomic_load(stop); i++) {
        void *p = malloc(1 + (size_t)i % 4096);
        free(p);
        if (i % 64 == 0)
            weft_yield();
    }
}

static TEST_UNUSED_ void adjust(int times, uint64_t seed)
{
    weft_timer *timer = weft_timer_make(WEFT_MINUTE);
    for (int i = 0; i < times; i++) {
        int64_t ns = (int64_t)(test_random_from(&seed) % 5) * WEFT_MS;
        if (i % 3 == 0)
            weft_timer_stop(timer);
        int64_t start_ns = weft_now();
        weft_timer_reset(timer, i % 3 == 1 ? WEFT_MINUTE : ns);
        weft_timer_reset(timer, ns);
        receive_after(weft_timer_chan(timer), start_ns + ns);
    }
    weft_timer_free(timer);
}

#endif
