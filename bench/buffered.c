/* buffered.c — a producer and a consumer on a channel of capacity 128, on one worker: nanoseconds an item. */
#include "bench.h"

static weft_chan(long) items;

static void producer(long n)
{
    for (long i = 0; i < n; i++)
        weft_send(items, i);
}

static int64_t consume(long n)
{
    long value;
    int64_t start = bench_now_ns();
    weft_go(producer, n);
    for (long i = 0; i < n; i++)
        weft_recv(items, &value);
    return bench_now_ns() - start;
}

static int app(void)
{
    items = weft_chan_make(long, 128);
    bench_each("buffered", consume);
    return 0;
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, 10000000, 1000);
    bench_procs("1");
    return weft_run(app);
}
