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
    /* Once wi_sched.polls: waits for something from outside, at most to deadline_ns (0: looks only); who is ready then,
       linked by next. Any thread may call it, the monitor too, with no lock held. */
    struct wi_goroutine *(*poll)(int64_t deadline_ns);
    /* Makes the thread that waits in poll return. */
    void (*poll_interrupt)(void);
    void (*poll_stop)(void);
    /* From when it returns until it is undone nothing happens by time. */
    void (*timers_freeze)(bool freeze);
    /* A goroutine's function has returned, or it exits: runs what is left to undo and the destructors of its local values.
       Called outside weft; may move the goroutine. */
    void (*ending)(struct wi_goroutine *g);
    /* A foreign thread ends: destroys its local values. */
    void (*thread_ending)(struct wi_goroutine *self);
    /* The runtime ends and a foreign thread does not: forgets its local values. */
    void (*thread_outdated)(struct wi_goroutine *self);
    /* Nobody has a reference to the context any more. Called inside weft. */
    void (*context_free)(struct wi_context *context);
    /* A goroutine that somebody joins ended: see ctx/future.h. */
    void (*joined)(struct wi_thread *t, void *join);
    /* Checked builds: the goroutine on t parks, and the thread holds a pthread mutex. Called inside weft, perhaps with a
       lock of what it waits for. */
    void (*parks_with_mutex)(struct wi_thread *t);
    /* For a fatal panic: dumps all goroutines to standard error. */
    void (*dump)(void);
    /* The caller's stack as text, to be freed; NULL: no memory. */
    char *(*stack_text)(void);
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
extern WI_HIDDEN const struct wi_hooks wi_hooks;

#endif
