/* guard.h — locks for the queues in users' objects.

   An object of the user may be freed as soon as somebody was let proceed, so it cannot hold a lock: an unlock looks at its
   lock once more. The locks are here, in a table by the object's address; two objects may share one. Nobody holds two of
   them at a time, and the object is not touched any more when its guard is unlocked after somebody was let proceed. */
#ifndef WI_GUARD_H
#define WI_GUARD_H

#include "os/lock.h"

#define WI_GUARDS 256U

struct wi_guard {
    _Alignas(WI_CACHE_LINE) struct wi_lock lock;
};
extern WI_HIDDEN struct wi_guard wi_guards[WI_GUARDS];

static inline struct wi_lock *wi_guard_of(const void *object)
{
    uint64_t hash =
        (uint64_t)(uintptr_t)object * UINT64_C(0x9e3779b97f4a7c15); /* Fibonacci hashing: the top bits are mixed best */
    return &wi_guards[hash >> 56].lock;
}

/* In a forked child: nobody holds any. */
void wi_guards_forget(void);

#endif
