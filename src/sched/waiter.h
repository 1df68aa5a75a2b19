/* waiter.h — the wait word: who may end a wait that more than one could end.

   A wait on one object with one way to end needs no word: the waiter is found under the object's lock, which is held until
   the waiter's stack is at rest (park.c), and whoever takes it off the queue has it alone. That is the *exclusive* mode; its
   ticket is 0.

   A wait that several may end (select, a timeout, an ended context) is *shared*. Its word, in the type-stable record:

     sequence << 8 | OPEN                  may be claimed; with CANCELLABLE also by the context that the waiter runs in
     sequence << 8 | CLAIMED               one completer has it: it copies, unlinks, unlocks ...
     sequence << 8 | CLAIMED | DONE        ... and touches nothing more
     ... | PARKED                          the waiter's stack is at rest
     ... | BY_TIME, BY_CONTEXT             who claimed it; neither: whoever the waiter waited for

   The compare-and-swap to CLAIMED names the sequence, so a late completer never hits a later wait. Then DONE and PARKED are
   set by one fetch-or each, and whoever comes second makes the waiter ready:

     completer: old = or(DONE);   old & PARKED: ready it
     commit:    old = or(PARKED); old & DONE:   ready it

   DONE names no sequence: a waiter that was claimed must come through the commit step before it opens another wait. */
#ifndef WI_WAITER_H
#define WI_WAITER_H

#include "base/perturb.h"
#include "sched/enter.h"

#define WI_WAIT_OPEN UINT64_C(1)
#define WI_WAIT_CLAIMED UINT64_C(2)
#define WI_WAIT_DONE UINT64_C(4)
#define WI_WAIT_PARKED UINT64_C(8)
#define WI_WAIT_CANCELLABLE UINT64_C(16)
#define WI_WAIT_BY_TIME UINT64_C(32)
#define WI_WAIT_BY_CONTEXT UINT64_C(64)
#define WI_WAIT_SEQUENCE_SHIFT 8

/* Opens a shared wait, before it is linked anywhere. Returns its ticket. cancellable: 0 or WI_WAIT_CANCELLABLE. */
static inline uint64_t wi_wait_open(struct wi_goroutine *g, uint64_t cancellable)
{
    uint64_t sequence = (wi_load_relaxed(&g->wait) >> WI_WAIT_SEQUENCE_SHIFT) + 1;
    uint64_t ticket = sequence << WI_WAIT_SEQUENCE_SHIFT | WI_WAIT_OPEN | cancellable;
    wi_store_release(&g->wait, ticket); /* pairs with the claim */
    return ticket;
}

/* True when the caller may end the wait; it then must. by: 0, WI_WAIT_BY_TIME or WI_WAIT_BY_CONTEXT. */
static inline bool wi_wait_claim_by(struct wi_goroutine *g, uint64_t ticket, uint64_t by)
{
    wi_perturb();
    uint64_t word = ticket;
    while (!wi_cas_acq_rel(&g->wait, &word, (word & ~WI_WAIT_OPEN) | WI_WAIT_CLAIMED | by))
        if ((word & ~WI_WAIT_PARKED) != ticket)
            return false;
    return true;
}

static inline bool wi_wait_claim(struct wi_goroutine *g, uint64_t ticket)
{
    return ticket == 0 || wi_wait_claim_by(g, ticket, 0);
}

/* The same for the shared wait that g is in now, whichever: the caller holds a lock that g takes before it leaves it. */
static inline bool wi_wait_claim_present(struct wi_goroutine *g)
{
    uint64_t word = wi_load_relaxed(&g->wait);
    return (word & WI_WAIT_OPEN) && wi_wait_claim_by(g, word & ~WI_WAIT_PARKED, 0);
}

/* For the waiter itself, when it runs again after its shared wait: who ended it. */
static inline uint64_t wi_wait_ended_by(struct wi_goroutine *g)
{
    return wi_load_relaxed(&g->wait) & (WI_WAIT_BY_TIME | WI_WAIT_BY_CONTEXT);
}

/* The completer's last step. True: the waiter is at rest, and the caller must ready it. False: nothing of it may be touched
   any more, its commit step sees DONE. */
static inline bool wi_wait_done(struct wi_goroutine *g, uint64_t ticket)
{
    wi_perturb();
    return ticket == 0 || (wi_or_acq_rel(&g->wait, WI_WAIT_DONE) & WI_WAIT_PARKED) != 0; /* pairs with wi_wait_commit */
}

/* The same, and readies it. */
static inline void wi_wait_complete(struct wi_thread *t, struct wi_goroutine *g, uint64_t ticket)
{
    if (wi_wait_done(g, ticket))
        wi_ready(t, g);
}

/* The commit step of a shared wait. */
static inline bool wi_wait_commit(struct wi_thread *t, struct wi_goroutine *g, void *unused)
{
    (void)t, (void)unused;
    wi_perturb();
    return (wi_or_acq_rel(&g->wait, WI_WAIT_PARKED) & WI_WAIT_DONE) == 0; /* pairs with wi_wait_done */
}

/* The commit step of an exclusive wait: one function, because stop.h compares with its address. */
bool wi_wait_commit_unlock(struct wi_thread *t, struct wi_goroutine *g, void *lock);

/* The commit step of a wait that nothing ends. */
static inline bool wi_wait_commit_forever(struct wi_thread *t, struct wi_goroutine *g, void *unused)
{
    (void)t, (void)g, (void)unused;
    return true;
}

#endif
