/* rwmutex.c — RWMutex: any number of readers or one writer, neither kind starved; Go's rules.

     state = flags << 32 | readers
       readers   that have the mutex or wait for it
       BLOCKED   a writer has the mutex or is the next to get it: readers that come now wait
       QUEUED    writers wait in the queue: an unlock goes the slow way

   A reader comes and goes with one addition each; the flags that it sees then tell whether there is more to do. The rest is
   under the object's guard:

     departing   readers that the writer who set BLOCKED still waits for; the last of them hands it the mutex
     passes      readers that a writer's unlock admitted while they were between their addition and the guard
     readers, writers   who waits, first come, first served; while departing is not 0 the first writer is the one that
                        set BLOCKED

   A writer's unlock admits all readers that have counted themselves by then, before the next writer: those that are queued
   are woken, the others find a pass. (Which reader takes a pass does not matter: as many are let in as were counted.) It
   wakes the first writer too, which then competes with whoever runs: were it given the mutex, everybody who came before it
   ran would have to wait, and wait again at the next write, for ever. Only to one that has waited for STARVING_NS is the
   mutex handed over.

   Invariants under the guard: a writer has the mutex == BLOCKED and departing == 0; QUEUED == a writer waits beside the one
   that set BLOCKED; without BLOCKED no reader is queued, and if a writer is (QUEUED), one that was woken is on its way, whose
   unlock, or that of who came before it, wakes the next.
   While BLOCKED is set only the guard's holder lets anybody proceed, so everything else may be touched before that; the
   store that clears BLOCKED is the last access to the mutex, and after it hands it over nobody who was let proceed runs
   before the guard is free.

   Rejected: a Mutex among the writers, as Go has it: a writer's unlock would touch it after readers were let in, who may
   free it. Spinning before a wait: on two workers, with eight goroutines and one write in ten, an operation took five times
   as long, because everybody met everybody else again at once. */
#include "sched/enter.h"
#include "sched/waiter.h"
#include "sync/guard.h"
#include "sync/line.h"
#include "weft/sync.h"

#define READER UINT64_C(1)
#define READERS UINT64_C(0xffffffff)
#define BLOCKED (UINT64_C(1) << 32)
#define QUEUED (UINT64_C(2) << 32)

#define STARVING_NS INT64_C(1000000)

typedef _Atomic uint64_t word;

struct writer {
    struct wi_in_line place; /* [guard] first */
    int64_t since_ns;        /* [const while queued] when it first queued; 0: it has not */
    bool handed;             /* [guard] it has the mutex */
};

static const struct wi_wait_kind waits_to_read = {.text = "RWMutex (read)"};
static const struct wi_wait_kind waits_to_write = {.text = "RWMutex (write)"};

static word *state_of(weft_rwmutex *m)
{
    return (word *)&m->state;
}

/* ---- readers ---- */

static __attribute__((noinline)) void rlock_slow(weft_rwmutex *m)
{
    struct wi_thread *t = wi_enter_blocking_or_die();
    struct wi_lock *guard = wi_guard_of(m);
    wi_lock(guard);
    if (m->passes) { /* the writer that we met has unlocked meanwhile, or another reader's pass is ours and ours is its */
        m->passes--;
        wi_unlock(guard);
        wi_leave(t);
        return;
    }
    struct wi_in_line w = {.g = wi_waiting(t)};
    wi_line_push_last(&m->readers, &w);
    wi_wait_on(t, w.g, &waits_to_read, m);
    wi_park(t, wi_wait_commit_unlock, guard);
    wi_leave(wi_self());
}

void weft_rlock(weft_rwmutex *m)
{
    uint64_t before = wi_add_acq_rel(state_of(m), READER); /* pairs with the releases of wunlock */
    wi_perturb();
    if (WI_UNLIKELY(before & BLOCKED))
        rlock_slow(m);
}

bool weft_try_rlock(weft_rwmutex *m)
{
    uint64_t state = wi_load_relaxed(state_of(m));
    while (!(state & BLOCKED))
        if (wi_cas_acquire(state_of(m), &state, state + READER)) /* pairs with the releases of wunlock */
            return true;
    return wi_try_failed();
}

static struct writer *pop_writer(weft_rwmutex *m)
{
    return (struct writer *)wi_line_pop(&m->writers);
}

static __attribute__((noinline)) void runlock_slow(weft_rwmutex *m, uint64_t before)
{
    if ((before & READERS) == 0)
        wi_fatal("read unlock of an RWMutex that no reader has");
    struct wi_thread *t = wi_enter_or_die();
    struct wi_lock *guard = wi_guard_of(m);
    wi_lock(guard);
    if (m->departing == 0) {
        wi_unlock(guard);
        wi_fatal("read unlock of an RWMutex that no reader has");
    }
    struct writer *writer = --m->departing == 0 ? pop_writer(m) : NULL; /* it has BLOCKED already */
    if (writer)
        writer->handed = true;
    wi_unlock(guard);
    if (writer)
        wi_ready(t, writer->place.g);
    wi_leave(t);
}

void weft_runlock(weft_rwmutex *m)
{
    /* Pairs with the acquires of wlock; without BLOCKED the last access. */
    uint64_t before = wi_sub_acq_rel(state_of(m), READER);
    wi_perturb();
    if (WI_UNLIKELY((before & BLOCKED) || (before & READERS) == 0))
        runlock_slow(m, before);
}

/* ---- writers ---- */

static inline bool try_wlock(weft_rwmutex *m)
{
    uint64_t state = 0;
    if (WI_LIKELY(wi_cas_acquire(state_of(m), &state, BLOCKED))) /* pairs with the releases of runlock and wunlock */
        return true;
    while (!(state & (BLOCKED | READERS)))
        if (wi_cas_acquire(state_of(m), &state, state | BLOCKED)) /* likewise */
            return true;
    return false;
}

/* Sets BLOCKED or queues the writer, or both. True: it has the mutex. False: it is queued, and must park. The guard is
   held. */
static bool claim_or_queue(weft_rwmutex *m, struct writer *w)
{
    uint64_t state = wi_load_relaxed(state_of(m));
    while (!wi_cas_acq_rel(state_of(m), &state, state | (state & BLOCKED ? QUEUED : BLOCKED))) /* pairs as in try_wlock */
        wi_perturb();
    bool woken = w->since_ns != 0; /* and overtaken */
    if (!woken)
        w->since_ns = wi_os_now_ns();
    if (!(state & BLOCKED)) {
        m->departing = (uint32_t)(state & READERS);
        if (m->departing == 0)
            return true;
        wi_line_push_first(&m->writers, &w->place); /* the last of the readers looks there */
    } else if (woken && m->departing == 0) {
        wi_line_push_first(&m->writers, &w->place);
    } else {
        wi_line_push_last(&m->writers, &w->place);
    }
    return false;
}

static __attribute__((noinline)) void wlock_slow(weft_rwmutex *m)
{
    struct wi_thread *t = wi_enter_blocking_or_die();
    struct wi_lock *guard = wi_guard_of(m);
    struct writer w = {.place.g = wi_waiting(t)};
    while (!w.handed) {
        wi_lock(guard);
        if (claim_or_queue(m, &w)) {
            wi_unlock(guard);
            break;
        }
        wi_wait_on(t, w.place.g, &waits_to_write, m);
        wi_park(t, wi_wait_commit_unlock, guard);
        t = wi_self();
    }
    wi_leave(t);
}

void weft_wlock(weft_rwmutex *m)
{
    if (WI_UNLIKELY(!try_wlock(m)))
        wlock_slow(m);
}

bool weft_try_wlock(weft_rwmutex *m)
{
    return WI_LIKELY(try_wlock(m)) || wi_try_failed();
}

/* Admits all readers that are counted, queued of whom are in the queue that the caller has taken. Returns the writer to wake,
   if any: one that has the mutex now, or one that is to compete for it. The guard is held. */
static struct writer *hand_over(weft_rwmutex *m, uint32_t queued)
{
    struct writer *writer = (struct writer *)m->writers;
    bool starving = writer && wi_os_now_ns() - writer->since_ns > STARVING_NS;
    uint64_t flags = writer && writer->place.next ? QUEUED : 0;
    uint64_t state = wi_load_relaxed(state_of(m));
    uint32_t counted;
    if (writer && !starving)
        pop_writer(m);
    flags |= starving ? BLOCKED : 0;
    WI_CHECK(m->passes == 0);
    do {
        wi_perturb();
        counted = (uint32_t)(state & READERS);
        m->passes = counted - queued;
        m->departing = starving ? counted : 0;
        /* Pairs with the acquires of rlock and wlock; when no writer waits, the last access. */
    } while (!wi_cas_acq_rel(state_of(m), &state, flags | counted));
    if (!starving)
        return writer;
    if (counted)
        return NULL; /* the last of the readers will see to it */
    writer->handed = true;
    return pop_writer(m);
}

static __attribute__((noinline)) void wunlock_slow(weft_rwmutex *m)
{
    struct wi_thread *t = wi_enter_or_die();
    struct wi_lock *guard = wi_guard_of(m);
    wi_lock(guard);
    if (!(wi_load_relaxed(state_of(m)) & BLOCKED) || m->departing) {
        wi_unlock(guard);
        wi_fatal("write unlock of an RWMutex that no writer has");
    }
    struct wi_goroutine *list = NULL, **end = &list;
    uint32_t queued = 0;
    for (struct wi_in_line *w = m->readers; w; w = w->next, queued++) {
        *end = w->g;
        end = &w->g->next;
    }
    *end = NULL;
    m->readers = NULL;
    struct writer *writer = hand_over(m, queued);
    wi_unlock(guard);
    if (queued == 1)
        wi_ready(t, list);
    else if (queued)
        wi_ready_list(t, list);
    if (writer)
        wi_ready(t, writer->place.g);
    wi_leave(t);
}

void weft_wunlock(weft_rwmutex *m)
{
    uint64_t state = BLOCKED;
    if (WI_UNLIKELY(
            !atomic_compare_exchange_strong_explicit(state_of(m), &state, 0, memory_order_release, memory_order_relaxed)))
        wunlock_slow(m); /* the exchange pairs with the acquires of rlock and wlock */
}
