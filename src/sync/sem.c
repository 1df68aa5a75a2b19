/* sem.c — the weighted semaphore: first come, first served, as golang.org/x/sync/semaphore.

     state = units used << 1 | WAITERS
     0 <= used <= size;  WAITERS: the queue is not empty, for whoever does not hold the guard

   Without WAITERS units are taken and given back by one compare-and-swap. With it, nobody but the holder of the guard
   changes the word: newcomers queue, and who gives back takes the guard to see whom that serves. So the holder of the guard
   clears WAITERS, or shares out units, with plain stores.

   Whoever frees units or leaves the queue serves the first waiters as far as the units go (share_out): also a waiter that
   gave up, for it may have wanted much and kept out those behind it that want little. A waiter that time or its context has
   ended but that has not left yet keeps its place; when it runs it leaves, and shares out.

   The last access to the semaphore is the compare-and-swap, or the store at the end of share_out: what comes after it
   touches the guard, which is not in the object, and the waiters. A waiter that was served touches nothing any more. */
#include "sched/enter.h"
#include "sync/queue.h"
#include "timer/timeout.h"
#include "weft/sync.h"

#define WAITERS UINT64_C(1)

typedef _Atomic uint64_t word;

struct waiter {
    struct wi_queued queued; /* first */
    int64_t n;               /* [const while queued] units wanted */
};

static const struct wi_wait_kind waits = {.text = "semaphore"};
static const struct wi_wait_kind waits_or_time = {.text = "semaphore with timeout", .timed = true};

static word *state_of(weft_sem *s)
{
    return (word *)&s->state;
}

static inline uint64_t units(int64_t n)
{
    return (uint64_t)n << 1;
}

static inline bool has(const weft_sem *s, uint64_t state, int64_t n)
{
    return n <= s->size - (int64_t)(state >> 1);
}

static inline void check_units(int64_t n)
{
    if (WI_UNLIKELY(n < 0))
        wi_fatal("semaphore: negative number of units");
}

/* ---- acquire ---- */

/* Takes n units if they are there and nobody waits. */
static inline bool take(weft_sem *s, int64_t n)
{
    uint64_t state = wi_load_relaxed(state_of(s));
    while (!(state & WAITERS) && has(s, state, n))
        if (WI_LIKELY(wi_cas_acquire(state_of(s), &state, state + units(n)))) /* pairs with give and share_out */
            return true;
    return false;
}

/* Takes n units after all: true. Else WAITERS is set. The guard is held. */
static bool take_or_mark(weft_sem *s, int64_t n)
{
    uint64_t state = wi_load_relaxed(state_of(s));
    while (!(state & WAITERS)) {
        bool enough = has(s, state, n);
        wi_perturb();
        if (wi_cas_acquire(state_of(s), &state, enough ? state + units(n) : state | WAITERS)) /* likewise */
            return enough;
    }
    return false;
}

/* Serves the first waiters as far as the units go; state is what is to be known of them. They are claimed, the caller
   completes them. The guard is held; the semaphore is not touched any more after the store. */
static struct wi_queued *share_out(weft_sem *s, uint64_t state)
{
    struct wi_link *queue = wi_queue_at(&s->first);
    struct wi_queued *served = NULL, **end = &served;
    for (struct wi_queued *w; (w = wi_queue_first(queue)) && has(s, state, ((struct waiter *)w)->n);) {
        wi_queue_remove(w);
        if (!wi_wait_claim(w->g, w->ticket))
            continue; /* time or its context came first: it takes nothing, and finds itself gone from the queue */
        state += units(((struct waiter *)w)->n);
        *end = w;
        end = &w->then;
    }
    *end = NULL;
    wi_perturb();
    wi_store_release(state_of(s), wi_queue_used(queue) ? state : state & ~WAITERS); /* pairs with take */
    return served;
}

/* Waits in the queue; the guard is held and given up. */
static int wait_in_queue(struct wi_thread *t, weft_sem *s, int64_t n, int64_t deadline_ns)
{
    struct wi_lock *guard = wi_guard_of(s);
    struct waiter w = {.queued.g = wi_waiting(t), .n = n};
    struct wi_goroutine *g = w.queued.g;
    bool timed = deadline_ns != INT64_MAX;
    if (WI_LIKELY(!timed && !wi_cancel_of(g))) {
        wi_queue_push(wi_queue_at(&s->first), &w.queued);
        wi_wait_on(t, g, &waits, s);
        wi_park(t, wi_wait_commit_unlock, guard);
        return 0;
    }
    if (!wi_wait_begin(g, &w.queued.ticket)) {
        if (!wi_queue_used(wi_queue_at(&s->first)))
            wi_store_release(state_of(s), wi_load_acquire(state_of(s)) & ~WAITERS); /* as in share_out */
        wi_unlock(guard);
        return wi_wait_refused(t, g, w.queued.ticket);
    }
    wi_queue_push(wi_queue_at(&s->first), &w.queued);
    wi_wait_on(t, g, timed ? &waits_or_time : &waits, s);
    wi_unlock(guard);
    uint64_t by = wi_wait_shared(t, g, w.queued.ticket, deadline_ns);
    if (by == 0)
        return 0;
    struct wi_queued *served = NULL;
    wi_lock(guard);
    if (wi_queue_has(&w.queued)) {
        wi_queue_remove(&w.queued);
        served = share_out(s, wi_load_acquire(state_of(s))); /* pairs with give */
    }
    wi_unlock(guard);
    wi_queue_complete(wi_self(), served);
    return by == WI_WAIT_BY_TIME ? -ETIMEDOUT : wi_cancel_reason(g);
}

/* More units than there are: nobody behind is kept waiting for that. */
static int wait_for_end(struct wi_thread *t, weft_sem *s, int64_t deadline_ns)
{
    struct wi_goroutine *g = wi_waiting(t);
    uint64_t ticket;
    if (!wi_wait_begin(g, &ticket))
        return wi_wait_refused(t, g, ticket);
    wi_wait_on(t, g, deadline_ns == INT64_MAX ? &waits : &waits_or_time, s);
    return wi_wait_shared(t, g, ticket, deadline_ns) == WI_WAIT_BY_TIME ? -ETIMEDOUT : wi_cancel_reason(g);
}

static __attribute__((noinline)) int acquire_slow(weft_sem *s, int64_t n, int64_t ns)
{
    check_units(n);
    struct wi_thread *t = wi_enter_blocking();
    if (!t)
        return -EDEADLK;
    int result = 0;
    if (ns <= 0) {
        result = take(s, n) ? 0 : -ETIMEDOUT;
        wi_leave(t);
        return result;
    }
    int64_t deadline_ns = wi_deadline_ns(ns);
    if (n > s->size) {
        result = wait_for_end(t, s, deadline_ns);
    } else {
        struct wi_lock *guard = wi_guard_of(s);
        wi_lock(guard);
        if (take_or_mark(s, n))
            wi_unlock(guard);
        else
            result = wait_in_queue(t, s, n, deadline_ns);
    }
    wi_leave(wi_self());
    return result;
}

int weft_sem_acquire_timeout(weft_sem *s, int64_t n, int64_t ns)
{
    if (WI_LIKELY(n >= 0 && take(s, n)))
        return 0;
    return acquire_slow(s, n, ns);
}

int weft_sem_acquire(weft_sem *s, int64_t n)
{
    return weft_sem_acquire_timeout(s, n, INT64_MAX);
}

bool weft_sem_try_acquire(weft_sem *s, int64_t n)
{
    check_units(n);
    return WI_LIKELY(take(s, n)) || wi_try_failed();
}

/* ---- release ---- */

static inline void check_held(uint64_t state, int64_t n)
{
    if (WI_UNLIKELY((int64_t)(state >> 1) < n))
        wi_fatal("semaphore: released more than held");
}

/* Gives n units back unless somebody waits. */
static inline bool give(weft_sem *s, int64_t n)
{
    uint64_t state = wi_load_relaxed(state_of(s));
    while (WI_LIKELY(!(state & WAITERS))) {
        check_held(state, n);
        if (WI_LIKELY(wi_cas_acq_rel(state_of(s), &state, state - units(n)))) /* pairs with take; the last access */
            return true;
    }
    return false;
}

static __attribute__((noinline)) void release_slow(weft_sem *s, int64_t n)
{
    struct wi_thread *t = wi_enter_or_die();
    struct wi_lock *guard = wi_guard_of(s);
    struct wi_queued *served = NULL;
    wi_lock(guard);
    if (!give(s, n)) {                                 /* under the guard WAITERS stays: nobody else changes the word */
        uint64_t state = wi_load_acquire(state_of(s)); /* pairs with give */
        check_held(state, n);
        served = share_out(s, state - units(n));
    }
    wi_unlock(guard);
    wi_queue_complete(t, served);
    wi_leave(t);
}

void weft_sem_release(weft_sem *s, int64_t n)
{
    check_units(n);
    if (WI_UNLIKELY(!give(s, n)))
        release_slow(s, n);
}
