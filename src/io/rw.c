/* rw.c — reading and writing: the attempts that do not block, by kind of descriptor, and the public calls.

   A socket needs no O_NONBLOCK: MSG_DONTWAIT does it for one call. Pipes and terminals that block are asked with
   RWF_NOWAIT, or, where the kernel does not know it for them (FIFOs, terminals), looked at with poll(2) first: if then
   somebody else takes what was there, or a terminal takes less than a line, the thread blocks, and the monitor sees to it
   as with any blocking call. Files are never waited for here: see file.c. */
#define _GNU_SOURCE 1 /* preadv2 */
#include "io/fd.h"
#include "io/file.h"
#include "io/sigpipe.h"
#include "io/transfer.h"
#include "weft/io.h"

#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static inline bool is_socket(enum wi_fd_kind kind)
{
    return kind == WI_FD_STREAM || kind == WI_FD_SOCKET;
}

static inline bool no_wait_unknown(ssize_t result)
{
    return result == -EOPNOTSUPP || result == -ENOSYS || result == -EINVAL;
}

/* Whether a call would block, as far as can be seen: -EAGAIN. */
static ssize_t look(int fd, short events)
{
    int there = wi_look(fd, events);
    return there > 0 ? 0 : there == 0 ? -EAGAIN : there;
}

static ssize_t write_quietly(int fd, const struct iovec *parts, int n, int flags)
{
    struct wi_sigpipe sigpipe;
    wi_sigpipe_block(&sigpipe);
    ssize_t result = wi_result(pwritev2(fd, parts, n, -1, flags));
    wi_sigpipe_restore(&sigpipe);
    return result;
}

/* To a FIFO or a terminal that blocks, when poll says that it can be written: as much as then surely fits into a FIFO. */
static ssize_t write_what_fits(int fd, const struct iovec *parts)
{
    struct iovec first = *parts;
    first.iov_len = first.iov_len < PIPE_BUF ? first.iov_len : PIPE_BUF;
    return write_quietly(fd, &first, 1, 0);
}

/* ---- attempts ---- */

static size_t size_of(const struct iovec *parts, int n)
{
    size_t size = 0;
    for (int i = 0; i < n; i++)
        size += parts[i].iov_len;
    return size;
}

struct transfer {
    const struct iovec *parts;
    int n;
};

static ssize_t try_readv(enum wi_fd_kind kind, int fd, void *argument)
{
    const struct transfer *transfer = argument;
    if (is_socket(kind)) {
        if (WI_LIKELY(transfer->n == 1))
            return wi_recv(fd, transfer->parts->iov_base, transfer->parts->iov_len, MSG_DONTWAIT);
        struct msghdr message = {.msg_iov = (struct iovec *)transfer->parts, .msg_iovlen = (size_t)transfer->n};
        return wi_result(recvmsg(fd, &message, MSG_DONTWAIT));
    }
    if (kind == WI_FD_OPEN)
        return wi_result(readv(fd, transfer->parts, transfer->n));
    ssize_t result = wi_result(preadv2(fd, transfer->parts, transfer->n, -1, RWF_NOWAIT));
    if (!no_wait_unknown(result))
        return result;
    result = look(fd, POLLIN);
    return result ? result : wi_result(readv(fd, transfer->parts, transfer->n));
}

static ssize_t try_writev(enum wi_fd_kind kind, int fd, void *argument)
{
    struct transfer *transfer = argument;
    if (is_socket(kind)) {
        if (WI_LIKELY(transfer->n == 1))
            return wi_send(fd, transfer->parts->iov_base, transfer->parts->iov_len, MSG_DONTWAIT | MSG_NOSIGNAL);
        struct msghdr message = {.msg_iov = (struct iovec *)transfer->parts, .msg_iovlen = (size_t)transfer->n};
        return wi_result(sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL));
    }
    if (kind == WI_FD_OPEN)
        return write_quietly(fd, transfer->parts, transfer->n, 0);
    ssize_t result = write_quietly(fd, transfer->parts, transfer->n, RWF_NOWAIT);
    if (!no_wait_unknown(result))
        return result;
    result = look(fd, POLLOUT);
    while (transfer->n > 1 && transfer->parts->iov_len == 0)
        transfer->parts++, transfer->n--;
    return result ? result : write_what_fits(fd, transfer->parts);
}

/* ---- the calls ---- */

ssize_t wi_fd_transfer(struct wi_fd *f, int fd, enum wi_side side, const struct iovec *parts, int n)
{
    enum wi_fd_kind kind = wi_fd_kind(f, fd);
    size_t size = size_of(parts, n);
    if (WI_UNLIKELY(kind == WI_FD_FILE)) {
        ssize_t result = wi_file_transfer(fd, side == WI_WRITES, parts, n, -1);
        wi_attend();
        return result;
    }
    if (WI_UNLIKELY(size == 0) && kind != WI_FD_UNKNOWN && (side == WI_READS || kind == WI_FD_STREAM))
        return 0; /* where read(2) does not wait, recv(2) does, or takes a datagram */
    struct transfer it = {parts, n};
    return wi_fd_do_begun(f, fd, side, side == WI_READS ? try_readv : try_writev, &it, size);
}

static ssize_t transfer(int fd, enum wi_side side, const struct iovec *parts, int n)
{
    int error;
    if (WI_UNLIKELY(n < 0))
        return -EINVAL;
    struct wi_fd *f = wi_fd_begin(fd, &error);
    if (!f)
        return error;
    ssize_t result = wi_fd_transfer(f, fd, side, parts, n);
    wi_fd_end(f, fd);
    return result;
}

ssize_t wi_fd_transfer_all(struct wi_fd *f, int fd, enum wi_side side, char *buffer, size_t size)
{
    size_t done = 0;
    ssize_t n;
    do {
        n = wi_fd_transfer(f, fd, side, &(struct iovec){buffer + done, size - done}, 1);
        if (n > 0)
            done += (size_t)n;
    } while (n > 0 && done < size);
    return n < 0 ? n : (ssize_t)done;
}

/* One operation, so that a close in the middle ends it. */
static ssize_t transfer_all(int fd, enum wi_side side, char *buffer, size_t size)
{
    int error;
    struct wi_fd *f = wi_fd_begin(fd, &error);
    if (!f)
        return error;
    ssize_t result = wi_fd_transfer_all(f, fd, side, buffer, size);
    wi_fd_end(f, fd);
    return result;
}

ssize_t weft_read(int fd, void *buffer, size_t size)
{
    return transfer(fd, WI_READS, &(struct iovec){buffer, size}, 1);
}

ssize_t weft_readv(int fd, const struct iovec *parts, int n)
{
    return transfer(fd, WI_READS, parts, n);
}

ssize_t weft_write(int fd, const void *buffer, size_t size)
{
    return transfer(fd, WI_WRITES, &(struct iovec){(void *)buffer, size}, 1);
}

ssize_t weft_writev(int fd, const struct iovec *parts, int n)
{
    return transfer(fd, WI_WRITES, parts, n);
}

ssize_t weft_read_full(int fd, void *buffer, size_t size)
{
    return transfer_all(fd, WI_READS, buffer, size);
}

ssize_t weft_write_all(int fd, const void *buffer, size_t size)
{
    return transfer_all(fd, WI_WRITES, (char *)buffer, size);
}

/* ---- messages ---- */

struct datagram {
    void *buffer;
    size_t size;
    int flags;
    struct sockaddr *address;
    socklen_t *length;
    socklen_t room; /* what *length was */
};

static ssize_t try_recvfrom(enum wi_fd_kind kind, int fd, void *argument)
{
    struct datagram *it = argument;
    (void)kind;
    if (it->length)
        *it->length = it->room;
    return wi_result(recvfrom(fd, it->buffer, it->size, it->flags | MSG_DONTWAIT, it->address, it->length));
}

static ssize_t try_sendto(enum wi_fd_kind kind, int fd, void *argument)
{
    struct datagram *it = argument;
    (void)kind;
    return wi_result(sendto(fd, it->buffer, it->size, it->flags | MSG_DONTWAIT | MSG_NOSIGNAL, it->address, it->room));
}

struct message {
    struct msghdr *header;
    int flags;
};

static ssize_t try_recvmsg(enum wi_fd_kind kind, int fd, void *argument)
{
    struct message *it = argument;
    (void)kind;
    return wi_result(recvmsg(fd, it->header, it->flags | MSG_DONTWAIT));
}

static ssize_t try_sendmsg(enum wi_fd_kind kind, int fd, void *argument)
{
    struct message *it = argument;
    (void)kind;
    return wi_result(sendmsg(fd, it->header, it->flags | MSG_DONTWAIT | MSG_NOSIGNAL));
}

/* With MSG_DONTWAIT one attempt is all. */
static ssize_t do_flagged(int fd, enum wi_side side, wi_fd_attempt attempt, void *argument, int flags)
{
    if (!(flags & MSG_DONTWAIT)) /* what is peeked at, urgent or in the error queue is waited for apart */
        return wi_fd_do(fd, side, attempt, argument, (flags & ~MSG_NOSIGNAL) == 0 ? 0 : WI_FD_APART);
    int error;
    struct wi_fd *f = wi_fd_begin(fd, &error);
    if (!f)
        return error;
    ssize_t result;
    while ((result = attempt(WI_FD_SOCKET, fd, argument)) == -EINTR)
        ;
    wi_fd_end(f, fd);
    return result;
}

/* What MSG_WAITALL asks of a stream: more until all is there, or an error or the end comes, which the next call will
   report. */
static ssize_t receive_all(int fd, struct datagram *it)
{
    size_t done = 0, size = it->size;
    char *buffer = it->buffer;
    ssize_t n;
    do {
        it->buffer = buffer + done;
        it->size = size - done;
        n = do_flagged(fd, WI_READS, try_recvfrom, it, it->flags);
        done += n > 0 ? (size_t)n : 0;
    } while (n > 0 && done < size && weft_has_more_(fd, INT64_MAX));
    return n < 0 && done == 0 ? n : (ssize_t)done;
}

static bool is_stream(int fd)
{
    int type = 0;
    socklen_t length = sizeof type;
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_STREAM;
}

ssize_t weft_recvfrom(int fd, void *buffer, size_t size, int flags, struct sockaddr *from, unsigned *length)
{
    struct datagram it = {buffer, size, flags, from, length, length ? *length : 0};
    if ((flags & MSG_WAITALL) && !(flags & (MSG_DONTWAIT | MSG_PEEK | MSG_OOB | MSG_ERRQUEUE)) && is_stream(fd))
        return receive_all(fd, &it);
    return do_flagged(fd, WI_READS, try_recvfrom, &it, flags);
}

ssize_t weft_sendto(int fd, const void *buffer, size_t size, int flags, const struct sockaddr *to, unsigned length)
{
    struct datagram it = {(void *)buffer, size, flags, (struct sockaddr *)to, NULL, length};
    return do_flagged(fd, WI_WRITES, try_sendto, &it, flags);
}

ssize_t weft_recvmsg(int fd, struct msghdr *message, int flags)
{
    return do_flagged(fd, WI_READS, try_recvmsg, &(struct message){message, flags}, flags);
}

ssize_t weft_sendmsg(int fd, const struct msghdr *message, int flags)
{
    return do_flagged(fd, WI_WRITES, try_sendmsg, &(struct message){(struct msghdr *)message, flags}, flags);
}

int weft_shutdown_fd(int fd, int how)
{
    int error;
    struct wi_fd *f = wi_fd_begin(fd, &error);
    if (!f)
        return error;
    int result = (int)wi_result(shutdown(fd, how));
    if (result == 0) /* the kernel reports it by epoll only where there is something to read or room to write */
        wi_fd_wake(f, how != SHUT_WR, how != SHUT_RD);
    wi_fd_end(f, fd);
    return result;
}
