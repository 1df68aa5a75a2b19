/* signal.c — signals as values on channels. CamelCase names are Go's, of os/signal. */
#include "../workload.h"
#include <pthread.h>
#include <weft.h>

#include "../descriptors.h"
#include "../test.h"

typedef weft_chan(int) int_chan;

/* ---- who takes the signals ---- */

#if TEST_TSAN
/* TSan keeps a signal back until its thread calls something that it intercepts; weft's waits are none of that. So there the
   main thread takes no signals, but one that sleeps. */
static void *take_signals(void *unused)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_UNBLOCK, &all, NULL);
    for (;;)
        nap_ms(1);
    return unused;
}

static __attribute__((constructor)) void start_taking(void)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, take_signals, NULL), 0);
    pthread_detach(thread);
}
#endif

static void kill_me(int signo)
{
    CHECK_EQ(kill(getpid(), signo), 0);
}

/* ---- what is on a channel ---- */

static int_chan channel_of(size_t capacity)
{
    int_chan c = weft_chan_make(int, capacity);
    CHECK(c);
    return c;
}

static void expect(int_chan c, int signo)
{
    enum { GOT, LATE };
    int got = 0;
    CHECK_EQ(weft_select([GOT] = weft_on_recv(c, &got), [LATE] = weft_on_timeout(20 * WEFT_SECOND)), GOT);
    CHECK_EQ(got, signo);
}

/* What was sent before has been caught when a later signal has gone round. */
static void quiesce(void)
{
    int_chan marker = channel_of(1);
    CHECK_EQ(weft_signal_notify(marker, SIGIO), 0);
    kill_me(SIGIO);
    expect(marker, SIGIO);
    weft_signal_stop(marker);
    weft_chan_free(marker);
}

static void expect_none(int_chan c)
{
    quiesce();
    int got;
    int error = weft_try_recv(c, &got);
    if (error == 0)
        CHECK_EQ(got, 0);
    CHECK_EQ(error, -EAGAIN);
}

static bool handled_by_default(int signo)
{
    struct sigaction now;
    CHECK_EQ(sigaction(signo, NULL, &now), 0);
    return !(now.sa_flags & SA_SIGINFO) && now.sa_handler == SIG_DFL;
}

static bool is_ignored(int signo)
{
    struct sigaction now;
    CHECK_EQ(sigaction(signo, NULL, &now), 0);
    return !(now.sa_flags & SA_SIGINFO) && now.sa_handler == SIG_IGN;
}

/* ---- Go's ---- */

TEST_BOTH(TestSignal)
{
    int_chan one = channel_of(1), all = channel_of(10);
    CHECK_EQ(weft_signal_notify(one, SIGHUP), 0);
    kill_me(SIGHUP);
    expect(one, SIGHUP);

    CHECK_EQ(weft_signal_notify(all), 0);
    kill_me(SIGWINCH);
    expect(all, SIGWINCH);
    kill_me(SIGHUP);
    expect(all, SIGHUP);
    expect(one, SIGHUP);
    kill_me(SIGTERM);
    expect(all, SIGTERM);
    expect_none(one);

    weft_signal_stop(all);
    CHECK(!handled_by_default(SIGHUP));
    CHECK(handled_by_default(SIGWINCH) && handled_by_default(SIGTERM) && handled_by_default(SIGRTMAX));
    weft_signal_stop(one);
    CHECK(handled_by_default(SIGHUP));
    weft_chan_free(one);
    weft_chan_free(all);
}

static void receive_all(int_chan c, _Atomic uint64_t *received)
{
    for (int signo; weft_recv(c, &signo);) {
        CHECK_EQ(signo, SIGUSR1);
        atomic_fetch_add(received, 1);
    }
}

static void wait_for_some(_Atomic uint64_t *received)
{
    int64_t end_ns = weft_now() + 20 * WEFT_SECOND;
    while (atomic_load(received) == 0 && weft_now() < end_ns)
        weft_sleep(100 * WEFT_US);
    CHECK(atomic_load(received) > 0);
}

TEST_BOTH(TestStress)
{
    _Atomic uint64_t received = 0;
    signal(SIGUSR1, SIG_IGN); /* what comes after the stop */
    int_chan c = channel_of(1);
    CHECK_EQ(weft_signal_notify(c, SIGUSR1), 0);
    weft_waitgroup wg = {0};
    weft_wg_go(&wg, receive_all, c, &received);
    for (int i = 0; i < test_scale(20000); i++) {
        kill_me(SIGUSR1);
        if (i % 16 == 0)
            weft_yield();
    }
    wait_for_some(&received);
    weft_signal_stop(c);
    CHECK_EQ(weft_close(c), 0);
    weft_wg_wait(&wg);
    signal(SIGUSR1, SIG_DFL);
    weft_chan_free(c);
}

static void cancel(bool ignores)
{
    int_chan winch = channel_of(1), hup = channel_of(1);
    CHECK_EQ(weft_signal_notify(winch, SIGWINCH), 0);
    CHECK_EQ(weft_signal_notify(hup, SIGHUP), 0);
    kill_me(SIGWINCH);
    expect(winch, SIGWINCH);
    kill_me(SIGHUP);
    expect(hup, SIGHUP);

    CHECK_EQ(ignores ? weft_signal_ignore(SIGWINCH, SIGHUP) : weft_signal_reset(SIGWINCH, SIGHUP), 0);
    kill_me(SIGWINCH);
    expect_none(winch);
    CHECK_EQ(is_ignored(SIGHUP), ignores);
    if (ignores) { /* else it would end us */
        kill_me(SIGHUP);
        expect_none(hup);
    }
    weft_signal_stop(winch); /* nothing is left to stop */
    CHECK_EQ(is_ignored(SIGWINCH), ignores);
    CHECK_EQ(weft_signal_reset(SIGWINCH, SIGHUP), 0);
    CHECK(handled_by_default(SIGWINCH) && handled_by_default(SIGHUP));
    weft_chan_free(winch);
    weft_chan_free(hup);
}

TEST_BOTH(TestReset)
{
    cancel(false);
}

TEST_BOTH(TestIgnore)
{
    cancel(true);
}

TEST_BOTH(TestStop)
{
    static const int numbers[] = {SIGWINCH, SIGHUP, SIGUSR1};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        int signo = numbers[i];
        int_chan c = channel_of(1);
        CHECK_EQ(weft_signal_notify(c, signo), 0);
        kill_me(signo);
        expect(c, signo);
        weft_signal_stop(c);
        CHECK(handled_by_default(signo));
        if (signo == SIGWINCH) {
            kill_me(signo);
            expect_none(c);
        }
        weft_chan_free(c);
    }
}

TEST_BOTH(TestNohup)
{
    signal(SIGHUP, SIG_IGN);
    int_chan c = channel_of(1);
    CHECK_EQ(weft_signal_notify(c, SIGHUP), 0); /* also what was ignored */
    kill_me(SIGHUP);
    expect(c, SIGHUP);
    weft_signal_stop(c);
    CHECK(is_ignored(SIGHUP));
    kill_me(SIGHUP);
    expect_none(c);
    weft_chan_free(c);
    signal(SIGHUP, SIG_DFL);
}

static _Atomic uint64_t handled; /* by the program's own handler */

static void own_handler(int signo)
{
    (void)signo;
    atomic_fetch_add(&handled, 1);
}

static void own_other_handler(int signo)
{
    (void)signo;
    atomic_fetch_add(&handled, 1000);
}

static void kill_and_tell(weft_waitgroup *wg)
{
    kill_me(SIGINT);
    weft_wg_done(wg);
}

/* A signal at the same time as the stop is either on the channel or with what was there before. */
TEST_BOTH(TestAtomicStop)
{
    signal(SIGINT, own_handler);
    atomic_store(&handled, 0);
    uint64_t received = 0, sent = 0;
    for (int i = 0; i < test_scale(3000); i++) {
        int_chan c = channel_of(1);
        CHECK_EQ(weft_signal_notify(c, SIGINT), 0);
        weft_waitgroup wg = {0};
        weft_wg_add(&wg, 1);
        weft_go(kill_and_tell, &wg);
        for (uint64_t n = test_random() % 64; n; n--)
            weft_now();
        if (test_random() % 4 == 0)
            weft_yield();
        weft_signal_stop(c);
        weft_wg_wait(&wg);
        sent++;
        int64_t end_ns = weft_now() + 20 * WEFT_SECOND;
        for (int signo; received + atomic_load(&handled) < sent;) {
            if (weft_try_recv(c, &signo) == 0)
                received += signo == SIGINT;
            else
                weft_sleep(10 * WEFT_US);
            CHECK(weft_now() < end_ns);
        }
        CHECK_EQ(received + atomic_load(&handled), sent);
        CHECK_EQ(weft_try_recv(c, NULL), -EAGAIN);
        weft_chan_free(c);
    }
    signal(SIGINT, SIG_DFL);
}

static void tell_time(_Atomic bool *stop, int_chan c)
{
    while (!atomic_load(stop)) {
        int64_t before_ns = weft_now();
        CHECK(weft_now() >= before_ns);
        CHECK_EQ(weft_send(c, 1), 0);
        weft_recv(c, NULL);
        weft_yield();
    }
}

/* Signals do not disturb what they interrupt, be it weft itself. */
TEST_BOTH(TestTime)
{
    _Atomic bool stop = false;
    signal(SIGUSR1, SIG_IGN); /* what comes after the stop */
    int_chan c = channel_of(1), busy = channel_of(4);
    CHECK_EQ(weft_signal_notify(c, SIGUSR1), 0);
    _Atomic uint64_t received = 0;
    weft_waitgroup wg = {0};
    weft_wg_go(&wg, receive_all, c, &received);
    for (int i = 0; i < 3; i++)
        weft_wg_go(&wg, tell_time, &stop, busy);
    for (int i = 0; i < test_scale(5000); i++) {
        kill_me(SIGUSR1);
        CHECK_EQ(weft_send(busy, i), 0);
        weft_recv(busy, NULL);
    }
    wait_for_some(&received);
    atomic_store(&stop, true);
    weft_signal_stop(c);
    CHECK_EQ(weft_close(c), 0);
    weft_wg_wait(&wg);
    signal(SIGUSR1, SIG_DFL);
    weft_chan_free(c);
    weft_chan_free(busy);
}

/* ---- channels and signals ---- */

TEST_BOTH(full_channel_loses)
{
    int_chan narrow = channel_of(1), wide = channel_of(8), none = channel_of(0);
    CHECK_EQ(weft_signal_notify(narrow, SIGUSR1, SIGUSR2), 0);
    CHECK_EQ(weft_signal_notify(wide, SIGUSR1, SIGUSR2), 0);
    CHECK_EQ(weft_signal_notify(none, SIGUSR1, SIGUSR2), 0);
    kill_me(SIGUSR2);
    expect(wide, SIGUSR2);
    kill_me(SIGUSR1);
    expect(wide, SIGUSR1);
    quiesce();
    expect(narrow, SIGUSR2);
    expect_none(narrow);
    expect_none(none);
    kill_me(SIGUSR1);
    expect(narrow, SIGUSR1);
    expect(wide, SIGUSR1);
    CHECK_EQ(weft_signal_reset(), 0);
    weft_chan_free(narrow);
    weft_chan_free(wide);
    weft_chan_free(none);
}

TEST_BOTH(several_channels_and_signals)
{
    int_chan a = channel_of(4), b = channel_of(4);
    CHECK_EQ(weft_signal_notify(a, SIGUSR1), 0);
    CHECK_EQ(weft_signal_notify(a, SIGUSR2, SIGUSR2), 0); /* adds to what there is */
    CHECK_EQ(weft_signal_notify(b, SIGUSR2), 0);
    CHECK_EQ(weft_signal_notify(b, SIGUSR2), 0); /* not twice */
    kill_me(SIGUSR1);
    expect(a, SIGUSR1);
    kill_me(SIGUSR2);
    expect(a, SIGUSR2);
    expect(b, SIGUSR2);
    expect_none(a);
    expect_none(b);
    weft_signal_stop(a);
    weft_signal_stop(a);
    CHECK(handled_by_default(SIGUSR1) && !handled_by_default(SIGUSR2));
    kill_me(SIGUSR2);
    expect(b, SIGUSR2);
    expect_none(a);
    CHECK_EQ(weft_signal_reset(SIGUSR2), 0);
    CHECK(handled_by_default(SIGUSR2));
    weft_chan_free(a);
    weft_chan_free(b);
}

TEST_BOTH(closed_channel_loses)
{
    int_chan closed = channel_of(1), open = channel_of(1);
    CHECK_EQ(weft_signal_notify(closed, SIGUSR1), 0);
    CHECK_EQ(weft_close(closed), 0);
    CHECK_EQ(weft_signal_notify(open, SIGUSR1), 0);
    kill_me(SIGUSR1);
    expect(open, SIGUSR1);
    CHECK(!weft_recv(closed, NULL));
    weft_signal_stop(closed);
    weft_signal_stop(open);
    weft_chan_free(closed);
    weft_chan_free(open);
}

TEST_BOTH(subscription_keeps_the_channel)
{
    int_chan c = channel_of(1), other = channel_of(1);
    CHECK_EQ(weft_signal_notify(c, SIGUSR1), 0);
    CHECK_EQ(weft_signal_notify(other, SIGUSR1), 0);
    weft_chan_free(c); /* only the subscription has it now */
    int_chan next = channel_of(1);
    CHECK(next != c);
    kill_me(SIGUSR1);
    expect(other, SIGUSR1);
    expect_none(next);
    CHECK_EQ(weft_signal_reset(SIGUSR1), 0);
    weft_chan_free(other);
    weft_chan_free(next);
}

/* All at once, but for TSan, which keeps back one of a number and loses the others (see take_signals). */
static void expect_many(int_chan c, int signo, int n)
{
    for (int i = 0; i < n; i++) {
        kill_me(signo);
        if (TEST_TSAN)
            expect(c, signo);
    }
    for (int i = 0; i < n && !TEST_TSAN; i++)
        expect(c, signo);
}

/* The kernel keeps each of these, and so does weft. */
TEST_BOTH(realtime_signals_are_counted)
{
    enum { MANY = 50 };
    int_chan c = channel_of(MANY);
    CHECK_EQ(weft_signal_notify(c, SIGRTMIN + 1, SIGRTMIN + 2), 0);
    expect_many(c, SIGRTMIN + 1, MANY / 2);
    expect_many(c, SIGRTMIN + 2, MANY);
    expect_none(c);
    weft_signal_stop(c);
    weft_chan_free(c);
}

static void wait_for_signal(int_chan c, int expected, weft_waitgroup *waits)
{
    weft_wg_done(waits);
    int signo = 0;
    CHECK(weft_recv(c, &signo));
    CHECK_EQ(signo, expected);
}

static void wait_in_select(int_chan c, int expected, weft_waitgroup *waits)
{
    weft_wg_done(waits);
    expect(c, expected);
}

/* Goroutines that have waited for long, in every way: the poller itself readies them. */
TEST_BOTH(wakes_who_waits)
{
    enum { N = 20 };
    int_chan a[N];
    weft_waitgroup wg = {0}, waits = {0};
    weft_wg_add(&waits, N);
    for (int i = 0; i < N; i++) {
        a[i] = channel_of(i % 2);
        CHECK_EQ(weft_signal_notify(a[i], SIGUSR1), 0);
        if (i % 4 < 2)
            weft_wg_go(&wg, wait_for_signal, a[i], SIGUSR1, &waits);
        else
            weft_wg_go(&wg, wait_in_select, a[i], SIGUSR1, &waits);
    }
    weft_wg_wait(&waits);
    nap_ms(20);
    weft_sleep(20 * WEFT_MS);
    kill_me(SIGUSR1);
    weft_wg_wait(&wg);
    CHECK_EQ(weft_signal_reset(), 0);
    for (int i = 0; i < N; i++)
        weft_chan_free(a[i]);
}

static void *signal_later(void *unused)
{
    nap_ms(150);
    kill_me(SIGUSR2);
    return unused;
}

/* Nothing else goes on in the program while it waits. */
TEST_BOTH(wakes_an_idle_program)
{
    int_chan c = channel_of(1);
    CHECK_EQ(weft_signal_notify(c, SIGUSR2), 0);
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, signal_later, NULL), 0);
    int signo = 0;
    CHECK(weft_recv(c, &signo));
    CHECK_EQ(signo, SIGUSR2);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    weft_signal_stop(c);
    weft_chan_free(c);
}

static void hog(_Atomic bool *stop)
{
    while (!atomic_load(stop))
        burn_ns(WEFT_MS);
}

TEST_BOTH(arrives_while_all_compute)
{
    _Atomic bool stop = false;
    weft_waitgroup wg = {0};
    for (int i = 0; i < weft_procs() + 1; i++)
        weft_wg_go(&wg, hog, &stop);
    int_chan c = channel_of(1);
    CHECK_EQ(weft_signal_notify(c, SIGUSR2), 0);
    weft_sleep(10 * WEFT_MS);
    for (int i = 0; i < 3; i++) {
        kill_me(SIGUSR2);
        expect(c, SIGUSR2);
    }
    atomic_store(&stop, true);
    weft_wg_wait(&wg);
    weft_signal_stop(c);
    weft_chan_free(c);
}

TEST_BOTH(context_ends_the_wait)
{
    int_chan c = channel_of(1);
    CHECK_EQ(weft_signal_notify(c, SIGUSR1), 0);
    weft_ctx *ctx = weft_ctx_with_timeout(weft_ctx_background(), 2 * WEFT_MS);
    {
        weft_scoped_use(ctx);
        CHECK_EQ(weft_recv_status(c, NULL), -ETIMEDOUT);
    }
    weft_ctx_free(ctx);
    kill_me(SIGUSR1);
    expect(c, SIGUSR1);
    weft_signal_stop(c);
    weft_chan_free(c);
}

/* ---- what was there before ---- */

TEST_BOTH(own_handler_is_put_back)
{
    signal(SIGUSR1, own_handler);
    atomic_store(&handled, 0);
    int_chan a = channel_of(1), b = channel_of(1);
    CHECK_EQ(weft_signal_notify(a, SIGUSR1), 0);
    CHECK_EQ(weft_signal_notify(b, SIGUSR1), 0);
    kill_me(SIGUSR1);
    expect(a, SIGUSR1);
    expect(b, SIGUSR1);
    CHECK_EQ(atomic_load(&handled), 0);
    weft_signal_stop(a);
    kill_me(SIGUSR1);
    expect(b, SIGUSR1);
    weft_signal_stop(b);
    for (int round = 0; round < 3; round++) {
        atomic_store(&handled, 0);
        kill_me(SIGUSR1);
        CHECK(HOLDS_WITHIN(20000, atomic_load(&handled) == 1));
        if (round == 0)
            CHECK_EQ(weft_signal_ignore(SIGUSR1), 0);
        else
            CHECK_EQ(weft_signal_notify(a, SIGUSR1), 0);
        if (round == 1)
            CHECK_EQ(weft_signal_ignore(SIGUSR1), 0); /* what was there before both */
        kill_me(SIGUSR1);
        if (round == 2)
            expect(a, SIGUSR1);
        expect_none(a);
        CHECK_EQ(atomic_load(&handled), 1);
        CHECK_EQ(weft_signal_reset(SIGUSR1), 0);
    }
    CHECK_EQ(weft_signal_reset(), 0);
    kill_me(SIGUSR1);
    CHECK(HOLDS_WITHIN(20000, atomic_load(&handled) == 2));
    signal(SIGUSR1, SIG_DFL);
    weft_chan_free(a);
    weft_chan_free(b);
}

TEST_BOTH(later_handler_stays)
{
    int_chan c = channel_of(1);
    CHECK_EQ(weft_signal_notify(c, SIGUSR1, SIGUSR2), 0);
    atomic_store(&handled, 0);
    signal(SIGUSR1, own_handler);
    kill_me(SIGUSR1);
    CHECK(HOLDS_WITHIN(20000, atomic_load(&handled) == 1));
    weft_signal_stop(c);
    CHECK(handled_by_default(SIGUSR2));
    kill_me(SIGUSR1);
    CHECK(HOLDS_WITHIN(20000, atomic_load(&handled) == 2));
    expect_none(c);

    CHECK_EQ(weft_signal_ignore(SIGUSR1), 0);
    signal(SIGUSR1, own_handler);
    CHECK_EQ(weft_signal_reset(SIGUSR1), 0);
    kill_me(SIGUSR1);
    CHECK(HOLDS_WITHIN(20000, atomic_load(&handled) == 3));
    signal(SIGUSR1, SIG_DFL);
    weft_chan_free(c);
}

static struct sigaction replaced;

/* A handler that knows its manners calls the one that it replaced. */
static void chaining_handler(int signo, siginfo_t *info, void *context)
{
    atomic_fetch_add(&handled, 1);
    if (replaced.sa_flags & SA_SIGINFO)
        replaced.sa_sigaction(signo, info, context);
}

TEST_BOTH(chained_handler)
{
    signal(SIGUSR1, own_other_handler);
    int_chan c = channel_of(1);
    CHECK_EQ(weft_signal_notify(c, SIGUSR1), 0);
    atomic_store(&handled, 0);
    struct sigaction chaining = {.sa_sigaction = chaining_handler, .sa_flags = SA_SIGINFO | SA_RESTART};
    CHECK_EQ(sigaction(SIGUSR1, &chaining, &replaced), 0);
    kill_me(SIGUSR1);
    expect(c, SIGUSR1);
    CHECK_EQ(atomic_load(&handled), 1);
    weft_signal_stop(c);
    kill_me(SIGUSR1); /* goes on to what weft replaced */
    CHECK(HOLDS_WITHIN(20000, atomic_load(&handled) == 1002));
    CHECK_EQ(sigaction(SIGUSR1, &replaced, NULL), 0); /* weft's, which nobody wants any more */
    kill_me(SIGUSR1);
    CHECK(HOLDS_WITHIN(20000, atomic_load(&handled) == 2002));
    expect_none(c);
    CHECK_EQ(weft_signal_notify(c, SIGUSR1), 0);
    kill_me(SIGUSR1);
    expect(c, SIGUSR1);
    weft_signal_stop(c);
    kill_me(SIGUSR1);
    CHECK(HOLDS_WITHIN(20000, atomic_load(&handled) == 3002));
    signal(SIGUSR1, SIG_DFL);
    weft_chan_free(c);
}

/* ---- misuse ---- */

TEST_BOTH(refused_signals)
{
    static const int refused[] = {0, -1, SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGFPE, SIGILL, 32, 33, 65, 1000};
    int_chan c = channel_of(1);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        CHECK_EQ(weft_signal_notify(c, SIGUSR1, refused[i]), -EINVAL);
        CHECK_EQ(weft_signal_ignore(refused[i], SIGUSR1), -EINVAL);
        CHECK_EQ(weft_signal_reset(refused[i]), -EINVAL);
    }
    CHECK(handled_by_default(SIGUSR1));
    int_chan none = NULL;
    weft_signal_stop(none);
    weft_signal_stop(c);
    CHECK_EQ(weft_signal_reset(SIGUSR1), 0);
    weft_chan_free(c);
}

/* ---- what it leaves alone ---- */

TEST(counts_as_no_goroutine_and_no_leak)
{
    CHECK(HOLDS_WITHIN(20000, weft_count() == 0));
    int_chan c = channel_of(1);
    CHECK_EQ(weft_signal_notify(c), 0);
    CHECK_EQ(weft_count(), 0);
    CHECK_EQ(weft_leaks(STDERR_FILENO), 0);
    int descriptors = open_descriptors();
    for (int i = 0; i < 100; i++) {
        int_chan other = channel_of(1);
        CHECK_EQ(weft_signal_notify(other, SIGUSR1), 0);
        kill_me(SIGUSR1);
        expect(other, SIGUSR1);
        weft_signal_stop(other);
        weft_chan_free(other);
    }
    CHECK_EQ(open_descriptors(), descriptors);
    weft_signal_stop(c);
    weft_chan_free(c);
}

/* Ends every subscription, and the next runtime is as new. */
TEST(shutdown_puts_back)
{
    signal(SIGUSR2, own_handler);
    for (int i = 0; i < 3; i++) {
        int_chan c = channel_of(1);
        CHECK_EQ(weft_signal_notify(c, SIGUSR1, SIGUSR2), 0);
        CHECK_EQ(weft_signal_ignore(SIGHUP), 0);
        kill_me(SIGUSR1);
        expect(c, SIGUSR1);
        CHECK_EQ(weft_shutdown(20 * WEFT_SECOND), 0);
        CHECK(handled_by_default(SIGUSR1) && handled_by_default(SIGHUP));
        atomic_store(&handled, 0);
        kill_me(SIGUSR2);
        CHECK(HOLDS_WITHIN(20000, atomic_load(&handled) == 1));
        CHECK_EQ(weft_try_recv(c, NULL), -EAGAIN);
        weft_chan_free(c);
    }
    signal(SIGUSR2, SIG_DFL);
}

TEST_MAIN()
