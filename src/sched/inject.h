/* inject.h — queues that belong to no worker: first in, first out, under a lock, of any length, without memory.

   wi_inject        pushed by foreign threads and threads without a worker, and with what overflows or is shared; workers
                    look every WI_RUNQ_LOOK picks and when they have nothing else
   wi_blockers      goroutines that were last seen blocked in the kernel. A worker that runs one is likely to be lost for a
                    millisecond, so only workers that have nothing else, or that the monitor asks, take from it */
#ifndef WI_INJECT_H
#define WI_INJECT_H

#include "sched/goroutine.h"

struct wi_inject {
    struct wi_lock lock;
    struct wi_goroutine *first, *last; /* [lock] */
    _Atomic uint32_t count;            /* [stores: lock; loads: all] */
};

extern WI_HIDDEN struct wi_inject wi_inject, wi_blockers;

/* All may be called from any thread. A push is a full barrier before what the caller loads next. */
void wi_inject_push(struct wi_inject *queue, struct wi_goroutine *g);
/* first..last: end points at the last one's next, as left by building the list. */
void wi_inject_push_list(struct wi_inject *queue, struct wi_goroutine *first, struct wi_goroutine **end, unsigned n);
/* Takes up to n as a NULL-terminated list. */
struct wi_goroutine *wi_inject_take(struct wi_inject *queue, unsigned n);

#endif
