/* dial.c — weft_dial.

   A name may have many addresses, of which some do not answer. So the attempts race, as RFC 8305 ("happy eyeballs") says:
   families alternate, beginning with the one that the system prefers; the next attempt starts when the last has failed,
   or has not answered within 250 ms; the first connection wins. Each attempt is a goroutine in a context of the race,
   which ends when there is a winner or the caller gives up; the caller waits until all attempts have ended, which is at
   once then, and closes what came too late. So no socket is left over and nothing refers to the addresses when they are
   freed. One address needs no race, and a datagram socket connects without asking anybody.

   Of the RFC's two parts only this one is here: names are resolved for both families at once, by the system (resolve.c),
   which orders the addresses; no attempt starts before both families have been answered. Rejected: several sockets in one
   wait of one goroutine, which has the same system calls and would need a wait for many descriptors that nothing else
   wants.

   weft_errno, because what is inlined into a function that may move its goroutine may find errno's old address. */
#include "weft/net.h"

#include "io/address.h"
#include "io/fd.h"
#include "io/transfer.h"
#include "timer/timeout.h"
#include "weft/select.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define ATTEMPT_DELAY_NS (250 * WEFT_MS)

/* ---- one address ---- */

static int make_socket(int family, int type, enum wi_fd_kind kind)
{
    int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -weft_errno();
    static const int one = 1;
    int error = 0;
    if (kind == WI_FD_STREAM && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0)
        error = -weft_errno();
    if (!error)
        error = wi_fd_new(fd, kind);
    if (error)
        wi_close(fd);
    return error ? error : fd;
}

/* Asking again tells how an attempt that is under way went. */
static ssize_t try_connect(enum wi_fd_kind kind, int fd, void *argument)
{
    (void)kind;
    const struct addrinfo *to = argument;
    if (connect(fd, to->ai_addr, to->ai_addrlen) == 0 || errno == EISCONN)
        return 0;
    if (errno == EINPROGRESS || errno == EALREADY)
        return -EAGAIN;
    return errno == EAGAIN ? -EADDRNOTAVAIL : -errno; /* EAGAIN: no port is free; there is nothing to wait for */
}

/* A connection to a port of this machine on which nobody listens may meet itself, when the kernel gives it that port for
   its own. */
static bool is_to_itself(int fd, const struct addrinfo *to)
{
    union {
        struct sockaddr_in6 in6;
        struct sockaddr_in in; /* its port is in the same place */
        unsigned char bytes[sizeof(struct sockaddr_in6)];
    } own = {0}, peer = {0}, given = {0};
    if (to->ai_socktype != SOCK_STREAM || to->ai_addrlen > sizeof given)
        return false;
    memcpy(&given, to->ai_addr, to->ai_addrlen);
    socklen_t own_length = sizeof own, peer_length = sizeof peer;
    return getsockname(fd, (struct sockaddr *)&own, &own_length) == 0 && own.in.sin_port == given.in.sin_port &&
           getpeername(fd, (struct sockaddr *)&peer, &peer_length) == 0 &&
           memcmp(own.bytes, peer.bytes, sizeof own.bytes) == 0;
}

static int connect_to(const struct addrinfo *to)
{
    for (int tries = 0; tries < 3; tries++) {
        int fd = make_socket(to->ai_family, to->ai_socktype, to->ai_socktype == SOCK_STREAM ? WI_FD_STREAM : WI_FD_SOCKET);
        if (fd < 0)
            return fd;
        int error = (int)wi_fd_do(fd, WI_WRITES, try_connect, (void *)(uintptr_t)to, 0);
        if (!error && !is_to_itself(fd, to))
            return fd;
        weft_close_fd(fd);
        if (error)
            return error;
    }
    return -ECONNREFUSED;
}

/* Does not block: a datagram's socket. The first address that can be had. */
static int connect_in_turn(const struct addrinfo *list)
{
    int error = 0;
    for (const struct addrinfo *to = list; to; to = to->ai_next) {
        int fd = connect_to(to);
        if (fd >= 0)
            return fd;
        if (!error)
            error = fd;
    }
    return error;
}

/* Nothing tells when the queue of a Unix listener that is full has a place again; so this asks, less and less often. */
static int connect_unix(int type, const char *path)
{
    struct sockaddr_un address;
    int length = wi_unix_address_parse(path, &address);
    if (length < 0)
        return length;
    if (path[0] == '@' && path[1] == '\0')
        return -EINVAL;
    int fd = make_socket(AF_UNIX, type, WI_FD_SOCKET);
    if (fd < 0)
        return fd;
    for (int64_t pause_ns = 50 * WEFT_US;; pause_ns = pause_ns < 10 * WEFT_MS ? 2 * pause_ns : pause_ns) {
        int error = connect(fd, (struct sockaddr *)&address, (socklen_t)length) == 0 ? 0 : -weft_errno();
        if (error == -EAGAIN)
            error = weft_sleep(pause_ns);
        else if (!error)
            return fd;
        if (error && error != -EINTR) {
            weft_close_fd(fd);
            return error;
        }
    }
}

/* ---- the race ---- */

typedef weft_chan(int) outcomes;

static void wi_dial_attempt(const struct addrinfo *to, outcomes results)
{
    weft_send(results, connect_to(to)); /* there is room for all */
}

struct race {
    const struct addrinfo **order; /* [caller] */
    int n, begun, ended;           /* [caller] attempts */
    int64_t next_ns;               /* [caller] when the next one is due */
    int error;                     /* [caller] of the first that failed */
    weft_ctx *ctx;                 /* [const] what the attempts run in; not below the caller's, whose end may be shielded */
    outcomes results;              /* [const] */
};

/* The addresses with the families alternating. Their number. */
static int alternate(const struct addrinfo *list, const struct addrinfo **order)
{
    const struct addrinfo *same = list, *other = list;
    int n = 0;
    while (same || other) {
        while (same && same->ai_family != list->ai_family)
            same = same->ai_next;
        while (other && other->ai_family == list->ai_family)
            other = other->ai_next;
        if (same) {
            order[n++] = same;
            same = same->ai_next;
        }
        if (other) {
            order[n++] = other;
            other = other->ai_next;
        }
    }
    return n;
}

static void note_error(struct race *r, int error)
{
    r->ended++;
    if (!r->error)
        r->error = error;
}

static void begin_next(struct race *r)
{
    const struct addrinfo *to = r->order[r->begun++];
    weft_scoped_use(r->ctx);
    int error = weft_try_go(wi_dial_attempt, to, r->results);
    r->next_ns = wi_deadline_ns(ATTEMPT_DELAY_NS);
    if (error)
        note_error(r, error);
}

/* The connection, or why there is none. */
static int run(struct race *r)
{
    enum { OUTCOME, DUE };
    for (;;) {
        bool more = r->begun < r->n;
        if (more && (r->begun == r->ended || weft_now() >= r->next_ns)) {
            begin_next(r);
            continue;
        }
        if (r->begun == r->ended)
            return r->error;
        int result;
        int chosen =
            weft_select([OUTCOME] = weft_on_recv(r->results, &result), [DUE] = weft_on_timeout(more ? r->next_ns - weft_now()
                                                                                                    : INT64_MAX));
        if (chosen < 0)
            return chosen;
        if (chosen == DUE)
            continue;
        if (result < 0) {
            note_error(r, result);
            r->next_ns = 0;
            continue;
        }
        r->ended++;
        return result;
    }
}

static void end(struct race *r)
{
    weft_scoped_shield();
    weft_ctx_cancel(r->ctx);
    for (int late; r->ended < r->begun; r->ended++)
        if (weft_recv(r->results, &late) && late >= 0)
            weft_close_fd(late);
}

static int race(const struct addrinfo *list)
{
    size_t n = 0;
    for (const struct addrinfo *to = list; to; to = to->ai_next)
        n++;
    struct race r = {.order = calloc(n, sizeof *r.order),
                     .ctx = weft_ctx_with_cancel(weft_ctx_background()),
                     .results = weft_chan_make(int, n)};
    int result = -ENOMEM;
    if (r.order && r.ctx && r.results) {
        r.n = alternate(list, r.order);
        result = run(&r);
        end(&r);
    }
    weft_chan_free(r.results);
    weft_ctx_free(r.ctx);
    free(r.order);
    return result;
}

int weft_dial(const char *network, const char *address)
{
    struct wi_network net;
    struct wi_host_port parts;
    if (!wi_network_parse(network, &net))
        return -EINVAL;
    if (net.family == AF_UNIX)
        return connect_unix(net.type, address);
    int error = wi_host_port_parse(address, &parts);
    if (error)
        return error;
    const struct addrinfo hints = {.ai_family = net.family, .ai_socktype = net.type};
    struct addrinfo *list;
    if ((error = weft_resolve(parts.host[0] ? parts.host : NULL, parts.service, &hints, &list)) != 0)
        return error;
    int result = net.type != SOCK_STREAM ? connect_in_turn(list) : list->ai_next ? race(list) : connect_to(list);
    freeaddrinfo(list);
    return result;
}
