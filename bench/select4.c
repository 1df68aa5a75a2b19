/* select4.c — one goroutine selects over four unbuffered channels on which another sends in turn, on one worker. */
#include "bench.h"

static weft_chan(long) channels[4];

static void sender(long n)
{
    for (long i = 0; i < n; i++)
        weft_send(channels[i & 3], i);
}

static int64_t selects(long n)
{
    long value;
    int64_t start = bench_now_ns();
    weft_go(sender, n);
    for (long i = 0; i < n; i++)
        weft_select([0] = weft_on_recv(channels[0], &value), [1] = weft_on_recv(channels[1], &value),
                    [2] = weft_on_recv(channels[2], &value), [3] = weft_on_recv(channels[3], &value));
    return bench_now_ns() - start;
}

static int app(void)
{
    for (int i = 0; i < 4; i++)
        channels[i] = weft_chan_make(long, 0);
    bench_each("select4", selects);
    return 0;
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, 1000000, 1000);
    bench_procs("1");
    return weft_run(app);
}
