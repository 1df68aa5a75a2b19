/* timer.c — misuse of tickers, and what a timer means for the deadlock report: one that will fire is hope, one that was
   stopped or never comes is not. */
#include "death.h"

typedef weft_chan(int64_t) time_chan;

static void ticker_of_nothing(void)
{
    weft_ticker_make(0);
}

static void ticker_of_less(void)
{
    weft_ticker_make(-WEFT_SECOND);
}

static void ticker_reset_to_nothing(void)
{
    weft_ticker_reset(weft_ticker_make(WEFT_SECOND), 0);
}

TEST(NewTickerLtZeroDuration)
{
    death_expect_abort(ticker_of_nothing, NULL, "a ticker needs a period of more than 0 ns, not 0");
    death_expect_abort(ticker_of_less, NULL, "a ticker needs a period of more than 0 ns, not -1000000000");
}

TEST(TickerResetLtZeroDuration)
{
    death_expect_abort(ticker_reset_to_nothing, NULL, "a ticker needs a period of more than 0 ns, not 0");
}

static void free_later(weft_timer *timer)
{
    weft_sleep(WEFT_SECOND);
    weft_timer_free(timer);
}

static void free_while_received(void)
{
    weft_timer *timer = weft_timer_make(WEFT_MINUTE);
    weft_go(free_later, timer);
    weft_recv(weft_timer_chan(timer), NULL);
}

TEST(FreeOfATimerThatIsReceivedFrom)
{
    death_expect_abort(free_while_received, NULL, "free of a channel that goroutines wait on");
}

static void receive_from_stopped_ticker(void)
{
    weft_ticker *ticker = weft_ticker_make(WEFT_MS);
    CHECK(weft_recv(weft_ticker_chan(ticker), NULL));
    weft_ticker_stop(ticker);
    weft_recv(weft_ticker_chan(ticker), NULL);
}

static void receive_from_stopped_timer(void)
{
    weft_timer *timer = weft_timer_make(WEFT_MINUTE);
    CHECK(weft_timer_stop(timer));
    weft_recv(weft_timer_chan(timer), NULL);
}

static void receive_what_never_comes(void)
{
    weft_recv(weft_after(INT64_MAX), NULL);
}

static void expect_deadlock(void (*fn)(void))
{
    death_expect_exit(fn, NULL, 2);
    death_expect_text("all goroutines are asleep - deadlock!");
}

TEST(StoppedTimersAreNoHope)
{
    expect_deadlock(receive_from_stopped_ticker);
    expect_deadlock(receive_from_stopped_timer);
    expect_deadlock(receive_what_never_comes);
}

static weft_chan(int) channel;

static void send_one(void)
{
    weft_send(channel, 1);
}

static void a_timer_ends_the_wait(void)
{
    channel = weft_chan_make(int, 0);
    weft_timer_free(weft_after_func(WEFT_SECOND, send_one));
    CHECK(weft_recv(channel, NULL));
}

static void a_tick_ends_the_wait(void)
{
    CHECK(weft_recv(weft_ticker_chan(weft_ticker_make(WEFT_SECOND)), NULL));
}

TEST(PendingTimersAreHope)
{
    death_expect_exit(a_timer_ends_the_wait, NULL, 0);
    death_expect_exit(a_tick_ends_the_wait, NULL, 0);
}

TEST_MAIN()
