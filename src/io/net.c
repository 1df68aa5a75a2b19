/* net.c — sockets that listen, the connections that come of them, and the addresses of both. weft_dial is in dial.c.

   A listening stream socket of weft_listen is non-blocking and, when it is of TCP, has TCP_NODELAY, which the kernel
   hands on to the connections that are accepted; its kind, WI_FD_OPEN, says both. A socket that came from elsewhere never
   has that kind (see fd.c): its flags and its connections are seen to at each accept, which costs a system call or two.
   */
#define _GNU_SOURCE 1 /* accept4 */
#include "weft/net.h"

#include "io/address.h"
#include "io/fd.h"
#include "io/transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

/* ---- listen ---- */

/* only: an IPv6 socket takes no IPv4. The descriptor. */
static int bind_new(const struct wi_network *network, const struct sockaddr *address, socklen_t length, bool only)
{
    static const int one = 1;
    int family = address->sa_family;
    bool inet = family != AF_UNIX, streams = network->type == SOCK_STREAM;
    int fd = socket(family, network->type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -weft_errno();
    int error = 0, v6only = only;
    if (inet && streams) /* not for datagrams, where it lets several take the same port */
        error = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) ? weft_errno() : 0;
    if (!error && inet && streams)
        error = setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) ? weft_errno() : 0;
    if (!error && family == AF_INET6)
        error = setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof v6only) ? weft_errno() : 0;
    if (!error && bind(fd, address, length) != 0)
        error = weft_errno();
    if (!error && streams && listen(fd, INT_MAX) != 0) /* the kernel cuts it to what it allows */
        error = weft_errno();
    if (!error)
        error = -wi_fd_new(fd, streams ? WI_FD_OPEN : WI_FD_SOCKET);
    if (error)
        wi_close(fd);
    return error ? -error : fd;
}

static int listen_unix(const struct wi_network *network, const char *path)
{
    struct sockaddr_un address;
    int length = wi_unix_address_parse(path, &address);
    return length < 0 ? length : bind_new(network, (struct sockaddr *)&address, (socklen_t)length, false);
}

/* Binds to the first address of the list that this machine has. Any other error counts: who cannot have a port of all
   addresses, or of what a name stands for, shall not get half of it unawares. */
static int bind_first(const struct wi_network *network, const struct addrinfo *list, bool inet_first)
{
    int error = 0;
    for (int pass = 0; pass < 2; pass++)
        for (const struct addrinfo *a = list; a; a = a->ai_next) {
            if ((a->ai_family == AF_INET) != (inet_first == (pass == 0)))
                continue;
            int fd = bind_new(network, a->ai_addr, a->ai_addrlen, network->family == AF_INET6);
            if (fd != -EAFNOSUPPORT && fd != -EADDRNOTAVAIL)
                return fd;
            if (!error)
                error = fd;
        }
    return error;
}

int weft_listen(const char *network, const char *address)
{
    struct wi_network net;
    struct wi_host_port parts;
    if (!wi_network_parse(network, &net))
        return -EINVAL;
    if (net.family == AF_UNIX)
        return listen_unix(&net, address);
    int error = wi_host_port_parse(address, &parts);
    if (error)
        return error;
    const struct addrinfo hints = {.ai_family = net.family, .ai_socktype = net.type, .ai_flags = AI_PASSIVE};
    struct addrinfo *list;
    if ((error = weft_resolve(parts.host[0] ? parts.host : NULL, parts.service, &hints, &list)) != 0)
        return error;
    /* Of the addresses of a name, IPv4: that is what who dials a number mostly means. But of all addresses, IPv6, which
       takes both. */
    int fd = bind_first(&net, list, parts.host[0] != '\0');
    freeaddrinfo(list);
    return fd;
}

/* ---- accept ---- */

struct acceptance {
    struct sockaddr_storage from;
    socklen_t length;
};

/* Errors of a connection that came to nothing, see accept(2). EOPNOTSUPP may also say that the socket does not listen. */
static bool is_of_connection(int fd, int error)
{
    switch (error) {
    case ECONNABORTED:
    case EPROTO:
    case ENOPROTOOPT:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENONET:
        return true;
    case EOPNOTSUPP: {
        int listens = 0;
        socklen_t length = sizeof listens;
        return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) == 0 && listens;
    }
    default:
        return false;
    }
}

/* The kernel looks for a free number before it looks for a connection. */
static bool is_pending(int fd)
{
    return wi_look(fd, POLLIN) != 0; /* when that fails too, the first error stands */
}

static ssize_t try_accept(enum wi_fd_kind kind, int fd, void *argument)
{
    struct acceptance *a = argument;
    if (kind != WI_FD_OPEN) {
        int flags = fcntl(fd, F_GETFL);
        if (flags < 0 || (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0))
            return -errno;
    }
    for (;;) {
        a->length = sizeof a->from;
        a->from.ss_family = AF_UNSPEC;
        int connection = accept4(fd, (struct sockaddr *)&a->from, &a->length, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (connection < 0) {
            int error = errno;
            if (error == EINTR || is_of_connection(fd, error))
                continue;
            if ((error == EMFILE || error == ENFILE) && !is_pending(fd))
                error = EAGAIN;
            return -error;
        }
        static const int one = 1;
        bool tcp = a->from.ss_family == AF_INET || a->from.ss_family == AF_INET6;
        if (tcp && kind != WI_FD_OPEN) /* there are other protocols with connections, whose reads may end early */
            tcp = setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0;
        int error = wi_fd_new(connection, tcp ? WI_FD_STREAM : WI_FD_SOCKET);
        if (error)
            wi_close(connection);
        return error ? error : connection;
    }
}

int weft_accept_from(int fd, struct sockaddr *from, unsigned *length)
{
    struct acceptance a;
    int connection = (int)wi_fd_do(fd, WI_READS, try_accept, &a, 0);
    if (connection >= 0 && from) {
        memcpy(from, &a.from, *length < a.length ? *length : a.length);
        *length = a.length;
    }
    return connection;
}

int weft_accept(int fd)
{
    return weft_accept_from(fd, NULL, NULL);
}

/* ---- addresses ---- */

static int name_of(int fd, int (*get)(int, struct sockaddr *, socklen_t *), char *text, size_t size)
{
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    socklen_t length = sizeof address;
    if (get(fd, (struct sockaddr *)&address, &length) != 0)
        return -errno;
    return wi_address_format((struct sockaddr *)&address, length, text, size);
}

static int local_name(int fd, struct sockaddr *address, socklen_t *length)
{
    return getsockname(fd, address, length);
}

static int peer_name(int fd, struct sockaddr *address, socklen_t *length)
{
    return getpeername(fd, address, length);
}

int weft_local_address(int fd, char *text, size_t size)
{
    return name_of(fd, local_name, text, size);
}

int weft_peer_address(int fd, char *text, size_t size)
{
    return name_of(fd, peer_name, text, size);
}
