/* panic.c — panics that nobody contains, and misuse of defers, exits, groups and futures: each in a child of its own, which
   must end with the right message. */
#include "death.h"
#include <pthread.h>

static weft_mutex lock;

static void say(const char *text)
{
    CHECK(write(STDERR_FILENO, text, strlen(text)) > 0);
}

static int occurrences(const char *text)
{
    int n = 0;
    for (const char *at = death.text; (at = strstr(at, text)); at++)
        n++;
    return n;
}

/* ---- panics ---- */

static void waits_for_ever(weft_chan(int) c)
{
    weft_recv(c, NULL);
}

static void panics(void)
{
    weft_panic("reactor %d: %s", 4, "too hot");
}

static void panic_in_a_goroutine(void)
{
    weft_chan(int) c = weft_chan_make(int, 0);
    weft_go(waits_for_ever, c);
    nap_ms(20);
    weft_go(panics);
    nap_ms(20000);
}

static void panic_on_a_thread(void)
{
    weft_yield();
    panics();
}

static int panics_in_main(void)
{
    panics();
    return 0;
}

static void panic_in_the_main_goroutine(void)
{
    weft_run(panics_in_main);
}

TEST(PanicIsFatal)
{
    death_expect_abort(panic_in_a_goroutine, NULL, "weft: fatal: panic: reactor 4: too hot\n");
    death_expect_text("(panics, panic.c:"); /* which goroutine */
    if (strstr(death.text, " at "))
        death_expect_text("    weft_panic at ");    /* its stack */
    death_expect_text("(waits_for_ever, panic.c:"); /* and all others */
    death_expect_text("[receive on channel");
    CHECK_EQ(occurrences("reactor 4: too hot"), 1);
    death_expect_abort(panics, NULL, "weft: fatal: panic: reactor 4: too hot\n");
    death_expect_abort(panic_on_a_thread, NULL, "weft: fatal: panic: reactor 4: too hot\nthread ");
    death_expect_abort(panic_in_the_main_goroutine, NULL, "weft: fatal: panic: reactor 4: too hot\ngoroutine ");
}

static void says_if_held(const char *text)
{
    if (!weft_try_lock(&lock))
        say(text);
}

static void panics_with_things_to_undo(void)
{
    weft_scoped_lock(&lock);
    weft_defer(say, "undone first\n");
    weft_defer(says_if_held, "while held\n");
    weft_panic("the reason");
}

static void fatal_panic_undoes(void)
{
    weft_go(panics_with_things_to_undo);
    nap_ms(20000);
}

static void panics_deferred(void)
{
    weft_panic("the second reason");
}

static void panics_while_undone(void)
{
    weft_defer(say, "undone\n");
    weft_defer(panics_deferred);
    weft_panic("the reason");
}

static void fatal_panic_in_a_panic(void)
{
    weft_go(panics_while_undone);
    nap_ms(20000);
}

static void hangs(void)
{
    weft_scoped_lock(&lock);
    weft_lock(&lock);
}

static void exits_while_undone(void)
{
    weft_exit_goroutine();
}

static void panics_and_exits(void)
{
    weft_defer(say, "undone\n");
    weft_defer(exits_while_undone);
    weft_panic("the reason");
}

static void fatal_panic_and_exit(void)
{
    weft_go(panics_and_exits);
    nap_ms(20000);
}

static void panics_and_hangs(void)
{
    weft_defer(hangs);
    weft_panic("the reason");
}

static int runs_panics_and_hangs(void)
{
    weft_waitgroup wg = {0};
    weft_wg_go(&wg, panics_and_hangs);
    weft_wg_wait(&wg);
    return 0;
}

static void fatal_panic_that_hangs(void)
{
    weft_run(runs_panics_and_hangs);
}

/* What is to be undone is, each once; the first message comes before that, in case it hangs. */
TEST(FatalPanicUndoes)
{
    death_expect_abort(fatal_panic_undoes, NULL, "weft: panic: the reason\nwhile held\nundone first\n");
    death_expect_text("weft: fatal: panic: the reason\n");
    CHECK_EQ(occurrences("undone first"), 1);

    death_expect_abort(fatal_panic_in_a_panic, NULL, "weft: panic: the reason\nweft: panic: the second reason\nundone\n");
    death_expect_text("weft: fatal: panic: the second reason\n");

    death_expect_abort(fatal_panic_and_exit, NULL, "weft: panic: the reason\nundone\n");
    death_expect_text("weft: fatal: panic: the reason\n");

    death_run(fatal_panic_that_hangs, NULL);
    death_expect_text("weft: panic: the reason\n");
    death_expect_text("deadlock!");
}

static int returns_with_a_child(void)
{
    weft_go(panics); /* of the group's goroutine, but not of the group */
    nap_ms(20000);
    return 0;
}

static void panic_beside_a_group(void)
{
    weft_group g = {0};
    weft_group_go(&g, returns_with_a_child);
    weft_group_wait(&g);
}

TEST(BoundariesAreNotInherited)
{
    death_expect_abort(panic_beside_a_group, NULL, "weft: fatal: panic: reactor 4: too hot\n");
}

/* ---- defer and exit without a goroutine ---- */

static void defer_on_a_thread(void)
{
    weft_defer(panics);
}

static void exit_on_a_thread(void)
{
    weft_exit_goroutine();
}

static void *exits_on_a_known_thread(void *unused)
{
    weft_yield();
    weft_exit_goroutine();
    return unused;
}

static void exit_on_a_known_thread(void)
{
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, exits_on_a_known_thread, NULL), 0);
    pthread_join(thread, NULL);
}

TEST(OutsideAGoroutine)
{
    death_expect_abort(defer_on_a_thread, NULL, "weft_defer outside a goroutine");
    death_expect_abort(exit_on_a_thread, NULL, "weft_exit_goroutine outside a goroutine");
    death_expect_abort(exit_on_a_known_thread, NULL, "weft_exit_goroutine outside a goroutine");
}

/* ---- the main goroutine exits ---- */

static int exits_in_main(void)
{
    weft_exit_goroutine();
}

static void exit_of_the_main_goroutine(void)
{
    weft_run(exits_in_main);
}

static void ends_the_program(void)
{
    weft_sleep(20 * WEFT_MS);
    exit(7);
}

static int leaves_another(void)
{
    weft_go(ends_the_program);
    weft_exit_goroutine();
}

static void exit_of_the_main_goroutine_alone(void)
{
    weft_run(leaves_another);
}

/* As in Go: the others go on, and when there are none left the program is stuck. */
TEST(MainGoroutineExits)
{
    death_expect_exit(exit_of_the_main_goroutine_alone, NULL, 7);
    death_expect_exit(exit_of_the_main_goroutine, NULL, 2);
    death_expect_text("deadlock!");
}

/* ---- futures and groups ---- */

static int returns_nothing(void)
{
    return 0;
}

static int never_returns(void)
{
    nap_ms(20000);
    return 0;
}

static weft_future(int) shared;

static void awaits_shared(void)
{
    weft_await(shared, NULL);
}

static void future_awaited_twice(void)
{
    shared = weft_async(never_returns);
    weft_go(awaits_shared);
    nap_ms(50);
    awaits_shared();
}

static void future_freed_while_awaited(void)
{
    shared = weft_async(never_returns);
    weft_go(awaits_shared);
    nap_ms(50);
    weft_future_free(shared);
}

static void future_freed_twice(void)
{
    shared = weft_async(never_returns);
    weft_future_free(shared);
    weft_future_free(shared);
}

static void group_cancelled_without_a_cause(void)
{
    weft_group g = {0};
    weft_group_cancel(&g, 0);
}

TEST(MisuseOfFuturesAndGroups)
{
    death_expect_abort(future_awaited_twice, NULL, "a future is awaited or freed by two");
    death_expect_abort(future_freed_while_awaited, NULL, "a future is awaited or freed by two");
    death_expect_abort(future_freed_twice, NULL, "a future is awaited or freed by two");
    death_expect_abort(group_cancelled_without_a_cause, NULL, "weft_group_cancel: a cause is a negative errno");
}

/* ---- who waits for whom ---- */

static weft_future(int) first, second;

static int awaits_second(void)
{
    weft_sleep(10 * WEFT_MS);
    weft_await(second, NULL);
    return 0;
}

static int awaits_first(void)
{
    weft_sleep(10 * WEFT_MS);
    weft_await(first, NULL);
    return 0;
}

static int awaits_each_other(void)
{
    first = weft_async(awaits_second);
    second = weft_async(awaits_first);
    weft_chan_core_recv(NULL, NULL);
    return 0;
}

static void futures_in_a_cycle(void)
{
    weft_run(awaits_each_other);
}

static int waits_for_its_own_group(weft_group *g)
{
    weft_group_wait(g);
    return 0;
}

static int group_of_itself(void)
{
    weft_group g = {0};
    weft_group_go(&g, waits_for_its_own_group, &g);
    weft_group_wait(&g);
    return 0;
}

static void group_waits_for_itself(void)
{
    weft_run(group_of_itself);
}

static int fills_a_slot(weft_group *g)
{
    return weft_group_go(g, returns_nothing);
}

static int starts_a_full_group(void)
{
    weft_group g = WEFT_GROUP(1);
    weft_group_go(&g, fills_a_slot, &g);
    return weft_group_wait(&g);
}

static void group_without_slots(void)
{
    weft_run(starts_a_full_group);
}

TEST(Deadlocks)
{
    death_expect_exit(futures_in_a_cycle, NULL, 2);
    death_expect_text("[future 0x");
    death_expect_text("2 goroutines wait for each other");
    death_expect_text("(awaits_first, panic.c:");
    death_expect_exit(group_waits_for_itself, NULL, 2);
    death_expect_text("[WaitGroup 0x");
    death_expect_text("(waits_for_its_own_group, panic.c:");
    death_expect_exit(group_without_slots, NULL, 2);
    death_expect_text("[slot of group 0x");
}

TEST_MAIN()
