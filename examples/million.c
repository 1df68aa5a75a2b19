/* million: a million goroutines at once.

   Every one is started, says that it is there, and then waits on a channel. When all are waiting, the program looks at its
   own memory; then it closes the channel, which wakes them all, and waits until all have ended. Each has a stack of its
   own, guarded against overflow; only the part that it has touched takes memory.

   usage: million [N] */
#include <stdio.h>
#include <stdlib.h>
#include <weft.h>

static void wait_at(weft_chan(char) gate, weft_waitgroup *arrived)
{
    weft_wg_done(arrived);
    weft_recv(gate, NULL);
}

/* What the process uses, in KiB: memory that is resident, and the page tables that map it. */
static long memory_kib(void)
{
    char line[256];
    long total = 0, value;
    FILE *status = fopen("/proc/self/status", "r");
    while (status != NULL && fgets(line, sizeof line, status) != NULL)
        if (sscanf(line, "VmRSS: %ld", &value) == 1 || sscanf(line, "VmPTE: %ld", &value) == 1)
            total += value;
    if (status != NULL)
        fclose(status);
    return total;
}

static int million(int n)
{
    weft_waitgroup arrived = {0}, finished = {0};
    weft_chan(char) gate = weft_chan_make(char, 0);
    weft_wg_add(&arrived, n);

    long before_kib = memory_kib();
    int64_t start = weft_now();
    for (int i = 0; i < n; i++)
        weft_wg_go(&finished, wait_at, gate, &arrived);
    weft_wg_wait(&arrived);
    int64_t created_ns = weft_now() - start;
    long used_kib = memory_kib() - before_kib;

    start = weft_now();
    weft_close(gate);
    weft_wg_wait(&finished);
    int64_t finished_ns = weft_now() - start;
    weft_chan_free(gate);

    printf("goroutines:       %d\n", n);
    printf("create and park:  %.3f s, %.0f ns each\n", (double)created_ns / WEFT_SECOND, (double)created_ns / n);
    printf("memory:           %.2f KiB each (resident, with page tables)\n", (double)used_kib / n);
    printf("wake and finish:  %.3f s, %.0f ns each\n", (double)finished_ns / WEFT_SECOND, (double)finished_ns / n);
    return 0;
}

int main(int argc, char **argv)
{
    long n = 1000000;
    char *end = NULL;
    if (argc > 1)
        n = strtol(argv[1], &end, 10);
    if (argc > 2 || (end != NULL && (end == argv[1] || *end != '\0')) || n < 1 || n > 100000000) {
        fprintf(stderr, "usage: million [N]     N goroutines, 1 to 100000000; 1000000 when left out\n");
        return 2;
    }
    return weft_run(million, (int)n); /* as a goroutine: cheaper to start others from than an ordinary thread */
}
