/* test_held.c — checked builds report goroutines that wait while their thread holds a pthread mutex; all builds let them. */
#include "../death/death.h"
#include "debug/unwind.h"
#include <pthread.h>

#if defined(WEFT_CHECKED) && !TEST_ASAN && !TEST_TSAN
enum { REPORTS = 1 };
#else
enum { REPORTS = 0 };
#endif

static weft_chan(int) channel; /* a child makes its own */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

/* Runs fn, which waits in some way, on one thread: so unlocking is right all the same. */
static void run_and_wake(void (*fn)(void))
{
    weft_waitgroup wg = {0};
    channel = weft_chan_make(int, 0);
    weft_wg_go(&wg, fn);
    while (weft_try_send(channel, 1) < 0) /* until it waits */
        nap_ms(1);
    weft_wg_wait(&wg);
}

#define WOKEN(fn)                                                                                                           \
    static void fn##_woken(void)                                                                                            \
    {                                                                                                                       \
        run_and_wake(fn);                                                                                                   \
    }

static void expect_report(void (*fn)(void), int n, const char *text)
{
    static const char message[] = " while its thread holds a pthread mutex\n";
    death_expect_exit(fn, "WEFT_PROCS=1", 0);
    int found = 0;
    for (const char *at = death.text; (at = strstr(at, message)); at++)
        found++;
    if (found != n * REPORTS)
        death_unexpected(n ? "another number of reports" : "no report");
    if (REPORTS && n)
        death_expect_text(text);
    else if (death.length)
        death_unexpected("no text");
}

/* ---- reported ---- */

static void lock_and_receive(void)
{
    pthread_mutex_lock(&mutex);
    CHECK(weft_recv(channel, NULL));
    pthread_mutex_unlock(&mutex);
}
WOKEN(lock_and_receive)

static void trylock_and_sleep(void)
{
    CHECK_EQ(pthread_mutex_trylock(&mutex), 0);
    weft_sleep(WEFT_MS);
    pthread_mutex_unlock(&mutex);
    CHECK(weft_recv(channel, NULL));
}
WOKEN(trylock_and_sleep)

static void unlock_one_of_two(void)
{
    pthread_mutexattr_t recursive;
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_t m;
    pthread_mutex_init(&m, &recursive);
    pthread_mutex_lock(&m);
    pthread_mutex_lock(&m);
    pthread_mutex_unlock(&m);
    CHECK(weft_recv(channel, NULL));
    pthread_mutex_unlock(&m);
}
WOKEN(unlock_one_of_two)

static void wait_twice(void)
{
    for (int i = 0; i < 2; i++) {
        pthread_mutex_lock(&mutex);
        weft_sleep(WEFT_MS);
        pthread_mutex_unlock(&mutex);
    }
}

static void twice_at_two_sites(void)
{
    weft_waitgroup wg = {0};
    for (int i = 0; i < 3; i++) {
        weft_wg_go(&wg, wait_twice);
        weft_wg_wait(&wg);
    }
    weft_wg_go(&wg, wait_twice);
    weft_wg_wait(&wg);
}

TEST(WaitUnderAPthreadMutex)
{
    expect_report(lock_and_receive_woken, 1, "weft: goroutine 1 (fn, test_held.c:");
    expect_report(lock_and_receive_woken, 1, " waits in receive on channel while");
    expect_report(lock_and_receive_woken, 1, wi_unwind_has_libdw() ? "    lock_and_receive at " : "    0x"); /* the stack */
    expect_report(trylock_and_sleep_woken, 1, " waits in sleep while");
    expect_report(unlock_one_of_two_woken, 1, " waits in receive on channel while");
    expect_report(twice_at_two_sites, 2, "wait_twice");
}

/* ---- not reported ---- */

static void lock_and_unlock_before(void)
{
    for (int i = 0; i < 1000; i++) {
        pthread_mutex_lock(&mutex);
        CHECK_EQ(pthread_mutex_trylock(&mutex), EBUSY);
        pthread_mutex_unlock(&mutex);
    }
    CHECK(weft_recv(channel, NULL));
}
WOKEN(lock_and_unlock_before)

static void wait_pinned(void)
{
    weft_pin();
    pthread_mutex_lock(&mutex);
    CHECK(weft_recv(channel, NULL));
    pthread_mutex_unlock(&mutex);
    weft_unpin();
}
WOKEN(wait_pinned)

static void wait_on_a_condition(void)
{
    pthread_cond_t never = PTHREAD_COND_INITIALIZER;
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += end.tv_nsec > 900000000;
    end.tv_nsec = (end.tv_nsec + 100000000) % 1000000000;
    pthread_mutex_lock(&mutex);
    while (pthread_cond_timedwait(&never, &mutex, &end) != ETIMEDOUT) {
    }
    pthread_mutex_unlock(&mutex);
    CHECK(weft_recv(channel, NULL));
}
WOKEN(wait_on_a_condition)

static void receive_one(void)
{
    CHECK(weft_recv(channel, NULL));
}

/* The thread that waits is not weft's. */
static void wait_on_a_thread(void)
{
    weft_waitgroup wg = {0};
    pthread_mutex_lock(&mutex);
    weft_wg_go(&wg, weft_yield);
    weft_wg_wait(&wg);
    run_and_wake(receive_one);
    pthread_mutex_unlock(&mutex);
}

static pthread_mutex_t left = PTHREAD_MUTEX_INITIALIZER;

static void end_with_mutex(void)
{
    pthread_mutex_lock(&left);
}

/* It ends with a mutex; the next one on the thread has none. */
static void wait_after_one_that_ended(void)
{
    weft_waitgroup wg = {0};
    weft_wg_go(&wg, end_with_mutex);
    weft_wg_wait(&wg);
    run_and_wake(receive_one);
}

TEST(NoReportWithoutReason)
{
    expect_report(lock_and_unlock_before_woken, 0, NULL);
    expect_report(wait_pinned_woken, 0, NULL);
    expect_report(wait_on_a_condition_woken, 0, NULL);
    expect_report(wait_on_a_thread, 0, NULL);
    expect_report(wait_after_one_that_ended, 0, NULL);
}

TEST_MAIN()
