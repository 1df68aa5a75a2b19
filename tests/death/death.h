/* death.h — runs a function in a forked child and looks at how it ended and at what it wrote to standard error. The parent
   never calls weft, so every child starts its own runtime. Include it first. */
#ifndef DEATH_H
#define DEATH_H

#include "../workload.h"
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <weft.h>

#include "../test.h"

enum { DEATH_LIMIT_SECONDS = 30 };

struct death {
    int status;       /* as waitpid gives it */
    size_t length;    /* of text */
    char text[65536]; /* standard error, cut */
};

static struct death death; /* the last one */

#if TEST_TSAN
#include <pthread.h>

/* TSan starts its own thread with the first of a program and again in a forked child: with two of them in the child, weft
   would never be sure of a deadlock. So the parent has a first thread before it forks. */
static void *death_no_op(void *argument)
{
    return argument;
}

static __attribute__((constructor)) void death_start_tsan(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, death_no_op, NULL) == 0)
        pthread_join(thread, NULL);
}
#endif

/* Prints what the child left behind, and fails the test. */
static TEST_UNUSED_ __attribute__((noreturn)) void death_unexpected(const char *expected)
{
    fprintf(stderr, "expected %s; the child's wait status was 0x%x and it wrote:\n%s\n", expected, (unsigned)death.status,
            death.text);
    abort();
}

/* environment is "NAME=value", which stays valid, or NULL. A child that returns from fn ends with status 0. */
static TEST_UNUSED_ void death_run(void (*fn)(void), char *environment)
{
    int ends[2];
    CHECK_EQ(pipe(ends), 0);
    fflush(NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        alarm(DEATH_LIMIT_SECONDS);
        if (environment)
            putenv(environment);
        fn();
        (TEST_TSAN ? exit : _exit)(0); /* TSan reports threads that ended and that only exit would join */
    }
    close(ends[1]);
    death.length = 0;
    for (;;) {
        char rest[4096];
        bool room = death.length < sizeof death.text - 1;
        ssize_t n = room ? read(ends[0], death.text + death.length, sizeof death.text - 1 - death.length)
                         : read(ends[0], rest, sizeof rest);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        death.length += room ? (size_t)n : 0;
    }
    death.text[death.length] = '\0';
    close(ends[0]);
    while (waitpid(child, &death.status, 0) < 0)
        CHECK_EQ(errno, EINTR);
}

static TEST_UNUSED_ void death_expect_text(const char *text)
{
    if (!strstr(death.text, text))
        death_unexpected(text);
}

/* fn must abort with the message. */
static TEST_UNUSED_ void death_expect_abort(void (*fn)(void), char *environment, const char *message)
{
    death_run(fn, environment);
    if (!WIFSIGNALED(death.status) || WTERMSIG(death.status) != SIGABRT)
        death_unexpected("SIGABRT");
    death_expect_text("weft: fatal: ");
    death_expect_text(message);
}

static TEST_UNUSED_ void death_expect_exit(void (*fn)(void), char *environment, int status)
{
    death_run(fn, environment);
    if (!WIFEXITED(death.status) || WEXITSTATUS(death.status) != status)
        death_unexpected(status ? "an exit with a status" : "an exit with status 0");
}

#endif
