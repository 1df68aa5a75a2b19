/* skynet.c — a tree of goroutines, ten children each, down to a million leaves; every node sends the sum of its children
   up an unbuffered channel. On two workers: milliseconds for the tree. */
#include "bench.h"

typedef weft_chan(int64_t) sum_chan;

static void tree(sum_chan up, int64_t first, int64_t leaves)
{
    if (leaves == 1) {
        weft_send(up, first);
        return;
    }
    sum_chan down = weft_chan_make(int64_t, 0);
    int64_t sum = 0, part = leaves / 10;
    for (int i = 0; i < 10; i++)
        weft_go(tree, down, first + i * part, part);
    for (int i = 0; i < 10; i++) {
        int64_t value;
        weft_recv(down, &value);
        sum += value;
    }
    weft_chan_free(down);
    weft_send(up, sum);
}

static double once_ms(int64_t leaves)
{
    int64_t sum;
    sum_chan result = weft_chan_make(int64_t, 0);
    int64_t start = bench_now_ns();
    weft_go(tree, result, (int64_t)0, leaves);
    weft_recv(result, &sum);
    double ms = (double)(bench_now_ns() - start) / 1e6;
    weft_chan_free(result);
    if (sum != leaves * (leaves - 1) / 2)
        bench_die("the sum is %lld", (long long)sum);
    return ms;
}

static int app(void)
{
    struct bench_series series = {0};
    int64_t leaves = 1;
    while (leaves < bench.n) /* a power of ten */
        leaves *= 10;
    once_ms(leaves / 10 ? leaves / 10 : 1);
    for (int i = 0; i < bench.rounds; i++)
        bench_add(&series, once_ms(leaves));
    bench_print("skynet", "ms", &series, "");
    return 0;
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, 1000000, 100);
    bench_procs("2");
    return weft_run(app);
}
