/* test_wheel.c — the timing wheel against a slow model, its invariants, and how often it asks to be looked at. */
#include "test.h"
#include "timer/wheel.h"

#define TICK_NS (INT64_C(1) << 14)
#define SECOND INT64_C(1000000000)

enum { IN_WHEEL = 1, IN_HEAP = 2 };

/* ---- the invariants of the struct ---- */

static size_t check_tree(const struct wi_wheel *wheel, struct wi_timer **link, int64_t at_least)
{
    size_t found = 0;
    for (struct wi_timer *timer = *link; timer; link = &timer->next, timer = timer->next, found++) {
        CHECK(timer->link == link);
        CHECK_EQ(timer->where, IN_HEAP);
        CHECK(timer->deadline_ns >= at_least);
        CHECK(timer->deadline_ns < 0 || (uint64_t)timer->deadline_ns / TICK_NS <= wheel->now_tick);
        found += check_tree(wheel, &timer->child, timer->deadline_ns);
    }
    return found;
}

static void check_wheel(struct wi_wheel *wheel)
{
    size_t found = check_tree(wheel, &wheel->heap, INT64_MIN);
    CHECK(!wheel->heap || !wheel->heap->next);
    for (unsigned slot = 0; slot < WI_WHEEL_WORDS * 64; slot++) {
        unsigned word = slot / 64, level = word == 0 ? 0 : word <= 64 ? 1 : word - 63;
        struct wi_timer **link = &wheel->slots[slot];
        CHECK_EQ(wheel->occupied[word] >> slot % 64 & 1, *link != NULL);
        CHECK_EQ(wheel->words[level] >> (level == 1 ? word - 1 : 0) & 1, wheel->occupied[word] != 0);
        for (struct wi_timer *timer = *link; timer; link = &timer->next, timer = timer->next, found++) {
            CHECK(timer->link == link);
            CHECK(timer->where == IN_WHEEL && timer->level == level && timer->slot == slot);
            CHECK((uint64_t)timer->deadline_ns / TICK_NS > wheel->now_tick);
        }
    }
    CHECK_EQ(found, wheel->count);
}

/* ---- against a model ---- */

#define TIMERS 300

static struct wi_wheel wheel;
static struct wi_timer timers[TIMERS];
static bool pending[TIMERS]; /* the model: this and the timers' deadlines */

static int64_t model_earliest(void)
{
    int64_t earliest = INT64_MAX;
    for (int i = 0; i < TIMERS; i++)
        if (pending[i] && timers[i].deadline_ns < earliest)
            earliest = timers[i].deadline_ns;
    return earliest;
}

static size_t model_count(void)
{
    size_t count = 0;
    for (int i = 0; i < TIMERS; i++)
        count += pending[i];
    return count;
}

/* Nanoseconds of every magnitude up to 2^bits. */
static int64_t random_span(unsigned bits)
{
    return (int64_t)(test_random() >> 1 >> (63 - test_random() % (bits + 1)));
}

static int64_t random_deadline(int64_t now_ns)
{
    switch (test_random() % 16) {
    case 0:
        return INT64_MAX;
    case 1:
        return INT64_MAX - random_span(62);
    case 2:
        return now_ns - random_span(40); /* past, perhaps negative */
    case 3:
        return now_ns / TICK_NS * TICK_NS + (int64_t)(test_random() % 4) * TICK_NS; /* the edge of a slot */
    case 4: {
        int64_t edge = INT64_C(1) << (14 + 6 * (test_random() % 7)); /* the edge of a level's slot */
        return now_ns / edge * edge + edge * (int64_t)(1 + test_random() % 64) - (int64_t)(test_random() % 2);
    }
    default: {
        int64_t span = random_span(61);
        return span < INT64_MAX - now_ns ? now_ns + span : INT64_MAX;
    }
    }
}

static void expire_all(int64_t now_ns)
{
    int64_t earliest;
    while ((earliest = model_earliest()) <= now_ns && earliest != INT64_MAX) {
        CHECK(wi_wheel_next_ns(&wheel) <= earliest);
        struct wi_timer *timer = wi_wheel_expire(&wheel, now_ns);
        CHECK(timer >= timers && timer < timers + TIMERS);
        CHECK(pending[timer - timers]);
        CHECK_EQ(timer->deadline_ns, earliest);
        CHECK_EQ(timer->where, 0);
        pending[timer - timers] = false;
    }
    CHECK(wi_wheel_expire(&wheel, now_ns) == NULL);
    int64_t next_ns = wi_wheel_next_ns(&wheel);
    CHECK(next_ns <= earliest);
    CHECK(next_ns > now_ns); /* whoever sleeps until then does not spin */
}

static void run_model(int steps, unsigned time_bits)
{
    memset(&wheel, 0, sizeof wheel);
    memset(timers, 0, sizeof timers);
    memset(pending, 0, sizeof pending);
    int64_t now_ns = random_span(61);
    for (int step = 0; step < steps; step++) {
        int i = (int)(test_random() % TIMERS);
        switch (test_random() % 8) {
        case 0:
            expire_all(now_ns);
            break;
        case 1: { /* jump, or sleep as told */
            int64_t span = random_span(time_bits), next_ns = wi_wheel_next_ns(&wheel);
            if (test_random() % 2 && next_ns < INT64_MAX / 2)
                now_ns = next_ns > now_ns ? next_ns : now_ns;
            else if (span < INT64_MAX / 2 - now_ns)
                now_ns += span;
            break;
        }
        case 2:
        case 3:
            CHECK_EQ(wi_wheel_remove(&wheel, &timers[i]), pending[i]);
            pending[i] = false;
            break;
        default:
            if (!pending[i]) {
                timers[i].deadline_ns = random_deadline(now_ns);
                wi_wheel_add(&wheel, &timers[i], now_ns);
                pending[i] = true;
            }
        }
        CHECK_EQ(wheel.count, model_count());
        CHECK(wi_wheel_next_ns(&wheel) <= model_earliest());
        if (step % 64 == 0)
            check_wheel(&wheel);
    }
    check_wheel(&wheel);
    for (int i = 0; i < TIMERS; i++)
        CHECK_EQ(wi_wheel_remove(&wheel, &timers[i]), pending[i]);
    CHECK_EQ(wheel.count, 0);
    CHECK_EQ(wi_wheel_next_ns(&wheel), INT64_MAX);
}

TEST(agrees_with_the_model)
{
    const unsigned time_bits[] = {18, 22, 30, 40, 58}; /* from microseconds to years a step */
    for (int round = 0; round < 10; round++)
        run_model(test_scale(20000), time_bits[round % 5]);
}

/* ---- deadlines at the far end ---- */

TEST(the_furthest_are_parked_and_never_fire_early)
{
    memset(&wheel, 0, sizeof wheel);
    memset(timers, 0, sizeof timers);
    int64_t now_ns = 1000 * SECOND;
    for (int i = 0; i < 20; i++) {
        timers[i].deadline_ns = i % 2 ? INT64_MAX : INT64_MAX - 1 - i * SECOND;
        wi_wheel_add(&wheel, &timers[i], now_ns);
        CHECK_EQ(timers[i].where, IN_WHEEL);
        CHECK_EQ(timers[i].level, WI_WHEEL_LEVELS - 1);
    }
    int looks = 0;
    for (int64_t next_ns; (next_ns = wi_wheel_next_ns(&wheel)) < INT64_MAX - 60 * SECOND; looks++) {
        CHECK(next_ns > now_ns);
        now_ns = next_ns;
        CHECK(wi_wheel_expire(&wheel, now_ns) == NULL);
        CHECK_EQ(wheel.count, 20);
        check_wheel(&wheel);
    }
    CHECK(looks < 200); /* 292 years, a look every two and a few at the end */
    for (int i = 18; i >= 0; i -= 2) {
        CHECK(wi_wheel_expire(&wheel, timers[i].deadline_ns - 1) == NULL);
        CHECK(wi_wheel_expire(&wheel, timers[i].deadline_ns) == &timers[i]);
    }
    CHECK(wi_wheel_expire(&wheel, INT64_MAX) == NULL); /* those at INT64_MAX never fire */
    CHECK_EQ(wheel.count, 10);
    CHECK_EQ(wi_wheel_next_ns(&wheel), INT64_MAX);
    for (int i = 1; i < 20; i += 2)
        CHECK(wi_wheel_remove(&wheel, &timers[i]));
    CHECK_EQ(wheel.count, 0);
}

/* ---- sleeping ---- */

/* How often a thread that sleeps until wi_wheel_next_ns wakes before a timer fires. */
static int wakes_until_fired(int64_t now_ns, struct wi_timer **fired)
{
    for (int wakes = 0;; wakes++) {
        *fired = wi_wheel_expire(&wheel, now_ns);
        if (*fired)
            return wakes;
        int64_t next_ns = wi_wheel_next_ns(&wheel);
        CHECK(next_ns > now_ns);
        now_ns = next_ns;
    }
}

TEST(a_lone_timer_wakes_once)
{
    const int64_t hour = 3600 * SECOND;
    const int64_t spans[] = {1,      1000,        TICK_NS - 1, TICK_NS,   5 * SECOND / 1000,
                             SECOND, 60 * SECOND, hour,        24 * hour, 800 * 24 * hour};
    for (size_t i = 0; i < sizeof spans / sizeof *spans; i++) {
        memset(&wheel, 0, sizeof wheel);
        struct wi_timer timer = {0}, *fired;
        int64_t now_ns = random_span(60);
        timer.deadline_ns = now_ns + spans[i];
        wi_wheel_add(&wheel, &timer, now_ns);
        CHECK_EQ(wi_wheel_next_ns(&wheel), timer.deadline_ns);
        CHECK_EQ(wakes_until_fired(now_ns, &fired), 1);
        CHECK(fired == &timer);
    }
}

TEST(a_crowd_an_hour_away_wakes_a_few_times)
{
    memset(&wheel, 0, sizeof wheel);
    memset(timers, 0, sizeof timers);
    int64_t now_ns = random_span(60);
    for (int i = 0; i < TIMERS; i++) {
        timers[i].deadline_ns = now_ns + 3600 * SECOND + (int64_t)(test_random() % 1000);
        wi_wheel_add(&wheel, &timers[i], now_ns);
    }
    struct wi_timer *fired;
    CHECK(wakes_until_fired(now_ns, &fired) <= WI_WHEEL_LEVELS + 1);
    CHECK_EQ(wheel.count, TIMERS - 1);
}

/* A far timer and a long time without any call must not spoil the next near one. */
TEST(a_near_timer_after_a_long_silence)
{
    memset(&wheel, 0, sizeof wheel);
    struct wi_timer far = {.deadline_ns = 3600 * SECOND}, near = {.deadline_ns = 1800 * SECOND + 5000}, *fired;
    wi_wheel_add(&wheel, &far, 0);
    wi_wheel_add(&wheel, &near, 1800 * SECOND);
    CHECK_EQ(wi_wheel_next_ns(&wheel), near.deadline_ns);
    CHECK_EQ(wakes_until_fired(1800 * SECOND, &fired), 1);
    CHECK(fired == &near);
    CHECK_EQ(wi_wheel_next_ns(&wheel), far.deadline_ns);
    check_wheel(&wheel);
}

/* ---- many ---- */

/* Timeouts as servers have them: started for seconds, stopped in any order long before. All of them stay in the wheel, where
   start and stop are list operations of a fixed length; none reaches the heap. */
TEST(a_million_timeouts_started_and_stopped)
{
    int n = test_scale(1000000);
    memset(&wheel, 0, sizeof wheel);
    struct wi_timer *many = calloc((size_t)n, sizeof *many);
    int *order = malloc((size_t)n * sizeof *order);
    CHECK(many && order);
    int64_t now_ns = random_span(60);
    for (int i = 0; i < n; i++) {
        order[i] = i;
        many[i].deadline_ns = now_ns + 5 * SECOND + random_span(42);
        wi_wheel_add(&wheel, &many[i], now_ns);
        now_ns += 1000;
        CHECK_EQ(many[i].where, IN_WHEEL);
    }
    CHECK_EQ(wheel.count, n);
    CHECK(wheel.heap == NULL);
    check_wheel(&wheel);
    for (int i = n - 1; i > 0; i--) {
        int j = (int)(test_random() % (uint64_t)(i + 1)), swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
    for (int i = 0; i < n; i++) {
        CHECK(wi_wheel_remove(&wheel, &many[order[i]]));
        CHECK(!wi_wheel_remove(&wheel, &many[order[i]]));
    }
    CHECK_EQ(wheel.count, 0);
    check_wheel(&wheel);
    free(order);
    free(many);
}

/* Many that are due in one slot come out in order. */
TEST(a_slot_full_comes_out_in_order)
{
    int n = test_scale(100000);
    memset(&wheel, 0, sizeof wheel);
    struct wi_timer *many = calloc((size_t)n, sizeof *many);
    CHECK(many);
    int64_t now_ns = random_span(60), slot_ns = (now_ns / TICK_NS + 10) * TICK_NS;
    for (int i = 0; i < n; i++) {
        many[i].deadline_ns = slot_ns + (int64_t)(test_random() % TICK_NS);
        wi_wheel_add(&wheel, &many[i], now_ns);
    }
    CHECK(wi_wheel_expire(&wheel, slot_ns - 1) == NULL);
    int64_t last_ns = 0;
    int fired = 0;
    for (struct wi_timer *timer; (timer = wi_wheel_expire(&wheel, slot_ns + TICK_NS)); fired++) {
        CHECK(timer->deadline_ns >= last_ns);
        last_ns = timer->deadline_ns;
    }
    CHECK_EQ(fired, n);
    CHECK_EQ(wheel.count, 0);
    free(many);
}

TEST_MAIN()
