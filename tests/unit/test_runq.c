/* test_runq.c — a worker's run queue: order, overflow, sharing, turns; the inject queue, also without memory. */
#include "sched/inject.h"
#include "sched/runq.h"
#include "test.h"
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum { MANY = 1000 };
static struct wi_goroutine goroutines[MANY];
static struct wi_goroutine *taken[MANY];
static struct wi_runq q;

static void reset(void)
{
    memset(&q, 0, sizeof q);
    while (wi_inject_take(&wi_inject, taken, MANY))
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
    unsigned n = wi_inject_take(&wi_inject, taken, MANY);
    for (unsigned i = 0; i < n; i++)
        CHECK_EQ(number_of(taken[i]), expected++);
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
            unsigned n = wi_inject_take(&wi_inject, taken, 1);
            CHECK_EQ(n == 0 ? -1 : number_of(taken[0]), woken ? 0 : fresh ? 100 : -1); /* the oldest */
        }
}

/* Pushes one by one, some by some, takes more and more: what comes out is what went in, in order. */
static void push_and_take(unsigned piece)
{
    for (unsigned i = 0, n; i < MANY; i += n) {
        n = piece < MANY - i ? piece : MANY - i;
        struct wi_goroutine *some[MANY];
        for (unsigned k = 0; k < n; k++)
            some[k] = &goroutines[i + k];
        wi_inject_push_all(&wi_inject, some, n);
        CHECK_EQ(wi_load_relaxed(&wi_inject.count), i + n);
    }
    int expected = 0;
    for (unsigned n = 1; expected < MANY; n++) {
        unsigned got = wi_inject_take(&wi_inject, taken, n);
        for (unsigned i = 0; i < got; i++)
            CHECK_EQ(number_of(taken[i]), expected++);
        CHECK(got == n || expected == MANY);
    }
    CHECK_EQ(wi_inject_take(&wi_inject, taken, 1), 0);
    CHECK_EQ(wi_load_relaxed(&wi_inject.count), 0);
}

TEST(inject_takes_what_it_was_given)
{
    reset();
    for (unsigned piece = 1; piece <= MANY; piece = piece * 3 / 2 + 1)
        push_and_take(piece);
}

static void without_memory(void)
{
    struct rlimit none = {0, RLIM_INFINITY};
    CHECK_EQ(getrlimit(RLIMIT_AS, &none), 0);
    none.rlim_cur = 4096;
    CHECK_EQ(setrlimit(RLIMIT_AS, &none), 0);
    if (wi_os_reserve(1 << 20, 0))
        _exit(0);     /* a user-mode emulator has no limits */
    push_and_take(7); /* all are linked */
    none.rlim_cur = none.rlim_max;
    CHECK_EQ(setrlimit(RLIMIT_AS, &none), 0);
    push_and_take(7);
    _exit(0);
}

/* There is one chunk of segments, all in use: the segments are full, the next are linked, and so are those after them,
   although there is memory again, until all that were linked are gone. */
static void memory_in_between(void)
{
    struct rlimit limit;
    unsigned pushed = 0, expected = 0;
    CHECK_EQ(getrlimit(RLIMIT_AS, &limit), 0);
    struct rlimit none = {4096, limit.rlim_max};
    wi_inject_push(&wi_inject, &goroutines[pushed++]);
    CHECK_EQ(setrlimit(RLIMIT_AS, &none), 0);
    while (!wi_inject.linked && pushed < 1000000)
        wi_inject_push(&wi_inject, &goroutines[pushed++ % MANY]);
    CHECK_EQ(setrlimit(RLIMIT_AS, &limit), 0);
    for (int i = 0; i < MANY / 2; i++) /* a record can be linked once only */
        wi_inject_push(&wi_inject, &goroutines[pushed++ % MANY]);
    while (expected < pushed) {
        CHECK_EQ(wi_inject_take(&wi_inject, taken, 1), 1);
        CHECK_EQ(number_of(taken[0]), expected++ % MANY);
    }
    CHECK(!wi_inject.linked);
    push_and_take(100);
    _exit(0);
}

TEST(inject_works_without_memory)
{
    static void (*const bodies[])(void) = {without_memory, memory_in_between};
    for (unsigned i = 0; i < 2; i++) {
        reset();
        wi_injects_forget();
        pid_t child = fork();
        if (child == 0)
            bodies[i]();
        int status;
        CHECK_EQ(waitpid(child, &status, 0), child);
        CHECK_EQ(status, 0);
    }
}

TEST_MAIN()
