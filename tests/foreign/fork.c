/* fork.c — a forked child goes on with a fresh runtime, whether it was forked on a thread or in a goroutine, whatever the
   other goroutines were doing at that moment; the parent notices nothing. */
#include "../workload.h"
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <weft.h>

#include "../test.h"

static void add_one(_Atomic int *count)
{
    weft_yield();
    weft_sleep(10 * WEFT_US);
    atomic_fetch_add(count, 1);
}

static void send_numbers(weft_chan(int) c, int n)
{
    for (int i = 0; i < n; i++)
        CHECK_EQ(weft_send(c, i), 0);
    weft_close(c);
}

static int work_as_main(void)
{
    _Atomic int count = 0;
    weft_waitgroup wg = {0};
    for (int i = 0; i < 50; i++)
        weft_wg_go(&wg, add_one, &count);
    weft_wg_wait(&wg);
    return atomic_load(&count);
}

/* A bit of everything, with objects made here. */
static void use_fresh_runtime(void)
{
    CHECK_EQ(weft_id(), 0);
    CHECK_EQ(weft_count(), 0);
    _Atomic int count = 0;
    weft_waitgroup wg = {0};
    for (int i = 0; i < 50; i++)
        weft_wg_go(&wg, add_one, &count);
    weft_wg_wait(&wg);
    CHECK_EQ(atomic_load(&count), 50);
    weft_chan(int) c = weft_chan_make(int, 0);
    weft_go(send_numbers, c, 20);
    int n = 0;
    for (int value; weft_recv(c, &value); n++)
        CHECK_EQ(value, n);
    CHECK_EQ(n, 20);
    weft_chan_free(c);
    CHECK_EQ(weft_run(work_as_main), 50);
    CHECK_EQ(weft_sleep(WEFT_MS), 0);
    CHECK_EQ(weft_shutdown(20 * WEFT_SECOND), 0);
}

static pid_t fork_child(void)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0)
        alarm(60);
    return child;
}

static void expect_success(pid_t child)
{
    int status = -1;
    while (waitpid(child, &status, 0) < 0)
        CHECK_EQ(errno, EINTR);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 0);
}

struct traffic {
    _Atomic bool stop;
    _Atomic uint64_t rounds;
    weft_mutex mutex;
    weft_chan(int) c;
    weft_waitgroup wg;
};

static void spawn_in_traffic(struct traffic *traffic)
{
    weft_lock(&traffic->mutex);
    atomic_fetch_add(&traffic->rounds, 1);
    weft_unlock(&traffic->mutex);
}

static void drive(struct traffic *traffic, int sends)
{
    enum { DONE_ONE, LATE };
    while (!atomic_load(&traffic->stop)) {
        weft_wg_go(&traffic->wg, spawn_in_traffic, traffic);
        if (sends)
            weft_select([DONE_ONE] = weft_on_send(traffic->c, 1), [LATE] = weft_on_timeout(50 * WEFT_US));
        else
            weft_select([DONE_ONE] = weft_on_recv(traffic->c, NULL), [LATE] = weft_on_timeout(50 * WEFT_US));
        weft_yield();
    }
}

static void start_traffic(struct traffic *traffic)
{
    traffic->c = weft_chan_make(int, 0);
    for (int i = 0; i < 4; i++)
        weft_wg_go(&traffic->wg, drive, traffic, i & 1);
}

static void stop_traffic(struct traffic *traffic)
{
    uint64_t before = atomic_load(&traffic->rounds);
    CHECK(HOLDS_WITHIN(20000, atomic_load(&traffic->rounds) > before + 10)); /* the parent went on */
    atomic_store(&traffic->stop, true);
    weft_wg_wait(&traffic->wg);
    weft_chan_free(traffic->c);
}

/* In a forked child ASan's allocator may stay locked for ever by one of the parent's threads; gcc's TSan still counts those
   and dies when a thread of the child's has the same pthread_t. */
#if TEST_ASAN || (TEST_TSAN && !defined(__clang__))
#define TEST_WITH_THREADS(name) static TEST_UNUSED_ void name(void)
#else
#define TEST_WITH_THREADS(name) TEST(name)
#endif

/* Runs first: weft has not started. */
TEST(ForkBeforeTheFirstCall)
{
    pid_t child = fork_child();
    if (child == 0) {
        use_fresh_runtime();
        _exit(0);
    }
    expect_success(child);
}

TEST_WITH_THREADS(ForkOnAThread)
{
    use_fresh_runtime();
    struct traffic traffic = {.stop = false};
    start_traffic(&traffic);
    for (int i = 0; i < test_scale(15); i++) {
        pid_t child = fork_child();
        if (child == 0) {
            use_fresh_runtime();
            _exit(0);
        }
        expect_success(child);
    }
    stop_traffic(&traffic);
}

static void fork_in_goroutine(int depth)
{
    CHECK(weft_id() > 0);
    weft_yield();
    pid_t child = fork_child();
    if (child == 0) {
        use_fresh_runtime(); /* on this goroutine's stack, as a foreign thread */
        if (depth > 0) {
            weft_waitgroup wg = {0};
            weft_wg_go(&wg, fork_in_goroutine, depth - 1);
            weft_wg_wait(&wg);
        }
        _exit(0);
    }
    expect_success(child);
    CHECK(weft_id() > 0);
    weft_yield();
}

TEST_WITH_THREADS(ForkInAGoroutine)
{
    struct traffic traffic = {.stop = false};
    start_traffic(&traffic);
    for (int i = 0; i < test_scale(10); i++) {
        weft_waitgroup wg = {0};
        weft_wg_go(&wg, fork_in_goroutine, 0);
        weft_wg_wait(&wg);
    }
    stop_traffic(&traffic);
}

TEST_WITH_THREADS(ForkInAForkedGoroutine)
{
    weft_waitgroup wg = {0};
    weft_wg_go(&wg, fork_in_goroutine, 2);
    weft_wg_wait(&wg);
}

static int fork_as_main(void)
{
    fork_in_goroutine(0);
    return 5;
}

TEST_WITH_THREADS(ForkUnderRun)
{
    CHECK_EQ(weft_run(fork_as_main), 5);
}

static void fork_and_look_at_mask(sigset_t *original)
{
    pid_t child = fork_child();
    if (child == 0) {
        sigset_t now;
        CHECK_EQ(pthread_sigmask(SIG_BLOCK, NULL, &now), 0);
        for (int s = 1; s < 32; s++)
            CHECK_EQ(sigismember(&now, s), sigismember(original, s));
        _exit(0);
    }
    expect_success(child);
}

/* Workers block most signals; what a goroutine forks must not inherit that. */
TEST_WITH_THREADS(ForkedChildGetsTheOriginalMask)
{
    sigset_t original;
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, NULL, &original), 0);
    CHECK(!sigismember(&original, SIGTERM));
    weft_waitgroup wg = {0};
    weft_wg_go(&wg, fork_and_look_at_mask, &original);
    weft_wg_wait(&wg);
}

TEST_MAIN()
