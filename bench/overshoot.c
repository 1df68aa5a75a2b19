/* overshoot.c — how much longer than a millisecond a sleep of a millisecond takes, on one worker with nothing else to
   do. */
#include "bench.h"

static int app(void)
{
    struct bench_series median = {0}, worst = {0};
    double *late_us = calloc((size_t)bench.n, sizeof *late_us);
    for (int round = 0; round < bench.rounds; round++) {
        for (long i = 0; i < bench.n; i++) {
            int64_t start = bench_now_ns();
            weft_sleep(WEFT_MS);
            late_us[i] = (double)(bench_now_ns() - start - WEFT_MS) / 1e3;
        }
        qsort(late_us, (size_t)bench.n, sizeof *late_us, bench_compare);
        bench_add(&median, late_us[bench.n / 2]);
        bench_add(&worst, late_us[bench.n - 1 - bench.n / 100]);
    }
    free(late_us);
    bench_print("overshoot", "us", &median, "");
    bench_print("overshoot.p99", "us", &worst, "");
    return 0;
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, 200, 5);
    bench_procs("1");
    return weft_run(app);
}
