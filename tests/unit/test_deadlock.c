/* The deadlock report: no alarm while a thread is about to wait. It is parked for the record before its wait is
   published, and may be kept from running in between for long; meanwhile its wait may have ended. */
#include "test.h"

#include "sched/enter.h"
#include <weft.h>

static bool publish_late(struct wi_thread *t, struct wi_goroutine *g, void *argument)
{
    (void)t, (void)g, (void)argument;
    struct timespec time = {.tv_nsec = 600000000};
    nanosleep(&time, NULL);
    return false; /* the wait has ended */
}

TEST(ThreadsThatAreHeldUpAreNotDead)
{
    static const struct wi_wait_kind kind = {.text = "test"};
    weft_yield(); /* weft runs */
    struct wi_thread *t = wi_enter_blocking_or_die();
    wi_wait_on(t, wi_waiting(t), &kind, NULL);
    wi_park(t, publish_late, NULL);
    wi_leave(wi_self());
    CHECK_EQ(weft_count(), 0);
}

TEST_MAIN()
