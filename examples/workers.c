/* workers: start several goroutines and wait for all of them, with a WaitGroup.

   A WaitGroup counts what is still to be done. weft_wg_go adds one, starts the goroutine, and takes one away when its
   function has returned; weft_wg_wait blocks until the count is 0. It needs no set-up but zeroes, and no destroy.

   Every worker writes into a slot of its own, and main reads the slots only after the wait, so no lock is needed: what a
   goroutine did before it was done, the waiting one sees. */
#include <stdio.h>
#include <weft.h>

enum { WORKERS = 5 };

static long long factorial(int n)
{
    return n < 2 ? 1 : n * factorial(n - 1);
}

static void work(int id, long long *result)
{
    weft_sleep((WORKERS - id) * WEFT_MS); /* only the goroutine sleeps; its thread runs the others meanwhile */
    *result = factorial(4 * id);
}

int main(void)
{
    weft_waitgroup wg = {0};
    long long results[WORKERS];

    for (int id = 1; id <= WORKERS; id++)
        weft_wg_go(&wg, work, id, &results[id - 1]);
    weft_wg_wait(&wg);

    for (int id = 1; id <= WORKERS; id++)
        printf("worker %d: %2d! = %lld\n", id, 4 * id, results[id - 1]);
    puts("All workers have finished.");
    return 0;
}
