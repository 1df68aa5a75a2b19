/* spawn_million.c — a million goroutines that do nothing, all started and then all waited for, on one worker: the first
   time in a process, when all memory is new, and after that. */
#include "bench.h"

static void nothing(void)
{
}

static double once_ms(void)
{
    weft_waitgroup wg = {0};
    int64_t start = bench_now_ns();
    for (long i = 0; i < bench.n; i++)
        weft_wg_go(&wg, nothing);
    weft_wg_wait(&wg);
    return (double)(bench_now_ns() - start) / 1e6;
}

static int app(void)
{
    struct bench_series first = {0}, later = {0};
    bench_add(&first, once_ms());
    for (int i = 0; i < bench.rounds; i++)
        bench_add(&later, once_ms());
    bench_print("spawn_million.first", "ms", &first, "all memory new");
    bench_print("spawn_million", "ms", &later, "");
    return 0;
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, 1000000, 1000);
    bench_procs("1");
    return weft_run(app);
}
