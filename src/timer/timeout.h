/* timeout.h — ending waits by time, and calls at a time. */
#ifndef WI_TIMEOUT_H
#define WI_TIMEOUT_H

#include "sched/cancel.h"
#include "timer/wheel.h"

struct wi_timers;

/* What a timer is the first member of: wi_timer.kind. */
enum {
    WI_TIMER_WAIT,    /* a wi_timeout on its waiter's stack */
    WI_TIMER_SLEEPER, /* one that is a record of its own */
    WI_TIMER_ALARM,
};

/* A timer that calls a function inside weft. Its memory is the starter's, and must last until the alarm was stopped with
   true or its function was called. Zeroed, it is idle. Starts and stops of one alarm come one at a time, by a lock of the
   starter's. */
struct wi_alarm;
/* Called inside weft, on whatever thread runs timers, t->current NULL or not; no lock is held. May ready goroutines, send,
   spawn (wi_spawn_inside), start and stop alarms, free this one's memory; must neither block nor leave weft. now_ns is not
   before the deadline. */
typedef void (*wi_alarm_fn)(struct wi_thread *t, struct wi_alarm *alarm, int64_t now_ns);
struct wi_alarm {
    struct wi_timer timer;             /* [owner's lock]; first */
    _Atomic(struct wi_timers *) owner; /* [stores: starter; with its lock: who takes the timer off] pending there; or NULL */
    wi_alarm_fn fn;                    /* [starter; const while pending] */
    bool never;                        /* [starter; the end of the runtime] pending, but it will not come */
};

/* On the waiter's stack; of one that only sleeps, a record of its own. */
struct wi_timeout {
    struct wi_timer timer;   /* [owner's lock]; first */
    struct wi_timers *owner; /* [const while started] */
    struct wi_goroutine *g;  /* [const while started] */
    uint64_t ticket;         /* [const while started] of the wait that it ends; 0: a sleep */
};

/* Ends the wait `ticket` of g at deadline_ns unless somebody else does. g is a goroutine, not a thread. */
void wi_timeout_start(struct wi_thread *t, struct wi_timeout *timeout, struct wi_goroutine *g, uint64_t ticket,
                      int64_t deadline_ns);
/* After the wait: from here on the timeout's memory is the waiter's again. */
void wi_timeout_stop(struct wi_timeout *timeout);
/* Calls alarm->fn, which the caller has set, at deadline_ns or as soon after as can be; INT64_MAX: never. The alarm is
   idle. */
void wi_alarm_start(struct wi_thread *t, struct wi_alarm *alarm, int64_t deadline_ns);
/* True: it was pending, and will not call. False: it was not; a call may be about to come, on another thread. The alarm is
   idle, and may be started: each start that was not stopped with true calls once. Callable outside weft too, and after its
   end, which makes pending alarms such as never come. */
bool wi_alarm_stop(struct wi_alarm *alarm);
/* It is pending, and will call at deadline_ns or sooner. For the starter, under its lock. */
bool wi_alarm_comes_by(const struct wi_alarm *alarm, int64_t deadline_ns);
/* wi_os_after_ns of now. */
int64_t wi_deadline_ns(int64_t ns);
/* Parks the caller, g, in its shared wait, which ends at deadline_ns at the latest (INT64_MAX: never by time). The caller
   has said what it waits for (wi_wait_on) and holds no lock. Who ended it: 0, WI_WAIT_BY_TIME or WI_WAIT_BY_CONTEXT. The
   caller must take wi_self() anew, and unlink what it queued unless a completer has. */
uint64_t wi_wait_shared(struct wi_thread *t, struct wi_goroutine *g, uint64_t ticket, int64_t deadline_ns);
/* Parks the caller for ns nanoseconds. 0, or -ECANCELED or -ETIMEDOUT when its context ended first. */
int wi_sleep_for(struct wi_thread *t, int64_t ns);
/* Parks the caller for ever. Returns when its context ended: why. */
int wi_sleep_for_ever(struct wi_thread *t, const struct wi_wait_kind *kind);

/* For hooks.h. */
void wi_timers_run(struct wi_thread *t, struct wi_worker *w, int64_t now_ns);
int wi_timers_start(void);
void wi_timers_stop(void);
void wi_timers_freeze(bool freeze);
void wi_timers_forget(void);

#endif
