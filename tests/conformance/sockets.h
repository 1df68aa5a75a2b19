/* sockets.h — what the tests of sockets share. */
#ifndef SOCKETS_H
#define SOCKETS_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <weft.h>

#include "../descriptors.h"

static TEST_UNUSED_ int good(int fd)
{
    if (fd < 0)
        fprintf(stderr, "no descriptor: %s\n", strerror(-fd));
    CHECK(fd >= 0);
    return fd;
}

static TEST_UNUSED_ void shut(int fd)
{
    CHECK_EQ(weft_close_fd(fd), 0);
}

/* Closes a connection by a reset. */
static TEST_UNUSED_ void shut_by_reset(int fd)
{
    struct linger at_once = {1, 0};
    CHECK_EQ(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    shut(fd);
}

/* On this machine, any free port or name. */
static TEST_UNUSED_ const char *own_address(const char *network)
{
    return strncmp(network, "unix", 4) == 0 ? "@" : strchr(network, '6') ? "[::1]:0" : "127.0.0.1:0";
}

static TEST_UNUSED_ bool has_ipv6(void)
{
    int fd = weft_listen("tcp6", "[::1]:0");
    if (fd >= 0)
        shut(fd);
    return fd >= 0;
}

/* A listener on address, or a bound socket; its address as text. */
static TEST_UNUSED_ int listen_at(const char *network, const char *address, char text[WEFT_ADDRESS])
{
    int fd = good(weft_listen(network, address));
    CHECK(weft_local_address(fd, text, WEFT_ADDRESS) > 0);
    return fd;
}

static TEST_UNUSED_ int listen_own(const char *network, char text[WEFT_ADDRESS])
{
    return listen_at(network, own_address(network), text);
}

static TEST_UNUSED_ int port_in(const char *address)
{
    const char *colon = strrchr(address, ':');
    CHECK(colon != NULL);
    return atoi(colon + 1);
}

/* A connection: [0] dialed, [1] accepted. */
static TEST_UNUSED_ void make_pair(const char *network, int ends[2])
{
    char address[WEFT_ADDRESS];
    int listener = listen_own(network, address);
    ends[0] = good(weft_dial(network, address));
    ends[1] = good(weft_accept(listener));
    shut(listener);
}

static TEST_UNUSED_ void set_size(int fd, int option, int bytes)
{
    CHECK_EQ(setsockopt(fd, SOL_SOCKET, option, &bytes, sizeof bytes), 0);
}

/* Writes until nothing more is taken. */
static TEST_UNUSED_ void fill(int fd)
{
    static const char zeros[65536];
    for (;;) {
        ssize_t n = send(fd, zeros, sizeof zeros, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0) {
            int error = weft_errno(); /* not errno: its address may be from before the caller moved to another thread */
            if (error == EINTR)
                continue;
            CHECK_EQ(error, EAGAIN);
            return;
        }
    }
}

/* A listener of TCP that takes no more connections: an attempt to connect gets no answer. */
struct stalled {
    int listener, queued[8], n;
    char address[WEFT_ADDRESS];
};

static TEST_UNUSED_ void stall(struct stalled *s)
{
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof own;
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(s->listener >= 0);
    CHECK_EQ(bind(s->listener, (struct sockaddr *)&own, length), 0);
    CHECK_EQ(listen(s->listener, 0), 0);
    CHECK_EQ(getsockname(s->listener, (struct sockaddr *)&own, &length), 0);
    CHECK(weft_local_address(s->listener, s->address, sizeof s->address) > 0);
    for (s->n = 0;;) {
        CHECK(s->n < 8);
        int fd = s->queued[s->n++] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        CHECK(fd >= 0);
        connect(fd, (struct sockaddr *)&own, length);
        struct pollfd look = {.fd = fd, .events = POLLOUT};
        if (poll(&look, 1, 100) == 0)
            return;
    }
}

static TEST_UNUSED_ void unstall(struct stalled *s)
{
    for (int i = 0; i < s->n; i++)
        close(s->queued[i]);
    close(s->listener);
}

static TEST_UNUSED_ void cancel_later(weft_ctx *ctx, int64_t ns)
{
    CHECK_EQ(weft_sleep(ns), 0);
    weft_ctx_cancel(ctx);
    weft_ctx_free(ctx);
}

/* Sends back what comes until the end comes; then closes. */
static TEST_UNUSED_ void echo(int fd)
{
    char buffer[4096];
    for (ssize_t n; (n = weft_read(fd, buffer, sizeof buffer)) > 0;)
        if (weft_write_all(fd, buffer, (size_t)n) < 0)
            break;
    shut(fd);
}

/* Until stop_listening. */
static TEST_UNUSED_ void echo_all(int listener, weft_waitgroup *wg)
{
    int fd;
    while ((fd = weft_accept(listener)) >= 0)
        weft_wg_go(wg, echo, fd);
    CHECK_EQ(fd, -ETIMEDOUT);
}

/* Ends the calls of weft_accept with -ETIMEDOUT, also those that have not begun, waits for who makes them, and closes the
   listener. */
static TEST_UNUSED_ void stop_listening(int listener, weft_waitgroup *wg)
{
    CHECK_EQ(weft_fd_set_deadline(listener, POLLIN, weft_now()), 0);
    weft_wg_wait(wg);
    shut(listener);
}

#endif
