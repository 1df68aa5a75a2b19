/* pingpong.c — a value sent there and back over two unbuffered channels on one worker: nanoseconds a round trip. */
#include "bench.h"

static weft_chan(long) there, back;

static void partner(void)
{
    for (long value; weft_recv(there, &value);)
        weft_send(back, value);
}

static int64_t round_trips(long n)
{
    int64_t start = bench_now_ns();
    for (long i = 0; i < n; i++) {
        long value;
        weft_send(there, i);
        weft_recv(back, &value);
    }
    return bench_now_ns() - start;
}

static int app(void)
{
    weft_waitgroup wg = {0};
    there = weft_chan_make(long, 0);
    back = weft_chan_make(long, 0);
    weft_wg_go(&wg, partner);
    bench_each("pingpong", round_trips);
    weft_close(there);
    weft_wg_wait(&wg);
    weft_chan_free(there);
    weft_chan_free(back);
    return 0;
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, 2000000, 1000);
    bench_procs("1");
    return weft_run(app);
}
