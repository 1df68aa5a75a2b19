/* sigpipe.c — writing where nobody reads any more is an error, -EPIPE, and no signal: from a goroutine, from the program's
   first thread and from any other, whatever the program does with SIGPIPE. */
#include "../workload.h"
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <weft.h>

#include "../test.h"

enum { PIPE, BLOCKING_PIPE, STREAM, KINDS };

/* The end to write to; nobody has the other. */
static int broken(int kind)
{
    int ends[2];
    if (kind == STREAM)
        CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    else
        CHECK_EQ(pipe2(ends, O_CLOEXEC | (kind == PIPE ? O_NONBLOCK : 0)), 0);
    CHECK_EQ(weft_close_fd(ends[0]), 0);
    return ends[1];
}

static bool is_pending(int signo)
{
    sigset_t set;
    CHECK_EQ(sigpending(&set), 0);
    return sigismember(&set, signo);
}

static bool is_blocked(int signo)
{
    sigset_t set;
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, NULL, &set), 0);
    return sigismember(&set, signo);
}

static void expect_errors(void)
{
    for (int kind = 0; kind < KINDS; kind++) {
        char data[4] = "abc";
        int fd = broken(kind), other[2];
        bool blocked = is_blocked(SIGPIPE), pending = is_pending(SIGPIPE);
        CHECK_EQ(weft_write(fd, data, sizeof data), -EPIPE);
        CHECK_EQ(weft_write_all(fd, data, sizeof data), -EPIPE);
        CHECK_EQ(weft_writev(fd, &(struct iovec){data, sizeof data}, 1), -EPIPE);
        CHECK_EQ(pipe2(other, O_CLOEXEC), 0);
        CHECK_EQ(write(other[1], data, sizeof data), (ssize_t)sizeof data);
        CHECK_EQ(weft_close_fd(other[1]), 0);
        CHECK_EQ(weft_copy(fd, other[0]), -EPIPE);
        CHECK_EQ(weft_close_fd(other[0]), 0);
        if (kind == STREAM)
            CHECK_EQ(weft_sendto(fd, data, sizeof data, 0, NULL, 0), -EPIPE);
        CHECK_EQ(is_blocked(SIGPIPE), blocked);
        if (weft_id() == 0) /* nothing of it stays on a thread of the program's */
            CHECK_EQ(is_pending(SIGPIPE), pending);
        CHECK_EQ(weft_close_fd(fd), 0);
    }
}

/* By default the signal would end the program. */
TEST_BOTH(error_and_no_signal)
{
    expect_errors();
}

static _Atomic int caught;

static void catch (int signo)
{
    (void)signo;
    atomic_fetch_add(&caught, 1);
}

TEST_BOTH(own_handler_sees_nothing)
{
    signal(SIGPIPE, catch);
    expect_errors();
    signal(SIGPIPE, SIG_IGN);
    expect_errors();
    signal(SIGPIPE, SIG_DFL);
    CHECK_EQ(atomic_load(&caught), 0);
}

static void *run_errors(void *unused)
{
    expect_errors();
    return unused;
}

static void in_thread(void *(*fn)(void *))
{
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, fn, NULL), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
}

TEST(on_a_thread_of_the_program)
{
    in_thread(run_errors);
}

/* One that the program itself has waiting is its own. */
static void *run_with_pending(void *unused)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
    expect_errors();
    CHECK(!is_pending(SIGPIPE));
    CHECK_EQ(pthread_kill(pthread_self(), SIGPIPE), 0);
    CHECK(is_pending(SIGPIPE));
    expect_errors();
    CHECK(is_pending(SIGPIPE));
    static const struct timespec now;
    CHECK_EQ(sigtimedwait(&set, NULL, &now), SIGPIPE);
    return unused;
}

TEST(pending_signal_stays)
{
    in_thread(run_with_pending);
}

/* The reader goes while the writer waits for room. */
static void write_much(int fd, weft_waitgroup *started)
{
    static char data[1 << 20];
    weft_wg_done(started);
    CHECK_EQ(weft_write_all(fd, data, sizeof data), -EPIPE);
}

static void *write_much_here(void *ends)
{
    weft_waitgroup started = {0};
    weft_wg_add(&started, 1);
    write_much(((int *)ends)[1], &started);
    return NULL;
}

TEST_BOTH(reader_goes_while_the_writer_waits)
{
    for (int kind = 0; kind < KINDS; kind++) {
        int ends[2];
        if (kind == STREAM)
            CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
        else
            CHECK_EQ(pipe2(ends, O_CLOEXEC | (kind == PIPE ? O_NONBLOCK : 0)), 0);
        weft_waitgroup wg = {0}, started = {0};
        weft_wg_add(&started, 1);
        weft_wg_go(&wg, write_much, ends[1], &started);
        weft_wg_wait(&started);
        weft_sleep(5 * WEFT_MS);
        CHECK_EQ(weft_close_fd(ends[0]), 0);
        weft_wg_wait(&wg);
        CHECK_EQ(weft_close_fd(ends[1]), 0);
    }
}

TEST(reader_goes_while_a_thread_waits)
{
    for (int kind = PIPE; kind <= BLOCKING_PIPE; kind++) {
        int ends[2];
        CHECK_EQ(pipe2(ends, O_CLOEXEC | (kind == PIPE ? O_NONBLOCK : 0)), 0);
        pthread_t thread;
        CHECK_EQ(pthread_create(&thread, NULL, write_much_here, ends), 0);
        nap_ms(10);
        CHECK_EQ(weft_close_fd(ends[0]), 0);
        CHECK_EQ(pthread_join(thread, NULL), 0);
        CHECK_EQ(weft_close_fd(ends[1]), 0);
    }
}

TEST_MAIN()
