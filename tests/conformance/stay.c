/* weft_stay_: waits end on the thread where they began, and others run there meanwhile. */
#define _GNU_SOURCE 1 /* gettid */
#include "test.h"
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <weft.h>

static __thread int local; /* what a library would keep */

/* Reads of these must not be cached across waits, as in a library of its own. */
static __attribute__((noinline)) pid_t thread(void)
{
    __asm__ volatile("" ::: "memory");
    return gettid();
}

static __attribute__((noinline)) int *local_address(void)
{
    __asm__ volatile("" ::: "memory");
    return &local;
}

static void pause_ns(int64_t ns)
{
    struct timespec time = {.tv_nsec = ns};
    nanosleep(&time, NULL);
}

struct shared {
    weft_mutex m;
    weft_sem sem;
    weft_chan(int) c;
    int fds[2];
    _Atomic int ended;
};

/* One wait of a random kind. */
static void wait_somehow(struct shared *s)
{
    char byte = 'x';
    int value;
    switch (test_random() % 9) {
    case 0:
        weft_yield();
        break;
    case 1:
        weft_sleep((int64_t)(test_random() % 200) * WEFT_US);
        break;
    case 2:
        weft_lock(&s->m);
        weft_yield();
        weft_unlock(&s->m);
        break;
    case 3:
        CHECK_EQ(weft_sem_acquire(&s->sem, 1), 0);
        weft_yield();
        weft_sem_release(&s->sem, 1);
        break;
    case 4:
        CHECK_EQ(weft_send(s->c, 1), 0);
        break;
    case 5:
        weft_try_recv(s->c, &value);
        break;
    case 6:
        CHECK_EQ(weft_write(s->fds[0], &byte, 1), 1);
        break;
    case 7:
        pause_ns(test_random() % 4 ? 10000 : 2000000);
        break; /* the worker may be taken */
    default:
        CHECK_EQ(weft_read(s->fds[1], &byte, 1), 1);
        break;
    }
}

static void stay(struct shared *s, weft_waitgroup *wg)
{
    for (int round = 0; round < test_scale(20); round++) {
        CHECK(!weft_stay_(true));
        CHECK(weft_stay_(true));
        pid_t here = thread();
        int *address = local_address();
        for (int i = 0; i < 20; i++) {
            wait_somehow(s);
            CHECK_EQ(thread(), here);
            CHECK(local_address() == address);
        }
        CHECK(weft_stay_(false));
        CHECK(!weft_stay_(false));
        wait_somehow(s);
    }
    weft_wg_done(wg);
}

static void move(struct shared *s, weft_waitgroup *wg)
{
    for (int i = 0; i < test_scale(400); i++)
        wait_somehow(s);
    weft_wg_done(wg);
}

/* Keeps the socket and the channel from running empty or full for ever; waits for nothing but time. */
static void feed(struct shared *s)
{
    char bytes[64] = "y";
    int value;
    while (!atomic_load(&s->ended)) {
        if (weft_sendto(s->fds[0], bytes, 1, MSG_DONTWAIT, NULL, 0) ==
            -EAGAIN) /* all, for it is writable when mostly empty */
            while (weft_recvfrom(s->fds[1], bytes, sizeof bytes, MSG_DONTWAIT, NULL, NULL) > 0)
                ;
        while (weft_try_recv(s->c, &value) == 0)
            ;
        weft_sleep(20 * WEFT_US);
    }
}

TEST_GO(WaitsEndOnTheirThread)
{
    struct shared s = {.sem = WEFT_SEM(2), .c = weft_chan_make(int, 4)};
    weft_waitgroup wg = {0}, feeder = {0};
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, s.fds), 0);
    weft_wg_go(&feeder, feed, &s);
    weft_wg_add(&wg, 60);
    for (int i = 0; i < 30; i++) {
        weft_go(stay, &s, &wg);
        weft_go(move, &s, &wg);
    }
    weft_wg_wait(&wg);
    atomic_store(&s.ended, 1);
    weft_wg_wait(&feeder);
    CHECK_EQ(weft_close_fd(s.fds[0]), 0);
    CHECK_EQ(weft_close_fd(s.fds[1]), 0);
    weft_chan_free(s.c);
}

static void stay_asleep(weft_waitgroup *wg)
{
    weft_stay_(true);
    pid_t here = thread();
    for (int i = 0; i < 20; i++) {
        weft_sleep(WEFT_MS);
        CHECK_EQ(thread(), here);
    }
    weft_stay_(false);
    weft_wg_done(wg);
}

static void burn(void)
{
    int64_t end_ns = weft_now() + 30 * WEFT_MS;
    while (weft_now() < end_ns)
        ;
}

/* The workers of their threads are in other hands when they wake; their threads run hogs, for which they have to wait. */
TEST_GO(HogsKeepNobodyFromHomeForEver)
{
    weft_waitgroup wg = {0};
    weft_wg_add(&wg, 40);
    for (int i = 0; i < 40; i++)
        weft_go(stay_asleep, &wg);
    for (int i = 0; i < 2 * weft_procs(); i++)
        weft_wg_go(&wg, burn);
    weft_wg_wait(&wg);
}

static void nap(weft_waitgroup *wg)
{
    for (int i = 0; i < 10; i++)
        pause_ns(5000000);
    weft_wg_done(wg);
}

TEST_GO(BlockedCallsKeepNobodyFromHome)
{
    weft_waitgroup wg = {0};
    weft_wg_add(&wg, 60);
    for (int i = 0; i < 40; i++)
        weft_go(stay_asleep, &wg);
    for (int i = 0; i < 20; i++)
        weft_go(nap, &wg);
    weft_wg_wait(&wg);
}

static void ping(weft_chan(int) in, weft_chan(int) out, int n, weft_waitgroup *wg)
{
    int value;
    weft_stay_(true);
    pid_t here = thread();
    for (int i = 0; i < n; i++) {
        CHECK(weft_recv(in, &value));
        CHECK_EQ(thread(), here);
        CHECK_EQ(weft_send(out, value + 1), 0);
        CHECK_EQ(thread(), here);
    }
    weft_stay_(false);
    weft_wg_done(wg);
}

static void count_yields(_Atomic int *stop, long *n, weft_waitgroup *wg)
{
    while (!atomic_load(stop)) {
        weft_yield();
        ++*n;
    }
    weft_wg_done(wg);
}

/* Those at home and those in the queue take turns. */
TEST_GO(ThoseAtHomeStarveNobody)
{
    weft_chan(int) a = weft_chan_make(int, 1);
    weft_chan(int) b = weft_chan_make(int, 1);
    weft_waitgroup wg = {0}, other = {0};
    _Atomic int stop = 0;
    long yields = 0;
    int n = test_scale(20000), value = 0;
    weft_wg_add(&wg, 2);
    weft_wg_add(&other, 1);
    weft_go(ping, a, b, n, &wg);
    weft_go(ping, b, a, n, &wg);
    weft_go(count_yields, &stop, &yields, &other);
    CHECK_EQ(weft_send(a, 0), 0);
    weft_wg_wait(&wg);
    CHECK(weft_recv(a, &value));
    CHECK_EQ(value, 2 * n);
    atomic_store(&stop, 1);
    weft_wg_wait(&other);
    CHECK(yields > 0);
    weft_chan_free(a);
    weft_chan_free(b);
}

TEST(OnAThreadItDoesNothing)
{
    CHECK(!weft_stay_(true));
    CHECK(!weft_stay_(true));
    CHECK_EQ(weft_sleep(WEFT_US), 0);
    CHECK(!weft_stay_(false));
}

TEST_GO(PinnedOnesWaitAsThreads)
{
    pid_t here = thread();
    weft_pin();
    CHECK(!weft_stay_(true));
    weft_sleep(WEFT_MS);
    weft_unpin();
    weft_sleep(WEFT_MS);
    CHECK_EQ(thread(), here);
    CHECK(weft_stay_(false));
}

TEST_MAIN()
