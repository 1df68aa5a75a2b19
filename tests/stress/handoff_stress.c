/* handoff_stress.c — workers taken away and taken back all the time: goroutines alternate between blocking their thread in
   the kernel for times around the monitor's patience, computing, and every kind of call into weft. Whoever comes back
   without its worker acts like a foreign thread, so every operation is tried in that state too. All counts are conserved. */
#include "../workload.h"
#include <pthread.h>
#include <weft.h>

#include "../test.h"

enum { STATIONS = 4 };

struct line {
    weft_chan(uint64_t) stations[STATIONS];
    weft_mutex mutex;
    uint64_t plain_count; /* [mutex] */
    _Atomic uint64_t atomic_count;
    _Atomic uint64_t sent, received;
    _Atomic uint64_t spawned, ran;
    weft_waitgroup spawns;
};

/* Away from weft: blocked for 0 to 3 ms, or computing for up to half a millisecond, seldom for longer than a slice. */
static void be_away(uint64_t *seed)
{
    uint64_t dice = test_random_from(seed) % 16;
    if (dice < 8)
        nap_ns((int64_t)(test_random_from(seed) % 3000) * WEFT_US);
    else if (dice < 15)
        burn_ns((int64_t)(test_random_from(seed) % 500) * WEFT_US);
    else
        burn_ns(12 * WEFT_MS);
}

static void be_counted(struct line *line)
{
    atomic_fetch_add(&line->ran, 1);
}

static void send_one(struct line *line, uint64_t *seed, bool block)
{
    uint64_t value = test_random_from(seed) % 1000 + 1;
    weft_chan(uint64_t) c = line->stations[test_random_from(seed) % STATIONS];
    int status = block ? weft_send(c, value) : weft_try_send(c, value);
    if (status == 0)
        atomic_fetch_add(&line->sent, value);
    else
        CHECK_EQ(status, -EAGAIN);
}

static void select_one(struct line *line, uint64_t *seed)
{
    enum { A, B, SEND, LATE };
    uint64_t a = 0, b = 0, value = test_random_from(seed) % 1000 + 1;
    switch (weft_select([A] = weft_on_recv(line->stations[0], &a), [B] = weft_on_recv(line->stations[1], &b),
                        [SEND] = weft_on_send(line->stations[2], value),
                        [LATE] = weft_on_timeout((int64_t)(test_random_from(seed) % 500) * WEFT_US))) {
    case A:
    case B:
        CHECK((a == 0) != (b == 0));
        atomic_fetch_add(&line->received, a + b);
        break;
    case SEND:
        atomic_fetch_add(&line->sent, value);
        break;
    case LATE:
        break;
    default:
        CHECK(false);
    }
}

static void use_weft(struct line *line, uint64_t *seed)
{
    switch (test_random_from(seed) % 8) {
    case 0:
        weft_yield();
        break;
    case 1:
        send_one(line, seed, true);
        break;
    case 2:
        send_one(line, seed, false);
        break;
    case 3:
        select_one(line, seed);
        break;
    case 4:
        weft_lock(&line->mutex);
        line->plain_count++;
        if (test_random_from(seed) % 8 == 0)
            nap_ns(200000); /* the holder loses its worker */
        weft_unlock(&line->mutex);
        atomic_fetch_add(&line->atomic_count, 1);
        break;
    case 5:
        atomic_fetch_add(&line->spawned, 1);
        weft_wg_go(&line->spawns, be_counted, line);
        break;
    case 6:
        CHECK_EQ(weft_sleep((int64_t)(test_random_from(seed) % 300) * WEFT_US), 0);
        break;
    default: {
        uint64_t value = 0;
        if (weft_try_recv(line->stations[test_random_from(seed) % STATIONS], &value) == 0)
            atomic_fetch_add(&line->received, value);
        break;
    }
    }
}

static void alternate(struct line *line, int rounds, uint64_t seed)
{
    uint64_t id = weft_id();
    for (int i = 0; i < rounds; i++) {
        be_away(&seed);
        int calls = (int)(test_random_from(&seed) % 6);
        for (int k = 0; k < calls; k++)
            use_weft(line, &seed);
        CHECK(weft_id() == id);
    }
}

static void alternate_pinned(struct line *line, int rounds, uint64_t seed)
{
    weft_pin();
    pid_t thread = thread_id();
    for (int i = 0; i < rounds; i++) {
        be_away(&seed);
        use_weft(line, &seed);
        CHECK_EQ(thread_id(), thread);
    }
    weft_unpin();
}

static void drain(struct line *line, weft_chan(uint64_t) c)
{
    for (uint64_t value; weft_recv(c, &value);)
        atomic_fetch_add(&line->received, value);
}

struct visitor {
    struct line *line;
    int rounds;
    uint64_t seed;
};

static void *alternate_on_a_thread(void *argument)
{
    struct visitor *visitor = argument;
    alternate(visitor->line, visitor->rounds, visitor->seed);
    return NULL;
}

TEST_BOTH(WorkersComeAndGo)
{
    struct line line = {.plain_count = 0};
    int rounds = test_scale(120);
    weft_waitgroup actors = {0}, drains = {0};
    for (int i = 0; i < STATIONS; i++) {
        line.stations[i] = weft_chan_make(uint64_t, (size_t)i);
        weft_wg_go(&drains, drain, &line, line.stations[i]);
    }
    for (int i = 0; i < 12; i++)
        weft_wg_go(&actors, alternate, &line, rounds, test_random());
    weft_wg_go(&actors, alternate_pinned, &line, rounds / 2 + 1, test_random());
    struct visitor visitor = {&line, rounds / 2 + 1, test_random()};
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, alternate_on_a_thread, &visitor), 0);
    weft_wg_wait(&actors);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    weft_wg_wait(&line.spawns);
    for (int i = 0; i < STATIONS; i++)
        CHECK_EQ(weft_close(line.stations[i]), 0);
    weft_wg_wait(&drains);
    CHECK(line.plain_count == atomic_load(&line.atomic_count));
    CHECK(atomic_load(&line.spawned) == atomic_load(&line.ran));
    CHECK(atomic_load(&line.sent) == atomic_load(&line.received));
    for (int i = 0; i < STATIONS; i++)
        weft_chan_free(line.stations[i]);
}

static void nap_and_yield(_Atomic bool *stop, uint64_t seed)
{
    while (!atomic_load(stop)) {
        nap_ns((int64_t)(test_random_from(&seed) % 2500) * WEFT_US);
        weft_yield();
    }
}

static void count_and_yield(_Atomic bool *stop, _Atomic uint64_t *count)
{
    while (!atomic_load(stop)) {
        atomic_fetch_add(count, 1);
        weft_yield();
    }
}

/* The naps must not hold up the one that only counts: it goes on between and during all of them. */
TEST_BOTH(CounterBesideNaps)
{
    _Atomic bool stop = false;
    _Atomic uint64_t count = 0;
    weft_waitgroup wg = {0};
    for (int i = 0; i < 8; i++)
        weft_wg_go(&wg, nap_and_yield, &stop, test_random());
    weft_wg_go(&wg, count_and_yield, &stop, &count);
    int windows = test_shorten(1, 10);
    for (int i = 0; i < windows; i++) {
        weft_sleep(test_shorten(10, 50) * WEFT_MS);
        uint64_t before = atomic_load(&count);
        CHECK(HOLDS_WITHIN(20000, atomic_load(&count) > before + 1000));
    }
    atomic_store(&stop, true);
    weft_wg_wait(&wg);
}

/* Threads made for blocked goroutines do not pile up: a spare one is kept, the others end or are used again. */
TEST(ThreadsDoNotPileUp)
{
    weft_waitgroup wg = {0};
    _Atomic bool stop = false;
    for (int round = 0; round < test_scale(10); round++) {
        atomic_store(&stop, false);
        for (int i = 0; i < 30; i++)
            weft_wg_go(&wg, nap_and_yield, &stop, test_random());
        nap_ms(test_shorten(15, 60));
        atomic_store(&stop, true);
        weft_wg_wait(&wg);
    }
    CHECK(HOLDS_WITHIN(20000, count_threads() < 3 * weft_procs() + 40));
}

TEST_MAIN()
