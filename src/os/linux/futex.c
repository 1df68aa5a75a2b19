/* futex.c — sleeping on a word. Words are private to the process. */
#define _GNU_SOURCE
#include "os/os.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int wi_os_futex_wait(_Atomic uint32_t *word, uint32_t expected, int64_t deadline_ns)
{
    int saved = errno, result = 0;
    if (deadline_ns < 0)
        deadline_ns = 0; /* long past; the kernel refuses negative times */
    struct timespec deadline = {.tv_sec = deadline_ns / 1000000000, .tv_nsec = deadline_ns % 1000000000};
    /* Unlike FUTEX_WAIT the bitset form takes an absolute time of CLOCK_MONOTONIC. */
    if (syscall(SYS_futex, word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, expected,
                deadline_ns == INT64_MAX ? NULL : &deadline, NULL, FUTEX_BITSET_MATCH_ANY) != 0)
        result = -errno;
    errno = saved;
    return result;
}

void wi_os_futex_wake(_Atomic uint32_t *word, int n)
{
    int saved = errno;
    syscall(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, n, NULL, NULL, 0);
    errno = saved;
}
