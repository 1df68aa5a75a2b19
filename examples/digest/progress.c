/* The progress line: a goroutine that sleeps from one tick to the next, until the end of its context ends the sleep. */
#include "pipeline.h"

#include <stdio.h>

static void show(struct tally *tally, int64_t start_ns, const char *end)
{
    double seconds = (double)(weft_now() - start_ns) / WEFT_SECOND;
    double megabytes = (double)atomic_load(&tally->bytes) / 1e6;
    fprintf(stderr, "\r%llu files, %.1f MB, %.0f MB/s\033[K%s", (unsigned long long)atomic_load(&tally->files), megabytes,
            seconds > 0 ? megabytes / seconds : 0.0, end);
    fflush(stderr);
}

int progress(struct tally *tally)
{
    int64_t start_ns = weft_now();
    while (weft_sleep(100 * WEFT_MS) == 0)
        show(tally, start_ns, "");
    show(tally, start_ns, "\n");
    return 0;
}
