/* cold_stacks.c — what it would take to keep the stack of a goroutine that is parked for long in a compact store, and to give
   its page back: memory with page tables, the time to put a stack away, and to bring it back in each of three ways. weft does
   not do it; docs/performance.md says why. The stacks are as weft lays them out, with LIVE bytes in use at the top.

     wake      whoever makes the goroutine ready copies its bytes back; nobody may have looked at them before
     thread    whoever touches the page waits for a thread that reads faults from a userfaultfd
     signal    whoever touches the page gets a SIGBUS, and does it itself in the handler                             */
#define _GNU_SOURCE 1
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>

enum { PAGE = 4096, STRIDE = 17 * PAGE, LIVE = 512, BATCH = 512 };

static char *stacks, *store; /* n stacks; LIVE bytes of each */
static int faults;           /* a userfaultfd */
static char *page;           /* [who resolves a fault] what becomes a stack's top page */

static char *top_page(long i)
{
    return stacks + i * STRIDE + STRIDE - PAGE;
}

static char *live(long i)
{
    return top_page(i) + PAGE - LIVE;
}

static int advise(struct iovec *ranges, size_t n)
{
    static int self;
    size_t bytes = n * PAGE;
    if (self == 0)
        self = (int)syscall(SYS_pidfd_open, getpid(), 0);
    if (self >= 0 && syscall(SYS_process_madvise, self, ranges, n, MADV_DONTNEED, 0) == (long)bytes)
        return 0;
    for (size_t i = 0; i < n; i++)
        if (madvise(ranges[i].iov_base, PAGE, MADV_DONTNEED) != 0)
            return -1;
    return 0;
}

static int64_t put_away(long n)
{
    struct iovec ranges[BATCH];
    int64_t start = bench_now_ns();
    for (long done = 0; done < n;) {
        size_t batch = 0;
        for (; batch < BATCH && done < n; batch++, done++) {
            memcpy(store + done * LIVE, live(done), LIVE);
            ranges[batch] = (struct iovec){top_page(done), PAGE};
        }
        if (advise(ranges, batch) != 0)
            bench_die("madvise: %s", strerror(errno));
    }
    return bench_now_ns() - start;
}

/* ---- bringing back ---- */

static int64_t by_wake(long n)
{
    int64_t start = bench_now_ns();
    for (long i = 0; i < n; i++)
        memcpy(live(i), store + i * LIVE, LIVE);
    return bench_now_ns() - start;
}

static int64_t by_touch(long n)
{
    int64_t start = bench_now_ns();
    for (long i = 0; i < n; i++)
        if (*(volatile long *)live(i) != i)
            bench_die("stack %ld came back wrong", i);
    return bench_now_ns() - start;
}

static void resolve(uintptr_t address)
{
    long i = (long)((address - (uintptr_t)stacks) / STRIDE);
    memcpy(page + PAGE - LIVE, store + i * LIVE, LIVE);
    struct uffdio_copy copy = {.dst = (uintptr_t)top_page(i), .src = (uintptr_t)page, .len = PAGE};
    if (ioctl(faults, UFFDIO_COPY, &copy) != 0)
        bench_die("UFFDIO_COPY: %s", strerror(errno));
}

static void *resolver(void *unused)
{
    struct uffd_msg message;
    while (read(faults, &message, sizeof message) == sizeof message && message.event == UFFD_EVENT_PAGEFAULT)
        resolve(message.arg.pagefault.address & ~(uintptr_t)(PAGE - 1));
    return unused;
}

static void on_fault(int signal, siginfo_t *info, void *unused)
{
    (void)signal, (void)unused;
    resolve((uintptr_t)info->si_addr & ~(uintptr_t)(PAGE - 1));
}

/* False, and says so: the system does not let us. */
static bool begin_faults(long n, uint64_t features)
{
    struct uffdio_api api = {.api = UFFD_API, .features = features};
    struct uffdio_register all = {.range = {(uintptr_t)stacks, (size_t)n * STRIDE}, .mode = UFFDIO_REGISTER_MODE_MISSING};
    faults = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
    if (faults >= 0 && ioctl(faults, UFFDIO_API, &api) == 0 && ioctl(faults, UFFDIO_REGISTER, &all) == 0)
        return true;
    printf("%-22s not measured: userfaultfd: %s\n", "cold", strerror(errno));
    return false;
}

static bool touch_with_thread(long n, struct bench_series *series)
{
    pthread_t thread;
    if (!begin_faults(n, 0))
        return false;
    if (pthread_create(&thread, NULL, resolver, NULL) != 0)
        bench_die("no thread");
    bench_add(series, (double)by_touch(n) / (double)n);
    pthread_cancel(thread);
    pthread_join(thread, NULL);
    close(faults);
    return true;
}

static bool touch_with_signal(long n, struct bench_series *series)
{
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO}, before;
    if (!begin_faults(n, UFFD_FEATURE_SIGBUS))
        return false;
    sigaction(SIGBUS, &action, &before);
    bench_add(series, (double)by_touch(n) / (double)n);
    sigaction(SIGBUS, &before, NULL);
    close(faults);
    return true;
}

int main(int argc, char **argv)
{
    bench_begin(argc, argv, 100000, 1000);
    long n = bench.n;
    stacks = mmap(NULL, (size_t)n * STRIDE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    store = mmap(NULL, (size_t)n * LIVE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stacks == MAP_FAILED || store == MAP_FAILED || page == MAP_FAILED)
        bench_die("no memory");
    madvise(stacks, (size_t)n * STRIDE, MADV_NOHUGEPAGE);

    struct bench_series away = {0}, wake = {0}, thread = {0}, signal = {0};
    double empty = bench_memory_bytes();
    for (long i = 0; i < n; i++)
        *(long *)live(i) = i;
    double warm = bench_memory_bytes() - empty, cold = 0;
    bool may = true;
    for (int round = 0; round < bench.rounds; round++) {
        bench_add(&away, (double)put_away(n) / (double)n);
        cold = bench_memory_bytes() - empty;
        if (may)
            may = touch_with_thread(n, &thread);
        if (may) {
            put_away(n);
            may = touch_with_signal(n, &signal);
        }
        if (may)
            put_away(n);
        bench_add(&wake, (double)by_wake(n) / (double)n);
    }
    bench_print_value("cold.bytes.before", "B", warm / (double)n, "without the record");
    bench_print_value("cold.bytes", "B", cold / (double)n, "the same");
    bench_print("cold.away", "ns", &away, "");
    bench_print("cold.back.wake", "ns", &wake, "");
    if (thread.n > 0)
        bench_print("cold.back.thread", "ns", &thread, "");
    if (signal.n > 0)
        bench_print("cold.back.signal", "ns", &signal, "");
    return 0;
}
