/* group_stress.c — groups and futures under load: goroutines that fail, panic, exit and cancel at random, with and without a
   limit, owned by goroutines and threads, while contexts end around them. What is counted must come out; nothing may be
   left. */
#include "../workload.h"
#include <pthread.h>
#include <weft.h>

#include "../test.h"

struct load {
    _Atomic int active, most; /* at work at the moment; at once */
    _Atomic int ran, failed;
};

static void enter(struct load *load)
{
    int now = atomic_fetch_add(&load->active, 1) + 1;
    for (int most = atomic_load(&load->most); now > most;)
        if (atomic_compare_exchange_weak(&load->most, &most, now))
            break;
    atomic_fetch_add(&load->ran, 1);
}

static void leave(struct load *load)
{
    atomic_fetch_sub(&load->active, 1);
}

/* One in `failures` fails, some way or other. */
static int works(struct load *load, uint64_t seed, int failures)
{
    weft_mutex own = {0};
    uint64_t dice = test_random_from(&seed);
    enter(load);
    weft_defer(leave, load);
    weft_scoped_lock(&own);
    switch (dice % 4) {
    case 0:
        weft_yield();
        break;
    case 1:
        weft_sleep((int64_t)(dice >> 32) % (50 * WEFT_US));
        break;
    default:
        break;
    }
    if (dice / 16 % (unsigned)failures != 0)
        return (int)(dice % 3);
    switch (dice / 4 % 4) {
    case 0:
        weft_exit_goroutine(); /* no failure */
    case 1:
        atomic_fetch_add(&load->failed, 1);
        weft_panic("%d", (int)(dice % 1000));
    default:
        atomic_fetch_add(&load->failed, 1);
        return -(int)(dice % 100) - 1;
    }
}

static void one_group(uint64_t seed, int n)
{
    struct load load = {0};
    uint64_t dice = test_random_from(&seed);
    int failures = dice % 4 == 0 ? 10 : dice % 4 == 1 ? 100 : 1 << 20;
    weft_group g = {.limit = dice / 4 % 2 ? (uint32_t)(dice / 8 % 10 + 1) : 0};
    weft_scoped_group(&g);
    int started = 0, busy = 0;
    for (int i = 0; i < n; i++) {
        uint64_t way = test_random_from(&seed);
        int error = way % 8 == 0 ? weft_group_try_go(&g, works, &load, way, failures)
                                 : weft_group_go(&g, works, &load, way, failures);
        CHECK(error == 0 || (error == -EBUSY && way % 8 == 0 && g.limit));
        started += error == 0;
        busy += error == -EBUSY;
        if (way / 8 % 256 == 0) {
            atomic_fetch_add(&load.failed, 1);
            weft_group_cancel(&g, -EINTR);
        }
    }
    if (dice / 128 % 8 == 0)
        return; /* the scope joins them */
    int error = weft_group_wait(&g);
    CHECK_EQ(atomic_load(&load.active), 0);
    CHECK_EQ(atomic_load(&load.ran), started);
    CHECK_EQ(started + busy, n);
    CHECK((error < 0) == (atomic_load(&load.failed) > 0));
    CHECK(error != -ENOTRECOVERABLE || weft_group_panic(&g));
    CHECK(!g.limit || atomic_load(&load.most) <= (int)g.limit);
    if (!g.limit)
        weft_group_clear(&g); /* else the scope does */
}

TEST_BOTH(RandomGroups)
{
    int n = test_scale(400);
    for (int i = 0; i < n; i++)
        one_group(test_random(), (int)(test_random() % 100));
}

static int owns_groups(uint64_t seed, int n)
{
    for (int i = 0; i < n && weft_ctx_err(weft_ctx_current()) == 0; i++) {
        uint64_t next = test_random_from(&seed);
        one_group(next, (int)(next >> 40) % 30);
    }
    return 0;
}

static void *owns_groups_on_a_thread(void *seed)
{
    owns_groups(*(uint64_t *)seed, test_scale(50) + 1);
    return NULL;
}

/* Groups side by side, below a group that is cancelled now and then. */
TEST_BOTH(GroupsOfGroups)
{
    int rounds = at_least(2, test_scale(20));
    for (int round = 0; round < rounds; round++) {
        weft_group all = WEFT_GROUP(8);
        for (int i = 0; i < 20; i++)
            CHECK_EQ(weft_group_go(&all, owns_groups, test_random(), test_scale(10) + 1), 0);
        if (round % 2)
            weft_group_cancel(&all, -EINTR);
        int error = weft_group_wait(&all);
        CHECK(round % 2 ? error == -EINTR : error == 0);
    }
}

TEST(GroupsOfThreads)
{
    pthread_t threads[4];
    uint64_t seeds[4];
    for (int i = 0; i < 4; i++) {
        seeds[i] = test_random();
        CHECK_EQ(pthread_create(&threads[i], NULL, owns_groups_on_a_thread, &seeds[i]), 0);
    }
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
}

/* ---- futures ---- */

static int tree(uint64_t seed, int depth)
{
    uint64_t dice = test_random_from(&seed);
    if (depth == 0 || dice % 16 == 0)
        return 1;
    weft_future(int) children[3] = {NULL, NULL, NULL};
    int n = (int)(dice / 16 % 4), sum = 1;
    for (int i = 0; i < n; i++)
        CHECK((children[i] = weft_async(tree, test_random_from(&seed), depth - 1)));
    for (int i = 0; i < n; i++) {
        int result = 0;
        switch (test_random_from(&seed) % 32) {
        case 0:
            weft_future_free(children[i]); /* it goes on without us */
            break;
        case 1:
            for (; i < n; i++)
                weft_future_free(children[i]);
            weft_panic("enough");
        default: {
            int error = weft_await(children[i], &result);
            CHECK(error == 0 || (error == -ENOTRECOVERABLE && result == 0));
        }
        }
        sum += result;
    }
    return sum;
}

TEST_BOTH(RandomTrees)
{
    size_t before = weft_count();
    int n = test_scale(300);
    for (int i = 0; i < n; i++) {
        int result = 0;
        int error = weft_await(weft_async(tree, test_random(), 6), &result);
        CHECK(error == 0 ? result > 0 : error == -ENOTRECOVERABLE);
    }
    CHECK(HOLDS_WITHIN(20000, (weft_yield(), weft_count() <= before)));
}

TEST_MAIN()
