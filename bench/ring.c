/* ring.c — 1,000 goroutines in a ring of unbuffered channels pass one token, on one worker: nanoseconds a hop. */
#include "bench.h"

static int size = 1000;
static weft_chan(long) * links; /* node i receives from links[i] and sends to the next */
static weft_chan(long) done;

static void node(int i)
{
    weft_chan(long) from = links[i], to = links[(i + 1) % size];
    for (long hops; weft_recv(from, &hops);)
        weft_send(hops > 1 ? to : done, hops - 1);
    weft_close(to);
}

static int64_t pass(long n)
{
    long end;
    int64_t start = bench_now_ns();
    weft_send(links[0], n);
    weft_recv(done, &end);
    return bench_now_ns() - start;
}

static int app(void)
{
    weft_waitgroup wg = {0};
    if (bench.smoke)
        size = 100;
    links = calloc((size_t)size, sizeof *links);
    done = weft_chan_make(long, 0);
    for (int i = 0; i < size; i++)
        links[i] = weft_chan_make(long, 0);
    for (int i = 0; i < size; i++)
        weft_wg_go(&wg, node, i);
    bench_each("ring", pass);
    weft_close(links[0]);
    weft_wg_wait(&wg);
    for (int i = 0; i < size; i++)
        weft_chan_free(links[i]);
    weft_chan_free(done);
    free(links);
    return 0;
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, 5000000, 1000);
    bench_procs("1");
    return weft_run(app);
}
