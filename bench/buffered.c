/* buffered.c — buffered channels on one worker, nanoseconds an item: a producer and a consumer on a channel of
   capacity 128, 1, 4,096; and the same with four of each. */
#include "bench.h"

enum { SIDES = 4 };

static weft_chan(long) items;
static _Atomic long received; /* by all consumers */

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

static void consumer(long n)
{
    long value, got = 0;
    while (got < n && weft_recv(items, &value))
        got++;
    received += got;
}

static long share(long n, int side)
{
    return n / SIDES + (side < n % SIDES);
}

static int64_t by_many(long n)
{
    weft_waitgroup wg = {0};
    received = 0;
    int64_t start = bench_now_ns();
    for (int i = 0; i < SIDES; i++) {
        weft_wg_go(&wg, producer, share(n, i));
        weft_wg_go(&wg, consumer, share(n, i));
    }
    weft_wg_wait(&wg);
    int64_t took = bench_now_ns() - start;
    if (received != n)
        bench_die("%ld items instead of %ld", received, n);
    return took;
}

static int app(void)
{
    static const struct {
        const char *name;
        size_t capacity;
        int64_t (*round)(long n);
    } parts[] = {
        {"buffered.cap128", 128, consume}, {"buffered.cap1", 1, consume},      {"buffered.cap4096", 4096, consume},
        {"buffered.mpmc1", 1, by_many},    {"buffered.mpmc128", 128, by_many}, {"buffered.mpmc4096", 4096, by_many},
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        items = weft_chan_make(long, parts[i].capacity);
        bench_each(parts[i].name, parts[i].round);
        weft_chan_free(items);
    }
    return 0;
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, 10000000, 1000);
    bench_procs("1");
    return weft_run(app);
}
