/* waitgroup.h — what the scheduler's hooks need of the WaitGroup. */
#ifndef WI_WAITGROUP_H
#define WI_WAITGROUP_H

#include "sched/enter.h"

/* A goroutine started by weft_wg_go on wg ended; t is inside weft. */
void wi_wg_joined(struct wi_thread *t, void *wg);

/* On the stack of who waits for a WaitGroup or a Once, at run.waiter: the link of the chain of numbers. */
struct wi_wg_waiter {
    uint32_t next; /* number of the record that waited before, 0: none */
};
/* Lets those go that wait in the chain from number on, the first of them first. */
void wi_wg_release(struct wi_thread *t, uint32_t number);
/* Waits in the chain of object: commit, called with it, publishes the waiter or finds that there is nothing to wait for. */
void wi_wg_wait_in(const struct wi_wait_kind *kind, wi_commit_fn commit, void *object);

extern WI_HIDDEN const struct wi_wait_kind wi_waits_for_group;

#endif
