/* net_listen.c — weft_listen, weft_accept and the addresses of sockets: what Go's net tests check of listeners
   (listen_test.go, tcpsock_test.go, net_test.go). */
#include "sockets.h"

#include <netinet/in.h>

/* ---- the same address twice, and what is not the same ---- */

/* Listens at b:port of the second network, with a:port of the first in use, and then not in use. False: somebody else has
   the port. */
static bool look_twice(const char *first, const char *a, const char *second, const char *b, int expected)
{
    char address[WEFT_ADDRESS], text[WEFT_ADDRESS];
    snprintf(text, sizeof text, "%s:0", a);
    int fd = listen_at(first, text, address);
    snprintf(text, sizeof text, "%s:%d", b, port_in(address));
    int again = weft_listen(second, text);
    if (again >= 0)
        shut(again);
    shut(fd);
    if (again != -EADDRINUSE || expected == -EADDRINUSE) {
        if ((again < 0 ? again : 0) != expected)
            fprintf(stderr, "%s %s, then %s %s\n", first, a, second, b);
        CHECK_EQ(again < 0 ? again : 0, expected);
        again = weft_listen(second, text);
        if (again >= 0)
            shut(again);
    }
    CHECK(again >= 0 || again == -EADDRINUSE);
    return again >= 0;
}

static void check_twice(const char *first, const char *a, const char *second, const char *b, int expected)
{
    int tries = 0;
    while (!look_twice(first, a, second, b, expected))
        CHECK(++tries < 20);
}

static void check_listeners(const char *any, const char *four, const char *six)
{
    static const char *const hosts[] = {"", "0.0.0.0", "127.0.0.1"};
    for (int i = 0; i < 3; i++) {
        check_twice(any, hosts[i], any, hosts[i], -EADDRINUSE);
        check_twice(four, hosts[i], four, hosts[i], -EADDRINUSE);
    }
    if (!has_ipv6())
        return;
    check_twice(six, "", six, "[::]", -EADDRINUSE);
    check_twice(six, "[::1]", six, "[::1]", -EADDRINUSE);
    /* both families, and one of them */
    check_twice(any, "", four, "", -EADDRINUSE);
    check_twice(any, "", six, "", -EADDRINUSE);
    check_twice(any, "[::]", four, "0.0.0.0", -EADDRINUSE);
    check_twice(four, "", any, "", -EADDRINUSE);
    check_twice(six, "[::]", any, "", -EADDRINUSE);
    /* one each */
    check_twice(four, "", six, "", 0);
    check_twice(six, "[::]", four, "0.0.0.0", 0);
    check_twice(four, "127.0.0.1", six, "[::1]", 0);
    check_twice(any, "127.0.0.1", any, "[::1]", 0);
}

TEST_BOTH(TCPListener)
{
    check_listeners("tcp", "tcp4", "tcp6");
}

TEST_BOTH(UDPListener)
{
    check_listeners("udp", "udp4", "udp6");
}

/* A socket that has the port for one family, so that no other program answers there; -EADDRINUSE when one does. It does
   not listen: who dials it is refused. */
static int take_port(int family, int port)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port), .sin6_addr = in6addr_any};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = six.sin6_port, .sin_addr.s_addr = htonl(INADDR_ANY)};
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1, result;
    CHECK(fd >= 0);
    if (family == AF_INET6) {
        CHECK_EQ(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one), 0);
        result = bind(fd, (struct sockaddr *)&six, sizeof six);
    } else {
        result = bind(fd, (struct sockaddr *)&four, sizeof four);
    }
    if (result == 0)
        return fd;
    CHECK_EQ(weft_errno(), EADDRINUSE);
    shut(fd);
    return -EADDRINUSE;
}

static void check_accepts(int listener, const char *network, int port, bool accepts)
{
    char address[WEFT_ADDRESS];
    snprintf(address, sizeof address, ":%d", port);
    int fd = weft_dial(network, address);
    CHECK_EQ(fd >= 0, accepts);
    if (!accepts)
        return;
    shut(good(weft_accept(listener)));
    shut(fd);
}

struct family_case {
    const char *network, *address;
    bool four, six;
};

/* False: another program has the port in the family in which this listener is not to answer. */
static bool check_families(const struct family_case *c)
{
    char address[WEFT_ADDRESS];
    int listener = listen_at(c->network, c->address, address), port = port_in(address), other = 0;
    if (!c->four || !c->six)
        other = take_port(c->four ? AF_INET6 : AF_INET, port);
    if (other >= 0) {
        check_accepts(listener, "tcp4", port, c->four);
        check_accepts(listener, "tcp6", port, c->six);
        check_accepts(listener, "tcp", port, true);
    }
    if (other > 0)
        shut(other);
    shut(listener);
    return other >= 0;
}

TEST_BOTH(DualStackTCPListener)
{
    static const struct family_case cases[] = {
        {"tcp", ":0", true, true},           {"tcp", "[::]:0", true, true},   {"tcp", "0.0.0.0:0", true, false},
        {"tcp4", ":0", true, false},         {"tcp6", ":0", false, true},     {"tcp6", "[::]:0", false, true},
        {"tcp", "127.0.0.1:0", true, false}, {"tcp", "[::1]:0", false, true},
    };
    if (!has_ipv6())
        return;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int tries = 0; !check_families(&cases[i]); tries++)
            CHECK(tries < 20);
}

TEST_BOTH(ListenNotHere)
{
    int before = sockets_open();
    CHECK_EQ(weft_listen("tcp", "192.0.2.1:0"), -EADDRNOTAVAIL); /* an address for documentation */
    CHECK_EQ(weft_listen("udp", "192.0.2.1:0"), -EADDRNOTAVAIL);
    CHECK_EQ(sockets_open(), before);
}

TEST_BOTH(ListenByName)
{
    char address[WEFT_ADDRESS];
    int listener = listen_at("tcp4", "localhost:0", address);
    CHECK(strncmp(address, "127.", 4) == 0);
    shut(good(weft_dial("tcp", address)));
    snprintf(address, sizeof address, "localhost:%d", port_in(address));
    int fd = good(weft_dial("tcp4", address));
    shut(good(weft_accept(listener)));
    shut(good(weft_accept(listener)));
    shut(fd);
    shut(listener);
}

TEST_BOTH(ListenCloseListen)
{
    char address[WEFT_ADDRESS];
    shut(listen_own("tcp", address));
    for (int i = test_scale(300); i > 0; i--) {
        int listener = weft_listen("tcp", address);
        if (listener == -EADDRINUSE) { /* by somebody else, who came in between */
            shut(listen_own("tcp", address));
            continue;
        }
        int fd = good(weft_dial("tcp", address)), other = good(weft_accept(listener));
        shut(i % 2 ? fd : other);
        shut(i % 2 ? other : fd);
        shut(listener);
    }
}

/* As many as the system allows may wait to be accepted. */
TEST_BOTH(LongBacklog)
{
    enum { MOST = 500 };
    int fds[MOST], n = 0, somaxconn = 0;
    FILE *file = fopen("/proc/sys/net/core/somaxconn", "r");
    if (!file || fscanf(file, "%d", &somaxconn) != 1)
        return;
    fclose(file);
    char address[WEFT_ADDRESS];
    int listener = listen_own("tcp", address);
    for (; n < MOST && n < somaxconn; n++)
        fds[n] = good(weft_dial("tcp", address));
    for (int i = 0; i < n; i++) {
        shut(good(weft_accept(listener)));
        shut(fds[i]);
    }
    shut(listener);
}

/* ---- accept ---- */

TEST_BOTH(AcceptFrom)
{
    char address[WEFT_ADDRESS], local[WEFT_ADDRESS];
    int listener = listen_own("tcp", address), fd = good(weft_dial("tcp", address));
    struct sockaddr_in from = {0};
    unsigned length = sizeof from;
    int other = good(weft_accept_from(listener, (struct sockaddr *)&from, &length));
    CHECK_EQ(length, sizeof from);
    CHECK_EQ(from.sin_family, AF_INET);
    CHECK_EQ(from.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    CHECK(weft_local_address(fd, local, sizeof local) > 0);
    CHECK_EQ(ntohs(from.sin_port), port_in(local));
    shut(other);
    shut(fd);
    /* too little room: the length tells */
    fd = good(weft_dial("tcp", address));
    memset(&from, 0x55, sizeof from);
    length = offsetof(struct sockaddr_in, sin_addr);
    other = good(weft_accept_from(listener, (struct sockaddr *)&from, &length));
    CHECK_EQ(length, sizeof from);
    CHECK_EQ(from.sin_family, AF_INET);
    CHECK_EQ(from.sin_addr.s_addr, 0x55555555);
    shut(other);
    shut(fd);
    shut(listener);
}

static void check_accepted(int fd, bool tcp)
{
    int set = 0;
    socklen_t length = sizeof set;
    CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    if (tcp) {
        CHECK_EQ(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &set, &length), 0);
        CHECK(set);
    }
}

static void dial_later(const char *address, weft_waitgroup *wg)
{
    CHECK_EQ(weft_sleep(WEFT_MS), 0);
    shut(good(weft_dial("tcp", address)));
    weft_wg_done(wg);
}

/* A listener that another library made, which is blocking. */
TEST_BOTH(AcceptOnForeignListener)
{
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char address[WEFT_ADDRESS];
    weft_waitgroup wg = {0};
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(listener >= 0);
    CHECK_EQ(bind(listener, (struct sockaddr *)&own, sizeof own), 0);
    CHECK_EQ(listen(listener, 10), 0);
    CHECK(weft_local_address(listener, address, sizeof address) > 0);
    for (int i = 0; i < 10; i++) {
        if (i == 5)
            CHECK_EQ(fcntl(listener, F_SETFL, 0), 0); /* somebody makes it blocking again */
        weft_wg_add(&wg, 1);
        weft_go(dial_later, address, &wg);
        int fd = good(weft_accept(listener));
        check_accepted(fd, true);
        CHECK(fcntl(listener, F_GETFL) & O_NONBLOCK);
        shut(fd);
        weft_wg_wait(&wg);
    }
    shut(listener);
}

TEST_BOTH(AcceptedFlags)
{
    static const char *const networks[] = {"tcp4", "unix", "tcp6"};
    for (int i = 0; i < (has_ipv6() ? 3 : 2); i++) {
        char address[WEFT_ADDRESS];
        int listener = listen_own(networks[i], address), fd = good(weft_dial(networks[i], address));
        int other = good(weft_accept(listener));
        check_accepted(other, i != 1);
        check_accepted(fd, i != 1);
        check_accepted(listener, false);
        shut(other);
        shut(fd);
        shut(listener);
    }
}

TEST_BOTH(AcceptOnWrongDescriptor)
{
    int ends[2], fd = good(weft_listen("udp", "127.0.0.1:0"));
    CHECK_EQ(weft_accept(fd), -EOPNOTSUPP);
    shut(fd);
    fd = good(weft_listen("unixgram", "@"));
    CHECK_EQ(weft_accept(fd), -EOPNOTSUPP);
    shut(fd);
    make_pair("tcp", ends);
    CHECK_EQ(weft_accept(ends[0]), -EINVAL);
    shut(ends[0]);
    shut(ends[1]);
    CHECK_EQ(pipe(ends), 0);
    ends[0] = lift(ends[0]);
    CHECK_EQ(weft_accept(ends[0]), -ENOTSOCK);
    shut(ends[0]);
    CHECK_EQ(weft_accept(ends[0]), -EBADF);
    shut(ends[1]);
    CHECK_EQ(weft_accept(-1), -EBADF);
}

/* Connections that were reset before they were accepted: accept may skip them or give them, but goes on. */
TEST_BOTH(AcceptIgnoreAbortedConnections)
{
    char address[WEFT_ADDRESS], byte;
    int listener = listen_own("tcp", address);
    for (int i = test_scale(50); i > 0; i--) {
        for (int n = i % 4; n > 0; n--)
            shut_by_reset(good(weft_dial("tcp", address)));
        int fd = good(weft_dial("tcp", address));
        CHECK_EQ(weft_write(fd, "x", 1), 1);
        for (;;) {
            int other = good(weft_accept(listener));
            ssize_t n = weft_read(other, &byte, 1);
            shut(other);
            if (n == 1)
                break;
            CHECK_EQ(n, -ECONNRESET);
        }
        shut(fd);
    }
    shut(listener);
}

static void accept_and_count(int listener, int *count, weft_waitgroup *wg)
{
    int fd;
    while ((fd = weft_accept(listener)) >= 0) {
        shut(fd);
        __atomic_fetch_add(count, 1, __ATOMIC_RELAXED);
    }
    CHECK_EQ(fd, -ETIMEDOUT);
    weft_wg_done(wg);
}

static void dial_and_read_end(const char *address, int times)
{
    char byte;
    for (; times > 0; times--) {
        int fd = good(weft_dial("tcp", address));
        CHECK_EQ(weft_read(fd, &byte, 1), 0);
        shut(fd);
    }
}

TEST_BOTH(TCPConcurrentAccept)
{
    enum { ACCEPTORS = 10, DIALERS = 20 };
    int count = 0, times = test_scale(50);
    char address[WEFT_ADDRESS];
    int listener = listen_own("tcp", address);
    weft_waitgroup acceptors = {0}, dialers = {0};
    for (int i = 0; i < ACCEPTORS; i++) {
        weft_wg_add(&acceptors, 1);
        weft_go(accept_and_count, listener, &count, &acceptors);
    }
    for (int i = 0; i < DIALERS; i++)
        weft_wg_go(&dialers, dial_and_read_end, address, times);
    weft_wg_wait(&dialers);
    stop_listening(listener, &acceptors);
    CHECK_EQ(count, DIALERS * times);
}

TEST_BOTH(AcceptCancelled)
{
    char address[WEFT_ADDRESS];
    int listener = listen_own("tcp", address), fd;
    weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background());
    weft_go(cancel_later, weft_ctx_ref(ctx), WEFT_MS);
    {
        weft_scoped_use(ctx);
        CHECK_EQ(weft_accept(listener), -ECANCELED);
        fd = good(weft_dial("unixgram", "@weft-test") == -ECONNREFUSED ? 0 : -1); /* what needs no wait goes on */
        CHECK_EQ(fd, 0);
    }
    weft_ctx_free(ctx);
    fd = good(weft_dial("tcp", address));
    shut(good(weft_accept(listener)));
    shut(fd);
    shut(listener);
}

/* ---- addresses ---- */

TEST_BOTH(AddressesAsText)
{
    static const char *const addresses[][3] = {{"tcp", "127.0.0.1:0", "127.0.0.1:"},
                                               {"udp", "127.0.0.1:0", "127.0.0.1:"},
                                               {"tcp4", ":0", "0.0.0.0:"},
                                               {"tcp6", "[::1]:0", "[::1]:"},
                                               {"tcp", ":0", "[::]:"},
                                               {"udp6", "[::1]:0", "[::1]:"}};
    for (int i = 0; i < (has_ipv6() ? 6 : 3); i++) {
        char text[WEFT_ADDRESS], small[WEFT_ADDRESS], number[16];
        int fd = lift(good(weft_listen(addresses[i][0], addresses[i][1])));
        int length = weft_local_address(fd, text, sizeof text);
        CHECK_EQ(length, strlen(text));
        CHECK(strncmp(text, addresses[i][2], strlen(addresses[i][2])) == 0);
        snprintf(number, sizeof number, "%d", port_in(text));
        CHECK(strcmp(text + strlen(addresses[i][2]), number) == 0);
        CHECK_EQ(weft_local_address(fd, small, (size_t)length + 1), length);
        CHECK(strcmp(small, text) == 0);
        for (size_t size = 0; size <= (size_t)length; size++)
            CHECK_EQ(weft_local_address(fd, small, size), -ENOSPC);
        CHECK_EQ(weft_peer_address(fd, text, sizeof text), -ENOTCONN);
        shut(fd);
        CHECK_EQ(weft_local_address(fd, text, sizeof text), -EBADF);
    }
    int ends[2];
    char text[WEFT_ADDRESS];
    CHECK_EQ(pipe(ends), 0);
    CHECK_EQ(weft_local_address(ends[0], text, sizeof text), -ENOTSOCK);
    close(ends[0]);
    close(ends[1]);
}

/* IPv4 that comes to a socket of both families is shown as what it is. */
TEST_BOTH(AddressOfMappedIPv4)
{
    if (!has_ipv6())
        return;
    char address[WEFT_ADDRESS], text[WEFT_ADDRESS], expected[WEFT_ADDRESS];
    int listener = listen_at("tcp", ":0", address);
    snprintf(text, sizeof text, "127.0.0.1:%d", port_in(address));
    int fd = good(weft_dial("tcp", text)), other = good(weft_accept(listener));
    CHECK(weft_local_address(fd, expected, sizeof expected) > 0);
    CHECK(weft_peer_address(other, text, sizeof text) > 0);
    CHECK(strcmp(text, expected) == 0);
    CHECK(weft_local_address(other, text, sizeof text) > 0);
    CHECK(strncmp(text, "127.0.0.1:", 10) == 0);
    shut(other);
    shut(fd);
    snprintf(text, sizeof text, "[::ffff:127.0.0.1]:%d", port_in(address));
    shut(good(weft_dial("tcp", text)));
    shut(good(weft_accept(listener)));
    shut(listener);
}

TEST_MAIN()
