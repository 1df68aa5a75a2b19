/* waitgroup.h — what the scheduler's hooks need of the WaitGroup. */
#ifndef WI_WAITGROUP_H
#define WI_WAITGROUP_H

#include "sched/sched.h"

/* A goroutine started by weft_wg_go on wg ended; t is inside weft. */
void wi_wg_joined(struct wi_thread *t, void *wg);

extern const struct wi_wait_kind wi_waits_for_group;

#endif
