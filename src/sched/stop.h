/* stop.h — leaving one goroutine's stack for the next one's: what park.c is made of, inlined where a wait is frequent.
   Files that include it switch stacks, and keep no static variables whose address nobody takes (arch/x86_64/switch.h). */
#ifndef WI_STOP_H
#define WI_STOP_H

#include "sched/enter.h"
#include "sched/hooks.h"
#include "sched/waiter.h"

/* A goroutine with one of these does not stop by wi_stop, or its context may end its wait. */
#define WI_G_STOPS_SLOWLY (WI_G_THREAD | WI_G_PINNED | WI_G_BLOCKER | WI_G_MEMBER)

/* The pick by which a worker looks further than its `next`; NULL: go to the scheduler. */
struct wi_goroutine *wi_pick_slow(struct wi_worker *w, uint32_t tick);
/* Gives a fresh goroutine its stack; where to switch to. NULL when none is at hand (or to be had, with may_call_system). */
void *wi_context_of_fresh(struct wi_thread *t, struct wi_goroutine *g, bool may_call_system);
/* C++ keeps the exceptions being handled in thread-local storage; they follow the goroutine. Either may be NULL. */
void wi_swap_exceptions(struct wi_thread *t, struct wi_goroutine *from, struct wi_goroutine *to);

/* The successor of a goroutine that stops on w; NULL: go to the scheduler. */
static inline __attribute__((always_inline)) struct wi_goroutine *wi_pick(struct wi_worker *w)
{
    uint32_t tick = wi_load_relaxed(&w->runq.tick) + 1;
    struct wi_goroutine *g = wi_load_relaxed(&w->runq.next);
    wi_store_relaxed(&w->runq.tick, tick);
    if (WI_UNLIKELY(!g || tick % WI_RUNQ_LOOK == 0 || wi_load_relaxed(&w->attention) != 0))
        return wi_pick_slow(w, tick);
    wi_store_relaxed(&w->runq.next, NULL);
    return g;
}

/* The commit step of whoever was left. Only a wait makes a goroutine PARKED: reports must not see one that yields or ends as
   one that waits. */
static inline __attribute__((always_inline)) void wi_commit_left(struct wi_thread *t)
{
    struct wi_goroutine *g = t->left;
    if (!g)
        return;
    if (WI_UNLIKELY(t->commit != wi_wait_commit_unlock)) {
        wi_commit(t);
        return;
    }
    t->left = NULL;
    wi_perturb();
    wi_goroutine_set_state(g, WI_PARKED);
    wi_unlock(t->commit_argument);
}

/* What sanitizers know of a goroutine's stack. */
static inline struct wi_sanitizer_side *wi_side_of(struct wi_goroutine *g)
{
#if defined(WI_SANITIZER_ASAN) || defined(WI_SANITIZER_TSAN)
    return &wi_load_relaxed(&g->stack)->side;
#else
    (void)g;
    return NULL;
#endif
}

/* The first thing on the stack that was switched to. */
static inline __attribute__((always_inline)) void wi_arrived(struct wi_sanitizer_side *self)
{
#if defined(WI_SANITIZER_ASAN) || defined(WI_SANITIZER_TSAN)
    struct wi_thread *t = wi_self();
    wi_sanitizer_after_switch(self, t->left ? wi_side_of(t->left) : &t->side);
#endif
    (void)self;
}

/* Leaves g, the current goroutine, for next, or for the scheduler when next is NULL or has no stack at hand. Its commit step
   is in t. Comes back when g is run again, perhaps on another thread; that one's last commit step is then due. */
static inline __attribute__((always_inline)) void wi_leave_for(struct wi_thread *t, struct wi_goroutine *g,
                                                               struct wi_goroutine *next)
{
    void *sp;
    if (WI_LIKELY(next != NULL)) {
        sp = next->sp;
        if (WI_UNLIKELY(!wi_load_relaxed(&next->stack)) && !(sp = wi_context_of_fresh(t, next, false))) {
            t->stackless = next;
            next = NULL;
        }
    }
    t->left = g;
    if (WI_UNLIKELY(t->exceptions != NULL))
        wi_swap_exceptions(t, g, next);
    t->current = next;
    if (WI_LIKELY(next != NULL)) {
        wi_goroutine_set_state(next, WI_RUNNING);
        wi_sanitizer_before_switch(wi_side_of(g), wi_side_of(next), false);
    } else {
        sp = t->sched_sp;
        wi_sanitizer_before_switch(wi_side_of(g), &t->side, false);
    }
    wi_switch(&g->sp, sp);
    wi_arrived(wi_side_of(g));
}

/* Checked builds: whether the goroutine that is about to park has locked a pthread mutex on this thread. */
static inline void wi_check_mutexes(struct wi_thread *t)
{
#ifdef WEFT_CHECKED
    if (WI_UNLIKELY(t->mutexes_held != 0))
        wi_hooks.parks_with_mutex(t);
#endif
    (void)t;
}

/* An exclusive wait (waiter.h) of a goroutine without WI_G_STOPS_SLOWLY, on worker w: as wi_park. */
static inline __attribute__((always_inline)) void wi_stop(struct wi_thread *t, struct wi_worker *w, struct wi_goroutine *g,
                                                          wi_commit_fn publish, void *argument)
{
    WI_CHECK(t->current == g && t->pins == 0 && !(g->flags & WI_G_STOPS_SLOWLY));
    wi_check_mutexes(t);
    struct wi_goroutine *next = wi_pick(w);
    t->commit = publish;
    t->commit_argument = argument;
    wi_leave_for(t, g, next);
    wi_commit_left(wi_self());
}

#endif
