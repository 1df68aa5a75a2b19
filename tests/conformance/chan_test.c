/* chan_test.c — what Go's runtime/chan_test.go checks, one test per name.

   Left out: NoShrinkStackWhileParking, because stacks never move here. ShrinkStackDuringBlockedSend and SelectStackAdjust
   keep what is left of their point: what lies on the stack of a goroutine that waits stays valid and may be pointed to. */
#include <weft.h>

#include <errno.h>

#include "../test.h"

#define SET(flag) __atomic_store_n(&(flag), 1, __ATOMIC_RELEASE)
#define GET(flag) __atomic_load_n(&(flag), __ATOMIC_ACQUIRE)

/* ---- Chan: blocking, closing, order and conservation for many capacities ---- */

static void receive_zero(weft_chan(int) c, int *received)
{
    int value = 1;
    CHECK(weft_recv(c, &value));
    CHECK_EQ(value, 0);
    SET(*received);
}

static void receive_blocks_when_empty(size_t capacity)
{
    weft_chan(int) c = weft_chan_make(int, capacity);
    weft_waitgroup wg = {0};
    int first = 0, second = 0;
    weft_wg_go(&wg, receive_zero, c, &first);
    weft_wg_go(&wg, receive_zero, c, &second);
    weft_sleep(WEFT_MS);
    CHECK(!GET(first) && !GET(second));
    CHECK_EQ(weft_try_recv(c, NULL), -EAGAIN);
    CHECK_EQ(weft_try_select([0] = weft_on_recv(c, NULL)), -EAGAIN);
    weft_send(c, 0);
    weft_send(c, 0);
    weft_wg_wait(&wg);
    CHECK(GET(first) && GET(second));
    weft_chan_free(c);
}

static void send_zero(weft_chan(int) c, int *sent)
{
    CHECK_EQ(weft_send(c, 0), 0);
    SET(*sent);
}

static void send_blocks_when_full(size_t capacity)
{
    weft_chan(int) c = weft_chan_make(int, capacity);
    weft_waitgroup wg = {0};
    int sent = 0;
    for (size_t i = 0; i < capacity; i++)
        CHECK_EQ(weft_send(c, (int)i), 0);
    weft_wg_go(&wg, send_zero, c, &sent);
    weft_sleep(WEFT_MS);
    CHECK(!GET(sent));
    CHECK_EQ(weft_chan_len(c), capacity);
    CHECK_EQ(weft_try_send(c, 0), -EAGAIN);
    CHECK_EQ(weft_try_select([0] = weft_on_send(c, 0)), -EAGAIN);
    CHECK(weft_recv(c, NULL));
    weft_wg_wait(&wg);
    CHECK(GET(sent));
    weft_chan_free(c);
}

static void closed_gives_what_is_buffered_then_zero(size_t capacity)
{
    weft_chan(int) c = weft_chan_make(int, capacity);
    for (size_t i = 0; i < capacity; i++)
        CHECK_EQ(weft_send(c, (int)i), 0);
    CHECK_EQ(weft_close(c), 0);
    for (size_t i = 0; i < capacity; i++) {
        int value = -1;
        CHECK(weft_recv(c, &value));
        CHECK_EQ(value, (int)i);
    }
    for (int i = 0; i < 2; i++) {
        int value = -1;
        bool ok = true;
        CHECK(!weft_recv(c, &value));
        CHECK_EQ(value, 0);
        value = -1;
        CHECK_EQ(weft_select([0] = weft_on_recv(c, &value, &ok)), 0);
        CHECK(value == 0 && !ok);
    }
    weft_chan_free(c);
}

static void expect_closed(weft_chan(int) c)
{
    int value = -1;
    CHECK(!weft_recv(c, &value));
    CHECK_EQ(value, 0);
}

static void close_wakes_a_receiver(size_t capacity)
{
    weft_chan(int) c = weft_chan_make(int, capacity);
    weft_waitgroup wg = {0};
    weft_wg_go(&wg, expect_closed, c);
    weft_sleep(WEFT_MS);
    CHECK_EQ(weft_close(c), 0);
    weft_wg_wait(&wg);
    weft_chan_free(c);
}

static void send_numbers(weft_chan(int) c, int n)
{
    for (int i = 0; i < n; i++)
        CHECK_EQ(weft_send(c, i), 0);
}

static void numbers_arrive_in_order(size_t capacity)
{
    weft_chan(int) c = weft_chan_make(int, capacity);
    weft_waitgroup wg = {0};
    for (int round = 0; round < 2; round++) {
        weft_wg_go(&wg, send_numbers, c, 100);
        for (int i = 0; i < 100; i++) {
            int value = -1;
            if (round == 0)
                CHECK(weft_recv(c, &value));
            else
                CHECK_EQ(weft_recv_status(c, &value), 0);
            CHECK_EQ(value, i);
        }
        weft_wg_wait(&wg);
    }
    weft_chan_free(c);
}

enum { PRODUCERS = 4, NUMBERS = 250 };

static void count_numbers(weft_chan(int) c, weft_chan(int *) results)
{
    int *counts = calloc(NUMBERS, sizeof *counts);
    for (int i = 0; i < NUMBERS; i++) {
        int value = -1;
        CHECK(weft_recv(c, &value));
        CHECK(value >= 0 && value < NUMBERS);
        counts[value]++;
    }
    weft_send(results, counts);
}

static void every_number_arrives_once(size_t capacity)
{
    weft_chan(int) c = weft_chan_make(int, capacity);
    weft_chan(int *) results = weft_chan_make(int *, 0);
    weft_waitgroup wg = {0};
    int total[NUMBERS] = {0};
    for (int p = 0; p < PRODUCERS; p++) {
        weft_wg_go(&wg, send_numbers, c, NUMBERS);
        weft_wg_go(&wg, count_numbers, c, results);
    }
    for (int p = 0; p < PRODUCERS; p++) {
        int *counts;
        CHECK(weft_recv(results, &counts));
        for (int i = 0; i < NUMBERS; i++)
            total[i] += counts[i];
        free(counts);
    }
    weft_wg_wait(&wg);
    for (int i = 0; i < NUMBERS; i++)
        CHECK_EQ(total[i], PRODUCERS);
    CHECK_EQ(weft_chan_len(c), 0);
    CHECK_EQ(weft_chan_cap(c), capacity);
    weft_chan_free(c);
    weft_chan_free(results);
}

TEST_BOTH(Chan)
{
    for (size_t capacity = 0; capacity < 200; capacity += capacity < 12 ? 1 : 23) {
        if (!test_picked(15))
            continue;
        receive_blocks_when_empty(capacity);
        send_blocks_when_full(capacity);
        closed_gives_what_is_buffered_then_zero(capacity);
        close_wakes_a_receiver(capacity);
        numbers_arrive_in_order(capacity);
        every_number_arrives_once(capacity);
    }
}

/* ---- non-blocking operations against a concurrent change: something is ready at every moment ---- */

static void receive_must_be_ready(weft_chan(int) c)
{
    CHECK(weft_try_recv(c, NULL) != -EAGAIN);
}

TEST_BOTH(NonblockRecvRace)
{
    for (int i = test_scale(10000); i > 0; i--) {
        weft_waitgroup wg = {0};
        weft_chan(int) c = weft_chan_make(int, 1);
        CHECK_EQ(weft_send(c, 1), 0);
        weft_wg_go(&wg, receive_must_be_ready, c);
        CHECK_EQ(weft_close(c), 0);
        weft_recv(c, NULL);
        weft_wg_wait(&wg);
        weft_chan_free(c);
    }
}

static void one_of_two_must_be_ready(weft_chan(int) a, weft_chan(int) b, weft_chan(int) done)
{
    int chosen = weft_try_select([0] = weft_on_recv(a, NULL), [1] = weft_on_recv(b, NULL));
    weft_send(done, chosen >= 0);
}

/* The value moves from a to b, or b is closed before a is emptied: a select that looked at one channel after the other
   could find both empty. */
static void select_race(bool by_close)
{
    weft_chan(int) done = weft_chan_make(int, 1);
    for (int i = test_scale(20000); i > 0; i--) {
        weft_chan(int) a = weft_chan_make(int, 1);
        weft_chan(int) b = weft_chan_make(int, 1);
        CHECK_EQ(weft_send(a, 1), 0);
        weft_go(one_of_two_must_be_ready, a, b, done);
        CHECK_EQ(by_close ? weft_close(b) : weft_send(b, 1), 0);
        weft_try_recv(a, NULL);
        int was_ready = 0;
        CHECK(weft_recv(done, &was_ready));
        CHECK(was_ready);
        weft_chan_free(a);
        weft_chan_free(b);
    }
    weft_chan_free(done);
}

TEST_BOTH(NonblockSelectRace)
{
    select_race(false);
}

TEST_BOTH(NonblockSelectRace2)
{
    select_race(true);
}

/* ---- select ---- */

static void send_or_receive(weft_chan(int) c, int self, int n)
{
    for (int i = 0; i < n; i++) {
        int value = -1;
        int chosen = self == 0 || i % 2 == 0 ? weft_select([0] = weft_on_send(c, self), [1] = weft_on_recv(c, &value))
                                             : weft_select([1] = weft_on_recv(c, &value), [0] = weft_on_send(c, self));
        CHECK(chosen == 0 || chosen == 1);
        if (chosen == 1)
            CHECK(value == !self || (value == self && weft_chan_cap(c) > 0));
    }
}

/* A select that would both send to and receive from one channel never meets itself. */
TEST_BOTH(SelfSelect)
{
    for (size_t capacity = 0; capacity <= 10; capacity += 10) {
        weft_chan(int) c = weft_chan_make(int, capacity);
        weft_waitgroup wg = {0};
        int n = test_scale(10000);
        weft_wg_go(&wg, send_or_receive, c, 0, n);
        weft_wg_go(&wg, send_or_receive, c, 1, n);
        weft_wg_wait(&wg);
        weft_chan_free(c);
    }
}

typedef weft_chan(int) int_chan;

static void send_zeros(int_chan c, int n)
{
    for (int i = 0; i < n; i++)
        CHECK_EQ(weft_send(c, 0), 0);
}

static void receive_zeros(int_chan c, int n)
{
    for (int i = 0; i < n; i++) {
        int value = 1;
        CHECK(weft_recv(c, &value));
        CHECK_EQ(value, 0);
    }
}

/* Carries out n operations on each of the four channels, whichever is ready. */
static void select_stress(int_chan *channels, int n, int sends)
{
    int_chan c[4] = {channels[0], channels[1], channels[2], channels[3]};
    int left[4] = {n, n, n, n};
    for (int i = 0; i < 4 * n; i++) {
        int v[4] = {1, 1, 1, 1};
        int chosen = sends ? weft_select([3] = weft_on_send(c[3], 0), [2] = weft_on_send(c[2], 0),
                                         [0] = weft_on_send(c[0], 0), [1] = weft_on_send(c[1], 0))
                           : weft_select([0] = weft_on_recv(c[0], &v[0]), [1] = weft_on_recv(c[1], &v[1]),
                                         [2] = weft_on_recv(c[2], &v[2]), [3] = weft_on_recv(c[3], &v[3]));
        CHECK(chosen >= 0 && chosen < 4);
        for (int k = 0; k < 4; k++)
            CHECK_EQ(v[k], sends || k != chosen);
        CHECK(c[chosen]); /* a NULL channel is never chosen */
        if (--left[chosen] == 0)
            c[chosen] = NULL;
    }
}

TEST_GO(SelectStress)
{
    static const size_t capacities[4] = {0, 0, 2, 3};
    int_chan c[4];
    weft_waitgroup wg = {0};
    int n = test_scale(40000);
    for (int k = 0; k < 4; k++) {
        c[k] = weft_chan_make(int, capacities[k]);
        weft_wg_go(&wg, send_zeros, c[k], n);
        weft_wg_go(&wg, receive_zeros, c[k], n);
    }
    weft_wg_go(&wg, select_stress, c, n, 1);
    weft_wg_go(&wg, select_stress, c, n, 0);
    weft_wg_wait(&wg);
    for (int k = 0; k < 4; k++) {
        CHECK_EQ(weft_chan_len(c[k]), 0);
        weft_chan_free(c[k]);
    }
}

static void forward_one_of_four(int_chan *in, int_chan out, int_chan done)
{
    for (;;) {
        int value = 0;
        weft_select([0] = weft_on_recv(in[2], &value), [1] = weft_on_recv(in[3], &value), [2] = weft_on_recv(in[0], &value),
                    [3] = weft_on_recv(in[1], &value));
        if (weft_select([0] = weft_on_send(out, value), [1] = weft_on_recv(done, NULL)) == 1)
            return;
    }
}

TEST_GO(SelectFairness)
{
    const long long trials = test_shorten(1000, 10000);
    int_chan in[4], out = weft_chan_make(int, 0), done = weft_chan_make(int, 0);
    weft_waitgroup wg = {0};
    for (int k = 0; k < 4; k++) /* the last two are never ready */
        in[k] = weft_chan_make(int, k < 2 ? (size_t)trials + 1 : 0);
    for (int k = 0; k < 2; k++)
        for (long long i = 0; i <= trials; i++)
            CHECK_EQ(weft_send(in[k], k), 0);
    weft_wg_go(&wg, forward_one_of_four, in, out, done);
    long long count[2] = {0, 0};
    for (long long i = 0; i < trials; i++) {
        int value = -1;
        CHECK(weft_recv(out, &value));
        CHECK(value == 0 || value == 1);
        count[value]++;
    }
    CHECK_EQ(weft_close(done), 0);
    weft_wg_wait(&wg);
    long long difference = count[0] - count[1]; /* variance: trials; 4.9 deviations happen once in a million */
    if (difference * difference > 24 * trials)
        test_fail_equal_(__FILE__, __LINE__, "a fair select", count[0], count[1]);
    for (int k = 0; k < 4; k++)
        weft_chan_free(in[k]);
    weft_chan_free(out);
    weft_chan_free(done);
}

struct payload {
    const char *name;
    double weight;
    char tag[5];
};

/* Go sends an interface value; a struct of several words is what comes nearest. */
TEST_BOTH(ChanSendInterface)
{
    weft_chan(struct payload) c = weft_chan_make(struct payload, 1);
    struct payload heavy = {"heavy", 2.5, "abcd"}, got = {0};
    CHECK_EQ(weft_send(c, heavy), 0);
    CHECK_EQ(weft_try_send(c, {"braces", 1, ""}), -EAGAIN);
    CHECK_EQ(weft_try_select([0] = weft_on_send(c, heavy)), -EAGAIN);
    CHECK_EQ(weft_try_select([0] = weft_on_send(c, heavy), [1] = weft_on_send(c, (struct payload){"light", 0, "x"})),
             -EAGAIN);
    CHECK(weft_recv(c, &got));
    CHECK(got.name == heavy.name && got.weight == 2.5 && strcmp(got.tag, "abcd") == 0);
    CHECK_EQ(weft_try_select([0] = weft_on_send(c, (struct payload){"light", 0.25, "x"})), 0);
    CHECK(weft_recv(c, &got));
    CHECK(strcmp(got.name, "light") == 0 && got.weight == 0.25 && strcmp(got.tag, "x") == 0);
    weft_chan_free(c);
}

static void receive_slowly(int_chan c, int *values, int n)
{
    for (int i = 0; i < n; i++) {
        weft_yield();
        CHECK(weft_recv(c, &values[i]));
    }
}

TEST_BOTH(PseudoRandomSend)
{
    enum { N = 100 };
    for (size_t capacity = 0; capacity <= N; capacity += 4) {
        if (!test_picked(15))
            continue;
        int_chan c = weft_chan_make(int, capacity);
        weft_waitgroup wg = {0};
        int values[N], ones = 0;
        weft_wg_go(&wg, receive_slowly, c, values, N);
        for (int i = 0; i < N; i++)
            CHECK_EQ(weft_select([0] = weft_on_send(c, 0), [1] = weft_on_send(c, 1)) >= 0, 1);
        weft_wg_wait(&wg);
        for (int i = 0; i < N; i++)
            ones += values[i];
        CHECK(ones > N / 10 && ones < N - N / 10);
        weft_chan_free(c);
    }
}

/* ---- many consumers ---- */

static const int primes[] = {2, 3, 7, 11, 13, 17, 19, 23, 27, 31};
enum { PRIMES = sizeof primes / sizeof *primes, WORKERS = 23 };

static void relay(int_chan in, int_chan out, int worker)
{
    for (int value; weft_recv(in, &value);) {
        if (primes[worker % PRIMES] == value)
            weft_yield();
        CHECK_EQ(weft_send(out, value), 0);
    }
}

static void feed(int_chan in, int_chan out, int n, long long *expected)
{
    weft_waitgroup wg = {0};
    for (int worker = 0; worker < WORKERS; worker++)
        weft_wg_go(&wg, relay, in, out, worker);
    for (int i = 0; i < n; i++) {
        *expected += primes[i % PRIMES];
        CHECK_EQ(weft_send(in, primes[i % PRIMES]), 0);
    }
    CHECK_EQ(weft_close(in), 0);
    weft_wg_wait(&wg);
    CHECK_EQ(weft_close(out), 0);
}

TEST_BOTH(MultiConsumer)
{
    int_chan in = weft_chan_make(int, WORKERS * 3), out = weft_chan_make(int, WORKERS * 3);
    long long expected = 0, sum = 0;
    int n = test_scale(200000), received = 0;
    weft_go(feed, in, out, n, &expected);
    for (int value; weft_recv(out, &value); received++)
        sum += value;
    CHECK_EQ(received, n);
    CHECK_EQ(sum, expected);
    weft_chan_free(in);
    weft_chan_free(out);
}

/* ---- what lies on the stack of a goroutine that waits ---- */

typedef weft_chan(int *) pointer_chan;

static __attribute__((noinline)) int send_from_the_deep(pointer_chan c, int depth)
{
    volatile unsigned char frame[512];
    for (size_t i = 0; i < sizeof frame; i++)
        frame[i] = (unsigned char)(depth + (int)i);
    int answer = 0;
    if (depth > 0) {
        answer = send_from_the_deep(c, depth - 1);
    } else {
        CHECK_EQ(weft_send(c, &answer), 0); /* waits at the end of a deep stack */
        while (!GET(answer))
            weft_yield();
    }
    for (size_t i = 0; i < sizeof frame; i++)
        CHECK_EQ(frame[i], (unsigned char)(depth + (int)i));
    return answer;
}

static void send_from_depth(pointer_chan c, int depth)
{
    CHECK_EQ(send_from_the_deep(c, depth), 77);
}

TEST_BOTH(ShrinkStackDuringBlockedSend)
{
    pointer_chan c = weft_chan_make(int *, 0);
    weft_waitgroup wg = {0};
    int *answer;
    for (int depth = 10; depth <= 100; depth += 10) {
        weft_wg_go(&wg, send_from_depth, c, depth);
        weft_yield();
    }
    weft_sleep(WEFT_MS);
    for (int i = 0; i < 10; i++) {
        CHECK(weft_recv(c, &answer));
        __atomic_store_n(answer, 77, __ATOMIC_RELEASE);
    }
    weft_wg_wait(&wg);
    weft_chan_free(c);
}

static void receive_pointers(pointer_chan c, pointer_chan d, int_chan ready, int twice)
{
    int on_stack = 5, *through = &on_stack, *x = NULL, *y = NULL;
    bool ok = false;
    CHECK_EQ(weft_send(ready, 1), 0);
    int chosen =
        twice ? weft_select([0] = weft_on_recv(c, &x, &ok), [1] = weft_on_recv(c, &x, &ok), [2] = weft_on_recv(d, &y, NULL))
              : weft_select([0] = weft_on_recv(c, &x, &ok), [2] = weft_on_recv(d, &y, NULL));
    CHECK(chosen == 0 || (chosen == 1 && twice));
    CHECK(ok && x && !y);
    CHECK_EQ(*x, 42);
    CHECK_EQ(*through, 5);
}

TEST_BOTH(SelectStackAdjust)
{
    pointer_chan c = weft_chan_make(int *, 0), d = weft_chan_make(int *, 0);
    int_chan ready = weft_chan_make(int, 0);
    weft_waitgroup wg = {0};
    int target = 42;
    for (int i = 0; i < test_shorten(4, 20); i++) {
        weft_wg_go(&wg, receive_pointers, c, d, ready, i % 2);
        CHECK(weft_recv(ready, NULL));
        if (i % 4 < 2)
            weft_sleep(WEFT_MS); /* long enough that it usually waits by now */
        CHECK_EQ(weft_send(c, &target), 0);
    }
    weft_wg_wait(&wg);
    weft_chan_free(c);
    weft_chan_free(d);
    weft_chan_free(ready);
}

/* ---- a select that waits twice on one channel leaves the queue whole ---- */

static void select_c_twice(int_chan c, int_chan d, int_chan e)
{
    CHECK_EQ(weft_select([0] = weft_on_recv(c, NULL), [1] = weft_on_recv(c, NULL), [2] = weft_on_recv(d, NULL)), 2);
    CHECK_EQ(weft_send(e, 9), 0);
}

TEST_BOTH(SelectDuplicateChannel)
{
    int_chan c = weft_chan_make(int, 0), d = weft_chan_make(int, 0), e = weft_chan_make(int, 0);
    weft_waitgroup wg = {0};
    int value = 0, got = 0;
    weft_wg_go(&wg, select_c_twice, c, d, e);
    weft_sleep(WEFT_MS);
    weft_wg_go(&wg, receive_zero, c, &got);
    weft_sleep(WEFT_MS);
    CHECK_EQ(weft_send(d, 7), 0); /* ends the select, which must leave the other receiver in c's queue */
    CHECK(weft_recv(e, &value));
    CHECK_EQ(value, 9);
    CHECK_EQ(weft_send(c, 0), 0);
    weft_wg_wait(&wg);
    CHECK(got);
    weft_chan_free(c);
    weft_chan_free(d);
    weft_chan_free(e);
}

TEST_MAIN()
