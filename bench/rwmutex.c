/* rwmutex.c — read lock and unlock, write lock and unlock: alone; nine reads to one write by eight goroutines at once, on
   one worker and on two, with a little work inside; and reads only on two. Worker counts are a process's, so each has its
   own. Last, the nine reads to one write without that work, on all workers. */
#include "bench.h"

enum { GOROUTINES = 8, INSIDE = 50 };

static weft_rwmutex mutex;
static long counter; /* under the mutex */
static _Atomic long seen;

static int64_t read_alone(long n)
{
    int64_t start = bench_now_ns();
    for (long i = 0; i < n; i++) {
        weft_rlock(&mutex);
        weft_runlock(&mutex);
    }
    return bench_now_ns() - start;
}

static int64_t write_alone(long n)
{
    int64_t start = bench_now_ns();
    for (long i = 0; i < n; i++) {
        weft_wlock(&mutex);
        weft_wunlock(&mutex);
    }
    return bench_now_ns() - start;
}

static long look(void)
{
    volatile long value = counter;
    for (volatile int i = 0; i < INSIDE; i++) {
    }
    return value;
}

static void empty_reader(long n)
{
    long sum = 0;
    for (long i = 1; i <= n; i++) {
        if (i % 10 == 0) {
            weft_wlock(&mutex);
            counter++;
            weft_wunlock(&mutex);
        } else {
            weft_rlock(&mutex);
            sum += counter;
            weft_runlock(&mutex);
        }
    }
    seen += sum;
}

static int64_t read_mostly_empty(long n)
{
    weft_waitgroup wg = {0};
    int64_t start = bench_now_ns();
    for (int i = 0; i < GOROUTINES; i++)
        weft_wg_go(&wg, empty_reader, n / GOROUTINES + 1);
    weft_wg_wait(&wg);
    return bench_now_ns() - start;
}

/* Every write_every-th time a write; 0: none. */
static void reader(long n, long write_every)
{
    long sum = 0;
    for (long i = 1; i <= n; i++) {
        if (write_every && i % write_every == 0) {
            weft_wlock(&mutex);
            counter++;
            sum += look();
            weft_wunlock(&mutex);
        } else {
            weft_rlock(&mutex);
            sum += look();
            weft_runlock(&mutex);
        }
    }
    seen += sum;
}

static int64_t together(long n, long write_every)
{
    weft_waitgroup wg = {0};
    long each = n / GOROUTINES + 1, before = counter;
    int64_t start = bench_now_ns();
    for (int i = 0; i < GOROUTINES; i++)
        weft_wg_go(&wg, reader, each, write_every);
    weft_wg_wait(&wg);
    int64_t took = bench_now_ns() - start;
    if (write_every && counter - before != GOROUTINES * (each / write_every))
        bench_die("%ld writes instead of %ld", counter - before, GOROUTINES * (each / write_every));
    return took;
}

static int64_t read_mostly(long n)
{
    return together(n, 10);
}

static int64_t read_only(long n)
{
    return together(n, 0);
}

/* ---- processes with their own number of workers ---- */

static int64_t (*round_to_measure)(long n);

static int measure_rounds(double *out)
{
    struct bench_series series = {0};
    bench_rounds(&series, round_to_measure);
    memcpy(out, series.values, (size_t)series.n * sizeof *out);
    return 0;
}

static void measure_in_run(double *out)
{
    weft_run(measure_rounds, out);
}

static void print_with(const char *procs, const char *name, int64_t (*round)(long n))
{
    double numbers[BENCH_MAX_ROUNDS];
    struct bench_series series = {0};
    if (!bench_wanted(name))
        return;
    setenv("WEFT_PROCS", procs, 1);
    round_to_measure = round;
    for (int i = 0; i < bench.rounds; i++)
        bench_add_switch(&series);
    bench_in_child(measure_in_run, numbers, (size_t)bench.rounds);
    for (int i = 0; i < bench.rounds; i++)
        bench_add(&series, numbers[i]);
    bench_print(name, "ns", &series, "");
}

static int app(void)
{
    bench_each("rwmutex.contended", read_mostly_empty);
    return 0;
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, 2000000, 1000);
    print_with("1", "rwmutex.read", read_alone);
    print_with("1", "rwmutex.write", write_alone);
    print_with("1", "rwmutex.mostly1", read_mostly);
    print_with("2", "rwmutex.mostly2", read_mostly);
    print_with("2", "rwmutex.readers2", read_only);
    return weft_run(app);
}
