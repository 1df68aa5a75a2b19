/* test_os.c — the port contract, os.h. Guards are tested by test_stack.c. */
#define _GNU_SOURCE
#include "../test.h"
#include "os/os.h"

#include <errno.h>
#include <limits.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#if __has_include(<sys/single_threaded.h>)
#define HAS_SINGLE_THREADED true
#else
#define HAS_SINGLE_THREADED false
#endif

/* ---- memory ---- */

static bool readable(const void *address)
{
    int ends[2];
    CHECK_EQ(pipe(ends), 0);
    bool result = write(ends[1], address, 1) == 1;
    close(ends[0]);
    close(ends[1]);
    return result;
}

TEST(memory)
{
    size_t page = wi_os_page_size();
    CHECK(page >= 4096 && (page & (page - 1)) == 0);
    for (size_t align = page; align <= (size_t)64 << 20; align *= 4) {
        char *start = wi_os_reserve(3 * page, align);
        CHECK(start && (uintptr_t)start % align == 0);
        memset(start, 1, 3 * page);
        CHECK_EQ(wi_os_release(start + page, page), 0);
        CHECK(start[0] == 1 && start[page] == 0 && start[2 * page - 1] == 0 && start[2 * page] == 1);
        memset(start, 1, 3 * page);
        wi_os_release_ranges((struct iovec[]){{start, page}, {start + 2 * page, page}}, 2);
        CHECK(start[0] == 0 && start[page] == 1 && start[2 * page] == 0);
        memset(start, 1, page);
        wi_os_release_ranges((struct iovec[]){{start, page}, {(void *)page, page}, {start + page, page}}, 3);
        CHECK(start[0] == 0 && start[page] == 0); /* whatever becomes of the others */
        wi_os_unmap(start, 3 * page);
        CHECK(test_on_valgrind() || !readable(start));
    }
    for (size_t size = 100; size < (size_t)16 << 20; size *= 3) {
        char *start = wi_os_map(size);
        CHECK(start && start[0] == 0 && start[size - 1] == 0);
        if (size >= (size_t)2 << 20)
            CHECK_EQ((uintptr_t)start & ((UINT64_C(1) << (64 - __builtin_clzl(size - 1))) - 1), 0);
        start[0] = start[size - 1] = 1;
        wi_os_unmap(start, size);
    }
    errno = 42;
    CHECK(wi_os_reserve((size_t)1 << 60, 0) == NULL);
    CHECK(wi_os_reserve((size_t)1 << 60, (size_t)1 << 61) == NULL);
    CHECK(wi_os_map((size_t)1 << 60) == NULL);
    CHECK(wi_os_max_mappings() >= 1000);
    CHECK_EQ(errno, 42);
}

/* ---- time and futex ---- */

TEST(clock)
{
    int64_t before = wi_os_now_ns(), cpu = wi_os_thread_cpu_ns(CLOCK_THREAD_CPUTIME_ID);
    usleep(20000);
    int64_t slept = wi_os_now_ns() - before, used = wi_os_thread_cpu_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
    CHECK(slept >= 20000000);
    CHECK(used >= 0 && used < slept);
    errno = 42;
    CHECK(wi_os_thread_cpu_ns((clockid_t)12345) < 0);
    CHECK_EQ(errno, 42);
    wi_os_precise_timers();
    CHECK_EQ(prctl(PR_GET_TIMERSLACK), 1);
}

static _Atomic uint32_t word;
static _Atomic int woken;

static void *sleep_on_word(void *argument)
{
    while (wi_load_acquire(&word) == 1) {
        int result = wi_os_futex_wait(&word, 1, INT64_MAX);
        CHECK(result == 0 || result == -EAGAIN || result == -EINTR);
    }
    wi_add_relaxed(&woken, 1);
    return argument;
}

TEST(futex)
{
    errno = 42;
    wi_store_relaxed(&word, 7);
    CHECK_EQ(wi_os_futex_wait(&word, 8, INT64_MAX), -EAGAIN);
    CHECK_EQ(wi_os_futex_wait(&word, 7, 0), -ETIMEDOUT);
    CHECK_EQ(wi_os_futex_wait(&word, 7, -5), -ETIMEDOUT);
    CHECK_EQ(wi_os_futex_wait(&word, 7, INT64_MIN), -ETIMEDOUT);
    int64_t before = wi_os_now_ns();
    CHECK_EQ(wi_os_futex_wait(&word, 7, before + 30000000), -ETIMEDOUT);
    CHECK(wi_os_now_ns() - before >= 30000000);
    wi_os_futex_wake(&word, 1); /* nobody waits */
    CHECK_EQ(errno, 42);

    pthread_t threads[3];
    wi_store_relaxed(&word, 1);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, sleep_on_word, NULL), 0);
    usleep(20000);
    CHECK_EQ(wi_load_relaxed(&woken), 0);
    wi_store_release(&word, 0);
    wi_os_futex_wake(&word, INT_MAX);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
}

/* ---- the barrier pair ---- */

/* The store-buffer litmus test: each side stores its own flag, passes its barrier and loads the other's. Both loading 0 is
   what the pair forbids; on two idle CPUs it happens within some thousand rounds when the heavy side is only a fence. A
   store stays behind its thread's next load while its cache line is fetched, hence a line for each flag. */
static struct {
    _Alignas(64) _Atomic int light_flag;
    _Alignas(64) _Atomic int heavy_flag;
    _Alignas(64) _Atomic int round_of_light;
    _Atomic int light_saw;
    _Alignas(64) _Atomic int round_of_heavy;
} litmus_words;

/* Waits until *round gets there; spins first, as both sides should start at once. */
static void await(_Atomic int *round, int wanted)
{
    for (int i = 0; wi_load_acquire(round) < wanted; i++)
        if (i > 1000)
            sched_yield();
}

static void *light_side(void *argument)
{
    int rounds = *(int *)argument;
    for (int round = 1; round <= rounds; round++) {
        await(&litmus_words.round_of_heavy, round);
        wi_store_relaxed(&litmus_words.light_flag, 1);
        wi_os_barrier_light(); /* pairs with the heavy side below */
        wi_store_relaxed(&litmus_words.light_saw, wi_load_relaxed(&litmus_words.heavy_flag));
        wi_store_release(&litmus_words.round_of_light, round);
    }
    return NULL;
}

static void litmus(void)
{
    int rounds = test_scale(20000);
    pthread_t thread;
    wi_store_relaxed(&litmus_words.round_of_heavy, 0);
    wi_store_relaxed(&litmus_words.round_of_light, 0);
    CHECK_EQ(pthread_create(&thread, NULL, light_side, &rounds), 0);
    for (int round = 1; round <= rounds; round++) {
        wi_store_relaxed(&litmus_words.light_flag, 0);
        wi_store_relaxed(&litmus_words.heavy_flag, 0);
        wi_store_release(&litmus_words.round_of_heavy, round);
        for (uint64_t n = test_random() % 16; n > 0; n--)
            wi_pause();
        wi_store_relaxed(&litmus_words.heavy_flag, 1);
        wi_os_barrier_heavy(); /* pairs with the light side above */
        int heavy_saw = wi_load_relaxed(&litmus_words.light_flag);
        await(&litmus_words.round_of_light, round);
        CHECK(heavy_saw || wi_load_relaxed(&litmus_words.light_saw));
    }
    CHECK_EQ(pthread_join(thread, NULL), 0);
}

/* In a program that has threads by the time that it starts weft, registering would take 10 ms. Runs before TEST(barriers). */
TEST(barriers_are_registered_when_loaded)
{
    long commands = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
    if (HAS_SINGLE_THREADED && wi_os_thread_count() == 1 && commands > 0 && (commands & MEMBARRIER_CMD_PRIVATE_EXPEDITED))
        CHECK_EQ(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0), 0);
}

TEST(barriers)
{
    wi_os_membarrier_works = false;
    litmus();
    errno = 42;
    if (!wi_os_membarrier_init())
        printf("this kernel refuses membarrier\n");
    CHECK_EQ(wi_os_membarrier_init(), wi_os_membarrier_works);
    wi_os_barrier_heavy();
    CHECK_EQ(errno, 42);
    litmus();
}

/* ---- CPUs ---- */

TEST(cpus)
{
    cpu_set_t all, one;
    CHECK_EQ(sched_getaffinity(0, sizeof all, &all), 0);
    errno = 42;
    int cpus = wi_os_cpus();
    int quota = wi_os_cgroup_cpus("/proc/self/cgroup", "/proc/self/mountinfo");
    CHECK_EQ(errno, 42);
    CHECK_EQ(cpus, quota < CPU_COUNT(&all) ? quota : CPU_COUNT(&all));
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &all))
            CPU_SET(i, &one);
    CHECK_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    CHECK_EQ(wi_os_cpus(), 1);
    CHECK_EQ(sched_setaffinity(0, sizeof all, &all), 0);
}

static char tree[64];

/* Writes a file of the test's tree, directories included. */
static void put(const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", tree, name);
    mkdir(tree, 0700);
    for (char *slash = path + strlen(tree) + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
        *slash = '\0';
        mkdir(path, 0700);
    }
    FILE *file = fopen(path, "w");
    CHECK(file && fputs(text, file) >= 0);
    fclose(file);
}

/* What the quota is for these two files; @ in mounts stands for the tree. */
static int quota(const char *cgroups, const char *mounts)
{
    char text[8192], *to = text, paths[2][128];
    for (; *mounts; mounts++)
        to += *mounts == '@' ? sprintf(to, "%s", tree) : sprintf(to, "%c", *mounts);
    put("cgroup", cgroups);
    put("mountinfo", text);
    snprintf(paths[0], sizeof paths[0], "%s/cgroup", tree);
    snprintf(paths[1], sizeof paths[1], "%s/mountinfo", tree);
    return wi_os_cgroup_cpus(paths[0], paths[1]);
}

TEST(cgroup_quota)
{
    snprintf(tree, sizeof tree, "/tmp/weft-test-%d", (int)getpid());
    put("v2/a/b/cpu.max", "max 100000\n");
    put("v2/a/cpu.max", "250000 100000\n");
    put("v2/c/cpu.max", "100000 100000\n");
    put("v2/c/d/cpu.max", "800000 100000\n");
    put("v2/e/cpu.max", "10000 100000\n");
    put("v1/x/cpu.cfs_quota_us", "-1\n");
    put("v1/x/cpu.cfs_period_us", "100000\n");
    put("v1/x/y/cpu.cfs_quota_us", "310000\n");
    put("v1/x/y/cpu.cfs_period_us", "100000\n");
    put("odd name/cpu.max", "700000 100000\n");
    put("box/cpu.max", "400000 100000\n");
    put("box/in/cpu.max", "300000 100000\n");
    static const char v2[] = "30 20 0:26 / @/v2 rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
    static const char v1[] = "31 20 0:27 / @/v1 rw - cgroup cgroup rw,cpuacct,cpu\n"
                             "32 20 0:28 / @/v2 rw - cgroup cgroup rw,cpuset\n";
    CHECK_EQ(quota("0::/a/b\n", v2), 3); /* an ancestor's, rounded up */
    CHECK_EQ(quota("0::/c/d\n", v2), 1); /* the smaller one */
    CHECK_EQ(quota("0::/e\n", v2), 1);   /* a tenth of a CPU */
    CHECK_EQ(quota("0::/none\n", v2), INT_MAX);
    CHECK_EQ(quota("0::/\n", v2), INT_MAX);
    CHECK_EQ(quota("4:cpu,cpuacct:/x/y\n", v1), 4);
    CHECK_EQ(quota("4:cpu:/x\n", v1), INT_MAX);
    CHECK_EQ(quota("4:cpuset,cpuacct:/x/y\n", v1), INT_MAX);
    CHECK_EQ(quota("7:memory:/x/y\n0::/a\n", v1), INT_MAX); /* v2 is not mounted */
    /* A container sees its own group mounted, with the group's path from outside or from its own root. */
    static const char box[] = "33 20 0:26 /host/box @/box ro - cgroup2 cgroup2 rw\n";
    CHECK_EQ(quota("0::/host/box\n", box), 4);
    CHECK_EQ(quota("0::/host/box/in\n", box), 3);
    CHECK_EQ(quota("0::/host/boxes/in\n", box), 4); /* not below it: the mount's own group is all that can be seen */
    CHECK_EQ(quota("0::/../elsewhere\n", "33 20 0:26 /.. @/box ro - cgroup2 cgroup2 rw\n"), 4);
    CHECK_EQ(quota("0::/\n", "34 20 0:26 / @/odd\\040name rw - cgroup2 cgroup2 rw\n"), 7);
    /* A line that is longer than any buffer, nonsense, and no newline at the end. */
    char mounts[7000];
    memset(mounts, 'x', sizeof mounts);
    snprintf(mounts + 6000, sizeof mounts - 6000, "\n - \n\na b c - cgroup2\n%s", v2);
    CHECK_EQ(quota("nonsense\n:\n0::/c\n", mounts), 1);
    CHECK_EQ(wi_os_cgroup_cpus("/nonexistent", "/proc/self/mountinfo"), INT_MAX);
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", tree);
    CHECK_EQ(system(command), 0);
}

/* ---- threads ---- */

static _Atomic pid_t helper_tid;
static _Atomic int helper_may_end;
static int helper_pipe[2];

static void *helper(void *argument)
{
    char byte;
    wi_store_release(&helper_tid, wi_os_tid());
    CHECK_EQ(read(helper_pipe[0], &byte, 1), 1);
    wi_store_release(&helper_tid, 0);
    while (!wi_load_acquire(&helper_may_end))
        wi_barrier_compiler();
    return argument;
}

TEST(blocked_threads)
{
    CHECK_EQ(wi_os_tid(), getpid());
    CHECK_EQ(pipe(helper_pipe), 0);
    int before = wi_os_thread_count();
    CHECK(before >= 1);
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, helper, NULL), 0);
    pid_t tid;
    while ((tid = wi_load_acquire(&helper_tid)) == 0)
        usleep(100);
    CHECK_EQ(wi_os_thread_count(), before + 1);
    errno = 42;
    int watch = wi_os_thread_watch(tid);
    CHECK(watch >= 0);
    while (wi_os_thread_blocked(watch) == 0)
        usleep(100);
    for (int i = 0; i < 100; i++)
        CHECK_EQ(wi_os_thread_blocked(watch), 1);
    CHECK_EQ(write(helper_pipe[1], "x", 1), 1);
    while (wi_load_acquire(&helper_tid) != 0)
        usleep(100);
    int running = 0;
    for (int i = 0; i < 100; i++)
        running += wi_os_thread_blocked(watch) == 0;
    CHECK(running >= 90); /* a page fault may look like blocking for a moment */
    wi_store_release(&helper_may_end, 1);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    errno = 42;
    while (wi_os_thread_blocked(watch) >= 0)
        usleep(100); /* the thread may be joined a moment before the kernel is done with it */
    CHECK(wi_os_thread_watch(0) < 0);
    CHECK(wi_os_thread_blocked(-1) < 0);
    CHECK_EQ(errno, 42);
    close(watch);
    close(helper_pipe[0]);
    close(helper_pipe[1]);
}

/* The places in the kernel's table of this process's descriptors. */
static long table_size(void)
{
    FILE *file = fopen("/proc/self/status", "re");
    CHECK(file != NULL);
    char line[256];
    long size = 0;
    while (fgets(line, sizeof line, file))
        sscanf(line, "FDSize: %ld", &size);
    fclose(file);
    return size;
}

/* A child has one thread, unless an emulator or a sanitizer has its own, and begins with a table for what is open. */
TEST(descriptors_are_reserved)
{
    struct rlimit limit;
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    long most = limit.rlim_cur < 4096 ? (long)limit.rlim_cur : 4096;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        long before = table_size();
        int next = dup(0);
        close(next);
        bool alone = wi_os_thread_count() == 1;
        errno = 42;
        wi_os_reserve_descriptors();
        CHECK_EQ(errno, 42);
        CHECK(alone ? before < most && table_size() >= most : table_size() == before);
        CHECK_EQ(dup(0), next); /* nothing is left open */
        _exit(0);
    }
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
}

TEST_MAIN()
