/* crowd_stress.c — many wait for one descriptor, in every kind of wait: alone and behind others, in contexts that end, until
   deadlines that are moved to and fro. Every byte is read once, and that no wait is forgotten shows in that the tests end. */
#include <errno.h>
#include <sys/socket.h>
#include <weft.h>

#include "../test.h"

enum { READERS = 6 };

struct crowd {
    int from, to;
    size_t length;
    _Atomic size_t read;
    _Atomic int readers, ended; /* those that still read; reads that were ended */
};

static void write_all(struct crowd *c)
{
    uint8_t bytes[64] = {0};
    uint64_t state = test_random();
    for (size_t at = 0; at < c->length;) {
        size_t n = 1 + test_random_from(&state) % sizeof bytes;
        n = n < c->length - at ? n : c->length - at;
        CHECK_EQ(weft_write_all(c->from, bytes, n), n);
        at += n;
        if (test_random_from(&state) % 2)
            weft_sleep((int64_t)(test_random_from(&state) % 100) * WEFT_US);
    }
    CHECK_EQ(weft_shutdown_fd(c->from, SHUT_WR), 0);
}

/* In a context that ends soon, one that may end, or none. */
static ssize_t read_some(struct crowd *c, uint64_t *state)
{
    uint8_t bytes[16];
    uint64_t random = test_random_from(state);
    size_t size = 1 + random % sizeof bytes;
    if (random >> 32 & 1)
        return weft_read(c->to, bytes, size);
    weft_ctx *ctx = random >> 33 & 1 ? weft_ctx_with_cancel(weft_ctx_current())
                                     : weft_ctx_with_timeout(weft_ctx_current(), (int64_t)(random >> 34 & 3) * 50 * WEFT_US);
    CHECK(ctx);
    weft_scoped_ctx(ctx);
    weft_scoped_use(ctx);
    return weft_read(c->to, bytes, size);
}

static void read_all(struct crowd *c)
{
    uint64_t state = test_random();
    ssize_t n;
    while ((n = read_some(c, &state)) != 0) {
        CHECK(n > 0 || n == -ETIMEDOUT);
        if (n > 0)
            c->read += (size_t)n;
        else
            c->ended++;
    }
    c->readers--;
}

/* Puts the deadline off mostly, so that the alarm comes too early and too late, now and then to the past. */
static void move_deadline(struct crowd *c)
{
    uint64_t state = test_random();
    while (c->readers) {
        uint64_t random = test_random_from(&state);
        int64_t ns = ((int64_t)(random % 8) - 1) * 100 * WEFT_US;
        CHECK_EQ(weft_fd_set_deadline(c->to, POLLIN, random % 16 == 15 ? INT64_MAX : weft_now() + ns), 0);
        weft_sleep((int64_t)(random >> 32 & 127) * WEFT_US);
    }
}

static void run_crowd(bool deadlines)
{
    int fds[2];
    weft_waitgroup running = {0};
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    struct crowd c = {.from = fds[0], .to = fds[1], .length = (size_t)test_scale(8000), .readers = READERS};
    for (int i = 0; i < READERS; i++)
        weft_wg_go(&running, read_all, &c);
    if (deadlines)
        weft_wg_go(&running, move_deadline, &c);
    weft_wg_go(&running, write_all, &c);
    weft_wg_wait(&running);
    CHECK_EQ(c.read, c.length);
    CHECK(c.ended > 0 || c.length < 2000);
    CHECK_EQ(weft_close_fd(fds[0]), 0);
    CHECK_EQ(weft_close_fd(fds[1]), 0);
}

TEST_GO(contexts)
{
    run_crowd(false);
}

TEST_GO(contexts_and_deadlines)
{
    run_crowd(true);
}

static void write_one(int fd)
{
    CHECK_EQ(weft_write(fd, "x", 1), 1);
}

/* Descriptors whose numbers are reused at once, with the alarms of those before still about to come. */
TEST_GO(deadlines_of_those_before)
{
    for (int i = test_scale(2000); i > 0; i--) {
        int fds[2];
        char byte;
        CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
        CHECK_EQ(weft_fd_set_deadline(fds[0], POLLIN, weft_now() + (int64_t)(i % 4) * 20 * WEFT_US), 0);
        CHECK_EQ(weft_read(fds[0], &byte, 1), -ETIMEDOUT);
        CHECK_EQ(weft_fd_set_deadline(fds[0], POLLIN, weft_now() + (int64_t)(i % 8) * 10 * WEFT_US), 0);
        CHECK_EQ(weft_fd_set_deadline(fds[1], POLLIN, weft_now() + (int64_t)(i % 16) * 5 * WEFT_US), 0);
        CHECK_EQ(weft_close_fd(fds[1]), 0);
        CHECK_EQ(weft_close_fd(fds[0]), 0);
        int again[2];
        CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, again), 0);
        CHECK_EQ(weft_fd_set_deadline(again[0], POLLIN, weft_now() + WEFT_MINUTE), 0);
        weft_waitgroup wg = {0};
        weft_wg_go(&wg, write_one, again[1]);
        CHECK_EQ(weft_read(again[0], &byte, 1), 1);
        weft_wg_wait(&wg);
        CHECK_EQ(weft_close_fd(again[0]), 0);
        CHECK_EQ(weft_close_fd(again[1]), 0);
    }
}

TEST_MAIN()
