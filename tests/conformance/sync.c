/* sync.c — what Go's sync package checks of WaitGroup and Mutex, with foreign threads mixed in, and what C needs beyond it:
   an object may be unmapped by whoever a call let proceed. Misuse that is fatal is in tests/death/misuse.c.

   Not here: Misuse2 and Misuse3, which check that Go notices some concurrent misuse; in weft that is the caller's duty. */
#include "../workload.h"
#include <weft.h>

#include "../test.h"

/* ---- WaitGroup ---- */

static void done_then_wait(weft_waitgroup *first, weft_waitgroup *second, weft_chan(int) exited)
{
    weft_wg_done(first);
    weft_wg_wait(second);
    CHECK_EQ(weft_send(exited, 1), 0);
}

static void check_two_groups(weft_waitgroup *first, weft_waitgroup *second)
{
    enum { N = 16 };
    weft_chan(int) exited = weft_chan_make(int, N);
    weft_wg_add(first, N);
    weft_wg_add(second, N);
    for (int i = 0; i < N; i++)
        weft_go(done_then_wait, first, second, exited);
    weft_wg_wait(first);
    for (int i = 0; i < N; i++) {
        CHECK_EQ(weft_try_recv(exited, NULL), -EAGAIN); /* nobody passes before the last one is done */
        weft_wg_done(second);
    }
    for (int i = 0; i < N; i++)
        CHECK(weft_recv(exited, NULL));
    weft_chan_free(exited);
}

/* The groups swap roles, so each is used again right after its waiters left. */
TEST_BOTH(WaitGroup)
{
    weft_waitgroup a = {0}, b = {0};
    for (int i = 0; i < test_shorten(2, 8); i++) {
        check_two_groups(&a, &b);
        check_two_groups(&b, &a);
    }
}

TEST_BOTH(WaitOnZeroReturnsAtOnce)
{
    weft_waitgroup wg = {0};
    for (int i = 0; i < 1000; i++)
        weft_wg_wait(&wg);
    weft_wg_add(&wg, INT32_MAX);
    weft_wg_add(&wg, -INT32_MAX);
    weft_wg_add(&wg, 0);
    weft_wg_wait(&wg);
}

static void add_and_done(_Atomic int *n, weft_waitgroup *wg)
{
    atomic_fetch_add_explicit(n, 1, memory_order_relaxed);
    weft_wg_done(wg);
}

static void wait_and_check(_Atomic int *n, weft_waitgroup *wg, weft_waitgroup *left)
{
    weft_wg_wait(wg);
    CHECK_EQ(atomic_load_explicit(n, memory_order_relaxed), 2);
    weft_wg_done(left);
}

TEST_BOTH(WaitGroupRace)
{
    for (int i = 0; i < test_scale(3000); i++) {
        _Atomic int n = 0;
        weft_waitgroup wg = {0}, left = {0};
        weft_wg_add(&wg, 1);
        weft_go(add_and_done, &n, &wg);
        weft_wg_add(&wg, 1);
        weft_go(add_and_done, &n, &wg);
        weft_wg_add(&left, 2);
        weft_go(wait_and_check, &n, &wg, &left);
        weft_go(wait_and_check, &n, &wg, &left);
        weft_wg_wait(&wg);
        CHECK_EQ(atomic_load_explicit(&n, memory_order_relaxed), 2);
        weft_wg_wait(&left);
    }
}

static void write_and_done(int *plain, int value, weft_waitgroup *wg)
{
    *plain = value;
    weft_wg_done(wg);
}

/* Done happens before wait returns: plain memory is enough, and TSan agrees. */
TEST_BOTH(DoneOrdersWhatCameBefore)
{
    enum { N = 10 };
    int values[N];
    for (int round = 0; round < test_scale(1000); round++) {
        weft_waitgroup wg = {0};
        weft_wg_add(&wg, N);
        for (int i = 0; i < N; i++)
            weft_go(write_and_done, &values[i], round + i, &wg);
        weft_wg_wait(&wg);
        for (int i = 0; i < N; i++)
            CHECK_EQ(values[i], round + i);
    }
}

static void wait_ready(weft_waitgroup *go, weft_waitgroup *ready, weft_waitgroup *left)
{
    weft_wg_done(ready);
    weft_wg_wait(go);
    weft_wg_done(left);
}

TEST_BOTH(ManyWaitersAndReuse)
{
    weft_waitgroup go = {0}, ready = {0}, left = {0};
    int waiters = test_shorten(40, 200);
    for (int round = 0; round < test_scale(30); round++) {
        weft_wg_add(&go, 1);
        weft_wg_add(&ready, waiters);
        weft_wg_add(&left, waiters);
        for (int i = 0; i < waiters; i++)
            weft_go(wait_ready, &go, &ready, &left);
        weft_wg_wait(&ready);
        if (round & 1)
            nap_ns(200000); /* with all of them parked, and with some on their way */
        weft_wg_done(&go);
        weft_wg_wait(&left);
    }
}

static void done_on_page(weft_waitgroup *wg)
{
    weft_wg_done(wg);
}

/* The waiter unmaps the group the moment it may go on, while the last done may not have returned. */
TEST_BOTH(WaitGroupVanishesAfterWait)
{
    for (int i = 0; i < test_scale(20000); i++) {
        weft_waitgroup *wg = page_take();
        int n = 1 + i % 3;
        weft_wg_add(wg, n);
        for (int k = 0; k < n; k++)
            weft_go(done_on_page, wg);
        if (i % 5 == 0)
            weft_yield(); /* sometimes all is done before the wait */
        weft_wg_wait(wg);
        page_give(wg);
    }
}

static void done_by_thread(void *wg)
{
    weft_wg_done(wg);
}

TEST_BOTH(WaitGroupVanishesUnderAForeignThread)
{
    for (int i = 0; i < test_scale(500); i++) {
        weft_waitgroup *wg = page_take();
        weft_wg_add(wg, 2);
        pthread_t thread = start_thread(done_by_thread, wg);
        weft_go(done_on_page, wg);
        weft_wg_wait(wg);
        page_give(wg);
        CHECK_EQ(pthread_join(thread, NULL), 0);
    }
}

static void wait_by_thread(void *argument)
{
    weft_waitgroup *groups = argument; /* what to wait for, and what to count down then */
    weft_wg_wait(&groups[0]);
    weft_wg_done(&groups[1]);
}

static void wait_by_goroutine(weft_waitgroup *groups)
{
    wait_by_thread(groups);
}

TEST_BOTH(ForeignAndOwnWaitersTogether)
{
    for (int round = 0; round < test_scale(50); round++) {
        weft_waitgroup groups[2] = {{0}};
        pthread_t threads[4];
        weft_wg_add(&groups[0], 1);
        weft_wg_add(&groups[1], 8);
        for (int i = 0; i < 4; i++) {
            threads[i] = start_thread(wait_by_thread, groups);
            weft_go(wait_by_goroutine, groups);
        }
        nap_ns(100000);
        weft_wg_done(&groups[0]);
        weft_wg_wait(&groups[1]);
        for (int i = 0; i < 4; i++)
            CHECK_EQ(pthread_join(threads[i], NULL), 0);
    }
}

static void spawn_tree(_Atomic int *leaves, int depth)
{
    if (depth == 0) {
        atomic_fetch_add(leaves, 1);
        return;
    }
    weft_waitgroup wg = {0};
    for (int i = 0; i < 3; i++)
        weft_wg_go(&wg, spawn_tree, leaves, depth - 1);
    weft_wg_wait(&wg);
}

TEST_BOTH(WaitGroupGoInATree)
{
    _Atomic int leaves = 0;
    int depth = test_shorten(4, 6), expected = test_scale(10);
    for (int i = 0; i < test_scale(10); i++)
        spawn_tree(&leaves, depth);
    for (int i = 0; i < depth; i++)
        expected *= 3;
    CHECK_EQ(atomic_load(&leaves), expected);
}

/* ---- Mutex ---- */

struct hammered {
    weft_mutex mutex;
    int inside;     /* [mutex] */
    uint64_t count; /* [mutex] */
    _Atomic uint64_t expected;
    int loops;
};

static void enter(struct hammered *h)
{
    CHECK_EQ(h->inside, 0);
    h->inside = 1;
    h->count++;
    h->inside = 0;
}

static void hammer(struct hammered *h)
{
    uint64_t entered = 0;
    for (int i = 0; i < h->loops; i++) {
        if (i % 3 == 0) {
            if (weft_try_lock(&h->mutex)) {
                enter(h);
                weft_unlock(&h->mutex);
                entered++;
            }
            continue;
        }
        weft_lock(&h->mutex);
        enter(h);
        if (i % 17 == 0) { /* a holder may wait, yield or be put away meanwhile */
            h->inside = 1;
            weft_yield();
            h->inside = 0;
        }
        weft_unlock(&h->mutex);
        entered++;
    }
    atomic_fetch_add(&h->expected, entered);
}

static void hammer_by_thread(void *argument)
{
    hammer(argument);
}

TEST_BOTH(TryLock)
{
    weft_mutex m = {0};
    weft_lock(&m);
    CHECK(!weft_try_lock(&m));
    weft_unlock(&m);
    CHECK(weft_try_lock(&m));
    CHECK(!weft_try_lock(&m));
    weft_unlock(&m);
}

TEST_BOTH(HammerMutex)
{
    struct hammered h = {.loops = test_scale(3000)};
    weft_waitgroup wg = {0};
    for (int i = 0; i < 10; i++)
        weft_wg_go(&wg, hammer, &h);
    weft_wg_wait(&wg);
    CHECK(h.count == atomic_load(&h.expected));
}

TEST_BOTH(HammerMutexWithForeignThreads)
{
    struct hammered h = {.loops = test_scale(2000)};
    weft_waitgroup wg = {0};
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        weft_wg_go(&wg, hammer, &h);
        threads[i] = start_thread(hammer_by_thread, &h);
    }
    weft_wg_wait(&wg);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    CHECK(h.count == atomic_load(&h.expected));
}

static void lock_greedily(weft_mutex *m, _Atomic bool *stop)
{
    while (!atomic_load(stop)) {
        weft_lock(m);
        burn_ns(100000);
        weft_unlock(m);
    }
}

static int64_t process_cpu_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return time.tv_sec * WEFT_SECOND + time.tv_nsec;
}

static void lock_modestly(weft_mutex *m, int64_t *longest_ns)
{
    for (int i = 0; i < test_shorten(2, 10); i++) {
        weft_sleep(100 * WEFT_US);
        int64_t start_ns = process_cpu_ns(); /* not wall time: the machine may have no core for us */
        weft_lock(m);
        weft_unlock(m);
        int64_t waited_ns = process_cpu_ns() - start_ns;
        *longest_ns = waited_ns > *longest_ns ? waited_ns : *longest_ns;
    }
}

/* One takes the mutex again the moment it let go; the other must get it all the same. */
TEST_BOTH(MutexFairness)
{
    weft_mutex m = {0};
    _Atomic bool stop = false;
    int64_t longest_ns = 0;
    weft_waitgroup greedy = {0}, modest = {0};
    weft_wg_go(&greedy, lock_greedily, &m, &stop);
    weft_wg_go(&modest, lock_modestly, &m, &longest_ns);
    weft_wg_wait(&modest);
    CHECK(longest_ns < 2 * WEFT_SECOND);
    atomic_store(&stop, true);
    weft_wg_wait(&greedy);
}

static void lock_greedily_by_thread(void *argument)
{
    void **parts = argument;
    lock_greedily(parts[0], parts[1]);
}

/* The same where the greedy one is a thread that weft does not schedule. */
TEST_BOTH(MutexFairnessAgainstAForeignThread)
{
    weft_mutex m = {0};
    _Atomic bool stop = false;
    int64_t longest_ns = 0;
    void *parts[2] = {&m, &stop};
    pthread_t greedy = start_thread(lock_greedily_by_thread, parts);
    weft_waitgroup modest = {0};
    weft_wg_go(&modest, lock_modestly, &m, &longest_ns);
    weft_wg_wait(&modest);
    CHECK(longest_ns < 2 * WEFT_SECOND);
    atomic_store(&stop, true);
    CHECK_EQ(pthread_join(greedy, NULL), 0);
}

static void unlock_by_thread(void *m)
{
    weft_unlock(m);
}

/* Any goroutine or thread may unlock. */
TEST_BOTH(UnlockedBySomebodyElse)
{
    weft_mutex m = {0};
    for (int i = 0; i < test_scale(100); i++) {
        weft_lock(&m);
        pthread_t thread = start_thread(unlock_by_thread, &m);
        weft_lock(&m);
        weft_unlock(&m);
        CHECK_EQ(pthread_join(thread, NULL), 0);
    }
}

struct counted {
    weft_mutex mutex;
    int references; /* [mutex] */
};

static void drop(struct counted *c)
{
    weft_lock(&c->mutex);
    int left = --c->references;
    weft_unlock(&c->mutex);
    if (left == 0)
        page_give(c); /* the one before may still be inside its unlock */
}

static void drop_by_thread(void *c)
{
    drop(c);
}

TEST_BOTH(MutexVanishesAfterTheLastUnlock)
{
    weft_waitgroup wg = {0};
    for (int i = 0; i < test_scale(10000); i++) {
        struct counted *c = page_take();
        int n = 2 + i % 3;
        c->references = n;
        if (i % 2)
            weft_lock(&c->mutex); /* so that they queue up first */
        for (int k = 0; k < n; k++)
            weft_wg_go(&wg, drop, c);
        if (i % 2) {
            weft_yield();
            weft_unlock(&c->mutex);
        }
        if (i % 64 == 63)
            weft_wg_wait(&wg);
    }
    weft_wg_wait(&wg);
    for (int i = 0; i < test_scale(300); i++) {
        struct counted *c = page_take();
        c->references = 2;
        pthread_t thread = start_thread(drop_by_thread, c);
        weft_wg_go(&wg, drop, c);
        CHECK_EQ(pthread_join(thread, NULL), 0);
    }
    weft_wg_wait(&wg);
}

/* ---- weft_scoped_lock ---- */

static bool is_free(weft_mutex *m)
{
    bool locked = weft_try_lock(m);
    if (locked)
        weft_unlock(m);
    return locked;
}

static int return_from_scope(weft_mutex *m, int value)
{
    weft_scoped_lock(m);
    CHECK(!is_free(m));
    if (value > 5)
        return -value;
    return value;
}

static int leave_by_goto(weft_mutex *m, int times)
{
    int passes = 0;
again:
    passes++;
    {
        weft_scoped_lock(m);
        CHECK(!is_free(m));
        if (passes < times)
            goto again;
        goto out;
    }
out:
    CHECK(is_free(m));
    return passes;
}

TEST_BOTH(ScopedLock)
{
    weft_mutex m = {0}, other = {0};
    for (int i = 0; i < 10; i++) {
        weft_scoped_lock(&m);
        CHECK(!is_free(&m));
        if (i % 3 == 0)
            continue;
        weft_scoped_lock(&other);
        CHECK(!is_free(&other));
        if (i == 8)
            break;
    }
    CHECK(is_free(&m));
    CHECK(is_free(&other));
    CHECK_EQ(return_from_scope(&m, 1), 1);
    CHECK(is_free(&m));
    CHECK_EQ(return_from_scope(&m, 9), -9);
    CHECK(is_free(&m));
    CHECK_EQ(leave_by_goto(&m, 5), 5);
    do {
        weft_scoped_lock(&m);
        CHECK(!is_free(&m));
        break;
    } while (true);
    CHECK(is_free(&m));
}

static void count_scoped(weft_mutex *m, int64_t *plain, int times)
{
    for (int i = 0; i < times; i++) {
        weft_scoped_lock(m);
        *plain += 1;
        if (i % 2)
            continue;
        *plain += 1;
    }
}

TEST_BOTH(ScopedLockHammer)
{
    weft_mutex m = {0};
    int64_t plain = 0;
    int times = 2 * test_scale(2000);
    weft_waitgroup wg = {0};
    for (int i = 0; i < 8; i++)
        weft_wg_go(&wg, count_scoped, &m, &plain, times);
    weft_wg_wait(&wg);
    CHECK_EQ(plain, 8 * (times + times / 2));
}

TEST_MAIN()
