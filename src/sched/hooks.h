/* hooks.h — the few calls from the scheduler to the layers above it. The one table is defined in debug/hooks.c. */
#ifndef WI_HOOKS_H
#define WI_HOOKS_H

#include "sched/sched.h"

struct wi_hooks {
    /* Makes the goroutines ready whose timers on w are due. Called with t inside weft, no lock held. */
    void (*timers_run)(struct wi_thread *t, struct wi_worker *w, int64_t now_ns);
    /* Makes and frees the timers of all workers. 0 or -ENOMEM. */
    int (*timers_start)(void);
    void (*timers_stop)(void);
    /* A goroutine started by weft_wg_go ended. */
    void (*joined)(struct wi_thread *t, void *join);
    /* The runtime started: reads the debug environment, installs signal handlers. */
    void (*started)(void);
    void (*stopped)(void);
    /* A forked child: timers, channels and the like of the parent are no more. */
    void (*forget)(void);
    /* A goroutine was started by weft_run. */
    void (*main_started)(void);
    /* Called by the monitor when everything is idle: looks for a deadlock. Returns the time at which it wants to be asked
       again, INT64_MAX for when something has happened meanwhile. */
    int64_t (*quiet)(void);
    /* Called by the monitor after wi_monitor_request. */
    void (*requested)(uint32_t requests);
};
extern const struct wi_hooks wi_hooks;

#endif
