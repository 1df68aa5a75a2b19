/* signal.c — signal sources and the end of the program: no deadlock is reported while a signal could still wake somebody;
   what is fatal. */
#include "death.h"
#include <pthread.h>

typedef weft_chan(int) int_chan;

static int_chan subscribed(void)
{
    int_chan c = weft_chan_make(int, 1);
    CHECK(c);
    CHECK_EQ(weft_signal_notify(c, SIGUSR1), 0);
    return c;
}

/* ---- a process that signals its parent, for nobody else is to wake it ---- */

static void signal_parent_later(void)
{
    pid_t parent = getpid(), child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(DEATH_LIMIT_SECONDS);
        nap_ms(600); /* longer than the detector takes for its two readings */
        while (kill(parent, SIGUSR1) == 0 && getppid() == parent)
            nap_ms(50); /* TSan keeps signals back from a thread that waits in weft: the alarm then ends all this */
        _exit(0);
    }
}

static void expect_signal(int_chan c)
{
    int signo = 0;
    CHECK(weft_recv(c, &signo));
    CHECK_EQ(signo, SIGUSR1);
}

static void main_waits_for_signal(void)
{
    signal_parent_later();
    expect_signal(subscribed());
}

static int app_waits_for_signal(void)
{
    expect_signal(subscribed());
    return 0;
}

static void run_waits_for_signal(void)
{
    signal_parent_later();
    weft_run(app_waits_for_signal);
}

static void main_waits_for_group(void)
{
    signal_parent_later();
    weft_waitgroup wg = {0};
    weft_wg_go(&wg, expect_signal, subscribed());
    weft_wg_wait(&wg);
}

static void expect_no_alarm(void (*fn)(void))
{
    if (TEST_TSAN)
        return;
    death_expect_exit(fn, NULL, 0);
    if (strstr(death.text, "deadlock"))
        death_unexpected("no alarm");
}

TEST(NoDeadlockWhileASignalMayCome)
{
    expect_no_alarm(main_waits_for_signal);
    expect_no_alarm(run_waits_for_signal);
    expect_no_alarm(main_waits_for_group);
}

static void nobody_is_subscribed_any_more(void)
{
    int_chan c = subscribed();
    weft_signal_stop(c);
    weft_recv(c, NULL);
}

static void all_are_reset(void)
{
    int_chan c = subscribed();
    CHECK_EQ(weft_signal_reset(), 0);
    weft_recv(c, NULL);
}

static void ignored_signals_wake_nobody(void)
{
    int_chan c = subscribed();
    CHECK_EQ(weft_signal_ignore(SIGUSR1, SIGUSR2), 0);
    weft_recv(c, NULL);
}

TEST(DeadlockWhenNoSignalCanCome)
{
    void (*const cases[])(void) = {nobody_is_subscribed_any_more, all_are_reset, ignored_signals_wake_nobody};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        death_expect_exit(cases[i], NULL, 2);
        death_expect_text("all goroutines are asleep - deadlock!");
    }
}

/* ---- the signal's own effect ---- */

static void put_back_and_die(void)
{
    int_chan c = subscribed();
    kill(getpid(), SIGUSR1);
    expect_signal(c);
    weft_signal_stop(c);
    kill(getpid(), SIGUSR1);
    nap_ms(20000);
}

static void reset_and_die(void)
{
    int_chan c = subscribed();
    CHECK_EQ(weft_signal_ignore(SIGUSR1), 0);
    kill(getpid(), SIGUSR1);
    CHECK_EQ(weft_signal_notify(c, SIGUSR1), 0);
    CHECK_EQ(weft_signal_reset(SIGUSR1), 0);
    kill(getpid(), SIGUSR1);
    nap_ms(20000);
}

static void shut_down_and_die(void)
{
    subscribed();
    CHECK_EQ(weft_shutdown(20 * WEFT_SECOND), 0);
    kill(getpid(), SIGUSR1);
    nap_ms(20000);
}

TEST(DiesOfWhatIsPutBack)
{
    void (*const cases[])(void) = {put_back_and_die, reset_and_die, shut_down_and_die};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        death_run(cases[i], NULL);
        if (!WIFSIGNALED(death.status) || WTERMSIG(death.status) != SIGUSR1)
            death_unexpected("SIGUSR1");
    }
}

/* Go's TestAtomicStop: who stops while the signal comes either receives it or dies of it. */
static void *interrupt(void *unused)
{
    nap_ns((int64_t)(test_random() % 200000));
    kill(getpid(), SIGUSR1);
    return unused;
}

static void stop_at_the_same_time(void)
{
    int_chan c = subscribed();
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, interrupt, NULL), 0);
    nap_ns((int64_t)(test_random() % 200000));
    weft_signal_stop(c);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    nap_ms(1);
    int signo;
    if (weft_try_recv(c, &signo) == 0)
        return;
    nap_ms(10000);
    _exit(3); /* it was lost */
}

TEST(TestAtomicStop)
{
    if (TEST_TSAN) /* keeps a signal back, and drops it when its handler has gone meanwhile */
        return;
    int received = 0, died = 0;
    for (int i = 0; i < test_scale(300); i++) {
        test_random(); /* the children do not go on in our stream */
        death_run(stop_at_the_same_time, NULL);
        if (WIFEXITED(death.status) && WEXITSTATUS(death.status) == 0)
            received++;
        else if (WIFSIGNALED(death.status) && WTERMSIG(death.status) == SIGUSR1)
            died++;
        else
            death_unexpected("SIGUSR1, or that it was received");
    }
    printf("%d received, %d died\n", received, died);
}

/* ---- misuse ---- */

static void notify_null(void)
{
    int_chan none = NULL;
    weft_signal_notify(none, SIGUSR1);
}

TEST(NotifyOfANullChannel)
{
    death_expect_abort(notify_null, NULL, "weft_signal_notify with a NULL channel");
}

static void free_twice(void)
{
    int_chan c = subscribed();
    weft_go(expect_signal, c);
    nap_ms(50);
    weft_chan_free(c);
    weft_signal_stop(c); /* the last reference, while somebody waits */
}

TEST(StopFreesAChannelThatIsWaitedFor)
{
    death_expect_abort(free_twice, NULL, "free of a channel that goroutines wait on");
}

TEST_MAIN()
