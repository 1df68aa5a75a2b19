/* message.c — recv and send with their relatives, and what readv and writev do with sockets.

   A blocking stream socket takes all that it is given before send returns, or what it could before something went wrong:
   then the next call tells what. So nothing is attempted after a part has gone when the socket has an error to report, which
   an attempt would use up. */
#define _GNU_SOURCE 1
#include "hook/hook.h"

#include <limits.h>

const char hook_message_file;

/* With these the kernel does not wait, or not for what arrives next. */
#define NEVER_WAITS (MSG_DONTWAIT | MSG_OOB | MSG_ERRQUEUE)

static bool waits(int fd, int flags, int64_t *until_ns)
{
    return weft_hooked_() && !(flags & NEVER_WAITS) && hook_is_blocking(fd) &&
           hook_socket(fd, SO_RCVTIMEO, until_ns) == HOOK_SOCKET;
}

/* A time that came while nothing was transferred. */
static inline ssize_t timed(ssize_t result)
{
    return result == -ETIME ? -EAGAIN : result;
}

static bool is_stream(int fd)
{
    int type = 0;
    socklen_t length = sizeof type;
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_STREAM;
}

/* ---- parts ---- */

int hook_parts_left(const struct hook_parts *it, const struct iovec **parts, struct iovec *one)
{
    if (it->skip == 0 || it->n == 0) {
        *parts = it->parts;
        return it->n;
    }
    *one = (struct iovec){(char *)it->parts->iov_base + it->skip, it->parts->iov_len - it->skip};
    *parts = one;
    return 1;
}

size_t hook_parts_size(const struct hook_parts *it)
{
    size_t size = 0;
    for (int i = 0; i < it->n; i++)
        size += it->parts[i].iov_len;
    return size - it->skip;
}

void hook_parts_advance(struct hook_parts *it, size_t done)
{
    for (; it->n > 0 && done >= it->parts->iov_len - it->skip; it->skip = 0) {
        done -= it->parts->iov_len - it->skip;
        it->parts++;
        it->n--;
    }
    it->skip += done;
}

/* ---- receiving ---- */

struct reception {
    void *buffer;
    size_t size;
    int flags;
    struct sockaddr *from;
    socklen_t *length;
};

static ssize_t try_recvfrom(int fd, void *argument)
{
    const struct reception *it = argument;
    return hook_result(
        hook_next()->recvfrom(fd, it->buffer, it->size, it->flags | MSG_DONTWAIT, it->from, it->from ? it->length : NULL));
}

static ssize_t receive_all(int fd, struct reception *it, int64_t until_ns)
{
    size_t done = 0, size = it->size;
    do {
        ssize_t n = timed(weft_attempt_fd_(fd, POLLIN, try_recvfrom, it, it->size, until_ns));
        if (n <= 0)
            return done ? (ssize_t)done : n;
        done += (size_t)n;
        it->buffer = (char *)it->buffer + n;
        it->size -= (size_t)n;
    } while (done < size && weft_has_more_(fd, until_ns));
    return (ssize_t)done;
}

struct elsewhere {
    int fd;
    int flags;
    struct reception *reception;
    struct msghdr *message;
    const struct msghdr *sent;
    const struct sockaddr *to;
    socklen_t length;
    const void *buffer;
    size_t size;
    ssize_t result;
};

static void recvfrom_elsewhere(void *argument)
{
    struct elsewhere *it = argument;
    struct reception *r = it->reception;
    it->result = hook_next()->recvfrom(it->fd, r->buffer, r->size, r->flags, r->from, r->length);
}

static ssize_t receive(int fd, struct reception *it)
{
    int64_t until_ns;
    if (!waits(fd, it->flags, &until_ns))
        return hook_next()->recvfrom(fd, it->buffer, it->size, it->flags, it->from, it->length);
    bool all = (it->flags & MSG_WAITALL) && is_stream(fd);
    if (all && (it->flags & MSG_PEEK)) { /* what was seen stays, and is an event again and again */
        struct elsewhere other = {.fd = fd, .reception = it};
        hook_elsewhere(recvfrom_elsewhere, &other);
        return other.result;
    }
    struct hook_call call = hook_begin();
    ssize_t result;
    if (all) {
        result = receive_all(fd, it, until_ns);
    } else {
        bool plain = (it->flags & ~MSG_NOSIGNAL) == 0;
        result = timed(weft_attempt_fd_(fd, POLLIN, try_recvfrom, it, plain ? it->size : SIZE_MAX, until_ns));
    }
    return hook_end(&call, result);
}

HOOK ssize_t recv(int fd, void *buffer, size_t size, int flags)
{
    return receive(fd, &(struct reception){buffer, size, flags, NULL, NULL});
}

HOOK ssize_t __recv_chk(int fd, void *buffer, size_t size, size_t room, int flags)
{
    return size > room ? hook_next()->__recv_chk(fd, buffer, size, room, flags) : recv(fd, buffer, size, flags);
}

HOOK ssize_t recvfrom(int fd, void *buffer, size_t size, int flags, __SOCKADDR_ARG from, socklen_t *length)
{
    return receive(fd, &(struct reception){buffer, size, flags, from.__sockaddr__, length});
}

HOOK ssize_t __recvfrom_chk(int fd, void *buffer, size_t size, size_t room, int flags, __SOCKADDR_ARG from,
                            socklen_t *length)
{
    if (size > room)
        return hook_next()->__recvfrom_chk(fd, buffer, size, room, flags, from.__sockaddr__, length);
    return recvfrom(fd, buffer, size, flags, from, length);
}

struct message {
    struct msghdr *header;
    int flags;
};

static ssize_t try_recvmsg(int fd, void *argument)
{
    const struct message *it = argument;
    return hook_result(hook_next()->recvmsg(fd, it->header, it->flags | MSG_DONTWAIT));
}

static void recvmsg_elsewhere(void *argument)
{
    struct elsewhere *it = argument;
    it->result = hook_next()->recvmsg(it->fd, it->message, it->flags);
}

HOOK ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    int64_t until_ns;
    if (!waits(fd, flags, &until_ns))
        return hook_next()->recvmsg(fd, message, flags);
    if (flags & MSG_WAITALL) { /* control messages of several parts belong together in ways that only the kernel knows */
        struct elsewhere other = {.fd = fd, .message = message, .flags = flags};
        hook_elsewhere(recvmsg_elsewhere, &other);
        return other.result;
    }
    struct hook_call call = hook_begin();
    struct message it = {message, flags};
    return hook_end(&call,
                    timed(weft_attempt_fd_(fd, POLLIN, try_recvmsg, &it, flags & ~MSG_NOSIGNAL ? SIZE_MAX : 0, until_ns)));
}

static ssize_t try_receive_parts(int fd, void *argument)
{
    const struct hook_parts *it = argument;
    if (it->n == 1)
        return hook_result(hook_next()->recv(fd, it->parts->iov_base, it->parts->iov_len, MSG_DONTWAIT));
    struct msghdr header = {.msg_iov = (struct iovec *)it->parts, .msg_iovlen = (size_t)it->n};
    return hook_result(hook_next()->recvmsg(fd, &header, MSG_DONTWAIT));
}

ssize_t hook_receive_parts(int fd, struct hook_parts *it, int64_t until_ns)
{
    return timed(weft_attempt_fd_(fd, POLLIN, try_receive_parts, it, hook_parts_size(it), until_ns));
}

/* ---- sending ---- */

struct sending {
    struct hook_parts left;
    struct msghdr header; /* address and control messages */
    int flags;
    bool must_block; /* poll(2) cannot tell when it will not */
};

static ssize_t try_send(int fd, void *argument)
{
    struct sending *it = argument;
    int flags = it->flags | MSG_DONTWAIT | MSG_NOSIGNAL;
    const struct iovec *parts;
    struct iovec one;
    int n = hook_parts_left(&it->left, &parts, &one);
    ssize_t result;
    if (n == 1 && it->header.msg_controllen == 0) {
        result =
            hook_next()->sendto(fd, parts->iov_base, parts->iov_len, flags, it->header.msg_name, it->header.msg_namelen);
    } else {
        struct msghdr header = it->header;
        header.msg_iov = (struct iovec *)parts;
        header.msg_iovlen = (size_t)n;
        result = hook_next()->sendmsg(fd, &header, flags);
    }
    result = hook_result(result);
    if (result == -EAGAIN && it->header.msg_name && ((const struct sockaddr *)it->header.msg_name)->sa_family == AF_UNIX) {
        it->must_block = true; /* the peer's queue is full, of which this socket's poll knows nothing */
        return -EINPROGRESS;
    }
    return result;
}

/* Sends all that is left, of which `first` bytes have just gone (0 or -EAGAIN: none), in a blocking call. */
static ssize_t send_rest(int fd, struct sending *it, ssize_t first)
{
    int64_t until_ns;
    size_t done = 0, size = hook_parts_size(&it->left);
    if (hook_socket(fd, SO_SNDTIMEO, &until_ns) != HOOK_SOCKET)
        return first;
    for (ssize_t n = first;;) {
        if (n > 0) {
            done += (size_t)n;
            if (done >= size)
                return (ssize_t)done;
            hook_parts_advance(&it->left, (size_t)n);
            it->header.msg_control = NULL;
            it->header.msg_controllen = 0;
            int events = weft_wait_fd_until_(fd, POLLOUT, until_ns);
            if (events < 0 || (events & (POLLERR | POLLHUP)))
                return (ssize_t)done;
        }
        n = timed(weft_attempt_fd_(fd, POLLOUT, try_send, it, size - done, until_ns));
        if (n < 0)
            return done ? (ssize_t)done : n;
    }
}

/* Mostly there is room, and nobody needs to know whether the caller would wait: so first the attempt, then the questions. */
static ssize_t send_all(int fd, struct sending *it)
{
    struct hook_call call = hook_begin();
    size_t size = hook_parts_size(&it->left);
    ssize_t result = try_send(fd, it);
    if (HOOK_UNLIKELY(it->must_block)) {
        it->must_block = hook_is_blocking(fd);
        result = -EAGAIN;
    } else if (HOOK_UNLIKELY(result == -EAGAIN || (result >= 0 && (size_t)result < size)) && hook_is_blocking(fd)) {
        result = send_rest(fd, it, result);
    }
    result = hook_end(&call, result);
    if (it->must_block)
        errno = call.error;
    return result;
}

ssize_t hook_send_parts(int fd, struct hook_parts *it)
{
    struct sending sending = {.left = *it};
    return send_all(fd, &sending);
}

static void sendto_elsewhere(void *argument)
{
    struct elsewhere *it = argument;
    it->result = hook_next()->sendto(it->fd, it->buffer, it->size, it->flags | MSG_NOSIGNAL, it->to, it->length);
}

HOOK ssize_t sendto(int fd, const void *buffer, size_t size, int flags, __CONST_SOCKADDR_ARG to, socklen_t length)
{
    if (!weft_hooked_() || (flags & NEVER_WAITS))
        return hook_next()->sendto(fd, buffer, size, flags, to.__sockaddr__, length);
    struct iovec one = {(void *)buffer, size};
    struct sending it = {.left = {.parts = &one, .n = 1},
                         .header = {.msg_name = (void *)to.__sockaddr__, .msg_namelen = length},
                         .flags = flags};
    if (!(flags & MSG_FASTOPEN)) {
        ssize_t result = send_all(fd, &it);
        if (!it.must_block)
            return result;
    }
    struct elsewhere other = {
        .fd = fd, .buffer = buffer, .size = size, .flags = flags, .to = to.__sockaddr__, .length = length};
    hook_elsewhere(sendto_elsewhere, &other);
    return other.result;
}

HOOK ssize_t send(int fd, const void *buffer, size_t size, int flags)
{
    return sendto(fd, buffer, size, flags, NULL, 0);
}

HOOK_ALIAS("send") ssize_t __send(int fd, const void *buffer, size_t size, int flags);

static void sendmsg_elsewhere(void *argument)
{
    struct elsewhere *it = argument;
    it->result = hook_next()->sendmsg(it->fd, it->sent, it->flags | MSG_NOSIGNAL);
}

HOOK ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    if (!weft_hooked_() || (flags & NEVER_WAITS) || message->msg_iovlen > IOV_MAX)
        return hook_next()->sendmsg(fd, message, flags);
    if (!(flags & MSG_FASTOPEN)) {
        struct sending it = {
            .left = {.parts = message->msg_iov, .n = (int)message->msg_iovlen}, .header = *message, .flags = flags};
        ssize_t result = send_all(fd, &it);
        if (!it.must_block)
            return result;
    }
    struct elsewhere other = {.fd = fd, .sent = message, .flags = flags};
    hook_elsewhere(sendmsg_elsewhere, &other);
    return other.result;
}

/* ---- many messages in a call ---- */

/* What the kernel does, message by message: the caller's time is looked at after each, and an error after the first one ends
   the call without being told (the kernel would keep some of them for the next call). */
static void say_what_is_left(struct timespec *time, int64_t until_ns)
{
    int64_t left_ns = until_ns - weft_now();
    if (left_ns < 0)
        left_ns = 0;
    *time = (struct timespec){.tv_sec = left_ns / WEFT_SECOND, .tv_nsec = left_ns % WEFT_SECOND};
}

HOOK int recvmmsg(int fd, struct mmsghdr *messages, unsigned n, int flags, struct timespec *time)
{
    if (!weft_hooked_() || (flags & NEVER_WAITS))
        return hook_next()->recvmmsg(fd, messages, n, flags, time);
    int64_t until_ns = hook_until(time);
    int error = errno, once = flags & MSG_WAITFORONE;
    unsigned done = 0;
    flags &= ~MSG_WAITFORONE;
    while (done < n && (done == 0 || until_ns == INT64_MAX || weft_now() < until_ns)) {
        ssize_t size = recvmsg(fd, &messages[done].msg_hdr, done && once ? flags | MSG_DONTWAIT : flags);
        if (size < 0)
            break;
        messages[done++].msg_len = (unsigned)size;
    }
    if (done && until_ns != INT64_MAX)
        say_what_is_left(time, until_ns);
    if (done)
        errno = error;
    return done || n == 0 ? (int)done : -1;
}

HOOK int sendmmsg(int fd, struct mmsghdr *messages, unsigned n, int flags)
{
    if (!weft_hooked_() || (flags & NEVER_WAITS))
        return hook_next()->sendmmsg(fd, messages, n, flags);
    int error = errno;
    unsigned done = 0;
    for (ssize_t size; done < n && (size = sendmsg(fd, &messages[done].msg_hdr, flags)) >= 0; done++)
        messages[done].msg_len = (unsigned)size;
    if (done)
        errno = error;
    return done || n == 0 ? (int)done : -1;
}
