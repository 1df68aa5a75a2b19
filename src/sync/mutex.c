/* mutex.c — Mutex: barging by default, fair when somebody has waited for 1 ms, as Go's.

   state = who has the mutex, see mutex.h << 32 | flags:
     LOCKED    somebody has the mutex
     QUEUE     somebody works on the queue of waiters; only ever set while LOCKED
     WAITERS   the queue is not empty
     STARVING  a waiter has waited for STARVING_NS: unlock hands the mutex to the first waiter, newcomers queue

   !LOCKED implies !QUEUE, !STARVING and no holder. Only the holder of QUEUE changes WAITERS and STARVING, and while it is
   held nobody else changes the word: lockers need !LOCKED, unlockers that see more than LOCKED need QUEUE. So the holder of
   both LOCKED and QUEUE gives up both with one plain store, its last access to the mutex: after it the mutex may be freed.
   A waiter queues itself in its commit step, when its stack is at rest. */
#include "sync/mutex.h"

#include "sched/enter.h"
#include "sync/line.h"
#include "weft/sync.h"

#include <sched.h>

#define LOCKED WI_MUTEX_LOCKED
#define QUEUE UINT64_C(2)
#define WAITERS UINT64_C(4)
#define STARVING UINT64_C(8)
#define FLAGS UINT64_C(15)
#define STARVING_NS INT64_C(1000000)

typedef _Atomic uint64_t word;

struct waiter {
    struct wi_in_line place; /* [QUEUE] first */
    weft_mutex *mutex;
    int64_t since_ns; /* when it first queued; 0: it has not */
    bool handed;      /* unlock gave it the mutex */
};

const struct wi_wait_kind wi_waits_for_mutex = {.text = "Mutex"};

static word *state_of(weft_mutex *m)
{
    return (word *)&m->state;
}

/* LOCKED, with the caller as the holder. */
static inline uint64_t locked_by_caller(void)
{
    struct wi_thread *t = wi_self();
    uint32_t holder = 0;
    if (WI_LIKELY(t && t->current))
        holder = wi_holder_goroutine(wi_load_relaxed(&t->current->id));
    else if (t)
        holder = wi_holder_thread(wi_load_relaxed(&t->tid));
    return (uint64_t)holder << WI_HOLDER_SHIFT | LOCKED;
}

/* LOCKED, with a waiter as the holder. */
static uint64_t locked_by(struct wi_goroutine *g)
{
    uint32_t holder = g->flags & WI_G_THREAD ? wi_holder_thread(wi_load_relaxed(&g->run.thread->tid))
                                             : wi_holder_goroutine(wi_load_relaxed(&g->id));
    return (uint64_t)holder << WI_HOLDER_SHIFT | LOCKED;
}

static inline bool try_lock(weft_mutex *m)
{
    uint64_t state = 0, locked = locked_by_caller();
    if (WI_LIKELY(wi_cas_acquire(state_of(m), &state, locked))) /* pairs with the releases of unlock */
        return true;
    while (!(state & LOCKED))
        if (wi_cas_acquire(state_of(m), &state, state | locked)) /* likewise */
            return true;
    return false;
}

/* ---- the queue ---- */

/* Sets QUEUE; the state before it. When the mutex is not locked: that state, and nothing is set. */
static uint64_t lock_queue(weft_mutex *m)
{
    uint64_t state = wi_load_relaxed(state_of(m));
    for (unsigned spins = 0;; spins++) {
        if (!(state & LOCKED))
            return state;
        if (!(state & QUEUE) && wi_cas_acquire(state_of(m), &state, state | QUEUE)) /* pairs with the stores that clear it */
            return state;
        if (state & QUEUE) {
            if (spins % 64 == 63)
                sched_yield();
            else
                wi_pause();
            state = wi_load_relaxed(state_of(m));
        }
    }
}

/* ---- lock ---- */

static bool commit_wait(struct wi_thread *t, struct wi_goroutine *g, void *argument)
{
    (void)t, (void)g;
    struct waiter *w = argument;
    weft_mutex *m = w->mutex;
    uint64_t state = lock_queue(m);
    if (!(state & LOCKED))
        return false; /* free again: try anew */
    wi_perturb();
    int64_t now_ns = wi_os_now_ns();
    if (w->since_ns) { /* it was woken and overtaken */
        wi_line_push_first(&m->waiters, &w->place);
        if (now_ns - w->since_ns > STARVING_NS)
            state |= STARVING;
    } else {
        w->since_ns = now_ns;
        wi_line_push_last(&m->waiters, &w->place);
    }
    wi_store_release(state_of(m), state | WAITERS); /* clears QUEUE; pairs with lock_queue */
    return true;
}

static __attribute__((noinline)) void lock_slow(weft_mutex *m)
{
    struct wi_thread *t = wi_enter_blocking_or_die();
    struct waiter w = {.place.g = wi_waiting(t), .mutex = m};
    while (!w.handed && !try_lock(m)) {
        wi_wait_on(t, w.place.g, &wi_waits_for_mutex, m);
        wi_park(t, commit_wait, &w);
        t = wi_self();
    }
    wi_leave(t);
}

void weft_lock(weft_mutex *m)
{
    if (WI_UNLIKELY(!try_lock(m)))
        lock_slow(m);
}

bool weft_try_lock(weft_mutex *m)
{
    return WI_LIKELY(try_lock(m)) || wi_try_failed();
}

/* ---- unlock ---- */

static __attribute__((noinline)) void unlock_slow(weft_mutex *m)
{
    struct wi_thread *t = wi_enter_or_die();
    uint64_t state = lock_queue(m);
    if (!(state & LOCKED))
        wi_fatal("unlock of an unlocked mutex");
    struct waiter *w = NULL;
    uint64_t after = 0;
    if (state & WAITERS) {
        w = (struct waiter *)wi_line_pop(&m->waiters);
        bool starving = (state & STARVING) && wi_os_now_ns() - w->since_ns > STARVING_NS;
        if (starving) {
            w->handed = true;
            w->place.g->run.object = NULL; /* so that no report sees it wait for what it has */
            after = locked_by(w->place.g) | (m->waiters ? STARVING : 0);
        }
        after |= m->waiters ? WAITERS : 0;
    }
    wi_store_release(state_of(m), after); /* pairs with try_lock and lock_queue; the last access */
    if (w)
        wi_ready(t, w->place.g);
    wi_leave(t);
}

void weft_unlock(weft_mutex *m)
{
    uint64_t state = wi_load_relaxed(state_of(m));
    if (WI_UNLIKELY((state & FLAGS) != LOCKED || !atomic_compare_exchange_strong_explicit(
                                                     state_of(m), &state, 0, memory_order_release, memory_order_relaxed)))
        unlock_slow(m); /* the exchange pairs with try_lock */
}
