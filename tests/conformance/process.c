/* process.c — running programs. CamelCase names are Go's, of os/exec and os. tests/foreign/process_old_kernel.c runs all of
   it again without pidfds. */
#include "../workload.h"
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/resource.h>
#include <weft.h>

#include "../descriptors.h"
#include "../test.h"

#ifndef WITHOUT_PIDFD
#define WITHOUT_PIDFD 0
#endif

#define ARGV(...) ((char *[]){__VA_ARGS__, NULL})
#define SH(script) ARGV("sh", "-c", script)

/* ---- what must be as before at the end of each test ---- */

static int descriptors_before;

/* Has weft open what it opens once, for waiting and for signals. */
static void begin(void)
{
    weft_outcome outcome;
    CHECK_EQ(weft_exec(WEFT_COMMAND(.argv = ARGV("sleep", "0.03"), .output = WEFT_PIPE), NULL, 0, &outcome), 0);
    weft_outcome_free(&outcome);
    weft_chan(int) c = weft_chan_make(int, 1);
    CHECK_EQ(weft_signal_notify(c, SIGUSR2), 0);
    weft_signal_stop(c);
    weft_chan_free(c);
    descriptors_before = open_descriptors();
}

static void end(void)
{
    CHECK_EQ(open_descriptors(), descriptors_before);
    CHECK_EQ(waitpid(-1, NULL, WNOHANG), -1); /* no child, no zombie */
    CHECK_EQ(weft_errno(), ECHILD);
}

#define PROCESS_TEST(name)                                                                                                  \
    static void process_##name(void);                                                                                       \
    TEST_BOTH(name)                                                                                                         \
    {                                                                                                                       \
        begin();                                                                                                            \
        process_##name();                                                                                                   \
        end();                                                                                                              \
    }                                                                                                                       \
    static void process_##name(void)

static void expect_output(const weft_command *command, const char *input, const char *expected)
{
    weft_outcome outcome;
    CHECK_EQ(weft_exec(command, input, input ? strlen(input) : 0, &outcome), 0);
    CHECK(WIFEXITED(outcome.status));
    CHECK_EQ(WEXITSTATUS(outcome.status), 0);
    CHECK(outcome.output);
    if (strcmp(outcome.output, expected) != 0)
        fprintf(stderr, "expected \"%s\", got \"%s\"\n", expected, outcome.output);
    CHECK(strcmp(outcome.output, expected) == 0);
    CHECK_EQ(outcome.output_size, strlen(expected));
    CHECK(!outcome.errors);
    weft_outcome_free(&outcome);
    CHECK(!outcome.output);
}

static int exit_status_of(char **argv)
{
    weft_outcome outcome;
    CHECK_EQ(weft_exec(WEFT_COMMAND(.argv = argv), NULL, 0, &outcome), 0);
    CHECK(WIFEXITED(outcome.status));
    CHECK(!outcome.output && !outcome.errors);
    return WEXITSTATUS(outcome.status);
}

static void start(weft_process *p, const weft_command *command)
{
    CHECK_EQ(weft_process_start(p, command), 0);
    CHECK(p->pid > 0);
    int pidfd = (int)syscall(434 /* pidfd_open, on every machine */, getpid(), 0);
    CHECK_EQ(p->pidfd >= 0, pidfd >= 0);
    if (pidfd >= 0)
        close(pidfd);
    CHECK(!WITHOUT_PIDFD || p->pidfd < 0);
}

/* User-mode emulation makes a fork of what posix_spawn does, which then cannot say why exec failed. */
static bool exec_errors_are_known(void)
{
    pid_t child;
    if (posix_spawn(&child, "/no-exist-executable", NULL, NULL, ARGV("x"), environ) != 0)
        return true;
    CHECK_EQ(waitpid(child, NULL, 0), child);
    return false;
}

/* ---- Go's, of os/exec ---- */

PROCESS_TEST(TestEcho)
{
    expect_output(WEFT_COMMAND(.argv = ARGV("echo", "foo bar", "baz"), .output = WEFT_PIPE), NULL, "foo bar baz\n");
}

PROCESS_TEST(TestCatStdin)
{
    expect_output(WEFT_COMMAND(.argv = ARGV("cat"), .output = WEFT_PIPE), "Input string\nLine 2", "Input string\nLine 2");
    expect_output(WEFT_COMMAND(.argv = ARGV("cat"), .output = WEFT_PIPE), "", "");
    expect_output(WEFT_COMMAND(.argv = ARGV("cat"), .input = WEFT_NULL, .output = WEFT_PIPE), NULL, "");
    expect_output(WEFT_COMMAND(.argv = ARGV("cat"), .input = WEFT_PIPE, .output = WEFT_PIPE), NULL, "");
}

/* Several megabytes through both pipes at the same time: neither side may wait for the other for ever. */
PROCESS_TEST(TestEchoFileRace)
{
    size_t size = (size_t)4 << 20;
    char *text = malloc(size);
    CHECK(text);
    for (size_t i = 0; i < size; i++)
        text[i] = (char)('a' + (i * 7 + i / 4096) % 26);
    weft_outcome outcome;
    CHECK_EQ(weft_exec(WEFT_COMMAND(.argv = SH("tee /dev/stderr"), .output = WEFT_PIPE, .errors = WEFT_PIPE), text, size,
                       &outcome),
             0);
    CHECK_EQ(outcome.status, 0);
    CHECK_EQ(outcome.output_size, size);
    CHECK_EQ(outcome.errors_size, size);
    CHECK(memcmp(outcome.output, text, size) == 0 && outcome.output[size] == '\0');
    CHECK(memcmp(outcome.errors, text, size) == 0 && outcome.errors[size] == '\0');
    weft_outcome_free(&outcome);
    free(text);
}

PROCESS_TEST(TestCatGoodAndBadFile)
{
    weft_outcome outcome;
    CHECK_EQ(weft_exec(WEFT_COMMAND(.argv = ARGV("cat", "/no/such/file", "/proc/self/comm"), .output = WEFT_PIPE,
                                    .errors = WEFT_OUTPUT),
                       NULL, 0, &outcome),
             0);
    CHECK(WIFEXITED(outcome.status));
    CHECK(WEXITSTATUS(outcome.status) != 0);
    CHECK(strstr(outcome.output, "/no/such/file"));
    CHECK(strstr(outcome.output, "\ncat\n")); /* the error came before, in one stream */
    weft_outcome_free(&outcome);
}

PROCESS_TEST(TestNoExistExecutable)
{
    weft_outcome outcome;
    weft_process p;
    if (!exec_errors_are_known())
        return;
    CHECK_EQ(weft_exec(WEFT_COMMAND(.argv = ARGV("/no-exist-executable")), NULL, 0, &outcome), -ENOENT);
    CHECK_EQ(weft_exec(WEFT_COMMAND(.argv = ARGV("no-exist-executable")), "input", 5, &outcome), -ENOENT);
    CHECK_EQ(weft_process_start(&p, WEFT_COMMAND(.argv = ARGV("/etc/passwd"), .output = WEFT_PIPE)), -EACCES);
    CHECK_EQ(p.output, -1);
    CHECK_EQ(p.pidfd, -1);
    weft_process_close(&p);
    CHECK_EQ(weft_process_start(&p, WEFT_COMMAND(.argv = ARGV("/"))), -EACCES);
    CHECK_EQ(weft_process_start(&p, WEFT_COMMAND(.argv = ARGV("true"), .dir = "/no/such/directory")), -ENOENT);
    CHECK_EQ(weft_process_start(&p, WEFT_COMMAND(.argv = ARGV("/etc/passwd/x"))), -ENOTDIR);
    CHECK_EQ(weft_process_start(&p, WEFT_COMMAND(.argv = ARGV("true"), .output = 1000000)), -EBADF);
}

PROCESS_TEST(TestExitStatus)
{
    CHECK_EQ(exit_status_of(SH("exit 42")), 42);
    CHECK_EQ(exit_status_of(SH("exit 255")), 255);
    CHECK_EQ(exit_status_of(ARGV("true")), 0);
    CHECK_EQ(exit_status_of(ARGV("false")), 1);
}

PROCESS_TEST(TestExitCode)
{
    weft_outcome outcome;
    CHECK_EQ(weft_exec(WEFT_COMMAND(.argv = SH("kill -KILL $$"), .output = WEFT_PIPE), NULL, 0, &outcome), 0);
    CHECK(WIFSIGNALED(outcome.status) && !WIFEXITED(outcome.status));
    CHECK_EQ(WTERMSIG(outcome.status), SIGKILL);
    CHECK(!WCOREDUMP(outcome.status));
    weft_outcome_free(&outcome);
    CHECK_EQ(weft_exec(WEFT_COMMAND(.argv = SH("kill -TERM $$")), NULL, 0, &outcome), 0);
    CHECK(WIFSIGNALED(outcome.status));
    CHECK_EQ(WTERMSIG(outcome.status), SIGTERM);
    weft_outcome_free(&outcome);
}

static void read_line(int fd, const char *expected)
{
    char line[100];
    size_t n = 0;
    do
        CHECK_EQ(weft_read(fd, line + n, 1), 1);
    while (line[n++] != '\n' && n < sizeof line);
    CHECK_EQ(n, strlen(expected));
    CHECK(memcmp(line, expected, n) == 0);
}

static void write_text(int fd, const char *text)
{
    CHECK_EQ(weft_write_all(fd, text, strlen(text)), (ssize_t)strlen(text));
}

PROCESS_TEST(TestPipes)
{
    weft_process p;
    start(&p, WEFT_COMMAND(.argv = SH("while read x; do echo O:$x; echo E:$x >&2; done"), .input = WEFT_PIPE,
                           .output = WEFT_PIPE, .errors = WEFT_PIPE));
    for (int i = 0; i < 3; i++) {
        write_text(p.input, i ? "and again\n" : "pong\n");
        read_line(p.errors, i ? "E:and again\n" : "E:pong\n");
        read_line(p.output, i ? "O:and again\n" : "O:pong\n");
    }
    CHECK_EQ(weft_close_fd(p.input), 0);
    p.input = -1;
    char byte;
    CHECK_EQ(weft_read(p.output, &byte, 1), 0);
    int status = -1;
    CHECK_EQ(weft_process_wait(&p, &status), 0);
    CHECK_EQ(status, 0);
    weft_process_close(&p);
    CHECK(p.pidfd == -1 && p.output == -1 && p.errors == -1);
}

/* The input is closed while somebody still writes to it. */
PROCESS_TEST(TestStdinCloseRace)
{
    for (int i = 0; i < test_scale(50); i++) {
        weft_process p;
        start(&p, WEFT_COMMAND(.argv = ARGV("sleep", "1000"), .input = WEFT_PIPE));
        weft_process_kill(&p, SIGKILL);
        char data[8192] = {0};
        for (ssize_t n = 1; n > 0;) { /* until it is dead */
            n = weft_write(p.input, data, sizeof data);
            CHECK(n > 0 || n == -EPIPE);
        }
        int status;
        CHECK_EQ(weft_process_wait(&p, &status), 0);
        CHECK(WIFSIGNALED(status));
        weft_process_close(&p);
    }
}

/* A program that cannot be run leaves no pipe behind: `end` sees. */
PROCESS_TEST(TestPipeLookPathLeak)
{
    for (int i = 0; i < 10 && exec_errors_are_known(); i++) {
        weft_process p;
        CHECK_EQ(weft_process_start(&p, WEFT_COMMAND(.argv = ARGV("no-exist-executable"), .input = WEFT_PIPE,
                                                     .output = WEFT_PIPE, .errors = WEFT_PIPE)),
                 -ENOENT);
        CHECK(p.input == -1 && p.output == -1 && p.errors == -1);
    }
}

#define LIST_DESCRIPTORS "cd /proc/self/fd && for f in *; do [ $f -gt 2 ] && readlink $f; done; true"

/* Beside 0, 1 and 2 the program has what any other would have, of those that this one has from its own parent. */
PROCESS_TEST(TestExtraFiles)
{
    char expected[4096] = {0};
    FILE *list = popen(LIST_DESCRIPTORS, "r");
    CHECK(list);
    CHECK(fread(expected, 1, sizeof expected, list) < sizeof expected);
    CHECK_EQ(pclose(list), 0);
    int file = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CHECK(file > 2);
    weft_process other;
    start(&other, WEFT_COMMAND(.argv = ARGV("cat"), .input = WEFT_PIPE, .output = WEFT_PIPE, .errors = WEFT_PIPE));
    expect_output(WEFT_COMMAND(.argv = SH(LIST_DESCRIPTORS), .input = file, .output = WEFT_PIPE), NULL, expected);
    CHECK_EQ(weft_process_kill(&other, SIGKILL), 0);
    CHECK_EQ(weft_process_wait(&other, NULL), 0);
    weft_process_close(&other);
    close(file);
}

PROCESS_TEST(TestOutputStderrCapture)
{
    weft_outcome outcome;
    CHECK_EQ(weft_exec(
                 WEFT_COMMAND(.argv = SH("echo out; echo some error >&2; exit 1"), .output = WEFT_PIPE, .errors = WEFT_PIPE),
                 NULL, 0, &outcome),
             0);
    CHECK_EQ(WEXITSTATUS(outcome.status), 1);
    CHECK(strcmp(outcome.output, "out\n") == 0);
    CHECK(strcmp(outcome.errors, "some error\n") == 0);
    weft_outcome_free(&outcome);
}

/* A program that does not read what it is given does no wrong. */
PROCESS_TEST(TestIgnorePipeErrorOnSuccess)
{
    size_t size = (size_t)1 << 20;
    char *text = calloc(size, 1);
    CHECK(text);
    for (int i = 0; i < 5; i++) {
        weft_outcome outcome;
        CHECK_EQ(weft_exec(WEFT_COMMAND(.argv = ARGV("echo", "foo"), .output = WEFT_PIPE), text, size, &outcome), 0);
        CHECK_EQ(outcome.status, 0);
        CHECK(strcmp(outcome.output, "foo\n") == 0);
        weft_outcome_free(&outcome);
    }
    /* Even if one that it leaves behind holds its input open. */
    weft_outcome outcome;
    CHECK_EQ(
        weft_exec(WEFT_COMMAND(.argv = SH("exec 3<&0; sleep 2 <&3 & echo $!"), .output = WEFT_NULL, .errors = WEFT_NULL),
                  text, size, &outcome),
        0);
    CHECK_EQ(outcome.status, 0);
    free(text);
}

PROCESS_TEST(TestContext)
{
    weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background());
    {
        weft_scoped_use(ctx);
        expect_output(WEFT_COMMAND(.argv = ARGV("echo", "in time"), .output = WEFT_PIPE), NULL, "in time\n");
    }
    weft_ctx_free(ctx);
}

static void cancel_later(weft_ctx *ctx)
{
    weft_sleep(20 * WEFT_MS);
    weft_ctx_cancel(ctx);
}

/* What the program had written is kept. */
PROCESS_TEST(TestContextCancel)
{
    static const char *const scripts[] = {"echo $$; exec sleep 1000", /* its output stays open */
                                          "echo $$; exec >/dev/null 2>/dev/null; exec sleep 1000", /* it is closed */
                                          /* it will not go, and leaves a child behind that has its output open */
                                          "echo $$; trap '' TERM INT; sleep 60 & echo $!; wait"};
    for (int i = 0; i < 6; i++) {
        weft_outcome outcome, late;
        weft_ctx *ctx = i < 3 ? weft_ctx_with_cancel(weft_ctx_background())
                              : weft_ctx_with_timeout(weft_ctx_background(), 100 * WEFT_MS);
        weft_waitgroup wg = {0};
        if (i < 3)
            weft_wg_go(&wg, cancel_later, ctx);
        char input[100000] = {0};
        {
            weft_scoped_use(ctx);
            CHECK_EQ(weft_exec(WEFT_COMMAND(.argv = SH((char *)scripts[i % 3]), .output = WEFT_PIPE, .errors = WEFT_PIPE),
                               i % 2 ? input : NULL, sizeof input, &outcome),
                     i < 3 ? -ECANCELED : -ETIMEDOUT);
            CHECK_EQ(weft_exec(WEFT_COMMAND(.argv = ARGV("cat"), .output = WEFT_PIPE), input, sizeof input, &late),
                     i < 3 ? -ECANCELED : -ETIMEDOUT); /* it has ended before this begins */
        }
        pid_t pid = outcome.output ? atoi(outcome.output) : 0;
        if (pid > 0) /* else it was killed before it had said so */
            CHECK_EQ(kill(pid, 0), -1);
        const char *child = outcome.output ? strchr(outcome.output, '\n') : NULL;
        if (child && atoi(child) > 0)
            kill(atoi(child), SIGKILL); /* nobody else will */
        weft_outcome_free(&outcome);
        weft_outcome_free(&late);
        weft_wg_wait(&wg);
        weft_ctx_free(ctx);
    }
}

PROCESS_TEST(TestDedupEnvEcho)
{
    char *envp[] = {"WEFT_A=one", "PATH=/usr/bin:/bin", NULL}, *nothing[] = {NULL};
    expect_output(WEFT_COMMAND(.argv = SH("echo $WEFT_A"), .envp = envp, .output = WEFT_PIPE), NULL, "one\n");
    expect_output(WEFT_COMMAND(.argv = ARGV("env"), .envp = nothing, .output = WEFT_PIPE), NULL, "");
    CHECK_EQ(setenv("WEFT_B", "two", 1), 0);
    expect_output(WEFT_COMMAND(.argv = SH("echo $WEFT_B"), .output = WEFT_PIPE), NULL, "two\n");
    unsetenv("WEFT_B");
}

/* The directory is changed before the program is looked for. */
PROCESS_TEST(TestCommandRelativeName)
{
    expect_output(WEFT_COMMAND(.argv = ARGV("pwd", "-P"), .dir = "/usr", .output = WEFT_PIPE), NULL, "/usr\n");
    expect_output(WEFT_COMMAND(.path = "bin/sh", .argv = SH("pwd -P"), .dir = "/usr", .output = WEFT_PIPE), NULL, "/usr\n");
    expect_output(WEFT_COMMAND(.path = "sh", .argv = ARGV("my name", "-c", "echo $0"), .output = WEFT_PIPE), NULL,
                  "my name\n");
}

static void exec_echo(int number)
{
    char text[20], expected[22];
    snprintf(text, sizeof text, "%d", number);
    snprintf(expected, sizeof expected, "%d\n", number);
    expect_output(WEFT_COMMAND(.argv = ARGV("echo", text), .output = WEFT_PIPE), NULL, expected);
}

PROCESS_TEST(TestConcurrentExec)
{
    weft_waitgroup wg = {0};
    for (int i = 0; i < 20; i++)
        weft_wg_go(&wg, exec_echo, i);
    weft_wg_wait(&wg);
}

/* ---- Go's, of os ---- */

PROCESS_TEST(TestStartProcess)
{
    int ends[2];
    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    weft_process p;
    start(&p, WEFT_COMMAND(.argv = ARGV("pwd"), .dir = "/", .input = WEFT_NULL, .output = ends[1], .errors = ends[1]));
    CHECK(p.input == -1 && p.output == -1 && p.errors == -1);
    CHECK_EQ(weft_close_fd(ends[1]), 0);
    char text[10];
    CHECK_EQ(weft_read_full(ends[0], text, sizeof text), 2);
    CHECK(memcmp(text, "/\n", 2) == 0);
    CHECK_EQ(weft_close_fd(ends[0]), 0);
    CHECK_EQ(weft_process_wait(&p, NULL), 0);
    weft_process_close(&p);
}

PROCESS_TEST(TestKillStartProcess)
{
    weft_process p;
    start(&p, WEFT_COMMAND(.argv = ARGV("sleep", "1000")));
    CHECK_EQ(weft_process_kill(&p, 0), 0);
    CHECK_EQ(weft_process_kill(&p, 1000), -EINVAL);
    CHECK_EQ(weft_process_kill(&p, SIGTERM), 0);
    int status;
    CHECK_EQ(weft_process_wait(&p, &status), 0);
    CHECK(WIFSIGNALED(status));
    CHECK_EQ(WTERMSIG(status), SIGTERM);
    CHECK_EQ(weft_process_kill(&p, SIGTERM), -ESRCH);
    CHECK_EQ(weft_process_kill(&p, 0), -ESRCH);
    weft_process_close(&p);
}

/* ---- waiting ---- */

PROCESS_TEST(context_ends_the_wait_only)
{
    weft_process p;
    start(&p, WEFT_COMMAND(.argv = ARGV("cat"), .input = WEFT_PIPE));
    weft_ctx *ctx = weft_ctx_with_timeout(weft_ctx_background(), 5 * WEFT_MS);
    {
        weft_scoped_use(ctx);
        CHECK_EQ(weft_process_wait(&p, NULL), -ETIMEDOUT);
        CHECK_EQ(weft_process_wait(&p, NULL), -ETIMEDOUT);
    }
    weft_ctx_free(ctx);
    CHECK_EQ(weft_process_kill(&p, 0), 0);
    weft_close_fd(p.input);
    p.input = -1;
    int status = -1;
    CHECK_EQ(weft_process_wait(&p, &status), 0);
    CHECK_EQ(status, 0);
    weft_process_close(&p);
}

static void wait_and_count(weft_process *p, _Atomic int *got, _Atomic int *missed)
{
    int status = -1, result = weft_process_wait(p, &status);
    CHECK(result == 0 || result == -ECHILD);
    if (result == 0)
        CHECK_EQ(WEXITSTATUS(status), 3);
    atomic_fetch_add(result == 0 ? got : missed, 1);
}

PROCESS_TEST(one_of_several_waiters_gets_the_status)
{
    for (int i = 0; i < 5; i++) {
        weft_process p;
        start(&p, WEFT_COMMAND(.argv = SH("read x; exit 3"), .input = WEFT_PIPE));
        _Atomic int got = 0, missed = 0;
        weft_waitgroup wg = {0};
        for (int k = 0; k < 5; k++)
            weft_wg_go(&wg, wait_and_count, &p, &got, &missed);
        weft_sleep(WEFT_MS);
        write_text(p.input, "\n");
        weft_wg_wait(&wg);
        CHECK_EQ(atomic_load(&got), 1);
        CHECK_EQ(atomic_load(&missed), 4);
        CHECK_EQ(weft_process_wait(&p, NULL), -ECHILD);
        weft_process_close(&p);
    }
}

PROCESS_TEST(somebody_else_waits_for_it)
{
    weft_process p;
    start(&p, WEFT_COMMAND(.argv = ARGV("true")));
    CHECK_EQ(waitpid(p.pid, NULL, 0), p.pid);
    CHECK_EQ(weft_process_wait(&p, NULL), -ECHILD);
    CHECK_EQ(weft_process_kill(&p, 0), -ESRCH);
    weft_process_close(&p);

    signal(SIGCHLD, SIG_IGN); /* the kernel waits for them itself */
    start(&p, WEFT_COMMAND(.argv = ARGV("cat"), .input = WEFT_PIPE));
    weft_close_fd(p.input);
    p.input = -1;
    CHECK_EQ(weft_process_wait(&p, NULL), -ECHILD);
    weft_process_close(&p);
    signal(SIGCHLD, SIG_DFL);
}

static void wait_long(weft_process *p, weft_waitgroup *started)
{
    weft_wg_done(started);
    CHECK_EQ(weft_process_wait(p, NULL), 0);
}

/* Waiting takes a goroutine, no thread. */
PROCESS_TEST(waiting_takes_no_thread)
{
    enum { N = 40 };
    static weft_process p[N];
    weft_waitgroup wg = {0}, started = {0};
    weft_wg_add(&started, N);
    for (int i = 0; i < N; i++) {
        start(&p[i], WEFT_COMMAND(.argv = ARGV("cat"), .input = WEFT_PIPE));
        weft_wg_go(&wg, wait_long, &p[i], &started);
    }
    weft_wg_wait(&started);
    weft_sleep(50 * WEFT_MS);
    CHECK(count_threads() < weft_procs() + 25);
    for (int i = 0; i < N; i++) {
        weft_close_fd(p[i].input);
        p[i].input = -1;
    }
    weft_wg_wait(&wg);
    for (int i = 0; i < N; i++)
        weft_process_close(&p[i]);
}

/* ---- what a program begins with ---- */

static uint64_t mask_in_status(const char *text, const char *name)
{
    const char *line = strstr(text, name);
    CHECK(line);
    return strtoull(line + strlen(name), NULL, 16);
}

static uint64_t bit_of(int signo)
{
    return UINT64_C(1) << (signo - 1);
}

PROCESS_TEST(begins_with_the_signals_of_the_program)
{
    signal(SIGPIPE, SIG_IGN); /* as servers do */
    CHECK_EQ(weft_signal_ignore(SIGUSR1), 0);
    weft_chan(int) c = weft_chan_make(int, 1);
    CHECK_EQ(weft_signal_notify(c, SIGUSR2), 0);
    weft_outcome outcome;
    CHECK_EQ(weft_exec(WEFT_COMMAND(.argv = ARGV("cat", "/proc/self/status"), .output = WEFT_PIPE), NULL, 0, &outcome), 0);
    CHECK_EQ(mask_in_status(outcome.output, "SigBlk:"), 0);
    uint64_t ignored = mask_in_status(outcome.output, "SigIgn:");
    CHECK(!(ignored & bit_of(SIGPIPE)));
    CHECK(ignored & bit_of(SIGUSR1));
    CHECK(!(ignored & bit_of(SIGUSR2)));
    CHECK_EQ(mask_in_status(outcome.output, "SigCgt:") & bit_of(SIGUSR2), 0);
    weft_outcome_free(&outcome);
    weft_signal_stop(c);
    weft_chan_free(c);
    CHECK_EQ(weft_signal_reset(SIGUSR1), 0);
    signal(SIGPIPE, SIG_DFL);
}

/* A foreign thread's own mask goes to what it starts. */
TEST(begins_with_the_mask_of_a_thread)
{
    begin();
    sigset_t set, before;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, &set, &before), 0);
    weft_outcome outcome;
    CHECK_EQ(weft_exec(WEFT_COMMAND(.argv = ARGV("cat", "/proc/self/status"), .output = WEFT_PIPE), NULL, 0, &outcome), 0);
    CHECK_EQ(mask_in_status(outcome.output, "SigBlk:"), bit_of(SIGHUP));
    weft_outcome_free(&outcome);
    CHECK_EQ(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
    end();
}

static bool is_nonblocking(int fd)
{
    return fcntl(fd, F_GETFL) & O_NONBLOCK;
}

/* Our ends do not block; the program's do, or it could not cope. */
PROCESS_TEST(pipes_block_on_one_side)
{
    weft_process p;
    start(&p, WEFT_COMMAND(.argv = SH("for f in 0 1 2; do grep flags: /proc/self/fdinfo/$f; done"), .input = WEFT_PIPE,
                           .output = WEFT_PIPE, .errors = WEFT_OUTPUT));
    CHECK(is_nonblocking(p.input) && is_nonblocking(p.output) && p.errors == -1);
    CHECK(fcntl(p.input, F_GETFD) & FD_CLOEXEC && fcntl(p.output, F_GETFD) & FD_CLOEXEC);
    char text[1000];
    ssize_t n = weft_read_full(p.output, text, sizeof text - 1);
    CHECK(n > 0);
    text[n] = '\0';
    int lines = 0;
    for (char *line = text; (line = strstr(line, "flags:")); line++, lines++)
        CHECK(!(strtol(line + strlen("flags:"), NULL, 8) & O_NONBLOCK));
    CHECK_EQ(lines, 3);
    CHECK_EQ(weft_process_wait(&p, NULL), 0);
    weft_process_close(&p);
}

/* Descriptors that have 0, 1 or 2 here, exchanged; and pipes that get those numbers. In a child, which may close its own. */
static void use_low_descriptors(void)
{
    CHECK_EQ(dup2(open("/dev/null", O_RDONLY), 1), 1);
    CHECK_EQ(dup2(open("/dev/zero", O_RDONLY), 2), 2);
    weft_process p;
    start(&p, WEFT_COMMAND(.argv = SH(
                               "a=$(readlink /proc/$$/fd/1); b=$(readlink /proc/$$/fd/2); echo $a $b >/tmp/weft-low.$PPID"),
                           .output = 2, .errors = 1));
    CHECK_EQ(weft_process_wait(&p, NULL), 0);
    weft_process_close(&p);
    char name[40], text[40];
    snprintf(name, sizeof name, "/tmp/weft-low.%d", (int)getpid());
    int file = open(name, O_RDONLY);
    unlink(name);
    ssize_t n = read(file, text, sizeof text - 1);
    CHECK(n > 0);
    text[n] = '\0';
    CHECK(strcmp(text, "/dev/zero /dev/null\n") == 0);
    close(file);
    CHECK_EQ(close(0), 0);
    CHECK_EQ(close(1), 0);
    CHECK_EQ(close(2), 0);
    weft_outcome outcome;
    CHECK_EQ(weft_exec(WEFT_COMMAND(.argv = SH("cat; echo no >&2"), .output = WEFT_PIPE, .errors = WEFT_PIPE), "yes", 3,
                       &outcome),
             0);
    if (outcome.output_size != 3 || outcome.errors_size != 3 || memcmp(outcome.output, "yes", 3) != 0 ||
        memcmp(outcome.errors, "no\n", 3) != 0)
        _exit(9);
    weft_outcome_free(&outcome);
}

TEST(low_descriptors)
{
    CHECK_EQ(weft_shutdown(20 * WEFT_SECOND), 0); /* a child of one thread */
    fflush(NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(60);
        use_low_descriptors();
        _exit(0);
    }
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
}

/* ---- misuse, and too little of something ---- */

/* One more is left each time, until it is enough; without a pidfd it goes too. What `end` sees: nothing is left behind. */
PROCESS_TEST(descriptors_run_out)
{
    struct rlimit before, few;
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    int free_ones[16], n = 0, refused = 0, result;
    while ((free_ones[n] = fcntl(0, F_DUPFD_CLOEXEC, 0)) >= 0 && ++n < 16) {
    }
    for (int i = 0; i < n; i++)
        close(free_ones[i]);
    do {
        few = before;
        few.rlim_cur = (rlim_t)free_ones[refused < n ? refused : n - 1] + (refused < n ? 0 : 100);
        CHECK_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
        weft_outcome outcome;
        result = weft_exec(WEFT_COMMAND(.argv = ARGV("cat"), .output = WEFT_PIPE, .errors = WEFT_PIPE), "text", 4, &outcome);
        CHECK_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
        if (result == 0)
            CHECK(outcome.output_size == 4 && outcome.errors_size == 0 && outcome.status == 0);
        else
            CHECK_EQ(result, -EMFILE);
        weft_outcome_free(&outcome);
        refused += result != 0;
    } while (result != 0);
    CHECK(refused >= 6);
}

PROCESS_TEST(bad_commands)
{
    weft_process p;
    weft_outcome outcome;
    char *none[] = {NULL};
    CHECK_EQ(weft_process_start(&p, &(weft_command){.argv = ARGV("true")}), -EINVAL);
    CHECK_EQ(weft_process_start(&p, WEFT_COMMAND()), -EINVAL);
    CHECK_EQ(weft_process_start(&p, WEFT_COMMAND(.argv = none)), -EINVAL);
    CHECK_EQ(weft_process_start(&p, WEFT_COMMAND(.argv = ARGV("true"), .input = WEFT_OUTPUT)), -EINVAL);
    CHECK_EQ(weft_process_start(&p, WEFT_COMMAND(.argv = ARGV("true"), .output = WEFT_OUTPUT)), -EINVAL);
    CHECK_EQ(weft_process_start(&p, WEFT_COMMAND(.argv = ARGV("true"), .output = WEFT_PIPE, .errors = -7)), -EINVAL);
    CHECK_EQ(weft_exec(&(weft_command){.argv = ARGV("true")}, NULL, 0, &outcome), -EINVAL);
    weft_outcome_free(&outcome);
}

TEST_MAIN()
