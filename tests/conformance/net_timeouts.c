/* net_timeouts.c — deadlines: what Go's net tests check of them (timeout_test.go). A deadline is a time of weft_now and
   belongs to a side of a descriptor; a dial, and any call, also ends with the deadline of the context that it runs in.
   Nothing here measures how late a timeout comes, only that none comes early. */
#define _GNU_SOURCE 1 /* pipe2, dup3 */
#include "sockets.h"

#define FOR_EVER INT64_MAX

static void set_deadline(int fd, int events, int64_t ns)
{
    CHECK_EQ(weft_fd_set_deadline(fd, events, ns == FOR_EVER ? FOR_EVER : weft_now() + ns), 0);
}

static const int64_t past_and_soon[] = {-5 * WEFT_SECOND, -WEFT_NS, 0, WEFT_NS, WEFT_US, 50 * WEFT_US, WEFT_MS, 5 * WEFT_MS};
enum { TIMEOUTS = sizeof past_and_soon / sizeof *past_and_soon };

/* ---- dial ---- */

TEST_BOTH(DialTimeout)
{
    struct stalled silent;
    stall(&silent);
    int before = sockets_open();
    for (int i = 0; i < TIMEOUTS; i++) {
        int64_t start_ns = weft_now();
        weft_ctx *ctx = weft_ctx_with_timeout(weft_ctx_background(), past_and_soon[i]);
        weft_scoped_use(ctx);
        CHECK_EQ(weft_dial("tcp", silent.address), -ETIMEDOUT);
        CHECK(weft_now() - start_ns >= past_and_soon[i]);
        CHECK_EQ(sockets_open(), before);
        weft_ctx_free(ctx);
    }
    unstall(&silent);
}

TEST_BOTH(DialTimeoutMaxDuration)
{
    static const int64_t far[] = {INT64_MAX, INT64_MAX - 1, INT64_MAX / 2, 365 * 24 * 60 * WEFT_MINUTE};
    char address[WEFT_ADDRESS];
    int listener = listen_own("tcp", address);
    for (int i = 0; i < 8; i++) {
        weft_ctx *ctx = i % 2 ? weft_ctx_with_timeout(weft_ctx_background(), far[i / 2])
                              : weft_ctx_with_deadline(weft_ctx_background(), far[i / 2]);
        weft_scoped_use(ctx);
        int fd = good(weft_dial("tcp", address));
        CHECK_EQ(weft_fd_set_deadline(fd, POLLIN | POLLOUT, far[i / 2]), 0);
        int other = good(weft_accept(listener));
        CHECK_EQ(weft_write(other, "x", 1), 1);
        char byte;
        CHECK_EQ(weft_read(fd, &byte, 1), 1);
        shut(other);
        shut(fd);
        weft_ctx_free(ctx);
    }
    shut(listener);
}

/* ---- accept ---- */

TEST_BOTH(AcceptTimeout)
{
    char address[WEFT_ADDRESS];
    int listener = listen_own("tcp", address);
    for (int i = 0; i < TIMEOUTS; i++) {
        int64_t start_ns = weft_now();
        set_deadline(listener, POLLIN, past_and_soon[i]);
        for (int times = 0; times < 10; times++)
            CHECK_EQ(weft_accept(listener), -ETIMEDOUT);
        CHECK(weft_now() - start_ns >= past_and_soon[i]);
    }
    /* a deadline that has passed holds also when somebody is there */
    int fd = good(weft_dial("tcp", address));
    CHECK_EQ(weft_accept(listener), -ETIMEDOUT);
    set_deadline(listener, POLLIN, FOR_EVER);
    shut(good(weft_accept(listener)));
    shut(fd);
    shut(listener);
}

TEST_BOTH(AcceptTimeoutMustReturn)
{
    char address[WEFT_ADDRESS];
    int listener = listen_own("tcp", address);
    set_deadline(listener, POLLIN | POLLOUT, FOR_EVER);
    set_deadline(listener, POLLIN | POLLOUT, 5 * WEFT_MS);
    CHECK_EQ(weft_accept(listener), -ETIMEDOUT);
    shut(listener);
}

static void accept_one(int listener, int *result, weft_waitgroup *wg)
{
    *result = weft_accept(listener);
    weft_wg_done(wg);
}

static void check_stays(const volatile int *result)
{
    CHECK_EQ(weft_sleep(5 * WEFT_MS), 0);
    CHECK_EQ(__atomic_load_n(result, __ATOMIC_ACQUIRE), 1);
}

TEST_BOTH(AcceptTimeoutMustNotReturn)
{
    char address[WEFT_ADDRESS];
    int listener = lift(listen_own("tcp", address)), result = 1;
    weft_waitgroup wg = {0};
    set_deadline(listener, POLLIN | POLLOUT, -5 * WEFT_SECOND);
    set_deadline(listener, POLLIN, FOR_EVER); /* that of the other side does not matter */
    weft_wg_add(&wg, 1);
    weft_go(accept_one, listener, &result, &wg);
    check_stays(&result);
    shut(listener);
    weft_wg_wait(&wg);
    CHECK_EQ(result, -EBADF);
}

/* ---- read ---- */

/* Kinds of descriptors whose reads wait. [0] is read, [1] written. */
static void make_ends(int kind, int ends[2])
{
    char address[WEFT_ADDRESS];
    switch (kind) {
    case 0:
        make_pair("tcp", ends);
        break;
    case 1:
        make_pair("unix", ends);
        break;
    case 2:
        ends[0] = listen_own("udp4", address);
        ends[1] = good(weft_dial("udp4", address));
        break;
    case 3:
        ends[0] = listen_own("unixgram", address);
        ends[1] = good(weft_dial("unixgram", address));
        break;
    default:
        CHECK_EQ(pipe2(ends, kind == 4 ? O_NONBLOCK : 0), 0);
    }
}
enum { KINDS = 6, STREAMS = 2 };

TEST_BOTH(ReadTimeout)
{
    for (int kind = 0; kind < KINDS; kind++) {
        int ends[2];
        char byte;
        make_ends(kind, ends);
        for (int i = 0; i < TIMEOUTS; i++) {
            int64_t start_ns = weft_now();
            set_deadline(ends[0], POLLIN, past_and_soon[i]);
            for (int times = 0; times < 10; times++)
                CHECK_EQ(weft_read(ends[0], &byte, 1), -ETIMEDOUT);
            CHECK(weft_now() - start_ns >= past_and_soon[i]);
        }
        CHECK_EQ(weft_write(ends[1], "x", 1), 1);
        CHECK_EQ(weft_read(ends[0], &byte, 1), -ETIMEDOUT);
        set_deadline(ends[0], POLLIN, FOR_EVER);
        CHECK_EQ(weft_read(ends[0], &byte, 1), 1);
        shut(ends[0]);
        shut(ends[1]);
    }
}

static void read_one(int fd, int *result, weft_waitgroup *wg)
{
    char byte;
    ssize_t n = weft_read(fd, &byte, 1);
    __atomic_store_n(result, (int)n, __ATOMIC_RELEASE);
    weft_wg_done(wg);
}

TEST_BOTH(ReadTimeoutMustNotReturn)
{
    for (int kind = 0; kind < KINDS; kind++) {
        int ends[2], result = 1;
        weft_waitgroup wg = {0};
        make_ends(kind, ends);
        ends[0] = lift(ends[0]);
        set_deadline(ends[0], POLLIN | POLLOUT, -5 * WEFT_SECOND);
        set_deadline(ends[0], POLLIN, FOR_EVER);
        weft_wg_add(&wg, 1);
        weft_go(read_one, ends[0], &result, &wg);
        check_stays(&result);
        shut(ends[0]);
        weft_wg_wait(&wg);
        CHECK_EQ(result, -EBADF);
        shut(ends[1]);
    }
}

/* A deadline that is moved into the past ends a read that waits. */
TEST_BOTH(ReadTimeoutUnblocksRead)
{
    for (int kind = 0; kind < KINDS; kind++)
        for (int times = test_scale(30); times > 0; times--) {
            int ends[2], result = 1;
            weft_waitgroup wg = {0};
            make_ends(kind, ends);
            if (times % 2)
                set_deadline(ends[0], POLLIN, WEFT_MINUTE);
            weft_wg_add(&wg, 1);
            weft_go(read_one, ends[0], &result, &wg);
            if (times % 3)
                weft_sleep(times % 3 * 200 * WEFT_US);
            set_deadline(ends[0], POLLIN, times % 2 ? -WEFT_NS : 500 * WEFT_US);
            weft_wg_wait(&wg);
            CHECK_EQ(result, -ETIMEDOUT);
            shut(ends[0]);
            shut(ends[1]);
        }
}

/* And one that is moved away while a read waits keeps it waiting. */
TEST_BOTH(ReadDeadlineMovedAway)
{
    for (int kind = 0; kind < KINDS; kind++) {
        int ends[2], result = 5;
        weft_waitgroup wg = {0};
        make_ends(kind, ends);
        set_deadline(ends[0], POLLIN, 20 * WEFT_MS);
        weft_wg_add(&wg, 1);
        int64_t start_ns = weft_now();
        weft_go(read_one, ends[0], &result, &wg);
        for (int i = 0; i < 20; i++) {
            CHECK_EQ(weft_sleep(WEFT_MS), 0);
            set_deadline(ends[0], POLLIN, i < 10 ? WEFT_MINUTE : FOR_EVER);
        }
        if (weft_now() - start_ns < 20 * WEFT_MS || __atomic_load_n(&result, __ATOMIC_ACQUIRE) == 5) {
            CHECK_EQ(weft_write(ends[1], "x", 1), 1);
            weft_wg_wait(&wg);
            CHECK_EQ(result, 1);
        } else {
            weft_wg_wait(&wg); /* a very busy machine: the first move came too late */
            CHECK_EQ(result, -ETIMEDOUT);
        }
        shut(ends[0]);
        shut(ends[1]);
    }
}

/* Waits that end again and again, with a deadline that is set anew each time. */
TEST_BOTH(ReadTimeoutFluctuation)
{
    uint64_t random = test_random();
    for (int kind = 0; kind < KINDS; kind++) {
        int ends[2];
        char byte;
        make_ends(kind, ends);
        for (int times = test_scale(300); times > 0; times--) {
            int64_t ns = (int64_t)(test_random_from(&random) % 100) * WEFT_US, start_ns = weft_now();
            set_deadline(ends[0], POLLIN, ns);
            CHECK_EQ(weft_read(ends[0], &byte, 1), -ETIMEDOUT);
            CHECK(weft_now() - start_ns >= ns);
        }
        shut(ends[0]);
        shut(ends[1]);
    }
}

/* ---- write ---- */

TEST_BOTH(WriteTimeout)
{
    static const char zeros[1 << 16];
    for (int kind = 0; kind < STREAMS; kind++) {
        int ends[2];
        make_ends(kind, ends);
        fill(ends[1]);
        for (int i = 0; i < TIMEOUTS; i++) {
            int64_t start_ns = weft_now();
            set_deadline(ends[1], POLLOUT, past_and_soon[i]);
            ssize_t n;
            while ((n = weft_write(ends[1], zeros, sizeof zeros)) > 0) /* the peer's queue may still take some */
                ;
            CHECK_EQ(n, -ETIMEDOUT);
            CHECK(weft_now() - start_ns >= past_and_soon[i]);
            CHECK_EQ(weft_write_all(ends[1], zeros, sizeof zeros), -ETIMEDOUT);
        }
        char byte;
        CHECK_EQ(weft_read(ends[0], &byte, 1), 1); /* the other side's deadline */
        shut(ends[0]);
        shut(ends[1]);
    }
}

static void write_much(int fd, int *result, weft_waitgroup *wg)
{
    static const char zeros[1 << 16];
    ssize_t n;
    while ((n = weft_write(fd, zeros, sizeof zeros)) > 0)
        ;
    __atomic_store_n(result, (int)n, __ATOMIC_RELEASE);
    weft_wg_done(wg);
}

TEST_BOTH(WriteTimeoutMustNotReturn)
{
    for (int kind = 0; kind < STREAMS; kind++) {
        int ends[2], result = 1;
        weft_waitgroup wg = {0};
        make_ends(kind, ends);
        ends[1] = lift(ends[1]);
        set_deadline(ends[1], POLLIN | POLLOUT, -5 * WEFT_SECOND);
        set_deadline(ends[1], POLLOUT, FOR_EVER);
        weft_wg_add(&wg, 1);
        weft_go(write_much, ends[1], &result, &wg);
        check_stays(&result);
        shut(ends[1]);
        weft_wg_wait(&wg);
        CHECK_EQ(result, -EBADF);
        shut(ends[0]);
    }
}

TEST_BOTH(WriteTimeoutFluctuation)
{
    uint64_t random = test_random();
    for (int kind = 0; kind < STREAMS; kind++) {
        int ends[2], result;
        make_ends(kind, ends);
        fill(ends[1]);
        for (int times = test_scale(300); times > 0; times--) {
            weft_waitgroup wg = {0};
            int64_t ns = (int64_t)(test_random_from(&random) % 100) * WEFT_US, start_ns = weft_now();
            set_deadline(ends[1], POLLOUT, ns);
            weft_wg_add(&wg, 1);
            write_much(ends[1], &result, &wg);
            CHECK_EQ(result, -ETIMEDOUT);
            CHECK(weft_now() - start_ns >= ns);
        }
        shut(ends[0]);
        shut(ends[1]);
    }
}

/* ---- deadlines and data at the same time ---- */

static void pour(int fd)
{
    static const char zeros[4096];
    while (weft_write_all(fd, zeros, sizeof zeros) > 0)
        ;
    shut(fd);
}

/* A server that sends without end; the reader has various deadlines, and then takes nothing more. */
TEST_BOTH(VariousDeadlines)
{
    static const int64_t timeouts[] = {WEFT_NS,       2,       5,           50,          100,          200,
                                       500,           750,     WEFT_US,     5 * WEFT_US, 25 * WEFT_US, 250 * WEFT_US,
                                       500 * WEFT_US, WEFT_MS, 5 * WEFT_MS, 20 * WEFT_MS};
    static char buffer[65536];
    for (size_t i = 0; i < sizeof timeouts / sizeof *timeouts; i++)
        for (int times = 0; times < 3; times++) {
            int ends[2];
            weft_waitgroup wg = {0};
            make_pair("tcp", ends);
            weft_wg_go(&wg, pour, ends[1]);
            int64_t start_ns = weft_now();
            set_deadline(ends[0], POLLIN | POLLOUT, timeouts[i]);
            ssize_t n;
            while ((n = weft_read(ends[0], buffer, sizeof buffer)) > 0)
                ;
            CHECK_EQ(n, -ETIMEDOUT);
            CHECK(weft_now() - start_ns >= timeouts[i]);
            shut(ends[0]);
            weft_wg_wait(&wg);
        }
}

static void keep_reading(int fd, int *stop, weft_waitgroup *wg)
{
    char buffer[4096];
    while (!__atomic_load_n(stop, __ATOMIC_RELAXED)) {
        set_deadline(fd, POLLIN, WEFT_MS);
        ssize_t n = weft_read(fd, buffer, sizeof buffer);
        CHECK(n > 0 || n == -ETIMEDOUT);
    }
    weft_wg_done(wg);
}

static void keep_writing(int fd, int *stop, weft_waitgroup *wg)
{
    static const char zeros[4096];
    while (!__atomic_load_n(stop, __ATOMIC_RELAXED)) {
        set_deadline(fd, POLLOUT, WEFT_MS);
        ssize_t n = weft_write(fd, zeros, sizeof zeros);
        CHECK(n > 0 || n == -ETIMEDOUT);
    }
    weft_wg_done(wg);
}

/* Deadlines that are always put off in time, in both directions. */
TEST_BOTH(ReadWriteProlongedTimeout)
{
    int ends[2], stop = 0;
    weft_waitgroup wg = {0};
    make_pair("tcp", ends);
    weft_wg_add(&wg, 4);
    for (int i = 0; i < 2; i++) {
        weft_go(keep_reading, ends[i], &stop, &wg);
        weft_go(keep_writing, ends[i], &stop, &wg);
    }
    CHECK_EQ(weft_sleep(test_scale(100) * WEFT_MS), 0);
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    weft_wg_wait(&wg);
    shut(ends[0]);
    shut(ends[1]);
}

static void move_deadlines(int fd, int *stop, weft_waitgroup *wg)
{
    uint64_t random = test_random();
    while (!__atomic_load_n(stop, __ATOMIC_RELAXED)) {
        uint64_t r = test_random_from(&random);
        set_deadline(fd,
                     r % 3 == 0   ? POLLIN
                     : r % 3 == 1 ? POLLOUT
                                  : POLLIN | POLLOUT,
                     r / 3 % 5 == 0 ? FOR_EVER : (int64_t)(r / 15 % 100) * WEFT_US);
        if (r / 1500 % 4 == 0)
            CHECK_EQ(weft_sleep(20 * WEFT_US), 0);
        weft_yield();
    }
    weft_wg_done(wg);
}

static void use_somehow(int fd, int reads, int *stop, weft_waitgroup *wg)
{
    static char buffer[1000];
    while (!__atomic_load_n(stop, __ATOMIC_RELAXED)) {
        ssize_t n = reads ? weft_recvfrom(fd, (char[100]){0}, 100, 0, NULL, NULL) : weft_write(fd, buffer, sizeof buffer);
        CHECK(n > 0 || n == -ETIMEDOUT);
    }
    weft_wg_done(wg);
}

/* Several set deadlines, read and write all at once. */
TEST_BOTH(ReadWriteDeadlineRace)
{
    int ends[2], stop = 0;
    weft_waitgroup wg = {0}, users = {0};
    make_pair("tcp", ends);
    weft_wg_add(&wg, 3);
    weft_wg_add(&users, 8);
    for (int i = 0; i < 3; i++)
        weft_go(move_deadlines, ends[i % 2], &stop, &wg);
    for (int i = 0; i < 8; i++)
        weft_go(use_somehow, ends[i % 2], i / 2 % 2, &stop, &users);
    CHECK_EQ(weft_sleep(test_scale(200) * WEFT_MS), 0);
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    weft_wg_wait(&wg);
    for (int i = 0; i < 2; i++)
        set_deadline(ends[i], POLLIN | POLLOUT, 0);
    weft_wg_wait(&users);
    shut(ends[0]);
    shut(ends[1]);
}

TEST_BOTH(ConcurrentSetDeadline)
{
    enum { SETTERS = 16 };
    int ends[2], stop = 0;
    weft_waitgroup wg = {0};
    make_pair("unix", ends);
    weft_wg_add(&wg, SETTERS);
    for (int i = 0; i < SETTERS; i++)
        weft_go(move_deadlines, ends[0], &stop, &wg);
    CHECK_EQ(weft_sleep(test_scale(50) * WEFT_MS), 0);
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    weft_wg_wait(&wg);
    shut(ends[0]);
    shut(ends[1]);
}

/* ---- whose deadline ---- */

/* The context's and the descriptor's: whichever comes first. */
TEST_BOTH(ContextAndDescriptor)
{
    for (int kind = 0; kind < KINDS; kind++) {
        int ends[2];
        char byte;
        make_ends(kind, ends);
        weft_ctx *soon = weft_ctx_with_timeout(weft_ctx_background(), 2 * WEFT_MS),
                 *late = weft_ctx_with_timeout(weft_ctx_background(), 10 * WEFT_MINUTE);
        set_deadline(ends[0], POLLIN, 10 * WEFT_MINUTE);
        {
            weft_scoped_use(soon);
            CHECK_EQ(weft_read(ends[0], &byte, 1), -ETIMEDOUT);
        }
        set_deadline(ends[0], POLLIN, 2 * WEFT_MS);
        {
            weft_scoped_use(late);
            CHECK_EQ(weft_read(ends[0], &byte, 1), -ETIMEDOUT);
            set_deadline(ends[0], POLLIN, FOR_EVER);
            weft_go(cancel_later, weft_ctx_ref(late), WEFT_MS);
            CHECK_EQ(weft_read(ends[0], &byte, 1), -ECANCELED);
            CHECK_EQ(weft_wait_fd(ends[0], POLLIN), -ECANCELED);
            CHECK_EQ(weft_write(ends[1], "x", 1), 1); /* what need not wait is done */
            if (kind < STREAMS)
                CHECK_EQ(weft_wait_fd(ends[1], POLLOUT) & POLLOUT, POLLOUT);
        }
        CHECK_EQ(weft_read(ends[0], &byte, 1), 1);
        weft_ctx_free(soon);
        weft_ctx_free(late);
        shut(ends[0]);
        shut(ends[1]);
    }
}

TEST_BOTH(WaitFdTimeout)
{
    int ends[2];
    make_pair("tcp", ends);
    for (int i = 0; i < TIMEOUTS; i++) {
        set_deadline(ends[0], POLLIN, past_and_soon[i]);
        CHECK_EQ(weft_wait_fd(ends[0], POLLIN), -ETIMEDOUT);
    }
    set_deadline(ends[0], POLLIN, FOR_EVER);
    CHECK_EQ(weft_write(ends[1], "x", 1), 1);
    CHECK_EQ(weft_wait_fd(ends[0], POLLIN), POLLIN);
    shut(ends[0]);
    shut(ends[1]);
}

/* A deadline ends with its descriptor: the next one with the number has none. */
TEST_BOTH(DeadlineOfClosed)
{
    for (int times = test_scale(50); times > 0; times--) {
        int ends[2], again[2];
        char byte;
        make_pair("unix", ends);
        set_deadline(ends[0], POLLIN | POLLOUT, 0);
        set_deadline(ends[1], POLLIN | POLLOUT, 0);
        shut(ends[0]);
        shut(ends[1]);
        if (times % 2)
            make_pair("unix", again);
        else
            CHECK_EQ(pipe(again), 0);
        CHECK_EQ(weft_write(again[1], "x", 1), 1);
        CHECK_EQ(weft_read(again[0], &byte, 1), 1);
        shut(again[0]);
        shut(again[1]);
    }
    int fd = lift(good(weft_listen("udp4", "127.0.0.1:0")));
    shut(fd);
    CHECK_EQ(weft_fd_set_deadline(fd, POLLIN, 0), -EBADF); /* and the next one with the number has none of it */
    int again = good(weft_listen("udp4", "127.0.0.1:0"));
    CHECK_EQ(dup3(again, fd, O_CLOEXEC), fd);
    shut(again);
    CHECK_EQ(weft_recvfrom(fd, &(char){0}, 1, MSG_DONTWAIT, NULL, NULL), -EAGAIN);
    shut(fd);
    CHECK_EQ(weft_fd_set_deadline(-1, POLLIN, 0), -EBADF);
}

TEST_MAIN()
