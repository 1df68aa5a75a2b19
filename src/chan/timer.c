/* timer.c — weft_timer and weft_after: channels on which the time is sent. What is common with tickers and with timers that
   call a function: timer.h.

   The channel is an ordinary one of capacity 1. That nothing stale is received after a stop or a reset, as in Go 1.23, needs
   one lock for all of it, the channel's: stop and reset disarm the timer and empty the buffer under it, the alarm's call
   sends under it only when the timer is armed. (Go gives the channel no buffer that can be seen, and lets a receive look at
   the clock; here a full buffer can be seen by weft_chan_len.) */
#include "chan/timer.h"

#include "mem/slab.h"
#include "sched/enter.h"

static struct wi_slab timers = {.name = "timers", .record_size = 128, .chunk_records = 2048};
_Static_assert(sizeof(struct weft_timer) <= 128, "a timer fits its record");

void wi_chan_timers_forget(void)
{
    wi_slab_forget(&timers);
}

/* ---- arming ---- */

void wi_timer_unref(struct weft_timer *timer)
{
    if (wi_sub_acq_rel(&timer->references, 1) != 1) /* the last one sees what the others did */
        return;
    if (timer->chan)
        wi_slab_give_one(&timers, timer);
    else
        wi_after_func_free(timer);
}

static void start_alarm(struct wi_thread *t, struct weft_timer *timer)
{
    timer->armed = true;
    wi_add_relaxed(&timer->references, 1);
    wi_alarm_start(t, &timer->alarm, timer->deadline_ns);
}

void wi_timer_arm_locked(struct wi_thread *t, struct weft_timer *timer, int64_t ns)
{
    WI_CHECK(!timer->armed);
    timer->deadline_ns = wi_deadline_ns(ns > 0 ? ns : 1); /* later than now: see timer.h */
    start_alarm(t, timer);
}

bool wi_timer_disarm_locked(struct weft_timer *timer)
{
    if (!timer->armed)
        return false;
    timer->armed = false;
    if (wi_alarm_stop(&timer->alarm))
        wi_timer_unref(timer); /* never the last one, which is the caller's */
    return true;
}

/* ---- firing ---- */

/* The next tick: in phase, after now. Those that were missed are skipped. */
static int64_t next_tick_ns(int64_t deadline_ns, int64_t period_ns, int64_t now_ns)
{
    int64_t past_ns = now_ns - deadline_ns, next_ns;
    return __builtin_add_overflow(now_ns - past_ns % period_ns, period_ns, &next_ns) ? INT64_MAX : next_ns;
}

static void fire(struct wi_thread *t, struct wi_alarm *alarm, int64_t now_ns)
{
    struct weft_timer *timer = (struct weft_timer *)(void *)((char *)alarm - offsetof(struct weft_timer, alarm));
    weft_chan_core *c = timer->chan;
    struct wi_waiter *ended = NULL;
    wi_perturb();
    wi_lock(&c->lock); /* of our channel, or of what is in its record now */
    if (c->owner == &timer->owner && timer->armed && timer->deadline_ns <= now_ns) {
        timer->armed = false;
        wi_chan_send_locked(c, &now_ns, &ended); /* if the last value is still there this one is dropped */
        if (timer->period_ns) {
            timer->deadline_ns = next_tick_ns(timer->deadline_ns, timer->period_ns, now_ns);
            start_alarm(t, timer);
        }
    }
    wi_unlock(&c->lock);
    wi_waiter_complete(t, ended);
    wi_timer_unref(timer);
}

/* The last reference to the channel has gone, and nobody arms the timer any more. */
static void chan_freed(struct wi_chan_owner *owner)
{
    struct weft_timer *timer = (struct weft_timer *)(void *)((char *)owner - offsetof(struct weft_timer, owner));
    wi_timer_disarm_locked(timer);
    wi_timer_unref(timer);
}

/* ---- with a channel ---- */

struct weft_timer *wi_timer_make(int64_t ns, int64_t period_ns)
{
    void *record;
    if (wi_slab_take(&timers, 1, &record) == 0)
        return NULL;
    struct weft_timer *timer = record;
    timer->alarm = (struct wi_alarm){.fn = fire};
    timer->owner.freed = chan_freed;
    timer->armed = false;
    timer->period_ns = period_ns;
    wi_store_relaxed(&timer->references, 1);
    timer->chan = wi_chan_make_owned(sizeof timer->value_ns, 1, &timer->value_ns, &timer->owner);
    if (!timer->chan) {
        wi_slab_give_one(&timers, timer);
        return NULL;
    }
    timer->lock = &timer->chan->lock;
    struct wi_thread *t = wi_enter_or_die();
    wi_lock(timer->lock);
    wi_timer_arm_locked(t, timer, ns);
    wi_unlock(timer->lock);
    wi_leave(t);
    return timer;
}

/* Completes *ended after the unlock. The lock is held. */
static bool halt_locked(struct weft_timer *timer, struct wi_waiter **ended)
{
    bool halted = wi_timer_disarm_locked(timer);
    *ended = NULL;
    if (timer->chan && wi_chan_recv_locked(timer->chan, NULL, ended) == WI_CHAN_DONE)
        halted = true;
    return halted;
}

bool wi_timer_halt(struct weft_timer *timer)
{
    struct wi_thread *t = wi_enter_or_die();
    struct wi_waiter *ended;
    wi_lock(timer->lock);
    bool halted = halt_locked(timer, &ended);
    wi_unlock(timer->lock);
    wi_waiter_complete(t, ended);
    wi_leave(t);
    return halted;
}

bool wi_timer_restart(struct weft_timer *timer, int64_t ns, int64_t period_ns)
{
    struct wi_thread *t = wi_enter_or_die();
    struct wi_waiter *ended;
    wi_lock(timer->lock);
    bool halted = halt_locked(timer, &ended);
    timer->period_ns = period_ns;
    wi_timer_arm_locked(t, timer, ns);
    wi_unlock(timer->lock);
    wi_waiter_complete(t, ended);
    wi_leave(t);
    return halted;
}

/* ---- what others call ---- */

weft_timer *weft_timer_make(int64_t ns)
{
    return wi_timer_make(ns, 0);
}

weft_chan_core *weft_after_(int64_t ns)
{
    struct weft_timer *timer = wi_timer_make(ns, 0);
    return timer ? timer->chan : NULL; /* from here on the channel owns it */
}

weft_chan_core *weft_timer_core(const weft_timer *timer)
{
    return timer->chan;
}

bool weft_timer_stop(weft_timer *timer)
{
    return wi_timer_halt(timer);
}

bool weft_timer_reset(weft_timer *timer, int64_t ns)
{
    return wi_timer_restart(timer, ns, 0);
}

void weft_timer_free(weft_timer *timer)
{
    if (!timer)
        return;
    if (timer->chan) {
        wi_timer_halt(timer); /* somebody else may have a reference to the channel */
        weft_chan_core_free(timer->chan);
        return;
    }
    struct wi_thread *t = wi_enter_or_die();
    wi_timer_unref(timer);
    wi_leave(t);
}
