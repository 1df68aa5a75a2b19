/* yield.c — two goroutines that yield to each other on one worker: nanoseconds a yield. */
#include "bench.h"

static void yielder(long n)
{
    for (long i = 0; i < n; i++)
        weft_yield();
}

static int64_t yields(long n)
{
    weft_waitgroup wg = {0};
    int64_t start = bench_now_ns();
    weft_wg_go(&wg, yielder, n / 2);
    weft_wg_go(&wg, yielder, n - n / 2);
    weft_wg_wait(&wg);
    return bench_now_ns() - start;
}

static int app(void)
{
    bench_each("yield", yields);
    return 0;
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, 10000000, 1000);
    bench_procs("1");
    return weft_run(app);
}
