/* hook.h — libweft_hook: libc's blocking calls, for goroutines.

   A program, or a library that it uses, calls read(2). The dynamic linker finds this library's read before libc's. Where the
   caller is a goroutine that may wait, and the descriptor one that it would have to wait for, the call is made so that only
   the goroutine waits; it then goes on on the same thread (weft_stay_), with errno as libc would have left it. In all other
   cases the call goes to the next symbol of the name, libc's or a sanitizer's:
     - other threads, pinned goroutines, weft itself, signal handlers on a stack of their own: weft_hooked_() is false;
     - descriptors with O_NONBLOCK, calls with MSG_DONTWAIT, regular files: nothing waits there.
   Includes nothing of weft but <weft.h>.

   Three ways to wait, in the order of preference:
     attempt    the call is tried with MSG_DONTWAIT or the like, and again after each edge: sockets, pipes
     look       wait until poll(2) says that it will not block, then make the call: terminals, poll, select, epoll
     elsewhere  the call itself, on a thread of its own: what the kernel offers no way for

   What differs from libc, and is documented in docs/guide/libraries.md: an ended context ends the call with ECANCELED or
   ETIMEDOUT; there is no EINTR, because no signal interrupts a goroutine that waits; no SIGPIPE, only EPIPE; weft_close_fd
   by another goroutine ends the call with EBADF. */
#ifndef WEFT_HOOK_H
#define WEFT_HOOK_H

#ifndef _GNU_SOURCE
#error "define _GNU_SOURCE before the first header"
#endif
#include <weft.h>

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <threads.h>
#include <unistd.h>

#define HOOK_LIKELY(x) __builtin_expect(!!(x), 1)
#define HOOK_UNLIKELY(x) __builtin_expect(!!(x), 0)
/* The definition of a libc function: visible although everything else is hidden. */
#define HOOK __attribute__((visibility("default")))
/* Another name of a function of the same file. */
#define HOOK_ALIAS(name) HOOK __attribute__((alias(name)))

/* ---- next.c: the next symbol of each name ---- */

#define HOOK_FUNCTIONS(X)                                                                                                   \
    X(ssize_t, read, (int, void *, size_t))                                                                                 \
    X(ssize_t, write, (int, const void *, size_t))                                                                          \
    X(ssize_t, readv, (int, const struct iovec *, int))                                                                     \
    X(ssize_t, writev, (int, const struct iovec *, int))                                                                    \
    X(ssize_t, recv, (int, void *, size_t, int))                                                                            \
    X(ssize_t, recvfrom, (int, void *, size_t, int, struct sockaddr *, socklen_t *))                                        \
    X(ssize_t, recvmsg, (int, struct msghdr *, int))                                                                        \
    X(ssize_t, send, (int, const void *, size_t, int))                                                                      \
    X(ssize_t, sendto, (int, const void *, size_t, int, const struct sockaddr *, socklen_t))                                \
    X(ssize_t, sendmsg, (int, const struct msghdr *, int))                                                                  \
    X(int, recvmmsg, (int, struct mmsghdr *, unsigned, int, struct timespec *))                                             \
    X(int, sendmmsg, (int, struct mmsghdr *, unsigned, int))                                                                \
    X(int, connect, (int, const struct sockaddr *, socklen_t))                                                              \
    X(int, accept, (int, struct sockaddr *, socklen_t *))                                                                   \
    X(int, accept4, (int, struct sockaddr *, socklen_t *, int))                                                             \
    X(int, close, (int))                                                                                                    \
    X(int, fclose, (FILE *))                                                                                                \
    X(int, dup2, (int, int))                                                                                                \
    X(int, dup3, (int, int, int))                                                                                           \
    X(int, poll, (struct pollfd *, nfds_t, int))                                                                            \
    X(int, ppoll, (struct pollfd *, nfds_t, const struct timespec *, const sigset_t *))                                     \
    X(int, select, (int, fd_set *, fd_set *, fd_set *, struct timeval *))                                                   \
    X(int, pselect, (int, fd_set *, fd_set *, fd_set *, const struct timespec *, const sigset_t *))                         \
    X(int, epoll_wait, (int, struct epoll_event *, int, int))                                                               \
    X(int, epoll_pwait, (int, struct epoll_event *, int, int, const sigset_t *))                                            \
    X(int, epoll_pwait2, (int, struct epoll_event *, int, const struct timespec *, const sigset_t *))                       \
    X(unsigned, sleep, (unsigned))                                                                                          \
    X(int, usleep, (useconds_t))                                                                                            \
    X(int, nanosleep, (const struct timespec *, struct timespec *))                                                         \
    X(int, clock_nanosleep, (clockid_t, int, const struct timespec *, struct timespec *))                                   \
    X(int, thrd_sleep, (const struct timespec *, struct timespec *))                                                        \
    X(int, getaddrinfo, (const char *, const char *, const struct addrinfo *, struct addrinfo **))                          \
    X(int, getnameinfo, (const struct sockaddr *, socklen_t, char *, socklen_t, char *, socklen_t, int))                    \
    X(struct hostent *, gethostbyname, (const char *))                                                                      \
    X(struct hostent *, gethostbyname2, (const char *, int))                                                                \
    X(struct hostent *, gethostbyaddr, (const void *, socklen_t, int))                                                      \
    X(int, gethostbyname_r, (const char *, struct hostent *, char *, size_t, struct hostent **, int *))                     \
    X(int, gethostbyname2_r, (const char *, int, struct hostent *, char *, size_t, struct hostent **, int *))               \
    X(int, gethostbyaddr_r, (const void *, socklen_t, int, struct hostent *, char *, size_t, struct hostent **, int *))     \
    X(ssize_t, __read_chk, (int, void *, size_t, size_t))                                                                   \
    X(ssize_t, __recv_chk, (int, void *, size_t, size_t, int))                                                              \
    X(ssize_t, __recvfrom_chk, (int, void *, size_t, size_t, int, struct sockaddr *, socklen_t *))                          \
    X(int, __poll_chk, (struct pollfd *, nfds_t, int, size_t))                                                              \
    X(int, __ppoll_chk, (struct pollfd *, nfds_t, const struct timespec *, const sigset_t *, size_t))

struct hook_next {
/* NOLINTNEXTLINE(bugprone-macro-parentheses): a list of parameters */
#define HOOK_POINTER(type, name, parameters) type(*(name)) parameters;
    HOOK_FUNCTIONS(HOOK_POINTER)
#undef HOOK_POINTER
};

/* Where calls go that are not for us. Safe before constructors have run. */
const struct hook_next *hook_next(void);

/* All functions, and a name of each file. A program that links the static library names it in the link line, or nothing of
   it would be there for libraries that are loaded later: -Wl,-u,weft_hook_ */
extern const void *const weft_hook_[];
/* The names of files: a function alone would not bring its file in when a shared library before (a sanitizer's) defines it
   too. */
extern const char hook_connect_file, hook_message_file, hook_poll_file, hook_resolve_file, hook_sleep_file,
    hook_transfer_file;

/* What a program that was compiled with _FORTIFY_SOURCE calls. */
ssize_t __read_chk(int fd, void *buffer, size_t size, size_t room);
ssize_t __recv_chk(int fd, void *buffer, size_t size, size_t room, int flags);
ssize_t __recvfrom_chk(int fd, void *buffer, size_t size, size_t room, int flags, __SOCKADDR_ARG from, socklen_t *length);
int __poll_chk(struct pollfd *set, nfds_t n, int ms, size_t room);
int __ppoll_chk(struct pollfd *set, nfds_t n, const struct timespec *time, const sigset_t *mask, size_t room);

/* ---- call.c: what all hooked calls do ---- */

/* A hooked call in which the goroutine may wait, from hook_begin to one of the ends. */
struct hook_call {
    int error;    /* errno before it */
    bool staying; /* what weft_stay_ was */
};

static inline struct hook_call hook_begin(void)
{
    struct hook_call call = {.error = errno};
    call.staying = weft_stay_(true);
    return call;
}

/* The end: sets errno as libc would, to -result, or to what it was. */
static inline ssize_t hook_end(const struct hook_call *call, ssize_t result)
{
    weft_stay_(call->staying);
    errno = result < 0 ? (int)-result : call->error; /* the same thread as at the begin, so the same errno */
    return result < 0 ? -1 : result;
}

/* For attempts: a call's result with errno taken in. */
static inline ssize_t hook_result(ssize_t result)
{
    return HOOK_LIKELY(result >= 0) ? result : -errno;
}

/* Whether the caller waits for fd when nothing is there: O_NONBLOCK is clear. */
bool hook_is_blocking(int fd);

enum hook_kind {
    HOOK_NO_SOCKET, /* or no descriptor */
    HOOK_SOCKET,
};
/* Whether it is a socket, and until when the caller waits by SO_RCVTIMEO or SO_SNDTIMEO; INT64_MAX: for ever. */
enum hook_kind hook_socket(int fd, int option, int64_t *until_ns);

/* Durations, as times of weft_now: INT64_MAX for ever. */
int64_t hook_until_ms(int ms); /* negative: for ever */
int64_t hook_until(const struct timespec *duration);

/* Starts a thread that nobody joins. 0, or a negative errno. */
int hook_thread(void *(*run)(void *argument), void *argument);
/* Calls fn(argument) on a thread of its own and waits for it; no context ends this wait. errno is what fn left. (Not by
   weft_blocking: that would block one of the threads to which hooked calls come back.) For a goroutine outside hook_begin
   and hook_end. */
void hook_elsewhere(void (*fn)(void *argument), void *argument);

/* Between looks that find nothing although the wait for it was over: lets others run, then sleeps longer and longer. 0, or
   -ECANCELED or -ETIMEDOUT. *pause_ns is 0 before the first. */
int hook_pause(int64_t *pause_ns, int64_t until_ns);

/* Locks for calls that change O_NONBLOCK of fd for a moment, so that no other hooked call takes it for the caller's. They do
   not block in between. */
void hook_lock(int fd);
void hook_unlock(int fd);

/* ---- message.c: sockets, for readv and writev too ---- */

/* Parts of memory, of which the first `skip` bytes are done. */
struct hook_parts {
    const struct iovec *parts;
    int n;
    size_t skip;
};
/* What is left, for a system call, perhaps not all of it: the number of parts at *parts, which may be at one. */
int hook_parts_left(const struct hook_parts *it, const struct iovec **parts, struct iovec *one);
size_t hook_parts_size(const struct hook_parts *it);
void hook_parts_advance(struct hook_parts *it, size_t done);

/* For readv; fd is a blocking socket. Between hook_begin and hook_end. */
ssize_t hook_receive_parts(int fd, struct hook_parts *it, int64_t until_ns);
/* writev, for a goroutine outside hook_begin and hook_end; ENOTSOCK: it is no socket. */
ssize_t hook_send_parts(int fd, struct hook_parts *it);

#endif
