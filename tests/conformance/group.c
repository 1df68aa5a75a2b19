/* group.c — groups: x/sync/errgroup's tests by name, and what errgroup does not have: panics and exits as results, scoped
   groups that use their parent's stack, groups within groups and contexts, owners that are threads. */
#include "../workload.h"
#include <pthread.h>
#include <weft.h>

#include "../test.h"

static int returns(int result)
{
    return result;
}

static int returns_later(int result)
{
    weft_yield();
    weft_sleep(WEFT_MS);
    return result;
}

/* Until the context ends. */
static int waits_for_the_end(int result)
{
    CHECK_EQ(weft_sleep(INT64_MAX), -ECANCELED);
    return result;
}

/* ---- errgroup's ---- */

/* The first error is the group's, whatever comes after; none is 0, and positive results are none. */
TEST_BOTH(ZeroGroup)
{
    static const struct {
        int n, results[4], expected;
    } cases[] = {
        {0, {0}, 0},
        {1, {0}, 0},
        {1, {-1}, -1},
        {2, {-1, 0}, -1},
        {2, {0, -2}, -2},
        {3, {0, -1, -2}, -1},
        {3, {5, 7, 9}, 0},
        {4, {0, 3, INT32_MAX, INT32_MIN}, INT32_MIN},
        {2, {-EIO, -EIO}, -EIO},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weft_group g = {0};
        for (int j = 0; j < cases[i].n; j++) {
            CHECK_EQ(weft_group_go(&g, returns, cases[i].results[j]), 0);
            if (cases[i].results[j] < 0 && weft_id() == 0)
                while (weft_ctx_err(weft_group_ctx(&g)) == 0)
                    weft_yield(); /* so that it is the first */
            else if (cases[i].results[j] < 0)
                while (weft_ctx_err(weft_group_ctx(&g)) == 0)
                    CHECK_EQ(weft_sleep(10 * WEFT_US), 0);
        }
        CHECK_EQ(weft_group_wait(&g), cases[i].expected);
        CHECK_EQ(weft_group_wait(&g), 0); /* as new */
    }
}

/* The context ends with the first error, its cause; and at the latest with the wait. */
TEST_BOTH(WithContext)
{
    static const struct {
        int n, results[2], expected, cause;
    } cases[] = {
        {0, {0}, 0, -ECANCELED}, {1, {0}, 0, -ECANCELED}, {1, {-EIO}, -EIO, -EIO}, {2, {-ENOENT, 0}, -ENOENT, -ENOENT}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weft_group g = {0};
        weft_ctx *ctx = weft_ctx_ref(weft_group_ctx(&g));
        CHECK(ctx && ctx == weft_group_ctx(&g));
        CHECK_EQ(weft_ctx_err(ctx), 0);
        for (int j = 0; j < cases[i].n; j++)
            CHECK_EQ(weft_group_go(&g, returns, cases[i].results[j]), 0);
        CHECK_EQ(weft_group_wait(&g), cases[i].expected);
        CHECK_EQ(weft_ctx_err(ctx), -ECANCELED);
        CHECK_EQ(weft_ctx_cause(ctx), cases[i].cause);
        CHECK(weft_try_select([0] = weft_on_done(ctx)) == 0);
        CHECK(weft_group_ctx(&g) != ctx); /* as new */
        CHECK_EQ(weft_ctx_err(weft_group_ctx(&g)), 0);
        CHECK_EQ(weft_group_wait(&g), 0);
        weft_ctx_free(ctx);
    }
}

static int gives_the_cause(int expected)
{
    CHECK_EQ(weft_sleep(INT64_MAX), -ECANCELED);
    CHECK_EQ(weft_ctx_cause(weft_ctx_current()), expected);
    return -EBADMSG;
}

TEST_BOTH(CancelCause)
{
    weft_group g = {0};
    for (int i = 0; i < 10; i++)
        CHECK_EQ(weft_group_go(&g, gives_the_cause, -EXDEV), 0);
    CHECK_EQ(weft_group_go(&g, returns_later, -EXDEV), 0);
    CHECK_EQ(weft_group_wait(&g), -EXDEV);

    for (int i = 0; i < 10; i++)
        CHECK_EQ(weft_group_go(&g, gives_the_cause, -EINTR), 0);
    weft_group_cancel(&g, -EINTR);
    weft_group_cancel(&g, -EIO); /* too late */
    CHECK_EQ(weft_group_wait(&g), -EINTR);

    weft_group_cancel(&g, -EINTR); /* before it has begun */
    CHECK_EQ(weft_group_go(&g, gives_the_cause, -EINTR), 0);
    CHECK_EQ(weft_group_wait(&g), -EINTR);

    weft_group_cancel(&g, -EINTR); /* and it never does */
    CHECK_EQ(weft_group_wait(&g), -EINTR);
    CHECK_EQ(weft_group_wait(&g), 0);
}

static int counts(_Atomic int *active, int limit)
{
    CHECK(atomic_fetch_add(active, 1) < limit);
    weft_sleep(10 * WEFT_US);
    weft_yield();
    atomic_fetch_sub(active, 1);
    return 0;
}

TEST_BOTH(GoLimit)
{
    enum { LIMIT = 3 };
    weft_group g = WEFT_GROUP(LIMIT);
    _Atomic int active = 0;
    for (int round = 0; round < 2; round++) {
        int n = test_scale(1000);
        for (int i = 0; i < n; i++)
            CHECK_EQ(weft_group_go(&g, counts, &active, LIMIT), 0);
        CHECK_EQ(weft_group_wait(&g), 0);
        CHECK_EQ(atomic_load(&active), 0);
    }
}

static int receives_one(weft_chan(int) c)
{
    int value = 0;
    CHECK(weft_recv(c, &value));
    return 0;
}

TEST_BOTH(TryGo)
{
    enum { LIMIT = 42 };
    weft_group g = WEFT_GROUP(LIMIT);
    weft_chan(int) c = weft_chan_make(int, 0);
    CHECK(c);
    for (int i = 0; i < LIMIT; i++)
        CHECK_EQ(weft_group_try_go(&g, receives_one, c), 0);
    CHECK_EQ(weft_group_try_go(&g, receives_one, c), -EBUSY);
    CHECK_EQ(weft_send(c, 1), 0); /* one of them ends */
    CHECK_EQ(weft_group_go(&g, receives_one, c), 0);
    CHECK_EQ(weft_group_try_go(&g, receives_one, c), -EBUSY);
    for (int i = 0; i < LIMIT; i++)
        CHECK_EQ(weft_send(c, 1), 0);
    CHECK_EQ(weft_group_wait(&g), 0); /* being busy was no result */
    CHECK_EQ(weft_group_try_go(&g, returns, -7), 0);
    CHECK_EQ(weft_group_wait(&g), -7);

    weft_group any = {0};
    for (int i = 0; i < LIMIT; i++)
        CHECK_EQ(weft_group_try_go(&any, receives_one, c), 0);
    for (int i = 0; i < LIMIT; i++)
        CHECK_EQ(weft_send(c, 1), 0);
    CHECK_EQ(weft_group_wait(&any), 0);
    weft_chan_free(c);
}

static int fetches(const char *url)
{
    return strchr(url, ':') ? 0 : -EINVAL;
}

TEST_BOTH(JustErrors)
{
    static const char *const urls[] = {"http:one", "http:two", "three"};
    weft_group g = {0};
    for (int i = 0; i < 3; i++)
        CHECK_EQ(weft_group_go(&g, fetches, urls[i]), 0);
    CHECK_EQ(weft_group_wait(&g), -EINVAL);
}

static int searches(const char *kind, int query, int *result)
{
    weft_yield();
    *result = (int)strlen(kind) + query;
    return 0;
}

TEST_BOTH(Parallel)
{
    static const char *const kinds[] = {"web", "image", "video"};
    int results[3] = {0};
    weft_group g = {0};
    for (int i = 0; i < 3; i++)
        CHECK_EQ(weft_group_go(&g, searches, kinds[i], 100, &results[i]), 0);
    CHECK_EQ(weft_group_wait(&g), 0);
    CHECK(results[0] == 103 && results[1] == 105 && results[2] == 105);
}

static int produces(weft_chan(int) numbers, int n)
{
    int error = 0;
    for (int i = 1; i <= n && !error; i++)
        error = weft_send(numbers, i);
    weft_close(numbers);
    return error;
}

static int squares(weft_chan(int) numbers, weft_chan(long) sums, int bad)
{
    long sum = 0;
    int n, error;
    while ((error = weft_recv_status(numbers, &n)) == 0) {
        if (n == bad)
            return -EDOM;
        sum += (long)n * n;
    }
    return error == -EPIPE ? weft_send(sums, sum) : error;
}

/* Stages that share a context: the failure of one ends those that would wait for it. */
TEST_BOTH(Pipeline)
{
    enum { WORKERS = 4, N = 1000 };
    for (int fails = 0; fails < 2; fails++) {
        weft_chan(int) numbers = weft_chan_make(int, 0);
        weft_chan(long) sums = weft_chan_make(long, WORKERS);
        weft_group g = {0};
        CHECK_EQ(weft_group_go(&g, produces, numbers, N), 0);
        for (int i = 0; i < WORKERS; i++)
            CHECK_EQ(weft_group_go(&g, squares, numbers, sums, fails ? N / 2 : 0), 0);
        CHECK_EQ(weft_group_wait(&g), fails ? -EDOM : 0);
        long total = 0, sum;
        while (weft_try_recv(sums, &sum) == 0)
            total += sum;
        if (!fails)
            CHECK_EQ(total, (long)N * (N + 1) * (2 * N + 1) / 6);
        weft_chan_free(numbers);
        weft_chan_free(sums);
    }
}

/* ---- panics and exits ---- */

static int panics(const char *text)
{
    weft_panic("%s", text);
}

/* Here a panic is an error of the group, and does not come again in the one that waits. */
TEST_BOTH(PanicIsAnError)
{
    weft_group g = {0};
    CHECK_EQ(weft_group_go(&g, waits_for_the_end, 0), 0);
    CHECK_EQ(weft_group_go(&g, panics, "first"), 0);
    CHECK_EQ(weft_group_wait(&g), -ENOTRECOVERABLE);
    CHECK(weft_group_panic(&g) && strncmp(weft_group_panic(&g), "first\n", 6) == 0);
    CHECK_EQ(weft_group_wait(&g), 0);
    CHECK(weft_group_panic(&g)); /* until it is used again */
    CHECK_EQ(weft_group_go(&g, returns, 0), 0);
    CHECK(!weft_group_panic(&g));
    CHECK_EQ(weft_group_wait(&g), 0);

    for (int i = 0; i < 20; i++)
        CHECK_EQ(weft_group_go(&g, panics, "any"), 0);
    CHECK_EQ(weft_group_wait(&g), -ENOTRECOVERABLE);
    CHECK(strncmp(weft_group_panic(&g), "any\n", 4) == 0);
    weft_group_clear(&g);
    CHECK(!weft_group_panic(&g));
    weft_group_clear(&g);
}

static int exits(void)
{
    weft_exit_goroutine();
}

TEST_BOTH(ExitIsNoError)
{
    weft_group g = WEFT_GROUP(1);
    for (int i = 0; i < 10; i++)
        CHECK_EQ(weft_group_go(&g, exits), 0);
    CHECK_EQ(weft_group_wait(&g), 0);
    CHECK(!weft_group_panic(&g));
}

static int fails_and_releases(int n)
{
    switch (n % 4) {
    case 0:
        return -EIO;
    case 1:
        weft_panic("%d", n);
    case 2:
        weft_exit_goroutine();
    default:
        return 0;
    }
}

/* Whatever becomes of a goroutine, its slot is free then. */
TEST_BOTH(LimitSurvivesFailures)
{
    weft_group g = WEFT_GROUP(2);
    for (int i = 0; i < 40; i++)
        CHECK_EQ(weft_group_go(&g, fails_and_releases, i), 0); /* not refused: the error is for who waits */
    int result = weft_group_wait(&g);
    CHECK(result == -EIO || result == -ENOTRECOVERABLE);
    weft_group_clear(&g);
}

/* ---- arguments ---- */

static int six(int a, const char *b, long c, void *d, uint64_t e, int *f)
{
    CHECK_EQ(a, -1);
    CHECK(strcmp(b, "text") == 0);
    CHECK_EQ(c, INT64_MIN);
    CHECK(d == NULL);
    CHECK(e == UINT64_MAX);
    return *f;
}

static int five(int a, const char *b, long c, uint64_t d, int *e)
{
    CHECK_EQ(a, -1);
    CHECK(strcmp(b, "text") == 0);
    CHECK_EQ(c, INT64_MIN);
    CHECK(d == UINT64_MAX);
    return *e;
}

TEST_BOTH(Arguments)
{
    weft_group g = {0};
    int result = -77;
    CHECK_EQ(weft_group_go(&g, six, -1, "text", INT64_MIN, NULL, UINT64_MAX, &result), 0);
    CHECK_EQ(weft_group_wait(&g), -77);
    CHECK_EQ(weft_group_go(&g, five, -1, "text", INT64_MIN, UINT64_MAX, &result), 0);
    CHECK_EQ(weft_group_wait(&g), -77);
    CHECK_EQ(weft_group_try_go(&g, exits), 0);
    CHECK_EQ(weft_group_wait(&g), 0);
}

/* ---- contexts ---- */

static int runs_in(const void *key, void *value)
{
    CHECK(weft_ctx_value(weft_ctx_current(), key) == value);
    return weft_sleep(WEFT_US);
}

/* The group's context is a child of the one that the first caller runs in. */
TEST_BOTH(InItsCallersContext)
{
    static char key;
    weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background());
    weft_ctx *with_value = weft_ctx_with_value(ctx, &key, &ctx);
    CHECK(ctx && with_value);
    weft_group g = {0};
    {
        weft_scoped_use(with_value);
        CHECK_EQ(weft_group_go(&g, runs_in, &key, &ctx), 0);
    }
    CHECK_EQ(weft_group_go(&g, runs_in, &key, &ctx), 0);
    CHECK_EQ(weft_group_wait(&g), 0);
    CHECK_EQ(weft_group_go(&g, runs_in, &key, NULL), 0);
    CHECK_EQ(weft_group_wait(&g), 0);

    {
        weft_scoped_use(with_value);
        CHECK_EQ(weft_group_go(&g, waits_for_the_end, -5), 0);
    }
    weft_ctx_cancel(ctx); /* the parent's end is the group's, but no result */
    CHECK_EQ(weft_group_wait(&g), -5);

    weft_scoped_use(with_value);
    for (int i = 0; i < 10; i++)
        CHECK_EQ(weft_group_go(&g, waits_for_the_end, 0), 0); /* it runs, but cannot wait */
    CHECK_EQ(weft_group_wait(&g), 0);                         /* the wait is not ended by it either */
    {
        weft_scoped_shield();
        CHECK_EQ(weft_group_go(&g, runs_in, &key, &ctx), 0); /* clean-up work may use groups */
        CHECK_EQ(weft_group_wait(&g), 0);
        CHECK_EQ(weft_group_go(&g, waits_for_the_end, 0), 0);
        CHECK_EQ(weft_group_go(&g, returns_later, -EIO), 0);
        CHECK_EQ(weft_group_wait(&g), -EIO);
    }
    weft_ctx_free(with_value);
    weft_ctx_free(ctx);
}

static int waits_for_a_slot(weft_chan(int) c)
{
    weft_group g = WEFT_GROUP(1);
    CHECK_EQ(weft_group_go(&g, receives_one, c), 0);
    CHECK_EQ(weft_group_go(&g, returns, -3), 0); /* blocks, also when the context ends */
    CHECK_EQ(weft_group_wait(&g), -3);
    return -4;
}

static int receives_all(weft_chan(int) c, int n)
{
    weft_scoped_shield();
    for (int value; n > 0; n--)
        CHECK(weft_recv(c, &value));
    return 0;
}

static int waits_shielded_for_a_slot(weft_chan(int) c)
{
    weft_group g = WEFT_GROUP(1);
    CHECK_EQ(weft_group_go(&g, receives_all, c, 1), 0);
    CHECK_EQ(weft_group_go(&g, returns, -3), 0);
    CHECK_EQ(weft_group_wait(&g), -3);
    return -4;
}

/* Neither the wait for a slot nor the join is ended by a context. */
TEST_BOTH(JoinsOutlastTheContext)
{
    weft_chan(int) c = weft_chan_make(int, 0);
    weft_group g = {0};
    CHECK_EQ(weft_group_go(&g, waits_shielded_for_a_slot, c), 0);
    nap_ms(at_least(1, test_scale(20)));
    weft_group_cancel(&g, -EINTR);
    nap_ms(at_least(1, test_scale(20)));
    CHECK_EQ(weft_send(c, 1), 0);
    CHECK_EQ(weft_group_wait(&g), -EINTR);

    CHECK_EQ(weft_group_go(&g, waits_for_a_slot, c), 0);
    CHECK_EQ(weft_send(c, 1), 0);
    CHECK_EQ(weft_group_wait(&g), -4);
    weft_chan_free(c);
}

/* ---- groups within groups ---- */

static int starts_more(weft_group *g, _Atomic int *count, int depth)
{
    atomic_fetch_add(count, 1);
    for (int i = 0; i < 2 && depth > 0; i++)
        CHECK_EQ(weft_group_go(g, starts_more, g, count, depth - 1), 0);
    return 0;
}

static int groups_below(int depth, int error)
{
    weft_group g = {0};
    weft_scoped_group(&g);
    for (int i = 0; i < 3 && depth > 0; i++)
        CHECK_EQ(weft_group_go(&g, groups_below, depth - 1, i == 1 ? error : 0), 0);
    int result = weft_group_wait(&g);
    return depth == 0 ? error : result;
}

static int waits_below(int depth, _Atomic int *ended)
{
    weft_group g = {0};
    weft_scoped_group(&g);
    for (int i = 0; i < 3 && depth > 0; i++)
        CHECK_EQ(weft_group_go(&g, waits_below, depth - 1, ended), 0);
    CHECK_EQ(weft_sleep(INT64_MAX), -ECANCELED);
    atomic_fetch_add(ended, 1);
    return 0;
}

TEST_BOTH(Nested)
{
    weft_group g = {0};
    _Atomic int count = 0;
    CHECK_EQ(weft_group_go(&g, starts_more, &g, &count, 7), 0); /* from within the group itself */
    CHECK_EQ(weft_group_wait(&g), 0);
    CHECK_EQ(atomic_load(&count), 255);

    CHECK_EQ(groups_below(4, -EMLINK), -EMLINK); /* an error comes up from the bottom */
    CHECK_EQ(groups_below(4, 0), 0);

    atomic_store(&count, 0);
    CHECK_EQ(weft_group_go(&g, waits_below, 3, &count), 0); /* a cancel goes down to it */
    weft_sleep(WEFT_MS);
    weft_group_cancel(&g, -EINTR);
    CHECK_EQ(weft_group_wait(&g), -EINTR);
    CHECK_EQ(atomic_load(&count), 40);
}

/* ---- scoped ---- */

static int writes_until_the_end(char *memory, size_t size)
{
    int error = 0;
    for (unsigned i = 0; !error; i++) {
        memory[i % size] = (char)i;
        error = weft_sleep(10 * WEFT_US);
    }
    memset(memory, 'x', size);
    return error;
}

static __attribute__((noinline)) void lends_its_stack(int how)
{
    char memory[2][256];
    weft_group g = {0};
    weft_scoped_group(&g);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(weft_group_go(&g, writes_until_the_end, memory[i], sizeof memory[i]), 0);
    weft_sleep(50 * WEFT_US);
    if (how == 1)
        weft_exit_goroutine();
    if (how == 2)
        weft_panic("while others use this stack");
}

static __attribute__((noinline)) void checks_the_stack(void)
{
    unsigned char memory[1024];
    memset(memory, 0, sizeof memory);
    for (int i = 0; i < 3; i++) {
        weft_sleep(10 * WEFT_US);
        for (size_t j = 0; j < sizeof memory; j++)
            CHECK(((volatile unsigned char *)memory)[j] == 0);
    }
}

static int lends_and_defers(int how)
{
    weft_defer(checks_the_stack);
    lends_its_stack(how);
    checks_the_stack();
    return how;
}

/* All have ended when the block is left, however it is. */
TEST_BOTH(ScopedLendsTheStack)
{
    lends_its_stack(0);
    checks_the_stack();
    for (int how = 0; how < 3; how++) {
        int result = -1;
        CHECK_EQ(weft_await(weft_async(lends_and_defers, how), &result), how ? -ENOTRECOVERABLE : 0);
        CHECK_EQ(result, 0);
    }
}

static int adds(_Atomic int *sum, int n)
{
    atomic_fetch_add(sum, n);
    return n;
}

TEST_BOTH(ScopedAndWaitedFor)
{
    _Atomic int sum = 0;
    weft_group g = {0};
    {
        weft_scoped_group(&g); /* never used */
    }
    {
        weft_scoped_group(&g); /* waited for */
        CHECK_EQ(weft_group_go(&g, adds, &sum, 1), 0);
        CHECK_EQ(weft_group_wait(&g), 0);
        CHECK_EQ(weft_group_go(&g, adds, &sum, -2), 0);
        CHECK_EQ(weft_group_wait(&g), -2);
    }
    {
        weft_scoped_group(&g); /* waited for, and used again */
        CHECK_EQ(weft_group_go(&g, adds, &sum, 1), 0);
        CHECK_EQ(weft_group_wait(&g), 0);
        CHECK_EQ(weft_group_go(&g, waits_for_the_end, 0), 0);
    }
    {
        weft_scoped_group(&g); /* it has failed */
        CHECK_EQ(weft_group_go(&g, panics, "nobody asks"), 0);
    }
    {
        weft_scoped_group(&g);
        weft_group_cancel(&g, -EINTR);
    }
    CHECK_EQ(atomic_load(&sum), 0);
    CHECK(!weft_group_panic(&g));
    CHECK_EQ(weft_group_wait(&g), 0); /* as new each time */
}

static int sees_the_end(int expected)
{
    return gives_the_cause(expected);
}

TEST_BOTH(ScopedCancels)
{
    weft_group g = WEFT_GROUP(3);
    for (int i = 0; i < 3; i++) {
        weft_scoped_group(&g);
        for (int j = 0; j < 3; j++)
            CHECK_EQ(weft_group_go(&g, sees_the_end, -ECANCELED), 0);
        if (i == 1)
            continue;
    }
}

static int outlives_a_cancel(int *flag)
{
    weft_scoped_shield();
    CHECK_EQ(weft_sleep(2 * WEFT_MS), 0);
    *flag = 1;
    return 0;
}

/* The join at the end of the block waits also when the block's own context has ended. */
TEST_BOTH(ScopedJoinsInAnEndedContext)
{
    weft_ctx *ctx = weft_ctx_with_cancel(weft_ctx_background());
    weft_scoped_ctx(ctx);
    weft_scoped_use(ctx);
    weft_ctx_cancel(ctx);
    int flag = 0;
    {
        weft_group g = {0};
        weft_scoped_group(&g);
        CHECK_EQ(weft_group_go(&g, outlives_a_cancel, &flag), 0);
    }
    CHECK_EQ(flag, 1);
}

/* ---- owners ---- */

static void *owns_a_group(void *argument)
{
    _Atomic int *sum = argument;
    weft_group g = WEFT_GROUP(2);
    weft_scoped_group(&g);
    for (int i = 0; i < 100; i++)
        CHECK_EQ(weft_group_go(&g, adds, sum, 1), 0);
    CHECK_EQ(weft_group_wait(&g), 0);
    CHECK_EQ(weft_group_go(&g, waits_for_the_end, 0), 0);
    return NULL;
}

TEST(OwnedByThreads)
{
    pthread_t threads[4];
    _Atomic int sum = 0;
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, owns_a_group, &sum), 0);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    CHECK_EQ(atomic_load(&sum), 400);
}

/* On the heap, and freed as soon as it was waited for. */
TEST_BOTH(FreedAfterWait)
{
    int n = test_scale(2000);
    for (int i = 0; i < n; i++) {
        weft_group *g = calloc(1, sizeof *g);
        CHECK(g);
        g->limit = i % 3;
        for (int j = 0; j < 3; j++)
            CHECK_EQ(weft_group_go(g, returns, j == 2 ? -i : 0), 0);
        CHECK_EQ(weft_group_wait(g), -i);
        memset(g, 0xff, sizeof *g);
        free(g);
    }
}

TEST_MAIN()
