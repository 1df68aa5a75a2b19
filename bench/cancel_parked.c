/* cancel_parked.c — 100,000 goroutines that wait in one context, on two workers, until it ends: a fifth each in a receive, a
   select, a sleep, for a semaphore and for a condition. Milliseconds from the call of weft_ctx_cancel until the last of them
   has returned from its wait and ended; and until the call itself returned. */
#include "bench.h"

#include <errno.h>

static struct {
    weft_chan(int) values, requests;
    weft_sem sem;
    weft_mutex mutex;
    weft_cond cond;
    _Atomic long waiting, ended;
} hall;

static int wait_somehow(long i)
{
    int error;
    switch (i % 5) {
    case 0:
        return weft_recv_status(hall.values, NULL);
    case 1:
        return weft_select([0] = weft_on_recv(hall.values, NULL), [1] = weft_on_recv(hall.requests, NULL),
                           [2] = weft_on_timeout(WEFT_MINUTE));
    case 2:
        return weft_sleep(WEFT_MINUTE);
    case 3:
        return weft_sem_acquire(&hall.sem, 1);
    default:
        weft_lock(&hall.mutex);
        error = weft_cond_wait(&hall.cond, &hall.mutex);
        weft_unlock(&hall.mutex);
        return error;
    }
}

static void wait_for_end(long i)
{
    hall.waiting++;
    if (wait_somehow(i) != -ECANCELED)
        bench_die("a wait was not cancelled");
    hall.ended++;
}

static void start_all(weft_ctx *ctx, weft_waitgroup *wg)
{
    weft_scoped_use(ctx);
    hall.waiting = hall.ended = 0;
    for (long i = 0; i < bench.n; i++)
        weft_wg_go(wg, wait_for_end, i);
}

static void round_once(struct bench_series *all, struct bench_series *call)
{
    weft_waitgroup wg = {0};
    weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background());
    start_all(ctx, &wg);
    while (hall.waiting != bench.n)
        weft_sleep(WEFT_MS);
    weft_sleep(20 * WEFT_MS); /* the last of them is parked too, and idle threads rest */
    if (hall.ended)
        bench_die("some did not wait");
    int64_t start = bench_now_ns();
    weft_ctx_cancel(ctx);
    int64_t returned = bench_now_ns();
    weft_wg_wait(&wg);
    int64_t end = bench_now_ns();
    if (hall.ended != bench.n)
        bench_die("some did not end");
    if (all) {
        bench_add(all, (double)(end - start) / 1e6);
        bench_add(call, (double)(returned - start) / 1e6);
    }
    weft_ctx_free(ctx);
}

static int app(void)
{
    struct bench_series all = {0}, call = {0};
    hall.values = weft_chan_make(int, 0);
    hall.requests = weft_chan_make(int, 0);
    round_once(NULL, NULL); /* makes stacks and records */
    for (int round = 0; round < bench.rounds; round++)
        round_once(&all, &call);
    bench_print("cancel_parked", "ms", &all, "");
    bench_print("cancel_parked.call", "ms", &call, "");
    weft_chan_free(hall.values);
    weft_chan_free(hall.requests);
    return 0;
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, 100000, 1000);
    bench_procs("2");
    return weft_run(app);
}
