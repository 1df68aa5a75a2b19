/* chan_rules.c — the rules of channels and select that weft settles for C: NULL, closed and full channels, timeouts, gaps,
   sizes, references, fairness. */
#include <weft.h>

#include <errno.h>
#include <pthread.h>

#include "../test.h"

typedef weft_chan(int) int_chan;

/* ---- NULL channels ---- */

TEST_BOTH(null_channel_never_ready)
{
    int_chan nil = NULL;
    int value = 9;
    bool ok = true;
    CHECK_EQ(weft_try_send(nil, 1), -EAGAIN);
    CHECK_EQ(weft_try_recv(nil, &value), -EAGAIN);
    CHECK_EQ(weft_try_recv(nil, NULL), -EAGAIN);
    CHECK_EQ(weft_try_select([0] = weft_on_recv(nil, &value, &ok), [1] = weft_on_send(nil, 1)), -EAGAIN);
    CHECK_EQ(weft_select([0] = weft_on_recv(nil, &value, &ok), [2] = weft_on_send(nil, 1), [7] = weft_on_timeout(0)), 7);
    CHECK_EQ(weft_select([0] = weft_on_recv(nil, &value), [1] = weft_on_timeout(WEFT_MS)), 1);
    CHECK(value == 9 && ok);
    CHECK_EQ(weft_chan_len(nil), 0);
    CHECK_EQ(weft_chan_cap(nil), 0);
    CHECK(weft_chan_ref(nil) == NULL);
    weft_chan_free(nil);
}

static int blocked_returned; /* [atomic] calls on NULL channels that came back */

static void block_on_null(int how)
{
    int_chan nil = NULL;
    int value = 0;
    switch (how) {
    case 0:
        weft_send(nil, 1);
        break;
    case 1:
        weft_recv(nil, &value);
        break;
    case 2:
        weft_select([0] = weft_on_send(nil, 1), [1] = weft_on_recv(nil, NULL));
        break;
    case 3:
        weft_select([3] = (weft_case){.op = WEFT_CASE_NONE});
        break;
    default:
        weft_select_(NULL, 0, true);
        break;
    }
    __atomic_add_fetch(&blocked_returned, 1, __ATOMIC_RELAXED);
}

static void *block_thread_on_null(void *how)
{
    block_on_null((int)(intptr_t)how);
    return NULL;
}

TEST_BOTH(null_channel_blocks_for_ever)
{
    for (int how = 0; how < 5; how++) {
        pthread_t thread;
        weft_go(block_on_null, how);
        CHECK_EQ(pthread_create(&thread, NULL, block_thread_on_null, (void *)(intptr_t)how), 0);
        CHECK_EQ(pthread_detach(thread), 0);
    }
    weft_sleep(30 * WEFT_MS);
    CHECK_EQ(__atomic_load_n(&blocked_returned, __ATOMIC_RELAXED), 0);
}

/* ---- closed channels ---- */

TEST_BOTH(closed_channel_results)
{
    int_chan c = weft_chan_make(int, 2), other = weft_chan_make(int, 0);
    int value;
    bool ok;
    CHECK_EQ(weft_send(c, 5), 0);
    CHECK_EQ(weft_close(c), 0);
    CHECK_EQ(weft_close(c), -EPIPE);
    CHECK_EQ(weft_send(c, 6), -EPIPE);
    CHECK_EQ(weft_try_send(c, 6), -EPIPE);
    CHECK_EQ(weft_select([1] = weft_on_send(c, 6)), -EPIPE);
    CHECK_EQ(weft_select([1] = weft_on_send(c, 6), [2] = weft_on_recv(other, NULL)), -EPIPE);
    CHECK_EQ(weft_try_select([1] = weft_on_send(c, 6)), -EPIPE);
    CHECK_EQ(weft_chan_len(c), 1);
    CHECK_EQ(weft_recv_status(c, &value), 0);
    CHECK_EQ(value, 5);
    CHECK_EQ((value = 7, weft_recv_status(c, &value)), -EPIPE);
    CHECK_EQ(value, 0);
    CHECK_EQ((value = 7, weft_try_recv(c, &value)), -EPIPE);
    CHECK_EQ(value, 0);
    CHECK((value = 7, !weft_recv(c, &value)));
    CHECK_EQ(value, 0);
    value = 7, ok = true;
    CHECK_EQ(weft_select([4] = weft_on_recv(c, &value, &ok)), 4);
    CHECK(value == 0 && !ok);
    value = 7, ok = true;
    CHECK_EQ(weft_try_select([4] = weft_on_recv(c, &value, &ok)), 4);
    CHECK(value == 0 && !ok);
    CHECK_EQ(weft_chan_len(c), 0);
    CHECK_EQ(weft_chan_cap(c), 2);
    weft_chan_free(c);
    weft_chan_free(other);
}

enum { WAITERS = 24 };

/* Waits on c in the given way until it is closed. */
static void wait_for_close(int_chan c, int_chan never, int how)
{
    int value = 7;
    bool ok = true;
    switch (how) {
    case 0:
        CHECK(!weft_recv(c, &value) && value == 0);
        break;
    case 1:
        CHECK_EQ(weft_recv_status(c, NULL), -EPIPE);
        break;
    case 2:
        CHECK_EQ(weft_select([0] = weft_on_recv(c, &value, &ok), [1] = weft_on_recv(never, NULL)), 0);
        CHECK(value == 0 && !ok);
        break;
    case 3:
        CHECK_EQ(weft_select([1] = weft_on_recv(c, &value), [2] = weft_on_timeout(WEFT_MINUTE)), 1);
        CHECK_EQ(value, 0);
        break;
    case 4:
        CHECK_EQ(weft_send(c, 1), -EPIPE);
        break;
    default:
        CHECK_EQ(weft_select([0] = weft_on_send(c, 1), [1] = weft_on_recv(never, NULL)), -EPIPE);
        break;
    }
}

TEST_BOTH(close_wakes_everyone)
{
    for (int i = test_scale(100); i > 0; i--) {
        int_chan receivers = weft_chan_make(int, i % 2), senders = weft_chan_make(int, i % 2);
        int_chan never = weft_chan_make(int, 0);
        weft_waitgroup wg = {0};
        if (i % 2)
            CHECK_EQ(weft_send(senders, 3), 0);
        for (int k = 0; k < WAITERS; k++) {
            weft_wg_go(&wg, wait_for_close, receivers, never, k % 4);
            weft_wg_go(&wg, wait_for_close, senders, never, 4 + k % 2);
        }
        if (i % 4 < 2)
            weft_sleep(WEFT_MS / 2); /* in the other half some come after the close */
        CHECK_EQ(weft_close(receivers), 0);
        CHECK_EQ(weft_close(senders), 0);
        weft_wg_wait(&wg);
        CHECK_EQ(weft_chan_len(senders), i % 2);
        weft_chan_free(receivers);
        weft_chan_free(senders);
        weft_chan_free(never);
    }
}

/* ---- elements of all sizes ---- */

struct page {
    uint64_t words[512];
};

static void fill_page(struct page *page, uint64_t seed)
{
    for (int i = 0; i < 512; i++)
        page->words[i] = seed * 1000 + (uint64_t)i;
}

static void check_page(const struct page *page)
{
    for (int i = 0; i < 512; i++)
        CHECK_EQ(page->words[i], page->words[0] + (uint64_t)i);
}

static void send_pages(weft_chan(struct page) c, weft_chan(struct page) d, int n)
{
    struct page page;
    for (int i = 0; i < n; i++) {
        fill_page(&page, (uint64_t)i);
        if (i % 2)
            CHECK_EQ(weft_send(c, page), 0);
        else
            CHECK(weft_select([0] = weft_on_send(c, page), [1] = weft_on_send(d, page)) >= 0);
    }
}

TEST_BOTH(elements_of_4_kib)
{
    int n = test_scale(4000);
    for (size_t capacity = 0; capacity <= 3; capacity += 3) {
        weft_chan(struct page) c = weft_chan_make(struct page, capacity), d = weft_chan_make(struct page, capacity);
        weft_waitgroup wg = {0};
        uint64_t sum = 0;
        weft_wg_go(&wg, send_pages, c, d, n);
        weft_wg_go(&wg, send_pages, c, d, n);
        for (int i = 0; i < 2 * n; i++) {
            struct page page;
            CHECK(weft_select([0] = weft_on_recv(c, &page), [1] = weft_on_recv(d, &page)) >= 0);
            check_page(&page);
            sum += page.words[0] / 1000;
        }
        CHECK_EQ(sum, (uint64_t)n * ((uint64_t)n - 1));
        weft_wg_wait(&wg);
        struct page page;
        fill_page(&page, 9);
        CHECK_EQ(weft_close(c), 0);
        CHECK(!weft_recv(c, &page)); /* zeroes all of it */
        for (int i = 0; i < 512; i++)
            CHECK_EQ(page.words[i], 0);
        weft_chan_free(c);
        weft_chan_free(d);
    }
}

struct nothing {
};

static void send_nothing(weft_chan(struct nothing) c, int n)
{
    for (int i = 0; i < n; i++)
        CHECK_EQ(weft_send(c, {}), 0);
    CHECK_EQ(weft_close(c), 0);
}

TEST_BOTH(elements_of_size_zero)
{
    for (size_t capacity = 0; capacity < 3; capacity++) {
        weft_chan(struct nothing) c = weft_chan_make(struct nothing, capacity);
        weft_waitgroup wg = {0};
        int n = test_scale(5000), received = 0;
        weft_wg_go(&wg, send_nothing, c, n);
        for (struct nothing value; weft_recv(c, &value);)
            received++;
        CHECK_EQ(received, n);
        weft_wg_wait(&wg);
        weft_chan_free(c);
    }
}

TEST_BOTH(neighbours_of_an_element_stay_untouched)
{
    struct __attribute__((packed)) odd {
        char bytes[7];
    };
    struct {
        char before;
        struct odd value;
        char after;
    } room = {1, {"secret"}, 2};
    weft_chan(struct odd) c = weft_chan_make(struct odd, 3);
    for (int round = 0; round < 10; round++) {
        for (char i = 0; i < 3; i++)
            CHECK_EQ(weft_try_send(c, {{i, i, i, i, i, i, (char)(i + 1)}}), 0);
        for (char i = 0; i < 3; i++) {
            CHECK_EQ(weft_try_recv(c, &room.value), 0);
            CHECK(room.before == 1 && room.after == 2);
            CHECK(room.value.bytes[0] == i && room.value.bytes[5] == i && room.value.bytes[6] == i + 1);
        }
        if (round % 3 == 0) { /* another place in the ring */
            CHECK_EQ(weft_try_send(c, {"turned"}), 0);
            CHECK_EQ(weft_try_recv(c, NULL), 0);
        }
    }
    CHECK_EQ(weft_close(c), 0);
    CHECK(!weft_recv(c, &room.value));
    CHECK(room.before == 1 && room.after == 2 && room.value.bytes[0] == 0 && room.value.bytes[6] == 0);
    weft_chan_free(c);
}

TEST_BOTH(impossible_sizes_give_null)
{
    CHECK(!weft_chan_core_make(SIZE_MAX / 2, 3));
    CHECK(!weft_chan_core_make(8, SIZE_MAX / 8 + 1));
    CHECK(!weft_chan_core_make(1, SIZE_MAX - 8));
}

TEST_BOTH(len_and_cap)
{
    int_chan c = weft_chan_make(int, 5);
    for (size_t i = 0; i < 5; i++) {
        CHECK_EQ(weft_chan_len(c), i);
        CHECK_EQ(weft_try_send(c, 1), 0);
    }
    CHECK_EQ(weft_try_send(c, 1), -EAGAIN);
    CHECK_EQ(weft_close(c), 0);
    for (size_t i = 5; i > 0; i--) {
        CHECK_EQ(weft_chan_len(c), i);
        CHECK_EQ(weft_chan_cap(c), 5);
        CHECK_EQ(weft_try_recv(c, NULL), 0);
    }
    CHECK_EQ(weft_chan_len(c), 0);
    weft_chan_free(c);
}

/* ---- dropping what is received ---- */

static void send_up_to(int_chan c, int n)
{
    for (int i = 0; i < n; i++)
        CHECK_EQ(weft_send(c, i), 0);
}

TEST_BOTH(receive_into_null_drops)
{
    for (size_t capacity = 0; capacity < 9; capacity += 4) {
        int_chan c = weft_chan_make(int, capacity);
        weft_waitgroup wg = {0};
        int value = -1;
        bool ok = false;
        weft_wg_go(&wg, send_up_to, c, 6);
        CHECK(weft_recv(c, NULL));
        CHECK_EQ(weft_recv_status(c, NULL), 0);
        CHECK_EQ(weft_select([0] = weft_on_recv(c, NULL, &ok)), 0);
        CHECK(ok);
        CHECK_EQ(weft_select([0] = weft_on_recv(c, NULL)), 0);
        while (weft_try_recv(c, NULL) == -EAGAIN)
            weft_yield();
        CHECK(weft_recv(c, &value));
        CHECK_EQ(value, 5);
        weft_wg_wait(&wg);
        CHECK_EQ(weft_close(c), 0);
        CHECK(!weft_recv(c, NULL));
        CHECK_EQ(weft_select([0] = weft_on_recv(c, NULL, &ok)), 0);
        CHECK(!ok);
        weft_chan_free(c);
    }
}

/* ---- references ---- */

static void use_and_free(int_chan c, int sends)
{
    if (sends)
        CHECK_EQ(weft_send(c, 1), 0);
    else
        CHECK(weft_recv(c, NULL));
    weft_chan_free(c);
}

TEST_BOTH(references)
{
    for (int i = test_scale(1500); i > 0; i--) {
        int_chan c = weft_chan_make(int, i % 3);
        weft_waitgroup wg = {0};
        for (int k = 0; k < 3; k++) {
            CHECK(weft_chan_ref(c) == c);
            weft_wg_go(&wg, use_and_free, c, 1);
            weft_wg_go(&wg, use_and_free, weft_chan_ref(c), 0);
        }
        weft_chan_free(c); /* the last of the six frees it */
        weft_wg_wait(&wg);
    }
}

TEST_MAIN()
