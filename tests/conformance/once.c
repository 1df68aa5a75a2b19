/* once.c — what Go's sync package checks of Once, OnceFunc and OnceValue (in C: weft_once_do with a static value), with
   foreign threads mixed in. */
#include "../workload.h"
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <weft.h>

#include "../test.h"

struct counter {
    weft_once once;
    int count;  /* [once] */
    int result; /* [once] */
};

static void increment(int *count)
{
    ++*count;
}

static void do_and_check(struct counter *c)
{
    weft_once_do(&c->once, increment, &c->count);
    CHECK_EQ(c->count, 1);
}

static void *do_and_check_on_a_thread(void *c)
{
    do_and_check(c);
    return NULL;
}

TEST_BOTH(Once)
{
    for (int i = 0; i < test_scale(300); i++) {
        struct counter c = {0};
        weft_waitgroup wg = {0};
        for (int k = 0; k < 10; k++)
            weft_wg_go(&wg, do_and_check, &c);
        weft_wg_wait(&wg);
        CHECK_EQ(c.count, 1);
        do_and_check(&c);
    }
}

static void exit_in_it(int *count)
{
    ++*count;
    weft_exit_goroutine();
}

static void do_and_exit(struct counter *c)
{
    weft_once_do(&c->once, exit_in_it, &c->count);
    CHECK(!"reached");
}

/* Go's: a call that does not return counts as a call. */
TEST_BOTH(OncePanic)
{
    for (int i = 0; i < test_scale(100); i++) {
        struct counter c = {0};
        weft_waitgroup wg = {0};
        weft_wg_go(&wg, do_and_exit, &c);
        weft_wg_wait(&wg);
        CHECK_EQ(c.count, 1);
        weft_once_do(&c.once, increment, &c.count);
        CHECK_EQ(c.count, 1);
    }
}

static void panic_in_it(int *count)
{
    ++*count;
    weft_panic("the %d. call", *count);
}

static int do_and_panic(struct counter *c)
{
    weft_once_do(&c->once, panic_in_it, &c->count);
    return 0;
}

static void check_panic(struct counter *c)
{
    weft_group g = {0};
    weft_group_go(&g, do_and_panic, c);
    CHECK_EQ(weft_group_wait(&g), -ENOTRECOVERABLE);
    CHECK(weft_group_panic(&g) && strncmp(weft_group_panic(&g), "the 1. call\n", 12) == 0);
    weft_group_clear(&g);
    weft_group_go(&g, do_and_panic, c); /* it is not called again */
    CHECK_EQ(weft_group_wait(&g), 0);
    CHECK_EQ(c->count, 1);
}

TEST_BOTH(OncePanicInAGroup)
{
    for (int i = 0; i < test_scale(50); i++) {
        struct counter c = {0};
        check_panic(&c);
    }
}

static void yield_and_exit(weft_chan(int) begun, weft_chan(int) end)
{
    CHECK_EQ(weft_send(begun, 1), 0);
    CHECK(weft_recv(end, NULL));
    weft_exit_goroutine();
}

static void do_yield_and_exit(weft_once *once, weft_chan(int) begun, weft_chan(int) end)
{
    weft_once_do(once, yield_and_exit, begun, end);
}

static void do_nothing(weft_once *once, _Atomic int *returned)
{
    weft_once_do(once, weft_yield);
    atomic_fetch_add(returned, 1);
}

/* Those that wait for a call that does not return are let go too. */
TEST_BOTH(OnceExitLetsWaitersGo)
{
    for (int i = 0; i < test_scale(100); i++) {
        weft_once once = {0};
        weft_waitgroup wg = {0};
        _Atomic int returned = 0;
        weft_chan(int) begun = weft_chan_make(int, 0), end = weft_chan_make(int, 0);
        weft_wg_go(&wg, do_yield_and_exit, &once, begun, end);
        CHECK(weft_recv(begun, NULL));
        for (int k = 0; k < 10; k++)
            weft_wg_go(&wg, do_nothing, &once, &returned);
        for (int k = 0; k < i % 20; k++)
            weft_yield();
        CHECK_EQ(atomic_load(&returned), 0);
        CHECK_EQ(weft_send(end, 1), 0);
        weft_wg_wait(&wg);
        CHECK_EQ(atomic_load(&returned), 10);
        weft_chan_free(begun);
        weft_chan_free(end);
    }
}

/* ---- OnceFunc, OnceValue ---- */

static _Atomic int computed;

static int compute(int *value, int a, int b)
{
    atomic_fetch_add(&computed, 1);
    weft_sleep(WEFT_MS);
    *value = a * b;
    return 12345; /* dropped */
}

static int answer(void)
{
    static weft_once once;
    static int value;
    weft_once_do(&once, compute, &value, 6, 7);
    return value;
}

static void check_answer(void)
{
    CHECK_EQ(answer(), 42);
}

static void *check_answer_on_a_thread(void *argument)
{
    check_answer();
    return argument;
}

/* Every call gets the value, those too that come while it is computed. */
TEST_BOTH(OnceValue)
{
    weft_waitgroup wg = {0};
    pthread_t threads[4];
    for (int i = 0; i < 100; i++)
        weft_wg_go(&wg, check_answer);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, check_answer_on_a_thread, NULL), 0);
    check_answer();
    weft_wg_wait(&wg);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    CHECK_EQ(atomic_load(&computed), 1);
}

struct six {
    weft_once once;
    uintptr_t words[6];
};

static char *take_six(struct six *s, int a, unsigned b, const char *c, int64_t d, uintptr_t e)
{
    s->words[0] = (uintptr_t)a;
    s->words[1] = b;
    s->words[2] = (uintptr_t)c;
    s->words[3] = (uintptr_t)d;
    s->words[4] = e;
    s->words[5]++;
    return NULL;
}

/* Go's OnceValues: here as many words as fit. */
TEST_BOTH(OnceValues)
{
    struct six s = {0};
    static const char text[] = "text";
    for (int i = 0; i < 3; i++)
        weft_once_do(&s.once, take_six, &s, -1 - i, 2U, text, INT64_MIN, UINTPTR_MAX);
    CHECK_EQ(s.words[0], (uintptr_t)-1);
    CHECK_EQ(s.words[1], 2);
    CHECK_EQ(s.words[2], text);
    CHECK_EQ(s.words[3], INT64_MIN);
    CHECK_EQ(s.words[4], UINTPTR_MAX);
    CHECK_EQ(s.words[5], 1);
}

/* ---- beyond Go ---- */

TEST_BOTH(OnceFromForeignThreads)
{
    for (int i = 0; i < test_scale(200); i++) {
        struct counter c = {0};
        weft_waitgroup wg = {0};
        pthread_t threads[3];
        for (int k = 0; k < 3; k++) {
            CHECK_EQ(pthread_create(&threads[k], NULL, do_and_check_on_a_thread, &c), 0);
            weft_wg_go(&wg, do_and_check, &c);
        }
        do_and_check(&c);
        weft_wg_wait(&wg);
        for (int k = 0; k < 3; k++)
            CHECK_EQ(pthread_join(threads[k], NULL), 0);
    }
}

static void do_other(struct counter *c)
{
    weft_once_do(&c->once, increment, &c->count);
}

/* One Once in the function of another, with locks around and deferred calls inside. */
static void do_inner(struct counter *inner, weft_mutex *m)
{
    weft_scoped_lock(m);
    weft_once_do(&inner->once, increment, &inner->count);
}

static void do_outer(struct counter *outer, struct counter *inner, weft_mutex *m)
{
    weft_once_do(&outer->once, do_inner, inner, m);
    CHECK_EQ(inner->count, 1);
    CHECK(weft_try_lock(m));
    weft_unlock(m);
    weft_exit_goroutine();
}

TEST_BOTH(OnceInOnce)
{
    struct counter outer = {0}, inner = {0};
    weft_mutex m = {0};
    weft_waitgroup wg = {0};
    weft_wg_go(&wg, do_outer, &outer, &inner, &m);
    weft_wg_wait(&wg);
    do_other(&inner);
    do_other(&outer);
    CHECK_EQ(inner.count, 1);
    CHECK_EQ(outer.count, 0);
}

static void slow(_Atomic int *running)
{
    atomic_store(running, 1);
    weft_yield();
}

static void do_slow(weft_once *once, _Atomic int *running)
{
    weft_once_do(once, slow, running);
}

/* A caller unmaps it the moment it may go on, while the one that called the function may not have returned. */
TEST_BOTH(OnceVanishesAfterACallReturned)
{
    _Atomic int running;
    for (int i = 0; i < test_scale(5000); i++) {
        weft_once *once = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(once != MAP_FAILED);
        weft_waitgroup wg = {0};
        atomic_store(&running, 0);
        weft_wg_go(&wg, do_slow, once, &running);
        while (!atomic_load(&running))
            weft_yield();
        weft_once_do(once, weft_yield);
        CHECK_EQ(munmap(once, 4096), 0);
        weft_wg_wait(&wg);
    }
}

TEST_MAIN()
