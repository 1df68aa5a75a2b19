/* deadlock.c — "all goroutines are asleep - deadlock!" and status 2 when nobody can ever wake main; and never a false alarm:
   not while a timer, another thread, or a call into the kernel could still do it. */
#include "death.h"
#include <pthread.h>

enum { QUIET_MS = 450 }; /* longer than the detector takes for its two readings */

static weft_chan(int) channel; /* a child makes its own */

static void make_channel(void)
{
    channel = weft_chan_make(int, 0);
    CHECK(channel);
}

static void receive_one(void)
{
    weft_recv(channel, NULL);
}

static void send_one(void)
{
    CHECK_EQ(weft_send(channel, 1), 0);
}

static void expect_deadlock(void (*fn)(void))
{
    int64_t start_ns = clock_ns();
    death_expect_exit(fn, NULL, 2);
    death_expect_text("all goroutines are asleep - deadlock!");
    CHECK(clock_ns() - start_ns < 20 * WEFT_SECOND);
}

static void expect_no_alarm(void (*fn)(void))
{
    death_expect_exit(fn, NULL, 0);
    if (strstr(death.text, "deadlock") || strstr(death.text, "asleep"))
        death_unexpected("no alarm");
}

/* ---- deadlocks ---- */

static void main_waits_for_group(void)
{
    weft_waitgroup wg = {0};
    make_channel();
    weft_wg_go(&wg, receive_one);
    weft_wg_go(&wg, receive_one);
    weft_wg_wait(&wg);
}

static void main_receives(void)
{
    make_channel();
    weft_go(receive_one);
    weft_recv(channel, NULL);
}

static void main_sends_and_nobody_is_there(void)
{
    weft_waitgroup wg = {0};
    make_channel();
    weft_wg_go(&wg, weft_yield);
    weft_wg_wait(&wg);
    weft_send(channel, 1);
}

static void main_locks_twice(void)
{
    weft_mutex m = {0};
    weft_waitgroup wg = {0};
    weft_wg_go(&wg, weft_yield);
    weft_wg_wait(&wg);
    weft_lock(&m);
    weft_lock(&m);
}

static void *receive_on_a_thread(void *argument)
{
    receive_one();
    return argument;
}

/* Another thread waits too, inside weft: it cannot help. */
static void thread_waits_too(void)
{
    pthread_t thread;
    make_channel();
    CHECK_EQ(pthread_create(&thread, NULL, receive_on_a_thread, NULL), 0);
    weft_go(receive_one);
    weft_recv(channel, NULL);
}

TEST(DeadlockOfMain)
{
    expect_deadlock(main_waits_for_group);
    death_expect_text("deadlock.c:"); /* the dump names who waits */
    death_expect_text("receive_one");
    expect_deadlock(main_receives);
    expect_deadlock(main_sends_and_nobody_is_there);
    expect_deadlock(main_locks_twice);
    expect_deadlock(thread_waits_too);
}

static int app_receives(void)
{
    make_channel();
    weft_go(receive_one);
    return weft_recv(channel, NULL);
}

static int app_selects_nothing(void)
{
    weft_chan(int) none = NULL;
    return weft_select(weft_on_recv(none, (int *)NULL), weft_on_send(none, 1));
}

static int app_waits_for_itself(void)
{
    weft_waitgroup wg = {0};
    weft_wg_add(&wg, 1);
    weft_wg_wait(&wg);
    return 0;
}

static void run_app_receives(void)
{
    weft_run(app_receives);
}

static void run_app_selects_nothing(void)
{
    weft_run(app_selects_nothing);
}

static void run_app_waits_for_itself(void)
{
    weft_run(app_waits_for_itself);
}

TEST(DeadlockUnderRun)
{
    expect_deadlock(run_app_receives);
    death_expect_text("app_receives");
    expect_deadlock(run_app_selects_nothing);
    expect_deadlock(run_app_waits_for_itself);
}

/* After a sleep and some work the detector must still look. */
static int app_works_then_hangs(void)
{
    make_channel();
    weft_sleep(QUIET_MS * WEFT_MS);
    weft_go(send_one);
    CHECK(weft_recv(channel, NULL));
    return weft_recv(channel, NULL);
}

static void run_app_works_then_hangs(void)
{
    weft_run(app_works_then_hangs);
}

TEST(DeadlockAfterWork)
{
    expect_deadlock(run_app_works_then_hangs);
}

/* While timers come often the monitor stays awake, and must notice when they no longer do. */
static void sleep_often(void)
{
    for (int i = 0; i < 30; i++)
        weft_sleep(WEFT_MS);
}

static void main_receives_after_many_timers(void)
{
    weft_waitgroup wg = {0};
    make_channel();
    for (int i = 0; i < 50; i++)
        weft_wg_go(&wg, sleep_often);
    weft_wg_wait(&wg);
    weft_recv(channel, NULL);
}

TEST(DeadlockAfterManyTimers)
{
    expect_deadlock(main_receives_after_many_timers);
}

/* The calls are on threads of their own, which end one after the other, as more than are needed; the last one after the
   monitor has gone to sleep. */
static void main_waits_for_one_nap_too_many(void)
{
    enum { NAPS = 6 };
    weft_waitgroup wg = {0};
    weft_wg_add(&wg, 1);
    for (int i = 0; i < NAPS; i++)
        weft_wg_go(&wg, nap_ms, 100 + 20 * i + (i == NAPS - 1 ? 500 : 0));
    weft_wg_wait(&wg);
}

TEST(DeadlockAfterBlockedCalls)
{
    for (int i = 0; i < test_shorten(1, 3); i++)
        expect_deadlock(main_waits_for_one_nap_too_many);
}

/* It could have sent. */
static void *use_weft_and_end(void *argument)
{
    weft_yield();
    nap_ms(QUIET_MS);
    return argument;
}

static void main_waits_for_a_thread_that_ends(void)
{
    pthread_t thread;
    make_channel();
    CHECK_EQ(pthread_create(&thread, NULL, use_weft_and_end, NULL), 0);
    weft_go(receive_one);
    weft_recv(channel, NULL);
}

TEST(DeadlockWhenAThreadHasEnded)
{
    expect_deadlock(main_waits_for_a_thread_that_ends);
}

/* ---- no false alarms ---- */

static void sleep_then_send(void)
{
    weft_sleep(QUIET_MS * WEFT_MS);
    send_one();
}

static void nap_then_send(void)
{
    nap_ms(QUIET_MS);
    send_one();
}

static void burn_then_send(void)
{
    burn_ns(QUIET_MS * WEFT_MS);
    send_one();
}

static void *nap_then_send_on_a_thread(void *argument)
{
    nap_then_send();
    return argument;
}

static int child_pipe[2];

static void read_then_send(void)
{
    char byte;
    CHECK_EQ(read(child_pipe[0], &byte, 1), 1);
    send_one();
}

/* A process that writes later; made before weft starts. */
static void start_writer(void)
{
    CHECK_EQ(pipe(child_pipe), 0);
    pid_t writer = fork();
    CHECK(writer >= 0);
    if (writer == 0) {
        close(STDERR_FILENO);
        nap_ms(QUIET_MS);
        _exit(write(child_pipe[1], "x", 1) == 1 ? 0 : 1);
    }
}

static int app_receives_from(void (*fn)(void))
{
    make_channel();
    weft_go(receive_one); /* two more that wait, and one send for each of the three */
    weft_go(receive_one);
    weft_go(fn);
    weft_go(fn);
    weft_go(fn);
    return weft_recv(channel, NULL) ? 0 : 1;
}

static void check_goroutine(void (*fn)(void))
{
    CHECK_EQ(app_receives_from(fn), 0);
}

#define BY_MAIN_AND_UNDER_RUN(fn)                                                                                           \
    static void fn##_by_goroutine(void)                                                                                     \
    {                                                                                                                       \
        check_goroutine(fn);                                                                                                \
    }                                                                                                                       \
    static void fn##_under_run(void)                                                                                        \
    {                                                                                                                       \
        CHECK_EQ(weft_run(app_receives_from, fn), 0);                                                                       \
    }
BY_MAIN_AND_UNDER_RUN(sleep_then_send)
BY_MAIN_AND_UNDER_RUN(nap_then_send)
BY_MAIN_AND_UNDER_RUN(burn_then_send)

TEST(NoAlarmWhileAGoroutineSleeps)
{
    expect_no_alarm(sleep_then_send_by_goroutine);
    expect_no_alarm(sleep_then_send_under_run);
}

TEST(NoAlarmWhileAGoroutineIsInACallOrComputes)
{
    expect_no_alarm(nap_then_send_by_goroutine);
    expect_no_alarm(nap_then_send_under_run);
    expect_no_alarm(burn_then_send_by_goroutine);
    expect_no_alarm(burn_then_send_under_run);
}

static void reader_by_goroutine(void)
{
    start_writer();
    make_channel();
    weft_go(read_then_send);
    CHECK(weft_recv(channel, NULL));
}

static void main_selects_with_timeout(void)
{
    make_channel();
    weft_go(receive_one);
    CHECK_EQ(weft_select(weft_on_recv(channel, (int *)NULL), weft_on_timeout(QUIET_MS * WEFT_MS)), 1);
}

TEST(NoAlarmWhileAGoroutineReads)
{
    expect_no_alarm(reader_by_goroutine);
}

TEST(NoAlarmWhileATimeoutRuns)
{
    expect_no_alarm(main_selects_with_timeout);
}

/* weft does not know the thread until it sends. */
static void unknown_thread_sends_later(void)
{
    pthread_t thread;
    make_channel();
    weft_waitgroup wg = {0};
    weft_wg_go(&wg, weft_yield);
    weft_wg_wait(&wg);
    CHECK_EQ(pthread_create(&thread, NULL, nap_then_send_on_a_thread, NULL), 0);
    CHECK(weft_recv(channel, NULL));
    pthread_join(thread, NULL);
}

static void *use_then_nap_then_send(void *argument)
{
    CHECK_EQ(weft_try_recv(channel, NULL), -EAGAIN);
    weft_waitgroup wg = {0};
    weft_wg_go(&wg, weft_yield);
    weft_wg_wait(&wg);
    nap_then_send();
    return argument;
}

/* weft has seen the thread before. */
static void known_thread_sends_later(void)
{
    pthread_t thread;
    make_channel();
    CHECK_EQ(pthread_create(&thread, NULL, use_then_nap_then_send, NULL), 0);
    CHECK(weft_recv(channel, NULL));
    pthread_join(thread, NULL);
}

static void *wait_on_condition_then_send(void *argument)
{
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t never = PTHREAD_COND_INITIALIZER;
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_nsec += QUIET_MS * 1000000;
    end.tv_sec += end.tv_nsec / 1000000000;
    end.tv_nsec %= 1000000000;
    pthread_mutex_lock(&mutex);
    while (pthread_cond_timedwait(&never, &mutex, &end) != ETIMEDOUT) {
    }
    pthread_mutex_unlock(&mutex);
    send_one();
    return argument;
}

static int app_waits_for_condition_thread(void)
{
    pthread_t thread;
    make_channel();
    CHECK_EQ(pthread_create(&thread, NULL, wait_on_condition_then_send, NULL), 0);
    CHECK(weft_recv(channel, NULL));
    return pthread_join(thread, NULL);
}

static void main_waits_for_condition_thread(void)
{
    CHECK_EQ(app_waits_for_condition_thread(), 0);
}

static void run_waits_for_condition_thread(void)
{
    CHECK_EQ(weft_run(app_waits_for_condition_thread), 0);
}

TEST(NoAlarmWhileAnotherThreadCouldSend)
{
    expect_no_alarm(unknown_thread_sends_later);
    expect_no_alarm(known_thread_sends_later);
    expect_no_alarm(main_waits_for_condition_thread);
    expect_no_alarm(run_waits_for_condition_thread);
}

/* Goroutines wait for ever, but main does something else: its own business. */
static void main_naps(void)
{
    make_channel();
    for (int i = 0; i < 10; i++)
        weft_go(receive_one);
    nap_ms(QUIET_MS);
}

TEST(NoAlarmWhileMainIsElsewhere)
{
    expect_no_alarm(main_naps);
}

TEST_MAIN()
