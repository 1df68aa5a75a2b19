/* lock.h — weft's internal lock: spins a little, then sleeps on a futex.

   Locking costs one locked instruction, unlocking none: unlock stores 0 and then looks whether somebody sleeps. The store
   and that load can pass each other; a sleeper therefore announces itself, executes a heavy barrier, and looks again:

     unlock:  locked = 0            sleeper:  sleepers++
              (light barrier)                 heavy barrier
              if (sleepers) wake              if (swap(locked, 1) == 0) got it
                                              futex_wait(locked, 1)

   Either the sleeper sees the lock free or the unlocker sees the sleeper.
   unlock touches the lock after it is free, so locks live only in memory that is never unmapped (slabs, globals); a lock in
   a user's object would break "the atomic that lets others proceed is the last access". */
#ifndef WI_LOCK_H
#define WI_LOCK_H

#include "os/os.h"

struct wi_lock {
    _Atomic uint32_t locked;   /* [atomic] 0 free, 1 held */
    _Atomic uint32_t sleepers; /* [atomic] threads that are about to wait or wait on the futex at locked */
};

void wi_lock_slow(struct wi_lock *lock);
void wi_unlock_slow(struct wi_lock *lock);

static inline bool wi_lock_try(struct wi_lock *lock)
{
    return wi_load_relaxed(&lock->locked) == 0 && wi_swap_acquire(&lock->locked, 1) == 0; /* pairs with unlock's release */
}

/* The first steps of wi_lock and wi_unlock, for callers that end by calling the second. False: wi_lock_slow must follow. */
static inline bool wi_lock_now(struct wi_lock *lock)
{
    return WI_LIKELY(wi_swap_acquire(&lock->locked, 1) == 0); /* pairs with unlock's release */
}

/* False: wi_unlock_slow must follow. Only after wi_enter_quickly: the light barrier needs no fence there. */
static inline bool wi_unlock_now(struct wi_lock *lock)
{
    wi_store_release(&lock->locked, 0); /* pairs with the acquiring swap */
    wi_barrier_compiler();              /* pairs with the heavy barrier in wi_lock_slow */
    return WI_LIKELY(wi_load_relaxed(&lock->sleepers) == 0);
}

static inline void wi_lock(struct wi_lock *lock)
{
    if (!wi_lock_now(lock))
        wi_lock_slow(lock);
}

static inline void wi_unlock(struct wi_lock *lock)
{
    wi_store_release(&lock->locked, 0); /* pairs with the acquiring swap */
    wi_os_barrier_light();              /* pairs with the heavy barrier in wi_lock_slow */
    if (WI_UNLIKELY(wi_load_relaxed(&lock->sleepers) != 0))
        wi_unlock_slow(lock);
}

#endif
