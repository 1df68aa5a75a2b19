/* once.c — weft_once_do after the first time: alone, and by eight goroutines at once on all workers. */
#include "bench.h"

static weft_once once;
static int calls;

static void call(void)
{
    calls++;
}

static void caller(long n)
{
    for (long i = 0; i < n; i++)
        weft_once_do(&once, call);
}

static int64_t alone(long n)
{
    int64_t start = bench_now_ns();
    caller(n);
    return bench_now_ns() - start;
}

static int64_t together(long n)
{
    weft_waitgroup wg = {0};
    int64_t start = bench_now_ns();
    for (int i = 0; i < 8; i++)
        weft_wg_go(&wg, caller, n / 8 + (i < n % 8));
    weft_wg_wait(&wg);
    int64_t took = bench_now_ns() - start;
    if (calls != 1)
        bench_die("%d calls instead of one", calls);
    return took;
}

static int app(void)
{
    bench_each("once", alone);
    bench_each("once.together", together);
    return 0;
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, 20000000, 1000);
    return weft_run(app);
}
