/* rw.c — reading and writing: the attempts that do not block, by kind of descriptor, and the public calls.

   A socket needs no O_NONBLOCK: MSG_DONTWAIT does it for one call. Pipes and terminals that block are asked with RWF_NOWAIT, or, where the
   kernel does not know it for them, looked at with poll(2) first: if then somebody else takes what was there, the thread blocks,
   and the monitor sees to it as with any blocking call. Files are never waited for here: see file.c. */
#define _GNU_SOURCE 1 /* preadv2 */
#include "io/fd.h"
#include "io/file.h"
#include "io/transfer.h"
#include "weft/io.h"

#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static inline ssize_t result_of(ssize_t result)
{
    return WI_LIKELY(result >= 0) ? result : -errno;
}

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

/* ---- SIGPIPE ----
   weft's own threads block it. On any other it must be blocked during the write; one that we caused is taken back, unless there was one
   before. */

static bool sends_no_sigpipe(void)
{
    struct wi_thread *t = wi_self();
    return t && t->kind == WI_THREAD_RUNTIME;
}

static ssize_t write_quietly(int fd, const struct iovec *parts, int n, int flags)
{
    if (sends_no_sigpipe())
        return result_of(pwritev2(fd, parts, n, -1, flags));
    sigset_t pipe_only, before, pending;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
    ssize_t result = result_of(pwritev2(fd, parts, n, -1, flags));
    if (result == -EPIPE && !sigismember(&pending, SIGPIPE)) {
        static const struct timespec now;
        while (sigtimedwait(&pipe_only, NULL, &now) < 0 && errno == EINTR)
            ;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return result;
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
        return result_of(recvmsg(fd, &message, MSG_DONTWAIT));
    }
    if (kind == WI_FD_OPEN)
        return result_of(readv(fd, transfer->parts, transfer->n));
    ssize_t result = result_of(preadv2(fd, transfer->parts, transfer->n, -1, RWF_NOWAIT));
    if (!no_wait_unknown(result))
        return result;
    result = look(fd, POLLIN);
    return result ? result : result_of(readv(fd, transfer->parts, transfer->n));
}

static ssize_t try_writev(enum wi_fd_kind kind, int fd, void *argument)
{
    const struct transfer *transfer = argument;
    if (is_socket(kind)) {
        if (WI_LIKELY(transfer->n == 1))
            return wi_send(fd, transfer->parts->iov_base, transfer->parts->iov_len, MSG_DONTWAIT | MSG_NOSIGNAL);
        struct msghdr message = {.msg_iov = (struct iovec *)transfer->parts, .msg_iovlen = (size_t)transfer->n};
        return result_of(sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL));
    }
    if (kind == WI_FD_OPEN)
        return write_quietly(fd, transfer->parts, transfer->n, 0);
    ssize_t result = write_quietly(fd, transfer->parts, transfer->n, RWF_NOWAIT);
    if (!no_wait_unknown(result))
        return result;
    result = look(fd, POLLOUT);
    return result ? result : write_quietly(fd, transfer->parts, transfer->n, 0);
}

/* ---- the calls ---- */

static ssize_t transfer_begun(struct wi_fd *f, int fd, enum wi_side side, const struct iovec *parts, int n)
{
    if (WI_UNLIKELY(wi_fd_kind(f, fd) == WI_FD_FILE))
        return wi_file_transfer(fd, side == WI_WRITES, parts, n, -1);
    struct transfer it = {parts, n};
    return wi_fd_do_begun(f, fd, side, side == WI_READS ? try_readv : try_writev, &it, size_of(parts, n));
}

static ssize_t transfer(int fd, enum wi_side side, const struct iovec *parts, int n)
{
    int error;
    if (WI_UNLIKELY(n < 0))
        return -EINVAL;
    struct wi_fd *f = wi_fd_begin(fd, &error);
    if (!f)
        return error;
    ssize_t result = transfer_begun(f, fd, side, parts, n);
    wi_fd_end(f, fd);
    return result;
}

/* All of size, unless the end comes first; one operation, so that a close in the middle ends it. */
static ssize_t transfer_all(int fd, enum wi_side side, char *buffer, size_t size)
{
    int error;
    struct wi_fd *f = wi_fd_begin(fd, &error);
    if (!f)
        return error;
    size_t done = 0;
    ssize_t n;
    do {
        n = transfer_begun(f, fd, side, &(struct iovec){buffer + done, size - done}, 1);
        if (n > 0)
            done += (size_t)n;
    } while (n > 0 && done < size);
    wi_fd_end(f, fd);
    return n < 0 ? n : (ssize_t)done;
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
    return result_of(recvfrom(fd, it->buffer, it->size, it->flags | MSG_DONTWAIT, it->address, it->length));
}

static ssize_t try_sendto(enum wi_fd_kind kind, int fd, void *argument)
{
    struct datagram *it = argument;
    (void)kind;
    return result_of(sendto(fd, it->buffer, it->size, it->flags | MSG_DONTWAIT | MSG_NOSIGNAL, it->address, it->room));
}

struct message {
    struct msghdr *header;
    int flags;
};

static ssize_t try_recvmsg(enum wi_fd_kind kind, int fd, void *argument)
{
    struct message *it = argument;
    (void)kind;
    return result_of(recvmsg(fd, it->header, it->flags | MSG_DONTWAIT));
}

static ssize_t try_sendmsg(enum wi_fd_kind kind, int fd, void *argument)
{
    struct message *it = argument;
    (void)kind;
    return result_of(sendmsg(fd, it->header, it->flags | MSG_DONTWAIT | MSG_NOSIGNAL));
}

/* flags have MSG_DONTWAIT: one attempt is all. */
static ssize_t do_flagged(int fd, enum wi_side side, wi_fd_attempt attempt, void *argument, int flags)
{
    if (!(flags & MSG_DONTWAIT))
        return wi_fd_do(fd, side, attempt, argument, 0);
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

ssize_t weft_recvfrom(int fd, void *buffer, size_t size, int flags, struct sockaddr *from, unsigned *length)
{
    struct datagram it = {buffer, size, flags, from, length, length ? *length : 0};
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
    int result = (int)result_of(shutdown(fd, how));
    if (result == 0) /* the kernel reports it by epoll only where there is something to read or room to write */
        wi_fd_wake(f, how != SHUT_WR, how != SHUT_RD);
    wi_fd_end(f, fd);
    return result;
}
