/* signals.c — weft's threads leave signals to the program: they block what could be meant for it, Ctrl-C works, and the dump
   on a signal comes only where no handler of the program's own is in the way. */
#include "../workload.h"
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <weft.h>

#include "../test.h"

/* ---- a child that runs until it is told, and what it writes to standard error ---- */

struct child {
    pid_t pid;
    int text_fd, told_fd; /* its standard error; one byte here ends it */
    size_t length;
    char text[65536];
};

static struct child child;
static int ready_fd, wait_fd; /* the child's ends */

static void say_ready(void)
{
    CHECK_EQ(write(ready_fd, "r", 1), 1);
}

/* Blocks in plain read, until the parent tells. */
static void wait_until_told(void)
{
    struct pollfd told = {.fd = wait_fd, .events = POLLIN};
    while (TEST_TSAN && poll(&told, 1, 0) == 0) /* TSan keeps signals back during read and runs handlers here */
        nap_ms(1);
    char byte;
    ssize_t n;
    while ((n = read(wait_fd, &byte, 1)) < 0)
        CHECK_EQ(errno, EINTR);
    CHECK_EQ(n, 1);
}

static void start_child(void (*fn)(void), char *environment)
{
    int text[2], ready[2], told[2];
    CHECK(pipe(text) == 0 && pipe(ready) == 0 && pipe(told) == 0);
    fflush(NULL);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        dup2(text[1], STDERR_FILENO);
        ready_fd = ready[1];
        wait_fd = told[0];
        close(told[1]);
        close(ready[0]);
        alarm(30);
        if (environment)
            putenv(environment);
        fn();
        _exit(0);
    }
    close(text[1]);
    close(ready[1]);
    close(told[0]);
    child = (struct child){.pid = pid, .text_fd = text[0], .told_fd = told[1]};
    char byte;
    CHECK_EQ(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    nap_ms(20); /* it says so just before it waits */
}

/* Reads what the child writes until it contains text; false after some seconds or when it ended. */
static bool child_says(const char *text)
{
    int64_t end_ns = clock_ns() + 20 * WEFT_SECOND;
    while (!strstr(child.text, text)) {
        struct pollfd wanted = {.fd = child.text_fd, .events = POLLIN};
        if (clock_ns() > end_ns || child.length == sizeof child.text - 1)
            return false;
        if (poll(&wanted, 1, 100) <= 0)
            continue;
        ssize_t n = read(child.text_fd, child.text + child.length, sizeof child.text - 1 - child.length);
        if (n <= 0)
            return false;
        child.length += (size_t)n;
        child.text[child.length] = '\0';
    }
    return true;
}

/* The child's wait status, after it was told to end. */
static int end_child(void)
{
    signal(SIGPIPE, SIG_IGN);
    if (write(child.told_fd, "x", 1) < 0)
        CHECK_EQ(errno, EPIPE); /* it is dead already */
    signal(SIGPIPE, SIG_DFL);
    int status;
    CHECK_EQ(waitpid(child.pid, &status, 0), child.pid);
    child_says("\001"); /* reads the rest */
    close(child.told_fd);
    close(child.text_fd);
    return status;
}

static void expect_killed_by(int signal)
{
    int status = end_child();
    CHECK(WIFSIGNALED(status));
    CHECK_EQ(WTERMSIG(status), signal);
}

static void expect_end_0(void)
{
    int status = end_child();
    if (!WIFEXITED(status))
        fprintf(stderr, "the child wrote:\n%s\n", child.text);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 0);
}

/* ---- Ctrl-C ---- */

static int wait_in_read(void)
{
    say_ready();
    wait_until_told();
    return 0;
}

static int wait_in_sleep(void)
{
    say_ready();
    weft_sleep(60 * WEFT_SECOND);
    return 0;
}

static int wait_in_loop(void)
{
    say_ready();
    for (;;)
        weft_yield();
    return 0;
}

static void run_read(void)
{
    weft_run(wait_in_read);
}

static void run_sleep(void)
{
    weft_run(wait_in_sleep);
}

static void run_loop(void)
{
    weft_run(wait_in_loop);
}

static void sleeper(void)
{
    wait_in_sleep();
}

static void wait_for_sleeper(void)
{
    weft_waitgroup wg = {0};
    weft_wg_go(&wg, sleeper);
    weft_wg_wait(&wg);
}

TEST(InterruptKillsUnderRun)
{
    static void (*const apps[])(void) = {run_read, run_sleep, run_loop, wait_for_sleeper};
    static const int signals[] = {SIGINT, SIGTERM};
    for (int i = 0; i < 8; i++) {
        start_child(apps[i / 2], NULL);
        CHECK_EQ(kill(child.pid, signals[i % 2]), 0);
        nap_ms(30); /* it must be the signal that ends it */
        expect_killed_by(signals[i % 2]);
    }
}

/* ---- dumps ---- */

static void receive_for_dump(weft_chan(int) c)
{
    weft_recv(c, NULL);
}

static int park_and_wait(void)
{
    weft_chan(int) c = weft_chan_make(int, 0);
    weft_go_opt(WEFT_OPTIONS(.name = "periwinkle"), receive_for_dump, c);
    weft_sleep(10 * WEFT_MS);
    say_ready();
    wait_until_told();
    return 0;
}

/* TSan keeps a signal back until its thread next calls a function that it knows; main, asleep in weft_run, calls none. */
static void run_and_park(void)
{
    CHECK_EQ(TEST_TSAN ? park_and_wait() : weft_run(park_and_wait), 0);
}

static void park_on_thread(void)
{
    CHECK_EQ(park_and_wait(), 0);
}

static void check_dump(void (*fn)(void), char *environment, int signal)
{
    start_child(fn, environment);
    CHECK_EQ(kill(child.pid, signal), 0);
    if (!child_says("periwinkle"))
        fprintf(stderr, "no dump; the child wrote:\n%s\n", child.text);
    CHECK(child_says("periwinkle"));
    CHECK(child_says("receive_for_dump"));
    CHECK(child_says("signals.c:"));
    expect_end_0(); /* a dump ends nothing */
}

TEST(QuitDumpsUnderRun)
{
    if (TEST_TSAN)
        return;
    check_dump(run_and_park, NULL, SIGQUIT);
}

TEST(NamedSignalDumps)
{
    check_dump(park_on_thread, "WEFT_DUMP_SIGNAL=USR1", SIGUSR1);
    check_dump(run_and_park, "WEFT_DUMP_SIGNAL=USR1", SIGUSR1);
    check_dump(park_on_thread, "WEFT_DUMP_SIGNAL=QUIT", SIGQUIT);
}

/* Without weft_run and without the variable the signal has its usual meaning. */
TEST(QuitKillsElsewhere)
{
    start_child(park_on_thread, NULL);
    CHECK_EQ(kill(child.pid, SIGQUIT), 0);
    nap_ms(30);
    expect_killed_by(SIGQUIT);
}

static int return_0(void)
{
    return 0;
}

static void run_and_shut_down(void)
{
    CHECK_EQ(weft_run(return_0), 0);
    CHECK_EQ(weft_shutdown(20 * WEFT_SECOND), 0);
    say_ready();
    wait_until_told();
}

/* Nobody is left to dump, and in a plugin no code. */
TEST(QuitKillsAfterShutdown)
{
    start_child(run_and_shut_down, NULL);
    CHECK_EQ(kill(child.pid, SIGQUIT), 0);
    nap_ms(30);
    expect_killed_by(SIGQUIT);
    start_child(run_and_shut_down, "WEFT_DUMP_SIGNAL=USR1");
    CHECK_EQ(kill(child.pid, SIGUSR1), 0);
    nap_ms(30);
    expect_killed_by(SIGUSR1);
}

static void say_handled(int signal)
{
    (void)signal;
    if (write(STDERR_FILENO, "handled\n", 8) != 8)
        _exit(9);
}

static void handle_then_run(void)
{
    struct sigaction action = {.sa_handler = say_handled, .sa_flags = SA_RESTART};
    sigaction(SIGQUIT, &action, NULL);
    run_and_park();
}

static void handle_then_park(void)
{
    struct sigaction action = {.sa_handler = say_handled, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    park_on_thread();
}

static void expect_handler(void (*fn)(void), char *environment, int signal)
{
    start_child(fn, environment);
    CHECK_EQ(kill(child.pid, signal), 0);
    CHECK(child_says("handled"));
    expect_end_0();
    CHECK(!strstr(child.text, "periwinkle"));
}

TEST(HandlersOfTheProgramAreKept)
{
    expect_handler(handle_then_run, NULL, SIGQUIT);
    expect_handler(handle_then_park, "WEFT_DUMP_SIGNAL=USR1", SIGUSR1);
}

/* ---- masks: the last, as TSan keeps signals back in the children of a process with threads ---- */

static void look_at_mask(weft_waitgroup *all)
{
    static const int blocked[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGCHLD, SIGWINCH};
    static const int open[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT, SIGPROF};
    sigset_t mask;
    weft_wg_done(all);
    weft_wg_wait(all);
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, NULL, &mask), 0);
    for (size_t i = 0; i < sizeof blocked / sizeof *blocked; i++)
        CHECK(sigismember(&mask, blocked[i]));
    for (size_t i = 0; i < sizeof open / sizeof *open; i++)
        CHECK(!sigismember(&mask, open[i]));
    nap_ms(5); /* so that other threads come and look too */
}

TEST(WorkersBlockTheProgramsSignals)
{
    sigset_t before, after;
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, NULL, &before), 0);
    weft_waitgroup wg = {0}, all = {0};
    weft_wg_add(&all, 20);
    for (int i = 0; i < 20; i++)
        weft_wg_go(&wg, look_at_mask, &all);
    weft_wg_wait(&wg);
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, NULL, &after), 0);
    for (int s = 1; s < 32; s++)
        CHECK_EQ(sigismember(&before, s), sigismember(&after, s));
}

static volatile sig_atomic_t handled_on;

static void note_thread(int signal)
{
    (void)signal;
    handled_on = (sig_atomic_t)thread_id();
}

/* A signal for the process reaches the program's own thread. */
TEST(SignalsReachTheMainThread)
{
    struct sigaction action = {.sa_handler = note_thread}, old;
    CHECK_EQ(sigaction(SIGUSR2, &action, &old), 0);
    weft_waitgroup wg = {0};
    for (int i = 0; i < 20; i++)
        weft_wg_go(&wg, weft_yield);
    weft_wg_wait(&wg);
    for (int i = 0; i < 20; i++) {
        handled_on = 0;
        CHECK_EQ(kill(getpid(), SIGUSR2), 0);
        CHECK(HOLDS_WITHIN(10000, handled_on != 0));
        CHECK_EQ(handled_on, getpid());
    }
    CHECK_EQ(sigaction(SIGUSR2, &old, NULL), 0);
}

TEST_MAIN()
