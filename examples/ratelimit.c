/* ratelimit: serve requests no faster than a limit, first evenly, then with bursts, by a ticker.

   A ticker sends the time on its channel at a steady pace. Who receives from that channel before each request cannot be
   faster. A ticker does not pile up ticks for a receiver that is late: it keeps one and drops the others.

   To allow bursts, a goroutine moves the ticks into a buffered channel. What the buffer holds are permits that were saved
   up: as many requests as that can go at once. The goroutine sends with weft_try_send, so that permits beyond the buffer
   are dropped, and it ends when the channel `stop` is closed.

   A tick is never early, and the n-th is n periods after the ticker's start at least: what the program prints relies on
   that. */
#include <stdio.h>
#include <weft.h>

enum { REQUESTS = 5, BURST = 3 };
#define PERIOD (20 * WEFT_MS)

typedef weft_chan(int) permit_chan;

static int64_t start_ns;

/* How many periods have passed, rounded down: at least so many, more on a busy machine. */
static int periods(void)
{
    return (int)((weft_now() - start_ns) / PERIOD);
}

static void evenly(void)
{
    start_ns = weft_now();
    weft_ticker *ticker = weft_ticker_make(PERIOD);
    for (int request = 1; request <= REQUESTS; request++) {
        weft_recv(weft_ticker_chan(ticker), NULL);
        printf("request %d%s\n", request, periods() >= request ? "" : " came too early");
    }
    weft_ticker_free(ticker);
}

static void issue(permit_chan permits, permit_chan stop)
{
    weft_ticker *ticker = weft_ticker_make(PERIOD);
    while (weft_select(weft_on_recv(weft_ticker_chan(ticker), NULL), weft_on_recv(stop, NULL)) == 0)
        weft_try_send(permits, 1);
    weft_ticker_free(ticker);
}

static void in_bursts(void)
{
    permit_chan permits = weft_chan_make(int, BURST), stop = weft_chan_make(int, 0);
    weft_waitgroup wg = {0};
    for (int i = 0; i < BURST; i++)
        weft_send(permits, 1);
    start_ns = weft_now();
    weft_wg_go(&wg, issue, permits, stop);
    for (int request = 1; request <= REQUESTS; request++) {
        weft_recv(permits, NULL);
        int least = request <= BURST ? 0 : request - BURST;
        printf("request %d%s%s\n", request, request <= BURST ? ", saved up" : "",
               periods() >= least ? "" : " came too early");
    }
    weft_close(stop);
    weft_wg_wait(&wg);
    weft_chan_free(permits);
    weft_chan_free(stop);
}

int main(void)
{
    puts("One a tick:");
    evenly();
    printf("Bursts of %d:\n", BURST);
    in_bursts();
    return 0;
}
