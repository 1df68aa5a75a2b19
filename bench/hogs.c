/* hogs.c — what goroutines keep of the machine beside others that block in the kernel or compute without pause.

     raw50 raw2           progress of a goroutine that counts and yields, beside 8 that loop {raw nanosleep, yield}, in per
                          cent of its progress alone; two workers, alternating windows of 2 s
     compute1 compute2    the same beside one and two that loop {30 ms of computing, yield}
     sleeper              one worker: lateness of 1 ms sleeps beside such a computing goroutine
     endless              the same beside one that never yields
     pipes                1,000 goroutines in a blocking read on a pipe each; all are written to
     cpu400               400 goroutines that each compute for 50 ms of CPU time, against two pthreads that do 200 each

   hogs [--smoke] [--json] [name ...]. A process for each. */
#include "bench.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#define MS INT64_C(1000000)

static _Atomic bool stop;

/* A nanosleep that nothing intercepts. */
static void raw_sleep(int64_t ns)
{
    struct timespec t = {ns / 1000000000, ns % 1000000000};
    syscall(SYS_nanosleep, &t, NULL);
}

/* Until the thread's CPU clock has advanced so far; no goroutine moves meanwhile. */
static void compute(int64_t cpu_ns)
{
    int64_t end = bench_clock_ns(CLOCK_THREAD_CPUTIME_ID) + cpu_ns;
    while (bench_clock_ns(CLOCK_THREAD_CPUTIME_ID) < end)
        for (volatile int i = 0; i < 10000; i++)
            ;
}

static void blocker(int64_t ns)
{
    while (!stop) {
        raw_sleep(ns);
        weft_yield();
    }
}

static void computer(int64_t cpu_ns)
{
    while (!stop) {
        compute(cpu_ns);
        weft_yield();
    }
}

/* ---- progress beside hogs ---- */

static _Atomic long count;
static _Atomic bool count_stop;

static void counter(void)
{
    while (!atomic_load_explicit(&count_stop, memory_order_relaxed)) {
        atomic_store_explicit(&count, atomic_load_explicit(&count, memory_order_relaxed) + 1, memory_order_relaxed);
        weft_yield();
    }
}

/* Counts per second. */
static double window(void)
{
    raw_sleep(bench.smoke ? 5 * MS : 50 * MS); /* the change has settled */
    long before = count;
    int64_t start = bench_now_ns();
    raw_sleep(bench.n * MS);
    return (double)(count - before) * 1e9 / (double)(bench_now_ns() - start);
}

static void progress(const char *name, int hogs, bool blocks, int64_t ns)
{
    struct bench_series kept = {0};
    double per_second[BENCH_MAX_ROUNDS];
    weft_waitgroup counting = {0};
    int rounds = bench.smoke ? 1 : bench.rounds < 5 ? bench.rounds : 5;
    weft_wg_go(&counting, counter);
    for (int i = 0; i < rounds; i++) {
        weft_waitgroup wg = {0};
        per_second[i] = window();
        stop = false;
        for (int h = 0; h < hogs; h++) {
            if (blocks)
                weft_wg_go(&wg, blocker, ns);
            else
                weft_wg_go(&wg, computer, ns);
        }
        bench_add(&kept, window() / per_second[i] * 100);
        stop = true;
        weft_wg_wait(&wg);
    }
    count_stop = true;
    weft_wg_wait(&counting);
    char line[64], note[64];
    snprintf(line, sizeof line, "hogs.%s", name);
    snprintf(note, sizeof note, "alone %.2f million/s", bench_median(per_second, rounds) / 1e6);
    bench_print(line, "%", &kept, note);
}

static void raw50(double *unused)
{
    (void)unused;
    bench_procs("2");
    progress("raw50", 8, true, 50 * MS);
}

static void raw2(double *unused)
{
    (void)unused;
    bench_procs("2");
    progress("raw2", 8, true, 2 * MS);
}

static void compute1(double *unused)
{
    (void)unused;
    bench_procs("2");
    progress("compute1", 1, false, 30 * MS);
}

static void compute2(double *unused)
{
    (void)unused;
    bench_procs("2");
    progress("compute2", 2, false, 30 * MS);
}

/* ---- a sleeper beside a hog ---- */

#define MAX_SLEEPS 100000
static double late_ms[MAX_SLEEPS];
static int sleeps;

static void sleeper(void)
{
    for (sleeps = 0; sleeps < MAX_SLEEPS && !stop; sleeps++) {
        int64_t due = bench_now_ns() + MS;
        weft_sleep(MS);
        late_ms[sleeps] = (double)(bench_now_ns() - due) / 1e6;
    }
}

static void endless(int64_t cpu_ns)
{
    (void)cpu_ns;
    while (!stop) {
    }
}

static void beside(const char *name, void (*hog)(int64_t cpu_ns))
{
    static const char *const parts[] = {"p50", "p99", "max"};
    weft_waitgroup wg = {0};
    bench_procs("1");
    weft_wg_go(&wg, hog, 30 * MS);
    weft_wg_go(&wg, sleeper);
    raw_sleep(bench.smoke ? 500 * MS : 10 * bench.n / 2 * MS);
    stop = true;
    weft_wg_wait(&wg);
    if (sleeps == 0)
        bench_die("the sleeper never woke");
    qsort(late_ms, (size_t)sleeps, sizeof *late_ms, bench_compare);
    double values[] = {late_ms[sleeps / 2], late_ms[sleeps - 1 - sleeps / 100], late_ms[sleeps - 1]};
    for (int i = 0; i < 3; i++) {
        char line[64], note[64];
        snprintf(line, sizeof line, "hogs.%s.%s", name, parts[i]);
        snprintf(note, sizeof note, "late, of %d sleeps", sleeps);
        bench_print_value(line, "ms", values[i], note);
    }
}

static void sleeper_beside_hog(double *unused)
{
    (void)unused;
    beside("sleeper", computer);
}

static void sleeper_beside_endless(double *unused)
{
    (void)unused;
    beside("endless", endless);
}

/* ---- the number of threads, sampled ---- */

static _Atomic bool sampling;
static _Atomic long peak_threads;
static pthread_t sampler;

static void *sample(void *unused)
{
    while (sampling) {
        long threads = bench_status("Threads:");
        if (threads > peak_threads)
            peak_threads = threads;
        raw_sleep(2 * MS);
    }
    return unused;
}

static void sampling_start(void)
{
    sampling = true;
    peak_threads = 0;
    if (pthread_create(&sampler, NULL, sample, NULL) != 0)
        bench_die("no thread");
}

static void sampling_stop(void)
{
    sampling = false;
    pthread_join(sampler, NULL);
}

/* ---- blocking reads ---- */

static _Atomic int reading, have_read;

static void reader(int fd)
{
    char byte;
    reading++;
    if (read(fd, &byte, 1) == 1)
        have_read++;
}

static void pipes(double *unused)
{
    (void)unused;
    int n = bench.smoke ? 50 : 1000;
    int(*ends)[2] = calloc((size_t)n, sizeof *ends);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max < 4096 ? files.rlim_max : 4096;
    setrlimit(RLIMIT_NOFILE, &files);
    bench_procs("2");
    sampling_start();
    weft_waitgroup wg = {0};
    for (int i = 0; i < n; i++) {
        if (pipe(ends[i]) != 0)
            bench_die("no more pipes after %d", i);
        weft_wg_go(&wg, reader, ends[i][0]);
    }
    int64_t start = bench_now_ns();
    while (reading < n && bench_now_ns() - start < 30000 * MS)
        raw_sleep(MS);
    double blocked_ms = (double)(bench_now_ns() - start) / 1e6;
    int all = reading;
    raw_sleep(50 * MS);
    start = bench_now_ns();
    for (int i = 0; i < n; i++)
        if (write(ends[i][1], "x", 1) != 1)
            bench_die("write failed");
    while (have_read < n && bench_now_ns() - start < 30000 * MS)
        raw_sleep(MS);
    double woken_ms = (double)(bench_now_ns() - start) / 1e6;
    sampling_stop();
    char note[128];
    snprintf(note, sizeof note, "of %d; %d were blocked after %.0f ms; done %.0f ms after the writes", n, all, blocked_ms,
             woken_ms);
    bench_print_value("hogs.pipes", "done", have_read, note);
    bench_print_value("hogs.pipes.threads", "peak", (double)peak_threads, "");
    free(ends);
}

/* ---- many that compute ---- */

static int64_t piece_ns;

static void *many_pieces(void *argument)
{
    for (int i = 0; i < *(int *)argument; i++)
        compute(piece_ns);
    return NULL;
}

static void one_piece(void)
{
    compute(piece_ns);
}

static void cpu400(double *unused)
{
    (void)unused;
    int half = bench.smoke ? 4 : 200;
    piece_ns = bench.smoke ? 5 * MS : 50 * MS;
    bench_procs("2");
    pthread_t threads[2];
    int64_t start = bench_now_ns();
    for (int i = 0; i < 2; i++)
        if (pthread_create(&threads[i], NULL, many_pieces, &half) != 0)
            bench_die("no thread");
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    double threads_ms = (double)(bench_now_ns() - start) / 1e6;
    sampling_start();
    weft_waitgroup wg = {0};
    start = bench_now_ns();
    for (int i = 0; i < 2 * half; i++)
        weft_wg_go(&wg, one_piece);
    weft_wg_wait(&wg);
    double ms = (double)(bench_now_ns() - start) / 1e6;
    sampling_stop();
    char note[64];
    snprintf(note, sizeof note, "%.0f ms against %.0f ms", ms, threads_ms);
    bench_print_value("hogs.cpu400", "x", ms / threads_ms, note);
    bench_print_value("hogs.cpu400.threads", "peak", (double)peak_threads, "");
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*measure)(double *unused);
    } parts[] = {
        {"raw50", raw50},
        {"raw2", raw2},
        {"compute1", compute1},
        {"compute2", compute2},
        {"sleeper", sleeper_beside_hog},
        {"endless", sleeper_beside_endless},
        {"pipes", pipes},
        {"cpu400", cpu400},
    };
    enum { PARTS = sizeof parts / sizeof *parts };
    double nothing[1] = {0};
    bench_begin(argc, argv, 2000, 50); /* milliseconds a window */
    for (int w = 0; w < bench.word_count; w++) {
        int i = 0;
        while (i < PARTS && strcmp(parts[i].name, bench.words[w]) != 0)
            i++;
        if (i == PARTS)
            bench_die("unknown part %s", bench.words[w]);
    }
    for (int i = 0; i < PARTS; i++) {
        bool wanted = bench.word_count == 0;
        for (int w = 0; w < bench.word_count; w++)
            wanted |= strcmp(parts[i].name, bench.words[w]) == 0;
        if (wanted)
            bench_in_child(parts[i].measure, nothing, 1);
    }
    return 0;
}
