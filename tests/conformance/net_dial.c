/* LINK: -Wl,--wrap=getaddrinfo,--wrap=freeaddrinfo,--wrap=connect */
/* net_dial.c — weft_dial: what Go's net tests check of Dial (dial_test.go), and the race between addresses. Names are
   resolved here: the test says which addresses "test.name" has. Deadlines of dial are in net_timeouts.c. */
#include "sockets.h"

#include <netdb.h>
#include <pthread.h>

/* ---- names ---- */

/* The addresses of test.name, in order, up to the first that is empty. With a lock: a caller that gave up leaves its call
   behind. */
static struct {
    pthread_mutex_t lock;
    char addresses[4][WEFT_ADDRESS];
} name = {.lock = PTHREAD_MUTEX_INITIALIZER};

int __real_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **list);
int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **list);
int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **list)
{
    if (!host || strcmp(host, "test.name") != 0)
        return __real_getaddrinfo(host, service, hints, list);
    if (hints->ai_flags & AI_NUMERICHOST)
        return EAI_NONAME;
    struct addrinfo numeric = *hints, **end = list;
    numeric.ai_flags |= AI_NUMERICHOST | AI_NUMERICSERV;
    *list = NULL;
    pthread_mutex_lock(&name.lock);
    for (int i = 0; name.addresses[i][0]; i++) {
        char number[WEFT_ADDRESS];
        strcpy(number, name.addresses[i]);
        char *colon = strrchr(number, ':');
        *colon = '\0';
        char *start = number;
        if (*start == '[') {
            start++;
            colon[-1] = '\0';
        }
        CHECK_EQ(__real_getaddrinfo(start, colon + 1, &numeric, end), 0);
        CHECK(*end && !(*end)->ai_next);
        end = &(*end)->ai_next;
    }
    pthread_mutex_unlock(&name.lock);
    return *list ? 0 : EAI_NONAME;
}

/* One by one, because each was made by a call of its own. */
void __real_freeaddrinfo(struct addrinfo *list);
void __wrap_freeaddrinfo(struct addrinfo *list);
void __wrap_freeaddrinfo(struct addrinfo *list)
{
    for (struct addrinfo *next; list; list = next) {
        next = list->ai_next;
        list->ai_next = NULL;
        __real_freeaddrinfo(list);
    }
}

static void set_name(const char *a, const char *b, const char *c)
{
    const char *const all[] = {a, b, c};
    pthread_mutex_lock(&name.lock);
    for (int i = 0; i < 3; i++)
        strcpy(name.addresses[i], all[i] ? all[i] : "");
    pthread_mutex_unlock(&name.lock);
}

/* An address at which nobody listens. */
static void find_closed(char address[WEFT_ADDRESS])
{
    shut(listen_own("tcp", address));
}

/* The same, and it stays so until the descriptor is closed. */
static int reserve(char address[WEFT_ADDRESS])
{
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    CHECK_EQ(bind(fd, (struct sockaddr *)&own, sizeof own), 0);
    CHECK(weft_local_address(fd, address, WEFT_ADDRESS) > 0);
    return fd;
}

/* ---- arguments ---- */

TEST_BOTH(ProhibitionaryDialArg)
{
    static const struct {
        const char *network, *address;
        int error;
    } cases[] = {
        {"tcp", "127.0.0.1", -EINVAL},
        {"tcp", "", -EINVAL},
        {"tcp", ":", -EINVAL},
        {"tcp", "[::1]", -EINVAL},
        {"tcp", "::1:80", -EINVAL},
        {"tcp", "[::1:80", -EINVAL},
        {"tcp", "::1]:80", -EINVAL},
        {"tcp", "[[::1]]:80", -EINVAL},
        {"tcp", "[]:80", -EINVAL},
        {"tcp", "127.0.0.1:", -EINVAL},
        {"tcp", "127.0.0.1:-1", -EINVAL},
        {"tcp", "127.0.0.1:+80", -EINVAL},
        {"tcp", "127.0.0.1: 80", -EINVAL},
        {"tcp", "127.0.0.1:65536", -EINVAL},
        {"tcp", "127.0.0.1:4294967376", -EINVAL},
        {"tcp", "127.0.0.1:18446744073709551696", -EINVAL},
        {"tcp", NULL, -EINVAL},
        {NULL, "127.0.0.1:80", -EINVAL},
        {"", "127.0.0.1:80", -EINVAL},
        {"TCP", "127.0.0.1:80", -EINVAL},
        {"tcp5", "127.0.0.1:80", -EINVAL},
        {"ip", "127.0.0.1:80", -EINVAL},
        {"unix", "", -EINVAL},
        {"unix", "@", -EINVAL},
        {"unix", NULL, -EINVAL},
        {"unixgram", "", -EINVAL},
        {"tcp4", "[::1]:80", -ENOENT},
        {"tcp6", "127.0.0.1:80", -ENOENT},
        {"tcp", "127.0.0.1:no-such-service", -ENOENT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int result = weft_dial(cases[i].network, cases[i].address);
        if (result != cases[i].error)
            fprintf(stderr, "%s %s\n", cases[i].network, cases[i].address);
        CHECK_EQ(result, cases[i].error);
        result = cases[i].address && strcmp(cases[i].address, "@") == 0 ? -EINVAL
                                                                        : weft_listen(cases[i].network, cases[i].address);
        if (result != cases[i].error)
            fprintf(stderr, "listen %s %s\n", cases[i].network, cases[i].address);
        CHECK_EQ(result, cases[i].error);
    }
    char host[2000];
    memset(host, 'x', sizeof host);
    strcpy(host + sizeof host - 5, ":80");
    CHECK_EQ(weft_dial("tcp", host), -EINVAL);
}

/* ---- one address ---- */

static void check_connected(int listener, int fd)
{
    char dialed[WEFT_ADDRESS], accepted[WEFT_ADDRESS], byte = 'x';
    int other = good(weft_accept(listener)), flags = fcntl(fd, F_GETFL), set = 0;
    socklen_t length = sizeof set;
    CHECK(flags & O_NONBLOCK);
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    CHECK_EQ(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &set, &length), 0);
    CHECK(set);
    CHECK(weft_local_address(fd, dialed, sizeof dialed) > 0);
    CHECK(weft_peer_address(other, accepted, sizeof accepted) > 0);
    CHECK(strcmp(dialed, accepted) == 0);
    CHECK_EQ(weft_write(fd, &byte, 1), 1);
    byte = 0;
    CHECK_EQ(weft_read(other, &byte, 1), 1);
    CHECK_EQ(byte, 'x');
    shut(other);
    shut(fd);
}

TEST_BOTH(DialLocal)
{
    char address[WEFT_ADDRESS], local[WEFT_ADDRESS];
    int listener = listen_own("tcp", address);
    snprintf(local, sizeof local, ":%d", port_in(address));
    check_connected(listener, good(weft_dial("tcp", local)));
    check_connected(listener, good(weft_dial("tcp4", local)));
    shut(listener);
}

/* What weft_local_address gives for a listener can be dialed. */
TEST_BOTH(DialListenerAddr)
{
    static const char *const networks[] = {"tcp4", "tcp", "tcp6"};
    for (int i = 0; i < (has_ipv6() ? 3 : 1); i++) {
        char address[WEFT_ADDRESS];
        int listener = listen_at(networks[i], ":0", address);
        check_connected(listener, good(weft_dial(networks[i], address)));
        check_connected(listener, good(weft_dial("tcp", address)));
        shut(listener);
        listener = listen_own(networks[i], address);
        check_connected(listener, good(weft_dial(networks[i], address)));
        shut(listener);
    }
}

TEST_BOTH(DialClosedPort)
{
    char address[WEFT_ADDRESS];
    int reserved = reserve(address), before = sockets_open();
    for (int i = test_scale(100); i > 0; i--)
        CHECK_EQ(weft_dial("tcp", address), -ECONNREFUSED);
    CHECK_EQ(sockets_open(), before);
    shut(reserved);
}

TEST_BOTH(DialClosedPortInOrder)
{
    char address[WEFT_ADDRESS];
    int reserved = reserve(address);
    set_name(address, "255.255.255.255:1", NULL);
    CHECK_EQ(weft_dial("tcp", "test.name:1"), -ECONNREFUSED); /* the first error, and not the second */
    shut(reserved);
}

TEST_BOTH(DialNameWithoutAddresses)
{
    set_name(NULL, NULL, NULL);
    CHECK_EQ(weft_dial("tcp", "test.name:1"), -ENOENT);
    CHECK_EQ(weft_dial("udp", "test.name:1"), -ENOENT);
    CHECK_EQ(weft_listen("tcp", "test.name:1"), -ENOENT);
}

/* ---- the kernel gives the socket the port that it is to connect to ---- */

static int itself; /* how many of the next connections shall meet themselves */

int __real_connect(int fd, const struct sockaddr *address, socklen_t length);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t length);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t length)
{
    struct sockaddr_in own = {0};
    socklen_t own_length = sizeof own;
    CHECK_EQ(getsockname(fd, (struct sockaddr *)&own, &own_length), 0);
    if (itself > 0 && own.sin_port == 0) { /* not when it is asked again */
        itself--;
        int one = 1;
        CHECK_EQ(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one), 0);
        CHECK_EQ(bind(fd, address, length), 0);
    }
    return __real_connect(fd, address, length);
}

TEST_BOTH(TCPSelfConnect)
{
    char address[WEFT_ADDRESS], any[WEFT_ADDRESS];
    int before = sockets_open();
    for (int times = 0; times <= 3; times++) {
        find_closed(address);
        itself = times;
        CHECK_EQ(weft_dial("tcp", address), -ECONNREFUSED);
        CHECK_EQ(itself, 0);
        snprintf(any, sizeof any, "0.0.0.0:%d", port_in(address));
        CHECK_EQ(weft_dial("tcp", any), -ECONNREFUSED);
    }
    CHECK_EQ(sockets_open(), before);
    int listener = listen_own("tcp", address);
    check_connected(listener, good(weft_dial("tcp", address)));
    shut(listener);
}

/* ---- several addresses ---- */

static int accepted_port(int fd)
{
    char address[WEFT_ADDRESS];
    CHECK(weft_peer_address(fd, address, sizeof address) > 0);
    return port_in(address);
}

TEST_BOTH(DialFallsBackOnFailure)
{
    char closed[WEFT_ADDRESS], address[WEFT_ADDRESS];
    int reserved = reserve(closed), listener = listen_own("tcp", address), before = sockets_open();
    for (int i = test_scale(200); i > 0; i--) {
        set_name(i % 3 ? closed : address, i % 3 == 1 ? address : closed, address);
        check_connected(listener, good(weft_dial("tcp", "test.name:1")));
    }
    CHECK_EQ(sockets_open(), before);
    shut(reserved);
    shut(listener);
}

/* The second address is tried when the first does not answer; the attempt that is given up leaves no socket. */
TEST_BOTH(DialFallsBackOnSilence)
{
    char address[WEFT_ADDRESS];
    struct stalled silent;
    stall(&silent);
    int listener = listen_own("tcp", address), before = sockets_open();
    for (int i = test_scale(4); i > 0; i--) {
        set_name(silent.address, address, i % 2 ? silent.address : NULL);
        int64_t start_ns = weft_now();
        check_connected(listener, good(weft_dial("tcp", "test.name:1")));
        CHECK(weft_now() - start_ns >= 250 * WEFT_MS);
        CHECK_EQ(sockets_open(), before);
    }
    set_name(address, silent.address, NULL);
    check_connected(listener, good(weft_dial("tcp", "test.name:1")));
    CHECK_EQ(sockets_open(), before);
    shut(listener);
    unstall(&silent);
}

/* IPv4 does not answer: IPv6 is next, although the name has another address of IPv4 before it. */
TEST_BOTH(DialerDualStack)
{
    if (!has_ipv6())
        return;
    char fourth[WEFT_ADDRESS], sixth[WEFT_ADDRESS];
    struct stalled silent;
    stall(&silent);
    int listener4 = listen_own("tcp4", fourth), listener6 = listen_own("tcp6", sixth);
    set_name(silent.address, fourth, sixth);
    int64_t start_ns = weft_now();
    int fd = good(weft_dial("tcp", "test.name:1"));
    CHECK(accepted_port(fd) == port_in(sixth) ||
          weft_now() - start_ns >= 500 * WEFT_MS); /* the third's turn on a very busy machine */
    shut(fd);
    /* the family that was asked for, and no other */
    set_name(fourth, NULL, NULL);
    check_connected(listener4, good(weft_dial("tcp4", "test.name:1")));
    set_name(sixth, NULL, NULL);
    fd = good(weft_dial("tcp6", "test.name:1"));
    CHECK_EQ(accepted_port(fd), port_in(sixth));
    shut(fd);
    shut(listener4);
    shut(listener6);
    unstall(&silent);
}

static void dial_and_close(int times)
{
    for (; times > 0; times--) {
        int fd = weft_dial("tcp", "test.name:1");
        CHECK(fd >= 0);
        shut(fd);
    }
}

static void accept_and_close(int listener, weft_waitgroup *wg)
{
    int fd;
    while ((fd = weft_accept(listener)) >= 0)
        shut(fd);
    CHECK_EQ(fd, -ETIMEDOUT);
    weft_wg_done(wg);
}

TEST_BOTH(DialerDualStackFDLeak)
{
    char address[WEFT_ADDRESS], other[WEFT_ADDRESS];
    int before = sockets_open();
    int listener = listen_own("tcp", address), listener2 = listen_own("tcp", other);
    weft_waitgroup acceptors = {0}, acceptors2 = {0}, dialers = {0};
    set_name(address, other, address);
    weft_wg_add(&acceptors, 1);
    weft_wg_add(&acceptors2, 1);
    weft_go(accept_and_close, listener, &acceptors);
    weft_go(accept_and_close, listener2, &acceptors2);
    for (int i = 0; i < 20; i++)
        weft_wg_go(&dialers, dial_and_close, test_scale(20));
    weft_wg_wait(&dialers);
    stop_listening(listener, &acceptors);
    stop_listening(listener2, &acceptors2);
    CHECK_EQ(sockets_open(), before);
}

/* ---- cancelled ---- */

TEST_BOTH(DialCancel)
{
    struct stalled silent;
    stall(&silent);
    int before = sockets_open();
    uint64_t random = test_random();
    for (int i = test_scale(60); i > 0; i--) {
        set_name(silent.address, i % 2 ? silent.address : NULL, NULL);
        weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background());
        weft_go(cancel_later, weft_ctx_ref(ctx), (int64_t)(test_random_from(&random) % 20) * 100 * WEFT_US);
        weft_scoped_use(ctx);
        CHECK_EQ(weft_dial("tcp", i % 3 ? "test.name:1" : silent.address), -ECANCELED);
        CHECK_EQ(sockets_open(), before);
        weft_ctx_free(ctx);
    }
    unstall(&silent);
}

/* Also before it begins; and a shield keeps the end of the context away. */
TEST_BOTH(DialInEndedContext)
{
    char address[WEFT_ADDRESS], closed[WEFT_ADDRESS];
    struct stalled silent;
    stall(&silent);
    int reserved = reserve(closed), listener = listen_own("tcp", address), before = sockets_open();
    weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background());
    weft_ctx_cancel(ctx);
    weft_scoped_use(ctx);
    CHECK_EQ(weft_dial("tcp", silent.address), -ECANCELED);
    set_name(silent.address, address, NULL);
    CHECK_EQ(weft_dial("tcp", "test.name:1"), -ECANCELED);
    CHECK_EQ(sockets_open(), before);
    {
        weft_scoped_shield();
        check_connected(listener, good(weft_dial("tcp", address)));
        set_name(closed, address, NULL);
        check_connected(listener, good(weft_dial("tcp", "test.name:1")));
    }
    shut(reserved);
    shut(listener);
    unstall(&silent);
    weft_ctx_free(ctx);
}

TEST_BOTH(CancelAfterDial)
{
    char address[WEFT_ADDRESS];
    int listener = listen_own("tcp", address);
    for (int i = test_scale(100); i > 0; i--) {
        weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background());
        int fd;
        set_name(address, address, NULL);
        {
            weft_scoped_use(ctx);
            fd = good(weft_dial("tcp", i % 2 ? address : "test.name:1"));
        }
        weft_ctx_cancel(ctx);
        weft_ctx_free(ctx);
        check_connected(listener, fd);
    }
    shut(listener);
}

/* ---- Unix sockets ---- */

TEST_BOTH(DialUnixNobody)
{
    char path[] = "/tmp/weft-test-XXXXXX", longest[200] = "";
    int before = sockets_open(), file = mkstemp(path);
    CHECK(file >= 0);
    CHECK_EQ(weft_dial("unix", path), -ECONNREFUSED);
    close(file);
    unlink(path);
    CHECK_EQ(weft_dial("unix", path), -ENOENT);
    CHECK_EQ(weft_dial("unixgram", path), -ENOENT);
    CHECK_EQ(weft_dial("unix", "@weft-test-nobody"), -ECONNREFUSED);
    memset(longest, 'x', 107);
    CHECK_EQ(weft_dial("unix", longest), -ENOENT);
    longest[107] = 'x';
    CHECK_EQ(weft_dial("unix", longest), -ENAMETOOLONG);
    CHECK_EQ(weft_listen("unix", longest), -ENAMETOOLONG);
    longest[0] = '@';
    CHECK_EQ(weft_dial("unix", longest), -ECONNREFUSED);
    longest[108] = 'x';
    CHECK_EQ(weft_dial("unix", longest), -ENAMETOOLONG);
    CHECK_EQ(sockets_open(), before);
}

static void accept_some(int listener, int n, weft_waitgroup *wg)
{
    for (; n > 0; n--) {
        CHECK_EQ(weft_sleep(WEFT_MS), 0);
        shut(good(weft_accept(listener)));
    }
    weft_wg_done(wg);
}

/* A listener whose queue is full is waited for, as a blocking connect does. */
TEST_BOTH(DialUnixFullQueue)
{
    enum { DIALS = 8 };
    char address[WEFT_ADDRESS];
    int listener = listen_own("unix", address), fds[2];
    weft_waitgroup wg = {0};
    CHECK_EQ(listen(listener, 0), 0);
    fds[0] = good(weft_dial("unix", address));
    int before = sockets_open();
    for (int i = 0; i < 3; i++) {
        weft_ctx *ctx =
            i ? weft_ctx_with_timeout(weft_ctx_background(), i * WEFT_MS) : weft_ctx_with_cancel(weft_ctx_background());
        if (i == 0)
            weft_go(cancel_later, weft_ctx_ref(ctx), 2 * WEFT_MS);
        weft_scoped_use(ctx);
        CHECK_EQ(weft_dial("unix", address), i ? -ETIMEDOUT : -ECANCELED);
        weft_ctx_free(ctx);
        CHECK_EQ(sockets_open(), before);
    }
    weft_wg_add(&wg, 1);
    weft_go(accept_some, listener, DIALS + 1, &wg);
    for (int i = 0; i < DIALS; i++) {
        fds[1] = good(weft_dial("unix", address));
        shut(fds[1]);
    }
    weft_wg_wait(&wg);
    shut(fds[0]);
    shut(listener);
}

TEST_MAIN()
