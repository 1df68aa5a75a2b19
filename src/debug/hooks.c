/* hooks.c — the one table of calls from the scheduler upwards. That the scheduler refers to it makes a static link take in every
   layer. */
#include "sched/hooks.h"

#include "chan/chan.h"
#include "debug/debug.h"
#include "sync/waitgroup.h"
#include "timer/timeout.h"

static void forget(void)
{
    wi_timers_forget();
    wi_chans_forget();
    wi_debug_forget();
}

const struct wi_hooks wi_hooks = {
    .timers_run = wi_timers_run,
    .timers_start = wi_timers_start,
    .timers_stop = wi_timers_stop,
    .joined = wi_wg_joined,
    .started = wi_debug_started,
    .stopped = wi_debug_stopped,
    .forget = forget,
    .main_started = wi_debug_main_started,
    .quiet = wi_debug_quiet,
    .requested = wi_debug_requested,
};
