/* chan_stress.c — many goroutines and a few threads on few channels, doing what random numbers say; nothing may be lost,
   doubled or invented. Books are kept as a count and a sum of hashes of what was sent and of what was received. */
#include <weft.h>

#include <errno.h>
#include <pthread.h>

#include "../test.h"

enum { THREADS = 4, SLOTS = 6 };

typedef weft_chan(uint64_t) number_chan;
typedef weft_chan(int) int_chan;

struct books {
    uint64_t count, sum;
};

static uint64_t hash(uint64_t value)
{
    return test_random_from(&value);
}

static void book(struct books *books, uint64_t value)
{
    books->count++;
    books->sum += hash(value);
}

/* [atomic] totals of those who have finished */
static struct books all_sent, all_received;
static uint64_t next_value; /* [atomic] */

static void hand_in(struct books *total, const struct books *books)
{
    __atomic_add_fetch(&total->count, books->count, __ATOMIC_RELAXED);
    __atomic_add_fetch(&total->sum, books->sum, __ATOMIC_RELAXED);
}

static uint64_t fresh_value(void)
{
    return __atomic_add_fetch(&next_value, 1, __ATOMIC_RELAXED);
}

static void check_books(void)
{
    CHECK_EQ(all_received.count, all_sent.count);
    CHECK_EQ(all_received.sum, all_sent.sum);
    CHECK(all_sent.count > 0);
    all_sent = all_received = (struct books){0};
}

/* ---- random operations on channels that are closed and replaced meanwhile ---- */

struct slot {
    weft_mutex mutex;
    number_chan chan; /* [mutex] holds a reference */
};

struct market {
    struct slot slots[SLOTS];
    int operations; /* [const] for each trader */
    int stop;       /* [atomic] */
};

static number_chan borrow(struct slot *slot)
{
    weft_scoped_lock(&slot->mutex);
    return weft_chan_ref(slot->chan);
}

/* Closes the channel in a slot and puts a new one there. What is left in the old one is taken out here, unless others do. */
static void replace(struct slot *slot, size_t capacity, struct books *received)
{
    number_chan fresh = weft_chan_make(uint64_t, capacity), old;
    CHECK(fresh);
    {
        weft_scoped_lock(&slot->mutex);
        old = slot->chan;
        slot->chan = fresh;
    }
    CHECK_EQ(weft_close(old), 0);
    for (uint64_t value; weft_recv(old, &value);)
        book(received, value);
    weft_chan_free(old);
}

/* One select that may send to or receive from either channel, and gives up after a while. */
static void trade_either(number_chan a, number_chan b, uint64_t r, struct books *sent, struct books *received)
{
    uint64_t offer = fresh_value(), got[2] = {0, 0};
    bool ok[2] = {false, false};
    int64_t timeout_ns = (int64_t)(r >> 40) % (30 * WEFT_US) - WEFT_US;
    int chosen;
    switch ((r >> 20) % 3) {
    case 0:
        chosen = weft_select([0] = weft_on_send(a, offer), [1] = weft_on_recv(b, &got[0], &ok[0]),
                             [2] = weft_on_timeout(timeout_ns));
        break;
    case 1:
        chosen = weft_select([0] = weft_on_send(a, offer), [1] = weft_on_recv(b, &got[0], &ok[0]),
                             [3] = weft_on_recv(a, &got[1], &ok[1]), [2] = weft_on_timeout(timeout_ns));
        break;
    default:
        chosen = weft_try_select([1] = weft_on_recv(a, &got[0], &ok[0]), [3] = weft_on_recv(b, &got[1], &ok[1]),
                                 [0] = weft_on_send(b, offer));
        break;
    }
    CHECK((chosen >= 0 && chosen <= 3) || chosen == -EPIPE || chosen == -EAGAIN);
    CHECK((!ok[0] || chosen == 1) && (!ok[1] || chosen == 3));
    if (chosen == 0)
        book(sent, offer);
    if (ok[0])
        book(received, got[0]);
    if (ok[1])
        book(received, got[1]);
}

static void trade(struct market *market)
{
    uint64_t random = test_random();
    struct books sent = {0, 0}, received = {0, 0};
    for (int i = 0; i < market->operations; i++) {
        uint64_t r = test_random_from(&random), value = fresh_value(), got;
        number_chan a = borrow(&market->slots[r % SLOTS]), b = borrow(&market->slots[(r >> 8) % SLOTS]);
        switch ((r >> 16) % 8) {
        case 0:
            if (weft_send(a, value) == 0)
                book(&sent, value);
            break;
        case 1:
            if (weft_recv(a, &got))
                book(&received, got);
            break;
        case 2:
            if (weft_try_send(a, value) == 0)
                book(&sent, value);
            break;
        case 3:
            if (weft_try_recv(a, &got) == 0)
                book(&received, got);
            break;
        default:
            trade_either(a, b, r, &sent, &received);
            break;
        }
        weft_chan_free(a);
        weft_chan_free(b);
        if (r >> 58 == 0)
            weft_yield();
    }
    hand_in(&all_sent, &sent);
    hand_in(&all_received, &received);
}

static void *trade_as_thread(void *market)
{
    trade(market);
    return NULL;
}

/* Replaces channels until it is told to stop, so that nobody waits for ever. */
static void keep_replacing(struct market *market)
{
    uint64_t random = test_random();
    struct books received = {0, 0};
    while (!__atomic_load_n(&market->stop, __ATOMIC_RELAXED)) {
        uint64_t r = test_random_from(&random);
        replace(&market->slots[r % SLOTS], (r >> 8) % 2 ? 0 : (r >> 16) % 20, &received);
        weft_sleep((int64_t)(r >> 32) % (200 * WEFT_US));
    }
    hand_in(&all_received, &received);
}

TEST_BOTH(trading_while_channels_are_replaced)
{
    struct market market = {.operations = test_scale(4000)};
    weft_waitgroup traders = {0}, replacer = {0};
    pthread_t threads[THREADS];
    struct books left = {0, 0};
    for (int i = 0; i < SLOTS; i++)
        market.slots[i].chan = weft_chan_make(uint64_t, (size_t)i);
    weft_wg_go(&replacer, keep_replacing, &market);
    for (int i = 0; i < 48; i++)
        weft_wg_go(&traders, trade, &market);
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, trade_as_thread, &market), 0);
    weft_wg_wait(&traders);
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    __atomic_store_n(&market.stop, 1, __ATOMIC_RELAXED);
    weft_wg_wait(&replacer);
    for (int i = 0; i < SLOTS; i++) {
        replace(&market.slots[i], 0, &left);
        weft_chan_free(market.slots[i].chan);
    }
    hand_in(&all_received, &left);
    check_books();
}

/* ---- selects meet selects: all wait to send to and to receive from the same unbuffered channels ---- */

struct crowd {
    number_chan channels[3];
    int_chan stop;
    int operations; /* [const] for each member */
};

static void mingle(struct crowd *crowd, int self)
{
    uint64_t random = test_random();
    struct books sent = {0, 0}, received = {0, 0};
    for (int i = 0; i < crowd->operations; i++) {
        uint64_t r = test_random_from(&random), offers[2] = {fresh_value() << 8 | (unsigned)self, 0}, got[2] = {0, 0};
        number_chan a = crowd->channels[r % 3], b = crowd->channels[(r >> 8) % 3], c = crowd->channels[(r >> 16) % 3];
        offers[1] = fresh_value() << 8 | (unsigned)self;
        int chosen =
            weft_select([0] = weft_on_send(a, offers[0]), [1] = weft_on_send(b, offers[1]), [2] = weft_on_recv(c, &got[0]),
                        [3] = weft_on_recv(a, &got[1]), [4] = weft_on_recv(crowd->stop, NULL));
        CHECK(chosen >= 0 && chosen <= 4);
        if (chosen == 4)
            break;
        if (chosen < 2) {
            book(&sent, offers[chosen]);
        } else {
            CHECK(got[chosen - 2] != 0 && got[3 - chosen] == 0);
            CHECK((int)(got[chosen - 2] & 255) != self); /* nobody meets himself */
            book(&received, got[chosen - 2]);
        }
    }
    hand_in(&all_sent, &sent);
    hand_in(&all_received, &received);
}

static void mingle_then_tell(struct crowd *crowd, int self, weft_chan(int) finished)
{
    mingle(crowd, self);
    CHECK_EQ(weft_send(finished, self), 0);
}

TEST_BOTH(selects_meet_selects)
{
    enum { MEMBERS = 16 };
    struct crowd crowd = {.stop = weft_chan_make(int, 0), .operations = test_scale(15000)};
    int_chan finished = weft_chan_make(int, MEMBERS);
    for (int i = 0; i < 3; i++)
        crowd.channels[i] = weft_chan_make(uint64_t, 0);
    for (int i = 0; i < MEMBERS; i++)
        weft_go(mingle_then_tell, &crowd, i, finished);
    /* The first to finish ends it for all: with fewer members, the rest might have nobody left to meet. */
    CHECK(weft_recv(finished, NULL));
    CHECK_EQ(weft_close(crowd.stop), 0);
    for (int i = 1; i < MEMBERS; i++)
        CHECK(weft_recv(finished, NULL));
    for (int i = 0; i < 3; i++)
        weft_chan_free(crowd.channels[i]);
    weft_chan_free(crowd.stop);
    weft_chan_free(finished);
    check_books();
}

/* ---- a value and a timeout arrive together: the value is taken or it stays, never both and never neither ---- */

struct duel {
    number_chan chan;
    int rounds;
};

static void send_or_time_out(struct duel *duel)
{
    uint64_t random = test_random();
    struct books sent = {0, 0};
    for (int i = 0; i < duel->rounds; i++) {
        uint64_t value = fresh_value();
        int64_t timeout_ns = (int64_t)(test_random_from(&random) % 4000);
        int chosen = weft_select([0] = weft_on_timeout(timeout_ns), [1] = weft_on_send(duel->chan, value));
        CHECK(chosen == 0 || chosen == 1);
        if (chosen == 1)
            book(&sent, value);
    }
    hand_in(&all_sent, &sent);
}

static void receive_or_time_out(struct duel *duel)
{
    uint64_t random = test_random();
    struct books received = {0, 0};
    for (;;) {
        uint64_t value = 0;
        bool ok = true;
        int64_t timeout_ns = (int64_t)(test_random_from(&random) % 4000);
        int chosen = weft_select([0] = weft_on_timeout(timeout_ns), [1] = weft_on_recv(duel->chan, &value, &ok));
        CHECK(chosen == 0 || chosen == 1);
        CHECK(chosen == 1 || (value == 0 && ok));
        if (chosen == 1 && !ok)
            break;
        if (chosen == 1)
            book(&received, value);
    }
    hand_in(&all_received, &received);
}

TEST_BOTH(value_against_timeout)
{
    for (size_t capacity = 0; capacity < 2; capacity++) {
        struct duel duel = {weft_chan_make(uint64_t, capacity), test_scale(3000)};
        weft_waitgroup senders = {0}, receivers = {0};
        for (int i = 0; i < 8; i++) {
            weft_wg_go(&senders, send_or_time_out, &duel);
            weft_wg_go(&receivers, receive_or_time_out, &duel);
        }
        weft_wg_wait(&senders);
        struct books sent = {0, 0};
        while (sent.count < 8) { /* some without a timeout, so that the books are never empty */
            uint64_t value = fresh_value();
            CHECK_EQ(weft_send(duel.chan, value), 0);
            book(&sent, value);
        }
        hand_in(&all_sent, &sent);
        CHECK_EQ(weft_close(duel.chan), 0);
        weft_wg_wait(&receivers);
        weft_chan_free(duel.chan);
        check_books();
    }
}

/* ---- a value and a close arrive together ---- */

static void send_once(number_chan c, int how)
{
    struct books sent = {0, 0};
    uint64_t value = fresh_value();
    int status =
        how % 2 ? weft_send(c, value) : weft_select([0] = weft_on_send(c, value), [1] = weft_on_timeout(WEFT_MINUTE));
    CHECK(status == 0 || status == -EPIPE);
    if (status == 0)
        book(&sent, value);
    hand_in(&all_sent, &sent);
}

static void receive_once(number_chan c, int how)
{
    struct books received = {0, 0};
    uint64_t value = 1;
    bool ok = false;
    if (how % 2)
        ok = weft_recv(c, &value);
    else
        CHECK_EQ(weft_select([0] = weft_on_recv(c, &value, &ok), [1] = weft_on_timeout(WEFT_MINUTE)), 0);
    CHECK(ok || value == 0);
    if (ok)
        book(&received, value);
    hand_in(&all_received, &received);
}

static void close_once(number_chan c)
{
    CHECK_EQ(weft_close(c), 0);
}

TEST_BOTH(value_against_close)
{
    for (int i = test_scale(3000); i > 0; i--) {
        number_chan c = weft_chan_make(uint64_t, (size_t)i % 3);
        weft_waitgroup wg = {0};
        for (int k = 0; k < 4; k++) {
            weft_wg_go(&wg, send_once, c, i + k);
            weft_wg_go(&wg, receive_once, c, i + k / 2);
            if (k == i % 5)
                weft_wg_go(&wg, close_once, c);
        }
        if (i % 5 == 4)
            close_once(c);
        weft_wg_wait(&wg);
        struct books left = {0, 0};
        for (uint64_t value; weft_recv(c, &value);)
            book(&left, value);
        hand_in(&all_received, &left);
        weft_chan_free(c);
    }
    struct books one = {0, 0}; /* so that the books are never empty */
    book(&one, 1);
    hand_in(&all_sent, &one);
    hand_in(&all_received, &one);
    check_books();
}

/* ---- closing a channel with many waiters, the last of which frees it while the closer is still on his way out ---- */

struct audience {
    number_chan chan;
    bool sends;
    int left; /* [atomic] */
    weft_waitgroup all;
};

static void expect_value(number_chan c)
{
    uint64_t value = 0;
    CHECK(weft_recv(c, &value)); /* false: it was taken for the one before it */
    CHECK_EQ(value, 42);
    weft_chan_free(c);
}

static void wait_in_audience(struct audience *audience, int selects)
{
    uint64_t value = 1;
    bool ok = true;
    if (audience->sends && selects)
        ok = weft_select([0] = weft_on_send(audience->chan, value)) == 0;
    else if (audience->sends)
        ok = weft_send(audience->chan, value) == 0;
    else if (selects)
        CHECK_EQ(weft_select([0] = weft_on_recv(audience->chan, &value, &ok), [1] = weft_on_timeout(WEFT_MINUTE)), 0);
    else
        ok = weft_recv(audience->chan, &value);
    CHECK(!ok && (audience->sends || value == 0));
    if (__atomic_sub_fetch(&audience->left, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    weft_chan_free(audience->chan);
    number_chan next = weft_chan_make(uint64_t, 0); /* in the same record, as a rule */
    weft_wg_go(&audience->all, expect_value, next);
    weft_yield();
    CHECK_EQ(weft_send(next, 42), 0);
}

TEST_BOTH(audience_leaves_a_closed_channel)
{
    static const int sizes[] = {1, 63, 64, 64, 64, 64, 65, 128, 200}; /* 64 are a batch */
    uint64_t state = test_random();
    for (int i = test_scale(10000); i > 0; i--) {
        int n = sizes[test_random_from(&state) % (sizeof sizes / sizeof *sizes)], some = (int)(test_random_from(&state) % 4);
        struct audience audience = {.chan = weft_chan_make(uint64_t, 0), .sends = i % 3 == 0, .left = n};
        for (int k = 0; k < n; k++)
            weft_wg_go(&audience.all, wait_in_audience, &audience, k % 4 < some);
        weft_sleep(i % 2 ? 0 : 100 * WEFT_US);
        CHECK_EQ(weft_close(audience.chan), 0);
        weft_wg_wait(&audience.all);
    }
}

TEST_MAIN()
