/* timer.c — what a timer costs: start and stop while 1,000, 100,000 and 1,000,000 others are pending, which must stay
   about the same; and start and fire. The others are due in a minute to an hour, in random order, as timeouts are. */
#include "bench.h"
#include <stdatomic.h>

static uint64_t random_state;

static int64_t far_ns(void)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return WEFT_MINUTE + (int64_t)((random_state >> 11) % (uint64_t)(59 * WEFT_MINUTE));
}

/* A timer of our own, started and stopped again and again. */
static int64_t reset_and_stop(long n)
{
    weft_timer *timer = weft_timer_make(WEFT_MINUTE);
    int64_t start = bench_now_ns();
    for (long i = 0; i < n; i++) {
        weft_timer_reset(timer, far_ns());
        weft_timer_stop(timer);
    }
    int64_t took = bench_now_ns() - start;
    weft_timer_free(timer);
    return took;
}

/* A new timer each time, as a timeout around an operation has it. */
static int64_t make_and_free(long n)
{
    int64_t start = bench_now_ns();
    for (long i = 0; i < n; i++) {
        weft_timer *timer = weft_timer_make(far_ns());
        weft_timer_stop(timer);
        weft_timer_free(timer);
    }
    return bench_now_ns() - start;
}

static weft_timer **pending;
static long n_pending;

static void have_pending(long n)
{
    while (n_pending < n)
        if (!(pending[n_pending++] = weft_timer_make(far_ns())))
            bench_die("no memory");
    while (n_pending > n)
        weft_timer_free(pending[--n_pending]);
}

/* All sizes in each round, so that what else the machine does is the same for all. */
static void with_pending(void)
{
    enum { N = 3, KINDS = 2 };
    static const long counts[N] = {1000, 100000, 1000000}, smoke_counts[N] = {100, 1000, 2000};
    static const struct {
        const char *name;
        int64_t (*round)(long n);
    } kinds[KINDS] = {{"start_stop", reset_and_stop}, {"make_stop_free", make_and_free}};
    static struct bench_series series[KINDS][N], ratios[KINDS];
    const long *sizes = bench.smoke ? smoke_counts : counts;
    char name[64];
    pending = calloc((size_t)sizes[N - 1], sizeof *pending);
    for (int round = 0; round < bench.rounds; round++) {
        for (int i = 0; i < N; i++) {
            have_pending(sizes[i]);
            for (int kind = 0; kind < KINDS; kind++)
                bench_add(&series[kind][i], (double)kinds[kind].round(bench.n) / (double)bench.n);
        }
        for (int kind = 0; kind < KINDS; kind++)
            bench_add(&ratios[kind], series[kind][N - 1].values[round] / series[kind][0].values[round]);
        have_pending(sizes[0]);
    }
    have_pending(0);
    free(pending);
    for (int kind = 0; kind < KINDS; kind++) {
        for (int i = 0; i < N; i++) {
            snprintf(name, sizeof name, "timer.%s.%ld", kinds[kind].name, sizes[i]);
            bench_print(name, "ns", &series[kind][i], "");
        }
        snprintf(name, sizeof name, "timer.%s.ratio", kinds[kind].name);
        bench_print(name, "x", &ratios[kind], "of the most to the fewest pending");
    }
}

/* All n are due by the time that the first is received. */
static int64_t fire(long n)
{
    weft_timer **timers = calloc((size_t)n, sizeof(void *));
    int64_t start = bench_now_ns();
    for (long i = 0; i < n; i++)
        if (!(timers[i] = weft_timer_make(WEFT_US)))
            bench_die("no memory");
    for (long i = 0; i < n; i++)
        weft_recv(weft_timer_chan(timers[i]), NULL);
    int64_t took = bench_now_ns() - start;
    for (long i = 0; i < n; i++)
        weft_timer_free(timers[i]);
    free(timers);
    return took;
}

static void count_down(_Atomic long *left, weft_chan(int) done)
{
    if (atomic_fetch_sub(left, 1) == 1)
        weft_send(done, 1);
}

static int64_t call(long n)
{
    _Atomic long left = n;
    weft_chan(int) done = weft_chan_make(int, 1);
    int64_t start = bench_now_ns();
    for (long i = 0; i < n; i++)
        weft_timer_free(weft_after_func(WEFT_US, count_down, &left, done));
    weft_recv(done, NULL);
    int64_t took = bench_now_ns() - start;
    weft_chan_free(done);
    return took;
}

static int app(void)
{
    if (bench_wanted("timer.start_stop") || bench_wanted("timer.make_stop_free"))
        with_pending();
    bench_each("timer.start_fire", fire);
    bench_each("timer.after_func", call);
    return 0;
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, 200000, 1000);
    return weft_run(app);
}
