/* cycle.c — deadlocks among some goroutines while others run (weft_deadlocks), and the cycles in the report of a deadlock of
   all. */
#include "death.h"
#include <pthread.h>

static weft_mutex first, second, third; /* a child has its own */
static weft_waitgroup group;
static _Atomic int holding;

/* Takes one, and the other when n goroutines have come so far. */
static void lock_both(weft_mutex *one, weft_mutex *other, int n)
{
    weft_lock(one);
    atomic_fetch_add(&holding, 1);
    while (atomic_load(&holding) < n)
        weft_sleep(WEFT_MS);
    weft_lock(other);
}

static void lock_up(weft_mutex *one, weft_mutex *other, int n)
{
    weft_name("up");
    lock_both(one, other, n);
}

static void lock_down(weft_mutex *one, weft_mutex *other, int n)
{
    lock_both(one, other, n);
}

static void expect_count(int fd, int n)
{
    int64_t end_ns = clock_ns() + 10 * WEFT_SECOND;
    int found;
    while ((found = weft_deadlocks(fd)) == 0 && n != 0 && clock_ns() < end_ns)
        weft_sleep(WEFT_MS);
    CHECK_EQ(found, n);
}

/* How often text occurs in what the child wrote. */
static int count_text(const char *text)
{
    int n = 0;
    for (const char *at = death.text; (at = strstr(at, text)); at++)
        n++;
    return n;
}

/* The child must have written a line about who that has both texts. */
static void expect_line(const char *who, const char *holds, const char *waits)
{
    char text[400];
    for (const char *line = death.text; *line; line += strcspn(line, "\n") + 1) {
        snprintf(text, sizeof text, "%.*s", (int)strcspn(line, "\n"), line);
        const char *verb = strstr(text, " holds ");
        verb = verb ? verb : strstr(text, " waits ");
        const char *subject = strstr(text, who);
        if (subject && verb && subject < verb && strstr(text, holds) && strstr(text, waits))
            return;
    }
    snprintf(text, sizeof text, "a line about \"%s\" with \"%s\" and \"%s\"", who, holds, waits);
    death_unexpected(text);
}

static char text_of_first[64], text_of_second[64], text_of_third[64], text_of_group[64];

/* The children are forked: their objects are where the parent's are. */
static void note_addresses(void)
{
    snprintf(text_of_first, sizeof text_of_first, "Mutex %p", (void *)&first);
    snprintf(text_of_second, sizeof text_of_second, "Mutex %p", (void *)&second);
    snprintf(text_of_third, sizeof text_of_third, "Mutex %p", (void *)&third);
    snprintf(text_of_group, sizeof text_of_group, "WaitGroup %p", (void *)&group);
}

static void expect_mutexes(const char *who, const char *holds, const char *waits)
{
    char held[80], waited[100];
    snprintf(held, sizeof held, "holds %s, ", holds);
    snprintf(waited, sizeof waited, "waits for %s held by ", waits);
    expect_line(who, held, waited);
}

/* ---- partial deadlocks ---- */

static void two_mutexes(void)
{
    weft_go(lock_up, &first, &second, 2);
    weft_go(lock_down, &second, &first, 2);
    expect_count(STDERR_FILENO, 1);
}

static void two_mutexes_in_goroutine(void)
{
    weft_waitgroup wg = {0};
    weft_wg_go(&wg, two_mutexes);
    weft_wg_wait(&wg);
}

TEST(CycleOfTwoMutexes)
{
    void (*both[])(void) = {two_mutexes, two_mutexes_in_goroutine};
    note_addresses();
    for (int i = 0; i < 2; i++) {
        death_expect_exit(both[i], NULL, 0);
        death_expect_text("weft: deadlock: 2 goroutines wait for each other:\n");
        expect_mutexes("\"up\" (lock_up, cycle.c:", text_of_first, text_of_second);
        expect_mutexes("(lock_down, cycle.c:", text_of_second, text_of_first);
        CHECK_EQ(count_text("weft: deadlock:"), 1);
    }
}

static void three_mutexes_and_followers(void)
{
    weft_go(lock_up, &first, &second, 3);
    weft_go(lock_down, &second, &third, 3);
    weft_go(lock_down, &third, &first, 3);
    while (atomic_load(&holding) < 3)
        weft_sleep(WEFT_MS);
    for (int i = 0; i < 100; i++) /* they wait for the cycle, but are not in it */
        weft_go(weft_lock, i % 2 ? &first : &second);
    weft_sleep(10 * WEFT_MS);
    expect_count(STDERR_FILENO, 1);
}

static void two_cycles(void)
{
    weft_mutex a = {0}, b = {0}, c = {0}, d = {0};
    weft_go(lock_up, &a, &b, 4);
    weft_go(lock_up, &c, &d, 4);
    weft_go(lock_down, &b, &a, 4);
    weft_go(lock_down, &d, &c, 4);
    while (atomic_load(&holding) < 4)
        weft_sleep(WEFT_MS);
    weft_sleep(20 * WEFT_MS);
    expect_count(STDERR_FILENO, 2);
}

TEST(LargerCycles)
{
    death_expect_exit(three_mutexes_and_followers, NULL, 0);
    death_expect_text("weft: deadlock: 3 goroutines wait for each other:\n");
    CHECK_EQ(count_text("holds Mutex"), 3);
    death_expect_exit(two_cycles, NULL, 0);
    CHECK_EQ(count_text("weft: deadlock: 2 goroutines wait for each other:\n"), 2);
    CHECK_EQ(count_text("holds Mutex"), 4);
}

static void lock_twice(void)
{
    weft_lock(&first);
    weft_lock(&first);
}

static void itself(void)
{
    weft_go(lock_twice);
    expect_count(STDERR_FILENO, 1);
}

TEST(CycleOfOne)
{
    note_addresses();
    death_expect_exit(itself, NULL, 0);
    death_expect_text("weft: deadlock: a goroutine waits for itself:\n");
    expect_mutexes("goroutine 1 (lock_twice, cycle.c:", text_of_first, text_of_first);
}

static void lock_first(void)
{
    weft_lock(&first);
    weft_unlock(&first);
}

static void sleep_a_little(void)
{
    weft_sleep(WEFT_MS);
}

static void wait_with_mutex(void)
{
    weft_lock(&first);
    weft_wg_go(&group, weft_yield);
    weft_wg_go(&group, sleep_a_little);
    weft_wg_go(&group, lock_first);
    weft_wg_wait(&group);
}

static void group_and_mutex(void)
{
    weft_go(wait_with_mutex);
    expect_count(STDERR_FILENO, 1);
}

TEST(CycleOfWaitGroupAndMutex)
{
    note_addresses();
    death_expect_exit(group_and_mutex, NULL, 0);
    expect_line("(wait_with_mutex, cycle.c:", "holds Mutex", text_of_group);
    expect_line("(wait_with_mutex, cycle.c:", text_of_first, "until the end of goroutine");
    expect_line("(lock_first, cycle.c:", "", text_of_first);
    CHECK_EQ(count_text("holds"), 1);
}

static int lock_first_in_group(void)
{
    lock_first();
    return 0;
}

static void wait_for_group_with_mutex(void)
{
    weft_group g = {0};
    weft_lock(&first);
    weft_group_go(&g, lock_first_in_group);
    weft_group_wait(&g);
}

static void await_with_mutex(void)
{
    weft_lock(&first);
    weft_future(int) f = weft_async(lock_first_in_group);
    weft_await(f, NULL);
}

static void group_of_errors_and_mutex(void)
{
    weft_go(wait_for_group_with_mutex);
    expect_count(STDERR_FILENO, 1);
}

static void future_and_mutex(void)
{
    weft_go(await_with_mutex);
    expect_count(STDERR_FILENO, 1);
}

TEST(CycleOfGroupOrFutureAndMutex)
{
    note_addresses();
    death_expect_exit(group_of_errors_and_mutex, NULL, 0);
    expect_line("(wait_for_group_with_mutex, cycle.c:", text_of_first, "until the end of goroutine");
    expect_line("(lock_first_in_group, cycle.c:", "held by goroutine", text_of_first);
    death_expect_exit(future_and_mutex, NULL, 0);
    expect_line("(await_with_mutex, cycle.c:", text_of_first, "waits for future 0x");
    expect_line("(lock_first_in_group, cycle.c:", "held by goroutine", text_of_first);
}

static void *lock_both_on_a_thread(void *argument)
{
    weft_yield(); /* from now on weft knows the thread */
    lock_both(&second, &first, 2);
    return argument;
}

static void thread_and_goroutine(void)
{
    pthread_t thread;
    weft_go(lock_up, &first, &second, 2);
    CHECK_EQ(pthread_create(&thread, NULL, lock_both_on_a_thread, NULL), 0);
    expect_count(STDERR_FILENO, 1);
}

static void lock_both_pinned(weft_mutex *one, weft_mutex *other, int n)
{
    weft_pin();
    lock_both(one, other, n);
}

static void pinned_and_goroutine(void)
{
    weft_go(lock_up, &first, &second, 2);
    weft_go(lock_both_pinned, &second, &first, 2);
    expect_count(STDERR_FILENO, 1);
}

TEST(CycleWithThreads)
{
    note_addresses();
    death_expect_exit(thread_and_goroutine, NULL, 0);
    expect_mutexes("    thread ", text_of_second, text_of_first);
    expect_line("\"up\" (lock_up", "held by thread ", "");
    death_expect_exit(pinned_and_goroutine, NULL, 0);
    expect_mutexes("(lock_both_pinned, cycle.c:", text_of_second, text_of_first);
}

/* The mutex changes hands by an unlock that gives it to one who has waited for long. */
static void get_handed_over(void)
{
    weft_lock(&first);
    atomic_fetch_add(&holding, 1);
    weft_lock(&second);
}

static void hand_over(void)
{
    weft_lock(&second);
    weft_lock(&first);
    weft_go(get_handed_over);
    weft_yield(); /* it waits */
    burn_ns(3 * WEFT_MS);
    weft_unlock(&first); /* it is woken ... */
    weft_lock(&first);
    weft_yield(); /* ... and finds itself overtaken */
    burn_ns(3 * WEFT_MS);
    weft_unlock(&first);
    CHECK(!weft_try_lock(&first)); /* it has it, and has not run yet */
    weft_lock(&first);
}

static void handed_over(void)
{
    weft_go(hand_over);
    expect_count(STDERR_FILENO, 1);
    CHECK_EQ(atomic_load(&holding), 1);
}

TEST(CycleWithAMutexThatWasHandedOver)
{
    note_addresses();
    death_expect_exit(handed_over, "WEFT_PROCS=1", 0);
    expect_mutexes("(get_handed_over, cycle.c:", text_of_first, text_of_second);
    expect_mutexes("(hand_over, cycle.c:", text_of_second, text_of_first);
}

/* ---- none ---- */

static void contend(weft_mutex *locks, uint64_t seed, _Atomic bool *stop)
{
    while (!atomic_load(stop)) {
        unsigned a = (unsigned)(test_random_from(&seed) % 7), b = a + 1 + (unsigned)(test_random_from(&seed) % (7 - a));
        weft_lock(&locks[a]); /* always upwards: no deadlock */
        weft_lock(&locks[b]);
        if (b == 7) {
            weft_waitgroup wg = {0};
            weft_wg_go(&wg, weft_yield);
            weft_wg_wait(&wg);
        }
        weft_unlock(&locks[a]);
        if (test_random_from(&seed) % 3 == 0)
            weft_yield();
        weft_unlock(&locks[b]);
    }
}

static void no_cycle(void)
{
    weft_mutex locks[8] = {{0}};
    _Atomic bool stop = false;
    weft_waitgroup wg = {0};
    CHECK_EQ(weft_deadlocks(STDERR_FILENO), 0); /* before weft has started */
    for (int i = 0; i < 30; i++)
        weft_wg_go(&wg, contend, locks, test_random(), &stop);
    int64_t end_ns = clock_ns() + 3 * WEFT_SECOND;
    while (clock_ns() < end_ns)
        expect_count(STDERR_FILENO, 0);
    atomic_store(&stop, true);
    weft_wg_wait(&wg);
}

TEST(NoCycle)
{
    death_expect_exit(no_cycle, NULL, 0);
    if (death.length)
        death_unexpected("no message");
}

static weft_chan(int) channel;

static void lock_and_receive(void)
{
    weft_lock(&first);
    weft_recv(channel, NULL);
    weft_unlock(&first);
}

static void lock_and_end(weft_mutex *m)
{
    weft_lock(m);
}

/* Everybody waits, but somebody else can end it; or whoever locked is no more. */
static void chain_without_cycle(void)
{
    weft_waitgroup wg = {0};
    channel = weft_chan_make(int, 0);
    weft_wg_go(&wg, lock_and_receive);
    weft_sleep(5 * WEFT_MS);
    weft_wg_go(&wg, lock_first);
    weft_wg_go(&wg, lock_first);
    weft_go(weft_wg_wait, &wg);
    weft_waitgroup ended = {0};
    weft_wg_go(&ended, lock_and_end, &second);
    weft_wg_wait(&ended);
    weft_go(lock_and_end, &second);
    weft_sleep(50 * WEFT_MS);
    expect_count(STDERR_FILENO, 0);
    CHECK_EQ(weft_send(channel, 1), 0);
    weft_wg_wait(&wg);
}

TEST(ChainWithoutCycle)
{
    death_expect_exit(chain_without_cycle, NULL, 0);
    if (death.length)
        death_unexpected("no message");
}

/* ---- the fatal report ---- */

static void main_waits_for_cycle(void)
{
    weft_wg_go(&group, lock_up, &first, &second, 2);
    weft_wg_go(&group, lock_down, &second, &first, 2);
    weft_wg_wait(&group);
}

static void main_is_in_cycle(void)
{
    weft_yield(); /* from now on weft knows the thread */
    weft_lock(&first);
    weft_wg_go(&group, lock_first);
    weft_wg_wait(&group);
}

static void no_cycle_but_dead(void)
{
    channel = weft_chan_make(int, 0);
    weft_wg_go(&group, lock_and_receive);
    weft_wg_wait(&group);
}

TEST(FatalReportShowsCycles)
{
    note_addresses();
    death_expect_exit(main_waits_for_cycle, NULL, 2);
    death_expect_text(
        "weft: fatal: all goroutines are asleep - deadlock!\nweft: deadlock: 2 goroutines wait for each other:\n");
    expect_mutexes("\"up\" (lock_up, cycle.c:", text_of_first, text_of_second);
    expect_mutexes("(lock_down, cycle.c:", text_of_second, text_of_first);
    death_expect_text("[Mutex 0x"); /* the dump follows */
    death_expect_exit(main_is_in_cycle, NULL, 2);
    expect_line("    thread ", text_of_first, "until the end of goroutine 1 (lock_first, cycle.c:");
    death_expect_exit(no_cycle_but_dead, NULL, 2);
    CHECK_EQ(count_text("weft: deadlock:"), 0);
}

TEST_MAIN()
