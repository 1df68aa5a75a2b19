/* clock.c — time from Linux. */
#define _GNU_SOURCE
#include "os/os.h"

#include <errno.h>
#include <sys/prctl.h>
#include <time.h>

static int64_t nanoseconds(struct timespec t)
{
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t wi_os_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t); /* always there: sets no errno */
    return nanoseconds(t);
}

int64_t wi_os_thread_cpu_ns(clockid_t thread_clock)
{
    int saved = errno;
    struct timespec t;
    int64_t result = clock_gettime(thread_clock, &t) == 0 ? nanoseconds(t) : -errno;
    errno = saved;
    return result;
}

void wi_os_precise_timers(void)
{
    int saved = errno;
    prctl(PR_SET_TIMERSLACK, 1ul);
    errno = saved;
}
