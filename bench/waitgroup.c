/* waitgroup.c — a WaitGroup: add and done alone, by eight goroutines at once on all workers, and a start and join of
   eight. */
#include "bench.h"

static weft_waitgroup shared;

static void adder(long n)
{
    for (long i = 0; i < n; i++) {
        weft_wg_add(&shared, 1);
        weft_wg_done(&shared);
    }
}

static int64_t alone(long n)
{
    int64_t start = bench_now_ns();
    adder(n);
    return bench_now_ns() - start;
}

static int64_t contended(long n)
{
    weft_waitgroup wg = {0};
    int64_t start = bench_now_ns();
    for (int i = 0; i < 8; i++)
        weft_wg_go(&wg, adder, n / 8 + (i < n % 8));
    weft_wg_wait(&wg);
    int64_t took = bench_now_ns() - start;
    weft_wg_wait(&shared);
    return took;
}

static void nothing(void)
{
}

/* A goroutine, with its eighth of the wait. */
static int64_t joined(long n)
{
    int64_t start = bench_now_ns();
    for (long done = 0; done < n; done += 8) {
        weft_waitgroup wg = {0};
        for (int i = 0; i < 8; i++)
            weft_wg_go(&wg, nothing);
        weft_wg_wait(&wg);
    }
    return bench_now_ns() - start;
}

static int app(void)
{
    bench_each("waitgroup", alone);
    bench_each("waitgroup.contended", contended);
    bench_each("waitgroup.join8", joined);
    return 0;
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, 5000000, 1000);
    return weft_run(app);
}
