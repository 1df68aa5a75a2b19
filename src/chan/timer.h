/* timer.h — the record behind weft_timer, weft_ticker and the channels of weft_after; for timer.c, ticker.c and
   after_func.c.

   A timer is *armed* from when it is started until it has fired or was stopped; only under its lock does that change. Its
   alarm is pending from the same moment until it is taken off the wheel, which needs other locks; the call comes still
   later. So between "due" and "fired" a timer can be stopped, and started anew; the late call then finds it not armed, or
   armed for a time that has not come:

     the call's now_ns was read before the alarm was taken off; that happened before a stop found the alarm not pending; the
     new deadline is later than a time read after that (at least by 1 ns: arm_locked). So now_ns < deadline_ns, and the call
     does nothing.

   References: one of the channel, which has it until it is freed (weft_timer_free frees the channel), or of the handle, when
   the timer calls a function; and one for each start of the alarm, until it was stopped with true or its call is over. */
#ifndef WI_CHAN_TIMER_H
#define WI_CHAN_TIMER_H

#include "chan/chan.h"
#include "timer/timeout.h"
#include "weft/time.h"

struct weft_timer {
    struct wi_alarm alarm; /* [lock] */
    struct wi_lock *lock;  /* [const] the channel's, or the function's */
    weft_chan_core *chan;  /* [const] NULL: it calls a function. A late call may find another's channel there: see owner */
    struct wi_chan_owner owner;  /* [const] chan->owner, as long as the channel is ours */
    _Atomic uint32_t references; /* [atomic] */
    bool armed;                  /* [lock] */
    int64_t deadline_ns;         /* [lock] when it fires, while it is armed */
    int64_t period_ns;           /* [lock] of a ticker; 0: it fires once */
    int64_t value_ns;            /* [channel] its buffer */
};

/* Arms the timer, which is not armed; it fires ns nanoseconds from now. Both under the lock, the first inside weft. */
void wi_timer_arm_locked(struct wi_thread *t, struct weft_timer *timer, int64_t ns);
/* True: it was armed and will not fire. */
bool wi_timer_disarm_locked(struct weft_timer *timer);
/* Drops a reference; inside weft when the timer calls a function. */
void wi_timer_unref(struct weft_timer *timer);

/* A timer with a channel, armed; NULL: no memory. */
struct weft_timer *wi_timer_make(int64_t ns, int64_t period_ns);
/* Disarms it and empties the channel. True: it was armed, or what it sent was not received, and will not be. */
bool wi_timer_halt(struct weft_timer *timer);
/* The same, and then arms it. */
bool wi_timer_restart(struct weft_timer *timer, int64_t ns, int64_t period_ns);

/* ---- after_func.c ---- */
void wi_after_func_free(struct weft_timer *timer);
/* The runtime ended: what has not fired never will. */
void wi_after_funcs_stop(void);
void wi_after_funcs_forget(void);
/* ---- timer.c ---- */
void wi_chan_timers_forget(void);

#endif
