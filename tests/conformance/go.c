/* go.c — what a goroutine is given and can ask: arguments of every width, copied objects, names and stack sizes, ids and
   counts, weft_run; and what a switch must keep: the stack's contents, floating-point values and the rounding mode. */
#include "../workload.h"
#include <fcntl.h>
#include <fenv.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <weft.h>

#include "../test.h"

/* ---- arguments ---- */

static _Atomic int calls;

static void take0(void)
{
    atomic_fetch_add(&calls, 1);
}

static void take1(int a)
{
    CHECK_EQ(a, INT_MIN);
    atomic_fetch_add(&calls, 1);
}

static void take2(unsigned a, long b)
{
    CHECK(a == UINT_MAX);
    CHECK(b == LONG_MIN);
    atomic_fetch_add(&calls, 1);
}

static void take3(const char *a, unsigned long b, long long c)
{
    CHECK(strcmp(a, "text") == 0);
    CHECK(b == ULONG_MAX);
    CHECK(c == -1);
    atomic_fetch_add(&calls, 1);
}

static void take4(int8_t *a, int b, uint64_t c, int64_t d)
{
    CHECK_EQ(*a, -7);
    CHECK_EQ(b, -128);
    CHECK(c == 255);
    CHECK(d == INT64_MIN);
    atomic_fetch_add(&calls, 1);
}

static void take5(size_t a, int b, int64_t c, uint64_t d, void *e)
{
    CHECK(a == SIZE_MAX);
    CHECK_EQ(b, -1);
    CHECK(c == UINT32_MAX); /* from unsigned: widened without a sign */
    CHECK(d == UINT64_MAX); /* from int: widened with its sign, like in a call */
    CHECK(e == NULL);
    atomic_fetch_add(&calls, 1);
}

static void take6(int a, int b, int c, unsigned d, long e, void (*f)(void))
{
    CHECK_EQ(a, 1);
    CHECK_EQ(b, -2);
    CHECK_EQ(c, 'x');
    CHECK(d == 65535);
    CHECK(e == -32768);
    f();
}

static int8_t minus_seven = -7;

static void start_all(weft_waitgroup *wg)
{
    weft_wg_go(wg, take0);
    weft_wg_go(wg, take1, INT_MIN);
    weft_wg_go(wg, take2, UINT_MAX, LONG_MIN);
    weft_wg_go(wg, take3, "text", ULONG_MAX, -1LL);
    weft_wg_go(wg, take4, &minus_seven, (int8_t)-128, (uint8_t)255, INT64_MIN);
    weft_wg_go(wg, take5, SIZE_MAX, -1, UINT_MAX, -1, NULL);
    weft_wg_go(wg, take6, (_Bool)1, (short)-2, 'x', (uint16_t)65535, (int16_t)-32768, take0);
}

TEST_BOTH(ArgumentsOfEveryWidth)
{
    enum { STARTS = 7 };
    atomic_store(&calls, 0);
    weft_waitgroup wg = {0};
    start_all(&wg);
    weft_wg_wait(&wg);
    CHECK_EQ(atomic_load(&calls), STARTS);

    weft_go(take0);
    weft_go(take1, INT_MIN);
    weft_go(take2, UINT_MAX, LONG_MIN);
    weft_go(take3, "text", ULONG_MAX, -1LL);
    weft_go(take4, &minus_seven, (int8_t)-128, (uint8_t)255, INT64_MIN);
    weft_go(take5, SIZE_MAX, -1, UINT_MAX, -1, NULL);
    weft_go(take6, (_Bool)1, (short)-2, 'x', (uint16_t)65535, (int16_t)-32768, take0);
    CHECK(HOLDS_WITHIN(20000, atomic_load(&calls) == 2 * STARTS));
}

static void add_to(_Atomic int *sum, int value)
{
    atomic_fetch_add(sum, value);
}

/* Arguments are evaluated at once, by the caller, and once. */
TEST(ArgumentsAreEvaluatedAtTheCall)
{
    _Atomic int sum = 0;
    int value = 1;
    weft_waitgroup wg = {0};
    for (int i = 0; i < 10; i++)
        weft_wg_go(&wg, add_to, &sum, value++);
    CHECK_EQ(value, 11);
    value = 1000;
    weft_wg_wait(&wg);
    CHECK_EQ(atomic_load(&sum), 55);
}

struct small {
    weft_waitgroup *wg;
    int numbers[8];
};

struct big {
    weft_waitgroup *wg;
    _Alignas(64) unsigned char bytes[960];
};
_Static_assert(sizeof(struct small) <= 48 && sizeof(struct big) == 1024, "one fits the record, one does not");

static void take_small(struct small *copy)
{
    weft_waitgroup *wg = copy->wg;
    weft_yield();
    for (int i = 0; i < 8; i++)
        CHECK_EQ(copy->numbers[i], copy->numbers[0] + i);
    copy->numbers[0] = -1; /* the copy is its own */
    weft_wg_done(wg);
}

static void take_big(struct big *copy)
{
    weft_waitgroup *wg = copy->wg;
    CHECK_EQ((uintptr_t)copy % 64, 0);
    weft_yield();
    for (size_t i = 0; i < sizeof copy->bytes; i++)
        CHECK_EQ(copy->bytes[i], (unsigned char)(copy->bytes[0] + i));
    copy->bytes[1] = 0;
    weft_wg_done(wg);
}

static void take_byte(unsigned char *copy)
{
    CHECK_EQ(*copy, 200);
    atomic_fetch_add(&calls, 1);
}

TEST_BOTH(GoWith)
{
    int n = test_shorten(50, 300);
    weft_waitgroup wg = {0};
    weft_wg_add(&wg, 2 * n);
    struct big big = {.wg = &wg};
    for (int i = 0; i < n; i++) {
        weft_go_with(take_small, (struct small){&wg, {i, i + 1, i + 2, i + 3, i + 4, i + 5, i + 6, i + 7}});
        for (size_t b = 0; b < sizeof big.bytes; b++)
            big.bytes[b] = (unsigned char)((size_t)i + b);
        weft_go_with(take_big, big);
    }
    memset(&big, 0, sizeof big);
    weft_wg_wait(&wg);
    atomic_store(&calls, 0);
    weft_go_with(take_byte, (unsigned char)200);
    CHECK(HOLDS_WITHIN(20000, atomic_load(&calls) == 1));
}

TEST_BOTH(TryGo)
{
    atomic_store(&calls, 0);
    for (int i = 0; i < 100; i++)
        CHECK_EQ(weft_try_go(take3, "text", ULONG_MAX, -1LL), 0);
    CHECK(HOLDS_WITHIN(20000, atomic_load(&calls) == 100));
}

/* ---- weft_run ---- */

static int give(int result)
{
    CHECK(weft_id() > 0);
    weft_yield();
    CHECK_EQ(weft_sleep(WEFT_US), 0);
    return result;
}

static void set_after(_Atomic int *flag, int64_t ns)
{
    weft_sleep(ns);
    atomic_store(flag, 1);
}

static _Atomic int late_flag;

static int leave_one_behind(void)
{
    weft_go(set_after, &late_flag, 20 * WEFT_MS);
    return -5;
}

static int sum_of(int a, unsigned b, long c, const int *d, long long e, int f)
{
    return a + (int)b + (int)c + *d + (int)e + f;
}

TEST(Run)
{
    CHECK_EQ(weft_id(), 0);
    CHECK_EQ(weft_run(give, 42), 42);
    CHECK_EQ(weft_run(give, INT_MIN), INT_MIN);
    CHECK_EQ(weft_run(give, -1), -1);
    int four = 4;
    CHECK_EQ(weft_run(sum_of, 1, 2u, 3L, &four, 5LL, 6), 21);
    CHECK_EQ(weft_id(), 0);
    for (int i = 0; i < test_scale(500); i++)
        CHECK_EQ(weft_run(give, i), i);
}

TEST(RunLeavesTheOthersRunning)
{
    atomic_store(&late_flag, 0);
    CHECK_EQ(weft_run(leave_one_behind), -5);
    CHECK(HOLDS_WITHIN(20000, atomic_load(&late_flag) == 1));
}

/* ---- ids, counts, names ---- */

static void store_id(_Atomic uint64_t *id)
{
    uint64_t mine = weft_id();
    weft_yield();
    CHECK(weft_id() == mine);
    atomic_store(id, mine);
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

TEST(IdsAreUnique)
{
    int n = test_scale(10000);
    _Atomic uint64_t *ids = calloc((size_t)n, sizeof *ids);
    CHECK(ids);
    weft_waitgroup wg = {0};
    for (int i = 0; i < n; i++) {
        weft_wg_go(&wg, store_id, &ids[i]);
        if (i % 1000 == 999)
            weft_wg_wait(&wg); /* so that records are used again */
    }
    weft_wg_wait(&wg);
    qsort(ids, (size_t)n, sizeof *ids, compare_ids);
    CHECK(ids[0] > 0);
    for (int i = 1; i < n; i++)
        CHECK(ids[i] != ids[i - 1]);
    free(ids);
}

static void wait_for_close(weft_chan(int) c)
{
    CHECK(!weft_recv(c, NULL));
}

/* Parked and not yet run ones count too. */
TEST(Count)
{
    CHECK(HOLDS_WITHIN(20000, weft_count() == 0));
    size_t n = (size_t)test_scale(1000);
    weft_chan(int) c = weft_chan_make(int, 0);
    weft_waitgroup wg = {0};
    for (size_t i = 0; i < n; i++) {
        weft_wg_go(&wg, wait_for_close, c);
        CHECK_EQ(weft_count(), i + 1);
    }
    nap_ms(20);
    CHECK_EQ(weft_count(), n);
    weft_close(c);
    weft_wg_wait(&wg);
    CHECK(HOLDS_WITHIN(20000, weft_count() == 0));
    weft_chan_free(c);
}

/* The dump as text, in a buffer that the next call reuses. */
static const char *dump_text(void)
{
    static char text[1 << 18];
    int fd = memfd_create("dump", 0);
    CHECK(fd >= 0);
    CHECK(weft_dump(fd) >= 0);
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    CHECK(n >= 0);
    text[n] = '\0';
    close(fd);
    return text;
}

static void rename_and_wait(const char *name, weft_chan(int) ready, weft_chan(int) c)
{
    char copy[64];
    snprintf(copy, sizeof copy, "%s", name);
    CHECK_EQ(weft_name(copy), 0);
    memset(copy, '?', sizeof copy);
    weft_send(ready, 1);
    wait_for_close(c);
    CHECK_EQ(weft_name(NULL), 0);
}

TEST(Names)
{
    char name[] = "anemone";
    weft_chan(int) c = weft_chan_make(int, 0), ready = weft_chan_make(int, 0);
    weft_go_opt(WEFT_OPTIONS(.name = name), wait_for_close, c);
    memset(name, '?', sizeof name - 1);
    weft_waitgroup wg = {0};
    weft_wg_go(&wg, rename_and_wait, "barnacle", ready, c);
    CHECK(weft_recv(ready, NULL));
    nap_ms(20);
    const char *text = dump_text();
    CHECK(strstr(text, "anemone"));
    CHECK(strstr(text, "barnacle"));
    CHECK(!strstr(text, "?????"));
    CHECK_EQ(weft_name("foreign"), -EINVAL);
    weft_close(c);
    weft_wg_wait(&wg);
    CHECK(HOLDS_WITHIN(20000, weft_count() == 0));
    CHECK(!strstr(dump_text(), "barnacle"));
    weft_chan_free(c);
    weft_chan_free(ready);
}

/* ---- stacks ---- */

#ifdef __aarch64__
#define GUARD_SIZE (64 << 10)
#else
#define GUARD_SIZE (16 << 10)
#endif

/* Calls itself until the stack is depth bytes deep, switches there, and finds every frame as it was on the way back. */
static __attribute__((noinline)) int dive(uintptr_t top, size_t depth, int mark)
{
    volatile int frame[128];
    for (int i = 0; i < 128; i++)
        frame[i] = mark + i;
    int frames = 1;
    if (top - (uintptr_t)__builtin_frame_address(0) < depth)
        frames += dive(top, depth, mark + 1);
    else
        for (int i = 0; i < 5; i++)
            weft_yield();
    for (int i = 0; i < 128; i++)
        CHECK_EQ(frame[i], mark + i);
    return frames;
}

static void dive_with(weft_waitgroup *wg, size_t stack_size, int mark)
{
    uintptr_t top = (uintptr_t)__builtin_frame_address(0);
    size_t calls = (TEST_ASAN ? 32 : 8) << 10; /* those at the bottom want some */
    size_t spare = GUARD_SIZE + calls;         /* the guard is part of the size */
    CHECK(dive(top, stack_size - spare, mark) > 10);
    weft_wg_done(wg);
}

static void check_stacks(size_t asked, size_t stack_size)
{
    int divers = test_shorten(2, 8); /* more than one, to have stacks beside each other */
    weft_waitgroup wg = {0};
    weft_wg_add(&wg, divers);
    for (int i = 0; i < divers; i++)
        weft_go_opt(WEFT_OPTIONS(.stack_size = asked), dive_with, &wg, stack_size, i << 20);
    weft_wg_wait(&wg);
}

TEST(StackOfDefaultSize)
{
    check_stacks(0, 256 << 10);
}

TEST(StackOf1MiB)
{
    check_stacks(1 << 20, 1 << 20);
    check_stacks((1 << 20) - 1000, 1 << 20); /* rounded up */
}

TEST(StackOf16MiB)
{
    if (test_picked(20)) /* the kernel has to give all those pages */
        check_stacks(16 << 20, 16 << 20);
}

/* Through the untyped core, because only weft_try_spawn_ takes options and gives a status. */
TEST(StackSizesAtTheEnds)
{
    static const weft_site site = {__FILE__, "take0", __LINE__, 0};
    const uintptr_t words[7] = {0};
    CHECK(weft_try_spawn_(WEFT_OPTIONS(.stack_size = SIZE_MAX), &site, take0, words) < 0);
    CHECK(weft_try_spawn_(WEFT_OPTIONS(.stack_size = SIZE_MAX / 2 + 2), &site, take0, words) < 0);
    atomic_store(&calls, 0);
    CHECK_EQ(weft_try_spawn_(WEFT_OPTIONS(.stack_size = 1), &site, take0, words), 0); /* the smallest there is */
    CHECK_EQ(weft_try_spawn_(NULL, &site, take0, words), 0);
    CHECK(HOLDS_WITHIN(20000, atomic_load(&calls) == 2));
}

/* ---- errno ---- */

static __attribute__((noinline)) void set_errno(int value)
{
    errno = value;
}

static void fail_and_look(int fd, int expected, int times)
{
    weft_waitgroup wg = {0};
    weft_chan(int) c = weft_chan_make(int, 1);
    for (int i = 0; i < times; i++) {
        char byte;
        weft_yield();
        CHECK_EQ(read(fd, &byte, 1), -1);
        CHECK_EQ(weft_errno(), expected);
        set_errno(expected + 1000); /* calls that do not block keep thread and errno */
        weft_wg_add(&wg, 1);
        weft_try_send(c, 1);
        weft_wg_done(&wg);
        weft_go(take0);
        weft_try_recv(c, NULL);
        CHECK_EQ(weft_errno(), expected + 1000);
    }
    weft_chan_free(c);
}

TEST(Errno)
{
    int ends[2];
    CHECK_EQ(pipe(ends), 0);
    int directory = open("/", O_RDONLY | O_DIRECTORY);
    CHECK(directory >= 0);
    weft_waitgroup wg = {0};
    int times = test_scale(1000);
    atomic_store(&calls, 0);
    for (int i = 0; i < 4; i++) {
        weft_wg_go(&wg, fail_and_look, -1, EBADF, times);
        weft_wg_go(&wg, fail_and_look, ends[1], EBADF, times); /* not open for reading */
        weft_wg_go(&wg, fail_and_look, directory, EISDIR, times);
    }
    weft_wg_wait(&wg);
    CHECK(HOLDS_WITHIN(20000, atomic_load(&calls) == 12 * times)); /* nobody waits for those that each started */
    close(directory);
    close(ends[0]);
    close(ends[1]);
}

/* ---- floating point ---- */

static void round_in(int mode, int restore, int times)
{
    CHECK_EQ(fegetround(), FE_TONEAREST);
    CHECK_EQ(fesetround(mode), 0);
    volatile double one = 1, three = 3;
    volatile long double long_one = 1, long_three = 3; /* the x87 unit has its own control word */
    double third = one / three;
    long double long_third = long_one / long_three;
    for (int i = 0; i < times; i++) {
        if (i % 10 == 9)
            CHECK_EQ(weft_sleep(100 * WEFT_US), 0);
        else
            weft_yield();
        CHECK_EQ(fegetround(), mode);
        CHECK(one / three == third);
        CHECK(long_one / long_three == long_third);
    }
    if (restore)
        fesetround(FE_TONEAREST);
}

TEST(RoundingModeIsTheGoroutinesOwn)
{
    static const int modes[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
    weft_waitgroup wg = {0};
    for (int i = 0; i < 40; i++)
        weft_wg_go(&wg, round_in, modes[i % 4], i & 4, test_scale(200));
    weft_wg_wait(&wg);
    for (int i = 0; i < 40; i++) /* those who ended with another mode left it to nobody */
        weft_wg_go(&wg, round_in, FE_TONEAREST, 1, 1);
    weft_wg_wait(&wg);
    CHECK_EQ(fegetround(), FE_TONEAREST);
}

/* The same sums with a switch in every step and without must agree to the bit. Many live values, so that some are kept in
   registers across the call where the machine lets the callee save them. */
static __attribute__((noinline)) double sum_series(double x, int steps, bool yield)
{
    double a = x, b = x / 3, c = x * 7, d = 1 / x, e = x + 1, f = x - 1, g = x / 7, h = 2 * x;
    long double l = x;
    float s = (float)x;
    for (int i = 1; i <= steps; i++) {
        if (yield)
            weft_yield();
        a += b / i, b += c / i, c += d / i, d += e / i, e += f / i, f += g / i, g += h / i, h += a / i;
        l += 1.0L / i;
        s += 1.0f / (float)i;
    }
    return a + b + c + d + e + f + g + h + (double)l + (double)s;
}

static void compare_series(int seed, int steps)
{
    double x = 1 + seed / 10.0;
    CHECK(sum_series(x, steps, true) == sum_series(x, steps, false));
}

TEST(FloatingPointIsKept)
{
    weft_waitgroup wg = {0};
    for (int i = 0; i < 30; i++)
        weft_wg_go(&wg, compare_series, i, test_scale(1000));
    weft_wg_wait(&wg);
}

TEST_MAIN()
