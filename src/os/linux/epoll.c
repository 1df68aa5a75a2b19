/* epoll.c — many descriptors watched by one. */
#define _GNU_SOURCE
#include "os/os.h"

#include <errno.h>
#include <limits.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int wi_os_epoll_create(void)
{
    int saved = errno, fd = epoll_create1(EPOLL_CLOEXEC);
    int result = fd >= 0 ? fd : -errno;
    errno = saved;
    return result;
}

int wi_os_epoll_add(int epoll, int fd, uint32_t events, uint64_t key)
{
    int saved = errno, result = 0;
    struct epoll_event event = {.events = events, .data.u64 = key};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        result = errno == EEXIST && epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event) == 0 ? 0 : -errno;
    errno = saved;
    return result;
}

void wi_os_epoll_remove(int epoll, int fd)
{
    int saved = errno;
    epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL);
    errno = saved;
}

/* Where there is no epoll_pwait2 (before Linux 5.11): a millisecond is the unit, rounded up. */
static int wait_coarsely(int epoll, struct epoll_event *events, int n, int64_t ns)
{
    int64_t ms = ns < 0 ? -1 : (ns + 999999) / 1000000;
    return epoll_wait(epoll, events, n, ms > INT_MAX ? INT_MAX : (int)ms);
}

int wi_os_epoll_wait(int epoll, struct epoll_event *events, int n, int64_t deadline_ns)
{
    static _Atomic bool coarse;
    int saved = errno, got = -1;
    int64_t ns = deadline_ns == 0 ? 0 : deadline_ns == INT64_MAX ? -1 : deadline_ns - wi_os_now_ns();
    if (deadline_ns != INT64_MAX && ns < 0)
        ns = 0;
#ifdef SYS_epoll_pwait2
    if (ns > 0 && !wi_load_relaxed(&coarse)) {
        struct timespec timeout = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
        got = (int)syscall(SYS_epoll_pwait2, epoll, events, n, &timeout, NULL, 0);
        if (got < 0 && errno != EINTR) /* not there, or a filter of system calls that does not know it */
            wi_store_relaxed(&coarse, true);
        else if (got < 0)
            got = -errno;
    }
    if (ns <= 0 || wi_load_relaxed(&coarse))
#endif
        got = (got = wait_coarsely(epoll, events, n, ns)) < 0 ? -errno : got;
    errno = saved;
    return got;
}
