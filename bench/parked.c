/* parked.c — memory and time of a million goroutines on one worker.
   parked: each waits to receive. Bytes each of resident memory and page tables, time to create and park one, time to wake
   one and end it. queued: each was started and none has run, because the first that does keeps the worker; those that run
   when the monitor moves it on wait too. A process for every round, because memory is measured once. */
#include "bench.h"

enum { BYTES, CREATE, WAKE, NUMBERS };

static weft_chan(int) gate;
static _Atomic long running;
static _Atomic bool released;

static void wait_at_gate(void)
{
    running++;
    weft_recv(gate, NULL);
    running--;
}

static void keep_worker(void)
{
    while (!released)
        for (volatile int i = 0; i < 1000; i++)
            ;
}

static void start_runtime(void)
{
    gate = weft_chan_make(int, 0);
    running = 0;
    weft_go(wait_at_gate);
    while (running != 1)
        weft_yield();
}

static int measure_parked(double *out)
{
    start_runtime();
    double before = bench_memory_bytes();
    int64_t start = bench_now_ns();
    for (long i = 0; i < bench.n; i++)
        weft_go(wait_at_gate);
    while (running != bench.n + 1)
        weft_yield();
    out[CREATE] = (double)(bench_now_ns() - start) / (double)bench.n;
    out[BYTES] = (bench_memory_bytes() - before) / (double)bench.n;
    start = bench_now_ns();
    weft_close(gate);
    while (running != 0)
        weft_yield();
    out[WAKE] = (double)(bench_now_ns() - start) / (double)bench.n;
    return 0;
}

static int measure_queued(double *out)
{
    start_runtime();
    double before = bench_memory_bytes();
    int64_t start = bench_now_ns();
    for (long i = 0; i < bench.n; i++)
        weft_go(keep_worker);
    out[CREATE] = (double)(bench_now_ns() - start) / (double)bench.n;
    out[BYTES] = (bench_memory_bytes() - before) / (double)bench.n;
    released = true;
    weft_close(gate);
    return 0;
}

static void parked(double *out)
{
    weft_run(measure_parked, out);
}

static void queued(double *out)
{
    weft_run(measure_queued, out);
}

static void measure(const char *name, void (*how)(double *out), int numbers)
{
    static const char *const parts[NUMBERS] = {"bytes", "create", "wake"}, *const units[NUMBERS] = {"B", "ns", "ns"};
    struct bench_series series[NUMBERS] = {0};
    if (!bench_wanted(name))
        return;
    for (int round = 0; round < 3 && round < bench.rounds; round++) {
        double out[NUMBERS] = {0};
        bench_in_child(how, out, NUMBERS);
        for (int i = 0; i < NUMBERS; i++)
            bench_add(&series[i], out[i]);
    }
    for (int i = 0; i < numbers; i++) {
        char line[64];
        snprintf(line, sizeof line, "%s.%s", name, parts[i]);
        bench_print(line, units[i], &series[i], "");
    }
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, 1000000, 200);
    bench_procs("1");
    measure("parked", parked, NUMBERS);
    measure("queued", queued, WAKE);
    return 0;
}
