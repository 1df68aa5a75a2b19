/* deadlock.c — when everything waits and nothing can end it.

   Asked by the monitor when every worker is idle. There is a deadlock when no timer is pending, no channel is subscribed
   to a signal, every goroutine is parked and waits for nothing outside the program, every foreign thread that weft knows
   waits in weft without a time, the process has no thread that weft does not know, and at least one of them waits. Two
   equal readings SETTLE_NS apart decide. It is fatal where the program's main thread is among those that wait (directly,
   or in weft_run); elsewhere, as in a plugin, it is reported. What cannot be seen is left alone: a thread that ends
   without weft's knowledge may leave a deadlock behind unreported. */
#include "debug/debug.h"
#include "io/signal.h"
#include "sched/hooks.h"
#include "weft/debug.h"

#include <stdio.h>
#include <unistd.h>

#define SETTLE_NS INT64_C(100000000)
#define ENDING_NS INT64_C(2000000000) /* how long a thread may take to be gone after it has told weft that it ends */

static int helpers;           /* threads of a sanitizer's runtime, counted when weft started */
static uint64_t last_reading; /* 0: none */
static int64_t last_ns;       /* when it was taken */
static bool reported;

void wi_deadlock_started(void)
{
    helpers = 0;
#ifdef WI_SANITIZER_TSAN
    /* TSan has a thread of its own from when the program starts its first: what there is beside the one that starts weft and
       the first worker; the monitor starts after this. (ASan has none.) */
    helpers = wi_os_thread_count() > 2 ? 1 : 0;
#endif
    last_reading = 0;
    reported = false;
}

struct reading {
    uint64_t hash;
    unsigned waiting, threads; /* parked goroutines; foreign threads that wait */
    bool hope, main_waits;
    /* A thread is still on its way to sleep or to its end: it said so before, and nobody will ask for us again. */
    bool restless;
};

static void read_one(struct wi_goroutine *g, void *argument)
{
    struct reading *reading = argument;
    struct wi_snapshot s;
    if (reading->hope)
        return;
    if (!wi_snapshot(g, &s, NULL, 0, NULL) || s.state != WI_PARKED || (s.kind && (s.kind->timed || s.kind->outside))) {
        reading->hope = true;
        return;
    }
    /* A thread that parks is PARKED before its wait can end, and may be kept from running just then, for seconds. */
    if (!s.at_rest)
        reading->restless = true;
    reading->hash = (reading->hash ^ ((uintptr_t)g + s.turn)) * UINT64_C(0x9e3779b97f4a7c15);
    if (s.is_thread) {
        reading->threads++;
        reading->main_waits |= s.tid == getpid();
    } else {
        reading->waiting++;
    }
}

/* A deadlock, as far as one look can tell? */
static bool looks_dead(struct reading *reading)
{
    if (wi_timers_next_ns() != INT64_MAX || wi_load_relaxed(&wi_sched.n_blocked) || wi_load_relaxed(&wi_sched.n_hogs) ||
        wi_load_relaxed(&wi_sched.n_starved) || wi_signals_wanted())
        return false;
    wi_snapshot_each(read_one, reading);
    if (reading->hope || reading->waiting + reading->threads == 0)
        return false;
    int known = (int)(reading->threads + wi_load_relaxed(&wi_sched.n_threads)) + 1 /* the monitor */ + helpers;
    if (wi_os_thread_count() == known)
        return true;
    wi_lock(&wi_sched.lock); /* under which who left n_threads has said when */
    reading->restless |= wi_os_now_ns() - wi_load_relaxed(&wi_sched.ended_ns) < ENDING_NS;
    wi_unlock(&wi_sched.lock);
    return reading->restless;
}

int64_t wi_debug_quiet(void)
{
    struct reading reading = {.hash = 1};
    if (reported || !looks_dead(&reading)) {
        last_reading = 0;
        return INT64_MAX;
    }
    int64_t now_ns = wi_os_now_ns();
    if (reading.restless) {
        last_reading = 0;
        return now_ns + SETTLE_NS;
    }
    if (reading.hash != last_reading) {
        last_reading = reading.hash;
        last_ns = now_ns;
    }
    if (now_ns - last_ns < SETTLE_NS)
        return last_ns + SETTLE_NS;
    reported = true;
    wi_report("%sall goroutines are asleep - deadlock!", reading.main_waits ? "fatal: " : "");
    wi_cycles_print(STDERR_FILENO, true);
    weft_dump(STDERR_FILENO);
    if (reading.main_waits)
        _exit(2);
    return INT64_MAX;
}
