/* file.c — files: 4 KiB from random places, cached and not, small writes and syncs; by weft with its ring, by weft with
   threads (WEFT_URING=0), and by plain calls: one after another, and on PLAIN_THREADS threads. Nanoseconds per operation.

     file.cached.*      one goroutine; what is asked for is in memory
     file.uncached.*    256 goroutines, O_DIRECT: every read is one of the disk
     file.write.*       one goroutine; 100 bytes each
     file.sync.*        64 goroutines; each round a write and an fdatasync, in 8 files
     file.blocking      weft_blocking of a function that does nothing
     file.beside.*      how much of its speed a computation on every worker keeps beside those syncs, in percent */
#define _GNU_SOURCE 1 /* O_DIRECT */
#include "bench.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>

enum { BLOCK = 4096, READERS = 256, SYNCERS = 64, FILES = 8, PLAIN_THREADS = 16 };

static int cached = -1, direct = -1, files[FILES];
static int blocks; /* of the files that are read */
static atomic_long left;
static bool plain; /* calls instead of weft's */

static int open_file(const char *directory, int flags, int n)
{
    char path[256];
    snprintf(path, sizeof path, "%s/weft-bench-XXXXXX", directory);
    int fd = mkostemp(path, O_CLOEXEC), other;
    if (fd < 0)
        bench_die("no file in %s", directory);
    char *block = NULL;
    if (posix_memalign((void **)&block, BLOCK, BLOCK))
        bench_die("no memory");
    memset(block, 'x', BLOCK);
    for (int i = 0; i < n; i++)
        if (pwrite(fd, block, BLOCK, (off_t)i * BLOCK) != BLOCK)
            bench_die("no room in %s", directory);
    free(block);
    fdatasync(fd);
    other = open(path, O_RDWR | O_CLOEXEC | flags);
    unlink(path);
    close(fd);
    return other;
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005U + 1442695040888963407U;
    return *state >> 33;
}

static void read_blocks(int fd, uint64_t seed)
{
    char *block = NULL;
    if (posix_memalign((void **)&block, BLOCK, BLOCK))
        bench_die("no memory");
    while (atomic_fetch_sub(&left, 1) > 0) {
        off_t offset = (off_t)(next_random(&seed) % (unsigned)blocks) * BLOCK;
        if ((plain ? pread(fd, block, BLOCK, offset) : weft_pread(fd, block, BLOCK, offset)) != BLOCK)
            bench_die("a read failed");
    }
    free(block);
}

static void write_little(int fd, uint64_t seed)
{
    char text[100] = {0};
    while (atomic_fetch_sub(&left, 1) > 0) {
        off_t offset = (off_t)(next_random(&seed) % (unsigned)blocks) * 100;
        if ((plain ? pwrite(fd, text, sizeof text, offset) : weft_pwrite(fd, text, sizeof text, offset)) != sizeof text)
            bench_die("a write failed");
    }
}

static void write_and_sync(int unused, uint64_t seed)
{
    (void)unused;
    int fd = files[seed % FILES];
    char text[100] = {0};
    while (atomic_fetch_sub(&left, 1) > 0) {
        off_t offset = (off_t)(next_random(&seed) % 1000) * 100;
        bool good = plain ? pwrite(fd, text, sizeof text, offset) == sizeof text && fdatasync(fd) == 0
                          : weft_pwrite(fd, text, sizeof text, offset) == sizeof text && weft_fdatasync(fd) == 0;
        if (!good)
            bench_die("a sync failed");
    }
}

/* ---- so many at a time ---- */

struct job {
    void (*run)(int fd, uint64_t seed);
    int fd;
    uint64_t seed;
};

static void *run_on_thread(void *argument)
{
    struct job *job = argument;
    job->run(job->fd, job->seed);
    return NULL;
}

/* On that many threads, or goroutines. */
static double measure(void (*run)(int fd, uint64_t seed), int fd, int n, long operations)
{
    atomic_store(&left, operations);
    int64_t start_ns = bench_now_ns();
    if (!plain) {
        weft_waitgroup wg = {0};
        for (int i = 0; i < n; i++)
            weft_wg_go(&wg, run, fd, (uint64_t)i);
        weft_wg_wait(&wg);
    } else if (n == 1) {
        run(fd, 0);
    } else {
        pthread_t threads[PLAIN_THREADS];
        struct job jobs[PLAIN_THREADS];
        for (int i = 0; i < PLAIN_THREADS; i++) {
            jobs[i] = (struct job){run, fd, (uint64_t)i};
            if (pthread_create(&threads[i], NULL, run_on_thread, &jobs[i]) != 0)
                bench_die("no thread");
        }
        for (int i = 0; i < PLAIN_THREADS; i++)
            pthread_join(threads[i], NULL);
    }
    return (double)(bench_now_ns() - start_ns) / (double)operations;
}

/* ---- beside a computation ---- */

static atomic_bool stop;

static unsigned long long compute(unsigned long long x)
{
    for (int i = 0; i < 20000; i++)
        x = x * 6364136223846793005U + 1;
    return x;
}

static void count_computations(atomic_long *count)
{
    volatile unsigned long long x = 1;
    while (!atomic_load(&stop)) {
        x = compute(x);
        atomic_fetch_add(count, 1);
        weft_yield();
    }
}

/* Per second, on all workers; beside syncs when there are any to do. */
static double computations(long syncs)
{
    atomic_long count = 0;
    weft_waitgroup wg = {0};
    atomic_store(&stop, false);
    int64_t start_ns = bench_now_ns();
    for (int i = 0; i < weft_procs(); i++)
        weft_wg_go(&wg, count_computations, &count);
    if (syncs)
        measure(write_and_sync, -1, SYNCERS, syncs);
    else
        weft_sleep(bench.smoke ? WEFT_MS : 300 * WEFT_MS);
    double seconds = (double)(bench_now_ns() - start_ns) / 1e9;
    atomic_store(&stop, true);
    weft_wg_wait(&wg);
    return (double)atomic_load(&count) / seconds;
}

/* ---- the ways ---- */

enum { WAYS = 4, KINDS = 6 };
static const char *const ways[WAYS] = {"ring", "threads", "plain", "plain16"};
static const char *const kinds[KINDS] = {"cached", "uncached", "write", "sync", "blocking", "beside"};

static void do_nothing(void)
{
}

static double blocking_ns(long n)
{
    int64_t start_ns = bench_now_ns();
    for (long i = 0; i < n; i++)
        weft_blocking(do_nothing);
    return (double)(bench_now_ns() - start_ns) / (double)n;
}

static double *results;
static int way;

static int app(void)
{
    int many = way == 2 ? 1 : READERS;
    results[0] = measure(read_blocks, cached, 1, bench.n);
    results[1] = measure(read_blocks, direct, many, bench.n / 50 + 1);
    results[2] = measure(write_little, cached, 1, bench.n);
    results[3] = measure(write_and_sync, -1, way == 2 ? 1 : SYNCERS, bench.n / 200 + 1);
    if (way < 2) {
        results[4] = blocking_ns(bench.n / 2 + 1);
        double alone = computations(0);
        results[5] = 100 * computations(bench.n / 200 + 1) / alone;
    }
    return 0;
}

static void measure_way(double *out)
{
    results = out;
    plain = way >= 2;
    setenv("WEFT_URING", way == 1 ? "0" : "1", 1);
    if (plain)
        app();
    else
        weft_run(app);
}

int main(int argc, char **argv)
{
    static struct bench_series series[WAYS][KINDS];
    bench_begin(argc, argv, 200000, 200);
    const char *directory = bench.word_count ? bench.words[0] : "/var/tmp";
    blocks = bench.smoke ? 256 : 16384;
    cached = open_file(directory, 0, blocks);
    direct = open_file(directory, O_DIRECT, blocks);
    if (direct < 0) { /* a file system without it */
        direct = open_file(directory, 0, blocks);
        posix_fadvise(direct, 0, 0, POSIX_FADV_DONTNEED);
    }
    for (int i = 0; i < FILES; i++)
        files[i] = open_file(directory, 0, 25);
    for (int round = 0; round < bench.rounds; round++)
        for (way = 0; way < WAYS; way++) {
            double out[KINDS] = {0};
            bench_in_child(measure_way, out, KINDS);
            for (int kind = 0; kind < KINDS; kind++)
                if (out[kind] > 0)
                    bench_add(&series[way][kind], out[kind]);
        }
    for (int kind = 0; kind < KINDS; kind++)
        for (way = 0; way < WAYS; way++) {
            char name[64];
            snprintf(name, sizeof name, "file.%s.%s", kinds[kind], ways[way]);
            if (series[way][kind].n)
                bench_print(name, kind == 5 ? "%" : "ns", &series[way][kind], "");
        }
    return 0;
}
