/* test_runq.c — a worker's run queue: order, overflow, sharing, turns. */
#include "sched/inject.h"
#include "sched/runq.h"
#include "test.h"
#include <string.h>

enum { MANY = 1000 };
static struct wi_goroutine goroutines[MANY];
static struct wi_runq q;

static void reset(void)
{
    memset(&q, 0, sizeof q);
    while (wi_inject_take(&wi_inject, UINT32_MAX))
        continue;
}

static int number_of(struct wi_goroutine *g)
{
    return g ? (int)(g - goroutines) : -1;
}

/* Picks as a worker does, with the tick that it keeps. */
static int pick_with(bool turn_is_over)
{
    uint32_t tick = wi_load_relaxed(&q.tick) + 1;
    wi_store_relaxed(&q.tick, tick);
    return number_of(wi_runq_pick(&q, tick, turn_is_over));
}

static int pick(void)
{
    return pick_with(false);
}

TEST(woken_ones_come_in_order)
{
    reset();
    for (int i = 0; i < 200; i++)
        wi_ring_push(&q.woken, &goroutines[i]);
    CHECK_EQ(wi_runq_length(&q), 200);
    for (int i = 0; i < 200; i++)
        CHECK_EQ(pick(), i);
    CHECK_EQ(pick(), -1);
    CHECK_EQ(wi_runq_length(&q), 0);
}

TEST(fresh_ones_come_newest_first_but_the_oldest_is_not_forgotten)
{
    reset();
    wi_ring_push(&q.fresh, &goroutines[MANY - 1]);
    wi_ring_push(&q.fresh, &goroutines[0]);
    CHECK_EQ(pick(), 0);
    int picks = 1;
    for (bool seen = false; !seen; picks++) { /* a new one before every pick: the oldest must come all the same */
        CHECK(picks < 200);
        wi_ring_push(&q.fresh, &goroutines[0]);
        seen = pick() == MANY - 1;
    }
    CHECK(picks > 2); /* but not at once */
}

TEST(fresh_and_woken_take_turns)
{
    reset();
    for (int i = 0; i < 100; i++) {
        wi_ring_push(&q.woken, &goroutines[i]);
        wi_ring_push(&q.fresh, &goroutines[100 + i]);
    }
    int woken = 0;
    for (int i = 0; i < 100; i++)
        woken += pick() < 100;
    CHECK(woken >= 40 && woken <= 60);
}

TEST(next_runs_next_and_its_chain_ends_when_others_wait)
{
    reset();
    wi_ring_push(&q.woken, &goroutines[7]);
    int chain = 0;
    for (;; chain++) {
        wi_store_relaxed(&q.next, &goroutines[1]);
        if (pick() == 7)
            break;
        CHECK(chain < 100000000);
    }
    CHECK(chain >= (int)WI_RUNQ_STREAK - 1);           /* the clock is read at that pick at the earliest */
    CHECK(wi_load_relaxed(&q.next) == &goroutines[1]); /* it keeps its place */
    CHECK_EQ(pick(), 1);
    for (int i = 0; i < 100000; i++) { /* with nobody else waiting it goes on */
        wi_store_relaxed(&q.next, &goroutines[1]);
        CHECK_EQ(pick(), 1);
    }
}

TEST(an_overdue_turn_is_given_at_once)
{
    reset();
    for (uint32_t i = 0; i <= WI_RUNQ_STREAK; i++) { /* the first turn after a long time */
        wi_store_relaxed(&q.next, &goroutines[1]);
        pick();
    }
    wi_ring_push(&q.woken, &goroutines[7]);
    wi_store_relaxed(&q.next, &goroutines[1]);
    CHECK_EQ(pick_with(true), 7); /* as the monitor's attention has it */
    CHECK_EQ(pick(), 1);
}

TEST(what_overflows_goes_to_the_inject_queue_in_order)
{
    reset();
    for (int i = 0; i < MANY; i++)
        wi_ring_push(&q.woken, &goroutines[i]);
    CHECK(wi_runq_length(&q) <= WI_RUNQ_SIZE);
    CHECK_EQ(wi_runq_length(&q) + wi_load_relaxed(&wi_inject.count), MANY);
    int expected = 0;
    for (struct wi_goroutine *g = wi_inject_take(&wi_inject, UINT32_MAX); g; g = g->next)
        CHECK_EQ(number_of(g), expected++);
    for (int i; (i = pick()) >= 0;)
        CHECK_EQ(i, expected++);
    CHECK_EQ(expected, MANY);
}

TEST(half_is_shared_rounded_up_and_nothing_is_lost)
{
    for (unsigned woken = 0; woken < 6; woken++)
        for (unsigned fresh = 0; fresh < 6; fresh++) {
            reset();
            for (unsigned i = 0; i < woken; i++)
                wi_ring_push(&q.woken, &goroutines[i]);
            for (unsigned i = 0; i < fresh; i++)
                wi_ring_push(&q.fresh, &goroutines[100 + i]);
            CHECK_EQ(wi_runq_share(&q), (woken + 1) / 2 + (fresh + 1) / 2);
            CHECK_EQ(wi_load_relaxed(&wi_inject.count) + wi_runq_length(&q), woken + fresh);
            struct wi_goroutine *g = wi_inject_take(&wi_inject, 1);
            CHECK_EQ(number_of(g), woken ? 0 : fresh ? 100 : -1); /* the oldest */
        }
}

TEST(inject_takes_what_it_was_given)
{
    reset();
    for (int i = 0; i < MANY; i++)
        wi_inject_push(&wi_inject, &goroutines[i]);
    int expected = 0;
    for (unsigned n = 1; expected < MANY; n++) {
        unsigned got = 0;
        for (struct wi_goroutine *g = wi_inject_take(&wi_inject, n); g; g = g->next, got++)
            CHECK_EQ(number_of(g), expected++);
        CHECK(got == n || expected == MANY);
    }
    CHECK(wi_inject_take(&wi_inject, 1) == NULL);
}

TEST_MAIN()
