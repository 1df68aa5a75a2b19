/* perturb.c — see perturb.h. */
#include "base/perturb.h"

#ifdef WEFT_PERTURB
#include "base/fatal.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

static _Atomic uint64_t state; /* 0: not seeded yet */

static uint64_t seed(void)
{
    const char *text = getenv("WEFT_PERTURB_SEED");
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t value = text && *text ? strtoull(text, NULL, 10) : (uint64_t)now.tv_sec * 1000000007U + (uint64_t)now.tv_nsec;
    uint64_t unseeded = 0;
    if (!atomic_compare_exchange_strong(&state, &unseeded, value | 1))
        return unseeded;
    if (getenv("WEFT_PERTURB_VERBOSE"))
        wi_report("WEFT_PERTURB_SEED=%llu", (unsigned long long)value);
    return value | 1;
}

/* SplitMix64: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014. */
static uint64_t next(void)
{
    if (atomic_load_explicit(&state, memory_order_relaxed) == 0)
        seed();
    uint64_t z = atomic_fetch_add_explicit(&state, UINT64_C(0x9e3779b97f4a7c15), memory_order_relaxed);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

bool wi_perturb_chance(unsigned n)
{
    return next() % n == 0;
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Lets other threads in. Beside another program that computes that costs a time slice of the kernel's, milliseconds, at
   every twelfth operation on a channel: short turns would then look starved by long ones. So it takes no more than a
   twentieth of the time. */
static void give_up_core(void)
{
    static _Atomic int64_t again_ns; /* [atomic] not before then */
    int64_t before_ns = now_ns();
    if (before_ns < atomic_load_explicit(&again_ns, memory_order_relaxed))
        return;
    sched_yield();
    int64_t after_ns = now_ns();
    if (after_ns - before_ns > 100000)
        atomic_store_explicit(&again_ns, after_ns + 20 * (after_ns - before_ns), memory_order_relaxed);
}

void wi_perturb(void)
{
    int saved_errno = errno;
    uint64_t dice = next();
    if (dice % 4096 == 0) {
        struct timespec pause = {.tv_nsec = (long)(dice >> 40) % 100000};
        nanosleep(&pause, NULL);
    } else if (dice % 64 == 0) {
        give_up_core();
    } else if (dice % 8 == 0) {
        for (volatile unsigned i = (unsigned)(dice >> 40) % 300; i > 0; i--) {
        }
    }
    errno = saved_errno;
}
#endif
