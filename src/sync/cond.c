/* cond.c — Cond: a queue of waiters under the Cond's guard.

   A waiter opens its wait and queues itself before it unlocks the mutex, so that whoever changes the condition under the
   mutex and signals finds it; it parks after that, and a signal that comes in between is found by its commit step
   (waiter.h). Time or its context may end the wait: a signal passes over such a waiter to the next one, so none is lost.

   Nobody waits: that is one relaxed load, right for everybody who has held the mutex since the waiter unlocked it, the
   others have no order with it.

   A broadcast takes the whole queue away at once: nobody who comes later is woken by it, and the Cond, which any of the
   woken may free, is not touched again however many there are to wake. Rejected: moving the woken to the mutex's queue. It
   saves a wake-up each where the broadcaster holds the mutex, but ties the two objects' queues together for good. */
#include "sched/enter.h"
#include "sync/queue.h"
#include "timer/timeout.h"
#include "weft/sync.h"

#define CHUNK 64U /* waiters woken between two looks at the outside */

static const struct wi_wait_kind waits = {.text = "Cond"};
static const struct wi_wait_kind waits_or_time = {.text = "Cond with timeout", .timed = true};

/* Parks until somebody ends the wait, which is open and queued; perhaps somebody has. Inside weft, no lock is held. */
static int wait_queued(struct wi_thread *t, weft_cond *c, struct wi_queued *w, int64_t deadline_ns)
{
    wi_wait_on(t, w->g, deadline_ns == INT64_MAX ? &waits : &waits_or_time, c);
    uint64_t by = wi_wait_shared(t, w->g, w->ticket, deadline_ns);
    if (by == 0)
        return 0;
    struct wi_lock *guard = wi_guard_of(c);
    wi_lock(guard);
    if (wi_queue_has(w))
        wi_queue_remove(w);
    wi_unlock(guard);
    return by == WI_WAIT_BY_TIME ? -ETIMEDOUT : wi_cancel_reason(w->g);
}

int weft_cond_wait_timeout(weft_cond *c, weft_mutex *m, int64_t ns)
{
    if (WI_UNLIKELY(ns <= 0)) {
        weft_unlock(m);
        weft_yield(); /* so that a loop of such waits does not keep the mutex from those that would change the condition */
        weft_lock(m);
        return -ETIMEDOUT;
    }
    struct wi_thread *t = wi_enter_blocking();
    if (WI_UNLIKELY(!t))
        return -EDEADLK;
    int64_t deadline_ns = wi_deadline_ns(ns);
    struct wi_lock *guard = wi_guard_of(c);
    struct wi_queued w = {.g = wi_waiting(t)};
    wi_lock(guard);
    bool begun = wi_wait_begin(w.g, &w.ticket);
    if (WI_LIKELY(begun))
        wi_queue_push(wi_queue_at(&c->first), &w);
    wi_unlock(guard);
    wi_leave(t);
    weft_unlock(m);
    t = wi_enter_blocking_or_die();
    int result = WI_LIKELY(begun) ? wait_queued(t, c, &w, deadline_ns) : wi_wait_refused(t, w.g, w.ticket);
    wi_leave(wi_self());
    weft_lock(m);
    return result;
}

int weft_cond_wait(weft_cond *c, weft_mutex *m)
{
    return weft_cond_wait_timeout(c, m, INT64_MAX);
}

void weft_cond_signal(weft_cond *c)
{
    struct wi_link *queue = wi_queue_at(&c->first);
    if (!wi_queue_used(queue))
        return;
    struct wi_thread *t = wi_enter_or_die();
    struct wi_lock *guard = wi_guard_of(c);
    wi_lock(guard);
    struct wi_queued *claimed = wi_queue_claim(queue, 1);
    wi_unlock(guard);
    wi_queue_complete(t, claimed);
    wi_leave(t);
}

void weft_cond_broadcast(weft_cond *c)
{
    struct wi_link *queue = wi_queue_at(&c->first);
    if (!wi_queue_used(queue))
        return;
    struct wi_thread *t = wi_enter_or_die();
    struct wi_lock *guard = wi_guard_of(c);
    struct wi_link all = {NULL, NULL}; /* those that time or their context ends meanwhile leave from here */
    wi_lock(guard);
    wi_queue_move(queue, &all);
    for (;;) {
        struct wi_queued *claimed = wi_queue_claim(&all, CHUNK);
        bool more = wi_queue_used(&all);
        wi_unlock(guard);
        wi_queue_complete(t, claimed);
        if (!more)
            break;
        wi_leave(t); /* the monitor may have the worker between two chunks */
        t = wi_enter_or_die();
        wi_lock(guard);
    }
    wi_leave(t);
}
