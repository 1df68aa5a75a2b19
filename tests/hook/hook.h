/* hook.h — what the tests of libweft_hook share: each check runs on plain threads and in many goroutines at once, and each
   call that it makes must come back on the thread that it was made on, with the errno that libc would leave. */
#ifndef TESTS_HOOK_H
#define TESTS_HOOK_H

#include "test.h"
#include <errno.h>
#include <pthread.h>
#include <weft.h>

static _Thread_local int of_thread; /* as a library might have one: its address is the thread */

static TEST_UNUSED_ __attribute__((noinline)) int *thread_mark(void)
{
    __asm__ volatile("" ::: "memory");
    return &of_thread;
}

/* This thread's errno: a check blocks in weft too, so it may move, and compilers ask for errno's address once per function.
   */
static TEST_UNUSED_ __attribute__((noinline)) int *thread_errno(void)
{
    __asm__ volatile("" ::: "memory");
    return &errno;
}

#define UNTOUCHED 4711 /* what errno is before each call */

/* The call's result; errno after it is in *error. */
#define CALL_(call, error)                                                                                                  \
    __extension__({                                                                                                         \
        int *before_ = thread_mark();                                                                                       \
        *thread_errno() = UNTOUCHED;                                                                                        \
        __typeof__(call) result_ = (call);                                                                                  \
        *(error) = *thread_errno();                                                                                         \
        CHECK_EQ(thread_mark(), before_);                                                                                   \
        result_;                                                                                                            \
    })
/* The call gives that result and leaves errno alone. */
#define CALL_GIVES(call, result)                                                                                            \
    do {                                                                                                                    \
        int error_;                                                                                                         \
        long long gave_ = (long long)CALL_(call, &error_);                                                                  \
        if (gave_ != (long long)(result))                                                                                   \
            fprintf(stderr, "errno %d\n", error_);                                                                          \
        CHECK_EQ(gave_, result);                                                                                            \
        CHECK_EQ(error_, UNTOUCHED);                                                                                        \
    } while (0)
/* The call gives -1 with that errno. */
#define CALL_FAILS(call, error)                                                                                             \
    do {                                                                                                                    \
        int error_;                                                                                                         \
        CHECK_EQ(CALL_(call, &error_), -1);                                                                                 \
        CHECK_EQ(error_, error);                                                                                            \
    } while (0)

static TEST_UNUSED_ bool in_goroutine(void)
{
    return weft_id() != 0;
}

/* Another name that libraries use for a function; not every libc has it, on every architecture. */
#define OTHER_NAME(type, name, parameters) extern __typeof__(type) name parameters __attribute__((weak))
#define CALL_OTHER(name, function) (name ? name : (function))

/* ---- running a check everywhere ---- */

static TEST_UNUSED_ void *run_on_thread(void *check)
{
    ((void (*)(void))check)();
    return NULL;
}

static TEST_UNUSED_ void run_in_goroutine(void (*check)(void), weft_waitgroup *wg)
{
    check();
    weft_wg_done(wg);
}

static TEST_UNUSED_ void everywhere(void (*check)(void))
{
    pthread_t threads[3];
    weft_waitgroup wg = {0};
    for (int i = 0; i < 3; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, run_on_thread, (void *)check), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 16; i++) {
        weft_wg_add(&wg, 1);
        weft_go(run_in_goroutine, check, &wg);
    }
    weft_wg_wait(&wg);
}

/* Once on this thread, then once in a goroutine. */
static TEST_UNUSED_ void once_each(void (*check)(void))
{
    weft_waitgroup wg = {0};
    check();
    weft_wg_add(&wg, 1);
    weft_go(run_in_goroutine, check, &wg);
    weft_wg_wait(&wg);
}

#define EVERYWHERE(name)                                                                                                    \
    static void check_##name(void);                                                                                         \
    TEST(name)                                                                                                              \
    {                                                                                                                       \
        everywhere(check_##name);                                                                                           \
    }                                                                                                                       \
    static void check_##name(void)

/* ---- peers ---- */

/* So that the other side really has to wait, mostly. */
static TEST_UNUSED_ void linger(void)
{
    weft_sleep((int64_t)(test_random() % 3000) * WEFT_US);
}

static TEST_UNUSED_ void write_later(int fd, const void *data, size_t size, weft_waitgroup *wg)
{
    linger();
    CHECK_EQ(weft_write_all(fd, data, size), (ssize_t)size);
    weft_wg_done(wg);
}

/* In pieces, each a little later. */
static TEST_UNUSED_ void dribble(int fd, const char *data, size_t size, size_t piece, weft_waitgroup *wg)
{
    for (size_t done = 0; done < size; done += piece) {
        linger();
        CHECK_EQ(weft_write_all(fd, data + done, size - done < piece ? size - done : piece),
                 (ssize_t)(size - done < piece ? size - done : piece));
    }
    weft_wg_done(wg);
}

/* Reads size bytes, which must be those of pattern(). */
static TEST_UNUSED_ char pattern(size_t i)
{
    return (char)(i * 7 + i / 251);
}

static TEST_UNUSED_ void fill(char *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        data[i] = pattern(i);
}

static TEST_UNUSED_ void drain_slowly(int fd, size_t size, weft_waitgroup *wg)
{
    char buffer[8192];
    size_t done = 0;
    while (done < size) {
        if (test_random() % 8 == 0)
            linger();
        ssize_t n = weft_read(fd, buffer, sizeof buffer);
        CHECK(n > 0);
        for (ssize_t i = 0; i < n; i++)
            CHECK_EQ(buffer[i], pattern(done + (size_t)i));
        done += (size_t)n;
    }
    CHECK_EQ(done, size);
    weft_wg_done(wg);
}

static TEST_UNUSED_ void close_later(int fd, weft_waitgroup *wg)
{
    linger();
    CHECK_EQ(weft_close_fd(fd), 0);
    weft_wg_done(wg);
}

static TEST_UNUSED_ int threads_now(void)
{
    char line[128];
    int n = -1;
    FILE *file = fopen("/proc/self/status", "re");
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file))
        sscanf(line, "Threads: %d", &n);
    fclose(file);
    return n;
}

#endif
