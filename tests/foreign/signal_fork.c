/* signal_fork.c — subscriptions and forked children: a child begins with what was there before, nothing of what it catches
   reaches its parent, and it may subscribe for itself. */
#include "../workload.h"
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <weft.h>

#include "../test.h"

typedef weft_chan(int) int_chan;

/* See fork.c. */
#if TEST_ASAN || (TEST_TSAN && !defined(__clang__))
#define TEST_WITH_THREADS(name) static TEST_UNUSED_ void name(void)
#else
#define TEST_WITH_THREADS(name) TEST(name)
#endif

/* TSan keeps a signal back, and drops it when its handler has gone meanwhile. */
#if TEST_TSAN
#define TEST_AT_ANY_MOMENT(name) static TEST_UNUSED_ void name(void)
#else
#define TEST_AT_ANY_MOMENT(name) TEST_WITH_THREADS(name)
#endif

static int_chan subscribe(int signo)
{
    int_chan c = weft_chan_make(int, 8);
    CHECK(c);
    CHECK_EQ(weft_signal_notify(c, signo), 0);
    return c;
}

static void expect(int_chan c, int signo)
{
    enum { GOT, LATE };
    int got = 0;
    CHECK_EQ(weft_select([GOT] = weft_on_recv(c, &got), [LATE] = weft_on_timeout(20 * WEFT_SECOND)), GOT);
    CHECK_EQ(got, signo);
}

static void receive_here(int signo)
{
    int_chan c = subscribe(signo);
    CHECK_EQ(kill(getpid(), signo), 0);
    expect(c, signo);
    weft_signal_stop(c);
    weft_chan_free(c);
}

static int status_of(pid_t child)
{
    int status = -1;
    while (waitpid(child, &status, 0) < 0)
        CHECK_EQ(errno, EINTR);
    return status;
}

static _Atomic int handled;

static void own_handler(int signo)
{
    (void)signo;
    atomic_fetch_add(&handled, 1);
}

static void be_child(void)
{
    alarm(60);
    struct sigaction now;
    CHECK_EQ(sigaction(SIGUSR1, NULL, &now), 0);
    CHECK(!(now.sa_flags & SA_SIGINFO) && now.sa_handler == own_handler);
    CHECK_EQ(sigaction(SIGUSR2, NULL, &now), 0);
    CHECK(!(now.sa_flags & SA_SIGINFO) && now.sa_handler == SIG_IGN);
    CHECK_EQ(kill(getpid(), SIGUSR1), 0);
    CHECK(HOLDS_WITHIN(20000, atomic_load(&handled) == 1));
    receive_here(SIGUSR1);
    receive_here(SIGHUP);
    CHECK_EQ(weft_shutdown(20 * WEFT_SECOND), 0);
    CHECK_EQ(atomic_load(&handled), 1);
}

/* Runs first: weft has not started. */
TEST(fork_before_the_first_call)
{
    signal(SIGUSR1, own_handler);
    signal(SIGUSR2, SIG_IGN);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        be_child();
        _exit(0);
    }
    CHECK_EQ(status_of(child), 0);
    signal(SIGUSR2, SIG_DFL);
}

TEST_WITH_THREADS(child_begins_afresh)
{
    signal(SIGUSR1, own_handler);
    int_chan c = subscribe(SIGUSR1);
    CHECK_EQ(weft_signal_ignore(SIGUSR2), 0);
    for (int i = 0; i < test_scale(20); i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            be_child();
            _exit(0);
        }
        CHECK_EQ(status_of(child), 0);
        CHECK_EQ(weft_try_recv(c, NULL), -EAGAIN);
        CHECK_EQ(kill(getpid(), SIGUSR1), 0);
        expect(c, SIGUSR1);
        CHECK_EQ(atomic_load(&handled), 0);
    }
    CHECK_EQ(weft_signal_reset(), 0);
    weft_chan_free(c);
    signal(SIGUSR1, SIG_DFL);
}

/* A signal that a child gets before its first instruction has the effect that it has without weft, not its parent's. */
static TEST_UNUSED_ void kill_new_children(void)
{
    int_chan c = subscribe(SIGTERM);
    for (int i = 0; i < test_scale(300); i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            alarm(60);
            for (;;)
                nap_ms(1000);
        }
        for (uint64_t n = test_random() % 1000; n; n--)
            weft_now();
        CHECK_EQ(kill(child, SIGTERM), 0);
        int status = status_of(child);
        CHECK(WIFSIGNALED(status));
        CHECK_EQ(WTERMSIG(status), SIGTERM);
        CHECK_EQ(weft_try_recv(c, NULL), -EAGAIN);
    }
    weft_signal_stop(c);
    weft_chan_free(c);
}

TEST_AT_ANY_MOMENT(new_child_is_killed)
{
    kill_new_children();
}

static TEST_UNUSED_ int kill_new_children_as_main(void)
{
    kill_new_children();
    return 3;
}

TEST_AT_ANY_MOMENT(new_child_of_a_goroutine_is_killed)
{
    CHECK_EQ(weft_run(kill_new_children_as_main), 3);
}

/* A child that shares its parent's memory. */
TEST_WITH_THREADS(vforked_child_is_killed)
{
    int_chan c = subscribe(SIGTERM);
    for (int i = 0; i < 20; i++) {
        pid_t child = vfork();
        CHECK(child >= 0);
        if (child == 0) {
            kill(getpid(), SIGTERM);
            _exit(1);
        }
        int status = status_of(child);
        CHECK(WIFSIGNALED(status));
        CHECK_EQ(WTERMSIG(status), SIGTERM);
        CHECK_EQ(weft_try_recv(c, NULL), -EAGAIN);
    }
    CHECK_EQ(kill(getpid(), SIGTERM), 0);
    expect(c, SIGTERM);
    weft_signal_stop(c);
    weft_chan_free(c);
}

TEST_MAIN()
