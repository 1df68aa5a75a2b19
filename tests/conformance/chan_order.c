/* chan_order.c — what happens before what: plain data that only channels protect (ThreadSanitizer sees a missing edge, a
   weakly ordered machine may show it), who is served first, and the end of a channel's life. */
#include <weft.h>

#include <errno.h>

#include "../test.h"

typedef weft_chan(int) int_chan;
typedef weft_chan(long *) pointer_chan;

/* ---- a send happens before its receive completes ---- */

static void publish(pointer_chan c, pointer_chan unused, int n)
{
    for (int i = 0; i < n; i++) {
        long *box = malloc(2 * sizeof *box);
        box[0] = i, box[1] = ~(long)i;
        if (i % 3 == 0)
            CHECK_EQ(weft_select([0] = weft_on_send(c, box), [1] = weft_on_recv(unused, NULL)), 0);
        else
            CHECK_EQ(weft_send(c, box), 0);
    }
    CHECK_EQ(weft_close(c), 0);
}

TEST_BOTH(send_before_receive)
{
    pointer_chan unused = weft_chan_make(long *, 0);
    for (size_t capacity = 0; capacity <= 8; capacity += 4) {
        pointer_chan c = weft_chan_make(long *, capacity);
        weft_waitgroup wg = {0};
        int n = test_scale(10000), i = 0;
        weft_wg_go(&wg, publish, c, unused, n);
        for (;; i++) {
            long *box = NULL;
            bool ok = false;
            if (i % 2)
                ok = weft_recv(c, &box);
            else
                CHECK_EQ(weft_select([0] = weft_on_recv(c, &box, &ok), [1] = weft_on_recv(unused, NULL)), 0);
            if (!ok)
                break;
            CHECK(box[0] == i && box[1] == ~(long)i);
            free(box);
        }
        CHECK_EQ(i, n);
        weft_wg_wait(&wg);
        weft_chan_free(c);
    }
    weft_chan_free(unused);
}

/* ---- without a buffer, the receive happens before the send completes ---- */

static void write_then_receive(int_chan c, long *shared, int n)
{
    for (int i = 0; i < n; i++) {
        *shared = i;
        CHECK(weft_recv(c, NULL)); /* hands *shared over */
        CHECK(weft_recv(c, NULL)); /* and has it back */
    }
}

TEST_BOTH(receive_before_send_completes)
{
    int_chan c = weft_chan_make(int, 0);
    weft_waitgroup wg = {0};
    long shared = -1;
    int n = test_scale(10000);
    weft_wg_go(&wg, write_then_receive, c, &shared, n);
    for (int i = 0; i < n; i++) {
        if (i % 2)
            CHECK_EQ(weft_send(c, 0), 0);
        else
            CHECK_EQ(weft_select([0] = weft_on_send(c, 0), [1] = weft_on_timeout(WEFT_MINUTE)), 0);
        CHECK_EQ(shared, i);
        shared = -1;
        CHECK_EQ(weft_send(c, 0), 0);
    }
    weft_wg_wait(&wg);
    weft_chan_free(c);
}

/* ---- the k-th receive happens before the (k+C)-th send completes: a channel as a semaphore ---- */

struct section {
    int_chan slots;
    long counter; /* plain; only the holder of the one slot touches it */
    int inside;   /* [atomic] */
    int limit;
};

static void enter_and_leave(struct section *s, int n)
{
    for (int i = 0; i < n; i++) {
        CHECK_EQ(weft_send(s->slots, i), 0);
        CHECK(__atomic_add_fetch(&s->inside, 1, __ATOMIC_RELAXED) <= s->limit);
        if (s->limit == 1)
            s->counter++;
        if (i % 16 == 0)
            weft_yield();
        __atomic_sub_fetch(&s->inside, 1, __ATOMIC_RELAXED);
        CHECK(weft_recv(s->slots, NULL));
    }
}

TEST_BOTH(channel_as_semaphore)
{
    enum { USERS = 8 };
    int n = test_scale(3000);
    for (int limit = 1; limit <= 3; limit++) {
        struct section s = {.slots = weft_chan_make(int, (size_t)limit), .limit = limit};
        weft_waitgroup wg = {0};
        for (int i = 0; i < USERS; i++)
            weft_wg_go(&wg, enter_and_leave, &s, n);
        weft_wg_wait(&wg);
        if (limit == 1)
            CHECK_EQ(s.counter, (long)USERS * n);
        weft_chan_free(s.slots);
    }
}

enum { RING = 4 };

struct ring {
    int_chan room, filled; /* room has the capacity of the ring: its sends wait for a free place */
    long places[RING];     /* plain */
};

static void fill_ring(struct ring *r, int n)
{
    for (int i = 0; i < n; i++) {
        CHECK_EQ(weft_send(r->room, 0), 0);
        r->places[i % RING] = i;
        CHECK_EQ(weft_send(r->filled, 0), 0);
    }
}

TEST_BOTH(kth_receive_before_later_send)
{
    struct ring r = {weft_chan_make(int, RING), weft_chan_make(int, 2 * RING), {0}};
    weft_waitgroup wg = {0};
    int n = test_scale(20000);
    weft_wg_go(&wg, fill_ring, &r, n);
    for (int i = 0; i < n; i++) {
        CHECK(weft_recv(r.filled, NULL));
        CHECK_EQ(r.places[i % RING], i);
        r.places[i % RING] = -1;
        CHECK(weft_recv(r.room, NULL));
    }
    weft_wg_wait(&wg);
    weft_chan_free(r.room);
    weft_chan_free(r.filled);
}

/* ---- a close happens before a receive that returns because of it, and before a send that fails because of it ---- */

static void read_after_close(int_chan c, int how, const long *shared)
{
    int_chan full = c;
    bool ok = true;
    switch (how % 4) {
    case 0:
        CHECK(!weft_recv(c, NULL));
        break;
    case 1:
        CHECK(weft_select([0] = weft_on_recv(c, NULL, &ok), [1] = weft_on_timeout(WEFT_MINUTE)) == 0 && !ok);
        break;
    case 2:
        while (weft_try_recv(c, NULL) == -EAGAIN)
            weft_yield();
        break;
    default:
        CHECK(weft_send(full, 0) == -EPIPE);
        break;
    }
    CHECK_EQ(*shared, 77);
}

TEST_BOTH(close_before_receive)
{
    for (int i = test_scale(300); i > 0; i--) {
        int_chan c = weft_chan_make(int, 0), full = weft_chan_make(int, 1);
        weft_waitgroup wg = {0};
        long shared = 0;
        CHECK_EQ(weft_send(full, 1), 0);
        for (int how = 0; how < 12; how++)
            weft_wg_go(&wg, read_after_close, how % 4 == 3 ? full : c, how, &shared);
        if (i % 2)
            weft_yield();
        shared = 77;
        CHECK_EQ(weft_close(c), 0);
        CHECK_EQ(weft_close(full), 0);
        weft_wg_wait(&wg);
        weft_chan_free(c);
        weft_chan_free(full);
    }
}

/* ---- first come, first served. Who waits cannot be seen from outside, so each waiter gets time to arrive; a machine that
   was too busy to let it arrive gets more attempts, with twice the time. Serving in any other order fails all of them. ---- */

enum { IN_LINE = 8, ATTEMPTS = 10 };

static void send_waiting(int_chan c, int_chan unused, int i)
{
    if (i % 2)
        CHECK_EQ(weft_select([0] = weft_on_send(c, i), [1] = weft_on_recv(unused, NULL)), 0);
    else
        CHECK_EQ(weft_send(c, i), 0);
}

static void receive_waiting(int_chan c, int_chan unused, int *place)
{
    if (((uintptr_t)place / sizeof *place) % 2)
        CHECK_EQ(weft_select([0] = weft_on_recv(c, place), [1] = weft_on_recv(unused, NULL)), 0);
    else
        CHECK(weft_recv(c, place));
}

static bool served_in_order(size_t capacity, bool senders_wait, int64_t patience_ns)
{
    int_chan c = weft_chan_make(int, capacity), unused = weft_chan_make(int, 0);
    weft_waitgroup wg = {0};
    int places[IN_LINE], value;
    bool in_order = true;
    for (size_t i = 0; senders_wait && i < capacity; i++)
        CHECK_EQ(weft_send(c, -1), 0);
    for (int i = 0; i < IN_LINE; i++) {
        if (senders_wait)
            weft_wg_go(&wg, send_waiting, c, unused, i);
        else
            weft_wg_go(&wg, receive_waiting, c, unused, &places[i]);
        weft_sleep(patience_ns);
    }
    for (size_t i = 0; senders_wait && i < capacity; i++)
        CHECK(weft_recv(c, &value) && value == -1);
    for (int i = 0; i < IN_LINE; i++) {
        if (senders_wait)
            CHECK(weft_recv(c, &places[i]));
        else
            CHECK_EQ(weft_send(c, i), 0);
    }
    weft_wg_wait(&wg);
    for (int i = 0; i < IN_LINE; i++)
        in_order = in_order && places[i] == i;
    weft_chan_free(c);
    weft_chan_free(unused);
    return in_order;
}

TEST_BOTH(waiting_ones_are_served_in_order)
{
    for (int kind = 0; kind < 4; kind++) {
        int attempt = 0;
        while (!served_in_order(kind < 2 ? 0 : 3, kind % 2, WEFT_MS << attempt))
            CHECK(++attempt < ATTEMPTS);
    }
}

/* ---- a receiver frees the channel as soon as it has the value, whether or not the send has returned ---- */

static void send_form(int_chan c, int_chan unused, int form)
{
    switch (form) {
    case 0:
        CHECK_EQ(weft_send(c, 41), 0);
        break;
    case 1:
        CHECK_EQ(weft_select([0] = weft_on_send(c, 41), [1] = weft_on_recv(unused, NULL)), 0);
        break;
    case 2:
        CHECK_EQ(weft_select([0] = weft_on_timeout(WEFT_MINUTE), [1] = weft_on_send(c, 41)), 1);
        break;
    default:
        while (weft_try_send(c, 41) == -EAGAIN)
            weft_yield();
        break;
    }
}

static void receive_form(int_chan c, int form)
{
    int value = 0;
    switch (form) {
    case 0:
        CHECK(weft_recv(c, &value));
        break;
    case 1:
        CHECK_EQ(weft_select([0] = weft_on_recv(c, &value), [1] = weft_on_timeout(WEFT_MINUTE)), 0);
        break;
    default:
        while (weft_try_recv(c, &value) == -EAGAIN)
            weft_yield();
        break;
    }
    CHECK_EQ(value, 41);
}

/* To start a goroutine and to be woken by it costs a thread two trips through the kernel. */
static int rounds(int n)
{
    return test_scale(weft_id() ? n : n / 8);
}

TEST_BOTH(receiver_frees_before_send_returns)
{
    int_chan unused = weft_chan_make(int, 0);
    weft_waitgroup wg = {0};
    for (int i = rounds(20000); i > 0; i--) {
        size_t capacity = (size_t)i / 12 % 2;
        int form = capacity || i % 4 != 3 ? i % 3 : i % 2; /* without a buffer, two that only try would never meet */
        int_chan c = weft_chan_make(int, capacity);
        if (i % 5 == 0 && capacity)
            CHECK_EQ(weft_send(c, 41), 0); /* so that the sender has to wait for room */
        weft_wg_go(&wg, send_form, c, unused, i % 4);
        if (i % 7 == 0)
            weft_yield();
        if (i % 5 == 0 && capacity)
            receive_form(c, 0);
        receive_form(c, form);
        weft_chan_free(c);
    }
    weft_wg_wait(&wg);
    weft_chan_free(unused);
}

static void send_either(int_chan c, int kind)
{
    int dropped = 0;
    int chosen = kind == 0   ? weft_select([0] = weft_on_send(c, 41), [1] = weft_on_send(c, 41))
                 : kind == 1 ? weft_select([0] = weft_on_send(c, 41), [1] = weft_on_recv(c, &dropped))
                             : weft_select([2] = weft_on_recv(c, &dropped), [0] = weft_on_send(c, 41));
    CHECK(chosen == 0 || (chosen == 1 && kind == 0));
}

/* Even when the sender waits on the channel in more than one way. */
TEST_BOTH(receiver_frees_before_select_with_twice_returns)
{
    weft_waitgroup wg = {0};
    for (int i = rounds(10000); i > 0; i--) {
        int_chan c = weft_chan_make(int, 0);
        weft_wg_go(&wg, send_either, c, i % 3);
        if (i % 7 == 0)
            weft_yield();
        receive_form(c, i / 3 % 2);
        weft_chan_free(c);
    }
    weft_wg_wait(&wg);
}

TEST_MAIN()
