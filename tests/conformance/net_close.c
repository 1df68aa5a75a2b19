/* net_close.c — closing, wholly and half: what Go's net tests check of it (net_test.go, conn_test.go), and that who waits
   for a descriptor that is closed is told, and never meets the next one with its number. */
#define _GNU_SOURCE 1 /* pipe2, pwritev2 */
#include "sockets.h"

#include <pthread.h>
#include <sys/uio.h>

static const char *const networks[] = {"tcp4", "unix", "tcp6"};

static int n_networks(void)
{
    return has_ipv6() ? 3 : 2;
}

static void pause_randomly(uint64_t *random, int most_us)
{
    uint64_t r = test_random_from(random);
    if (r % 4)
        CHECK_EQ(weft_sleep((int64_t)(r / 4 % (uint64_t)most_us) * WEFT_US), 0);
}

/* ---- half ---- */

TEST_BOTH(CloseRead)
{
    for (int i = 0; i < n_networks(); i++) {
        int ends[2];
        char byte;
        make_pair(networks[i], ends);
        ends[0] = lift(ends[0]);
        CHECK_EQ(weft_shutdown_fd(ends[0], SHUT_RD), 0);
        CHECK_EQ(weft_read(ends[0], &byte, 1), 0);
        CHECK_EQ(weft_write(ends[0], "x", 1), 1); /* the other direction is open */
        CHECK_EQ(weft_read(ends[1], &byte, 1), 1);
        shut(ends[0]);
        CHECK_EQ(weft_shutdown_fd(ends[0], SHUT_RD), -EBADF);
        shut(ends[1]);
    }
}

static void answer_at_end(int fd)
{
    char byte;
    CHECK_EQ(weft_read(fd, &byte, 1), 0);
    CHECK_EQ(weft_write_all(fd, "answer", 6), 6);
    CHECK_EQ(weft_shutdown_fd(fd, SHUT_WR), 0);
    CHECK_EQ(weft_write(fd, &byte, 1), -EPIPE);
    CHECK_EQ(weft_read(fd, &byte, 1), 0);
    shut(fd);
}

TEST_BOTH(CloseWrite)
{
    for (int i = 0; i < n_networks(); i++) {
        int ends[2];
        char buffer[10];
        weft_waitgroup wg = {0};
        make_pair(networks[i], ends);
        ends[0] = lift(ends[0]);
        weft_wg_go(&wg, answer_at_end, ends[1]);
        CHECK_EQ(weft_sleep(WEFT_MS / 2), 0);
        CHECK_EQ(weft_shutdown_fd(ends[0], SHUT_WR), 0);
        CHECK_EQ(weft_write(ends[0], "x", 1), -EPIPE);
        CHECK_EQ(weft_read_full(ends[0], buffer, sizeof buffer), 6);
        CHECK_EQ(weft_read(ends[0], buffer, sizeof buffer), 0);
        weft_wg_wait(&wg);
        shut(ends[0]);
        CHECK_EQ(weft_shutdown_fd(ends[0], SHUT_WR), -EBADF);
    }
}

/* ---- what waits ---- */

static ssize_t wait_to_read(int fd)
{
    char byte;
    return weft_read(fd, &byte, 1);
}

static ssize_t wait_to_receive(int fd)
{
    char byte;
    struct sockaddr_storage from;
    unsigned length = sizeof from;
    return weft_recvfrom(fd, &byte, 1, 0, (struct sockaddr *)&from, &length);
}

static ssize_t wait_to_read_full(int fd)
{
    char bytes[10];
    return weft_read_full(fd, bytes, sizeof bytes);
}

static ssize_t wait_to_write(int fd)
{
    static const char zeros[100000];
    ssize_t n;
    while ((n = weft_write(fd, zeros, sizeof zeros)) > 0)
        ;
    return n;
}

static ssize_t wait_to_write_all(int fd)
{
    static const char zeros[100000];
    ssize_t n;
    while ((n = weft_write_all(fd, zeros, sizeof zeros)) > 0)
        ;
    return n;
}

static ssize_t wait_for_input(int fd)
{
    return weft_wait_fd(fd, POLLIN);
}

static ssize_t wait_for_output(int fd)
{
    int n;
    while ((n = weft_wait_fd(fd, POLLOUT)) > 0)
        weft_yield(); /* what was sent may still make room */
    return n;
}

static ssize_t wait_to_accept(int fd)
{
    return weft_accept(fd);
}

enum descriptor { PAIR_TCP, PAIR_UNIX, UDP, PIPE, PIPE_NONBLOCK, LISTENER };

static const struct {
    const char *name;
    enum descriptor descriptor;
    ssize_t (*wait)(int fd);
    bool writes;
} waits[] = {{"read tcp", PAIR_TCP, wait_to_read, false},
             {"read unix", PAIR_UNIX, wait_to_read, false},
             {"read udp", UDP, wait_to_read, false},
             {"read pipe", PIPE, wait_to_read, false},
             {"read pipe, non-blocking", PIPE_NONBLOCK, wait_to_read, false},
             {"read full", PAIR_TCP, wait_to_read_full, false},
             {"receive tcp", PAIR_TCP, wait_to_receive, false},
             {"receive udp", UDP, wait_to_receive, false},
             {"write tcp", PAIR_TCP, wait_to_write, true},
             {"write unix", PAIR_UNIX, wait_to_write, true},
             {"write pipe", PIPE, wait_to_write, true},
             {"write pipe, non-blocking", PIPE_NONBLOCK, wait_to_write, true},
             {"write all", PAIR_TCP, wait_to_write_all, true},
             {"wait for input", PAIR_TCP, wait_for_input, false},
             {"wait for input, pipe", PIPE, wait_for_input, false},
             {"wait for output", PAIR_UNIX, wait_for_output, true},
             {"accept", LISTENER, wait_to_accept, false}};
enum { WAITS = sizeof waits / sizeof *waits };

/* [0] is what is waited for; [1] its other end, or -1. */
static void make_ends(int wait, int ends[2])
{
    char address[WEFT_ADDRESS];
    ends[1] = -1;
    switch (waits[wait].descriptor) {
    case PAIR_TCP:
        make_pair("tcp", ends);
        break;
    case PAIR_UNIX:
        make_pair("unix", ends);
        break;
    case UDP:
        ends[0] = listen_own("udp4", address);
        break;
    case LISTENER:
        ends[0] = listen_own("tcp4", address);
        break;
    default:
        CHECK_EQ(pipe2(ends, O_CLOEXEC | (waits[wait].descriptor == PIPE_NONBLOCK ? O_NONBLOCK : 0)), 0);
        if (waits[wait].writes) {
            int reader = ends[0];
            ends[0] = ends[1];
            ends[1] = reader;
        }
    }
    if (waits[wait].writes && waits[wait].descriptor <= PAIR_UNIX)
        fill(ends[0]);
    ends[0] = lift(ends[0]);
}

static void do_wait(int wait, int fd, int *ended)
{
    ssize_t result = waits[wait].wait(fd);
    if (result != -EBADF)
        fprintf(stderr, "%s\n", waits[wait].name);
    CHECK_EQ(result, -EBADF);
    __atomic_fetch_add(ended, 1, __ATOMIC_RELAXED);
}

/* Whether one write to a pipe can be told not to wait: not on Linux 6.1 yet, nor under qemu-user. */
static bool pipes_know_nowait(void)
{
    int ends[2];
    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    ssize_t n = pwritev2(ends[1], &(struct iovec){"x", 1}, 1, -1, RWF_NOWAIT);
    close(ends[0]);
    close(ends[1]);
    return n == 1;
}

/* Without that, of two who see the same room in a blocking pipe one blocks in the kernel, and the close waits for it (see
   src/io/rw.c): then only one may wait. */
static int n_waiters(int wait)
{
    return waits[wait].writes && waits[wait].descriptor == PIPE && !pipes_know_nowait() ? 1 : 5;
}

TEST_BOTH(CloseEndsWaits)
{
    uint64_t random = test_random();
    for (int times = test_scale(30); times > 0; times--)
        for (int wait = 0; wait < WAITS; wait++) {
            int ends[2], ended = 0, n = n_waiters(wait);
            weft_waitgroup wg = {0};
            make_ends(wait, ends);
            for (int i = 0; i < n; i++)
                weft_wg_go(&wg, do_wait, wait, ends[0], &ended);
            pause_randomly(&random, 500);
            shut(ends[0]);
            weft_wg_wait(&wg);
            CHECK_EQ(ended, n);
            CHECK_EQ(waits[wait].wait(ends[0]), -EBADF);
            CHECK_EQ(weft_close_fd(ends[0]), -EBADF);
            if (ends[1] >= 0)
                shut(ends[1]);
        }
}

TEST_BOTH(CloseEndsVeryManyWaits)
{
    int ends[2], ended = 0, n = test_scale(2000);
    weft_waitgroup wg = {0};
    make_pair("tcp", ends);
    fill(ends[0]);
    ends[0] = lift(ends[0]);
    for (int i = 0; i < n; i++)
        weft_wg_go(&wg, do_wait, i % 2 ? 0 : 8, ends[0], &ended); /* both sides */
    CHECK_EQ(weft_sleep(5 * WEFT_MS), 0);
    shut(ends[0]);
    weft_wg_wait(&wg);
    CHECK_EQ(ended, n);
    shut(ends[1]);
}

/* ---- once ---- */

TEST_BOTH(ConnClose)
{
    for (int i = 0; i < n_networks(); i++) {
        int ends[2];
        char text[WEFT_ADDRESS], byte;
        make_pair(networks[i], ends);
        ends[0] = lift(ends[0]);
        shut(ends[0]);
        CHECK_EQ(weft_close_fd(ends[0]), -EBADF);
        CHECK_EQ(weft_read(ends[0], &byte, 1), -EBADF);
        CHECK_EQ(weft_write(ends[0], &byte, 1), -EBADF);
        CHECK_EQ(weft_wait_fd(ends[0], POLLIN), -EBADF);
        CHECK_EQ(weft_peer_address(ends[0], text, sizeof text), -EBADF);
        CHECK_EQ(weft_read(ends[1], &byte, 1), 0);
        shut(ends[1]);
    }
}

TEST_BOTH(ListenerClose)
{
    for (int i = 0; i < n_networks(); i++) {
        char address[WEFT_ADDRESS];
        int listener = lift(listen_own(networks[i], address)), fd = good(weft_dial(networks[i], address));
        shut(listener);
        CHECK_EQ(weft_close_fd(listener), -EBADF);
        CHECK_EQ(weft_accept(listener), -EBADF);
        CHECK_EQ(weft_dial(networks[i], address), -ECONNREFUSED);
        char byte;
        ssize_t n = weft_read(fd, &byte, 1); /* it was never accepted */
        CHECK(n == -ECONNRESET || n == 0);
        shut(fd);
    }
}

TEST_BOTH(PacketConnClose)
{
    static const char *const kinds[] = {"udp4", "unixgram", "udp6"};
    for (int i = 0; i < n_networks(); i++) {
        char address[WEFT_ADDRESS], byte;
        int fd = lift(listen_own(kinds[i], address));
        shut(fd);
        CHECK_EQ(weft_close_fd(fd), -EBADF);
        CHECK_EQ(weft_recvfrom(fd, &byte, 1, 0, NULL, NULL), -EBADF);
    }
}

static void close_if_open(int fd, int *closed)
{
    int result = weft_close_fd(fd);
    CHECK(result == 0 || result == -EBADF);
    if (result == 0)
        __atomic_fetch_add(closed, 1, __ATOMIC_RELAXED);
}

/* Of several that close, with others waiting, one does it. */
TEST_BOTH(CloseByMany)
{
    uint64_t random = test_random();
    for (int times = test_scale(300); times > 0; times--) {
        int ends[2], closed = 0, ended = 0;
        weft_waitgroup wg = {0};
        make_pair("unix", ends);
        ends[0] = lift(ends[0]);
        for (int i = 0; i < 3; i++)
            weft_wg_go(&wg, do_wait, 0, ends[0], &ended);
        if (times % 2)
            pause_randomly(&random, 100);
        for (int i = 0; i < 5; i++)
            weft_wg_go(&wg, close_if_open, ends[0], &closed);
        weft_wg_wait(&wg);
        CHECK_EQ(closed, 1);
        CHECK_EQ(ended, 3);
        shut(ends[1]);
    }
}

TEST_BOTH(CloseInEndedContext)
{
    int ends[2], ended = 0;
    weft_waitgroup wg = {0};
    make_pair("tcp", ends);
    ends[0] = lift(ends[0]);
    weft_wg_go(&wg, do_wait, 0, ends[0], &ended);
    CHECK_EQ(weft_sleep(WEFT_MS), 0);
    weft_ctx *ctx = weft_ctx_with_timeout(weft_ctx_background(), 0);
    weft_scoped_use(ctx);
    shut(ends[0]);
    weft_wg_wait(&wg);
    CHECK_EQ(ended, 1);
    shut(ends[1]);
    weft_ctx_free(ctx);
}

TEST_BOTH(CloseWhatIsNotOpen)
{
    CHECK_EQ(weft_close_fd(-1), -EBADF);
    CHECK_EQ(weft_close_fd(INT32_MAX), -EBADF);
    CHECK_EQ(weft_close_fd(100000), -EBADF);
    CHECK_EQ(weft_close_fd(100000), -EBADF);
    int ends[2]; /* descriptors that weft has not seen before */
    CHECK_EQ(pipe(ends), 0);
    for (int i = 0; i < 2; i++) {
        int high = fcntl(ends[i], F_DUPFD_CLOEXEC, 600);
        shut(high);
        CHECK_EQ(fcntl(high, F_GETFD), -1);
        shut(ends[i]);
    }
}

/* ---- shutdown ends waits too, as the kernel says ---- */

static void expect(int wait, int fd, int expected)
{
    ssize_t result = waits[wait].wait(fd);
    if (result != expected)
        fprintf(stderr, "%s\n", waits[wait].name);
    CHECK_EQ(result, expected);
}

TEST_BOTH(ShutdownEndsWaits)
{
    enum { READ_TCP = 0, READ_UNIX = 1, WRITE_TCP = 8, WRITE_UNIX = 9, ACCEPT = WAITS - 1 };
    static const struct {
        int wait, how, expected;
    } cases[] = {{READ_TCP, SHUT_RD, 0},    {READ_UNIX, SHUT_RD, 0},      {READ_TCP, SHUT_RDWR, 0},
                 {READ_UNIX, SHUT_RDWR, 0}, {WRITE_TCP, SHUT_WR, -EPIPE}, {WRITE_UNIX, SHUT_WR, -EPIPE},
                 {ACCEPT, SHUT_RD, -EINVAL}};
    uint64_t random = test_random();
    for (int times = test_scale(20); times > 0; times--)
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            int ends[2];
            weft_waitgroup wg = {0};
            make_ends(cases[i].wait, ends);
            weft_wg_go(&wg, expect, cases[i].wait, ends[0], cases[i].expected);
            pause_randomly(&random, 500);
            CHECK_EQ(weft_shutdown_fd(ends[0], cases[i].how), 0);
            weft_wg_wait(&wg);
            shut(ends[0]);
            if (ends[1] >= 0)
                shut(ends[1]);
        }
}

/* ---- races for the number ----
   Only calls that are under way are protected from the next descriptor of the number: who begins one after the close has
   a number that may be anything. So the waiters here have parked before the close, and threads open and close descriptors
   all the while. */

enum { THREADS = 2 };

static struct {
    pthread_t threads[THREADS];
    int stop; /* [atomic] */
} churners;

static void *churn(void *unused)
{
    (void)unused;
    for (int tag = 1; !__atomic_load_n(&churners.stop, __ATOMIC_RELAXED); tag++) {
        int ends[2], seen = 0;
        CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | (tag % 2 ? SOCK_NONBLOCK : 0), 0, ends), 0);
        CHECK_EQ(weft_write(ends[1], &tag, sizeof tag), sizeof tag);
        CHECK_EQ(weft_read(ends[0], &seen, sizeof seen), sizeof seen);
        CHECK_EQ(seen, tag);
        shut(ends[tag % 3 == 0]);
        shut(ends[tag % 3 != 0]);
    }
    return NULL;
}

static void start_churning(void)
{
    churners.stop = 0;
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_create(&churners.threads[i], NULL, churn, NULL), 0);
}

static void stop_churning(void)
{
    __atomic_store_n(&churners.stop, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_join(churners.threads[i], NULL), 0);
}

/* Waits until n goroutines wait. */
static void wait_until_parked(int n)
{
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    CHECK(nowhere >= 0);
    while (weft_leaks(nowhere) < n)
        weft_yield();
    close(nowhere);
}

/* No tag of the churners may come, but what was sent to this descriptor may. */
static void read_last(int fd, int own)
{
    int seen = 0;
    ssize_t n = weft_read(fd, &seen, sizeof seen);
    CHECK(n == -EBADF || (n == sizeof seen && seen == own));
}

TEST_BOTH(FdReuseRace)
{
    enum { OWN = -77, READERS = 3 };
    uint64_t random = test_random();
    start_churning();
    for (int times = test_scale(500); times > 0; times--) {
        int ends[2], own = OWN;
        weft_waitgroup readers = {0};
        CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | (times % 2 ? SOCK_NONBLOCK : 0), 0, ends), 0);
        for (int i = 0; i < READERS; i++)
            weft_wg_go(&readers, read_last, ends[0], OWN);
        wait_until_parked(READERS);
        for (int i = (int)(test_random_from(&random) % 3); i > 0; i--)
            CHECK_EQ(weft_write(ends[1], &own, sizeof own), sizeof own);
        shut(ends[0]);
        weft_wg_wait(&readers);
        shut(ends[1]);
    }
    stop_churning();
}

static void accept_last(int listener)
{
    int fd = weft_accept(listener);
    CHECK(fd >= 0 || fd == -EBADF);
    if (fd >= 0) {
        ssize_t n = weft_write(fd, "x", 1);
        CHECK(n == 1 || n == -EPIPE || n == -ECONNRESET); /* the dialer may have lost patience */
        shut(fd);
    }
}

static void dial_once(const char *address)
{
    int fd = weft_dial("tcp", address);
    if (fd < 0) {
        CHECK(fd == -ECONNREFUSED || fd == -ECONNRESET);
        return;
    }
    /* It is accepted, or reset with the listener; now and then the kernel forgets one whose handshake was under way, and
       nothing comes. */
    char byte = 0;
    CHECK_EQ(weft_fd_set_deadline(fd, POLLIN, weft_now() + 100 * WEFT_MS), 0);
    ssize_t n = weft_read(fd, &byte, 1);
    CHECK((n == 1 && byte == 'x') || n == 0 || n == -ECONNRESET || n == -ETIMEDOUT);
    shut(fd);
}

/* Listeners are closed under acceptors while connections come in. */
TEST_BOTH(AcceptCloseRace)
{
    enum { ACCEPTORS = 4 };
    uint64_t random = test_random();
    int before = sockets_open();
    start_churning();
    for (int times = test_scale(300); times > 0; times--) {
        char address[WEFT_ADDRESS];
        int listener = listen_own("tcp", address);
        weft_waitgroup acceptors = {0}, dialers = {0};
        for (int i = 0; i < ACCEPTORS; i++)
            weft_wg_go(&acceptors, accept_last, listener);
        wait_until_parked(ACCEPTORS);
        for (int i = (int)(test_random_from(&random) % 6); i > 0; i--)
            weft_wg_go(&dialers, dial_once, address);
        pause_randomly(&random, 100);
        shut(listener);
        weft_wg_wait(&acceptors);
        weft_wg_wait(&dialers);
    }
    stop_churning();
    CHECK_EQ(sockets_open(), before);
}

/* ---- races for the data ---- */

static void use_until_closed(int fd, int writes)
{
    static const char zeros[3000];
    char buffer[2000];
    ssize_t n;
    do
        n = writes ? weft_write(fd, zeros, sizeof zeros) : weft_read(fd, buffer, sizeof buffer);
    while (n > 0);
    CHECK(n == -EBADF || n == 0 || n == -EPIPE || n == -ECONNRESET);
}

/* Many read and write both ends, which are closed at any moment. */
TEST_BOTH(RacyReadAndWrite)
{
    uint64_t random = test_random();
    for (int times = test_scale(60); times > 0; times--) {
        int ends[2];
        weft_waitgroup wg = {0};
        make_pair(networks[times % 2], ends);
        ends[0] = lift(ends[0]);
        ends[1] = lift(ends[1]);
        for (int i = 0; i < 12; i++)
            weft_wg_go(&wg, use_until_closed, ends[i % 2], i / 2 % 2);
        pause_randomly(&random, 1000);
        shut(ends[0]);
        pause_randomly(&random, 100);
        shut(ends[1]);
        weft_wg_wait(&wg);
    }
}

TEST_MAIN()
