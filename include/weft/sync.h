/* weft/sync.h — WaitGroup and Mutex. Ready when zeroed, no destroy, usable from goroutines and foreign threads. Both may be
   freed by whoever a call let proceed: they are not touched after that. */
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
    uint32_t state; /* opaque */
    void *waiters;
} weft_mutex;

/* Blocks until the mutex is free. Not recursive. Running goroutines may overtake waiting ones; one that has waited for
   1 ms is served next, first come, first served. Unlock happens before the next lock. */
WEFT_API void weft_lock(weft_mutex *m);
/* True when it locked. Never blocks. */
WEFT_API bool weft_try_lock(weft_mutex *m);
/* Unlocks; any goroutine or thread may. Unlocking an unlocked mutex is fatal. Never blocks. */
WEFT_API void weft_unlock(weft_mutex *m);

static inline void weft_scoped_unlock_(weft_mutex **m)
{
    weft_unlock(*m);
}
static inline weft_mutex *weft_scoped_lock_(weft_mutex *m)
{
    weft_lock(m);
    return m;
}

WEFT_END_DECLS_

#ifndef __cplusplus

/* clang-format off */
/* weft_scoped_lock(&m); locks now, unlocks at the end of the enclosing block, however it is left. */
#define weft_scoped_lock(m)                                                                                                 \
    __attribute__((cleanup(weft_scoped_unlock_), unused)) weft_mutex *WEFT_CAT_(weft_scoped_, __COUNTER__) =                \
        weft_scoped_lock_(_Generic((m), weft_mutex *: (m)))
/* clang-format on */
/* weft_wg_go(&wg, fn, args...): weft_wg_add(&wg, 1), then weft_go, then weft_wg_done when fn returned. */
#define weft_wg_go(...) WEFT_CALL_(weft_wg_spawn_, void, __VA_ARGS__)

#endif /* !__cplusplus */
#endif
