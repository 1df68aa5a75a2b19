/* timeout.c — the timers of each worker: a wheel under a lock, so that anybody may stop a timer and anybody may run what is due
   when the worker's own thread does not. A timer is started on the worker of the thread that waits; by a thread without one,
   on worker 0.

   w->timer_next_ns is the wheel's next time, stored under the lock. Whoever adds an earlier one makes sure that somebody looks
   in time (wi_guard_timers; the worker's own thread does so before it runs the next goroutine). */
#include "timer/timeout.h"

#include "weft/time.h"

#include <stdlib.h>
#include <string.h>

#define BATCH 64

struct wi_timers {
    struct wi_lock lock;
    struct wi_wheel wheel;    /* [lock] */
    struct wi_worker *worker; /* [const] */
};

static struct wi_timers *timers; /* [const while the runtime runs] one a worker */
static size_t timers_size;

int wi_timers_start(void)
{
    timers_size = wi_sched.procs * sizeof *timers;
    timers = wi_os_map(timers_size);
    if (!timers)
        return -ENOMEM;
    for (unsigned i = 0; i < wi_sched.procs; i++)
        timers[i].worker = &wi_sched.workers[i];
    return 0;
}

void wi_timers_stop(void)
{
    if (timers)
        wi_os_unmap(timers, timers_size);
    timers = NULL;
}

void wi_timers_forget(void)
{
    timers = NULL;
}

static void publish_next(struct wi_timers *set)
{
    wi_store_relaxed(&set->worker->timer_next_ns, wi_wheel_next_ns(&set->wheel));
}

/* Adds the timer; true when it became the next one of its worker. The lock is held. */
static bool add(struct wi_timers *set, struct wi_timer *timer, int64_t deadline_ns, int64_t now_ns)
{
    int64_t before_ns = wi_load_relaxed(&set->worker->timer_next_ns);
    timer->deadline_ns = deadline_ns;
    wi_wheel_add(&set->wheel, timer, now_ns);
    publish_next(set);
    return wi_load_relaxed(&set->worker->timer_next_ns) < before_ns;
}

static struct wi_timers *lock_timers(struct wi_thread *t)
{
    struct wi_worker *w = wi_load_relaxed(&t->worker);
    struct wi_timers *set = &timers[w ? w->number : 0];
    wi_lock(&set->lock);
    return set;
}

/* A new earliest timer on set: who will look? */
static void notify(struct wi_thread *t, struct wi_timers *set)
{
    struct wi_worker *w = wi_load_relaxed(&t->worker);
    if (w == set->worker)
        wi_or_relaxed(&w->attention, (uint32_t)WI_ATTEND_TIMER); /* before it runs anything else */
    else
        wi_guard_timers();
}

void wi_timeout_start(struct wi_thread *t, struct wi_timeout *timeout, struct wi_goroutine *g, uint64_t ticket,
                      int64_t deadline_ns)
{
    int64_t now_ns = wi_os_now_ns();
    struct wi_timers *set = lock_timers(t);
    memset(&timeout->timer, 0, sizeof timeout->timer);
    timeout->owner = set;
    timeout->g = g;
    timeout->ticket = ticket;
    timeout->fired = false;
    bool next = add(set, &timeout->timer, deadline_ns, now_ns);
    wi_unlock(&set->lock);
    if (next)
        notify(t, set);
}

void wi_timeout_stop(struct wi_timeout *timeout)
{
    struct wi_timers *set = timeout->owner;
    wi_lock(&set->lock);
    if (wi_wheel_remove(&set->wheel, &timeout->timer))
        publish_next(set);
    wi_unlock(&set->lock);
}

void wi_timers_run(struct wi_thread *t, struct wi_worker *w, int64_t now_ns)
{
    struct wi_timers *set = &timers[w->number];
    for (bool more = true; more;) {
        struct wi_goroutine *list = NULL, **end = &list;
        struct wi_goroutine *shared[BATCH];
        unsigned n = 0, n_shared = 0;
        wi_lock(&set->lock);
        struct wi_timer *timer = NULL;
        while (n < BATCH && (timer = wi_wheel_expire(&set->wheel, now_ns))) {
            struct wi_timeout *timeout = (struct wi_timeout *)timer;
            struct wi_goroutine *g = timeout->g;
            n++;
            if (timeout->ticket == 0) { /* a sleeper, at rest: nobody else can end its wait */
                *end = g;
                end = &g->next;
            } else if (wi_wait_claim(g, timeout->ticket)) {
                timeout->fired = true;
                shared[n_shared++] = g;
            }
        }
        *end = NULL;
        publish_next(set);
        wi_unlock(&set->lock);
        if (list)
            wi_ready_list(t, list);
        for (unsigned i = 0; i < n_shared; i++)
            wi_wait_complete(t, shared[i], 1); /* any ticket but 0: it is a shared wait */
        more = timer != NULL;
    }
}

int64_t wi_deadline_ns(int64_t ns)
{
    int64_t now_ns = wi_os_now_ns();
    return ns > INT64_MAX - now_ns ? INT64_MAX : now_ns + ns;
}

/* ---- sleep ---- */

static const struct wi_wait_kind sleeps = {.text = "sleep", .timed = true};

void wi_sleep_until(struct wi_thread *t, int64_t deadline_ns)
{
    struct wi_goroutine *g = wi_waiting(t);
    wi_wait_on(t, g, &sleeps, NULL);
    if (wi_waits_as_thread(t)) {
        if (!wi_park_thread(t, wi_wait_commit_forever, NULL, deadline_ns))
            wi_goroutine_set_state(g, WI_RUNNING);
        return;
    }
    struct wi_timeout timeout = {.g = g};
    int64_t now_ns = wi_os_now_ns();
    struct wi_timers *set = lock_timers(t);
    timeout.owner = set;
    if (add(set, &timeout.timer, deadline_ns, now_ns)) /* before the unlock: by then we may run elsewhere */
        notify(t, set);
    wi_park(t, wi_wait_commit_unlock, &set->lock);
}

int weft_sleep(int64_t ns)
{
    if (ns <= 0)
        return 0;
    struct wi_thread *t = wi_enter_blocking();
    if (!t)
        return -EDEADLK;
    wi_sleep_until(t, wi_deadline_ns(ns));
    wi_leave(wi_self());
    return 0;
}

int64_t weft_now(void)
{
    return wi_os_now_ns();
}
