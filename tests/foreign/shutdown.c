/* shutdown.c — what weft_shutdown returns, what it leaves, and that weft starts again after it, many times. */
#include "../workload.h"
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <weft.h>

#include "../test.h"

static void receive_one(weft_chan(int) c)
{
    weft_recv(c, NULL);
}

static void add_one(_Atomic int *count)
{
    weft_yield();
    atomic_fetch_add(count, 1);
}

/* Runs first: nothing has been started. */
TEST(NothingToShutDown)
{
    CHECK_EQ(weft_shutdown(0), 0);
    CHECK_EQ(weft_shutdown(INT64_MAX), 0);
    CHECK_EQ(weft_shutdown(-1), 0);
}

TEST(TimesOutWhileGoroutinesRemain)
{
    weft_chan(int) c = weft_chan_make(int, 0);
    weft_go(receive_one, c);
    CHECK_EQ(weft_shutdown(0), -ETIMEDOUT);
    CHECK_EQ(weft_shutdown(INT64_MIN), -ETIMEDOUT);
    int64_t start_ns = clock_ns();
    CHECK_EQ(weft_shutdown(30 * WEFT_MS), -ETIMEDOUT);
    CHECK(clock_ns() - start_ns >= 30 * WEFT_MS);
    CHECK_EQ(weft_count(), 1);
    _Atomic int count = 0; /* everything goes on as before */
    weft_waitgroup wg = {0};
    for (int i = 0; i < 100; i++)
        weft_wg_go(&wg, add_one, &count);
    weft_wg_wait(&wg);
    CHECK_EQ(atomic_load(&count), 100);
    CHECK_EQ(weft_send(c, 1), 0);
    CHECK_EQ(weft_shutdown(INT64_MAX), 0);
    CHECK_EQ(weft_count(), 0);
    weft_chan_free(c);
}

static int shut_down_inside(void)
{
    return weft_shutdown(WEFT_SECOND);
}

static void store_shutdown(_Atomic int *result)
{
    atomic_store(result, weft_shutdown(0));
}

TEST(NotFromInside)
{
    CHECK_EQ(weft_run(shut_down_inside), -EDEADLK);
    _Atomic int result = 1;
    weft_waitgroup wg = {0};
    weft_wg_go(&wg, store_shutdown, &result);
    weft_wg_wait(&wg);
    CHECK_EQ(atomic_load(&result), -EDEADLK);
    CHECK_EQ(weft_shutdown(20 * WEFT_SECOND), 0);
}

static void start_next(_Atomic int *links, int left)
{
    weft_sleep(100 * WEFT_US);
    atomic_fetch_add(links, 1);
    if (left > 1)
        weft_go(start_next, links, left - 1);
}

/* Goroutines that shutdown waits for may start others; it waits for those too. */
TEST(WaitsForWhatGoroutinesStart)
{
    _Atomic int links = 0;
    weft_go(start_next, &links, 100);
    CHECK_EQ(weft_shutdown(60 * WEFT_SECOND), 0);
    CHECK_EQ(atomic_load(&links), 100);
}

static void nap_and_add(_Atomic int *count)
{
    nap_ms(2);
    atomic_fetch_add(count, 1);
}

static int run_some(_Atomic int *count)
{
    weft_waitgroup wg = {0};
    for (int i = 0; i < 20; i++)
        weft_wg_go(&wg, add_one, count);
    weft_wg_go(&wg, nap_and_add, count); /* so that more threads are made than there are workers */
    weft_sleep(WEFT_MS);
    weft_wg_wait(&wg);
    return 3;
}

TEST(StartsAgain50Times)
{
    CHECK_EQ(weft_shutdown(20 * WEFT_SECOND), 0);
    nap_ms(10);
    int threads = count_threads(), descriptors = count_names("/proc/self/fd");
    for (int i = 0; i < 50; i++) {
        _Atomic int count = 0;
        if (i % 2)
            CHECK_EQ(weft_run(run_some, &count), 3);
        else
            CHECK_EQ(run_some(&count), 3);
        CHECK_EQ(atomic_load(&count), 21);
        CHECK_EQ(weft_shutdown(20 * WEFT_SECOND), 0);
        CHECK(HOLDS_WITHIN(10000, count_threads() <= threads)); /* a joined thread stays in /proc for a moment */
        CHECK_EQ(count_names("/proc/self/fd"), descriptors);
        CHECK_EQ(weft_count(), 0);
    }
}

/* ---- descriptors ---- */

TEST(ForgetsDeadlinesOfDescriptors)
{
    int ends[2];
    char byte;
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(weft_fd_set_deadline(ends[0], POLLIN, weft_now() + 600 * WEFT_SECOND), 0);
        CHECK_EQ(weft_fd_set_deadline(ends[0], POLLOUT, weft_now() + 600 * WEFT_SECOND), 0);
        CHECK_EQ(weft_shutdown(20 * WEFT_SECOND), 0);
        CHECK_EQ(weft_write(ends[1], "x", 1), 1);
        CHECK_EQ(weft_read(ends[0], &byte, 1), 1);
        CHECK_EQ(weft_fd_set_deadline(ends[0], POLLIN, weft_now() + WEFT_MS), 0);
        CHECK_EQ(weft_read(ends[0], &byte, 1), -ETIMEDOUT);
    }
    CHECK_EQ(weft_close_fd(ends[0]), 0);
    CHECK_EQ(weft_close_fd(ends[1]), 0);
}

/* ---- local values ---- */

static void count_destroyed(void *value)
{
    atomic_fetch_add((_Atomic int *)value, 1);
}
static weft_local first = WEFT_LOCAL(count_destroyed), second = WEFT_LOCAL(count_destroyed);

static void *keep_locals(void *argument)
{
    _Atomic int *destroyed = argument;
    for (int i = 0; i < 3; i++) {
        CHECK(!weft_local_get(&first) && !weft_local_get(&second));
        CHECK_EQ(weft_local_set(&first, argument), 0);
        CHECK_EQ(weft_local_set(&second, argument), 0);
        CHECK_EQ(weft_shutdown(20 * WEFT_SECOND), 0);
        CHECK(!weft_local_get(&first));
    }
    CHECK_EQ(atomic_load(destroyed), 0);
    CHECK_EQ(weft_local_set(&second, argument), 0);
    return NULL;
}

/* The array that they are in goes with the runtime: for LeakSanitizer to see. */
TEST(ForgetsLocalValuesOfThreads)
{
    _Atomic int destroyed = 0;
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, keep_locals, &destroyed), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(atomic_load(&destroyed), 1);
}

TEST_MAIN()
