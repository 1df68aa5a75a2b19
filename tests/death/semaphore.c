/* semaphore.c — misuse of a semaphore: WeightedPanic of golang.org/x/sync/semaphore, and what C allows beyond it. */
#include "death.h"

static weft_sem sem = WEFT_SEM(4);

static void release_unheld(void)
{
    weft_sem_release(&sem, 1);
}

static void release_too_much(void)
{
    weft_sem_acquire(&sem, 3);
    weft_sem_release(&sem, 4);
}

static void release_most(void)
{
    weft_sem_acquire(&sem, 4);
    weft_sem_release(&sem, INT64_MAX);
}

static void acquire_all(void)
{
    weft_sem_acquire(&sem, 4);
}

static void release_too_much_with_waiters(void)
{
    weft_sem_acquire(&sem, 1);
    weft_go(acquire_all);
    while (weft_sem_try_acquire(&sem, 0))
        weft_yield();
    weft_sem_release(&sem, 2);
}

TEST(WeightedPanic)
{
    death_expect_abort(release_unheld, NULL, "semaphore: released more than held");
    death_expect_abort(release_too_much, NULL, "semaphore: released more than held");
    death_expect_abort(release_most, NULL, "semaphore: released more than held");
    death_expect_abort(release_too_much_with_waiters, NULL, "semaphore: released more than held");
}

static void release_in_goroutine(void)
{
    weft_go(release_unheld);
    nap_ms(20000);
}

TEST(WeightedPanicInAGoroutine)
{
    death_expect_abort(release_in_goroutine, NULL, "semaphore: released more than held");
    death_expect_text("semaphore.c:"); /* the site of the goroutine */
}

static void acquire_less_than_nothing(void)
{
    weft_sem_acquire(&sem, -1);
}

static void acquire_least_for_no_time(void)
{
    weft_sem_acquire_timeout(&sem, INT64_MIN, 0);
}

static void try_less_than_nothing(void)
{
    weft_sem_try_acquire(&sem, -1);
}

static void release_less_than_nothing(void)
{
    weft_sem_release(&sem, -1);
}

TEST(NegativeUnits)
{
    death_expect_abort(acquire_less_than_nothing, NULL, "semaphore: negative number of units");
    death_expect_abort(acquire_least_for_no_time, NULL, "semaphore: negative number of units");
    death_expect_abort(try_less_than_nothing, NULL, "semaphore: negative number of units");
    death_expect_abort(release_less_than_nothing, NULL, "semaphore: negative number of units");
}

static void acquire_more_than_size(void)
{
    weft_sem_acquire(&sem, 5);
}

static void acquire_twice(void)
{
    weft_sem_acquire(&sem, 4);
    weft_sem_acquire(&sem, 1);
}

static void wait_for_signal(void)
{
    static weft_mutex m;
    static weft_cond c;
    weft_lock(&m);
    weft_cond_wait(&c, &m);
}

/* Nothing can end these waits: the deadlock report says what they are. */
TEST(WaitsAreSeenByTheDeadlockReport)
{
    death_expect_exit(acquire_more_than_size, NULL, 2);
    death_expect_text("semaphore");
    death_expect_exit(acquire_twice, NULL, 2);
    death_expect_text("semaphore");
    death_expect_exit(wait_for_signal, NULL, 2);
    death_expect_text("Cond");
}

TEST_MAIN()
