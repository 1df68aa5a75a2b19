/* home.c — goroutines that stay on their thread although they wait as goroutines do: they go on where they stopped, and
   others run on the thread meanwhile. For code that reads its thread's errno, or other thread-local state, after a call
   that waits, and does not know that it does (libweft_hook).

   Each thread has a queue of those that came home. Nobody else may run them, so they are in no run queue, where they
   would be shared and stolen; the thread must have a worker in time:

     pusher                                   the thread
       push, which is a full barrier            going idle: gives its worker up; heavy barrier;
       it has a worker: set HOME there            somebody home? takes an idle worker again
       it has none: take wi_sched.lock;         picking: HOME is set: takes those that have come, and runs
         idle and a worker is: assign it          them in turn with its queue; then sets HOME if more have

   Either the pusher sees that it has no worker or the thread sees the push. When no worker is idle the monitor asks a
   busy one to lend its own (LEND). A thread that runs a goroutine without a worker comes to its home when that one waits.
   While goroutines stay on it a thread does not end. */
#include "sched/enter.h"

#define FETCHED 64U /* at a time */

/* Lets an idle t that has somebody home run, if a worker is to be had. */
static void give_worker(struct wi_thread *t)
{
    wi_lock(&wi_sched.lock);
    struct wi_worker *w = t->listed ? wi_pop_idle_worker() : NULL;
    if (w)
        wi_unlist(t);
    bool wanted = t->listed;
    wi_unlock(&wi_sched.lock);
    if (w)
        wi_assign(w, t);
    else if (wanted && (wi_load_relaxed(&wi_sched.alert) & WI_ALERT_MONITOR))
        wi_monitor_wake();
}

void wi_home_push(struct wi_goroutine *g)
{
    struct wi_thread *t = g->run.thread;
    wi_goroutine_set_state(g, WI_READY);
    wi_add_relaxed(&wi_sched.n_home, 1);
    wi_inject_push(&t->home, g);
    wi_perturb();
    struct wi_worker *w = wi_load_acquire(&t->worker);
    if (w)
        wi_or_relaxed(&w->attention, (uint32_t)WI_ATTEND_HOME);
    else
        give_worker(t);
}

void wi_home_fetch(struct wi_thread *t)
{
    if (wi_load_relaxed(&t->came_home))
        return;
    struct wi_goroutine *came[FETCHED], *first = NULL;
    unsigned n = wi_inject_take(&t->home, came, FETCHED);
    for (unsigned i = 0; i < n; i++) /* their records are cold; all are fetched at the same time */
        __builtin_prefetch(came[i], 1);
    while (n-- > 0) {
        came[n]->next = first;
        first = came[n];
    }
    wi_store_relaxed(&t->came_home, first);
}

struct wi_goroutine *wi_home_take(struct wi_thread *t)
{
    struct wi_goroutine *g = wi_load_relaxed(&t->came_home);
    if (!g)
        return NULL;
    wi_store_relaxed(&t->came_home, g->next);
    wi_sub_relaxed(&wi_sched.n_home, 1);
    if (g->next)
        wi_prefetch_stack(g->next);
    else if (wi_load_relaxed(&t->home.count)) /* they came while nobody needed to look, or were too many */
        wi_or_relaxed(&wi_load_relaxed(&t->worker)->attention, (uint32_t)WI_ATTEND_HOME);
    return g;
}

bool wi_home_lend(struct wi_thread *t)
{
    struct wi_worker *w = wi_load_relaxed(&t->worker);
    wi_lock(&wi_sched.lock);
    struct wi_thread *other = wi_pop_homesick();
    if (other)
        wi_store_relaxed(&t->worker, NULL);
    wi_unlock(&wi_sched.lock);
    if (other)
        wi_assign(w, other);
    return other != NULL;
}

bool weft_stay_(bool stay)
{
    struct wi_thread *t = wi_enter_or_die();
    struct wi_goroutine *g = t->current;
    bool before = g && (g->flags & WI_G_STAYS);
    if (g && stay && !before) {
        g->flags |= WI_G_STAYS;
        if (!(g->flags & WI_G_PINNED))
            g->run.thread = t;
        t->stays++;
    } else if (g && !stay && before) {
        g->flags &= ~(uint32_t)WI_G_STAYS;
        if (!(g->flags & WI_G_PINNED))
            g->run.thread = NULL;
        t->stays--;
    }
    wi_leave(t);
    return before;
}
