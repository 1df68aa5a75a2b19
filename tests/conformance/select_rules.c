/* select_rules.c — what select promises beyond Go: timeouts, gaps, one channel twice, many cases, fairness. */
#include <weft.h>

#include <errno.h>

#include "../test.h"

typedef weft_chan(int) int_chan;

/* ---- timeouts ---- */

TEST_BOTH(timeout_comes_after_its_time)
{
    int_chan c = weft_chan_make(int, 0);
    static const int64_t waits_ns[] = {1, WEFT_US, 300 * WEFT_US, 3 * WEFT_MS, 12 * WEFT_MS};
    for (size_t i = 0; i < sizeof waits_ns / sizeof *waits_ns; i++) {
        int64_t start_ns = weft_now();
        CHECK_EQ(weft_select([0] = weft_on_recv(c, NULL), [1] = weft_on_timeout(waits_ns[i])), 1);
        CHECK(weft_now() - start_ns >= waits_ns[i]);
        start_ns = weft_now();
        CHECK_EQ(weft_select([3] = weft_on_timeout(waits_ns[i])), 3);
        CHECK(weft_now() - start_ns >= waits_ns[i]);
    }
    weft_chan_free(c);
}

TEST_BOTH(timeout_not_above_zero_wins_only_if_nothing_is_ready)
{
    int_chan empty = weft_chan_make(int, 0), ready = weft_chan_make(int, 1), closed = weft_chan_make(int, 0);
    CHECK_EQ(weft_close(closed), 0);
    for (int i = test_scale(1000); i > 0; i--) {
        int64_t timeout_ns = i % 3 == 0 ? 0 : i % 3 == 1 ? -1 : INT64_MIN;
        CHECK_EQ(weft_select([0] = weft_on_recv(empty, NULL), [1] = weft_on_timeout(timeout_ns)), 1);
        CHECK_EQ(weft_select([0] = weft_on_timeout(timeout_ns), [1] = weft_on_send(ready, i)), 1);
        CHECK_EQ(weft_select([0] = weft_on_timeout(timeout_ns), [1] = weft_on_send(ready, i)), 0);
        CHECK_EQ(weft_select([0] = weft_on_timeout(timeout_ns), [1] = weft_on_recv(ready, NULL)), 1);
        CHECK_EQ(weft_select([0] = weft_on_timeout(timeout_ns), [1] = weft_on_recv(closed, NULL)), 1);
        CHECK_EQ(weft_select([0] = weft_on_timeout(timeout_ns), [1] = weft_on_send(closed, 1)), -EPIPE);
    }
    weft_chan_free(empty);
    weft_chan_free(ready);
    weft_chan_free(closed);
}

TEST_BOTH(earliest_of_several_timeouts)
{
    int_chan c = weft_chan_make(int, 0);
    CHECK_EQ(weft_select([0] = weft_on_timeout(WEFT_MINUTE), [1] = weft_on_recv(c, NULL), [2] = weft_on_timeout(WEFT_MS),
                         [3] = weft_on_timeout(INT64_MAX)),
             2);
    CHECK_EQ(weft_select([0] = weft_on_timeout(WEFT_MINUTE), [1] = weft_on_timeout(-1)), 1);
    weft_chan_free(c);
}

static void send_later(int_chan c, int value)
{
    weft_sleep(2 * WEFT_MS);
    CHECK_EQ(weft_send(c, value), 0);
}

TEST_BOTH(longest_timeout_never_comes)
{
    int_chan c = weft_chan_make(int, 0);
    for (int i = 0; i < 4; i++) {
        int value = 0;
        weft_go(send_later, c, i);
        CHECK_EQ(weft_select([0] = weft_on_timeout(INT64_MAX - i % 2), [1] = weft_on_recv(c, &value)), 1);
        CHECK_EQ(value, i);
    }
    weft_chan_free(c);
}

TEST_BOTH(try_select_ignores_timeouts)
{
    int_chan c = weft_chan_make(int, 1);
    CHECK_EQ(weft_try_select([0] = weft_on_timeout(0)), -EAGAIN);
    CHECK_EQ(weft_try_select([0] = weft_on_timeout(-5), [1] = weft_on_recv(c, NULL)), -EAGAIN);
    CHECK_EQ(weft_try_select([0] = weft_on_timeout(WEFT_MINUTE), [1] = weft_on_recv(c, NULL)), -EAGAIN);
    CHECK_EQ(weft_try_select([0] = weft_on_timeout(0), [1] = weft_on_send(c, 4)), 1);
    CHECK_EQ(weft_chan_len(c), 1);
    weft_chan_free(c);
}

/* ---- gaps and many cases ---- */

TEST_BOTH(gaps_are_ignored)
{
    int_chan c = weft_chan_make(int, 1);
    int value = 0;
    CHECK_EQ(weft_select([40] = weft_on_send(c, 8)), 40);
    CHECK_EQ(weft_select([2] = weft_on_recv(c, &value), [60] = weft_on_timeout(WEFT_MINUTE)), 2);
    CHECK_EQ(value, 8);
    CHECK_EQ(weft_try_select([9] = weft_on_recv(c, &value)), -EAGAIN);
    CHECK_EQ(weft_try_select([9] = (weft_case){.op = WEFT_CASE_NONE}), -EAGAIN);
    CHECK_EQ(weft_select([9] = (weft_case){.op = WEFT_CASE_NONE}, [11] = weft_on_timeout(0)), 11);
    CHECK_EQ(weft_select_(NULL, 0, false), -EAGAIN);
    weft_chan_free(c);
}

static void send_core(weft_chan_core *c, int value)
{
    CHECK_EQ(weft_chan_core_send(c, &value), 0);
}

static void select_over(unsigned n, unsigned distinct)
{
    weft_chan_core **channels = malloc(distinct * sizeof *channels);
    weft_case *cases = calloc(n, sizeof *cases);
    int *values = calloc(n, sizeof *values);
    for (unsigned i = 0; i < distinct; i++)
        channels[i] = weft_chan_core_make(sizeof(int), 0);
    for (unsigned i = 0; i < n; i++)
        cases[i] = (weft_case){.op = WEFT_CASE_RECV, .chan = channels[i % distinct], .value = &values[i]};
    CHECK_EQ(weft_select_(cases, n, false), -EAGAIN);
    for (int round = 0; round < 3; round++) {
        unsigned target = round == 0 ? 0 : round == 1 ? distinct - 1 : (unsigned)(test_random() % distinct);
        weft_waitgroup wg = {0};
        weft_wg_go(&wg, send_core, channels[target], 1 + round);
        int chosen = weft_select_(cases, n, true);
        CHECK(chosen >= 0 && (unsigned)chosen < n);
        CHECK_EQ((unsigned)chosen % distinct, target);
        CHECK_EQ(values[chosen], 1 + round);
        values[chosen] = 0;
        for (unsigned i = 0; i < n; i++)
            CHECK_EQ(values[i], 0);
        weft_wg_wait(&wg);
    }
    for (unsigned i = 0; i < distinct; i++)
        weft_chan_core_free(channels[i]);
    free(channels);
    free(cases);
    free(values);
}

TEST_GO(many_cases)
{
    const unsigned counts[] = {
        1, 2, 3, 63, 64, 65, 66, (unsigned)test_shorten(300, 1000), (unsigned)test_shorten(1000, 65535)};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        if (counts[i] > 1000 && !test_picked(15))
            continue;
        select_over(counts[i], counts[i]);
        select_over(counts[i], 1 + counts[i] / 10);
    }
    weft_case *cases = calloc(65536, sizeof *cases);
    cases[5] = (weft_case){.op = WEFT_CASE_TIMEOUT};
    CHECK_EQ(weft_select_(cases, 65536, true), -EINVAL);
    CHECK_EQ(weft_select_(cases, 65536, false), -EINVAL);
    CHECK_EQ(weft_select_(cases, 65535, true), 5);
    free(cases);
}

/* ---- the same channel more than once ---- */

static void send_several(int_chan c, int n)
{
    for (int i = 1; i <= n; i++)
        CHECK_EQ(weft_send(c, i), 0);
}

static void receive_several(int_chan c, int n, int *values)
{
    for (int i = 0; i < n; i++)
        CHECK(weft_recv(c, &values[i]));
}

TEST_BOTH(same_channel_twice)
{
    int n = test_scale(4000), *values = calloc((size_t)n, sizeof *values);
    for (size_t capacity = 0; capacity < 3; capacity += 2) {
        int_chan c = weft_chan_make(int, capacity);
        weft_waitgroup wg = {0};
        weft_wg_go(&wg, send_several, c, n);
        for (int i = 1; i <= n; i++) {
            int into[3] = {-1, -1, -1};
            bool ok = false;
            int chosen = weft_select([0] = weft_on_recv(c, &into[0], &ok), [1] = weft_on_recv(c, &into[1], &ok),
                                     [2] = weft_on_recv(c, &into[2], &ok));
            CHECK(chosen >= 0 && chosen < 3 && ok);
            for (int k = 0; k < 3; k++)
                CHECK_EQ(into[k], k == chosen ? i : -1);
        }
        weft_wg_wait(&wg);
        weft_wg_go(&wg, receive_several, c, n, values);
        int *expected = calloc((size_t)n, sizeof *expected);
        for (int i = 0; i < n; i++)
            expected[i] = 10 * i + weft_select([0] = weft_on_send(c, 10 * i), [1] = weft_on_send(c, 10 * i + 1));
        weft_wg_wait(&wg);
        for (int i = 0; i < n; i++)
            CHECK_EQ(values[i], expected[i]);
        free(expected);
        weft_chan_free(c);
    }
    free(values);
}

/* ---- fairness ---- */

enum { MOST = 8 };

/* Draws trials times; every one of n counts must be within 6 standard deviations (less than once in 10^8). */
static void check_fair(const long long *count, int n, long long trials)
{
    for (int k = 0; k < n; k++) {
        long long off = count[k] * n - trials; /* n times the deviation */
        if (off * off > 36 * trials * (n - 1))
            test_fail_equal_(__FILE__, __LINE__, "a fair choice", count[k], trials / n);
    }
}

TEST_BOTH(fair_among_ready_cases)
{
    long long trials = 200 + test_scale(9000);
    for (int n = 2; n <= MOST; n++) {
        for (int kind = 0; kind < 4; kind++) { /* closed to receive, room to send, one channel n times; tried */
            weft_case cases[MOST];
            long long count[MOST] = {0};
            int value = 3;
            weft_chan_core *c[MOST];
            for (int k = 0; k < n; k++) {
                c[k] = weft_chan_core_make(sizeof(int), (size_t)trials);
                cases[k] = (weft_case){.op = kind == 1 ? WEFT_CASE_SEND : WEFT_CASE_RECV, .chan = c[kind == 2 ? 0 : k]};
                cases[k].value = &value;
                if (kind != 1)
                    CHECK_EQ(weft_chan_core_close(c[k]), 0);
            }
            for (long long i = 0; i < trials; i++) {
                int chosen = weft_select_(cases, (unsigned)n, kind != 3);
                CHECK(chosen >= 0 && chosen < n);
                count[chosen]++;
            }
            check_fair(count, n, trials);
            for (int k = 0; k < n; k++)
                weft_chan_core_free(c[k]);
        }
    }
}

/* A case that never wins beside another that is always ready would be starvation. */
static void send_until_closed(int_chan c, int_chan stop)
{
    while (weft_select([0] = weft_on_send(c, 1), [1] = weft_on_recv(stop, NULL)) == 0)
        ;
}

TEST_BOTH(no_case_starves)
{
    int_chan busy = weft_chan_make(int, 4), rare = weft_chan_make(int, 0), stop = weft_chan_make(int, 0);
    weft_waitgroup wg = {0};
    int rare_ones = 0;
    weft_wg_go(&wg, send_until_closed, busy, stop);
    weft_wg_go(&wg, send_until_closed, busy, stop);
    weft_wg_go(&wg, send_until_closed, rare, stop);
    while (rare_ones < 100)
        rare_ones += weft_select([0] = weft_on_recv(busy, NULL), [1] = weft_on_recv(rare, NULL));
    CHECK_EQ(weft_close(stop), 0);
    weft_wg_wait(&wg);
    weft_chan_free(busy);
    weft_chan_free(rare);
    weft_chan_free(stop);
}

TEST_MAIN()
