/* cancel.h — how a context that ends reaches the goroutines that run in it. What else a context is, ctx/ knows.

   A goroutine (or foreign thread) runs in the context that its *member* names: a struct on its stack, linked in the list of
   the context's canceller from when the goroutine starts or enters the context until it leaves, never per wait. Members nest
   (weft_scoped_use); only the innermost, run.member, counts, and it changes only between waits.

   No wait that its context may end outlives the context:

     waiter                                 canceller
       open the wait (CANCELLABLE)            store ended
       (light barrier)                        heavy barrier
       load ended: give up                    for each member: an open cancellable wait, and the member is its goroutine's
       queue, park                              innermost: claim it, complete it

   Either the waiter sees ended or the canceller sees the open wait. The canceller touches nothing of the waiter but its
   record, which is type-stable, and its member, which cannot leave the list while the list's lock is held. (A foreign thread
   may be in a scope still when the runtime that its record was of is no more: then the member alone.) It reads the wait
   word, then run.member, then claims by the word it read: had the goroutine gone on to another wait, in another context, the
   claim fails. The loads cannot be taken the other way round: the word is loaded with acquire, the member stored before the
   wait opened.

   A member that the canceller has looked at is off the list for good: its goroutine sees ended from now on, and leaves
   without the lock. And who enters a context that has ended gets into no list, so that the canceller comes to an end: it
   looks at ended under the list's lock, which the canceller takes after it has stored ended. For the same reason no barrier
   is needed where the lists are empty by then. */
#ifndef WI_CANCEL_H
#define WI_CANCEL_H

#include "sched/waiter.h"

struct wi_member {
    struct wi_member *next, **link; /* [list's lock] while linked */
    struct wi_members *list;        /* [const while linked] whose lock guards next and link */
    struct wi_goroutine *g;         /* [const] */
    struct wi_member *outer;        /* [g] what to return to */
    struct wi_context *context;     /* [g] */
    uint32_t lifetime;              /* [const] the runtime whose record g is, see wi_lifetime */
    bool shielded;                  /* [const] the context's end does not end waits */
    _Atomic bool linked;            /* [stores: list's lock] false: in no list, the canceller is done with it */
};

/* Aligned, so that workers that join and leave do not share a line. */
struct wi_members {
    _Alignas(WI_CACHE_LINE) struct wi_member *first; /* [lock] */
    struct wi_lock lock;
    uint32_t count; /* [lock] */
};

#define WI_CANCEL_SHARDS 16U
#define WI_CANCEL_SHARD_AT 64U /* members from which on the lists are one per worker */

/* In type-stable memory. Zeroed, it is ready. */
struct wi_canceller {
    _Atomic int ended;                   /* [stores: who ends it, once] 0, -ECANCELED or -ETIMEDOUT */
    _Atomic(struct wi_members *) shards; /* [stores: members.lock] WI_CANCEL_SHARDS of them, or NULL */
    struct wi_members members;
};

/* What the scheduler knows of a context; the first part of struct weft_ctx. */
struct wi_context {
    _Atomic uint32_t references;    /* [atomic] */
    struct wi_canceller *canceller; /* [const] its own or its nearest ancestor's; NULL: it never ends */
};

extern WI_HIDDEN struct wi_context wi_background; /* the context that never ends; nobody counts its references */

static inline void wi_context_ref(struct wi_context *context)
{
    if (context != &wi_background)
        wi_add_relaxed(&context->references, 1);
}
void wi_context_unref(struct wi_context *context);

/* Enters context as the innermost of the calling goroutine or thread; member is the caller's memory until wi_cancel_leave.
   The caller holds a reference to context meanwhile. Both are called inside weft; but t is NULL when a thread leaves what it
   entered before the runtime was shut down. */
void wi_cancel_enter(struct wi_thread *t, struct wi_member *member, struct wi_context *context, bool shielded);
void wi_cancel_leave(struct wi_thread *t, struct wi_member *member);

/* Leaves every context that the calling goroutine is in, the last thing it does, and gives up its reference to the first. */
void wi_cancel_leave_all(struct wi_thread *t, struct wi_goroutine *g);

/* Ending, in two steps, so that many cancellers share one barrier, which costs as much as the rest. Who does it holds a
   reference to the context, and no lock. The first step, to be taken once: `ended`, which is set to reason, is what later
   waits see. True: there are members; then, after wi_os_barrier_heavy, comes the second, which ends all cancellable waits
   that the members are in. It is linear in the members and blocks nobody: the goroutines are queued where every worker finds
   them. breathe: the caller is in a public call and may let the monitor have the worker now and then; not so who runs
   timers. */
bool wi_cancel_begin(struct wi_canceller *canceller, int reason);
void wi_cancel_sweep(struct wi_thread *t, struct wi_canceller *canceller, bool breathe);
/* In a long loop of a public call: the monitor may take the worker here. */
static inline void wi_breathe(struct wi_thread *t)
{
    wi_leave(t);
    wi_enter_or_die();
}
/* Gives the canceller's memory back, when no member is left. */
void wi_cancel_destroy(struct wi_canceller *canceller);
void wi_cancel_slabs_forget(void);

static inline struct wi_canceller *wi_canceller_of(const struct wi_member *member)
{
    return member && !member->shielded ? member->context->canceller : NULL;
}

/* What g runs in: its innermost member, or NULL. For g itself. */
static inline struct wi_member *wi_member_of(struct wi_goroutine *g)
{
    return WI_LIKELY(!(g->flags & WI_G_MEMBER)) ? NULL : wi_load_relaxed(&g->run.member);
}

/* The canceller that may end g's waits, or NULL. For g itself. */
static inline struct wi_canceller *wi_cancel_of(struct wi_goroutine *g)
{
    return wi_canceller_of(wi_member_of(g));
}

/* Opens a shared wait of g, the caller, that its context may end. False: the context has ended; the caller must queue
   nothing, unlock, and return wi_wait_refused. */
static inline bool wi_wait_begin(struct wi_goroutine *g, uint64_t *ticket)
{
    struct wi_canceller *canceller = wi_cancel_of(g);
    *ticket = wi_wait_open(g, canceller ? WI_WAIT_CANCELLABLE : 0);
    if (WI_LIKELY(!canceller))
        return true;
    wi_perturb();
    wi_os_barrier_light();                                     /* pairs with the heavy barrier before wi_cancel_sweep */
    return WI_LIKELY(wi_load_acquire(&canceller->ended) == 0); /* the same */
}

/* The wait that wi_wait_begin refused, or that a context ended, is over: -ECANCELED or -ETIMEDOUT. Gives up the slice, so
   that a loop of refused waits starves nobody. May move the goroutine. No lock is held. */
int wi_wait_refused(struct wi_thread *t, struct wi_goroutine *g, uint64_t ticket);
/* Why the context that g runs in ended; the caller knows that it did. */
static inline int wi_cancel_reason(struct wi_goroutine *g)
{
    return wi_load_acquire(&wi_cancel_of(g)->ended); /* pairs with the store in wi_cancel_begin */
}

#endif
