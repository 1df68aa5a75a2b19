/* sleepers.c — 100,000 goroutines that sleep again and again: the CPU time that a sleep costs, and how late they wake.
   First 10 sleeps of 5 to 15 ms each: ten million wake-ups a second are more than a machine can do, so lateness shows
   what it does when it cannot keep up. Then 10 of 0.1 to 0.3 s, and 3 of 0.5 to 1.5 s, which it can. */
#include "bench.h"

static uint32_t *late_us;
static _Atomic long samples;
static int64_t shortest_ns;

static void sleeper(uint64_t random, int times)
{
    for (int i = 0; i < times; i++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        int64_t ns = shortest_ns + (int64_t)((random >> 33) % (uint64_t)(2 * shortest_ns));
        int64_t due = bench_now_ns() + ns;
        weft_sleep(ns);
        late_us[samples++] = (uint32_t)((bench_now_ns() - due) / 1000);
    }
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void report(const char *name, const char *part, const char *unit, double value)
{
    char line[64];
    snprintf(line, sizeof line, "%s.%s", name, part);
    bench_print_value(line, unit, value, "");
}

static void measure(const char *name, int64_t shortest, int times)
{
    if (!bench_wanted(name))
        return;
    weft_waitgroup wg = {0};
    long total = bench.n * times;
    late_us = calloc((size_t)total, sizeof *late_us);
    samples = 0;
    shortest_ns = shortest;
    double cpu = bench_cpu_ms();
    int64_t start = bench_now_ns();
    for (long i = 0; i < bench.n; i++)
        weft_wg_go(&wg, sleeper, (uint64_t)i * UINT64_C(0x9e3779b97f4a7c15), times);
    weft_wg_wait(&wg);
    double ms = (double)(bench_now_ns() - start) / 1e6, sum = 0;
    cpu = bench_cpu_ms() - cpu;
    for (long i = 0; i < total; i++)
        sum += late_us[i];
    qsort(late_us, (size_t)total, sizeof *late_us, compare);
    report(name, "cpu", "ns", cpu * 1e6 / (double)total);
    report(name, "wall", "ms", ms);
    report(name, "late_mean", "us", sum / (double)total);
    long p99 = total - 1 - total / 100;
    report(name, "late_p99", "us", late_us[p99]);
    free(late_us);
}

static int app(void)
{
    measure("sleepers", 5 * WEFT_MS, 10);
    measure("sleepers_200ms", bench.smoke ? 10 * WEFT_MS : 100 * WEFT_MS, 10);
    measure("sleepers_1s", bench.smoke ? 10 * WEFT_MS : 500 * WEFT_MS, 3);
    return 0;
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, 100000, 200);
    return weft_run(app);
}
