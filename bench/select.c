/* select.c — one goroutine selects over 4, and over 64, unbuffered channels on which another sends in turn, on one
   worker. */
#include "bench.h"

static weft_chan(long) channels[64];
static long value;

static void sender(long n, int width)
{
    for (long i = 0; i < n; i++)
        weft_send(channels[i & (width - 1)], i);
}

static int64_t selects4(long n)
{
    int64_t start = bench_now_ns();
    weft_go(sender, n, 4);
    for (long i = 0; i < n; i++)
        weft_select([0] = weft_on_recv(channels[0], &value), [1] = weft_on_recv(channels[1], &value),
                    [2] = weft_on_recv(channels[2], &value), [3] = weft_on_recv(channels[3], &value));
    return bench_now_ns() - start;
}

#define FROM(i) weft_on_recv(channels[i], &value)
#define FROM_4(i) FROM(i), FROM((i) + 1), FROM((i) + 2), FROM((i) + 3)
#define FROM_16(i) FROM_4(i), FROM_4((i) + 4), FROM_4((i) + 8), FROM_4((i) + 12)

static int64_t selects64(long n)
{
    int64_t start = bench_now_ns();
    weft_go(sender, n, 64);
    for (long i = 0; i < n; i++)
        weft_select(FROM_16(0), FROM_16(16), FROM_16(32), FROM_16(48));
    return bench_now_ns() - start;
}

static int app(void)
{
    for (int i = 0; i < 64; i++)
        channels[i] = weft_chan_make(long, 0);
    bench_each("select4", selects4);
    bench_each("select64", selects64);
    return 0;
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, 1000000, 1000);
    bench_procs("1");
    return weft_run(app);
}
