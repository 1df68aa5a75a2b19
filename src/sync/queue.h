/* queue.h — queues of waiters in users' objects: first in, first out, and whoever gives up leaves from the middle at once.

   A queue is two pointers of the object, NULL when nobody waits: an object that is not waited on may be copied, cleared and
   moved. A waiter is a struct on the waiting stack. Head and waiters form a ring, in which the two pointers of the head are
   in the place of a waiter's, so that a waiter leaves without knowing where its head is: weft_cond_broadcast moves all
   waiters to a head of its own by four stores. The guard of the object (guard.h) covers both.

   The one that takes a waiter off claims its wait (waiter.h); when time or the waiter's context has, the next one has its
   turn. A waiter that nobody claimed for the object takes itself off, if it is still there. */
#ifndef WI_QUEUE_H
#define WI_QUEUE_H

#include "sched/waiter.h"
#include "sync/guard.h"

/* Also what the two pointers of a user's object are looked at as. Elsewhere than there next is read under the guard only. */
struct __attribute__((may_alias)) wi_link {
    _Atomic(struct wi_link *) next; /* [stores: guard] of a waiter in no queue: NULL */
    struct wi_link *previous;       /* [guard] */
};

struct wi_queued {
    struct wi_link link;    /* first */
    struct wi_queued *then; /* [who claimed it] the next of those claimed with it */
    struct wi_goroutine *g; /* [const while queued] */
    uint64_t ticket;        /* [const while queued] of the wait, see waiter.h */
};

/* The queue that begins at `pointers`, void *first, *last. */
static inline struct wi_link *wi_queue_at(void *pointers)
{
    return pointers;
}

/* Somebody waits. Without the guard: somebody did whose queueing happened before. */
static inline bool wi_queue_used(struct wi_link *head)
{
    return wi_load_relaxed(&head->next) != NULL;
}

static inline struct wi_queued *wi_queue_first(struct wi_link *head)
{
    return (struct wi_queued *)wi_load_relaxed(&head->next);
}

static inline void wi_queue_push(struct wi_link *head, struct wi_queued *w)
{
    struct wi_link *last = head->previous ? head->previous : head;
    WI_CHECK((head->previous != NULL) == wi_queue_used(head));
    wi_store_relaxed(&w->link.next, head);
    w->link.previous = last;
    wi_store_relaxed(&last->next, &w->link);
    head->previous = &w->link;
}

static inline bool wi_queue_has(struct wi_queued *w)
{
    return wi_load_relaxed(&w->link.next) != NULL;
}

static inline void wi_queue_remove(struct wi_queued *w)
{
    struct wi_link *next = wi_load_relaxed(&w->link.next), *previous = w->link.previous;
    WI_CHECK(next->previous == &w->link && wi_load_relaxed(&previous->next) == &w->link);
    bool only = next == previous; /* both are the head then */
    wi_store_relaxed(&previous->next, only ? NULL : next);
    next->previous = only ? NULL : previous;
    wi_store_relaxed(&w->link.next, NULL);
}

/* Moves all of a queue to another, empty one. */
static inline void wi_queue_move(struct wi_link *from, struct wi_link *to)
{
    struct wi_link *first = wi_load_relaxed(&from->next), *last = from->previous;
    if (!first)
        return;
    wi_store_relaxed(&to->next, first);
    to->previous = last;
    first->previous = to;
    wi_store_relaxed(&last->next, to);
    wi_store_relaxed(&from->next, NULL);
    from->previous = NULL;
}

/* Takes waiters off, of those whose wait can still be ended the first n. They are claimed: to be completed in this order,
   after the guard was unlocked. */
static inline struct wi_queued *wi_queue_claim(struct wi_link *head, unsigned n)
{
    struct wi_queued *list = NULL, **end = &list;
    for (struct wi_queued *w; n && (w = wi_queue_first(head));) {
        wi_queue_remove(w);
        if (!wi_wait_claim(w->g, w->ticket))
            continue;
        *end = w;
        end = &w->then;
        n--;
    }
    *end = NULL;
    return list;
}

/* Lets the claimed ones go, in this order. No lock is held. */
static inline void wi_queue_complete(struct wi_thread *t, struct wi_queued *list)
{
    if (!list)
        return;
    if (!list->then) {
        wi_wait_complete(t, list->g, list->ticket);
        return;
    }
    struct wi_goroutine *ready = NULL, **end = &ready;
    for (struct wi_queued *next; list; list = next) {
        struct wi_goroutine *g = list->g;
        next = list->then;
        if (!wi_wait_done(g, list->ticket))
            continue;
        *end = g;
        end = &g->next;
    }
    *end = NULL;
    if (ready)
        wi_ready_list(t, ready);
}

#endif
