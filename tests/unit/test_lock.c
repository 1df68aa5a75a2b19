/* test_lock.c — the internal lock: exclusive, and who waits long sleeps and is woken. Each test runs with membarrier and
   with the fences that replace it. */
#define _GNU_SOURCE
#include "../test.h"
#include "os/lock.h"

#include <pthread.h>

static struct wi_lock lock;
static uint64_t counter; /* [lock] */
static int rounds;

static void each_way(void (*run)(void))
{
    wi_os_membarrier_works = false;
    run();
    if (wi_os_membarrier_init())
        run();
    CHECK_EQ(wi_load_relaxed(&lock.locked), 0);
    CHECK_EQ(wi_load_relaxed(&lock.sleepers), 0);
}

static void *count(void *argument)
{
    for (int i = 0; i < rounds; i++) {
        if (i % 4 != 0)
            wi_lock(&lock);
        else
            while (!wi_lock_try(&lock))
                wi_pause();
        counter++;
        if (i % 64 == 0)
            sched_yield(); /* so that others find it held, also on one CPU */
        wi_unlock(&lock);
    }
    return argument;
}

static void run_count(void)
{
    pthread_t threads[4];
    counter = 0;
    rounds = test_scale(100000);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, count, NULL), 0);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    CHECK_EQ(counter, 4 * (uint64_t)rounds);
}

TEST(exclusive)
{
    each_way(run_count);
}

static _Atomic int64_t waiters_cpu_ns;

static void *wait_for_lock(void *argument)
{
    int64_t before = wi_os_thread_cpu_ns(CLOCK_THREAD_CPUTIME_ID);
    wi_lock(&lock);
    counter++;
    wi_unlock(&lock);
    wi_add_relaxed(&waiters_cpu_ns, wi_os_thread_cpu_ns(CLOCK_THREAD_CPUTIME_ID) - before);
    return argument;
}

static void run_sleep(void)
{
    pthread_t threads[8];
    counter = 0;
    wi_store_relaxed(&waiters_cpu_ns, 0);
    wi_lock(&lock);
    for (int i = 0; i < 8; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, wait_for_lock, NULL), 0);
    while (wi_load_relaxed(&lock.sleepers) < 8)
        usleep(1000);
    CHECK(!wi_lock_try(&lock));
    usleep(300000);
    CHECK_EQ(counter, 0);
    wi_unlock(&lock);
    for (int i = 0; i < 8; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    CHECK_EQ(counter, 8);
    CHECK(wi_load_relaxed(&waiters_cpu_ns) < 300000000); /* spinning would be 300 ms each, or 1.2 s on two CPUs */
}

TEST(sleepers_sleep_and_are_woken)
{
    each_way(run_sleep);
}

/* Two threads and a lock that is held for about as long as announcing a sleeper takes: unlock's look at sleepers and the
   sleeper's at the lock meet in every order. A lost wake-up hangs. */
static void *meet(void *argument)
{
    uint64_t random = (uint64_t)(uintptr_t)argument;
    for (int i = 0; i < rounds; i++) {
        wi_lock(&lock);
        for (uint64_t n = test_random_from(&random) % 512; n > 0; n--)
            wi_pause();
        counter++;
        wi_unlock(&lock);
        for (uint64_t n = test_random_from(&random) % 64; n > 0; n--)
            wi_pause();
    }
    return NULL;
}

static void run_meet(void)
{
    pthread_t threads[2];
    counter = 0;
    rounds = test_scale(20000);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, meet, (void *)(uintptr_t)test_random()), 0);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    CHECK_EQ(counter, 2 * (uint64_t)rounds);
}

TEST(no_wake_up_is_lost)
{
    each_way(run_meet);
}

/* Two threads that do nothing but lock, so that they take turns (lock.c). Who has done its rounds goes on until the other has
   too: if turns kept one of them out, that one would never end. */
static _Atomic int done[2];

static void *fight(void *argument)
{
    _Atomic int *mine = argument, *other = mine == &done[0] ? &done[1] : &done[0];
    while (wi_load_relaxed(mine) < rounds || wi_load_relaxed(other) < rounds) {
        wi_lock(&lock);
        counter++;
        wi_bump(mine, 1);
        wi_unlock(&lock);
    }
    return NULL;
}

static void run_fight(void)
{
    pthread_t threads[2];
    counter = 0;
    rounds = test_scale(200000);
    for (int i = 0; i < 2; i++)
        wi_store_relaxed(&done[i], 0);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, fight, (void *)&done[i]), 0);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    CHECK_EQ(counter, (uint64_t)wi_load_relaxed(&done[0]) + (uint64_t)wi_load_relaxed(&done[1]));
}

TEST(fighters_both_get_their_turns)
{
    each_way(run_fight);
}

TEST_MAIN()
