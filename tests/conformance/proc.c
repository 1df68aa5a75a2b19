/* proc.c — what Go's tests of its scheduler check, asked of weft through its public header: everybody gets a turn, whoever
   spins, blocks in the kernel or hands the CPU to a friend for ever. Tests that need all workers busy make one hog more than
   there are workers, so they mean the same for every WEFT_PROCS.

   Not here: PreemptionGC, GCFairness and the other collector tests (weft has no collector) and StealOrder (it looks inside
   Go's scheduler). Tests of what a goroutine can ask and be given are in go.c, of sleeping in time.c. */
#include "../workload.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <weft.h>

#include "../test.h"

/* ---- progress of those who yield ---- */

static void dump_often(weft_waitgroup *wg, int fd, int times)
{
    for (int i = 0; i < times; i++) {
        CHECK(weft_dump(fd) >= 1);
        weft_yield();
    }
    weft_wg_done(wg);
}

/* Go stops the world for a collection from three sides; the nearest thing here is a dump, which holds goroutines still. */
TEST(StopTheWorldDeadlock)
{
    int fd = open("/dev/null", O_WRONLY);
    CHECK(fd >= 0);
    weft_waitgroup wg = {0};
    weft_wg_add(&wg, 3);
    for (int i = 0; i < 3; i++)
        weft_go(dump_often, &wg, fd, test_scale(20));
    weft_wg_wait(&wg);
    close(fd);
}

static void yield_until_told(weft_chan(int) told, weft_chan(int) answer, int pinned)
{
    if (pinned)
        weft_pin();
    while (weft_try_recv(told, NULL) != 0)
        weft_yield();
    CHECK_EQ(weft_send(answer, 1), 0);
    if (pinned)
        weft_unpin();
}

static void check_yield_progress(int pinned)
{
    weft_chan(int) told = weft_chan_make(int, 0), answer = weft_chan_make(int, 0);
    weft_go(yield_until_told, told, answer, pinned);
    nap_ms(test_shorten(3, 10));
    CHECK_EQ(weft_send(told, 1), 0);
    CHECK(weft_recv(answer, NULL));
    weft_chan_free(told);
    weft_chan_free(answer);
}

TEST_BOTH(YieldProgress)
{
    check_yield_progress(false);
}

TEST_BOTH(YieldLockedProgress)
{
    check_yield_progress(true);
}

enum { YIELDERS = 10 };

static void count_yields(_Atomic bool *stop, _Atomic uint64_t *count, weft_waitgroup *wg)
{
    while (!atomic_load(stop)) {
        atomic_fetch_add(count, 1);
        weft_yield();
    }
    weft_wg_done(wg);
}

static uint64_t fewest(const _Atomic uint64_t *counts)
{
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < YIELDERS; i++) {
        uint64_t count = atomic_load(&counts[i]);
        least = count < least ? count : least;
    }
    return least;
}

/* However often the others come round, everybody does. */
TEST_BOTH(YieldFairness)
{
    _Atomic bool stop = false;
    _Atomic uint64_t counts[YIELDERS] = {0};
    weft_waitgroup wg = {0};
    weft_wg_add(&wg, YIELDERS);
    for (int i = 0; i < YIELDERS; i++)
        weft_go(count_yields, &stop, &counts[i], &wg);
    uint64_t some = (uint64_t)test_shorten(100, 1000);
    for (int i = 0; i < test_shorten(1, 3); i++) {
        uint64_t before = fewest(counts);
        CHECK(HOLDS_WITHIN(20000, fewest(counts) > before + some));
    }
    atomic_store(&stop, true);
    weft_wg_wait(&wg);
}

/* ---- parallelism and hogs ---- */

static int players(void)
{
    return weft_procs() < 2 ? 2 : weft_procs() > 4 ? 4 : weft_procs();
}

/* Each spins for its turn without calling weft, so all must be running at once, or be made to share. */
static void take_turns(_Atomic uint32_t *turn, unsigned me, unsigned n, unsigned rounds, weft_waitgroup *wg)
{
    for (unsigned round = 0; round < rounds; round++) {
        uint32_t mine = n * round + me;
        while (atomic_load(turn) != mine) {
        }
        atomic_store(turn, mine + 1);
    }
    weft_wg_done(wg);
}

static void check_parallelism(void)
{
    for (int i = 0; i < test_scale(6); i++) {
        _Atomic uint32_t turn = 0;
        weft_waitgroup wg = {0};
        unsigned n = (unsigned)players(), rounds = (unsigned)test_shorten(1, 3);
        weft_wg_add(&wg, (int)n);
        for (unsigned p = 0; p < n; p++)
            weft_go(take_turns, &turn, p, n, rounds, &wg);
        weft_wg_wait(&wg);
        CHECK_EQ(atomic_load(&turn), rounds * n);
    }
}

TEST_BOTH(GoroutineParallelism)
{
    check_parallelism();
}

static void sleep_and_yield(_Atomic bool *stop, weft_waitgroup *wg)
{
    while (!atomic_load(stop)) {
        weft_yield();
        weft_sleep(WEFT_MS);
    }
    weft_wg_done(wg);
}

/* The same beside goroutines that come and go through timers. */
TEST(GoroutineParallelism2)
{
    _Atomic bool stop = false;
    weft_waitgroup load = {0};
    weft_wg_add(&load, 2 * weft_procs());
    for (int i = 0; i < 2 * weft_procs(); i++)
        weft_go(sleep_and_yield, &stop, &load);
    check_parallelism();
    atomic_store(&stop, true);
    weft_wg_wait(&load);
}

static void wait_for_the_other(_Atomic int *token, int me, weft_waitgroup *wg)
{
    for (int i = 0; i < test_shorten(2, 5); i++) {
        while (atomic_load(token) != me) {
        }
        atomic_store(token, 1 - me);
    }
    weft_wg_done(wg);
}

TEST_BOTH(Preemption)
{
    _Atomic int token = 0;
    weft_waitgroup wg = {0};
    weft_wg_add(&wg, 2);
    for (int me = 0; me < 2; me++)
        weft_go(wait_for_the_other, &token, me, &wg);
    weft_wg_wait(&wg);
}

/* Relaxed: TSan takes a lock for any other load, and who stores might never get it while many look. */
static void hog(_Atomic bool *stop, _Atomic int *running, weft_waitgroup *wg)
{
    atomic_fetch_add(running, 1);
    while (!atomic_load_explicit(stop, memory_order_relaxed)) {
    }
    weft_wg_done(wg);
}

/* Hogs on all workers and one more; they never call weft. Goroutines, timers and foreign threads go on. */
TEST_BOTH(HogsStopNobody)
{
    if (!test_picked(15)) /* takes every CPU for as long as the kernel needs to give each of them a turn */
        return;
    _Atomic bool stop = false;
    _Atomic int running = 0;
    int hogs = weft_procs() + 1;
    weft_waitgroup hog_wg = {0}, wg = {0};
    weft_wg_add(&hog_wg, hogs);
    for (int i = 0; i < hogs; i++)
        weft_go(hog, &stop, &running, &hog_wg);
    CHECK(HOLDS_WITHIN(20000, atomic_load(&running) == hogs));
    weft_chan(int) told = weft_chan_make(int, 0), answer = weft_chan_make(int, 0);
    for (int i = 0; i < test_shorten(1, 5); i++) {
        weft_wg_go(&wg, yield_until_told, told, answer, 0);
        weft_sleep(WEFT_MS);
        CHECK_EQ(weft_send(told, 1), 0);
        CHECK(weft_recv(answer, NULL));
        weft_wg_wait(&wg);
    }
    atomic_store(&stop, true);
    weft_wg_wait(&hog_wg);
    weft_chan_free(told);
    weft_chan_free(answer);
}

static void ping_pong(weft_chan(int) c, _Atomic uint64_t *count, int work)
{
    for (int token; weft_recv(c, &token);) {
        for (volatile int i = 0; i < work; i++) {
        }
        atomic_fetch_add(count, (uint64_t)work);
        if (weft_send(c, token) != 0)
            break;
    }
}

/* Two pairs hand each other the CPU for ever, one with long turns and one with short ones; neither may starve the other. */
TEST(PingPongHog)
{
    _Atomic uint64_t hogged = 0, light = 0;
    weft_chan(int) hogs = weft_chan_make(int, 0), lights = weft_chan_make(int, 0);
    weft_waitgroup wg = {0};
    for (int i = 0; i < 2; i++) {
        weft_wg_go(&wg, ping_pong, hogs, &hogged, 1000000);
        weft_wg_go(&wg, ping_pong, lights, &light, 1000);
    }
    CHECK_EQ(weft_send(hogs, 1), 0);
    CHECK_EQ(weft_send(lights, 1), 0);
    nap_ms(test_shorten(10, 200));
    CHECK(HOLDS_WITHIN(20000, atomic_load(&hogged) > 0 && atomic_load(&light) > atomic_load(&hogged) / 50 &&
                                  atomic_load(&hogged) > atomic_load(&light) / 50));
    weft_close(hogs);
    weft_close(lights);
    weft_wg_wait(&wg);
    weft_chan_free(hogs);
    weft_chan_free(lights);
}

static void spin_on_try_recv(weft_chan(int) c, weft_waitgroup *wg)
{
    int value;
    while (weft_try_recv(c, &value) < 0) {
    }
    CHECK_EQ(value, 7);
    weft_wg_done(wg);
}

static void send_seven(weft_chan(int) c)
{
    CHECK_EQ(weft_send(c, 7), 0);
}

/* More spinning receivers than workers; the senders are started last and must get a turn. */
TEST(TryRecvSpinStarvesNobody)
{
    int n = weft_procs() + 1;
    weft_chan(int) c = weft_chan_make(int, 0);
    weft_waitgroup wg = {0};
    weft_wg_add(&wg, n);
    for (int i = 0; i < n; i++)
        weft_go(spin_on_try_recv, c, &wg);
    for (int i = 0; i < n; i++)
        weft_go(send_seven, c);
    weft_wg_wait(&wg);
    weft_chan_free(c);
}

static void chain(_Atomic bool *stop, _Atomic uint64_t *links, weft_waitgroup *wg)
{
    atomic_fetch_add(links, 1);
    if (atomic_load(stop))
        weft_wg_done(wg);
    else
        weft_go(chain, stop, links, wg);
}

static void set_flag(_Atomic bool *flag)
{
    atomic_store(flag, true);
}

/* Each goroutine starts the next and ends: the newest is always the next to run. Those that wait in line get their turn. */
TEST(SpawnChainStarvesNobody)
{
    _Atomic bool stop = false;
    _Atomic uint64_t links = 0;
    int chains = weft_procs() + 1;
    weft_waitgroup wg = {0};
    weft_wg_add(&wg, chains);
    for (int i = 0; i < chains; i++)
        weft_go(chain, &stop, &links, &wg);
    CHECK(HOLDS_WITHIN(10000, atomic_load(&links) > 1000));
    weft_go(set_flag, &stop);
    weft_wg_wait(&wg);
}

static void wake_next(weft_chan(int) in, weft_chan(int) out, _Atomic bool *stop, weft_waitgroup *wg)
{
    for (int token; weft_recv(in, &token);)
        if (atomic_load(stop) || weft_send(out, token) != 0)
            break;
    weft_close(out);
    weft_wg_done(wg);
}

/* Rings of three pass a token for ever: woken goroutines run next, and yet those in line get their turn. */
TEST(WakeChainStarvesNobody)
{
    _Atomic bool stop = false;
    int rings = weft_procs() + 1;
    weft_waitgroup wg = {0};
    weft_wg_add(&wg, 3 * rings);
    weft_chan(int) *hops = calloc((size_t)rings * 3, sizeof *hops);
    CHECK(hops);
    for (int r = 0; r < rings; r++) {
        for (int i = 0; i < 3; i++)
            hops[3 * r + i] = weft_chan_make(int, 1);
        for (int i = 0; i < 3; i++)
            weft_go(wake_next, hops[3 * r + i], hops[3 * r + (i + 1) % 3], &stop, &wg);
        CHECK_EQ(weft_send(hops[3 * r], 1), 0);
    }
    nap_ms(test_shorten(5, 20));
    weft_go(set_flag, &stop);
    weft_wg_wait(&wg);
    for (int i = 0; i < 3 * rings; i++)
        weft_chan_free(hops[i]);
    free(hops);
}

/* ---- timers beside busy goroutines ---- */

static void send_for_ever(weft_chan(int) c, weft_chan(int) done)
{
    enum { SENT, DONE };
    while (weft_select([SENT] = weft_on_send(c, 1), [DONE] = weft_on_recv(done, NULL)) == SENT) {
    }
}

static void receive_for_ever(weft_chan(int) c, weft_chan(int) done, int fd)
{
    enum { GOT, DONE };
    char none[1];
    do {
        if (fd >= 0)
            CHECK_EQ(read(fd, none, 0), 0);
    } while (weft_select([GOT] = weft_on_recv(c, NULL), [DONE] = weft_on_recv(done, NULL)) == GOT);
}

static void close_later(weft_chan(int) done, int64_t ns)
{
    weft_sleep(ns);
    CHECK_EQ(weft_close(done), 0);
}

static void check_timer_fairness(int fd)
{
    weft_chan(int) c = weft_chan_make(int, 0), done = weft_chan_make(int, 0);
    weft_waitgroup wg = {0};
    for (int i = 0; i < weft_procs() + 1; i++) {
        weft_wg_go(&wg, send_for_ever, c, done);
        weft_wg_go(&wg, send_for_ever, c, done);
        weft_wg_go(&wg, receive_for_ever, c, done, fd);
    }
    weft_wg_go(&wg, close_later, done, test_shorten(5, 20) * WEFT_MS);
    weft_wg_wait(&wg);
    weft_chan_free(c);
    weft_chan_free(done);
}

TEST_BOTH(TimerFairness)
{
    check_timer_fairness(-1);
}

/* The same with a system call in every round. */
TEST(TimerFairness2)
{
    int fd = open("/dev/null", O_RDONLY);
    CHECK(fd >= 0);
    check_timer_fairness(fd);
    close(fd);
}

/* ---- many goroutines: queues and stealing, seen from outside ---- */

static void run_once(_Atomic uint8_t *ran, weft_waitgroup *wg)
{
    CHECK_EQ(atomic_fetch_add(ran, 1), 0);
    weft_wg_done(wg);
}

static void spawn_many(_Atomic uint8_t *ran, int n, weft_waitgroup *wg)
{
    for (int i = 0; i < n; i++)
        weft_go(run_once, &ran[i], wg);
    weft_wg_done(wg);
}

static void check_all_run(int spawners, int each)
{
    _Atomic uint8_t *ran = calloc((size_t)spawners * (size_t)each, sizeof *ran);
    CHECK(ran);
    weft_waitgroup wg = {0};
    weft_wg_add(&wg, spawners * each + spawners);
    for (int i = 0; i < spawners; i++)
        weft_go(spawn_many, ran + i * each, each, &wg);
    weft_wg_wait(&wg);
    for (int i = 0; i < spawners * each; i++)
        CHECK_EQ(atomic_load(&ran[i]), 1);
    free(ran);
}

TEST_BOTH(SchedLocalQueue)
{
    check_all_run(1, test_scale(20000));
}

TEST(SchedLocalQueueSteal)
{
    for (int i = 0; i < test_scale(20); i++)
        check_all_run(7, 300);
}

static void count_one(_Atomic int *count)
{
    atomic_fetch_add(count, 1);
}

static void spawn_and_wait_spinning(int n, weft_waitgroup *wg)
{
    _Atomic int count = 0;
    for (int i = 0; i < n; i++)
        weft_go(count_one, &count);
    while (atomic_load(&count) != n) {
    }
    weft_wg_done(wg);
}

/* Whoever started them never gives the CPU away: others must take them. */
TEST(SpawnedAreTakenFromABusyWorker)
{
    for (int i = 0; i < test_scale(20); i++) {
        weft_waitgroup wg = {0};
        weft_wg_add(&wg, 1);
        weft_go(spawn_and_wait_spinning, 600, &wg);
        weft_wg_wait(&wg);
    }
}

/* ---- pinning: Go's LockOSThread ---- */

static void send_pinned(weft_chan(int) c, int n)
{
    weft_pin();
    pid_t thread = thread_id();
    for (int i = 0; i < n; i++) {
        CHECK_EQ(weft_send(c, i), 0);
        CHECK_EQ(thread_id(), thread);
    }
    weft_unpin();
}

TEST_BOTH(BlockLocked)
{
    int n = test_scale(10000);
    weft_chan(int) c = weft_chan_make(int, 0);
    weft_waitgroup wg = {0};
    weft_wg_go(&wg, send_pinned, c, n);
    for (int i = 0; i < n; i++) {
        int value;
        CHECK(weft_recv(c, &value));
        CHECK_EQ(value, i);
    }
    weft_wg_wait(&wg);
    weft_chan_free(c);
}

struct pins {
    _Atomic int threads[2]; /* kernel ids of the pinned goroutines' threads */
    _Atomic bool stop;
    _Atomic uint64_t looks;
};

static void stay_pinned(struct pins *pins, int which)
{
    weft_pin();
    weft_pin();
    pid_t thread = thread_id();
    weft_unpin(); /* still pinned once */
    atomic_store(&pins->threads[which], thread);
    while (!atomic_load(&pins->stop)) {
        weft_yield();
        CHECK_EQ(thread_id(), thread);
        weft_sleep(100 * WEFT_US);
        CHECK_EQ(thread_id(), thread);
        nap_ns(100000);
        weft_yield();
        CHECK_EQ(thread_id(), thread);
    }
    weft_unpin();
}

static void stay_off_pinned_threads(struct pins *pins)
{
    while (!atomic_load(&pins->stop)) {
        pid_t thread = thread_id();
        CHECK(thread != atomic_load(&pins->threads[0]));
        CHECK(thread != atomic_load(&pins->threads[1]));
        atomic_fetch_add(&pins->looks, 1);
        weft_yield();
    }
}

TEST(LockOSThreadNesting)
{
    struct pins pins = {0};
    weft_waitgroup pinned = {0}, others = {0};
    for (int i = 0; i < 2; i++)
        weft_wg_go(&pinned, stay_pinned, &pins, i);
    CHECK(HOLDS_WITHIN(10000, atomic_load(&pins.threads[0]) && atomic_load(&pins.threads[1])));
    CHECK(atomic_load(&pins.threads[0]) != atomic_load(&pins.threads[1]));
    for (int i = 0; i < 4; i++)
        weft_wg_go(&others, stay_off_pinned_threads, &pins);
    nap_ms(test_shorten(5, 200));
    CHECK(HOLDS_WITHIN(10000, atomic_load(&pins.looks) > 10));
    atomic_store(&pins.stop, true);
    weft_wg_wait(&others);
    weft_wg_wait(&pinned);
}

static void end_pinned(weft_waitgroup *wg)
{
    weft_pin();
    weft_yield();
    weft_wg_done(wg);
}

/* A goroutine may end while it is pinned; its thread is not lost to the others, nor kept for nobody. */
TEST(LockOSThreadExit)
{
    int before = 0;
    for (int round = 0; round < test_shorten(6, 20); round++) {
        weft_waitgroup wg = {0};
        weft_wg_add(&wg, 10);
        for (int i = 0; i < 10; i++)
            weft_go(end_pinned, &wg);
        weft_wg_wait(&wg);
        if (round == 0)
            before = count_threads();
    }
    check_all_run(2, 100);
    CHECK(HOLDS_WITHIN(10000, count_threads() <= before + 40));
}

/* ---- blocked in the kernel ---- */

static void read_one(int fd, _Atomic int *finished)
{
    char byte = 0;
    ssize_t n = read(fd, &byte, 1);
    CHECK_EQ(n, 1);
    CHECK_EQ(byte, 'x');
    atomic_fetch_add(finished, 1);
}

static void trade(weft_chan(int) c, int n)
{
    for (int i = 0; i < n; i++)
        CHECK_EQ(weft_send(c, i), 0);
}

/* More goroutines in plain read(2) than there are workers; others go on. No clock: the readers are let go at the end. */
TEST_BOTH(BlockingCallsStopNobody)
{
    int blocked = weft_procs() + 3, ends[2];
    CHECK_EQ(pipe(ends), 0);
    _Atomic int finished = 0;
    weft_waitgroup wg = {0}, traders = {0};
    for (int i = 0; i < blocked; i++)
        weft_wg_go(&wg, read_one, ends[0], &finished);
    nap_ms(5);
    weft_chan(int) c = weft_chan_make(int, 0);
    int trades = test_shorten(100, 1000);
    weft_wg_go(&traders, trade, c, trades);
    for (int i = 0; i < trades; i++)
        CHECK(weft_recv(c, NULL));
    weft_wg_wait(&traders);
    CHECK_EQ(atomic_load(&finished), 0);
    for (int i = 0; i < blocked; i++)
        CHECK_EQ(write(ends[1], "x", 1), 1);
    weft_wg_wait(&wg);
    close(ends[0]);
    close(ends[1]);
    weft_chan_free(c);
}

static void nap_often(int64_t ns, int times, _Atomic int *napping, _Atomic int *most)
{
    for (int i = 0; i < times; i++) {
        int n = atomic_fetch_add(napping, 1) + 1;
        for (int before = atomic_load(most); before < n && !atomic_compare_exchange_weak(most, &before, n);)
            ;
        nap_ns(ns);
        atomic_fetch_sub(napping, 1);
    }
}

/* Goroutines that block again and again: naps overlap instead of queueing on the workers. */
TEST(NapsOverlap)
{
    static _Atomic int napping, most;
    if (!test_picked(30)) /* a thread for each */
        return;
    atomic_store(&most, 0);
    weft_waitgroup wg = {0};
    for (int i = 0; i < test_shorten(40, 100); i++)
        weft_wg_go(&wg, nap_often, 50 * WEFT_MS, test_shorten(2, 4), &napping, &most);
    weft_wg_wait(&wg);
    CHECK(atomic_load(&most) > 2 * weft_procs());
}

TEST(ThousandBlockingReads)
{
    int n = test_scale(1000);
    struct rlimit limit;
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    rlim_t wanted = (rlim_t)n * 2 + 100;
    if (limit.rlim_cur < wanted) {
        limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
        CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
        if (limit.rlim_cur < wanted)
            n = ((int)limit.rlim_cur - 100) / 2;
    }
    int(*pipes)[2] = calloc((size_t)n, sizeof *pipes);
    CHECK(pipes);
    _Atomic int finished = 0;
    weft_waitgroup wg = {0};
    for (int i = 0; i < n; i++) {
        CHECK_EQ(pipe(pipes[i]), 0);
        weft_wg_go(&wg, read_one, pipes[i][0], &finished);
    }
    nap_ms(test_shorten(10, 50));
    CHECK_EQ(atomic_load(&finished), 0);
    for (int i = n; i-- > 0;)
        CHECK_EQ(write(pipes[i][1], "x", 1), 1);
    weft_wg_wait(&wg);
    CHECK_EQ(atomic_load(&finished), n);
    for (int i = 0; i < n; i++) {
        close(pipes[i][0]);
        close(pipes[i][1]);
    }
    free(pipes);
}

TEST_MAIN()
