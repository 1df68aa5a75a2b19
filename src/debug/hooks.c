/* hooks.c — the one table of calls from the scheduler upwards. That the scheduler refers to it makes a static link take in
   every layer. */
#include "sched/hooks.h"

#include "chan/chan.h"
#include "chan/timer.h"
#include "ctx/ctx.h"
#include "ctx/future.h"
#include "ctx/panic.h"
#include "debug/debug.h"
#include "io/file.h"
#include "io/poller.h"
#include "io/process.h"
#include "io/resolve.h"
#include "io/signal.h"
#include "sync/guard.h"
#include "sync/waitgroup.h"
#include "timer/timeout.h"

static void stop_timers(void)
{
    wi_timers_stop();
    wi_after_funcs_stop();
    wi_ctxs_stop();
}

static void stop_poller(void)
{
    wi_poller_stop();
    wi_files_stop();
}

static void forget(void)
{
    wi_signals_forget();
    wi_timers_forget();
    wi_poller_forget();
    wi_files_forget();
    wi_resolve_forget();
    wi_chans_forget();
    wi_chan_timers_forget();
    wi_after_funcs_forget();
    wi_guards_forget();
    wi_ctxs_forget();
    wi_debug_forget();
}

static void started(void)
{
    wi_debug_started();
    wi_process_started();
}

static void stopped(void)
{
    wi_signals_stop();
    wi_debug_stopped();
}

static void joined(struct wi_thread *t, void *join)
{
    if (wi_join_is_future(join))
        wi_future_joined(t, join);
    else
        wi_wg_joined(t, join);
}

const struct wi_hooks wi_hooks = {
    .timers_run = wi_timers_run,
    .timers_start = wi_timers_start,
    .timers_stop = stop_timers,
    .timers_freeze = wi_timers_freeze,
    .poll = wi_poller_poll,
    .poll_interrupt = wi_poller_interrupt,
    .poll_stop = stop_poller,
    .ending = wi_scopes_ending,
    .thread_ending = wi_locals_destroy,
    .thread_outdated = wi_locals_forget,
    .context_free = wi_ctx_freed,
    .joined = joined,
    .parks_with_mutex = wi_held_parks,
    .dump = wi_debug_dump,
    .stack_text = wi_debug_stack_text,
    .started = started,
    .stopped = stopped,
    .forget = forget,
    .main_started = wi_debug_main_started,
    .quiet = wi_debug_quiet,
    .requested = wi_debug_requested,
};
