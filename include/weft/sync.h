/* weft/sync.h — WaitGroup, Mutex, RWMutex, Cond, Once, semaphore. Ready when zeroed, no destroy, usable from goroutines and
   foreign threads. Each may be freed by whoever a call let proceed: it is not touched after that. */
#ifndef WEFT_SYNC_H
#define WEFT_SYNC_H

#include "macros.h"
#pragma GCC system_header /* see macros.h */

WEFT_BEGIN_DECLS_

/* ---- WaitGroup: waits for a number of things to be done ---- */
typedef struct weft_waitgroup {
    uint64_t state; /* count and waiters; opaque */
} weft_waitgroup;

/* Adds n, which may be negative; at 0 every waiter is let go. A count below 0 or beyond INT32_MAX is fatal. Adds from 0
   must happen before the wait they are meant for; a group is reused only after all earlier waits returned. Never block. */
WEFT_API void weft_wg_add(weft_waitgroup *wg, int n);
WEFT_API void weft_wg_done(weft_waitgroup *wg); /* weft_wg_add(wg, -1) */
/* Blocks until the count is 0. Done happens before wait returns. */
WEFT_API void weft_wg_wait(weft_waitgroup *wg);
/* Adds 1, starts fn as weft_spawn_ does, and counts down when it returned. */
WEFT_API void weft_wg_spawn_(weft_waitgroup *wg, const weft_site *site, weft_fn_ fn, const uintptr_t *words);

/* ---- Mutex ---- */
typedef struct weft_mutex {
    uint64_t state; /* holder and flags; opaque */
    void *waiters;
} weft_mutex;

/* Blocks until the mutex is free. Not recursive. Running goroutines may overtake waiting ones; one that has waited for
   1 ms is served next, first come, first served. Unlock happens before the next lock. */
WEFT_API void weft_lock(weft_mutex *m);
/* True when it locked. Never blocks. */
WEFT_API bool weft_try_lock(weft_mutex *m);
/* Unlocks; any goroutine or thread may. Unlocking an unlocked mutex is fatal. Never blocks. */
WEFT_API void weft_unlock(weft_mutex *m);

/* Locks m and has it unlocked when the scope is left. */
WEFT_API void weft_scoped_lock_(weft_scope_ *scope, weft_mutex *m);

/* ---- RWMutex: any number of readers or one writer ---- */
typedef struct weft_rwmutex {
    uint64_t state; /* opaque, all */
    uint32_t departing, passes;
    void *readers, *writers;
} weft_rwmutex;

/* Block until the mutex can be had. A waiting writer keeps new readers out, and when a writer unlocks as many readers as wait
   by then come before the next writer: neither side starves. Not recursive, for readers neither. A writer's unlock happens
   before the next lock of either kind, a reader's before the next writer's. */
WEFT_API void weft_rlock(weft_rwmutex *m);
WEFT_API void weft_wlock(weft_rwmutex *m);
/* True when it locked. Never block. */
WEFT_API bool weft_try_rlock(weft_rwmutex *m);
WEFT_API bool weft_try_wlock(weft_rwmutex *m);
/* Unlock; any goroutine or thread may. Unlocking what is not locked so is fatal. Never block. */
WEFT_API void weft_runlock(weft_rwmutex *m);
WEFT_API void weft_wunlock(weft_rwmutex *m);
/* As weft_scoped_lock_. */
WEFT_API void weft_scoped_rlock_(weft_scope_ *scope, weft_rwmutex *m);
WEFT_API void weft_scoped_wlock_(weft_scope_ *scope, weft_rwmutex *m);

/* ---- Cond: waiting for a condition that a mutex guards ---- */
typedef struct weft_cond {
    void *first, *last; /* opaque */
} weft_cond;

/* Unlocks m, blocks until it is signalled, and locks m again before it returns: 0; or -ECANCELED or -ETIMEDOUT when the
   context that the caller runs in ended (then too it has unlocked, let others run, and locked). Never wakes without a
   reason, but the condition must be looked at again: another goroutine may have come first. Waiters are served first come,
   first served. */
WEFT_API int weft_cond_wait(weft_cond *c, weft_mutex *m);
/* The same, at most ns nanoseconds: -ETIMEDOUT. */
WEFT_API int weft_cond_wait_timeout(weft_cond *c, weft_mutex *m, int64_t ns);
/* Lets the longest-waiting one, or all, go. The mutex may be held or not. What happened before happens before the waits
   return. Never block. */
WEFT_API void weft_cond_signal(weft_cond *c);
WEFT_API void weft_cond_broadcast(weft_cond *c);

/* ---- Once ---- */
typedef struct weft_once {
    uint64_t state; /* opaque */
} weft_once;

/* Calls fn with its words at the first call of all; every call returns after fn has returned. A call from within fn
   deadlocks. When fn panics or exits the goroutine, it counts as done. Blocks. */
WEFT_API void weft_once_do_(weft_once *once, const weft_site *site, weft_fn_ fn, const uintptr_t *words);

/* ---- Semaphore, weighted ---- */
typedef struct weft_sem {
    int64_t size;   /* opaque, as all below */
    uint64_t state; /* units used and waiters */
    void *first, *last;
} weft_sem;

/* static weft_sem s = WEFT_SEM(4): n units. */
#define WEFT_SEM(n)                                                                                                         \
    {                                                                                                                       \
        .size = (n)                                                                                                         \
    }

/* Takes n units (n >= 0), blocking until there are as many: 0; or -ECANCELED or -ETIMEDOUT, with nothing taken, when the
   context that the caller runs in ended. First come, first served: one that wants much is not overtaken by those that want
   little. More than the size can never be had and waits for the context's end. What happened before a release happens before
   the acquire that it allows. */
WEFT_API int weft_sem_acquire(weft_sem *s, int64_t n);
/* The same, at most ns nanoseconds: -ETIMEDOUT. */
WEFT_API int weft_sem_acquire_timeout(weft_sem *s, int64_t n, int64_t ns);
/* True when it took n units: they are there and nobody waits. Never blocks. */
WEFT_API bool weft_sem_try_acquire(weft_sem *s, int64_t n);
/* Gives n units back; any goroutine or thread may. More than were taken is fatal. Never blocks. */
WEFT_API void weft_sem_release(weft_sem *s, int64_t n);

WEFT_END_DECLS_

#ifndef __cplusplus

/* clang-format off */
/* weft_scoped_lock(&m); locks now, unlocks at the end of the enclosing block, however it is left. */
#define weft_scoped_lock(m) WEFT_SCOPED_(weft_scoped_lock_, weft_mutex, m)
#define weft_scoped_rlock(m) WEFT_SCOPED_(weft_scoped_rlock_, weft_rwmutex, m)
#define weft_scoped_wlock(m) WEFT_SCOPED_(weft_scoped_wlock_, weft_rwmutex, m)
#define WEFT_SCOPED_(call, type, m) WEFT_SCOPED2_(call, WEFT_CAT_(weft_scoped_, __COUNTER__), _Generic((m), type *: (m)))
#define WEFT_SCOPED2_(call, name, m)                                                                                        \
    weft_scope_ name __attribute__((cleanup(weft_scope_leave_), unused)),                                                   \
        *WEFT_CAT_(name, _entered) __attribute__((unused)) = (call(&name, m), &name)
/* clang-format on */
/* weft_wg_go(&wg, fn, args...): weft_wg_add(&wg, 1), then weft_go, then weft_wg_done when fn returned. */
#define weft_wg_go(...) WEFT_CALL_(weft_wg_spawn_, void, __VA_ARGS__)
/* weft_once_do(&once, fn, args...): fn returns nothing, an integer or a pointer, which is dropped. */
#define weft_once_do(...) WEFT_ONCE_(__VA_ARGS__)
#define WEFT_ONCE_(once, ...) WEFT_CALL_ANY_(weft_once_do_, (once), __VA_ARGS__)

#endif /* !__cplusplus */
#endif
