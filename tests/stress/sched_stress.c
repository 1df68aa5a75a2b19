/* sched_stress.c — everything at once, at random: trees of goroutines and foreign threads that yield, sleep, lock, send,
   receive, wait, block in the kernel and compute. What is checked is conservation: everybody who started ended, the plain
   counter under the mutex equals the atomic one, no token or message was lost or doubled, and weft counts nobody left. */
#include "../workload.h"
#include <pthread.h>
#include <weft.h>

#include "../test.h"

enum { TOKENS = 8, FOREIGN_LIMIT = 8 };

struct world {
    weft_waitgroup everybody;
    _Atomic int64_t started, ended;
    weft_mutex mutex;
    int64_t plain_count; /* [mutex] */
    _Atomic int64_t atomic_count;
    weft_chan(int) bank; /* holds TOKENS numbers, 1 and up; who takes one puts it back */
    weft_chan(int64_t) meet;
    _Atomic int64_t sent, received; /* sums of what went through meet */
    _Atomic int foreign;            /* threads now */
};

struct actor {
    struct world *world;
    uint64_t seed;
    int depth, actions;
};

static void act(struct world *world, uint64_t seed, int depth, int actions);

static void *act_on_a_thread(void *argument)
{
    struct actor actor = *(struct actor *)argument;
    free(argument);
    struct world *world = actor.world;
    CHECK_EQ(weft_id(), 0);
    act(world, actor.seed, actor.depth, actor.actions);
    atomic_fetch_sub(&world->foreign, 1);
    weft_wg_done(&world->everybody);
    return NULL;
}

static void act_as_goroutine(struct actor *actor)
{
    struct world *world = actor->world;
    CHECK(weft_id() > 0);
    act(world, actor->seed, actor->depth, actor->actions);
    weft_wg_done(&world->everybody);
}

static void spawn_goroutine(struct world *world, uint64_t *seed, int depth, int actions)
{
    weft_wg_add(&world->everybody, 1);
    weft_go_with(act_as_goroutine, (struct actor){world, test_random_from(seed), depth, actions});
}

static void spawn_thread(struct world *world, uint64_t *seed, int depth, int actions)
{
    if (atomic_fetch_add(&world->foreign, 1) >= FOREIGN_LIMIT) {
        atomic_fetch_sub(&world->foreign, 1);
        return;
    }
    struct actor *actor = malloc(sizeof *actor);
    CHECK(actor);
    *actor = (struct actor){world, test_random_from(seed), depth, actions};
    weft_wg_add(&world->everybody, 1);
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, act_on_a_thread, actor), 0);
    CHECK_EQ(pthread_detach(thread), 0);
}

static void count_under_lock(struct world *world, uint64_t *seed)
{
    if (test_random_from(seed) % 4 == 0) {
        if (!weft_try_lock(&world->mutex))
            return;
    } else {
        weft_lock(&world->mutex);
    }
    world->plain_count++;
    if (test_random_from(seed) % 16 == 0)
        weft_yield();
    weft_unlock(&world->mutex);
    atomic_fetch_add(&world->atomic_count, 1);
}

static void borrow_token(struct world *world, uint64_t *seed)
{
    int token = 0;
    CHECK(weft_recv(world->bank, &token));
    CHECK(token >= 1 && token <= TOKENS);
    if (test_random_from(seed) % 2)
        weft_yield();
    CHECK_EQ(weft_send(world->bank, token), 0);
}

/* Meets whoever comes, in either direction, or goes on after a while. */
static void meet(struct world *world, uint64_t *seed)
{
    enum { SENT, RECEIVED, LATE };
    int64_t mine = (int64_t)(test_random_from(seed) % 1000) + 1, got = 0;
    bool ok = false;
    switch (weft_select([SENT] = weft_on_send(world->meet, mine), [RECEIVED] = weft_on_recv(world->meet, &got, &ok),
                        [LATE] = weft_on_timeout((int64_t)(test_random_from(seed) % 300) * WEFT_US))) {
    case SENT:
        atomic_fetch_add(&world->sent, mine);
        break;
    case RECEIVED:
        CHECK(ok);
        CHECK(got > 0);
        atomic_fetch_add(&world->received, got);
        break;
    case LATE:
        CHECK_EQ(got, 0);
        break;
    default:
        CHECK(false);
    }
}

static void count_leaf(_Atomic int *leaves, int64_t sleep_ns)
{
    weft_sleep(sleep_ns);
    atomic_fetch_add(leaves, 1);
}

static void fan_out(uint64_t *seed)
{
    _Atomic int leaves = 0;
    int n = (int)(test_random_from(seed) % 6);
    weft_waitgroup wg = {0};
    for (int i = 0; i < n; i++)
        weft_wg_go(&wg, count_leaf, &leaves, (int64_t)(test_random_from(seed) % 3) * 50 * WEFT_US);
    weft_wg_wait(&wg);
    CHECK_EQ(atomic_load(&leaves), n);
}

static void act_once(struct world *world, uint64_t *seed, int depth, int actions)
{
    uint64_t dice = test_random_from(seed) % 100;
    if (dice < 14 && depth > 0)
        spawn_goroutine(world, seed, depth - 1, actions);
    else if (dice < 16 && depth > 0)
        spawn_thread(world, seed, depth - 1, actions);
    else if (dice < 34)
        weft_yield();
    else if (dice < 44)
        CHECK_EQ(weft_sleep((int64_t)(test_random_from(seed) % 500) * WEFT_US), 0);
    else if (dice < 60)
        count_under_lock(world, seed);
    else if (dice < 72)
        borrow_token(world, seed);
    else if (dice < 86)
        meet(world, seed);
    else if (dice < 92)
        fan_out(seed);
    else if (dice < 95)
        nap_ns((int64_t)(test_random_from(seed) % 2000) * WEFT_US);
    else
        burn_ns((int64_t)(test_random_from(seed) % 300) * WEFT_US);
}

static void act(struct world *world, uint64_t seed, int depth, int actions)
{
    atomic_fetch_add(&world->started, 1);
    for (int i = 0; i < actions; i++)
        act_once(world, &seed, depth, actions);
    atomic_fetch_add(&world->ended, 1);
}

static void live_and_count(int founders)
{
    struct world world = {.bank = weft_chan_make(int, TOKENS), .meet = weft_chan_make(int64_t, 0)};
    for (int token = 1; token <= TOKENS; token++)
        CHECK_EQ(weft_try_send(world.bank, token), 0);
    uint64_t seed = test_random();
    for (int i = 0; i < founders; i++)
        spawn_goroutine(&world, &seed, 3, 12);
    spawn_thread(&world, &seed, 3, 12);
    act(&world, seed, 2, 12); /* the caller too */
    weft_wg_wait(&world.everybody);
    CHECK_EQ(atomic_load(&world.started), atomic_load(&world.ended));
    CHECK_EQ(world.plain_count, atomic_load(&world.atomic_count));
    CHECK_EQ(atomic_load(&world.sent), atomic_load(&world.received));
    bool seen[TOKENS + 1] = {false};
    for (int i = 0; i < TOKENS; i++) {
        int token = 0;
        CHECK_EQ(weft_try_recv(world.bank, &token), 0);
        CHECK(token >= 1 && token <= TOKENS && !seen[token]);
        seen[token] = true;
    }
    CHECK_EQ(weft_try_recv(world.bank, NULL), -EAGAIN);
    CHECK_EQ(weft_try_recv(world.meet, NULL), -EAGAIN);
    weft_chan_free(world.bank);
    weft_chan_free(world.meet);
}

TEST(EverythingAtOnce)
{
    for (int round = 0; round < test_scale(10); round++)
        live_and_count(test_shorten(8, 30));
    CHECK(HOLDS_WITHIN(20000, weft_count() == 0));
}

TEST_GO(EverythingAtOnceUnderRun)
{
    for (int round = 0; round < test_scale(10); round++)
        live_and_count(test_shorten(8, 30));
    CHECK(HOLDS_WITHIN(20000, weft_count() == 1));
}

static void grow(weft_waitgroup *wg, uint64_t seed, int depth, _Atomic int *nodes)
{
    atomic_fetch_add(nodes, 1);
    int children = depth > 0 ? 2 + (int)(test_random_from(&seed) % 3) : 0;
    weft_wg_add(wg, children);
    for (int i = 0; i < children; i++) {
        weft_go(grow, wg, test_random_from(&seed), depth - 1, nodes);
        if (test_random_from(&seed) % 8 == 0)
            weft_yield();
    }
    weft_wg_done(wg);
}

static int nodes_of(uint64_t seed, int depth)
{
    int nodes = 1, children = depth > 0 ? 2 + (int)(test_random_from(&seed) % 3) : 0;
    for (int i = 0; i < children; i++) {
        nodes += nodes_of(test_random_from(&seed), depth - 1);
        test_random_from(&seed);
    }
    return nodes;
}

/* Trees whose size the seed decides: as many goroutines ran as a plain recursion counts. */
TEST_BOTH(SpawnTrees)
{
    int depth = test_shorten(5, 7);
    for (int round = 0; round < test_scale(10); round++) {
        uint64_t seed = test_random();
        _Atomic int nodes = 0;
        weft_waitgroup wg = {0};
        weft_wg_add(&wg, 1);
        weft_go(grow, &wg, seed, depth, &nodes);
        weft_wg_wait(&wg);
        CHECK_EQ(atomic_load(&nodes), nodes_of(seed, depth));
    }
}

TEST_MAIN()
