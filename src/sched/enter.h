/* enter.h — going in and out of weft: every public call starts with wi_enter and ends with wi_leave.

   Invariant: a thread touches its worker's data only while its epoch is odd and it has seen claim == OWNED(itself) since the
   epoch became odd. An asker changes the claim, executes a heavy barrier, and takes the worker only if the epoch is even.
   Of the two stores (epoch, claim) one is seen by the other side: the barrier stands in for the fence between our store and
   our load. */
#ifndef WI_ENTER_H
#define WI_ENTER_H

#include "base/perturb.h"
#include "sched/sched.h"
#include <errno.h>

/* The claim is not ours, or attention is asked for. Returns the thread that the caller is on afterwards. */
struct wi_thread *wi_enter_slow(struct wi_thread *t, bool may_move);
/* The thread is new to weft, or is inside already. NULL: refused. */
struct wi_thread *wi_enter_first(struct wi_thread *t);
_Noreturn void wi_enter_refused(void);

/* Whether t has w, and nobody wants anything of it. */
static inline bool wi_has_quietly(struct wi_thread *t, struct wi_worker *w)
{
    return WI_LIKELY(wi_load_acquire(&w->claim) == t->entry && wi_load_relaxed(&w->attention) == 0);
}

static inline struct wi_thread *wi_enter_as(bool may_move)
{
    struct wi_thread *t = wi_self();
    uint32_t epoch;
    if (WI_UNLIKELY(!t || ((epoch = wi_load_relaxed(&t->epoch)) & 1)))
        return wi_enter_first(t);
    wi_store_relaxed(&t->epoch, epoch + 1);
    wi_perturb();
    wi_barrier_compiler(); /* pairs with the heavy barrier in ask, claim.c; where that takes a fence, no claim is `entry` */
    struct wi_worker *w = wi_load_acquire(&t->worker); /* pairs with the release of wi_assign and swap */
    if (WI_LIKELY(w != NULL)) {
        if (!wi_has_quietly(t, w))
            t = wi_enter_slow(t, may_move);
    } else if (WI_UNLIKELY(t->kind == WI_THREAD_RUNTIME)) {
        t = wi_enter_slow(t, may_move);
    }
    return t;
}

/* The way in of fewest instructions, for the most frequent calls. NULL: something is not as usual; the caller is outside, and
   takes one of the ways below. Who gets in has a worker, and light barriers need no fence (see `entry`). */
static inline struct wi_thread *wi_enter_quickly(void)
{
    struct wi_thread *t = wi_self();
    uint32_t epoch;
    if (WI_UNLIKELY(!t || ((epoch = wi_load_relaxed(&t->epoch)) & 1)))
        return NULL;
    wi_store_relaxed(&t->epoch, epoch + 1);
    wi_perturb();
    wi_barrier_compiler();                             /* as in wi_enter_as */
    struct wi_worker *w = wi_load_acquire(&t->worker); /* likewise */
    if (WI_LIKELY(w != NULL) && wi_has_quietly(t, w))
        return t;
    wi_store_release(&t->epoch, epoch + 2); /* as in wi_leave */
    return NULL;
}

/* For calls that never move the goroutine. NULL: refused, the thread is inside already (a signal handler, an interposer). */
static inline struct wi_thread *wi_enter(void)
{
    return wi_enter_as(false);
}

/* For calls documented as blocking: the goroutine may come out on another thread. */
static inline struct wi_thread *wi_enter_blocking(void)
{
    return wi_enter_as(true);
}

/* The same for functions that cannot return an error. */
static inline struct wi_thread *wi_enter_or_die(void)
{
    struct wi_thread *t = wi_enter();
    if (WI_UNLIKELY(!t))
        wi_enter_refused();
    return t;
}

static inline struct wi_thread *wi_enter_blocking_or_die(void)
{
    struct wi_thread *t = wi_enter_blocking();
    if (WI_UNLIKELY(!t))
        wi_enter_refused();
    return t;
}

static inline void wi_leave(struct wi_thread *t);

/* For blocking calls that had no need to wait, and are made outside weft: others have their turn when it is time. */
static inline void wi_attend(void)
{
    struct wi_thread *t = wi_enter_blocking();
    if (WI_LIKELY(t != NULL))
        wi_leave(t);
}

static inline void wi_leave(struct wi_thread *t)
{
    wi_perturb();
    wi_store_release(&t->epoch, wi_load_relaxed(&t->epoch) + 1); /* pairs with the asker's acquire of the epoch */
}

/* wi_alert and wi_leave, for functions without a frame, which end by calling this after wi_enter_quickly. Returns result. */
int wi_alert_slow_and_leave(struct wi_thread *t, int result);
static inline int wi_alert_and_leave(struct wi_thread *t, int result)
{
    wi_perturb();
    wi_barrier_compiler(); /* as in wi_alert */
    if (!wi_alert_is_quiet(wi_load_relaxed(&t->worker), wi_load_relaxed(&wi_sched.alert)))
        return wi_alert_slow_and_leave(t, result);
    wi_leave(t);
    return result;
}

/* The end of a try that failed. A loop of tries must not starve others: this looks at the slice. */
static inline bool wi_try_failed(void)
{
    struct wi_thread *t = wi_enter();
    if (t)
        wi_leave(t);
    return false;
}

#endif
