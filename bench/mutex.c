/* mutex.c — lock and unlock: alone, and by eight goroutines at once on all workers. */
#include "bench.h"

static weft_mutex mutex;
static long counter; /* under the mutex */

static void locker(long n)
{
    for (long i = 0; i < n; i++) {
        weft_lock(&mutex);
        counter++;
        weft_unlock(&mutex);
    }
}

static int64_t alone(long n)
{
    int64_t start = bench_now_ns();
    locker(n);
    return bench_now_ns() - start;
}

static int64_t contended(long n)
{
    weft_waitgroup wg = {0};
    counter = 0;
    int64_t start = bench_now_ns();
    for (int i = 0; i < 8; i++)
        weft_wg_go(&wg, locker, n / 8 + (i < n % 8));
    weft_wg_wait(&wg);
    int64_t took = bench_now_ns() - start;
    if (counter != n)
        bench_die("%ld increments instead of %ld", counter, n);
    return took;
}

static int app(void)
{
    bench_each("mutex", alone);
    bench_each("mutex.contended", contended);
    return 0;
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, 5000000, 1000);
    return weft_run(app);
}
