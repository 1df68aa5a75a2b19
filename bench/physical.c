/* physical.c — what the machine itself takes for the things that a scheduler is made of. */
#define _GNU_SOURCE
#include "bench.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>

static int cpus[2]; /* two that the program may use; the same one when it has just one */

static int find_cpus(void)
{
    cpu_set_t set;
    int found = 0;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        bench_die("no affinity mask");
    for (int cpu = 0; cpu < CPU_SETSIZE && found < 2; cpu++)
        if (CPU_ISSET(cpu, &set))
            cpus[found++] = cpu;
    return found;
}

static void stay_on(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static int64_t locked_adds(long n)
{
    static _Atomic long word;
    int64_t start = bench_now_ns();
    for (long i = 0; i < n; i++)
        atomic_fetch_add(&word, 1);
    return bench_now_ns() - start;
}

static int64_t system_calls(long n)
{
    int64_t start = bench_now_ns();
    for (long i = 0; i < n; i++)
        syscall(SYS_getppid);
    return bench_now_ns() - start;
}

/* ---- a cache line between two cores ---- */

static _Atomic long line __attribute__((aligned(128)));

static void *answer(void *argument)
{
    long n = *(long *)argument;
    stay_on(cpus[1]);
    for (long i = 0; i <= n; i++) {
        while (atomic_load_explicit(&line, memory_order_acquire) != 2 * i + 1) /* pairs with the other's release */
            ;
        atomic_store_explicit(&line, 2 * i + 2, memory_order_release);
    }
    return NULL;
}

static void ask(long i)
{
    atomic_store_explicit(&line, 2 * i + 1, memory_order_release); /* pairs with the other's acquire */
    while (atomic_load_explicit(&line, memory_order_acquire) != 2 * i + 2)
        ;
}

static int64_t line_round_trips(long n)
{
    pthread_t thread;
    atomic_store(&line, 0);
    if (pthread_create(&thread, NULL, answer, &n) != 0)
        bench_die("no thread");
    ask(0); /* the other has arrived */
    int64_t start = bench_now_ns();
    for (long i = 1; i <= n; i++)
        ask(i);
    int64_t took = bench_now_ns() - start;
    pthread_join(thread, NULL);
    return took;
}

/* ---- waking a thread that sleeps on an idle core ---- */

static _Atomic uint32_t word;
static _Atomic int64_t woken_ns;

static void *sleeper(void *argument)
{
    long n = *(long *)argument;
    stay_on(cpus[1]);
    for (uint32_t i = 0; i < (uint32_t)n; i++) {
        while (atomic_load(&word) == i)
            syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, i, NULL, NULL, 0);
        atomic_store(&woken_ns, bench_now_ns());
    }
    return NULL;
}

static void wakes(void)
{
    struct bench_series send = {0}, arrive = {0};
    long n = bench.smoke ? 5 : 200;
    double *sent = calloc((size_t)n, sizeof *sent), *arrived = calloc((size_t)n, sizeof *arrived);
    for (int round = 0; round < bench.rounds; round++) {
        pthread_t thread;
        atomic_store(&word, 0);
        if (pthread_create(&thread, NULL, sleeper, &n) != 0)
            bench_die("no thread");
        for (long i = 0; i < n; i++) {
            struct timespec pause = {0, 500000};
            nanosleep(&pause, NULL);
            atomic_store(&woken_ns, 0);
            int64_t start = bench_now_ns();
            atomic_store(&word, (uint32_t)i + 1);
            syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
            sent[i] = (double)(bench_now_ns() - start);
            while (atomic_load(&woken_ns) == 0)
                sched_yield();
            arrived[i] = (double)(atomic_load(&woken_ns) - start);
        }
        pthread_join(thread, NULL);
        qsort(sent, (size_t)n, sizeof *sent, bench_compare);
        qsort(arrived, (size_t)n, sizeof *arrived, bench_compare);
        bench_add(&send, sent[n / 2]);
        bench_add(&arrive, arrived[n / 2]);
    }
    bench_print("physical.wake.send", "ns", &send, "");
    bench_print("physical.wake.arrive", "ns", &arrive, "");
    free(sent);
    free(arrived);
}

static int64_t page_touches(long n)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), size = (size_t)n * page;
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        bench_die("no memory");
    madvise(memory, size, MADV_NOHUGEPAGE);
    int64_t start = bench_now_ns();
    for (size_t i = 0; i < size; i += page)
        ((volatile char *)memory)[i] = 1;
    int64_t took = bench_now_ns() - start;
    munmap(memory, size);
    return took;
}

static void each(const char *name, long divisor, int64_t (*round)(long n))
{
    long n = bench.n;
    bench.n = n / divisor > 2 ? n / divisor : 2;
    bench_each(name, round);
    bench.n = n;
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, 10000000, 100);
    struct bench_series bare = {0};
    int found = find_cpus();
    for (int i = 0; i < bench.rounds; i++)
        bench_add(&bare, bare_switch_ns(bench.smoke ? 100 : 100000));
    bench_print("physical.switch", "ns", &bare, "");
    each("physical.locked_add", 1, locked_adds);
    each("physical.system_call", 10, system_calls);
    each("physical.page", 500, page_touches);
    if (found < 2) {
        fprintf(stderr, "%s: one CPU only: no cache-line round trip, no wake\n", bench.program);
        return 0;
    }
    stay_on(cpus[0]);
    each("physical.cache_line", 50, line_round_trips);
    wakes();
    return 0;
}
