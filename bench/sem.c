/* sem.c — a semaphore: one unit taken and given back, alone; by eight goroutines at once on all workers where there is one
   unit, and where there are four. */
#include "bench.h"

static weft_sem one = WEFT_SEM(1), four = WEFT_SEM(4);

static void taker(weft_sem *s, long n)
{
    for (long i = 0; i < n; i++) {
        weft_sem_acquire(s, 1);
        weft_sem_release(s, 1);
    }
}

static int64_t alone(long n)
{
    int64_t start = bench_now_ns();
    taker(&one, n);
    return bench_now_ns() - start;
}

static int64_t contended(weft_sem *s, int64_t size, long n)
{
    weft_waitgroup wg = {0};
    int64_t start = bench_now_ns();
    for (int i = 0; i < 8; i++)
        weft_wg_go(&wg, taker, s, n / 8 + (i < n % 8));
    weft_wg_wait(&wg);
    int64_t took = bench_now_ns() - start;
    if (!weft_sem_try_acquire(s, size))
        bench_die("units were lost");
    weft_sem_release(s, size);
    return took;
}

static int64_t contended_one(long n)
{
    return contended(&one, 1, n);
}

static int64_t contended_four(long n)
{
    return contended(&four, 4, n);
}

static int app(void)
{
    bench_each("sem", alone);
    bench_each("sem.contended", contended_one);
    bench_each("sem.contended4", contended_four);
    return 0;
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, 5000000, 1000);
    return weft_run(app);
}
