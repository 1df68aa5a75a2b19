/* timeout.h — ending waits by time. */
#ifndef WI_TIMEOUT_H
#define WI_TIMEOUT_H

#include "sched/waiter.h"
#include "timer/wheel.h"

struct wi_timers;

/* On the waiter's stack. */
struct wi_timeout {
    struct wi_timer timer;   /* [owner's lock]; first */
    struct wi_timers *owner; /* [const while started] */
    struct wi_goroutine *g;  /* [const while started] */
    uint64_t ticket;         /* [const while started] of the wait that it ends */
    bool fired;              /* [who claimed the wait] */
};

/* Ends the wait `ticket` of g at deadline_ns unless somebody else does. g is a goroutine, not a thread. */
void wi_timeout_start(struct wi_thread *t, struct wi_timeout *timeout, struct wi_goroutine *g, uint64_t ticket,
                      int64_t deadline_ns);
/* After the wait: from here on the timeout's memory is the waiter's again. */
void wi_timeout_stop(struct wi_timeout *timeout);
/* now + ns without overflow. */
int64_t wi_deadline_ns(int64_t ns);
/* Parks the caller until deadline_ns. */
void wi_sleep_until(struct wi_thread *t, int64_t deadline_ns);

/* For hooks.h. */
void wi_timers_run(struct wi_thread *t, struct wi_worker *w, int64_t now_ns);
int wi_timers_start(void);
void wi_timers_stop(void);
void wi_timers_forget(void);

#endif
