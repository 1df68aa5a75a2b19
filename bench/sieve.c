/* sieve.c — the first 2,000 primes by a chain of goroutines, one for each prime so far, that pass on what it does not
   divide; unbuffered channels, two workers. Milliseconds for all of them; 2.0 million values are passed. */
#include "bench.h"

typedef weft_chan(long) numbers;

static weft_waitgroup filters;

/* Every number until nobody takes them. */
static void count_from_2(numbers to)
{
    for (long i = 2; weft_send(to, i) == 0;)
        i++;
}

static void filter(numbers from, numbers to, long prime)
{
    for (long i; weft_recv(from, &i);)
        if (i % prime != 0 && weft_send(to, i) != 0)
            break;
    weft_close(from);
}

static int64_t sieve(void)
{
    long prime = 0;
    numbers *links = calloc((size_t)bench.n + 1, sizeof *links);
    int64_t start = bench_now_ns();
    links[0] = weft_chan_make(long, 0);
    weft_wg_go(&filters, count_from_2, links[0]);
    for (long i = 0; i < bench.n; i++) {
        weft_recv(links[i], &prime);
        links[i + 1] = weft_chan_make(long, 0);
        weft_wg_go(&filters, filter, links[i], links[i + 1], prime);
    }
    int64_t took = bench_now_ns() - start;
    weft_close(links[bench.n]);
    weft_wg_wait(&filters);
    for (long i = 0; i <= bench.n; i++)
        weft_chan_free(links[i]);
    free(links);
    if (bench.n == 2000 && prime != 17389)
        bench_die("%ld is not the 2,000th prime", prime);
    return took;
}

static int app(void)
{
    bench_whole("sieve", sieve);
    return 0;
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, 2000, 20);
    bench_procs("2");
    return weft_run(app);
}
