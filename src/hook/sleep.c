/* sleep.c — the sleep family. A context that ends ends them with ECANCELED or ETIMEDOUT; but for sleep(3), which could only
   say how much is left, and whose callers then sleep that. Clocks other than the two usual ones are slept by elsewhere. */
#define _GNU_SOURCE 1
#include "hook/hook.h"

const char hook_sleep_file;

static bool is_duration(const struct timespec *time)
{
    return time && time->tv_sec >= 0 && time->tv_nsec >= 0 && time->tv_nsec < 1000000000;
}

static void put_left(int64_t until_ns, struct timespec *left)
{
    int64_t left_ns = until_ns == INT64_MAX ? INT64_MAX : until_ns - weft_now();
    left_ns = left_ns > 0 ? left_ns : 0;
    if (left)
        *left = (struct timespec){left_ns / WEFT_SECOND, left_ns % WEFT_SECOND};
}

/* Sleeps to until_ns: 0, or a negative errno, and then what is left. */
static int sleep_until(int64_t until_ns, struct timespec *left)
{
    int error = weft_sleep(until_ns == INT64_MAX ? INT64_MAX : until_ns - weft_now());
    if (error)
        put_left(until_ns, left);
    return error;
}

HOOK unsigned sleep(unsigned seconds)
{
    if (!weft_hooked_())
        return hook_next()->sleep(seconds);
    struct hook_call call = hook_begin();
    {
        weft_scoped_shield();
        weft_sleep((int64_t)seconds * WEFT_SECOND);
    }
    return (unsigned)hook_end(&call, 0);
}

HOOK int usleep(useconds_t us)
{
    if (!weft_hooked_())
        return hook_next()->usleep(us);
    struct hook_call call = hook_begin();
    return (int)hook_end(&call, weft_sleep((int64_t)us * WEFT_US));
}

HOOK int nanosleep(const struct timespec *time, struct timespec *left)
{
    if (!weft_hooked_() || !is_duration(time))
        return hook_next()->nanosleep(time, left);
    struct hook_call call = hook_begin();
    return (int)hook_end(&call, sleep_until(hook_until(time), left));
}

HOOK_ALIAS("nanosleep") int __nanosleep(const struct timespec *time, struct timespec *left);

struct elsewhere {
    clockid_t clock;
    int flags;
    const struct timespec *time;
    struct timespec *left;
    int result;
};

static void sleep_elsewhere(void *argument)
{
    struct elsewhere *it = argument;
    it->result = hook_next()->clock_nanosleep(it->clock, it->flags, it->time, it->left);
}

HOOK int clock_nanosleep(clockid_t clock, int flags, const struct timespec *time, struct timespec *left)
{
    if (!weft_hooked_() || !is_duration(time))
        return hook_next()->clock_nanosleep(clock, flags, time, left);
    bool to_a_time = flags & TIMER_ABSTIME;
    if (clock != CLOCK_MONOTONIC && (clock != CLOCK_REALTIME || to_a_time)) {
        struct elsewhere it = {.clock = clock, .flags = flags, .time = time, .left = left};
        hook_elsewhere(sleep_elsewhere, &it);
        return it.result;
    }
    int64_t until_ns = hook_until(time);
    if (to_a_time && (__builtin_mul_overflow((int64_t)time->tv_sec, WEFT_SECOND, &until_ns) ||
                      __builtin_add_overflow(until_ns, (int64_t)time->tv_nsec, &until_ns)))
        until_ns = INT64_MAX;
    struct hook_call call = hook_begin();
    int error = sleep_until(until_ns, to_a_time ? NULL : left);
    hook_end(&call, 0);
    return -error;
}

HOOK int thrd_sleep(const struct timespec *time, struct timespec *left)
{
    if (!weft_hooked_() || !is_duration(time))
        return hook_next()->thrd_sleep(time, left);
    struct hook_call call = hook_begin();
    int error = sleep_until(hook_until(time), left);
    hook_end(&call, 0);
    return error ? -2 : 0; /* -1 would mean a signal */
}
