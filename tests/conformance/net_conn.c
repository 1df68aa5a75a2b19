/* net_conn.c — connections: what Go's net tests check of Conn (conn_test.go, server_test.go, tcpsock_test.go,
   net_test.go), over TCP and Unix sockets, and peers that behave badly: that reset, stall, leave early, send a byte at a
   time. */
#include "sockets.h"

#include <sys/resource.h>
#include <sys/uio.h>

static const char *const networks[] = {"tcp4", "unix", "tcp6"};

static int n_networks(void)
{
    return has_ipv6() ? 3 : 2;
}

/* ---- both ends ---- */

TEST_BOTH(ConnAndListener)
{
    for (int i = 0; i < n_networks(); i++) {
        char address[WEFT_ADDRESS], a[WEFT_ADDRESS], b[WEFT_ADDRESS], text[] = "ConnAndListener", back[sizeof text];
        int listener = listen_own(networks[i], address);
        weft_waitgroup servers = {0};
        weft_wg_go(&servers, echo_all, listener, &servers);
        for (int times = test_scale(50); times > 0; times--) {
            int fd = good(weft_dial(networks[i], address));
            CHECK(weft_peer_address(fd, a, sizeof a) > 0);
            CHECK(strcmp(a, address) == 0);
            CHECK(weft_local_address(fd, b, sizeof b) >= 0);
            CHECK(strcmp(a, b) != 0);
            CHECK_EQ(weft_write_all(fd, text, sizeof text), sizeof text);
            CHECK_EQ(weft_read_full(fd, back, sizeof back), sizeof back);
            CHECK(memcmp(text, back, sizeof text) == 0);
            CHECK_EQ(weft_shutdown_fd(fd, SHUT_WR), 0);
            CHECK_EQ(weft_read(fd, back, sizeof back), 0);
            shut(fd);
        }
        stop_listening(listener, &servers);
    }
}

static void ask(const char *network, const char *address, int times)
{
    uint64_t random = test_random();
    int fd = good(weft_dial(network, address));
    for (; times > 0; times--) {
        unsigned char out[300], in[300];
        size_t n = 1 + test_random_from(&random) % sizeof out;
        memset(out, times, n);
        memset(in, ~times, n);
        CHECK_EQ(weft_write_all(fd, out, n), n);
        CHECK_EQ(weft_read_full(fd, in, n), n);
        CHECK(memcmp(in, out, n) == 0);
    }
    shut(fd);
}

static void serve_many(const char *network, int clients, int times)
{
    char address[WEFT_ADDRESS];
    int listener = listen_own(network, address);
    weft_waitgroup servers = {0}, askers = {0};
    weft_wg_go(&servers, echo_all, listener, &servers);
    for (int i = 0; i < clients; i++)
        weft_wg_go(&askers, ask, network, address, times);
    weft_wg_wait(&askers);
    stop_listening(listener, &servers);
}

TEST_BOTH(TCPServer)
{
    int before = sockets_open();
    serve_many("tcp4", 20, test_scale(200));
    CHECK_EQ(sockets_open(), before);
}

TEST_BOTH(UnixServer)
{
    int before = sockets_open();
    serve_many("unix", 20, test_scale(200));
    CHECK_EQ(sockets_open(), before);
}

TEST_BOTH(TCPStress)
{
    serve_many("tcp4", test_scale(300), 20);
}

/* 10,000 at the same time, as far as the limit on descriptors goes. Fewer are on their way at a time: when a listener's queue
   overflows, the kernel lets some wait for seconds and resets others. */
static void hold(const char *address, weft_sem *dialing, weft_waitgroup *ready, weft_waitgroup *go_on)
{
    char byte = 'x';
    CHECK_EQ(weft_sem_acquire(dialing, 1), 0);
    int fd = good(weft_dial("tcp", address));
    CHECK_EQ(weft_write(fd, &byte, 1), 1);
    CHECK_EQ(weft_read(fd, &byte, 1), 1);
    weft_sem_release(dialing, 1);
    weft_wg_done(ready);
    weft_wg_wait(go_on);
    CHECK_EQ(weft_write(fd, &byte, 1), 1);
    CHECK_EQ(weft_read(fd, &byte, 1), 1);
    shut(fd);
}

TEST_BOTH(ManyConnections)
{
    struct rlimit limit;
    char address[WEFT_ADDRESS];
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    int n = test_scale(10000), most = limit.rlim_cur > 30000 ? 10000 : ((int)limit.rlim_cur - 100) / 2;
    if (TEST_TSAN && most > 500)
        most = 500; /* it has room for so many fibers */
    if (n > most)
        n = most;
    weft_sem dialing = WEFT_SEM(100);
    weft_waitgroup servers = {0}, clients = {0}, ready = {0}, go_on = {0};
    int listener = listen_own("tcp", address);
    weft_wg_go(&servers, echo_all, listener, &servers);
    weft_wg_add(&ready, n);
    weft_wg_add(&go_on, 1);
    for (int i = 0; i < n; i++)
        weft_wg_go(&clients, hold, address, &dialing, &ready, &go_on);
    weft_wg_wait(&ready);
    CHECK(sockets_open() >= 2 * n + 1);
    weft_wg_done(&go_on);
    weft_wg_wait(&clients);
    stop_listening(listener, &servers);
}

/* ---- much, and little by little ---- */

static void send_pattern(int fd, size_t total, size_t most)
{
    unsigned char buffer[65536];
    uint64_t random = test_random();
    for (size_t sent = 0; sent < total;) {
        size_t n = 1 + test_random_from(&random) % (most < sizeof buffer ? most : sizeof buffer);
        if (n > total - sent)
            n = total - sent;
        for (size_t i = 0; i < n; i++)
            buffer[i] = (unsigned char)((sent + i) * 31 >> 3);
        CHECK_EQ(weft_write_all(fd, buffer, n), n);
        sent += n;
    }
    CHECK_EQ(weft_shutdown_fd(fd, SHUT_WR), 0);
}

static void receive_pattern(int fd, size_t total, size_t most)
{
    unsigned char buffer[65536];
    uint64_t random = test_random();
    size_t received = 0;
    for (;;) {
        ssize_t n = weft_read(fd, buffer, 1 + test_random_from(&random) % (most < sizeof buffer ? most : sizeof buffer));
        CHECK(n >= 0);
        if (n == 0)
            break;
        for (ssize_t i = 0; i < n; i++)
            CHECK_EQ(buffer[i], (unsigned char)((received + (size_t)i) * 31 >> 3));
        received += (size_t)n;
    }
    CHECK_EQ(received, total);
}

static void exchange(const char *network, size_t total, size_t most)
{
    int ends[2];
    weft_waitgroup wg = {0};
    make_pair(network, ends);
    for (int i = 0; i < 2; i++) { /* both directions at the same time */
        weft_wg_go(&wg, send_pattern, ends[i], total, most);
        weft_wg_go(&wg, receive_pattern, ends[i], total, most);
    }
    weft_wg_wait(&wg);
    shut(ends[0]);
    shut(ends[1]);
}

TEST_BOTH(TCPBig)
{
    for (int i = 0; i < n_networks(); i++)
        exchange(networks[i], (size_t)test_scale(20 << 20), 65536);
}

TEST_BOTH(OneByteAtATime)
{
    for (int i = 0; i < n_networks(); i++)
        exchange(networks[i], (size_t)test_scale(20000), 1);
}

static void send_slowly(int fd, const char *text)
{
    for (; *text; text++) {
        CHECK_EQ(weft_write(fd, text, 1), 1);
        CHECK_EQ(weft_sleep(WEFT_MS / 2), 0);
    }
    shut(fd);
}

/* A peer that sends a byte now and then: reads return what there is, weft_read_full waits for all of it. */
TEST_BOTH(SlowPeer)
{
    static const char text[] = "a byte now and then";
    for (int i = 0; i < n_networks(); i++)
        for (int full = 0; full < 2; full++) {
            int ends[2], n = 0;
            char back[100];
            weft_waitgroup wg = {0};
            make_pair(networks[i], ends);
            weft_wg_go(&wg, send_slowly, ends[0], text);
            if (full) {
                n = (int)weft_read_full(ends[1], back, sizeof back);
            } else {
                for (ssize_t got; (got = weft_read(ends[1], back + n, sizeof back - (size_t)n)) != 0; n += (int)got)
                    CHECK(got > 0);
            }
            CHECK_EQ(n, sizeof text - 1);
            CHECK(memcmp(back, text, sizeof text - 1) == 0);
            weft_wg_wait(&wg);
            shut(ends[1]);
        }
}

static void drain_later(int fd, size_t total)
{
    CHECK_EQ(weft_sleep(5 * WEFT_MS), 0);
    receive_pattern(fd, total, 3000);
}

/* A peer that takes nothing for a while: writers wait, and all arrives. */
TEST_BOTH(StalledPeer)
{
    for (int i = 0; i < n_networks(); i++) {
        int ends[2];
        size_t total = (size_t)test_scale(4 << 20);
        weft_waitgroup wg = {0};
        make_pair(networks[i], ends);
        set_size(ends[0], SO_SNDBUF, 100000);
        set_size(ends[1], SO_RCVBUF, 100000);
        weft_wg_go(&wg, drain_later, ends[1], total);
        send_pattern(ends[0], total, 65536);
        weft_wg_wait(&wg);
        shut(ends[0]);
        shut(ends[1]);
    }
}

/* ---- peers that leave ---- */

static void leave_later(int fd, int by_reset)
{
    CHECK_EQ(weft_sleep(WEFT_MS), 0);
    if (by_reset)
        shut_by_reset(fd);
    else
        shut(fd);
}

TEST_BOTH(PeerClosesEarly)
{
    for (int i = 0; i < n_networks(); i++)
        for (int times = test_scale(10); times > 0; times--) {
            int ends[2];
            char byte;
            weft_waitgroup wg = {0};
            make_pair(networks[i], ends);
            weft_wg_go(&wg, leave_later, ends[1], false);
            CHECK_EQ(weft_read(ends[0], &byte, 1), 0); /* waits for it */
            CHECK_EQ(weft_read(ends[0], &byte, 1), 0);
            CHECK_EQ(weft_read_full(ends[0], &byte, 1), 0);
            ssize_t n;
            while ((n = weft_write(ends[0], "x", 1)) == 1) /* the first tells the kernel, a later one fails */
                CHECK_EQ(weft_sleep(100 * WEFT_US), 0);
            CHECK(n == -EPIPE || n == -ECONNRESET);
            CHECK_EQ(weft_write(ends[0], "x", 1), -EPIPE); /* and no SIGPIPE */
            weft_wg_wait(&wg);
            shut(ends[0]);
        }
}

/* A reset ends a read that waits, and is an error, not the end. */
TEST_BOTH(NotTemporaryRead)
{
    for (int times = test_scale(30); times > 0; times--) {
        int ends[2];
        char byte;
        weft_waitgroup wg = {0};
        make_pair("tcp", ends);
        weft_wg_go(&wg, leave_later, ends[1], true);
        CHECK_EQ(weft_read(ends[0], &byte, 1), -ECONNRESET);
        CHECK_EQ(weft_read(ends[0], &byte, 1), 0);
        CHECK_EQ(weft_write(ends[0], &byte, 1), -EPIPE);
        weft_wg_wait(&wg);
        shut(ends[0]);
    }
}

static void write_until_error(int fd, ssize_t *error)
{
    static const char zeros[10000];
    while ((*error = weft_write_all(fd, zeros, sizeof zeros)) > 0)
        ;
}

TEST_BOTH(PeerResetsWriter)
{
    for (int times = test_scale(30); times > 0; times--) {
        int ends[2];
        ssize_t error = 0;
        weft_waitgroup wg = {0};
        make_pair("tcp", ends);
        fill(ends[0]);
        weft_wg_go(&wg, write_until_error, ends[0], &error);
        weft_wg_go(&wg, leave_later, ends[1], true);
        weft_wg_wait(&wg);
        CHECK(error == -ECONNRESET || error == -EPIPE);
        shut(ends[0]);
    }
}

/* The peer has sent a part of what MSG_WAITALL wants: that is what there is, and the reset comes after it. */
TEST_BOTH(PeerResetsBeforeAllCame)
{
    int ends[2];
    char bytes[100];
    weft_waitgroup wg = {0};
    make_pair("tcp", ends);
    CHECK_EQ(weft_write(ends[1], "ten bytes.", 10), 10);
    weft_wg_go(&wg, leave_later, ends[1], true);
    CHECK_EQ(weft_recvfrom(ends[0], bytes, sizeof bytes, MSG_WAITALL, NULL, NULL), 10);
    CHECK_EQ(weft_recvfrom(ends[0], bytes, sizeof bytes, MSG_WAITALL, NULL, NULL), -ECONNRESET);
    CHECK_EQ(weft_recvfrom(ends[0], bytes, sizeof bytes, MSG_WAITALL, NULL, NULL), 0);
    weft_wg_wait(&wg);
    shut(ends[0]);
}

/* What was sent before the reset of a peer that did not read it all. */
TEST_BOTH(PeerClosesWithDataUnread)
{
    int ends[2];
    char byte;
    make_pair("tcp", ends);
    CHECK_EQ(weft_write(ends[0], "unread", 6), 6);
    struct pollfd look = {.fd = ends[1], .events = POLLIN};
    CHECK_EQ(poll(&look, 1, 10000), 1);
    shut(ends[1]); /* Linux makes this a reset */
    CHECK_EQ(weft_read(ends[0], &byte, 1), -ECONNRESET);
    shut(ends[0]);
}

/* ---- odd sizes, several at once ---- */

TEST_BOTH(ZeroByteRead)
{
    for (int i = 0; i < n_networks(); i++) {
        int ends[2];
        char byte = 0;
        make_pair(networks[i], ends);
        CHECK_EQ(weft_read(ends[0], &byte, 0), 0); /* nothing is there: it does not wait */
        CHECK_EQ(weft_write(ends[1], &byte, 0), 0);
        CHECK_EQ(weft_read_full(ends[0], &byte, 0), 0);
        CHECK_EQ(weft_write_all(ends[0], &byte, 0), 0);
        CHECK_EQ(weft_write(ends[1], "x", 1), 1);
        CHECK_EQ(weft_read(ends[0], &byte, 0), 0);
        CHECK_EQ(weft_read(ends[0], &byte, 1), 1);
        CHECK_EQ(byte, 'x');
        shut(ends[0]);
        shut(ends[1]);
    }
}

static void read_words(int fd, uint64_t *sum)
{
    uint32_t word;
    ssize_t n;
    while ((n = weft_recvfrom(fd, &word, sizeof word, 0, NULL, NULL)) == sizeof word)
        __atomic_fetch_add(sum, word, __ATOMIC_RELAXED);
    CHECK_EQ(n, 0);
}

/* Several readers: each word comes to one of them. Datagrams in a stream's order, so that no word is split between two. */
TEST_BOTH(ManyReadersOfOneDescriptor)
{
    enum { READERS = 8 };
    int ends[2];
    uint64_t sum = 0, expected = 0;
    uint32_t words = (uint32_t)test_scale(20000);
    weft_waitgroup wg = {0};
    CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    for (int i = 0; i < READERS; i++)
        weft_wg_go(&wg, read_words, ends[1], &sum);
    for (uint32_t word = 1; word <= words; word++) {
        CHECK_EQ(weft_write(ends[0], &word, sizeof word), sizeof word);
        expected += word;
    }
    shut(ends[0]);
    weft_wg_wait(&wg);
    CHECK_EQ(sum, expected);
    shut(ends[1]);
}

static void write_letters(int fd, int letter, int times)
{
    char text[64];
    memset(text, letter, sizeof text);
    for (; times > 0; times--)
        CHECK_EQ(weft_write_all(fd, text, sizeof text), sizeof text);
}

TEST_BOTH(ManyWritersOfOneDescriptor)
{
    enum { WRITERS = 8 };
    int ends[2], times = test_scale(1000);
    size_t counts[256] = {0}, total = 0;
    char buffer[5000];
    weft_waitgroup wg = {0};
    make_pair("tcp", ends);
    set_size(ends[0], SO_SNDBUF, 100000);
    for (int i = 0; i < WRITERS; i++)
        weft_wg_go(&wg, write_letters, ends[0], 'a' + i, times);
    while (total < (size_t)times * WRITERS * 64) {
        ssize_t n = weft_read(ends[1], buffer, sizeof buffer);
        CHECK(n > 0);
        for (ssize_t i = 0; i < n; i++)
            counts[(unsigned char)buffer[i]]++;
        total += (size_t)n;
    }
    weft_wg_wait(&wg);
    for (int i = 0; i < WRITERS; i++)
        CHECK_EQ(counts['a' + i], times * 64);
    shut(ends[0]);
    shut(ends[1]);
}

/* Vectors: many parts, empty ones too. */
TEST_BOTH(Vectors)
{
    for (int i = 0; i < n_networks(); i++) {
        int ends[2];
        char in[3][4] = {"", "", ""};
        struct iovec out_parts[] = {{"ab", 2}, {"", 0}, {"cdefgh", 6}}, in_parts[] = {{in[0], 3}, {in[1], 0}, {in[2], 3}};
        make_pair(networks[i], ends);
        CHECK_EQ(weft_writev(ends[0], out_parts, 3), 8);
        CHECK_EQ(weft_readv(ends[1], in_parts, 3), 6);
        CHECK(memcmp(in[0], "abc", 3) == 0 && memcmp(in[2], "def", 3) == 0);
        CHECK_EQ(weft_readv(ends[1], in_parts, 3), 2);
        CHECK(memcmp(in[0], "gh", 2) == 0);
        shut(ends[0]);
        shut(ends[1]);
    }
}

TEST_BOTH(DontWait)
{
    int ends[2];
    char byte;
    make_pair("tcp", ends);
    CHECK_EQ(weft_recvfrom(ends[0], &byte, 1, MSG_DONTWAIT, NULL, NULL), -EAGAIN);
    fill(ends[0]);
    CHECK_EQ(weft_sendto(ends[0], "x", 1, MSG_DONTWAIT, NULL, 0), -EAGAIN);
    CHECK_EQ(weft_write(ends[1], "x", 1), 1);
    CHECK_EQ(weft_read(ends[0], &byte, 1), 1);
    shut(ends[0]);
    shut(ends[1]);
}

TEST_MAIN()
