/* contexts.c — scopes that outlast the runtime that they were entered in: over weft_shutdown, and in a forked child. */
#include "../workload.h"
#include <pthread.h>
#include <semaphore.h>
#include <sys/wait.h>
#include <weft.h>

#include "../test.h"

static void check_ended_and_free(weft_ctx *ctx)
{
    CHECK_EQ(weft_ctx_err(ctx), -ECANCELED);
    weft_ctx_free(ctx);
}

/* A context outlives weft_shutdown, and so may the scope that a thread is in. */
TEST(ShutdownInScope)
{
    weft_ctx *ctx = weft_ctx_with_timeout(weft_ctx_background(), 60 * WEFT_SECOND),
             *outer = weft_ctx_with_cancel(weft_ctx_background());
    weft_scoped_ctx(outer);
    weft_scoped_use(outer);
    for (int i = 0; i < 3; i++) {
        weft_scoped_use(ctx);
        weft_go(nap_ms, (int64_t)1);
        CHECK_EQ(weft_shutdown(10 * WEFT_SECOND), 0);
        weft_scoped_shield();
        if (i == 2)
            CHECK_EQ(weft_shutdown(10 * WEFT_SECOND), 0);
    }
    weft_ctx_cancel(ctx);
    check_ended_and_free(ctx);
}

struct stay {
    weft_ctx *ctx;
    sem_t in, out;
};

static void *stay_in_scope(void *argument)
{
    struct stay *stay = argument;
    weft_scoped_use(stay->ctx);
    sem_post(&stay->in);
    while (sem_wait(&stay->out) != 0)
        ;
    CHECK(weft_ctx_current() == weft_ctx_background());
    return NULL;
}

static void receive_one(weft_chan(int) channel)
{
    CHECK(!weft_recv(channel, NULL));
}

/* The context ends while a thread is in it that the runtime of old knew: its records are gone, many enough of them for the
   next runtime's to lie elsewhere. */
TEST(CancelAfterShutdownInScope)
{
    struct stay stay = {.ctx = weft_ctx_with_cancel(weft_ctx_background())};
    weft_chan(int) channel = weft_chan_make(int, 0);
    pthread_t thread;
    sem_init(&stay.in, 0, 0);
    sem_init(&stay.out, 0, 0);
    for (int i = 0; i < 20000; i++)
        weft_go(receive_one, channel);
    CHECK_EQ(pthread_create(&thread, NULL, stay_in_scope, &stay), 0);
    while (sem_wait(&stay.in) != 0)
        ;
    weft_close(channel);
    weft_chan_free(channel);
    CHECK_EQ(weft_shutdown(60 * WEFT_SECOND), 0);
    weft_ctx_cancel(stay.ctx);
    sem_post(&stay.out);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    check_ended_and_free(stay.ctx);
}

/* A forked child leaves its parent's scopes without a trace. */
TEST(ForkInScope)
{
    weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background());
    int status = 0;
    pid_t child;
    {
        weft_scoped_ctx(weft_ctx_ref(ctx));
        weft_scoped_use(ctx);
        weft_scoped_shield();
        CHECK_EQ(weft_sleep(WEFT_MS), 0);
        child = fork();
        CHECK(child >= 0);
        if (child != 0)
            CHECK_EQ(waitpid(child, &status, 0), child);
        else
            CHECK(weft_ctx_current() == weft_ctx_background());
    }
    if (child == 0) {
        CHECK_EQ(weft_sleep(WEFT_MS), 0);
        _exit(0);
    }
    CHECK_EQ(status, 0);
    check_ended_and_free(ctx);
}

/* What had a deadline when the runtime was shut down does not end by it, but otherwise works; new ones do. */
TEST(DeadlineOverShutdown)
{
    weft_ctx *old = weft_ctx_with_timeout(weft_ctx_background(), WEFT_MS);
    CHECK_EQ(weft_shutdown(10 * WEFT_SECOND), 0);
    bool ended = weft_ctx_err(old) != 0;
    weft_ctx *below = weft_ctx_with_timeout(old, 2 * WEFT_MS),
             *fresh = weft_ctx_with_timeout(weft_ctx_background(), 2 * WEFT_MS);
    CHECK_EQ(weft_select([0] = weft_on_done(fresh), [1] = weft_on_timeout(10 * WEFT_SECOND)), 0);
    CHECK_EQ(weft_ctx_err(old), ended ? -ETIMEDOUT : 0);
    weft_ctx_cancel(old);
    CHECK_EQ(weft_ctx_err(below), ended ? -ETIMEDOUT : -ECANCELED);
    weft_ctx_free(old);
    weft_ctx_free(below);
    weft_ctx_free(fresh);
}

/* A context that only its deadline kept goes when the runtime does. */
TEST(ForgottenDeadlinesGoWithTheRuntime)
{
    enum { CONTEXTS = 20000 };
    long before = 0;
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < CONTEXTS; i++)
            weft_ctx_free(weft_ctx_with_timeout(weft_ctx_background(), 600 * WEFT_SECOND));
        CHECK_EQ(weft_shutdown(10 * WEFT_SECOND), 0);
        if (round == 0)
            before = resident_kib();
    }
    if (!TEST_TSAN && !TEST_ASAN)
        CHECK(resident_kib() < before + CONTEXTS * 2 * 64 / 1024); /* less than a line each of what three rounds took */
}

TEST_MAIN()
