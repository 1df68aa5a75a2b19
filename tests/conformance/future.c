/* future.c — futures: results of every type, awaited before and after they are there, by goroutines and threads; errors, and
   futures that nobody awaits. */
#include "../workload.h"
#include <limits.h>
#include <pthread.h>
#include <weft.h>

#include "../test.h"

/* ---- results of every type ---- */

enum colour { RED, GREEN, BLUE = 1000000, LOW = -5 };
struct point {
    int x, y;
};

static char give_char(int c)
{
    return (char)c;
}

static signed char give_schar(int c)
{
    return (signed char)c;
}

static bool give_bool(int b)
{
    return b != 0;
}

static short give_short(int s)
{
    return (short)s;
}

static uint16_t give_u16(int s)
{
    return (uint16_t)s;
}

static int give_int(int i)
{
    return i;
}

static unsigned give_unsigned(unsigned u)
{
    return u;
}

static long give_long(long l)
{
    return l;
}

static uint64_t give_u64(uint64_t u)
{
    return u;
}

static enum colour give_enum(int c)
{
    return (enum colour)c;
}

static const char *give_text(const char *text)
{
    return text;
}

static struct point *give_point(struct point *p)
{
    p->x++;
    return p;
}

static void *give_void(void *p)
{
    return p;
}

/* The result goes into the middle of three, of which the others must not change. */
#define EXPECT(type, value, call)                                                                                           \
    do {                                                                                                                    \
        type results_[3];                                                                                                   \
        memset(results_, 0x5a, sizeof results_);                                                                            \
        weft_future(type) f_ = call;                                                                                        \
        CHECK(f_);                                                                                                          \
        CHECK_EQ(weft_await(f_, &results_[1]), 0);                                                                          \
        CHECK(results_[1] == (value));                                                                                      \
        for (size_t i_ = 0; i_ < sizeof(type); i_++)                                                                        \
            CHECK(((char *)results_)[i_] == 0x5a && ((char *)results_)[2 * sizeof(type) + i_] == 0x5a);                     \
    } while (0)

TEST_BOTH(Types)
{
    struct point p = {0, 0};
    char text[] = "text";
    EXPECT(char, 'x', weft_async(give_char, 'x'));
    EXPECT(char, (char)200, weft_async(give_char, 200));
    EXPECT(signed char, -128, weft_async(give_schar, -128));
    EXPECT(bool, true, weft_async(give_bool, 256));
    EXPECT(bool, false, weft_async(give_bool, 0));
    EXPECT(short, SHRT_MIN, weft_async(give_short, SHRT_MIN));
    EXPECT(uint16_t, UINT16_MAX, weft_async(give_u16, -1));
    EXPECT(int, INT_MIN, weft_async(give_int, INT_MIN));
    EXPECT(int, -1, weft_async(give_int, -1));
    EXPECT(unsigned, UINT_MAX, weft_async(give_unsigned, UINT_MAX));
    EXPECT(long, LONG_MIN, weft_async(give_long, LONG_MIN));
    EXPECT(uint64_t, UINT64_MAX, weft_async(give_u64, UINT64_MAX));
    EXPECT(enum colour, BLUE, weft_async(give_enum, BLUE));
    EXPECT(enum colour, LOW, weft_async(give_enum, LOW));
    EXPECT(const char *, text, weft_async(give_text, text));
    EXPECT(struct point *, &p, weft_async(give_point, &p));
    EXPECT(void *, NULL, weft_async(give_void, NULL));
    CHECK_EQ(p.x, 1);
}

static long six(int a, const char *b, long c, void *d, uint64_t e, int *f)
{
    CHECK_EQ(a, -1);
    CHECK(strcmp(b, "text") == 0);
    CHECK_EQ(c, INT64_MIN);
    CHECK(d == NULL);
    CHECK(e == UINT64_MAX);
    return *f;
}

static int nullary(void)
{
    return 17;
}

TEST_BOTH(Arguments)
{
    int value = -3, small = 0;
    long result = 0;
    CHECK_EQ(weft_await(weft_async(six, -1, "text", INT64_MIN, NULL, UINT64_MAX, &value), &result), 0);
    CHECK_EQ(result, -3);
    CHECK_EQ(weft_await(weft_async(nullary), &small), 0);
    CHECK_EQ(small, 17);
    CHECK_EQ(weft_await(weft_async(nullary), NULL), 0); /* the result is dropped */
}

/* ---- before and after ---- */

static int gives_later(int n, int64_t ns)
{
    weft_sleep(ns);
    return n;
}

TEST_BOTH(BeforeAndAfter)
{
    int result = 0;
    weft_future(int) late = weft_async(gives_later, 1, 2 * WEFT_MS);
    CHECK(!weft_future_ready(late));
    CHECK_EQ(weft_await(late, &result), 0);
    CHECK_EQ(result, 1);

    weft_future(int) early = weft_async(give_int, 2);
    while (!weft_future_ready(early))
        weft_sleep(10 * WEFT_US);
    CHECK_EQ(weft_await(early, &result), 0);
    CHECK_EQ(result, 2);
}

static int receives(weft_chan(int) c)
{
    int value = -1;
    return weft_recv(c, &value) ? value : -2;
}

static long fibonacci(int n)
{
    if (n < 2)
        return n;
    weft_future(long) first = weft_async(fibonacci, n - 1);
    long a = 0, b = fibonacci(n - 2);
    CHECK_EQ(weft_await(first, &a), 0);
    return a + b;
}

TEST_BOTH(Tree)
{
    CHECK_EQ(fibonacci(test_scale(100) < 50 ? 10 : 15), test_scale(100) < 50 ? 55 : 610);
}

static int takes_over(weft_future(int) f)
{
    int result = 0;
    CHECK_EQ(weft_await(f, &result), 0);
    return result + 1;
}

/* Whoever has it may await it. */
TEST_BOTH(HandedOn)
{
    weft_future(int) f = weft_async(give_int, 0);
    for (int i = 0; i < 50; i++)
        f = weft_async(takes_over, f);
    int result = 0;
    CHECK_EQ(weft_await(f, &result), 0);
    CHECK_EQ(result, 50);
}

static void *awaits_on_a_thread(void *argument)
{
    weft_future(int) f = *(weft_future(int) *)argument;
    int result = 0;
    CHECK_EQ(weft_await(f, &result), 0);
    CHECK_EQ(result, 9);
    return NULL;
}

TEST(ThreadsAwait)
{
    weft_chan(int) c = weft_chan_make(int, 0);
    pthread_t threads[4];
    weft_future(int) futures[4];
    for (int i = 0; i < 4; i++) {
        CHECK((futures[i] = weft_async(receives, c)));
        CHECK_EQ(pthread_create(&threads[i], NULL, awaits_on_a_thread, &futures[i]), 0);
    }
    for (int i = 0; i < 4; i++)
        CHECK_EQ(weft_send(c, 9), 0);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    weft_chan_free(c);
}

/* The end of the one against the await of the other, at every distance. */
TEST_BOTH(EndAgainstAwait)
{
    int n = test_scale(20000);
    for (int i = 0; i < n; i++) {
        int result = 0;
        weft_future(int) f = weft_async(give_int, i);
        for (volatile uint64_t spin = test_random() % 512; spin > 0; spin--) {
        }
        if (i % 3 == 0)
            weft_yield();
        if (i % 4 == 3) {
            weft_future_free(f);
            continue;
        }
        CHECK_EQ(weft_await(f, &result), 0);
        CHECK_EQ(result, i);
    }
}

/* ---- errors ---- */

static int exits(void)
{
    weft_exit_goroutine();
}

static void *panics(int n)
{
    weft_panic("number %d", n);
}

TEST_BOTH(Errors)
{
    int result = 5;
    char *panic = (char *)&result;
    CHECK_EQ(weft_await_panic(weft_async(exits), &result, &panic), -ENOTRECOVERABLE);
    CHECK_EQ(result, 0);
    CHECK(!panic);

    void *pointer = &result;
    CHECK_EQ(weft_await_panic(weft_async(panics, 3), &pointer, &panic), -ENOTRECOVERABLE);
    CHECK(!pointer);
    CHECK(panic && strncmp(panic, "number 3\n    ", 13) == 0);
    free(panic);
    CHECK_EQ(weft_await(weft_async(panics, 3), &pointer), -ENOTRECOVERABLE); /* the text is not wanted */

    weft_future(int) none = NULL; /* what weft_async gives when memory runs out */
    result = 5;
    panic = (char *)&result;
    CHECK(weft_future_ready(none));
    CHECK_EQ(weft_await_panic(none, &result, &panic), -ENOMEM);
    CHECK_EQ(result, 0);
    CHECK(!panic);
    weft_future_free(none);
}

/* ---- nobody awaits ---- */

TEST_BOTH(Dropped)
{
    weft_chan(int) c = weft_chan_make(int, 0);
    size_t before = weft_count();
    for (int i = 0; i < 10; i++) {
        weft_future_free(weft_async(receives, c)); /* runs on */
        weft_future_free(weft_async(panics, i));
        weft_future_free(weft_async(exits));
        weft_future(int) f = weft_async(give_int, i);
        while (!weft_future_ready(f))
            weft_sleep(10 * WEFT_US);
        weft_future_free(f);
    }
    for (int i = 0; i < 10; i++)
        CHECK_EQ(weft_send(c, i), 0);
    CHECK(HOLDS_WITHIN(10000, (weft_yield(), weft_count() <= before)));
    weft_chan_free(c);
}

/* ---- contexts ---- */

static int sleeps(void)
{
    return weft_sleep(INT64_MAX);
}

static int takes_its_time(void)
{
    weft_scoped_shield();
    return weft_sleep(2 * WEFT_MS) ? -1 : 3;
}

/* The goroutine inherits the context; the wait for it is not ended. */
TEST_BOTH(Contexts)
{
    weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background());
    CHECK(ctx);
    weft_scoped_ctx(ctx);
    weft_scoped_use(ctx);
    weft_future(int) asleep = weft_async(sleeps);
    weft_future(int) busy = weft_async(takes_its_time);
    weft_sleep(WEFT_MS);
    weft_ctx_cancel(ctx);
    int result = 0;
    CHECK_EQ(weft_await(busy, &result), 0);
    CHECK_EQ(result, 3);
    CHECK_EQ(weft_await(asleep, &result), 0);
    CHECK_EQ(result, -ECANCELED);
}

/* ---- the end of the goroutine comes first ---- */

static void set_flag(void *flag)
{
    weft_sleep(WEFT_US);
    *(int *)flag = 1;
}

static weft_local local = WEFT_LOCAL(set_flag);

static int leaves_things_behind(int *deferred, int *destroyed)
{
    weft_defer(set_flag, deferred);
    CHECK_EQ(weft_local_set(&local, destroyed), 0);
    return 1;
}

TEST_BOTH(AwaitJoins)
{
    for (int i = 0; i < 100; i++) {
        int deferred = 0, destroyed = 0, result = 0;
        CHECK_EQ(weft_await(weft_async(leaves_things_behind, &deferred, &destroyed), &result), 0);
        CHECK(deferred == 1 && destroyed == 1 && result == 1);
    }
}

TEST_MAIN()
