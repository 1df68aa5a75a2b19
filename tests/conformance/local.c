/* local.c — values of a goroutine's own: each its own, destroyed once, when everything else of the goroutine has run. */
#include "../workload.h"
#include <pthread.h>
#include <weft.h>

#include "../test.h"

/* A trail of letters that one goroutine at a time leaves. */
static char trail[64];
static size_t trail_length;

static void mark(int letter)
{
    CHECK(trail_length < sizeof trail - 1);
    trail[trail_length++] = (char)letter;
    trail[trail_length] = '\0';
}

static void run_alone(void (*fn)(void))
{
    weft_waitgroup wg = {0};
    trail_length = 0;
    trail[0] = '\0';
    weft_wg_go(&wg, fn);
    weft_wg_wait(&wg);
}

static void expect_trail(void (*fn)(void), const char *expected)
{
    run_alone(fn);
    CHECK(strcmp(trail, expected) == 0);
}

static void destroy_local(void *value)
{
    mark((int)(intptr_t)value);
}

static weft_local local = WEFT_LOCAL(destroy_local), plain_local, other_local = WEFT_LOCAL(destroy_local);

static void sets_locals(void)
{
    CHECK(weft_local_get(&local) == NULL);
    CHECK(weft_local_get(&plain_local) == NULL);
    weft_defer(mark, 'd');
    CHECK_EQ(weft_local_set(&local, (void *)'x'), 0);
    CHECK_EQ(weft_local_set(&local, (void *)'l'), 0); /* 'x' is not destroyed */
    CHECK_EQ(weft_local_set(&plain_local, trail), 0);
    CHECK_EQ(weft_local_set(&other_local, NULL), 0);
    weft_yield();
    CHECK(weft_local_get(&local) == (void *)'l');
    CHECK(weft_local_get(&plain_local) == trail);
}

static void sets_locals_and_exits(void)
{
    sets_locals();
    weft_exit_goroutine();
}

TEST_BOTH(OwnValues)
{
    expect_trail(sets_locals, "dl");
    expect_trail(sets_locals_and_exits, "dl");
    CHECK(weft_local_get(&local) == NULL);
}

static void destroy_and_set(void *value);
static weft_local stubborn = WEFT_LOCAL(destroy_and_set);

static void destroy_and_set(void *value)
{
    mark('r');
    CHECK_EQ(weft_local_set(&stubborn, value), 0);
}

static void sets_stubborn(void)
{
    CHECK_EQ(weft_local_set(&stubborn, trail), 0);
}

TEST_BOTH(ComeBack)
{
    expect_trail(sets_stubborn, "rrrr");
}

static weft_mutex lock;

static void defer_when_destroyed(void *value)
{
    mark('1');
    weft_defer(mark, (int)(intptr_t)value);
    weft_scoped_lock(&lock);
    CHECK_EQ(weft_local_set(&local, (void *)'3'), 0);
}

static weft_local deferring = WEFT_LOCAL(defer_when_destroyed);

static void sets_deferring(void)
{
    CHECK_EQ(weft_local_set(&deferring, (void *)'2'), 0);
}

/* A destructor is a function like any other. */
TEST_BOTH(Defer)
{
    run_alone(sets_deferring);
    CHECK_EQ(trail_length, 3);
    CHECK(trail[0] == '1' && strchr(trail, '2') && strchr(trail, '3'));
}

static void panic_when_destroyed(void *value)
{
    weft_panic("destructor %d", (int)(intptr_t)value);
}

static weft_local panicking = WEFT_LOCAL(panic_when_destroyed);

static int sets_panicking(int n)
{
    CHECK_EQ(weft_local_set(&panicking, (void *)(intptr_t)n), 0);
    CHECK_EQ(weft_local_set(&local, (void *)'l'), 0);
    if (n == 1)
        return 0;
    weft_exit_goroutine();
}

/* The others are destroyed all the same. */
TEST_BOTH(Panic)
{
    for (int n = 1; n <= 2; n++) {
        char *panic = NULL;
        trail_length = 0;
        CHECK_EQ(weft_await_panic(weft_async(sets_panicking, n), NULL, &panic), -ENOTRECOVERABLE);
        CHECK(panic && strncmp(panic, n == 1 ? "destructor 1\n" : "destructor 2\n", 13) == 0);
        free(panic);
        CHECK(trail_length == 1 && trail[0] == 'l');
    }
}

enum { KEYS = 100 };
static weft_local many[KEYS];
static _Atomic int destroyed;

static void count_destroyed(void *value)
{
    CHECK_EQ(*(int *)value, 3);
    free(value);
    atomic_fetch_add(&destroyed, 1);
}

static void sets_many(int first, int step)
{
    for (int i = first; i < KEYS; i += step) {
        int *value = malloc(sizeof *value);
        CHECK(value);
        *value = 3;
        CHECK_EQ(weft_local_set(&many[i], value), 0);
    }
    weft_yield();
    for (int i = 0; i < KEYS; i++)
        CHECK((weft_local_get(&many[i]) != NULL) == (i >= first && (i - first) % step == 0));
}

TEST_BOTH(Many)
{
    weft_waitgroup wg = {0};
    for (int i = 0; i < KEYS; i++)
        many[i].destructor = count_destroyed;
    atomic_store(&destroyed, 0);
    int expected = 0;
    for (int i = 0; i < KEYS; i++) {
        weft_wg_go(&wg, sets_many, i, i % 7 + 1);
        expected += (KEYS - i + i % 7) / (i % 7 + 1);
    }
    weft_wg_wait(&wg);
    CHECK_EQ(atomic_load(&destroyed), expected);
}

static void *sets_on_a_thread(void *unused)
{
    CHECK_EQ(weft_local_set(&local, (void *)'t'), 0);
    CHECK(weft_local_get(&local) == (void *)'t');
    return unused;
}

TEST(OfAThread)
{
    pthread_t thread;
    trail_length = 0;
    CHECK_EQ(pthread_create(&thread, NULL, sets_on_a_thread, NULL), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK(trail_length == 1 && trail[0] == 't');
}

TEST_MAIN()
