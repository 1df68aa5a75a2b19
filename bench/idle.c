/* idle.c — the CPU time that a program uses in 10 seconds in which 1,000 goroutines wait and nothing happens. */
#include "bench.h"

static weft_chan(int) never;
static _Atomic int waiting;

static void waiter(void)
{
    waiting++;
    weft_recv(never, NULL);
}

static int app(void)
{
    int count = bench.smoke ? 100 : 1000;
    never = weft_chan_make(int, 0);
    for (int i = 0; i < count; i++)
        weft_go(waiter);
    while (waiting != count)
        weft_yield();
    weft_sleep(100 * WEFT_MS); /* what was started has come to rest */
    double cpu = bench_cpu_ms();
    weft_sleep(bench.n * WEFT_MS);
    cpu = bench_cpu_ms() - cpu;
    char note[64];
    snprintf(note, sizeof note, "of CPU in %.1f s", (double)bench.n / 1e3);
    bench_print_value("idle", "ms", cpu, note);
    weft_close(never);
    return 0;
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, 10000, 100); /* milliseconds */
    return weft_run(app);
}
