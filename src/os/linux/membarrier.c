/* membarrier.c — a full barrier in every thread of the process that runs, so that the other side needs no fence. */
#define _GNU_SOURCE
#include "base/fatal.h"
#include "os/os.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#define KNOWS_THREADS
#endif

bool wi_os_membarrier_works;

static bool membarrier(int command)
{
    return syscall(SYS_membarrier, command, 0, 0) == 0;
}

#ifdef KNOWS_THREADS
/* To register takes 5 to 20 ms in a process that has threads, because the kernel waits until all have switched, and nothing
   in one that has none: so it is done while the program is loaded, whenever it starts weft, and if it never does. */
static __attribute__((constructor)) void register_early(void)
{
    int saved = errno;
    if (__libc_single_threaded)
        membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
    errno = saved;
}
#endif

bool wi_os_membarrier_init(void)
{
    int saved = errno;
    /* A kernel that registers can still be made to refuse the barrier (seccomp), so one is tried. */
    wi_os_membarrier_works =
        membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) && membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
    errno = saved;
    return wi_os_membarrier_works;
}

void wi_os_barrier_heavy(void)
{
    if (!wi_os_membarrier_works) {
        wi_fence_seq_cst(); /* pairs with the fence on the light side */
        return;
    }
    int saved = errno;
    if (!membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED))
        wi_fatal("the kernel refuses membarrier, which it granted before: %s (a seccomp filter must allow it)",
                 strerror(errno));
    errno = saved;
}
