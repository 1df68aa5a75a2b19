/* mutex.h — who holds a Mutex, for reports. */
#ifndef WI_MUTEX_H
#define WI_MUTEX_H

#include "sched/sched.h"

/* The upper half of a locked Mutex's state names who locked it, or who got it handed over; somebody else may unlock it:
     a goroutine        the low 31 bits of its id
     a foreign thread   WI_HOLDER_THREAD | its kernel id
     0                  a thread that weft does not know */
#define WI_HOLDER_SHIFT 32
#define WI_HOLDER_THREAD (1U << 31)
#define WI_MUTEX_LOCKED UINT64_C(1)

static inline uint32_t wi_holder_goroutine(uint64_t id)
{
    return (uint32_t)id & ~WI_HOLDER_THREAD;
}

static inline uint32_t wi_holder_thread(pid_t tid)
{
    return (uint32_t)tid | WI_HOLDER_THREAD;
}

/* The object is the Mutex, or NULL for the moment between the handover and the waiter's start. */
extern WI_HIDDEN const struct wi_wait_kind wi_waits_for_mutex;

#endif
