/* spawn.c — goroutines that do nothing, started and waited for one by one on one worker. */
#include "bench.h"

static void nothing(void)
{
}

static int64_t spawns(long n)
{
    int64_t start = bench_now_ns();
    for (long i = 0; i < n; i++) {
        weft_waitgroup wg = {0};
        weft_wg_go(&wg, nothing);
        weft_wg_wait(&wg);
    }
    return bench_now_ns() - start;
}

static int app(void)
{
    bench_each("spawn", spawns);
    return 0;
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, 2000000, 1000);
    bench_procs("1");
    return weft_run(app);
}
