/* chan.h — the channel's struct and its operations under the lock, for chan.c and select.c.

   Invariants, as in Go's chan.c:
     - at least one of receivers and senders is empty, but for a goroutine that waits on one channel with both a send and a
       receive of one select
     - 0 < count: no receiver waits;  count < capacity: no sender waits (unless its wait is claimed by somebody else)
   Records are type-stable: wi_unlock looks at the lock after the channel may have been freed by who it let proceed. */
#ifndef WI_CHAN_H
#define WI_CHAN_H

#include "sched/waiter.h"
#include "weft/chan.h"
#include "weft/select.h"

#include <string.h>

/* One goroutine (or thread) that waits on one channel; on its stack. */
struct wi_waiter {
    struct wi_waiter *next, *previous; /* [chan lock] */
    struct wi_goroutine *g;            /* [const] */
    uint64_t ticket;                   /* [const] of the wait, see waiter.h; 0: exclusive */
    void *value;                       /* [const] where to receive into (may be NULL), or what to send */
    struct wi_waiter **winner;         /* [const] select: set to the waiter whose operation was carried out */
    struct wi_waitq *queue;            /* [chan lock] that it is in, or NULL */
    uint16_t n_twins; /* [const] select: how many of its waiters are on this channel, neighbours in an array; 0: just one */
    uint16_t twin;    /* [const] which of them it is */
    uint16_t index;   /* [const] select: the case */
    bool ok;          /* [who claimed it] the operation succeeded; false: the channel was closed */
};
_Static_assert(sizeof(struct wi_waiter) <= WI_CACHE_LINE, "what a wait fetches");

struct wi_waitq {
    _Atomic(struct wi_waiter *) first; /* [stores: chan lock; loads: all, who may not look behind it] */
    struct wi_waiter *last;            /* [chan lock] */
};

/* Who made the channel, gave it its buffer, and is told when the last reference to it has gone. That may be outside weft;
   nobody waits on the channel then, and it is not the owner's any more: see timer.c. */
struct wi_chan_owner {
    void (*freed)(struct wi_chan_owner *owner);
};

struct weft_chan_core {
    struct wi_waitq receivers; /* [lock] */
    struct wi_waitq senders;   /* [lock] */
    struct wi_lock lock;
    _Atomic uint32_t references;
    _Atomic bool closed;         /* [stores: lock; loads: all] */
    size_t element_size;         /* [const] */
    _Atomic size_t count;        /* [stores: lock; loads: all] elements buffered */
    size_t capacity;             /* [const] */
    size_t head, tail;           /* [lock] index of the oldest, and of the next to come */
    char *buffer;                /* [const; contents: lock] capacity elements */
    struct wi_chan_owner *owner; /* [lock] or NULL, also while the channel is free */
};

static inline struct wi_waiter *wi_waitq_first(struct wi_waitq *q)
{
    return wi_load_relaxed(&q->first);
}

static inline void wi_waitq_push(struct wi_waitq *q, struct wi_waiter *w)
{
    WI_CHECK((wi_waitq_first(q) == NULL) == (q->last == NULL) && (!q->last || (q->last->queue == q && !q->last->next)));
    w->next = NULL;
    w->previous = q->last;
    if (q->last)
        q->last->next = w;
    else
        wi_store_relaxed(&q->first, w);
    q->last = w;
    w->queue = q;
}

static inline void wi_waitq_remove(struct wi_waiter *w)
{
    struct wi_waitq *q = w->queue;
    if (!q)
        return;
    WI_CHECK((w->previous ? w->previous->next : wi_waitq_first(q)) == w && (w->next ? w->next->previous : q->last) == w);
    if (w->previous)
        w->previous->next = w->next;
    else
        wi_store_relaxed(&q->first, w->next);
    *(w->next ? &w->next->previous : &q->last) = w->previous;
    w->queue = NULL;
}

static inline void wi_waitq_take_first(struct wi_waitq *q, struct wi_waiter *first)
{
    WI_CHECK(first->queue == q && (first->next ? first->next->previous : q->last) == first);
    struct wi_waiter *next = first->next;
    wi_store_relaxed(&q->first, next);
    *(next ? &next->previous : &q->last) = NULL;
    first->queue = NULL;
}

/* Takes the first waiter whose wait can still be ended off the queue; it is claimed then, and nothing of its goroutine is
   left in the channel, which may be freed before the goroutine runs. */
static inline struct wi_waiter *wi_waitq_claim(struct wi_waitq *q)
{
    for (struct wi_waiter *w; (w = wi_waitq_first(q)) != NULL;) {
        wi_waitq_take_first(q, w);
        if (WI_LIKELY(w->ticket == 0))
            return w; /* exclusive: it has no twins either */
        if (!wi_wait_claim(w->g, w->ticket))
            continue;
        for (unsigned i = 0; i < w->n_twins; i++)
            wi_waitq_remove(w - w->twin + i);
        return w;
    }
    return NULL;
}

/* Whether elements are of a size for which copying is an instruction; and for those. */
static inline bool wi_chan_is_word(size_t size)
{
    return size == sizeof(uint64_t) || size == sizeof(uint32_t);
}

static inline void wi_chan_copy_word(void *to, const void *from, size_t size)
{
    if (size == sizeof(uint64_t))
        memcpy(to, from, sizeof(uint64_t));
    else
        memcpy(to, from, sizeof(uint32_t));
}

static inline void wi_chan_copy(void *to, const void *from, size_t size)
{
    if (wi_chan_is_word(size))
        wi_chan_copy_word(to, from, size);
    else
        memcpy(to, from, size);
}

/* Whether an operation seems possible: a look without the lock. True may be wrong: what waits there may be claimed. False is
   true of some moment of the call: a channel on which one can receive neither because something is buffered, nor because a
   sender waits, nor because it is closed is looked at in this order, and closed it stays. */
static inline bool wi_chan_may_receive(weft_chan_core *c)
{
    return wi_load_acquire(&c->count) != 0 || wi_load_acquire(&c->senders.first) || wi_load_acquire(&c->closed);
}

static inline bool wi_chan_may_send(weft_chan_core *c)
{
    return wi_load_acquire(&c->count) < c->capacity || wi_load_acquire(&c->receivers.first) || wi_load_acquire(&c->closed);
}

/* What an operation under the lock came to. */
enum wi_chan_result { WI_CHAN_DONE, WI_CHAN_CLOSED, WI_CHAN_WAIT };

/* Sends or receives if that is possible now. *ended is a waiter whose operation that carried out, or NULL: to be completed
   by wi_waiter_complete after unlocking. The lock is held. */
enum wi_chan_result wi_chan_send_locked(weft_chan_core *c, const void *value, struct wi_waiter **ended);
enum wi_chan_result wi_chan_recv_locked(weft_chan_core *c, void *value, struct wi_waiter **ended);

static inline void wi_waiter_complete(struct wi_thread *t, struct wi_waiter *w)
{
    if (w)
        wi_wait_complete(t, w->g, w->ticket);
}

/* Makes a channel in type-stable memory; everything is set but its lock, which somebody may be on the way
   out of, and its owner, which is NULL when it is free. */
void wi_chan_init(weft_chan_core *c, size_t size, size_t capacity, char *buffer);
/* weft_chan_core_close inside weft: false when it was closed before. */
bool wi_chan_close_inside(struct wi_thread *t, weft_chan_core *c);
/* A channel with a buffer of the owner's, one reference; NULL: no memory. */
weft_chan_core *wi_chan_make_owned(size_t size, size_t capacity, void *buffer, struct wi_chan_owner *owner);

extern WI_HIDDEN const struct wi_wait_kind wi_waits_for_send, wi_waits_for_recv, wi_waits_for_ever;
void wi_chans_forget(void);

#endif
