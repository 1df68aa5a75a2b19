/* scope.c — leaving early: the order of what is undone, each thing once, from however deep; panics as errors; clean-up
   under a shield. Compiled a second time with -fexceptions, where the compiler's cleanups do what here only the chain does:
   nothing may change. */
#include "../workload.h"
#include <weft.h>

#include "../test.h"

/* ---- a trail of letters that one goroutine at a time leaves ---- */

static char trail[128];
static size_t trail_length;

static void mark(int letter)
{
    CHECK(trail_length < sizeof trail - 1);
    trail[trail_length++] = (char)letter;
    trail[trail_length] = '\0';
}

/* Runs fn as a goroutine and waits for its end; then the trail must read so. */
static void expect_trail(void (*fn)(void), const char *expected)
{
    weft_waitgroup wg = {0};
    trail_length = 0;
    trail[0] = '\0';
    weft_wg_go(&wg, fn);
    weft_wg_wait(&wg);
    if (strcmp(trail, expected) != 0) {
        fprintf(stderr, "the trail is \"%s\" instead of \"%s\"\n", trail, expected);
        abort();
    }
}

static weft_mutex locks[64];

static bool is_free(weft_mutex *m)
{
    if (!weft_try_lock(m))
        return false;
    weft_unlock(m);
    return true;
}

static void expect_all_free(void)
{
    for (size_t i = 0; i < sizeof locks / sizeof *locks; i++)
        CHECK(is_free(&locks[i]));
}

/* Marks 'a' + n while lock n is free, 'A' + n while it is held. */
static void mark_lock(int n)
{
    mark((is_free(&locks[n]) ? 'a' : 'A') + n);
}

/* ---- without leaving early ---- */

static void defers_three(void)
{
    weft_defer(mark, 'a');
    weft_defer(mark, 'b');
    weft_defer(mark, 'c');
    mark('.');
}

TEST_BOTH(DeferOrder)
{
    expect_trail(defers_three, ".cba");
}

static void defers_in_callee(void)
{
    weft_defer(mark, 'x');
    mark('(');
}

static void defers_in_blocks(void)
{
    for (int i = 0; i < 3; i++) {
        weft_defer(mark, 'a' + i);
        mark('.');
    }
    defers_in_callee();
    mark(')');
    weft_yield(); /* it may go on elsewhere */
}

TEST_BOTH(DeferAtTheEndOfTheGoroutine)
{
    expect_trail(defers_in_blocks, "...()xcba");
}

static void defers_while_deferred(int depth)
{
    mark('0' + depth);
    if (depth > 0) {
        weft_defer(defers_while_deferred, depth - 1);
        weft_defer(mark, '.');
    }
}

static void defers_a_deferrer(void)
{
    weft_defer(mark, 'z');
    weft_defer(defers_while_deferred, 3);
}

TEST_BOTH(DeferInADeferredCall)
{
    expect_trail(defers_a_deferrer, "3.2.1.0z");
}

static int six(int a, const char *b, long c, void *d, uint64_t e, char *f)
{
    CHECK_EQ(a, -1);
    CHECK(strcmp(b, "text") == 0);
    CHECK_EQ(c, INT64_MIN);
    CHECK(d == NULL);
    CHECK(e == UINT64_MAX);
    *f = 'f';
    return 3;
}

static char *gives_a_pointer(int letter)
{
    mark(letter);
    return trail;
}

static char six_result;

static void defers_calls_of_all_kinds(void)
{
    int letter = 'a';
    weft_defer(gives_a_pointer, letter);
    letter = 'b'; /* too late */
    weft_defer(six, -1, "text", INT64_MIN, NULL, UINT64_MAX, &six_result);
}

TEST_BOTH(DeferArguments)
{
    six_result = 0;
    expect_trail(defers_calls_of_all_kinds, "a");
    CHECK_EQ(six_result, 'f');
}

static void locks_in_blocks(void)
{
    {
        weft_scoped_lock(&locks[0]);
        mark_lock(0);
        {
            weft_scoped_lock(&locks[1]);
            weft_defer(mark_lock, 1); /* not bound to the block */
            mark_lock(1);
        }
        mark_lock(1);
        mark_lock(0);
    }
    mark_lock(0);
    for (int i = 0; i < 2; i++) {
        weft_scoped_lock(&locks[2]);
        if (i == 0)
            continue;
        mark_lock(2);
        break;
    }
    mark_lock(2);
}

TEST_BOTH(ScopedAtTheEndOfTheBlock)
{
    expect_trail(locks_in_blocks, "ABbAaCcb");
}

static int returns_from_within(weft_mutex *m)
{
    weft_scoped_lock(m);
    return is_free(m);
}

/* On any thread, also where no goroutine is. */
TEST_BOTH(ScopedLockAnywhere)
{
    CHECK_EQ(returns_from_within(&locks[0]), 0);
    CHECK(is_free(&locks[0]));
}

/* ---- exit ---- */

/* Through pointers, for compilers complain of recursion that never returns. */
static void exits(void)
{
    weft_exit_goroutine();
}

static void (*volatile exit_here)(void) = exits;

static void exits_at_once(void)
{
    mark('a');
    weft_exit_goroutine();
    mark('b');
}

TEST_BOTH(Exit)
{
    expect_trail(exits_at_once, "a");
}

static __attribute__((noinline)) void exits_from_deep(int depth)
{
    char room[200];
    memset(room, depth, sizeof room);
    weft_scoped_lock(&locks[depth]);
    weft_defer(mark_lock, depth);
    if (depth == 9)
        exit_here();
    else
        exits_from_deep(depth + 1);
    CHECK(room[100] == 77); /* never */
}

static void exits_from_deep_down(void)
{
    exits_from_deep(0);
}

/* Each deferred call finds the lock held that was taken before it, and all later ones free. */
TEST_BOTH(ExitFromDeep)
{
    expect_trail(exits_from_deep_down, "JIHGFEDCBA");
    expect_all_free();
}

static __attribute__((noinline)) void locks_one_and_exits(void)
{
    weft_scoped_lock(&locks[1]);
    weft_exit_goroutine();
}

static void locks_zero_defers_and_calls(void)
{
    weft_scoped_lock(&locks[0]);
    weft_defer(mark_lock, 0);
    weft_defer(mark_lock, 1);
    locks_one_and_exits();
}

TEST_BOTH(ExitUndoesInReverse)
{
    expect_trail(locks_zero_defers_and_calls, "bA");
    expect_all_free();
}

static void returns_after_deferring_exits(void)
{
    weft_defer(mark, 'a');
    weft_defer(exits);
    weft_defer(mark, 'b');
    weft_defer(exits);
    weft_scoped_lock(&locks[0]);
    mark('.');
}

TEST_BOTH(ExitInADeferredCall)
{
    expect_trail(returns_after_deferring_exits, ".ba");
    expect_all_free();
}

static __attribute__((noinline)) void locks_and_exits(int n)
{
    weft_scoped_lock(&locks[n]);
    mark('a' + n);
    weft_exit_goroutine();
}

static void exits_after_deferring_exits(void)
{
    weft_scoped_lock(&locks[3]);
    weft_defer(mark_lock, 3);
    weft_defer(locks_and_exits, 0);
    weft_defer(locks_and_exits, 1);
    locks_and_exits(2);
}

TEST_BOTH(ExitInADeferredCallOfAnExit)
{
    expect_trail(exits_after_deferring_exits, "cbaD");
    expect_all_free();
}

struct job {
    char text[100];
};

static void exits_holding_a_job(struct job *job)
{
    mark(job->text[99]);
    weft_defer(mark, 'y');
    weft_exit_goroutine();
}

static void starts_with_a_job(weft_waitgroup *wg)
{
    weft_defer(weft_wg_done, wg);
    struct job job = {.text[99] = 'x'};
    weft_wg_add(wg, 1);
    weft_go_with(exits_holding_a_job, job); /* its copy is on the heap */
}

TEST_BOTH(ExitFreesTheCopyOfGoWith)
{
    weft_waitgroup wg = {0};
    trail_length = 0;
    weft_wg_go(&wg, starts_with_a_job, &wg);
    weft_wg_wait(&wg);
    CHECK(HOLDS_WITHIN(10000, weft_count() <= (weft_id() != 0)));
    CHECK(strcmp(trail, "xy") == 0);
}

static void exits_pinned(void)
{
    weft_pin();
    weft_defer(mark, 'p');
    weft_yield();
    weft_exit_goroutine();
}

TEST_BOTH(ExitWhilePinned)
{
    expect_trail(exits_pinned, "p");
}

static void send_then_exit(weft_chan(int) c, int n)
{
    weft_scoped_lock(&locks[0]);
    for (int i = 0; i < n; i++)
        CHECK_EQ(weft_send(c, i), 0);
    weft_defer(mark, 'e');
    weft_exit_goroutine();
}

/* The others go on. */
TEST_BOTH(ExitLeavesOthers)
{
    weft_chan(int) c = weft_chan_make(int, 0);
    weft_waitgroup wg = {0};
    trail_length = 0;
    for (int i = 0; i < 4; i++)
        weft_wg_go(&wg, send_then_exit, c, 3);
    for (int i = 0; i < 12; i++) {
        int value = -1;
        CHECK(weft_recv(c, &value));
        CHECK_EQ(value, i % 3); /* they exclude each other */
    }
    weft_wg_wait(&wg);
    CHECK(strcmp(trail, "eeee") == 0);
    weft_chan_free(c);
}

static _Atomic long undone;

static void count_undone(void)
{
    atomic_fetch_add(&undone, 1);
}

static __attribute__((noinline)) void exits_at(int depth)
{
    weft_mutex m = {0};
    weft_scoped_lock(&m);
    if (depth % 4 == 0)
        weft_defer(count_undone);
    if (depth == 0)
        exit_here();
    else
        exits_at(depth - 1);
}

/* A hundred thousand, from various depths: nothing is left behind, in weft or in a sanitizer. */
TEST_BOTH(ExitOften)
{
    enum { AT_ONCE = 100 };
    int rounds = test_scale(TEST_TSAN ? 20000 : 100000) / AT_ONCE + 2; /* a TSan fiber each */
    long before = 0;
    atomic_store(&undone, 0);
    long expected = 0;
    for (int round = 0; round < rounds; round++) {
        weft_waitgroup wg = {0};
        for (int i = 0; i < AT_ONCE; i++) {
            weft_wg_go(&wg, exits_at, i);
            expected += i / 4 + 1;
        }
        weft_wg_wait(&wg);
        if (round == rounds / 2)
            before = resident_kib();
    }
    CHECK_EQ(atomic_load(&undone), expected);
    CHECK(resident_kib() < before + 64 * 1024);
}

/* ---- panic ---- */

static int panics(int n)
{
    weft_defer(mark, 'd');
    weft_panic("%d is %s", n, "wrong");
}

TEST_BOTH(PanicInAFuture)
{
    trail_length = 0;
    weft_future(int) f = weft_async(panics, 42);
    int result = 7;
    char *panic = NULL;
    CHECK_EQ(weft_await_panic(f, &result, &panic), -ENOTRECOVERABLE);
    CHECK_EQ(result, 0);
    CHECK(panic && strncmp(panic, "42 is wrong\n    ", 16) == 0); /* the stack follows, line by line */
    if (strstr(panic, " at ")) {                                  /* libdw is there to give names */
        CHECK(strstr(panic, "    weft_panic at "));
        CHECK(strstr(panic, "    panics at "));
        CHECK(!strstr(panic, "wi_"));
    }
    free(panic);
    CHECK(strcmp(trail, "d") == 0);

    CHECK_EQ(weft_await(weft_async(panics, 1), NULL), -ENOTRECOVERABLE);
}

static int panics_elsewhere(int n)
{
    weft_yield();
    weft_sleep(WEFT_MS);
    return panics(n);
}

TEST_BOTH(PanicInAGroup)
{
    weft_group g = {0};
    trail_length = 0;
    CHECK_EQ(weft_group_go(&g, panics_elsewhere, 1), 0);
    CHECK_EQ(weft_group_wait(&g), -ENOTRECOVERABLE);
    CHECK(strncmp(weft_group_panic(&g), "1 is wrong\n    ", 15) == 0);
    CHECK(strcmp(trail, "d") == 0);
    weft_group_clear(&g);
    CHECK(!weft_group_panic(&g));
}

static void panics_deferred(int n)
{
    weft_panic("deferred %d", n);
}

static int returns_after_deferring_panics(void)
{
    weft_defer(mark, 'a');
    weft_defer(panics_deferred, 1);
    weft_defer(mark, 'b');
    weft_defer(panics_deferred, 2);
    weft_defer(mark, 'c');
    weft_scoped_lock(&locks[5]);
    return 5;
}

static int panics_after_deferring_panics(void)
{
    weft_scoped_lock(&locks[6]);
    returns_after_deferring_panics();
    weft_panic("first");
}

/* The last one counts, also when the function had returned; the rest is undone all the same. */
TEST_BOTH(PanicInADeferredCall)
{
    int (*const functions[])(void) = {returns_after_deferring_panics, panics_after_deferring_panics};
    for (int i = 0; i < 2; i++) {
        char *panic = NULL;
        int result = 9;
        trail_length = 0;
        int (*fn)(void) = functions[i];
        CHECK_EQ(weft_await_panic(weft_async(fn), &result, &panic), -ENOTRECOVERABLE);
        CHECK_EQ(result, 0);
        CHECK(panic && strncmp(panic, "deferred 1\n", 11) == 0);
        free(panic);
        CHECK(strcmp(trail, "cba") == 0);
        expect_all_free();
    }
}

static int panics_then_exits(void)
{
    weft_defer(exits);
    weft_panic("kept");
}

static int exits_then_panics(void)
{
    weft_defer(panics_deferred, 3);
    weft_exit_goroutine();
}

/* An exit does not hide a panic. */
TEST_BOTH(PanicAndExit)
{
    char *panic = NULL;
    CHECK_EQ(weft_await_panic(weft_async(panics_then_exits), NULL, &panic), -ENOTRECOVERABLE);
    CHECK(panic && strncmp(panic, "kept\n", 5) == 0);
    free(panic);
    CHECK_EQ(weft_await_panic(weft_async(exits_then_panics), NULL, &panic), -ENOTRECOVERABLE);
    CHECK(panic && strncmp(panic, "deferred 3\n", 11) == 0);
    free(panic);
}

static int returns_after_deferring(int n)
{
    for (int i = 0; i < n; i++)
        if (i % 2)
            weft_defer(panics_deferred, i);
        else
            weft_defer(locks_and_exits, i % 64);
    return 5;
}

static int fails_after_deferring_an_exit(void)
{
    weft_defer(exits);
    return -EIO;
}

/* An exit in what runs after the function had returned takes nothing from its result; and each ends where it is, so that
   many need no more stack than one. */
TEST_BOTH(ResultOutlivesDeferredCalls)
{
    int result = 0;
    trail_length = 0;
    CHECK_EQ(weft_await(weft_async(returns_after_deferring, 1), &result), 0);
    CHECK_EQ(result, 5);
    CHECK(strcmp(trail, "a") == 0);

    weft_group g = {0};
    CHECK_EQ(weft_group_go(&g, fails_after_deferring_an_exit), 0);
    CHECK_EQ(weft_group_wait(&g), -EIO);

    char *panic = NULL;
    trail_length = 0;
    CHECK_EQ(weft_await_panic(weft_async(returns_after_deferring, 100), NULL, &panic), -ENOTRECOVERABLE);
    CHECK(panic && strncmp(panic, "deferred 1\n", 11) == 0);
    free(panic);
    expect_all_free();
}

static int panics_at_length(const char *text)
{
    weft_panic("%s", text);
}

TEST_BOTH(PanicMessageIsCut)
{
    static char text[5000];
    memset(text, 'x', sizeof text - 1);
    char *panic = NULL;
    CHECK_EQ(weft_await_panic(weft_async(panics_at_length, text), NULL, &panic), -ENOTRECOVERABLE);
    CHECK(panic && strchr(panic, '\n') - panic <= 1000 && strchr(panic, '\n') - panic >= 990);
    free(panic);
}

static void (*volatile panic_here)(int) = panics_deferred;

static __attribute__((noinline)) int panics_from_deep(int depth)
{
    weft_scoped_lock(&locks[depth]);
    weft_defer(mark_lock, depth);
    if (depth == 9)
        panic_here(9);
    else
        depth = panics_from_deep(depth + 1);
    return depth;
}

TEST_BOTH(PanicFromDeep)
{
    trail_length = 0;
    CHECK_EQ(weft_await(weft_async(panics_from_deep, 0), NULL), -ENOTRECOVERABLE);
    CHECK(strcmp(trail, "JIHGFEDCBA") == 0);
    expect_all_free();
}

/* ---- clean-up under a shield ---- */

static void sleeps_deferred(int expected)
{
    CHECK_EQ(weft_sleep(WEFT_MS), expected);
    mark('s');
}

static int sleeps_in_an_ended_context(int leaves)
{
    weft_defer(sleeps_deferred, 0);
    CHECK_EQ(weft_sleep(WEFT_MS), -ECANCELED);
    weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background());
    CHECK(ctx);
    weft_ctx_cancel(ctx);
    weft_defer(weft_ctx_free, ctx);
    {
        weft_scoped_use(ctx);
        weft_scoped_lock(&locks[0]);
        CHECK_EQ(weft_sleep(WEFT_MS), -ECANCELED);
        weft_defer(sleeps_deferred, 0);
        if (leaves)
            weft_exit_goroutine();
    }
    CHECK_EQ(weft_sleep(WEFT_MS), -ECANCELED);
    return -7;
}

TEST_BOTH(UndoingIsShielded)
{
    for (int leaves = 0; leaves < 2; leaves++) {
        weft_group g = {0};
        trail_length = 0;
        weft_group_cancel(&g, -EINTR);
        CHECK_EQ(weft_group_go(&g, sleeps_in_an_ended_context, leaves), 0);
        CHECK_EQ(weft_group_wait(&g), -EINTR);
        CHECK_EQ(trail_length, 2);
        expect_all_free();
    }
}

static int sleeps_shielded(void)
{
    CHECK_EQ(weft_sleep(WEFT_MS), -ECANCELED);
    {
        weft_scoped_shield();
        CHECK_EQ(weft_sleep(WEFT_MS), 0);
    }
    CHECK_EQ(weft_sleep(WEFT_MS), -ECANCELED);
    weft_scoped_shield();
    weft_exit_goroutine();
}

TEST_BOTH(ExitUnderAShield)
{
    weft_group g = {0};
    weft_group_cancel(&g, -EINTR);
    CHECK_EQ(weft_group_go(&g, sleeps_shielded), 0);
    CHECK_EQ(weft_group_wait(&g), -EINTR);
}

TEST_MAIN()
