/* transfer.h — the system calls of every request and answer, inlined. None of them waits when its flags or its descriptor
   say so; the result is 0 or more, or a negative errno. */
#ifndef WI_TRANSFER_H
#define WI_TRANSFER_H

#include "arch/syscall.h"
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

/* What libc's call gave, as weft gives it. */
static inline ssize_t wi_result(ssize_t result)
{
    return result >= 0 ? result : -errno;
}

static inline ssize_t wi_recv(int fd, void *buffer, size_t size, int flags)
{
#ifdef WI_SYSCALLS_RAW
    return wi_syscall6(SYS_recvfrom, fd, (long)buffer, (long)size, flags, 0, 0);
#else
    return wi_result(recv(fd, buffer, size, flags));
#endif
}

static inline ssize_t wi_send(int fd, const void *buffer, size_t size, int flags)
{
#ifdef WI_SYSCALLS_RAW
    return wi_syscall6(SYS_sendto, fd, (long)buffer, (long)size, flags, 0, 0);
#else
    return wi_result(send(fd, buffer, size, flags));
#endif
}

/* Looks whether `events` are there: those that are, 0 for none. */
static inline int wi_look(int fd, int events)
{
    struct pollfd look = {.fd = fd, .events = (short)events};
#ifdef WI_SYSCALLS_RAW
    struct timespec now = {0};
    int n = (int)wi_syscall6(SYS_ppoll, (long)&look, 1, (long)&now, 0, 0, 0);
#else
    int n = poll(&look, 1, 0);
    n = n >= 0 ? n : -errno;
#endif
    return n > 0 ? look.revents : n;
}

static inline int wi_close(int fd)
{
#ifdef WI_SYSCALLS_RAW
    return (int)wi_syscall6(SYS_close, fd, 0, 0, 0, 0, 0);
#else
    return close(fd) == 0 ? 0 : -errno;
#endif
}

#endif
