/* weft_blocking: results, errno, nesting; the worker is free meanwhile; foreign threads, pinned goroutines and those that
   stay. */
#define _GNU_SOURCE 1 /* gettid */
#include "test.h"
#include <errno.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <weft.h>

static pid_t thread_id(void)
{
    return (pid_t)syscall(SYS_gettid);
}

static void nap_us(long us)
{
    struct timespec time = {.tv_nsec = us * 1000};
    nanosleep(&time, NULL);
}

/* ---- what is called ---- */

static int calls;

static void count(void)
{
    calls++;
}

static int negate(int x)
{
    return -x;
}

static unsigned long long sum(int a, long b, unsigned c, unsigned long long d, short *e, const char *f)
{
    return (unsigned long long)a + (unsigned long long)b + c + d + (unsigned long long)*e + (unsigned long long)*f;
}

static char *next_of(char *text)
{
    return text + 1;
}

/* Only the low byte of what a function that returns bool leaves is defined. */
static __attribute__((noinline)) bool differ(unsigned long a, unsigned long b)
{
    return (a ^ b) != 0;
}

TEST_BOTH(results)
{
    short e = 5;
    char text[] = "ab";
    calls = 0;
    weft_blocking(count);
    CHECK_EQ(calls, 1);
    CHECK_EQ(weft_blocking(negate, 7), -7);
    CHECK_EQ(weft_blocking(negate, -7), 7);
    CHECK_EQ(weft_blocking(sum, -1, 2L, 3U, 1ULL << 63, &e, "\x06"), (1ULL << 63) + 15);
    CHECK(weft_blocking(next_of, text) == text + 1);
    CHECK_EQ(weft_blocking(differ, 256UL, 256UL), 0);
    CHECK_EQ(weft_blocking(differ, 256UL, 0UL), 1);
}

/* ---- errno ---- */

static int fail_with(int error, long us)
{
    if (us)
        nap_us(us);
    errno = error;
    return -1;
}

static void fail_often(int n, int number)
{
    for (int i = 0; i < n; i++) {
        int error = 1 + (number * 31 + i) % 120;
        CHECK_EQ(weft_blocking(fail_with, error, (long)(test_random() % 100)), -1);
        CHECK_EQ(weft_errno(), error);
    }
}

TEST_BOTH(errno_comes_along)
{
    weft_waitgroup wg = {0};
    for (int i = 0; i < 20; i++)
        weft_wg_go(&wg, fail_often, test_scale(100), i);
    fail_often(test_scale(100), 20);
    weft_wg_wait(&wg);
}

/* ---- others go on ---- */

static int read_byte(int fd)
{
    char byte;
    ssize_t n = read(fd, &byte, 1);
    return n == 1 ? byte : -1;
}

static void wait_for_byte(int fd, _Atomic int *got)
{
    CHECK_EQ(weft_blocking(read_byte, fd), 'x');
    atomic_fetch_add(got, 1);
}

static void put_back(weft_chan(int) in, weft_chan(int) out)
{
    for (int i; weft_recv(in, &i);)
        weft_send(out, i);
}

/* With as many goroutines in read(2) as there are workers, and more. */
TEST_BOTH(others_go_on)
{
    int ends[2], blocked = 20;
    _Atomic int got = 0;
    weft_waitgroup wg = {0};
    weft_chan(int) there = weft_chan_make(int, 0);
    weft_chan(int) back = weft_chan_make(int, 0);
    CHECK_EQ(pipe(ends), 0);
    for (int i = 0; i < blocked; i++)
        weft_wg_go(&wg, wait_for_byte, ends[0], &got);
    weft_wg_go(&wg, put_back, there, back);
    for (int i = 0; i < test_scale(1000); i++) {
        int reply = -1;
        CHECK_EQ(weft_send(there, i), 0);
        CHECK(weft_recv(back, &reply));
        CHECK_EQ(reply, i);
    }
    CHECK_EQ(weft_sleep(WEFT_MS), 0);
    CHECK_EQ(got, 0);
    for (int i = 0; i < blocked; i++)
        CHECK_EQ(write(ends[1], "x", 1), 1);
    weft_close(there);
    weft_wg_wait(&wg);
    CHECK_EQ(got, blocked);
    weft_chan_free(there);
    weft_chan_free(back);
    close(ends[0]);
    close(ends[1]);
}

/* A timer and a descriptor, while the only thread there was is away: each round needs both. */
static void answer(int fd, int out, int n)
{
    for (int i = 0; i < n; i++) {
        char byte;
        CHECK_EQ(weft_read(fd, &byte, 1), 1);
        CHECK_EQ(weft_sleep(20 * WEFT_US), 0);
        CHECK_EQ(weft_write(out, &byte, 1), 1);
    }
}

static int ask(int fd, int in)
{
    char byte = 'q';
    CHECK_EQ(write(fd, &byte, 1), 1);
    return read_byte(in);
}

TEST_BOTH(timers_and_descriptors_go_on)
{
    int there[2], back[2], n = test_scale(300);
    weft_waitgroup wg = {0};
    CHECK_EQ(pipe(there), 0);
    CHECK_EQ(pipe(back), 0);
    weft_wg_go(&wg, answer, there[0], back[1], n);
    for (int i = 0; i < n; i++)
        CHECK_EQ(weft_blocking(ask, there[1], back[0]), 'q');
    weft_wg_wait(&wg);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(weft_close_fd(there[i]), 0);
        CHECK_EQ(weft_close_fd(back[i]), 0);
    }
}

static void set(_Atomic bool *flag)
{
    atomic_store(flag, true);
}

/* Calls that never block keep nobody from its turn. */
TEST_BOTH(a_loop_of_calls_starves_nobody)
{
    for (int i = 0; i < test_scale(200); i++) {
        _Atomic bool flag = false;
        weft_waitgroup wg = {0};
        weft_wg_go(&wg, set, &flag);
        while (!atomic_load(&flag))
            CHECK_EQ(weft_blocking(negate, 1), -1);
        weft_wg_wait(&wg);
    }
}

/* ---- inside ---- */

static int nested(int depth)
{
    return depth ? weft_blocking(nested, depth - 1) + 1 : weft_blocking(negate, -100);
}

TEST_BOTH(nests)
{
    CHECK_EQ(weft_blocking(nested, 10), 110);
}

static int use_weft(weft_chan(int) c, weft_mutex *m)
{
    int got = 0;
    weft_lock(m);
    weft_unlock(m);
    CHECK_EQ(weft_sleep(100 * WEFT_US), 0);
    CHECK_EQ(weft_send(c, 1), 0);
    CHECK(weft_recv(c, &got));
    weft_yield();
    errno = EDOM; /* on whatever thread it is by now */
    return got;
}

static void use_often(int n, weft_mutex *m)
{
    weft_chan(int) c = weft_chan_make(int, 1);
    for (int i = 0; i < n; i++)
        CHECK_EQ(weft_blocking(use_weft, c, m), 1);
    weft_chan_free(c);
}

TEST_BOTH(the_function_may_use_weft)
{
    weft_mutex m = {0};
    weft_waitgroup wg = {0};
    for (int i = 0; i < 10; i++)
        weft_wg_go(&wg, use_often, test_scale(50), &m);
    weft_wg_wait(&wg);
}

static void leave(_Atomic bool *undone)
{
    weft_defer(set, undone);
    weft_exit_goroutine();
}

static void leave_inside(_Atomic bool *undone)
{
    weft_blocking(leave, undone);
    CHECK(!"left");
}

TEST_BOTH(a_goroutine_may_exit_inside)
{
    for (int i = 0; i < test_scale(50); i++) {
        _Atomic bool undone = false;
        weft_waitgroup wg = {0};
        weft_wg_go(&wg, leave_inside, &undone);
        weft_wg_wait(&wg);
        CHECK(undone);
    }
}

/* ---- threads ---- */

static pid_t nap_and_tell(long us)
{
    nap_us(us);
    return thread_id();
}

static void yield_until(_Atomic bool *flag)
{
    while (!atomic_load(flag))
        weft_yield();
}

static void be_pinned(int n)
{
    weft_pin();
    pid_t mine = thread_id();
    for (int i = 0; i < n; i++) {
        CHECK_EQ(weft_blocking(nap_and_tell, 50L), mine);
        CHECK_EQ(thread_id(), mine);
        weft_yield();
    }
    weft_unpin();
}

static void stay(int n)
{
    weft_stay_(true);
    pid_t mine = thread_id();
    for (int i = 0; i < n; i++) {
        CHECK_EQ(weft_blocking(nap_and_tell, 50L), mine);
        CHECK_EQ(thread_id(), mine);
    }
    weft_stay_(false);
}

TEST_BOTH(pinned_or_staying)
{
    _Atomic bool done = false;
    weft_waitgroup wg = {0}, busy = {0};
    weft_wg_go(&busy, yield_until, &done);
    weft_wg_go(&busy, yield_until, &done);
    for (int i = 0; i < 4; i++) {
        weft_wg_go(&wg, be_pinned, test_scale(100));
        weft_wg_go(&wg, stay, test_scale(100));
    }
    weft_wg_wait(&wg);
    set(&done);
    weft_wg_wait(&busy);
}

TEST(a_foreign_thread_stays)
{
    pid_t mine = thread_id();
    CHECK_EQ(weft_blocking(nap_and_tell, 10L), mine);
    weft_yield(); /* known to weft by now */
    CHECK_EQ(weft_blocking(nap_and_tell, 10L), mine);
}

TEST_MAIN()
