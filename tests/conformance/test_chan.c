/* test_chan.c — what the programs of Go's test/chan check, one test per program: doubleselect, fifo, goroutines, nonblock,
   select3, select4, select5, select6, select7, sieve1, zerosize. */
#include <weft.h>

#include <errno.h>

#include "../test.h"

typedef weft_chan(int) int_chan;

/* ---- doubleselect: a send in a select over four channels happens on one of them only ---- */

static void send_on_any(int_chan *c, int n)
{
    for (int i = 0; i < n; i++)
        CHECK(weft_select([0] = weft_on_send(c[0], i), [1] = weft_on_send(c[1], i), [2] = weft_on_send(c[2], i),
                          [3] = weft_on_send(c[3], i)) >= 0);
    for (int k = 0; k < 4; k++)
        CHECK_EQ(weft_close(c[k]), 0);
}

static void merge(int_chan in, int_chan out, weft_waitgroup *open)
{
    for (int value; weft_recv(in, &value);)
        CHECK_EQ(weft_send(out, value), 0);
    weft_wg_done(open);
}

static void close_when_done(weft_waitgroup *open, int_chan out)
{
    weft_wg_wait(open);
    CHECK_EQ(weft_close(out), 0);
}

TEST_BOTH(doubleselect)
{
    int n = test_scale(50000), received = 0;
    int_chan c[4], merged = weft_chan_make(int, 0);
    weft_waitgroup wg = {0}, open = {0};
    unsigned char *seen = calloc((size_t)n, 1);
    weft_wg_add(&open, 4);
    for (int k = 0; k < 4; k++) {
        c[k] = weft_chan_make(int, 0);
        weft_wg_go(&wg, merge, c[k], merged, &open);
    }
    weft_wg_go(&wg, close_when_done, &open, merged);
    weft_wg_go(&wg, send_on_any, c, n);
    for (int value; weft_recv(merged, &value); received++) {
        CHECK(value >= 0 && value < n);
        CHECK(!seen[value]);
        seen[value] = 1;
    }
    CHECK_EQ(received, n);
    weft_wg_wait(&wg);
    for (int k = 0; k < 4; k++)
        weft_chan_free(c[k]);
    weft_chan_free(merged);
    free(seen);
}

/* ---- fifo ---- */

static void receive_in_turn(int_chan c, int expected, int_chan before, int_chan after)
{
    int value = -1;
    CHECK(weft_recv(before, NULL));
    CHECK(weft_recv(c, &value));
    CHECK_EQ(value, expected);
    CHECK_EQ(weft_send(after, 1), 0);
}

TEST_BOTH(fifo)
{
    enum { N = 10 };
    int_chan buffered = weft_chan_make(int, N), c = weft_chan_make(int, 0), link[N + 1];
    weft_waitgroup wg = {0};
    for (int i = 0; i < N; i++)
        CHECK_EQ(weft_send(buffered, i), 0);
    for (int i = 0; i < N; i++) {
        int value = -1;
        CHECK(weft_recv(buffered, &value));
        CHECK_EQ(value, i);
    }
    for (int i = 0; i <= N; i++)
        link[i] = weft_chan_make(int, 0);
    for (int i = 0; i < N; i++)
        weft_wg_go(&wg, receive_in_turn, c, i, link[i], link[i + 1]);
    CHECK_EQ(weft_send(link[0], 0), 0);
    for (int i = 0; i < N; i++)
        CHECK_EQ(weft_send(c, i), 0);
    CHECK(weft_recv(link[N], NULL));
    weft_wg_wait(&wg);
    for (int i = 0; i <= N; i++)
        weft_chan_free(link[i]);
    weft_chan_free(buffered);
    weft_chan_free(c);
}

/* ---- goroutines: a chain of 10,000, each passing on what it receives; each frees the link that it received from ---- */

static void pass_on(int_chan to, int_chan from)
{
    int value = -1;
    CHECK(weft_recv(from, &value));
    weft_chan_free(from);
    CHECK_EQ(weft_send(to, value + 1), 0);
}

TEST_BOTH(goroutines)
{
    int n = test_scale(10000), value = -1;
    int_chan leftmost = weft_chan_make(int, 0), left = leftmost, right = leftmost;
    for (int i = 0; i < n; i++) {
        right = weft_chan_make(int, 0);
        weft_go(pass_on, left, right);
        left = right;
    }
    CHECK_EQ(weft_send(right, 0), 0);
    CHECK(weft_recv(leftmost, &value));
    CHECK_EQ(value, n);
    weft_chan_free(leftmost);
}

/* ---- nonblock: for elements of several types, with and without a buffer ---- */

struct triple {
    int64_t a, b, c;
};

#define NONBLOCK_OF(T, name, ...)                                                                                           \
    static T const name##_value = __VA_ARGS__;                                                                              \
    static void name##_receive(weft_chan(T) c, int_chan strobe)                                                             \
    {                                                                                                                       \
        T got;                                                                                                              \
        CHECK(weft_recv(c, &got));                                                                                          \
        CHECK(memcmp(&got, &name##_value, sizeof got) == 0);                                                                \
        weft_send(strobe, 1);                                                                                               \
    }                                                                                                                       \
    static void name##_send(weft_chan(T) c, int_chan strobe)                                                                \
    {                                                                                                                       \
        CHECK_EQ(weft_send(c, name##_value), 0);                                                                            \
        weft_send(strobe, 1);                                                                                               \
    }                                                                                                                       \
    static void name##_nonblock(size_t capacity, bool by_select)                                                            \
    {                                                                                                                       \
        weft_chan(T) c = weft_chan_make(T, capacity);                                                                       \
        int_chan strobe = weft_chan_make(int, 0);                                                                           \
        T got;                                                                                                              \
        bool ok = false;                                                                                                    \
        CHECK_EQ(weft_try_recv(c, &got), -EAGAIN);                                                                          \
        CHECK_EQ(weft_try_select([0] = weft_on_recv(c, &got, &ok)), -EAGAIN);                                               \
        if (capacity == 0)                                                                                                  \
            CHECK_EQ(weft_try_send(c, name##_value), -EAGAIN);                                                              \
        weft_go(name##_receive, c, strobe);                                                                                 \
        while (by_select ? weft_try_select([0] = weft_on_send(c, name##_value)) : weft_try_send(c, name##_value))           \
            weft_yield();                                                                                                   \
        CHECK(weft_recv(strobe, NULL));                                                                                     \
        weft_go(name##_send, c, strobe);                                                                                    \
        memset(&got, 0, sizeof got);                                                                                        \
        while (by_select ? weft_try_select([0] = weft_on_recv(c, &got, &ok)) : weft_try_recv(c, &got))                      \
            weft_yield();                                                                                                   \
        CHECK(ok == by_select);                                                                                             \
        CHECK(memcmp(&got, &name##_value, sizeof got) == 0);                                                                \
        CHECK(weft_recv(strobe, NULL));                                                                                     \
        if (capacity == 1) {                                                                                                \
            CHECK_EQ(weft_try_send(c, name##_value), 0);                                                                    \
            CHECK_EQ(weft_try_send(c, name##_value), -EAGAIN);                                                              \
            CHECK_EQ(weft_try_select([0] = weft_on_send(c, name##_value)), -EAGAIN);                                        \
            CHECK_EQ(weft_try_recv(c, &got), 0);                                                                            \
            CHECK_EQ(weft_try_recv(c, &got), -EAGAIN);                                                                      \
        }                                                                                                                   \
        weft_chan_free(c);                                                                                                  \
        weft_chan_free(strobe);                                                                                             \
    }
NONBLOCK_OF(int32_t, nonblock_int, 123)
NONBLOCK_OF(char *, nonblock_string, "hello")
NONBLOCK_OF(bool, nonblock_bool, true)
NONBLOCK_OF(struct triple, nonblock_struct, {1, -2, INT64_MAX})

TEST_BOTH(nonblock)
{
    for (int i = 0; i < test_shorten(4, 40); i++) {
        size_t capacity = (size_t)i % 2;
        bool by_select = i / 2 % 2;
        nonblock_int_nonblock(capacity, by_select);
        nonblock_string_nonblock(capacity, by_select);
        nonblock_bool_nonblock(capacity, by_select);
        nonblock_struct_nonblock(capacity, by_select);
    }
}

/* ---- select3: which operations wait for ever, on what kind of channel ---- */

enum operation { SEND, RECV, SELECT_SEND, SELECT_RECV, SELECT_BOTH, SELECT_NOTHING, OPERATIONS };
enum state { NIL, CLOSED, FULL, EMPTY, UNBUFFERED, STATES };
enum { BLOCKS = 1000 };

static int carry_out(enum operation operation, int_chan c)
{
    int value = -1;
    switch (operation) {
    case SEND:
        return weft_send(c, 7);
    case RECV:
        return weft_recv_status(c, &value);
    case SELECT_SEND:
        return weft_select([1] = weft_on_send(c, 7));
    case SELECT_RECV:
        return weft_select([1] = weft_on_recv(c, &value));
    case SELECT_BOTH:
        return weft_select([1] = weft_on_recv((int_chan)NULL, &value), [2] = weft_on_send(c, 7));
    default:
        return weft_select([5] = (weft_case){.op = WEFT_CASE_NONE});
    }
}

static void report(int operation, int_chan c, int_chan result)
{
    weft_send(result, carry_out((enum operation)operation, c));
}

/* What is expected: a result, or BLOCKS. */
static const int expectations[OPERATIONS][STATES] = {
    [SEND] = {[NIL] = BLOCKS, [CLOSED] = -EPIPE, [FULL] = BLOCKS, [EMPTY] = 0, [UNBUFFERED] = BLOCKS},
    [RECV] = {[NIL] = BLOCKS, [CLOSED] = -EPIPE, [FULL] = 0, [EMPTY] = BLOCKS, [UNBUFFERED] = BLOCKS},
    [SELECT_SEND] = {[NIL] = BLOCKS, [CLOSED] = -EPIPE, [FULL] = BLOCKS, [EMPTY] = 1, [UNBUFFERED] = BLOCKS},
    [SELECT_RECV] = {[NIL] = BLOCKS, [CLOSED] = 1, [FULL] = 1, [EMPTY] = BLOCKS, [UNBUFFERED] = BLOCKS},
    [SELECT_BOTH] = {[NIL] = BLOCKS, [CLOSED] = -EPIPE, [FULL] = BLOCKS, [EMPTY] = 2, [UNBUFFERED] = BLOCKS},
    [SELECT_NOTHING] = {[NIL] = BLOCKS, [CLOSED] = BLOCKS, [FULL] = BLOCKS, [EMPTY] = BLOCKS, [UNBUFFERED] = BLOCKS},
};

static int_chan *kept; /* for the results of those who wait for ever; grows with each run of the test */
static int n_kept;

static void keep(int_chan result)
{
    kept = realloc(kept, ((size_t)n_kept + 1) * sizeof *kept);
    CHECK(kept);
    kept[n_kept++] = result;
}

static void expect(enum operation operation, enum state state)
{
    int_chan c = state == NIL ? NULL : weft_chan_make(int, state == FULL || state == EMPTY);
    int_chan result = weft_chan_make(int, 1);
    int value = -1;
    if (state == CLOSED)
        CHECK_EQ(weft_close(c), 0);
    if (state == FULL)
        CHECK_EQ(weft_send(c, 1), 0);
    weft_go(report, (int)operation, c, result);
    int64_t patience_ns = expectations[operation][state] == BLOCKS ? 4 * WEFT_MS : WEFT_MINUTE;
    int chosen = weft_select([0] = weft_on_recv(result, &value), [1] = weft_on_timeout(patience_ns));
    CHECK_EQ(chosen == 0 ? value : BLOCKS, expectations[operation][state]);
    if (chosen == 0) {
        weft_chan_free(result);
    } else if (state == NIL || operation == SELECT_NOTHING) {
        keep(result); /* its goroutine waits for ever, as it should */
    } else {
        CHECK_EQ(weft_close(c), 0);
        CHECK(weft_recv(result, &value));
        CHECK_EQ(value, operation == SELECT_RECV ? 1 : -EPIPE);
        weft_chan_free(result);
    }
    weft_chan_free(c);
}

TEST_BOTH(select3)
{
    for (int operation = 0; operation < OPERATIONS; operation++)
        for (int state = 0; state < STATES; state++)
            expect((enum operation)operation, (enum state)state);
    for (int i = 0; i < n_kept; i++)
        CHECK_EQ(weft_chan_len(kept[i]), 0);
}

/* ---- select4: nothing of a case that is not chosen is touched ---- */

TEST_BOTH(select4)
{
    int_chan c = weft_chan_make(int, 1), nil = NULL;
    int *nowhere = (int *)8; /* touching it would fault */
    int value = 0;
    CHECK_EQ(weft_send(c, 42), 0);
    CHECK_EQ(weft_select([0] = weft_on_recv(nil, nowhere, (bool *)8), [1] = weft_on_recv(c, &value)), 1);
    CHECK_EQ(value, 42);
    CHECK_EQ(weft_try_select([0] = weft_on_recv(nil, nowhere), [1] = weft_on_recv(c, nowhere, (bool *)8)), -EAGAIN);
    CHECK_EQ(weft_select([0] = weft_on_recv(c, nowhere, (bool *)8), [1] = weft_on_timeout(WEFT_MS)), 1);
    weft_chan_free(c);
}

/* ---- select5: random selects with one case that can be carried out, or none; every operand is evaluated once ---- */

static int evaluated;

static int_chan channel_once(int_chan c)
{
    evaluated++;
    return c;
}

static int *target_once(int *p)
{
    evaluated += 10;
    return p;
}

static int value_once(int value)
{
    evaluated += 100;
    return value;
}

enum { MOST_CASES = 12 };

/* Makes a case that cannot be carried out; what it would touch is given by channel and target. */
static weft_case unready_case(int_chan nil_or_stuck, bool sends, int *target)
{
    static bool ok; /* never written: no unready case is chosen */
    return sends ? (weft_case){.op = WEFT_CASE_SEND, .chan = WEFT_CORE_(nil_or_stuck), .value = target}
                 : (weft_case){.op = WEFT_CASE_RECV, .chan = WEFT_CORE_(nil_or_stuck), .value = target, .ok = &ok};
}

static void random_select(int_chan full, int_chan empty)
{
    weft_case cases[MOST_CASES];
    int_chan c = weft_chan_make(int, 1);
    int untouched[MOST_CASES], value = 31;
    int n = 1 + (int)(test_random() % MOST_CASES), ready = (int)(test_random() % (unsigned)n);
    bool ok = false, none = test_random() % 4 == 0, sends = test_random() % 2, closed = !none && test_random() % 4 == 0;
    for (int i = 0; i < n; i++) {
        untouched[i] = i;
        switch (test_random() % 4) {
        case 0:
            cases[i] = (weft_case){.op = WEFT_CASE_NONE};
            break;
        case 1:
            cases[i] = unready_case(NULL, test_random() % 2, &untouched[i]);
            break;
        case 2:
            cases[i] = unready_case(full, true, &untouched[i]);
            break;
        default:
            cases[i] = unready_case(empty, false, &untouched[i]);
            break;
        }
    }
    if (!none && !sends && !closed)
        CHECK_EQ(weft_send(c, 32), 0);
    if (closed)
        CHECK_EQ(weft_close(c), 0);
    if (!none)
        cases[ready] = sends ? (weft_case){.op = WEFT_CASE_SEND, .chan = WEFT_CORE_(c), .value = &value}
                             : (weft_case){.op = WEFT_CASE_RECV, .chan = WEFT_CORE_(c), .value = &value, .ok = &ok};
    int chosen = weft_select_(cases, (unsigned)n, !none && test_random() % 2);
    CHECK_EQ(chosen, none ? -EAGAIN : sends && closed ? -EPIPE : ready);
    CHECK_EQ(ok, !none && !sends && !closed);
    CHECK_EQ(value, none || sends ? 31 : closed ? 0 : 32);
    CHECK_EQ(weft_chan_len(c), !none && sends && !closed);
    for (int i = 0; i < n; i++)
        CHECK_EQ(untouched[i], i);
    CHECK(weft_chan_len(full) == 1 && weft_chan_len(empty) == 0);
    weft_chan_free(c);
}

TEST_BOTH(select5)
{
    int_chan full = weft_chan_make(int, 1), empty = weft_chan_make(int, 1);
    int value = 0;
    bool ok = false;
    CHECK_EQ(weft_send(full, 6), 0);
    for (int i = test_scale(20000); i > 0; i--)
        random_select(full, empty);
    CHECK_EQ(
        weft_select([0] = weft_on_send(channel_once(full), value_once(1)), [1] = weft_on_recv(channel_once(full),
                                                                                              target_once(&value), &ok)),
        1);
    CHECK_EQ(evaluated, 2 + 10 + 100);
    CHECK(value == 6 && ok);
    CHECK_EQ(weft_send(channel_once(full), value_once(2)), 0);
    CHECK(weft_recv(channel_once(full), target_once(&value)));
    CHECK_EQ(weft_try_recv(channel_once(full), target_once(&value)), -EAGAIN);
    CHECK_EQ(weft_try_send(channel_once(full), value_once(2)), 0);
    CHECK_EQ(evaluated, 2 + 10 + 100 + 4 + 20 + 200);
    evaluated = 0;
    weft_chan_free(full);
    weft_chan_free(empty);
}

/* ---- select6: a select that leaves a queue in which it was last leaves the queue usable ---- */

static void receive_one(int_chan c)
{
    CHECK(weft_recv(c, NULL));
}

static void wait_for_second(int_chan first, int_chan second, int_chan done)
{
    CHECK_EQ(weft_select([0] = weft_on_recv(first, NULL), [1] = weft_on_recv(second, NULL)), 1);
    CHECK_EQ(weft_send(done, 1), 0);
}

TEST_BOTH(select6)
{
    int_chan c = weft_chan_make(int, 0), second = weft_chan_make(int, 0), done = weft_chan_make(int, 0);
    weft_waitgroup wg = {0};
    weft_wg_go(&wg, receive_one, c);
    weft_sleep(WEFT_MS);
    weft_wg_go(&wg, wait_for_second, c, second, done); /* last in c's queue, most likely */
    weft_sleep(WEFT_MS);
    CHECK_EQ(weft_send(second, 1), 0);
    CHECK(weft_recv(done, NULL));
    weft_wg_go(&wg, receive_one, c); /* joins the queue that the select left */
    weft_sleep(WEFT_MS);
    CHECK_EQ(weft_send(c, 1), 0);
    CHECK_EQ(weft_send(c, 1), 0);
    weft_wg_wait(&wg);
    weft_chan_free(c);
    weft_chan_free(second);
    weft_chan_free(done);
}

/* ---- select7: every form of send meets every form of receive ---- */

static void send_in_form(int form, int_chan c)
{
    int_chan never = NULL;
    switch (form) {
    case 0:
        CHECK_EQ(weft_send(c, 1), 0);
        break;
    case 1:
        CHECK_EQ(weft_select([0] = weft_on_send(c, 1)), 0);
        break;
    default:
        CHECK_EQ(weft_select([0] = weft_on_send(never, 2), [1] = weft_on_send(c, 1)), 1);
        break;
    }
}

static void receive_in_form(int form, int_chan c)
{
    int_chan never = weft_chan_make(int, 0);
    int value = 0;
    switch (form) {
    case 0:
        CHECK(weft_recv(c, &value));
        break;
    case 1:
        CHECK_EQ(weft_select([0] = weft_on_recv(c, &value)), 0);
        break;
    default:
        CHECK_EQ(weft_select([0] = weft_on_recv(never, &value), [1] = weft_on_recv(c, &value)), 1);
        break;
    }
    CHECK_EQ(value, 1);
    weft_chan_free(never);
}

TEST_BOTH(select7)
{
    for (int i = 0; i < test_shorten(36, 360); i++) {
        int_chan c = weft_chan_make(int, (size_t)i / 9 % 2);
        weft_waitgroup wg = {0};
        int send_form = i % 3, receive_form = i / 3 % 3;
        if (i / 18 % 2) {
            weft_wg_go(&wg, receive_in_form, receive_form, c);
            weft_yield();
            send_in_form(send_form, c);
        } else {
            weft_wg_go(&wg, send_in_form, send_form, c);
            weft_yield();
            receive_in_form(receive_form, c);
        }
        weft_wg_wait(&wg);
        weft_chan_free(c);
    }
}

/* ---- sieve1: the prime sieve. A goroutine whose send finds its channel closed closes the one that it receives from, so
   that the whole chain ends. ---- */

static void generate(int_chan out)
{
    for (int i = 2; weft_send(out, i) == 0; i++)
        ;
}

static void filter(int_chan in, int_chan out, int prime)
{
    for (int i; weft_recv(in, &i);)
        if (i % prime != 0 && weft_send(out, i) != 0)
            break;
    CHECK_EQ(weft_close(in), 0);
}

TEST_BOTH(sieve1)
{
    enum { MOST = 120 };
    int n = test_shorten(30, MOST);
    int_chan chain[MOST + 1];
    weft_waitgroup wg = {0};
    chain[0] = weft_chan_make(int, 0);
    weft_wg_go(&wg, generate, chain[0]);
    for (int i = 0; i < n; i++) {
        static const int first[] = {2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79};
        int prime = 0;
        CHECK(weft_recv(chain[i], &prime));
        if (i < (int)(sizeof first / sizeof *first))
            CHECK_EQ(prime, first[i]);
        if (i == MOST - 1)
            CHECK_EQ(prime, 659);
        chain[i + 1] = weft_chan_make(int, 0);
        weft_wg_go(&wg, filter, chain[i], chain[i + 1], prime);
    }
    CHECK_EQ(weft_close(chain[n]), 0);
    weft_wg_wait(&wg);
    for (int i = 0; i <= n; i++)
        weft_chan_free(chain[i]);
}

/* ---- zerosize ---- */

struct nothing {
};

TEST_BOTH(zerosize)
{
    weft_chan(struct nothing) c = weft_chan_make(struct nothing, 2);
    weft_chan(struct nothing) huge = weft_chan_make(struct nothing, (size_t)1 << 40);
    struct nothing value = {};
    CHECK(c && huge);
    CHECK_EQ(weft_send(c, value), 0);
    CHECK_EQ(weft_try_send(c, value), 0);
    CHECK_EQ(weft_try_send(c, value), -EAGAIN);
    CHECK(weft_recv(c, &value));
    CHECK_EQ(weft_try_recv(c, NULL), 0);
    CHECK_EQ(weft_try_recv(c, &value), -EAGAIN);
    CHECK_EQ(weft_chan_cap(huge), (size_t)1 << 40);
    size_t n = (size_t)test_shorten(500, 5000);
    for (size_t i = 0; i < n; i++)
        CHECK_EQ(weft_send(huge, value), 0);
    CHECK_EQ(weft_chan_len(huge), n);
    weft_chan_free(c);
    weft_chan_free(huge);
}

TEST_MAIN()
