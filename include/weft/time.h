/* weft/time.h — durations and sleeping. A duration is an int64_t number of nanoseconds. */
#ifndef WEFT_TIME_H
#define WEFT_TIME_H

#include "chan.h"
#pragma GCC system_header /* see macros.h */

#define WEFT_NS INT64_C(1)
#define WEFT_US (1000 * WEFT_NS)
#define WEFT_MS (1000 * WEFT_US)
#define WEFT_SECOND (1000 * WEFT_MS)
#define WEFT_MINUTE (60 * WEFT_SECOND)

WEFT_BEGIN_DECLS_

/* The monotonic clock in nanoseconds (CLOCK_MONOTONIC). Never blocks. */
WEFT_API int64_t weft_now(void);
/* Sleeps for at least ns nanoseconds; ns <= 0 returns at once, INT64_MAX never wraps. As a rule some 20 us longer; while
   more than 20,000 timers of the program come in a second, some 300 us, and while more than 2,000 do and all workers are
   busy, up to 1 ms. Blocks only the goroutine. 0; or -ECANCELED or -ETIMEDOUT when the context that the caller runs in ended
   first. */
WEFT_API int weft_sleep(int64_t ns);

/* ---- timers, which send the time on a channel or call a function ---- */

typedef struct weft_timer weft_timer;

/* A timer that sends the time (of weft_now) on its channel once, after ns nanoseconds; ns <= 0: at once. NULL: no memory. */
WEFT_API weft_timer *weft_timer_make(int64_t ns);
/* A timer that calls fn with its words in a goroutine of its own. Its goroutine runs in the context of the caller. It has no
   channel. */
WEFT_API weft_timer *weft_after_func_(int64_t ns, const weft_site *site, weft_fn_ fn, const uintptr_t *words);
/* The timer's channel; it lives as long as the timer. */
WEFT_API weft_chan_core *weft_timer_core(const weft_timer *timer);
/* Stops the timer. Either way no earlier time is received after the call returned, as in Go 1.23. True: it stopped it,
   nobody has received or will receive its time, or its function will not be called; false: somebody has, or it was called,
   or it was stopped already. A call that has begun is not waited for. */
WEFT_API bool weft_timer_stop(weft_timer *timer);
/* Makes it fire ns nanoseconds from now; what it did is as for stop, the result too. */
WEFT_API bool weft_timer_reset(weft_timer *timer, int64_t ns);
/* Frees the timer. One with a channel is stopped first. One with a function that is pending still calls it, so that its
   handle can be freed at once; stop it before if it shall not. NULL: nothing. */
WEFT_API void weft_timer_free(weft_timer *timer);

typedef struct weft_ticker weft_ticker;

/* Sends the time on its channel every ns nanoseconds (ns > 0, else fatal). A receiver that is late finds one tick, not those
   it missed. NULL: no memory. */
WEFT_API weft_ticker *weft_ticker_make(int64_t ns);
WEFT_API weft_chan_core *weft_ticker_core(const weft_ticker *ticker);
/* Stops it: no tick is received after. The channel is not closed. */
WEFT_API void weft_ticker_stop(weft_ticker *ticker);
/* The next tick comes ns nanoseconds from now, then every ns; also after a stop. */
WEFT_API void weft_ticker_reset(weft_ticker *ticker, int64_t ns);
/* Stops and frees it. NULL: nothing. */
WEFT_API void weft_ticker_free(weft_ticker *ticker);

/* A channel on which the time is sent after ns nanoseconds, once. To be freed by weft_chan_free, which also stops it. NULL:
   no memory. */
WEFT_API weft_chan_core *weft_after_(int64_t ns);

WEFT_END_DECLS_

#ifndef __cplusplus

/* Channels of int64_t times: weft_recv(weft_timer_chan(t), &now_ns). Nothing may be sent on them, and they must not be
   closed. */
#define weft_timer_chan(timer) ((weft_chan(int64_t))(void *)weft_timer_core(timer))
#define weft_ticker_chan(ticker) ((weft_chan(int64_t))(void *)weft_ticker_core(ticker))
#define weft_after(ns) ((weft_chan(int64_t))(void *)weft_after_(ns))
/* weft_after_func(ns, fn, args...) */
#define weft_after_func(...) WEFT_CALL_(weft_after_func_, void, __VA_ARGS__)

#endif /* !__cplusplus */
#endif
