/* call.c — what all hooked calls share. */
#define _GNU_SOURCE 1
#include "hook/hook.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/time.h>

bool hook_is_blocking(int fd)
{
    int error = errno, flags = fcntl(fd, F_GETFL);
    errno = error;
    return flags >= 0 && !(flags & O_NONBLOCK);
}

enum hook_kind hook_socket(int fd, int option, int64_t *until_ns)
{
    struct timeval limit;
    socklen_t length = sizeof limit;
    int error = errno;
    *until_ns = INT64_MAX;
    if (getsockopt(fd, SOL_SOCKET, option, &limit, &length) != 0) {
        errno = error;
        return HOOK_NO_SOCKET;
    }
    if (limit.tv_sec != 0 || limit.tv_usec != 0)
        *until_ns = hook_until(&(struct timespec){limit.tv_sec, limit.tv_usec * 1000});
    return HOOK_SOCKET;
}

int64_t hook_until_ms(int ms)
{
    return ms < 0 ? INT64_MAX : weft_now() + ms * WEFT_MS;
}

int64_t hook_until(const struct timespec *duration)
{
    int64_t ns, until_ns;
    if (!duration || __builtin_mul_overflow((int64_t)duration->tv_sec, WEFT_SECOND, &ns) ||
        __builtin_add_overflow(ns, (int64_t)duration->tv_nsec, &ns) || __builtin_add_overflow(ns, weft_now(), &until_ns))
        return INT64_MAX;
    return until_ns;
}

/* ---- elsewhere ---- */

struct elsewhere {
    void (*fn)(void *argument);
    void *argument;
    int error;
    weft_waitgroup done;
};

#define STACK ((size_t)1 << 20) /* what nsswitch.conf names may be anybody's code */

int hook_thread(void *(*run)(void *argument), void *argument)
{
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    int error = pthread_create(&thread, &attributes, run, argument);
    pthread_attr_destroy(&attributes);
    return -error;
}

static void *run_elsewhere(void *argument)
{
    struct elsewhere *it = argument;
    errno = it->error;
    it->fn(it->argument);
    it->error = errno;
    weft_wg_done(&it->done);
    return NULL;
}

void hook_elsewhere(void (*fn)(void *argument), void *argument)
{
    struct hook_call call = hook_begin();
    struct elsewhere it = {.fn = fn, .argument = argument, .error = call.error};
    weft_wg_add(&it.done, 1);
    if (hook_thread(run_elsewhere, &it) == 0) {
        weft_wg_wait(&it.done);
    } else { /* nothing is left but to block this thread, which the monitor sees */
        errno = call.error;
        fn(argument);
        it.error = errno;
    }
    hook_end(&call, 0);
    errno = it.error;
}

/* ---- pause ---- */

#define PAUSE_MIN_NS (20 * WEFT_US)
#define PAUSE_MAX_NS (10 * WEFT_MS)

int hook_pause(int64_t *pause_ns, int64_t until_ns)
{
    if (*pause_ns == 0) {
        *pause_ns = PAUSE_MIN_NS;
        weft_yield();
        return 0;
    }
    int64_t left_ns = until_ns == INT64_MAX ? INT64_MAX : until_ns - weft_now();
    int error = weft_sleep(left_ns < *pause_ns ? left_ns : *pause_ns);
    if (*pause_ns < PAUSE_MAX_NS)
        *pause_ns *= 2;
    return error;
}

/* ---- locks ---- */

#define LOCKS 64U

static pthread_mutex_t locks[LOCKS] = {[0 ... LOCKS - 1] = PTHREAD_MUTEX_INITIALIZER};

void hook_lock(int fd)
{
    pthread_mutex_lock(&locks[(unsigned)fd % LOCKS]);
}

void hook_unlock(int fd)
{
    pthread_mutex_unlock(&locks[(unsigned)fd % LOCKS]);
}

/* Another thread may have held one when the process forked. */
static void forget(void)
{
    for (unsigned i = 0; i < LOCKS; i++)
        locks[i] = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
}

__attribute__((constructor)) static void watch_forks(void)
{
    pthread_atfork(NULL, NULL, forget);
}
