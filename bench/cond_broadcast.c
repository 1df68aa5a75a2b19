/* cond_broadcast.c — a broadcast to 1,000 goroutines: until the last has come out of its wait, has had the mutex and waits
   again; by the waiter. And a signal that finds nobody, and one that wakes a goroutine which answers by the same. */
#include "bench.h"

enum { WAITERS = 1000 };

static struct {
    weft_mutex mutex;
    weft_cond start, all_wait;
    long round;  /* [mutex] */
    int waiting; /* [mutex] of this round */
    bool stop;   /* [mutex] */
} crowd;

static void waiter(void)
{
    weft_lock(&crowd.mutex);
    while (!crowd.stop) {
        if (++crowd.waiting == WAITERS)
            weft_cond_signal(&crowd.all_wait);
        for (long round = crowd.round; round == crowd.round;)
            weft_cond_wait(&crowd.start, &crowd.mutex);
    }
    weft_unlock(&crowd.mutex);
}

/* The mutex is held. */
static void start_round(bool stop)
{
    while (crowd.waiting != WAITERS)
        weft_cond_wait(&crowd.all_wait, &crowd.mutex);
    crowd.waiting = 0;
    crowd.stop = stop;
    crowd.round++;
    weft_cond_broadcast(&crowd.start);
}

static int64_t broadcast(long n)
{
    weft_waitgroup wg = {0};
    crowd.stop = false;
    for (int i = 0; i < WAITERS; i++)
        weft_wg_go(&wg, waiter);
    weft_lock(&crowd.mutex);
    start_round(false); /* all are there, and have stacks */
    int64_t start = bench_now_ns();
    for (long i = 0; i < n; i += WAITERS)
        start_round(false);
    int64_t took = bench_now_ns() - start;
    start_round(true);
    weft_unlock(&crowd.mutex);
    weft_wg_wait(&wg);
    return took;
}

static int64_t signal_nobody(long n)
{
    int64_t start = bench_now_ns();
    for (long i = 0; i < n; i++)
        weft_cond_signal(&crowd.all_wait);
    return bench_now_ns() - start;
}

static struct {
    weft_mutex mutex;
    weft_cond turned;
    int turn; /* [mutex] */
} pair;

static void player(int me, long n)
{
    weft_lock(&pair.mutex);
    for (long i = 0; i < n; i++) {
        while (pair.turn != me)
            weft_cond_wait(&pair.turned, &pair.mutex);
        pair.turn = !me;
        weft_cond_signal(&pair.turned);
    }
    weft_unlock(&pair.mutex);
}

static int64_t signal_one(long n)
{
    weft_waitgroup wg = {0};
    int64_t start = bench_now_ns();
    weft_wg_go(&wg, player, 0, n / 2);
    weft_wg_go(&wg, player, 1, n / 2);
    weft_wg_wait(&wg);
    return bench_now_ns() - start;
}

static int app(void)
{
    bench_each("cond.broadcast", broadcast);
    bench_each("cond.signal", signal_one);
    bench_each("cond.signal.nobody", signal_nobody);
    return 0;
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, 1000000, 1000);
    return weft_run(app);
}
