/* misuse.c — misuse that is fatal: each in a child of its own, which must abort with the right message. Where a goroutine
   did it, the message is followed by which one, named by the line that started it. */
#include "death.h"
#include <limits.h>
#include <pthread.h>

static weft_mutex mutex;
static weft_rwmutex rwmutex;
static weft_waitgroup group;

/* fn must end the process; the nap is how long it may take. */
static void in_goroutine(void (*fn)(void))
{
    weft_go(fn);
    nap_ms(20000);
}

#define IN_GOROUTINE(fn)                                                                                                    \
    static void fn##_in_goroutine(void)                                                                                     \
    {                                                                                                                       \
        in_goroutine(fn);                                                                                                   \
    }

static void expect_both(void (*fn)(void), void (*fn_in_goroutine)(void), const char *message)
{
    death_expect_abort(fn, NULL, message);
    death_expect_abort(fn_in_goroutine, NULL, message);
    death_expect_text("misuse.c:"); /* the site of the goroutine */
}

static void unlock_unlocked(void)
{
    weft_unlock(&mutex);
}
IN_GOROUTINE(unlock_unlocked)

static void unlock_twice(void)
{
    weft_lock(&mutex);
    weft_unlock(&mutex);
    weft_unlock(&mutex);
}
IN_GOROUTINE(unlock_twice)

TEST(UnlockOfUnlockedMutex)
{
    expect_both(unlock_unlocked, unlock_unlocked_in_goroutine, "unlock of an unlocked mutex");
    expect_both(unlock_twice, unlock_twice_in_goroutine, "unlock of an unlocked mutex");
}

static void runlock_unlocked(void)
{
    weft_runlock(&rwmutex);
}
IN_GOROUTINE(runlock_unlocked)

static void runlock_twice(void)
{
    weft_rlock(&rwmutex);
    weft_runlock(&rwmutex);
    weft_runlock(&rwmutex);
}
IN_GOROUTINE(runlock_twice)

static void runlock_of_writer(void)
{
    weft_wlock(&rwmutex);
    weft_runlock(&rwmutex);
}
IN_GOROUTINE(runlock_of_writer)

static void lock_and_hang(void (*lock)(weft_rwmutex *))
{
    lock(&rwmutex);
    nap_ms(20000);
}

/* Locks one way, lets another goroutine wait for the other way, and unlocks that way. */
static void unlock_what_another_waits_for(void (*lock)(weft_rwmutex *), void (*other_lock)(weft_rwmutex *),
                                          void (*other_unlock)(weft_rwmutex *))
{
    lock(&rwmutex);
    weft_go(lock_and_hang, other_lock);
    nap_ms(100);
    other_unlock(&rwmutex);
}

/* Readers that wait are no readers that have it. */
static void runlock_of_writer_with_readers(void)
{
    unlock_what_another_waits_for(weft_wlock, weft_rlock, weft_runlock);
}
IN_GOROUTINE(runlock_of_writer_with_readers)

TEST(ReadUnlockOfRWMutexWithoutReader)
{
    static const char message[] = "read unlock of an RWMutex that no reader has";
    expect_both(runlock_unlocked, runlock_unlocked_in_goroutine, message);
    expect_both(runlock_twice, runlock_twice_in_goroutine, message);
    expect_both(runlock_of_writer, runlock_of_writer_in_goroutine, message);
    expect_both(runlock_of_writer_with_readers, runlock_of_writer_with_readers_in_goroutine, message);
}

static void wunlock_unlocked(void)
{
    weft_wunlock(&rwmutex);
}
IN_GOROUTINE(wunlock_unlocked)

static void wunlock_twice(void)
{
    weft_wlock(&rwmutex);
    weft_wunlock(&rwmutex);
    weft_wunlock(&rwmutex);
}
IN_GOROUTINE(wunlock_twice)

static void wunlock_of_reader(void)
{
    weft_rlock(&rwmutex);
    weft_wunlock(&rwmutex);
}
IN_GOROUTINE(wunlock_of_reader)

/* A writer that waits is no writer that has it. */
static void wunlock_of_reader_with_writer(void)
{
    unlock_what_another_waits_for(weft_rlock, weft_wlock, weft_wunlock);
}
IN_GOROUTINE(wunlock_of_reader_with_writer)

TEST(WriteUnlockOfRWMutexWithoutWriter)
{
    static const char message[] = "write unlock of an RWMutex that no writer has";
    expect_both(wunlock_unlocked, wunlock_unlocked_in_goroutine, message);
    expect_both(wunlock_twice, wunlock_twice_in_goroutine, message);
    expect_both(wunlock_of_reader, wunlock_of_reader_in_goroutine, message);
    expect_both(wunlock_of_reader_with_writer, wunlock_of_reader_with_writer_in_goroutine, message);
}

static void done_too_often(void)
{
    weft_wg_add(&group, 1);
    weft_wg_done(&group);
    weft_wg_done(&group);
}
IN_GOROUTINE(done_too_often)

static void add_too_little(void)
{
    weft_wg_add(&group, 5);
    weft_wg_add(&group, -6);
}
IN_GOROUTINE(add_too_little)

static void add_least(void)
{
    weft_wg_add(&group, INT_MIN);
}
IN_GOROUTINE(add_least)

TEST(NegativeWaitGroup)
{
    expect_both(done_too_often, done_too_often_in_goroutine, "negative WaitGroup counter");
    expect_both(add_too_little, add_too_little_in_goroutine, "negative WaitGroup counter");
    expect_both(add_least, add_least_in_goroutine, "negative WaitGroup counter");
}

static void add_too_much(void)
{
    weft_wg_add(&group, INT32_MAX);
    weft_wg_add(&group, 1);
}
IN_GOROUTINE(add_too_much)

static void add_twice_the_most(void)
{
    weft_wg_add(&group, INT32_MAX);
    weft_wg_add(&group, INT32_MAX);
}
IN_GOROUTINE(add_twice_the_most)

TEST(WaitGroupOverflow)
{
    expect_both(add_too_much, add_too_much_in_goroutine, "WaitGroup counter overflow");
    expect_both(add_twice_the_most, add_twice_the_most_in_goroutine, "WaitGroup counter overflow");
}

static int give_one(void)
{
    return 1;
}

static void run_here(void)
{
    weft_run(give_one);
}
IN_GOROUTINE(run_here)

static int run_inside_run(void)
{
    return weft_run(give_one);
}

static void run_twice_deep(void)
{
    weft_run(run_inside_run);
}

TEST(RunInsideAGoroutine)
{
    death_expect_exit(run_here, NULL, 0); /* allowed on a thread */
    death_expect_abort(run_here_in_goroutine, NULL, "weft_run inside a goroutine");
    death_expect_abort(run_twice_deep, NULL, "weft_run inside a goroutine");
}

static void close_null(void)
{
    weft_chan(int) c = NULL;
    weft_close(c);
}
IN_GOROUTINE(close_null)

TEST(CloseOfNullChannel)
{
    expect_both(close_null, close_null_in_goroutine, "close of a NULL channel");
}

static void receive_one(weft_chan(int) c)
{
    weft_recv(c, NULL);
}

static void send_one(weft_chan(int) c)
{
    weft_send(c, 1);
}

static void select_one(weft_chan(int) c)
{
    weft_select(weft_on_recv(c, (int *)NULL), weft_on_timeout(WEFT_MINUTE));
}

static void free_under_receiver(void)
{
    weft_chan(int) c = weft_chan_make(int, 0);
    weft_go(receive_one, c);
    nap_ms(100);
    weft_chan_free(c);
}

static void free_under_sender(void)
{
    weft_chan(int) c = weft_chan_make(int, 0);
    weft_go(send_one, c);
    nap_ms(100);
    weft_chan_free(c);
}

static void free_under_select(void)
{
    weft_chan(int) c = weft_chan_make(int, 0);
    weft_go(select_one, c);
    nap_ms(100);
    weft_chan_free(c);
}

static void free_reference_under_receiver(void)
{
    weft_chan(int) c = weft_chan_make(int, 0);
    weft_go(receive_one, weft_chan_ref(c));
    nap_ms(100);
    weft_chan_free(c); /* one reference is left */
}

TEST(FreeOfChannelWithWaiters)
{
    death_expect_abort(free_under_receiver, NULL, "free of a channel that goroutines wait on");
    death_expect_abort(free_under_sender, NULL, "free of a channel that goroutines wait on");
    death_expect_abort(free_under_select, NULL, "free of a channel that goroutines wait on");
    death_expect_exit(free_reference_under_receiver, NULL, 0);
}

static void unpin_only(void)
{
    weft_unpin();
}
IN_GOROUTINE(unpin_only)

static void unpin_twice(void)
{
    weft_pin();
    weft_pin();
    weft_unpin();
    weft_unpin();
    weft_unpin();
}
IN_GOROUTINE(unpin_twice)

TEST(UnpinWithoutPin)
{
    death_expect_abort(unpin_only_in_goroutine, NULL, "weft_unpin without weft_pin");
    death_expect_text("misuse.c:");
    death_expect_abort(unpin_twice_in_goroutine, NULL, "weft_unpin without weft_pin");
    death_expect_exit(unpin_twice, NULL, 0); /* on a foreign thread they do nothing */
}

/* TSan itself refuses pthread_exit on a fiber, with a failed check of its own. */
#if !TEST_TSAN
static void exit_thread(void)
{
    weft_yield();
    pthread_exit(NULL);
}
IN_GOROUTINE(exit_thread)

static void exit_main_thread(void)
{
    weft_go(exit_thread);
    pthread_exit(NULL);
}

TEST(PthreadExitInAGoroutine)
{
    death_expect_abort(exit_thread_in_goroutine, NULL, "pthread_exit");
    death_expect_abort(exit_main_thread, NULL, "pthread_exit"); /* the main thread may; the rest goes on */
}
#endif

static void ask_procs(void)
{
    weft_waitgroup wg = {0};
    weft_wg_go(&wg, weft_yield);
    weft_wg_wait(&wg);
    CHECK(weft_procs() >= 1);
}

/* The message names the variable with its value. */
TEST(BadProcs)
{
    static char *const bad[] = {"WEFT_PROCS=many", "WEFT_PROCS=0", "WEFT_PROCS=-3", "WEFT_PROCS=2x",
                                "WEFT_PROCS=99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        death_expect_abort(ask_procs, bad[i], bad[i]);
    death_expect_exit(ask_procs, "WEFT_PROCS=3", 0);
    if (death.length)
        death_unexpected("no message");
}

TEST_MAIN()
