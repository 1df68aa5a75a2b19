/* inject.h — queues that belong to no worker: first in, first out, under a lock, of any length.

   wi_inject        pushed by foreign threads and threads without a worker, and with what overflows or is shared; workers
                    look every WI_RUNQ_LOOK picks and when they have nothing else
   wi_blockers      goroutines that were last seen blocked in the kernel. A worker that runs one is likely to be lost for a
                    millisecond, so only workers that have nothing else, or that the monitor asks, take from it

   A queue is a list of segments, arrays of pointers, so that who moves many goroutines holds the lock for a copy and touches
   none of their records, which are cold. Where no memory for a segment is to be had, what comes is linked through the
   records, and all that comes later, until that list is empty. */
#ifndef WI_INJECT_H
#define WI_INJECT_H

#include "sched/goroutine.h"

struct wi_segment;

struct wi_inject {
    struct wi_lock lock;
    _Atomic uint32_t count;                  /* [stores: lock; loads: all] */
    struct wi_segment *head, *tail;          /* [lock] oldest and newest; one is kept when the queue is empty */
    struct wi_goroutine *linked, *linked_to; /* [lock] those behind the segments: first and last */
};

extern WI_HIDDEN struct wi_inject wi_inject, wi_blockers;

/* All may be called from any thread. A push is a full barrier before what the caller loads next. */
void wi_inject_push(struct wi_inject *queue, struct wi_goroutine *g);
void wi_inject_push_all(struct wi_inject *queue, struct wi_goroutine *const *all, unsigned n);
/* Takes up to n, the oldest; returns how many. */
unsigned wi_inject_take(struct wi_inject *queue, struct wi_goroutine **taken, unsigned n);
/* Gives back what an empty queue keeps. */
void wi_inject_close(struct wi_inject *queue);
/* Nobody uses any queue any more: their memory is given back; or, in a forked child, left where it is. */
void wi_injects_destroy(void);
void wi_injects_forget(void);

#endif
