/* future.h — what the scheduler's hooks and reports need of futures.

   A goroutine that somebody joins names by its record's `join` what its end counts down: a WaitGroup (weft_wg_go; a group's
   goroutines: the group itself, whose first member is one), or a future, then with the lowest bit set. Whoever waits has the
   same object in run.object and a kind with `joins`: wi_waits_for_group the WaitGroup, wi_waits_for_future the future. So

     wi_join_object(child->join) == waiter->run.object   means: waiter waits for the end of child, perhaps of others too

   Who waits with wi_waits_for_slot waits for any of the goroutines with join == run.object to end. */
#ifndef WI_FUTURE_H
#define WI_FUTURE_H

#include "sched/sched.h"

#define WI_JOIN_FUTURE ((uintptr_t)1)

static inline bool wi_join_is_future(const void *join)
{
    return ((uintptr_t)join & WI_JOIN_FUTURE) != 0;
}

static inline void *wi_join_object(const void *join)
{
    return (void *)((uintptr_t)join & ~WI_JOIN_FUTURE);
}

extern WI_HIDDEN const struct wi_wait_kind wi_waits_for_future, wi_waits_for_slot;

/* A goroutine started by weft_async ended; t is inside weft. */
void wi_future_joined(struct wi_thread *t, void *join);

#endif
