/* test.h — the harness of all tests: one header, no library.

     TEST(adds_up) { CHECK_EQ(1 + 1, 2); }
     TEST_MAIN()

   TEST(name)      runs the body on the program's first thread, which is foreign to weft.
   TEST_GO(name)   runs the body as the main goroutine, under weft_run.
   TEST_BOTH(name) both ways: "name" as a goroutine and "name_foreign" on the thread. The body must not call weft_run.
   The last two need <weft.h>. Tests run in the order of the file, or those that the command line names, in its order.

   Environment: WEFT_TEST_SEED makes the random numbers repeat (the seed in use is printed first), WEFT_TEST_SCALE is a
   percentage for iteration counts, WEFT_TEST_TIMEOUT the seconds that one test may take before SIGALRM ends the program
   (0: for ever), WEFT_TEST_REPEAT how often to run the tests in the one process, each time with another seed; so a test
   must leave the process in a state in which all of them can begin. CHECK may be used on any thread and in any goroutine. */
#ifndef WEFT_TEST_H
#define WEFT_TEST_H

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TEST_TSAN 1
#endif
#if __has_feature(address_sanitizer)
#define TEST_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__) && !defined(TEST_TSAN)
#define TEST_TSAN 1
#endif
#if defined(__SANITIZE_ADDRESS__) && !defined(TEST_ASAN)
#define TEST_ASAN 1
#endif
#ifndef TEST_TSAN
#define TEST_TSAN 0
#endif
#ifndef TEST_ASAN
#define TEST_ASAN 0
#endif

/* 1 when the tests are run by qemu-user. A child that it forks from a program with several threads is ended by an assertion
   of its own (qemu_plugin_vcpu_init_hook, in 7.2) when it starts a thread: it keeps its list of the parent's threads. */
#ifndef TEST_EMULATED
#define TEST_EMULATED 0
#endif

#define TEST_UNUSED_ __attribute__((unused))

typedef struct test_case {
    const char *name;
    void (*body)(void);
    struct test_case *next;
} test_case;

static test_case *test_first, **test_last = &test_first;
static uint64_t test_seed_value;   /* [const] while tests run */
static uint64_t test_random_state; /* [atomic] */

static inline void test_register_(test_case *test)
{
    *test_last = test;
    test_last = &test->next;
}

#if TEST_TSAN
#ifndef TEST_TSAN_OPTIONS
#define TEST_TSAN_OPTIONS "" /* ":name=value..." that a test adds */
#endif

/* TSan would end the forked child of a program with threads when it starts threads itself; with weft it may. At the end of
   a process it sleeps, a second unless told: too long for each of hundreds. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "die_after_fork=0:atexit_sleep_ms=20" TEST_TSAN_OPTIONS;
}
#endif

#if TEST_ASAN
/* Up to gcc 13 and clang 15 the leak check may take garbage for the bounds of a thread's dynamic TLS, of libdw's for
   example, and crash: it looks in front of the block for a header that glibc has not written since 2.25. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "intercept_tls_get_addr=0";
}
#endif

/* ---- checks ---- */

static TEST_UNUSED_ __attribute__((noinline, noreturn, cold)) void test_fail_(const char *file, int line, const char *text)
{
    fprintf(stderr, "%s:%d: failed: %s\n", file, line, text);
    abort();
}

static TEST_UNUSED_ __attribute__((noinline, noreturn, cold)) void
test_fail_equal_(const char *file, int line, const char *text, long long a, long long b)
{
    fprintf(stderr, "%s:%d: failed: %s: %lld (0x%llx) is not %lld (0x%llx)\n", file, line, text, a, (unsigned long long)a, b,
            (unsigned long long)b);
    abort();
}

#define CHECK(condition) ((condition) ? (void)0 : test_fail_(__FILE__, __LINE__, #condition))
/* For integers and pointers. */
#define CHECK_EQ(a, b)                                                                                                      \
    do {                                                                                                                    \
        long long test_a_ = (long long)(a), test_b_ = (long long)(b);                                                       \
        if (test_a_ != test_b_)                                                                                             \
            test_fail_equal_(__FILE__, __LINE__, #a " == " #b, test_a_, test_b_);                                           \
    } while (0)

/* A descriptor that weft has not seen yet, at a number that nothing else gets, because the kernel gives the lowest that is
   free; also weft's own threads open files now and then. For looks at it after its close. */
static TEST_UNUSED_ int test_lift(int fd)
{
    int high = fcntl(fd, F_DUPFD, 600);
    CHECK(high >= 600);
    CHECK_EQ(fcntl(high, F_SETFD, fcntl(fd, F_GETFD)), 0);
    close(fd);
    return high;
}

/* ---- random numbers ---- */

/* The next number of the stream that *state is the place in; any start is good. For one goroutine or thread. */
static TEST_UNUSED_ uint64_t test_random_from(uint64_t *state)
{
    uint64_t x = (*state += UINT64_C(0x9e3779b97f4a7c15));
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* The next number of the program's stream, which starts anew with each test. Any thread may call it: relaxed, because only
   the numbers matter and they must not order anything that a test is about. */
static TEST_UNUSED_ uint64_t test_random(void)
{
    uint64_t state = __atomic_fetch_add(&test_random_state, UINT64_C(0x9e3779b97f4a7c15), __ATOMIC_RELAXED);
    return test_random_from(&state);
}

static TEST_UNUSED_ uint64_t test_seed(void)
{
    return test_seed_value;
}

/* ---- scaling ---- */

static TEST_UNUSED_ bool test_on_valgrind(void)
{
    const char *preload = getenv("LD_PRELOAD"); /* Valgrind gives its programs a library of its own this way */
    return preload && strstr(preload, "vgpreload");
}

static TEST_UNUSED_ int test_percentage_(void)
{
    const char *text = getenv("WEFT_TEST_SCALE");
    return text && *text ? atoi(text) : 100;
}

/* How often to do what is done n times on a machine of its own: at least 1. */
static TEST_UNUSED_ int test_scale(int n)
{
    long long scaled = (long long)n * test_percentage_() / 100;
    if (TEST_TSAN)
        scaled /= 10;
    else if (TEST_ASAN)
        scaled /= 4;
    if (test_on_valgrind())
        scaled /= 40;
    return scaled < 1 ? 1 : scaled > INT32_MAX ? INT32_MAX : (int)scaled;
}

/* Below this percentage a test is one of thousands of repetitions, a soak: each may do the less, because all together do the
   more. Above it a test is meant to show on its own what it is about, in every build. */
enum { TEST_SOAK_BELOW_ = 10 };

/* For what is too few to scale, or lasts rather than repeats: n; in a soak a part of it, but no less than what still can
   fail. */
static TEST_UNUSED_ int test_shorten(int least, int n)
{
    long long part = (long long)n * test_percentage_() / TEST_SOAK_BELOW_;
    return part >= n ? n : part < least ? least : (int)part;
}

/* Whether to try this one of many similar cases: yes; in a soak as often as chance has it, least % or more of the time. */
static TEST_UNUSED_ bool test_picked(int least)
{
    return (int)(test_random() % 100) < test_shorten(least, 100);
}

/* Of many similar cases every how-manyth to try: all of them, unless the scale is small. */
static TEST_UNUSED_ int test_stride(void)
{
    int scale = test_percentage_();
    return scale >= 25 ? 1 : scale >= 15 ? 2 : 4;
}

/* ---- the program ---- */

static TEST_UNUSED_ void test_run_one_(const test_case *test)
{
    const char *timeout = getenv("WEFT_TEST_TIMEOUT");
    uint64_t stream = test_seed_value;
    for (const char *c = test->name; *c; c++)
        stream = (stream ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
    __atomic_store_n(&test_random_state, stream, __ATOMIC_RELAXED);
    alarm(timeout && *timeout ? (unsigned)atoi(timeout) : 200);
    test->body();
    alarm(0);
    printf("ok %s\n", test->name);
    fflush(stdout);
}

/* Runs the tests that the command line names, or all. */
static TEST_UNUSED_ int test_run_named_(int argc, char **argv)
{
    printf("seed %llu\n", (unsigned long long)test_seed_value);
    fflush(stdout);
    if (argc < 2)
        for (const test_case *test = test_first; test; test = test->next)
            test_run_one_(test);
    for (int i = 1; i < argc; i++) {
        const test_case *test = test_first;
        while (test && strcmp(test->name, argv[i]) != 0)
            test = test->next;
        if (!test) {
            fprintf(stderr, "%s: no test is named %s\n", argv[0], argv[i]);
            return 2;
        }
        test_run_one_(test);
    }
    return 0;
}

static TEST_UNUSED_ int test_main_(int argc, char **argv)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    const char *seed = getenv("WEFT_TEST_SEED"), *repeat = getenv("WEFT_TEST_REPEAT");
    test_seed_value = seed && *seed ? strtoull(seed, NULL, 0) : (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    sigset_t alarm_only;
    sigemptyset(&alarm_only);
    sigaddset(&alarm_only, SIGALRM);
    signal(SIGALRM, SIG_DFL);
    sigprocmask(SIG_UNBLOCK, &alarm_only, NULL);
    int status = 0;
    for (int left = repeat && *repeat ? atoi(repeat) : 1; left > 0 && status == 0; left--, test_seed_value++)
        status = test_run_named_(argc, argv);
    return status;
}

#define TEST_REGISTER_(id, text, function)                                                                                  \
    static __attribute__((constructor)) void test_register_##id(void)                                                       \
    {                                                                                                                       \
        static test_case test = {text, function, NULL};                                                                     \
        test_register_(&test);                                                                                              \
    }
#define TEST_UNDER_RUN_(name)                                                                                               \
    static int test_main_of_##name(void)                                                                                    \
    {                                                                                                                       \
        test_body_of_##name();                                                                                              \
        return 42;                                                                                                          \
    }                                                                                                                       \
    static void test_run_of_##name(void)                                                                                    \
    {                                                                                                                       \
        CHECK_EQ(weft_run(test_main_of_##name), 42);                                                                        \
    }                                                                                                                       \
    TEST_REGISTER_(name, #name, test_run_of_##name)
#define TEST(name)                                                                                                          \
    static void test_body_of_##name(void);                                                                                  \
    TEST_REGISTER_(name, #name, test_body_of_##name)                                                                        \
    static void test_body_of_##name(void)
#define TEST_GO(name)                                                                                                       \
    static void test_body_of_##name(void);                                                                                  \
    TEST_UNDER_RUN_(name)                                                                                                   \
    static void test_body_of_##name(void)
#define TEST_BOTH(name)                                                                                                     \
    static void test_body_of_##name(void);                                                                                  \
    TEST_UNDER_RUN_(name)                                                                                                   \
    TEST_REGISTER_(name##_foreign, #name "_foreign", test_body_of_##name)                                                   \
    static void test_body_of_##name(void)
#define TEST_MAIN()                                                                                                         \
    int main(int argc, char **argv)                                                                                         \
    {                                                                                                                       \
        return test_main_(argc, argv);                                                                                      \
    }

#endif
