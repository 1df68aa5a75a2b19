/* ticker.c — weft_ticker: a timer with a channel that arms itself again. The next tick is a period after the last one was
   due, not after it was sent, so a ticker keeps its phase however late it is served; ticks that were missed are skipped. */
#include "chan/timer.h"

struct weft_ticker {
    struct weft_timer timer;
};

static void check_period(int64_t ns)
{
    if (ns <= 0)
        wi_fatal("a ticker needs a period of more than 0 ns, not %lld", (long long)ns);
}

weft_ticker *weft_ticker_make(int64_t ns)
{
    check_period(ns);
    return (weft_ticker *)(void *)wi_timer_make(ns, ns);
}

weft_chan_core *weft_ticker_core(const weft_ticker *ticker)
{
    return ticker->timer.chan;
}

void weft_ticker_stop(weft_ticker *ticker)
{
    wi_timer_halt(&ticker->timer);
}

void weft_ticker_reset(weft_ticker *ticker, int64_t ns)
{
    check_period(ns);
    wi_timer_restart(&ticker->timer, ns, ns);
}

void weft_ticker_free(weft_ticker *ticker)
{
    if (ticker)
        weft_timer_free(&ticker->timer);
}
