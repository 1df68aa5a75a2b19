/* sum.c — ten million numbers added up by divide and conquer on two workers: a goroutine for the left half, the right
   half oneself, down to pieces of at most 100; 131,071 goroutines. Milliseconds for the sum. */
#include "bench.h"

static uint32_t *numbers;

static void add_up(long first, long n, uint64_t *result)
{
    uint64_t sum = 0, left;
    if (n <= 100) {
        for (long i = first; i < first + n; i++)
            sum += numbers[i];
        *result = sum;
        return;
    }
    weft_waitgroup wg = {0};
    weft_wg_go(&wg, add_up, first, n / 2, &left);
    add_up(first + n / 2, n - n / 2, &sum);
    weft_wg_wait(&wg);
    *result = left + sum;
}

static int64_t whole_sum(void)
{
    uint64_t sum;
    int64_t start = bench_now_ns();
    add_up(0, bench.n, &sum);
    int64_t took = bench_now_ns() - start;
    if (sum != (uint64_t)bench.n * (uint64_t)(bench.n - 1) / 2)
        bench_die("the sum is %llu", (unsigned long long)sum);
    return took;
}

static int app(void)
{
    numbers = calloc((size_t)bench.n, sizeof *numbers);
    for (long i = 0; i < bench.n; i++)
        numbers[i] = (uint32_t)i;
    bench_whole("sum", whole_sum);
    free(numbers);
    return 0;
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, 10000000, 10000);
    bench_procs("2");
    return weft_run(app);
}
