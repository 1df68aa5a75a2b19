/* connect.c — connect, accept, close and what else ends a descriptor.

   The kernel has no connect or accept that does not wait just this once, so O_NONBLOCK is set for the moment of the call: an
   accept is made after poll(2) said that there is a connection, a connect is begun and then waited for. Meanwhile hooked
   calls with the same descriptor that would look at the flag or change it too wait for a lock. A plain thread may come in
   between: its accept could find nothing and the flag set; so a plain thread's accept that ends so on a blocking socket is
   made again. */
#define _GNU_SOURCE 1
#include "hook/hook.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/syscall.h>

const char hook_connect_file;

/* ---- connect ---- */

struct connection {
    int fd;
    const struct sockaddr *address;
    socklen_t length;
    int result;
};

static void connect_elsewhere(void *argument)
{
    struct connection *it = argument;
    it->result = hook_next()->connect(it->fd, it->address, it->length);
}

/* The flags of a blocking descriptor, locked; -1: it is not, and not locked. */
static int lock_blocking(int fd)
{
    int error = errno;
    hook_lock(fd);
    int flags = fcntl(fd, F_GETFL);
    errno = error;
    if (flags >= 0 && !(flags & O_NONBLOCK))
        return flags;
    hook_unlock(fd);
    return -1;
}

/* A connection that the kernel is making: 0 or a negative errno. */
static ssize_t await_connection(int fd, int64_t until_ns)
{
    int events = weft_wait_fd_until_(fd, POLLOUT, until_ns);
    if (events < 0)
        return events == -ETIME ? -EINPROGRESS : events;
    int error = 0;
    socklen_t length = sizeof error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0)
        return -errno;
    struct sockaddr_storage peer;
    length = sizeof peer;
    if (error == 0 && getpeername(fd, (struct sockaddr *)&peer, &length) != 0)
        error = errno == ENOTCONN ? ECONNABORTED : errno; /* somebody else has seen the reason */
    return -error;
}

HOOK int connect(int fd, __CONST_SOCKADDR_ARG address, socklen_t length)
{
    int64_t until_ns;
    int flags;
    if (!weft_hooked_() || hook_socket(fd, SO_SNDTIMEO, &until_ns) != HOOK_SOCKET || (flags = lock_blocking(fd)) < 0)
        return hook_next()->connect(fd, address.__sockaddr__, length);
    int error = errno;
    fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    ssize_t result = hook_result(hook_next()->connect(fd, address.__sockaddr__, length));
    fcntl(fd, F_SETFL, flags);
    hook_unlock(fd);
    errno = error;
    if (result == -EAGAIN &&
        address.__sockaddr__->sa_family == AF_UNIX) { /* the backlog is full; when it is not, nobody says */
        struct connection it = {.fd = fd, .address = address.__sockaddr__, .length = length};
        hook_elsewhere(connect_elsewhere, &it);
        return it.result;
    }
    struct hook_call call = hook_begin();
    if (result == -EINPROGRESS || result == -EALREADY)
        result = await_connection(fd, until_ns);
    return (int)hook_end(&call, result);
}

HOOK_ALIAS("connect") int __connect(int fd, __CONST_SOCKADDR_ARG address, socklen_t length);

/* ---- accept ---- */

struct acceptance {
    struct sockaddr *from;
    socklen_t *length;
    socklen_t room; /* what *length was */
    int flags;      /* accept4's */
};

static int call_accept(int fd, const struct acceptance *it)
{
    return it->flags ? hook_next()->accept4(fd, it->from, it->length, it->flags)
                     : hook_next()->accept(fd, it->from, it->length);
}

static ssize_t try_accept(int fd, void *argument)
{
    const struct acceptance *it = argument;
    struct pollfd look = {.fd = fd, .events = POLLIN};
    int ready = hook_next()->poll(&look, 1, 0);
    if (ready <= 0)
        return ready == 0 ? -EAGAIN : -errno;
    int flags = lock_blocking(fd);
    if (flags < 0) /* the caller's doing, meanwhile */
        return hook_result(call_accept(fd, it));
    if (it->length)
        *it->length = it->room;
    fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    ssize_t result = hook_result(call_accept(fd, it));
    fcntl(fd, F_SETFL, flags);
    hook_unlock(fd);
    return result;
}

/* On a plain thread, or where nothing waits. */
static int accept_straight(int fd, const struct acceptance *it)
{
    for (;;) {
        int error = errno, result = call_accept(fd, it);
        int64_t until_ns;
        if (result >= 0 || errno != EAGAIN)
            return result;
        int flags = lock_blocking(fd);
        if (flags < 0)
            return result;
        hook_unlock(fd);
        if (hook_socket(fd, SO_RCVTIMEO, &until_ns) != HOOK_SOCKET || until_ns != INT64_MAX)
            return result;
        errno = error; /* a goroutine had set O_NONBLOCK */
    }
}

static int accept_any(int fd, struct acceptance *it)
{
    int64_t until_ns;
    if (!weft_hooked_() || lock_blocking(fd) < 0)
        return accept_straight(fd, it);
    hook_unlock(fd);
    if (hook_socket(fd, SO_RCVTIMEO, &until_ns) != HOOK_SOCKET)
        return call_accept(fd, it);
    struct hook_call call = hook_begin();
    if (it->length)
        it->room = *it->length;
    ssize_t result = weft_attempt_fd_(fd, POLLIN, try_accept, it, 0, until_ns);
    return (int)hook_end(&call, result == -ETIME ? -EAGAIN : result);
}

HOOK int accept(int fd, __SOCKADDR_ARG from, socklen_t *length)
{
    return accept_any(fd, &(struct acceptance){.from = from.__sockaddr__, .length = length});
}

HOOK int accept4(int fd, __SOCKADDR_ARG from, socklen_t *length, int flags)
{
    return accept_any(fd, &(struct acceptance){.from = from.__sockaddr__, .length = length, .flags = flags});
}

/* ---- the end of a descriptor ----
   On any thread: what weft knows of a descriptor must not be taken for the next one of its number. */

static pid_t process; /* [const but in a forked child] */

static void note_process(void)
{
    process = (pid_t)syscall(SYS_getpid);
}

__attribute__((constructor)) static void watch_forks(void)
{
    note_process();
    pthread_atfork(NULL, NULL, note_process);
}

/* Not in the child of vfork, whose descriptors are its own and whose memory is the parent's. */
static bool is_known(int fd)
{
    return weft_knows_fd_(fd) && process == (pid_t)syscall(SYS_getpid);
}

HOOK int close(int fd)
{
    if (!is_known(fd))
        return hook_next()->close(fd);
    struct hook_call call = hook_begin();
    return (int)hook_end(&call, weft_close_fd(fd));
}

HOOK_ALIAS("close") int __close(int fd);

HOOK int fclose(FILE *file)
{
    int error = errno, fd = file ? fileno(file) : -1;
    errno = error;
    if (fd >= 0 && is_known(fd))
        weft_forget_fd_(fd);
    return hook_next()->fclose(file);
}

HOOK int dup2(int from, int to)
{
    if (from != to && is_known(to))
        weft_forget_fd_(to);
    return hook_next()->dup2(from, to);
}

HOOK_ALIAS("dup2") int __dup2(int from, int to) __THROW;

HOOK int dup3(int from, int to, int flags)
{
    if (from != to && is_known(to))
        weft_forget_fd_(to);
    return hook_next()->dup3(from, to, flags);
}
